"""What the exchange is made of: instruments, orders, conditional orders, fills, positions, balances.

Units: prices in quote currency per base unit, quantities in base units (also where the venue counts
contracts: its façade converts), money in the settlement asset, rates as fractions (0.0005 = 5 basis points),
times in whole milliseconds since the epoch. Everything is an immutable snapshot; the engine replaces, never edits.
"""

from tools.venuesim.exchange.model.account import Balance, Income, Position, PositionView, SymbolConfig
from tools.venuesim.exchange.model.commands import AmendRequest, ConditionalRequest, OrderRequest
from tools.venuesim.exchange.model.orders import Conditional, Fill, Order
from tools.venuesim.exchange.model.public import (
    Candle,
    DayStats,
    Depth,
    Funding,
    FundingRecord,
    Level,
    PublicTrade,
    Quote,
)
from tools.venuesim.exchange.model.refusals import Refusal, Refused
from tools.venuesim.exchange.model.rules import Bracket, Instrument, Policy
from tools.venuesim.exchange.model.terms import (
    CLOSING,
    NO_EXTRAS,
    ZERO,
    ConditionalStatus,
    ConditionalType,
    Expiry,
    IncomeType,
    MarginMode,
    OrderStatus,
    OrderType,
    Origin,
    PositionMode,
    PositionSide,
    Reference,
    SelfTrade,
    Side,
    SymbolStatus,
    TimeInForce,
)

__all__ = [
    "CLOSING",
    "NO_EXTRAS",
    "ZERO",
    "AmendRequest",
    "Balance",
    "Bracket",
    "Candle",
    "Conditional",
    "ConditionalRequest",
    "ConditionalStatus",
    "ConditionalType",
    "DayStats",
    "Depth",
    "Expiry",
    "Fill",
    "Funding",
    "FundingRecord",
    "Income",
    "IncomeType",
    "Instrument",
    "Level",
    "MarginMode",
    "Order",
    "OrderRequest",
    "OrderStatus",
    "OrderType",
    "Origin",
    "Policy",
    "Position",
    "PositionMode",
    "PositionSide",
    "PositionView",
    "PublicTrade",
    "Quote",
    "Reference",
    "Refusal",
    "Refused",
    "SelfTrade",
    "Side",
    "SymbolConfig",
    "SymbolStatus",
    "TimeInForce",
]
