"""OrderManager: the single writer of orders and positions. Everything a venue says comes through one queue."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.events import (
    AssetModeChanged,
    Event,
    Inconsistent,
    LeverageChanged,
    OrderChanged,
    OwnIdUnknown,
    PositionChanged,
    PositionTold,
    ReducedElsewhere,
    WalletMoved,
    margin_called,
)
from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, TradeId, VenueName, is_ours
from core.domain.money import Price, Quantity, plain
from core.domain.order import (
    UNACKNOWLEDGED,
    IllegalReport,
    Order,
    OrderIntent,
    OrderStatus,
    apply_fill,
    apply_status,
    purpose,
)
from core.domain.position import FillWithoutPosition, Position, PositionKey, closing_key, open_or_add, reduce
from core.domain.reports import (
    AssetModeReport,
    BalanceReport,
    FillReport,
    LeverageReport,
    MarginCallReport,
    OrderStatusReport,
    PositionReport,
    Report,
    Source,
    WalletCause,
)
from core.engine.bookkeeping import Bookkeeper
from core.engine.order_dispatch import OrderDispatch, OutcomeListener, SentListener
from core.engine.owned_tasks import OwnedTasks, TaskOwner
from core.engine.ports import Attach, Rejected, VenueClient
from core.engine.risk_guard import Approved
from core.engine.state import State, StateView

log = structlog.get_logger(__name__)

MustListener = Callable[[Sequence[Event]], None]
TradeListener = Callable[[FillReport, Order, Position | None, Position], None]
REPORT_QUEUE_SIZE = 10_000
FOREIGN_TRADES_REMEMBERED = 1_000
LAG_ALARM_SIZE = 1_000


class OrderManager:
    """Idempotent submit and cancel; reports in, events out. `must` listeners run in the same step as the change."""

    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        state: State,
        books: Bookkeeper,
        clock: Clock,
        journal_wait_seconds: float = 0.05,
    ) -> None:
        self._clients = clients
        self._state = state
        self._books = books
        self._clock = clock
        self._queue: asyncio.Queue[Sequence[Report]] = asyncio.Queue(REPORT_QUEUE_SIZE)
        self._must: list[MustListener] = []
        self._waiters: dict[InstrumentId, deque[asyncio.Future[None]]] = {}
        self._tasks: TaskOwner | None = None
        self._unresolved: Callable[[Order, str], None] = _nobody_resolves
        self._broken: Callable[[str], None] = _nobody_halts
        self._taken_over: dict[PositionKey, int] = {}
        self._ended_before: frozenset[ClientOrderId] = frozenset()
        self._unnoted: dict[ClientOrderId, OrderIntent] = {}
        self._foreign_trades: OrderedDict[tuple[InstrumentId, TradeId], None] = OrderedDict()
        self._trades: list[TradeListener] = []
        self.counts: Counter[str] = Counter()
        self._dispatch = OrderDispatch(
            clients=clients,
            state=state,
            books=books,
            clock=clock,
            reports=self,
            journal_wait_seconds=journal_wait_seconds,
        )
        self.last_word = self._dispatch.last_word

    @property
    def state(self) -> StateView:
        return self._state

    def listen(self, must: MustListener) -> None:
        """Add a consumer that runs in the same step as every change; if it raises, trading halts."""
        self._must.append(must)

    def on_unresolved(self, watch: Callable[[Order, str], None]) -> None:
        """Who resolves orders with unknown outcome or missing fills (in-flight resolver)."""
        self._unresolved = watch

    def on_outcome(self, listener: OutcomeListener) -> None:
        """Told how the venue answered each order, before the answer is applied (risk guard, upkeep). Must not raise."""
        self._dispatch.on_outcome(listener)

    def on_sent(self, listener: SentListener) -> None:
        """Told of each order in the moment it goes out. Must not raise."""
        self._dispatch.on_sent(listener)

    def on_trade(self, listener: TradeListener) -> None:
        """Told of each new trade of an order of ours: the order after it, the position before and after it."""
        self._trades.append(listener)

    def on_broken(self, halt: Callable[[str], None]) -> None:
        self._broken = halt

    def register(self, order: Order) -> None:
        """An order of ours that is about to be sent, or just was; nobody is told of it yet."""
        self._state.put_order(order)

    def unregister(self, client_order_id: ClientOrderId) -> None:
        """It was certainly not sent, so it never was an order."""
        self._state.drop_order(client_order_id)

    def broken(self, why: str) -> None:
        """Something inside the program failed: trading halts."""
        self._broken(why)

    def doubt(self, instrument: InstrumentId, what: str) -> None:
        """What we believe of this instrument and what the venue says cannot both be true: the venue is to be read."""
        self._publish([self._inconsistent(instrument, what)])

    async def run(self) -> None:
        """Apply reports and own the sending tasks, until cancelled."""
        async with OwnedTasks() as tasks:
            self._tasks = tasks
            try:
                await self._consume()
            finally:
                self._tasks = None

    # reports in

    async def take(self, reports: Sequence[Report]) -> None:
        """The one door (ports.ReportSink). Waits while the queue is full; nothing is dropped."""
        if self._queue.qsize() > LAG_ALARM_SIZE:
            self.counts["report_lag"] += 1
        await self._queue.put(reports)

    @property
    def queued(self) -> int:
        """Steps of reports that wait to be applied, of at most `REPORT_QUEUE_SIZE`."""
        return self._queue.qsize()

    async def drained(self) -> None:
        """Until everything taken so far was applied."""
        await self._queue.join()

    async def _consume(self) -> None:
        while True:
            reports = await self._queue.get()
            try:
                self.apply(reports)
            except Exception as error:  # swallow: a report we cannot handle must not stop the ones behind it (UDS-02)
                log.exception("orders.report_failed", reports=len(reports))
                self.counts["failed_reports"] += 1
                self._broken(f"a venue report could not be applied: {error!r}")
                self._publish([self._inconsistent(i, f"a report failed: {error!r}") for i in _instruments(reports)])
            finally:
                self._queue.task_done()

    def apply(self, reports: Sequence[Report]) -> None:
        """Apply reports that belong together in one step: state, journal, must-listeners, waiters."""
        events: list[Event] = []
        try:
            with self._books.one_step():
                for report in reports:
                    self._apply_one(report, events)
        finally:  # a report that breaks must not hide the fill before it: its stop hangs on the event
            if events:
                self._publish(events)

    def _apply_one(self, report: Report, events: list[Event]) -> None:
        match report:
            case FillReport():
                self._on_fill(report, events)
            case OrderStatusReport():
                self._on_status(report, events)
            case PositionReport():
                self._state.put_venue_position(report)
                if report.source is Source.STREAM:
                    events.append(PositionTold(instrument=report.instrument))
            case BalanceReport():
                self._on_balance(report, events)
            case LeverageReport():
                events.append(LeverageChanged(instrument=report.instrument, leverage=report.leverage))
            case AssetModeReport():
                events.append(AssetModeChanged(venue=report.venue, multi_assets=report.multi_assets))
            case MarginCallReport():
                events.append(margin_called(report))

    def _on_balance(self, report: BalanceReport, events: list[Event]) -> None:
        if self._state.put_balance(report, self._clock.monotonic()):
            self._books.wallet(report)
        if report.change and report.cause is not WalletCause.TRADE:
            events.append(WalletMoved(report=report))

    def _on_status(self, report: OrderStatusReport, events: list[Event]) -> None:
        order = self._state.order(report.client_order_id) if report.client_order_id else None
        if order is None and not report.client_order_id and report.venue_order_id:
            order = self._state.order_by_venue_id(report.instrument, report.venue_order_id)
        order = order or self._taken_back(report.client_order_id, report.quantity, report.trigger_price)
        if order is None:
            self._on_foreign(report.instrument, report.client_order_id, events)
            return
        changed = apply_status(order, report)
        if isinstance(changed, IllegalReport):
            events.append(self._inconsistent(report.instrument, f"{order.client_order_id}: {changed.told}"))
        elif changed is not order:
            self._put(order, changed, events)

    def _on_fill(self, fill: FillReport, events: list[Event]) -> None:
        order = self._state.order(fill.client_order_id) if fill.client_order_id else None
        order = order or self._state.order_by_venue_id(fill.instrument, fill.venue_order_id)
        order = order or self._taken_back(fill.client_order_id)
        if order is None:
            self._on_foreign(fill.instrument, fill.client_order_id, events)
            self._on_foreign_fill(fill, events)
            return
        changed = apply_fill(order, fill)
        if isinstance(changed, IllegalReport):
            events.append(self._inconsistent(fill.instrument, f"{order.client_order_id}: {changed.told}"))
            return
        if changed is order:
            self.counts["duplicate_fill"] += 1
            return
        self._put(order, changed, events)
        self._books.fill(fill, order)
        opens = order.intent.leg is Leg.ENTRY
        key = PositionKey(fill.instrument, fill.side if opens else fill.side.opposite)
        known = self._state.position(key)
        if opens and known is None:
            known = self._closed_before(key, order)
        try:
            if opens:
                position = open_or_add(known, fill, order.intent, self._books.default_stop_percent)
            else:
                position = reduce(known, fill)
        except FillWithoutPosition as error:
            events.append(self._inconsistent(fill.instrument, str(error)))
            return
        self.put_position(position, events, by=purpose(changed))
        for listener in self._trades:  # after the position is kept: its stop must not hang on who is told of the trade
            listener(fill, changed, known, position)

    def _closed_before(self, key: PositionKey, entry: Order) -> Position | None:
        """The position that this entry opened and that was closed before the entry ended."""
        closed = self._state.last_closed(key)
        return closed if closed is not None and closed.id == entry.intent.position_id else None

    def _on_foreign_fill(self, fill: FillReport, events: list[Event]) -> None:
        """Somebody else's order (a liquidation, the owner's hand) shrank our position: booked at its real price.

        Only from the stream, which tells a trade once per connection and never again after a restart; what is missed
        in a gap reconciliation takes over from the venue's figure.
        """
        if fill.source is not Source.STREAM or (fill.instrument, fill.trade_id) in self._foreign_trades:
            return
        position = self._state.position(closing_key(fill))
        if position is None or fill.quantity > position.quantity or fill.side is position.side:
            return
        if fill.venue_time_ms <= self._taken_over.get(position.key, position.opened_ms - 1):
            return  # told late: it shrank an earlier position, or the figure that was taken over has it already
        self._foreign_trades[fill.instrument, fill.trade_id] = None
        while len(self._foreign_trades) > FOREIGN_TRADES_REMEMBERED:
            self._foreign_trades.popitem(last=False)
        reduced = reduce(position, fill)
        self._books.foreign_fill(fill, reduced)
        self.put_position(reduced, events, by=f"somebody else: {fill.origin.value}")
        events.append(ReducedElsewhere(position=reduced, origin=fill.origin, quantity=fill.quantity, price=fill.price))

    def _put(self, before: Order, order: Order, events: list[Event]) -> None:
        self._state.put_order(order)
        self._books.order(order)
        events.append(OrderChanged(before=before, order=order))
        if order.intent.leg is Leg.ENTRY and order.ended and not order.fills_missing:
            self._drop_attached(order, events)
        if order.fills_missing and not before.fills_missing:
            self._unresolved(order, "the venue reports fills whose trades were not seen")

    def _drop_attached(self, entry: Order, events: list[Event]) -> None:
        """The stop that travelled with an entry which has ended never comes to be where the entry did not buy what the
        venue asks for. Should it turn up all the same, its report outranks this."""
        for stop in self._state.orders_of(entry.intent.position_id):
            if stop.intent.attached_to != entry.client_order_id or stop.status not in UNACKNOWLEDGED:
                continue
            client = self._clients.get(entry.instrument.venue)
            complete = client is not None and client.traits.attach is Attach.COMPLETE_FILL
            if not entry.filled or (complete and entry.filled < entry.quantity):
                why = f"its entry ended with {plain(entry.filled)} of {plain(entry.quantity)} filled"
                self._put(stop, replace(stop, status=OrderStatus.ABSENT, detail=why), events)

    def _taken_back(
        self, client_order_id: ClientOrderId, quantity: Quantity | None = None, level: Price | None = None
    ) -> Order | None:
        """An order of a run that could not write it down: from now on one like every other."""
        if (intent := self._unnoted.pop(client_order_id, None)) is None:
            return None
        order = Order(intent=replace(intent, quantity=quantity or intent.quantity, trigger_price=level))
        log.warning("orders.taken_back", instrument=str(intent.instrument), client_order_id=client_order_id)
        self._state.put_order(order)
        self._books.taken_back(order.intent)
        if not intent.conditional:
            self._unresolved(order, "an earlier run sent it, and did not write it down")
        return order

    def unnoted(self, position_id: PositionId) -> dict[str, OrderIntent]:
        """What may be at the venue for this position although the journal lacks it, by its name there."""
        return {name: intent for name, intent in self._unnoted.items() if intent.position_id == position_id}

    def _on_foreign(self, instrument: InstrumentId, client_order_id: str, events: list[Event]) -> None:
        self.counts["foreign_report"] += 1
        ended = client_order_id in self._ended_before or self._state.was_known(ClientOrderId(client_order_id))
        if is_ours(client_order_id) and not ended:
            self.counts["unknown_own_report"] += 1
            log.error("orders.id_not_in_journal", instrument=str(instrument), client_order_id=client_order_id)
            events.append(OwnIdUnknown(instrument=instrument, client_order_id=client_order_id))

    def _inconsistent(self, instrument: InstrumentId, what: str) -> Inconsistent:
        self.counts["illegal_report"] += 1
        self._books.inconsistent(instrument, what)
        return Inconsistent(instrument=instrument, what=what)

    def put_position(
        self, position: Position, events: list[Event] | None = None, *, by: str = "reconciliation"
    ) -> None:
        """Write a position; from reconciliation (no `events`) it is published at once. `by` is what changed it."""
        self._state.put_position(position)
        if not position.open:
            self._taken_over.pop(position.key, None)
        self._books.position(position, by)
        event = PositionChanged(position=position)
        if events is None:
            self._publish([event])
        else:
            events.append(event)

    def take_over(self, position: Position, told_ms: int) -> None:
        """Write a position as the venue told it (venue UTC ms); what others traded until then is in that figure."""
        self._taken_over[position.key] = told_ms
        self.put_position(position)

    def restore(
        self,
        orders: Iterable[Order],
        positions: Iterable[Position],
        ended: Iterable[ClientOrderId] = (),
        unnoted: Iterable[OrderIntent] = (),
    ) -> None:
        """State from the journal, before anything runs; not written again. `positions`: open ones, and closed ones that
        their entry may open again. `ended`: what a venue may tell of again. `unnoted`: what may be at a venue although
        the journal lacks it; what has ended is none of it, though of a closed position its orders are not loaded."""
        self._ended_before = frozenset(ended)
        self._unnoted = {i.client_order_id: i for i in unnoted if i.client_order_id not in self._ended_before}
        for order in orders:
            self._state.put_order(order)
        for venue, client in self._clients.items():
            client.recall([order for order in self._state.all_live_orders() if order.instrument.venue is venue])
        for position in positions:
            self._state.put_position(position)

    def _publish(self, events: Sequence[Event]) -> None:
        for listener in self._must:
            try:
                listener(events)
            except Exception as error:  # swallow: the other must-consumers still have to see the event; trading halts
                log.exception("orders.must_consumer_failed", listener=repr(listener))
                self._broken(f"a critical consumer failed: {error!r}")
        for event in events:
            if not isinstance(event, AssetModeChanged | WalletMoved):
                self.wake(event.instrument)

    # commands out

    async def submit(
        self,
        approved: Sequence[Approved[OrderIntent]],
        stops: Mapping[ClientOrderId, Approved[OrderIntent]] = MappingProxyType({}),
        *,
        tightening: bool = False,
    ) -> None:
        """Register, journal in one commit, then send all concurrently; returns when they are on their way.

        `stops` travel with their entries, by the entry's client id. Entries wait for a durable journal and raise
        JournalUnwritable (nothing was sent). Reduce-only orders wait at most the configured time and go out whatever
        the journal does (INV-2, JRN-09). Submitting an id that is already known sends nothing. `tightening`, of what
        reduces: see `Departure`. What a row on disk foretells does not wait for one of its own
        (`OrderIntent.foretold_by`).
        """
        if self._tasks is None:
            raise RuntimeError("the order manager is not running")
        await self._dispatch.submit(self._tasks, approved, stops, tightening=tightening)

    async def cancel(self, order: Order) -> None:
        """Cancel one of our orders; the state follows the venue's word, not this call (STP-07).

        A refused or unanswered cancel is followed by the question what became of the order: it may have filled.
        """
        await self._dispatch.cancel(order)

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Rejected | None:
        """Move a resting stop in place; the venue's refusal, if it refused. Where the answer is lost the venue is asked
        how the stop stands now. `tightening`: see `Departure`."""
        return await self._dispatch.amend_stop(
            order, trigger_price=trigger_price, quantity=quantity, tightening=tightening
        )

    def conclusion(self, intent: OrderIntent, status: OrderStatus, detail: str) -> OrderStatusReport:
        """A status the venue expressed by refusing or by not knowing an order, as a report like any other."""
        return self._dispatch.conclusion(intent, status, detail)

    def resolve(self, order: Order, cause: str) -> None:
        """Have the fate of this order found out; asking twice changes nothing."""
        self._unresolved(order, cause)

    def rejection(self, client_order_id: ClientOrderId) -> Rejected | None:
        """Why the venue refused this order, when it did so in its answer."""
        return self._dispatch.rejection(client_order_id)

    async def wait(self, instrument: InstrumentId, until: Callable[[], bool], timeout: float) -> bool:
        """Sleep until `until()` holds, judged after every change of `instrument`; False when `timeout` seconds pass."""
        if until():
            return True
        try:
            async with asyncio.timeout(timeout):
                await self._changed(instrument)
                while not until():
                    await self._changed(instrument)
        except TimeoutError:
            return until()
        return True

    async def _changed(self, instrument: InstrumentId) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(instrument, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:  # where nothing changes for long, those who gave up would pile up
            waiting = self._waiters.get(instrument)
            if waiting is not None and waiter in waiting:
                waiting.remove(waiter)
            raise

    def wake(self, instrument: InstrumentId) -> None:
        """Let everyone in `wait` look again."""
        for waiter in self._waiters.pop(instrument, ()):
            if not waiter.done():
                waiter.set_result(None)


def _instruments(reports: Sequence[Report]) -> list[InstrumentId]:
    """Those that reports speak of, each once, in order."""
    return list(dict.fromkeys(r.instrument for r in reports if not isinstance(r, BalanceReport | AssetModeReport)))


def _nobody_resolves(order: Order, cause: str) -> None:
    raise RuntimeError(f"no in-flight resolver is connected: {order.client_order_id} ({cause})")


def _nobody_halts(reason: str) -> None:
    raise RuntimeError(f"nobody can halt trading: {reason}")
