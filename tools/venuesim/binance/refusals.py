"""How neutral refusals of the engine read in this venue's codes and texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

from tools.venuesim.binance.error_texts import TEXTS
from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.formats import short, stripped
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Refusal, Refused, SymbolStatus

_CODES: dict[Refusal, tuple[int, tuple[object, ...]]] = {
    Refusal.UNKNOWN_SYMBOL: (-1121, ()),
    Refusal.UNKNOWN_ORDER: (-2011, ()),
    Refusal.UNKNOWN_CONDITIONAL: (-2011, ()),
    Refusal.CONDITIONAL_TRIGGERING: (-4117, ()),
    Refusal.CLIENT_ID_INVALID: (-4015, ()),
    Refusal.DUPLICATE_CLIENT_ID: (-4116, ()),
    Refusal.QTY_MISSING: (-1102, ("quantity",)),
    Refusal.QTY_NOT_POSITIVE: (-4003, ()),
    Refusal.QTY_MIN: (-4004, ()),
    Refusal.QTY_MAX: (-4005, ()),
    Refusal.QTY_STEP: (-4023, ()),
    Refusal.PRICE_MISSING: (-1102, ("price",)),
    Refusal.PRICE_NOT_POSITIVE: (-4001, ()),
    Refusal.PRICE_MIN: (-4013, ()),
    Refusal.PRICE_MAX: (-4002, ()),
    Refusal.PRICE_TICK: (-4014, ()),
    Refusal.TRIGGER_PRICE_MISSING: (-1102, ("triggerPrice",)),
    Refusal.TRIGGER_PRICE_MIN: (-4006, ()),
    Refusal.TRIGGER_PRICE_MAX: (-4007, ()),
    Refusal.TRIGGER_PRICE_TICK: (-4014, ()),
    Refusal.MARKET_BOUND: (-4131, ()),
    Refusal.CALLBACK_RATE: (-4132, ("sent",)),
    Refusal.ACTIVATION_PRICE: (-4135, ()),
    Refusal.POSITION_SIDE_MISMATCH: (-4061, ()),
    Refusal.REDUCE_ONLY_REJECTED: (-2022, ()),
    Refusal.REDUCE_ONLY_IN_HEDGE: (-1106, ("reduceonly",)),
    Refusal.CLOSE_POSITION_EXISTS: (-4130, ()),
    Refusal.CLOSE_POSITION_WITH_QTY: (-4137, ()),
    Refusal.CLOSE_POSITION_WITH_REDUCE_ONLY: (-4138, ()),
    Refusal.CLOSE_POSITION_OPENS: (-4061, ()),
    Refusal.WOULD_TRIGGER: (-2021, ()),
    Refusal.POST_ONLY_WOULD_TAKE: (-5022, ()),
    Refusal.FOK_NOT_FILLABLE: (-5021, ()),
    Refusal.MAX_ORDERS: (-2025, ()),
    Refusal.MAX_CONDITIONALS: (-4045, ()),
    Refusal.INSUFFICIENT_MARGIN: (-2019, ()),
    Refusal.MAX_POSITION_AT_LEVERAGE: (-2027, ()),
    Refusal.LEVERAGE_TOO_HIGH_FOR_POSITION: (-2027, ()),
    Refusal.LEVERAGE_REDUCTION_ISOLATED: (-4161, ()),
    Refusal.LEVERAGE_MARGIN: (-2028, ()),
    Refusal.MODE_MULTI_ASSETS: (-4168, ()),
    Refusal.MODE_NEGATIVE_BALANCE: (-4172, ()),
    Refusal.MARGIN_CHANGE_CROSS: (-4049, ()),
    Refusal.MARGIN_CHANGE_NO_POSITION: (-4054, ()),
    Refusal.MARGIN_CHANGE_EXCESSIVE: (-4050, ()),
    Refusal.NOTHING_TO_AMEND: (-5027, ()),
    Refusal.AMEND_NOT_LIMIT: (-5025, ()),
    Refusal.AMENDED_TOO_OFTEN: (-5026, ()),
    Refusal.GOOD_TILL_DATE: (-5040, ()),
    Refusal.LIQUIDATING: (-2023, ()),
    Refusal.NO_PERMISSION: (-2015, ()),
}

# Their text names the bound, which the refusal carries.
_BOUNDS = {Refusal.CONDITIONAL_PRICE_HIGH: -4183, Refusal.CONDITIONAL_PRICE_LOW: -4184}
_PRICED_CODES = {-4016: Refusal.PRICE_BAND_HIGH, -4024: Refusal.PRICE_BAND_LOW, -4164: Refusal.MIN_NOTIONAL}
_REFUSED = -2010


def translate(
    refused: Refused, exchange: Exchange, symbol: str | None, overrides: Mapping[Refusal, int] | None = None
) -> VenueError:
    """The venue's error for a refusal; `overrides` holds codes that depend on the endpoint (-2011 or -2013)."""
    reason = refused.reason
    if overrides and reason in overrides:
        return VenueError(overrides[reason])
    if reason is Refusal.INJECTED:
        return _injected(refused.code, exchange, symbol)
    if reason in _BOUNDS:
        return VenueError(_BOUNDS[reason], stripped(Decimal(refused.detail or "0").normalize()))
    if reason in _CODES:
        code, details = _CODES[reason]
        return VenueError(code, *details)
    if symbol is not None:
        return _priced(reason, exchange, symbol) or VenueError(-1000)
    return VenueError(-1000)


@contextmanager
def venue_terms(
    exchange: Exchange, symbol: str | None, overrides: Mapping[Refusal, int] | None = None
) -> Iterator[None]:
    """What the engine refuses inside is raised as the venue's error."""
    try:
        yield
    except Refused as refused:
        raise translate(refused, exchange, symbol, overrides) from refused


def _priced(reason: Refusal, exchange: Exchange, symbol: str) -> VenueError | None:
    instrument = exchange.instrument(symbol)
    mark = exchange.quote(symbol).mark
    match reason:
        case Refusal.PRICE_BAND_HIGH:
            return VenueError(-4016, stripped((mark * instrument.band_up).quantize(instrument.tick)))
        case Refusal.PRICE_BAND_LOW:
            return VenueError(-4024, stripped((mark * instrument.band_down).quantize(instrument.tick)))
        case Refusal.MIN_NOTIONAL:
            return VenueError(-4164, short(instrument.min_notional))
        case Refusal.SYMBOL_NOT_TRADING:
            return VenueError(-4141 if instrument.status is SymbolStatus.CLOSED else -4140)
        case _:
            return None


def _injected(sent: int | str | None, exchange: Exchange, symbol: str | None) -> VenueError:
    """A prescribed code with the venue's text. Without one -2010: a refusal that leaves nothing unknown."""
    code = int(sent) if sent is not None and str(sent).lstrip("-").isdecimal() else _REFUSED
    priced = _PRICED_CODES.get(code)
    if priced is not None and symbol is not None and (error := _priced(priced, exchange, symbol)) is not None:
        return error
    text = TEXTS.get(code, TEXTS[_REFUSED])
    return VenueError(code, text=text if "{" not in text else text.replace("{}", "?"))
