"""The object graph, built from settings. Nothing here connects, starts a task or touches a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial

from msgspec import Struct, field

from core.build import build_id
from core.clock import Clock
from core.config import Settings
from core.domain.ids import Asset, InstrumentId, PositionId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.order import TriggerReference
from core.domain.symbols import SymbolIndex
from core.engine.account_watch import AccountWatch
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.commands import Commands
from core.engine.data_registry import DataRegistry
from core.engine.entry import EntryDesk
from core.engine.executions import ExecutionNotes
from core.engine.exit_engine import ExitEngine
from core.engine.inflight import InflightResolver
from core.engine.leverage import LeverageKeeper
from core.engine.money_ledger import MoneyLedgers
from core.engine.native_trailing import NativeTrailing
from core.engine.order_manager import OrderManager
from core.engine.outages import Outages
from core.engine.ports import AuditLog, MarketData, MarketReads, Notifier, UserStream, VenueClient, VenueTraits
from core.engine.prefetch import Prefetcher
from core.engine.protection_manager import ProtectionManager
from core.engine.queries import Queries
from core.engine.reconciler import ExternalPositions, Reconciler
from core.engine.records import Journal
from core.engine.refusal_watch import RefusalWatch
from core.engine.risk_guard import STREAM, RiskGuard
from core.engine.risk_watch import RiskWatch
from core.engine.screener import Screener
from core.engine.state import State
from core.engine.time_jumps import TimeJumps
from core.engine.trade_notices import TradeNotices
from core.engine.upkeep import Upkeep, UpkeepRules
from core.engine.vitals import QueueRow
from core.engine.wave_processor import WaveProcessor
from core.storage.instance_lock import account_key
from core.supervision.queues import report_queue, request_queues
from core.transport import Transport
from core.venues import VenueConnection, connect_venue
from core.wiring.accounts import accesses
from core.wiring.listing import Listing
from core.wiring.rules import (
    chain_rules,
    entry_rules,
    exit_policy,
    exit_rules,
    manages_external,
    margin_mode,
    may_be_entered,
    most_positions,
    result_rules,
    risk_limits,
    trails_natively,
    wave_rules,
)

MOST_WARM = 50
"""Connections kept open per venue; a larger wave opens the rest while it runs."""


class Engine(Struct, frozen=True, kw_only=True):
    """Everything that runs, by name. `clients`, `streams`, `markets` lose the venues that pre-flight switches off."""

    settings: Settings
    clock: Clock
    journal: Journal
    audit: AuditLog
    notifier: Notifier
    clients: dict[VenueName, VenueClient]
    streams: dict[VenueName, UserStream]
    markets: dict[VenueName, MarketData]
    reads: dict[VenueName, MarketReads]
    instruments: dict[InstrumentId, Instrument]
    quotes: dict[InstrumentId, Asset]
    learn_instruments: Callable[[VenueName], None]
    """Take over what the opened client of a venue lists now."""
    screener: Screener
    data: DataRegistry
    orders: OrderManager
    risk: RiskGuard
    risk_watch: RiskWatch
    jumps: TimeJumps
    closer: Closer
    protection: ProtectionManager
    exits: ExitEngine
    native: NativeTrailing | None
    """Where the venues trail (`TRAILING_MODE=native`)."""
    inflight: InflightResolver
    reconciler: Reconciler
    money: MoneyLedgers
    leverage: LeverageKeeper
    watch: AccountWatch
    upkeep: Upkeep
    outages: Outages
    desk: EntryDesk
    prefetcher: Prefetcher
    books: Bookkeeper
    commands: Commands
    queries: Callable[[WaveProcessor], Queries]
    queues: Callable[[], tuple[QueueRow, ...]]
    workers: Executor | None = None
    """What takes long and need not be done on the loop is done there."""
    _indexes: dict[VenueName, tuple[Mapping[Symbol, Instrument], SymbolIndex]] = field(default_factory=dict)

    def waves(self, seen: frozenset[tuple[str, str]]) -> WaveProcessor:
        """The wave processor, once the journal has told which signals were handled before."""
        waves = WaveProcessor(
            desk=self.desk,
            prefetcher=self.prefetcher,
            books=self.books,
            rules=wave_rules(self.settings),
            clock=self.clock,
            notifier=self.notifier,
            seen=seen,
            renew_rules=self.upkeep.renew,
        )
        waves.on_report(RefusalWatch(self.notifier).on_report)
        return waves

    def drop_venue(self, venue: VenueName) -> None:
        for part in (self.clients, self.streams, self.markets, self.reads):
            part.pop(venue, None)

    def resolve(self, venue: VenueName, spelling: str) -> Symbol | None:
        """The unified symbol of a swap that venue lists, however it is spelt; None where it lists no such swap.

        Raises SymbolAmbiguous. Of a venue that is missing, or has not told its list yet, the spelling itself is taken:
        that it is missing is the reason the signal will be refused with.
        """
        missing = venue not in self.clients or not self.clients[venue].instruments
        return Symbol(spelling) if missing else self.symbol_index(venue).find(spelling)

    def symbol_index(self, venue: VenueName) -> SymbolIndex:
        """Of a venue in use, as it lists now."""
        listed = self.clients[venue].instruments
        known = self._indexes.get(venue)
        if known is None or known[0] is not listed:
            known = self._indexes[venue] = (listed, SymbolIndex(listed))
        return known[1]


def assemble(
    settings: Settings,
    *,
    clock: Clock,
    transport: Callable[[str], Transport],
    journal: Journal,
    audit: AuditLog,
    notifier: Notifier,
    workers: Executor | None = None,
    connect: Callable[..., VenueConnection] = connect_venue,
) -> Engine:
    """Build everything; `workers` do the long parsing (None = on the loop). `connect` is what reaches a venue: an
    adapter, or a replay's exchange. Raises ValueError for a venue without an adapter."""
    listing = Listing()
    clients, streams, markets, reads = listing.clients, listing.streams, listing.markets, listing.reads
    instruments, quotes = listing.instruments, listing.quotes
    names = {access.name: account_key(access.name, "", access.key) for access in accesses(settings)}
    state = State()
    books = Bookkeeper(
        journal=journal, audit=audit, clock=clock, default_stop_percent=settings.protection.stop_loss_percent
    )
    orders = OrderManager(
        clients=clients,
        state=state,
        books=books,
        clock=clock,
        journal_wait_seconds=settings.process.journal_wait_ms / 1000,
    )
    screener = Screener(
        reads=reads,
        markets=markets,
        instruments=instruments,
        wanted=partial(may_be_entered, settings),
        clock=clock,
        max_age=float(settings.signals.screen_max_age_seconds),
    )
    data = DataRegistry(
        markets=markets,
        reads=reads,
        rules=chain_rules(settings),
        clock=clock,
        notifier=notifier,
        offset_ms=partial(_offset_ms, clients),
        serves=lambda venue: venue in clients and outages.serves(venue),
        activity=screener.activity,
        reads_funding=settings.exits.funding_window_minutes > 0,
    )
    reference = data.reference
    mark = partial(reference, kind=TriggerReference.MARK_PRICE)
    risk = RiskGuard(
        state=state,
        limits=risk_limits(settings),
        results=result_rules(settings),
        quotes=quotes,
        quote_coins=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
        mark=mark,
        journal=journal,
        clock=clock,
        notifier=notifier,
        most_positions=lambda venue: most_positions(settings, _traits(clients, venue)),
    )
    offset_ms = partial(_offset_ms, clients)
    executions = ExecutionNotes(
        books=books, clock=clock, offset_ms=offset_ms, told=TradeNotices(notifier, state).executed
    )
    closer = Closer(
        accounts=names,
        orders=orders,
        risk=risk,
        clock=clock,
        notifier=notifier,
        mark=mark,
        instruments=instruments,
        explain=executions.explain,
    )
    protection = ProtectionManager(
        accounts=names,
        orders=orders,
        risk=risk,
        closer=closer,
        instruments=instruments,
        reference=reference,
        working_type=TriggerReference(settings.protection.working_type),
        deadline_seconds=settings.protection.protection_deadline_ms / 1000,
        alert_ms=settings.protection.unprotected_alert_ms,
        traits=partial(_traits, clients),
        books=books,
        clock=clock,
        notifier=notifier,
    )
    native = None
    if trails_natively(settings):
        native = NativeTrailing(
            rules=exit_rules(settings),
            manages_external=manages_external(settings),
            accounts=names,
            orders=orders,
            protection=protection,
            risk=risk,
            instruments=instruments,
            reference=reference,
            working_type=TriggerReference(settings.protection.working_type),
            traits=partial(_traits, clients),
            books=books,
            notifier=notifier,
        )
    exits = ExitEngine(
        policy=exit_policy(settings),
        orders=orders,
        protection=protection,
        closer=closer,
        risk=risk,
        prices=data,
        instruments=instruments,
        reference=reference,
        offset_ms=offset_ms,
        books=books,
        clock=clock,
        notifier=notifier,
        trailed_by_venue=_nobody_trails if native is None else native.trails,
        serves=lambda venue: outages.serves(venue),  # noqa: PLW0108 - made below
        told=lambda venue: venue not in streams or streams[venue].live_since_ms is not None,
    )
    inflight = InflightResolver(orders=orders, clients=clients, clock=clock, notifier=notifier)
    prefetcher = Prefetcher(
        clients=clients,
        streams=streams,
        orders=orders,
        clock=clock,
        timeout_seconds=settings.wave.prefetch_timeout_ms / 1000,
    )
    reconciler = Reconciler(
        clients=clients,
        streams=streams,
        orders=orders,
        protection=protection,
        prefetcher=prefetcher,
        books=books,
        clock=clock,
        notifier=notifier,
        external=ExternalPositions(settings.protection.external_positions),
    )
    leverage = LeverageKeeper(
        clients=clients, state=state, leverage=settings.sizing.leverage, margin=margin_mode(settings)
    )
    watch = AccountWatch(
        clients=clients,
        risk=risk,
        leverage=leverage,
        notifier=notifier,
        withdrawal_allowed=settings.trading.allow_withdrawal_keys,
    )
    outages = Outages(clients=clients, risk=risk, reconcile=reconciler.ask, notifier=notifier, clock=clock)
    money = MoneyLedgers(
        clients=clients,
        orders=orders,
        books=books,
        quote_coins=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
        listed=risk.ledger.funding_listed,
        transferred=risk.ledger.transfers_listed,
        serves=outages.serves,
        notifier=notifier,
        clock=clock,
    )
    listing.connected(
        {
            access.name: connect(
                access,
                clock=clock,
                transport=transport(access.name),
                sink=orders.take,
                on_connected=partial(_resume, access.name, reconciler, watch, risk, money),
                on_set_aside=partial(reconciler.ask, access.name),
                on_health=partial(outages.on_health, access.name),
                on_refused=partial(outages.on_stream_refused, access.name),
                workers=workers,
            )
            for access in accesses(settings)
        }
    )
    desk = EntryDesk(
        accounts=names,
        instruments=instruments,
        market=markets,
        leverage=leverage,
        screener=screener,
        rules_age=partial(listing.rules_age, clock),
        orders=orders,
        risk=risk,
        protection=protection,
        executions=executions,
        rules=entry_rules(settings),
        clock=clock,
        offset_ms=offset_ms,
    )
    learn = partial(listing.learn, clock, settings)
    upkeep = Upkeep(
        clients=clients,
        markets=markets,
        state=state,
        protection=protection,
        learn=learn,
        serves=outages.serves,
        rules=UpkeepRules(
            refresh_seconds=60.0 * settings.process.instruments_refresh_minutes,
            connections=_connections(settings),
        ),
        notifier=notifier,
        clock=clock,
    )
    jumps = TimeJumps(
        risk=risk,
        clients=clients,
        measure=upkeep.measure_clock,
        reconcile=reconciler.reconcile,
        serves=outages.serves,
        clock=clock,
        notifier=notifier,
    )
    risk_watch = RiskWatch(risk=risk, state=state, closer=closer, clients=clients)
    _introduce(orders, risk, protection, upkeep, watch, data)
    for consumer in (exits, native, reconciler, leverage, watch):
        if consumer is not None:
            orders.listen(consumer.on_events)
    for follower in (executions, money):
        follower.follow(orders)
    orders.on_unresolved(inflight.watch)

    def queries(waves: WaveProcessor) -> Queries:
        return Queries(
            build=build_id(),
            orders=orders,
            protection=protection,
            risk=risk,
            waves=waves,
            inflight=inflight,
            exits=exits,
            data=data,
            reconciler=reconciler,
            money=money,
            streams=streams,
            rights=watch.rights,
            reference=reference,
            headroom=listing.headroom,
            clock=clock,
        )

    return Engine(
        settings=settings,
        clock=clock,
        journal=journal,
        audit=audit,
        notifier=notifier,
        clients=clients,
        streams=streams,
        markets=markets,
        reads=reads,
        instruments=instruments,
        quotes=quotes,
        learn_instruments=learn,
        screener=screener,
        data=data,
        orders=orders,
        risk=risk,
        risk_watch=risk_watch,
        jumps=jumps,
        closer=closer,
        protection=protection,
        exits=exits,
        native=native,
        inflight=inflight,
        reconciler=reconciler,
        money=money,
        leverage=leverage,
        watch=watch,
        upkeep=upkeep,
        outages=outages,
        desk=desk,
        prefetcher=prefetcher,
        books=books,
        commands=Commands(
            orders=orders, closer=closer, clients=clients, instruments=instruments, books=books, risk=risk
        ),
        queries=queries,
        queues=lambda: (report_queue(orders.queued), *request_queues(listing.waiting)),
        workers=workers,
    )


