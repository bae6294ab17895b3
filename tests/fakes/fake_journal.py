"""A journal in memory that tells, in the shared diary, when something became durable."""

import asyncio
from collections.abc import Sequence

from core.domain.ids import ClientOrderId, Leg
from core.domain.order import Order
from core.engine.records import ExitRecord, IntentRecord, JournalState, OrderRecord, PositionRecord, Record
from core.errors import JournalUnwritable
from tests.fakes.diary import Diary


class FakeJournal:
    """`broken` refuses durable writes; `seconds` is how long one takes."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.durable: list[Record] = []
        self.posted: list[Record] = []
        self.groups: list[tuple[Record, ...]] = []
        self.commits = 0
        self.broken = False
        self.seconds = 0.0

    async def append(self, records: Sequence[Record]) -> None:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:  # nobody waits any more; what was handed over is written all the same
            self.append_nowait(records)
            raise
        if self.broken:
            raise JournalUnwritable("disk full")
        self.commits += 1
        self.durable += records
        self.diary += [("journal", r.intent.client_order_id) for r in records if isinstance(r, IntentRecord)]

    def append_nowait(self, records: Sequence[Record]) -> None:
        self.posted += records
        self.groups.append(tuple(records))

    def lose(self, groups: int) -> None:
        """The newest words that nobody waited for, as a crash does; what was handed over together goes together."""
        for _ in range(min(groups, len(self.groups))):
            del self.posted[len(self.posted) - len(self.groups.pop()) :]

    @property
    def writable(self) -> bool:
        return not self.broken

    def posted_intents(self) -> list[ClientOrderId]:
        return [record.intent.client_order_id for record in self.posted if isinstance(record, IntentRecord)]

    async def load(self) -> JournalState:
        """Orders not ended and those of open positions, as the records say; oldest first."""
        orders = {
            r.intent.client_order_id: Order(intent=r.intent) for r in self._records() if isinstance(r, IntentRecord)
        }
        orders |= {r.order.client_order_id: r.order for r in self.posted if isinstance(r, OrderRecord)}
        positions = {r.position.id: r.position for r in self.posted if isinstance(r, PositionRecord)}
        held = {key: position for key, position in positions.items() if position.open}
        entries = [o for o in orders.values() if o.intent.leg is Leg.ENTRY]
        under_way = {o.intent.position_id for o in entries if not o.ended or o.fills_missing}
        alive = {o.intent.position_id for o in orders.values() if not o.ended or o.fills_missing} | set(held)
        wanted = [o for o in orders.values() if o.intent.position_id in alive]
        exits = {r.state.position_id: r.state for r in self.posted if isinstance(r, ExitRecord)}
        return JournalState(
            exits=tuple(exits[position.id] for position in held.values() if position.id in exits),
            orders=tuple(wanted),
            positions=tuple(held.values()),
            reopenable=tuple(position for key, position in positions.items() if key in under_way - set(held)),
            seen_signals=frozenset(),
            unfinished_waves=(),
            values={},
        )

    def _records(self) -> list[Record]:
        return [*self.durable, *self.posted]

    async def close(self) -> None: ...
