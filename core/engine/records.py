"""What the journal keeps, and the port it is kept through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from core.domain.exits import ExitState
from core.domain.gate import Gate
from core.domain.ids import ClientOrderId
from core.domain.order import Order, OrderIntent
from core.domain.position import Position
from core.domain.reports import FillReport
from core.domain.signal import Unusable


class WaveMark(Struct, frozen=True, kw_only=True):
    """The wave is being processed; written before anything else of it. `finished_ms` closes its book.

    `stages` are milliseconds since its first frame (None = not reached), `counts` signals by what became of them; both
    are told when it is finished, like the signals that could not be read.
    """

    wave_id: str
    source: str
    received_ms: int
    finished_ms: int | None = None
    stages: Mapping[str, float | None] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    unusable: tuple[Unusable, ...] = ()


class SignalMark(Struct, frozen=True, kw_only=True):
    """Once-only key of a signal and the verdict reached (code "" = accepted; values as a flat text map)."""

    source: str
    signal_id: str
    wave_id: str
    venue: str
    symbol: str
    side: str
    score: str
    code: str
    detail: str
    time_ms: int
    values: Mapping[str, str] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    """Every question that was asked of it, in order (`tools/why.py`)."""


class IntentRecord(Struct, frozen=True, kw_only=True):
    intent: OrderIntent
    time_ms: int


class OrderRecord(Struct, frozen=True, kw_only=True):
    """Latest status of an order; replaces the previous row of the same client order id."""

    order: Order
    time_ms: int


class FillRecord(Struct, frozen=True, kw_only=True):
    fill: FillReport
    time_ms: int


class PositionRecord(Struct, frozen=True, kw_only=True):
    """Latest state of a position; replaces the previous row of the same position id."""

    position: Position
    time_ms: int


class StateRecord(Struct, frozen=True, kw_only=True):
    """One durable key/value: trading state, risk counters. Value is JSON text."""

    key: str
    value: str
    time_ms: int


class ExecutionRecord(Struct, frozen=True, kw_only=True):
    """Raw material for learning (DESIGN §3.18); decimals as text."""

    client_order_id: ClientOrderId
    values: Mapping[str, str]
    time_ms: int


class ExitRecord(Struct, frozen=True, kw_only=True):
    """What the exits of one position remember; replaces the previous row of the same position id."""

    state: ExitState
    time_ms: int


class AlertRecord(Struct, frozen=True, kw_only=True):
    """A message for people. `seq` rises with every alert, over restarts too, and is its id; `level`, `kind` are
    texts of `Level` and `AlertKind`."""

    seq: int
    time_ms: int
    level: str
    kind: str
    text: str


class AlertsOver(Struct, frozen=True, kw_only=True):
    """Alerts with a `seq` below `before` may go: critical ones only when every channel has told them (`told`)."""

    before: int
    told: int


class HistoryOver(Struct, frozen=True, kw_only=True):
    """What was over before `before_ms` (UTC) need not be kept: a step of it goes, the oldest first."""

    before_ms: int


Record = (
    WaveMark
    | SignalMark
    | IntentRecord
    | OrderRecord
    | FillRecord
    | PositionRecord
    | StateRecord
    | ExecutionRecord
    | ExitRecord
    | AlertRecord
    | AlertsOver
    | HistoryOver
)


class JournalState(Struct, frozen=True, kw_only=True):
    """What a start needs. `orders` are those not ended, plus every order of an open position; `positions` the
    open ones; `seen_signals` the (source, id) pairs of the last 7 days; `unfinished_waves`
    the ids without `finished_ms`."""

    orders: tuple[Order, ...]
    positions: tuple[Position, ...]
    seen_signals: frozenset[tuple[str, str]]
    unfinished_waves: tuple[str, ...]
    values: Mapping[str, str]
    undecided: tuple[SignalMark, ...] = ()
    """Of unfinished waves, without a verdict; `values` name the last entry, if there is one ("entry", "bought")."""
    exits: tuple[ExitState, ...] = ()
    """Of open positions."""
    fills: tuple[FillReport, ...] = ()
    """Trades of ours that were booked since the money ledger was last written down."""
    ended: frozenset[ClientOrderId] = frozenset()
    """Orders of ours that ended in the last 7 days: a venue may tell of them again, and they are nobody else's."""
    alerts: tuple[AlertRecord, ...] = ()
    """The newest messages for people, oldest first, told or not: how far each channel has come is in `values`."""
    reopenable: tuple[Position, ...] = ()
    """Closed positions of which the entry has not ended: its next trade opens them again."""


class Journal(Protocol):
    """SQLite behind one writer. All work runs through one injected `concurrent.futures.Executor` with a single worker
    (simulation passes an inline one), so nothing blocks the loop."""

    async def append(self, records: Sequence[Record]) -> None:
        """Durable (fully synced) when this returns; concurrent callers share one commit. Records posted earlier with
        `append_nowait` are written before these. Raises JournalUnwritable."""
        ...

    def append_nowait(self, records: Sequence[Record]) -> None:
        """Write soon, without sync and without waiting; order among records is kept."""
        ...

    @property
    def writable(self) -> bool:
        """False after a failed write until one succeeds again; entries stop meanwhile (JRN-09)."""
        ...

    async def load(self) -> JournalState: ...
    async def close(self) -> None:
        """Write what is queued, checkpoint, close."""
        ...
