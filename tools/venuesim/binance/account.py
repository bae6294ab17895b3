"""Account endpoints: balances, positions, settings, history, and what the API key may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.venuesim.binance import symbols
from tools.venuesim.binance.account_rows import AccountRows
from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.formats import money, stripped
from tools.venuesim.binance.limits import ORDERS_PER_MINUTE, ORDERS_PER_TEN_SECONDS
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import translate
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.words import MARGIN_MODE, MARGIN_MODE_OF, POSITION_SIDE_OF
from tools.venuesim.exchange.model import PositionMode, Refusal, Refused
from tools.venuesim.wire import Host, Lane

_MARGIN_CODES = {Refusal.MODE_UNCHANGED: -4046, Refusal.MODE_HAS_ORDERS: -4047, Refusal.MODE_HAS_POSITION: -4048}
_POSITION_CODES = {Refusal.MODE_UNCHANGED: -4059, Refusal.MODE_HAS_ORDERS: -4067, Refusal.MODE_HAS_POSITION: -4068}
_SUCCESS = {"code": 200, "msg": "success"}
_WEEK_MS = 7 * 86_400_000


class AccountEndpoints:
    """Handlers for everything that is about the account rather than about an order."""

    def __init__(
        self, host: Host, requests: OrderRequests, rows: AccountRows, announce_assets_mode: Callable[[bool], None]
    ) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows
        self._announce_assets_mode = announce_assets_mode
        # Only the flag is kept, for clients that must recognise the mode: margin is always per asset here.
        self._multi_assets = False

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
            "/fapi/v1/feeBurn": lambda _: {"feeBurn": False},
            "/fapi/v1/income": self.income,
            "/fapi/v1/rateLimit/order": self.order_limits,
            "/fapi/v1/apiTradingStatus": self.trading_status,
            "/sapi/v1/account/apiRestrictions": self.api_restrictions,
            "/sapi/v1/capital/config/getall": lambda _: [],
        }
        write = {
            "/fapi/v1/leverage": self.set_leverage,
            "/fapi/v1/marginType": self.set_margin_type,
            "/fapi/v1/positionSide/dual": self.set_position_side,
            "/fapi/v1/multiAssetsMargin": self.set_multi_assets,
            "/fapi/v1/positionMargin": self.position_margin,
        }
        table: Routes = {("GET", path): Route(call, Lane.ACCOUNT, Security.READ) for path, call in read.items()}
        return table | {("POST", path): Route(call, Lane.ACCOUNT, Security.TRADE) for path, call in write.items()}

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
            "feeBurn": False,
            "canTrade": can,
            "canDeposit": True,
            "canWithdraw": False,
            "updateTime": 0,
            "multiAssetsMargin": self._multi_assets,
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
            "multiAssetsMargin": self._multi_assets,
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
            {"symbol": symbol, "brackets": [dict(row) for row in symbols.bracket_rows(symbol)]}
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

    def set_position_side(self, params: Params) -> object:
        """POST positionSide/dual; there is no stream event for it."""
        params.required("dualSidePosition")
        mode = PositionMode.HEDGE if params.flag("dualSidePosition") else PositionMode.ONE_WAY
        self._refusing(lambda: self._exchange.set_position_mode(mode), None, _POSITION_CODES)
        return dict(_SUCCESS)

    def multi_assets(self, _: Params) -> object:
        """GET multiAssetsMargin."""
        return {"multiAssetsMargin": self._multi_assets}

    def set_multi_assets(self, params: Params) -> object:
        """POST multiAssetsMargin; -4171 when nothing changes."""
        params.required("multiAssetsMargin")
        wanted = params.flag("multiAssetsMargin")
        if wanted is self._multi_assets:
            raise VenueError(-4171)
        self._multi_assets = wanted
        self._announce_assets_mode(wanted)
        return dict(_SUCCESS)

    def set_leverage(self, params: Params) -> object:
        """POST leverage; -4028 outside 1..max of the symbol's brackets."""
        symbol = self._requests.symbol(params)
        leverage = params.integer("leverage")
        if leverage is None:
            raise VenueError(-1102, "leverage")
        if not 1 <= leverage <= self._exchange.instrument(symbol).max_leverage:
            raise VenueError(-4028, leverage)
        self._refusing(lambda: self._exchange.set_leverage(symbol, leverage), symbol, {Refusal.LEVERAGE_INVALID: -4028})
        config = self._exchange.config(symbol)
        return {"leverage": config.leverage, "maxNotionalValue": stripped(config.max_notional), "symbol": symbol}

    def set_margin_type(self, params: Params) -> object:
        """POST marginType."""
        symbol = self._requests.symbol(params)
        mode = MARGIN_MODE_OF.get(params.required("marginType"))
        if mode is None:
            raise VenueError(-1130, "marginType")
        self._refusing(lambda: self._exchange.set_margin_mode(symbol, mode), symbol, _MARGIN_CODES)
        return dict(_SUCCESS)

    def position_margin(self, params: Params) -> object:
        """POST positionMargin: type 1 adds to an isolated position, 2 takes out."""
        symbol = self._requests.symbol(params)
        amount, direction = params.decimal("amount"), params.integer("type")
        if amount is None or amount <= 0:
            raise VenueError(-1102, "amount")
        if direction not in (1, 2):
            raise VenueError(-1130, "type")
        side = POSITION_SIDE_OF.get(params.text("positionSide") or "BOTH")
        if side is None:
            raise VenueError(-4060)
        signed = amount if direction == 1 else -amount
        self._refusing(lambda: self._exchange.add_margin(symbol, side, signed), symbol, {})
        return {
            "amount": float(amount),
            "code": 200,
            "msg": "Successfully modify position margin.",
            "type": direction,
        }

    def income(self, params: Params) -> object:
        """GET income, ascending, the last 7 days unless asked otherwise; tradeId is a string."""
        symbol, wanted = params.text("symbol"), params.text("incomeType")
        end = params.time("endTime") or self._host.now_ms()
        start = params.time("startTime") or end - _WEEK_MS
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

    def _refusing(self, command: Callable[[], Any], symbol: str | None, codes: dict[Refusal, int]) -> None:
        try:
            command()
        except Refused as refused:
            raise translate(refused, self._exchange, symbol, codes) from refused
