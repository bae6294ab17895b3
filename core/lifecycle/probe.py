"""The probe order of `--check`: a post-only limit far from the market, cancelled at once, to see that orders are taken.

It never stays behind: whatever the venue answers, it is asked until it says that the order is gone (DESIGN §3.1).
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import structlog

from core.clock import Clock
from core.domain.ids import Leg, PositionId, SignalId, client_order_id
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import ENDED, Order, OrderIntent, OrderStatus, OrderType
from core.domain.reports import OrderStatusReport, Source
from core.domain.signal import Side
from core.domain.sizing import Sized, size
from core.engine.ports import About, Departure, MarketReads, Rejected, VenueClient
from core.errors import VenueError
from core.lifecycle.preflight import Check, Grade, PreflightRules

log = structlog.get_logger(__name__)

FAR: Final = Decimal("0.9")
"""Of the mark; nearer where the venue's price band does not reach so far."""
ASKED: Final = 8
ASK_SECONDS: Final = 0.5


async def probe(client: VenueClient, reads: MarketReads, rules: PreflightRules, account: str, clock: Clock) -> Check:
    """Send it, see it gone. Never raises for what the venue says: that is a finding."""
    try:
        chosen = await _choose(client, reads, rules)
    except VenueError as error:
        return _told(client, Grade.WARN, f"no probe order was sent, prices could not be read: {error}")
    if chosen is None:
        return _told(client, Grade.WARN, "no probe order was sent: POSITION_SIZE_USD fits no symbol")
    intent = _intent(*chosen, account, clock.now_ms())
    what = f"{plain(intent.quantity)} {intent.instrument.symbol} at {plain(intent.price or Decimal(0))}"
    outcome = await client.submit(Departure(intent=intent))
    log.info("preflight.probe", client_order_id=intent.client_order_id, order=what, outcome=type(outcome).__name__)
    if isinstance(outcome, Rejected):
        grade = Grade.OFF if outcome.about is About.ACCOUNT_RESTRICTED else Grade.WARN
        return _told(client, grade, f"the probe order ({what}) was refused: {outcome.code} {outcome.detail}")
    left = await _until_gone(client, intent)
    if left is None:
        by_hand = f"look for order {intent.client_order_id} and cancel it by hand"
        return _told(client, Grade.OFF, f"it could not be verified that the probe order ({what}) is gone; {by_hand}")
    if left.filled > ZERO:
        return await _sold_again(client, intent, left.filled)
    if left.status is OrderStatus.ABSENT:
        return _told(client, Grade.WARN, f"the probe order ({what}) was not answered and did not arrive")
    return _told(client, Grade.OK, f"a far post-only order ({what}) was taken, cancelled and is {left.status.value}")


async def _choose(
    client: VenueClient, reads: MarketReads, rules: PreflightRules
) -> tuple[Instrument, Price, Sized] | None:
    """The cheapest order that can be sent."""
    prices = await reads.prices()
    found: list[tuple[Instrument, Price, Sized]] = []
    for instrument in rules.wanted(client.instruments):
        told = prices.get(instrument.id.symbol)
        if told is None or not instrument.tradable:
            continue
        lowest = FAR if instrument.band is None else max(FAR, (1 + instrument.band.down) / 2)
        price = instrument.round_price_down(told.mark * lowest)
        sized = size(instrument, price, rules.sizing, instrument.lot) if price > ZERO else None
        if isinstance(sized, Sized):
            found.append((instrument, price, sized))
    return min(found, key=lambda one: one[2].notional, default=None)


def _intent(instrument: Instrument, price: Price, sized: Sized, account: str, now_ms: int) -> OrderIntent:
    return OrderIntent(
        client_order_id=client_order_id(account, f"probe/{instrument.id}/{now_ms}", Leg.PROBE, 0),
        instrument=instrument.id,
        leg=Leg.PROBE,
        attempt=0,
        signal_id=SignalId(""),
        position_id=PositionId(""),
        side=Side.BUY,
        type=OrderType.POST_ONLY,
        quantity=sized.quantity,
        reduce_only=False,
        price=price,
    )


async def _until_gone(client: VenueClient, intent: OrderIntent) -> OrderStatusReport | None:
    """The venue's own word that it has ended; None when it could not be had.

    "No such order" counts only when it is said every time: an order may be told a moment after it was taken (ORD-03).
    """
    absent = 0
    for _ in range(ASKED):
        await client.cancel(Order(intent=intent, status=OrderStatus.ACCEPTED))
        try:
            told = await client.query_order(intent)
        except VenueError as error:
            log.warning("preflight.probe_unread", client_order_id=intent.client_order_id, error=str(error))
            told = None
        if isinstance(told, OrderStatusReport):
            if told.status in ENDED:
                return told
        elif told is not None:
            absent += 1
        await asyncio.sleep(ASK_SECONDS)
    return _absent(intent) if absent == ASKED else None


def _absent(intent: OrderIntent) -> OrderStatusReport:
    return OrderStatusReport(
        instrument=intent.instrument,
        client_order_id=intent.client_order_id,
        venue_order_id=None,
        status=OrderStatus.ABSENT,
        side=intent.side,
        quantity=intent.quantity,
        filled=Quantity(ZERO),
        average_price=None,
        trigger_price=None,
        reduce_only=False,
        conditional=False,
        venue_time_ms=0,
        source=Source.REST,
    )


async def _sold_again(client: VenueClient, intent: OrderIntent, filled: Quantity) -> Check:
    """The market fell to the probe within a moment: what it bought is sold, reduce-only."""
    back = OrderIntent(
        client_order_id=client_order_id("probe", intent.client_order_id, Leg.FLATTEN, 0),
        instrument=intent.instrument,
        leg=Leg.FLATTEN,
        attempt=0,
        signal_id=SignalId(""),
        position_id=PositionId(intent.client_order_id),
        side=intent.side.opposite,
        type=OrderType.MARKET,
        quantity=filled,
        reduce_only=True,
        reason="a probe order was filled",
    )
    outcome = await client.submit(Departure(intent=back))
    said = f"the probe order bought {plain(filled)} {intent.instrument.symbol}; selling it again: {outcome}"
    return _told(client, Grade.OFF, f"{said}; look at the position (tools/check_orders.py)")


def _told(client: VenueClient, grade: Grade, what: str) -> Check:
    return Check(where=client.name, grade=grade, about="probe order", what=what)
