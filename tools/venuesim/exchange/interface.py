"""What a façade may ask of the exchange and order from it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from tools.venuesim.exchange.model import (
    AmendConditional,
    AmendRequest,
    Balance,
    Candle,
    Conditional,
    ConditionalRequest,
    DayStats,
    Depth,
    Fill,
    Funding,
    FundingRecord,
    Income,
    Instrument,
    MarginMode,
    Order,
    OrderRequest,
    Position,
    PositionMode,
    PositionSide,
    PositionStop,
    PositionView,
    PublicTrade,
    Quote,
    SymbolConfig,
)


class Exchange(Protocol):
    """One account on one venue.

    Every command raises ``Refused`` and then has changed nothing; a command that succeeds has already told the
    listener everything it caused. Unknown symbols raise ``Refused(UNKNOWN_SYMBOL)`` everywhere.
    """

    permissions: frozenset[str]
    """What the API key may do: "read", "trade"."""

    # orders
    def place(self, request: OrderRequest) -> Order:
        """Check, accept and match; the answer is the order after matching."""
        ...

    def check(self, request: OrderRequest) -> None:
        """Everything ``place`` checks, and nothing else."""
        ...

    def amend(self, request: AmendRequest) -> Order:
        """Change price and quantity of a limit order; it may end filled or cancelled by it."""
        ...

    def cancel(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> Order: ...

    def cancel_all(self, symbol: str | None = None) -> Sequence[Order]: ...

    def order(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> Order:
        """Open or ended; the newest where a client id was used again."""
        ...

    def open_orders(self, symbol: str | None = None) -> Sequence[Order]: ...

    def orders(self, symbol: str | None = None) -> Sequence[Order]:
        """All of them, oldest first."""
        ...

    # conditional orders
    def place_conditional(self, request: ConditionalRequest) -> Conditional: ...

    def place_pair(self, first: ConditionalRequest, second: ConditionalRequest) -> tuple[Conditional, Conditional]:
        """Two of which one cancels the other; they may share a client id."""
        ...

    def amend_conditional(self, request: AmendConditional) -> Conditional:
        """Change one that waits, under the checks of placing it; ``Refused(NOT_MODIFIED)`` where nothing changes.

        A price that repeats what stands is no change. Raises ``Refused(CONDITIONAL_TRIGGERING)`` or
        ``Refused(UNKNOWN_CONDITIONAL)`` for one that waits no more.
        """
        ...

    def set_position_stop(self, request: PositionStop) -> Conditional:
        """Give a position its stop, move it, or take it away; the conditional order as it stands then.

        Raises ``Refused(NO_POSITION)``, ``Refused(NOT_MODIFIED)`` (nothing to take away included), and what placing
        one raises.
        """
        ...

    def cancel_conditional(
        self, *, conditional_id: int | None = None, client_id: str | None = None, symbol: str | None = None
    ) -> Conditional: ...

    def cancel_all_conditionals(self, symbol: str | None = None) -> Sequence[Conditional]: ...

    def conditional(
        self, *, conditional_id: int | None = None, client_id: str | None = None, symbol: str | None = None
    ) -> Conditional: ...

    def open_conditionals(self, symbol: str | None = None) -> Sequence[Conditional]: ...

    def conditionals(self, symbol: str | None = None) -> Sequence[Conditional]:
        """All of them, oldest first."""
        ...

    # account
    def fills(self, symbol: str | None = None) -> Sequence[Fill]: ...

    def income(self) -> Sequence[Income]: ...

    def assets(self) -> Sequence[str]: ...

    def balance(self, asset: str) -> Balance: ...

    def worth(self, asset: str) -> Decimal:
        """USD for one unit."""
        ...

    def positions(self) -> Sequence[Position]:
        """Rows with a quantity other than 0."""
        ...

    def position(self, symbol: str, side: PositionSide) -> Position:
        """A row as it stands, also when flat."""
        ...

    def position_view(self, symbol: str, side: PositionSide) -> PositionView: ...

    def config(self, symbol: str) -> SymbolConfig: ...

    @property
    def position_mode(self) -> PositionMode: ...

    def set_leverage(self, symbol: str, leverage: int) -> SymbolConfig: ...

    def set_margin_mode(self, symbol: str | None, mode: MarginMode) -> None:
        """None: of all symbols at once, with one ``MarginModeChanged`` for each that changes."""
        ...

    def set_position_mode(self, mode: PositionMode) -> None: ...

    @property
    def multi_assets(self) -> bool:
        """All wallets stand in for each other."""
        ...

    def set_multi_assets(self, *, enabled: bool) -> None: ...

    @property
    def fee_in_coin(self) -> bool:
        """Fees are paid in the policy's fee coin while its wallet lasts."""
        ...

    def set_fee_in_coin(self, *, enabled: bool) -> None: ...

    def add_margin(self, symbol: str, side: PositionSide, amount: Decimal) -> None:
        """Move money between the cross wallet and an isolated position; negative takes out."""
        ...

    # market
    def instruments(self) -> Sequence[Instrument]: ...

    def instrument(self, symbol: str) -> Instrument: ...

    def quote(self, symbol: str) -> Quote: ...

    def depth(self, symbol: str) -> Depth: ...

    def trades(self, symbol: str, limit: int | None = None) -> Sequence[PublicTrade]:
        """The newest public trades, oldest first."""
        ...

    def candles(self, symbol: str, interval_ms: int, limit: int | None = None) -> Sequence[Candle]:
        """Oldest first; the last one is still open. Intervals are multiples of a minute. ``limit`` keeps the newest."""
        ...

    def open_at(self, symbol: str, time_ms: int) -> Decimal:
        """What a minute of the past opened at; the oldest one known if that came later."""
        ...

    def day_stats(self, symbol: str) -> DayStats: ...

    def open_interest(self, symbol: str) -> Decimal:
        """In base units."""
        ...

    def funding(self, symbol: str) -> Funding: ...

    def funding_history(self, symbol: str | None = None) -> Sequence[FundingRecord]: ...

    def watch(self, symbol: str) -> None:
        """Ask for ``MarketTick`` of a symbol; counted, so each watch needs its unwatch."""
        ...

    def unwatch(self, symbol: str) -> None: ...
