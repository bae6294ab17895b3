"""Parameters of order commands as neutral requests, checked as far as the engine does not check."""

from __future__ import annotations

import re
from decimal import Decimal

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.market_frames import fixed
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.symbol_table import ONE_WAY_ASSETS
from tools.venuesim.bybit.words import (
    FALLING,
    POSITION_SIDE_OF,
    REFERENCE_OF,
    RISING,
    SIDE,
    SIDE_OF,
    SMP_OF,
    TIF_OF,
    conditional_type,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Attachment,
    ConditionalRequest,
    ConditionalType,
    Instrument,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    Quote,
    Reference,
    SelfTrade,
    Side,
    TimeInForce,
)

_PAIR = "takeProfit/stopLoss"
"""Of the two that cover a part the one that fires cancels the other."""
_LINK_ID = re.compile(r"^[A-Za-z0-9_-]{1,36}$")
_ECHOED = (
    "takeProfit", "stopLoss", "tpTriggerBy", "slTriggerBy", "tpLimitPrice", "slLimitPrice", "slippageToleranceType",
    "slippageTolerance",
)  # fmt: skip
LEGS = ("takeProfit", "stopLoss")


class PriceAction:
    """What becomes of limit prices beyond the band."""

    def __init__(self) -> None:
        self.adjusts = True
        """True: they are brought back to the band in silence; False: refused."""


class OrderRequests:
    """Reads order parameters."""

    def __init__(self, exchange: Exchange, action: PriceAction) -> None:
        self._exchange = exchange
        self._action = action

    def instrument(self, params: Params) -> Instrument:
        """The linear contract a command is about; 10001 for any other."""
        if params.text("category") != "linear":
            raise VenueError(10001, "params error: category invalid")
        symbol = params.required("symbol")
        found = next((row for row in self._exchange.instruments() if row.symbol == symbol), None)
        if found is None:
            raise VenueError(10001, f"params error: symbol invalid {symbol}")
        return found

    def create(self, params: Params) -> OrderRequest | ConditionalRequest:
        """An order, or with ``triggerPrice`` one that waits. Raises `VenueError`."""
        instrument = self.instrument(params)
        side = SIDE_OF.get(params.text("side") or "")
        if side is None:
            raise VenueError(10001, "Side invalid")
        limit = params.choice("orderType", ("Market", "Limit")) == "Limit"
        position_side = self.position_side(params, instrument.symbol)
        reduces = params.flag("reduceOnly") or params.flag("closeOnTrigger")
        if reduces and any(params.price(leg) for leg in LEGS):
            raise VenueError(10001, "reduce-only order can not contain TP/SL")
        if params.price("triggerPrice") is not None:
            return self._conditional(params, instrument, side, position_side, limit=limit, reduces=reduces)
        qty = params.decimal("qty") or ZERO
        if not qty and params.flag("reduceOnly") and params.flag("closeOnTrigger"):
            qty = self._everything(instrument, side, position_side)
        price = _limit_price(params) if limit else None
        legs = self.attachments(params, instrument, side, price)
        return OrderRequest(
            symbol=instrument.symbol,
            side=side,
            type=OrderType.LIMIT if limit else OrderType.MARKET,
            qty=qty,
            price=price,
            position_side=position_side,
            tif=_time_in_force(params, limit=limit),
            reduce_only=reduces,
            client_id=link_id(params),
            self_trade=_self_trade(params),
            attached=legs,
            clamp_price=self._action.adjusts,
            extras=_extras(params),
        )

    def position_side(self, params: Params, symbol: str) -> PositionSide:
        """``positionIdx``; 10001 for one that does not exist or is not of the contract's mode."""
        side = POSITION_SIDE_OF.get(params.integer("positionIdx") or 0)
        one_way = self._exchange.instrument(symbol).settle in ONE_WAY_ASSETS
        hedge = self._exchange.position_mode is PositionMode.HEDGE and not one_way
        if side is None or hedge is (side is PositionSide.BOTH):
            raise VenueError(10001, "position idx not match position mode")
        return side

    @property
    def clamps(self) -> bool:
        """Whether limit prices beyond the band are brought back to it."""
        return self._action.adjusts

    def check_trigger(self, symbol: str, price: Decimal, reference: Reference, direction: int) -> None:
        """110092 or 110093 for a trigger that is reached already."""
        instrument = self._exchange.instrument(symbol)
        now = _reference_price(self._exchange.quote(symbol), reference)
        details = (fixed(price, instrument.tick), fixed(now, instrument.tick))
        if direction == RISING and price <= now:
            raise VenueError(110092, detail=details)
        if direction == FALLING and price >= now:
            raise VenueError(110093, detail=details)

    def check_legs(self, params: Params, instrument: Instrument, side: Side, base: Decimal, base_name: str) -> None:
        """10001 for a stop loss or take profit on the wrong side of the base price, for a position opened so."""
        word, long = SIDE[side], side is Side.BUY
        for leg, name, below in (("stopLoss", "StopLoss", long), ("takeProfit", "TakeProfit", not long)):
            price = params.price(leg)
            if price is None or (price < base if below else price > base):
                continue
            shown = fixed(base, instrument.tick)
            relation = "lower" if below else "higher"
            text = f"{name}:{price:f} set for {word} position should {relation} than base_price:{shown}??{base_name}"
            raise VenueError(10001, text)

    def _conditional(
        self,
        params: Params,
        instrument: Instrument,
        side: Side,
        position_side: PositionSide,
        *,
        limit: bool,
        reduces: bool,
    ) -> ConditionalRequest:
        trigger = params.price("triggerPrice") or ZERO
        direction = params.integer("triggerDirection")
        if direction not in (RISING, FALLING):
            raise VenueError(10001, "TriggerDirection invalid")
        reference = reference_of(params, "triggerBy")
        kind = conditional_type(side, direction, limit=limit)
        qty = params.decimal("qty") or ZERO
        everything = not qty and reduces and not limit
        self.check_trigger(instrument.symbol, trigger, reference, direction)
        price = _limit_price(params) if limit else None
        legs = self.attachments(params, instrument, side, price if price is not None else trigger)
        return ConditionalRequest(
            symbol=instrument.symbol,
            side=side,
            type=kind,
            qty=None if everything else qty,
            trigger_price=trigger,
            price=price,
            position_side=position_side,
            tif=_time_in_force(params, limit=limit),
            reference=reference,
            reduce_only=reduces and not everything,
            close_position=everything,
            client_id=link_id(params),
            entry_legs=legs,
            self_trade=_self_trade(params),
            extras=_extras(params) | {"stopOrderType": "Stop"},
        )

    def attachments(
        self,
        params: Params,
        instrument: Instrument,
        side: Side,
        price: Decimal | None,
    ) -> tuple[Attachment, ...]:
        """The stop loss and the take profit that come with an entry; ``price``: where it would be filled."""
        legs = [leg for leg in LEGS if params.price(leg) is not None]
        if not legs:
            return ()
        base = price if price is not None else self._exchange.quote(instrument.symbol).last
        self.check_legs(params, instrument, side, base, "OrderPrice" if price is not None else "LastPrice")
        whole = params.choice("tpslMode", ("Full", "Partial"), "Full") == "Full"
        return tuple(attachment(params, leg, whole=whole) for leg in legs)

    def _everything(self, instrument: Instrument, side: Side, position_side: PositionSide) -> Decimal:
        """All an order of this side could close; 110017 when there is nothing."""
        held = self._exchange.position(instrument.symbol, position_side).qty
        if held * side.sign >= 0:
            raise VenueError(110017)
        return abs(held)


