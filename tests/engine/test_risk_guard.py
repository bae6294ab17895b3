"""Check and reserve are one step, so no wave can over-allocate; reservations end with the order and never before."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.ids import Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.risk import TradingState
from core.domain.verdict import Reason
from core.engine.risk_guard import Approved
from core.errors import Unreachable
from tests.builders import (
    BTC,
    USDT,
    a_balance_report,
    a_status,
    an_instrument,
    an_instrument_id,
    an_intent,
    notional,
    risk_limits,
)
from tests.engine.bench import Bench, a_bench
from tests.fakes.virtual_loop import VirtualLoop

S = OrderStatus
COINS = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(12)]


@pytest.mark.failure("VAL-14")
@settings(max_examples=50, deadline=None)
@given(
    wave=st.lists(st.tuples(st.sampled_from(COINS), st.integers(1, 4_000)), max_size=50),
    ends=st.lists(st.integers(0, 49)),
    max_positions=st.integers(1, 10),
    max_exposure=st.integers(100, 20_000),
    reserve=st.integers(0, 9_000),
    leverage=st.integers(1, 20),
)
def test_no_wave_however_large_exceeds_a_limit(
    wave: list[tuple[object, int]], ends: list[int], max_positions: int, max_exposure: int, reserve: int, leverage: int
) -> None:
    async def story() -> None:
        limits = risk_limits(max_positions=max_positions, max_exposure=max_exposure, reserve=reserve, leverage=leverage)
        async with a_bench(instruments=[an_instrument(coin) for coin in COINS], limits=limits) as bench:
            held: dict[int, int] = {}
            for number, (coin, worth) in enumerate(wave):
                intent = an_intent(str(number), instrument=coin)  # type: ignore[arg-type]
                if bench.risk.reserved(intent.instrument):
                    continue  # the entry desk refuses a second order on one symbol before asking
                if bench.risk.approve_entry(intent, notional(worth)).approved is not None:
                    held[number] = worth
                if number in ends and number in held:
                    bench.risk.release(intent.client_order_id)
                    del held[number]
                used = bench.risk.usage(VenueName.BINANCE, USDT)
                assert used.positions == len(held) <= max_positions
                assert used.exposure == sum(held.values()) <= max_exposure
                assert not held or (used.free is not None and used.free >= reserve)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


def denied(bench: Bench, key: str = "s9", worth: int = 100) -> Reason | None:
    refusal = bench.risk.approve_entry(an_intent(key), notional(worth)).denied
    return None if refusal is None else refusal.reason


@pytest.mark.failure("VAL-14")
@pytest.mark.parametrize("end", [S.REJECTED, S.EXPIRED, S.CANCELED, S.ABSENT])
async def test_a_reservation_ends_when_the_entry_ends_without_a_fill(end: OrderStatus) -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.hang)
        await bench.enter(an_intent())
        await bench.settle()
        assert bench.risk.reserved(BTC)
        bench.orders.apply([a_status(an_intent(), end)])
        assert not bench.risk.reserved(BTC)
        assert bench.risk.usage(VenueName.BINANCE, USDT).positions == 0


async def test_a_filled_entry_is_counted_once_while_it_fills_and_after() -> None:
    async with a_bench() as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(1)], 1.0
        await bench.enter(an_intent(amount=2))
        for _ in range(30):
            await bench.settle(0.1)
            used = bench.risk.usage(VenueName.BINANCE, USDT)
            assert (used.positions, used.exposure) == (1, 200)
        assert not bench.risk.reserved(BTC)


async def test_an_entry_filled_by_report_and_without_trades_keeps_its_reservation() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.hang)
        await bench.enter(an_intent())
        bench.orders.apply([a_status(an_intent(), S.FILLED, filled=1)])
        assert bench.risk.reserved(BTC)


async def test_a_balance_older_than_a_minute_refuses_entries() -> None:
    async with a_bench() as bench:
        await bench.settle(30)
        bench.orders.apply([a_balance_report()])
        bench.venue.error = Unreachable(VenueName.BINANCE, "no route")  # reconciliation cannot refresh it
        await bench.settle(60)
        assert denied(bench, "s8") is None
        await bench.settle(0.01)
        assert denied(bench, "s9") is Reason.BALANCE_UNKNOWN


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
async def test_no_entry_passes_in_any_state_but_active_and_every_close_does(state: TradingState) -> None:
    async with a_bench() as bench:
        bench.risk.set_state(state, reason="pause", author="operator")
        assert denied(bench) is Reason.NOT_ACTIVE
        assert isinstance(bench.risk.approve_reducing(an_intent(leg=Leg.CLOSE)), Approved)


async def test_an_entry_cannot_pass_as_a_close() -> None:
    async with a_bench() as bench:
        with pytest.raises(ValueError, match="not reduce-only"):
            bench.risk.approve_reducing(an_intent())


async def test_a_venue_switched_off_refuses_with_the_reason_until_it_is_on_again() -> None:
    async with a_bench() as bench:
        bench.risk.set_venue(VenueName.BINANCE, "hedge mode", by="account-watch")
        assert denied(bench) is Reason.VENUE_OFF
        bench.risk.set_venue(VenueName.BINANCE, None, by="account-watch")
        assert denied(bench) is None


async def test_an_unwritable_journal_refuses_entries_and_one_that_recovers_admits_them() -> None:
    async with a_bench() as bench:
        bench.journal.broken = True
        assert denied(bench) is Reason.JOURNAL_UNWRITABLE
        bench.journal.broken = False
        assert denied(bench) is None
        assert bench.risk.denials == {Reason.JOURNAL_UNWRITABLE: 1}


async def test_what_an_operator_set_survives_a_restart_and_what_we_set_ourselves_does_not() -> None:
    async with a_bench() as bench:
        held = {"trading_state": json.dumps({"state": "reducing", "reason": "holiday", "author": "operator"})}
        standing = bench.risk.restore(held)
        assert standing is not None
        assert (standing.state, standing.reason) == (TradingState.REDUCING, "holiday")
        ours = {"trading_state": json.dumps({"state": "halted", "reason": "bug", "author": "breakwater"})}
        assert bench.risk.restore(ours) is None
        assert bench.risk.restore({}) is None


async def test_entries_counted_by_a_clock_that_was_ahead_hold_for_a_minute_and_no_longer() -> None:
    async with a_bench(limits=risk_limits(max_entries_per_minute=1)) as bench:
        ahead = bench.clock.now_ms() + 86_400_000
        bench.risk.recall({"risk_entries": json.dumps([ahead])})
        refused = bench.risk.approve_entry(an_intent("a"), notional(100)).denied
        assert refused is not None
        assert refused.reason is Reason.ENTRY_RATE
        await bench.settle(60)
        assert bench.risk.approve_entry(an_intent("b"), notional(100)).denied is None
