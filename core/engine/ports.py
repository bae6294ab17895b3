"""What the engine needs from the world, stated by its user. Adapters implement these; tests pass fakes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct, field

from core.domain.alerts import AlertKind
from core.domain.candle import Candle
from core.domain.ids import Asset, ClientOrderId, InstrumentId, Symbol, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderIntent
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Report
from core.domain.signal import Signal, Unusable

# --- venues ---------------------------------------------------------------------------------------------------------


class Accepted(Struct, frozen=True, kw_only=True):
    """The venue took the command; `reports` are what its answer says (may be empty)."""

    reports: tuple[Report, ...]


class About(StrEnum):
    """What a venue's refusal is about, as far as that changes what we do next. Each venue maps its codes by table."""

    OTHER = "other"
    WOULD_TRIGGER = "would_trigger"
    """The stop level was already crossed at the venue (STP-06)."""
    NOTHING_TO_REDUCE = "nothing_to_reduce"
    """A reduce-only order found no position; re-read it, the code alone proves nothing (ORD-08)."""
    INSUFFICIENT_MARGIN = "insufficient_margin"
    """Nobody else of this wave will get margin on that venue either (SIG-10, VAL-13)."""
    POSITION_LIMIT = "position_limit"
    """The bracket of this leverage is full (VAL-05): this symbol only, never repeated."""
    ACCOUNT_RESTRICTED = "account_restricted"
    """The account may only reduce, or the key may not trade (RSK-12, NET-07): entries on that venue pause."""
    STALE_RULES = "stale_rules"
    """Step, tick or filter differs from what we loaded: load the rules anew, try once more (VAL-20)."""
    NOT_TRADING = "not_trading"
    """The symbol is halted, settling or delisted (VAL-21)."""
    PRICE_BAND = "price_band"
    """The limit price lies outside the venue's band (VAL-08)."""
    WITHHELD = "withheld"
    """We ourselves kept it back at the last moment; the venue has not been asked."""
    UNREACHED = "unreached"
    """Never left this host, or the venue is in maintenance or limits us: counts as a venue error (RSK-07, NET-11)."""


class Rejected(Struct, frozen=True, kw_only=True):
    """A definite no: nothing was executed. `code` is the venue's raw code as text, `time_ms` when it came (our clock,
    UTC; 0 where nobody has kept it yet)."""

    code: str
    detail: str
    about: About = About.OTHER
    time_ms: int = 0

    @property
    def would_trigger(self) -> bool:
        return self.about is About.WOULD_TRIGGER

    @property
    def nothing_to_reduce(self) -> bool:
        return self.about is About.NOTHING_TO_REDUCE


class Unknown(Struct, frozen=True, kw_only=True):
    """Sent, outcome not known (DESIGN §3.1): ask by client order id. `cause` is for people."""

    cause: str


Outcome = Accepted | Rejected | Unknown


class NotFound(StrEnum):
    """The venue positively answered that it has no such order (which may still be too early, ORD-03)."""

    NOT_FOUND = "not_found"


class Condition(StrEnum):
    """Whether a venue serves us."""

    UP = "up"
    LIMITED = "limited"
    """It demands silence until a time (429, 418, a ban): no request goes out before (NET-02)."""
    MAINTENANCE = "maintenance"
    DOWN = "down"
    """It cannot be reached, or what it answers cannot be read."""
    KEY_REFUSED = "key_refused"
    """Nothing signed is taken: key, signature or this address; until the operator acts (NET-07)."""


class VenueHealth(Struct, frozen=True, kw_only=True):
    """`detail` are the venue's or the network's words, `code` its raw code, `until_ms` (UTC, our clock) the end of a
    silence. `needs_signed`: only the answer to a signed request tells whether it is over."""

    condition: Condition
    detail: str = ""
    code: str = ""
    until_ms: int | None = None
    needs_signed: bool = False


class MarginMode(StrEnum):
    ISOLATED = "isolated"
    CROSS = "cross"


