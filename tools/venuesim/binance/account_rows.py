"""Balances and positions as the account endpoints print them, in their v2 and v3 field sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from tools.venuesim.binance.formats import money, short, stripped, zero_or_money
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.binance.words import MARGIN_MODE_LOWER, POSITION_SIDE
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Balance, MarginMode, PositionMode, PositionSide, PositionView

Row = dict[str, Any]
# In single-asset mode the venue's totals count USDT only.
TOTALS_ASSET = "USDT"


class AccountRows:
    """Prints account state with the digits of its symbols."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table

    def totals(self) -> Row:
        """The sums at the head of GET account."""
        if self._exchange.multi_assets:
            return self._totals_in_usd()
        balance = self._exchange.balance(TOTALS_ASSET)
        return {
            "totalInitialMargin": money(balance.position_margin + balance.order_margin),
            "totalMaintMargin": money(balance.maintenance),
            "totalWalletBalance": money(balance.wallet),
            "totalUnrealizedProfit": money(balance.unrealized),
            "totalMarginBalance": money(balance.margin_balance),
            "totalPositionInitialMargin": money(balance.position_margin),
            "totalOpenOrderInitialMargin": money(balance.order_margin),
            "totalCrossWalletBalance": money(balance.cross_wallet),
            "totalCrossUnPnl": money(balance.cross_unrealized),
            "availableBalance": money(balance.available),
            "maxWithdrawAmount": money(balance.max_withdraw),
        }

    def _totals_in_usd(self) -> Row:
        """Multi-assets mode counts every asset, in USD."""
        worth = {asset: self._exchange.worth(asset) for asset in self._exchange.assets()}
        balances = [(self._exchange.balance(asset), price) for asset, price in worth.items()]

        def total(value: Callable[[Balance], Decimal]) -> str:
            return money(sum((value(balance) * price for balance, price in balances), ZERO))

        # The free amount is one for all assets, only expressed in each.
        free = max((balance.available * price for balance, price in balances), default=ZERO)
        return {
            "totalInitialMargin": total(lambda row: row.position_margin + row.order_margin),
            "totalMaintMargin": total(lambda row: row.maintenance),
            "totalWalletBalance": total(lambda row: row.wallet),
            "totalUnrealizedProfit": total(lambda row: row.unrealized),
            "totalMarginBalance": total(lambda row: row.margin_balance),
            "totalPositionInitialMargin": total(lambda row: row.position_margin),
            "totalOpenOrderInitialMargin": total(lambda row: row.order_margin),
            "totalCrossWalletBalance": total(lambda row: row.cross_wallet),
            "totalCrossUnPnl": total(lambda row: row.cross_unrealized),
            "availableBalance": money(free),
            "maxWithdrawAmount": total(lambda row: row.max_withdraw),
        }

    def assets(self, *, v2: bool) -> list[Row]:
        """`assets` of GET account; v2 adds marginAvailable."""
        rows = []
        for asset in self._exchange.assets():
            balance = self._exchange.balance(asset)
            row = _asset(balance)
            if v2:
                row["marginAvailable"] = True
            rows.append({**row, "updateTime": balance.updated_ms})
        return rows

    def balances(self) -> list[Row]:
        """GET balance, the same in v2 and v3."""
        rows = []
        for asset in self._exchange.assets():
            balance = self._exchange.balance(asset)
            rows.append(
                {
                    "accountAlias": "SimSim",
                    "asset": asset,
                    "balance": money(balance.wallet),
                    "crossWalletBalance": money(balance.cross_wallet),
                    "crossUnPnl": money(balance.cross_unrealized),
                    "availableBalance": money(balance.available),
                    "maxWithdrawAmount": money(balance.max_withdraw),
                    "marginAvailable": True,
                    "updateTime": balance.updated_ms,
                }
            )
        return rows

    def account_positions(self) -> list[Row]:
        """`positions` of v3/account: only symbols with a position or an open order."""
        return [
            {
                "symbol": view.position.symbol,
                "positionSide": POSITION_SIDE[view.position.position_side],
                "positionAmt": self._amount(view),
                "unrealizedProfit": money(view.unrealized),
                "isolatedMargin": money(_isolated_margin(view)),
                "notional": zero_or_money(view.notional),
                "isolatedWallet": zero_or_money(view.position.isolated_wallet),
                "initialMargin": zero_or_money(view.initial_margin + view.order_margin),
                "maintMargin": zero_or_money(view.maintenance),
                "updateTime": view.position.updated_ms,
            }
            for view in self._views(every_symbol=False)
        ]

    def account_positions_v2(self) -> list[Row]:
        """`positions` of v2/account: every symbol."""
        return [
            {
                "symbol": view.position.symbol,
                "initialMargin": zero_or_money(view.initial_margin + view.order_margin),
                "maintMargin": zero_or_money(view.maintenance),
                "unrealizedProfit": money(view.unrealized),
                "positionInitialMargin": zero_or_money(view.initial_margin),
                "openOrderInitialMargin": zero_or_money(view.order_margin),
                "leverage": str(view.position.leverage),
                "isolated": view.position.margin_mode is MarginMode.ISOLATED,
                "entryPrice": _entry(view.position.entry),
                "breakEvenPrice": _entry(view.position.break_even),
                "maxNotional": stripped(self._exchange.config(view.position.symbol).max_notional),
                "positionSide": POSITION_SIDE[view.position.position_side],
                "positionAmt": self._amount(view),
                "notional": zero_or_money(view.notional),
                "isolatedWallet": zero_or_money(view.position.isolated_wallet),
                "updateTime": view.position.updated_ms,
                "bidNotional": stripped(view.bid_notional),
                "askNotional": stripped(view.ask_notional),
            }
            for view in self._views(every_symbol=True)
        ]

    def risks(self, symbol: str | None) -> list[Row]:
        """GET v3/positionRisk: only symbols with a position or an open order; no leverage, no margin mode."""
        return [
            {
                "symbol": view.position.symbol,
                "positionSide": POSITION_SIDE[view.position.position_side],
                "positionAmt": self._amount(view),
                "entryPrice": _entry(view.position.entry),
                "breakEvenPrice": _entry(view.position.break_even),
                "markPrice": money(view.mark),
                "unRealizedProfit": money(view.unrealized),
                "liquidationPrice": _liquidation(view),
                "isolatedMargin": zero_or_money(_isolated_margin(view)),
                "notional": zero_or_money(view.notional),
                "marginAsset": self._exchange.instrument(view.position.symbol).settle,
                "isolatedWallet": zero_or_money(view.position.isolated_wallet),
                "initialMargin": zero_or_money(view.initial_margin + view.order_margin),
                "maintMargin": zero_or_money(view.maintenance),
                "positionInitialMargin": zero_or_money(view.initial_margin),
                "openOrderInitialMargin": zero_or_money(view.order_margin),
                "adl": adl_rank(view),
                "bidNotional": stripped(view.bid_notional),
                "askNotional": stripped(view.ask_notional),
                "updateTime": view.position.updated_ms,
            }
            for view in self._views(every_symbol=False, symbol=symbol)
        ]

    def risks_v2(self, symbol: str | None) -> list[Row]:
        """GET v2/positionRisk: every symbol, with leverage and margin mode."""
        return [
            {
                "entryPrice": _entry(view.position.entry),
                "breakEvenPrice": _entry(view.position.break_even),
                "marginType": MARGIN_MODE_LOWER[view.position.margin_mode],
                "isAutoAddMargin": "false",
                "isolatedMargin": money(_isolated_margin(view)),
                "leverage": str(view.position.leverage),
                "liquidationPrice": _liquidation(view),
                "markPrice": money(view.mark),
                "maxNotionalValue": stripped(self._exchange.config(view.position.symbol).max_notional),
                "positionAmt": self._amount(view),
                "notional": zero_or_money(view.notional),
                "isolatedWallet": zero_or_money(view.position.isolated_wallet),
                "symbol": view.position.symbol,
                "unRealizedProfit": money(view.unrealized),
                "positionSide": POSITION_SIDE[view.position.position_side],
                "updateTime": view.position.updated_ms,
            }
            for view in self._views(every_symbol=True, symbol=symbol)
        ]

    def _views(self, *, every_symbol: bool, symbol: str | None = None) -> Iterator[PositionView]:
        hedge = self._exchange.position_mode is PositionMode.HEDGE
        sides = (PositionSide.LONG, PositionSide.SHORT) if hedge else (PositionSide.BOTH,)
        ordered = {order.symbol for order in self._exchange.open_orders(symbol)}
        held = {(position.symbol, position.position_side) for position in self._exchange.positions()}
        busy = ordered | {name for name, _ in held}
        for name in [symbol] if symbol else [instrument.symbol for instrument in self._exchange.instruments()]:
            if not every_symbol and name not in busy:
                continue
            for side in sides:
                if every_symbol or name in ordered or (name, side) in held:
                    yield self._exchange.position_view(name, side)

    def _amount(self, view: PositionView) -> str:
        return self._table.qty(view.position.symbol, view.position.qty)


