"""What a parser may be given: a real payload with something wrong in it.

JSON is changed as a tree, so that most of what comes out still parses and the damage sits in one field; anything may
also be changed as text or as bytes. All chance comes from one `Random`, so that a seed, or hypothesis, repeats it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any

from msgspec import Struct

MOST_BYTES = 256 * 1024
"""Larger than any frame of a stream; what is larger still is refused by size before a parser sees it."""
_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+")


class Literal(Struct, frozen=True):
    """Written as it is: what a JSON library would never write."""

    text: str


_NESTED = tuple(Literal("[" * depth + "]" * depth) for depth in (40, 2_000, 100_000))
_TEXTS = (
    "", " ", "0", "-0", "-1", "+1", "1e5", "1E+2", "00012", "1.", ".5", "0x10", "1_000", "1,5", "١٢٣", "NaN", "sNaN",
    "-nan", "Infinity", "-Infinity", "inf", "1e-999999999", "1e999999999", "-1e999999999", "1e-31", "1e18", "1e19",
    "0." + "0" * 400 + "1", "9" * 19, "9" * 400, "9" * 5_000, "9223372036854775808", "-9223372036854775809",
    "true", "null", "None", "[]", "{}", "\x00", "a\x00b", "\x1b[31m", "\u202e", "\ufeff", "é", "💥", "A" * 20_000,
    "'; DROP TABLE orders; --", "%s%n", "../../etc/passwd", "BTCUSDT", "BTC-USDT-SWAP", "BUY", "sell", "LONG", "BOTH",
    "1970-01-01", "9999-12-31T23:59:59Z", "2026-13-45", "0001-01-01T00:00:00+23:59", "253402300800000",
)  # fmt: skip
_LITERALS = (
    *map(Literal, (
        "null", "true", "false", "0", "-0", "-1", "1.5", "-0.0", "1e400", "-1e400", "1e-400", "1E5",
        "18446744073709551616", "9223372036854775808", "-9223372036854775809", "253402300800000", "NaN",
        "Infinity", "-Infinity", "[]", "{}", '""', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"', "01", "+1",
        "nul", "'a'", "[1,]", '{"a":1,"a":2}',
    )),
    Literal("9" * 400), Literal("9" * 5_000), Literal("1e" + "9" * 30), *_NESTED,
)  # fmt: skip
_BYTES = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"\n", b"\r", b'"', b"\\", b"{", b"[", b",")


def mutated(data: bytes, chance: Random, donors: Sequence[bytes] = ()) -> bytes:
    """`data` with one to four things wrong; `donors` are payloads that parts may come from."""
    kind = chance.random()
    if kind < 0.75:
        changed = _as_tree(data, chance, donors)
        if changed is not None:
            return changed[:MOST_BYTES]
    for _ in range(chance.randint(1, 3)):
        data = (_as_text if chance.random() < 0.6 else _as_bytes)(data, chance, donors)
    return data[:MOST_BYTES]


def _as_tree(data: bytes, chance: Random, donors: Sequence[bytes]) -> bytes | None:
    """None where `data` is no JSON."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    holder = [tree]
    for _ in range(chance.randint(1, 4)):
        _edit(holder, chance, donors)
    # Compact as venues send it: their frames are told apart by how they begin.
    text = _written(holder[0], ", " if chance.random() < 0.1 else ",")
    return text.encode("utf-8", "surrogatepass")


def _edit(holder: list[Any], chance: Random, donors: Sequence[bytes]) -> None:
    """Change one place somewhere below `holder`."""
    parent, key = _place(holder, chance)
    value = parent[key]
    match chance.randrange(8):
        case 0 | 1 | 2:
            parent[key] = chance.choice(_TEXTS)
        case 3 | 4:
            parent[key] = chance.choice(_LITERALS)
        case 5:
            parent[key] = _retyped(value)
        case 6 if isinstance(parent, dict):
            del parent[key]
            if chance.random() < 0.5:
                parent[chance.choice(_TEXTS)] = value
        case 6:
            parent.extend([value] * chance.choice((1, 2, 300)))
        case _:
            other, there = _place([_donated(chance, donors, deepcopy(holder[0]))], chance)
            parent[key] = other[there]


def _place(holder: list[Any], chance: Random) -> tuple[Any, Any]:
    """A container and a key in it, deeper places as likely as shallow ones."""
    parent: Any = holder
    key: Any = 0
    while isinstance(parent[key], dict | list) and parent[key] and chance.random() < 0.85:
        parent = parent[key]
        key = chance.choice(list(parent)) if isinstance(parent, dict) else chance.randrange(len(parent))
    return parent, key


def _donated(chance: Random, donors: Sequence[bytes], otherwise: Any) -> Any:
    try:
        return json.loads(chance.choice(donors)) if donors else otherwise
    except (ValueError, RecursionError):
        return otherwise


def _retyped(value: Any) -> Any:
    """The same in another type, as careless servers change it between versions."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return Literal(value) if re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", value) else [value]
    return [value] if isinstance(value, dict) else {"0": value}


def _written(value: Any, comma: str) -> str:
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, dict):
        return "{" + comma.join(f"{json.dumps(key)}:{_written(item, comma)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + comma.join(_written(item, comma) for item in value) + "]"
    return json.dumps(value, ensure_ascii=not isinstance(value, str) or "\ud800" <= value[:1] <= "\udfff")


def _as_text(data: bytes, chance: Random, donors: Sequence[bytes]) -> bytes:
    """A word or a line is changed, doubled or taken out."""
    if chance.random() < 0.3:
        lines = data.split(b"\n")
        number = chance.randrange(len(lines))
        match chance.randrange(3):
            case 0:
                lines.insert(chance.randrange(len(lines) + 1), lines[number])
            case 1:
                del lines[number]
            case _:
                lines[number] = chance.choice(donors) if donors else b""
        return b"\n".join(lines)
    words = list(_TOKEN.finditer(data[:20_000]))
    if not words:
        return data + chance.choice(_TEXTS).encode()
    word = chance.choice(words)
    literal = chance.choice(_LITERALS).text if chance.random() < 0.3 else chance.choice(_TEXTS)
    return data[: word.start()] + literal.encode("utf-8", "surrogatepass") + data[word.end() :]


def _as_bytes(data: bytes, chance: Random, donors: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(5):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + chance.choice(_BYTES) + data[at:]
        case 2 if data:
            at %= len(data)
            return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        case 3:
            other = chance.choice(donors) if donors else data
            return data[:at] + other[chance.randrange(len(other) + 1) :]
        case _:
            return data[:at] + data[at : at + 40] * chance.choice((2, 200)) + data[at:]
