"""Sending and cancelling plain orders, one by one or several in one request, with the stops that travel with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from core.domain.ids import VenueName
from core.domain.order import Order, OrderIntent
from core.domain.reports import Report
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Departure, Outcome, Rejected, Unknown
from core.errors import RateLimited, VenueError
from core.venues.bybit import orders
from core.venues.bybit.account import Account
from core.venues.bybit.codes import ERRORS, is_wrong_mode, worded
from core.venues.bybit.limits import charge_of
from core.venues.bybit.lookups import Lookups
from core.venues.bybit.payloads import Ack, Answer, BatchAnswer, Verdict
from core.venues.client import CommandPolicy
from core.venues.payload import shaped
from core.venues.venue_clock import VenueClock

log = structlog.get_logger(__name__)

_BATCH_PATH = "v5/order/create-batch"


class OrderCommands:
    """An answer only says that the order was taken: what became of it the stream tells, or a look-up (ORD-05)."""

    def __init__(
        self, ccxt: Any, policy: CommandPolicy, account: Account, lookups: Lookups, venue_clock: VenueClock
    ) -> None:
        self._ccxt, self._policy, self._account = ccxt, policy, account
        self._lookups, self._clock = lookups, venue_clock

    async def place(self, departure: Departure) -> Outcome:
        with self._ccxt.seam.withholding.leaving((departure,)):
            outcome = await self._place(departure)
        wrong = departure.intent.reduce_only and isinstance(outcome, Rejected) and is_wrong_mode(outcome)
        if wrong and await self.mode_changed(departure.intent):
            outcome = await self._place(departure)
        return outcome

    async def place_together(self, departures: Sequence[Departure]) -> list[Outcome]:
        """In one request; each is judged by its own row."""
        rows = [self._row(departure) for departure in departures]
        answers: list[BatchAnswer] = []

        async def send() -> tuple[Report, ...]:
            answer = await self._ccxt.privatePostV5OrderCreateBatch(orders.batch(list(rows)))
            answers.append(shaped(answer, BatchAnswer, "bybit create-batch"))
            return ()

        for departure in departures:
            self._expect(departure)
        with self._ccxt.seam.withholding.leaving(departures) as withheld:
            outcome = await self._policy.run(send, protective=False)
            kept_back = dict(withheld)
        sent = [d for d in departures if d.intent.client_order_id not in kept_back]
        judged = iter(await self._judged(sent, outcome, answers[-1] if answers else None))
        outcomes = [
            Rejected(code="", detail=why, about=About.WITHHELD)
            if (why := kept_back.get(departure.intent.client_order_id)) is not None
            else next(judged)
            for departure in departures
        ]
        for departure, told in zip(departures, outcomes, strict=True):
            self._settle_stop(departure, told)
        return outcomes

    async def cancel(self, order: Order) -> Outcome:
        params = orders.cancellation(order, self._account.symbols.venue_symbol(order.instrument.symbol))

        async def send() -> tuple[Report, ...]:
            shaped(await self._ccxt.privatePostV5OrderCancel(dict(params)), Answer[Ack], "bybit cancel")
            return ()

        return await self._policy.run(send, protective=True)

    async def mode_changed(self, intent: OrderIntent) -> bool:
        """The position mode was changed behind our back: protection goes out as the contract is now. Entries stay
        refused until somebody has read the settings and judged them (CFG-07)."""
        modes, instrument = self._account.modes, intent.instrument
        try:
            hedge = await self._lookups.mode_of(instrument)
        except VenueError as error:
            log.warning("venue.mode_unread", venue=VenueName.BYBIT, error=str(error))
            return False
        if hedge == modes.hedge_of(instrument):
            return False
        modes.differs(instrument, hedge=hedge)
        return True

    async def _place(self, departure: Departure) -> Outcome:
        intent, stop = departure.intent, departure.stop
        symbol = self._account.symbols.venue_symbol(intent.instrument.symbol)
        params = orders.placement(intent, symbol, self._index(intent), stop)

        async def send() -> tuple[Report, ...]:
            shaped(await self._ccxt.privatePostV5OrderCreate(dict(params)), Answer[Ack], "bybit create")
            return ()

        self._expect(departure)
        outcome = worded_outcome(await self._policy.run(send, protective=intent.reduce_only))
        self._settle_stop(departure, outcome)
        return outcome

    def _row(self, departure: Departure) -> orders.Params:
        intent = departure.intent
        symbol = self._account.symbols.venue_symbol(intent.instrument.symbol)
        return orders.order_row(intent, symbol, self._index(intent), departure.stop)

    def _index(self, intent: OrderIntent) -> int:
        held: Side = intent.side.opposite if intent.reduce_only else intent.side
        return self._account.modes.index(intent.instrument, held)

    def _expect(self, departure: Departure) -> None:
        if departure.stop is not None:
            self._account.stops.expect(departure.stop, self._clock.now_ms())

    def _settle_stop(self, departure: Departure, outcome: Outcome) -> None:
        """Of an order whose fate is unknown the stop may come to be."""
        if departure.stop is None:
            return
        if isinstance(outcome, Accepted):
            self._account.stops.taken(departure.stop.client_order_id, self._clock.now_ms())
        elif isinstance(outcome, Rejected):
            self._account.stops.refused(departure.stop.client_order_id)

    async def _judged(
        self, sent: Sequence[Departure], outcome: Outcome, answer: BatchAnswer | None
    ) -> Sequence[Outcome]:
        if not isinstance(outcome, Accepted):
            return [worded_outcome(outcome)] * len(sent)
        verdicts = [] if answer is None else answer.retExtInfo.rows
        if len(verdicts) != len(sent):
            cause = f"the venue told the fate of {len(verdicts)} orders of {len(sent)}"
            return [Unknown(cause=cause)] * len(sent)
        return [await self._row_outcome(verdict, len(sent)) for verdict in verdicts]

    async def _row_outcome(self, verdict: Verdict, size: int) -> Outcome:
        async def send() -> tuple[Report, ...]:
            if verdict.code:
                raise self._fault(verdict, size)
            return ()

        return worded_outcome(await self._policy.run(send, protective=False))

    def _fault(self, verdict: Verdict, size: int) -> VenueError:
        clock = self._clock
        error = ERRORS.error(200, str(verdict.code), verdict.msg, venue_ms=clock.now_ms(), offset_ms=clock.offset_ms)
        if isinstance(error, RateLimited):
            self._ccxt.seam.pause(error, charge_of("POST", _BATCH_PATH, {"request": [None] * size}, 0))
        return error


def worded_outcome(outcome: Outcome) -> Outcome:
    return worded(outcome) if isinstance(outcome, Rejected) else outcome
