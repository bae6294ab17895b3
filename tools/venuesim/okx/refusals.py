"""The engine's refusals in the venue's codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from enum import Enum, auto

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalRequest,
    ConditionalType,
    Instrument,
    OrderRequest,
    OrderType,
    PositionSide,
    Reference,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import short


class Deed(Enum):
    """What was asked for; the same refusal has different codes."""

    PLACE = auto()
    CANCEL = auto()
    AMEND = auto()
    QUERY = auto()
    ALGO = auto()
    CANCEL_ALGO = auto()
    AMEND_ALGO = auto()
    SETTING = auto()


_CODES: dict[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (51001, ""),
    Refusal.UNKNOWN_ORDER: (51603, ""),
    Refusal.UNKNOWN_CONDITIONAL: (51603, ""),
    Refusal.CONDITIONAL_TRIGGERING: (51416, ""),
    Refusal.CLIENT_ID_INVALID: (51000, "clOrdId"),
    Refusal.DUPLICATE_CLIENT_ID: (51016, ""),
    Refusal.QTY_MISSING: (50014, "sz"),
    Refusal.QTY_NOT_POSITIVE: (51000, "sz"),
    Refusal.QTY_MIN: (51020, ""),
    Refusal.QTY_STEP: (51121, ""),
    Refusal.PRICE_MISSING: (50014, "px"),
    Refusal.PRICE_NOT_POSITIVE: (51000, "px"),
    Refusal.PRICE_MIN: (51000, "px"),
    Refusal.PRICE_MAX: (51000, "px"),
    Refusal.PRICE_TICK: (51000, "px"),
    Refusal.TRIGGER_PRICE_MISSING: (50014, "triggerPx"),
    Refusal.TRIGGER_PRICE_MIN: (51000, "triggerPx"),
    Refusal.TRIGGER_PRICE_MAX: (51000, "triggerPx"),
    Refusal.TRIGGER_PRICE_TICK: (51000, "triggerPx"),
    Refusal.MIN_NOTIONAL: (51020, ""),
    Refusal.ACTIVATION_PRICE: (51000, "activePx"),
    Refusal.POSITION_SIDE_MISMATCH: (51000, "posSide"),
    Refusal.REDUCE_ONLY_IN_HEDGE: (51000, "reduceOnly"),
    Refusal.CLOSE_POSITION_EXISTS: (51088, ""),
    Refusal.CLOSE_POSITION_WITH_QTY: (51000, "sz"),
    Refusal.CLOSE_POSITION_WITH_REDUCE_ONLY: (51328, ""),
    Refusal.CLOSE_POSITION_OPENS: (51331, ""),
    Refusal.LEVERAGE_INVALID: (59102, ""),
    Refusal.LEVERAGE_REDUCTION_ISOLATED: (59109, ""),
    Refusal.LEVERAGE_MARGIN: (59108, ""),
    Refusal.MODE_UNCHANGED: (51000, ""),
    Refusal.MODE_HAS_ORDERS: (59000, ""),
    Refusal.MODE_HAS_POSITION: (59000, ""),
    Refusal.MARGIN_MODE_MISMATCH: (51000, "tdMode"),
    Refusal.ATTACHED_UNSUPPORTED: (51000, "attachAlgoOrds"),
    Refusal.ATTACHED_ON_CLOSING: (51100, ""),
    Refusal.ATTACHED_WOULD_TRIGGER: (51000, "attachAlgoOrds"),
    Refusal.ATTACHED_EXISTS: (51527, ""),
    Refusal.MAX_ATTACHED: (51000, "attachAlgoOrds"),
    Refusal.NO_POSITION: (51058, ""),
    Refusal.MODE_MULTI_ASSETS: (51010, ""),
    Refusal.MARGIN_CHANGE_CROSS: (51043, ""),
    Refusal.MARGIN_CHANGE_NO_POSITION: (59300, ""),
    Refusal.MARGIN_CHANGE_EXCESSIVE: (59301, ""),
    Refusal.AMEND_NOT_LIMIT: (51506, ""),
    Refusal.AMENDED_TOO_OFTEN: (51513, ""),
    Refusal.LIQUIDATING: (50020, ""),
    Refusal.NO_PERMISSION: (50120, ""),
}
_BY_DEED: dict[tuple[Deed, Refusal], tuple[int, str]] = {
    (Deed.CANCEL, Refusal.UNKNOWN_ORDER): (51400, ""),
    (Deed.AMEND, Refusal.UNKNOWN_ORDER): (51503, ""),
    (Deed.CANCEL_ALGO, Refusal.UNKNOWN_CONDITIONAL): (51400, ""),
    (Deed.AMEND_ALGO, Refusal.UNKNOWN_CONDITIONAL): (51503, ""),
    (Deed.ALGO, Refusal.DUPLICATE_CLIENT_ID): (51065, ""),
    (Deed.ALGO, Refusal.CLIENT_ID_INVALID): (51000, "algoClOrdId"),
}
_NOT_TRADING = {"halted": 51022, "pending": 51021, "settling": 51028, "closed": 51027}
# (reference, limits a loss, closes by selling) -> code
_MET = {
    (Reference.LAST, False, False): 51277,
    (Reference.LAST, True, False): 51278,
    (Reference.LAST, False, True): 51279,
    (Reference.LAST, True, True): 51280,
    (Reference.MARK, False, False): 51300,
    (Reference.MARK, True, False): 51302,
    (Reference.MARK, False, True): 51303,
    (Reference.MARK, True, True): 51304,
    (Reference.INDEX, False, False): 51305,
    (Reference.INDEX, True, False): 51306,
    (Reference.INDEX, False, True): 51307,
    (Reference.INDEX, True, True): 51308,
}
# (limit order, limits a loss, sells) -> code
_ATTACHED = {
    (True, False, False): 51046,
    (True, True, False): 51047,
    (True, False, True): 51048,
    (True, True, True): 51049,
    (False, False, False): 51050,
    (False, True, False): 51051,
    (False, False, True): 51052,
    (False, True, True): 51053,
}
_MOST_ORDERS = 500


def met_code(row: ConditionalRequest | Conditional) -> int:
    """The code for a trigger that the price has already reached."""
    return _MET[row.reference, row.type.is_stop_loss, row.side is Side.SELL]


def _attached_code(request: OrderRequest, kind: str) -> int:
    loss = ConditionalType(kind).is_stop_loss if kind in set(ConditionalType) else True
    return _ATTACHED[request.type is OrderType.LIMIT, loss, request.side is Side.SELL]


class Refusals:
    """Translates with the numbers of the moment."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @contextmanager
    def translated(
        self,
        deed: Deed,
        symbol: str | None,
        *,
        side: Side | None = None,
        position_side: PositionSide = PositionSide.BOTH,
    ) -> Iterator[None]:
        """What the engine refuses inside is raised as ``VenueError``."""
        try:
            yield
        except Refused as refused:
            raise self.error(refused, deed, symbol, side, position_side) from refused

    @contextmanager
    def placing(self, request: OrderRequest) -> Iterator[None]:
        """The same for an order, whose sides and price say more about what is wrong."""
        try:
            yield
        except Refused as refused:
            if refused.reason is Refusal.ATTACHED_WOULD_TRIGGER:
                raise VenueError(_attached_code(request, refused.detail)) from refused
            raise self.error(refused, Deed.PLACE, request.symbol, request.side, request.position_side) from refused

    def error(
        self,
        refused: Refused,
        deed: Deed,
        symbol: str | None,
        side: Side | None = None,
        position_side: PositionSide = PositionSide.BOTH,
    ) -> VenueError:
        """The venue's answer to a refusal."""
        reason = refused.reason
        if reason is Refusal.INJECTED:
            return VenueError(refused.code if refused.code is not None else 51008)
        if reason is Refusal.SYMBOL_NOT_TRADING:
            return VenueError(_NOT_TRADING.get(refused.detail, 51022))
        known = _BY_DEED.get((deed, reason)) or _CODES.get(reason)
        if known is not None:
            return VenueError(*known)
        if symbol is None:
            return VenueError(51000, reason.value)
        return self._with_numbers(refused, deed, self._exchange.instrument(symbol), side, position_side)

    def _with_numbers(
        self, refused: Refused, deed: Deed, instrument: Instrument, side: Side | None, position_side: PositionSide
    ) -> VenueError:
        mark = self._exchange.quote(instrument.symbol).mark
        match refused.reason:
            case (
                Refusal.PRICE_BAND_HIGH
                | Refusal.PRICE_BAND_LOW
                | Refusal.CONDITIONAL_PRICE_HIGH
                | Refusal.CONDITIONAL_PRICE_LOW
                | Refusal.MARKET_BOUND
            ):
                highest, lowest = price_limits(instrument, mark)
                return VenueError(51006, highest, lowest)
            case Refusal.QTY_MAX:
                return VenueError(51101, short(instrument.max_qty / instrument.contract_size))
            case Refusal.MAX_ORDERS:
                return VenueError(51102, _MOST_ORDERS)
            case Refusal.MAX_CONDITIONALS:
                return VenueError(51299, _MOST_ORDERS)
            case Refusal.INSUFFICIENT_MARGIN:
                return VenueError(51502 if deed is Deed.AMEND else 51008, instrument.settle)
            case Refusal.MAX_POSITION_AT_LEVERAGE | Refusal.LEVERAGE_TOO_HIGH_FOR_POSITION:
                return self._over_tier(instrument)
            case Refusal.REDUCE_ONLY_REJECTED:
                return self._nothing_to_close(refused, instrument.symbol, side, position_side)
            case Refusal.CALLBACK_RATE:
                return VenueError(51311, "0.001", "1")
            case _:
                return VenueError(51000, refused.reason.value)

    def _over_tier(self, instrument: Instrument) -> VenueError:
        config = self._exchange.config(instrument.symbol)
        most = config.max_notional / instrument.reference / instrument.contract_size
        return VenueError(51004, instrument.symbol, f"{instrument.base}-{instrument.quote}", short(most))

    def _nothing_to_close(
        self, refused: Refused, symbol: str, side: Side | None, position_side: PositionSide
    ) -> VenueError:
        held = self._exchange.position(symbol, position_side).qty
        if held and side is not None and held * side.sign > 0:
            return VenueError(51170)
        return VenueError(51112 if held and "exceeds" in refused.detail else 51169)


def price_limits(instrument: Instrument, mark: Decimal) -> tuple[str, str]:
    """The highest price of a buy and the lowest of a sell, printed."""
    tick = instrument.tick
    highest = mark * instrument.band_up // tick * tick
    lowest = -(-mark * instrument.band_down // tick) * tick
    return short(highest), short(lowest)
