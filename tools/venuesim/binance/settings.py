"""Account settings: leverage, margin and position modes, collateral, isolated margin, how fees are paid."""

from __future__ import annotations

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.formats import money, stripped
from tools.venuesim.binance.order_queries import time_range
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.order_rows import Row
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import venue_terms
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.words import MARGIN_MODE_OF, POSITION_SIDE, POSITION_SIDE_OF
from tools.venuesim.exchange.model import PositionMode, Refusal
from tools.venuesim.wire import Host, Lane

_MARGIN_CODES = {Refusal.MODE_UNCHANGED: -4046, Refusal.MODE_HAS_ORDERS: -4047, Refusal.MODE_HAS_POSITION: -4048}
_POSITION_CODES = {Refusal.MODE_UNCHANGED: -4059, Refusal.MODE_HAS_ORDERS: -4067, Refusal.MODE_HAS_POSITION: -4068}
_ASSETS_CODES = {
    Refusal.MODE_UNCHANGED: -4171,
    Refusal.MODE_HAS_ORDERS: -4170,
    Refusal.MODE_MULTI_ASSETS: -4167,
    Refusal.INSUFFICIENT_MARGIN: -4169,
}
_SUCCESS = {"code": 200, "msg": "success"}


class SettingsEndpoints:
    """Handlers that change the account without an order."""

    def __init__(self, host: Host, requests: OrderRequests) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._margin_moves: list[Row] = []

    def routes(self) -> Routes:
        """This part of the API."""
        calls = {
            "leverage": self.set_leverage,
            "marginType": self.set_margin_type,
            "positionSide/dual": self.set_position_side,
            "multiAssetsMargin": self.set_multi_assets,
            "positionMargin": self.position_margin,
            "feeBurn": self.set_fee_burn,
        }
        table: Routes = {
            ("POST", f"/fapi/v1/{name}"): Route(call, Lane.ACCOUNT, Security.TRADE) for name, call in calls.items()
        }
        history = Route(self.position_margin_history, Lane.ACCOUNT, Security.READ)
        return table | {("GET", "/fapi/v1/positionMargin/history"): history}

    def set_position_side(self, params: Params) -> object:
        """POST positionSide/dual; there is no stream event for it."""
        params.required("dualSidePosition")
        mode = PositionMode.HEDGE if params.flag("dualSidePosition") else PositionMode.ONE_WAY
        with venue_terms(self._exchange, None, _POSITION_CODES):
            self._exchange.set_position_mode(mode)
        return dict(_SUCCESS)

    def set_multi_assets(self, params: Params) -> object:
        """POST multiAssetsMargin: whether all wallets stand in for each other."""
        params.required("multiAssetsMargin")
        with venue_terms(self._exchange, None, _ASSETS_CODES):
            self._exchange.set_multi_assets(enabled=params.flag("multiAssetsMargin"))
        return dict(_SUCCESS)

    def set_fee_burn(self, params: Params) -> object:
        """POST feeBurn: fees in BNB at a discount while the BNB wallet lasts."""
        params.required("feeBurn")
        self._exchange.set_fee_in_coin(enabled=params.flag("feeBurn"))
        return dict(_SUCCESS)

    def set_leverage(self, params: Params) -> object:
        """POST leverage; -4028 outside 1..max of the symbol's brackets."""
        symbol = self._requests.symbol(params)
        leverage = params.integer("leverage")
        if leverage is None:
            raise VenueError(-1102, "leverage")
        if not 1 <= leverage <= self._exchange.instrument(symbol).max_leverage:
            raise VenueError(-4028, leverage)
        with venue_terms(self._exchange, symbol):
            config = self._exchange.set_leverage(symbol, leverage)
        return {"leverage": config.leverage, "maxNotionalValue": stripped(config.max_notional), "symbol": symbol}

    def set_margin_type(self, params: Params) -> object:
        """POST marginType."""
        symbol = self._requests.symbol(params)
        mode = MARGIN_MODE_OF.get(params.required("marginType"))
        if mode is None:
            raise VenueError(-1130, "marginType")
        with venue_terms(self._exchange, symbol, _MARGIN_CODES):
            self._exchange.set_margin_mode(symbol, mode)
        return dict(_SUCCESS)

    def position_margin(self, params: Params) -> object:
        """POST positionMargin: type 1 adds to an isolated position, 2 takes out."""
        symbol = self._requests.symbol(params)
        amount, direction = params.decimal("amount"), params.integer("type")
        if amount is None:
            raise VenueError(-1102, "amount")
        if amount <= 0:
            raise VenueError(-4055)
        if direction not in (1, 2):
            raise VenueError(-1130, "type")
        side = POSITION_SIDE_OF.get(params.text("positionSide") or "BOTH")
        if side is None:
            raise VenueError(-4060)
        short = {Refusal.MARGIN_CHANGE_EXCESSIVE: -4050 if direction == 1 else -4051}
        with venue_terms(self._exchange, symbol, short):
            self._exchange.add_margin(symbol, side, amount if direction == 1 else -amount)
        self._margin_moves.append(
            {
                "symbol": symbol,
                "type": direction,
                "deltaType": "USER_ADJUST",
                "amount": money(amount),
                "asset": self._exchange.instrument(symbol).settle,
                "time": self._host.now_ms(),
                "positionSide": POSITION_SIDE[side],
            }
        )
        return {
            "amount": float(amount),
            "code": 200,
            "msg": "Successfully modify position margin.",
            "type": direction,
        }

    def position_margin_history(self, params: Params) -> object:
        """GET positionMargin/history: what the client itself moved, newest first."""
        symbol, wanted = self._requests.symbol(params), params.integer("type")
        limit = params.limit(500, 1_000)
        start, end = time_range(params, self._host.now_ms())
        rows = [
            row
            for row in reversed(self._margin_moves)
            if row["symbol"] == symbol and wanted in (None, row["type"]) and start <= row["time"] <= end
        ]
        return rows[:limit]
