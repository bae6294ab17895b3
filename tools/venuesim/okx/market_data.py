"""Public questions: the clock, the contracts, their prices, and what clients ask before they begin."""

from __future__ import annotations

from tools.venuesim.exchange.model import Instrument
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, short, stamp
from tools.venuesim.okx.paging import of_instruments
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.routing import Handler, Route, Routes, Security
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import SWAP
from tools.venuesim.wire import Host, Lane


class MarketEndpoints:
    """Handlers for /api/v5/public and /api/v5/market."""

    def __init__(self, host: Host, table: SymbolTable) -> None:
        self._host = host
        self._exchange = host.exchange
        self._table = table

    def routes(self) -> Routes:
        """This part of the API."""
        calls: dict[str, tuple[Handler, int]] = {
            "public/time": (self.time, 10),
            "public/instruments": (self.instruments, 20),
            "public/mark-price": (self.mark_prices, 10),
            "market/ticker": (self.ticker, 20),
            "market/tickers": (self.tickers, 20),
        }
        routes: Routes = {
            ("GET", f"/api/v5/{name}"): Route(handler=handler, lane=Lane.MARKET, calls=limit)
            for name, (handler, limit) in calls.items()
        }
        routes["GET", "/api/v5/asset/currencies"] = Route(
            handler=self.currencies, lane=Lane.ACCOUNT, security=Security.READ, calls=6, per_ms=1_000
        )
        return routes

    def time(self, _: Params) -> list[Row]:
        """The venue's clock."""
        return [{"ts": stamp(self._host.now_ms())}]

    def instruments(self, params: Params) -> list[Row]:
        """Contracts; of other types there are none."""
        params.required("instType")
        if "instId" in params and params.text("instType") == SWAP and not self._table.knows(params.required("instId")):
            raise VenueError(51001)
        return [self._table.wire_row(row.symbol) for row in self._wanted(params)]

    def mark_prices(self, params: Params) -> list[Row]:
        """Mark prices of all contracts or one."""
        params.required("instType")
        now = stamp(self._host.now_ms())
        return [
            {
                "instId": row.symbol,
                "instType": SWAP,
                "markPx": short(self._exchange.quote(row.symbol).mark),
                "ts": now,
            }
            for row in self._wanted(params)
        ]

    def ticker(self, params: Params) -> list[Row]:
        """One contract's."""
        symbol = params.required("instId")
        if not self._table.knows(symbol):
            raise VenueError(51001)
        return [self._ticker(self._exchange.instrument(symbol))]

    def tickers(self, params: Params) -> list[Row]:
        """All of them."""
        params.required("instType")
        return [self._ticker(row) for row in self._wanted(params)]

    def currencies(self, _: Params) -> list[Row]:
        """Nothing can be moved in or out here."""
        return []

    def _wanted(self, params: Params) -> list[Instrument]:
        return [row for row in self._exchange.instruments() if of_instruments(params, row.symbol)]

    def _ticker(self, instrument: Instrument) -> Row:
        quote, stats = self._exchange.quote(instrument.symbol), self._exchange.day_stats(instrument.symbol)
        size = instrument.contract_size
        return {
            "askPx": short(quote.ask),
            "askSz": short(quote.ask_qty / size),
            "bidPx": short(quote.bid),
            "bidSz": short(quote.bid_qty / size),
            "high24h": short(stats.high),
            "instId": instrument.symbol,
            "instType": SWAP,
            "last": short(quote.last),
            "lastSz": short(stats.last_qty / size),
            "low24h": short(stats.low),
            "open24h": short(stats.open),
            "sodUtc0": short(stats.open),
            "sodUtc8": short(stats.open),
            "ts": stamp(quote.time_ms),
            "vol24h": short(stats.volume / size),
            "volCcy24h": short(stats.volume),
        }
