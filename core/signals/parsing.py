"""A signal of the outside world -> `Signal`, or `Unusable` with the reason. Nothing missing is defaulted (SIG-09)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NoReturn

from core.domain.ids import InstrumentId, SignalId, Symbol, VenueName
from core.domain.money import HUNDRED, ZERO, decimal_of
from core.domain.signal import Side, Signal, SignalParameters, Unusable
from core.domain.verdict import Reason
from core.errors import MalformedPayload

MAX_FRAME_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_TEXT = 64
FUTURE_TOLERANCE_MS = 60_000
_EXCHANGE_IDS = {1: VenueName.BINANCE, 2: VenueName.BYBIT, 3: VenueName.OKX}
_SIDES = {"BUY": Side.BUY, "LONG": Side.BUY, "SELL": Side.SELL, "SHORT": Side.SELL}
_EPOCH_MS_FROM = 100_000_000_000
"""An epoch below this is in seconds (it would be the year 1973 in ms)."""


class _Unusable(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReader:
    """How this daemon reads signals of one source. `resolve` maps a venue and any spelling of a symbol to the unified
    form, None when that venue lists no such swap."""

    source: str
    ttl_ms: int
    venues: tuple[VenueName, ...]
    default_venue: VenueName | None
    resolve: Callable[[VenueName, str], Symbol | None]

    def read(self, raw: object, now_ms: int) -> Signal | Unusable:
        """`now_ms` UTC ms at receipt."""
        if not isinstance(raw, Mapping):
            return self._unusable({}, Reason.MALFORMED, "a signal is not an object")
        try:
            return self._read(raw, now_ms)
        except _Unusable as why:
            return self._unusable(raw, why.reason, why.detail)
        except ValueError as error:
            return self._unusable(raw, Reason.MALFORMED, str(error))

    def _read(self, raw: Mapping[str, Any], now_ms: int) -> Signal:
        venue = self._venue(raw)
        spelling = _text(raw, "pair_symbol")
        side = _side(raw)
        event_ms = _time(raw, "timestamp")
        created_ms = _time(raw, "created_at") if raw.get("created_at") is not None else event_ms
        if max(event_ms, created_ms) > now_ms + FUTURE_TOLERANCE_MS:
            _refuse(Reason.MALFORMED, "its time is in the future")
        symbol = self.resolve(venue, spelling)
        if symbol is None:
            _refuse(Reason.SYMBOL_UNKNOWN, f"{venue} lists no linear perpetual {spelling}")
        return Signal(
            id=_identity(raw, self.source, venue, symbol, side, event_ms),
            source=self.source,
            instrument=InstrumentId(venue, symbol),
            side=side,
            score=_score(raw),
            event_time_ms=event_ms,
            expires_at_ms=created_ms + self.ttl_ms,
            parameters=_parameters(raw),
        )

    def _venue(self, raw: Mapping[str, Any]) -> VenueName:
        named: set[VenueName] = set()
        if (number := raw.get("exchange_id")) is not None:
            if isinstance(number, bool) or not isinstance(number, int) or number not in _EXCHANGE_IDS:
                _refuse(Reason.VENUE_UNKNOWN, f"exchange_id {_shown(number)} is not a venue")
            named.add(_EXCHANGE_IDS[number])
        if raw.get("exchange") is not None:
            name = _text(raw, "exchange").lower()
            if name not in set(VenueName):
                _refuse(Reason.VENUE_UNKNOWN, f"exchange {_shown(name)} is not a venue")
            named.add(VenueName(name))
        if len(named) > 1:
            _refuse(Reason.VENUE_CONFLICT, "exchange and exchange_id name different venues")
        if named:
            return named.pop()
        if self.default_venue is not None:
            return self.default_venue
        if len(self.venues) == 1:
            return self.venues[0]
        raise _Unusable(Reason.VENUE_MISSING, "it names no venue, and several are configured (DEFAULT_EXCHANGE)")

    def _unusable(self, raw: Mapping[str, Any], reason: Reason, detail: str) -> Unusable:
        return Unusable(
            id=SignalId(_shown(raw.get("id", "?"))),
            source=self.source,
            code=reason.value,
            detail=detail,
            symbol=_shown(raw.get("pair_symbol", "?")),
        )


def decode_frame(data: bytes) -> Mapping[str, Any]:
    """One JSON object. Raises MalformedPayload for anything else: too large, too deep, NaN, not an object (SIG-15)."""
    if len(data) > MAX_FRAME_BYTES:
        raise MalformedPayload("signal frame", f"{len(data)} bytes, more than {MAX_FRAME_BYTES}")
    try:
        value = json.loads(data, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload("signal frame", f"not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise MalformedPayload("signal frame", "not an object")
    if _too_deep(value):
        raise MalformedPayload("signal frame", f"deeper than {MAX_DEPTH} levels")
    return value


def _too_deep(value: object) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        inside: list[object] = []
        for item in level:
            inside.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        level = inside
    return False


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _side(raw: Mapping[str, Any]) -> Side:
    told = [_text(raw, name).upper() for name in ("direction", "recommended_action") if raw.get(name) is not None]
    sides = {_SIDES.get(word) for word in told}
    if not told or None in sides:
        _refuse(Reason.SIDE_MISSING, "direction must be LONG or SHORT, recommended_action BUY or SELL")
    if len(sides) > 1:
        _refuse(Reason.SIDE_CONFLICT, "direction and recommended_action disagree")
    side = sides.pop()
    if side is None:
        _refuse(Reason.SIDE_MISSING, "no side")
    return side


def _score(raw: Mapping[str, Any]) -> Decimal:
    if raw.get("total_score") is not None:
        return decimal_of(raw["total_score"], "total_score")
    if raw.get("score_week") is None and raw.get("score_month") is None:
        raise ValueError("total_score: missing")
    parts = [decimal_of(raw[name], name) for name in ("score_week", "score_month") if raw.get(name) is not None]
    return sum(parts, ZERO)


def _parameters(raw: Mapping[str, Any]) -> SignalParameters:
    stop, trades = raw.get("stop_loss_filter"), raw.get("max_trades_filter")
    percent = None if stop is None else decimal_of(stop, "stop_loss_filter")
    if percent is not None and not ZERO < percent < HUNDRED:
        raise ValueError("stop_loss_filter: must be above 0 and below 100 percent")
    if trades is not None and (isinstance(trades, bool) or not isinstance(trades, int) or trades < 0):
        raise ValueError("max_trades_filter: must be a whole number from 0")
    return SignalParameters(stop_loss_percent=percent, max_trades=trades)


def _time(raw: Mapping[str, Any], name: str) -> int:
    """UTC ms from ISO text (T or space, Z or offset; without one it is UTC) or from an epoch in s or ms."""
    value = raw.get(name)
    if isinstance(value, str) and len(value) <= MAX_TEXT and not _is_number(value):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{name}: not a time") from None
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    number = decimal_of(value, name)
    if number <= ZERO:
        raise ValueError(f"{name}: not a time")
    return int(number if number >= _EPOCH_MS_FROM else number * 1000)


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name}: must be a short text")
    return value.strip()


def _identity(
    raw: Mapping[str, Any], source: str, venue: VenueName, symbol: Symbol, side: Side, event_ms: int
) -> SignalId:
    value = raw.get("id")
    if isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)) <= MAX_TEXT:
        return SignalId(str(value))
    if value is not None:
        raise ValueError("id: must be a short text or a whole number")
    facts = "\x1f".join((source, venue, symbol, side, str(event_ms)))
    return SignalId(sha256(facts.encode()).hexdigest()[:32])


def _refuse(reason: Reason, detail: str) -> NoReturn:
    raise _Unusable(reason, detail)


def _shown(value: object) -> str:
    """Foreign text for people: short and printable (SEC-09)."""
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_TEXT])
