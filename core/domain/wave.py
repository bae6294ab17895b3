"""A wave: signals that are decided together. Ranking and slots are plain, deterministic functions."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from core.domain.gate import Gate, first_refusal
from core.domain.ids import ClientOrderId, InstrumentId, WaveId
from core.domain.money import Price, Quantity
from core.domain.signal import Signal, Unusable
from core.domain.sizing import Sized
from core.domain.verdict import Denied, Reason


class Wave(Struct, frozen=True, kw_only=True):
    """`received_ms` is when the first of its signals arrived, UTC ms."""

    id: WaveId
    source: str
    received_ms: int
    signals: tuple[Signal, ...]
    unusable: tuple[Unusable, ...] = ()


class Candidate(Struct, frozen=True, kw_only=True):
    """A signal that passed every filter of its own venue, with its size at the price that was looked at.

    `attempt` 1 is the one repetition after the venue's rules turned out to have changed (VAL-20).
    """

    signal: Signal
    price: Price
    size: Sized
    gates: tuple[Gate, ...] = ()
    attempt: int = 0


class TurnedDown(Struct, frozen=True, kw_only=True):
    """A signal with a gate against it."""

    signal: Signal
    gates: tuple[Gate, ...]

    @property
    def denied(self) -> Denied | None:
        return first_refusal(self.gates)


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best score first; ties by signal id, so that the same wave is always decided the same way (SIG-03)."""
    return sorted(candidates, key=lambda c: (-c.signal.score, c.signal.id))


class LegState(StrEnum):
    """Where one signal's order stands in its wave."""

    REFUSED = "refused"
    WORKING = "working"
    UNKNOWN = "unknown"
    UNPROTECTED = "unprotected"
    PROTECTED = "protected"
    FLATTENED = "flattened"


class Leg(Struct, frozen=True, kw_only=True):
    """One row of the wave report. Prices per base unit, quantity base units, milliseconds by the venue's own stamps."""

    signal: Signal
    state: LegState
    denied: Denied | None = None
    client_order_id: ClientOrderId | None = None
    quantity: Quantity | None = None
    fill_price: Price | None = None
    stop_price: Price | None = None
    unprotected_ms: int | None = None
    gates: tuple[Gate, ...] = ()

    @property
    def instrument(self) -> InstrumentId:
        return self.signal.instrument


class StageTimes(Struct, frozen=True, kw_only=True):
    """Milliseconds since the first frame of the wave, this host's clock; None = the stage was not reached."""

    prefetched: float | None = None
    validated: float | None = None
    allocated: float | None = None
    journaled: float | None = None
    acknowledged: float | None = None
    protected: float | None = None

    def took_ms(self, start: str, end: str) -> float:
        """From one stage to another; 0 where one was not reached."""
        first, last = getattr(self, start), getattr(self, end)
        return 0 if first is None or last is None else round(last - first, 1)


class WaveReport(Struct, frozen=True, kw_only=True):
    wave_id: WaveId
    source: str
    received_ms: int
    legs: tuple[Leg, ...]
    unusable: tuple[Unusable, ...]
    stages: StageTimes

    @property
    def settled(self) -> bool:
        """Whether nothing of the wave is undecided or unprotected."""
        return all(leg.state not in (LegState.WORKING, LegState.UNKNOWN, LegState.UNPROTECTED) for leg in self.legs)

    @property
    def only_late(self) -> bool:
        """Whether it holds nothing but signals that came after their wave was closed."""
        return not self.legs and all(unusable.code == Reason.WAVE_CLOSED for unusable in self.unusable)
