"""What is kept of orders: enough to judge what comes late, and no more for a stop that was moved a thousand times."""

from __future__ import annotations

from collections.abc import Callable

from core.domain.ids import ClientOrderId, Leg
from core.domain.order import OrderStatus
from core.engine.attempts import next_attempt
from core.engine.state import REMEMBERED_ENDED_ORDERS, State
from tests.builders import a_balance_report, a_position, a_position_report, an_intent, an_order

MOVES = REMEMBERED_ENDED_ORDERS + 500


def trailed(state: State) -> None:
    """An open position, a step of its profit taken, and its stop replaced `MOVES` times."""
    entry = an_intent()
    state.put_position(a_position(position_id=entry.position_id))
    taken = an_intent(leg=Leg.TAKE_PROFIT)
    for intent in (entry, taken):
        state.put_order(an_order(intent, status=OrderStatus.FILLED, filled=1))
    for attempt in range(MOVES):
        stop = an_intent(leg=Leg.STOP, attempt=attempt, client_id=f"stop-{attempt}", trigger=98)
        state.put_order(an_order(stop, status=OrderStatus.ACCEPTED))
        if attempt:
            before = state.order(ClientOrderId(f"stop-{attempt - 1}"))
            assert before is not None
            state.put_order(an_order(before.intent, status=OrderStatus.CANCELED))


def test_stops_that_were_replaced_are_forgotten_in_the_end() -> None:
    state = State()
    trailed(state)
    position = state.positions()[0]
    assert len(state.orders_of(position.id)) <= REMEMBERED_ENDED_ORDERS + 1
    assert state.order(ClientOrderId("stop-0")) is None
    assert [order.status for order in state.orders_of(position.id, Leg.STOP)][-1] is OrderStatus.ACCEPTED


def test_what_traded_and_the_newest_number_are_kept() -> None:
    state = State()
    trailed(state)
    position = state.positions()[0]
    assert [order.intent.leg for order in state.orders_of(position.id)][:2] == [Leg.ENTRY, Leg.TAKE_PROFIT]
    assert len(state.orders_of(position.id, Leg.TAKE_PROFIT)) == 1
    assert next_attempt(state.orders_of(position.id, Leg.STOP), Leg.STOP) == MOVES


def test_the_last_stop_keeps_its_number_though_it_has_ended() -> None:
    """A number that is used twice would be an order of the venue's that we take for another one."""
    state = State()
    trailed(state)
    last = state.order(ClientOrderId(f"stop-{MOVES - 1}"))
    assert last is not None
    state.put_order(an_order(last.intent, status=OrderStatus.CANCELED))
    for number in range(MOVES):
        state.put_order(an_order(an_intent(key=f"o{number}"), status=OrderStatus.FILLED, filled=1))
    position = state.positions()[0]
    assert next_attempt(state.orders_of(position.id, Leg.STOP), Leg.STOP) == MOVES


def test_a_snapshot_is_made_once_and_is_never_older_than_the_last_change() -> None:
    state = State()
    entry = an_intent()
    changes: list[Callable[[], object]] = [
        lambda: state.put_order(an_order(entry)),
        lambda: state.put_position(a_position()),
        lambda: state.put_venue_position(a_position_report(amount=1)),
        lambda: state.put_venue_position(a_position_report(amount=0)),
        lambda: state.put_balance(a_balance_report(available=5), 0.0),
        lambda: state.put_position(a_position(amount=0, entry_amount=1)),
        lambda: state.drop_order(entry.client_order_id),
    ]
    before = state.snapshot()
    for change in changes:
        change()
        now = state.snapshot()
        assert now is state.snapshot()
        assert now != before
        assert now.positions == tuple(state.positions())
        assert now.orders == tuple(state.all_live_orders())
        assert now.venue_positions == tuple(row for row in state.venue_positions() if row.quantity)
        assert now.balances == state.balances()
        before = now
