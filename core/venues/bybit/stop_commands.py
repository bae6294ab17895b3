"""The stops of positions: set, moved and taken away. There is one per position, so what is sent is always its level.

The answer names no order. Which one it became the stream tells, or a look-up.
"""

from __future__ import annotations

from typing import Any

from core.domain.ids import VenueOrderId, is_ours
from core.domain.money import ZERO, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import OrderStatusReport, Report, Source
from core.engine.ports import About, Accepted, Departure, NotFound, Outcome, Rejected, Unknown
from core.errors import MalformedPayload, VenueError
from core.venues.bybit import orders
from core.venues.bybit.account import Account
from core.venues.bybit.codes import is_wrong_mode
from core.venues.bybit.lookups import Lookups
from core.venues.bybit.order_commands import OrderCommands, worded_outcome
from core.venues.bybit.parse import stop_over
from core.venues.bybit.payloads import Answer
from core.venues.bybit.position_stops import OwnStop
from core.venues.client import CommandPolicy
from core.venues.payload import shaped
from core.venues.venue_clock import VenueClock


class StopCommands:
    def __init__(
        self,
        ccxt: Any,
        policy: CommandPolicy,
        account: Account,
        plain: OrderCommands,
        lookups: Lookups,
        clock: VenueClock,
    ) -> None:
        self._ccxt, self._policy, self._account = ccxt, policy, account
        self._plain, self._lookups, self._clock = plain, lookups, clock

    async def place(self, departure: Departure) -> Outcome:
        """Replaces whatever stop the position has."""
        with self._ccxt.seam.withholding.leaving((departure,)):
            outcome = await self._place(departure)
        if (
            isinstance(outcome, Rejected)
            and is_wrong_mode(outcome)
            and await self._plain.mode_changed(departure.intent)
        ):
            outcome = await self._place(departure)
        return outcome

    async def move(self, order: Order, level: Price, *, tightening: bool) -> Outcome:
        own = self._own(order)
        stops = self._account.stops.of(order.intent)
        if own is None or not stops.owns_slot(own):
            return Rejected(code="", detail="another stop has taken its place")
        stood = own.level
        stops.move(own, level)
        params = orders.position_stop(order.intent, self._symbol(order.intent), _index(own), level)
        outcome, taken_ms = await self._set(params, tightening=tightening)
        accepted = isinstance(outcome, Accepted)
        taken_ms = taken_ms or self._clock.now_ms()
        stops.moved(own, taken_ms if accepted else None)
        if isinstance(outcome, Rejected):
            own.level = stood
        if not accepted:
            return outcome
        if own.venue_order_id is None:
            return await self._found(order.intent)
        return Accepted(reports=(self._resting(own, level, taken_ms),))

    async def cancel(self, order: Order) -> Outcome:
        """Sends nothing for a stop of ours that is no longer the position's: that would take away the one that is."""
        if orders.has_fired(order):
            return await self._plain.cancel(order)
        if order.client_order_id and not is_ours(order.client_order_id):
            return await self._plain.cancel(order)  # a named one is no position's own, and somebody else's
        own, stops = self._own(order), self._account.stops.of(order.intent)
        if own is None:
            gone = OwnStop(intent=order.intent, level=order.trigger_price or Price(ZERO), since_ms=0)
            return self._over(gone, "it is over")
        if not stops.owns_slot(own):
            return self._over(own, "it is over, or replaced by another stop")
        trails = order.intent.type is OrderType.TRAILING_STOP
        none = orders.no_position_trail if trails else orders.no_position_stop
        outcome, _ = await self._set(none(self._symbol(order.intent), _index(own)))
        without_position = isinstance(outcome, Rejected) and outcome.about is About.NOTHING_TO_REDUCE
        if not isinstance(outcome, Accepted) and not without_position:
            return outcome
        stops.ended(own)
        return self._over(own, "its position is gone" if without_position else "")

    async def _place(self, departure: Departure) -> Outcome:
        intent = departure.intent
        stops = self._account.stops.of(intent)
        stops.expect(intent, self._clock.now_ms())
        index = self._account.modes.index(intent.instrument, intent.side.opposite)
        params = self._params(intent, index)
        outcome, taken_ms = await self._set(params, tightening=departure.tightening)
        if isinstance(outcome, Accepted):
            stops.taken(intent.client_order_id, taken_ms or self._clock.now_ms(), stood=taken_ms is None)
        elif isinstance(outcome, Rejected):
            stops.refused(intent.client_order_id)
        return outcome

    def _params(self, intent: OrderIntent, index: int) -> orders.Params:
        if intent.type is not OrderType.TRAILING_STOP:
            return orders.position_stop(intent, self._symbol(intent), index)
        tick = self._account.symbols.instruments[intent.instrument.symbol].tick
        return orders.position_trail(intent, self._symbol(intent), index, tick)

    async def _set(self, params: orders.Params, *, tightening: bool = False) -> tuple[Outcome, int | None]:
        """With the venue's time of its answer. Accepted without one: the venue changed nothing, since what was asked
        for stood already (34040)."""
        told: list[int] = []

        async def send() -> tuple[Report, ...]:
            answer = await self._ccxt.privatePostV5PositionTradingStop(dict(params))
            told.append(shaped(answer, Answer[dict[str, Any]], "bybit trading-stop").time)
            return ()

        outcome = worded_outcome(await self._policy.run(send, protective=True, tightening=tightening))
        return outcome, (told[-1] or self._clock.now_ms()) if told else None

    async def _found(self, intent: OrderIntent) -> Outcome:
        """The move ended the old order of the venue, and no new one has been told yet."""
        try:
            told = await self._lookups.order(intent)
        except (VenueError, MalformedPayload) as error:
            return Unknown(cause=f"moved, and not seen since: {error}")
        if isinstance(told, NotFound):
            return Unknown(cause="moved, and not seen since")
        return Accepted(reports=(told,))

    def _own(self, order: Order) -> OwnStop | None:
        stops = self._account.stops.of(order.intent)
        own = stops.own(order.client_order_id)
        if own is None and order.venue_order_id is not None and not stops.name_of(order.venue_order_id):
            stops.recall([order])
            own = stops.own(order.client_order_id)
        return own

    def _over(self, own: OwnStop, why: str) -> Accepted:
        return Accepted(reports=(stop_over(own, self._clock.now_ms(), Source.REST, why),))

    def _resting(self, own: OwnStop, level: Price, taken_ms: int) -> OrderStatusReport:
        intent = own.intent
        return OrderStatusReport(
            instrument=intent.instrument,
            client_order_id=intent.client_order_id,
            venue_order_id=own.venue_order_id or VenueOrderId(""),
            status=OrderStatus.ACCEPTED,
            side=intent.side,
            quantity=intent.quantity,
            filled=Quantity(ZERO),
            average_price=None,
            trigger_price=level,
            reduce_only=True,
            conditional=True,
            venue_time_ms=taken_ms,
            source=Source.REST,
        )

    def _symbol(self, intent: OrderIntent) -> str:
        return self._account.symbols.venue_symbol(intent.instrument.symbol)


def _index(own: OwnStop) -> int:
    assert own.index is not None  # noqa: S101 - a stop that has a slot has its index
    return own.index
