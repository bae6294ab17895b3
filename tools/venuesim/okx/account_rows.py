"""Balances as the venue prints them: an account in futures mode, where each currency stands alone."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Balance, MarginMode, Position, PositionView
from tools.venuesim.okx.formats import Row, money, short, stamp

_RATIO = Decimal("1E-10")
_BLANK_COIN = dict.fromkeys(
    ("accAvgPx", "borrowFroz", "clSpotInUseAmt", "crossLiab", "interest", "isoLiab", "liab", "maxLoan",
     "maxSpotInUseAmt", "openAvgPx", "spotBal", "spotInUseAmt", "spotUpl", "spotUplRatio", "totalPnl",
     "totalPnlRatio", "uplLiab"),
    "",
)  # fmt: skip
_ZERO_COIN = dict.fromkeys(
    ("fixedBal", "rewardBal", "smtSyncEq", "spotCopyTradingEq", "spotIsoBal", "stgyEq", "twap"), "0"
)  # fmt: skip
_BLANK_TOTAL = dict.fromkeys(
    ("adjEq", "availEq", "borrowFroz", "imr", "mgnRatio", "mmr", "notionalUsd", "notionalUsdForBorrow",
     "notionalUsdForFutures", "notionalUsdForOption", "notionalUsdForSwap", "ordFroz", "upl"),
    "",
)  # fmt: skip


class AccountRows:
    """The account's row, with one detail for each currency."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def balance(self, assets: Iterable[str], now_ms: int) -> Row:
        """The row of account/balance; all currencies where none is named."""
        return self._row(frozenset(assets), now_ms)

    def pushed(self, assets: Iterable[str], now_ms: int) -> Row:
        """The row of the account channel; all currencies where none is named."""
        return self._row(frozenset(assets), now_ms)

    def brief(self, asset: str) -> Row:
        """A row of balData in balance_and_position."""
        row = self._exchange.balance(asset)
        return {"cashBal": money(row.wallet), "ccy": asset, "uTime": stamp(row.updated_ms)}

    def _row(self, wanted: frozenset[str], now_ms: int) -> Row:
        details = [self._coin(asset) for asset in self._exchange.assets() if not wanted or asset in wanted]
        total = isolated = ZERO
        for asset in self._exchange.assets():
            balance = self._exchange.balance(asset)
            worth = self._exchange.worth(asset)
            total += balance.margin_balance * worth
            isolated += _isolated_equity(balance, self._isolated(asset)) * worth
        return {
            **_BLANK_TOTAL,
            "details": details,
            "isoEq": money(isolated),
            "totalEq": money(total),
            "uTime": stamp(now_ms),
        }

    def _isolated(self, asset: str) -> list[Position]:
        return [
            row
            for row in self._exchange.positions()
            if row.margin_mode is MarginMode.ISOLATED and self._exchange.instrument(row.symbol).settle == asset
        ]

    def _coin(self, asset: str) -> Row:
        row = self._exchange.balance(asset)
        isolated = self._isolated(asset)
        tied = sum((view.initial_margin for view in self._views(isolated)), ZERO)
        cross_margin = row.position_margin - tied
        equity = row.margin_balance
        isolated_equity = _isolated_equity(row, isolated)
        cross_equity = row.cross_wallet + row.cross_unrealized
        notional = sum((abs(view.notional) for view in self._views(self._held(asset))), ZERO)
        maintenance = sum((view.maintenance for view in self._views(self._cross(asset))), ZERO)
        worth = self._exchange.worth(asset)
        return {
            **_BLANK_COIN,
            **_ZERO_COIN,
            "availBal": money(row.available),
            "availEq": money(row.available),
            "cashBal": money(row.wallet),
            "ccy": asset,
            "coinUsdPrice": short(worth),
            "colBorrAutoConversion": "0",
            "collateralEnabled": False,
            "collateralRestrict": False,
            "disEq": money(equity * worth),
            "eq": money(equity),
            "eqUsd": money(equity * worth),
            "frozenBal": money(max(ZERO, equity - row.available)),
            "imr": money(cross_margin + row.order_margin),
            "isoEq": money(isolated_equity),
            "isoUpl": money(row.unrealized - row.cross_unrealized),
            "mgnRatio": short((cross_equity / maintenance).quantize(_RATIO)) if maintenance else "",
            "mmr": money(maintenance),
            "notionalLever": short((notional / equity).quantize(_RATIO)) if notional and equity > 0 else "0",
            "ordFrozen": money(row.order_margin),
            "uTime": stamp(row.updated_ms),
            "upl": money(row.unrealized),
        }

    def _held(self, asset: str) -> list[Position]:
        return [row for row in self._exchange.positions() if self._exchange.instrument(row.symbol).settle == asset]

    def _cross(self, asset: str) -> list[Position]:
        return [row for row in self._held(asset) if row.margin_mode is MarginMode.CROSS]

    def _views(self, rows: list[Position]) -> list[PositionView]:
        return [self._exchange.position_view(row.symbol, row.position_side) for row in rows]


def _isolated_equity(balance: Balance, rows: list[Position]) -> Decimal:
    margin = sum((row.isolated_wallet for row in rows), ZERO)
    return margin + balance.unrealized - balance.cross_unrealized
