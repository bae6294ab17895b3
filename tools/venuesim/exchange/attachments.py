"""Stops that come with an entry: they begin in the batch of its fills, so that no moment passes without them."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tools.venuesim.exchange import checks
from tools.venuesim.exchange.model import (
    Attachment,
    AttachRule,
    Conditional,
    ConditionalRequest,
    ConditionalStatus,
    ConditionalType,
    Order,
    OrderRequest,
    OrderStatus,
    Parent,
    PositionSide,
    Refusal,
    Refused,
)
from tools.venuesim.exchange.position_stops import PositionStops
from tools.venuesim.exchange.state import State
from tools.venuesim.exchange.triggers import Triggers, is_met


class Attachments:
    """Implements ``admission.Attach``."""

    def __init__(self, state: State, triggers: Triggers, stops: PositionStops) -> None:
        self._state = state
        self._triggers = triggers
        self._stops = stops
        self._begun: dict[tuple[int, int], Conditional] = {}
        """(order id, place among its attachments) -> the newest conditional order of it, as it began."""
        self._given: dict[tuple[int, int], Decimal] = {}
        """How much of the order's fills those cover or covered."""

    def check(self, entry: OrderRequest | Order) -> None:
        state = self._state
        instrument = state.instrument(entry.symbol)
        for leg in entry.attached:
            limit_of_whole = leg.whole_position and leg.kind.is_limit
            if state.policy.attach is AttachRule.NEVER or leg.kind is ConditionalType.TRAILING or limit_of_whole:
                raise Refused(Refusal.ATTACHED_UNSUPPORTED, leg.kind.value)
            checks.trigger_price(instrument, leg.trigger_price)
            if leg.kind.is_limit:
                checks.price(instrument, leg.price)
            request = _request(entry, leg, leg.qty or entry.qty)
            base = entry.price if entry.price is not None else self._triggers.price(request)
            if is_met(request, base):
                raise Refused(Refusal.ATTACHED_WOULD_TRIGGER, leg.kind.value)
            if leg.client_id and state.client_id_taken(entry.symbol, leg.client_id, conditional=True):
                raise Refused(Refusal.DUPLICATE_CLIENT_ID, leg.client_id)

    def has_begun(self, order: Order) -> bool:
        return any((order.id, place) in self._given for place in range(len(order.attached)))

    def filled(self, order: Order) -> None:
        state = self._state
        if state.policy.attach is AttachRule.COMPLETE_FILL and order.status is not OrderStatus.FILLED:
            return
        room = state.closable(order.symbol, order.side.opposite, order.position_side)
        if not room:
            return
        known = {row.id for row in state.conditionals.resting(order.symbol)}
        fresh: dict[int, Conditional] = {}
        for place, leg in enumerate(order.attached):
            if leg.whole_position:
                self._cover_position(order, place, leg)
            elif (row := self._cover_fills(order, place, leg, room)) is not None:
                fresh[place] = row
        for place, row in self._paired(order, fresh).items():
            self._begin(order, place, row)
        # The market may have moved beyond a trigger before the entry was filled.
        for row in state.conditionals.resting(order.symbol):
            now = state.conditionals.get(row.id)
            if row.id not in known and now.status.is_resting:
                self._triggers.check_one(now)

    def _cover_position(self, order: Order, place: int, leg: Attachment) -> None:
        """The first fill sets the level; later ones only see to it that there is a stop."""
        key = (order.id, place)
        wanted = self._triggers.new(_request(order, leg, None))
        wanted = replace(wanted, whole_position=True, parent=_parent(order))
        there = self._stops.find(order.symbol, order.position_side, leg.kind)
        first = key not in self._given
        self._given[key] = order.filled
        if there is None:
            self._begin(order, place, wanted)
        elif first:
            self._stops.move(there, wanted)

    def _cover_fills(self, order: Order, place: int, leg: Attachment, room: Decimal) -> Conditional | None:
        """Let the one there is grow with the fills; otherwise a new one for what none covers yet."""
        key = (order.id, place)
        target = min(order.filled if leg.qty is None else min(leg.qty, order.filled), room)
        given = self._given.get(key, Decimal(0))
        if target <= given:
            return None
        self._given[key] = target
        known = self._begun.get(key)
        now = None if known is None else self._state.conditionals.get(known.id)
        if now is not None and now.status.is_resting and now.qty is not None:
            self._triggers.put(replace(now, qty=now.qty + target - given))
            return None
        return replace(self._triggers.new(_request(order, leg, target - given)), parent=_parent(order))

    def _paired(self, order: Order, fresh: dict[int, Conditional]) -> dict[int, Conditional]:
        places = {leg.pair: place for place, leg in enumerate(order.attached) if leg.pair is not None}
        for place, leg in enumerate(order.attached):
            other = places.get(leg.pair) if leg.pair is not None else None
            if other is not None and other != place and place in fresh and other in fresh:
                fresh[place] = replace(fresh[place], partner_id=fresh[other].id)
                fresh[other] = replace(fresh[other], partner_id=fresh[place].id)
        return fresh

    def _begin(self, order: Order, place: int, row: Conditional) -> None:
        """A fault may refuse it: then it is stillborn, and the position stands without it."""
        self._begun[order.id, place] = row
        try:
            self._state.gate.conditional(_request(order, order.attached[place], row.qty))
        except Refused as refused:
            self._triggers.put(replace(row, status=ConditionalStatus.REJECTED, reason=refused.reason))
        else:
            self._triggers.begin(row)


def _request(entry: OrderRequest | Order, leg: Attachment, qty: Decimal | None) -> ConditionalRequest:
    return ConditionalRequest(
        symbol=entry.symbol,
        side=entry.side.opposite,
        type=leg.kind,
        qty=None if leg.whole_position else qty,
        trigger_price=leg.trigger_price,
        price=leg.price,
        position_side=entry.position_side,
        reference=leg.reference,
        reduce_only=not leg.whole_position and entry.position_side is PositionSide.BOTH,
        close_position=leg.whole_position,
        client_id=leg.client_id,
        attached=True,
        self_trade=entry.self_trade,
        extras=leg.extras,
    )


def _parent(order: Order) -> Parent:
    return Parent(order_id=order.id, client_id=order.client_id)
