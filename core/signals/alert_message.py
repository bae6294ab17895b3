"""A message posted to the webhook -> raw signals in the form of the signal server, which `SignalReader` then bounds.

Names of TradingView's alerts are understood beside our own: `ticker` (`BINANCE:BTCUSDT.P`), `action`, `time`, `price`,
`score`. Nothing is guessed: what is missing stays missing, and what says two different things is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from core.domain.verdict import Reason
from core.errors import MalformedPayload
from core.signals.fields import refuse, shown, text_of

MOST_TOGETHER = 100
"""Signals of one message."""
SECRETS = ("token", "secret")
_SYMBOLS = ("pair_symbol", "ticker", "symbol")
_ACTIONS = ("buy", "sell", "long", "short")
_CLOSES_A_PART = frozenset({("buy", "short"), ("long", "short"), ("sell", "long"), ("short", "long")})
"""TradingView's order and what its strategy still holds afterwards."""
_ALIASES: Mapping[str, Sequence[str]] = {
    "timestamp": ("time", "timenow"),
    "price": ("close",),
    "total_score": ("score",),
    "id": ("alert_id",),
    "recommended_action": ("action",),
}
_PERPETUAL = ".P"
"""TradingView's mark of a perpetual, behind the symbol."""


class Posted(Struct, frozen=True):
    """One message: what it says of itself, and its signals as they came, without secrets."""

    token: str | None
    signals: tuple[Mapping[str, Any], ...]


def taken_apart(frame: Mapping[str, Any]) -> Posted:
    """One signal, or several as the list `signals`. Raises MalformedPayload."""
    token = _token(frame)
    rest = {name: value for name, value in frame.items() if name not in SECRETS}
    if "signals" not in rest:
        return Posted(token, (rest,))
    listed = rest.pop("signals")
    if rest:
        raise MalformedPayload("message", f"beside signals it has {shown(min(rest))}")
    if not isinstance(listed, list) or not listed or len(listed) > MOST_TOGETHER:
        raise MalformedPayload("message", f"signals: must be a list of 1 to {MOST_TOGETHER} signals")
    if any(not isinstance(one, dict) for one in listed):
        raise MalformedPayload("message", "signals: a signal is not an object")
    return Posted(token, tuple(listed))


def _token(frame: Mapping[str, Any]) -> str | None:
    given = [frame[name] for name in SECRETS if name in frame]
    return given[0] if len(given) == 1 and isinstance(given[0], str) else None


def in_our_form(posted: Mapping[str, Any], default_score: str) -> dict[str, Any]:
    """Raises FieldRefused for what contradicts itself, and for an order that closes: exits are decided here."""
    _check_position(posted)
    raw = {name: value for name, value in posted.items() if name not in _OTHER_NAMES}
    for ours, theirs in _ALIASES.items():
        told = [name for name in (ours, *theirs) if posted.get(name) is not None]
        if told == ["time", "timenow"]:
            told = ["timenow"]  # the bar's time and that of the alert: an alert of TradingView may tell both
        if len({repr(posted[name]) for name in told}) > 1:
            refuse(Reason.MALFORMED, f"{' and '.join(told)}: say the same thing differently")
        if told:
            raw[ours] = posted[told[0]]
    if all(raw.get(name) is None for name in ("total_score", "score_week", "score_month")):
        raw["total_score"] = default_score
    if raw.get("timestamp") is None:
        refuse(Reason.TIME_INVALID, "time: missing; in an alert of TradingView it is {{timenow}}")
    _check_action(posted, raw)
    _name_instrument(posted, raw)
    return raw


def _check_position(posted: Mapping[str, Any]) -> None:
    """What the strategy holds after its order: nothing, or still the other side, is an order that closes."""
    left = shown(posted.get("market_position", "")).strip().lower()
    if left == "flat":
        refuse(Reason.SIDE_MISSING, "market_position: flat closes a position; this only opens, exits are decided here")
    action = shown(posted.get("action", "")).strip().lower()
    if (action, left) in _CLOSES_A_PART:
        why = f"{action} with {left} left closes a part; this only opens, exits are decided here"
        refuse(Reason.SIDE_MISSING, f"market_position: {why}")


def _check_action(posted: Mapping[str, Any], raw: Mapping[str, Any]) -> None:
    if raw.get("direction") is None and raw.get("recommended_action") is None:
        refuse(Reason.SIDE_MISSING, "action: missing; buy or sell")
    action = posted.get("action")
    if action is not None and shown(action).strip().lower() not in _ACTIONS:
        refuse(Reason.SIDE_MISSING, "action: must be buy or sell, long or short; exits are decided here")


def symbol_told(posted: Mapping[str, Any]) -> str:
    """Of a message that cannot be used: what people will look for."""
    told = (posted[name] for name in _SYMBOLS if isinstance(posted.get(name), str))
    return shown(_venue_and_symbol(next(told, "?"))[1])


def _venue_and_symbol(text: str) -> tuple[str, str]:
    """`BINANCE:BTCUSDT.P` taken apart; ccxt's unified form has a colon of its own and stays whole."""
    venue, _, symbol = ("", "", text) if "/" in text or ":" not in text else text.partition(":")
    return venue, symbol[: -len(_PERPETUAL)] if symbol.upper().endswith(_PERPETUAL) else symbol


def _name_instrument(posted: Mapping[str, Any], raw: dict[str, Any]) -> None:
    told = [name for name in _SYMBOLS if posted.get(name) is not None]
    if not told:
        refuse(Reason.MALFORMED, "ticker: missing")
    if len({repr(posted[name]) for name in told}) > 1:
        refuse(Reason.MALFORMED, f"{' and '.join(told)}: name different symbols")
    text = text_of(posted, told[0])
    venue, raw["pair_symbol"] = _venue_and_symbol(text)
    if not venue:
        return
    if posted.get("exchange") is not None and text_of(posted, "exchange").lower() != venue.lower():
        refuse(Reason.VENUE_CONFLICT, f"exchange and {told[0]} name different venues")
    raw["exchange"] = venue


_OTHER_NAMES = frozenset({name for names in _ALIASES.values() for name in names} | {"ticker", "symbol"})
