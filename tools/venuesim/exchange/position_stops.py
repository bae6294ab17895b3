"""Conditional orders that change while they wait: amendments, and the stops a position has as its own."""

from __future__ import annotations

from msgspec.structs import replace

from tools.venuesim.exchange import checks
from tools.venuesim.exchange.model import (
    AmendConditional,
    Conditional,
    ConditionalRequest,
    ConditionalStatus,
    ConditionalType,
    PositionSide,
    PositionStop,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.exchange.state import State
from tools.venuesim.exchange.triggers import Triggers, follow

LEVEL = ("type", "trigger_price", "price", "qty", "reference", "callback_rate", "callback_distance", "activation_price")
"""What an amendment may change."""
WATCHED = ("trigger_price", "reference", "activation_price")
"""A change of these must not fire at once."""


class PositionStops:
    def __init__(self, state: State, triggers: Triggers) -> None:
        self._state = state
        self._triggers = triggers

    def find(self, symbol: str, side: PositionSide, kind: ConditionalType) -> Conditional | None:
        """The position's own stop of this kind, where it has one."""
        for row in self._state.conditionals.resting(symbol):
            if row.whole_position and row.position_side is side and _family(row.type) is _family(kind):
                return row
        return None

    def amend(self, request: AmendConditional) -> Conditional:
        row = self._triggers.waiting(request.conditional_id, request.client_id, request.symbol)
        given = {name: getattr(request, name) for name in LEVEL if name != "type"}
        changes = {name: value for name, value in given.items() if value is not None}
        if request.kind is not None:
            if _family(request.kind) is not _family(row.type):
                raise ValueError(f"a {row.type} cannot become a {request.kind}")
            changes["type"] = request.kind
        after = replace(row, **changes, extras={**row.extras, **request.extras})
        if not after.type.is_limit:
            after = replace(after, price=None)
        return self._change(row, after)

    def set(self, request: PositionStop) -> Conditional:
        """Create, move or remove the stop of a position."""
        state = self._state
        checks.mode(state.mode(request.symbol), request.position_side, reduce_only=False)
        held = state.position(request.symbol, request.position_side).qty
        if not held:
            raise Refused(Refusal.NO_POSITION)
        there = self.find(request.symbol, request.position_side, request.kind)
        if request.removes:
            if there is None:
                raise Refused(Refusal.NOT_MODIFIED)
            with state.batch():
                return self._triggers.put(replace(there, status=ConditionalStatus.CANCELED))
        wanted = _request(request, Side.SELL if held > 0 else Side.BUY)
        if there is not None:
            levels = {name: getattr(wanted, name) for name in LEVEL}
            return self._change(there, replace(there, **levels, extras={**there.extras, **wanted.extras}))
        state.gate.conditional(wanted)
        self._triggers.check_request(wanted)
        self._triggers.check_not_met(wanted)
        with state.batch():
            return self._triggers.begin(replace(self._triggers.new(wanted), whole_position=True))

    def move(self, there: Conditional, wanted: Conditional) -> None:
        """Take over the level of a stop that came with a new entry, without any check."""
        levels = {name: getattr(wanted, name) for name in LEVEL}
        after = replace(there, **levels, parent=wanted.parent, extras={**there.extras, **wanted.extras})
        if _changed(there, after, LEVEL):
            after = replace(after, amendments=there.amendments + 1)
        self._triggers.put(after)

    def _change(self, row: Conditional, after: Conditional) -> Conditional:
        if not _changed(row, after, LEVEL):
            raise Refused(Refusal.NOT_MODIFIED)
        request = _as_request(after)
        self._state.gate.conditional(request)
        self._triggers.check_request(request)
        if _changed(row, after, WATCHED):
            self._triggers.check_not_met(request)
        if row.activation_price != after.activation_price:
            after = replace(after, activated=False, extreme=None)
        if after.type is ConditionalType.TRAILING:
            after = follow(after, self._triggers.price(after))
        with self._state.batch():
            return self._triggers.put(replace(after, amendments=row.amendments + 1))


def _family(kind: ConditionalType) -> ConditionalType:
    if kind is ConditionalType.TRAILING:
        return kind
    return ConditionalType.STOP if kind.is_stop_loss else ConditionalType.TAKE_PROFIT


def _changed(before: Conditional, after: Conditional, names: tuple[str, ...]) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in names)


def _as_request(row: Conditional) -> ConditionalRequest:
    return ConditionalRequest(
        symbol=row.symbol,
        side=row.side,
        type=row.type,
        qty=row.qty,
        trigger_price=row.trigger_price,
        price=row.price,
        position_side=row.position_side,
        tif=row.tif,
        reference=row.reference,
        reduce_only=row.reduce_only,
        close_position=row.close_position,
        callback_rate=row.callback_rate,
        callback_distance=row.callback_distance,
        activation_price=row.activation_price,
        client_id=row.client_id or None,
        attached=row.attached,
    )


def _request(stop: PositionStop, side: Side) -> ConditionalRequest:
    return ConditionalRequest(
        symbol=stop.symbol,
        side=side,
        type=stop.kind,
        trigger_price=stop.trigger_price,
        position_side=stop.position_side,
        reference=stop.reference,
        close_position=True,
        callback_rate=stop.callback_rate,
        callback_distance=stop.callback_distance,
        activation_price=stop.activation_price,
        attached=True,
        extras=stop.extras,
    )
