"""What the exchange is made of: instruments, orders, conditional orders, fills, positions, balances.

Units: prices in quote currency per base unit, quantities in base units (also where the venue counts
contracts: its façade converts), money in the settlement asset, rates as fractions (0.0005 = 5 basis points),
times in whole milliseconds since the epoch. Everything is an immutable snapshot; the engine replaces, never edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

ZERO = Decimal(0)
NO_EXTRAS: Mapping[str, str] = MappingProxyType({})


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self is Side.BUY else -1


class PositionSide(StrEnum):
    """BOTH in one-way mode, LONG or SHORT in hedge mode."""

    BOTH = "both"
    LONG = "long"
    SHORT = "short"


class PositionMode(StrEnum):
    ONE_WAY = "oneway"
    HEDGE = "hedge"


class MarginMode(StrEnum):
    CROSS = "cross"
    ISOLATED = "isolated"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTX = "gtx"
    """Post only."""
    GTD = "gtd"


class ConditionalType(StrEnum):
    """The type names are those of the control interface; STOP and TAKE_PROFIT end as market orders."""

    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"
    TRAILING = "trailing"

    @property
    def is_limit(self) -> bool:
        return self in (ConditionalType.STOP_LIMIT, ConditionalType.TAKE_PROFIT_LIMIT)

    @property
    def is_stop_loss(self) -> bool:
        """True for the types that limit a loss: plain stops and trailing stops."""
        return self in (ConditionalType.STOP, ConditionalType.STOP_LIMIT, ConditionalType.TRAILING)


class Reference(StrEnum):
    """The price a conditional order watches."""

    LAST = "last"
    MARK = "mark"
    INDEX = "index"


class OrderStatus(StrEnum):
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        return self in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class ConditionalStatus(StrEnum):
    NEW = "new"
    TRIGGERING = "triggering"
    TRIGGERED = "triggered"
    FINISHED = "finished"
    CANCELED = "canceled"
    REJECTED = "rejected"
    """The trigger fired but the child order was refused."""
    EXPIRED = "expired"
    """Ended by the system, for example because the position it belonged to is gone."""

    @property
    def is_resting(self) -> bool:
        """True while it waits for its trigger."""
        return self is ConditionalStatus.NEW


class Expiry(StrEnum):
    """Why the exchange itself ended an order or a part of it."""

    IOC_REMAINDER = "ioc_remainder"
    FOK_NOT_FILLABLE = "fok_not_fillable"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    REDUCE_ONLY = "reduce_only"
    MARKET_REMAINDER = "market_remainder"
    GOOD_TILL_DATE = "good_till_date"
    LIQUIDATION = "liquidation"
    POSITION_CLOSED = "position_closed"
    SYMBOL_CLOSED = "symbol_closed"


class Origin(StrEnum):
    """Who made an order: the client, or the exchange's risk engine."""

    CLIENT = "client"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SETTLEMENT = "settlement"


class SymbolStatus(StrEnum):
    TRADING = "trading"
    PENDING = "pending"
    HALTED = "halted"
    SETTLING = "settling"
    CLOSED = "closed"


class Refusal(StrEnum):
    """Why a command was refused. A façade maps each to the venue's code and text."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    SYMBOL_NOT_TRADING = "symbol_not_trading"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_CONDITIONAL = "unknown_conditional"
    CONDITIONAL_TRIGGERING = "conditional_triggering"
    CLIENT_ID_INVALID = "client_id_invalid"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    QTY_MISSING = "qty_missing"
    QTY_NOT_POSITIVE = "qty_not_positive"
    QTY_MIN = "qty_min"
    QTY_MAX = "qty_max"
    QTY_STEP = "qty_step"
    PRICE_MISSING = "price_missing"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_MIN = "price_min"
    PRICE_MAX = "price_max"
    PRICE_TICK = "price_tick"
    TRIGGER_PRICE_MISSING = "trigger_price_missing"
    TRIGGER_PRICE_MIN = "trigger_price_min"
    TRIGGER_PRICE_MAX = "trigger_price_max"
    TRIGGER_PRICE_TICK = "trigger_price_tick"
    PRICE_BAND_HIGH = "price_band_high"
    PRICE_BAND_LOW = "price_band_low"
    MIN_NOTIONAL = "min_notional"
    MARKET_BOUND = "market_bound"
    CALLBACK_RATE = "callback_rate"
    ACTIVATION_PRICE = "activation_price"
    POSITION_SIDE_MISMATCH = "position_side_mismatch"
    REDUCE_ONLY_REJECTED = "reduce_only_rejected"
    REDUCE_ONLY_IN_HEDGE = "reduce_only_in_hedge"
    CLOSE_POSITION_EXISTS = "close_position_exists"
    CLOSE_POSITION_WITH_QTY = "close_position_with_qty"
    CLOSE_POSITION_WITH_REDUCE_ONLY = "close_position_with_reduce_only"
    CLOSE_POSITION_OPENS = "close_position_opens"
    WOULD_TRIGGER = "would_trigger"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    FOK_NOT_FILLABLE = "fok_not_fillable"
    MAX_ORDERS = "max_orders"
    MAX_CONDITIONALS = "max_conditionals"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    MAX_POSITION_AT_LEVERAGE = "max_position_at_leverage"
    LEVERAGE_INVALID = "leverage_invalid"
    LEVERAGE_TOO_HIGH_FOR_POSITION = "leverage_too_high_for_position"
    LEVERAGE_REDUCTION_ISOLATED = "leverage_reduction_isolated"
    MODE_UNCHANGED = "mode_unchanged"
    MODE_HAS_ORDERS = "mode_has_orders"
    MODE_HAS_POSITION = "mode_has_position"
    MARGIN_CHANGE_CROSS = "margin_change_cross"
    MARGIN_CHANGE_EXCESSIVE = "margin_change_excessive"
    NOTHING_TO_AMEND = "nothing_to_amend"
    AMEND_NOT_LIMIT = "amend_not_limit"
    GOOD_TILL_DATE = "good_till_date"
    LIQUIDATING = "liquidating"
    NO_PERMISSION = "no_permission"
    INJECTED = "injected"
    """A fault refused it; ``Refused.code`` holds the venue's code."""


