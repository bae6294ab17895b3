"""Orders: matching against the book, filling, amending, cancelling, expiring.

The counterparty is the synthetic book; two orders of the account never meet.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from tools.venuesim.exchange import margin, self_trade
from tools.venuesim.exchange.admission import Admission
from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.ledger import FeeTerms
from tools.venuesim.exchange.model import (
    ZERO,
    AmendRequest,
    Conditional,
    Expiry,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Origin,
    Refusal,
    Refused,
    Side,
    TimeInForce,
)
from tools.venuesim.exchange.state import FillPlan, State, closes_only

IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


class Parentage(Struct, frozen=True, kw_only=True):
    """Where an order that the client did not send comes from."""

    conditional: Conditional | None = None
    origin: Origin = Origin.CLIENT
    at_price: Decimal | None = None
    """Fill everything here, whatever the book says (liquidation, ADL)."""


DIRECT = Parentage()


class Matcher:
    def __init__(self, state: State, admission: Admission) -> None:
        self._state = state
        self._admission = admission
        self.on_ended: Callable[[Order], None] = _ignore
        """Told of every order that ended, inside its batch."""
        self.on_position_change: Callable[[str], None] = _ignore
        """Told of each symbol whose position changed, inside the batch and after the fills."""
        self._held: set[int] = set()
        """Orders a fault keeps from being filled by the market."""

    def place(self, request: OrderRequest, parentage: Parentage = DIRECT) -> Order:
        """Check, accept, match. The order after matching; raises ``Refused`` having changed nothing."""
        state = self._state
        state.instrument(request.symbol)
        state.gate.order(request)
        request = self._admission.as_taken(request)
        self._admission.check(request, child=parentage.conditional is not None)
        with state.batch():
            if request.margin_mode not in (None, state.ledger.margin_mode(request.symbol)):
                state.ledger.set_margin_mode(request.symbol, request.margin_mode)
            order = self._accept(request, parentage)
            if self._refuses_to_rest(order):
                return self._expire(order, Expiry.POST_ONLY_WOULD_TAKE)
            if self._cannot_fill(order):
                return self._expire(order, Expiry.FOK_NOT_FILLABLE)
            return self._match(order, state.gate.fill_plan(order))

    def check(self, request: OrderRequest) -> None:
        """Everything ``place`` checks; raises ``Refused`` as it would."""
        self._state.gate.order(request)
        self._state.instrument(request.symbol)
        self._admission.check(self._admission.as_taken(request), child=False)

    def fill_outright(self, request: OrderRequest, parentage: Parentage) -> Order:
        """Accept and fill at ``parentage.at_price`` without checks: the risk engine's own orders."""
        price = parentage.at_price
        if price is None:
            raise ValueError("needs a price")
        with self._state.batch():
            order = self._fill(self._accept(request, parentage), price, request.qty, maker=False)
            self._after_fills(order)
            return order

    def match_resting(self, symbol: str) -> None:
        """Fill what the market has moved through, oldest order first."""
        state = self._state
        for number in [order.id for order in state.orders.open(symbol)]:
            order = state.orders.get(number)
            if order.status.is_open:
                with state.batch():
                    self._work_resting(order)

    def amend(self, request: AmendRequest) -> Order:
        """Change a resting limit order in place; it loses its place in the queue and may match at once."""
        state = self._state
        order = self.open_order(request.symbol, request.order_id, request.client_id)
        changed = self._admission.amended(order, request)
        with state.batch():
            if changed.qty <= order.filled and state.policy.amended_down_ends_filled:
                return self._end_filled(changed)
            if changed.qty <= order.filled or self._refuses_to_rest(changed):
                return self.end_canceled(order)
            changed = self._put(replace(changed, amendments=order.amendments + 1))
            state.emit(OrderAmended(order=changed))
            return self._match(changed, None)

    def cancel(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        order = self.open_order(symbol, order_id, client_id)
        with self._state.batch():
            return self.end_canceled(order)

    def cancel_all(self, symbol: str | None, reason: Expiry | None = None) -> list[Order]:
        """With a reason it is the exchange that cancels."""
        with self._state.batch():
            return [self.end_canceled(order, reason) for order in self._state.orders.open(symbol)]

    def open_order(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Raises ``Refused(UNKNOWN_ORDER)`` for ended orders too."""
        self._state.instrument(symbol)
        order = self._state.orders.find(symbol, order_id, client_id)
        if not order.status.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER)
        return order

    def fit_reduce_only(self, symbol: str) -> None:
        """Shrink resting reduce-only orders that no longer fit their position, newest first; end those with no room."""
        state = self._state
        for row in state.ledger.rows(symbol):
            for side in Side:
                room = state.closable(symbol, side, row.position_side)
                for order in state.orders.resting_reduce_only(symbol, side, row.position_side):
                    fits = min(order.open_qty, room)
                    room -= fits
                    if fits == ZERO:
                        self._expire(order, Expiry.REDUCE_ONLY)
                    elif fits < order.open_qty:
                        state.emit(OrderAmended(order=self._put(replace(order, qty=order.filled + fits))))

    def _work_resting(self, order: Order) -> None:
        state = self._state
        if order.good_till_ms is not None and state.time.now_ms() >= order.good_till_ms:
            self._expire(order, Expiry.GOOD_TILL_DATE)
            return
        price = order.price
        if price is None or order.id in self._held or not self._crosses(order):
            return
        qty = self._fillable_qty(order, order.open_qty)
        for level in state.market(order.symbol).take(order.side, qty, price):
            order = self._fill(order, price, level.qty, maker=True)
        self._after_fills(order)

    def _accept(self, request: OrderRequest, parentage: Parentage) -> Order:
        state = self._state
        now = state.time.now_ms()
        number = state.orders.next_id()
        conditional = parentage.conditional
        order = Order(
            id=number,
            client_id=request.client_id or state.made_up_name(number),
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            qty=request.qty,
            price=request.price,
            position_side=request.position_side,
            tif=request.tif,
            reduce_only=request.reduce_only,
            close_position=conditional.close_position if conditional else False,
            status=OrderStatus.NEW,
            created_ms=now,
            updated_ms=now,
            origin=parentage.origin,
            conditional_id=conditional.id if conditional else None,
            conditional_type=conditional.type if conditional else None,
            good_till_ms=request.good_till_ms,
            self_trade=request.self_trade,
            attached=request.attached,
            extras=request.extras,
        )
        state.orders.put(order)
        state.emit(OrderNew(order=order))
        return order

    def _match(self, order: Order, plan: FillPlan | None) -> Order:
        """Take what the book offers now; end or rest the remainder."""
        state, before = self._state, order.filled
        market = state.market(order.symbol)
        wanted = order.open_qty if plan is None else self._part(order, plan)
        qty = self._fillable_qty(order, wanted)
        limit = order.price if order.price is not None else self._bound(order)
        met = self_trade.meeting(order, state.orders.open(order.symbol), market, qty, limit)
        for maker in met.makers:
            self._expire(maker, Expiry.SELF_TRADE)
        if met.stop_before is not None:
            limit = met.stop_before - state.instrument(order.symbol).tick * order.side.sign
        for level in market.take(order.side, qty, limit):
            order = self._fill(order, level.price, level.qty, maker=False)
        if order.filled:
            self._after_fills(order)
            order = state.orders.get(order.id)
        if not order.status.is_open:
            return order
        if met.stop_before is not None:
            return self._expire(order, Expiry.SELF_TRADE)
        found_nobody = order.tif in IMMEDIATE and order.filled == before  # it never waits, however slowly it fills
        if plan is not None and plan.again_ms is not None and qty and not found_nobody:
            self._held.add(order.id)
            state.time.call_later(plan.again_ms, lambda: self._continue(order.id, plan))
            return order
        if order.type is OrderType.MARKET or order.tif in IMMEDIATE:
            return self._expire(order, self._remainder(order, capped=qty < wanted))
        if plan is not None:
            self._held.add(order.id)
        return order

    def _continue(self, order_id: int, plan: FillPlan) -> None:
        """The next part of a slowly filled order."""
        order = self._state.orders.get(order_id)
        self._held.discard(order_id)
        if order.status.is_open:
            with self._state.batch():
                self._match(order, plan)

    def _part(self, order: Order, plan: FillPlan) -> Decimal:
        step = self._state.instrument(order.symbol).step
        part = max(step, order.qty * plan.fraction // step * step)
        return min(part, order.open_qty)

    def _fillable_qty(self, order: Order, wanted: Decimal) -> Decimal:
        if closes_only(order.side, order.position_side, reduce_only=order.reduce_only or order.close_position):
            return min(wanted, self._state.closable(order.symbol, order.side, order.position_side))
        return wanted

    def _bound(self, order: Order) -> Decimal:
        bound = self._state.instrument(order.symbol).market_bound
        return self._state.mark(order.symbol) * (1 + bound * order.side.sign)

    def _remainder(self, order: Order, *, capped: bool) -> Expiry:
        if capped:
            return Expiry.REDUCE_ONLY
        return Expiry.MARKET_REMAINDER if order.type is OrderType.MARKET else Expiry.IOC_REMAINDER

    def _fill(self, order: Order, price: Decimal, qty: Decimal, *, maker: bool) -> Order:
        state = self._state
        instrument = state.instrument(order.symbol)
        now = state.time.now_ms()
        trade_id = state.next_trade_id()
        booked = state.ledger.apply_fill(
            instrument,
            order.side,
            order.position_side,
            qty,
            price,
            terms=FeeTerms(rate=instrument.maker_fee if maker else instrument.taker_fee, coin=state.fee_coin()),
            trade_id=trade_id,
            now_ms=now,
        )
        filled = order.filled + qty
        order = self._put(
            replace(
                order,
                filled=filled,
                quote_filled=order.quote_filled + qty * price,
                status=OrderStatus.FILLED if filled == order.qty else OrderStatus.PARTIALLY_FILLED,
            )
        )
        fill = Fill(
            id=trade_id,
            order_id=order.id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            qty=qty,
            price=price,
            fee=booked.fee,
            fee_asset=booked.fee_asset,
            realized=booked.realized,
            maker=maker,
            time_ms=now,
            origin=order.origin,
        )
        state.fills.append(fill)
        bids, asks = state.orders.exposure(order.symbol)
        state.emit(OrderTrade(order=order, fill=fill, bid_notional=bids, ask_notional=asks))
        state.emit(
            AccountChanged(
                reason=AccountReason.ORDER,
                balances=tuple(
                    margin.balance(state, asset) for asset in dict.fromkeys((instrument.settle, booked.fee_asset))
                ),
                positions=(booked.position,),
                symbol=order.symbol,
            )
        )
        return order

    def _after_fills(self, order: Order) -> None:
        if not order.status.is_open:
            self._ended(order)
        self.fit_reduce_only(order.symbol)
        self.on_position_change(order.symbol)
        if order.attached:
            self._admission.attach.filled(order)

    def _end_filled(self, order: Order) -> Order:
        """An order whose quantity was brought down to what it has filled."""
        order = self._put(replace(order, qty=order.filled, status=OrderStatus.FILLED, amendments=order.amendments + 1))
        self._state.emit(OrderAmended(order=order))
        self._after_fills(order)
        return order

    def end_canceled(self, order: Order, reason: Expiry | None = None) -> Order:
        order = self._put(replace(order, status=OrderStatus.CANCELED, expiry=reason))
        self._state.emit(OrderCanceled(order=order))
        self._ended(order)
        return order

    def _expire(self, order: Order, reason: Expiry) -> Order:
        order = self._put(replace(order, status=OrderStatus.EXPIRED, expiry=reason))
        self._state.emit(OrderExpired(order=order))
        self._ended(order)
        return order

    def _ended(self, order: Order) -> None:
        self._held.discard(order.id)
        self.on_ended(order)

    def _put(self, order: Order) -> Order:
        order = replace(order, updated_ms=self._state.time.now_ms())
        self._state.orders.put(order)
        return order

    def _crosses(self, order: Order) -> bool:
        if order.price is None:
            return True
        return (order.price - self._state.market(order.symbol).best(order.side)) * order.side.sign >= 0

    def _refuses_to_rest(self, order: Order) -> bool:
        return order.tif is TimeInForce.GTX and self._crosses(order)

    def _cannot_fill(self, order: Order) -> bool:
        if order.tif is not TimeInForce.FOK:
            return False
        return self._state.market(order.symbol).fillable(order.side, order.price) < order.qty


def _ignore(subject: object) -> None:
    """Nobody wants to know."""
