"""One door in, one door out: registered, durable, sent, in that order; and whatever a venue says is applied once."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest

from core.domain.events import Event, PositionChanged
from core.domain.ids import Leg
from core.domain.order import OrderIntent, OrderStatus
from core.domain.reports import Report
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.engine.order_manager import OrderManager
from core.engine.ports import Accepted, Outcome
from core.engine.records import FillRecord, OrderRecord, PositionRecord
from core.engine.risk_guard import Approved
from core.errors import JournalUnwritable, Unreachable
from tests.builders import BTC, ETH, a_fill, a_position, a_position_report, a_status, an_intent, an_order, notional
from tests.engine.bench import Bench, a_bench

S = OrderStatus


def a_close(amount: int = 1) -> OrderIntent:
    return an_intent(leg=Leg.CLOSE, side=Side.SELL, amount=amount)


def allowed(bench: Bench, intent: OrderIntent) -> Approved[OrderIntent]:
    ruling = bench.risk.approve_entry(intent, notional(intent.quantity * 100))
    assert ruling.approved is not None
    return ruling.approved


async def test_an_entry_is_registered_then_durable_then_sent() -> None:
    async with a_bench() as bench:
        intent = an_intent()
        known: list[bool] = []

        async def look(sent: OrderIntent) -> Outcome:
            known.append(bench.state.order(sent.client_order_id) is not None)
            return await bench.venue.behave(sent)

        bench.venue.script(Leg.ENTRY, look)
        await bench.enter(intent)
        await bench.settle()
        assert known == [True]
        assert bench.diary[:2] == [("journal", intent.client_order_id), ("wire", intent.client_order_id)]


async def test_the_entries_of_one_call_share_one_commit_before_any_is_sent() -> None:
    async with a_bench() as bench:
        first, second = an_intent("a"), an_intent("b", instrument=ETH)
        commits = bench.journal.commits
        await bench.orders.submit([allowed(bench, first), allowed(bench, second)])
        assert bench.journal.commits == commits + 1
        await bench.settle()
        assert [who for who, _ in bench.diary[:4]] == ["journal", "journal", "wire", "wire"]


async def test_submitting_a_known_id_sends_nothing() -> None:
    async with a_bench() as bench:
        intent = an_intent()
        await bench.enter(intent)
        await bench.settle()
        await bench.enter(intent)
        await bench.settle()
        assert bench.venue.only(Leg.ENTRY) == [intent]


async def test_the_same_id_twice_in_one_call_is_sent_once() -> None:
    async with a_bench() as bench:
        bench.orders.restore([], [a_position()])
        approved = bench.risk.approve_reducing(a_close())
        await bench.orders.submit([approved, approved])
        await bench.settle()
        assert len(bench.venue.only(Leg.CLOSE)) == 1


async def test_an_entry_that_cannot_be_journaled_is_not_sent_and_leaves_nothing_behind() -> None:
    async with a_bench() as bench:
        approved = allowed(bench, an_intent())
        bench.journal.broken = True
        with pytest.raises(JournalUnwritable):
            await bench.orders.submit([approved])
        await bench.settle()
        assert bench.venue.sent == []
        assert bench.state.all_live_orders() == []


async def test_an_entry_given_up_while_the_journal_is_writing_is_not_sent_and_leaves_nothing_behind() -> None:
    async with a_bench() as bench:
        bench.journal.seconds = 5
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await bench.enter(an_intent())
        await bench.settle(10)
        assert bench.venue.sent == []
        assert bench.state.all_live_orders() == []


async def test_a_reduce_only_order_goes_out_without_a_journal_and_is_journaled_later() -> None:
    async with a_bench() as bench:
        bench.orders.restore([], [a_position()])
        bench.journal.broken = True
        await bench.orders.submit([bench.risk.approve_reducing(a_close())])
        await bench.settle()
        assert bench.venue.only(Leg.CLOSE) == [a_close()]
        assert a_close().client_order_id in bench.journal.posted_intents()


async def test_a_reduce_only_order_waits_no_longer_than_allowed_for_a_slow_journal() -> None:
    async with a_bench() as bench:
        bench.orders.restore([], [a_position()])
        bench.journal.seconds = 20
        started = bench.clock.monotonic()
        await bench.orders.submit([bench.risk.approve_reducing(a_close())])
        await bench.settle(0)
        assert bench.venue.sent_at[0] - started == pytest.approx(0.05)
        assert bench.journal.posted_intents() == [a_close().client_order_id]


@pytest.mark.failure("POS-01", "INV-11")
@pytest.mark.parametrize("after_ms", [-1, 0, 100, 400])
async def test_a_fill_before_with_or_after_the_answer_gives_the_same_state(after_ms: int) -> None:
    """400 ms after the answer the first question was asked already: the trade then comes by both ways."""
    async with a_bench() as bench:
        intent = an_intent()

        async def answer(sent: OrderIntent) -> Outcome:
            assert bench.state.order(sent.client_order_id) is not None
            order = bench.venue._register(sent, S.ACCEPTED)
            bench.venue.tells = False
            await bench.venue.trade(order, sent.quantity)
            told: list[Report] = [*order.fills, bench.venue._status(order)]
            if after_ms < 0:
                await bench.orders.take(told)
                await bench.orders.drained()
            else:
                asyncio.get_running_loop().call_later(after_ms / 1000, bench.orders.apply, told)
            return Accepted(reports=(bench.venue._status(order),))

        bench.venue.script(Leg.ENTRY, answer)
        await bench.enter(intent)
        await bench.settle(1)
        order = bench.order(intent)
        assert (order.status, order.filled, order.fills_missing) == (S.FILLED, 1, 0)
        assert bench.position().quantity == 1
        assert not bench.risk.reserved(BTC)


async def test_an_order_with_unknown_outcome_is_watched_and_keeps_its_reservation() -> None:
    async with a_bench() as bench:
        intent = an_intent()
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        await bench.enter(intent)
        await bench.settle()
        assert bench.inflight.unresolved == {intent.client_order_id}
        assert bench.order(intent).status is S.IN_FLIGHT
        assert bench.risk.reserved(BTC)


async def test_an_acceptance_that_tells_nothing_is_followed_by_a_question() -> None:
    async with a_bench() as bench:
        intent = an_intent()
        bench.venue.script(Leg.ENTRY, bench.venue.accept_silently)
        await bench.enter(intent)
        await bench.settle(2)
        assert bench.order(intent).status is S.ACCEPTED


async def test_a_rejection_ends_the_order_and_frees_its_reservation() -> None:
    async with a_bench() as bench:
        intent = an_intent()
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-2019"))
        await bench.enter(intent)
        await bench.settle()
        order = bench.order(intent)
        assert (order.status, order.detail) == (S.REJECTED, "-2019 no")
        assert not bench.risk.reserved(BTC)
        rejection = bench.orders.rejection(intent.client_order_id)
        assert rejection is not None
        assert rejection.code == "-2019"


async def test_trades_nobody_told_are_fetched() -> None:
    async with a_bench() as bench:
        bench.venue.tells = False
        intent = an_intent()
        await bench.enter(intent)
        await bench.settle(2)
        assert bench.position().quantity == 1
        assert bench.order(intent).fills_missing == 0


async def test_an_exception_inside_the_venue_client_is_an_unknown_outcome_and_halts() -> None:
    async with a_bench() as bench:

        async def crash(sent: OrderIntent) -> Outcome:
            raise KeyError(sent.client_order_id)

        bench.venue.script(Leg.ENTRY, crash)
        await bench.enter(an_intent())
        await bench.settle()
        assert bench.inflight.unresolved == {an_intent().client_order_id}
        assert bench.risk.standing.state is TradingState.HALTED


async def test_duplicate_fills_are_counted_and_change_nothing() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        fill = bench.venue.orders[an_intent().client_order_id].fills[0]
        bench.orders.apply([fill, fill])
        assert bench.orders.counts["duplicate_fill"] == 2
        assert bench.position().quantity == 1


async def test_an_impossible_report_changes_nothing_is_recorded_and_asks_for_reconciliation() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        before = bench.order(an_intent())
        bench.orders.apply([a_fill(an_intent(), trade_id="one too many")])
        assert bench.order(an_intent()) is before
        assert len(bench.audit.of("inconsistent")) == 1
        await bench.settle()
        assert "mass_status" in bench.venue.reads


async def test_foreign_orders_never_become_ours() -> None:
    async with a_bench() as bench:
        bench.orders.apply([a_fill(client_id="web_1"), a_status(an_intent(client_id="web_1"))])
        assert bench.state.positions() == []
        assert bench.orders.counts["foreign_report"] == 2
        assert bench.orders.counts["unknown_own_report"] == 0


async def test_a_must_consumer_that_raises_halts_trading_and_the_others_still_hear() -> None:
    heard: list[Event] = []

    def broken(events: Sequence[Event]) -> None:
        raise RuntimeError("bug")

    async with a_bench() as bench:
        bench.orders.listen(broken)
        bench.orders.listen(heard.extend)
        await bench.enter(an_intent())
        await bench.settle()
        assert bench.risk.standing.state is TradingState.HALTED
        assert any(isinstance(event, PositionChanged) for event in heard)
        assert len(bench.venue.working_stops()) == 1


async def test_a_report_that_breaks_does_not_hide_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fill in front of a broken report opened a position: its stop must be placed all the same."""
    async with a_bench() as bench:
        intent = an_intent()
        bench.venue.tells = False
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        await bench.enter(intent)
        await bench.settle()

        bugs = [KeyError("bug")]

        def explode(*_: object) -> None:
            if bugs:
                raise bugs.pop()

        monkeypatch.setattr(bench.state, "put_venue_position", explode)
        bench.venue.positions_held[BTC] = Decimal(1)
        bench.venue.error = Unreachable(BTC.venue, "no route")  # so that no reading of the venue can make up for it
        await bench.orders.take([a_fill(intent), a_position_report()])
        await bench.settle()
        assert bench.risk.standing.state is TradingState.HALTED
        assert len(bench.venue.working_stops()) == 1


