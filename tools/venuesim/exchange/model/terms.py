"""The words of the trade: sides, types, states, and why the exchange ends things."""

from __future__ import annotations

from collections.abc import Mapping
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


CLOSING = frozenset({(PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY)})
"""Hedge mode: the pairs that close."""


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


class SelfTrade(StrEnum):
    """What becomes of two orders of the account that would meet."""

    NONE = "none"
    """They pass each other by."""
    EXPIRE_TAKER = "expire_taker"
    EXPIRE_MAKER = "expire_maker"
    EXPIRE_BOTH = "expire_both"


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


class AttachRule(StrEnum):
    """When the stops that came with an entry begin to exist."""

    NEVER = "never"
    """The venue knows no attached stops."""
    FIRST_FILL = "first_fill"
    """For whatever is filled, from the first fill on (Bybit)."""
    COMPLETE_FILL = "complete_fill"
    """Only once the order is filled entirely; one cancelled before that never gets them (OKX)."""


class ClientIdScope(StrEnum):
    """Among what a client id must be the only one."""

    SYMBOL = "symbol"
    """The orders of its symbol; those of conditional orders over all symbols (Binance)."""
    ACCOUNT = "account"
    """All orders, or all conditional orders: each kind has names of its own (OKX)."""
    EVERYTHING = "everything"
    """All orders and conditional orders together (Bybit)."""


class HedgeReduceOnly(StrEnum):
    """What becomes of the reduce-only mark in hedge mode, where the position side already says what closes."""

    REFUSED = "refused"
    IGNORED = "ignored"
    APPLIED = "applied"


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
    SELF_TRADE = "self_trade"
    PARTNER = "partner"
    """The other one of a pair of which one cancels the other has fired."""


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


class IncomeType(StrEnum):
    REALIZED_PNL = "realized_pnl"
    COMMISSION = "commission"
    FUNDING_FEE = "funding_fee"
    TRANSFER = "transfer"
    INSURANCE_CLEAR = "insurance_clear"
