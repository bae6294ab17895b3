"""Public market data as the venue writes it: the rows that REST answers and pushed frames share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from uuid import NAMESPACE_OID, uuid5

from msgspec import Struct

from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.topics import DAY, MINUTE_MS, MINUTES
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Candle, Instrument, Level, PublicTrade, Quote, Side

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_DAYS = 7
LONGEST_MONTH_DAYS = 31
TRADED_SIDE = {True: "Sell", False: "Buy"}
"""Taker side by ``buyer_maker``."""
_SIX = Decimal("0.000001")
_DEFAULT_CAP = "0.005"


def fixed(value: Decimal, unit: Decimal) -> str:
    """With as many decimals as the unit is written with: fixed(16493.5, 0.10) -> "16493.50"."""
    exponent = unit.as_tuple().exponent
    return f"{value:.{max(0, -exponent if isinstance(exponent, int) else 0)}f}"


def short(value: Decimal) -> str:
    """No trailing zeros and no exponent."""
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def funding_cap(instrument: Instrument) -> str:
    """Upper limit of the funding rate; the lower one is its negative."""
    return instrument.extras.get("upperFundingRate") or _DEFAULT_CAP


def price_limits(instrument: Instrument, quote: Quote) -> tuple[Decimal, Decimal]:
    """(highest buy, lowest sell) price on the tick grid, at the mark price of the moment."""
    buy = (quote.mark * instrument.band_up / instrument.tick).to_integral_value(ROUND_FLOOR) * instrument.tick
    sell = (quote.mark * instrument.band_down / instrument.tick).to_integral_value(ROUND_CEILING) * instrument.tick
    return min(buy, instrument.max_price), max(sell, instrument.min_price)


def trade_uuid(symbol: str, trade_id: int) -> str:
    """The venue names trades by uuid; the same trade has the same one in every answer."""
    return str(uuid5(NAMESPACE_OID, f"{symbol}/{trade_id}"))


class Bar(Struct, frozen=True, kw_only=True):
    """A candle of any interval, months included."""

    start_ms: int
    end_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    closed: bool


def bars(exchange: Exchange, symbol: str, interval: str, limit: int | None = None) -> list[Bar]:
    """Oldest first, the last one open; ``limit`` keeps the newest. Weeks begin on Monday, all in UTC."""
    if interval in MINUTES:
        return [_bar(row) for row in exchange.candles(symbol, MINUTES[interval] * MINUTE_MS, limit)]
    if interval == DAY:
        return [_bar(row) for row in exchange.candles(symbol, DAY_MS, limit)]
    longest = WEEK_DAYS if interval == "W" else LONGEST_MONTH_DAYS
    days = exchange.candles(symbol, DAY_MS, None if limit is None else limit * longest)
    grouped = [_joined(list(group), start) for start, group in groupby(days, lambda day: _start(day.open_ms, interval))]
    return grouped if limit is None else grouped[-limit:]


def _bar(candle: Candle) -> Bar:
    return Bar(
        start_ms=candle.open_ms,
        end_ms=candle.close_ms,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        turnover=candle.quote_volume,
        closed=candle.closed,
    )


def _joined(days: Sequence[Candle], span: tuple[int, int]) -> Bar:
    return Bar(
        start_ms=span[0],
        end_ms=span[1],
        open=days[0].open,
        high=max(day.high for day in days),
        low=min(day.low for day in days),
        close=days[-1].close,
        volume=sum((day.volume for day in days), Decimal(0)),
        turnover=sum((day.quote_volume for day in days), Decimal(0)),
        closed=days[-1].closed and days[-1].close_ms >= span[1],
    )


def _start(day_ms: int, interval: str) -> tuple[int, int]:
    """First and last millisecond of the week or month a day lies in."""
    day = datetime.fromtimestamp(day_ms / 1000, UTC)
    if interval == "W":
        monday = day_ms - day.weekday() * DAY_MS
        return monday, monday + WEEK_DAYS * DAY_MS - 1
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp() * 1000), int(following.timestamp() * 1000) - 1


class MarketRows:
    """Rows of one market at the moment they are asked for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._hour_ago: dict[str, tuple[int, Decimal]] = {}

    def prices(self, quote: Quote) -> Row:
        """The part of a ticker that moves with every step of the market."""
        instrument = self._exchange.instrument(quote.symbol)
        tick, step = instrument.tick, instrument.step
        return {
            "lastPrice": fixed(quote.last, tick),
            "markPrice": fixed(quote.mark, tick),
            "indexPrice": fixed(quote.index, tick),
            "bid1Price": fixed(quote.bid, tick),
            "bid1Size": fixed(quote.bid_qty, step),
            "ask1Price": fixed(quote.ask, tick),
            "ask1Size": fixed(quote.ask_qty, step),
        }

    def day(self, symbol: str) -> Row:
        """The part of a ticker that speaks of the last day, the open interest and the funding."""
        exchange = self._exchange
        instrument, quote, stats = exchange.instrument(symbol), exchange.quote(symbol), exchange.day_stats(symbol)
        funding, interest = exchange.funding(symbol), exchange.open_interest(symbol)
        tick = instrument.tick
        return {
            "prevPrice24h": fixed(stats.open, tick),
            "price24hPcnt": f"{((stats.last - stats.open) / stats.open).quantize(_SIX):f}",
            "highPrice24h": fixed(stats.high, tick),
            "lowPrice24h": fixed(stats.low, tick),
            "prevPrice1h": fixed(self._price_an_hour_ago(symbol, quote.time_ms), tick),
            "openInterest": fixed(interest, instrument.step),
            "openInterestValue": f"{interest * quote.mark:.2f}",
            "turnover24h": f"{stats.quote_volume:.4f}",
            "volume24h": f"{stats.volume:.4f}",
            "fundingRate": short(funding.rate),
            "nextFundingTime": str(funding.next_ms),
            "fundingIntervalHour": str(funding.interval_hours),
            "fundingCap": funding_cap(instrument),
            "preOpenPrice": "",
            "preQty": "",
            "curPreListingPhase": "",
        }

    def rest_ticker(self, symbol: str) -> Row:
        """One row of GET tickers, with the fields of dated contracts, which are empty for a perpetual."""
        return {
            "symbol": symbol,
            **self.prices(self._exchange.quote(symbol)),
            **self.day(symbol),
            "predictedDeliveryPrice": "",
            "basisRate": "",
            "basisRateYear": "",
            "basis": "",
            "deliveryFeeRate": "",
            "deliveryTime": "0",
        }

    def levels(self, symbol: str, levels: Sequence[Level]) -> list[list[str]]:
        """Price and size pairs, best first."""
        instrument = self._exchange.instrument(symbol)
        return [[fixed(level.price, instrument.tick), fixed(level.qty, instrument.step)] for level in levels]

    def rest_trade(self, symbol: str, trade: PublicTrade) -> Row:
        """One row of GET recent-trade."""
        instrument = self._exchange.instrument(symbol)
        return {
            "execId": trade_uuid(symbol, trade.id),
            "symbol": symbol,
            "price": fixed(trade.price, instrument.tick),
            "size": fixed(trade.qty, instrument.step),
            "side": TRADED_SIDE[trade.buyer_maker],
            "time": str(trade.time_ms),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.id),
        }

    def trade(self, symbol: str, trade: PublicTrade, direction: str) -> Row:
        """One row of publicTrade; S is the taker's side."""
        instrument = self._exchange.instrument(symbol)
        return {
            "T": trade.time_ms,
            "s": symbol,
            "S": TRADED_SIDE[trade.buyer_maker],
            "v": fixed(trade.qty, instrument.step),
            "p": fixed(trade.price, instrument.tick),
            "L": direction,
            "i": trade_uuid(symbol, trade.id),
            "BT": False,
            "RPI": False,
            "seq": trade.id,
        }

    def kline(self, interval: str, bar: Bar, now_ms: int) -> Row:
        """One row of kline.<interval>.<symbol>; numbers without padding, as captured."""
        return {
            "start": bar.start_ms,
            "end": bar.end_ms,
            "interval": interval,
            "open": short(bar.open),
            "close": short(bar.close),
            "high": short(bar.high),
            "low": short(bar.low),
            "volume": short(bar.volume),
            "turnover": short(bar.turnover),
            "confirm": bar.closed,
            "timestamp": now_ms,
        }

    def liquidation(self, symbol: str, closing: Side, qty: Decimal, price: Decimal, time_ms: int) -> Row:
        """One row of allLiquidation. S is the side of the position: Buy when a long was liquidated."""
        instrument = self._exchange.instrument(symbol)
        return {
            "T": time_ms,
            "s": symbol,
            "S": "Buy" if closing is Side.SELL else "Sell",
            "v": fixed(qty, instrument.step),
            "p": fixed(price, instrument.tick),
        }

    def price_limit(self, symbol: str) -> Row:
        """The band limit prices may lie in."""
        instrument = self._exchange.instrument(symbol)
        buy, sell = price_limits(instrument, self._exchange.quote(symbol))
        return {"symbol": symbol, "buyLmt": fixed(buy, instrument.tick), "sellLmt": fixed(sell, instrument.tick)}

    def _price_an_hour_ago(self, symbol: str, now_ms: int) -> Decimal:
        """Looked up once a minute, as it goes through sixty candles."""
        minute = now_ms // MINUTE_MS
        known = self._hour_ago.get(symbol)
        if known is None or known[0] != minute:
            known = (minute, self._exchange.candles(symbol, MINUTE_MS, HOUR_MS // MINUTE_MS)[0].open)
            self._hour_ago[symbol] = known
        return known[1]
