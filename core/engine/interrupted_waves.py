"""Waves in which a run ended: closed at the next start, each signal with what became of it.

They are not gone on with. A signal is an opinion of its moment; what was sent of it is told by the venue, and what was
not sent is not sent later. Without this a crash would leave signals without a verdict for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from core.domain.alerts import AlertKind
from core.domain.ids import ClientOrderId
from core.domain.money import ZERO, plain
from core.domain.order import UNACKNOWLEDGED
from core.domain.verdict import Reason
from core.engine.ports import AuditLog, Level, Notifier
from core.engine.records import Journal, JournalState, SignalMark, WaveMark
from core.engine.state import StateView

_ENDED = "the program ended"


class Closed(NamedTuple):
    """What is to be journaled of them, and how many signals came to what."""

    marks: tuple[SignalMark | WaveMark, ...]
    counts: Counter[str]


def end_interrupted(
    held: JournalState, state: StateView, journal: Journal, audit: AuditLog, notifier: Notifier, now_ms: int
) -> None:
    """Closes those of `held` and says so, once the venues have told what became of their entries."""
    closed = close_waves(held.unfinished_waves, held.undecided, state, now_ms)
    if closed.marks:
        journal.append_nowait(closed.marks)
        audit.record("waves_interrupted", {"waves": list(held.unfinished_waves), **closed.counts})
        told = ", ".join(f"{number} {what}" for what, number in sorted(closed.counts.items()))
        notifier.notify(
            Level.WARNING, f"the last run ended in a wave: {told or 'it held nothing new'}", kind=AlertKind.START
        )


def close_waves(waves: Iterable[str], undecided: Sequence[SignalMark], state: StateView, now_ms: int) -> Closed:
    """`undecided`: their signals without a verdict. `values` name the last entry of each, if it had one ("entry"), and
    what that had bought by the journal ("bought", base units).
    """
    marks: list[SignalMark | WaveMark] = []
    counts: Counter[str] = Counter()
    for wave_id in waves:
        own = [_judged(mark, state) for mark in undecided if mark.wave_id == wave_id]
        came_to = Counter(mark.code or "entered" for mark in own)
        counts += came_to
        # Only the end is new: source and time of what the journal has already are kept by it.
        end = WaveMark(wave_id=wave_id, source="", received_ms=now_ms, finished_ms=now_ms, counts=dict(came_to))
        marks += [*own, end]
    return Closed(tuple(marks), counts)


def _judged(mark: SignalMark, state: StateView) -> SignalMark:
    entry = mark.values.get("entry")
    if entry is None:
        detail = f"{_ENDED} before it was decided; it is not traded any more"
        return replace(mark, code=Reason.INTERRUPTED.value, detail=detail, values={})
    order = state.order(ClientOrderId(entry))
    if order is not None and order.status in UNACKNOWLEDGED:
        became = "has not been told by the venue yet"
    else:
        bought = Decimal(mark.values["bought"]) if order is None else order.filled
        if bought == ZERO:
            detail = f"{_ENDED} with its entry under way, which bought nothing"
            return replace(mark, code=Reason.INTERRUPTED.value, detail=detail)
        became = f"has bought {plain(bought)}"
    return replace(mark, detail=f"{_ENDED} before its wave was told; its entry {became}")
