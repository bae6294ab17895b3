"""Tables and figures for a phone: fixed width, at most `WIDTH` columns, which no phone breaks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from core.domain.ids import InstrumentId
from core.domain.money import plain
from core.domain.spans import span

WIDTH: Final = 38
GAP: Final = 1
_DIGITS: Final = 7


def columns(rows: Sequence[Sequence[str]], align: str, *, head: Sequence[str] = (), width: int = WIDTH) -> list[str]:
    """Lines of equal columns; `align` has `<` or `>` for each. Where they are too wide together, the widest column that
    is aligned left loses its ends."""
    every = [*([head] if head else []), *rows]
    if not every:
        return []
    widths = [max(len(row[at]) for row in every) for at in range(len(align))]
    while (surplus := sum(widths) + GAP * (len(align) - 1) - width) > 0:
        left = [at for at, side in enumerate(align) if side == "<" and widths[at] > 4]
        if not left:
            break
        at = max(left, key=lambda index: widths[index])
        widths[at] = max(4, widths[at] - surplus)
    return [_row(row, align, widths) for row in every]


def _row(row: Sequence[str], align: str, widths: Sequence[int]) -> str:
    cells = (f"{fitted(cell, size):{side}{size}}" for cell, side, size in zip(row, align, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()


def pair(left: str, right: str, width: int = WIDTH) -> str:
    """One line, its halves at both ends."""
    return f"{left} {right:>{max(len(right), width - len(left) - 1)}}" if right else left


def fitted(text: str, size: int) -> str:
    """At most so many characters."""
    return text if len(text) <= size else text[: size - 1] + "…"


def wrapped(text: str, indent: str = "", width: int = WIDTH) -> list[str]:
    """Broken between words, and inside those that are longer than a line."""
    lines: list[str] = []
    line = indent
    for given in text.split():
        word = given
        while word:
            room = width - len(line) - (1 if line.strip() else 0)
            if len(word) <= room:
                line += (" " if line.strip() else "") + word
                word = ""
            elif line.strip():
                lines.append(line)
                line = indent
            else:
                lines.append(line + word[:room])
                word = word[room:]
    return [*lines, line] if line.strip() else lines


def money(amount: Decimal | None, *, signed: bool = False) -> str:
    """Two digits of quote coin, more where there is less than a cent, none from 100,000 on."""
    if amount is None:
        return "?"
    size = abs(amount)
    digits = 0 if size >= 100_000 else 2 if size >= Decimal("0.01") or not size else 4
    rounded = round(amount, digits)
    text = f"{rounded:.{digits}f}"
    if not rounded:
        return f"{0:.{digits}f}"
    return f"+{text}" if signed and rounded > 0 else text


def percent(value: Decimal | None, *, signed: bool = True) -> str:
    if value is None:
        return "?"
    rounded = round(value, 2 if abs(value) < 100 else 0)
    return f"{'+' if signed and rounded > 0 else ''}{rounded:f}%"


def price(value: Decimal | None) -> str:
    """Seven digits that matter: an average of several fills may have thirty."""
    if value is None:
        return "?"
    if value >= 10**_DIGITS:
        return f"{value:.0f}"
    return plain(Decimal(f"{value:.{_DIGITS}g}"))


def quantity(value: Decimal | None) -> str:
    return "?" if value is None else plain(Decimal(f"{value:.8g}"))


def duration(seconds: float | None) -> str:
    """The two largest units: 3d04h, 4h05m, 5m06s, 6s; "?" where it is not known."""
    return "?" if seconds is None else span(seconds)


def coin(symbol: str) -> str:
    """`BTC` of `BTC/USDT:USDT`; with its quote where that is another than USDT, with its expiry where it has one."""
    base, _, rest = symbol.partition("/")
    quote, _, settled = rest.partition(":")
    extra = settled.removeprefix(quote)
    return base + (f"/{quote}" if quote not in {"", "USDT"} else "") + extra


def named(instrument: InstrumentId) -> str:
    """`BTC okx`."""
    return f"{coin(instrument.symbol)} {instrument.venue.value}"


def moment(time_ms: int, now_ms: int | None = None) -> str:
    """UTC: `14:05:09` on the day of `now_ms`, else `11-21 14:05`."""
    at = datetime.fromtimestamp(time_ms / 1000, UTC)
    today = now_ms is not None and datetime.fromtimestamp(now_ms / 1000, UTC).date() == at.date()
    return f"{at:%H:%M:%S}" if today else f"{at:%m-%d %H:%M}"
