"""What a channel with people may ask and order, in one hand: the daemon as its operator sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from core.domain.candle import Candle
from core.domain.ids import InstrumentId
from core.engine.commands import Commands
from core.engine.past import Past
from core.engine.ports import AuditLog, Notifier
from core.engine.queries import Queries


class LogLine(Struct, frozen=True):
    """`time` ISO 8601 UTC, `detail` the other facts as `name=value`; redacted."""

    time: str
    level: str
    event: str
    detail: str


class ReadLog(Protocol):
    async def __call__(self, count: int, least: str) -> Sequence[LogLine]:
        """The newest lines of level `least` and worse, oldest first. Raises OSError."""
        ...


class ReadCandles(Protocol):
    async def __call__(self, instrument: InstrumentId, timeframe: str, limit: int) -> Sequence[Candle]:
        """Closed candles, oldest first. Raises VenueError, and KeyError for a venue that is not traded."""
        ...


class ConfigLine(Struct, frozen=True, kw_only=True):
    """One setting; a secret that is set is `***`, nothing set is "". `source`: where the value comes from."""

    group: str
    name: str
    value: str
    source: str
    effective: bool


class HealthWord(Struct, frozen=True, kw_only=True):
    """`level`: ok, degraded or unhealthy; `reasons` the worst first."""

    level: str
    reasons: tuple[str, ...]


class OperatorDesk(Struct, frozen=True, kw_only=True):
    """`instruments`: every swap that a spelling may mean, one a venue; raises SymbolAmbiguous. `opened`: the venues can
    be used; before that nothing can be carried out. `ready`: the start is over and orders of people are kept; before it
    they would be lost in what the start decides."""

    queries: Queries
    commands: Commands
    past: Past
    logs: ReadLog
    candles: ReadCandles
    instruments: Callable[[str], Sequence[InstrumentId]]
    config: Callable[[], Sequence[ConfigLine]]
    health: Callable[[], HealthWord]
    opened: Callable[[], bool]
    ready: Callable[[], bool]
    notifier: Notifier
    audit: AuditLog
