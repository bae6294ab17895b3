"""The gates a signal passes at its own venue, before its size is asked for. Pure: facts in, answered gates out.

Every gate is asked, also after a refusal, so that `why` can show them all; the first refusal in this order decides.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from msgspec import Struct

from core.domain.gate import Gate, passed, refused
from core.domain.ids import Asset
from core.domain.instrument import Instrument
from core.domain.liquidity import Activity, LiquidityRules, liquidity
from core.domain.money import HUNDRED, ZERO, Price, plain
from core.domain.signal import Side, Signal
from core.domain.stop_distance import StopRules, stop_gate
from core.domain.symbol_lists import SymbolLists
from core.domain.verdict import Reason


class ScreeningRules(Struct, frozen=True, kw_only=True):
    """`entry_max_age` seconds a price may be old for an entry; entries never fall back to another source.

    `divergence_warn`, `divergence_refuse` percent between the entry price and the mark. `rules_max_age` seconds since
    the venue's trading rules were loaded. `signal_ttl` seconds.
    """

    quotes: frozenset[Asset]
    min_score: Decimal
    allow_shorts: bool
    lists: SymbolLists
    signal_ttl: int
    entry_max_age: float
    leverage: int
    divergence_warn: Decimal
    divergence_refuse: Decimal
    rules_max_age: float
    liquidity: LiquidityRules
    stop: StopRules


class Facts(Struct, frozen=True, kw_only=True):
    """What the signal's venue knows about its symbol at the moment of decision.

    `price` is what an entry would pay, None = no live price; `price_age` seconds since received. `touch` bid and ask.
    `leverage` None = not confirmed, `leverage_trouble` why it could not be, for people. `rules_age` seconds since the
    venue's trading rules were loaded.
    """

    instrument: Instrument | None
    price: Price | None
    price_age: float | None
    mark: Price | None
    touch: tuple[Price, Price] | None
    has_position: bool
    has_pending_order: bool
    leverage: int | None
    activity: Activity
    rules_age: float
    now_ms: int
    leverage_trouble: str = ""


def screen(signal: Signal, facts: Facts, rules: ScreeningRules) -> tuple[Gate, ...]:
    """Every gate with its answer, cheapest and most permanent first. An unlisted symbol is asked nothing more."""
    own = (_expiry(signal, facts, rules), _score(signal, rules), _side(signal, rules))
    if facts.instrument is None:
        symbol = signal.instrument.symbol
        what = f"{signal.instrument.venue} lists no linear perpetual {symbol}"
        return (*own, refused("symbol", Reason.SYMBOL_UNKNOWN, what, value=symbol, limit="listed"))
    return (
        *own,
        passed("symbol", facts.instrument.venue_symbol, "listed"),
        _quote_coin(facts.instrument, rules),
        _stoplist(signal, facts.instrument, rules),
        _allowlist(signal, facts.instrument, rules),
        _status(signal, facts.instrument),
        _rules_age(facts, rules),
        _position(signal, facts),
        _pending(signal, facts),
        _price(facts, rules),
        _divergence(signal, facts, rules),
        *liquidity(signal.side, facts.mark, facts.touch, facts.activity, rules.liquidity),
        _leverage(facts, rules),
        stop_gate(signal.parameters.stop_loss_percent, facts.touch, rules.stop),
    )


def _expiry(signal: Signal, facts: Facts, rules: ScreeningRules) -> Gate:
    """A strategy's signal ends with the candle after its own at the latest, whatever is configured."""
    left, ttl = signal.expires_at_ms - facts.now_ms, f"SIGNAL_TTL_SECONDS={rules.signal_ttl}"
    shorter = signal.expires_at_ms - signal.event_time_ms < rules.signal_ttl * 1000
    limit = f"the next candle close, at most {ttl}" if shorter else ttl
    if left > 0:
        return passed("expiry", f"{left} ms left", limit)
    detail = f"expired {-left} ms ago"
    figures = {"SIGNAL_TTL_SECONDS": rules.signal_ttl, "expires_at_ms": signal.expires_at_ms}
    return refused("expiry", Reason.EXPIRED, detail, value=detail, limit=limit, **figures)


def _score(signal: Signal, rules: ScreeningRules) -> Gate:
    score, least = plain(signal.score), plain(rules.min_score)
    if signal.score >= rules.min_score:
        return passed("score", score, f"MIN_SIGNAL_SCORE={least}")
    detail = f"score {score} is below the minimum"
    limit = f"MIN_SIGNAL_SCORE={least}"
    return refused("score", Reason.SCORE_TOO_LOW, detail, value=score, limit=limit, MIN_SIGNAL_SCORE=least, score=score)


def _side(signal: Signal, rules: ScreeningRules) -> Gate:
    if signal.side is Side.BUY or rules.allow_shorts:
        return passed("side", signal.side.value, f"ALLOW_SHORTS={str(rules.allow_shorts).lower()}")
    what = "shorts are switched off"
    return refused("side", Reason.SHORTS_OFF, what, value="sell", limit="ALLOW_SHORTS=false", ALLOW_SHORTS="false")


def enterable(instrument: Instrument, quotes: Collection[str], lists: SymbolLists) -> bool:
    """Whether anything at all is read, set or subscribed for entering it (VAL-17)."""
    return instrument.quote in quotes and not lists.stopped_by(instrument) and lists.allows(instrument)