class AccountSettings(Struct, frozen=True, kw_only=True):
    """Read at start. `leverage` and `margin` per unified symbol; symbols missing from them are unknown, not 1."""

    hedge_mode: bool
    can_trade: bool
    multi_assets: bool
    leverage: Mapping[Symbol, int]
    margin: Mapping[Symbol, MarginMode] = field(default_factory=dict)


class KeyRights(Struct, frozen=True, kw_only=True):
    """What the venue says the API key itself may do, whatever its account may."""

    trade: bool
    withdraw: bool
    bound_to_addresses: bool


class PriceTriple(Struct, frozen=True, kw_only=True):
    """Three figures of one swap that are made in different ways and should agree; quote coin."""

    mark: Price
    index: Price
    last: Price


class MassStatus(Struct, frozen=True, kw_only=True):
    """One consistent-as-possible picture: working orders (plain and conditional), positions, balances.

    Built only from answers that all succeeded: a failed part raises, it is never an empty list (INV-5).
    `requested_ms` is our clock before the first request: reports newer than it on the stream win. `unlisted`: the
    venue's names of contracts it holds something in and does not list (any more), so that nobody can say how much.
    """

    venue: VenueName
    requested_ms: int
    orders: tuple[OrderStatusReport, ...]
    positions: tuple[PositionReport, ...]
    balances: tuple[BalanceReport, ...]
    unlisted: frozenset[str] = frozenset()


class Attach(StrEnum):
    """When a stop sent along with an entry begins to exist at the venue."""

    NEVER = "never"
    """Stops are orders of their own, sent after the fill (Binance)."""
    FIRST_FILL = "first_fill"
    """From the first fill on, for whatever is filled (Bybit)."""
    COMPLETE_FILL = "complete_fill"
    """Only once the entry is filled entirely; a part of it needs a stop of its own (OKX)."""


class VenueTraits(Struct, frozen=True, kw_only=True):
    """What a venue offers, as data: the engine asks these and never for a venue's name."""

    attach: Attach = Attach.NEVER
    whole_position_stops: bool = False
    """One stop per position, which covers whatever it holds; setting it again replaces it (Bybit). Where False a stop
    has a quantity, and several may stand beside each other."""
    amends_stops: bool = False
    entries_per_request: int = 1
    most_stops: int | None = None
    """Resting stops the venue takes from one account; None = more than we could ever want."""
    stops_end_with_position: bool = False
    """The venue may take a stop away by itself when its position is closed (OKX, where the account's mode allows)."""
    native_trailing: bool = False
    """The venue has a trailing order of its own that we know how to place."""
    income_days: int = 85
    """How far back the income history can be read."""
    margin_of_account: bool = False
    """The margin mode is a setting of the whole account, which is never changed from here (Bybit)."""


class Departure(Struct, frozen=True, kw_only=True):
    """An order about to leave, with the stop that travels with it and the objection asked in the step it leaves in.
    `tightening`: its position has a stop without it, and it only improves that; such an order waits for those that
    protect, close or cancel (NET-03)."""

    intent: OrderIntent
    stop: OrderIntent | None = None
    objection: Callable[[], str | None] = lambda: None
    tightening: bool = False


