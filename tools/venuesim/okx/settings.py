"""Settings of the account: leverage, modes, and the margin of isolated positions."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.exchange.model import MarginMode, PositionMode, PositionSide, Refusal, Refused
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, money, short
from tools.venuesim.okx.order_requests import OrderRequests
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.refusals import Deed, Refusals
from tools.venuesim.okx.routing import Route, Routes, Security
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import MARGIN_MODE, MARGIN_MODE_OF, POSITION_MODE_OF, POSITION_SIDE, POSITION_SIDE_OF
from tools.venuesim.wire import Host, Lane

_HEDGED = (PositionSide.LONG, PositionSide.SHORT)
_ORDERS_IN_THE_WAY = {MarginMode.ISOLATED: 59101, MarginMode.CROSS: 59107}
_ALGOS_IN_THE_WAY = {MarginMode.ISOLATED: 59668, MarginMode.CROSS: 59669}


class SettingsEndpoints:
    """Handlers for the POST side of /api/v5/account."""

    def __init__(self, host: Host, requests: OrderRequests, refusals: Refusals, table: SymbolTable) -> None:
        self._exchange = host.exchange
        self._requests = requests
        self._refusals = refusals
        self._table = table

    def routes(self) -> Routes:
        """This part of the API."""
        calls = {
            "set-leverage": (self.set_leverage, 20),
            "set-position-mode": (self.set_position_mode, 5),
            "set-isolated-mode": (self.set_isolated_mode, 5),
            "position/margin-balance": (self.move_margin, 20),
        }
        routes: Routes = {
            ("POST", f"/api/v5/account/{name}"): Route(
                handler=handler, lane=Lane.ACCOUNT, security=Security.TRADE, calls=limit
            )
            for name, (handler, limit) in calls.items()
        }
        routes["GET", "/api/v5/account/leverage-info"] = Route(
            handler=self.leverage, lane=Lane.ACCOUNT, security=Security.READ
        )
        return routes

    def set_leverage(self, params: Params) -> list[Row]:
        """Of a contract, or of a family's contract named by an instId of it."""
        mode = MARGIN_MODE_OF[params.choice("mgnMode", tuple(MARGIN_MODE_OF))]
        symbol = self._requests.symbol(params)
        params.required("lever")
        leverage = params.decimal("lever") or Decimal(0)
        if leverage < 1:
            raise VenueError(59105, 1)
        sides = self._sides(params, mode)
        before = self._exchange.config(symbol)
        if before.leverage != leverage:
            self._check_nothing_waits(symbol, before.margin_mode)
            whole = int(leverage) if leverage == leverage.to_integral_value() else 0
            with self._refusals.translated(Deed.SETTING, symbol):
                self._exchange.set_leverage(symbol, whole)
        word = MARGIN_MODE[mode]
        return [
            {"instId": symbol, "lever": short(leverage), "mgnMode": word, "posSide": POSITION_SIDE[side]}
            for side in sides
        ]

    def leverage(self, params: Params) -> list[Row]:
        """One row for each position side that has a leverage of its own."""
        mode = MARGIN_MODE_OF[params.choice("mgnMode", tuple(MARGIN_MODE_OF))]
        rows = []
        for name in params.required("instId").split(","):
            symbol = self._requests.symbol(params.with_values(instId=name))
            lever = str(self._exchange.config(symbol).leverage)
            hedged = self._exchange.position_mode is PositionMode.HEDGE and mode is MarginMode.ISOLATED
            for side in _HEDGED if hedged else (PositionSide.BOTH,):
                row = {"ccy": "", "instId": symbol, "lever": lever, "mgnMode": MARGIN_MODE[mode]}
                rows.append({**row, "posSide": POSITION_SIDE[side]})
        return rows

    def set_position_mode(self, params: Params) -> list[Row]:
        """Of the whole account; 59000 with open positions or orders. The mode it has already is accepted."""
        word = params.choice("posMode", tuple(POSITION_MODE_OF))
        try:
            self._exchange.set_position_mode(POSITION_MODE_OF[word])
        except Refused as refused:
            if refused.reason is not Refusal.MODE_UNCHANGED:
                raise self._refusals.error(refused, Deed.SETTING, None) from refused
        return [{"posMode": word}]

    def set_isolated_mode(self, params: Params) -> list[Row]:
        """How isolated positions get their margin: by themselves is the only way left."""
        params.choice("type", ("MARGIN", "CONTRACTS"))
        return [{"isoMode": params.choice("isoMode", ("automatic",))}]

    def move_margin(self, params: Params) -> list[Row]:
        """Into an isolated position or out of it."""
        symbol = self._requests.symbol(params)
        side = self._requests.position_side(params)
        kind = params.choice("type", ("add", "reduce"))
        params.required("amt")
        amount = params.decimal("amt") or Decimal(0)
        if amount <= 0:
            raise VenueError(51000, "amt")
        with self._refusals.translated(Deed.SETTING, symbol):
            self._exchange.add_margin(symbol, side, amount if kind == "add" else -amount)
        return [
            {
                "amt": money(amount),
                "ccy": self._exchange.instrument(symbol).settle,
                "instId": symbol,
                "leverage": str(self._exchange.config(symbol).leverage),
                "posSide": POSITION_SIDE[side],
                "type": kind,
            }
        ]

    def _sides(self, params: Params, mode: MarginMode) -> tuple[PositionSide, ...]:
        """The sides a setting is for: only isolated hedged positions have a leverage each, here the same one."""
        word = params.text("posSide")
        hedged = self._exchange.position_mode is PositionMode.HEDGE
        if not hedged or mode is MarginMode.CROSS:
            if word not in (None, "net") and not hedged:
                raise VenueError(51000, "posSide")
            return (PositionSide.BOTH,)
        side = POSITION_SIDE_OF.get(word or "")
        if side not in _HEDGED:
            raise VenueError(51000, "posSide")
        return (side,)

    def _check_nothing_waits(self, symbol: str, mode: MarginMode) -> None:
        if self._exchange.open_orders(symbol):
            raise VenueError(_ORDERS_IN_THE_WAY[mode])
        if self._exchange.open_conditionals(symbol):
            raise VenueError(_ALGOS_IN_THE_WAY[mode])
