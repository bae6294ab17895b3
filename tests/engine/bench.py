"""The whole engine over fakes, wired as the composition root wires it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from core.domain.exits import ExitState
from core.domain.ids import Asset, InstrumentId, Leg, VenueName
from core.domain.instrument import Instrument
from core.domain.order import Order, OrderIntent, OrderType, TriggerReference
from core.domain.position import Position
from core.domain.risk import RiskLimits, TradingState
from core.domain.risk_book import ResultRules
from core.domain.screening import ScreeningRules
from core.domain.signal import Signal
from core.domain.sizing import SizingRule
from core.domain.wave import WaveReport
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.entry import EntryDesk, EntryRules
from core.engine.executions import ExecutionNotes
from core.engine.exit_actions import ExitPolicy
from core.engine.exit_engine import ExitEngine
from core.engine.inflight import InflightResolver
from core.engine.leverage import LeverageKeeper
from core.engine.money_ledger import MoneyLedgers
from core.engine.order_manager import OrderManager
from core.engine.ports import MarketData, MarketReads, SignalBatch, UserStream, VenueClient
from core.engine.prefetch import Prefetcher
from core.engine.protection_manager import ProtectionManager
from core.engine.reconciler import Reconciler
from core.engine.records import ExecutionRecord
from core.engine.risk_guard import RiskGuard
from core.engine.risk_watch import RiskWatch
from core.engine.screener import Screener
from core.engine.state import State
from core.engine.time_jumps import TimeJumps
from core.engine.trade_notices import TradeNotices
from core.engine.wave_processor import WaveProcessor, WaveRules
from core.errors import VenueError
from tests.builders import (
    ACCOUNT,
    BTC,
    ETH,
    Number,
    a_balance_report,
    an_instrument,
    exit_policy,
    notional,
    result_rules,
    risk_limits,
    screening_rules,
    sizing_rule,
)
from tests.fakes.diary import Diary
from tests.fakes.fake_audit import FakeAudit
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.fake_market import FakeMarket
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.fake_prices import FakePrices
from tests.fakes.fake_reads import FakeReads
from tests.fakes.fake_stream import FakeStream
from tests.fakes.scripted_venue import ScriptedVenue
from tests.fakes.virtual_loop import VirtualClock

DEADLINE_SECONDS = 3.0
BINANCE = VenueName.BINANCE


@dataclass(frozen=True)
class Bench:
    """`venue` is Binance's; others are in `venues`."""

    clock: VirtualClock
    diary: Diary
    journal: FakeJournal
    audit: FakeAudit
    notifier: FakeNotifier
    venues: dict[VenueName, ScriptedVenue]
    streams: dict[VenueName, FakeStream]
    markets: dict[VenueName, FakeMarket]
    instruments: dict[InstrumentId, Instrument]
    state: State
    orders: OrderManager
    risk: RiskGuard
    closer: Closer
    protection: ProtectionManager
    inflight: InflightResolver
    prefetcher: Prefetcher
    reconciler: Reconciler
    money: MoneyLedgers
    leverage: LeverageKeeper
    reads: dict[VenueName, FakeReads]
    screener: Screener
    desk: EntryDesk
    waves: WaveProcessor
    prices: FakePrices
    exits: ExitEngine

    @property
    def venue(self) -> ScriptedVenue:
        return self.venues[BINANCE]

    @property
    def market(self) -> FakeMarket:
        return self.markets[BINANCE]

    async def enter(self, intent: OrderIntent) -> None:
        """Approve and send an entry worth its quantity times 100."""
        ruling = self.risk.approve_entry(intent, notional(intent.quantity * 100))
        assert ruling.approved is not None, ruling.denied
        await self.orders.submit([ruling.approved])

    async def wave(self, *signals: Signal) -> WaveReport:
        """Hand over a wave and wait for its report."""
        return await self.start_wave(*signals)

    async def enter_with_stop(self, signal: Signal) -> None:
        """Hand over a wave of one, until its entry is filled."""
        self.waves.handle(self.batch(signal))
        await self.until(lambda: bool(self.state.positions()))

    def start_wave(self, *signals: Signal) -> asyncio.Future[WaveReport]:
        """Hand over a wave; its report is the future's."""
        done: asyncio.Future[WaveReport] = asyncio.get_running_loop().create_future()
        self.waves.on_report(lambda report: None if done.done() else done.set_result(report))
        self.waves.handle(self.batch(*signals))
        return done

    def batch(self, *signals: Signal) -> SignalBatch:
        now = self.clock
        return SignalBatch(
            source="test", received=now.monotonic(), received_ms=now.now_ms(), signals=signals, unusable=()
        )

    def order(self, intent: OrderIntent) -> Order:
        order = self.state.order(intent.client_order_id)
        assert order is not None
        return order

    def position(self, instrument: InstrumentId = BTC) -> Position:
        (position,) = self.state.positions_on(instrument)
        return position

    def tick(self, to: Number, instrument: InstrumentId = BTC) -> None:
        """The price comes to this, at the venue and on the stream."""
        self.venues[instrument.venue].price = Decimal(to)
        self.markets[instrument.venue].marks[instrument.symbol] = to
        self.prices.tick(instrument)

    def execution_of(self, intent: OrderIntent) -> Mapping[str, str]:
        """The row written about that order."""
        rows = [r for r in self.journal.posted if isinstance(r, ExecutionRecord)]
        return next(row.values for row in rows if row.client_order_id == intent.client_order_id)

    def exits_anew(self, *states: ExitState) -> ExitEngine:
        """Another exit engine over the same positions, as after a restart with this journal."""
        again = ExitEngine(
            policy=self.exits.policy,
            orders=self.orders,
            protection=self.protection,
            closer=self.closer,
            risk=self.risk,
            prices=self.prices,
            instruments=self.instruments,
            reference=partial(_mark, self.markets),
            offset_ms=lambda venue: self.venues[venue].clock_offset_ms,
            books=Bookkeeper(journal=self.journal, audit=self.audit, clock=self.clock, default_stop_percent=Decimal(2)),
            clock=self.clock,
            notifier=self.notifier,
        )
        again.restore(states)
        return again

    def sent_stops(self) -> list[OrderIntent]:
        return self.venue.only(Leg.STOP)

    async def settle(self, seconds: float = 0.01) -> None:
        """Let everything that is under way happen, for so many virtual seconds."""
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - virtual time: a poll costs nothing
                await asyncio.sleep(0.01)


