"""What the exchange tells its listener, in the order it happened.

The listener gets one tuple per engine operation (an order placed, a tick, a trigger): everything in it shares
one moment, so a façade may put the frames of one batch into its venue's order. Neutral order inside a batch:
``OrderNew``, then per fill ``OrderTrade`` followed by ``AccountChanged``, then what the changed position ends
(reduce-only orders, the stops of a closed position), then ``ConditionalUpdate`` of the stops that came with the order,
then ``OrderExpired`` for a remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tools.venuesim.exchange.model import (
    Balance,
    Conditional,
    Fill,
    MarginMode,
    Order,
    Position,
    PositionMode,
    PositionView,
    PublicTrade,
    Quote,
    Refusal,
    SymbolStatus,
)


class AccountReason(StrEnum):
    ORDER = "order"
    FUNDING_FEE = "funding_fee"
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    ADJUSTMENT = "adjustment"
    INSURANCE_CLEAR = "insurance_clear"
    MARGIN_TRANSFER = "margin_transfer"
    MARGIN_TYPE_CHANGE = "margin_type_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNew:
    order: Order
    """As accepted: nothing filled yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTrade:
    order: Order
    """After this fill."""
    fill: Fill
    bid_notional: Decimal
    ask_notional: Decimal
    """The symbol's resting client orders after the fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCanceled:
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpired:
    order: Order
    """Its ``expiry`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAmended:
    order: Order


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged:
    reason: AccountReason
    balances: tuple[Balance, ...]
    """Only the assets that changed, absolute values."""
    positions: tuple[Position, ...]
    """Only the positions that changed; a closed one has quantity 0."""
    change: Decimal = Decimal(0)
    """Wallet change that is neither profit nor fee (transfers)."""
    symbol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalUpdate:
    conditional: Conditional
    child: Order | None = None
    """The child order as it stands, once there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalRefused:
    """A trigger fired and its child was refused; the update with status REJECTED follows in the same batch."""

    conditional: Conditional
    reason: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageChanged:
    symbol: str
    leverage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginModeChanged:
    symbol: str
    mode: MarginMode


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionModeChanged:
    mode: PositionMode


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsModeChanged:
    multi_assets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginCalled:
    """The margin comes close to the maintenance margin: told once each time."""

    cross_wallet: Decimal | None
    """None for an isolated position, which stands alone."""
    views: tuple[PositionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTick:
    """The market of a watched symbol moved on."""

    quote: Quote
    trade: PublicTrade


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolChanged:
    """Status or filters of an instrument changed."""

    symbol: str
    status: SymbolStatus
    brackets: bool = False
    """The leverage table is another one."""


Event = (
    OrderNew
    | OrderTrade
    | OrderCanceled
    | OrderExpired
    | OrderAmended
    | AccountChanged
    | ConditionalUpdate
    | ConditionalRefused
    | LeverageChanged
    | MarginModeChanged
    | PositionModeChanged
    | AssetsModeChanged
    | MarginCalled
    | MarketTick
    | SymbolChanged
)
Listener = Callable[[tuple[Event, ...]], None]