@pytest.mark.failure("UDS-02")
async def test_a_report_that_breaks_is_counted_and_reconciled_and_later_ones_are_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        monkeypatch.setattr(bench.orders, "_on_foreign", None)
        await bench.enter(an_intent())
        await bench.orders.take([a_status(an_intent(client_id="web_1"))])
        await bench.settle()
        assert bench.position().quantity == 1
        assert bench.orders.counts["failed_reports"] == 1
        assert "mass_status" in bench.venue.reads
        assert bench.risk.standing.state is TradingState.HALTED


async def test_a_refused_cancel_is_followed_by_the_question_what_became_of_the_order() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (resting,) = bench.venue.working_stops()
        resting.status = S.EXPIRED  # the venue ended it; nobody told
        await bench.orders.cancel(bench.order(resting.intent))
        assert bench.order(resting.intent).status is S.EXPIRED


async def test_waiting_ends_with_the_time_out_or_with_the_condition() -> None:
    async with a_bench() as bench:
        started = bench.clock.monotonic()
        assert not await bench.orders.wait(BTC, lambda: False, 2.0)
        assert bench.clock.monotonic() - started == pytest.approx(2.0)
        asyncio.get_running_loop().call_later(1, bench.orders.wake, BTC)
        assert await bench.orders.wait(BTC, lambda: bench.clock.monotonic() - started >= 3, 60)


