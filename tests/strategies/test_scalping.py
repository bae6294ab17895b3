"""scalping_v1: its figures against their definitions, its votes against its text."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from core.domain.candle import Candle
from core.domain.money import Price
from core.domain.signal import Side
from strategies.base import Options
from strategies.scalping_v1 import WARMUP, Indicators, Reading, ScalpingV1, judge, vote
from tests.builders import BTC, ETH, a_position, a_position_report, an_intent, an_order
from tests.strategies.candles import MINUTE, a_candle, a_view, advice, decisions, ema, rsi, true_ranges, walk, wilder

NEUTRAL = Reading(rsi=50.0, ema=0.0, macd=0.0, volume=1.0, atr=0.6)


def reading_of(candles: list[Candle]) -> Reading:
    indicators = Indicators()
    for candle in candles:
        indicators.add(candle)
    reading = indicators.reading()
    assert reading is not None
    return reading


def by_definition(candles: list[Candle]) -> Reading:
    closes, volumes = [float(c.close) for c in candles], [float(c.volume) for c in candles]
    line = [fast - slow for fast, slow in zip(ema(closes, 12)[14:], ema(closes, 26), strict=True)]
    return Reading(
        rsi=rsi(closes, 14),
        ema=ema(closes, 9)[-1] - ema(closes, 21)[-1],
        macd=line[-1] - ema(line, 9)[-1],
        volume=volumes[-1] / (math.fsum(volumes[-21:-1]) / 20),
        atr=wilder(true_ranges(candles), 14) / closes[-1] * 100,
    )


def recorded(shared: Path, count: int) -> list[Candle]:
    """Real minutes of a BTC perpetual."""
    with (shared / "data" / "btcusdt_perp_1m_2022-01-01_10.csv").open(encoding="utf-8") as file:
        candles = []
        for row in islice(csv.DictReader(file), count):
            stamp = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            o, h, low, c = (Price(Decimal(row[name])) for name in ("open", "high", "low", "close"))
            candles.append(Candle(round(stamp.timestamp() * 1000), o, h, low, c, Decimal(row["volume"]), Decimal(0)))
    return candles


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_figure_is_what_its_definition_says(seed: int) -> None:
    candles = walk(WARMUP, seed)
    assert asdict(reading_of(candles)) == pytest.approx(asdict(by_definition(candles)), rel=1e-5, abs=1e-9)


def test_every_figure_is_right_on_a_recorded_series(shared: Path) -> None:
    candles = recorded(shared, 1_500)
    strategy = ScalpingV1(Options(min_score=Decimal("0.25")))
    strategy.learn(BTC, candles, MINUTE)
    indicators = strategy._memory.feed(BTC, candles, MINUTE)
    assert indicators is not None
    reading = indicators.reading()
    assert reading is not None
    assert asdict(reading) == pytest.approx(asdict(by_definition(candles)), rel=1e-5, abs=1e-6)


def test_a_market_that_never_moved_is_neither_overbought_nor_oversold() -> None:
    assert reading_of([a_candle(n, 100.0, span=1.0) for n in range(60)]).rsi == 50.0


@pytest.mark.parametrize(
    ("change", "side", "score"),
    [
        ({}, None, "0"),
        ({"rsi": 28.0}, Side.BUY, "0.30"),
        ({"rsi": 28.1}, None, "0"),
        ({"rsi": 72.0}, Side.SELL, "0.30"),
        ({"rsi": 71.9}, None, "0"),
        ({"ema": 0.1}, Side.BUY, "0.25"),
        ({"macd": -0.1}, Side.SELL, "0.25"),
        ({"ema": 0.1, "macd": 0.1}, Side.BUY, "0.50"),
        ({"ema": -0.1, "macd": -0.1, "volume": 1.6}, Side.SELL, "0.70"),
        ({"ema": -0.1, "macd": -0.1, "volume": 1.59}, Side.SELL, "0.50"),
        ({"rsi": 20.0, "ema": 0.1, "macd": 0.1, "volume": 3.0}, Side.BUY, "1.00"),
        ({"volume": 9.0}, None, "0"),
        ({"ema": 0.1, "macd": -0.1}, None, "0"),
        ({"rsi": 20.0, "ema": -0.1, "volume": 3.0}, None, "0"),
        ({"rsi": 80.0, "ema": 0.1, "macd": 0.1, "volume": 3.0}, None, "0"),
        ({"ema": 0.1, "macd": 0.1, "atr": 0.5}, Side.BUY, "0.50"),
        ({"ema": 0.1, "macd": 0.1, "volume": 3.0, "atr": 0.4999}, None, "0"),
    ],
    ids=str,
)
def test_votes_that_agree_add_up_and_a_conflict_or_a_dull_market_is_silence(
    change: dict[str, float], side: Side | None, score: str
) -> None:
    assert judge(replace(NEUTRAL, **change)) == (side, Decimal(score))


def test_it_signals_when_the_score_is_reached_and_not_below_it() -> None:
    candles = walk(WARMUP + 200, 3)
    scores = [s.score for said in decisions(ScalpingV1(Options(min_score=Decimal("0.25"))), candles) for s in said]
    assert {Decimal("0.50"), Decimal("0.70")} <= set(scores)
    least = Decimal("0.70")
    strict = [s.score for said in decisions(ScalpingV1(Options(min_score=least)), candles) for s in said]
    assert strict == [score for score in scores if score >= least]


def test_a_signal_tells_where_it_comes_from_and_what_was_seen() -> None:
    candles = walk(WARMUP + 200, 3)
    (signal, *_) = (s for said in decisions(ScalpingV1(Options(min_score=Decimal("0.50"))), candles) for s in said)
    opened = signal.event_time_ms - MINUTE
    assert (signal.source, signal.id) == ("scalping_v1", f"{BTC}/{signal.side}/1m/{opened}")
    assert signal.expires_at_ms == signal.event_time_ms + 500 + MINUTE
    assert signal.price == next(c.close for c in candles if c.open_ms == opened)
    assert set(signal.features) == set(Reading.__struct_fields__)


def test_nothing_is_said_where_an_order_or_a_position_is_open_whoever_opened_it() -> None:
    candles = walk(WARMUP + 200, 3)
    end = next(n for n in range(WARMUP, len(candles)) if ScalpingV1(Options(min_score=Decimal("0.5"))).on_candle(
        a_view(candles[n - WARMUP : n])
    ))  # fmt: skip
    both = {BTC: candles[end - WARMUP : end], ETH: candles[end - WARMUP : end]}
    standing: list[dict[str, Any]] = [
        {"positions": (a_position(BTC),)},
        {"account_positions": (a_position_report(BTC, amount=-1),)},
        {"orders": (an_order(an_intent(instrument=BTC)),)},
    ]
    for fields in standing:
        said = ScalpingV1(Options(min_score=Decimal("0.5"))).on_candle(a_view(both, **fields))
        assert [signal.instrument for signal in said] == [ETH], fields
    flat = {"account_positions": (a_position_report(BTC, amount=0),)}
    said = ScalpingV1(Options(min_score=Decimal("0.5"))).on_candle(a_view(both, **flat))
    assert [signal.instrument for signal in said] == [BTC, ETH]


@pytest.mark.parametrize("side", Side)
def test_a_position_is_let_go_when_the_vote_turns_against_it_at_the_same_threshold(side: Side) -> None:
    candles, indicators, readings = walk(WARMUP + 200, 3), Indicators(), []
    for candle in candles:
        indicators.add(candle)
        readings.append(indicators.reading())
    votes = [vote(reading) for reading in readings[WARMUP - 1 :] if reading is not None]
    for least in ("0.50", "0.70"):
        let_go = [bool(said) for said in advice(ScalpingV1(Options(min_score=Decimal(least))), candles, side=side)]
        against = [of is side.opposite and score >= Decimal(least) for of, score in votes]
        assert let_go == against
        assert any(let_go)


def test_a_dull_market_opens_nothing_and_still_lets_go() -> None:
    dull = replace(NEUTRAL, ema=-0.1, macd=-0.1, atr=0.1)
    assert judge(dull)[0] is None
    assert vote(dull) == (Side.SELL, Decimal("0.50"))
    candles = walk(WARMUP + 100, 3, step=0.0005)
    assert not any(decisions(ScalpingV1(Options(min_score=Decimal("0.5"))), candles))
    said = [one for said in advice(ScalpingV1(Options(min_score=Decimal("0.5"))), candles) for one in said]
    assert {one.reason for one in said} >= {"the vote has turned to sell with 0.50"}
