"""The market of a replay: straight lines between the corners of a candle, and a book that is never generous."""

from __future__ import annotations

import math
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.market import Market, MarketSettings
from tools.venuesim.exchange.model import Instrument, Side

DEEP = 10**9
"""Lots on the one level of the book: what it costs to take is said by the spread and the slippage."""


class Costs(Struct, frozen=True, kw_only=True):
    """Percent of the price. `spread` between bid and ask; `slippage` beyond the touch for everything that takes."""

    spread: Decimal
    slippage: Decimal


class Tape(Market):
    """The last, mark and index price are one. Prices are whole ticks; those of candles are rounded to the nearest."""

    def __init__(self, instrument: Instrument, costs: Costs, start_ms: int) -> None:
        super().__init__(instrument, MarketSettings(seed=0, start_ms=start_ms))
        self._half_spread = float(costs.spread) / 200
        self._slippage = float(costs.slippage) / 100
        self._leg = (0.0, self._last, 1.0, self._last)
        self._sent: int | None = None

    @property
    def ticks(self) -> int:
        """The price now."""
        return self._last

    def ticks_of(self, price: Decimal) -> int:
        """Of a candle's price."""
        return max(1, round(price / self.instrument.tick))

    def stand(self, ticks: int, now_ms: float) -> None:
        """From its next `advance` on the price is this one, and stays there."""
        self._leg = (now_ms, ticks, now_ms, ticks)

    def lead(self, begin_ms: float, end_ms: float, target: int) -> None:
        """From now on the price goes straight from where it is to `target` ticks."""
        self._leg = (begin_ms, self._last, end_ms, target)

    def come_to(self, ticks: int, now_ms: float) -> None:
        """The price has got there on its way, exactly, and goes on."""
        _, _, end_ms, target = self._leg
        self._leg = (now_ms, ticks, end_ms, target)

    def when(self, ticks: int) -> float:
        """At what time (UTC ms) the price on its way gets there."""
        begin_ms, first, end_ms, target = self._leg
        return begin_ms + (end_ms - begin_ms) * (ticks - first) / (target - first)

    def touch(self) -> tuple[Decimal, Decimal]:
        """Bid and ask, without slippage."""
        half = self._half()
        tick = self.instrument.tick
        return max(1, self._last - half) * tick, (self._last + half) * tick

    def left_at(self, ticks: int | None) -> None:
        """An order that left when the price was this one fills no better than then, until None is said."""
        self._sent = ticks
        self._refill()

    # Market

    def advance(self, now_ms: float) -> bool:
        """True when the price is another one than before."""
        begin_ms, first, end_ms, target = self._leg
        if now_ms >= end_ms or first == target:
            ticks = target
        else:
            along = (now_ms - begin_ms) / (end_ms - begin_ms)
            ticks = first + math.trunc((target - first) * along)
        if ticks == self._last:
            return False
        self._put(ticks)
        return True

    def _put(self, ticks: int) -> None:
        self._last, self._index = ticks, float(ticks)
        self._refill()

    def _half(self) -> int:
        return math.ceil(self._last * self._half_spread)

    def _make_levels(self, side: Side, count: int = 1) -> list[tuple[int, int]]:
        """One level, however many: the worse of now and of when the order left, beyond spread and slippage."""
        del count
        base = self._last
        if self._sent is not None:
            base = max(base, self._sent) if side is Side.BUY else min(base, self._sent)
        away = self._half() + math.ceil(base * self._slippage)
        return [(max(1, base + side.sign * away), DEEP)]
