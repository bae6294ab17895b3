"""The object graph, built from settings. Nothing here connects, starts a task or touches a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from core.build import build_id
from core.clock import Clock
from core.config import Settings, VenueSettings
from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.liquidity import Filter, LiquidityRules, OnMissing
from core.domain.money import Notional
from core.domain.order import OrderType, TriggerReference
from core.domain.risk import RiskLimits
from core.domain.screening import ScreeningRules, stoplisted
from core.domain.sizing import SizingRule
from core.engine.account_watch import AccountWatch
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.commands import Commands
from core.engine.entry import EntryDesk, EntryRules
from core.engine.executions import ExecutionNotes
from core.engine.inflight import InflightResolver
from core.engine.leverage import LeverageKeeper
from core.engine.order_manager import OrderManager
from core.engine.outages import Outages
from core.engine.passed_stops import PassedStops
from core.engine.ports import (
    AuditLog,
    Journal,
    MarginMode,
    MarketData,
    MarketReads,
    Notifier,
    UserStream,
    VenueClient,
)
from core.engine.prefetch import Prefetcher
from core.engine.protection_manager import ProtectionManager
from core.engine.queries import Queries
from core.engine.reconciler import ExternalPositions, Reconciler
from core.engine.risk_guard import RiskGuard
from core.engine.screener import Screener
from core.engine.state import State
from core.engine.upkeep import Upkeep, UpkeepRules
from core.engine.wave_processor import WaveProcessor, WaveRules
from core.instance_lock import account_key
from core.transport import Transport
from core.venues import VenueAccess, connect_venue

ENTRY_PRICE_MAX_AGE_SECONDS = 3.0
MOST_WARM = 50
"""Connections kept open per venue; a larger wave opens the rest while it runs."""
RULES_MAX_AGE_SECONDS = 3 * 3600.0
"""Trading rules that could not be loaded anew for so long are not traded on (VAL-20)."""
REFERENCE_MAX_AGE_SECONDS = 10.0
"""Beyond it a trigger reference is not used: the stop is sent and the venue judges (STP-04)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
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
    orders: OrderManager
    risk: RiskGuard
    closer: Closer
    protection: ProtectionManager
    passed: PassedStops
    inflight: InflightResolver
    reconciler: Reconciler
    leverage: LeverageKeeper
    watch: AccountWatch
    upkeep: Upkeep
    outages: Outages
    desk: EntryDesk
    prefetcher: Prefetcher
    books: Bookkeeper
    commands: Commands
    queries: Callable[[WaveProcessor], Queries]

    def waves(self, seen: frozenset[tuple[str, str]]) -> WaveProcessor:
        """The wave processor, once the journal has told which signals were handled before."""
        wave, risk = self.settings.wave, self.settings.risk
        return WaveProcessor(
            desk=self.desk,
            prefetcher=self.prefetcher,
            books=self.books,
            rules=WaveRules(
                max_trades=wave.max_trades_per_wave,
                max_trades_total=wave.max_trades_per_wave_total,
                max_positions=risk.max_positions,
                timeout=wave.timeout_seconds,
            ),
            clock=self.clock,
            notifier=self.notifier,
            seen=seen,
            renew_rules=self.upkeep.renew,
        )

    def drop_venue(self, venue: VenueName) -> None:
        for part in (self.clients, self.streams, self.markets, self.reads):
            part.pop(venue, None)

    def resolve(self, venue: VenueName, spelling: str) -> Symbol | None:
        """The unified symbol of a swap that venue lists, however it is spelt; None where it lists no such swap."""
        return _resolve(self.clients, venue, spelling)


def accesses(settings: Settings) -> list[VenueAccess]:
    """How to reach each configured venue."""
    return [_access(VenueName(name), venue) for name, venue in settings.venues.items()]


def account_keys(settings: Settings) -> list[str]:
    """One key per configured account, for the instance locks."""
    return [account_key(access.name, access.base_url or "", access.key) for access in accesses(settings)]


