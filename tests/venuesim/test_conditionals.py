"""Stops, take profits and trailing stops: when they fire and how they end."""

import pytest

from tests.venuesim.builders import BTC, Desk, d, refusal
from tools.venuesim.exchange.events import ConditionalUpdate
from tools.venuesim.exchange.model import (
    ConditionalStatus,
    ConditionalType,
    Expiry,
    OrderStatus,
    PositionMode,
    PositionSide,
    Reference,
    Refusal,
    Side,
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.price(1000)
    return desk


def updates(desk: Desk) -> list[ConditionalStatus]:
    return [event.conditional.status for event in desk.events if isinstance(event, ConditionalUpdate)]


def test_a_stop_fires_on_its_reference_price_and_closes(desk: Desk) -> None:
    desk.buy("0.1")
    stop = desk.stop(900, client_id="s")
    desk.price(890, mark=950)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.NEW
    desk.forget()
    desk.price(950, mark=899)
    assert not desk.engine.positions()
    assert desk.names() == [
        "ConditionalUpdate", "OrderNew", "OrderTrade", "AccountChanged", "ConditionalUpdate", "ConditionalUpdate",
    ]  # fmt: skip
    assert updates(desk) == [ConditionalStatus.TRIGGERING, ConditionalStatus.TRIGGERED, ConditionalStatus.FINISHED]
    assert len(desk.batches) == 1
    child = desk.engine.order(BTC, client_id="s")
    assert (child.status, child.conditional_id) == (OrderStatus.FILLED, stop.id)
    assert desk.engine.conditional(client_id="s").child_id == child.id


@pytest.mark.parametrize(
    ("kind", "side", "trigger"),
    [
        (ConditionalType.STOP, Side.SELL, 1001),
        (ConditionalType.STOP, Side.BUY, 999),
        (ConditionalType.TAKE_PROFIT, Side.SELL, 999),
        (ConditionalType.TAKE_PROFIT, Side.BUY, 1001),
    ],
)
def test_a_trigger_that_is_already_met_is_refused(desk: Desk, kind: ConditionalType, side: Side, trigger: int) -> None:
    assert refusal(desk.stop, trigger, side=side, type=kind) is Refusal.WOULD_TRIGGER


def test_take_profits_fire_on_the_other_side(desk: Desk) -> None:
    desk.buy("0.1")
    desk.stop(1050, type=ConditionalType.TAKE_PROFIT)
    desk.price(1051)
    assert not desk.engine.positions()


def test_a_stop_limit_rests_its_child_and_finishes_with_it(desk: Desk) -> None:
    desk.buy("0.1")
    stop = desk.stop(950, type=ConditionalType.STOP_LIMIT, price=d(960), client_id="s")
    desk.price(949)
    row = desk.engine.conditional(conditional_id=stop.id)
    assert row.status is ConditionalStatus.TRIGGERED
    assert refusal(desk.engine.cancel_conditional, conditional_id=stop.id) is Refusal.UNKNOWN_CONDITIONAL
    desk.engine.cancel(BTC, client_id="s")
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.FINISHED


def test_several_reduce_only_stops_may_exceed_the_position_and_the_extra_one_is_rejected(desk: Desk) -> None:
    desk.buy("0.1")
    first, second = desk.stop(900), desk.stop(899)
    desk.price(890)
    assert desk.engine.conditional(conditional_id=first.id).status is ConditionalStatus.FINISHED
    row = desk.engine.conditional(conditional_id=second.id)
    assert (row.status, row.reason) == (ConditionalStatus.REJECTED, Refusal.REDUCE_ONLY_REJECTED)


def test_a_stop_larger_than_the_position_is_cut_down_to_it(desk: Desk) -> None:
    desk.buy("0.1")
    desk.stop(900, "0.5", client_id="s")
    desk.price(890)
    assert desk.engine.order(BTC, client_id="s").qty == d("0.1")
    assert not desk.engine.positions()


def test_close_position_closes_whatever_there_is_and_ends_with_the_position(desk: Desk) -> None:
    desk.buy("0.1")
    stop = desk.stop(900, None, close_position=True)
    profit = desk.stop(1100, None, close_position=True, type=ConditionalType.TAKE_PROFIT)
    assert refusal(desk.stop, 910, None, close_position=True) is Refusal.CLOSE_POSITION_EXISTS
    desk.buy("0.2")
    desk.price(890)
    assert not desk.engine.positions()
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.FINISHED
    row = desk.engine.conditional(conditional_id=profit.id)
    assert (row.status, row.reason) == (ConditionalStatus.EXPIRED, Expiry.POSITION_CLOSED)


def test_reduce_only_stops_stay_when_the_position_is_gone(desk: Desk) -> None:
    desk.buy("0.1")
    stop = desk.stop(900)
    desk.sell("0.1", reduce_only=True)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.NEW


def test_conditional_orders_are_not_margin_checked_before_they_fire() -> None:
    desk = Desk(balance=1)
    desk.price(1000)
    stop = desk.stop(1100, "10", side=Side.BUY, reduce_only=False)
    desk.price(1101)
    row = desk.engine.conditional(conditional_id=stop.id)
    assert (row.status, row.reason) == (ConditionalStatus.REJECTED, Refusal.INSUFFICIENT_MARGIN)


def test_a_trailing_stop_follows_the_best_price_and_fires_on_the_way_back(desk: Desk) -> None:
    desk.buy("0.1")
    trailing = desk.stop(None, type=ConditionalType.TRAILING, callback_rate=d("0.01"), reference=Reference.LAST)
    assert trailing.activated
    desk.price(1100)
    desk.price(1090)
    assert desk.engine.positions()
    desk.price(1089)
    assert not desk.engine.positions()


def test_a_trailing_stop_sleeps_until_its_activation_price(desk: Desk) -> None:
    desk.buy("0.1")
    trailing = desk.stop(None, type=ConditionalType.TRAILING, callback_rate=d("0.01"), activation_price=d(1050))
    desk.price(960)
    assert desk.engine.positions()
    desk.price(1050)
    assert desk.engine.conditional(conditional_id=trailing.id).activated
    desk.price(1039)
    assert not desk.engine.positions()


def test_the_limit_on_conditional_orders_counts_all_symbols(desk: Desk) -> None:
    for number in range(200):
        desk.stop(900 - number)
    assert refusal(desk.stop, 600) is Refusal.MAX_CONDITIONALS


def test_in_hedge_mode_a_closing_stop_needs_no_mark() -> None:
    desk = Desk(mode=PositionMode.HEDGE)
    desk.price(1000)
    desk.buy("0.1", position_side=PositionSide.LONG)
    desk.stop(900, position_side=PositionSide.LONG)
    desk.price(890)
    assert not desk.engine.positions()


def test_a_protected_stop_waits_while_last_and_mark_are_far_apart(desk: Desk) -> None:
    desk.buy()
    stop = desk.stop(900, reference=Reference.LAST, max_gap=d("0.05"))
    desk.price(800, mark=1000)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.NEW
    desk.price(800, mark=810)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.FINISHED


def test_a_stop_limit_price_keeps_to_the_band_around_its_trigger(desk: Desk) -> None:
    desk.buy()
    low = refusal(desk.stop, 900, type=ConditionalType.STOP_LIMIT, price=d(700))
    assert low is Refusal.CONDITIONAL_PRICE_LOW
    high = refusal(desk.stop, 1100, side=Side.BUY, type=ConditionalType.STOP_LIMIT, price=d(1300), reduce_only=False)
    assert high is Refusal.CONDITIONAL_PRICE_HIGH


def test_a_stop_good_till_a_date_expires_on_it(desk: Desk) -> None:
    desk.buy()
    stop = desk.stop(900, good_till_ms=desk.time.now_ms() + 2_000)
    desk.tick(1_000)
    assert desk.engine.conditional(conditional_id=stop.id).status is ConditionalStatus.NEW
    desk.tick(1_000)
    ended = desk.engine.conditional(conditional_id=stop.id)
    assert (ended.status, ended.reason) == (ConditionalStatus.EXPIRED, Expiry.GOOD_TILL_DATE)
