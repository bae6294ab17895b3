"""Payloads of the public market streams. Prices and quantities are padded as on the venue."""

from __future__ import annotations

from typing import Any

from tools.venuesim.binance.formats import money, padded, stripped
from tools.venuesim.binance.market_data import weighted_average
from tools.venuesim.binance.symbol_table import STATUS, SymbolTable, bracket_rows
from tools.venuesim.binance.words import ORDER_STATUS, ORDER_TYPE, SIDE, TIF
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Candle, Depth, Fill, Instrument, Level, Order, PublicTrade, Quote

Row = dict[str, Any]
USD_MARGINED = 1


class MarketFrames:
    """Writes one payload at a time; `now_ms` becomes the event time E."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table

    def book_ticker(self, quote: Quote, now_ms: int) -> Row:
        """`<symbol>@bookTicker` and `!bookTicker`."""
        price, qty, symbol = self._table.price, self._table.qty, quote.symbol
        return {
            "e": "bookTicker",
            "u": quote.update_id,
            "s": symbol,
            "ps": symbol,
            "b": price(symbol, quote.bid),
            "B": qty(symbol, quote.bid_qty),
            "a": price(symbol, quote.ask),
            "A": qty(symbol, quote.ask_qty),
            "T": quote.time_ms,
            "E": now_ms,
            "st": USD_MARGINED,
        }

    def mark_price(self, symbol: str, now_ms: int) -> Row:
        """`<symbol>@markPrice`, also the element of `!markPrice@arr`."""
        quote, funding = self._exchange.quote(symbol), self._exchange.funding(symbol)
        return {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": symbol,
            "p": money(quote.mark),
            "ap": money(quote.mark),
            "P": money(quote.index),
            "i": money(quote.index),
            "r": money(funding.rate),
            "T": funding.next_ms,
            "st": USD_MARGINED,
        }

    def trade(self, symbol: str, trade: PublicTrade, now_ms: int) -> Row:
        """`<symbol>@trade`."""
        return {
            "e": "trade",
            "E": now_ms,
            "T": trade.time_ms,
            "s": symbol,
            "t": trade.id,
            "p": self._table.price(symbol, trade.price),
            "q": self._table.qty(symbol, trade.qty),
            "X": "MARKET",
            "m": trade.buyer_maker,
        }

    def agg_trade(self, symbol: str, trade: PublicTrade, now_ms: int) -> Row:
        """`<symbol>@aggTrade`: an aggregate of one."""
        qty = self._table.qty(symbol, trade.qty)
        return {
            "e": "aggTrade",
            "E": now_ms,
            "a": trade.id,
            "s": symbol,
            "p": self._table.price(symbol, trade.price),
            "q": qty,
            "nq": qty,
            "f": trade.id,
            "l": trade.id,
            "T": trade.time_ms,
            "m": trade.buyer_maker,
            "st": USD_MARGINED,
        }

    def kline(self, symbol: str, interval: str, candle: Candle, last_trade_id: int, now_ms: int) -> Row:
        """`<symbol>@kline_<interval>`."""
        price, qty, quote = self._table.price, self._table.qty, self._table.quote
        body = {
            "t": candle.open_ms,
            "T": candle.close_ms,
            "s": symbol,
            "i": interval,
            "f": max(last_trade_id - candle.trades + 1, 0) if candle.trades else -1,
            "L": last_trade_id if candle.trades else -1,
            "o": price(symbol, candle.open),
            "c": price(symbol, candle.close),
            "h": price(symbol, candle.high),
            "l": price(symbol, candle.low),
            "v": qty(symbol, candle.volume),
            "n": candle.trades,
            "x": candle.closed,
            "q": quote(symbol, candle.quote_volume),
            "V": qty(symbol, candle.taker_volume),
            "Q": quote(symbol, candle.taker_quote_volume),
            "B": "0",
        }
        return {"e": "kline", "E": now_ms, "s": symbol, "k": body}

    def mini_ticker(self, symbol: str, now_ms: int) -> Row:
        """`<symbol>@miniTicker`, also the element of `!miniTicker@arr`."""
        stats = self._exchange.day_stats(symbol)
        price = self._table.price
        return {
            "e": "24hrMiniTicker",
            "E": now_ms,
            "s": symbol,
            "c": price(symbol, stats.last),
            "o": price(symbol, stats.open),
            "h": price(symbol, stats.high),
            "l": price(symbol, stats.low),
            "v": self._table.qty(symbol, stats.volume),
            "q": padded(stats.quote_volume, 2),
            "ps": symbol,
            "st": USD_MARGINED,
        }

    def ticker(self, symbol: str, now_ms: int) -> Row:
        """`<symbol>@ticker`, also the element of `!ticker@arr`; it has no bid and ask."""
        stats = self._exchange.day_stats(symbol)
        price, qty = self._table.price, self._table.qty
        change = stats.last - stats.open
        return {
            "e": "24hrTicker",
            "E": now_ms,
            "s": symbol,
            "p": price(symbol, change),
            "P": padded(change * 100 / stats.open, 3),
            "w": price(symbol, weighted_average(stats.quote_volume, stats.volume, stats.last)),
            "c": price(symbol, stats.last),
            "Q": qty(symbol, stats.last_qty),
            "o": price(symbol, stats.open),
            "h": price(symbol, stats.high),
            "l": price(symbol, stats.low),
            "v": qty(symbol, stats.volume),
            "q": padded(stats.quote_volume, 2),
            "O": stats.open_ms,
            "C": stats.close_ms,
            "F": stats.first_trade_id,
            "L": stats.last_trade_id,
            "n": stats.trades,
            "ps": symbol,
            "st": USD_MARGINED,
        }

    def force_order(self, order: Order, fill: Fill, now_ms: int) -> Row:
        """`<symbol>@forceOrder`: a liquidation everybody can see."""
        symbol = order.symbol
        body = {
            "s": symbol,
            "S": SIDE[order.side],
            "o": ORDER_TYPE[order.type],
            "f": TIF[order.tif],
            "q": stripped(order.qty),
            "p": stripped(order.price or fill.price),
            "ap": stripped(self._table.average(symbol, order.avg_price)),
            "X": ORDER_STATUS[order.status],
            "l": stripped(fill.qty),
            "z": stripped(order.filled),
            "T": fill.time_ms,
        }
        return {"e": "forceOrder", "E": now_ms, "o": body, "ps": symbol, "st": USD_MARGINED}

    def contract_info(self, instrument: Instrument, now_ms: int, *, brackets: bool) -> Row:
        """`!contractInfo`: a contract changed; its brackets are told only when they did."""
        wire = self._table.wire_row(instrument.symbol)
        row: Row = {
            "e": "contractInfo",
            "E": now_ms,
            "s": instrument.symbol,
            "ct": wire["contractType"],
            "dt": wire["deliveryDate"],
            "ot": wire["onboardDate"],
            "cs": STATUS[instrument.status],
        }
        if brackets:
            row["bks"] = self._brackets(instrument)
        return {**row, "st": USD_MARGINED}

    def _brackets(self, instrument: Instrument) -> list[Row]:
        rows = bracket_rows(instrument)
        # Each bracket allows the leverages from just above the next one's up to its own.
        least = [int(row["initialLeverage"]) + 1 for row in rows[1:]] + [1]
        return [
            {
                "bs": row["bracket"],
                "bnf": row["notionalFloor"],
                "bnc": row["notionalCap"],
                "mmr": row["maintMarginRatio"],
                "cf": row["cum"],
                "mi": lowest,
                "ma": row["initialLeverage"],
            }
            for row, lowest in zip(rows, least, strict=True)
        ]

    def partial_depth(self, symbol: str, depth: Depth, levels: int, before_id: int, now_ms: int) -> Row:
        """`<symbol>@depth<levels>`: the best levels whole."""
        bids, asks = self._pairs(symbol, depth.bids[:levels]), self._pairs(symbol, depth.asks[:levels])
        return self._depth_frame(symbol, depth, before_id, bids, asks, now_ms)

    def depth_change(self, symbol: str, before: Depth, depth: Depth, now_ms: int) -> Row:
        """`<symbol>@depth`: levels that changed since `before`; one that is gone has quantity 0."""
        bids = self._changes(symbol, before.bids, depth.bids)
        asks = self._changes(symbol, before.asks, depth.asks)
        return self._depth_frame(symbol, depth, before.update_id, bids, asks, now_ms)

    def _depth_frame(
        self, symbol: str, depth: Depth, before_id: int, bids: list[list[str]], asks: list[list[str]], now_ms: int
    ) -> Row:
        return {
            "e": "depthUpdate",
            "E": now_ms,
            "T": depth.time_ms,
            "s": symbol,
            "ps": symbol,
            "st": USD_MARGINED,
            "U": before_id + 1,
            "u": depth.update_id,
            "pu": before_id,
            "b": bids,
            "a": asks,
        }

    def _changes(self, symbol: str, before: tuple[Level, ...], after: tuple[Level, ...]) -> list[list[str]]:
        known = {level.price: level.qty for level in before}
        kept = {level.price for level in after}
        changed = tuple(level for level in after if known.get(level.price) != level.qty)
        gone = [
            [self._table.price(symbol, price), self._table.qty(symbol, None)] for price in known if price not in kept
        ]
        return self._pairs(symbol, changed) + gone

    def _pairs(self, symbol: str, levels: tuple[Level, ...]) -> list[list[str]]:
        return [[self._table.price(symbol, level.price), self._table.qty(symbol, level.qty)] for level in levels]