def adl_rank(view: PositionView) -> int:
    """0..4: how early others' losses would be settled with this position. Profit moves it forward."""
    row = view.position
    if not row.qty or not view.initial_margin:
        return 0
    gain = view.unrealized / view.initial_margin
    return 1 + sum(gain > step for step in (ZERO, Decimal("0.5"), Decimal(1)))


def _asset(balance: Balance) -> Row:
    return {
        "asset": balance.asset,
        "walletBalance": money(balance.wallet),
        "unrealizedProfit": money(balance.unrealized),
        "marginBalance": money(balance.margin_balance),
        "maintMargin": money(balance.maintenance),
        "initialMargin": money(balance.position_margin + balance.order_margin),
        "positionInitialMargin": money(balance.position_margin),
        "openOrderInitialMargin": money(balance.order_margin),
        "crossWalletBalance": money(balance.cross_wallet),
        "crossUnPnl": money(balance.cross_unrealized),
        "availableBalance": money(balance.available),
        "maxWithdrawAmount": money(balance.max_withdraw),
    }


def _isolated_margin(view: PositionView) -> Decimal:
    """What an isolated position could lose: its own wallet and its unrealised profit."""
    if view.position.margin_mode is not MarginMode.ISOLATED or not view.position.qty:
        return ZERO
    return view.position.isolated_wallet + view.unrealized


def _entry(price: Decimal) -> str:
    return short(price.quantize(Decimal("1E-11")))


def _liquidation(view: PositionView) -> str:
    """ "0" when no price would liquidate."""
    return money(view.liquidation_price) if view.liquidation_price is not None else "0"
