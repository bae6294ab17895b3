"""Self-trade prevention: what happens before two orders of the account would meet.

Resting orders of the account are not in the synthetic book; here they are looked at as if they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.market import Market
from tools.venuesim.exchange.model import Order, SelfTrade


class Meeting(Struct, frozen=True, kw_only=True):
    """An order about to take, and the account's own orders in its way."""

    makers: tuple[Order, ...]
    """To be expired before it takes."""
    stop_before: Decimal | None = None
    """It takes only at prices better than this, and its remainder expires; None = it goes on."""


NOBODY = Meeting(makers=())


def meeting(taker: Order, resting: Sequence[Order], market: Market, qty: Decimal, limit: Decimal) -> Meeting:
    """Whom `taker` would meet on its way through the book for `qty`, and what its mode makes of that."""
    if taker.self_trade is SelfTrade.NONE or not resting:
        return NOBODY
    reach = market.reach(taker.side, qty, limit)
    sign = taker.side.sign
    rivals = [
        order
        for order in resting
        if order.side is not taker.side and order.price is not None and (reach - order.price) * sign >= 0
    ]
    if not rivals:
        return NOBODY
    expires_taker = taker.self_trade in (SelfTrade.EXPIRE_TAKER, SelfTrade.EXPIRE_BOTH)
    best = min((order.price for order in rivals if order.price is not None), key=lambda price: price * sign)
    makers = () if taker.self_trade is SelfTrade.EXPIRE_TAKER else tuple(rivals)
    return Meeting(makers=makers, stop_before=best if expires_taker else None)
