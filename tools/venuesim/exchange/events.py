"""What the exchange tells its listener, in the order it happened.

The listener gets one tuple per engine operation (an order placed, a tick, a trigger): everything in it shares
one moment, so a façade may put the frames of one batch into its venue's order. Neutral order inside a batch:
``OrderNew``, then per fill ``OrderTrade`` followed by ``AccountChanged``, then what the changed position ends
(reduce-only orders, the stops of a closed position), then ``ConditionalUpdate`` of the stops that came with the order,
then ``OrderExpired`` for a remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

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


class OrderNew(Struct, frozen=True, kw_only=True):
    order: Order
    """As accepted: nothing filled yet."""


class OrderTrade(Struct, frozen=True, kw_only=True):
    order: Order
    """After this fill."""
    fill: Fill
    bid_notional: Decimal
    ask_notional: Decimal
    """The symbol's resting client orders after the fill."""


class OrderCanceled(Struct, frozen=True, kw_only=True):
    order: Order


class OrderExpired(Struct, frozen=True, kw_only=True):
    order: Order
    """Its ``expiry`` says why."""


class OrderAmended(Struct, frozen=True, kw_only=True):
    order: Order


class AccountChanged(Struct, frozen=True, kw_only=True):
    reason: AccountReason
    balances: tuple[Balance, ...]
    """Only the assets that changed, absolute values."""
    positions: tuple[Position, ...]
    """Only the positions that changed; a closed one has quantity 0."""
    change: Decimal = Decimal(0)
    """Wallet change that is neither profit nor fee (transfers)."""
    symbol: str | None = None


class ConditionalUpdate(Struct, frozen=True, kw_only=True):
    conditional: Conditional
    child: Order | None = None
    """The child order as it stands, once there is one."""


class ConditionalRefused(Struct, frozen=True, kw_only=True):
    """A trigger fired and its child was refused; the update with status REJECTED follows in the same batch."""

    conditional: Conditional
    reason: Refusal


class LeverageChanged(Struct, frozen=True, kw_only=True):
    symbol: str
    leverage: int


class MarginModeChanged(Struct, frozen=True, kw_only=True):
    symbol: str
    mode: MarginMode


class PositionModeChanged(Struct, frozen=True, kw_only=True):
    mode: PositionMode


class AssetsModeChanged(Struct, frozen=True, kw_only=True):
    multi_assets: bool


class MarginCalled(Struct, frozen=True, kw_only=True):
    """The margin comes close to the maintenance margin: told once each time."""

    cross_wallet: Decimal | None
    """None for an isolated position, which stands alone."""
    views: tuple[PositionView, ...]


class MarketTick(Struct, frozen=True, kw_only=True):
    """The market of a watched symbol moved on."""

    quote: Quote
    trade: PublicTrade


class SymbolChanged(Struct, frozen=True, kw_only=True):
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
