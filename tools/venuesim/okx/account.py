"""Reads of the account: balance, positions and their history, bills, fees, sizes, the key's own facts."""

from __future__ import annotations

from collections.abc import Callable

from tools.venuesim.exchange.model import ZERO, PositionSide, Side
from tools.venuesim.okx.account_rows import AccountRows
from tools.venuesim.okx.bills import Bill, Bills
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, money, short, stamp
from tools.venuesim.okx.order_requests import OrderRequests
from tools.venuesim.okx.paging import DAY_MS, of_instruments, page, within
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.position_rows import PositionRows
from tools.venuesim.okx.record import AccountRecord
from tools.venuesim.okx.routing import TWO_SECONDS_MS, Route, Routes, Security
from tools.venuesim.okx.symbol_table import MAKER_FEE, TAKER_FEE, SymbolTable
from tools.venuesim.okx.words import MARGIN_MODE_OF, POSITION_MODE, SWAP
from tools.venuesim.wire import Host, Lane

UID = "44705892343619584"
_SECOND_MS = 1_000
_WEEK_MS, _MONTHS_MS = 7 * DAY_MS, 90 * DAY_MS
_MOST_INSTRUMENTS = 10
_MOST_SIZES = 5
_LEVEL = "Lv1"


class AccountEndpoints:
    """Handlers for the GET side of /api/v5/account."""

    def __init__(
        self,
        host: Host,
        requests: OrderRequests,
        table: SymbolTable,
        record: AccountRecord,
        accounts: AccountRows,
        positions: PositionRows,
    ) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._table = table
        self._record = record
        self._accounts = accounts
        self._positions = positions
        self._bills = Bills(host.exchange, record, table)

    def routes(self) -> Routes:
        """This part of the API."""
        calls: dict[str, tuple[Callable[[Params], list[Row]], int, int]] = {
            "balance": (self.balance, 10, TWO_SECONDS_MS),
            "positions": (self.positions, 10, TWO_SECONDS_MS),
            "positions-history": (self.positions_history, 10, TWO_SECONDS_MS),
            "account-position-risk": (self.risk, 10, TWO_SECONDS_MS),
            "config": (self.config, 5, TWO_SECONDS_MS),
            "instruments": (self.instruments, 20, TWO_SECONDS_MS),
            "max-size": (self.max_size, 20, TWO_SECONDS_MS),
            "max-avail-size": (self.max_available, 20, TWO_SECONDS_MS),
            "trade-fee": (self.fees, 5, TWO_SECONDS_MS),
            "bills": (self.bills, 5, _SECOND_MS),
            "bills-archive": (self.bills_archive, 5, TWO_SECONDS_MS),
        }
        return {
            ("GET", f"/api/v5/account/{name}"): Route(
                handler=handler, lane=Lane.ACCOUNT, security=Security.READ, calls=limit, per_ms=per_ms
            )
            for name, (handler, limit, per_ms) in calls.items()
        }

    def balance(self, params: Params) -> list[Row]:
        """The account with its currencies, or those asked for."""
        return [self._accounts.balance(params.words("ccy"), self._host.now_ms())]

    def positions(self, params: Params) -> list[Row]:
        """What is held; a flat position is not listed."""
        if len(params.words("instId")) > _MOST_INSTRUMENTS:
            raise VenueError(50025, "instId", _MOST_INSTRUMENTS)
        wanted = params.words("posId")
        rows = self._positions.many(key for key in self._positions.open() if of_instruments(params, key[0]))
        return [row for row in rows if not wanted or row["posId"] in wanted]

    def positions_history(self, params: Params) -> list[Row]:
        """What was closed within three months, newest first."""
        mode, kind, number = params.text("mgnMode"), params.text("type"), params.text("posId")
        oldest = self._host.now_ms() - _MONTHS_MS
        rows = [
            self._positions.ended(row)
            for row in self._record.closed
            if row.time_ms >= oldest and of_instruments(params, row.symbol)
        ]
        found = [
            row
            for row in rows
            if mode in (None, row["mgnMode"]) and kind in (None, row["type"]) and number in (None, row["posId"])
        ]
        return page(found, params, lambda row: int(row["uTime"]))

    def risk(self, params: Params) -> list[Row]:
        """Balances and positions at one moment."""
        now_ms = self._host.now_ms()
        names = ("baseBal", "ccy", "instId", "instType", "mgnMode", "notionalUsd", "pos", "posCcy", "posId", "posSide",
                 "quoteBal")  # fmt: skip
        rows = self._positions.many(self._positions.open())
        details = self._accounts.balance((), now_ms)["details"]
        return [
            {
                "adjEq": "",
                "balData": [{name: row[name] for name in ("ccy", "disEq", "eq")} for row in details],
                "posData": [
                    {**{name: row[name] for name in names}, "notionalCcy": row["notionalUsd"]}
                    for row in rows
                    if (params.text("instType") or SWAP) == SWAP
                ],
                "ts": stamp(now_ms),
            }
        ]

    def config(self, params: Params) -> list[Row]:  # noqa: ARG002 - a handler
        """What the account and the key are; a futures-mode account."""
        permissions = ["read_only", *(name for name in ("trade", "withdraw") if name in self._exchange.permissions)]
        return [
            {
                "acctLv": "2",
                "acctStpMode": "cancel_maker",
                "autoLoan": False,
                "ctIsoMode": "automatic",
                "enableSpotBorrow": False,
                "feeType": "0",
                "greeksType": "PA",
                "ip": "",
                "kycLv": "3",
                "label": "sim",
                "level": _LEVEL,
                "levelTmp": "",
                "liquidationGear": "-1",
                "mainUid": UID,
                "mgnIsoMode": "automatic",
                "opAuth": "0",
                "perm": ",".join(permissions),
                "posMode": POSITION_MODE[self._exchange.position_mode],
                "roleType": "0",
                "settleCcy": "",
                "settleCcyList": [],
                "spotBorrowAutoRepay": False,
                "spotOffsetType": "",
                "spotRoleType": "0",
                "spotTraderInsts": [],
                "stgyType": "0",
                "traderInsts": [],
                "type": "0",
                "uid": UID,
            }
        ]

    def instruments(self, params: Params) -> list[Row]:
        """The contracts this account may trade, as the public list shows them."""
        params.required("instType")
        names = [row.symbol for row in self._exchange.instruments()]
        return [self._table.wire_row(name) for name in names if of_instruments(params, name)]

    def max_size(self, params: Params) -> list[Row]:
        """How many contracts the margin allows on either side."""
        params.choice("tdMode", tuple(MARGIN_MODE_OF))
        rows = []
        for symbol in self._several(params):
            instrument, quote = self._exchange.instrument(symbol), self._exchange.quote(symbol)
            config = self._exchange.config(symbol)
            price = params.decimal("px") or quote.last
            free = self._exchange.balance(instrument.settle).available
            held = self._exchange.position(symbol, PositionSide.BOTH).qty
            sizes = {}
            for side in Side:
                closing = max(ZERO, -held * side.sign)
                room = min(free * config.leverage, config.max_notional) / price // instrument.step * instrument.step
                sizes[side] = short((room + closing) / instrument.contract_size)
            row = {"ccy": instrument.settle, "instId": symbol}
            rows.append({**row, "maxBuy": sizes[Side.BUY], "maxSell": sizes[Side.SELL]})
        return rows

    def max_available(self, params: Params) -> list[Row]:
        """The margin that is free on either side, or with reduceOnly the contracts that can be closed."""
        params.choice("tdMode", tuple(MARGIN_MODE_OF))
        rows = []
        for symbol in self._several(params):
            free = money(self._exchange.balance(self._exchange.instrument(symbol).settle).available)
            buy = sell = free
            if params.flag("reduceOnly"):
                held = self._exchange.position(symbol, PositionSide.BOTH).qty
                buy, sell = (self._table.size(symbol, max(ZERO, -held * side.sign)) for side in Side)
            rows.append({"availBuy": buy, "availSell": sell, "instId": symbol})
        return rows

    def fees(self, params: Params) -> list[Row]:
        """The account's fee rates; negative means that one pays."""
        params.required("instType")
        maker, taker = short(-MAKER_FEE), short(-TAKER_FEE)
        return [
            {
                "category": "1",
                "delivery": "",
                "exercise": "",
                "feeGroup": [{"groupId": "1", "maker": maker, "taker": taker}],
                "fiat": [],
                "instType": params.required("instType"),
                "level": _LEVEL,
                "maker": maker,
                "makerU": maker,
                "makerUSDC": maker,
                "ruleType": "normal",
                "taker": taker,
                "takerU": taker,
                "takerUSDC": taker,
                "ts": stamp(self._host.now_ms()),
                "uly": "",
            }
        ]

    def bills(self, params: Params) -> list[Row]:
        """The books of the last seven days, newest first."""
        return self._of_books(params, _WEEK_MS)

    def bills_archive(self, params: Params) -> list[Row]:
        """The books of the last three months."""
        return self._of_books(params, _MONTHS_MS)

    def _of_books(self, params: Params, window_ms: int) -> list[Row]:
        asset, kind, sub = params.text("ccy"), params.text("type"), params.text("subType")
        oldest = self._host.now_ms() - window_ms

        def wanted(row: Bill) -> bool:
            right = row.time_ms >= oldest and within(params, row.time_ms) and asset in (None, row.asset)
            return right and kind in (None, row.type) and sub in (None, row.sub_type) and self._about(params, row)

        found = [row for row in self._bills.all() if wanted(row)]
        found = _between(found, params)
        return [self._bills.row(row) for row in found]

    def _about(self, params: Params, row: Bill) -> bool:
        if row.symbol is None:
            return "instType" not in params and "instId" not in params
        return of_instruments(params, row.symbol)

    def _several(self, params: Params) -> list[str]:
        names = (params.text("instId") or "").split(",")
        if len(names) > _MOST_SIZES:
            raise VenueError(50025, "instId", _MOST_SIZES)
        return [self._requests.symbol(params.with_values(instId=name)) for name in names]


def _between(rows: list[Bill], params: Params) -> list[Bill]:
    """Newest first, older than the bill ``after`` names and newer than the one ``before`` names.

    Numbers of bills do not grow with time here, so places count instead.
    """
    places = {str(row.id): place for place, row in enumerate(rows)}
    last = places.get(params.text("after") or "", len(rows))
    first = places.get(params.text("before") or "", -1) + 1
    return rows[first:last][-params.limit() :][::-1]
