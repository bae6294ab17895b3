"""Trend following: a breakout from the last 20 candles in the direction of the trend, its stop set by volatility.

At each candle close, per instrument:

- Long when the close is above the highest high of the 20 candles before it *and* above EMA(50); short when it is below
  their lowest low and below EMA(50).
- The stop of the signal is 2.5 ATR(14) from the price, given as percent with the signal. A stop nearer than 0.3 % would
  be inside the spread's noise, one further than 8 % is no trend trade: then there is no signal.
- The signal asks for a trailing stop as wide as its stop, from the moment the profit is as large: the stop then stands
  about at the entry and follows 2.5 ATR behind the best price. The configured callback may be far less than what such a
  market swings within its trend.
- The score is 0.50 for the breakout itself, up to 0.25 for how far it went beyond the channel (all of it at 1 ATR) and
  up to 0.25 for how far the close is from EMA(50) (all of it at 5 ATR). It must reach STRATEGY_MIN_SCORE.
- No signal while an order is open on the instrument or a position is held there.
- Exit: the close is back beyond the middle of the 20 candles before it, below for a long, above for a short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import asdict
from wickra import ATR, EMA, Donchian

from core.domain.candle import Candle
from core.domain.ids import InstrumentId
from core.domain.signal import Side, Signal, SignalParameters
from strategies.base import ExitAdvice, Options, View, candle_signal
from strategies.memory import SIGHT, Memory

NAME = "trend_atr"
WARMUP = 300
"""EMA(50) has then forgotten all but six parts in a million of what came before."""
CHANNEL, TREND, RANGE = 20, 50, 14
STOP_ATRS = 2.5
NEAREST_STOP_PERCENT, FURTHEST_STOP_PERCENT = 0.3, 8.0
FULL_BREAKOUT_ATRS, FULL_TREND_ATRS = 1.0, 5.0


class Reading(Struct, frozen=True):
    """After one candle: its close, the channel of the candles before it, EMA and ATR, all in quote coin."""

    close: float
    highest: float
    lowest: float
    trend: float
    atr: float

    @property
    def middle(self) -> float:
        return (self.highest + self.lowest) / 2


def create(options: Options) -> TrendAtr:
    return TrendAtr(options)


class TrendAtr:
    """Implements base.Strategy; the rules are in the module's text."""

    name = NAME
    warmup = WARMUP
    scores = (Decimal("0.50"), Decimal("1.00"))

    def __init__(self, options: Options) -> None:
        self._min_score = options.min_score
        self._memory = Memory(Indicators, WARMUP)

    def learn(self, instrument: InstrumentId, candles: Sequence[Candle], timeframe_ms: int) -> None:
        self._memory.feed(instrument, candles, timeframe_ms)

    def on_candle(self, view: View) -> list[Signal]:
        self._memory.retire(view.open_ms - SIGHT * view.timeframe_ms)
        return list(self._signals(view))

    def exits(self, view: View) -> list[ExitAdvice]:
        return list(self._advice(view))

    def _advice(self, view: View) -> Iterator[ExitAdvice]:
        for position in view.own:
            reading = self._reading(view, position.instrument)
            if reading is not None and (reading.close - reading.middle) * position.side.sign < 0:
                reason = f"the close {reading.close:.6g} is back beyond the channel's middle {reading.middle:.6g}"
                yield ExitAdvice(instrument=position.instrument, side=position.side, reason=reason)

    def _reading(self, view: View, instrument: InstrumentId) -> Reading | None:
        candles = view.candles.get(instrument)
        indicators = None if candles is None else self._memory.feed(instrument, candles, view.timeframe_ms)
        return None if indicators is None else indicators.reading()

    def _signals(self, view: View) -> Iterator[Signal]:
        for instrument in view.candles:
            reading = self._reading(view, instrument)
            side = None if reading is None else breakout(reading)
            if reading is None or side is None or instrument in view.taken():
                continue
            stop = reading.atr * STOP_ATRS / reading.close * 100
            if not NEAREST_STOP_PERCENT <= stop <= FURTHEST_STOP_PERCENT:
                continue
            if (score := strength(reading, side)) >= self._min_score:
                percent = Decimal(f"{stop:.2f}")
                parameters = SignalParameters(
                    stop_loss_percent=percent, trailing_activation_percent=percent, trailing_distance_percent=percent
                )
                figures = {**asdict(reading), "stop_percent": stop}
                yield candle_signal(
                    NAME, view, instrument, side, score, parameters=parameters, features=figures.items()
                )


def breakout(reading: Reading) -> Side | None:
    """The side the close broke out to, if the trend agrees."""
    if reading.close > max(reading.highest, reading.trend):
        return Side.BUY
    if reading.close < min(reading.lowest, reading.trend):
        return Side.SELL
    return None


def strength(reading: Reading, side: Side) -> Decimal:
    """0.50 to 1.00, in hundredths."""
    edge = reading.highest if side is Side.BUY else reading.lowest
    beyond = abs(reading.close - edge) / (FULL_BREAKOUT_ATRS * reading.atr)
    away = abs(reading.close - reading.trend) / (FULL_TREND_ATRS * reading.atr)
    return Decimal(f"{0.5 + 0.25 * min(1.0, beyond) + 0.25 * min(1.0, away):.2f}")


class Indicators:
    """Implements memory.Figures."""

    def __init__(self) -> None:
        self._channel, self._trend, self._atr = Donchian(CHANNEL), EMA(TREND), ATR(RANGE)
        self._edges: tuple[float, float, float] | None = None
        self._reading: Reading | None = None

    def add(self, candle: Candle) -> None:
        close, before = float(candle.close), self._edges
        bar = (float(candle.open), float(candle.high), float(candle.low), close, float(candle.volume), 0)
        self._edges, trend, atr = self._channel.update(bar), self._trend.update(close), self._atr.update(bar)
        if before is None or trend is None or not atr:
            self._reading = None
        else:
            self._reading = Reading(close, before[0], before[2], trend, atr)

    def reading(self) -> Reading | None:
        """None while an indicator has no figure yet, and in a market that does not move at all."""
        return self._reading
