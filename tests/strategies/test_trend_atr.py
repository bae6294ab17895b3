"""trend_atr: breakouts with the trend, each with a stop of its own."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import asdict, replace

from core.domain.candle import Candle
from core.domain.signal import Side
from strategies.base import Options
from strategies.trend_atr import WARMUP, Indicators, Reading, TrendAtr, breakout, strength
from tests.builders import BTC, a_position
from tests.strategies.candles import a_candle, a_view, advice, decisions, ema, true_ranges, walk, wilder

INSIDE = Reading(close=100.0, highest=101.0, lowest=99.0, trend=100.0, atr=1.0)


def quiet(last: float, *, span: float = 0.5, swing: float = 0.2) -> list[Candle]:
    """A warm-up around 100 that ends with one candle at `last`."""
    calm = [a_candle(n, 100.0 + (n % 2) * swing, span=span) for n in range(WARMUP - 1)]
    return [*calm, a_candle(WARMUP - 1, last, span=span)]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_figure_is_what_its_definition_says(seed: int) -> None:
    candles, indicators = walk(WARMUP, seed), Indicators()
    for candle in candles:
        indicators.add(candle)
    closes, before = [float(c.close) for c in candles], candles[-21:-1]
    reading = indicators.reading()
    assert reading is not None
    assert asdict(reading) == pytest.approx(
        asdict(
            Reading(
                close=closes[-1],
                highest=max(float(c.high) for c in before),
                lowest=min(float(c.low) for c in before),
                trend=ema(closes, 50)[-1],
                atr=wilder(true_ranges(candles), 14),
            )
        ),
        rel=1e-9,
    )


@pytest.mark.parametrize(
    ("change", "side"),
    [
        ({}, None),
        ({"close": 101.0}, None),
        ({"close": 101.1}, Side.BUY),
        ({"close": 101.1, "trend": 102.0}, None),
        ({"close": 98.9}, Side.SELL),
        ({"close": 98.9, "trend": 98.0}, None),
    ],
    ids=str,
)
def test_only_a_breakout_in_the_direction_of_the_trend_counts(change: dict[str, float], side: Side | None) -> None:
    assert breakout(replace(INSIDE, **change)) is side


def test_strength_grows_with_the_breakout_and_the_trend_up_to_one() -> None:
    def at(close: float, trend: float = 100.0) -> Decimal:
        return strength(replace(INSIDE, close=close, trend=trend), Side.BUY)

    assert at(101.0, 101.0) == Decimal("0.50")
    assert at(101.5, 101.5) == Decimal("0.62")
    assert at(102.0) == Decimal("0.85")
    assert at(150.0) == Decimal("1.00")


def test_the_stop_of_a_signal_follows_volatility() -> None:
    stops = []
    for span in (0.4, 0.8):
        (signal,) = TrendAtr(Options(min_score=Decimal("0.5"))).on_candle(a_view(quiet(103.0, span=span)))
        assert (signal.source, signal.side) == ("trend_atr", Side.BUY)
        stop, atr = signal.parameters.stop_loss_percent, float(signal.features["atr"])
        assert stop == Decimal(f"{atr * 2.5 / 103.0 * 100:.2f}")
        assert signal.parameters.trailing_activation_percent == stop, "it trails once the profit is what was risked"
        assert signal.parameters.trailing_distance_percent == stop
        stops.append(stop)
    assert stops[0] < stops[1]


@pytest.mark.parametrize(
    ("last", "span", "side"),
    [(100.2, 0.01, None), (100.2, 0.1, Side.BUY), (107.0, 1.0, Side.BUY), (107.0, 3.0, None)],
    ids=["nearer than noise", "near", "far", "further than a trend trade's"],
)
def test_a_stop_out_of_bounds_is_no_signal(last: float, span: float, side: Side | None) -> None:
    said = TrendAtr(Options(min_score=Decimal("0.5"))).on_candle(a_view(quiet(last, span=span, swing=0.02)))
    assert [signal.side for signal in said] == ([] if side is None else [side])


def test_a_weak_breakout_stays_below_a_high_threshold() -> None:
    candles = walk(WARMUP + 200, 5)
    weak = [s for said in decisions(TrendAtr(Options(min_score=Decimal("0.50"))), candles) for s in said]
    strong = [s for said in decisions(TrendAtr(Options(min_score=Decimal("0.65"))), candles) for s in said]
    assert [s.id for s in strong] == [s.id for s in weak if s.score >= Decimal("0.65")]
    assert 0 < len(strong) < len(weak)


def test_nothing_is_said_where_a_position_is_held() -> None:
    view = a_view(quiet(103.0), positions=(a_position(BTC),))
    assert TrendAtr(Options(min_score=Decimal("0.5"))).on_candle(view) == []


@pytest.mark.parametrize(
    ("last", "side", "let_go"),
    [
        (99.9, Side.BUY, True),
        (100.0, Side.BUY, False),
        (100.1, Side.BUY, False),
        (100.1, Side.SELL, True),
        (100.0, Side.SELL, False),
        (99.9, Side.SELL, False),
    ],
)
def test_a_position_is_let_go_when_the_close_is_back_beyond_the_middle_of_the_channel(
    last: float, side: Side, *, let_go: bool
) -> None:
    (said,) = advice(TrendAtr(Options(min_score=Decimal("0.5"))), quiet(last, swing=0.0), side=side)
    assert bool(said) is let_go
    if let_go:
        assert said[0].reason == f"the close {last:.6g} is back beyond the channel's middle 100"


def test_what_just_broke_out_is_not_let_go_at_once() -> None:
    candles = walk(WARMUP + 200, 5)
    entries = decisions(TrendAtr(Options(min_score=Decimal("0.5"))), candles)
    for side in Side:
        exits = advice(TrendAtr(Options(min_score=Decimal("0.5"))), candles, side=side)
        both = [(s, e) for s, e in zip(entries, exits, strict=True) if s and s[0].side is side]
        assert both
        assert not any(e for _, e in both)
