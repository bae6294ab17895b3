"""The public market of one instrument: price, book, trades and candles at any asked moment.

It computes lazily: nothing happens for a symbol nobody looks at, and looking at it catches up in stretches of a few
seconds (see ``runs``), so the prices do not depend on who looked when. Prices are whole ticks and quantities whole
lots inside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import islice
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from tools.venuesim.exchange.candles import CandleSeries
from tools.venuesim.exchange.history import (
    HISTORY_MINUTES,
    MINUTE_MS,
    POINTS_PER_MINUTE,
    SHAPES,
    History,
    Minute,
    Recorded,
    Shaped,
    shape,
)
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
from tools.venuesim.exchange.path import LIVELY_VOLUME, Bar, BarPath, Moods, PricePath, SyntheticPath
from tools.venuesim.exchange.runs import Run

DAY_MINUTES = 1_440
LEVELS = 20
LEVEL_NOTIONAL = 40_000
MINUTE_NOTIONAL = 140_000
"""Quote volume of a synthetic minute: an hour is far above the 50,000 the entry filter asks for."""
OPEN_INTEREST_NOTIONAL = Decimal(60_000_000)
LONG_PAUSE_STEPS = 20_000
"""A symbol nobody looked at for longer catches up in whole minutes."""
BASIS_KEPT = 0.98
"""How much of the distance between mark and index survives a step."""
LAG_KEPT = 0.5
"""How much of the index's distance to the last price survives a step."""
KEPT_TRADES = 500
WARM_UP_S = 60.0
"""How far a path has walked from its reference price when the market opens."""


