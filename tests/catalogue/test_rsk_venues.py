"""Errors, restrictions, margin and clocks of venues (RSK-07, RSK-12, VAL-13)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.domain.ids import Leg
from core.domain.order import OrderStatus
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.ports import About, Level
from core.errors import Unreachable
from tests.builders import (
    BTC,
    NOW_MS,
    a_balance_report,
    a_signal,
    an_instrument,
    an_intent,
    notional,
    risk_limits,
)
from tests.catalogue.risk import (
    COINS,
    denied,
    gate,
)
from tests.engine.bench import BINANCE, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")


# --- RSK-07 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-07")
async def test_five_errors_in_a_row_pause_entries_and_never_protection() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        await bench.enter(an_intent("held"))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
        for number in range(5):
            assert bench.risk.pauses.all() == {}
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        sent = len(bench.venue.only(Leg.ENTRY))
        for number in range(20):
            assert denied(bench, f"storm{number}", instrument=COINS[5]) is Reason.VENUE_ERRORS
        assert len(bench.notifier.critical()) == 1
        await bench.venue.end(bench.venue.working_stops()[0], OrderStatus.CANCELED)
        await bench.until(lambda: bool(bench.venue.working_stops()), 5)  # the position has a stop again
        await bench.closer.flatten(bench.position().key, "by hand")
        assert len(bench.venue.only(Leg.ENTRY)) == sent


@pytest.mark.failure("RSK-07")
async def test_the_venue_is_tried_again_by_single_entries_until_one_succeeds() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in COINS]) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
        for number in range(5):
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        await bench.settle(30)
        await bench.enter(an_intent("trial", instrument=COINS[6]))
        assert denied(bench, "beside it", instrument=COINS[7]) is Reason.VENUE_ERRORS
        await bench.settle(59)
        assert denied(bench, "too early", instrument=COINS[7]) is Reason.VENUE_ERRORS
        bench.venue.always(Leg.ENTRY, bench.venue.behave)
        await bench.settle(1)
        await bench.enter(an_intent("second trial", instrument=COINS[8]))
        await bench.settle()
        assert denied(bench, "free", instrument=COINS[9]) is None
        assert (Level.INFO, "binance: took an entry again; entries go on") in bench.notifier.messages


@pytest.mark.failure("RSK-07")
async def test_answers_to_protective_orders_neither_pause_entries_nor_end_a_pause() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        bench.venue.script(Leg.STOP, *[bench.venue.reject("-1001", About.UNREACHED)] * 2)
        bench.venue.script(Leg.FLATTEN, *[bench.venue.reject("-1001", About.UNREACHED)] * 6)
        bench.venue.always(Leg.STOP, bench.venue.reject("-1001", About.UNREACHED))
        await bench.enter(an_intent("held"))
        await bench.until(lambda: len(bench.venue.sent) > 6)
        assert bench.risk.pauses.all() == {}
        await bench.until(lambda: not bench.state.positions(), seconds=120)
        bench.venue.always(Leg.STOP, bench.venue.behave)
        for number in range(5):
            bench.venue.script(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        bench.venue.positions_held[BTC] = Decimal(1)
        bench.reconciler.ask(BINANCE)
        await bench.until(lambda: bool(bench.venue.working_stops()))
        assert denied(bench, instrument=COINS[5]) is Reason.VENUE_ERRORS


# --- RSK-12 and VAL-13 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "first_wait"),
    [
        pytest.param(About.ACCOUNT_RESTRICTED, 60, marks=pytest.mark.failure("RSK-12")),
        pytest.param(About.INSUFFICIENT_MARGIN, 60, marks=pytest.mark.failure("VAL-13")),
    ],
)
async def test_such_a_refusal_alerts_once_and_entries_are_tried_again_with_growing_waits(
    about: About, first_wait: int
) -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        await bench.enter(an_intent("held"))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        sent = len(bench.venue.only(Leg.ENTRY))
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-4400", about))
        began = bench.clock.monotonic()
        tries = []
        for second in range(16 * first_wait):
            intent = an_intent(f"s{second}", instrument=COINS[second % 12])
            ruling = bench.risk.approve_entry(intent, notional(100))
            if ruling.approved is not None:
                tries.append(round(bench.clock.monotonic() - began))
                await bench.orders.submit([ruling.approved])
            await bench.settle(1)
        assert tries == [0, first_wait, 3 * first_wait, 7 * first_wait, 15 * first_wait]
        assert len(bench.venue.only(Leg.ENTRY)) == sent + len(tries)
        assert len(bench.notifier.critical()) == 1
        await bench.venue.end(bench.venue.working_stops()[0], OrderStatus.CANCELED)
        await bench.until(lambda: bool(bench.venue.working_stops()), 5)
        await bench.closer.flatten(bench.position().key, "by hand")
        assert not bench.state.positions()


@pytest.mark.failure("VAL-13")
async def test_margin_is_checked_before_sending_and_a_refusal_ends_the_venues_part_of_the_wave() -> None:
    coins = [an_instrument(coin) for coin in COINS]
    async with a_bench(instruments=coins, limits=risk_limits(leverage=1)) as bench:
        bench.orders.apply([a_balance_report("250", venue_time_ms=NOW_MS + 1)])
        report = await bench.wave(*(a_signal(f"s{n}", instrument=COINS[n], score=90 - n) for n in range(4)))
        states = [leg.state for leg in report.legs]
        assert states == [LegState.PROTECTED] * 2 + [LegState.REFUSED] * 2  # 100 each, 10 stay
        assert len(bench.venue.only(Leg.ENTRY)) == 2
    async with a_bench(instruments=coins) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-2019", About.INSUFFICIENT_MARGIN))
        waves = [bench.wave(*(a_signal(f"s{w}{n}", instrument=COINS[n]) for n in range(6))) for w in range(5)]
        for wave in waves:
            await wave
        assert len(bench.venue.only(Leg.ENTRY)) <= 5, "one wave's concurrent entries, then none"
        assert len(bench.notifier.critical()) == 1


# --- the clock -------------------------------------------------------------------------------------------------------


async def test_a_clock_that_jumped_holds_entries_back_until_the_venues_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        await bench.settle(2)
        bench.venue.error = Unreachable(BINANCE, "no route")
        exact = type(bench.clock).now_ms
        monkeypatch.setattr(type(bench.clock), "now_ms", lambda clock: exact(clock) + 1_001)
        assert denied(bench) is Reason.CLOCK_UNSURE
        bench.venue.error = None
        await bench.settle(12)
        assert "clock" in bench.venue.reads
        assert denied(bench) is None


async def test_a_clock_that_could_not_be_measured_for_an_hour_holds_entries_back() -> None:
    async with a_bench() as bench:
        assert denied(bench) is None
        bench.venue.error = Unreachable(BINANCE, "no route")
        assert gate(bench, "clock").limit == "MAX_CLOCK_ERROR_MS=1000"
        await bench.settle(3_599)
        assert gate(bench, "clock").passed
        await bench.settle(2)
        assert gate(bench, "clock").denied is not None
