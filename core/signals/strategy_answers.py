"""What a strategy answered, judged: its signals and its advice are input like any other (see `strategies.base`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from core.domain.ids import SignalId
from core.domain.money import HUNDRED, ZERO
from core.domain.position import PositionKey
from core.domain.signal import LEAST_MINUTES, MOST_MINUTES, Signal, Unusable
from core.domain.verdict import Reason
from strategies.base import ExitAdvice, Strategy, View, signal_id

LONGEST_REASON = 200
"""Characters of an advice's sentence; it goes to people and into the journal."""


def judged(
    signals: Sequence[Signal], view: View, strategy: Strategy, most_stop_percent: Decimal
) -> list[Signal | Unusable]:
    """Each signal as it is, or why it breaks the contract. A stop must be nearer than `most_stop_percent`."""
    if not signals:
        return []
    counted = Counter(signal.instrument for signal in signals)
    answer: list[Signal | Unusable] = []
    for signal in signals:
        several = "is one of several" if counted[signal.instrument] > 1 else ""
        wrong = _wrong(signal, view, strategy, most_stop_percent) or several
        answer.append(_unusable(signal, strategy.name, wrong) if wrong else signal)
    return answer


def advised(advice: Sequence[ExitAdvice], view: View) -> dict[PositionKey, str]:
    """The sentence by position. What is about no position of the strategy's own is not in it: it opens nothing and
    touches nobody else's."""
    own = {position.key for position in view.own if position.open}
    return {one.key: _sentence(one.reason) for one in advice if one.key in own}


def _sentence(reason: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in reason[:LONGEST_REASON]).strip()
    return text or "no reason given"


def _wrong(signal: Signal, view: View, strategy: Strategy, most_stop_percent: Decimal) -> str:
    least, most = strategy.scores
    if signal.instrument not in view.candles:
        return "is for a symbol it was not shown"
    if (signal.source, signal.id) != (strategy.name, signal_id(signal.instrument, signal.side, view)):
        return "has a source or an id that does not follow from strategy, symbol, side and candle"
    if not (signal.score.is_finite() and least <= signal.score <= most):
        return f"has the score {signal.score}, outside of {least} to {most}"
    return _wrong_parameter(signal, most_stop_percent)


def _wrong_parameter(signal: Signal, most_stop_percent: Decimal) -> str:
    asked = signal.parameters
    stop, minutes = asked.stop_loss_percent, asked.time_limit_minutes
    if stop is not None and not (stop.is_finite() and ZERO < stop < most_stop_percent):
        return f"has its stop {stop} % away; with this leverage it must be nearer than {most_stop_percent}"
    percents = {
        "trailing activation": asked.trailing_activation_percent,
        "trailing distance": asked.trailing_distance_percent,
        "take profit": asked.take_profit_percent,
    }
    for name, percent in percents.items():
        if percent is not None and not (percent.is_finite() and ZERO < percent < HUNDRED):
            return f"asks for a {name} of {percent} %; it must be above 0 and below 100"
    if minutes is not None and not (minutes.is_finite() and LEAST_MINUTES <= minutes <= MOST_MINUTES):
        return f"asks for a time limit of {minutes} minutes; it must be from {LEAST_MINUTES} to {MOST_MINUTES}"
    return ""


def _unusable(signal: Signal, name: str, wrong: str) -> Unusable:
    return Unusable(
        id=SignalId(str(signal.id)),
        source=name,
        code=Reason.MALFORMED.value,
        detail=f"the strategy's signal {wrong}",
        symbol=signal.instrument.symbol,
    )
