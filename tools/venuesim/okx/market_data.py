"""Public market data over REST, and the lists a client asks for when it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tools.venuesim.exchange.model import Instrument, PublicTrade, SymbolStatus
from tools.venuesim.okx.bars import INTERVALS, Bar, bars
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.market_rows import MarketRows
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.routing import Handler, Route, Routes, Security
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import SWAP
from tools.venuesim.wire import Host, Lane

KINDS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")
ANY = "ANY"
MOST_LEVELS, MOST_CANDLES, MOST_FAMILIES = 400, 300, 5
MOST_TRADES, MOST_OLD_TRADES, MOST_SETTLEMENTS = 500, 100, 400
_PUBLIC, _MARKET = "/api/v5/public", "/api/v5/market"
_SIX_PER_SECOND = 12
T = TypeVar("T")


class MarketEndpoints:
    """Handlers that need no key. Only perpetual swaps exist: the other kinds of instruments have empty lists."""

    def __init__(self, host: Host, table: SymbolTable) -> None:
        self._host = host
        self._exchange = host.exchange
        self._table = table
        self._rows = MarketRows(host.exchange, table)

    def routes(self) -> Routes:
        """This part of the API, with how often each may be called in two seconds."""
        calls: dict[str, tuple[Handler, int]] = {
            f"{_PUBLIC}/time": (self.time, 10),
            f"{_PUBLIC}/instruments": (self.instruments, 20),
            f"{_PUBLIC}/underlying": (self.underlying, 20),
            f"{_PUBLIC}/mark-price": (self._each(self._rows.mark), 10),
            f"{_PUBLIC}/open-interest": (self._each(self._rows.interest), 20),
            f"{_PUBLIC}/price-limit": (self.price_limit, 20),
            f"{_PUBLIC}/funding-rate": (self.funding_rate, 10),
            f"{_PUBLIC}/funding-rate-history": (self.funding_history, 10),
            f"{_PUBLIC}/position-tiers": (self.tiers, 10),
            f"{_MARKET}/tickers": (self._each(self._rows.ticker), 20),
            f"{_MARKET}/ticker": (self.ticker, 20),
            f"{_MARKET}/index-tickers": (self.index_tickers, 20),
            f"{_MARKET}/books": (self.books, 40),
            f"{_MARKET}/books-full": (self.books, 10),
            f"{_MARKET}/candles": (self.candles, 40),
            f"{_MARKET}/history-candles": (self.candles, 20),
            f"{_MARKET}/mark-price-candles": (self.mark_candles, 20),
            f"{_MARKET}/history-mark-price-candles": (self.mark_candles, 10),
            f"{_MARKET}/index-candles": (self.index_candles, 20),
            f"{_MARKET}/history-index-candles": (self.index_candles, 10),
            f"{_MARKET}/trades": (self.trades, 100),
            f"{_MARKET}/history-trades": (self.trade_history, 20),
            "/api/v5/system/status": (lambda _: [], 2),
        }
        table: Routes = {
            ("GET", path): Route(handler=handler, lane=Lane.MARKET, calls=most)
            for path, (handler, most) in calls.items()
        }
        coins = Route(handler=self.currencies, lane=Lane.MARKET, security=Security.READ, calls=_SIX_PER_SECOND)
        return table | {("GET", "/api/v5/asset/currencies"): coins}

    def time(self, _: Params) -> list[Row]:
        """GET time."""
        return [{"ts": stamp(self._host.now_ms())}]

    def instruments(self, params: Params) -> list[Row]:
        """GET instruments: contracts that exist, also those that do not trade just now."""
        wanted = self._wanted(params, KINDS)
        return [
            self._table.wire_row(row.symbol)
            for row in wanted
            if row.status is not SymbolStatus.CLOSED or params.text("instId") is not None
        ]

    def underlying(self, params: Params) -> list[Row]:
        """GET underlying: one list inside the list."""
        found = [self._table.family(row.symbol) for row in self._wanted(params, KINDS)]
        # The venue nests this one: its rows are the lists themselves.
        return [found] if found else []  # type: ignore[list-item]

    def ticker(self, params: Params) -> list[Row]:
        """GET ticker."""
        return [self._rows.ticker(self._instrument(params).symbol, self._host.now_ms())]

    def index_tickers(self, params: Params) -> list[Row]:
        """GET index-tickers, of one index or of those in a currency."""
        now_ms, name = self._host.now_ms(), params.text("instId")
        if name is not None:
            return [self._rows.index_ticker(self._of_index(name).symbol, now_ms)]
        quote = params.required("quoteCcy")
        return [
            self._rows.index_ticker(row.symbol, now_ms) for row in self._exchange.instruments() if row.quote == quote
        ]

    def price_limit(self, params: Params) -> list[Row]:
        """GET price-limit."""
        return [self._rows.price_limit(self._instrument(params).symbol, self._host.now_ms())]

    def funding_rate(self, params: Params) -> list[Row]:
        """GET funding-rate, of one contract or of all (ANY)."""
        now_ms = self._host.now_ms()
        if params.text("instId") == ANY:
            return [self._rows.funding(row.symbol, now_ms) for row in self._exchange.instruments()]
        return [self._rows.funding(self._instrument(params).symbol, now_ms)]

    def funding_history(self, params: Params) -> list[Row]:
        """GET funding-rate-history, newest first."""
        symbol = self._instrument(params).symbol
        found = _newest(self._exchange.funding_history(symbol), params, lambda row: row.time_ms, MOST_SETTLEMENTS)
        return [self._rows.funding_settled(row) for row in found]

    def tiers(self, params: Params) -> list[Row]:
        """GET position-tiers of up to five families."""
        kind = params.choice("instType", KINDS)
        params.choice("tdMode", ("cross", "isolated"))
        if kind != SWAP:
            return []
        families = params.words("instFamily") or params.words("uly")
        if not families:
            raise VenueError(50014, "instFamily")
        if len(families) > MOST_FAMILIES:
            raise VenueError(51000, "instFamily")
        found = []
        for family in sorted(families):
            symbol = self._table.of_family(family)
            if symbol is None:
                raise VenueError(51000, "instFamily")
            found += self._table.tier_rows(self._exchange.instrument(symbol))
        return found

    def books(self, params: Params) -> list[Row]:
        """GET books: best levels first, and the number that changes on the books channel are chained to."""
        symbol = self._instrument(params).symbol
        asked = params.integer("sz")
        if asked is not None and asked < 1:
            raise VenueError(51000, "sz")
        depth, count = self._exchange.depth(symbol), min(asked or 1, MOST_LEVELS)
        return [
            {
                "asks": self._rows.levels(symbol, depth.asks[:count]),
                "bids": self._rows.levels(symbol, depth.bids[:count]),
                "ts": stamp(self._host.now_ms()),
                "seqId": depth.update_id,
            }
        ]

    def candles(self, params: Params) -> list[Row]:
        """GET candles, history-candles: rows of nine, newest first."""
        symbol = self._instrument(params).symbol
        return self._candles(symbol, params, lambda bar: self._rows.candle(symbol, bar))

    def mark_candles(self, params: Params) -> list[Row]:
        """GET mark-price-candles: rows of six. The mark price follows the last one closely enough to share them."""
        return self._candles(self._instrument(params).symbol, params, self._rows.price_candle)

    def index_candles(self, params: Params) -> list[Row]:
        """GET index-candles; an index is named by its family."""
        return self._candles(self._of_index(params.required("instId")).symbol, params, self._rows.price_candle)

    def trades(self, params: Params) -> list[Row]:
        """GET trades, newest first."""
        symbol = self._instrument(params).symbol
        newest = self._exchange.trades(symbol, params.limit(100, MOST_TRADES))
        return [self._rows.trade(symbol, trade) for trade in reversed(newest)]

    def trade_history(self, params: Params) -> list[Row]:
        """GET history-trades: pages by trade number, or by time with type 2."""
        symbol = self._instrument(params).symbol
        by_time = params.choice("type", ("1", "2"), "1") == "2"

        def number(trade: PublicTrade) -> int:
            return trade.time_ms if by_time else trade.id

        found = _newest(self._exchange.trades(symbol), params, number, MOST_OLD_TRADES)
        return [self._rows.trade(symbol, trade) for trade in found]

    def currencies(self, params: Params) -> list[Row]:
        """GET currencies: the coins of the wallet; none of them can leave it."""
        wanted = params.words("ccy")
        return [_currency(asset) for asset in self._exchange.assets() if not wanted or asset in wanted]

    def _each(self, write: Callable[[str, int], Row]) -> Handler:
        """A list over all contracts, or those asked for."""

        def answer(params: Params) -> list[Row]:
            now_ms = self._host.now_ms()
            return [write(row.symbol, now_ms) for row in self._wanted(params, KINDS)]

        return answer

    def _wanted(self, params: Params, kinds: Sequence[str]) -> list[Instrument]:
        """The contracts that instType, instId, instFamily and uly leave over."""
        # A contract's name says its kind.
        if params.choice("instType", kinds, SWAP if "instId" in params else None) != SWAP:
            return []
        if params.text("instId") is not None:
            return [self._instrument(params)]
        family = params.text("instFamily") or params.text("uly")
        known = self._exchange.instruments()
        return [row for row in known if family in (None, self._table.family(row.symbol))]

    def _instrument(self, params: Params) -> Instrument:
        """The contract a request names; 51001 for one that is not there."""
        symbol = params.required("instId")
        if not self._table.knows(symbol):
            raise VenueError(51001)
        return self._exchange.instrument(symbol)

    def _of_index(self, name: str) -> Instrument:
        symbol = self._table.of_family(name)
        if symbol is None:
            raise VenueError(51001)
        return self._exchange.instrument(symbol)

    def _candles(self, symbol: str, params: Params, write: Callable[[Bar], list[str]]) -> list[Row]:
        interval = params.text("bar") or "1m"
        if interval not in INTERVALS:
            raise VenueError(51000, "bar")
        limit = params.limit(100, MOST_CANDLES)
        bounded = params.integer("after") is not None or params.integer("before") is not None
        found = bars(self._exchange, symbol, interval, None if bounded else limit)
        newest = _newest(found, params, lambda bar: bar.start_ms, MOST_CANDLES)
        # Candles are the only rows that are arrays.
        return [write(bar) for bar in newest]  # type: ignore[misc]


def _newest(rows: Iterable[T], params: Params, number: Callable[[T], int], most: int) -> list[T]:
    """Newest first, older than ``after`` and newer than ``before``; ``rows`` come oldest first.

    Unlike the account's lists these begin with the very newest also where only ``before`` is given.
    """
    after, before = params.integer("after"), params.integer("before")
    found = [row for row in rows if (after is None or number(row) < after) and (before is None or number(row) > before)]
    return found[-params.limit(min(100, most), most) :][::-1]


def _currency(asset: str) -> Row:
    return {
        "burningFeeRate": "",
        "canDep": False,
        "canInternal": False,
        "canWd": False,
        "ccy": asset,
        "chain": f"{asset}-ERC20",
        "ctAddr": "",
        "depQuotaFixed": "",
        "depQuoteDailyLayer2": "",
        "fee": "0",
        "logoLink": "",
        "mainNet": True,
        "maxFee": "0",
        "maxFeeForCtAddr": "",
        "maxWd": "0",
        "minDep": "0",
        "minDepArrivalConfirm": "1",
        "minFee": "0",
        "minFeeForCtAddr": "",
        "minInternal": "0",
        "minWd": "0",
        "minWdUnlockConfirm": "1",
        "name": asset,
        "needTag": False,
        "usedDepQuotaFixed": "",
        "usedWdQuota": "0",
        "wdQuota": "0",
        "wdTickSz": "8",
    }
