"""One picture of one swap's prices: where they come from, how old they are, what that age is good enough for."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from core.domain.ids import InstrumentId
from core.domain.money import Price


class PriceSource(StrEnum):
    """The levels of the fallback chain, best first."""

    WEBSOCKET = "websocket"
    CANDLE = "candle"
    """The close of the last closed one-minute candle; its age counts from the end of that minute."""
    REST = "rest"


class Purpose(StrEnum):
    """What a price is wanted for; each has an age beyond which the price is none (MKT-06, TRL-07)."""

    ENTRY = "entry"
    """Never anything but the live stream."""
    EXIT = "exit"
    CRITICAL = "critical"
    MONITORING = "monitoring"


class PriceKind(StrEnum):
    """Which price of a swap exits and trailing go by."""

    MARK = "mark"
    TRADES = "trades"


class Snapshot(Struct, frozen=True):
    """What was known at one moment; it never changes afterwards, and a decision reads one of them (MKT-10, MKT-08).

    Prices in quote coin, each of its own kind and None where it is not known: what a candle or a ticker does not tell
    is not filled up from elsewhere. `age_ms` counts from when it was received, for a candle from its end.
    `venue_time_ms` UTC. `version` grows with every change of this instrument.
    """

    instrument: InstrumentId
    source: PriceSource
    mark: Price | None
    bid: Price | None
    ask: Price | None
    last: Price | None
    venue_time_ms: int
    age_ms: int
    version: int

    def price(self, kind: PriceKind) -> Price | None:
        """What exits go by; of a candle its close is all there is, whatever kind is asked for."""
        if kind is PriceKind.MARK:
            return self.mark if self.mark is not None else self.last
        return self.last if self.last is not None else self.mark


class AgeLimits(Struct, frozen=True, kw_only=True):
    """Milliseconds by purpose for one instrument, as widened by the pace of its own ticks."""

    entry: int = 3_000
    exit: int = 5_000
    critical: int = 10_000
    monitoring: int = 15_000

    def of(self, purpose: Purpose) -> int:
        match purpose:
            case Purpose.ENTRY:
                return self.entry
            case Purpose.EXIT:
                return self.exit
            case Purpose.CRITICAL:
                return self.critical
            case Purpose.MONITORING:
                return self.monitoring
