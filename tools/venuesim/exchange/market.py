"""The public market of one instrument: price, book, trades and candles at any asked moment.

It computes lazily: nothing happens for a symbol nobody looks at, and looking at it catches up step by step, so
the prices do not depend on who looked when. Prices are whole ticks and quantities whole lots inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

from tools.venuesim.exchange.candles import MINUTE_MS, CandleSeries, Minute
from tools.venuesim.exchange.model import (
    Candle,
    DayStats,
    Depth,
    Instrument,
    Level,
    PublicTrade,
    Quote,
    Side,
)
from tools.venuesim.exchange.path import Bar, BarPath, PricePath, SyntheticPath

HISTORY_MINUTES = 500
DAY_MINUTES = 1_440
LEVELS = 20
POINTS_PER_MINUTE = 4
LEVEL_NOTIONAL = 40_000
MINUTE_NOTIONAL = 140_000
"""Quote volume of a synthetic minute: an hour is far above the 50,000 the entry filter asks for."""
OPEN_INTEREST_NOTIONAL = Decimal(60_000_000)
LONG_PAUSE_STEPS = 20_000
"""A symbol nobody looked at for longer catches up in candle points instead of ticks."""
BASIS_KEPT = 0.98
"""How much of the distance between mark and index survives a step."""
INDEX_WEIGHT = 0.5
KEPT_TRADES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSettings:
    """``hz`` steps per second of protocol time; ``speed`` scales how far the price path moves in each."""

    seed: int
    start_ms: int
    hz: float = 2.0
    speed: float = 1.0

    @property
    def step_ms(self) -> float:
        return 1000 / self.hz


class Market:
    """See the module. ``bars`` with their spacing replay a file: the first 500 as history if there are enough."""

    def __init__(
        self, instrument: Instrument, settings: MarketSettings, bars: Sequence[Bar] = (), bar_seconds: float = 60.0
    ) -> None:
        self.instrument = instrument
        self._settings = settings
        self._rng = Random(f"{settings.seed}/{instrument.symbol}")
        self._tick = float(instrument.tick)
        self._lots_of_notional = 1 / (self._tick * float(instrument.step))
        self._candles = CandleSeries(instrument.tick, instrument.step)
        self._trades: deque[PublicTrade] = deque(maxlen=KEPT_TRADES)
        self._trade_id = 1_000_000
        self._steps = 0
        self._hold_until_ms = 0.0
        self._basis = 0.0
        self._taken: dict[int, int] = {}
        self._levels: dict[Side, list[tuple[int, int]]] = {}
        self._last = 0
        self._index = 0.0
        self._path = self._begin(bars, bar_seconds)

    def advance(self, now_ms: float) -> bool:
        """Catch up to this moment. True when at least one step was made."""
        target = int((now_ms - self._settings.start_ms) / self._settings.step_ms)
        if target <= self._steps:
            return False
        if target - self._steps > LONG_PAUSE_STEPS:
            self._leap(target)
        while self._steps < target:
            self._step()
        return True

    def set_price(self, price: Decimal, mark: Decimal | None, now_ms: float, hold_ms: float) -> None:
        """Put last, bid, ask and index here (rounded to a tick), mark too unless given; the path goes on from it."""
        self.advance(now_ms)
        self._hold_until_ms = now_ms + hold_ms
        self._last = max(1, int((price / self.instrument.tick).to_integral_value(ROUND_HALF_EVEN)))
        self._index = float(self._last)
        self._path.anchor(self._last * self._tick)
        self._basis = float(mark / price) - 1 if mark is not None else 0.0
        self._refill()
        self._trade(round(now_ms), 1)

    @property
    def revision(self) -> int:
        """Grows whenever the book changes by itself."""
        return self._trade_id

    @property
    def last(self) -> Decimal:
        return self._last * self.instrument.tick

    @property
    def index(self) -> Decimal:
        return max(1, round(self._index)) * self.instrument.tick

    @property
    def mark(self) -> Decimal:
        return max(1, round(self._index * (1 + self._basis))) * self.instrument.tick

    def best(self, side: Side) -> Decimal:
        """The price an order of this side would start to take at."""
        return self._available(side)[0][0] * self.instrument.tick

    def take(self, side: Side, qty: Decimal, limit: Decimal | None) -> list[Level]:
        """Walk the book with an order of this side, no further than ``limit``; what is taken is gone until refilled."""
        tick, step = self.instrument.tick, self.instrument.step
        wanted = int(qty / step)
        taken: list[Level] = []
        for ticks, lots in self._available(side):
            price = ticks * tick
            if wanted <= 0 or (limit is not None and (limit - price) * side.sign < 0):
                break
            part = min(wanted, lots)
            wanted -= part
            self._taken[ticks] = self._taken.get(ticks, 0) + part
            taken.append(Level(price=price, qty=part * step))
        return taken

    def fillable(self, side: Side, limit: Decimal | None) -> Decimal:
        """How much an order of this side could take down to ``limit``."""
        tick = self.instrument.tick
        lots = sum(
            lots for ticks, lots in self._available(side) if limit is None or (limit - ticks * tick) * side.sign >= 0
        )
        return lots * self.instrument.step

    def quote(self, now_ms: int) -> Quote:
        tick, step = self.instrument.tick, self.instrument.step
        ask, ask_lots = self._available(Side.BUY)[0]
        bid, bid_lots = self._available(Side.SELL)[0]
        return Quote(
            symbol=self.instrument.symbol,
            last=self.last,
            bid=bid * tick,
            bid_qty=bid_lots * step,
            ask=ask * tick,
            ask_qty=ask_lots * step,
            mark=self.mark,
            index=self.index,
            time_ms=now_ms,
            update_id=self._trade_id,
        )

    def depth(self, now_ms: int) -> Depth:
        tick, step = self.instrument.tick, self.instrument.step
        sides = {
            side: tuple(Level(price=ticks * tick, qty=lots * step) for ticks, lots in self._available(side))
            for side in Side
        }
        return Depth(bids=sides[Side.SELL], asks=sides[Side.BUY], update_id=self._trade_id, time_ms=now_ms)

    def trades(self) -> Sequence[PublicTrade]:
        return tuple(self._trades)

    def last_trade(self) -> PublicTrade:
        return self._trades[-1]

    def candles(self, interval_ms: int, now_ms: float, limit: int | None = None) -> list[Candle]:
        self._candles.roll(int(now_ms), self._last)
        return self._candles.candles(interval_ms, limit)

    def day_stats(self, now_ms: int) -> DayStats:
        self._candles.roll(now_ms, self._last)
        minutes: list[Minute] = list(self._candles.minutes())[-DAY_MINUTES:]
        tick, step = self.instrument.tick, self.instrument.step
        trades = sum(minute.trades for minute in minutes)
        return DayStats(
            open=minutes[0].open * tick,
            high=max(minute.high for minute in minutes) * tick,
            low=min(minute.low for minute in minutes) * tick,
            last=self.last,
            last_qty=self._trades[-1].qty,
            volume=sum(minute.lots for minute in minutes) * step,
            quote_volume=sum(minute.tick_lots for minute in minutes) * tick * step,
            open_ms=now_ms - DAY_MINUTES * MINUTE_MS,
            close_ms=now_ms,
            first_trade_id=self._trade_id - trades + 1,
            last_trade_id=self._trade_id,
            trades=trades,
        )

    def open_interest(self) -> Decimal:
        """In base units, worth about the same at any price."""
        step = self.instrument.step
        return (OPEN_INTEREST_NOTIONAL / self.last / step).to_integral_value() * step

    def _begin(self, bars: Sequence[Bar], bar_seconds: float) -> PricePath:
        synthetic = SyntheticPath(self._rng, float(self.instrument.reference))
        start = self._settings.start_ms - self._settings.start_ms % MINUTE_MS
        first = start - HISTORY_MINUTES * MINUTE_MS
        if not bars:
            self._walk_history(synthetic, first, self._settings.start_ms)
            return synthetic
        if bar_seconds == 60 and len(bars) > HISTORY_MINUTES:
            for number, bar in enumerate(bars[:HISTORY_MINUTES]):
                self._replay(bar, first + number * MINUTE_MS)
            bars = bars[HISTORY_MINUTES:]
        else:
            before = SyntheticPath(self._rng, bars[0].open)
            self._walk_history(before, first, self._settings.start_ms)
        self._last = self._ticks(bars[0].open)
        self._settle(start)
        return BarPath(bars, bar_seconds, synthetic)

    def _walk_history(self, path: SyntheticPath, first_ms: int, end_ms: int) -> None:
        gap = MINUTE_MS // POINTS_PER_MINUTE
        for time_ms in range(first_ms, end_ms + 1, gap):
            self._last = self._ticks(path.advance(gap / 1000))
            self._record(time_ms, self._lots(gap / 1000))
        self._settle(end_ms)

    def _replay(self, bar: Bar, open_ms: int) -> None:
        corners = (
            (bar.open, bar.low, bar.high, bar.close)
            if bar.close >= bar.open
            else (bar.open, bar.high, bar.low, bar.close)
        )
        lots = int(bar.volume / len(corners) / float(self.instrument.step))
        for number, price in enumerate(corners):
            self._last = self._ticks(price)
            self._record(open_ms + number * (MINUTE_MS // len(corners)), lots)

    def _settle(self, time_ms: int) -> None:
        self._index = float(self._last)
        self._refill()
        self._trade(time_ms, self._lots(1.0))

    def _step(self) -> None:
        self._steps += 1
        seconds = self._settings.step_ms / 1000
        time_ms = self._settings.start_ms + self._steps * self._settings.step_ms
        if time_ms >= self._hold_until_ms:
            self._move(seconds)
        self._refill()
        self._trade(int(time_ms), self._lots(seconds))

    def _leap(self, target: int) -> None:
        gap_ms = MINUTE_MS / POINTS_PER_MINUTE
        stride = max(1, round(gap_ms / self._settings.step_ms))
        while self._steps + stride < target:
            self._steps += stride
            time_ms = self._settings.start_ms + self._steps * self._settings.step_ms
            if time_ms >= self._hold_until_ms:
                self._move(gap_ms / 1000)
            self._trade(int(time_ms), self._lots(gap_ms / 1000))

    def _move(self, seconds: float) -> None:
        price = self._path.advance(seconds * self._settings.speed)
        self._last = self._ticks(price)
        self._index += INDEX_WEIGHT * (self._last - self._index)
        self._basis *= BASIS_KEPT

    def _ticks(self, price: float) -> int:
        return max(1, round(price / self._tick))

    def _lots(self, seconds: float) -> int:
        notional = MINUTE_NOTIONAL * seconds / 60 * (0.5 + self._rng.random())
        return max(1, int(notional * self._lots_of_notional / self._last))

    def _trade(self, time_ms: int, lots: int) -> None:
        self._record(time_ms, lots)
        self._trades.append(
            PublicTrade(
                id=self._trade_id,
                price=self.last,
                qty=lots * self.instrument.step,
                time_ms=time_ms,
                buyer_maker=bool(self._trade_id & 1),
            )
        )

    def _record(self, time_ms: int, lots: int) -> None:
        self._trade_id += 1
        self._candles.add(time_ms, self._last, lots, taker_buys=not self._trade_id & 1)

    def _refill(self) -> None:
        self._taken.clear()
        self._levels.clear()

    def _available(self, side: Side) -> list[tuple[int, int]]:
        """(ticks, lots) an order of this side can take, best first; never empty."""
        levels = self._levels.get(side)
        if levels is None:
            levels = self._levels[side] = self._make_levels(side)
        if self._taken:
            left = [(ticks, lots - self._taken.get(ticks, 0)) for ticks, lots in levels]
            # The last level never runs dry, so that there is always a best price to quote.
            return [row for row in left[:-1] if row[1] > 0] or [(left[-1][0], max(1, left[-1][1]))]
        return levels

    def _make_levels(self, side: Side) -> list[tuple[int, int]]:
        spread = max(1, self._last // 20_000)
        bid = max(1, self._last - spread // 2)
        start = bid + spread if side is Side.BUY else bid
        gap = max(1, self._last // 10_000)
        levels = []
        for number in range(LEVELS):
            ticks = start + side.sign * gap * number
            if ticks < 1:
                break
            # A cheap scramble instead of the generator: the book must not depend on how often it was looked at.
            noise = ((self._trade_id * 2_654_435_761 + number * 40_503 + side.sign) >> 7) % 100
            notional = LEVEL_NOTIONAL * (1 + number / 2) * (0.7 + noise / 166)
            levels.append((ticks, max(1, int(notional * self._lots_of_notional / self._last))))
        return levels
