"""Conditional orders: placement, the trigger, the child order, and the end.

NEW -> TRIGGERING -> (child order) -> TRIGGERED -> FINISHED when the child has ended, or REJECTED when the child
was refused, CANCELED by the client, EXPIRED by the system.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tools.venuesim.exchange import checks
from tools.venuesim.exchange.events import ConditionalRefused, ConditionalUpdate
from tools.venuesim.exchange.matcher import Matcher, Parentage
from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    ConditionalRequest,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    HedgeReduceOnly,
    Order,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    Refusal,
    Refused,
    Side,
    TimeInForce,
)
from tools.venuesim.exchange.state import State

PLAIN_STOPS = (ConditionalType.STOP, ConditionalType.STOP_LIMIT)
"""When they sell they fire on a fall to the trigger; take profits are the mirror image."""


def is_met(row: Conditional | ConditionalRequest, price: Decimal) -> bool:
    """Whether a plain trigger is reached at this price (trailing stops: see ``follow``)."""
    if row.trigger_price is None:
        return False
    stop = row.type in PLAIN_STOPS
    falling = (row.side is Side.SELL) is stop
    return price <= row.trigger_price if falling else price >= row.trigger_price


def activates(side: Side, activation: Decimal | None, price: Decimal) -> bool:
    """A trailing stop that sells arms at or above its activation price, one that buys at or below."""
    return activation is None or (activation - price) * side.sign >= 0


def follow(row: Conditional, price: Decimal) -> Conditional:
    """A trailing stop after this price: armed if it was time, its extreme moved. The same object if nothing changed."""
    if not row.activated:
        if not activates(row.side, row.activation_price, price):
            return row
        return replace(row, activated=True, extreme=price)
    if row.extreme is None or (price - row.extreme) * row.side.sign < 0:
        return replace(row, extreme=price)
    return row


def trailing_level(row: Conditional) -> Decimal | None:
    """Where an armed trailing stop fires now; None before that."""
    if row.extreme is None:
        return None
    distance = row.callback_distance
    if distance is None:
        distance = row.extreme * (row.callback_rate or ZERO)
    return row.extreme + distance * row.side.sign


class Triggers:
    def __init__(self, state: State, matcher: Matcher) -> None:
        self._state = state
        self._matcher = matcher

    def place(self, request: ConditionalRequest) -> Conditional:
        request = self._as_taken(request)
        self._state.gate.conditional(request)
        self.check_request(request)
        self._check_unique(request)
        self.check_not_met(request)
        with self._state.batch():
            return self.begin(self.new(request))

    def place_pair(self, first: ConditionalRequest, second: ConditionalRequest) -> tuple[Conditional, Conditional]:
        """Two of which one cancels the other."""
        requests = self._as_taken(first), self._as_taken(second)
        self._state.gate.conditional(first)
        for request in requests:
            self.check_request(request)
            self._check_unique(request)
            self.check_not_met(request)
        one, other = (self.new(request) for request in requests)
        with self._state.batch():
            return self.begin(replace(one, partner_id=other.id)), self.begin(replace(other, partner_id=one.id))

    def check_request(self, request: ConditionalRequest) -> None:
        """What placing and changing have in common: the symbol's state, numbers, the position side."""
        state = self._state
        instrument = state.instrument(request.symbol)
        checks.tradable(instrument)
        if request.symbol in state.liquidating:
            raise Refused(Refusal.LIQUIDATING)
        checks.conditional_numbers(instrument, request)
        refuses = request.reduce_only and state.policy.hedge_reduce_only is HedgeReduceOnly.REFUSED
        checks.mode(state.mode(request.symbol), request.position_side, reduce_only=refuses)

    def check_not_met(self, request: ConditionalRequest) -> None:
        """Raises ``Refused(WOULD_TRIGGER)`` or ``Refused(ACTIVATION_PRICE)`` where the policy wants that."""
        if self._state.policy.refuse_met_trigger:
            self._check_not_met(request, self.price(request))

    def begin(self, row: Conditional) -> Conditional:
        """Put a new one; a trailing stop may be armed at once. Inside a batch."""
        if row.type is ConditionalType.TRAILING:
            row = follow(row, self.price(row))
        row = self.put(row)
        if row.activated and row.activation_price is not None:
            self.put(row)
        return row

    def cancel(self, conditional_id: int | None, client_id: str | None, symbol: str | None) -> Conditional:
        row = self.waiting(conditional_id, client_id, symbol)
        with self._state.batch():
            return self.put(replace(row, status=ConditionalStatus.CANCELED))

    def waiting(self, conditional_id: int | None, client_id: str | None, symbol: str | None) -> Conditional:
        """One that still waits for its trigger. Raises ``Refused``."""
        row = self._state.conditionals.find(conditional_id, client_id, symbol)
        if row.status is ConditionalStatus.TRIGGERING:
            raise Refused(Refusal.CONDITIONAL_TRIGGERING)
        if not row.status.is_resting:
            raise Refused(Refusal.UNKNOWN_CONDITIONAL)
        return row

    def cancel_all(self, symbol: str | None) -> list[Conditional]:
        with self._state.batch():
            return [
                self.put(replace(row, status=ConditionalStatus.CANCELED))
                for row in self._state.conditionals.resting(symbol)
            ]

    def check(self, symbol: str) -> None:
        """Fire whatever the symbol's prices have reached, oldest first."""
        for number in [row.id for row in self._state.conditionals.resting(symbol)]:
            row = self._state.conditionals.get(number)
            if row.status.is_resting:
                with self._state.batch():
                    self.check_one(row)

    def position_changed(self, symbol: str) -> None:
        """Expire what belongs to a position that is gone."""
        state = self._state
        for row in state.conditionals.resting(symbol):
            if not (row.close_position or row.attached):
                continue
            if not state.closable(symbol, row.side, row.position_side):
                self.put(replace(row, status=ConditionalStatus.EXPIRED, reason=Expiry.POSITION_CLOSED))

    def child_ended(self, order: Order) -> None:
        if order.conditional_id is None:
            return
        row = self._state.conditionals.get(order.conditional_id)
        if row.status is ConditionalStatus.TRIGGERED:
            self.put(replace(row, status=ConditionalStatus.FINISHED), order)

    def check_one(self, row: Conditional) -> None:
        """Fire it if its price is there, end it if its time is over. Inside a batch."""
        if row.good_till_ms is not None and self._state.time.now_ms() >= row.good_till_ms:
            self.put(replace(row, status=ConditionalStatus.EXPIRED, reason=Expiry.GOOD_TILL_DATE))
            return
        price = self.price(row)
        if row.type is ConditionalType.TRAILING:
            row = self._follow(row, price)
            level = trailing_level(row)
            met = level is not None and (price - level) * row.side.sign >= 0
        else:
            met = is_met(row, price)
        if met and not self._gap_too_wide(row):
            self._fire(row)

    def _gap_too_wide(self, row: Conditional) -> bool:
        """Price protection: it waits while last and mark price are far apart."""
        if row.max_gap is None:
            return False
        market = self._state.market(row.symbol)
        return abs(market.last - market.mark) > market.mark * row.max_gap

    def _check_unique(self, request: ConditionalRequest) -> None:
        state = self._state
        resting = state.conditionals.resting()
        if _full(state.policy.max_conditionals, len(resting)):
            raise Refused(Refusal.MAX_CONDITIONALS)
        alike = [row for row in resting if row.symbol == request.symbol and row.attached is request.attached]
        if request.attached:
            if _full(state.policy.max_attached_per_symbol, sum(not row.whole_position for row in alike)):
                raise Refused(Refusal.MAX_ATTACHED)
        elif _full(state.policy.max_conditionals_per_symbol, len(alike)):
            raise Refused(Refusal.MAX_CONDITIONALS)
        if request.client_id is not None and state.client_id_taken(request.symbol, request.client_id, conditional=True):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID, request.client_id)
        if request.close_position and state.policy.one_close_position_per_direction:
            key = (request.symbol, request.side, request.position_side, _direction(request))
            if any(
                row.close_position and (row.symbol, row.side, row.position_side, _direction(row)) == key
                for row in resting
            ):
                raise Refused(Refusal.CLOSE_POSITION_EXISTS)

    def _check_not_met(self, request: ConditionalRequest, price: Decimal) -> None:
        if request.type is ConditionalType.TRAILING:
            if request.activation_price is not None and activates(request.side, request.activation_price, price):
                raise Refused(Refusal.ACTIVATION_PRICE, f"{price}")
        elif is_met(request, price):
            raise Refused(Refusal.WOULD_TRIGGER, f"{price}")

    def _as_taken(self, request: ConditionalRequest) -> ConditionalRequest:
        hedge = self._state.mode(request.symbol) is PositionMode.HEDGE
        ignored = self._state.policy.hedge_reduce_only is HedgeReduceOnly.IGNORED
        return replace(request, reduce_only=False) if hedge and ignored else request

    def new(self, request: ConditionalRequest) -> Conditional:
        """The row of a request; nobody knows of it yet."""
        now = self._state.time.now_ms()
        number = self._state.conditionals.next_id()
        return Conditional(
            id=number,
            client_id=request.client_id or self._state.made_up_name(number),
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            qty=request.qty,
            trigger_price=request.trigger_price,
            price=request.price,
            position_side=request.position_side,
            tif=request.tif,
            reference=request.reference,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
            callback_rate=request.callback_rate,
            callback_distance=request.callback_distance,
            activation_price=request.activation_price,
            attached=request.attached,
            status=ConditionalStatus.NEW,
            created_ms=now,
            updated_ms=now,
            good_till_ms=request.good_till_ms,
            max_gap=request.max_gap,
            self_trade=request.self_trade,
            entry_legs=request.entry_legs,
            margin_mode=request.margin_mode,
            extras=request.extras,
        )

    def price(self, row: Conditional | ConditionalRequest) -> Decimal:
        """What it watches, now."""
        market = self._state.market(row.symbol)
        return checks.reference(row.reference, market.last, market.mark, market.index)

    def _follow(self, row: Conditional, price: Decimal) -> Conditional:
        after = follow(row, price)
        if after is row:
            return row
        if after.activated != row.activated:
            return self.put(after)
        # A moved extreme is not news to anyone.
        self._state.conditionals.put(after)
        return after

    def _fire(self, row: Conditional) -> None:
        state = self._state
        row = self.put(replace(row, status=ConditionalStatus.TRIGGERING, triggered_ms=state.time.now_ms()))
        self._end_partner(row)
        try:
            state.gate.trigger(row)
            child = self._matcher.place(self._child(row), Parentage(conditional=row))
        except Refused as refused:
            self._refuse(row, refused.reason)
            return
        row = self.put(replace(row, status=ConditionalStatus.TRIGGERED, child_id=child.id), child)
        if not child.status.is_open:
            self.put(replace(row, status=ConditionalStatus.FINISHED), child)

    def _end_partner(self, row: Conditional) -> None:
        if row.partner_id is None:
            return
        partner = self._state.conditionals.get(row.partner_id)
        if partner.status.is_resting:
            self.put(replace(partner, status=ConditionalStatus.EXPIRED, reason=Expiry.PARTNER))

    def _refuse(self, row: Conditional, reason: Refusal) -> None:
        if row.close_position and reason is Refusal.REDUCE_ONLY_REJECTED:
            self.put(replace(row, status=ConditionalStatus.EXPIRED, reason=Expiry.POSITION_CLOSED))
            return
        self._state.emit(ConditionalRefused(conditional=row, reason=reason))
        self.put(replace(row, status=ConditionalStatus.REJECTED, reason=reason))

    def _child(self, row: Conditional) -> OrderRequest:
        """The order a trigger sends; one that closes is cut down to what there is to close."""
        room = self._state.closable(row.symbol, row.side, row.position_side)
        qty = row.qty if row.qty is not None else room
        if row.closes:
            qty = min(qty, room)
        if row.closes and not room:
            raise Refused(Refusal.REDUCE_ONLY_REJECTED, "nothing to reduce")
        one_way = row.position_side is PositionSide.BOTH
        return OrderRequest(
            symbol=row.symbol,
            side=row.side,
            type=OrderType.LIMIT if row.type.is_limit else OrderType.MARKET,
            qty=qty,
            price=row.price if row.type.is_limit else None,
            position_side=row.position_side,
            tif=row.tif if row.type.is_limit else TimeInForce.GTC,
            reduce_only=one_way and (row.reduce_only or row.close_position),
            client_id=row.client_id if self._state.policy.child_keeps_client_id else None,
            self_trade=row.self_trade,
            attached=row.entry_legs,
            margin_mode=row.margin_mode,
            extras=row.extras,
        )

    def put(self, row: Conditional, child: Order | None = None) -> Conditional:
        """Store and tell. Inside a batch."""
        row = replace(row, updated_ms=self._state.time.now_ms())
        self._state.conditionals.put(row)
        self._state.emit(ConditionalUpdate(conditional=row, child=child))
        return row


def _full(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def _direction(row: Conditional | ConditionalRequest) -> bool:
    """True for stop-losses, False for take profits."""
    return row.type.is_stop_loss
