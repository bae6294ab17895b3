"""The wallet of the unified account, as its REST answer and its topic print it. Both settle coins count one dollar."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.position_rows import money
from tools.venuesim.bybit.record import AccountRecord
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import ZERO, Balance, MarginMode

_RATE = Decimal("0.0001")


class AccountRows:
    """Balances valued at the moment."""

    def __init__(self, exchange: Exchange, record: AccountRecord) -> None:
        self._exchange = exchange
        self._record = record

    @property
    def margin_mode(self) -> MarginMode:
        """Of the whole account: this venue has no other."""
        return self._exchange.config(self._exchange.instruments()[0].symbol).margin_mode

    def listed(self, assets: Iterable[str] | None = None) -> Row:
        """The row of wallet-balance; all coins unless some are named."""
        return self._row(assets)

    def pushed(self, assets: Iterable[str]) -> Row:
        """The row of the wallet topic: the coins that changed, and the totals over all."""
        return self._row(assets)

    def _row(self, assets: Iterable[str] | None) -> Row:
        held = {asset: self._exchange.balance(asset) for asset in self._exchange.assets()}
        wanted = held if assets is None else {asset: held[asset] for asset in assets if asset in held}
        return {
            "accountType": "UNIFIED",
            **self._totals(list(held.values())),
            "coin": [self._coin(balance) for balance in wanted.values()],
        }

    def _totals(self, balances: list[Balance]) -> Row:
        wallet = sum((row.wallet for row in balances), ZERO)
        profit = sum((row.unrealized for row in balances), ZERO)
        initial = sum((row.position_margin + row.order_margin for row in balances), ZERO)
        maintenance = sum((row.maintenance for row in balances), ZERO)
        equity = wallet + profit
        isolated = self.margin_mode is MarginMode.ISOLATED
        # One pool: every coin's balance tells the same free amount.
        free = max((row.available for row in balances), default=ZERO)
        initial_rate, maintenance_rate = _rate(initial, equity), _rate(maintenance, equity)
        margin = {
            "totalMarginBalance": money(equity),
            "totalAvailableBalance": money(free),
            "totalInitialMargin": money(initial),
            "totalInitialMarginByMp": money(initial),
            "totalMaintenanceMargin": money(maintenance),
            "totalMaintenanceMarginByMp": money(maintenance),
            "accountIMRate": initial_rate,
            "accountIMRateByMp": initial_rate,
            "accountMMRate": maintenance_rate,
            "accountMMRateByMp": maintenance_rate,
        }
        return {
            "totalEquity": money(equity),
            "totalWalletBalance": money(wallet),
            "totalPerpUPL": money(profit),
            "accountLTV": "0",
            **(dict.fromkeys(margin, "") if isolated else margin),
        }

    def _coin(self, row: Balance) -> Row:
        equity = row.wallet + row.unrealized
        return {
            "coin": row.asset,
            "equity": money(equity),
            "usdValue": money(equity * self._exchange.worth(row.asset)),
            "walletBalance": money(row.wallet),
            "locked": "0",
            "borrowAmount": money(max(ZERO, -row.wallet)),
            "accruedInterest": "0",
            "totalOrderIM": money(row.order_margin),
            "totalPositionIM": money(row.position_margin),
            "totalPositionMM": money(row.maintenance),
            "unrealisedPnl": money(row.unrealized),
            "cumRealisedPnl": money(self._record.result(row.asset)),
            "bonus": "0",
            "marginCollateral": True,
            "collateralSwitch": True,
            "spotHedgingQty": "0",
            "spotBorrow": "0",
            "availableToWithdraw": "",
            "availableToBorrow": "",
        }


def _rate(margin: Decimal, equity: Decimal) -> str:
    return f"{(margin / equity).quantize(_RATE):f}" if margin and equity > 0 else "0"