class MarketSettings(Struct, frozen=True, kw_only=True):
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
        self._trade_id = 1_000_000
        self._steps = 0
        self._hold_until_ms = 0.0
        self._basis = 0.0
        self._taken: dict[int, int] = {}
        self._levels: dict[Side, list[tuple[int, int]]] = {}
        self._quoted: Quote | None = None
        """The last quote, for as long as nothing moves: one move is told to several streams."""
        self._measure(instrument)
        # A waypoint every few seconds; a replayed file has corners of its own, which no stretch may cut.
        self._stretch_ms = (
            0.0 if bars else MINUTE_MS / max(POINTS_PER_MINUTE, round(POINTS_PER_MINUTE * settings.speed))
        )
        self._runs: deque[Run] = deque(maxlen=self._kept_runs())
        self._moods = Moods(Random(f"{settings.seed}/{instrument.symbol}/moods"))
        synthetic = SyntheticPath(self._rng, float(instrument.reference), self._moods)
        self._path: PricePath = synthetic
        self._last = self._ticks(synthetic.advance(WARM_UP_S))
        past = self._replay(bars, bar_seconds, synthetic) if bars else self._shaped_history(settings.start_ms)
        self._candles = CandleSeries(instrument.tick, instrument.step, past)
        self._index = float(self._last)
        self._print(settings.start_ms, self._lots(1.0))

    def advance(self, now_ms: float) -> bool:
        """Catch up to this moment. True when at least one step was made."""
        target = int((now_ms - self._settings.start_ms) / self._settings.step_ms)
        if target <= self._steps:
            return False
        while self._steps < target:
            run = self._runs[-1]
            if run.at_ms is not None or self._steps >= run.last:
                run = self._next_run(target)
            self._follow(run, min(target, run.last))
        self._refill()
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
        self._print(round(now_ms), 1)

    def regrid(self, instrument: Instrument) -> None:
        """The instrument's limits changed; with another tick or step everything is rounded to the new grid."""
        before, self.instrument = self.instrument, instrument
        if (before.tick, before.step) == (instrument.tick, instrument.step):
            return
        prices, lots = before.tick / instrument.tick, before.step / instrument.step
        self._measure(instrument)
        self._last = max(1, round(self._last * prices))
        self._index *= float(prices)
        self._runs = deque((_rescaled(run, prices, lots) for run in self._runs), maxlen=self._runs.maxlen)
        self._candles.regrid(instrument.tick, instrument.step)
        self._refill()
        # The stretch under way leads to a price between two new ticks perhaps: begin another from here.
        self._print(round(self._time_of(self._steps)), 1)

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
            self._quoted = None
            taken.append(Level(price=price, qty=part * step))
        return taken

    def reach(self, side: Side, qty: Decimal, limit: Decimal) -> Decimal:
        """The last price an order of this side would come to on its way: its limit if the book does not suffice."""
        tick, step = self.instrument.tick, self.instrument.step
        wanted = int(qty / step)
        for ticks, lots in self._available(side):
            price = ticks * tick
            if (limit - price) * side.sign < 0:
                break
            wanted -= lots
            if wanted <= 0:
                return price
        return limit

    def fillable(self, side: Side, limit: Decimal | None) -> Decimal:
        """How much an order of this side could take down to ``limit``."""
        tick = self.instrument.tick
        lots = sum(
            lots for ticks, lots in self._available(side) if limit is None or (limit - ticks * tick) * side.sign >= 0
        )
        return lots * self.instrument.step

    def quote(self, now_ms: int) -> Quote:
        known = self._quoted
        if known is not None and known.time_ms == now_ms:
            return known
        tick, step = self.instrument.tick, self.instrument.step
        ask, ask_lots = self._best(Side.BUY)
        bid, bid_lots = self._best(Side.SELL)
        self._quoted = Quote(
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
        return self._quoted

    def depth(self, now_ms: int) -> Depth:
        tick, step = self.instrument.tick, self.instrument.step
        sides = {
            side: tuple(Level(price=ticks * tick, qty=lots * step) for ticks, lots in self._available(side))
            for side in Side
        }
        return Depth(bids=sides[Side.SELL], asks=sides[Side.BUY], update_id=self._trade_id, time_ms=now_ms)

    def trades(self, limit: int | None = None) -> Sequence[PublicTrade]:
        """The newest ones, oldest first."""
        return tuple(islice(self._trades_backwards(), min(limit or KEPT_TRADES, KEPT_TRADES)))[::-1]

    def last_trade(self) -> PublicTrade:
        return next(self._trades_backwards())

    def candles(self, interval_ms: int, now_ms: float, limit: int | None = None) -> list[Candle]:
        self._candles.roll(int(now_ms), self._last)
        return self._candles.candles(interval_ms, limit)

    def open_at(self, time_ms: int, now_ms: float) -> Decimal:
        """What a minute of the past opened at; the oldest one known if that came later."""
        self._candles.roll(int(now_ms), self._last)
        return self._candles.open_at(time_ms) * self.instrument.tick

    def day_stats(self, now_ms: int) -> DayStats:
        self._candles.roll(now_ms, self._last)
        day = self._candles.window(DAY_MINUTES)
        tick, step = self.instrument.tick, self.instrument.step
        return DayStats(
            open=day.open * tick,
            high=day.high * tick,
            low=day.low * tick,
            last=self.last,
            last_qty=self.last_trade().qty,
            volume=day.lots * step,
            quote_volume=day.tick_lots * tick * step,
            open_ms=now_ms - DAY_MINUTES * MINUTE_MS,
            close_ms=now_ms,
            first_trade_id=self._trade_id - day.trades + 1,
            last_trade_id=self._trade_id,
            trades=day.trades,
        )

    def open_interest(self) -> Decimal:
        """In base units, worth about the same at any price."""
        step = self.instrument.step
        return (OPEN_INTEREST_NOTIONAL / self.last / step).to_integral_value() * step

    def _measure(self, instrument: Instrument) -> None:
        self._tick = float(instrument.tick)
        self._lots_of_notional = 1 / (self._tick * float(instrument.step))

    def _kept_runs(self) -> int:
        """Enough for the trades that can be asked for."""
        steps = max(1, int(self._stretch_ms / self._settings.step_ms))
        return KEPT_TRADES // steps + 4

    def _shaped_history(self, start_ms: int) -> History:
        settings, symbol = self._settings, self.instrument.symbol
        number = Random(f"{settings.seed}/{symbol}/shape").randrange(SHAPES)
        lots = max(1, round(MINUTE_NOTIONAL / 100 * self._lots_of_notional / self._last))
        newest = start_ms - start_ms % MINUTE_MS - MINUTE_MS
        return Shaped(shape(settings.seed, number), float(self._last), lots, newest)

    def _replay(self, bars: Sequence[Bar], bar_seconds: float, after: SyntheticPath) -> History:
        start = self._settings.start_ms - self._settings.start_ms % MINUTE_MS
        if bar_seconds == MINUTE_MS / 1000 and len(bars) > HISTORY_MINUTES:
            first = start - HISTORY_MINUTES * MINUTE_MS
            head, bars = bars[:HISTORY_MINUTES], bars[HISTORY_MINUTES:]
            past: History = Recorded([self._minute(bar, first + n * MINUTE_MS) for n, bar in enumerate(head)])
            self._last = self._ticks(bars[0].open)
        else:
            self._last = self._ticks(bars[0].open)
            past = self._shaped_history(self._settings.start_ms)
        self._path = BarPath(bars, bar_seconds, after)
        return past

    def _minute(self, bar: Bar, open_ms: int) -> Minute:
        lots = int(bar.volume / float(self.instrument.step))
        high, low = self._ticks(bar.high), self._ticks(bar.low)
        worth = lots * (high + low) // 2
        return Minute(
            open_ms, self._ticks(bar.open), high, low, self._ticks(bar.close), lots, worth, POINTS_PER_MINUTE,
            lots // 2, worth // 2,
        )  # fmt: skip

    def _next_run(self, target: int) -> Run:
        """The stretch that begins now: frozen while a price is held, towards the path's next waypoint otherwise."""
        first, step_ms = self._steps, self._settings.step_ms
        time_ms = self._time_of(first + 1)
        stretch_ms = MINUTE_MS if target - first > LONG_PAUSE_STEPS else self._stretch_ms
        minute = time_ms // MINUTE_MS * MINUTE_MS
        end_ms = minute + ((time_ms - minute) // stretch_ms + 1) * stretch_ms if stretch_ms else time_ms
        held = time_ms < self._hold_until_ms
        if held:
            end_ms = min(end_ms, self._hold_until_ms)
        last = max(first + 1, int((end_ms - self._settings.start_ms) / step_ms))
        if last > first + 1 and self._time_of(last) >= end_ms:
            last -= 1
        seconds = (last - first) * step_ms / 1000
        run = Run(
            first=first,
            last=last,
            start=self._last,
            end=self._last if held else self._ticks(self._path.advance(seconds * self._settings.speed)),
            lots=max(last - first, self._lots(seconds)),
            first_trade_id=self._trade_id + 1,
            held=held,
        )
        self._runs.append(run)
        return run

    def _follow(self, run: Run, until: int) -> None:
        """Make the steps of a stretch up to one of them, all at once."""
        made, before = until - self._steps, self._steps
        if not run.held:
            kept = LAG_KEPT**made
            lag = (run.exact(before) - self._index) * kept + run.slope * LAG_KEPT * (1 - kept) / (1 - LAG_KEPT)
            self._index = run.exact(until) - lag
            self._basis *= BASIS_KEPT**made
        first, self._last, self._steps = run.ticks(before + 1), run.ticks(until), until
        self._trade_id += made
        self._candles.add(
            int(self._time_of(until)),
            (min(first, self._last), max(first, self._last)),
            self._last,
            run.lots_until(until) - run.lots_until(before),
            run.worth_until(until) - run.worth_until(before),
            made,
        )

    def _print(self, time_ms: int, lots: int) -> None:
        """One trade at the last price, outside the steps."""
        self._trade_id += 1
        self._quoted = None
        step, price = self._steps, self._last
        self._runs.append(
            Run(
                first=step - 1,
                last=step,
                start=price,
                end=price,
                lots=lots,
                first_trade_id=self._trade_id,
                at_ms=time_ms,
            )
        )
        self._candles.add(time_ms, (price, price), price, lots, lots * price, 1)

    def _trades_backwards(self) -> Iterator[PublicTrade]:
        # A stretch that was cut short by a print ends where that begins.
        until = self._trade_id
        for run in reversed(self._runs):
            for number in range(until, run.first_trade_id - 1, -1):
                step = run.first + 1 + number - run.first_trade_id
                yield self._trade(run, step, number)
            until = run.first_trade_id - 1

    def _trade(self, run: Run, step: int, number: int) -> PublicTrade:
        lots = run.lots_until(step) - run.lots_until(step - 1)
        return PublicTrade(
            id=number,
            price=run.ticks(step) * self.instrument.tick,
            qty=max(1, lots) * self.instrument.step,
            time_ms=run.at_ms if run.at_ms is not None else int(self._time_of(step)),
            buyer_maker=bool(number & 1),
        )

    def _time_of(self, step: int) -> float:
        return self._settings.start_ms + step * self._settings.step_ms

    def _ticks(self, price: float) -> int:
        return max(1, round(price / self._tick))

    def _lots(self, seconds: float) -> int:
        liveliness = LIVELY_VOLUME if self._moods.lively else 1.0
        notional = liveliness * MINUTE_NOTIONAL * seconds / 60 * (0.5 + self._rng.random())
        return max(1, int(notional * self._lots_of_notional / self._last))

    def _refill(self) -> None:
        self._taken.clear()
        self._levels.clear()
        self._quoted = None

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

    def _best(self, side: Side) -> tuple[int, int]:
        """The first of `_available`; most looks at a book want no more of it."""
        if self._taken or side in self._levels:
            return self._available(side)[0]
        return self._make_levels(side, 1)[0]

    def _make_levels(self, side: Side, count: int = LEVELS) -> list[tuple[int, int]]:
        sign, last = side.sign, self._last
        spread = max(1, last // 20_000)
        bid = max(1, last - spread // 2)
        start = bid + spread if side is Side.BUY else bid
        gap = sign * max(1, last // 10_000)
        scramble, lots_of_notional = self._trade_id * 2_654_435_761 + sign, self._lots_of_notional
        levels = []
        for number in range(count):
            ticks = start + gap * number
            if ticks < 1:
                break
            # A cheap scramble instead of the generator: the book must not depend on how often it was looked at.
            noise = ((scramble + number * 40_503) >> 7) % 100
            notional = LEVEL_NOTIONAL * (1 + number / 2) * (0.7 + noise / 166)
            levels.append((ticks, max(1, int(notional * lots_of_notional / last))))
        return levels


def _rescaled(run: Run, prices: Decimal, lots: Decimal) -> Run:
    return replace(
        run,
        start=max(1, round(run.start * prices)),
        end=max(1, round(run.end * prices)),
        lots=max(run.length, round(run.lots * lots)),
    )
