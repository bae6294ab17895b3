"""What the engine refuses, in the venue's codes and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools.venuesim.bybit.error_texts import TEXTS
from tools.venuesim.bybit.errors import VenueError, worded
from tools.venuesim.bybit.market_frames import short
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Refusal, Refused, SymbolStatus

_DEFAULT_REFUSAL = 110007
"""What an injected refusal says unless it names a code: an order that surely was not placed."""
_PARAMETER = 10001
_CODES: Mapping[Refusal, int] = {
    Refusal.UNKNOWN_ORDER: 110001,
    Refusal.UNKNOWN_CONDITIONAL: 110001,
    Refusal.CONDITIONAL_TRIGGERING: 110079,
    Refusal.DUPLICATE_CLIENT_ID: 110072,
    Refusal.PRICE_MIN: 110003,
    Refusal.PRICE_MAX: 110003,
    Refusal.PRICE_BAND_HIGH: 110121,
    Refusal.PRICE_BAND_LOW: 110120,
    Refusal.CONDITIONAL_PRICE_HIGH: 110003,
    Refusal.CONDITIONAL_PRICE_LOW: 110003,
    Refusal.MARKET_BOUND: 110118,
    Refusal.REDUCE_ONLY_REJECTED: 110017,
    Refusal.MAX_ORDERS: 110020,
    Refusal.MAX_CONDITIONALS: 110009,
    Refusal.MAX_ATTACHED: 110061,
    Refusal.ATTACHED_EXISTS: 110059,
    Refusal.INSUFFICIENT_MARGIN: 110007,
    Refusal.LEVERAGE_INVALID: 110013,
    Refusal.LEVERAGE_TOO_HIGH_FOR_POSITION: 110013,
    Refusal.LEVERAGE_REDUCTION_ISOLATED: 110006,
    Refusal.LEVERAGE_MARGIN: 110044,
    Refusal.MODE_UNCHANGED: 110025,
    Refusal.MODE_HAS_ORDERS: 110028,
    Refusal.MODE_HAS_POSITION: 110024,
    Refusal.MARGIN_CHANGE_CROSS: 110015,
    Refusal.MARGIN_CHANGE_NO_POSITION: 110033,
    Refusal.MARGIN_CHANGE_EXCESSIVE: 110014,
    Refusal.AMEND_NOT_LIMIT: 110032,
    Refusal.LIQUIDATING: 110005,
    Refusal.NO_PERMISSION: 10005,
}
_PARAMETER_TEXTS: Mapping[Refusal, str] = {
    Refusal.QTY_MISSING: "Qty invalid",
    Refusal.QTY_NOT_POSITIVE: "Qty invalid",
    Refusal.QTY_STEP: "Qty invalid",
    Refusal.QTY_MIN: "The number of contracts exceeds minimum limit allowed: too small",
    Refusal.QTY_MAX: "The number of contracts exceeds maximum limit allowed: too large",
    Refusal.PRICE_MISSING: "Price invalid",
    Refusal.PRICE_NOT_POSITIVE: "Price invalid",
    Refusal.PRICE_TICK: "Price invalid",
    Refusal.TRIGGER_PRICE_MISSING: "Trigger price invalid",
    Refusal.TRIGGER_PRICE_MIN: "Trigger price invalid",
    Refusal.TRIGGER_PRICE_MAX: "Trigger price invalid",
    Refusal.TRIGGER_PRICE_TICK: "Trigger price invalid",
    Refusal.CLIENT_ID_INVALID: "OrderLinkId invalid",
    Refusal.POSITION_SIDE_MISMATCH: "position idx not match position mode",
    Refusal.CALLBACK_RATE: "trailingStop invalid",
    Refusal.ACTIVATION_PRICE: "activePrice invalid",
    Refusal.ATTACHED_ON_CLOSING: "reduce-only order can not contain TP/SL",
    Refusal.ATTACHED_WOULD_TRIGGER: "TP/SL is on the wrong side of the price",
    Refusal.NO_POSITION: "can not set tp/sl/ts for zero position",
    Refusal.NOTHING_TO_AMEND: "order not modified",
    Refusal.NOT_MODIFIED: "order not modified",
    Refusal.AMENDED_TOO_OFTEN: "order modified too often",
}
_STATUS_CODES = {SymbolStatus.HALTED: 110066, SymbolStatus.SETTLING: 110063}
_NOT_LIVE = 110074


def translate(
    refused: Refused, exchange: Exchange, symbol: str | None, overrides: Mapping[Refusal, int] | None = None
) -> VenueError:
    """The venue's error for a refusal; ``overrides`` holds codes that depend on the endpoint."""
    reason = refused.reason
    if overrides and reason in overrides:
        return VenueError(overrides[reason])
    match reason:
        case Refusal.INJECTED:
            return _injected(refused.code)
        case Refusal.UNKNOWN_SYMBOL:
            return VenueError(_PARAMETER, f"params error: symbol invalid {refused.detail}".rstrip())
        case Refusal.UNKNOWN_ORDER | Refusal.UNKNOWN_CONDITIONAL:
            return VenueError(110001, detail="cancel")
        case Refusal.SYMBOL_NOT_TRADING if symbol is not None:
            return VenueError(_STATUS_CODES.get(exchange.instrument(symbol).status, _NOT_LIVE), detail=symbol)
        case Refusal.MIN_NOTIONAL if symbol is not None:
            instrument = exchange.instrument(symbol)
            return VenueError(110094, detail=f"{short(instrument.min_notional)}{instrument.quote}")
        case Refusal.MAX_POSITION_AT_LEVERAGE if symbol is not None:
            return VenueError(110090, detail=max(1, exchange.config(symbol).leverage - 1))
    if reason in _CODES:
        return VenueError(_CODES[reason])
    return VenueError(_PARAMETER, _PARAMETER_TEXTS.get(reason, f"params error: {reason.value}"))


@contextmanager
def venue_terms(
    exchange: Exchange, symbol: str | None, overrides: Mapping[Refusal, int] | None = None
) -> Iterator[None]:
    """What the engine refuses inside is raised as the venue's error."""
    try:
        yield
    except Refused as refused:
        raise translate(refused, exchange, symbol, overrides) from refused


def _injected(sent: int | str | None) -> VenueError:
    text = "" if sent is None else str(sent)
    code = int(text) if text.lstrip("-").isdecimal() else _DEFAULT_REFUSAL
    return VenueError(code, worded(code) if code in TEXTS else f"refused with code {code}")