@asynccontextmanager
async def a_bench(  # noqa: PLR0915 - the wiring of the whole engine, one statement a part
    *,
    instruments: Iterable[Instrument] | None = None,
    limits: RiskLimits | None = None,
    results: ResultRules | None = None,
    sizing: SizingRule | None = None,
    screening: ScreeningRules | None = None,
    order_type: OrderType = OrderType.MARKET,
    slippage_percent: Decimal = Decimal("0.15"),
    waves: WaveRules | None = None,
    latency: float = 0.0,
    seen: frozenset[tuple[str, str]] = frozenset(),
    leverage_known: bool = True,
    measures_clock: bool = True,
    exits: ExitPolicy | None = None,
) -> AsyncIterator[Bench]:
    """Running, ACTIVE, with 10,000 USDT on every venue and its state confirmed."""
    listed = list(instruments) if instruments is not None else [an_instrument(BTC), an_instrument(ETH)]
    names = sorted({instrument.id.venue for instrument in listed} | {BINANCE})
    by_id = {instrument.id: instrument for instrument in listed}
    clock, diary = VirtualClock(), Diary()
    journal, audit, notifier, state = FakeJournal(diary), FakeAudit(), FakeNotifier(), State()
    venues = {
        name: ScriptedVenue(name, [i for i in listed if i.id.venue is name], clock, diary, latency) for name in names
    }
    streams, markets = {name: FakeStream() for name in names}, {name: FakeMarket() for name in names}
    clients: dict[VenueName, VenueClient] = dict(venues)
    live: dict[VenueName, UserStream] = dict(streams)
    prices: dict[VenueName, MarketData] = dict(markets)
    accounts = dict.fromkeys(names, ACCOUNT)
    books = Bookkeeper(journal=journal, audit=audit, clock=clock, default_stop_percent=Decimal(2))
    orders = OrderManager(clients=clients, state=state, books=books, clock=clock)
    quotes: dict[InstrumentId, Asset] = {i.id: i.quote for i in listed}
    bounds = limits or risk_limits()
    risk = RiskGuard(
        state=state,
        limits=bounds,
        results=results or result_rules(),
        quotes=quotes,
        quote_coins=frozenset(quotes.values()),
        mark=lambda instrument: _mark(markets, instrument, TriggerReference.MARK_PRICE),
        journal=journal,
        clock=clock,
        notifier=notifier,
        most_positions=lambda venue: clients[venue].traits.most_stops,
    )

    def offset_ms(venue: VenueName) -> int:
        return clients[venue].clock_offset_ms if venue in clients else 0

    told = TradeNotices(notifier, state).executed
    executions = ExecutionNotes(books=books, clock=clock, offset_ms=offset_ms, told=told)
    closer = Closer(
        accounts=accounts,
        orders=orders,
        risk=risk,
        clock=clock,
        notifier=notifier,
        mark=lambda instrument: _mark(markets, instrument, TriggerReference.MARK_PRICE),
        instruments=by_id,
        explain=executions.explain,
    )
    protection = ProtectionManager(
        accounts=accounts,
        orders=orders,
        risk=risk,
        closer=closer,
        instruments=by_id,
        reference=partial(_mark, markets),
        working_type=TriggerReference.MARK_PRICE,
        deadline_seconds=DEADLINE_SECONDS,
        alert_ms=300,
        traits=lambda venue: clients[venue].traits,
        books=books,
        clock=clock,
        notifier=notifier,
    )
    seen_prices = FakePrices(markets)
    exit_engine = ExitEngine(
        policy=exits or exit_policy(),
        orders=orders,
        protection=protection,
        closer=closer,
        risk=risk,
        prices=seen_prices,
        instruments=by_id,
        reference=partial(_mark, markets),
        offset_ms=lambda venue: clients[venue].clock_offset_ms if venue in clients else 0,
        books=books,
        clock=clock,
        notifier=notifier,
    )
    inflight = InflightResolver(orders=orders, clients=clients, clock=clock, notifier=notifier)
    prefetcher = Prefetcher(clients=clients, streams=live, orders=orders, clock=clock, timeout_seconds=5.0)
    reconciler = Reconciler(
        clients=clients,
        streams=live,
        orders=orders,
        protection=protection,
        prefetcher=prefetcher,
        books=books,
        clock=clock,
        notifier=notifier,
    )
    money = MoneyLedgers(
        clients=clients,
        orders=orders,
        books=books,
        quote_coins=frozenset(quotes.values()),
        listed=risk.ledger.funding_listed,
        transferred=risk.ledger.transfers_listed,
        serves=lambda _venue: True,
        notifier=notifier,
        clock=clock,
    )
    leverage = LeverageKeeper(clients=clients, state=state, leverage=bounds.leverage)
    reads = {name: FakeReads(clock) for name in names}
    figures: dict[VenueName, MarketReads] = dict(reads)
    rules = screening or screening_rules(leverage=bounds.leverage)
    screener = Screener(
        reads=figures,
        markets=prices,
        instruments=by_id,
        wanted=lambda _: True,
        clock=clock,
        max_age=rules.liquidity.max_age,
    )
    desk = EntryDesk(
        accounts=accounts,
        instruments=by_id,
        market=prices,
        leverage=leverage,
        screener=screener,
        rules_age=lambda _venue: 0.0,
        orders=orders,
        risk=risk,
        protection=protection,
        executions=executions,
        rules=EntryRules(
            type=order_type,
            max_slippage_percent=slippage_percent,
            stop_loss_percent=Decimal(2),
            sizing=sizing or sizing_rule(),
            screening=rules,
        ),
        clock=clock,
    )
    processor = WaveProcessor(
        desk=desk,
        prefetcher=prefetcher,
        books=books,
        rules=waves or wave_rules(),
        clock=clock,
        notifier=notifier,
        seen=seen,
        renew_rules=lambda venue: clients[venue].load_instruments(),
    )

    async def measure(venue: VenueName) -> None:
        with suppress(VenueError):
            if measures_clock:
                await clients[venue].measure_clock()
            risk.clocks.measured(venue)

    jumps = TimeJumps(
        risk=risk,
        clients=clients,
        measure=measure,
        reconcile=reconciler.reconcile,
        serves=lambda _venue: True,
        clock=clock,
        notifier=notifier,
    )
    risk_watch = RiskWatch(risk=risk, state=state, closer=closer, clients=clients)
    risk.follow(orders)
    orders.listen(protection.on_events)
    orders.listen(exit_engine.on_events)
    orders.listen(reconciler.on_events)
    executions.follow(orders)
    money.follow(orders)
    orders.on_unresolved(inflight.watch)
    orders.on_broken(risk.halt)
    risk.set_state(TradingState.ACTIVE, reason="test", author="test")
    orders.apply([a_balance_report(venue=name) for name in names])
    for name, venue in venues.items():
        venue.sink = orders.take
        prefetcher.confirmed(name)
        if leverage_known:
            leverage.learn(name, dict.fromkeys(venue.instruments, bounds.leverage))
    bench = Bench(
        clock=clock,
        diary=diary,
        journal=journal,
        audit=audit,
        notifier=notifier,
        venues=venues,
        streams=streams,
        markets=markets,
        instruments=by_id,
        state=state,
        orders=orders,
        risk=risk,
        closer=closer,
        protection=protection,
        inflight=inflight,
        prefetcher=prefetcher,
        reconciler=reconciler,
        money=money,
        leverage=leverage,
        reads=reads,
        screener=screener,
        desk=desk,
        waves=processor,
        prices=seen_prices,
        exits=exit_engine,
    )
    async with asyncio.TaskGroup() as group:
        parts = (orders, protection, inflight, processor, reconciler, screener, risk_watch, jumps, exit_engine)
        tasks = [group.create_task(part.run(), name=type(part).__name__) for part in parts]
        await asyncio.sleep(0)
        try:
            yield bench
        finally:
            for task in tasks:
                task.cancel()


def wave_rules(
    *, max_trades: int = 5, max_trades_total: int = 0, max_positions: int = 10, timeout: float = 60.0
) -> WaveRules:
    return WaveRules(
        max_trades=max_trades, max_trades_total=max_trades_total, max_positions=max_positions, timeout=timeout
    )


def _mark(
    markets: dict[VenueName, FakeMarket], instrument: InstrumentId, reference: TriggerReference
) -> Decimal | None:
    quote = markets[instrument.venue].quote(instrument.symbol)
    return None if quote is None else quote.mark
