"""The stops of a position: stop loss, take profit and trailing stop of all of it, or of a part."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.errors import Row, VenueError
from tools.venuesim.bybit.order_requests import OrderRequests, attachment, leg_extras, reference_of
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.refusals import venue_terms
from tools.venuesim.bybit.routing import Route, Routes, Security
from tools.venuesim.exchange.model import (
    ConditionalRequest,
    ConditionalType,
    Instrument,
    Position,
    PositionStop,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.wire import Host, Lane

_LEGS = {"takeProfit": ConditionalType.TAKE_PROFIT, "stopLoss": ConditionalType.STOP}
_NOT_MODIFIED = 34040


class TradingStop:
    """Handler for /v5/position/trading-stop. A leg that is left out stays as it is, "0" takes it away."""

    def __init__(self, host: Host, requests: OrderRequests) -> None:
        self._exchange = host.exchange
        self._requests = requests

    def routes(self) -> Routes:
        """This part of the API."""
        return {("POST", "/v5/position/trading-stop"): Route(self.set, Lane.STOP, Security.TRADE, 10)}

    def set(self, params: Params) -> Row:
        """POST trading-stop: the answer is empty. 10001 without a position, 34040 when nothing would change."""
        instrument = self._requests.instrument(params)
        position = self._exchange.position(instrument.symbol, self._requests.position_side(params, instrument.symbol))
        if not position.qty:
            raise VenueError(10001, "can not set tp/sl/ts for zero position")
        whole = params.choice("tpslMode", ("Full", "Partial"), "Full") == "Full"
        side, last = Side.BUY if position.qty > 0 else Side.SELL, self._exchange.quote(instrument.symbol).last
        self._requests.check_legs(params, instrument, side, last, "LastPrice")
        with venue_terms(self._exchange, instrument.symbol, {Refusal.NOT_MODIFIED: _NOT_MODIFIED}):
            if whole:
                self._set_whole(params, instrument, position)
            else:
                self._add_partial(params, position)
        return {}

    def _set_whole(self, params: Params, instrument: Instrument, position: Position) -> None:
        wanted = [self._leg(params, position, leg, kind) for leg, kind in _LEGS.items() if leg in params]
        if "trailingStop" in params:
            wanted.append(self._trailing(params, instrument, position))
        if not wanted:
            raise VenueError(10001, "params error: takeProfit, stopLoss or trailingStop is required")
        changed = 0
        for stop in wanted:
            try:
                self._exchange.set_position_stop(stop)
                changed += 1
            except Refused as refused:
                if refused.reason is not Refusal.NOT_MODIFIED:
                    raise
        if not changed:
            raise VenueError(_NOT_MODIFIED)

    def _leg(self, params: Params, position: Position, leg: str, kind: ConditionalType) -> PositionStop:
        short_name, name = ("sl", "StopLoss") if leg == "stopLoss" else ("tp", "TakeProfit")
        if params.text(f"{short_name}OrderType") == "Limit":
            raise VenueError(10001, f"{short_name}OrderType Limit is not supported under Full TP/SL mode")
        return PositionStop(
            symbol=position.symbol,
            position_side=position.position_side,
            kind=kind,
            trigger_price=params.price(leg),
            reference=reference_of(params, f"{short_name}TriggerBy"),
            extras=leg_extras(name, whole=True),
        )

    def _trailing(self, params: Params, instrument: Instrument, position: Position) -> PositionStop:
        distance = params.price("trailingStop")
        if distance is not None and not instrument.tick <= distance < position.entry:
            raise VenueError(10001, "trailingStop invalid")
        return PositionStop(
            symbol=position.symbol,
            position_side=position.position_side,
            kind=ConditionalType.TRAILING,
            callback_distance=distance,
            activation_price=params.price("activePrice"),
            extras=leg_extras("TrailingStop", whole=True),
        )

    def _add_partial(self, params: Params, position: Position) -> None:
        """Stops of a part are only ever added: each is an order of its own."""
        legs = [leg for leg in _LEGS if params.price(leg) is not None]
        if not legs:
            raise VenueError(10001, "params error: takeProfit or stopLoss is required")
        sizes = {params.decimal("slSize" if leg == "stopLoss" else "tpSize") for leg in legs}
        if len(sizes) != 1 or None in sizes:
            raise VenueError(10001, "tpSize and slSize must be set and equal")
        size = sizes.pop() or Decimal(0)
        if size > abs(position.qty):
            raise VenueError(110058)
        requests = [_partial(params, position, leg, size) for leg in legs]
        if len(requests) == 1:
            self._exchange.place_conditional(requests[0])
        else:
            self._exchange.place_pair(requests[0], requests[1])


def _partial(params: Params, position: Position, leg: str, size: Decimal) -> ConditionalRequest:
    found = attachment(params, leg, whole=False)
    return ConditionalRequest(
        symbol=position.symbol,
        side=Side.SELL if position.qty > 0 else Side.BUY,
        type=found.kind,
        qty=size,
        trigger_price=found.trigger_price,
        price=found.price,
        position_side=position.position_side,
        reference=found.reference,
        reduce_only=True,
        attached=True,
        extras=found.extras,
    )
