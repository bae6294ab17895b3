"""Public market data over REST, and the lists a client asks for when it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.venuesim.bybit.errors import Row, VenueError
from tools.venuesim.bybit.market_frames import Bar, MarketRows, bars, fixed, short
from tools.venuesim.bybit.market_streams import MarketStreams
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.routing import Handler, Route, Routes, Security
from tools.venuesim.bybit.symbol_table import SymbolTable
from tools.venuesim.bybit.topics import INTERVALS, MINUTE_MS
from tools.venuesim.exchange.model import Instrument
from tools.venuesim.wire import Host, Lane

CATEGORIES = ("linear", "inverse", "spot", "option")
EMPTY_CATEGORIES = CATEGORIES[1:]
RISK_SYMBOLS_PER_PAGE = 15
INTEREST_INTERVALS_MS = {
    "5min": 5 * MINUTE_MS,
    "15min": 15 * MINUTE_MS,
    "30min": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "1d": 1_440 * MINUTE_MS,
}
_NANOS_PER_MS = 1_000_000


class MarketEndpoints:
    """Handlers that need no key. Only linear perpetuals exist: the other categories have empty lists."""

    def __init__(self, host: Host, table: SymbolTable, rows: MarketRows, streams: MarketStreams) -> None:
        self._host = host
        self._exchange = host.exchange
        self._table = table
        self._rows = rows
        self._streams = streams

    def routes(self) -> Routes:
        """This part of the API."""
        calls: dict[str, Handler] = {
            "/v5/market/time": self.time,
            "/v5/market/instruments-info": self.instruments,
            "/v5/market/tickers": self.tickers,
            "/v5/market/orderbook": self.order_book,
            "/v5/market/kline": self.klines,
            "/v5/market/mark-price-kline": self.price_klines,
            "/v5/market/index-price-kline": self.price_klines,
            "/v5/market/premium-index-price-kline": self.premium_klines,
            "/v5/market/recent-trade": self.trades,
            "/v5/market/funding/history": self.funding_history,
            "/v5/market/open-interest": self.open_interest,
            "/v5/market/risk-limit": self.risk_limits,
            "/v5/market/price-limit": self.price_limit,
            "/v5/market/delivery-price": self.nothing,
            "/v5/system/status": lambda _: {"list": []},
        }
        table: Routes = {("GET", path): Route(call, Lane.MARKET) for path, call in calls.items()}
        coins = Route(self.coins, Lane.MARKET, Security.READ)
        return table | {("GET", "/v5/asset/coin/query-info"): coins}

    def time(self, _: Params) -> Row:
        """GET time, as texts in seconds and nanoseconds."""
        now_ms = self._host.now_ms()
        return {"timeSecond": str(now_ms // 1_000), "timeNano": str(now_ms * _NANOS_PER_MS)}

    def instruments(self, params: Params) -> Row:
        """GET instruments-info: those that trade unless `status` or `symbol` asks for others."""
        category = _category(params)
        status, symbol, base = params.text("status"), params.text("symbol"), params.text("baseCoin")
        if category == "linear" and symbol is not None:
            self._instrument(params)
        rows: list[Row] = []
        for instrument in self._exchange.instruments() if category == "linear" else ():
            row = self._table.wire_row(instrument.symbol)
            wanted = status or (row["status"] if symbol else "Trading")
            if symbol in (None, instrument.symbol) and base in (None, instrument.base) and row["status"] == wanted:
                rows.append(row)
        page, cursor = _page(rows, params, 500, 1_000)
        return {"category": category, "list": page, "nextPageCursor": cursor}

    def tickers(self, params: Params) -> Row:
        """GET tickers: all symbols on one page."""
        category = _category(params)
        if category in EMPTY_CATEGORIES:
            return {"category": category, "list": []}
        base = params.text("baseCoin")
        if params.text("symbol") is not None:
            wanted = [self._instrument(params)]
        else:
            wanted = [row for row in self._exchange.instruments() if base in (None, row.base)]
        return {"category": category, "list": [self._rows.rest_ticker(row.symbol) for row in wanted]}

    def order_book(self, params: Params) -> Row:
        """GET orderbook; bids and asks best first."""
        instrument = self._instrument(params)
        limit = _limit(params, 25, 1_000)
        depth = self._exchange.depth(instrument.symbol)
        return {
            "s": instrument.symbol,
            "b": self._rows.levels(instrument.symbol, depth.bids[:limit]),
            "a": self._rows.levels(instrument.symbol, depth.asks[:limit]),
            "ts": self._host.now_ms(),
            "u": self._streams.book_number(instrument.symbol),
            "seq": depth.update_id,
            "cts": depth.time_ms,
        }

    def klines(self, params: Params) -> Row:
        """GET kline: rows of seven, newest first."""
        return self._candles(params, lambda row: [*_prices(row), short(row.volume), short(row.turnover)])

    def price_klines(self, params: Params) -> Row:
        """GET mark-price-kline, index-price-kline: rows of five. Both follow the price closely enough to share it."""
        return self._candles(params, _prices)

    def premium_klines(self, params: Params) -> Row:
        """GET premium-index-price-kline: no premium, as index and price share their candles."""
        return self._candles(params, lambda row: [str(row.start_ms), "0", "0", "0", "0"])

    def trades(self, params: Params) -> Row:
        """GET recent-trade, newest first."""
        symbol = self._instrument(params).symbol
        newest = self._exchange.trades(symbol, _limit(params, 500, 1_000))
        return {"category": "linear", "list": [self._rows.rest_trade(symbol, trade) for trade in reversed(newest)]}

    def funding_history(self, params: Params) -> Row:
        """GET funding/history, newest first."""
        symbol = self._instrument(params).symbol
        start, end = _span(params)
        rows = [
            {
                "symbol": record.symbol,
                "fundingRate": short(record.rate),
                "fundingRateTimestamp": str(record.time_ms),
            }
            for record in reversed(self._exchange.funding_history(symbol))
            if start <= record.time_ms <= end
        ]
        return {"category": "linear", "list": rows[: _limit(params, 200, 200)]}

    def open_interest(self, params: Params) -> Row:
        """GET open-interest, newest first: the interest of now at the start of each interval."""
        instrument = self._instrument(params)
        length_ms = INTEREST_INTERVALS_MS.get(params.text("intervalTime") or "")
        if length_ms is None:
            raise VenueError(10001, "params error: intervalTime invalid")
        start, end = _span(params)
        interest = fixed(self._exchange.open_interest(instrument.symbol), instrument.step)
        newest = min(end, self._host.now_ms()) // length_ms * length_ms
        times = [newest - number * length_ms for number in range(_limit(params, 50, 200))]
        rows = [{"openInterest": interest, "timestamp": str(time)} for time in times if time >= start]
        return {"symbol": instrument.symbol, "category": "linear", "list": rows, "nextPageCursor": ""}

    def risk_limits(self, params: Params) -> Row:
        """GET risk-limit: one symbol's tiers, or fifteen symbols a page."""
        category = _category(params)
        if category in EMPTY_CATEGORIES:
            return {"category": category, "list": [], "nextPageCursor": ""}
        if params.text("symbol") is not None:
            wanted: Sequence[Instrument] = [self._instrument(params)]
            cursor = ""
        else:
            first = _cursor(params)
            known = self._exchange.instruments()
            wanted = known[first : first + RISK_SYMBOLS_PER_PAGE]
            cursor = str(first + RISK_SYMBOLS_PER_PAGE) if first + RISK_SYMBOLS_PER_PAGE < len(known) else ""
        rows = [row for instrument in wanted for row in self._table.risk_rows(instrument)]
        return {"category": category, "list": rows, "nextPageCursor": cursor}

    def price_limit(self, params: Params) -> Row:
        """GET price-limit: the band of the moment."""
        return {**self._rows.price_limit(self._instrument(params).symbol), "ts": str(self._host.now_ms())}

    def nothing(self, params: Params) -> Row:
        """Lists that are empty because nothing here is ever delivered."""
        return {"category": _category(params), "list": [], "nextPageCursor": ""}

    def coins(self, params: Params) -> Row:
        """GET coin/query-info: the coins of the wallet; none of them can leave it."""
        wanted = params.text("coin")
        return {"rows": [_coin(asset) for asset in self._exchange.assets() if wanted in (None, asset)]}

    def _candles(self, params: Params, write: Callable[[Bar], list[str]]) -> Row:
        symbol, interval = self._instrument(params).symbol, params.text("interval") or ""
        if interval not in INTERVALS:
            raise VenueError(10001, "Invalid period!")
        limit = _limit(params, 200, 1_000)
        start, end = _span(params)
        bounded = params.text("start") is not None or params.text("end") is not None
        found = bars(self._exchange, symbol, interval, None if bounded else limit)
        rows = [write(row) for row in reversed(found) if start <= row.start_ms <= end]
        return {"symbol": symbol, "category": "linear", "list": rows[:limit]}

    def _instrument(self, params: Params) -> Instrument:
        """The linear contract a request names; 10001 for anything else."""
        category, symbol = params.text("category") or "linear", params.text("symbol") or ""
        found = next((row for row in self._exchange.instruments() if row.symbol == symbol), None)
        if category != "linear" or found is None:
            raise VenueError(10001, f"params error: symbol invalid {symbol}".rstrip())
        return found