def _quote_coin(instrument: Instrument, rules: ScreeningRules) -> Gate:
    enabled = ",".join(sorted(rules.quotes))
    if instrument.quote in rules.quotes:
        return passed("quote_coin", instrument.quote, f"QUOTE_COIN={enabled}")
    detail = f"{instrument.quote} is not among the enabled quote coins"
    limit = f"QUOTE_COIN={enabled}"
    return refused(
        "quote_coin", Reason.QUOTE_NOT_ENABLED, detail, value=instrument.quote, limit=limit, QUOTE_COIN=enabled
    )


def _stoplist(signal: Signal, instrument: Instrument, rules: ScreeningRules) -> Gate:
    if not (written := rules.lists.stopped_by(instrument)):
        return passed("stoplist", "not listed", "STOPLIST_SYMBOLS")
    detail, entry = f"{signal.instrument.symbol} is on the stop-list", ",".join(written)
    limit = f"STOPLIST_SYMBOLS={entry}"
    return refused("stoplist", Reason.STOPLISTED, detail, value="listed", limit=limit, STOPLIST_SYMBOLS=entry)


def _allowlist(signal: Signal, instrument: Instrument, rules: ScreeningRules) -> Gate:
    limit = f"ALLOWLIST_SYMBOLS={','.join(sorted(rules.lists.allow))}"
    if rules.lists.allows(instrument):
        return passed("allowlist", "listed" if rules.lists.allow else "no list", limit)
    detail = f"{signal.instrument.symbol} is not on the allow-list"
    return refused(
        "allowlist",
        Reason.NOT_ALLOWLISTED,
        detail,
        value="not listed",
        limit=limit,
        ALLOWLIST_SYMBOLS=",".join(sorted(rules.lists.allow)),
    )


def _status(signal: Signal, instrument: Instrument) -> Gate:
    status = instrument.status or ("trading" if instrument.tradable else "not trading")
    if instrument.tradable:
        return passed("status", status)
    detail = f"{signal.instrument.symbol} is not open for trading at the venue ({status})"
    return refused("status", Reason.SYMBOL_NOT_TRADING, detail, value=status, limit="open for trading", status=status)


def _rules_age(facts: Facts, rules: ScreeningRules) -> Gate:
    age, most = f"{facts.rules_age:.0f} s", f"at most {rules.rules_max_age:.0f} s"
    if facts.rules_age <= rules.rules_max_age:
        return passed("rules_age", age, most)
    detail = f"the venue's trading rules were loaded {age} ago and could not be loaded anew"
    return refused("rules_age", Reason.RULES_STALE, detail, value=age, limit=most, age=age, most=most)


def _position(signal: Signal, facts: Facts) -> Gate:
    if not facts.has_position:
        return passed("position", "none", "none")
    detail = f"a position in {signal.instrument} is open"
    return refused("position", Reason.DUPLICATE_POSITION, detail, value="open", limit="none")


def _pending(signal: Signal, facts: Facts) -> Gate:
    if not facts.has_pending_order:
        return passed("pending_order", "none", "none")
    detail = f"an order in {signal.instrument} is open or in flight"
    return refused("pending_order", Reason.PENDING_ORDER, detail, value="open or in flight", limit="none")


def _price(facts: Facts, rules: ScreeningRules) -> Gate:
    limit = f"at most {rules.entry_max_age:g} s old"
    if facts.price is None or facts.price_age is None:
        return refused("price", Reason.NO_PRICE, "no live price has been received", value="missing", limit=limit)
    value = f"{plain(facts.price)}, {facts.price_age:.1f} s old"
    if facts.price_age <= rules.entry_max_age:
        return passed("price", value, limit)
    detail = f"the live price is {facts.price_age:.1f} s old"
    figures = {"limit_s": rules.entry_max_age, "age_s": round(facts.price_age, 3)}
    return refused("price", Reason.STALE_PRICE, detail, value=value, limit=limit, **figures)


def _divergence(signal: Signal, facts: Facts, rules: ScreeningRules) -> Gate:
    """The price we would pay, and the one the signal's maker saw, against the mark (VAL-15)."""
    limit = f"PRICE_DIVERGENCE_REFUSE_PERCENT={plain(rules.divergence_refuse)}"
    if facts.mark is None or facts.price is None:
        what = "there is no mark price to compare with"
        return refused("divergence", Reason.NO_PRICE, what, value="missing", limit=limit)
    seen = [price for price in (facts.price, signal.price) if price is not None]
    apart = max(abs(price / facts.mark - 1) * HUNDRED for price in seen)
    shown = f"{plain(round(apart, 3))} %"
    if apart > rules.divergence_refuse:
        detail = f"the price is {shown} away from the mark {plain(facts.mark)}"
        named = {"PRICE_DIVERGENCE_REFUSE_PERCENT": plain(rules.divergence_refuse), "mark": plain(facts.mark)}
        return refused("divergence", Reason.PRICE_DIVERGES, detail, value=shown, limit=limit, **named)
    warned = f"more than PRICE_DIVERGENCE_WARN_PERCENT={plain(rules.divergence_warn)}"
    return passed("divergence", shown, limit, note=warned if apart > rules.divergence_warn > ZERO else "")


def _leverage(facts: Facts, rules: ScreeningRules) -> Gate:
    known = "unknown" if facts.leverage is None else str(facts.leverage)
    if facts.leverage == rules.leverage:
        return passed("leverage", known, f"LEVERAGE={rules.leverage}")
    detail = f"the venue's leverage is {known}, not confirmed as {rules.leverage}"
    if facts.leverage_trouble:
        detail += f": {facts.leverage_trouble}"
    named: dict[str, object] = {"LEVERAGE": rules.leverage, "at_venue": known}
    return refused(
        "leverage", Reason.LEVERAGE_UNCONFIRMED, detail, value=known, limit=f"LEVERAGE={rules.leverage}", **named
    )
