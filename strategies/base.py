"""What a strategy is: a function of closed candles that answers exits and signals, no more (see `Strategy`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from core.domain.candle import Candle
from core.domain.ids import Asset, InstrumentId, SignalId, VenueName
from core.domain.money import ZERO
from core.domain.order import Order
from core.domain.position import Position, PositionKey
from core.domain.reports import PositionReport
from core.domain.signal import Side, Signal, SignalParameters


class Options(Struct, frozen=True, kw_only=True):
    """What the configuration says to a strategy. `min_score` in the range of its own scores (STRATEGY_MIN_SCORE)."""

    min_score: Decimal


class View(Struct, frozen=True, kw_only=True):
    """Everything a strategy may look at, as it was at one moment; nothing in it changes afterwards (MKT-10).

    `open_ms` (UTC) is the candle of `timeframe_ms` that just closed. `candles` holds, per instrument, closed candles
    only, oldest first, without a gap, the last one opened at `open_ms`; an instrument that could not be read, or whose
    history is shorter than the strategy's `warmup`, is not in it. `positions` are ours, `own` those of them that this
    strategy's signals opened, `account_positions` what the venues last said is open, whoever opened it. `orders` have
    not ended, in-flight and unknown ones included.
    `balances` is what is free, by venue and quote coin; a venue that has not said is missing. `valid_ms` is how long a
    signal made from this view may wait to be acted upon.
    """

    open_ms: int
    timeframe_ms: int
    now_ms: int
    valid_ms: int
    candles: Mapping[InstrumentId, Sequence[Candle]]
    positions: tuple[Position, ...] = ()
    own: tuple[Position, ...] = ()
    account_positions: tuple[PositionReport, ...] = ()
    orders: tuple[Order, ...] = ()
    balances: Mapping[tuple[VenueName, Asset], Decimal] = MappingProxyType({})

    @property
    def close_ms(self) -> int:
        """When the candle was over, UTC."""
        return self.open_ms + self.timeframe_ms

    def taken(self) -> frozenset[InstrumentId]:
        """Instruments with an open order or a position, ours or not: nothing new belongs there."""
        held = [report.instrument for report in self.account_positions if report.quantity != ZERO]
        held += [position.instrument for position in self.positions]
        held += [order.instrument for order in self.orders]
        return frozenset(held)


class ExitAdvice(Struct, frozen=True, kw_only=True):
    """One of the view's `own` positions is to be closed: `side` BUY = the long one. `reason` is one sentence for
    people, without the strategy's name."""

    instrument: InstrumentId
    side: Side
    reason: str

    @property
    def key(self) -> PositionKey:
        return PositionKey(self.instrument, self.side)


class Strategy(Protocol):
    """Pure and synchronous: no I/O, no clock, no chance. The same views in the same order give the same answers.

    At each candle close it is asked twice with the same view: first `exits`, then `on_candle`. Exits come first because
    they matter more, and so that an exception in the judging of entries costs none of them.

    A strategy may keep incremental indicators, but only as a cache of candles: one that is made anew and sees the last
    `warmup` candles decides as one that has run all along (up to rounding). It never sees the running candle, so later
    candles cannot change an earlier decision. An exception costs this one scan; the strategy is then made anew.

    Each module in `strategies/` that is one has `create(options: Options) -> Strategy`; its file name is its name.
    """

    @property
    def name(self) -> str:
        """The module's name; it is the source of the signals."""
        ...

    @property
    def warmup(self) -> int:
        """How many closed candles of an instrument it needs before it may decide on it."""
        ...

    @property
    def scores(self) -> tuple[Decimal, Decimal]:
        """Least and greatest score it can give, both attainable; a signal outside is refused as malformed."""
        ...

    def learn(self, instrument: InstrumentId, candles: Sequence[Candle], timeframe_ms: int) -> None:
        """Take in closed candles without deciding: what makes the first `on_candle` after a start quick."""
        ...

    def exits(self, view: View) -> list[ExitAdvice]:
        """Once per candle close, before `on_candle`: every position of `view.own` that should be closed.

        The list is complete: what is not in it is no longer to be closed, whatever an earlier close said. Advice is no
        order. The exit rules decide: it waits for a fresh price, for MIN_HOLDING_SECONDS and while trading is halted,
        and a stop never waits for it. It opens nothing: one about anything but a position of `view.own` is left out
        and counted. A strategy without an opinion inherits this.
        """
        del view
        return []

    def on_candle(self, view: View) -> list[Signal]:
        """Once per candle close, for all instruments together, so that they can be compared with each other."""
        ...


def signal_id(instrument: InstrumentId, side: Side, view: View) -> SignalId:
    """Together with the source a function of (strategy, symbol, side, candle): a restart within the same candle makes
    the same signal, which is then known (SIG-16)."""
    return SignalId(f"{instrument}/{side}/{view.timeframe_ms // 60_000}m/{view.open_ms}")


def candle_signal(
    source: str,
    view: View,
    instrument: InstrumentId,
    side: Side,
    score: Decimal,
    *,
    parameters: SignalParameters = SignalParameters(),  # noqa: B008 - frozen
    features: Iterable[tuple[str, float]] = (),
) -> Signal:
    """A signal at the close of the view's candle; `features` are shown with six significant digits."""
    return Signal(
        id=signal_id(instrument, side, view),
        source=source,
        instrument=instrument,
        side=side,
        score=score,
        event_time_ms=view.close_ms,
        expires_at_ms=view.now_ms + view.valid_ms,
        parameters=parameters,
        price=view.candles[instrument][-1].close,
        features={name: f"{value:.6g}" for name, value in features},
    )
