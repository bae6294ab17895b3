"""Account endpoints: balances, positions, settings, history, and what the API key may do."""

from __future__ import annotations

from tools.venuesim.binance.account_rows import AccountRows, adl_rank
from tools.venuesim.binance.formats import money, stripped
from tools.venuesim.binance.limits import ORDERS_PER_MINUTE, ORDERS_PER_TEN_SECONDS
from tools.venuesim.binance.order_queries import time_range
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.symbol_table import bracket_rows
from tools.venuesim.binance.words import MARGIN_MODE, POSITION_SIDE
from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.wire import Host, Lane


class AccountEndpoints:
    """Handlers for everything that is about the account rather than about an order."""

    def __init__(self, host: Host, requests: OrderRequests, rows: AccountRows) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows

    def routes(self) -> Routes:
        """This part of the API."""
        read = {
            "/fapi/v2/account": self.account_v2,
            "/fapi/v3/account": self.account,
            "/fapi/v2/balance": self.balance,
            "/fapi/v3/balance": self.balance,
            "/fapi/v2/positionRisk": self.position_risk_v2,
            "/fapi/v3/positionRisk": self.position_risk,
            "/fapi/v1/accountConfig": self.account_config,
            "/fapi/v1/symbolConfig": self.symbol_config,
            "/fapi/v1/leverageBracket": self.leverage_bracket,
            "/fapi/v1/commissionRate": self.commission_rate,
            "/fapi/v1/positionSide/dual": self.position_side,
            "/fapi/v1/multiAssetsMargin": self.multi_assets,
            "/fapi/v1/feeBurn": lambda _: {"feeBurn": self._exchange.fee_in_coin},
            "/fapi/v1/adlQuantile": self.adl_quantile,
            "/fapi/v1/symbolAdlRisk": self.adl_risk,
            "/fapi/v1/income": self.income,
            "/fapi/v1/rateLimit/order": self.order_limits,
            "/fapi/v1/apiTradingStatus": self.trading_status,
            "/sapi/v1/account/apiRestrictions": self.api_restrictions,
            "/sapi/v1/capital/config/getall": lambda _: [],
        }
        return {("GET", path): Route(call, Lane.ACCOUNT, Security.READ) for path, call in read.items()}

    def account(self, _: Params) -> object:
        """GET v3/account."""
        return {
            **self._rows.totals(),
            "assets": self._rows.assets(v2=False),
            "positions": self._rows.account_positions(),
        }

    def account_v2(self, _: Params) -> object:
        """GET v2/account: every symbol, plus the flags that v3 moved to accountConfig."""
        can = "trade" in self._exchange.permissions
        return {
            "feeTier": 0,
            "feeBurn": self._exchange.fee_in_coin,
            "canTrade": can,
            "canDeposit": True,
            "canWithdraw": False,
            "updateTime": 0,
            "multiAssetsMargin": self._exchange.multi_assets,
            "tradeGroupId": -1,
            **self._rows.totals(),
            "assets": self._rows.assets(v2=True),
            "positions": self._rows.account_positions_v2(),
        }

    def balance(self, _: Params) -> object:
        """GET balance."""
        return self._rows.balances()

    def position_risk(self, params: Params) -> object:
        """GET v3/positionRisk."""
        return self._rows.risks(self._requests.optional_symbol(params))

    def position_risk_v2(self, params: Params) -> object:
        """GET v2/positionRisk."""
        return self._rows.risks_v2(self._requests.optional_symbol(params))

    def account_config(self, _: Params) -> object:
        """GET accountConfig."""
        return {
            "feeTier": 0,
            "canTrade": "trade" in self._exchange.permissions,
            "canDeposit": True,
            "canWithdraw": False,
            "dualSidePosition": self._hedge(),
            "updateTime": 0,
            "multiAssetsMargin": self._exchange.multi_assets,
            "tradeGroupId": -1,
        }

    def symbol_config(self, params: Params) -> object:
        """GET symbolConfig: the source for leverage and margin mode."""
        rows = []
        for symbol in self._symbols(params):
            config = self._exchange.config(symbol)
            rows.append(
                {
                    "symbol": symbol,
                    "marginType": MARGIN_MODE[config.margin_mode],
                    "isAutoAddMargin": False,
                    "leverage": config.leverage,
                    "maxNotionalValue": stripped(config.max_notional),
                }
            )
        return rows

    def leverage_bracket(self, params: Params) -> object:
        """GET leverageBracket: an array, also of one symbol, as third parties report."""
        return [
            {"symbol": symbol, "brackets": bracket_rows(self._exchange.instrument(symbol))}
            for symbol in self._symbols(params)
        ]

    def commission_rate(self, params: Params) -> object:
        """GET commissionRate."""
        instrument = self._exchange.instrument(self._requests.symbol(params))
        return {
            "symbol": instrument.symbol,
            "makerCommissionRate": f"{instrument.maker_fee:.6f}",
            "takerCommissionRate": f"{instrument.taker_fee:.6f}",
            "rpiCommissionRate": "0.000050",
        }

    def position_side(self, _: Params) -> object:
        """GET positionSide/dual."""
        return {"dualSidePosition": self._hedge()}

    def multi_assets(self, _: Params) -> object:
        """GET multiAssetsMargin."""
        return {"multiAssetsMargin": self._exchange.multi_assets}

    def income(self, params: Params) -> object:
        """GET income, ascending, the last 7 days unless asked otherwise; tradeId is a string."""
        symbol, wanted = params.text("symbol"), params.text("incomeType")
        start, end = time_range(params, self._host.now_ms())
        rows = [
            {
                "symbol": entry.symbol or "",
                "incomeType": entry.type.value.upper(),
                "income": money(entry.amount),
                "asset": entry.asset,
                "info": str(entry.trade_id) if entry.trade_id is not None else entry.type.value.upper(),
                "time": entry.time_ms,
                "tranId": entry.id,
                "tradeId": str(entry.trade_id) if entry.trade_id is not None else "",
            }
            for entry in self._exchange.income()
            if symbol in (None, entry.symbol)
            and wanted in (None, entry.type.value.upper())
            and start <= entry.time_ms <= end
        ]
        return rows[: params.limit(100, 1_000)]

    def adl_quantile(self, params: Params) -> object:
        """GET adlQuantile: 0..4 by side; a hedged cross symbol has HEDGE instead of BOTH."""
        held: dict[str, dict[str, int]] = {}
        symbol = self._requests.optional_symbol(params)
        for row in self._exchange.positions():
            if symbol in (None, row.symbol):
                ranks = held.setdefault(row.symbol, {"LONG": 0, "SHORT": 0})
                view = self._exchange.position_view(row.symbol, row.position_side)
                ranks[POSITION_SIDE[row.position_side]] = adl_rank(view)
        for ranks in held.values():
            ranks.setdefault("HEDGE" if self._hedge() else "BOTH", 0)
        return [{"symbol": name, "adlQuantile": ranks} for name, ranks in held.items()]

    def adl_risk(self, params: Params) -> object:
        """GET symbolAdlRisk: nobody but this account trades here, so the risk is always low."""
        now_ms = self._host.now_ms()
        rows = [{"symbol": name, "adlRisk": "low", "updateTime": now_ms} for name in self._symbols(params)]
        return rows[0] if "symbol" in params else rows

    def order_limits(self, _: Params) -> object:
        """GET rateLimit/order: the order limits really enforced."""
        return [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_PER_TEN_SECONDS},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_PER_MINUTE},
        ]

    def trading_status(self, _: Params) -> object:
        """GET apiTradingStatus: nothing is locked."""
        return {"indicators": {}, "updateTime": self._host.now_ms()}

    def api_restrictions(self, _: Params) -> object:
        """GET sapi apiRestrictions: what the key may do."""
        permissions = self._exchange.permissions
        return {
            "ipRestrict": False,
            "createTime": 1_700_000_000_000,
            "enableReading": "read" in permissions,
            "enableWithdrawals": "withdraw" in permissions,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": "trade" in permissions,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": False,
            "enablePortfolioMarginTrading": False,
        }

    def _symbols(self, params: Params) -> list[str]:
        symbol = self._requests.optional_symbol(params)
        return [symbol] if symbol else [instrument.symbol for instrument in self._exchange.instruments()]

    def _hedge(self) -> bool:
        return self._exchange.position_mode is PositionMode.HEDGE
