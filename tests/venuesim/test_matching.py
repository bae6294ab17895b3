"""Orders against the synthetic book."""

import pytest

from tests.venuesim.builders import BTC, Desk, a_stop, an_instrument, d, refusal
from tools.venuesim.exchange.events import OrderAmended, OrderTrade
from tools.venuesim.exchange.model import (
    AmendRequest,
    Expiry,
    MarginMode,
    OrderStatus,
    Policy,
    PositionMode,
    PositionSide,
    Refusal,
    TimeInForce,
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.price(1000)
    return desk


def test_a_market_order_fills_at_once_and_tells_in_order(desk: Desk) -> None:
    order = desk.buy("0.1")
    assert order.status is OrderStatus.FILLED
    assert desk.names() == ["OrderNew", "OrderTrade", "AccountChanged"]
    assert len(desk.batches) == 1
    assert desk.engine.position(BTC, PositionSide.BOTH).qty == d("0.1")


def test_a_large_market_order_walks_the_book_to_worse_prices(desk: Desk) -> None:
    order = desk.buy("90")
    prices = [fill.price for fill in desk.engine.fills()]
    assert len(prices) > 1
    assert prices == sorted(prices)
    assert order.avg_price is not None
    assert prices[0] < order.avg_price < prices[-1]


def test_the_book_is_thinner_after_an_order_and_full_again_at_the_next_tick(desk: Desk) -> None:
    before = desk.engine.quote(BTC).ask
    desk.buy("80")
    assert desk.engine.quote(BTC).ask > before
    desk.tick()
    assert desk.engine.quote(BTC).ask == before


def test_a_market_order_beyond_the_book_expires_with_what_it_got() -> None:
    desk = Desk(an_instrument(market_bound=d("0.0002"), market_max_qty=d(1000)), balance=1_000_000)
    desk.price(1000)
    order = desk.buy("400")
    assert order.status is OrderStatus.EXPIRED
    assert order.expiry is Expiry.MARKET_REMAINDER
    assert d(0) < order.filled < d(400)
    assert order.filled + order.ended_qty == order.qty


def test_a_limit_order_rests_until_the_market_comes_and_fills_as_maker_at_its_price(desk: Desk) -> None:
    order = desk.buy("0.1", price=990)
    assert order.status is OrderStatus.NEW
    desk.price(985)
    filled = desk.engine.order(BTC, order_id=order.id)
    assert filled.status is OrderStatus.FILLED
    (fill,) = desk.engine.fills()
    assert (fill.price, fill.maker, fill.fee) == (d(990), True, d("0.0198"))


def test_immediate_or_cancel_ends_its_remainder(desk: Desk) -> None:
    order = desk.buy("100", price=desk.engine.quote(BTC).ask, tif=TimeInForce.IOC)
    assert (order.status, order.expiry) == (OrderStatus.EXPIRED, Expiry.IOC_REMAINDER)
    assert order.filled > 0


def test_post_only_and_fill_or_kill_are_refused_when_they_cannot_have_their_way(desk: Desk) -> None:
    assert refusal(desk.buy, price=1001, tif=TimeInForce.GTX) is Refusal.POST_ONLY_WOULD_TAKE
    assert refusal(desk.buy, "100", price=1000.1, tif=TimeInForce.FOK) is Refusal.FOK_NOT_FILLABLE
    assert not desk.engine.orders()


def test_where_the_venue_accepts_them_they_expire_instead() -> None:
    desk = Desk(policy=Policy(refuse_unfillable=False))
    desk.price(1000)
    assert desk.buy(price=1001, tif=TimeInForce.GTX).expiry is Expiry.POST_ONLY_WOULD_TAKE
    assert desk.buy("100", price=1000.1, tif=TimeInForce.FOK).expiry is Expiry.FOK_NOT_FILLABLE
    assert not desk.engine.fills()


def test_cancelling_twice_is_an_unknown_order(desk: Desk) -> None:
    order = desk.buy(price=990, client_id="a")
    assert desk.engine.cancel(BTC, client_id="a").status is OrderStatus.CANCELED
    assert refusal(desk.engine.cancel, BTC, order_id=order.id) is Refusal.UNKNOWN_ORDER


def test_a_client_id_is_unique_among_open_orders_only(desk: Desk) -> None:
    first = desk.buy(price=990, client_id="a")
    assert refusal(desk.buy, price=991, client_id="a") is Refusal.DUPLICATE_CLIENT_ID
    desk.engine.cancel(BTC, order_id=first.id)
    second = desk.buy(price=991, client_id="a")
    assert desk.engine.order(BTC, client_id="a").id == second.id


def test_where_the_venue_says_so_a_client_id_is_unique_forever() -> None:
    desk = Desk(policy=Policy(client_ids_unique_forever=True))
    desk.price(1000)
    desk.buy(client_id="a")
    assert refusal(desk.buy, client_id="a") is Refusal.DUPLICATE_CLIENT_ID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"qty": "0.0005"}, Refusal.QTY_MIN),
        ({"qty": "0.1005"}, Refusal.QTY_STEP),
        ({"qty": "101"}, Refusal.QTY_MAX),
        ({"qty": "0.001"}, Refusal.MIN_NOTIONAL),
        ({"price": "990.05"}, Refusal.PRICE_TICK),
        ({"price": "0.5"}, Refusal.PRICE_MIN),
        ({"price": "1100"}, Refusal.PRICE_BAND_HIGH),
        ({"symbol": "NOPE"}, Refusal.UNKNOWN_SYMBOL),
        ({"position_side": PositionSide.LONG}, Refusal.POSITION_SIDE_MISMATCH),
        ({"reduce_only": True}, Refusal.REDUCE_ONLY_REJECTED),
        ({"qty": "210", "price": "1000"}, Refusal.INSUFFICIENT_MARGIN),
    ],
)
def test_each_rule_has_its_own_refusal_and_changes_nothing(
    desk: Desk, changes: dict[str, object], reason: Refusal
) -> None:
    assert refusal(desk.buy, **changes) is reason
    assert not desk.engine.orders()
    assert desk.engine.balance("USDT").available == d(10_000)


