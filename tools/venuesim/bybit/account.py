"""The account: what it holds, what it pays, what its key may do, and the settings that are not of one contract."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.account_rows import AccountRows
from tools.venuesim.bybit.dead_mans_switch import DeadMansSwitch
from tools.venuesim.bybit.errors import Row, VenueError
from tools.venuesim.bybit.ids import exec_id, funding_id
from tools.venuesim.bybit.market_frames import fixed, short
from tools.venuesim.bybit.order_requests import PriceAction
from tools.venuesim.bybit.paging import page, window
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.position_rows import money
from tools.venuesim.bybit.record import AccountRecord, Execution
from tools.venuesim.bybit.routing import Answer, Handler, Route, Routes, Security
from tools.venuesim.bybit.signing import API_KEY
from tools.venuesim.bybit.symbol_table import SymbolTable
from tools.venuesim.bybit.words import MARGIN_MODE, MARGIN_MODE_OF, SIDE
from tools.venuesim.exchange.model import ZERO, Income, IncomeType, MarginMode, Refusal, Refused
from tools.venuesim.wire import Host, Lane

UNIFIED_STATUS = 6
"""A unified account of the newest kind."""
_CREATED_MS = "1700000000000"
_PORTFOLIO = "PORTFOLIO_MARGIN"
_TOO_POOR = "Equity needs to be equal to or greater than 1000 USDC"
_REASONS = {
    Refusal.MODE_HAS_ORDERS: ("3400054", "You have uncancelled USDT perpetual orders"),
    Refusal.MODE_HAS_POSITION: ("3400208", "You have unclosed positions"),
}
_TYPES = {
    IncomeType.REALIZED_PNL: "TRADE",
    IncomeType.COMMISSION: "TRADE",
    IncomeType.FUNDING_FEE: "SETTLEMENT",
    IncomeType.TRANSFER: "TRANSFER_IN",
    IncomeType.INSURANCE_CLEAR: "LIQUIDATION",
}


class AccountEndpoints:
    """Handlers for /v5/account and /v5/user."""

    def __init__(
        self,
        host: Host,
        table: SymbolTable,
        rows: AccountRows,
        record: AccountRecord,
        action: PriceAction,
        switch: DeadMansSwitch,
    ) -> None:
        self._host = host
        self._exchange = host.exchange
        self._table = table
        self._rows = rows
        self._record = record
        self._action = action
        self._updated_ms = host.now_ms()
        self._dead_man = switch

    def routes(self) -> Routes:
        """This part of the API."""
        read: dict[str, tuple[Handler, int]] = {
            "/v5/user/query-api": (self.key_info, 10),
            "/v5/account/info": (self.info, 50),
            "/v5/account/wallet-balance": (self.balance, 50),
            "/v5/account/fee-rate": (self.fee_rates, 5),
            "/v5/account/transaction-log": (self.transactions, 25),
            "/v5/account/instruments-info": (self.instruments, 10),
            "/v5/account/smp-group": (lambda _: {"smpGroup": 0}, 10),
            "/v5/account/query-dcp-info": (self.protection, 5),
            "/v5/account/collateral-info": (self.collateral, 50),
            "/v5/account/user-setting-config": (self.user_settings, 50),
        }
        write: dict[str, tuple[Handler, int]] = {
            "/v5/account/set-margin-mode": (self.set_margin_mode, 5),
            "/v5/account/set-limit-px-action": (self.set_price_action, 10),
            "/v5/order/disconnected-cancel-all": (self.set_protection, 5),
        }
        table: Routes = {
            ("GET", path): Route(call, Lane.ACCOUNT, Security.READ, limit) for path, (call, limit) in read.items()
        }
        return table | {
            ("POST", path): Route(call, Lane.ACCOUNT, Security.TRADE, limit) for path, (call, limit) in write.items()
        }

    def key_info(self, _: Params) -> Answer:
        """GET query-api: permissions by product; an empty list is a permission the key has not got."""
        trades = "trade" in self._exchange.permissions
        empty: dict[str, list[str]] = {
            name: []
            for name in (
                "Spot", "Wallet", "Options", "CopyTrading", "BlockTrade", "Exchange", "NFT", "Affiliate", "Earn",
                "FiatP2P", "FiatBybitPay", "FiatConvertBroker", "FiatGlobalPay", "FiatBitPay", "BitCard", "ByXPost",
            )
        }  # fmt: skip
        permissions = {
            "ContractTrade": ["Order", "Position"],
            "Derivatives": ["DerivativesTrade"],
        }
        if "withdraw" in self._exchange.permissions:
            empty["Wallet"] = ["AccountTransfer", "Withdraw"]
        return Answer(
            {
                "id": "1000001",
                "note": "simulator",
                "apiKey": API_KEY,
                "readOnly": 0 if trades else 1,
                "secret": "",
                "permissions": empty | permissions,
                "ips": ["*"],
                "type": 1,
                "deadlineDay": 90,
                "expiredAt": "2030-01-01T00:00:00Z",
                "createdAt": "2026-01-01T00:00:00Z",
                "unified": 0,
                "uta": 1,
                "userID": 1000001,
                "inviterID": 0,
                "vipLevel": "No VIP",
                "mktMakerLevel": "0",
                "affiliateID": 0,
                "rsaPublicKey": "",
                "isMaster": True,
                "parentUid": "0",
                "kycLevel": "LEVEL_DEFAULT",
                "kycRegion": "",
                "userIDInt64": "1000001",
                "inviterIDInt64": "0",
                "affiliateIDInt64": "0",
            },
            message="",
        )

    def info(self, _: Params) -> Row:
        """GET info: the margin mode of the whole account."""
        return {
            "marginMode": MARGIN_MODE[self._rows.margin_mode],
            "updatedTime": str(self._updated_ms),
            "unifiedMarginStatus": UNIFIED_STATUS,
            "dcpStatus": "ON" if self._dead_man.is_on else "OFF",
            "timeWindow": self._dead_man.window_s,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }

    def balance(self, params: Params) -> Row:
        """GET wallet-balance of the unified account; ``coin`` may name several."""
        if params.required("accountType") != "UNIFIED":
            raise VenueError(10001, "accountType only support UNIFIED.")
        coins = params.text("coin")
        return {"list": [self._rows.listed(coins.split(",") if coins else None)]}

    def fee_rates(self, params: Params) -> Row:
        """GET fee-rate, of one contract or of all."""
        symbol = params.text("symbol")
        rows = [
            {"symbol": row.symbol, "takerFeeRate": short(row.taker_fee), "makerFeeRate": short(row.maker_fee)}
            for row in self._exchange.instruments()
            if symbol in (None, row.symbol)
        ]
        return {"list": rows if params.text("category") in (None, "linear") else []}

    def instruments(self, params: Params) -> Row:
        """GET account/instruments-info: the contracts as this account sees them."""
        symbol = params.text("symbol")
        names = [row.symbol for row in self._exchange.instruments() if symbol in (None, row.symbol)]
        rows = [{**self._table.wire_row(name), "myRpiPermission": False, "isPublicRpi": False} for name in names]
        return {"category": "linear", "list": rows, "nextPageCursor": ""}

    def transactions(self, params: Params) -> Row:
        """GET transaction-log, newest first: every change of a wallet. A fill's profit and fee are one row."""
        start, end = window(params, self._host.now_ms())
        currency, kind = params.text("currency"), params.text("type")
        rows = [
            row
            for row in reversed(self._log())
            if start <= int(row["transactionTime"]) <= end
            and currency in (None, row["currency"])
            and kind in (None, row["type"])
        ]
        found, cursor = page(rows, params, lambda row: str(row["id"]), default=20, most=50)
        return {"list": list(found), "nextPageCursor": cursor}

    def protection(self, _: Params) -> Row:
        """GET query-dcp-info: whether lost connections cancel orders."""
        if not self._dead_man.is_on:
            return {"dcpInfos": []}
        info = {"product": "DERIVATIVES", "dcpStatus": "ON", "timeWindow": str(self._dead_man.window_s)}
        return {"dcpInfos": [info]}

    def set_protection(self, params: Params) -> Answer:
        """POST disconnected-cancel-all: 3 to 300 seconds, for the topic dcp.future to arm."""
        self._dead_man.configure(params)
        return Answer({}, message="success")

    def collateral(self, params: Params) -> Row:
        """GET collateral-info of the settle coins."""
        currency = params.text("currency")
        return {"list": [_collateral(asset) for asset in self._exchange.assets() if currency in (None, asset)]}

    def user_settings(self, _: Params) -> Row:
        """GET user-setting-config: what set-limit-px-action set."""
        return {"lpaSpot": self._action.adjusts, "lpaPerp": self._action.adjusts}

    def set_price_action(self, params: Params) -> Answer:
        """POST set-limit-px-action: limit prices beyond the band are adjusted (true) or refused (false)."""
        self._action.adjusts = params.flag("modifyEnable")
        return Answer({}, message="success")

    def set_margin_mode(self, params: Params) -> Answer:
        """POST set-margin-mode, for the whole account; 3400045 with reasons."""
        word = params.choice("setMarginMode", (*MARGIN_MODE_OF, _PORTFOLIO))
        if word == _PORTFOLIO:
            # This account is never rich enough for it.
            raise VenueError(3400045, result={"reasons": [{"reasonCode": "3400000", "reasonMsg": _TOO_POOR}]})
        mode = MARGIN_MODE_OF[word]
        if mode is self._rows.margin_mode:
            raise VenueError(110026)
        try:
            self._switch(mode)
        except Refused as refused:
            code, text = _REASONS.get(refused.reason, ("3400000", refused.reason.value))
            reasons = [{"reasonCode": code, "reasonMsg": text}]
            raise VenueError(3400045, result={"reasons": reasons}) from refused
        self._updated_ms = self._host.now_ms()
        return Answer({"reasons": []}, message="Request accepted")

    def _switch(self, mode: MarginMode) -> None:
        """Nothing may be open, and isolated positions share no collateral."""
        if self._exchange.open_orders() or self._exchange.open_conditionals():
            raise Refused(Refusal.MODE_HAS_ORDERS)
        if self._exchange.positions():
            raise Refused(Refusal.MODE_HAS_POSITION)
        if mode is MarginMode.ISOLATED:
            self._exchange.set_multi_assets(enabled=False)
        self._exchange.set_margin_mode(None, mode)
        if mode is MarginMode.CROSS:
            self._exchange.set_multi_assets(enabled=True)

    def _log(self) -> list[Row]:
        """Oldest first, with the wallet after each change."""
        fills = {exec_id(fill.id): fill for fill in self._exchange.fills()}
        known = {row.id: row for row in self._record.executions}
        wallets: dict[str, Decimal] = {}
        rows: list[Row] = []
        for entry in self._exchange.income():
            wallet = wallets[entry.asset] = wallets.get(entry.asset, ZERO) + entry.amount
            name = exec_id(entry.trade_id) if entry.trade_id is not None else ""
            if name in fills and rows and rows[-1]["tradeId"] == name:
                _add_part(rows[-1], entry, wallet)
                continue
            rows.append(self._entry(entry, wallet, known.get(name), name))
        return rows

    def _entry(self, entry: Income, wallet: Decimal, execution: Execution | None, trade_id: str) -> Row:
        funding = entry.type is IncomeType.FUNDING_FEE
        row: Row = {
            "id": f"{entry.id}_{entry.symbol or entry.asset}",
            "transSubType": "",
            "symbol": entry.symbol or "",
            "side": SIDE[execution.side] if execution else "None",
            "funding": money(entry.amount) if funding else "",
            "orderLinkId": execution.link_id if execution else "",
            "orderId": execution.order_id if execution else "",
            "fee": "0",
            "change": money(entry.amount),
            "cashFlow": "0",
            "transactionTime": str(entry.time_ms),
            "type": _TYPES[entry.type],
            "feeRate": short(execution.fee_rate) if execution else "0",
            "bonusChange": "",
            "size": "0",
            "qty": "0",
            "cashBalance": money(wallet),
            "currency": entry.asset,
            "category": "linear" if entry.symbol else "",
            "tradePrice": "0",
            "tradeId": trade_id or (funding_id(entry.symbol or "", entry.time_ms) if funding else ""),
            "extraFees": "",
        }
        if execution is not None:
            instrument = self._exchange.instrument(execution.symbol)
            row["qty"] = fixed(execution.qty, instrument.step)
            row["tradePrice"] = fixed(execution.price, instrument.tick)
        if entry.type is IncomeType.COMMISSION:
            row["fee"] = money(-entry.amount)
        elif not funding:
            row["cashFlow"] = money(entry.amount)
        return row


def _add_part(row: Row, entry: Income, wallet: Decimal) -> None:
    """The other half of a fill: its fee, or its profit."""
    if entry.type is IncomeType.COMMISSION:
        row["fee"] = money(-entry.amount)
    else:
        row["cashFlow"] = money(entry.amount)
    row["change"] = money(Decimal(row["change"]) + entry.amount)
    row["cashBalance"] = money(wallet)


def _collateral(asset: str) -> Row:
    return {
        "currency": asset,
        "hourlyBorrowRate": "0",
        "maxBorrowingAmount": "0",
        "freeBorrowingLimit": "0",
        "freeBorrowAmount": "0",
        "borrowAmount": "0",
        "otherBorrowAmount": "0",
        "availableToBorrow": "0",
        "borrowable": False,
        "borrowUsageRate": "0",
        "marginCollateral": True,
        "collateralSwitch": True,
        "collateralRatio": "1",
    }
