"""Loads single exchange classes of ccxt without its package files.

`import ccxt.async_support` runs two `__init__` files that import every exchange, twice (sync and async): about 100
modules of which a daemon needs one to three. Here both packages are put into `sys.modules` as what they are, but
without running their `__init__`; submodules then load as usual. The `__init__` of a package runs after all as soon as
someone asks it for a name it does not have yet, so other users of ccxt in the same process notice nothing.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_PACKAGES = ("ccxt", "ccxt.async_support")


class _Unfilled(ModuleType):
    """A package whose `__init__` has not run."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in {"__version__", "__all__"}:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on it is an ordinary package
        spec: ModuleSpec = self.__spec__  # type: ignore[assignment]
        assert spec.loader is not None  # noqa: S101 - find_spec gave a loader, or there is no ccxt at all
        spec.loader.exec_module(self)
        return getattr(self, name)


def exchange_class(exchange_id: str) -> type[Any]:
    """ccxt's asynchronous class of that exchange, e.g. `binanceusdm`. Raises ImportError when ccxt has none."""
    for name in _PACKAGES:
        _prepare(name)
    module = importlib.import_module(f"ccxt.async_support.{exchange_id}")
    package = sys.modules["ccxt.async_support"]
    if isinstance(package, _Unfilled):
        # Importing bound `package.binance` to the module; with its __init__ run it would be the class.
        for name in [name for name, value in vars(package).items() if _is_exchange_module(value)]:
            delattr(package, name)
    return getattr(module, exchange_id)  # type: ignore[no-any-return]


def _prepare(package: str) -> None:
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None:
        raise ImportError(f"{package} is not installed")
    module = module_from_spec(spec)
    module.__class__ = _Unfilled
    sys.modules[package] = module
    if package == "ccxt":
        # What ccxt's own submodules take from their package's top.
        errors = importlib.import_module("ccxt.base.errors")
        vars(module).update({name: getattr(errors, name) for name in errors.__all__})
        vars(module)["Exchange"] = importlib.import_module("ccxt.base.exchange").Exchange
    else:
        setattr(sys.modules["ccxt"], package.rpartition(".")[2], module)


def _is_exchange_module(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__.count(".") == 2 and not hasattr(value, "__path__")
