"""The filters a signal must pass at its own venue, before its size is asked for. Pure: facts in, first refusal out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from core.domain.ids import Asset, Symbol
from core.domain.instrument import Instrument
from core.domain.money import Price, plain
from core.domain.signal import Side, Signal
from core.domain.verdict import Denied, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningRules:
    """`entry_max_age` seconds a price may be old for an entry; entries never fall back to another source."""

    quotes: frozenset[Asset]
    min_score: Decimal
    allow_shorts: bool
    stoplist: frozenset[str]
    entry_max_age: float
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the signal's venue knows about its symbol at the moment of decision.

    `price` and `price_age` (seconds since received) None = no live price. `leverage` None = not confirmed.
    """

    instrument: Instrument | None
    price: Price | None
    price_age: float | None
    has_position: bool
    has_pending_order: bool
    leverage: int | None
    now_ms: int


def screen(signal: Signal, facts: Facts, rules: ScreeningRules) -> Denied | None:
    """The first reason against the signal, cheapest and most permanent reasons first."""
    for refusal in (_signal_itself(signal, facts, rules), _symbol(signal, facts, rules), _moment(facts, rules)):
        if refusal is not None:
            return refusal
    return None


def _signal_itself(signal: Signal, facts: Facts, rules: ScreeningRules) -> Denied | None:
    if signal.expires_at_ms <= facts.now_ms:
        late = facts.now_ms - signal.expires_at_ms
        return _denied(Reason.EXPIRED, f"expired {late} ms ago", expires_at_ms=signal.expires_at_ms)
    if signal.score < rules.min_score:
        detail = f"score {plain(signal.score)} is below the minimum"
        return _denied(Reason.SCORE_TOO_LOW, detail, MIN_SIGNAL_SCORE=plain(rules.min_score), score=plain(signal.score))
    if signal.side is Side.SELL and not rules.allow_shorts:
        return _denied(Reason.SHORTS_OFF, "shorts are switched off", ALLOW_SHORTS="false")
    return None


def _symbol(signal: Signal, facts: Facts, rules: ScreeningRules) -> Denied | None:
    instrument, symbol = facts.instrument, signal.instrument.symbol
    if instrument is None:
        return _denied(Reason.SYMBOL_UNKNOWN, f"{signal.instrument.venue} lists no linear perpetual {symbol}")
    if instrument.quote not in rules.quotes:
        detail = f"{instrument.quote} is not among the enabled quote coins"
        return _denied(Reason.QUOTE_NOT_ENABLED, detail, QUOTE_COIN=",".join(sorted(rules.quotes)))
    if stoplisted(symbol, instrument.venue_symbol, rules.stoplist):
        return _denied(Reason.STOPLISTED, f"{symbol} is on the stop-list", STOPLIST_SYMBOLS=symbol)
    if not instrument.tradable:
        return _denied(Reason.SYMBOL_NOT_TRADING, f"{symbol} is not open for trading at the venue")
    if facts.has_position:
        return _denied(Reason.DUPLICATE_POSITION, f"a position in {signal.instrument} is open")
    if facts.has_pending_order:
        return _denied(Reason.PENDING_ORDER, f"an order in {signal.instrument} is open or in flight")
    return None


def _moment(facts: Facts, rules: ScreeningRules) -> Denied | None:
    if facts.price is None or facts.price_age is None:
        return _denied(Reason.NO_PRICE, "no live price has been received")
    if facts.price_age > rules.entry_max_age:
        detail = f"the live price is {facts.price_age:.1f} s old"
        return _denied(Reason.STALE_PRICE, detail, limit_s=rules.entry_max_age, age_s=round(facts.price_age, 3))
    if facts.leverage != rules.leverage:
        known = "unknown" if facts.leverage is None else str(facts.leverage)
        detail = f"the venue's leverage is {known}, not confirmed as {rules.leverage}"
        return _denied(Reason.LEVERAGE_UNCONFIRMED, detail, LEVERAGE=rules.leverage, at_venue=known)
    return None


def stoplisted(symbol: Symbol, venue_symbol: str, stoplist: frozenset[str]) -> bool:
    """Users write BTCUSDT, BTC/USDT or BTC/USDT:USDT; all three mean the same."""
    return not stoplist.isdisjoint({symbol, venue_symbol, symbol.partition(":")[0]})


def _denied(reason: Reason, detail: str, **values: object) -> Denied:
    named: Mapping[str, str] = {name: str(value) for name, value in values.items()}
    return Denied(reason=reason, detail=detail, values=named)
