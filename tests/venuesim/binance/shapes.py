"""Compares the shape of JSON values: key sets and types, rows of an array taken together."""

from __future__ import annotations

from typing import Any

Shape = dict[str, set[str]]
_KINDS = {str: "text", bool: "flag", int: "number", float: "number", type(None): "null"}


def shape(value: Any, path: str = "") -> Shape:
    """Every path inside a value with the JSON types seen there; array elements share the path `[]`."""
    found: Shape = {}
    _collect(value, path, found)
    return found


def _collect(value: Any, path: str, found: Shape) -> None:
    if isinstance(value, dict):
        found.setdefault(path or ".", set()).add("object")
        for key, inner in value.items():
            _collect(inner, f"{path}.{key}", found)
    elif isinstance(value, list):
        found.setdefault(path or ".", set()).add("array")
        for inner in value:
            _collect(inner, f"{path}[]", found)
    else:
        found.setdefault(path or ".", set()).add(_KINDS[type(value)])


def differences(ours: Any, theirs: Any, allowed: frozenset[str]) -> list[str]:
    """What differs between two shapes, except for the paths in `allowed` (and everything below them)."""
    mine, other = shape(ours), shape(theirs)
    found = []
    for path in sorted(mine.keys() | other.keys()):
        if any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in allowed):
            continue
        if path not in mine:
            found.append(f"{path}: the venue has it, we do not")
        elif path not in other:
            found.append(f"{path}: we have it, the venue does not")
        elif not mine[path] & other[path]:
            found.append(f"{path}: we send {sorted(mine[path])}, the venue {sorted(other[path])}")
    return found
