"""Public market data as the venue prints it: the rows that REST answers and pushed frames share. Sizes in contracts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import FundingRecord, Instrument, Level, PublicTrade, Quote, Side
from tools.venuesim.okx.bars import MINUTE_MS, Bar, start_of
from tools.venuesim.okx.formats import Row, money, short, stamp
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import SIDE, SWAP

FUNDING_CAP = Decimal("0.00375")
CHECKED_LEVELS = 25
EIGHT_HOURS_MS = 8 * 60 * MINUTE_MS
_IMPACT = "20000"
_RATE = Decimal("1E-16")
_USD = Decimal("0.01")
_SIGNED_ABOVE, _WRAP = 2**31, 2**32
_ONE_ORDER = "1"
"""Orders at a level: each of this market's levels is one quote of its maker."""


def price_limits(instrument: Instrument, quote: Quote) -> tuple[Decimal, Decimal]:
    """(highest buy, lowest sell) price on the tick grid, at the mark price of the moment."""
    buy = (quote.mark * instrument.band_up / instrument.tick).to_integral_value(ROUND_FLOOR) * instrument.tick
    sell = (quote.mark * instrument.band_down / instrument.tick).to_integral_value(ROUND_CEILING) * instrument.tick
    return min(buy, instrument.max_price), max(sell, instrument.min_price)


def checksum(bids: Sequence[list[str]], asks: Sequence[list[str]]) -> int:
    """CRC32 over price and size of the best 25 levels, bids and asks by turns, as a signed number."""
    parts = []
    for number in range(CHECKED_LEVELS):
        parts += [f"{row[0]}:{row[1]}" for side in (bids, asks) for row in side[number : number + 1]]
    value = zlib.crc32(":".join(parts).encode())
    return value - _WRAP if value >= _SIGNED_ABOVE else value


