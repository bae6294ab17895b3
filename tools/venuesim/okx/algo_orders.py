"""Commands about algo orders: place, amend, cancel. One order of the venue may be a pair of the engine's."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tools.venuesim.exchange.model import (
    CLOSING,
    AmendConditional,
    Conditional,
    ConditionalRequest,
    ConditionalType,
    MarginMode,
    PositionMode,
    PositionSide,
    Reference,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.okx.algo_book import GROUP, LEGS, Algo, AlgoBook, state_of
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.order_requests import MARKET_PRICE, OrderRequests, half_of
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.refusals import Deed, Refusals, met_code
from tools.venuesim.okx.routing import Items, Route, Routes, Scope, Security
from tools.venuesim.okx.words import MARGIN_MODE_OF, REFERENCE_OF, SIDE_OF, leg_of
from tools.venuesim.wire import Host, Lane

MAX_CANCELLED = 10
_KINDS = ("conditional", "oco", "trigger", "move_order_stop")
_SMALLEST_RATIO, _LARGEST_RATIO = Decimal("0.001"), Decimal(1)
_WHOLE = Decimal(1)


class _Terms(Struct, frozen=True, kw_only=True):
    """What all legs of an algo order have in common."""

    symbol: str
    side: Side
    position_side: PositionSide
    margin_mode: MarginMode
    qty: Decimal | None
    reduce_only: bool
    whole: bool
    """closeFraction: whatever the position holds by then."""
    ends_with_position: bool
    client_id: str | None
    extras: dict[str, str]

    def request(self, kind: ConditionalType, trigger: Decimal | None, price: Decimal | None) -> ConditionalRequest:
        return ConditionalRequest(
            symbol=self.symbol,
            side=self.side,
            type=kind,
            qty=self.qty,
            trigger_price=trigger,
            price=price,
            position_side=self.position_side,
            reduce_only=self.reduce_only,
            close_position=self.whole,
            client_id=self.client_id,
            attached=self.ends_with_position,
            margin_mode=self.margin_mode,
            extras=self.extras,
        )


class AlgoEndpoints:
    """Handlers for /api/v5/trade/order-algo and its relatives."""

    def __init__(self, host: Host, requests: OrderRequests, refusals: Refusals, book: AlgoBook) -> None:
        self._exchange = host.exchange
        self._requests = requests
        self._refusals = refusals
        self._book = book
        self._groups = count(1)

    def routes(self) -> Routes:
        """This part of the API."""
        trade = Security.TRADE
        return {
            ("POST", "/api/v5/trade/order-algo"): Route(
                handler=self.place, lane=Lane.STOP, security=trade, scope=Scope.INSTRUMENT, items=Items.ONE
            ),
            ("POST", "/api/v5/trade/amend-algos"): Route(
                handler=self.amend, lane=Lane.AMEND, security=trade, scope=Scope.INSTRUMENT, items=Items.ONE
            ),
            ("POST", "/api/v5/trade/cancel-algos"): Route(
                handler=self.cancel, lane=Lane.CANCEL, security=trade, items=Items.MANY, most=MAX_CANCELLED
            ),
            ("POST", "/api/v5/trade/cancel-advance-algos"): Route(
                handler=_retired, lane=Lane.CANCEL, security=trade, items=Items.MANY, most=MAX_CANCELLED
            ),
        }

    def place(self, params: Params) -> list[Row]:
        """One algo order."""
        kind = params.choice("ordType", _KINDS)
        terms = self._terms(params, kind)
        legs = self._legs(params, kind, terms)
        row = self._place([replace(leg, extras={**leg.extras, LEGS: str(len(legs))}) for leg in legs])
        return [_taken(self._book.of(row.id), terms.client_id, tag=terms.extras.get("tag", ""), clOrdId="")]

    def amend(self, params: Params) -> list[Row]:
        """Other levels, sizes or prices for an algo order that waits; a trigger of "0" deletes a leg."""
        symbol = self._requests.symbol(params)
        with self._refusals.translated(Deed.AMEND_ALGO, symbol):
            algo = self._waiting(params, symbol)
            try:
                self._amend(params, algo)
            except Refused as refused:
                if params.flag("cxlOnFail"):
                    self._cancel(algo)
                if refused.reason is Refusal.WOULD_TRIGGER:
                    raise VenueError(self._met(params, algo)) from refused
                raise
        return [_taken(algo, algo.client_id, reqId=params.text("reqId") or "")]

    def cancel(self, params: Params) -> list[Row]:
        """One cancellation; 51400 for an algo order that does not wait any more."""
        symbol = self._requests.symbol(params)
        with self._refusals.translated(Deed.CANCEL_ALGO, symbol):
            algo = self._waiting(params, symbol)
            self._cancel(algo)
        return [_taken(algo, algo.client_id, clOrdId="", tag="")]

    def _terms(self, params: Params, kind: str) -> _Terms:
        symbol = self._requests.symbol(params)
        mode = MARGIN_MODE_OF[params.choice("tdMode", tuple(MARGIN_MODE_OF))]
        side = SIDE_OF[params.choice("side", tuple(SIDE_OF))]
        position_side = self._requests.position_side(params)
        whole = self._whole(params, kind, symbol, side, position_side)
        qty = None if whole else self._requests.size(params, symbol)
        if qty is None and not whole:
            raise VenueError(50014, "sz")
        net = position_side is PositionSide.BOTH
        reduces = params.flag("reduceOnly")
        name = self._requests.name(params, "algoClOrdId")
        if name is not None and self._book.named(name):
            raise VenueError(51065)
        extras = self._requests.echoed(params)
        extras |= {GROUP: f"placed{next(self._groups)}", "algoType": kind, "algoClOrdId": name or ""}
        return _Terms(
            symbol=symbol,
            side=side,
            position_side=position_side,
            margin_mode=mode,
            qty=qty,
            reduce_only=reduces and net and not whole,
            whole=whole,
            ends_with_position=params.flag("cxlOnClosePos") and (reduces or not net),
            client_id=name,
            extras=extras,
        )

    def _whole(self, params: Params, kind: str, symbol: str, side: Side, position_side: PositionSide) -> bool:
        """Whether closeFraction is given, which must be 1, for market orders that close."""
        fraction = params.decimal("closeFraction")
        if fraction is None:
            return False
        if fraction != _WHOLE:
            raise VenueError(51000, "closeFraction")
        net = self._exchange.position_mode is PositionMode.ONE_WAY
        if net and not params.flag("reduceOnly"):
            raise VenueError(51328)
        if not net and (position_side, side) not in CLOSING:
            raise VenueError(51331)
        prices = [params.decimal(name) for name in ("slOrdPx", "tpOrdPx", "orderPx")]
        if kind == "move_order_stop" or any(price not in (None, Decimal(MARKET_PRICE)) for price in prices):
            raise VenueError(51330)
        held = self._exchange.position(symbol, position_side).qty
        if held * side.sign >= 0:
            raise VenueError(51058)
        return True

    def _legs(self, params: Params, kind: str, terms: _Terms) -> list[ConditionalRequest]:
        if kind == "trigger":
            return [self._trigger(params, terms)]
        if kind == "move_order_stop":
            return [_trailing(params, terms)]
        halves = [half for half in ("sl", "tp") if f"{half}TriggerPx" in params]
        if not halves:
            raise VenueError(50015, "tpTriggerPx", "slTriggerPx")
        if kind == "oco" and len(halves) == 1:
            raise VenueError(50014, "tpTriggerPx" if halves == ["sl"] else "slTriggerPx")
        if kind == "conditional" and terms.position_side is PositionSide.BOTH:
            # In net mode only the stop-loss survives; that is what oco is for.
            halves = halves[:1]
        return [_half(params, half, terms) for half in halves]

    def _trigger(self, params: Params, terms: _Terms) -> ConditionalRequest:
        """A trigger order fires from whichever side the price comes."""
        trigger, price = params.decimal("triggerPx"), params.decimal("orderPx")
        if trigger is None or price is None:
            raise VenueError(50014, "triggerPx" if trigger is None else "orderPx")
        limit = price != Decimal(MARKET_PRICE)
        reference = REFERENCE_OF[params.choice("triggerPxType", tuple(REFERENCE_OF), "last")]
        stop = (trigger - self._price(terms.symbol, reference)) * terms.side.sign >= 0
        kinds = {
            (True, False): ConditionalType.STOP,
            (True, True): ConditionalType.STOP_LIMIT,
            (False, False): ConditionalType.TAKE_PROFIT,
            (False, True): ConditionalType.TAKE_PROFIT_LIMIT,
        }
        request = terms.request(kinds[stop, limit], trigger, price if limit else None)
        return replace(
            request, reference=reference, entry_legs=self._requests.attached(params, terms.symbol, terms.extras)
        )

    def _price(self, symbol: str, reference: Reference) -> Decimal:
        quote = self._exchange.quote(symbol)
        return {Reference.LAST: quote.last, Reference.MARK: quote.mark, Reference.INDEX: quote.index}[reference]

    def _place(self, requests: Sequence[ConditionalRequest]) -> Conditional:
        first = requests[0]
        try:
            if len(requests) > 1:
                return self._exchange.place_pair(first, requests[1])[0]
            return self._exchange.place_conditional(first)
        except Refused as refused:
            if refused.reason is Refusal.WOULD_TRIGGER:
                raise VenueError(self._met_of(requests)) from refused
            raise self._refusals.error(refused, Deed.ALGO, first.symbol, first.side, first.position_side) from refused

    def _met_of(self, requests: Sequence[ConditionalRequest]) -> int:
        for request in requests:
            price = self._price(request.symbol, request.reference)
            falls = (request.side is Side.SELL) is request.type.is_stop_loss
            trigger = request.trigger_price
            if trigger is not None and (trigger >= price if falls else trigger <= price):
                return met_code(request)
        return met_code(requests[0])

    def _waiting(self, params: Params, symbol: str) -> Algo:
        number, name = self._requests.which(params, "algoId", "algoClOrdId")
        algo = self._book.find(algo_id=number, client_id=name)
        rows = self._book.rows(algo)
        if algo.symbol != symbol or state_of(rows) != "live":
            raise Refused(Refusal.UNKNOWN_CONDITIONAL)
        return algo

    def _cancel(self, algo: Algo) -> None:
        for row in self._book.rows(algo):
            if self._exchange.conditional(conditional_id=row.id).status.is_resting:
                self._exchange.cancel_conditional(conditional_id=row.id)

    def _amend(self, params: Params, algo: Algo) -> None:
        rows = self._book.rows(algo)
        changes = [(row, _changes(params, row)) for row in rows]
        size = self._requests.size(params, algo.symbol, "newSz")
        if size is None and not any(change for _, change in changes):
            raise VenueError(51500)
        doomed = [row for row, change in changes if change is None]
        for row in doomed:
            algo.removed.add(row.id)
            self._exchange.cancel_conditional(conditional_id=row.id)
        for row, change in changes:
            if change is None:
                continue
            extras = {"reqId": params.text("reqId") or ""}
            request = AmendConditional(symbol=algo.symbol, conditional_id=row.id, qty=size, extras=extras, **change)
            try:
                self._exchange.amend_conditional(request)
            except Refused as refused:
                if refused.reason is not Refusal.NOT_MODIFIED:
                    raise

    def _met(self, params: Params, algo: Algo) -> int:
        for row in self._book.rows(algo):
            change = _changes(params, row)
            if change and change.get("trigger_price") is not None:
                return met_code(row)
        return 51000


def _retired(_: Params) -> list[Row]:
    raise VenueError(50005)


def _half(params: Params, half: str, terms: _Terms) -> ConditionalRequest:
    kind, trigger, price = half_of(params, half)
    reference = REFERENCE_OF[params.choice(f"{half}TriggerPxType", tuple(REFERENCE_OF), "last")]
    return replace(terms.request(kind, trigger, price), reference=reference)


def _trailing(params: Params, terms: _Terms) -> ConditionalRequest:
    ratio, spread = params.decimal("callbackRatio"), params.decimal("callbackSpread")
    if (ratio is None) == (spread is None):
        raise VenueError(50015, "callbackRatio", "callbackSpread")
    if ratio is not None and not _SMALLEST_RATIO <= ratio <= _LARGEST_RATIO:
        raise VenueError(51311, _SMALLEST_RATIO, _LARGEST_RATIO)
    request = terms.request(ConditionalType.TRAILING, None, None)
    return replace(
        request, callback_rate=ratio, callback_distance=spread, activation_price=params.decimal("activePx") or None
    )


def _changes(params: Params, row: Conditional) -> dict[str, Any] | None:
    """What an amendment wants of this leg; None: that it goes."""
    leg = leg_of(row)
    if leg == "trailing":
        names = {"callback_rate": "newCallbackRatio", "callback_distance": "newCallbackSpread"}
        names |= {"activation_price": "newActivePx"}
        return {key: value for key, name in names.items() if (value := params.decimal(name)) is not None}
    head = "new" if leg == "trigger" else f"new{leg.capitalize()}"
    trigger, price = params.decimal(f"{head}TriggerPx"), params.decimal(f"{head}OrdPx")
    if trigger is not None and not trigger and leg != "trigger":
        return None
    found: dict[str, Any] = {}
    if trigger is not None:
        found["trigger_price"] = trigger
    if price is not None and price != Decimal(MARKET_PRICE):
        found["price"] = price
    if f"{head}TriggerPxType" in params:
        found["reference"] = REFERENCE_OF[params.choice(f"{head}TriggerPxType", tuple(REFERENCE_OF))]
    return found


def _taken(algo: Algo, client_id: str | None, **more: str) -> Row:
    return {"algoClOrdId": client_id or "", "algoId": str(algo.id), **more, "sCode": "0", "sMsg": ""}
