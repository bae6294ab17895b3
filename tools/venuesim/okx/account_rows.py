"""Balances as the venue prints them: an account in futures mode, where each currency stands alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Balance, MarginMode, Position
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
        held = {asset: _Held() for asset in self._exchange.assets()}
        for position in self._exchange.positions():
            held[self._exchange.instrument(position.symbol).settle].add(self._exchange, position)
        balances = {asset: self._exchange.balance(asset) for asset in held}
        total = isolated = ZERO
        for asset, balance in balances.items():
            worth = self._exchange.worth(asset)
            total += balance.margin_balance * worth
            isolated += _isolated_equity(balance, held[asset]) * worth
        return {
            **_BLANK_TOTAL,
            "details": [
                self._coin(balance, held[asset]) for asset, balance in balances.items() if not wanted or asset in wanted
            ],
            "isoEq": money(isolated),
            "totalEq": money(total),
            "uTime": stamp(now_ms),
        }

    def _coin(self, row: Balance, held: _Held) -> Row:
        equity = row.margin_balance
        worth = self._exchange.worth(row.asset)
        maintenance = row.maintenance - held.isolated_maintenance
        cross_equity = row.cross_wallet + row.cross_unrealized
        return {
            **_BLANK_COIN,
            **_ZERO_COIN,
            "availBal": money(row.available),
            "availEq": money(row.available),
            "cashBal": money(row.wallet),
            "ccy": row.asset,
            "coinUsdPrice": short(worth),
            "colBorrAutoConversion": "0",
            "collateralEnabled": False,
            "collateralRestrict": False,
            "disEq": money(equity * worth),
            "eq": money(equity),
            "eqUsd": money(equity * worth),
            "frozenBal": money(max(ZERO, equity - row.available)),
            "imr": money(row.position_margin - held.isolated_initial + row.order_margin),
            "isoEq": money(_isolated_equity(row, held)),
            "isoUpl": money(row.unrealized - row.cross_unrealized),
            "mgnRatio": short((cross_equity / maintenance).quantize(_RATIO)) if maintenance > 0 else "",
            "mmr": money(maintenance),
            "notionalLever": short((held.notional / equity).quantize(_RATIO)) if held.notional and equity > 0 else "0",
            "ordFrozen": money(row.order_margin),
            "uTime": stamp(row.updated_ms),
            "upl": money(row.unrealized),
        }


@dataclass(slots=True)
class _Held:
    """Sums over the positions of one currency."""

    notional: Decimal = ZERO
    isolated_wallet: Decimal = ZERO
    isolated_initial: Decimal = ZERO
    isolated_maintenance: Decimal = ZERO

    def add(self, exchange: Exchange, row: Position) -> None:
        notional = abs(row.qty) * exchange.quote(row.symbol).mark
        self.notional += notional
        if row.margin_mode is MarginMode.ISOLATED:
            self.isolated_wallet += row.isolated_wallet
            self.isolated_initial += notional / row.leverage
            self.isolated_maintenance += exchange.instrument(row.symbol).maintenance(notional)


def _isolated_equity(balance: Balance, held: _Held) -> Decimal:
    return held.isolated_wallet + balance.unrealized - balance.cross_unrealized
