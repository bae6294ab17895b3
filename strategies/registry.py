"""Strategies by the name of their module."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import strategies
from strategies.base import Options, Strategy

Maker = Callable[[Options], Strategy]


def known() -> list[str]:
    """Every module here that has a `create`."""
    return sorted(module.name for module in iter_modules(strategies.__path__) if _maker(module.name) is not None)


def maker(name: str) -> Maker:
    """What makes the strategy of this name. Raises KeyError for a name that is not in `known()`."""
    names = {module.name for module in iter_modules(strategies.__path__)}
    made = _maker(name) if name in names else None
    if made is None:
        raise KeyError(name)
    return made


def _maker(name: str) -> Maker | None:
    create: Maker | None = getattr(import_module(f"strategies.{name}"), "create", None)
    return create
