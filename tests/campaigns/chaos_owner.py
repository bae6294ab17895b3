"""What the owner of the account trades at the venue by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.model import OrderRequest, OrderType, PositionMode, PositionSide, Side

WORTH = Decimal(60)
"""Of one trade, in quote coin."""


def trades(engine: MatchingEngine, symbol: str, details: Mapping[str, Any]) -> Iterator[OrderRequest]:
    """What the owner sends by hand; each still without a name."""
    instrument, quote = engine.instrument(symbol), engine.quote(symbol)
    step = max(instrument.step, instrument.market_step)
    some = max(instrument.min_qty, (WORTH / quote.last) // step * step)
    hedge = engine.position_mode is PositionMode.HEDGE
    does, held = details["does"], [row for row in engine.positions() if row.symbol == symbol]
    if does == "open" or not held:
        side = Side.BUY if details["side"] == "buy" else Side.SELL
        where = (PositionSide.LONG if side is Side.BUY else PositionSide.SHORT) if hedge else PositionSide.BOTH
        if does in ("open", "add"):
            yield _trade(symbol, side, some, where, reduces=False)
        return
    row = held[0]
    away, more = (Side.SELL, Side.BUY) if row.qty > 0 else (Side.BUY, Side.SELL)
    size = abs(row.qty)
    match does:
        case "add":
            yield _trade(symbol, more, some, row.position_side, reduces=False)
        case "reduce":
            yield _trade(symbol, away, max(step, size / 2 // step * step), row.position_side, reduces=not hedge)
        case "turn" if not hedge:
            yield _trade(symbol, away, size + some, row.position_side, reduces=False)
        case _:
            yield _trade(symbol, away, size, row.position_side, reduces=not hedge)


def _trade(symbol: str, side: Side, quantity: Decimal, where: PositionSide, *, reduces: bool) -> OrderRequest:
    return OrderRequest(
        symbol=symbol,
        side=side,
        type=OrderType.MARKET,
        qty=quantity,
        position_side=where,
        reduce_only=reduces,
    )
