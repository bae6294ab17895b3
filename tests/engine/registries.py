"""A data registry over fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

from core.domain.ids import InstrumentId, VenueName
from core.domain.liquidity import Activity
from core.domain.prices import AgeLimits, PriceKind, PriceSource, Snapshot
from core.engine.data_registry import DataRegistry
from core.engine.ports import MarketData, MarketReads, PriceTriple
from core.engine.price_chain import ChainRules
from tests.builders import BTC, Number, price
from tests.fakes.fake_market import FakeMarket
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.fake_reads import FakeReads
from tests.fakes.virtual_loop import VirtualClock


def chain_rules(kind: PriceKind = PriceKind.MARK, jump: Number = 5) -> ChainRules:
    return ChainRules(limits=AgeLimits(), widest_factor=3, jump_percent=Decimal(jump), kind=kind)


def a_registry(
    markets: Mapping[VenueName, MarketData] | None = None,
    reads: Mapping[VenueName, MarketReads] | None = None,
    *,
    rules: ChainRules | None = None,
    clock: VirtualClock | None = None,
    notifier: FakeNotifier | None = None,
    offset_ms: Callable[[VenueName], int] = lambda _: 0,
    serves: Callable[[VenueName], bool] = lambda _: True,
    reads_funding: bool = False,
) -> DataRegistry:
    return DataRegistry(
        markets={} if markets is None else markets,
        reads={} if reads is None else reads,
        rules=rules or chain_rules(),
        clock=clock or VirtualClock(),
        notifier=notifier or FakeNotifier(),
        offset_ms=offset_ms,
        serves=serves,
        activity=lambda _: Activity(),
        reads_funding=reads_funding,
    )


class Stage:
    """A registry over one venue's fakes; `told` is what its listener saw."""

    def __init__(self, kind: PriceKind = PriceKind.MARK, *, funding: bool = False) -> None:
        self.clock, self.offset_ms = VirtualClock(), 0
        self.market, self.reads, self.notifier = FakeMarket(None), FakeReads(self.clock), FakeNotifier()
        self.told: list[tuple[InstrumentId, Snapshot]] = []
        self.markets: dict[VenueName, MarketData] = {BTC.venue: self.market}
        self.registry = a_registry(
            self.markets,
            {BTC.venue: self.reads},
            rules=chain_rules(kind),
            clock=self.clock,
            notifier=self.notifier,
            offset_ms=lambda _: self.offset_ms,
            reads_funding=funding,
        )
        self.registry.on_tick(self._note)

    def _note(self, instrument: InstrumentId) -> None:
        view = self.registry.exit_view(instrument)
        assert view is not None
        self.told.append((instrument, view[0]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Stage"]:
        task = asyncio.create_task(self.registry.run(), name="data")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def ticking(self, seconds: float, *, every: float = 1.0, at: Number = 100) -> None:
        for _ in range(round(seconds / every)):
            self.market.tick(BTC.symbol, at)
            await asyncio.sleep(every)

    def triple(self, mark: Number, last: Number | None = None) -> None:
        self.reads.triples[BTC.symbol] = PriceTriple(
            mark=price(mark), index=price(mark), last=price(mark if last is None else last)
        )

    def source(self) -> PriceSource | None:
        view = self.registry.exit_view(BTC)
        return None if view is None else view[0].source

    def asked(self, what: str) -> int:
        return sum(1 for name, _ in self.reads.asked if name == what)
