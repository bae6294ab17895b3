"""How much the daemon remembers: every container that can be reached from its engine, and how much is in it.

Two looks at a daemon at rest show what stays behind: a position that is closed, an order that has ended and a wave that
is told must leave nothing but what is kept on purpose, and that has a bound.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

OURS = ("core.", "tgbot.", "strategies.")
_CONTAINERS = (dict, list, set, frozenset, tuple, deque)


def census(root: object) -> Counter[str]:
    """Elements by place, e.g. `ExitEngine._watched`; places of many objects of a class are added up."""
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [(type(root).__name__, root)]
    while waiting:
        place, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _CONTAINERS):
            sizes[place] += len(value)
            waiting += [(place, item) for item in _inside(value)]
        elif type(value).__module__.startswith(OURS):
            waiting += [(f"{type(value).__name__}.{name}", part) for name, part in _parts(value)]
        elif callable(value):
            waiting += [(f"{place}()", part) for part in _bound(value)]
    return sizes


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Places that hold more than before."""
    return {place: (before.get(place, 0), size) for place, size in after.items() if size > before.get(place, 0)}


def _inside(value: Any) -> Iterator[object]:
    if isinstance(value, dict):
        yield from tuple(value.keys())
        yield from tuple(value.values())
    else:
        yield from tuple(value)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    yield from vars(value).items() if hasattr(value, "__dict__") else ()
    for cls in type(value).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if hasattr(value, name):
                yield name, getattr(value, name)


def _bound(value: Any) -> Iterator[object]:
    """What a method belongs to, and what a function remembers."""
    if (owner := getattr(value, "__self__", None)) is not None:
        yield owner
    for cell in getattr(value, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
