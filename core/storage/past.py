"""The journal's past for whoever runs on the event loop: every read is done by a worker, over a connection of its own
that can only read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import ZERO
from core.domain.reports import FillReport
from core.engine.past import Account, PastTrade, PastWave
from core.engine.performance import Performance, closed_trades, performance
from core.storage.history import History, reading
from core.storage.stories import account_of

FILLS_PER_TRADE: Final = 20
"""So many fills are read for each order asked for: large orders come in parts."""

_T = TypeVar("_T")


class JournalPast:
    """`core.engine.past.Past` over one journal file."""

    def __init__(self, path: Path, worker: Executor) -> None:
        self._path = path
        self._worker = worker

    async def waves(self, count: int) -> Sequence[PastWave]:
        return await self._ask(lambda history: history.last_waves(count))

    async def account(self, symbol: str, venue: VenueName | None = None) -> Account:
        return await self._ask(lambda history: account_of(history, symbol, venue))

    async def trades(self, count: int) -> Sequence[PastTrade]:
        return await self._ask(lambda history: _trades(history, count))

    async def performance(self, since_ms: int, until_ms: int) -> Performance:
        return await self._ask(lambda history: performance(history.closed_positions(since_ms), since_ms, until_ms))

    async def results(self, since_ms: int, until_ms: int, most: int) -> Sequence[tuple[int, Decimal]]:
        return await self._ask(lambda history: _results(history, since_ms, until_ms, most))

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        return await self._ask(lambda history: history.fills_of(instrument, since_ms))

    async def refusals(self, since_ms: int) -> Mapping[str, int]:
        return await self._ask(lambda history: history.refusals_since(since_ms))

    async def _ask(self, question: Callable[[History], _T]) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, partial(_answer, self._path, question))


def _answer(path: Path, question: Callable[[History], _T]) -> _T:
    with reading(path) as history:
        return question(history)


def _results(history: History, since_ms: int, until_ms: int, most: int) -> list[tuple[int, Decimal]]:
    together = ZERO
    points: list[tuple[int, Decimal]] = []
    for trade in closed_trades(history.closed_positions(since_ms), since_ms, until_ms):
        together += trade.result
        points.append((trade.closed_ms, together))
    step = -(-len(points) // most) if points else 1
    return points[::-step][::-1]


def _trades(history: History, count: int) -> list[PastTrade]:
    by_order: dict[tuple[InstrumentId, str], list[FillReport]] = {}
    for fill in history.last_fills(count * FILLS_PER_TRADE):
        # An order by hand has no client id at some venues.
        by_order.setdefault((fill.instrument, fill.client_order_id or fill.venue_order_id), []).append(fill)
    newest = sorted(by_order.values(), key=lambda fills: -fills[0].venue_time_ms)[:count]
    return [_trade(history, fills) for fills in newest]


def _trade(history: History, fills: Sequence[FillReport]) -> PastTrade:
    last = fills[0]
    quantity = sum((fill.quantity for fill in fills), ZERO)
    price = sum((fill.quantity * fill.price for fill in fills), ZERO) / quantity if quantity else None
    known = history.order(last.client_order_id)
    intent = None if known is None else known.order.intent
    held = None if intent is None or not intent.reduce_only else history.position(intent.position_id)
    return PastTrade(
        time_ms=last.venue_time_ms,
        instrument=last.instrument,
        side=last.side.value,
        leg=None if intent is None else intent.leg.value,
        quantity=quantity,
        price=price,
        decided=None if known is None else known.order.intent.decision_price or known.order.trigger_price,
        fees=sum((_fee(fill) for fill in fills), ZERO),
        result=None if held is None or price is None else (price - held.entry_price) * quantity * held.side.sign,
        fills=len(fills),
        reason="" if intent is None else intent.reason,
    )


def _fee(fill: FillReport) -> Decimal:
    """In quote coin; one that was charged in another coin is no part of the result."""
    return fill.fee if fill.fee_asset == fill.instrument.symbol.rpartition(":")[2] else ZERO
