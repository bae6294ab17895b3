"""Public data beside the trading symbol's own: other kinds of candles, older trades, open interest over time."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.binance.formats import money
from tools.venuesim.binance.market_data import INTERVALS, MarketEndpoints
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.exchange.model import Candle
from tools.venuesim.wire import Host, Lane

_PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_CONTRACT_TYPES = ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL")


class MarketExtras:
    """Handlers built on those of ``MarketEndpoints``."""

    def __init__(self, host: Host, markets: MarketEndpoints) -> None:
        self._exchange = host.exchange
        self._markets = markets

    def routes(self) -> Routes:
        """This part of the API."""
        calls = {
            "/fapi/v1/continuousKlines": self.continuous_klines,
            "/fapi/v1/indexPriceKlines": self.index_klines,
            "/fapi/v1/markPriceKlines": self.mark_klines,
            "/fapi/v1/premiumIndexKlines": self.premium_klines,
            "/fapi/v1/rpiDepth": self._markets.depth,
            "/futures/data/openInterestHist": self.open_interest_history,
        }
        table: Routes = {("GET", path): Route(call, Lane.MARKET) for path, call in calls.items()}
        return table | {("GET", "/fapi/v1/historicalTrades"): Route(self.old_trades, Lane.MARKET, Security.KEY)}

    def continuous_klines(self, params: Params) -> object:
        """GET continuousKlines: only perpetuals exist here, and each is its pair's."""
        params.choice("contractType", _CONTRACT_TYPES, None, -1130, "contractType")
        return [self._markets.kline(symbol, row) for symbol, row in self._of_pair(params)]

    def index_klines(self, params: Params) -> object:
        """GET indexPriceKlines of a pair: prices without volumes."""
        return [self._priced(symbol, row) for symbol, row in self._of_pair(params)]

    def mark_klines(self, params: Params) -> object:
        """GET markPriceKlines: the mark follows the price closely enough to share its candles."""
        return [self._priced(symbol, row) for symbol, row in self._markets.asked_candles(params)]

    def premium_klines(self, params: Params) -> object:
        """GET premiumIndexKlines: no premium, as index and price share their candles."""
        nothing = ["0.00000000"] * 4
        return [
            [row[0], *nothing, *row[5:]]
            for symbol, candle in self._markets.asked_candles(params)
            for row in [self._priced(symbol, candle)]
        ]

    def old_trades(self, params: Params) -> object:
        """GET historicalTrades: what is still known, up to fromId + limit."""
        rows = self._markets.trade_rows(params.required("symbol"))
        limit, cursor = params.limit(100, 500), params.integer("fromId")
        return rows[-limit:] if cursor is None else [row for row in rows if row["id"] >= cursor][:limit]

    def open_interest_history(self, params: Params) -> object:
        """GET openInterestHist: the interest of now at each candle's price."""
        params.choice("period", _PERIODS, None, -1130, "period")
        symbol = self._exchange.instrument(params.required("symbol")).symbol
        interest = self._exchange.open_interest(symbol)
        limit = params.limit(30, 500)
        return [
            {
                "symbol": symbol,
                "sumOpenInterest": money(interest),
                "sumOpenInterestValue": money(interest * candle.close),
                "CMCCirculatingSupply": money(Decimal(0)),
                "timestamp": candle.open_ms,
            }
            for candle in self._exchange.candles(symbol, INTERVALS[params.required("period")], limit)
        ]

    def _of_pair(self, params: Params) -> list[tuple[str, Candle]]:
        return self._markets.asked_candles(params, name="pair")

    def _priced(self, symbol: str, candle: Candle) -> list[object]:
        row = self._markets.kline(symbol, candle)
        return [*row[:5], "0", row[6], "0", row[8], "0", "0", "0"]
