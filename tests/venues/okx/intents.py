"""What the engine would hand over, for OKX's swaps."""

from collections.abc import Callable

from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, SignalId, Symbol, VenueName, client_order_id
from core.domain.order import OrderIntent, OrderType, TriggerReference
from core.domain.signal import Side
from core.engine.ports import Departure
from tests.builders import price, quantity

BTC = InstrumentId(VenueName.OKX, Symbol("BTC/USDT:USDT"))
ETH = InstrumentId(VenueName.OKX, Symbol("ETH/USDT:USDT"))


def an_order_intent(
    kind: OrderType = OrderType.MARKET,
    *,
    side: Side = Side.BUY,
    leg: Leg | None = None,
    size: str = "0.002",
    trigger: str | None = None,
    limit: str | None = None,
    name: str = "one",
    instrument: InstrumentId = BTC,
    reference: TriggerReference = TriggerReference.MARK_PRICE,
    attached_to: ClientOrderId | None = None,
) -> OrderIntent:
    """An entry, or a stop when the kind is one; ids differ by `name`."""
    stop = kind is OrderType.STOP_MARKET
    leg = leg or (Leg.STOP if stop else Leg.ENTRY)
    return OrderIntent(
        client_order_id=client_order_id("test", name, leg, 0),
        instrument=instrument,
        leg=leg,
        attempt=0,
        signal_id=SignalId(name),
        position_id=PositionId(f"position-{name}"),
        side=side,
        type=kind,
        quantity=quantity(size),
        reduce_only=leg not in {Leg.ENTRY, Leg.PROBE},
        price=None if limit is None else price(limit),
        trigger_price=None if trigger is None else price(trigger),
        trigger_reference=reference,
        attached_to=attached_to,
    )


def with_stop(intent: OrderIntent, trigger: str, *, objection: Callable[[], str | None] = lambda: None) -> Departure:
    """An entry on its way with the stop that travels along."""
    stop = an_order_intent(
        OrderType.STOP_MARKET,
        side=intent.side.opposite,
        size=str(intent.quantity),
        trigger=trigger,
        name=str(intent.signal_id),
        instrument=intent.instrument,
        attached_to=intent.client_order_id,
    )
    return Departure(intent=intent, stop=stop, objection=objection)
