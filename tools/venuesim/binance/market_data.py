"""Public market data over REST."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tools.venuesim.binance import symbols
from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.formats import money, padded
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.routing import Handler, Route, Routes, Security
from tools.venuesim.binance.symbol_table import SymbolTable
from tools.venuesim.exchange.model import Candle, Level
from tools.venuesim.wire import Host, Lane

DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
MINUTE_MS = 60_000
INTERVALS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": 1_440 * MINUTE_MS,
    "3d": 4_320 * MINUTE_MS,
    "1w": 10_080 * MINUTE_MS,
}
_STALE_MS = 3 * 86_400_000


class MarketEndpoints:
    """Handlers that need no key."""

    def __init__(self, host: Host, requests: OrderRequests, table: SymbolTable) -> None:
        self._host = host
        self._exchange = host.exchange
        self._requests = requests
        self._table = table
        self._listed_ms = host.now_ms() - _STALE_MS

    def routes(self) -> Routes:
        """This part of the API, with the harmless answers other venues' clients ask for."""
        calls: dict[str, Handler] = {
            "/fapi/v1/ping": lambda _: {},
            "/fapi/v1/time": lambda _: {"serverTime": self._host.now_ms()},
            "/fapi/v1/exchangeInfo": self.exchange_info,
            "/fapi/v1/depth": self.depth,
            "/fapi/v1/trades": self.trades,
            "/fapi/v1/aggTrades": self.agg_trades,
            "/fapi/v1/klines": self.klines,
            "/fapi/v1/premiumIndex": self._each(self.premium_row),
            "/fapi/v1/fundingRate": self.funding_rate,
            "/fapi/v1/fundingInfo": self.funding_info,
            "/fapi/v1/ticker/24hr": self._each(self.day_row),
            "/fapi/v1/ticker/price": self._each(self.price_row),
            "/fapi/v2/ticker/price": self._each(self.price_row),
            "/fapi/v1/ticker/bookTicker": self._each(self.book_row),
            "/fapi/v1/openInterest": self.open_interest,
            "/api/v3/ping": lambda _: {},
            "/api/v3/time": lambda _: {"serverTime": self._host.now_ms()},
            "/api/v3/exchangeInfo": self._empty_info,
            "/dapi/v1/exchangeInfo": self._empty_info,
        }
        table: Routes = {("GET", path): Route(call, Lane.MARKET) for path, call in calls.items()}
        for path in ("/sapi/v1/margin/allPairs", "/sapi/v1/margin/isolated/allPairs"):
            table["GET", path] = Route(lambda _: [], Lane.MARKET, Security.KEY)
        return table

    def exchange_info(self, _: Params) -> object:
        """GET exchangeInfo: `symbol` is ignored, and serverTime is days old, as on the venue."""
        head = symbols.exchange_info_head()
        return {
            "timezone": head["timezone"],
            "serverTime": self._listed_ms,
            "futuresType": head["futuresType"],
            "rateLimits": head["rateLimits"],
            "exchangeFilters": head["exchangeFilters"],
            "assets": head["assets"],
            "symbols": self._table.wire_rows(),
        }

    def depth(self, params: Params) -> object:
        """GET depth; -4021 for a limit that is not offered, -1130 beyond 1000."""
        symbol = self._requests.symbol(params)
        limit = params.integer("limit") or 500
        if limit > DEPTH_LIMITS[-1]:
            raise VenueError(-1130, "limit")
        if limit not in DEPTH_LIMITS:
            raise VenueError(-4021, limit)
        depth = self._exchange.depth(symbol)
        return {
            "lastUpdateId": depth.update_id,
            "E": self._host.now_ms(),
            "T": depth.time_ms,
            "bids": self.levels(symbol, depth.bids[:limit]),
            "asks": self.levels(symbol, depth.asks[:limit]),
        }

    def levels(self, symbol: str, levels: tuple[Level, ...]) -> list[list[str]]:
        """Price and quantity pairs, best first."""
        return [[self._table.price(symbol, level.price), self._table.qty(symbol, level.qty)] for level in levels]

    def trades(self, params: Params) -> object:
        """GET trades, ascending."""
        return self.trade_rows(params.required("symbol"))[-params.limit(500, 1_000) :]

    def trade_rows(self, symbol: str) -> list[dict[str, Any]]:
        """Everything still known of a symbol's trades, ascending."""
        return [
            {
                "id": trade.id,
                "price": self._table.price(symbol, trade.price),
                "qty": self._table.qty(symbol, trade.qty),
                "quoteQty": padded(trade.price * trade.qty, 2),
                "time": trade.time_ms,
                "isBuyerMaker": trade.buyer_maker,
                "isRPITrade": False,
            }
            for trade in self._exchange.trades(symbol)
        ]

    def agg_trades(self, params: Params) -> object:
        """GET aggTrades: every trade of the synthetic market is an aggregate of one."""
        symbol = self._requests.symbol(params)
        limit, cursor = params.limit(500, 1_000), params.integer("fromId")
        start, end = params.time("startTime") or 0, params.time("endTime") or self._host.now_ms()
        rows = [
            {
                "a": trade.id,
                "p": self._table.price(symbol, trade.price),
                "q": self._table.qty(symbol, trade.qty),
                "nq": self._table.qty(symbol, trade.qty),
                "f": trade.id,
                "l": trade.id,
                "T": trade.time_ms,
                "m": trade.buyer_maker,
            }
            for trade in self._exchange.trades(symbol)
            if (trade.id >= cursor if cursor is not None else start <= trade.time_ms <= end)
        ]
        from_front = cursor is not None or "startTime" in params
        return rows[:limit] if from_front else rows[-limit:]

    def klines(self, params: Params) -> object:
        """GET klines: arrays of twelve; -1120 for an interval that is not offered."""
        return [self.kline(symbol, candle) for symbol, candle in self.asked_candles(params)]

    def asked_candles(self, params: Params, name: str = "symbol") -> list[tuple[str, Candle]]:
        """The candles a request asks for, with their symbol; `name` is the parameter that names it."""
        symbol = self._exchange.instrument(params.required(name)).symbol
        interval_ms = INTERVALS.get(params.required("interval"))
        if interval_ms is None:
            raise VenueError(-1120)
        limit = params.limit(500, 1_500)
        start, end = params.time("startTime"), params.time("endTime")
        bounded = start is not None or end is not None
        candles = [
            candle
            for candle in self._exchange.candles(symbol, interval_ms, None if bounded else limit)
            if (start is None or candle.open_ms >= start) and (end is None or candle.open_ms <= end)
        ]
        return [(symbol, candle) for candle in (candles[:limit] if start is not None else candles[-limit:])]

    def premium_row(self, symbol: str) -> dict[str, Any]:
        """One row of premiumIndex; lastFundingRate is the rate predicted for the running interval."""
        quote, funding = self._exchange.quote(symbol), self._exchange.funding(symbol)
        return {
            "symbol": symbol,
            "markPrice": money(quote.mark),
            "indexPrice": money(quote.index),
            "estimatedSettlePrice": money(quote.index),
            "lastFundingRate": money(funding.rate),
            "interestRate": "0.00010000",
            "nextFundingTime": funding.next_ms,
            "time": quote.time_ms,
        }

    def funding_rate(self, params: Params) -> object:
        """GET fundingRate, ascending."""
        symbol = self._requests.optional_symbol(params)
        limit = params.limit(100, 1_000)
        start, end = params.time("startTime"), params.time("endTime")
        rows = [
            {
                "symbol": record.symbol,
                "fundingTime": record.time_ms,
                "fundingRate": money(record.rate),
                "markPrice": money(record.mark),
                "rateType": "Regular",
            }
            for record in self._exchange.funding_history(symbol)
            if (start is None or record.time_ms >= start) and (end is None or record.time_ms <= end)
        ]
        return rows[:limit] if start is not None else rows[-limit:]

    def funding_info(self, _: Params) -> object:
        """GET fundingInfo: only symbols whose cap or interval was adjusted; BTC and ETH have no updateTime."""
        rows = []
        for instrument in self._exchange.instruments():
            major = instrument.base in ("BTC", "ETH")
            cap = "0.00300" if major else "0.02000000"
            rows.append(
                {
                    "symbol": instrument.symbol,
                    "adjustedFundingRateCap": cap,
                    "adjustedFundingRateFloor": f"-{cap}",
                    "fundingIntervalHours": instrument.funding_hours,
                    "disclaimer": major,
                    "updateTime": None if major else self._listed_ms,
                }
            )
        return rows

    def day_row(self, symbol: str) -> dict[str, Any]:
        """One row of ticker/24hr; it has no bid and ask."""
        stats = self._exchange.day_stats(symbol)
        price, qty = self._table.price, self._table.qty
        change = stats.last - stats.open
        return {
            "symbol": symbol,
            "priceChange": price(symbol, change),
            "priceChangePercent": padded(change * 100 / stats.open, 3),
            "weightedAvgPrice": price(symbol, weighted_average(stats.quote_volume, stats.volume, stats.last)),
            "lastPrice": price(symbol, stats.last),
            "lastQty": qty(symbol, stats.last_qty),
            "openPrice": price(symbol, stats.open),
            "highPrice": price(symbol, stats.high),
            "lowPrice": price(symbol, stats.low),
            "volume": qty(symbol, stats.volume),
            "quoteVolume": padded(stats.quote_volume, 2),
            "openTime": stats.open_ms,
            "closeTime": stats.close_ms,
            "firstId": stats.first_trade_id,
            "lastId": stats.last_trade_id,
            "count": stats.trades,
        }

    def price_row(self, symbol: str) -> dict[str, Any]:
        """One row of ticker/price."""
        quote = self._exchange.quote(symbol)
        return {"symbol": symbol, "price": self._table.price(symbol, quote.last), "time": quote.time_ms}

    def book_row(self, symbol: str) -> dict[str, Any]:
        """One row of ticker/bookTicker."""
        quote = self._exchange.quote(symbol)
        return {
            "symbol": symbol,
            "bidPrice": self._table.price(symbol, quote.bid),
            "bidQty": self._table.qty(symbol, quote.bid_qty),
            "askPrice": self._table.price(symbol, quote.ask),
            "askQty": self._table.qty(symbol, quote.ask_qty),
            "time": quote.time_ms,
            "lastUpdateId": quote.update_id,
        }

    def open_interest(self, params: Params) -> object:
        """GET openInterest, in base units."""
        symbol = self._requests.symbol(params)
        interest = self._exchange.open_interest(symbol)
        return {
            "symbol": symbol,
            "openInterest": self._table.qty(symbol, interest),
            "time": self._host.now_ms(),
        }

    def kline(self, symbol: str, candle: Candle) -> list[object]:
        """A candle as an array of twelve."""
        price, qty, quote = self._table.price, self._table.qty, self._table.quote
        return [
            candle.open_ms,
            price(symbol, candle.open),
            price(symbol, candle.high),
            price(symbol, candle.low),
            price(symbol, candle.close),
            qty(symbol, candle.volume),
            candle.close_ms,
            quote(symbol, candle.quote_volume),
            candle.trades,
            qty(symbol, candle.taker_volume),
            quote(symbol, candle.taker_quote_volume),
            "0",
        ]

    def _each(self, row: Callable[[str], dict[str, Any]]) -> Handler:
        """An object with a symbol, an array of all symbols without."""

        def answer(params: Params) -> object:
            symbol = self._requests.optional_symbol(params)
            if symbol is not None:
                return row(symbol)
            return [row(instrument.symbol) for instrument in self._exchange.instruments()]

        return answer

    def _empty_info(self, _: Params) -> object:
        return {
            "timezone": "UTC",
            "serverTime": self._host.now_ms(),
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [],
        }


def weighted_average(quote_volume: Decimal, volume: Decimal, last: Decimal) -> Decimal:
    """Average price by volume; the last price where nothing traded."""
    return quote_volume / volume if volume else last