class VenueClient(Protocol):
    """REST side of one venue. Reads raise VenueError; commands answer an Outcome and raise only on programming errors
    and cancellation."""

    @property
    def name(self) -> VenueName: ...
    @property
    def traits(self) -> VenueTraits: ...
    @property
    def instruments(self) -> Mapping[Symbol, Instrument]: ...

    async def open(self) -> None:
        """Load instruments, measure the clock offset, warm the connection pool. Raises VenueError, StartRefused."""
        ...

    async def close(self) -> None: ...
    async def submit(self, departure: Departure) -> Outcome:
        """Send once. The objection is asked in the step in which the order leaves, after any wait for the request
        budget; what it says withholds the order: Rejected about WITHHELD, and nothing was sent. A stop travels along
        only where `traits.attach` says so; the outcome is the order's, the stop is told of by reports."""
        ...

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        """At most `traits.entries_per_request` orders in one request; an outcome for each, in order. Each is judged by
        its own row; without an answer all are Unknown. Withheld ones are left out of the request."""
        ...

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        """Move a resting stop (`traits.amends_stops`); Accepted reports tell its new level. Never a moment without.
        `tightening`: the move only improves it, see `Departure`."""
        ...

    def recall(self, orders: Sequence[Order]) -> None:
        """Orders of ours that the venue may name by its own ids only (a restart has forgotten which is whose)."""
        ...

    async def cancel(self, order: Order) -> Outcome:
        """Cancel a resting order, conditional or plain. "Unknown order" is Rejected: look it up, it may have filled."""
        ...

    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        """By client order id in every store where this kind of order can be. Raises VenueError."""
        ...

    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        """Whose order that was: the client order id of any order of the account. Raises VenueError."""
        ...

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        """Own trades, oldest first, complete from `since_ms` (venue time). `client_order_id` may be "" where the venue
        does not tell it; `venue_order_id` is always there. Raises VenueError."""
        ...

    async def income(self, since_ms: int) -> Sequence[Income]:
        """Every change of every wallet since then (venue time), oldest first, complete as far back as the venue keeps
        them (`traits.income_days`); one row of the venue may be several of them. Raises VenueError."""
        ...

    async def positions(self) -> Sequence[PositionReport]: ...
    async def balances(self) -> Sequence[BalanceReport]: ...
    async def mass_status(self) -> MassStatus: ...
    async def account_settings(self) -> AccountSettings: ...
    async def key_rights(self) -> KeyRights | None:
        """None where the venue cannot be asked for it (its test environment). Raises VenueError."""
        ...

    async def set_leverage(self, symbol: Symbol, leverage: int) -> None: ...
    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        """Refused by venues while the symbol has a position or an order. Raises VenueError."""
        ...

    async def measure_clock(self) -> None:
        """Measure the offset to the venue's clock and use it from now on (NET-01). Raises VenueError."""
        ...

    @property
    def clock_offset_ms(self) -> int:
        """The venue's clock minus ours, as last measured."""
        ...

    async def load_instruments(self) -> None:
        """Replace the trading rules by the venue's newest (VAL-20), parsed off the loop. Raises VenueError."""
        ...

    async def warm(self, connections: int) -> None:
        """Keep that many connections open and ready; never raises VenueError."""
        ...


class ReportSink(Protocol):
    async def __call__(self, reports: Sequence[Report]) -> None:
        """Take reports that belong together. Waits while the queue is full; never drops."""
        ...


class StreamState(StrEnum):
    DOWN = "down"
    LIVE = "live"


class UserStream(Protocol):
    """Private stream of one venue. `run` supervises until cancelled: connect, keep alive, swap keys, resume."""

    @property
    def state(self) -> StreamState: ...
    @property
    def live_since_ms(self) -> int | None: ...
    @property
    def down_since(self) -> float | None:
        """Monotonic seconds, from the first moment on; None while LIVE."""
        ...

    @property
    def reconnect_count(self) -> int: ...
    @property
    def stale_key_swap_count(self) -> int: ...
    async def run(self) -> None: ...
    async def wait_live(self) -> None: ...


class Quote(Struct, frozen=True, kw_only=True):
    """A live price. `received` is monotonic seconds (clock.Clock); age limits compare on it.

    `touch_received` is the same of bid and ask, None without them: a venue may tell the touch of symbols nobody asked
    for a few seconds late, and one that has not moved is told no more.
    """

    mark: Price | None
    bid: Price | None
    ask: Price | None
    venue_time_ms: int
    received: float
    touch_received: float | None = None
    last: Price | None = None
    """The last trade, where the venue tells it for wanted symbols."""
    last_received: float | None = None


