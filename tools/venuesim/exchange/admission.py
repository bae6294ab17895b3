"""What an order must satisfy to be accepted or amended, the state of the account included."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from msgspec.structs import replace

from tools.venuesim.exchange import checks, margin
from tools.venuesim.exchange.model import (
    ZERO,
    AmendRequest,
    HedgeReduceOnly,
    Instrument,
    Order,
    OrderRequest,
    OrderType,
    PositionMode,
    Refusal,
    Refused,
    TimeInForce,
)
from tools.venuesim.exchange.state import State, closes_only


class Attach(Protocol):
    """Who looks after the stops that come with orders."""

    def check(self, entry: OrderRequest | Order) -> None:
        """Raises ``Refused`` for an entry that cannot come with what it comes with."""
        ...

    def filled(self, order: Order) -> None:
        """Told after the fills of an order with attachments, inside the batch."""
        ...

    def has_begun(self, order: Order) -> bool:
        """Whether any of them exists or existed."""
        ...


class Admission:
    def __init__(self, state: State) -> None:
        self._state = state
        self.attach: Attach = _NothingAttached()

    def as_taken(self, request: OrderRequest) -> OrderRequest:
        """The request as this venue understands it: marks it ignores, numbers it corrects in silence."""
        state = self._state
        instrument = state.instrument(request.symbol)
        if request.reduce_only and state.mode(request.symbol) is PositionMode.HEDGE:
            ignored = state.policy.hedge_reduce_only is HedgeReduceOnly.IGNORED
            request = replace(request, reduce_only=not ignored)
        if request.clamp_price and request.price is not None:
            price = checks.clamped(instrument, request.side, request.price, state.mark(request.symbol))
            request = replace(request, price=price)
        if request.reduce_only and state.policy.truncate_reduce_only:
            room = state.closable(request.symbol, request.side, request.position_side) - self._reserved(request)
            if room > 0:
                request = replace(request, qty=min(request.qty, room))
        return request

    def check(self, request: OrderRequest, *, child: bool) -> None:
        """Raises ``Refused``. A child's numbers were checked when its conditional order was placed."""
        state = self._state
        instrument = state.instrument(request.symbol)
        market = state.market(request.symbol)
        checks.tradable(instrument)
        if request.symbol in state.liquidating:
            raise Refused(Refusal.LIQUIDATING)
        mark, best = market.mark, market.best(request.side)
        closing = closes_only(request.side, request.position_side, reduce_only=request.reduce_only)
        price = request.price if request.price is not None else best
        if not child:
            # Where nothing unfillable is refused, a market order beyond its bound ends unfilled instead.
            checks.order_numbers(instrument, request, mark, best if state.policy.refuse_unfillable else mark)
            if not closing:
                checks.min_notional(instrument, request.qty, request.price if request.price is not None else mark)
            refuses = request.reduce_only and state.policy.hedge_reduce_only is HedgeReduceOnly.REFUSED
            checks.mode(state.mode(request.symbol), request.position_side, reduce_only=refuses)
        self._check_margin_mode(request)
        if closing:
            self._check_closing(request)
        if request.attached:
            self._check_attached(request)
        self._check_unique(request, child=child)
        if not closing:
            margin.check_affordable(state, instrument, request.side, request.position_side, request.qty, price)
        self._check_takes(request)

    def amended(self, order: Order, request: AmendRequest) -> Order:
        """The resting order as the request wants it. Raises ``Refused``."""
        if order.type is not OrderType.LIMIT:
            raise Refused(Refusal.AMEND_NOT_LIMIT)
        state = self._state
        instrument = state.instrument(order.symbol)
        checks.tradable(instrument)
        after = replace(
            order,
            qty=order.qty if request.qty is None else request.qty,
            price=order.price if request.price is None else request.price,
            attached=order.attached if request.attached is None else request.attached,
            extras={**order.extras, **request.extras},
        )
        if (after.qty, after.price, after.attached) == (order.qty, order.price, order.attached):
            raise Refused(Refusal.NOTHING_TO_AMEND)
        if order.amendments >= state.policy.max_amendments:
            raise Refused(Refusal.AMENDED_TOO_OFTEN)
        checks.quantity(instrument, after.qty, market=False)
        mark = state.mark(order.symbol)
        limit = checks.price(instrument, after.price)
        if request.clamp_price:
            limit = checks.clamped(instrument, order.side, limit, mark)
        checks.band(instrument, order.side, limit, mark)
        after = replace(after, price=limit)
        if after.attached != order.attached:
            if self.attach.has_begun(order):
                raise Refused(Refusal.ATTACHED_EXISTS)
            self._check_attached(after)
        if not closes_only(order.side, order.position_side, reduce_only=order.reduce_only):
            checks.min_notional(instrument, after.qty, limit)
            self._check_amended_margin(instrument, order, after.qty, limit)
        return after

    def _check_closing(self, request: OrderRequest) -> None:
        room = self._state.closable(request.symbol, request.side, request.position_side)
        if not room:
            raise Refused(Refusal.REDUCE_ONLY_REJECTED, "nothing to reduce")
        if not request.reduce_only and request.qty > room:
            raise Refused(Refusal.REDUCE_ONLY_REJECTED, "exceeds the position")
        reserved = self._reserved(request)
        if reserved and reserved + request.qty > room:
            raise Refused(Refusal.REDUCE_ONLY_REJECTED, "other reduce-only orders hold the position")

    def _reserved(self, request: OrderRequest) -> Decimal:
        """What resting reduce-only orders leave no room for: only another one of them yields to them."""
        if not request.reduce_only or request.type is not OrderType.LIMIT:
            return ZERO
        resting = self._state.orders.resting_reduce_only(request.symbol, request.side, request.position_side)
        return sum((order.open_qty for order in resting), ZERO)

    def _check_attached(self, entry: OrderRequest | Order) -> None:
        if closes_only(entry.side, entry.position_side, reduce_only=entry.reduce_only):
            raise Refused(Refusal.ATTACHED_ON_CLOSING)
        self.attach.check(entry)

    def _check_margin_mode(self, request: OrderRequest) -> None:
        state = self._state
        if request.margin_mode in (None, state.ledger.margin_mode(request.symbol)):
            return
        if state.orders.open(request.symbol) or any(row.qty for row in state.ledger.rows(request.symbol)):
            raise Refused(Refusal.MARGIN_MODE_MISMATCH)

    def _check_unique(self, request: OrderRequest, *, child: bool) -> None:
        state = self._state
        name = None if child else request.client_id
        if name is not None and state.client_id_taken(request.symbol, name, conditional=False):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID, name)
        if len(state.orders.open(request.symbol)) >= state.policy.max_orders_per_symbol:
            raise Refused(Refusal.MAX_ORDERS)

    def _check_takes(self, request: OrderRequest) -> None:
        if not self._state.policy.refuse_unfillable or request.price is None:
            return
        market = self._state.market(request.symbol)
        if request.tif is TimeInForce.GTX and (request.price - market.best(request.side)) * request.side.sign >= 0:
            raise Refused(Refusal.POST_ONLY_WOULD_TAKE)
        if request.tif is TimeInForce.FOK and market.fillable(request.side, request.price) < request.qty:
            raise Refused(Refusal.FOK_NOT_FILLABLE)

    def _check_amended_margin(self, instrument: Instrument, order: Order, qty: Decimal, price: Decimal) -> None:
        if order.price is None:
            return
        added = qty * price - order.qty * order.price
        if added > 0:
            margin.check_affordable(self._state, instrument, order.side, order.position_side, added / price, price)


class _NothingAttached:
    """Nobody looks after them."""

    def check(self, entry: OrderRequest | Order) -> None:  # noqa: ARG002 - the port's signature
        raise Refused(Refusal.ATTACHED_UNSUPPORTED)

    def filled(self, order: Order) -> None: ...

    def has_begun(self, order: Order) -> bool:  # noqa: ARG002 - the port's signature
        return False
