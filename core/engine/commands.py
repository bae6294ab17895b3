"""Everything an operator may order, whoever carries the order in (control socket; Telegram and others join it)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import structlog

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.instrument import Instrument
from core.domain.money import ZERO, plain
from core.domain.order import Order
from core.domain.position import Position, PositionKey
from core.domain.reconciliation import key_of
from core.domain.risk import TradingState
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.order_manager import OrderManager
from core.engine.ports import VenueClient
from core.engine.risk_guard import RiskGuard, Standing
from core.errors import VenueError

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 30.0
KILL_FILE = "kill-file"
"""Author of the state that the file `DATA_DIR/KILL` sets."""
LEFTOVER_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What became of one position. `flat` is the venue's own word, read after the close; `left` counts orders of ours
    that still rest there."""

    instrument: InstrumentId
    quantity: Decimal
    flat: bool
    realized: Decimal
    left: int
    detail: str

    def facts(self) -> dict[str, str | int | bool]:
        return {
            "venue": self.instrument.venue.value,
            "symbol": self.instrument.symbol,
            "quantity": plain(self.quantity),
            "flat": self.flat,
            "realized": plain(self.realized),
            "left_orders": self.left,
            "detail": self.detail,
        }


class Commands:
    def __init__(
        self,
        *,
        orders: OrderManager,
        closer: Closer,
        clients: Mapping[VenueName, VenueClient],
        instruments: Mapping[InstrumentId, Instrument],
        books: Bookkeeper,
        risk: RiskGuard,
    ) -> None:
        self._orders = orders
        self._closer = closer
        self._clients = clients
        self._instruments = instruments
        self._books = books
        self._risk = risk

    def pause(self, author: str) -> Standing:
        """No entries until somebody resumes; exits, stops and closes go on. Survives a restart."""
        self._risk.set_state(TradingState.REDUCING, reason="paused", author=author)
        return self._risk.standing

    def resume(self, author: str) -> Standing:
        """Trade again, whatever had stopped entries. Raises ValueError while the KILL file does: it goes first."""
        if self._risk.standing.author == KILL_FILE:
            raise ValueError("the KILL file exists; remove it, then trading goes on by itself")
        self._risk.set_state(TradingState.ACTIVE, reason="resumed", author=author)
        return self._risk.standing

    def matching(self, symbol: str | None, venue: VenueName | None) -> list[Position]:
        """Open positions by any spelling of the symbol (None = all) and by venue (None = any)."""
        return [p for p in self._orders.state.positions() if self._is(p.instrument, symbol, venue)]

    async def close(self, symbol: str | None, venue: VenueName | None, author: str) -> list[Closed]:
        """Close at market, reduce-only, and tell what the venue confirms. Safe to order twice: the second one joins."""
        positions = self.matching(symbol, venue)
        for position in positions:
            self._books.note("close_ordered", {"instrument": str(position.instrument), "author": author})
        return list(await asyncio.gather(*(self._close(position, author) for position in positions)))

    async def _close(self, position: Position, author: str) -> Closed:
        instrument = position.instrument
        detail = ""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._closer.flatten(position.key, f"ordered by {author}", leg=Leg.CLOSE)
        except TimeoutError:
            detail = f"not closed within {CLOSE_SECONDS:g} s; its stop still stands, order the close again"
        await self._orders.wait(instrument, lambda: not self._left(position), LEFTOVER_SECONDS)
        flat, told = await self._ask(position.key)
        closed = self._orders.state.last_closed(position.key)
        return Closed(
            instrument=instrument,
            quantity=position.quantity,
            flat=flat,
            realized=closed.realized - closed.fees if closed is not None and closed.id == position.id else ZERO,
            left=len(self._left(position)),
            detail=detail or told,
        )

    def _left(self, position: Position) -> list[Order]:
        return [order for order in self._orders.state.orders_of(position.id) if not order.ended]

    async def _ask(self, key: PositionKey) -> tuple[bool, str]:
        try:
            told = await self._clients[key.instrument.venue].positions()
        except VenueError as error:
            return False, f"the venue could not be asked whether it is flat: {error}"
        held = sum((abs(report.quantity) for report in told if key_of(report) == key), ZERO)
        return held == ZERO, "" if held == ZERO else f"the venue still holds {plain(held)}"

    def _is(self, instrument: InstrumentId, symbol: str | None, venue: VenueName | None) -> bool:
        if venue is not None and instrument.venue is not venue:
            return False
        known = self._instruments.get(instrument)
        names = {instrument.symbol, instrument.symbol.partition(":")[0], known.venue_symbol if known else ""}
        return symbol is None or symbol.upper() in names