def test_a_position_beyond_its_leverage_bracket_is_refused() -> None:
    desk = Desk(balance=10_000_000)
    desk.price(1000)
    desk.engine.set_leverage(BTC, 50)
    assert refusal(desk.buy, "60") is Refusal.MAX_POSITION_AT_LEVERAGE


def test_a_resting_order_ties_up_margin_until_it_ends(desk: Desk) -> None:
    order = desk.buy("1", price=1000 - 10)
    assert desk.engine.balance("USDT").available == d(10_000) - d("49.5")
    desk.engine.cancel(BTC, order_id=order.id)
    assert desk.engine.balance("USDT").available == d(10_000)


def test_an_order_that_reduces_needs_no_margin(desk: Desk) -> None:
    desk.buy("1")
    before = desk.engine.balance("USDT").available
    desk.sell("1", price=1010)
    assert desk.engine.balance("USDT").available == before


def test_an_order_larger_than_the_position_flips_it_with_the_old_part_realised(desk: Desk) -> None:
    desk.buy("0.1")
    desk.price(1010)
    desk.sell("0.3")
    position = desk.engine.position(BTC, PositionSide.BOTH)
    fill = desk.engine.fills()[-1]
    assert position.qty == d("-0.2")
    assert position.entry == fill.price
    assert fill.realized == (fill.price - desk.engine.fills()[0].price) * d("0.1")


def test_reduce_only_takes_no_more_than_the_position_and_expires_the_rest(desk: Desk) -> None:
    desk.buy("0.1")
    order = desk.sell("0.3", reduce_only=True)
    assert (order.filled, order.status, order.expiry) == (d("0.1"), OrderStatus.EXPIRED, Expiry.REDUCE_ONLY)
    assert not desk.engine.positions()


def test_resting_reduce_only_orders_shrink_with_the_position_newest_first(desk: Desk) -> None:
    desk.buy("0.3")
    older = desk.sell("0.1", price=1010, reduce_only=True)
    newer = desk.sell("0.2", price=1020, reduce_only=True)
    assert refusal(desk.sell, "0.1", price=1030, reduce_only=True) is Refusal.REDUCE_ONLY_REJECTED
    desk.sell("0.15")
    assert desk.engine.order(BTC, order_id=older.id).qty == d("0.1")
    assert desk.engine.order(BTC, order_id=newer.id).qty == d("0.05")
    assert [event.order.id for event in desk.events if isinstance(event, OrderAmended)] == [newer.id]
    desk.sell("0.15")
    assert desk.engine.order(BTC, order_id=older.id).expiry is Expiry.REDUCE_ONLY
    assert not desk.engine.open_orders()


