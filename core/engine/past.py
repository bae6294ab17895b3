"""What the journal tells of the past, as values, and the port through which it is asked without waiting on the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from core.domain.ids import InstrumentId, VenueName
from core.domain.order import Order
from core.domain.position import Position
from core.domain.reports import FillReport
from core.engine.performance import Performance
from core.engine.records import SignalMark


class PastWave(Struct, frozen=True, kw_only=True):
    """`stages` milliseconds since the first frame, `unusable` the signals that could not be read. `finished_ms` None:
    it is under way, or its daemon died in it."""

    wave_id: str
    source: str
    received_ms: int
    finished_ms: int | None
    stages: Mapping[str, float | None]
    counts: Mapping[str, int]
    unusable: Sequence[Mapping[str, str]]


class PastOrder(Struct, frozen=True, kw_only=True):
    """`intent_ms` is when it was decided, our clock, UTC. `execution` is empty until there is something to learn."""

    intent_ms: int
    order: Order
    execution: Mapping[str, str]


class Story(Struct, frozen=True, kw_only=True):
    """One signal of one wave and what came of it. `orders` are the entry and everything that protected or closed it."""

    signal: SignalMark
    orders: tuple[PastOrder, ...]
    position: Position | None


class Account(Struct, frozen=True, kw_only=True):
    """Why a symbol was traded, or was not, in one wave. `unread` are its signals that could not be read. With neither
    stories nor unread ones `said` tells what was looked for in vain."""

    wave: PastWave | None
    stories: tuple[Story, ...] = ()
    unread: tuple[Mapping[str, str], ...] = ()
    said: str = ""

    @property
    def found(self) -> bool:
        return bool(self.stories or self.unread)


class PastTrade(Struct, frozen=True, kw_only=True):
    """What one order traded, added up from its fills (TEL-01). `leg` and `decided` (the price it was decided at) are
    None for an order that is not ours. `fees` are in quote coin, `result` gross of them by our own book; None = this
    order opened something, or is not ours. `time_ms` venue UTC of the last fill."""

    time_ms: int
    instrument: InstrumentId
    side: str
    leg: str | None
    quantity: Decimal
    price: Decimal | None
    decided: Decimal | None
    fees: Decimal
    result: Decimal | None
    fills: int
    reason: str = ""


class Past(Protocol):
    """Every read may raise JournalUnreadable."""

    async def waves(self, count: int) -> Sequence[PastWave]:
        """Newest first."""
        ...

    async def account(self, symbol: str, venue: VenueName | None = None) -> Account:
        """Of the last wave that had the symbol, in any spelling."""
        ...

    async def trades(self, count: int) -> Sequence[PastTrade]:
        """The last orders that traded, newest first."""
        ...

    async def performance(self, since_ms: int, until_ms: int) -> Performance:
        """Of what was closed in that time, venue UTC; added up by the reader, which takes as long as reading."""
        ...

    async def results(self, since_ms: int, until_ms: int, most: int) -> Sequence[tuple[int, Decimal]]:
        """When something was closed and the sum of results by then, oldest first; at most so many of them, the last
        one always. Quote coin, after fees."""
        ...

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        """Oldest first."""
        ...

    async def refusals(self, since_ms: int) -> Mapping[str, int]:
        """How often each reason refused a signal since then (UTC), most often first."""
        ...
