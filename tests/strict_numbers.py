"""Only Decimals may carry money, wherever a test looks (VAL-02).

While tests run, every message of the domain refuses a float or a text where its field is a Decimal, and Python refuses
to order a Decimal against a float or to make one from it. The program itself pays nothing: its types are checked
statically, and what comes from outside becomes a number in one place (`decimal_of`).
"""

from __future__ import annotations

import dataclasses
import decimal
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import signature
from types import ModuleType
from typing import Any, NewType, get_args, get_type_hints

import core.domain
import core.engine.ports


def install() -> None:
    """For this process, threads made later included."""
    for context in (decimal.DefaultContext, decimal.getcontext()):
        context.traps[decimal.FloatOperation] = True
    for message in messages():
        _guard(message)


def messages() -> Iterator[type[Any]]:
    """The dataclasses of the domain and of the engine's ports that carry Decimals."""
    for module in (*_modules(core.domain), core.engine.ports):
        for found in vars(module).values():
            if not isinstance(found, type) or found.__module__ != module.__name__:
                continue
            if dataclasses.is_dataclass(found) and number_fields(found):
                yield found


def number_fields(message: type[Any]) -> list[str]:
    """Names of the fields that hold a Decimal, or a Decimal or None."""
    hints = get_type_hints(message)
    return [item.name for item in dataclasses.fields(message) if _is_number(hints[item.name])]


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)


def _is_number(hint: object) -> bool:
    if isinstance(hint, NewType):
        return _is_number(hint.__supertype__)
    return hint is decimal.Decimal or any(_is_number(part) for part in get_args(hint) if part is not type(None))


def _guard(message: type[Any]) -> None:
    made: Callable[..., None] = message.__init__
    if hasattr(made, "__wrapped__"):
        return
    names = frozenset(number_fields(message))
    parameters = [name for name in signature(made).parameters if name != "self"]

    @wraps(made)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for name, value in (*zip(parameters, args, strict=False), *kwargs.items()):
            if name in names and isinstance(value, float | str):
                raise TypeError(f"{message.__name__}.{name}: {value!r} is a {type(value).__name__}, not a Decimal")
        made(self, *args, **kwargs)

    setattr(message, "__init__", checked)  # noqa: B010 - mypy forbids the plain assignment