async def test_nothing_can_be_submitted_before_the_order_manager_runs() -> None:
    async with a_bench() as bench:
        idle = OrderManager(clients={}, state=bench.state, books=bench.orders._books, clock=bench.clock)
        with pytest.raises(RuntimeError, match="not running"):
            await idle.submit([bench.risk.approve_reducing(a_close())])


async def test_reasons_of_rejections_are_kept_for_a_bounded_number_of_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.engine.order_dispatch.REMEMBERED_ENDED_ORDERS", 3)
    async with a_bench() as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject())
        for key in "abcde":
            await bench.enter(an_intent(key))
            await bench.settle()
        kept = [key for key in "abcde" if bench.orders.rejection(an_intent(key).client_order_id)]
        assert kept == ["c", "d", "e"]


async def test_a_trade_listener_that_raises_costs_neither_the_position_nor_its_stop_and_halts() -> None:
    def broken(*_told: object) -> None:
        raise ValueError("statistics")

    async with a_bench() as bench:
        bench.orders.on_trade(broken)
        await bench.enter(an_intent())
        await bench.settle()
        assert bench.protection.covered(bench.position().key)
        assert bench.risk.standing.state is TradingState.HALTED


async def test_what_one_report_changes_is_stored_together_or_not_at_all() -> None:
    """An order whose trade is counted, without the position of that trade, could not be put right after a crash."""
    async with a_bench() as bench:
        intent = an_intent()
        bench.orders.register(an_order(intent))
        before = len(bench.journal.groups)
        bench.orders.apply([a_fill(intent, trade_id="t1", amount=1)])
        stored = bench.journal.groups[before]
        assert {type(record) for record in stored} >= {OrderRecord, FillRecord, PositionRecord}