class Refused(Exception):  # noqa: N818 - the standard term for what it is
    """A command the exchange did not carry out. Nothing changed."""

    def __init__(self, reason: Refusal, detail: str = "", *, code: int | str | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
        self.code = code
        """The venue's own code, only when a fault prescribed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One row of the leverage table; ``maintenance = notional * rate - cum``."""

    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A linear perpetual. ``symbol`` is the venue's own name."""

    symbol: str
    base: str
    quote: str
    settle: str
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_step: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    band_up: Decimal
    """A buy price may be at most mark * band_up."""
    band_down: Decimal
    """A sell price must be at least mark * band_down."""
    brackets: tuple[Bracket, ...]
    reference: Decimal
    """The price its market starts from."""
    status: SymbolStatus = SymbolStatus.TRADING
    contract_size: Decimal = Decimal(1)
    market_bound: Decimal = Decimal("0.05")
    """How far from the mark price a market order may start to take."""
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    liquidation_fee: Decimal = Decimal("0.0125")
    funding_hours: int = 8
    funding_rate: Decimal = Decimal("0.0001")
    generated: bool = False
    """True for invented instruments, which stand for no real one."""
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def max_leverage(self) -> int:
        return max(row.leverage for row in self.brackets)

    def position_cap(self, leverage: int) -> Decimal:
        """The largest position notional allowed at this leverage."""
        return max((row.cap for row in self.brackets if row.leverage >= leverage), default=ZERO)

    def bracket(self, notional: Decimal) -> Bracket:
        """The row an absolute notional falls into (the last row beyond the table)."""
        for row in self.brackets:
            if notional < row.cap:
                return row
        return self.brackets[-1]

    def maintenance(self, notional: Decimal) -> Decimal:
        """Maintenance margin of an absolute notional."""
        row = self.bracket(notional)
        return notional * row.rate - row.cum


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Where venues differ in rules that the engine applies."""

    client_ids_unique_forever: bool = False
    """False: a client id may be used again once its order has ended (Binance)."""
    max_orders_per_symbol: int = 200
    max_conditionals: int = 200
    """Per account over all symbols."""
    one_close_position_per_direction: bool = True
    refuse_met_trigger: bool = True
    """A conditional order whose trigger is already met is refused at placement."""
    refuse_unfillable: bool = True
    """Post-only orders that would take and fill-or-kill orders that cannot fill are refused; False: they are
    accepted and expire."""
    child_keeps_client_id: bool = True
    """The order born from a conditional order carries its client id."""
    liquidation_client_id: str = "autoclose-{}"
    adl_client_id: str = "adl_autoclose"
    settlement_client_id: str = "settlement_autoclose-{}"
    first_order_id: int = 8_000_000_001
    first_conditional_id: int = 4_000_000_000_000_001
    first_trade_id: int = 500_000_001


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    position_side: PositionSide = PositionSide.BOTH
    tif: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    client_id: str | None = None
    """None: the exchange makes one up."""
    good_till_ms: int | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)
    """Carried along unread, for the façade to echo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendRequest:
    symbol: str
    order_id: int | None = None
    client_id: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalRequest:
    symbol: str
    side: Side
    type: ConditionalType
    qty: Decimal | None = None
    """None only with close_position."""
    trigger_price: Decimal | None = None
    """Absent for trailing stops."""
    price: Decimal | None = None
    position_side: PositionSide = PositionSide.BOTH
    tif: TimeInForce = TimeInForce.GTC
    reference: Reference = Reference.LAST
    reduce_only: bool = False
    close_position: bool = False
    callback_rate: Decimal | None = None
    """Trailing distance as a fraction of the extreme price (0.01 = 1 %)."""
    callback_distance: Decimal | None = None
    """Trailing distance as a price difference."""
    activation_price: Decimal | None = None
    client_id: str | None = None
    attached: bool = False
    """It belongs to the position (Bybit, OKX) rather than being a stand-alone order."""
    good_till_ms: int | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: int
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    """What was asked for. The engine lowers it when a reduce-only order no longer fits its position."""
    price: Decimal | None
    position_side: PositionSide
    tif: TimeInForce
    reduce_only: bool
    close_position: bool
    status: OrderStatus
    created_ms: int
    updated_ms: int
    filled: Decimal = ZERO
    quote_filled: Decimal = ZERO
    """Sum of price * quantity over the fills."""
    expiry: Expiry | None = None
    origin: Origin = Origin.CLIENT
    conditional_id: int | None = None
    """The conditional order it was born from."""
    conditional_type: ConditionalType | None = None
    good_till_ms: int | None = None
    amendments: int = 0
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def open_qty(self) -> Decimal:
        return self.qty - self.filled if self.status.is_open else ZERO

    @property
    def ended_qty(self) -> Decimal:
        """What ended unfilled: cancelled or expired."""
        return ZERO if self.status.is_open else self.qty - self.filled

    @property
    def avg_price(self) -> Decimal | None:
        return self.quote_filled / self.filled if self.filled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    """Positive = paid."""
    fee_asset: str
    realized: Decimal
    """Profit of the closed part, fees excluded."""
    maker: bool
    time_ms: int
    origin: Origin = Origin.CLIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditional:
    id: int
    client_id: str
    symbol: str
    side: Side
    type: ConditionalType
    qty: Decimal | None
    trigger_price: Decimal | None
    price: Decimal | None
    position_side: PositionSide
    tif: TimeInForce
    reference: Reference
    reduce_only: bool
    close_position: bool
    callback_rate: Decimal | None
    callback_distance: Decimal | None
    activation_price: Decimal | None
    attached: bool
    status: ConditionalStatus
    created_ms: int
    updated_ms: int
    activated: bool = False
    """Trailing stops: following the price. Always False for the others."""
    extreme: Decimal | None = None
    """Trailing stops: the best price since activation."""
    triggered_ms: int | None = None
    child_id: int | None = None
    reason: Refusal | Expiry | None = None
    """Why it was rejected or expired."""
    good_till_ms: int | None = None
    extras: Mapping[str, str] = field(default_factory=lambda: NO_EXTRAS)

    @property
    def closes(self) -> bool:
        """True when it can only reduce: by mark, or because of its position side in hedge mode."""
        if self.reduce_only or self.close_position:
            return True
        return (self.position_side, self.side) in CLOSING


CLOSING = frozenset({(PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY)})
"""Hedge mode: the pairs that close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    symbol: str
    position_side: PositionSide
    qty: Decimal
    """Signed: negative is short, in hedge mode too."""
    entry: Decimal
    """0 when flat."""
    margin_mode: MarginMode
    leverage: int
    isolated_wallet: Decimal = ZERO
    realized: Decimal = ZERO
    """Accumulated over the row's whole life, fees excluded."""
    open_fees: Decimal = ZERO
    """Nominal fees per opened quantity still held; gives the break-even price."""
    opened_ms: int = 0
    updated_ms: int = 0

    @property
    def break_even(self) -> Decimal:
        """Entry price worsened by the fees paid for opening; 0 when flat."""
        return self.entry + self.open_fees / self.qty if self.qty else ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """A position valued at the mark price of the moment."""

    position: Position
    mark: Decimal
    notional: Decimal
    """Signed."""
    unrealized: Decimal
    initial_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal
    liquidation_price: Decimal | None
    bid_notional: Decimal
    ask_notional: Decimal
    """Resting client orders of the symbol, reduce-only ones excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One asset's wallet and what is tied up in it."""

    asset: str
    wallet: Decimal
    cross_wallet: Decimal
    unrealized: Decimal
    cross_unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal
    available: Decimal
    max_withdraw: Decimal
    updated_ms: int

    @property
    def margin_balance(self) -> Decimal:
        return self.wallet + self.unrealized


class IncomeType(StrEnum):
    REALIZED_PNL = "realized_pnl"
    COMMISSION = "commission"
    FUNDING_FEE = "funding_fee"
    TRANSFER = "transfer"
    INSURANCE_CLEAR = "insurance_clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Income:
    """One change of a wallet; the sum over all of an asset's rows is its wallet."""

    id: int
    asset: str
    symbol: str | None
    type: IncomeType
    amount: Decimal
    time_ms: int
    trade_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolConfig:
    symbol: str
    leverage: int
    margin_mode: MarginMode
    max_notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    price: Decimal
    qty: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Best levels first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    id: int
    price: Decimal
    qty: Decimal
    time_ms: int
    buyer_maker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    symbol: str
    last: Decimal
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    mark: Decimal
    index: Decimal
    time_ms: int
    update_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    open_ms: int
    close_ms: int
    """Last millisecond of the candle."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    taker_volume: Decimal
    taker_quote_volume: Decimal
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStats:
    """The last 24 hours."""

    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_qty: Decimal
    volume: Decimal
    quote_volume: Decimal
    open_ms: int
    close_ms: int
    first_trade_id: int
    last_trade_id: int
    trades: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    rate: Decimal
    """Predicted for the running interval; positive = longs pay."""
    next_ms: int
    interval_hours: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRecord:
    symbol: str
    rate: Decimal
    mark: Decimal
    time_ms: int
