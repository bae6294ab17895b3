"""Strategies by the name of their module."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import strategies
from strategies.base import Options, Strategy

Maker = Callable[[Options], Strategy]


def known() -> list[str]:
    """Every module here that has a `create`."""
    names = (module.name for module in iter_modules(strategies.__path__) if _lies_here(module.name))
    return sorted(name for name in names if _maker(name) is not None)


def maker(name: str) -> Maker:
    """What makes the strategy of this name. Raises KeyError for a name that is not in `known()`, and for a module that
    is only a link to code elsewhere (SEC-06)."""
    names = {module.name for module in iter_modules(strategies.__path__)}
    made = _maker(name) if name in names and _lies_here(name) else None
    if made is None:
        raise KeyError(name)
    return made


def _lies_here(name: str) -> bool:
    """`name` as `iter_modules` gave it: one part, of a file or folder in this one."""
    for folder in map(Path, strategies.__path__):
        for path in (folder / f"{name}.py", folder / name):
            if path.exists():
                return path.resolve().parent == folder.resolve()
    return False


def _maker(name: str) -> Maker | None:
    create: Maker | None = getattr(import_module(f"strategies.{name}"), "create", None)
    return create
