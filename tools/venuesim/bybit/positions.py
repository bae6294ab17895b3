"""Positions and the settings of one contract: leverage, position mode, isolated margin."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.errors import Row, VenueError
from tools.venuesim.bybit.order_requests import OrderRequests
from tools.venuesim.bybit.paging import page
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.position_rows import PositionRows
from tools.venuesim.bybit.refusals import venue_terms
from tools.venuesim.bybit.routing import Handler, Route, Routes, Security
from tools.venuesim.bybit.symbol_table import ONE_WAY_ASSETS
from tools.venuesim.bybit.words import POSITION_IDX, POSITION_MODE_OF
from tools.venuesim.exchange.model import MarginMode, PositionSide, Refusal
from tools.venuesim.wire import Host, Lane

EMPTY_CATEGORIES = ("inverse", "option")


class PositionEndpoints:
    """Handlers for /v5/position, but for stops and closed profits."""

    def __init__(self, host: Host, requests: OrderRequests, rows: PositionRows) -> None:
        self._exchange = host.exchange
        self._requests = requests
        self._rows = rows

    def routes(self) -> Routes:
        """This part of the API."""
        write: dict[str, Handler] = {
            "/v5/position/set-leverage": self.set_leverage,
            "/v5/position/switch-mode": self.switch_mode,
            "/v5/position/set-auto-add-margin": self.set_auto_add,
            "/v5/position/add-margin": self.add_margin,
            "/v5/position/confirm-pending-mmr": self.confirm,
            "/v5/position/switch-isolated": self.retired,
            "/v5/position/set-risk-limit": self.retired,
            "/v5/position/set-tpsl-mode": self.retired,
        }
        table: Routes = {("POST", path): Route(call, Lane.ACCOUNT, Security.TRADE, 10) for path, call in write.items()}
        return table | {
            ("GET", "/v5/position/list"): Route(self.positions, Lane.QUERY, Security.READ, 50),
            ("GET", "/v5/position/symbol-info"): Route(self.symbol_info, Lane.ACCOUNT, Security.READ, 50),
        }

    def positions(self, params: Params) -> Row:
        """GET list: a named contract also when flat, otherwise only what is held."""
        category = params.choice("category", ("linear", *EMPTY_CATEGORIES))
        if category in EMPTY_CATEGORIES:
            return {"category": category, "list": [], "nextPageCursor": ""}
        base, settle = params.text("baseCoin"), params.text("settleCoin")
        if "symbol" in params:
            symbol = self._requests.instrument(params).symbol
            keys = [(symbol, side) for side in self._rows.sides(symbol)]
        elif settle is None and base is None:
            raise VenueError(10001, "params error: symbol or settleCoin is required")
        else:
            keys = [
                (row.symbol, row.position_side)
                for row in self._exchange.positions()
                if settle in (None, self._exchange.instrument(row.symbol).settle)
                and base in (None, self._exchange.instrument(row.symbol).base)
            ]
        found, cursor = page(keys, params, lambda key: f"{key[0]}:{POSITION_IDX[key[1]]}", default=20, most=200)
        return {"category": category, "list": [self._rows.listed(*key) for key in found], "nextPageCursor": cursor}

    def symbol_info(self, params: Params) -> Row:
        """GET symbol-info: leverage, also of contracts without a position."""
        symbol = params.text("symbol")
        rows = []
        for instrument in self._exchange.instruments():
            if symbol not in (None, instrument.symbol):
                continue
            leverage = str(self._exchange.config(instrument.symbol).leverage)
            for side in self._rows.sides(instrument.symbol):
                held = self._exchange.position(instrument.symbol, side).qty
                word = "" if not held else "Buy" if held > 0 else "Sell"
                index = POSITION_IDX[side]
                rows.append({"symbol": instrument.symbol, "leverage": leverage, "side": word, "positionIdx": index})
        return {"category": "linear", "list": rows}

    def set_leverage(self, params: Params) -> Row:
        """POST set-leverage: the same for both sides; 110043 when it is so already."""
        symbol = self._requests.instrument(params).symbol
        buy, sell = params.decimal("buyLeverage"), params.decimal("sellLeverage")
        if buy is None or sell is None or buy != sell:
            raise VenueError(10001, "buy leverage not equal sell leverage")
        if buy < 1 or buy != buy.to_integral_value():
            # The venue has steps of 0.01; the engine's leverage is whole.
            raise VenueError(10001, "leverage invalid")
        if self._exchange.config(symbol).leverage == buy:
            raise VenueError(110043)
        with venue_terms(self._exchange, symbol):
            self._exchange.set_leverage(symbol, int(buy))
        return {}

    def switch_mode(self, params: Params) -> Row:
        """POST switch-mode. The mode is the account's here, so that one contract switches all."""
        mode = POSITION_MODE_OF.get(params.integer("mode") or 0)
        if mode is None:
            raise VenueError(10001, "params error: mode invalid")
        symbol = params.text("symbol")
        settle = self._requests.instrument(params).settle if symbol is not None else params.required("coin")
        if settle in ONE_WAY_ASSETS:
            raise VenueError(110029)
        with venue_terms(self._exchange, symbol):
            self._exchange.set_position_mode(mode)
        return {}

    def set_auto_add(self, params: Params) -> Row:
        """POST set-auto-add-margin, for isolated positions. It is shown; the engine adds nothing by itself."""
        symbol, side = self._isolated(params)
        wanted = params.integer("autoAddMargin")
        if wanted not in (0, 1):
            raise VenueError(10001, "params error: autoAddMargin invalid")
        if wanted:
            self._rows.auto_add.add((symbol, side))
        else:
            self._rows.auto_add.discard((symbol, side))
        return {}

    def add_margin(self, params: Params) -> Row:
        """POST add-margin: positive puts in, negative takes out; the answer is the position."""
        symbol, side = self._isolated(params)
        amount = params.decimal("margin") or Decimal(0)
        if not amount:
            raise VenueError(110027)
        short = {Refusal.MARGIN_CHANGE_EXCESSIVE: 110014 if amount > 0 else 110078}
        with venue_terms(self._exchange, symbol, short):
            self._exchange.add_margin(symbol, side, amount)
        return {"category": "linear", **self._rows.listed(symbol, side)}

    def confirm(self, params: Params) -> Row:
        """POST confirm-pending-mmr: nothing here was ever put under reduce-only by the venue."""
        self._requests.instrument(params)
        raise VenueError(110082)

    def retired(self, _: Params) -> Row:
        """Calls that the unified account no longer has."""
        raise VenueError(100028, "The API cannot be accessed by unified account users.")

    def _isolated(self, params: Params) -> tuple[str, PositionSide]:
        symbol = self._requests.instrument(params).symbol
        side = self._requests.position_side(params, symbol)
        if self._exchange.config(symbol).margin_mode is not MarginMode.ISOLATED:
            raise VenueError(110076)
        return symbol, side
