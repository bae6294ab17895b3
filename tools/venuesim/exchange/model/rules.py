"""What a venue fixes in advance: its instruments and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field

from tools.venuesim.exchange.model.terms import (
    NO_EXTRAS,
    ZERO,
    AttachRule,
    ClientIdScope,
    HedgeReduceOnly,
    SymbolStatus,
)


class Bracket(Struct, frozen=True, kw_only=True):
    """One row of the leverage table; ``maintenance = notional * rate - cum``."""

    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal


class Instrument(Struct, frozen=True, kw_only=True):
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


class Policy(Struct, frozen=True, kw_only=True):
    """Where venues differ in rules that the engine applies."""

    client_ids_unique_forever: bool = False
    """False: a client id may be used again once its order has ended (Binance, OKX)."""
    client_id_scope: ClientIdScope = ClientIdScope.SYMBOL
    names_orders: bool = True
    """Orders without a client id are given one; False: theirs is ""."""
    max_orders_per_symbol: int = 200
    max_conditionals: int | None = 200
    """Per account over all symbols; None: as many as one likes."""
    max_conditionals_per_symbol: int | None = None
    """Of those that belong to no position (Bybit: 10)."""
    max_attached_per_symbol: int | None = None
    """Of those that belong to a position without covering all of it (Bybit: 20)."""
    attach: AttachRule = AttachRule.NEVER
    truncate_reduce_only: bool = False
    """A reduce-only order larger than what is left to reduce is cut down to it instead of refused (Bybit, OKX)."""
    hedge_reduce_only: HedgeReduceOnly = HedgeReduceOnly.REFUSED
    one_way_assets: frozenset[str] = frozenset()
    """Contracts settled in these know no hedge mode, whatever the account's (Bybit: USDC)."""
    margin_mode_of_account: bool = False
    """One margin mode for all symbols (Bybit); False: each symbol has its own."""
    amended_down_ends_filled: bool = False
    """An order amended to no more than what it has filled ends filled (OKX) instead of cancelled."""
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
    max_amendments: int = 10_000
    """Of one order."""
    fee_coin: str | None = None
    """An asset in which fees may be paid at a discount, once the account asks for it."""
    fee_coin_market: str = ""
    """The symbol whose mark price values it; without such a symbol it is worth ``fee_coin_price``."""
    fee_coin_price: Decimal = Decimal(600)
    fee_coin_discount: Decimal = Decimal("0.1")
    margin_call_ratio: Decimal = Decimal("0.8")
    """Maintenance margin over margin balance at which the account is warned; 1 is where it is liquidated."""
    first_order_id: int = 8_000_000_001
    first_conditional_id: int = 4_000_000_000_000_001
    first_trade_id: int = 500_000_001
