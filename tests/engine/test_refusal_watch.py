"""One alert when a filter refuses everything of a venue, one per symbol whose prices do not agree, and their ends."""

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, VenueName
from core.domain.screening import screen
from core.domain.signal import Signal
from core.domain.wave import LegState
from core.engine.ports import Level
from core.engine.refusal_watch import FILTERS, IN_A_ROW, RefusalWatch
from tests.builders import (
    a_filter,
    a_signal,
    an_instrument,
    an_instrument_id,
    facts,
    liquidity_rules,
    price,
    screening_rules,
)
from tests.engine.bench import BINANCE, Bench, a_bench

BYBIT = VenueName.BYBIT
COINS = {venue: [an_instrument_id(f"C{n:02}/USDT:USDT", venue) for n in range(30)] for venue in (BINANCE, BYBIT)}
LISTED = [an_instrument(coin) for coins in COINS.values() for coin in coins]
OWN_STATE = {"affordable", "position", "pending_order"}


def signals(count: int, name: str = "s", venue: VenueName = BINANCE, score: int = 1) -> list[Signal]:
    return [a_signal(f"{name}{n}", instrument=COINS[venue][n], score=score) for n in range(count)]


def watch(bench: Bench) -> None:
    bench.waves.on_report(RefusalWatch(bench.notifier).on_report)


def told(bench: Bench, level: Level, words: str) -> list[str]:
    return [text for at, text in bench.notifier.messages if at is level and words in text]


ALL_REFUSED, PASSES = "were all refused", "passed the filter"


async def test_twenty_signals_refused_by_one_filter_alert_once_and_the_first_that_passes_it_ends_it() -> None:
    async with a_bench(instruments=LISTED, screening=screening_rules(min_score=50)) as bench:
        watch(bench)
        await bench.wave(*signals(IN_A_ROW - 1))
        assert told(bench, Level.CRITICAL, ALL_REFUSED) == []
        await bench.wave(*signals(1, "t"))
        (alert,) = told(bench, Level.CRITICAL, ALL_REFUSED)
        assert alert.startswith("binance: its last 20 signals were all refused by the filter score")
        assert "MIN_SIGNAL_SCORE=50" in alert
        await bench.wave(*signals(25, "u"))
        assert len(told(bench, Level.CRITICAL, ALL_REFUSED)) == 1, "one alert per episode"
        await bench.wave(*signals(1, "v", score=50))
        assert told(bench, Level.INFO, PASSES) == ["binance: a signal passed the filter score again"]
        await bench.wave(*signals(IN_A_ROW, "w"))
        assert len(told(bench, Level.CRITICAL, ALL_REFUSED)) == 2, "and a new one for a new episode"


async def test_one_signal_that_passes_begins_the_count_anew_and_venues_are_counted_apart() -> None:
    async with a_bench(instruments=LISTED, screening=screening_rules(min_score=50)) as bench:
        watch(bench)
        await bench.wave(*signals(15), *signals(IN_A_ROW, "y", BYBIT))
        await bench.wave(*signals(1, "good", score=50))
        await bench.wave(*signals(15, "t"))
        (alert,) = told(bench, Level.CRITICAL, ALL_REFUSED)
        assert alert.startswith("bybit: ")


async def test_one_cause_that_closes_several_filters_is_one_alert() -> None:
    async with a_bench(instruments=LISTED) as bench:
        watch(bench)
        bench.market.default = None
        await bench.wave(*signals(IN_A_ROW))
        (alert,) = told(bench, Level.CRITICAL, ALL_REFUSED)
        assert "price (" in alert
        assert "spread (" in alert


async def test_a_figure_that_is_never_told_is_noticed_although_another_filter_decided() -> None:
    """Open interest of None filtered a whole venue (VAL-06)."""
    rules = liquidity_rules(volume_1h=a_filter("SIGNAL_MIN_VOLUME_1H_USDT", 10**12))
    async with a_bench(instruments=LISTED, screening=screening_rules(liquidity=rules)) as bench:
        watch(bench)
        await bench.wave(*signals(IN_A_ROW))
        (alert,) = told(bench, Level.CRITICAL, ALL_REFUSED)
        assert "volume_1h (SIGNAL_MIN_VOLUME_1H_USDT=1000000000000; last: " in alert


async def test_full_books_and_open_positions_are_nothing_to_alert_about() -> None:
    async with a_bench(instruments=LISTED) as bench:
        watch(bench)
        await bench.wave(*signals(1))
        for n in range(IN_A_ROW + 5):
            await bench.wave(a_signal(f"again{n}", instrument=COINS[BINANCE][0]))
        assert told(bench, Level.CRITICAL, ALL_REFUSED) == []


async def test_every_gate_of_a_decision_is_either_watched_or_about_our_own_state() -> None:
    async with a_bench(instruments=LISTED) as bench:
        (leg,) = (await bench.wave(*signals(1))).legs
        asked = [gate.name for gate in leg.gates]
        before_the_guard = set(asked[: asked.index("trading_state")])
        assert before_the_guard == FILTERS | OWN_STATE
    unlisted = screen(a_signal(), facts(instrument=None), screening_rules())
    assert {gate.name for gate in unlisted} <= FILTERS


def off_by(percent: int, name: str, instrument: InstrumentId = COINS[BINANCE][0]) -> Signal:
    return replace(a_signal(name, instrument=instrument), price=price(100 + percent))


@pytest.mark.failure("VAL-15")
async def test_a_symbol_with_a_bogus_price_is_alerted_once_until_its_prices_agree_again() -> None:
    """The one that was traded: 118,782 for a coin worth a fraction of it."""
    async with a_bench(instruments=LISTED) as bench:
        watch(bench)
        for n in range(3):
            (leg,) = (await bench.wave(off_by(6, f"bad{n}"))).legs
            assert leg.state is LegState.REFUSED
        (alert,) = told(bench, Level.CRITICAL, "prices do not agree")
        assert "C00/USDT:USDT (the price is 6 % away from the mark 100)" in alert
        await bench.wave(off_by(6, "other", COINS[BINANCE][1]))
        assert len(told(bench, Level.CRITICAL, "prices do not agree")) == 2, "each symbol by itself"
        (leg,) = (await bench.wave(off_by(2, "good"))).legs
        assert leg.state is LegState.PROTECTED
        assert len(told(bench, Level.INFO, "its prices agree again")) == 1
        await bench.wave(off_by(6, "worse"))
        assert len(told(bench, Level.CRITICAL, "prices do not agree")) == 3, "a new episode"


@pytest.mark.failure("VAL-15")
async def test_symbols_that_diverge_together_are_one_alert() -> None:
    async with a_bench(instruments=LISTED) as bench:
        watch(bench)
        await bench.wave(*(off_by(90, f"s{n}", coin) for n, coin in enumerate(COINS[BINANCE][:10])))
        (alert,) = told(bench, Level.CRITICAL, "prices do not agree")
        assert alert.count("USDT:USDT") == 10


async def test_a_missing_mark_is_no_divergence() -> None:
    async with a_bench(instruments=LISTED) as bench:
        watch(bench)
        bench.market.default = None
        await bench.wave(*signals(3))
        assert told(bench, Level.CRITICAL, "prices do not agree") == []
