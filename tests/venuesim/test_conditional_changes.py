"""Conditional orders changed while they wait, and the stops a position has as its own."""

from typing import Any

import pytest

from tests.venuesim.builders import BTC, Desk, a_stop, d, refusal
from tools.venuesim.exchange.events import ConditionalUpdate
from tools.venuesim.exchange.model import (
    AmendConditional,
    Conditional,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    Policy,
    PositionMode,
    PositionSide,
    PositionStop,
    Reference,
    Refusal,
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk(policy=Policy(names_orders=False))
    desk.price(1000)
    return desk


def amend(desk: Desk, row: Conditional, **changes: Any) -> Conditional:
    return desk.engine.amend_conditional(AmendConditional(symbol=BTC, conditional_id=row.id, **changes))


def position_stop(desk: Desk, trigger: object = None, **changes: Any) -> Conditional:
    values: dict[str, Any] = {"kind": ConditionalType.STOP, "position_side": PositionSide.BOTH, **changes}
    return desk.engine.set_position_stop(
        PositionStop(symbol=BTC, trigger_price=None if trigger is None else d(trigger), **values)
    )


def test_an_amended_stop_keeps_its_id_and_counts_the_change(desk: Desk) -> None:
    desk.buy("0.2")
    stop = desk.stop(900, client_id="s")
    desk.forget()
    after = desk.engine.amend_conditional(
        AmendConditional(symbol=BTC, client_id="s", trigger_price=d(950), qty=d("0.2"), extras={"a": "b"})
    )
    assert (after.id, after.trigger_price, after.qty, after.amendments) == (stop.id, d(950), d("0.2"), 1)
    assert after.extras["a"] == "b"
    assert desk.events == [ConditionalUpdate(conditional=after)]
    desk.price(949)
    assert not desk.engine.positions()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trigger_price": d(1001)}, Refusal.WOULD_TRIGGER),
        ({"trigger_price": d("900.05")}, Refusal.TRIGGER_PRICE_TICK),
        ({"qty": d("0.0001")}, Refusal.QTY_MIN),
        ({"trigger_price": d(900)}, Refusal.NOT_MODIFIED),
        ({}, Refusal.NOT_MODIFIED),
    ],
)
def test_an_amendment_obeys_the_checks_of_placing(desk: Desk, changes: dict[str, Any], reason: Refusal) -> None:
    desk.buy("0.1")
    stop = desk.stop(900)
    with pytest.raises(Exception, match=reason.value):
        amend(desk, stop, **changes)
    assert desk.engine.conditional(conditional_id=stop.id) == stop


def test_an_ended_stop_cannot_be_amended(desk: Desk) -> None:
    stop = desk.stop(900)
    desk.engine.cancel_conditional(conditional_id=stop.id)
    with pytest.raises(Exception, match=Refusal.UNKNOWN_CONDITIONAL.value):
        amend(desk, stop, trigger_price=d(950))


def test_a_stop_can_become_a_stop_limit_and_back(desk: Desk) -> None:
    stop = desk.stop(900)
    limit = amend(desk, stop, kind=ConditionalType.STOP_LIMIT, price=d(899))
    assert (limit.type, limit.price) == (ConditionalType.STOP_LIMIT, d(899))
    market = amend(desk, limit, kind=ConditionalType.STOP)
    assert (market.type, market.price) == (ConditionalType.STOP, None)


def test_a_trailing_stop_keeps_what_it_followed_when_its_distance_changes(desk: Desk) -> None:
    desk.buy("0.1")
    row = desk.stop(None, type=ConditionalType.TRAILING, callback_distance=d(50))
    desk.price(1040)
    after = amend(desk, row, callback_distance=d(20))
    assert (after.extreme, after.activated) == (d(1040), True)
    desk.price(1019)
    assert not desk.engine.positions()


def test_a_position_stop_is_made_moved_and_taken_away(desk: Desk) -> None:
    desk.buy("0.1")
    made = position_stop(desk, 950, reference=Reference.MARK)
    assert (made.whole_position, made.attached, made.close_position, made.qty) == (True, True, True, None)
    moved = position_stop(desk, 960, reference=Reference.MARK)
    assert (moved.id, moved.trigger_price, moved.amendments) == (made.id, d(960), 1)
    gone = position_stop(desk)
    assert (gone.id, gone.status) == (made.id, ConditionalStatus.CANCELED)
    assert not desk.engine.open_conditionals()


def test_a_position_has_one_stop_of_each_kind(desk: Desk) -> None:
    desk.buy("0.1")
    rows = [
        position_stop(desk, 950),
        position_stop(desk, 1050, kind=ConditionalType.TAKE_PROFIT),
        position_stop(desk, kind=ConditionalType.TRAILING, callback_distance=d(30)),
    ]
    position_stop(desk, 940)
    assert [row.id for row in desk.engine.open_conditionals()] == [row.id for row in rows]


def test_the_same_stop_again_is_not_modified(desk: Desk) -> None:
    desk.buy("0.1")
    assert refusal(position_stop, desk) is Refusal.NOT_MODIFIED
    position_stop(desk, 950)
    assert refusal(position_stop, desk, 950) is Refusal.NOT_MODIFIED


def test_a_flat_position_has_no_stop(desk: Desk) -> None:
    assert refusal(position_stop, desk, 950) is Refusal.NO_POSITION


def test_a_position_stop_on_the_wrong_side_is_refused(desk: Desk) -> None:
    desk.buy("0.1")
    assert refusal(position_stop, desk, 1001) is Refusal.WOULD_TRIGGER
    position_stop(desk, 950)
    assert refusal(position_stop, desk, 1001) is Refusal.WOULD_TRIGGER


def test_a_position_stop_of_a_short_buys(desk: Desk) -> None:
    desk.sell("0.1")
    position_stop(desk, 1050)
    desk.price(1051)
    assert not desk.engine.positions()
    assert not desk.engine.open_conditionals()


def test_in_hedge_mode_each_side_has_its_own_stop() -> None:
    desk = Desk(policy=Policy(), mode=PositionMode.HEDGE)
    desk.price(1000)
    desk.buy("0.1", position_side=PositionSide.LONG)
    desk.sell("0.1", position_side=PositionSide.SHORT)
    position_stop(desk, 950, position_side=PositionSide.LONG)
    position_stop(desk, 1050, position_side=PositionSide.SHORT)
    assert refusal(position_stop, desk, 950) is Refusal.POSITION_SIDE_MISMATCH
    assert len(desk.engine.open_conditionals()) == 2


def test_of_a_placed_pair_one_ends_the_other(desk: Desk) -> None:
    desk.buy("0.2")
    stop, profit = desk.engine.place_pair(
        a_stop(950, client_id="p"), a_stop(1050, type=ConditionalType.TAKE_PROFIT, client_id="p")
    )
    desk.price(949)
    ended = desk.engine.conditional(conditional_id=profit.id)
    assert (ended.status, ended.reason) == (ConditionalStatus.EXPIRED, Expiry.PARTNER)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.FINISHED
    assert desk.engine.position(BTC, PositionSide.BOTH).qty == d("0.1")


def test_a_pair_of_which_one_is_refused_is_not_placed_at_all(desk: Desk) -> None:
    with pytest.raises(Exception, match=Refusal.WOULD_TRIGGER.value):
        desk.engine.place_pair(a_stop(950), a_stop(990, type=ConditionalType.TAKE_PROFIT))
    assert not desk.engine.conditionals()
