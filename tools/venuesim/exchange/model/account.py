"""Positions, balances, and the history of a wallet."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.model.terms import ZERO, IncomeType, MarginMode, PositionSide


class Position(Struct, frozen=True, kw_only=True):
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


class PositionView(Struct, frozen=True, kw_only=True):
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


class Balance(Struct, frozen=True, kw_only=True):
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


class Income(Struct, frozen=True, kw_only=True):
    """One change of a wallet; the sum over all of an asset's rows is its wallet."""

    id: int
    asset: str
    symbol: str | None
    type: IncomeType
    amount: Decimal
    time_ms: int
    trade_id: int | None = None


class SymbolConfig(Struct, frozen=True, kw_only=True):
    symbol: str
    leverage: int
    margin_mode: MarginMode
    max_notional: Decimal
