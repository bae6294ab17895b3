"""What base.Strategy promises, for every strategy there is."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.candle import Candle
from core.domain.money import Price
from core.domain.signal import Side
from strategies.base import Options, Strategy, signal_id
from strategies.registry import known, maker
from tests.builders import BTC, ETH, a_position
from tests.strategies.candles import MINUTE, START_MS, a_view, advice, decisions, walk

every_strategy = pytest.mark.parametrize("name", known())


def made(name: str, min_score: str = "0.5") -> Strategy:
    return maker(name)(Options(min_score=Decimal(min_score)))


prices = st.decimals("0.00000001", "1000000000000", places=8).map(Price)


@st.composite
def any_candles(draw: st.DrawFn) -> list[Candle]:
    """A few wild candles at any times, repeated until a strategy has enough to judge; gaps and repetitions included."""
    few = draw(st.lists(st.tuples(prices, prices, prices, prices, st.decimals(0, 10**15, places=3)), min_size=1))
    steps = draw(st.lists(st.sampled_from([MINUTE, MINUTE, MINUTE, MINUTE, 0, -MINUTE, 5 * MINUTE]), min_size=1))
    regular, candles, time_ms = draw(st.booleans()), [], START_MS
    for number in range(330):
        first, a, b, last, volume = few[number % len(few)]
        candles.append(Candle(time_ms, first, max(first, a, b, last), min(first, a, b, last), last, volume, Decimal(0)))
        time_ms += MINUTE if regular else steps[number % len(steps)]
    return candles


@every_strategy
@given(candles=any_candles())
@settings(max_examples=60)
def test_no_series_of_candles_makes_it_raise_or_break_its_own_bounds(name: str, candles: list[Candle]) -> None:
    strategy = made(name, "0.25")
    least, most = strategy.scores
    held = (a_position(BTC), replace(a_position(ETH), side=Side.SELL))
    for shown in (candles[:200], candles, {BTC: candles, ETH: candles[::-1]}):
        view = a_view(shown, own=held)
        assert {one.key for one in strategy.exits(view)} <= {position.key for position in held}
        for signal in strategy.on_candle(view):
            assert least <= signal.score <= most
            assert (signal.source, signal.id) == (name, signal_id(signal.instrument, signal.side, view))


@every_strategy
def test_later_candles_never_change_an_earlier_decision(name: str) -> None:
    candles, strategy = walk(700, 11), made(name)
    known_then = decisions(strategy, candles[:600])
    assert any(known_then)
    assert decisions(made(name), candles)[: len(known_then)] == known_then


@every_strategy
@pytest.mark.parametrize("side", Side)
def test_later_candles_never_change_an_earlier_exit_and_the_same_views_give_the_same(name: str, side: Side) -> None:
    candles = walk(700, 11)
    known_then = advice(made(name), candles[:600], side=side)
    assert any(known_then)
    assert not all(known_then)
    assert advice(made(name), candles, side=side)[: len(known_then)] == known_then


@every_strategy
@pytest.mark.parametrize("side", Side)
def test_a_strategy_made_anew_lets_go_as_one_that_has_run_all_along(name: str, side: Side) -> None:
    candles = walk(900, 21)
    running, size = advice(made(name), candles, side=side), made(name).warmup
    for end in range(800, 900, 7):
        (fresh,) = advice(made(name), candles[end - size : end], side=side)
        assert fresh == running[end - size]


@every_strategy
def test_being_asked_for_exits_changes_no_entry(name: str) -> None:
    candles, asked = walk(700, 11), made(name)
    size, held = asked.warmup, (a_position(ETH),)
    said = []
    for end in range(size, len(candles) + 1):
        view = a_view({BTC: candles[end - size : end], ETH: candles[end - size : end]}, own=held, positions=held)
        asked.exits(view)
        said.append(asked.on_candle(view))
    assert said == decisions(made(name), candles)


@every_strategy
def test_only_its_own_positions_that_it_can_see_are_let_go(name: str) -> None:
    candles = walk(700, 11)
    size = made(name).warmup
    (end, _) = next((n + size, said) for n, said in enumerate(advice(made(name), candles)) if said)
    window, both = candles[end - size : end], (a_position(BTC), a_position(ETH))
    (only,) = made(name).exits(a_view({BTC: window, ETH: window}, own=both[:1], positions=both))
    assert only.key == both[0].key
    assert only.reason
    assert len(made(name).exits(a_view({BTC: window}, own=both, positions=both))) == 1
    assert made(name).exits(a_view({BTC: window[1:]}, own=both, positions=both)) == [], "too few candles"


@every_strategy
def test_the_same_views_give_the_same_signals(name: str) -> None:
    candles = walk(700, 12)
    assert decisions(made(name), candles) == decisions(made(name), candles)


@every_strategy
@pytest.mark.parametrize("seed", [21, 22])
def test_a_strategy_made_anew_decides_as_one_that_has_run_all_along(name: str, seed: int) -> None:
    """What a restart does; the running one has forgotten old values more than once by the end."""
    candles = walk(1_500, seed)
    running = decisions(made(name), candles)
    size = made(name).warmup
    for end in range(1_400, 1_500):
        fresh = made(name).on_candle(a_view(candles[end - size : end]))
        assert [(s.id, s.score) for s in fresh] == [(s.id, s.score) for s in running[end - size]]


@every_strategy
def test_learning_first_changes_nothing_but_the_time_it_takes(name: str) -> None:
    candles, taught = walk(700, 13), made(name)
    size = taught.warmup
    taught.learn(BTC, candles[:size], MINUTE)
    assert decisions(taught, candles) == decisions(made(name), candles)


@every_strategy
def test_a_gap_silences_it_until_enough_candles_in_a_row_were_seen(name: str) -> None:
    candles = walk(900, 14)
    size = made(name).warmup
    broken = [c for c in candles if c.open_ms != candles[size + 50].open_ms]
    said = decisions(made(name), broken)
    assert any(said[:50])
    assert not any(said[51 : 50 + size])
    assert any(said[50 + size :])


@every_strategy
def test_candles_seen_twice_count_once(name: str) -> None:
    candles, strategy = walk(400, 15), made(name)
    view = a_view(candles[-strategy.warmup :])
    assert strategy.on_candle(view) == strategy.on_candle(view) == made(name).on_candle(view)


@every_strategy
def test_one_call_serves_all_symbols(name: str) -> None:
    candles = walk(700, 11)
    size = made(name).warmup
    (end, alone) = next((n + size, said) for n, said in enumerate(decisions(made(name), candles)) if said)
    window: Sequence[Candle] = candles[end - size : end]
    both = made(name).on_candle(a_view({BTC: window, ETH: window}))
    assert [signal.instrument for signal in both] == [BTC, ETH]
    assert both[0] == alone[0]


def test_a_view_cannot_be_changed() -> None:
    view = a_view(walk(3))
    with pytest.raises(AttributeError):
        view.open_ms = 0  # type: ignore[misc]


def test_strategies_are_found_by_the_name_of_their_module() -> None:
    assert known() == ["scalping_v1", "trend_atr"]
    assert [made(name).name for name in known()] == known()
    for name in ("nosuch", "base", "os"):
        with pytest.raises(KeyError):
            maker(name)