class MarketData(Protocol):
    """Live prices of one venue; a desired set of symbols, subscribed and confirmed by data."""

    @property
    def unasked(self) -> bool:
        """Whether prices of every listed symbol come by themselves; else a symbol has one while it is wanted."""
        ...

    @property
    def wanted(self) -> Collection[Symbol]: ...

    def quote(self, symbol: Symbol) -> Quote | None: ...
    def want(self, symbols: Sequence[Symbol]) -> None:
        """Add to the desired set of per-symbol streams."""
        ...

    def hold(self, symbols: Sequence[Symbol]) -> None:
        """Have them in the desired set until they are released."""
        ...

    def release(self, symbols: Sequence[Symbol]) -> None:
        """Take out of the desired set what was held and not also wanted (TRL-15)."""
        ...

    def drop(self, symbols: Sequence[Symbol]) -> None:
        """Take out of the desired set: nothing of them is asked for any more (VAL-17)."""
        ...

    def on_tick(self, listener: Callable[[Symbol], None]) -> None:
        """Called in the step in which a tick of a wanted symbol is stored; must be quick and must not raise."""
        ...

    def refresh(self, symbols: Sequence[Symbol]) -> None:
        """Subscribe the channels of these wanted symbols anew, and no others (MKT-05)."""
        ...

    async def run(self) -> None: ...


class FundingRate(Struct, frozen=True, kw_only=True):
    """What a long pays a short at `due_ms` (venue UTC), percent of the notional; negative = it receives."""

    rate_percent: Decimal
    due_ms: int


class MarketReads(Protocol):
    """Public figures of one venue by request, in the data lane. All raise VenueError."""

    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        """The newest closed candles, oldest first, at most `limit`. `timeframe` is a key of `TIMEFRAME_MS`."""
        ...

    async def open_interest(self, symbol: Symbol) -> Quantity:
        """Base units."""
        ...

    async def day_turnover(self) -> Mapping[Symbol, Decimal]:
        """Quote coin traded in 24 hours, every listed swap at once."""
        ...

    async def touches(self) -> Mapping[Symbol, tuple[Price, Price]]:
        """Best bid and ask of every listed swap that has both."""
        ...

    async def prices(self) -> Mapping[Symbol, PriceTriple]:
        """Every listed swap at once."""
        ...

    async def funding(self, symbol: Symbol) -> FundingRate | None:
        """Of the next payment; None where the swap has none."""
        ...


# --- signals --------------------------------------------------------------------------------------------------------


class SignalBatch(Struct, frozen=True, kw_only=True):
    """What arrived together, before once-only and expiry checks. `received` monotonic seconds of the first frame."""

    source: str
    received: float
    received_ms: int
    signals: tuple[Signal, ...]
    unusable: tuple[Unusable, ...]


class SignalSource(Protocol):
    async def run(self, emit: Callable[[SignalBatch], None], expect: Callable[[], None]) -> None:
        """Until cancelled; reconnects by itself. A source that knows when its next wave is due calls `expect` shortly
        before, so that venues are asked and connections warmed in time."""
        ...


# --- storage --------------------------------------------------------------------------------------------------------


class AuditLog(Protocol):
    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append to the hash chain, soon; never blocks, never raises into trading (JRN-01)."""
        ...


# --- people ---------------------------------------------------------------------------------------------------------


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Notifier(Protocol):
    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        """Queue a message for people; never waits, never raises.

        A condition is told once when it begins and once when it ends: `begins` and `ends` name it, within its kind
        (a venue, a position). Another beginning of what has not ended is in the log only.
        """
        ...


class Balance(Struct, frozen=True, kw_only=True):
    """What is known of one asset at one venue. `received` monotonic seconds. `unusable`: the newest word about what is
    free could not be used."""

    asset: Asset
    wallet: Decimal
    available: Decimal | None
    venue_time_ms: int
    received: float
    unusable: bool = False
