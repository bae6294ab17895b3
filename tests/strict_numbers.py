"""Only Decimals may carry money, wherever a test looks (VAL-02).

While tests run, every message of the domain refuses a float or a text where its field is a Decimal, and Python refuses
to order a Decimal against a float or to make one from it. The program itself pays nothing: its types are checked
statically, and what comes from outside becomes a number in one place (`decimal_of`).

Imported before anything of the program: what a message is made of is settled when its class is.
"""

from __future__ import annotations

import decimal
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NewType, get_args, get_type_hints

import msgspec

GUARDED = ("core.domain.", "core.engine.ports")
_Made = Callable[[Any], None]
_NUMBER_FIELDS: dict[type[Any], tuple[str, ...]] = {}
_NO_NUMBERS = (float, str)


class _Checking(msgspec.StructMeta):
    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> type:
        if f"{namespace['__module__']}.".startswith(GUARDED):
            namespace["__post_init__"] = _checked(namespace.get("__post_init__"))
        return super().__new__(mcs, name, bases, namespace, **options)


def install() -> None:
    """For this process, threads made later included."""
    for context in (decimal.DefaultContext, decimal.getcontext()):
        context.traps[decimal.FloatOperation] = True
    vars(msgspec)["Struct"] = _Checking("Struct", (msgspec.Struct,), {"__module__": "msgspec"})


def messages() -> Iterator[type[Any]]:
    """The values of the domain and of the engine's ports that carry Decimals."""
    for module in (*_modules(importlib.import_module("core.domain")), importlib.import_module("core.engine.ports")):
        for found in vars(module).values():
            if isinstance(found, _Checking) and found.__module__ == module.__name__ and number_fields(found):
                yield found


def number_fields(message: type[Any]) -> tuple[str, ...]:
    """Names of the fields that hold a Decimal, or a Decimal or None."""
    known = _NUMBER_FIELDS.get(message)
    if known is None:
        hints = get_type_hints(message)
        known = tuple(name for name in message.__struct_fields__ if _is_number(hints[name]))
        _NUMBER_FIELDS[message] = known
    return known


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)


def _is_number(hint: object) -> bool:
    if isinstance(hint, NewType):
        return _is_number(hint.__supertype__)
    return hint is decimal.Decimal or any(_is_number(part) for part in get_args(hint) if part is not type(None))


def _checked(own: _Made | None) -> _Made:
    def check(self: Any) -> None:
        for name in number_fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, _NO_NUMBERS):
                raise TypeError(f"{type(self).__name__}.{name}: {value!r} is a {type(value).__name__}, not a Decimal")
        if own is not None:
            own(self)

    return check