def _category(params: Params) -> str:
    return params.choice("category", CATEGORIES)


def _limit(params: Params, default: int, most: int) -> int:
    """How many rows; what is outside 1..most is brought inside."""
    return min(max(params.integer("limit") or default, 1), most)


def _cursor(params: Params) -> int:
    text = params.text("cursor") or "0"
    if not text.isdecimal():
        raise VenueError(10001, "params error: cursor invalid")
    return int(text)


def _page(rows: list[Row], params: Params, default: int, most: int) -> tuple[list[Row], str]:
    """One page, and the cursor of the next; "" after the last."""
    first, limit = _cursor(params), _limit(params, default, most)
    return rows[first : first + limit], str(first + limit) if first + limit < len(rows) else ""


def _span(params: Params) -> tuple[int, int]:
    """Bounds in ms; candles call them start and end, other lists startTime and endTime."""
    start = params.integer("start") or params.integer("startTime") or 0
    end = params.integer("end") or params.integer("endTime")
    return start, end if end is not None else 2**62


def _prices(row: Bar) -> list[str]:
    return [str(row.start_ms), short(row.open), short(row.high), short(row.low), short(row.close)]


def _coin(asset: str) -> Row:
    chain = {
        "chainType": asset,
        "confirmation": "0",
        "withdrawFee": "",
        "depositMin": "0",
        "withdrawMin": "0",
        "chain": asset,
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "minAccuracy": "8",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "0",
        "statusInformation": "",
    }
    return {"name": asset, "coin": asset, "remainAmount": "0", "chains": [chain]}