class MarketRows:
    """Rows of one market at the moment they are asked for."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table
        self._days: dict[str, tuple[tuple[int, Decimal], str, str]] = {}

    def ticker(self, symbol: str, now_ms: int) -> Row:
        """A row of tickers: the last day, without mark price."""
        exchange, size = self._exchange, self._table.size
        quote, day = exchange.quote(symbol), exchange.day_stats(symbol)
        utc, hong_kong = self._day_opens(symbol, now_ms)
        return {
            "instType": SWAP,
            "instId": symbol,
            "last": short(quote.last),
            "lastSz": size(symbol, day.last_qty),
            "askPx": short(quote.ask),
            "askSz": size(symbol, quote.ask_qty),
            "bidPx": short(quote.bid),
            "bidSz": size(symbol, quote.bid_qty),
            "open24h": short(day.open),
            "high24h": short(day.high),
            "low24h": short(day.low),
            "volCcy24h": short(day.volume),
            "vol24h": size(symbol, day.volume),
            "sodUtc0": utc,
            "sodUtc8": hong_kong,
            "ts": stamp(now_ms),
        }

    def index_ticker(self, symbol: str, now_ms: int) -> Row:
        """A row of index-tickers. The index shares the contract's history, which follows it closely."""
        quote, day = self._exchange.quote(symbol), self._exchange.day_stats(symbol)
        utc, hong_kong = self._day_opens(symbol, now_ms)
        return {
            "instId": self._table.family(symbol),
            "idxPx": short(quote.index),
            "high24h": short(max(day.high, quote.index)),
            "low24h": short(min(day.low, quote.index)),
            "open24h": short(day.open),
            "sodUtc0": utc,
            "sodUtc8": hong_kong,
            "ts": stamp(now_ms),
        }

    def mark(self, symbol: str, now_ms: int) -> Row:
        """A row of mark-price."""
        mark = self._exchange.quote(symbol).mark
        return {"instType": SWAP, "instId": symbol, "markPx": short(mark), "ts": stamp(now_ms)}

    def price_limit(self, symbol: str, now_ms: int) -> Row:
        """The band limit prices may lie in."""
        buy, sell = price_limits(self._exchange.instrument(symbol), self._exchange.quote(symbol))
        row: Row = {"instType": SWAP, "instId": symbol, "buyLmt": short(buy), "sellLmt": short(sell)}
        return {**row, "ts": stamp(now_ms), "enabled": True}

    def pushed_limit(self, symbol: str, now_ms: int) -> Row:
        """A row of the price-limit channel."""
        return {name: value for name, value in self.price_limit(symbol, now_ms).items() if name != "instType"}

    def interest(self, symbol: str, now_ms: int) -> Row:
        """Open interest in contracts, coins and dollars."""
        interest = self._exchange.open_interest(symbol)
        worth = (interest * self._exchange.quote(symbol).mark).quantize(_USD)
        row: Row = {"instType": SWAP, "instId": symbol, "oi": self._table.size(symbol, interest)}
        return {**row, "oiCcy": short(interest), "oiUsd": short(worth), "ts": stamp(now_ms)}

    def funding(self, symbol: str, now_ms: int) -> Row:
        """The funding of the running interval; ``fundingTime`` is where it ends, ``nextFundingTime`` the one after."""
        funding, quote = self._exchange.funding(symbol), self._exchange.quote(symbol)
        rate = short(funding.rate)
        return {
            "formulaType": "withRate",
            "fundingRate": rate,
            "fundingTime": stamp(funding.next_ms),
            "impactValue": _IMPACT,
            "instId": symbol,
            "instType": SWAP,
            "interestRate": rate,
            "maxFundingRate": short(FUNDING_CAP),
            "method": "current_period",
            "minFundingRate": short(-FUNDING_CAP),
            "nextFundingRate": "",
            "nextFundingTime": stamp(funding.next_ms + funding.interval_hours * 60 * MINUTE_MS),
            "premium": short(((quote.mark - quote.index) / quote.index).quantize(_RATE)),
            "settFundingRate": rate,
            "settState": "settled",
            "ts": stamp(now_ms),
        }

    def funding_settled(self, record: FundingRecord) -> Row:
        """A row of funding-rate-history."""
        return {
            "formulaType": "withRate",
            "fundingRate": short(record.rate),
            "fundingTime": stamp(record.time_ms),
            "instId": record.symbol,
            "instType": SWAP,
            "method": "current_period",
            "realizedRate": short(record.rate),
        }

    def levels(self, symbol: str, levels: Sequence[Level]) -> list[list[str]]:
        """Price, size, a zero that once meant something, and the number of orders; best first."""
        size = self._table.size
        return [[short(level.price), size(symbol, level.qty), "0", _ONE_ORDER] for level in levels]

    def trade(self, symbol: str, trade: PublicTrade) -> Row:
        """A row of trades over REST; side is the taker's."""
        return {
            "instId": symbol,
            "side": SIDE[Side.SELL if trade.buyer_maker else Side.BUY],
            "sz": self._table.size(symbol, trade.qty),
            "px": short(trade.price),
            "source": "0",
            "tradeId": str(trade.id),
            "ts": stamp(trade.time_ms),
        }

    def pushed_trade(self, symbol: str, trade: PublicTrade) -> Row:
        """A row of the trades channel, which sums up what was taken at one price: here always one match."""
        return {**self.trade(symbol, trade), "count": "1", "seqId": trade.id}

    def candle(self, symbol: str, bar: Bar) -> list[str]:
        """A row of candles: volumes in contracts, coins and the quote currency."""
        volumes = [self._table.size(symbol, bar.volume), short(bar.volume), money(bar.turnover)]
        return [*_prices(bar), *volumes, "1" if bar.closed else "0"]

    def price_candle(self, bar: Bar) -> list[str]:
        """A row of mark-price-candles and index-candles, which have no volume."""
        return [*_prices(bar), "1" if bar.closed else "0"]

    def liquidation(self, symbol: str, closing: Side, qty: Decimal, price: Decimal, time_ms: int) -> Row:
        """A row of liquidation-orders; posSide is that of the position which was closed."""
        family = self._table.family(symbol)
        detail = {
            "bkLoss": "0",
            "bkPx": short(price),
            "ccy": "",
            "posSide": "long" if closing is Side.SELL else "short",
            "side": SIDE[closing],
            "sz": self._table.size(symbol, qty),
            "ts": stamp(time_ms),
        }
        return {"details": [detail], "instFamily": family, "instId": symbol, "instType": SWAP, "uly": family}

    def _day_opens(self, symbol: str, now_ms: int) -> tuple[str, str]:
        """Where the day opened, by UTC and in Hong Kong; looked up again every eight hours, with which both days begin,
        and when the grid of prices changes."""
        since = (now_ms // EIGHT_HOURS_MS, self._exchange.instrument(symbol).tick)
        known = self._days.get(symbol)
        if known is None or known[0] != since:
            opens = [short(self._exchange.open_at(symbol, start_of(name, now_ms))) for name in ("1Dutc", "1D")]
            known = self._days[symbol] = (since, opens[0], opens[1])
        return known[1], known[2]


def _prices(bar: Bar) -> list[str]:
    return [str(bar.start_ms), short(bar.open), short(bar.high), short(bar.low), short(bar.close)]
