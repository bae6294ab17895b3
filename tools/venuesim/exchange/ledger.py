"""Wallets and positions: what a fill, a fee, a transfer or a funding payment does to them.

Fees and profits are rounded to 8 decimals when they are booked, so that wallets are exact sums of their income
rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

from msgspec import Struct
from msgspec.structs import replace

from tools.venuesim.exchange.model import (
    ZERO,
    Income,
    IncomeType,
    Instrument,
    MarginMode,
    Position,
    PositionMode,
    PositionSide,
    Side,
)

CENT = Decimal("0.00000001")
DEFAULT_LEVERAGE = 20


class Booked(Struct, frozen=True, kw_only=True):
    """What one fill did."""

    realized: Decimal
    fee: Decimal
    fee_asset: str
    position: Position


class FeeCoin(Struct, frozen=True, kw_only=True):
    """An asset that pays fees at a discount while its wallet lasts; ``price`` in units of the settle asset."""

    asset: str
    price: Decimal
    discount: Decimal


class FeeTerms(Struct, frozen=True, kw_only=True):
    rate: Decimal
    """Of the notional."""
    coin: FeeCoin | None = None


class Ledger:
    """One account's money. Knows no prices: whoever needs margin values it at a mark."""

    def __init__(self, balances: dict[str, Decimal], mode: PositionMode, now_ms: int) -> None:
        self.mode = mode
        self.multi_assets = False
        """All wallets stand in for each other."""
        self.fee_in_coin = False
        self.income: list[Income] = []
        self._wallets: dict[str, Decimal] = {}
        self._updated: dict[str, int] = {}
        self._positions: dict[tuple[str, PositionSide], Position] = {}
        self._leverage: dict[str, int] = {}
        self._margin_mode: dict[str, MarginMode] = {}
        for asset, amount in balances.items():
            self.book(asset, amount, IncomeType.TRANSFER, now_ms)

    def assets(self) -> list[str]:
        return list(self._wallets)

    def wallet(self, asset: str) -> Decimal:
        return self._wallets.get(asset, ZERO)

    def cross_wallet(self, asset: str, instruments: dict[str, Instrument]) -> Decimal:
        """The wallet without what isolated positions hold."""
        held = sum((row.isolated_wallet for row in self.open() if instruments[row.symbol].settle == asset), ZERO)
        return self.wallet(asset) - held

    def updated_ms(self, asset: str) -> int:
        return self._updated.get(asset, 0)

    def book(
        self,
        asset: str,
        amount: Decimal,
        kind: IncomeType,
        now_ms: int,
        *,
        symbol: str | None = None,
        trade_id: int | None = None,
    ) -> None:
        """Change a wallet and remember why."""
        self._wallets[asset] = self._wallets.get(asset, ZERO) + amount
        self._updated[asset] = now_ms
        if amount or kind is IncomeType.TRANSFER:
            self.income.append(
                Income(
                    id=len(self.income) + 1,
                    asset=asset,
                    symbol=symbol,
                    type=kind,
                    amount=amount,
                    time_ms=now_ms,
                    trade_id=trade_id,
                )
            )

    def leverage(self, symbol: str, instrument: Instrument) -> int:
        return self._leverage.get(symbol, min(DEFAULT_LEVERAGE, instrument.max_leverage))

    def margin_mode(self, symbol: str) -> MarginMode:
        return self._margin_mode.get(symbol, MarginMode.CROSS)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        self._leverage[symbol] = leverage
        for row in self.rows(symbol):
            self._put(replace(row, leverage=leverage))

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        self._margin_mode[symbol] = mode
        for row in self.rows(symbol):
            self._put(replace(row, margin_mode=mode))

    def position(self, instrument: Instrument, side: PositionSide) -> Position:
        row = self._positions.get((instrument.symbol, side))
        return row or Position(
            symbol=instrument.symbol,
            position_side=side,
            qty=ZERO,
            entry=ZERO,
            margin_mode=self.margin_mode(instrument.symbol),
            leverage=self.leverage(instrument.symbol, instrument),
        )

    def rows(self, symbol: str) -> list[Position]:
        """All rows of a symbol there ever were, flat ones too."""
        return [row for (name, _), row in self._positions.items() if name == symbol]

    def open(self) -> list[Position]:
        return [row for row in self._positions.values() if row.qty]

    def open_symbols(self) -> Iterable[str]:
        return (row.symbol for row in self._positions.values() if row.qty)

    def apply_fill(
        self,
        instrument: Instrument,
        side: Side,
        position_side: PositionSide,
        qty: Decimal,
        price: Decimal,
        *,
        terms: FeeTerms,
        trade_id: int,
        now_ms: int,
    ) -> Booked:
        """Book one fill: close against the position first, open the rest at the fill price."""
        before = self.position(instrument, position_side)
        signed = qty * side.sign
        closed = min(qty, abs(before.qty)) if before.qty * signed < 0 else ZERO
        direction = 1 if before.qty > 0 else -1
        realized = _rounded((price - before.entry) * closed * direction)
        fee, fee_asset = self._fee(_rounded(qty * price * terms.rate), instrument.settle, terms.coin)
        after = self._reduced(before, closed, realized, now_ms) if closed else before
        if opened := qty - closed:
            after = self._increased(after, opened * side.sign, price, terms.rate, now_ms)
        self._put(after)
        if realized:
            self.book(
                instrument.settle, realized, IncomeType.REALIZED_PNL, now_ms, symbol=before.symbol, trade_id=trade_id
            )
        self.book(fee_asset, -fee, IncomeType.COMMISSION, now_ms, symbol=before.symbol, trade_id=trade_id)
        return Booked(realized=realized, fee=fee, fee_asset=fee_asset, position=after)

    def set_position(self, instrument: Instrument, row: Position) -> None:
        """Put a row as an operator would; wallets are untouched."""
        self._put(row if row.qty else replace(row, entry=ZERO, isolated_wallet=ZERO, open_fees=ZERO))
        if row.margin_mode is MarginMode.ISOLATED and row.qty and not row.isolated_wallet:
            margin = _rounded(abs(row.qty) * row.entry / self.leverage(instrument.symbol, instrument))
            self._put(replace(row, isolated_wallet=margin))

    def move_margin(self, row: Position, amount: Decimal, now_ms: int) -> Position:
        after = replace(row, isolated_wallet=row.isolated_wallet + amount, updated_ms=now_ms)
        self._put(after)
        return after

    def _fee(self, fee: Decimal, settle: str, coin: FeeCoin | None) -> tuple[Decimal, str]:
        """What is charged and in which asset: the coin's wallet must cover all of it."""
        if coin is not None:
            in_coin = _rounded(fee * (1 - coin.discount) / coin.price)
            if in_coin <= self.wallet(coin.asset):
                return in_coin, coin.asset
        return fee, settle

    def _reduced(self, row: Position, qty: Decimal, realized: Decimal, now_ms: int) -> Position:
        left = abs(row.qty) - qty
        kept = left / abs(row.qty)
        return replace(
            row,
            qty=row.qty + qty * (-1 if row.qty > 0 else 1),
            entry=row.entry if left else ZERO,
            isolated_wallet=_rounded(row.isolated_wallet * kept),
            open_fees=row.open_fees * kept,
            realized=row.realized + realized,
            updated_ms=now_ms,
        )

    def _increased(self, row: Position, signed: Decimal, price: Decimal, fee_rate: Decimal, now_ms: int) -> Position:
        total = row.qty + signed
        isolated = row.isolated_wallet
        if row.margin_mode is MarginMode.ISOLATED:
            isolated += _rounded(abs(signed) * price / row.leverage)
        return replace(
            row,
            qty=total,
            entry=(row.entry * row.qty + price * signed) / total,
            isolated_wallet=isolated,
            open_fees=row.open_fees + abs(signed) * price * fee_rate,
            opened_ms=row.opened_ms if row.qty else now_ms,
            updated_ms=now_ms,
        )

    def _put(self, row: Position) -> None:
        self._positions[row.symbol, row.position_side] = row


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_HALF_EVEN)