def test_amending_keeps_the_ids_and_may_fill(desk: Desk) -> None:
    order = desk.buy("0.1", price=990, client_id="a")
    amended = desk.engine.amend(AmendRequest(symbol=BTC, client_id="a", qty=d("0.2"), price=d(995)))
    assert (amended.id, amended.client_id, amended.qty, amended.amendments) == (order.id, "a", d("0.2"), 1)
    filled = desk.engine.amend(AmendRequest(symbol=BTC, client_id="a", price=d(1010)))
    assert filled.status is OrderStatus.FILLED
    assert refusal(desk.engine.amend, AmendRequest(symbol=BTC, client_id="a", price=d(1))) is Refusal.UNKNOWN_ORDER


def test_amending_to_what_is_already_filled_cancels() -> None:
    desk = Desk()
    desk.price(1000)
    order = desk.buy("90", price=desk.engine.quote(BTC).ask)
    assert order.status is OrderStatus.PARTIALLY_FILLED
    ended = desk.engine.amend(AmendRequest(symbol=BTC, order_id=order.id, qty=order.filled))
    assert ended.status is OrderStatus.CANCELED


def test_hedge_mode_keeps_two_positions_and_never_flips_one() -> None:
    desk = Desk(mode=PositionMode.HEDGE)
    desk.price(1000)
    desk.buy("0.2", position_side=PositionSide.LONG)
    desk.sell("0.1", position_side=PositionSide.SHORT)
    assert {row.position_side: row.qty for row in desk.engine.positions()} == {
        PositionSide.LONG: d("0.2"),
        PositionSide.SHORT: d("-0.1"),
    }
    excess = refusal(desk.sell, "0.3", position_side=PositionSide.LONG)
    assert excess is Refusal.REDUCE_ONLY_REJECTED
    assert refusal(desk.sell, "0.1") is Refusal.POSITION_SIDE_MISMATCH
    marked = refusal(desk.sell, "0.1", position_side=PositionSide.LONG, reduce_only=True)
    assert marked is Refusal.REDUCE_ONLY_IN_HEDGE
    desk.sell("0.2", position_side=PositionSide.LONG)
    assert [row.position_side for row in desk.engine.positions()] == [PositionSide.SHORT]


def test_an_isolated_position_takes_its_margin_out_of_the_cross_wallet_and_gives_it_back(desk: Desk) -> None:
    desk.engine.set_margin_mode(BTC, MarginMode.ISOLATED)
    desk.buy("1")
    held = desk.engine.position(BTC, PositionSide.BOTH).isolated_wallet
    balance = desk.engine.balance("USDT")
    assert held == desk.engine.fills()[0].price / 20
    assert balance.cross_wallet == balance.wallet - held
    desk.sell("1", reduce_only=True)
    balance = desk.engine.balance("USDT")
    assert balance.cross_wallet == balance.wallet


def test_settings_are_refused_where_the_venue_refuses_them(desk: Desk) -> None:
    engine = desk.engine
    assert refusal(engine.set_leverage, BTC, 101) is Refusal.LEVERAGE_INVALID
    assert refusal(engine.set_margin_mode, BTC, MarginMode.CROSS) is Refusal.MODE_UNCHANGED
    order = desk.buy(price=990)
    assert refusal(engine.set_margin_mode, BTC, MarginMode.ISOLATED) is Refusal.MODE_HAS_ORDERS
    engine.cancel(BTC, order_id=order.id)
    desk.buy()
    assert refusal(engine.set_margin_mode, BTC, MarginMode.ISOLATED) is Refusal.MODE_HAS_POSITION
    assert refusal(engine.set_position_mode, PositionMode.HEDGE) is Refusal.MODE_HAS_POSITION


def test_a_losing_account_is_liquidated_and_never_owes() -> None:
    desk = Desk(balance=500)
    desk.price(1000)
    desk.buy("9")
    desk.engine.place_conditional(a_stop(800, "9"))
    desk.buy("0.1", price=980)
    desk.price(940)
    assert not desk.engine.positions()
    assert not desk.engine.open_orders()
    assert desk.engine.balance("USDT").wallet >= 0
    trades = [event for event in desk.events if isinstance(event, OrderTrade)]
    assert trades[-1].order.client_id.startswith("autoclose-")


def test_funding_is_paid_by_longs_and_booked_as_such(desk: Desk) -> None:
    desk.buy("1")
    before = desk.engine.balance("USDT").wallet
    hour = 8 * 3_600_000
    desk.engine.pay_funding(hour)
    assert desk.engine.balance("USDT").wallet == before - d("0.1")
