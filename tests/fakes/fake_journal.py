"""A journal in memory that tells, in the shared diary, when something became durable."""

import asyncio
from collections.abc import Sequence

from core.domain.ids import ClientOrderId
from core.engine.records import IntentRecord, JournalState, Record
from core.errors import JournalUnwritable
from tests.fakes.diary import Diary


class FakeJournal:
    """`broken` refuses durable writes; `seconds` is how long one takes."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.durable: list[Record] = []
        self.posted: list[Record] = []
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

    @property
    def writable(self) -> bool:
        return not self.broken

    def posted_intents(self) -> list[ClientOrderId]:
        return [record.intent.client_order_id for record in self.posted if isinstance(record, IntentRecord)]

    async def load(self) -> JournalState:
        return JournalState(orders=(), positions=(), seen_signals=frozenset(), unfinished_waves=(), values={})

    async def close(self) -> None: ...
