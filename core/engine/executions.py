"""ExecutionNotes: what can be learned from an order, written once when it has ended (DESIGN §3.18).

Every order that traded has a row: what it was decided at and for, what it got, what it cost, how long that took. A row
is made from what this run saw; an order of an earlier run has no latency in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from core.clock import Clock
from core.domain.events import Event, OrderChanged
from core.domain.gate import Gate
from core.domain.ids import Asset, ClientOrderId, Leg, VenueName
from core.domain.money import HUNDRED, ZERO, plain
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.position import Position
from core.domain.reports import FillReport
from core.domain.signal import Signal
from core.engine.bookkeeping import Bookkeeper
from core.engine.order_manager import OrderManager
from core.engine.records import ExecutionRecord

ENDED_KEPT = 200
"""For late fills and for what is known only when the position is protected; the journal has the rest."""


@dataclass(slots=True)
class _Tally:
    """One order as it goes: `decided` monotonic seconds, `decided_ms` its venue's UTC ms; None = not in this run."""

    decided: float | None = None
    decided_ms: int | None = None
    took: float | None = None
    venue_took_ms: int | None = None
    filled: Decimal = ZERO
    fees: dict[Asset, Decimal] = field(default_factory=dict)
    gained: Decimal = ZERO
    entry_price: Decimal | None = None
    context: dict[str, str] = field(default_factory=dict)


def _nobody_hears(_order: Order, _values: Mapping[str, str]) -> None: ...


class ExecutionNotes:
    """`offset_ms` is the venue's clock minus ours; `told` hears of each row of an order that has ended."""

    def __init__(
        self,
        *,
        books: Bookkeeper,
        clock: Clock,
        offset_ms: Callable[[VenueName], int],
        told: Callable[[Order, Mapping[str, str]], None] = _nobody_hears,
    ) -> None:
        self._told = told
        self._books = books
        self._clock = clock
        self._offset_ms = offset_ms
        self._live: dict[ClientOrderId, _Tally] = {}
        self._ended: OrderedDict[ClientOrderId, _Tally] = OrderedDict()

    def follow(self, orders: OrderManager) -> None:
        """Hear of every order from now on."""
        orders.listen(self.on_events)
        orders.on_sent(self.sent)
        orders.on_trade(self.traded)

    def explain(self, client_order_id: ClientOrderId, context: Mapping[str, str]) -> None:
        """Figures to go into the row of this order; whoever decided it knows them."""
        self._tally(client_order_id).context.update(context)

    def forget(self, client_order_id: ClientOrderId) -> None:
        """It was never sent."""
        self._live.pop(client_order_id, None)

    def sent(self, intent: OrderIntent) -> None:
        """Decided and on its way (OrderManager.on_sent)."""
        self._decided(self._tally(intent.client_order_id), intent.instrument.venue, None)

    def traded(self, fill: FillReport, order: Order, before: Position | None, after: Position) -> None:
        """One new trade of an order of ours (OrderManager.on_trade)."""
        tally = self._tally(order.client_order_id)
        if tally.took is None and tally.decided is not None and tally.decided_ms is not None:
            tally.took = self._clock.monotonic() - tally.decided
            tally.venue_took_ms = fill.venue_time_ms - tally.decided_ms
        tally.filled += fill.quantity
        tally.fees[fill.fee_asset] = tally.fees.get(fill.fee_asset, ZERO) + fill.fee
        if before is not None and order.intent.reduce_only:
            tally.gained += after.realized - before.realized
            tally.entry_price = before.entry_price

    def on_events(self, events: Iterable[Event]) -> None:
        """Must-consumer."""
        for event in events:
            if isinstance(event, OrderChanged):
                self._changed(event.order)

    def settled(self, order: Order, figures: Mapping[str, str]) -> None:
        """What was learned of an ended order afterwards; its row is written anew."""
        tally = self._ended.get(order.client_order_id)
        if tally is not None:
            tally.context.update(figures)
            self._write(order, tally)

    def _changed(self, order: Order) -> None:
        if order.status is OrderStatus.TRIGGERED:  # a stop is decided by the price that fires it
            self._decided(self._tally(order.client_order_id), order.instrument.venue, order.venue_time_ms)
        elif order.ended and not order.fills_missing:
            tally = self._live.pop(order.client_order_id, None) or self._ended.get(order.client_order_id)
            if tally is None or not order.filled:
                return
            self._ended[order.client_order_id] = tally
            while len(self._ended) > ENDED_KEPT:
                self._ended.popitem(last=False)
            self._write(order, tally)

    def _tally(self, client_order_id: ClientOrderId) -> _Tally:
        known = self._live.get(client_order_id) or self._ended.get(client_order_id)
        if known is None:
            known = self._live[client_order_id] = _Tally()
        return known

    def _decided(self, tally: _Tally, venue: VenueName, venue_time_ms: int | None) -> None:
        tally.decided = self._clock.monotonic()
        tally.decided_ms = venue_time_ms or self._clock.now_ms() + self._offset_ms(venue)

    def _write(self, order: Order, tally: _Tally) -> None:
        values = {**tally.context, **_figures(order), **_timed(tally)}
        if tally.filled == order.filled:  # else a part was traded before this run, and sums would be wrong
            values["fees"] = " + ".join(f"{plain(fee)} {asset}" for asset, fee in tally.fees.items())
            if order.intent.reduce_only:
                values |= _result(order, tally)
        now = self._clock.now_ms()
        self._books.soon([ExecutionRecord(client_order_id=order.client_order_id, values=values, time_ms=now)])
        self._told(order, values)