def assemble(
    settings: Settings,
    *,
    clock: Clock,
    transport: Callable[[str], Transport],
    journal: Journal,
    audit: AuditLog,
    notifier: Notifier,
    workers: Executor | None = None,
) -> Engine:
    """Build everything; `workers` do the long parsing (None = on the loop). Raises ValueError for a venue without an
    adapter."""
    clients: dict[VenueName, VenueClient] = {}
    streams: dict[VenueName, UserStream] = {}
    markets: dict[VenueName, MarketData] = {}
    reads: dict[VenueName, MarketReads] = {}
    instruments: dict[InstrumentId, Instrument] = {}
    quotes: dict[InstrumentId, Asset] = {}
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
    risk = RiskGuard(state=state, limits=_limits(settings), quotes=quotes, journal=journal, clock=clock)
    reference = partial(_reference, markets, clock)
    closer = Closer(
        accounts=names,
        orders=orders,
        risk=risk,
        clock=clock,
        notifier=notifier,
        mark=partial(reference, kind=TriggerReference.MARK_PRICE),
        instruments=instruments,
    )
    executions = ExecutionNotes(books=books, clock=clock, offset_ms=lambda venue: clients[venue].clock_offset_ms)
    protection = ProtectionManager(
        accounts=names,
        orders=orders,
        risk=risk,
        closer=closer,
        instruments=instruments,
        reference=reference,
        working_type=TriggerReference(settings.protection.working_type),
        deadline_seconds=settings.protection.protection_deadline_ms / 1000,
        books=books,
        clock=clock,
        notifier=notifier,
    )
    passed = PassedStops(
        orders=orders, protection=protection, closer=closer, reference=reference, clock=clock, notifier=notifier
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
    watch = AccountWatch(clients=clients, risk=risk, leverage=leverage, notifier=notifier)
    outages = Outages(clients=clients, risk=risk, reconcile=reconciler.ask, notifier=notifier, clock=clock)
    for access in accesses(settings):
        connection = connect_venue(
            access,
            clock=clock,
            transport=transport(access.name),
            sink=orders.take,
            on_connected=partial(_resume, access.name, reconciler, watch),
            on_set_aside=partial(reconciler.ask, access.name),
            on_health=partial(outages.on_health, access.name),
            workers=workers,
        )
        clients[access.name] = connection.client
        streams[access.name] = connection.user_stream
        markets[access.name] = connection.market
        reads[access.name] = connection.reads
    screener = Screener(
        reads=reads,
        markets=markets,
        instruments=instruments,
        wanted=partial(may_be_entered, settings),
        clock=clock,
        max_age=float(settings.signals.screen_max_age_seconds),
    )
    rules_loaded: dict[VenueName, float] = {}
    desk = EntryDesk(
        accounts=names,
        instruments=instruments,
        market=markets,
        leverage=leverage,
        screener=screener,
        rules_age=lambda venue: clock.monotonic() - rules_loaded.get(venue, float("-inf")),
        orders=orders,
        risk=risk,
        protection=protection,
        executions=executions,
        rules=_entry_rules(settings),
        clock=clock,
    )
    learn = partial(_learn, clients, instruments, quotes, rules_loaded, clock)
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
    for consumer in (risk, protection, reconciler, leverage, watch):
        orders.listen(consumer.on_events)
    executions.follow(orders)
    orders.on_outcome(upkeep.on_outcome)
    protection.on_stale_rules(upkeep.renew)
    orders.on_unresolved(inflight.watch)
    orders.on_broken(risk.halt)

    def queries(waves: WaveProcessor) -> Queries:
        return Queries(
            build=build_id(),
            orders=orders,
            protection=protection,
            risk=risk,
            waves=waves,
            inflight=inflight,
            reconciler=reconciler,
            streams=streams,
            reference=reference,
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
        orders=orders,
        risk=risk,
        closer=closer,
        protection=protection,
        passed=passed,
        inflight=inflight,
        reconciler=reconciler,
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
    )


def _learn(
    clients: Mapping[VenueName, VenueClient],
    instruments: dict[InstrumentId, Instrument],
    quotes: dict[InstrumentId, Asset],
    loaded: dict[VenueName, float],
    clock: Clock,
    venue: VenueName,
) -> None:
    loaded[venue] = clock.monotonic()
    for symbol, instrument in clients[venue].instruments.items():
        instruments[InstrumentId(venue, symbol)] = instrument
        quotes[InstrumentId(venue, symbol)] = instrument.quote


def _connections(settings: Settings) -> int:
    """What one wave needs at once: an entry or its stop for every trade, and room for the reads beside them."""
    return min(2 + max(settings.wave.max_trades_per_wave, settings.wave.max_trades_per_wave_total), MOST_WARM)


async def _resume(venue: VenueName, reconciler: Reconciler, watch: AccountWatch) -> None:
    """What a new connection must settle before it counts as live. Raises VenueError."""
    await asyncio.gather(reconciler.reconcile(venue), watch.look(venue))


def _access(name: VenueName, venue: VenueSettings) -> VenueAccess:
    passphrase = getattr(venue, "passphrase", None)
    return VenueAccess(
        name=name,
        key="" if venue.api_key is None else venue.api_key.get_secret_value(),
        secret="" if venue.api_secret is None else venue.api_secret.get_secret_value(),
        passphrase="" if passphrase is None else passphrase.get_secret_value(),
        base_url=venue.url,
        testnet=venue.testnet,
    )


def margin_mode(settings: Settings) -> MarginMode | None:
    """None = as the account has it."""
    return None if settings.sizing.margin_mode == "keep" else MarginMode(settings.sizing.margin_mode)


def _limits(settings: Settings) -> RiskLimits:
    return RiskLimits(
        max_positions=settings.risk.max_positions,
        max_exposure=Notional(settings.risk.max_exposure_usd),
        reserve=Notional(settings.risk.minimum_active_balance_usd),
        leverage=settings.sizing.leverage,
    )


def sizing_rule(settings: Settings) -> SizingRule:
    return SizingRule(
        target=Notional(settings.sizing.position_size_usd),
        minimum=Notional(settings.sizing.min_position_size_usdt),
        tolerance_percent=settings.sizing.position_size_tolerance_percent,
    )


def _entry_rules(settings: Settings) -> EntryRules:
    screening = ScreeningRules(
        quotes=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
        min_score=settings.signals.min_score,
        allow_shorts=settings.trading.allow_shorts,
        stoplist=frozenset(settings.signals.stoplist_symbols),
        entry_max_age=ENTRY_PRICE_MAX_AGE_SECONDS,
        leverage=settings.sizing.leverage,
        divergence_warn=settings.signals.price_divergence_warn_percent,
        divergence_refuse=settings.signals.price_divergence_refuse_percent,
        rules_max_age=RULES_MAX_AGE_SECONDS,
        liquidity=_liquidity_rules(settings),
    )
    return EntryRules(
        type=OrderType(settings.entry.entry_order_type),
        max_slippage_percent=settings.entry.entry_max_slippage_percent,
        stop_loss_percent=settings.protection.stop_loss_percent,
        sizing=sizing_rule(settings),
        screening=screening,
    )


def _liquidity_rules(settings: Settings) -> LiquidityRules:
    signals = settings.signals

    def rule(name: str, limit: Decimal, missing: str, choice: str) -> Filter:
        return Filter(setting=name, limit=limit, missing_setting=missing, on_missing=OnMissing(choice))

    return LiquidityRules(
        open_interest=rule(
            "SIGNAL_MIN_OPEN_INTEREST_USDT",
            signals.min_open_interest_usdt,
            "SIGNAL_OPEN_INTEREST_ON_MISSING",
            signals.open_interest_on_missing,
        ),
        volume_1h=rule(
            "SIGNAL_MIN_VOLUME_1H_USDT",
            signals.min_volume_1h_usdt,
            "SIGNAL_VOLUME_1H_ON_MISSING",
            signals.volume_1h_on_missing,
        ),
        move_5min=rule(
            "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT",
            signals.max_price_change_5min_percent,
            "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING",
            signals.price_change_5min_on_missing,
        ),
        spread=rule("MAX_SPREAD_PERCENT", signals.max_spread_percent, "SPREAD_ON_MISSING", signals.spread_on_missing),
        max_age=float(signals.screen_max_age_seconds),
    )


def may_be_entered(settings: Settings, instrument: Instrument) -> bool:
    """Whether anything is ever read or subscribed for entering it (VAL-17)."""
    quotes, stoplist = settings.trading.quote_coins, frozenset(settings.signals.stoplist_symbols)
    listed = stoplisted(instrument.id.symbol, instrument.venue_symbol, stoplist)
    return instrument.quote in quotes and not listed


def _reference(
    markets: dict[VenueName, MarketData], clock: Clock, instrument: InstrumentId, kind: TriggerReference
) -> Decimal | None:
    """The price that fires a stop, None when it is unknown or too old. For the contract price the side of the book that
    fires first stands in for the last trade."""
    market = markets.get(instrument.venue)
    quote = None if market is None else market.quote(instrument.symbol)
    if quote is None or clock.monotonic() - quote.received > REFERENCE_MAX_AGE_SECONDS:
        return None
    if kind is TriggerReference.MARK_PRICE:
        return quote.mark
    return None if quote.bid is None or quote.ask is None else (quote.bid + quote.ask) / 2


def _resolve(clients: dict[VenueName, VenueClient], venue: VenueName, spelling: str) -> Symbol | None:
    """`BTCUSDT`, `BTC/USDT`, `BTC/USDT:USDT` are one swap; nothing but a listed swap is ever returned (VAL-04)."""
    client = clients.get(venue)
    if client is None:
        return Symbol(spelling)  # the venue is missing, and that is the reason the signal will be refused with
    for candidate in (spelling, f"{spelling}:{spelling.rpartition('/')[2]}"):
        if candidate in client.instruments:
            return Symbol(candidate)
    wanted = spelling.upper()
    return next((s for s, i in client.instruments.items() if i.venue_symbol == wanted), None)
