"""Names of public topics: what follows which symbol, in which detail, and how often it may speak."""

from __future__ import annotations

from msgspec import Struct

MINUTE_MS = 60_000
DAY = "D"
MINUTES = {"1": 1, "3": 3, "5": 5, "15": 15, "30": 30, "60": 60, "120": 120, "240": 240, "360": 360, "720": 720}
INTERVALS = (*MINUTES, DAY, "W", "M")
BOOK_PACE_MS = {"1": 10, "50": 20, "200": 100, "1000": 200}
MAX_ARGS_CHARS = 21_000
"""All arguments of one public connection together."""

_PACE_MS = {"tickers": 100, "publicTrade": 0, "kline": 0, "allLiquidation": 0, "priceLimit": 300}
_DETAILED = {"kline": INTERVALS, "orderbook": tuple(BOOK_PACE_MS)}


class Topic(Struct, frozen=True):
    """One public topic. ``detail`` is a kline's interval or a book's depth, "" for the others."""

    name: str
    kind: str
    symbol: str
    detail: str = ""

    @property
    def pace_ms(self) -> int:
        """Least time between two pushes."""
        return BOOK_PACE_MS[self.detail] if self.kind == "orderbook" else _PACE_MS[self.kind]


def parse_topic(name: str) -> Topic | None:
    """The topic a name stands for; None for one that is not offered. Whether its symbol exists is not looked at."""
    kind, _, rest = name.partition(".")
    if kind in _DETAILED:
        detail, _, symbol = rest.partition(".")
        return Topic(name, kind, symbol, detail) if detail in _DETAILED[kind] and symbol else None
    return Topic(name, kind, rest) if kind in _PACE_MS and rest else None
