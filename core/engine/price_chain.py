"""One instrument's prices by level, and which of them serves: live tick, last closed candle, ticker by request.

A level is used while it is fresh enough, the best one first; a better one that is too old never hides a worse one that
is not. What is handed out is a value that never changes (MKT-10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from core.domain.candle import Candle
from core.domain.ids import InstrumentId
from core.domain.money import Price
from core.domain.pace import learned, widened
from core.domain.plausible import believed
from core.domain.prices import AgeLimits, PriceKind, PriceSource, Snapshot
from core.engine.ports import PriceTriple, Quote

MINUTE_MS = 60_000
FORGOTTEN_MS = 60_000
"""A price that old is no base to measure a jump from."""
LATE_MS, LATEST_MS = 2_000, 60_000
"""A tick that took so long to come is as old as that; one that took longer still is dated by a clock that is wrong."""


class ChainRules(Struct, frozen=True, kw_only=True):
    """`limits` before an instrument's own pace widens them, at most by `widest_factor`. `jump_percent` from one tick to
    the next is believed when a second source agrees."""

    limits: AgeLimits
    widest_factor: int
    jump_percent: Decimal
    kind: PriceKind


@dataclass(slots=True)
class _Level:
    """`at_ms` monotonic: when it was so."""

    told: Snapshot
    at_ms: int

    def seen(self, now_ms: int) -> Snapshot:
        told = self.told
        age_ms = now_ms - self.at_ms
        if age_ms <= 0:
            return told
        return Snapshot(
            told.instrument,
            told.source,
            told.mark,
            told.bid,
            told.ask,
            told.last,
            told.venue_time_ms,
            age_ms,
            told.version,
        )


@dataclass(slots=True)
class PriceChain:
    """All times monotonic milliseconds. `doubted` is the live price that nothing else confirms, None = there is none.
    `limits` are those of this instrument's live ticks; a candle and a ticker have the configured ones."""

    instrument: InstrumentId
    rules: ChainRules
    limits: AgeLimits
    version: int = 0
    interval_ms: int = 0
    late_ms: int = 0
    """How long the newest tick was on its way, where that is long."""
    doubted: Price | None = None
    live: _Level | None = None
    candle: _Level | None = None
    ticker: _Level | None = None
    candles: list[Candle] = field(default_factory=list)

    def take(self, quote: Quote, now_ms: int, venue_ms: int) -> bool:
        """A live tick; False where it is held back until a second source agrees. Without a price of the kind that is
        gone by nothing changes. `venue_ms` is the venue's UTC now."""
        kind = self.rules.kind
        price = _of(quote, kind)
        if price is None:
            return True
        live = self.live
        if not self._believes(price, quote, now_ms):
            self.doubted = price
            return False
        self.doubted = None
        travelled_ms = venue_ms - quote.venue_time_ms - (now_ms - int(quote.received * 1000))
        self.late_ms = travelled_ms if LATE_MS < travelled_ms < LATEST_MS else 0
        at_ms = _received_ms(quote, kind) - self.late_ms
        self.version += 1
        told = Snapshot(
            self.instrument,
            PriceSource.WEBSOCKET,
            quote.mark,
            quote.bid,
            quote.ask,
            quote.last,
            quote.venue_time_ms,
            0,
            self.version,
        )
        if live is None:
            self.live = _Level(told, at_ms)
            return True
        gap_ms = at_ms - live.at_ms
        if gap_ms > 0:
            self._learn(gap_ms)
            live.at_ms = at_ms
        live.told = told
        return True

    def unchanged(self, received: float) -> None:
        """The stream says that nothing has changed until then (where it tells changes only)."""
        if self.live is not None and self.doubted is None:
            self.live.at_ms = max(self.live.at_ms, int(received * 1000) - self.late_ms)

    def take_candles(self, candles: Sequence[Candle], ended_ms: int) -> bool:
        """Closed minutes, oldest first, the newest of which ended at `ended_ms`; False where they tell nothing new.
        Older ones are kept as far as they follow without a gap (MKT-09)."""
        merged = {candle.open_ms: candle for candle in (*self.candles, *candles)}
        kept: list[Candle] = []
        for open_ms in sorted(merged, reverse=True):
            if kept and kept[-1].open_ms - open_ms != MINUTE_MS:
                break
            kept.append(merged[open_ms])
        news = not self.candles or kept[0].open_ms > self.candles[-1].open_ms
        self.candles = kept[:MOST_CANDLES][::-1]
        if news:
            self.version += 1
            close = kept[0].close
            time_ms = kept[0].open_ms + MINUTE_MS
            told = Snapshot(self.instrument, PriceSource.CANDLE, None, None, None, close, time_ms, 0, self.version)
            self.candle = _Level(told, ended_ms)
        return news

    def take_ticker(self, prices: PriceTriple, venue_time_ms: int, now_ms: int) -> None:
        self.version += 1
        told = Snapshot(
            self.instrument,
            PriceSource.REST,
            prices.mark,
            None,
            None,
            prices.last,
            venue_time_ms,
            0,
            self.version,
        )
        self.ticker = _Level(told, now_ms)

    def live_age_ms(self, now_ms: int) -> int | None:
        return None if self.live is None else max(0, now_ms - self.live.at_ms)

    def view(self, now_ms: int) -> tuple[Snapshot, bool] | None:
        """The best level that is fresh enough for a normal exit; else the youngest that a critical one may use."""
        live = self.live
        if live is not None and now_ms - live.at_ms <= self.limits.exit:
            return live.seen(now_ms), True
        configured = self.rules.limits
        for level in (self.candle, self.ticker):
            if level is not None and now_ms - level.at_ms <= configured.exit:
                return level.seen(now_ms), True
        found: _Level | None = None
        if live is not None and now_ms - live.at_ms <= self.limits.critical:
            found = live
        for level in (self.candle, self.ticker):
            if (
                level is not None
                and now_ms - level.at_ms <= configured.critical
                and (found is None or level.at_ms > found.at_ms)
            ):
                found = level
        return None if found is None else (found.seen(now_ms), False)

    def newest(self, now_ms: int) -> Snapshot | None:
        """Whatever its age."""
        levels = [level for level in (self.live, self.candle, self.ticker) if level is not None]
        return max(levels, key=lambda level: level.at_ms).seen(now_ms) if levels else None

    def fresh_mark(self, now_ms: int, within_ms: int) -> Price | None:
        """Live, else by request; a candle has none."""
        for level in (self.live, self.ticker):
            if level is not None and now_ms - level.at_ms <= within_ms and level.told.mark is not None:
                return level.told.mark
        return None

    def _believes(self, price: Price, quote: Quote, now_ms: int) -> bool:
        live, percent = self.live, self.rules.jump_percent
        last = None
        if live is not None and now_ms - live.at_ms <= FORGOTTEN_MS:
            last = live.told.price(self.rules.kind)
            if last is not None and (last == price or believed(price, last, (), percent)):
                return True
        return believed(price, None, self._others(quote, now_ms), percent)

    def _others(self, quote: Quote, now_ms: int) -> list[Price]:
        """What else is known of this moment, made in another way than the price that is gone by."""
        oldest_ms = now_ms - self.limits.exit
        others: list[Price] = []
        touched = quote.touch_received is not None and quote.touch_received * 1000 >= oldest_ms
        if touched and quote.bid is not None and quote.ask is not None:
            others.append(Price((quote.bid + quote.ask) / 2))
        if self.rules.kind is PriceKind.TRADES:
            if quote.mark is not None and quote.received * 1000 >= oldest_ms:
                others.append(quote.mark)
        elif quote.last is not None and quote.last_received is not None and quote.last_received * 1000 >= oldest_ms:
            others.append(quote.last)
        if self.ticker is not None and self.ticker.at_ms >= oldest_ms:
            told = self.ticker.told.price(self.rules.kind)
            others += [] if told is None else [told]
        return others

    def _learn(self, gap_ms: int) -> None:
        rules = self.rules
        if gap_ms > rules.widest_factor * rules.limits.exit:
            return  # an outage is no pace
        interval_ms = learned(self.interval_ms, gap_ms)
        if interval_ms == self.interval_ms:
            return
        wide = 2 * max(interval_ms, self.interval_ms) > rules.limits.entry
        self.interval_ms = interval_ms
        if wide:
            self.limits = limits_at(rules, interval_ms)


MOST_CANDLES = 60


def limits_at(rules: ChainRules, interval_ms: int) -> AgeLimits:
    limits, factor = rules.limits, rules.widest_factor
    return AgeLimits(
        entry=widened(limits.entry, interval_ms, factor),
        exit=widened(limits.exit, interval_ms, factor),
        critical=widened(limits.critical, interval_ms, factor),
        monitoring=widened(limits.monitoring, interval_ms, factor),
    )


def _of(quote: Quote, kind: PriceKind) -> Price | None:
    if kind is PriceKind.MARK:
        return quote.mark if quote.mark is not None else quote.last
    return quote.last if quote.last is not None else quote.mark


def _received_ms(quote: Quote, kind: PriceKind) -> int:
    """When the price that is gone by came."""
    trades = kind is PriceKind.TRADES and quote.last_received is not None
    return int((quote.last_received if trades and quote.last_received is not None else quote.received) * 1000)
