"""One wave, three venues: each decides by itself, none waits for a slow one, limits hold over all of them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from core.domain.ids import InstrumentId, Leg, Symbol, VenueName
from core.domain.reports import BalanceReport
from core.domain.signal import Signal
from core.domain.verdict import Reason
from core.domain.wave import LegState, WaveReport
from core.engine.ports import About, VenueTraits
from tests.builders import a_balance_report, a_signal, an_instrument, risk_limits
from tests.engine.bench import Bench, a_bench, wave_rules

BINANCE, BYBIT, OKX = VenueName.BINANCE, VenueName.BYBIT, VenueName.OKX
VENUES = (BINANCE, BYBIT, OKX)
COINS = {venue: [InstrumentId(venue, Symbol(f"C{n:02}/USDT:USDT")) for n in range(6)] for venue in VENUES}
LISTED = [an_instrument(coin) for venue in VENUES for coin in COINS[venue]]


def a_mixed_wave(each: int = 2) -> list[Signal]:
    return [a_signal(f"{venue}{n}", instrument=COINS[venue][n], score=50 + n) for venue in VENUES for n in range(each)]


def outcome(report: WaveReport, venue: VenueName) -> list[tuple[str, LegState, Reason | None]]:
    return [
        (leg.signal.id, leg.state, None if leg.denied is None else leg.denied.reason)
        for leg in report.legs
        if leg.signal.instrument.venue is venue
    ]


def hang(bench: Bench, venue: VenueName) -> None:
    """Its state has to be read, and it does not answer."""
    del bench.prefetcher._confirmed[venue]
    bench.venues[venue].latency = 1_000


async def test_a_mixed_wave_takes_as_long_as_one_on_a_single_venue() -> None:
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        single = await bench.wave(a_signal("alone", instrument=COINS[BINANCE][5]))
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        mixed = await bench.wave(*a_mixed_wave())
        assert {leg.state for leg in mixed.legs} == {LegState.PROTECTED}
        assert mixed.stages.protected == single.stages.protected
        assert {venue: len(bench.venues[venue].only(Leg.ENTRY)) for venue in VENUES} == dict.fromkeys(VENUES, 2)


@pytest.mark.failure("NET-10")
@pytest.mark.parametrize("dead", VENUES)
async def test_a_venue_that_hangs_costs_the_others_neither_verdicts_nor_time(dead: VenueName) -> None:
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        well = await bench.wave(*a_mixed_wave())
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        hang(bench, dead)
        started = bench.clock.monotonic()
        seen: dict[VenueName, float] = {}
        report = await bench.wave(*a_mixed_wave())
        for venue in VENUES:
            if venue is not dead:
                assert outcome(report, venue) == outcome(well, venue)
                seen[venue] = max(bench.venues[venue].sent_at) - started
        assert max(seen.values()) <= 0.25 * 1.1, "entries and stops left as on a good day"
        assert {reason for _, _, reason in outcome(report, dead)} == {Reason.PREFETCH_FAILED}
        assert all("PREFETCH_TIMEOUT_MS" in leg.denied.values for leg in report.legs if leg.denied is not None)


async def test_the_best_signals_of_all_venues_share_the_slots_that_are_for_all() -> None:
    rules = wave_rules(max_trades=5, max_trades_total=3)
    async with a_bench(instruments=LISTED, waves=rules) as bench:
        scores = {BINANCE: (10, 90), BYBIT: (80, 20), OKX: (30, 70)}
        wave = [
            a_signal(f"{venue}{n}", instrument=COINS[venue][n], score=score)
            for venue in VENUES
            for n, score in enumerate(scores[venue])
        ]
        report = await bench.wave(*wave)
        taken = {leg.signal.id for leg in report.legs if leg.state is LegState.PROTECTED}
        assert taken == {"binance1", "bybit0", "okx1"}


async def test_a_signals_own_quota_counts_on_its_own_venue() -> None:
    async with a_bench(instruments=LISTED) as bench:
        wave = [
            a_signal(f"{venue}{n}", instrument=COINS[venue][n], max_trades=1 if venue is BYBIT else None)
            for venue in VENUES
            for n in range(3)
        ]
        report = await bench.wave(*wave)
        taken = Counter(leg.signal.instrument.venue for leg in report.legs if leg.state is LegState.PROTECTED)
        assert taken == {BINANCE: 3, BYBIT: 1, OKX: 3}


async def test_the_same_coin_on_two_venues_is_two_positions() -> None:
    async with a_bench(instruments=LISTED) as bench:
        await bench.wave(*(a_signal(venue, instrument=COINS[venue][0]) for venue in VENUES))
        assert {position.instrument.venue for position in bench.state.positions()} == set(VENUES)
        assert len(bench.state.positions()) == 3


async def test_a_zero_balance_is_told_as_free_and_asked_and_costs_only_its_venue() -> None:
    """The historical wave: two entries at Binance open, the one at Bybit is refused with its figures."""
    async with a_bench(instruments=LISTED, limits=risk_limits(leverage=1)) as bench:
        bench.venues[BYBIT].wallet = Decimal(0)
        bench.orders.apply([empty(bench)])
        report = await bench.wave(
            a_signal("btc", instrument=COINS[BINANCE][0]),
            a_signal("okb", instrument=COINS[BYBIT][0]),
            a_signal("fil", instrument=COINS[BINANCE][1]),
        )
        btc, okb, fil = report.legs
        assert (btc.state, fil.state) == (LegState.PROTECTED, LegState.PROTECTED)
        assert okb.denied is not None
        assert okb.denied.reason is Reason.BALANCE_TOO_LOW
        assert okb.denied.detail == "free 0.00 < 100.00 USDT on bybit"
        assert not bench.venues[BYBIT].sent


def empty(bench: Bench) -> BalanceReport:
    return a_balance_report(Decimal(0), venue=BYBIT, venue_time_ms=bench.clock.now_ms() + 1)


async def test_what_the_venue_calls_available_bounds_what_is_free() -> None:
    """A losing position ties up money that the wallet still shows."""
    async with a_bench(instruments=LISTED, limits=risk_limits(leverage=1)) as bench:
        told = a_balance_report(
            Decimal(10_000), venue=BYBIT, venue_time_ms=bench.clock.now_ms() + 1, available=Decimal(150)
        )
        bench.orders.apply([told])
        report = await bench.wave(*(a_signal(f"b{n}", instrument=COINS[BYBIT][n], score=9 - n) for n in range(2)))
        first, second = report.legs
        assert first.state is LegState.PROTECTED
        assert second.denied is not None
        assert second.denied.reason is Reason.BALANCE_TOO_LOW, "the first entry's reservation counts against it"


async def test_a_venue_takes_no_more_positions_than_it_takes_stops() -> None:
    async with a_bench(instruments=LISTED) as bench:
        bench.venues[BYBIT].traits = VenueTraits(most_stops=1)
        report = await bench.wave(*a_mixed_wave())
        taken = Counter(leg.signal.instrument.venue for leg in report.legs if leg.state is LegState.PROTECTED)
        assert taken == {BINANCE: 2, BYBIT: 1, OKX: 2}
        refused = next(leg.denied for leg in report.legs if leg.denied is not None)
        assert refused.reason is Reason.MAX_POSITIONS_ON_VENUE
        assert "takes no stop for another one" in refused.detail


async def test_a_venue_that_loads_its_rules_anew_slowly_holds_up_no_other() -> None:
    """VAL-20 costs the venue whose rules changed, and nobody else (NET-10)."""
    async with a_bench(instruments=LISTED, latency=0.1) as bench:
        stale = bench.venues[BYBIT]
        stale.script(Leg.ENTRY, stale.reject("10001", About.STALE_RULES))
        stale.load_seconds = 20
        del bench.prefetcher._confirmed[OKX]  # has to be read first, so that it decides after the refusal
        bench.venues[OKX].latency = 0.3
        report = await bench.wave(
            a_signal("b", instrument=COINS[BYBIT][0]), a_signal("o", instrument=COINS[OKX][0], score=99)
        )
        assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
        assert bench.venues[OKX].sent_at[0] - bench.venues[BYBIT].sent_at[0] < 1
        assert bench.venues[BYBIT].sent_at[1] - bench.venues[BYBIT].sent_at[0] > 20


async def test_a_signal_that_is_tried_again_keeps_its_slot() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=1), latency=0.1) as bench:
        venue = bench.venues[BYBIT]
        venue.script(Leg.ENTRY, venue.reject("10001", About.STALE_RULES))
        report = await bench.wave(
            a_signal("best", instrument=COINS[BYBIT][0], score=90), a_signal("next", instrument=COINS[BYBIT][1])
        )
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED, LegState.REFUSED]
