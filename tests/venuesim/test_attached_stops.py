"""Stops that come with an entry: when they begin, how much they cover, and what replaces what."""

from typing import Any

import pytest

from tests.venuesim.builders import BTC, Desk, an_order, d, refusal
from tests.venuesim.rig import Rig
from tools.venuesim.exchange.events import AccountChanged, ConditionalUpdate, OrderTrade
from tools.venuesim.exchange.model import (
    AmendRequest,
    Attachment,
    AttachRule,
    Conditional,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    Order,
    OrderStatus,
    Policy,
    PositionMode,
    PositionSide,
    PositionStop,
    Reference,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.exchange.state import FillPlan, OpenGate
from tools.venuesim.protection import ProtectionRecord


class Halves(OpenGate):
    """Every order fills half at once, the other half 100 ms later."""

    def fill_plan(self, order: Order) -> FillPlan | None:
        return None if order.reduce_only else FillPlan(fraction=d("0.5"), again_ms=100)


def leg(trigger: object = 950, kind: ConditionalType = ConditionalType.STOP, **changes: Any) -> Attachment:
    return Attachment(kind=kind, trigger_price=d(trigger), **changes)


def target(trigger: object = 1050, **changes: Any) -> Attachment:
    return leg(trigger, ConditionalType.TAKE_PROFIT, **changes)


def a_desk(rule: AttachRule = AttachRule.FIRST_FILL, **settings: Any) -> Desk:
    policy = {"attach": rule, "names_orders": False, **settings.pop("policy", {})}
    desk = Desk(policy=Policy(**policy), **settings)
    desk.price(1000)
    return desk


@pytest.fixture
def desk() -> Desk:
    """A venue that attaches from the first fill on."""
    return a_desk()


def resting(desk: Desk) -> list[Conditional]:
    return list(desk.engine.open_conditionals(BTC))


def test_an_attached_stop_begins_in_the_batch_of_the_fill_and_after_it(desk: Desk) -> None:
    entry = desk.buy("0.1", client_id="e", attached=(leg(), target()))
    names = [type(event) for event in desk.batches[-1]]
    last_fill = max(place for place, name in enumerate(names) if name in (OrderTrade, AccountChanged))
    assert [place for place, name in enumerate(names) if name is ConditionalUpdate] == [last_fill + 1, last_fill + 2]
    stop, profit = resting(desk)
    assert (stop.type, stop.side, stop.qty, stop.reduce_only, stop.attached) == (
        ConditionalType.STOP, Side.SELL, d("0.1"), True, True,
    )  # fmt: skip
    assert (stop.parent and stop.parent.order_id, stop.parent and stop.parent.client_id) == (entry.id, "e")
    assert (stop.client_id, profit.type, profit.trigger_price) == ("", ConditionalType.TAKE_PROFIT, d(1050))


def test_a_position_that_opens_with_its_stop_is_never_unprotected(desk: Desk) -> None:
    record = ProtectionRecord(desk.engine)
    desk.engine.connect(lambda events: record.observe(events, desk.time.now), Halves())
    desk.buy("0.2", attached=(leg(whole_position=True),))
    desk.time.pass_ms(1000)
    (life,) = record.describe(desk.time.now)
    assert (life["max_unprotected_ms"], life["naked_now_ms"], life["uncovered_qty"]) == (0.0, 0, "0")
    assert life["protected"] == life["opened"]


def test_a_resting_entry_has_no_stop_and_its_stop_vanishes_with_it(desk: Desk) -> None:
    desk.buy("0.1", price=990, client_id="e", attached=(leg(),))
    assert resting(desk) == []
    desk.engine.cancel(BTC, client_id="e")
    assert desk.engine.conditionals() == []


def test_a_partial_stop_grows_with_the_fills(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", attached=(leg(),))
    (first,) = resting(desk)
    assert first.qty == d("0.1")
    desk.time.pass_ms(200)
    (grown,) = resting(desk)
    assert (grown.id, grown.qty) == (first.id, d("0.2"))


def test_a_stop_for_a_part_of_the_entry_covers_no_more_than_that(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", attached=(leg(qty=d("0.15")),))
    desk.time.pass_ms(200)
    assert [row.qty for row in resting(desk)] == [d("0.15")]


def test_where_only_complete_fills_attach_a_part_filled_entry_has_no_stop() -> None:
    desk = a_desk(AttachRule.COMPLETE_FILL)
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", price=1010, client_id="e", attached=(leg(),))
    assert resting(desk) == []
    desk.time.pass_ms(100)
    assert [row.qty for row in resting(desk)] == [d("0.2")]


def test_where_only_complete_fills_attach_a_part_filled_cancelled_entry_never_gets_its_stop() -> None:
    desk = a_desk(AttachRule.COMPLETE_FILL)
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", price=1010, client_id="e", attached=(leg(),))
    desk.engine.cancel(BTC, client_id="e")
    desk.time.pass_ms(500)
    assert desk.engine.conditionals() == []
    assert desk.engine.position(BTC, PositionSide.BOTH).qty == d("0.1")


def test_an_entry_amended_down_to_its_fills_counts_as_completely_filled() -> None:
    desk = a_desk(AttachRule.COMPLETE_FILL, policy={"amended_down_ends_filled": True})
    desk.engine.connect(desk.batches.append, Halves())
    order = desk.buy("0.2", price=1010, client_id="e", attached=(leg(),))
    after = desk.engine.amend(AmendRequest(symbol=BTC, order_id=order.id, qty=d("0.1")))
    assert (after.status, after.qty) == (OrderStatus.FILLED, d("0.1"))
    assert [row.qty for row in resting(desk)] == [d("0.1")]


def test_a_second_entry_moves_the_stop_of_the_whole_position(desk: Desk) -> None:
    desk.buy("0.1", attached=(leg(950, whole_position=True),))
    (first,) = resting(desk)
    desk.buy("0.1", attached=(leg(960, whole_position=True, reference=Reference.MARK),))
    (second,) = resting(desk)
    assert (second.id, second.qty, second.close_position, second.whole_position) == (first.id, None, True, True)
    assert (second.trigger_price, second.reference, second.amendments) == (d(960), Reference.MARK, 1)


def test_a_stop_of_the_whole_position_closes_all_of_it(desk: Desk) -> None:
    desk.buy("0.1", attached=(leg(whole_position=True), target(whole_position=True)))
    desk.buy("0.3")
    desk.price(949)
    assert not desk.engine.positions()
    assert [row.status for row in desk.engine.conditionals()] == [
        ConditionalStatus.FINISHED, ConditionalStatus.EXPIRED,
    ]  # fmt: skip


def test_a_position_reopened_by_the_rest_of_an_entry_gets_its_stop_again(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", price=1010, attached=(leg(whole_position=True),))
    desk.sell("0.1", reduce_only=True)
    assert resting(desk) == []
    desk.time.pass_ms(100)
    assert [row.trigger_price for row in resting(desk)] == [d(950)]


def test_later_fills_do_not_undo_a_level_the_client_changed(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, Halves())
    desk.buy("0.2", attached=(leg(950, whole_position=True),))
    stop = PositionStop(symbol=BTC, position_side=PositionSide.BOTH, kind=ConditionalType.STOP, trigger_price=d(970))
    desk.engine.set_position_stop(stop)
    desk.time.pass_ms(1000)
    assert desk.engine.position(BTC, PositionSide.BOTH).qty == d("0.2")
    assert [row.trigger_price for row in resting(desk)] == [d(970)]


def test_a_stop_that_begins_beyond_its_trigger_fires_at_once(desk: Desk) -> None:
    desk.buy("0.1", price=990, attached=(leg(980),))
    desk.price(970)
    assert not desk.engine.positions()
    (stop,) = desk.engine.conditionals()
    assert (stop.status, stop.triggered_ms) == (ConditionalStatus.FINISHED, stop.created_ms)


def test_attached_stops_end_with_the_position(desk: Desk) -> None:
    desk.buy("0.1", attached=(leg(), target()))
    desk.sell("0.1", reduce_only=True)
    assert {(row.status, row.reason) for row in desk.engine.conditionals()} == {
        (ConditionalStatus.EXPIRED, Expiry.POSITION_CLOSED)
    }


def test_of_a_pair_the_one_that_fires_ends_the_other(desk: Desk) -> None:
    desk.buy("0.3")
    desk.buy("0.1", attached=(leg(pair="a", client_id="x"), target(pair="a", client_id="x")))
    stop, profit = resting(desk)
    assert (stop.partner_id, profit.partner_id) == (profit.id, stop.id)
    desk.price(1051)
    ended = desk.engine.conditional(conditional_id=stop.id)
    assert (ended.status, ended.reason) == (ConditionalStatus.EXPIRED, Expiry.PARTNER)
    assert desk.engine.position(BTC, PositionSide.BOTH).qty == d("0.3")


def test_an_order_that_flips_the_position_attaches_only_what_it_opened(desk: Desk) -> None:
    desk.sell("0.1")
    desk.buy("0.3", attached=(leg(),))
    assert [row.qty for row in resting(desk)] == [d("0.2")]


def test_hedge_mode_attaches_to_the_side_of_the_entry() -> None:
    desk = a_desk(mode=PositionMode.HEDGE)
    desk.buy("0.1", position_side=PositionSide.LONG, attached=(leg(whole_position=True),))
    desk.sell("0.1", position_side=PositionSide.SHORT, attached=(leg(1050, whole_position=True),))
    assert [(row.position_side, row.side) for row in resting(desk)] == [
        (PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY),
    ]  # fmt: skip
    desk.price(1051)
    assert [row.position_side for row in desk.engine.positions()] == [PositionSide.LONG]


@pytest.mark.parametrize(
    ("attached", "changes", "reason"),
    [
        (leg(1001), {}, Refusal.ATTACHED_WOULD_TRIGGER),
        (leg(991), {"price": 990}, Refusal.ATTACHED_WOULD_TRIGGER),
        (target(999), {}, Refusal.ATTACHED_WOULD_TRIGGER),
        (leg("950.05"), {}, Refusal.TRIGGER_PRICE_TICK),
        (leg(kind=ConditionalType.TRAILING), {}, Refusal.ATTACHED_UNSUPPORTED),
        (leg(kind=ConditionalType.STOP_LIMIT, price=d(940), whole_position=True), {}, Refusal.ATTACHED_UNSUPPORTED),
        (leg(kind=ConditionalType.STOP_LIMIT), {}, Refusal.PRICE_MISSING),
    ],
)
def test_an_entry_with_an_impossible_stop_is_refused(
    desk: Desk, attached: Attachment, changes: dict[str, Any], reason: Refusal
) -> None:
    assert refusal(desk.buy, "0.1", attached=(attached,), **changes) is reason
    assert not desk.engine.orders()


def test_an_order_that_only_reduces_cannot_bring_stops(desk: Desk) -> None:
    desk.buy("0.1")
    assert refusal(desk.sell, "0.1", reduce_only=True, attached=(leg(1050),)) is Refusal.ATTACHED_ON_CLOSING


def test_a_venue_without_attached_stops_refuses_them() -> None:
    desk = a_desk(AttachRule.NEVER)
    assert refusal(desk.buy, "0.1", attached=(leg(),)) is Refusal.ATTACHED_UNSUPPORTED


def test_the_stops_of_an_unfilled_entry_can_be_changed(desk: Desk) -> None:
    order = desk.buy("0.1", price=990, attached=(leg(950),))
    after = desk.engine.amend(AmendRequest(symbol=BTC, order_id=order.id, attached=(leg(940),)))
    assert (after.amendments, after.attached[0].trigger_price) == (1, d(940))
    wrong = AmendRequest(symbol=BTC, order_id=order.id, attached=(leg(991),))
    assert refusal(desk.engine.amend, wrong) is Refusal.ATTACHED_WOULD_TRIGGER
    desk.price(989)
    assert [row.trigger_price for row in resting(desk)] == [d(940)]


def test_the_stops_of_a_part_filled_entry_cannot_be_changed(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, Halves())
    order = desk.buy("0.2", price=1010, attached=(leg(950),))
    change = AmendRequest(symbol=BTC, order_id=order.id, attached=(leg(940),))
    assert refusal(desk.engine.amend, change) is Refusal.ATTACHED_EXISTS


def test_a_trigger_order_brings_stops_of_its_own(desk: Desk) -> None:
    desk.stop(1010, side=Side.BUY, reduce_only=False, entry_legs=(leg(),))
    desk.price(1011)
    assert [row.trigger_price for row in resting(desk)] == [d(950)]


class NoStops(OpenGate):
    def conditional(self, request: object) -> None:
        raise Refused(Refusal.INJECTED)


def test_a_refused_attached_stop_leaves_the_entry_and_is_told(desk: Desk) -> None:
    desk.engine.connect(desk.batches.append, NoStops())
    desk.buy("0.1", attached=(leg(),))
    assert [(row.status, row.reason) for row in desk.engine.conditionals()] == [
        (ConditionalStatus.REJECTED, Refusal.INJECTED)
    ]
    assert isinstance(desk.batches[-1][-1], ConditionalUpdate)
    assert desk.engine.positions()


def test_the_control_interface_shows_stops_without_a_client_id_as_null() -> None:
    rig = Rig()
    engine = rig.simulation.engine
    engine._state.policy = Policy(attach=AttachRule.FIRST_FILL, names_orders=False)
    engine.place(an_order(attached=(leg(whole_position=True),)))
    (row,) = rig.get("state")["orders"]
    assert (row["client_id"], row["type"], row["status"]) == (None, "stop", "untriggered")
    assert (row["close_position"], row["reduce_only"], row["stop_price"]) == (True, True, "950")
    assert row["qty"] == rig.get("state")["positions"][0]["qty"], "it covers what its position holds"
    assert [fill["client_id"] for fill in rig.get("state")["fills"]] == [None]
    assert rig.get("protection")[0]["max_unprotected_ms"] == 0
