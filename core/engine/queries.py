"""Everything Telegram, tools and the status page may ask. Answers are frozen pictures, made when asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from msgspec import Struct, field

from core.clock import Clock
from core.domain.ids import InstrumentId, VenueName
from core.domain.order import Order, TriggerReference
from core.domain.position import Position
from core.domain.prices import PriceSource
from core.domain.risk import TradingState
from core.engine.data_registry import DataRegistry
from core.engine.exit_engine import ExitEngine
from core.engine.giving_way import AT_ONCE, PAUSE_SECONDS
from core.engine.inflight import InflightResolver
from core.engine.money_ledger import MoneyLedgers, MoneyRow
from core.engine.order_manager import OrderManager
from core.engine.ports import KeyRights, UserStream
from core.engine.protection_manager import ProtectionManager
from core.engine.reconciler import Reconciler
from core.engine.risk_figures import BalanceRow, RiskFigures, balance_rows, pauses_told, risk_figures, shortages_told
from core.engine.risk_guard import RiskGuard
from core.engine.vitals import LagRow, NoVitals, ProcessVitals, QueueRow, TaskRow
from core.engine.wave_processor import WaveProcessor


class VenueRow(Struct, frozen=True, kw_only=True):
    """`connected_s`, `reconciled_s`: seconds since; None = not connected, never.

    `off_because` includes a trading state that was set for this venue alone; `paused` says why its entries wait.
    """

    venue: VenueName
    connected: bool
    connected_s: float | None
    reconnects: int
    key_swaps: int
    reconciled_s: float | None
    off_because: str | None
    paused: str | None = None
    down_s: float | None = None
    """Seconds since the private stream went down, or since the start where it has not come up; None = connected."""
    clock_error_ms: int | None = 0
    """How far this host's clock has jumped since the venue's was measured; None = not measured for too long."""
    headroom: Mapping[str, float] = field(default_factory=dict)
    """By lane of the request budget: the part of it that is free now, 0 to 1."""
    key_may: tuple[str, ...] | None = None
    """What the key may do: `trade`, `withdraw`, and `any address` where it is not bound to some; None = not told."""

    @property
    def may_withdraw(self) -> bool:
        """Used all the same, because ALLOW_WITHDRAWAL_KEYS says so (SEC-02)."""
        return "withdraw" in (self.key_may or ())


class RiskRow(Struct, frozen=True, kw_only=True):
    """The essentials of `RiskFigures`: quote coin, percent of the equity's peak. A limit of 0 is off."""

    day_result: Decimal
    day_loss_limit: Decimal
    streak: int
    streak_limit: int
    drawdown_percent: Decimal
    drawdown_limit_percent: Decimal
    reached: tuple[str, ...]
    denials: Mapping[str, int]
    balances: tuple[BalanceRow, ...]
    shortages: tuple[str, ...] = ()
    equity: Decimal = Decimal(0)
    exposure: Decimal = Decimal(0)


class PositionRow(Struct, frozen=True, kw_only=True):
    """Prices in quote coin; `stop` None = not protected at this moment; `unprotected_ms` by the venue's stamps."""

    instrument: InstrumentId
    side: str
    quantity: Decimal
    entry_price: Decimal
    mark: Decimal | None
    unrealized: Decimal | None
    stop: Decimal | None
    unprotected_ms: int | None
    age_s: float
    dust: bool = False
    """Less than the venue takes in one order; it was tried once and stays there without a stop (VAL-19)."""
    naked_s: float | None = None
    """Seconds for which we know that some of it has no confirmed stop; None = it has one."""
    protected_s: float | None = None
    """Seconds since which a stop covers it without a break, as far as this run knows; None = none does."""


class OrderRow(Struct, frozen=True, kw_only=True):
    """An order of ours that has not ended. `level` is what fires a conditional one; `age_s` None = the venue has not
    told of it yet."""

    client_order_id: str
    venue_order_id: str | None
    instrument: InstrumentId
    leg: str
    side: str
    type: str
    status: str
    quantity: Decimal
    filled: Decimal
    level: Decimal | None
    age_s: float | None


class ExitRow(Struct, frozen=True, kw_only=True):
    """Counted since the start; `closes` by the rule that closed."""

    analyses: int
    trailing_checks: int
    stops_moved: int
    moves_refused: int
    waited_for_price: int
    closes: Mapping[str, int]


