"""A signal of the outside world -> `Signal`, or `Unusable` with the reason. Nothing missing is defaulted (SIG-09)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct

from core.domain.ids import InstrumentId, SignalId, Symbol, VenueName
from core.domain.signal import Side, Signal, Unusable
from core.domain.symbols import SymbolAmbiguous
from core.domain.verdict import Reason
from core.signals.fields import (
    MAX_TEXT,
    FieldRefused,
    features_of,
    parameters_of,
    price_of,
    refuse,
    score_of,
    shown,
    side_of,
    text_of,
    time_of,
)

FUTURE_TOLERANCE_MS = 60_000
_EXCHANGE_IDS = {1: VenueName.BINANCE, 2: VenueName.BYBIT, 3: VenueName.OKX}


class SignalReader(Struct, frozen=True, kw_only=True):
    """How this daemon reads signals of one source. `resolve` maps a venue and any spelling of a symbol to the unified
    form, None when that venue lists no such swap; it raises SymbolAmbiguous. `near` names a swap of the same coin in
    other units, for the sentence."""

    source: str
    ttl_ms: int
    venues: tuple[VenueName, ...]
    default_venue: VenueName | None
    resolve: Callable[[VenueName, str], Symbol | None]
    near: Callable[[VenueName, str], Symbol | None] = lambda _venue, _spelling: None

    def read(self, raw: object, now_ms: int) -> Signal | Unusable:
        """`now_ms` UTC ms at receipt."""
        if not isinstance(raw, Mapping):
            return self._unusable({}, Reason.MALFORMED, "a signal is not an object")
        try:
            return self._read(raw, now_ms)
        except FieldRefused as why:
            return self._unusable(raw, why.reason, why.detail)

    def _read(self, raw: Mapping[str, Any], now_ms: int) -> Signal:
        venue = self._venue(raw)
        spelling = text_of(raw, "pair_symbol")
        side = side_of(raw)
        event_ms = time_of(raw, "timestamp")
        created_ms = time_of(raw, "created_at") if raw.get("created_at") is not None else event_ms
        if max(event_ms, created_ms) > now_ms + FUTURE_TOLERANCE_MS:
            refuse(Reason.TIME_INVALID, "its time is in the future")
        symbol = self._symbol(venue, spelling)
        return Signal(
            id=_identity(raw, self.source, venue, symbol, side, event_ms),
            source=self.source,
            instrument=InstrumentId(venue, symbol),
            side=side,
            score=score_of(raw),
            event_time_ms=event_ms,
            expires_at_ms=created_ms + self.ttl_ms,
            parameters=parameters_of(raw),
            price=price_of(raw),
            features=features_of(raw),
        )

    def _symbol(self, venue: VenueName, spelling: str) -> Symbol:
        try:
            symbol = self.resolve(venue, spelling)
        except SymbolAmbiguous as error:
            raise FieldRefused(Reason.SYMBOL_AMBIGUOUS, f"on {venue} {error}") from None
        if symbol is not None:
            return symbol
        near = self.near(venue, spelling)
        hint = "" if near is None else f"; {near} is another unit of it"
        raise FieldRefused(Reason.SYMBOL_UNKNOWN, f"{venue} lists no linear perpetual {spelling}{hint}")

    def _venue(self, raw: Mapping[str, Any]) -> VenueName:
        named: set[VenueName] = set()
        if (number := raw.get("exchange_id")) is not None:
            if isinstance(number, bool) or not isinstance(number, int) or number not in _EXCHANGE_IDS:
                refuse(Reason.VENUE_UNKNOWN, f"exchange_id {shown(number)} is not a venue")
            named.add(_EXCHANGE_IDS[number])
        if raw.get("exchange") is not None:
            name = text_of(raw, "exchange").lower()
            if name not in set(VenueName):
                refuse(Reason.VENUE_UNKNOWN, f"exchange {name} is not a venue")
            named.add(VenueName(name))
        if len(named) > 1:
            refuse(Reason.VENUE_CONFLICT, "exchange and exchange_id name different venues")
        if named:
            return named.pop()
        if self.default_venue is not None:
            return self.default_venue
        if len(self.venues) == 1:
            return self.venues[0]
        raise FieldRefused(Reason.VENUE_MISSING, "it names no venue, and several are configured (DEFAULT_EXCHANGE)")

    def _unusable(self, raw: Mapping[str, Any], reason: Reason, detail: str) -> Unusable:
        return Unusable(
            id=SignalId(shown(raw.get("id", "?"))),
            source=self.source,
            code=reason.value,
            detail=detail,
            symbol=shown(raw.get("pair_symbol", "?")),
        )


def _identity(
    raw: Mapping[str, Any], source: str, venue: VenueName, symbol: Symbol, side: Side, event_ms: int
) -> SignalId:
    value = raw.get("id")
    if value is None:
        facts = "\x1f".join((source, venue, symbol, side, str(event_ms)))
        return SignalId(sha256(facts.encode()).hexdigest()[:32])
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        refuse(Reason.MALFORMED, "id: must be a short printable text or a whole number")
    return SignalId(text)
