"""Everything an operator may order, whoever carries the order in (control socket; Telegram and others join it)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
from msgspec.structs import replace

from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, VenueName
from core.domain.instrument import Instrument
from core.domain.money import ZERO, plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderStatus
from core.domain.position import Position, PositionKey
from core.domain.reconciliation import key_of, order_of
from core.domain.reports import OrderStatusReport, PositionReport
from core.domain.risk import TradingState
from core.domain.standing import Standing, strictest
from core.domain.symbols import same_symbol
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.command_answers import Cancelled, Changed, Closed
from core.engine.joined_reads import JoinedReads
from core.engine.order_dispatch import NOT_OPEN
from core.engine.order_manager import OrderManager
from core.engine.ports import Accepted, Unknown, VenueClient
from core.engine.risk_guard import RiskGuard
from core.errors import VenueError

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 30.0
LEFTOVER_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""How long a change of the trading state waits for the venue's word on entries that had left before it."""


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
        self._reads: dict[VenueName, JoinedReads[Sequence[PositionReport]]] = {}

    @property
    def venues(self) -> frozenset[VenueName]:
        """Those that are traded here, now or when they serve."""
        return frozenset(self._clients)

    # trading states

    async def pause(self, author: str, venue: VenueName | None = None) -> Changed:
        """No entries until somebody resumes; exits, stops and closes go on. Survives a restart."""
        return await self._stop_entries(TradingState.REDUCING, "paused", author, venue)

    async def reduce(self, author: str, venue: VenueName | None = None) -> Changed:
        """The same state by its own name: positions are only let go, none is opened."""
        return await self._stop_entries(TradingState.REDUCING, "reducing only", author, venue)

    async def panic(self, author: str, venue: VenueName | None = None) -> Changed:
        """HALTED, and everything of ours is closed at market; what still fills is closed, too, also after a restart
        (RSK-11). Told when the venue confirms; HALTED stays until somebody resumes."""
        stop = self._stop_entries(TradingState.HALTED, "panic", author, venue, flatten=True)
        changed, closed = await asyncio.gather(stop, self._close_all(None, venue, author))
        again = await self._close_all(None, venue, author)  # what has filled since, and what was not flat in time
        return replace(changed, closed=tuple((closed | again).values()))

    def resume(self, author: str, venue: VenueName | None = None) -> Changed:
        """Trade again, whatever had stopped entries (`RiskGuard.resume`). Raises ValueError while the KILL file does,
        and for one venue while trading is stopped everywhere."""
        self._risk.resume(author, venue)
        self._books.note("resumed", {"author": author, "venue": venue})
        return Changed(venue=venue, standing=self._standing(venue))

    async def _stop_entries(
        self, state: TradingState, reason: str, author: str, venue: VenueName | None, *, flatten: bool = False
    ) -> Changed:
        wanted = Standing(state=state, reason=reason, author=author, flatten=flatten)
        if strictest([wanted, self._risk.states.said(venue)]) is wanted:  # a pause does not loosen a panic
            self._risk.ordered(wanted, venue)
        self._books.note("trading_state", {"state": state, "reason": reason, "author": author, "venue": venue})
        under_way = self._entries_under_way(venue)
        waits = (self._orders.wait(o.instrument, partial(self._answered, o), ANSWER_SECONDS) for o in under_way)
        answered = await asyncio.gather(*waits)
        return Changed(venue=venue, standing=self._standing(venue), unanswered=answered.count(False))

    def _standing(self, venue: VenueName | None) -> Standing:
        return self._risk.standing if venue is None else self._risk.standing_of(venue)

    def _entries_under_way(self, venue: VenueName | None) -> list[Order]:
        live = self._orders.state.all_live_orders()
        mine = [order for order in live if order.intent.leg is Leg.ENTRY and venue in (None, order.instrument.venue)]
        return [order for order in mine if order.status in UNACKNOWLEDGED]

    def _answered(self, order: Order) -> bool:
        now = self._orders.state.order(order.client_order_id)
        return now is None or now.status not in UNACKNOWLEDGED

    # one order

    async def cancel(self, order_id: str, author: str, venue: VenueName | None = None) -> Cancelled:
        """Cancel one order by its client or venue id, ours or not, and tell what the venue says of it then.

        Raises ValueError for an order that nobody knows, for one that has ended, for a close under way, and for the
        stop of an open position: a position never stands without one.
        """
        self._books.note("cancel_ordered", {"order_id": order_id, "author": author})
        order = self._own(order_id, venue)
        if order is None:
            return await self._cancel_foreign(order_id, venue)
        self._may_cancel(order)
        await self._orders.cancel(order)
        now = self._orders.state.order(order.client_order_id) or order
        detail = "" if now.ended else "the venue has not confirmed that it is gone; ask again"
        return _cancelled(now, now.status, now.detail or detail, ours=True)

    def _own(self, order_id: str, venue: VenueName | None) -> Order | None:
        if (known := self._orders.state.order(ClientOrderId(order_id))) is not None:
            return known
        live = self._orders.state.all_live_orders()
        mine = (order for order in live if venue in (None, order.instrument.venue))
        return next((order for order in mine if order.venue_order_id == order_id), None)

    def _may_cancel(self, order: Order) -> None:
        if order.ended:
            raise ValueError(f"{order.client_order_id} has ended already: {order.status}")
        if order.intent.leg is Leg.ENTRY:
            return
        key = PositionKey(order.instrument, order.intent.side.opposite)
        if self._orders.state.position(key) is None:
            return
        if order.intent.leg is Leg.STOP:
            raise ValueError(
                f"{order.client_order_id} is the stop of the open position {key}; close the position instead"
            )
        if order.intent.leg is Leg.TRAIL:
            raise ValueError(f"{order.client_order_id} trails the open position {key}; close the position instead")
        raise ValueError(f"{order.client_order_id} closes the position {key} right now; let it finish")

    async def _cancel_foreign(self, order_id: str, venue: VenueName | None) -> Cancelled:
        """An order that this daemon did not send, touched by explicit wish only."""
        unread = []
        for name, client in self._clients.items():
            if venue not in (None, name):
                continue
            try:
                told = (await client.mass_status()).orders
            except VenueError as error:
                unread.append(str(error))
                continue
            for report in told:
                if order_id in (report.client_order_id, report.venue_order_id):
                    return await _cancel_at(client, report)
        failed = f"; could not be read: {'; '.join(unread)}" if unread else ""
        raise ValueError(f"no resting order has the id {order_id!r}{failed}")

    # positions

    def matching(self, symbol: str | None, venue: VenueName | None) -> list[Position]:
        """Open positions by any spelling of the symbol (None = all) and by venue (None = any)."""
        return [p for p in self._orders.state.positions() if self._is(p.instrument, symbol, venue)]

    async def close(self, symbol: str | None, venue: VenueName | None, author: str) -> list[Closed]:
        """Close at market, reduce-only, and tell what the venue confirms. Safe to order twice: the second one joins."""
        return list((await self._close_all(symbol, venue, author)).values())

    async def _close_all(self, symbol: str | None, venue: VenueName | None, author: str) -> dict[PositionId, Closed]:
        positions = self.matching(symbol, venue)
        for position in positions:
            self._books.note("close_ordered", {"instrument": str(position.instrument), "author": author})
        closed = await asyncio.gather(*(self._close(position, author) for position in positions))
        return {position.id: told for position, told in zip(positions, closed, strict=True)}

    async def _close(self, position: Position, author: str) -> Closed:
        instrument = position.instrument
        detail = ""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._closer.flatten(position.key, f"ordered by {author}", leg=Leg.CLOSE)
        except TimeoutError:
            stands = any(o.intent.leg is Leg.STOP and o.status is OrderStatus.ACCEPTED for o in self._left(position))
            stop = "its stop still stands" if stands else "it has NO confirmed stop"
            detail = f"not closed within {CLOSE_SECONDS:g} s; {stop}, order the close again"
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
        if (client := self._clients.get(key.instrument.venue)) is None:
            return False, NOT_OPEN
        try:
            told = await self._reads_of(client)()
        except VenueError as error:
            return False, f"the venue could not be asked whether it is flat: {error}"
        held = sum((abs(report.quantity) for report in told if key_of(report) == key), ZERO)
        return held == ZERO, "" if held == ZERO else f"the venue still holds {plain(held)}"

    def _reads_of(self, client: VenueClient) -> JoinedReads[Sequence[PositionReport]]:
        return self._reads.setdefault(client.name, JoinedReads(client.name, client.positions))

    def _is(self, instrument: InstrumentId, symbol: str | None, venue: VenueName | None) -> bool:
        if venue is not None and instrument.venue is not venue:
            return False
        known = self._instruments.get(instrument)
        names = {instrument.symbol, instrument.symbol if known is None else known.venue_symbol}
        return symbol is None or any(same_symbol(symbol, name) for name in names)


async def _cancel_at(client: VenueClient, report: OrderStatusReport) -> Cancelled:
    order = order_of(report)
    outcome = await client.cancel(order)
    try:
        now = await client.query_order(order.intent)
    except VenueError as error:
        return _cancelled(order, None, f"the venue could not be asked what became of it: {error}", ours=False)
    if isinstance(now, OrderStatusReport):
        return _cancelled(order, now.status, now.detail, ours=False)
    if isinstance(outcome, Accepted):
        return _cancelled(order, OrderStatus.CANCELED, "", ours=False)
    detail = outcome.cause if isinstance(outcome, Unknown) else str(outcome)
    return _cancelled(order, None, detail, ours=False)


def _cancelled(order: Order, status: OrderStatus | None, detail: str, *, ours: bool) -> Cancelled:
    return Cancelled(
        instrument=order.instrument,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        ours=ours,
        status=status,
        detail=detail,
    )