class StatusReport(Struct, frozen=True, kw_only=True):
    build: str
    uptime_s: float
    trading_state: str
    reason: str
    venues: tuple[VenueRow, ...]
    positions: tuple[PositionRow, ...]
    balances: Mapping[str, Decimal]
    waves: int
    refusals: Mapping[str, int]
    unresolved_orders: int
    risk: RiskRow | None = None
    signals: Mapping[str, int] = field(default_factory=dict)
    """Heard since the start, by source."""
    exits: ExitRow | None = None
    prices: Mapping[str, int] = field(default_factory=dict)
    """How many held instruments go by which source: websocket, candle, rest or none."""
    price_counts: Mapping[str, int] = field(default_factory=dict)
    """Since the start: prices by source, changes from one source to another, what was done about late ones."""
    money: tuple[MoneyRow, ...] = ()
    """What of each wallet's change nothing explains."""
    journal_writable: bool = True
    halts: int = 0
    """How often since the start trading was halted because something had broken."""
    tasks: tuple[TaskRow, ...] = ()
    lag: LagRow = field(default_factory=LagRow)
    queues: tuple[QueueRow, ...] = ()


class Queries:
    def __init__(
        self,
        *,
        build: str,
        orders: OrderManager,
        protection: ProtectionManager,
        risk: RiskGuard,
        waves: WaveProcessor,
        inflight: InflightResolver,
        exits: ExitEngine,
        data: DataRegistry,
        reconciler: Reconciler,
        money: MoneyLedgers,
        streams: Mapping[VenueName, UserStream],
        rights: Mapping[VenueName, KeyRights],
        reference: Callable[[InstrumentId, TriggerReference], Decimal | None],
        headroom: Mapping[VenueName, Callable[[], Mapping[str, float]]],
        clock: Clock,
    ) -> None:
        self._build = build
        self._orders = orders
        self._protection = protection
        self._risk = risk
        self._waves = waves
        self._inflight = inflight
        self._exits = exits
        self._data = data
        self._reconciler = reconciler
        self._money = money
        self._streams = streams
        self._rights = rights
        self._reference = reference
        self._headroom = headroom
        self._clock = clock
        self._started = clock.monotonic()
        self.process: ProcessVitals = NoVitals()
        """Set by whoever runs the process."""

    async def status_in_steps(self, pause: float = PAUSE_SECONDS) -> StatusReport:
        """The same as `status`, without holding up anybody where very much is open."""
        rows = []
        for number, position in enumerate(self._orders.state.positions(), start=1):
            rows.append(self._position(position))
            if number % AT_ONCE == 0:
                await asyncio.sleep(pause)
        return self.status(tuple(rows))

    def status(self, positions: tuple[PositionRow, ...] | None = None) -> StatusReport:
        """`positions`: their rows, where they are known already."""
        standing = self._risk.standing
        balances = self._orders.state.balances().items()
        return StatusReport(
            build=self._build,
            uptime_s=self._clock.monotonic() - self._started,
            trading_state=standing.state.value,
            reason=standing.reason,
            venues=tuple(self._venue(venue) for venue in self._streams),
            positions=self.positions() if positions is None else positions,
            balances={f"{venue} {asset}": balance.wallet for (venue, asset), balance in balances if balance.wallet},
            waves=self._waves.finished,
            refusals=dict(self._waves.refusals),
            unresolved_orders=len(self._inflight.unresolved),
            risk=self._risk_row(),
            signals=dict(self._waves.signals),
            exits=self._exit_row(),
            prices=_by_source(self._data.levels().values()),
            price_counts=dict(self._data.counts),
            money=self._money.rows(),
            journal_writable=self._risk.journal_writable,
            halts=self._risk.halts,
            tasks=self.process.tasks(),
            lag=self.process.lag(),
            queues=self.process.queues(),
        )

    def risk(self) -> RiskFigures:
        """Every figure that entries are judged by."""
        return risk_figures(self._risk, self._orders.state, self._clock)

    def positions(self) -> tuple[PositionRow, ...]:
        return tuple(self._position(position) for position in self._orders.state.positions())

    def orders(self) -> tuple[OrderRow, ...]:
        """What rests or is under way, by instrument."""
        live = sorted(self._orders.state.all_live_orders(), key=lambda order: (order.instrument, order.client_order_id))
        return tuple(map(self._order, live))

    def _order(self, order: Order) -> OrderRow:
        intent = order.intent
        told_ms = order.venue_time_ms
        return OrderRow(
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            instrument=order.instrument,
            leg=intent.leg.value,
            side=intent.side.value,
            type=intent.type.value,
            status=order.status.value,
            quantity=order.quantity,
            filled=order.filled,
            level=order.trigger_price,
            age_s=max(0, self._clock.now_ms() - told_ms) / 1000 if told_ms else None,
        )

    def _venue(self, venue: VenueName) -> VenueRow:
        stream, now = self._streams[venue], self._clock.now_ms()
        reconciled = self._reconciler.last_ms.get(venue)
        return VenueRow(
            venue=venue,
            connected=stream.live_since_ms is not None,
            connected_s=None if stream.live_since_ms is None else (now - stream.live_since_ms) / 1000,
            reconnects=stream.reconnect_count,
            key_swaps=stream.stale_key_swap_count,
            reconciled_s=None if reconciled is None else (now - reconciled) / 1000,
            off_because=self._off_because(venue),
            paused=pauses_told(self._risk, now).get(venue.value),
            key_may=_told(self._rights.get(venue)),
            down_s=None if stream.down_since is None else self._clock.monotonic() - stream.down_since,
            clock_error_ms=self._risk.clocks.error_ms(venue),
            headroom=self._headroom[venue]() if venue in self._headroom else {},
        )

    def _off_because(self, venue: VenueName) -> str | None:
        said = self._risk.states.said(venue)
        if (why := self._risk.venue_off_reason(venue)) is not None or said.state is TradingState.ACTIVE:
            return why
        return f"{said.state}: {said.reason}"

    def _risk_row(self) -> RiskRow:
        book, rules = self._risk.ledger.book, self._risk.ledger.rules
        return RiskRow(
            day_result=book.day.result,
            day_loss_limit=rules.max_daily_loss,
            streak=book.streak,
            streak_limit=rules.streak_limit,
            drawdown_percent=round(book.equity.drawdown_percent, 4),
            drawdown_limit_percent=rules.max_drawdown_percent,
            reached=tuple(episode.what for episode in book.episodes.values()),
            denials={reason.value: count for reason, count in self._risk.denials.most_common()},
            balances=balance_rows(self._risk, self._orders.state),
            shortages=tuple(f"{where}: entries wait {until}" for where, until in shortages_told(self._risk).items()),
            equity=book.equity.now,
            exposure=sum((position.notional for position in self._orders.state.positions()), Decimal(0)),
        )

    def _exit_row(self) -> ExitRow:
        counts = self._exits.counts
        return ExitRow(
            analyses=counts.analyses,
            trailing_checks=counts.trailing_checks,
            stops_moved=counts.stops_moved,
            moves_refused=counts.moves_refused,
            waited_for_price=counts.waited_for_price,
            closes=dict(counts.closes.most_common()),
        )

    def _position(self, position: Position) -> PositionRow:
        instrument = position.instrument
        mark = self._reference(instrument, TriggerReference.MARK_PRICE)
        protection = self._protection.protection(position.id)
        dust = self._protection.dust(position.key)
        covered = protection is not None and not dust and self._protection.covered(position.key)
        return PositionRow(
            instrument=instrument,
            side="long" if position.side.sign > 0 else "short",
            quantity=position.quantity,
            entry_price=position.entry_price,
            mark=mark,
            unrealized=None if mark is None else position.unrealized(mark),
            stop=protection.trigger_price if covered and protection is not None else None,
            unprotected_ms=None if protection is None else protection.unprotected_ms,
            age_s=max(0, self._clock.now_ms() - position.opened_ms) / 1000,
            dust=dust,
            naked_s=self._protection.naked_s(position.key),
            protected_s=self._age(protection.since_ms) if covered and protection is not None else None,
        )

    def _age(self, since_ms: int | None) -> float | None:
        return None if since_ms is None else max(0, self._clock.now_ms() - since_ms) / 1000


def _told(rights: KeyRights | None) -> tuple[str, ...] | None:
    if rights is None:
        return None
    told = {"trade": rights.trade, "withdraw": rights.withdraw, "any address": not rights.bound_to_addresses}
    return tuple(what for what, may in told.items() if may)


def _by_source(levels: Iterable[PriceSource | None]) -> Mapping[str, int]:
    """Best first; sources nothing goes by are left out."""
    found = Counter(levels)
    return {"none" if level is None else level.value: found[level] for level in (*PriceSource, None) if found[level]}