def entry_context(signal: Signal, gates: Iterable[Gate], intent: OrderIntent) -> dict[str, str]:
    """What an entry was decided on: the signal, its maker's figures, the parameters in force and every gate's value."""
    context = {"score": plain(signal.score), "source": signal.source, "wave_id": intent.wave_id}
    parameters = {
        "stop_loss_percent": intent.stop_loss_percent,
        "trailing_activation_percent": signal.parameters.trailing_activation_percent,
        "trailing_distance_percent": signal.parameters.trailing_distance_percent,
        "take_profit_percent": signal.parameters.take_profit_percent,
        "time_limit_minutes": signal.parameters.time_limit_minutes,
    }
    context |= {f"parameter.{name}": plain(value) for name, value in parameters.items() if value is not None}
    context |= {f"feature.{name}": value for name, value in signal.features.items()}
    return context | {f"gate.{gate.name}": gate.value for gate in gates}


def _figures(order: Order) -> dict[str, str]:
    intent, average = order.intent, order.average_price
    decision = order.trigger_price if intent.leg is Leg.STOP else intent.decision_price
    if intent.leg is Leg.TRAIL:
        decision = None  # where it fires only the venue decides
    values = {
        "leg": intent.leg.value,
        "side": intent.side.value,
        "quantity": plain(order.filled),
        "position_id": intent.position_id,
        "signal_id": intent.signal_id,
        "status": order.status.value,
        "reason": intent.reason or intent.leg.value,
    }
    if average is not None:
        values["fill_price"] = plain(round(average, 10))
    if average is not None and decision is not None:
        slip = (average / decision - 1) * HUNDRED * intent.side.sign
        values |= {"decision_price": plain(decision), "slippage_percent": plain(round(slip, 6))}
    return values


def _timed(tally: _Tally) -> dict[str, str]:
    """From the decision to the first fill: when we heard of it, and by the venue's own stamp."""
    if tally.took is None or tally.venue_took_ms is None:
        return {}
    return {"latency_ms": str(round(tally.took * 1000, 1)), "venue_latency_ms": str(tally.venue_took_ms)}


def _result(order: Order, tally: _Tally) -> dict[str, str]:
    values = {"realized": plain(round(tally.gained, 10))}
    if tally.entry_price and order.average_price:
        sign = -order.intent.side.sign
        percent = (order.average_price / tally.entry_price - 1) * HUNDRED * sign
        values |= {"entry_price": plain(round(tally.entry_price, 10)), "realized_percent": plain(round(percent, 6))}
    return values