def attachment(params: Params, leg: str, *, whole: bool) -> Attachment:
    """One leg: of the whole position, or in Partial mode of what the entry has filled."""
    short_name, name = ("sl", "StopLoss") if leg == "stopLoss" else ("tp", "TakeProfit")
    limit = params.choice(f"{short_name}OrderType", ("Market", "Limit"), "Market") == "Limit"
    price = params.price(f"{short_name}LimitPrice") if limit else None
    if limit and whole:
        raise VenueError(10001, f"{short_name}OrderType Limit is not supported under Full TP/SL mode")
    if limit and price is None:
        raise VenueError(10001, f"{short_name}LimitPrice invalid")
    return Attachment(
        kind=_leg_type(leg, limit=limit),
        trigger_price=params.price(leg) or ZERO,
        price=price,
        reference=reference_of(params, f"{short_name}TriggerBy"),
        whole_position=whole,
        pair=None if whole else _PAIR,
        extras=leg_extras(name, whole=whole),
    )


def leg_extras(name: str, *, whole: bool) -> dict[str, str]:
    """What the row of a position's stop shows."""
    return {
        "stopOrderType": name if whole else f"Partial{name}",
        "tpslMode": "Full" if whole else "Partial",
        "closeOnTrigger": "true",
    }


def _leg_type(leg: str, *, limit: bool) -> ConditionalType:
    if leg == "stopLoss":
        return ConditionalType.STOP_LIMIT if limit else ConditionalType.STOP
    return ConditionalType.TAKE_PROFIT_LIMIT if limit else ConditionalType.TAKE_PROFIT


def reference_of(params: Params, name: str) -> Reference:
    """The price a trigger watches; the last price unless another is named."""
    reference = REFERENCE_OF.get(params.text(name) or "LastPrice")
    if reference is None:
        raise VenueError(10001, f"params error: {name} invalid")
    return reference


def link_id(params: Params) -> str | None:
    """The client's own name; 10001 unless 1 to 36 of letters, digits, dash and underscore."""
    text = params.text("orderLinkId")
    if text is not None and not _LINK_ID.match(text):
        raise VenueError(10001, "OrderLinkId invalid")
    return text


def _limit_price(params: Params) -> Decimal:
    price = params.price("price")
    if price is None:
        raise VenueError(10001, "Price invalid")
    return price


def _time_in_force(params: Params, *, limit: bool) -> TimeInForce:
    word = params.text("timeInForce") or "GTC"
    tif = TIF_OF.get(word)
    if tif is None:
        raise VenueError(10001, "timeInForce invalid")
    return tif if limit else TimeInForce.IOC


def _self_trade(params: Params) -> SelfTrade:
    mode = SMP_OF.get(params.text("smpType") or "None")
    if mode is None:
        raise VenueError(10001, "smpType invalid")
    return mode


def _extras(params: Params) -> dict[str, str]:
    kept = {name: value for name in _ECHOED if (value := params.text(name)) is not None and value != "0"}
    if any(leg in kept for leg in LEGS):
        kept["tpslMode"] = params.text("tpslMode") or "Full"
        kept.setdefault("slTriggerBy", "LastPrice")
        kept.setdefault("tpTriggerBy", "LastPrice")
    if params.flag("closeOnTrigger"):
        kept["closeOnTrigger"] = "true"
    return kept


def _reference_price(quote: Quote, reference: Reference) -> Decimal:
    return {Reference.LAST: quote.last, Reference.MARK: quote.mark, Reference.INDEX: quote.index}[reference]
