"""Two orders of the account that would meet: what each mode makes of them."""

import pytest

from tests.venuesim.builders import BTC, Desk, d
from tools.venuesim.exchange.model import Expiry, Order, OrderStatus, SelfTrade, Side, TimeInForce


@pytest.fixture
def desk() -> Desk:
    found = Desk(balance=1_000_000)
    found.price(1000)
    return found


def in_the_way(desk: Desk) -> Order:
    """A resting sell in the middle of the book."""
    asks = desk.engine.depth(BTC).asks
    return desk.sell("1", price=asks[3].price)


def sweeping(desk: Desk, mode: SelfTrade, **changes: object) -> Order:
    """A buy that wants more than lies before the resting sell."""
    asks = desk.engine.depth(BTC).asks
    qty = sum((level.qty for level in asks[:5]), d(0)) - d("0.5")
    return desk.buy(qty, price=asks[6].price, tif=TimeInForce.IOC, self_trade=mode, **changes)


def test_without_a_mode_they_pass_each_other_by(desk: Desk) -> None:
    rival = in_the_way(desk)
    assert sweeping(desk, SelfTrade.NONE).status is OrderStatus.FILLED
    assert desk.engine.order(BTC, order_id=rival.id).status is OrderStatus.NEW


def test_the_maker_expires_and_the_taker_goes_on(desk: Desk) -> None:
    rival = in_the_way(desk)
    assert sweeping(desk, SelfTrade.EXPIRE_MAKER).status is OrderStatus.FILLED
    gone = desk.engine.order(BTC, order_id=rival.id)
    assert (gone.status, gone.expiry) == (OrderStatus.EXPIRED, Expiry.SELF_TRADE)


@pytest.mark.parametrize(
    ("mode", "left"), [(SelfTrade.EXPIRE_TAKER, OrderStatus.NEW), (SelfTrade.EXPIRE_BOTH, OrderStatus.EXPIRED)]
)
def test_the_taker_stops_before_the_maker(desk: Desk, mode: SelfTrade, left: OrderStatus) -> None:
    rival = in_the_way(desk)
    before = sum((level.qty for level in desk.engine.depth(BTC).asks[:3]), d(0))
    taker = sweeping(desk, mode)
    assert (taker.status, taker.expiry, taker.filled) == (OrderStatus.EXPIRED, Expiry.SELF_TRADE, before)
    assert desk.engine.order(BTC, order_id=rival.id).status is left


def test_orders_that_do_not_meet_are_left_alone(desk: Desk) -> None:
    rival = desk.sell("1", price=desk.engine.depth(BTC).asks[-1].price)
    friend = desk.buy("1", price=d(990))
    taker = desk.buy("1", self_trade=SelfTrade.EXPIRE_BOTH)
    assert taker.status is OrderStatus.FILLED
    assert {order.id for order in desk.engine.open_orders()} == {rival.id, friend.id}
    assert taker.side is Side.BUY