def _traits(clients: Mapping[VenueName, VenueClient], venue: VenueName) -> VenueTraits:
    """Of a venue that is off nothing is asked: its positions have the stops they have."""
    client = clients.get(venue)
    return VenueTraits() if client is None else client.traits


def _offset_ms(clients: Mapping[VenueName, VenueClient], venue: VenueName) -> int:
    """The venue's clock minus ours; of one that is off nothing is known."""
    client = clients.get(venue)
    return 0 if client is None else client.clock_offset_ms


def _nobody_trails(_position_id: PositionId) -> bool:
    """Where trailing is ours, or nobody's."""
    return False


def _introduce(
    orders: OrderManager,
    risk: RiskGuard,
    protection: ProtectionManager,
    upkeep: Upkeep,
    watch: AccountWatch,
    data: DataRegistry,
) -> None:
    """Who hears of what: the risk guard first, protection next, the rest after them."""
    risk.follow(orders)
    orders.listen(protection.on_events)
    orders.on_outcome(upkeep.on_outcome)
    orders.on_outcome(watch.on_outcome)
    orders.on_broken(risk.halt)
    protection.on_stale_rules(upkeep.renew)
    upkeep.on_clock(risk.clocks.measured)
    data.on_late(upkeep.doubt_clock)


def _connections(settings: Settings) -> int:
    """What one wave needs at once: an entry or its stop for every trade, and room for the reads beside them."""
    return min(2 + max(settings.wave.max_trades_per_wave, settings.wave.max_trades_per_wave_total), MOST_WARM)


async def _resume(
    venue: VenueName, reconciler: Reconciler, watch: AccountWatch, risk: RiskGuard, money: MoneyLedgers
) -> None:
    """What a new connection must settle before it counts as live. Raises VenueError."""
    await asyncio.gather(reconciler.reconcile(venue), watch.look(venue))
    risk.set_venue(venue, None, by=STREAM)
    money.ask(venue)
