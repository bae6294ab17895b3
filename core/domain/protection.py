"""Where the stop belongs, and what to do when it cannot stand there."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, Price, Quantity, plain
from core.domain.order import Order, OrderIntent, TriggerReference
from core.domain.position import Position
from core.domain.signal import Side
from core.domain.trailing import better, tighter

MAX_STOP_ATTEMPTS = 3
"""Placements of one stop before the position is flattened (STP-01, STP-02)."""
LEVEL_TOLERANCE, LEVEL_TICKS = Decimal("0.05"), 5
"""Share of the level, or ticks, whichever is more, by which a resting stop may differ from the wanted one."""


class StopPlan(Struct, frozen=True, kw_only=True):
    """A reduce-only market stop for the whole quantity; `side` is the closing side."""

    side: Side
    quantity: Quantity
    trigger_price: Price


class Flatten(Struct, frozen=True, kw_only=True):
    """The position must go now; `why` is a full sentence."""

    why: str


class Dust(Struct, frozen=True, kw_only=True):
    """Less than the venue takes in one order: neither a stop nor a close can be placed for it (VAL-19)."""

    why: str


def is_dust(position: Position, instrument: Instrument) -> bool:
    """Whether what is left of a position is below the venue's smallest market order. Binance does not ask a closing
    order for a least notional, so only the quantity counts."""
    return position.quantity < instrument.market_lot.minimum


def stop_price(position: Position, instrument: Instrument) -> Price:
    """Where the stop of a position belongs: counted from its fill price."""
    return _stop_level(position.side, position.entry_price, position.stop_loss_percent, instrument)


def provisional_level(entry: OrderIntent, instrument: Instrument) -> Price | None:
    """Where a stop that is sent along with its entry stands until the fill price is known: counted from the price the
    entry was decided at. None without a price, or where no level can stand."""
    price = entry.decision_price if entry.price is None else entry.price
    if price is None or entry.stop_loss_percent is None:
        return None
    level = _stop_level(entry.side, price, entry.stop_loss_percent, instrument)
    return level if level > 0 else None


def _stop_level(side: Side, entry: Price, percent: Decimal, instrument: Instrument) -> Price:
    """Rounded towards the entry price: never further away than asked (STP-02, STP-03).

    Where the tick is coarser than the distance, rounding would reach the entry itself: then the next tick on the losing
    side, which is the nearest level that can stand at all.
    """
    distance = entry * percent / HUNDRED
    if side is Side.BUY:
        below = instrument.round_price_up(entry - distance)
        return below if below < entry else Price(below - instrument.tick)
    above = instrument.round_price_down(entry + distance)
    return above if above > entry else Price(above + instrument.tick)


def trigger_of(attempt: int, configured: TriggerReference) -> TriggerReference:
    """The ladder's last stop asks for the other trigger: a venue may refuse one of the two."""
    if attempt < MAX_STOP_ATTEMPTS - 1:
        return configured
    marks = configured is TriggerReference.MARK_PRICE
    return TriggerReference.CONTRACT_PRICE if marks else TriggerReference.MARK_PRICE


def plan(
    position: Position,
    instrument: Instrument,
    reference: Decimal | None,
    attempt: int,
    wanted: Price | None = None,
) -> StopPlan | Flatten | Dust:
    """The stop for attempt `attempt` (0 first), the order to flatten, or that nothing can be placed at all.

    `reference` is the price that fires this stop (`trigger_of`), None when it is not known: then the level is sent as
    it is and the venue is the judge. `wanted` is where its exits want it, None = where the fill price puts it; the
    tighter of the two counts: a stop that is placed anew is never looser than the one that was (TRL-02). A level
    already crossed is never moved away from the market: the initial stop comes from the fill or not at all (STP-05,
    INV-6). After a refusal a level that is not crossed keeps 2 + attempt ticks of distance to the reference (STP-06).
    """
    if is_dust(position, instrument):
        least = plain(instrument.market_lot.minimum)
        return Dust(why=f"{plain(position.quantity)} is less than the venue's smallest order of {least}")
    if attempt >= MAX_STOP_ATTEMPTS:
        return Flatten(why=f"the venue refused {attempt} stops")
    level = stop_price(position, instrument)
    if wanted is not None:
        level = tighter(position.side, level, wanted)
    if level <= 0:
        return Flatten(why=f"the stop level {plain(level)} is not a price")
    if reference is not None and crossed(position.side, level, reference):
        return Flatten(why=f"the price {plain(Decimal(reference))} is already through the stop {plain(level)}")
    if reference is not None and attempt > 0:
        level = _kept_away(position.side, level, reference, instrument, 2 + attempt)
    return StopPlan(side=position.side.opposite, quantity=position.quantity, trigger_price=level)


def _kept_away(side: Side, level: Price, reference: Decimal, instrument: Instrument, ticks: int) -> Price:
    room = instrument.tick * ticks
    if side is Side.BUY:
        return min(level, instrument.round_price_down(reference - room))
    return max(level, instrument.round_price_up(reference + room))


def protects(stop: Order, position: Position, instrument: Instrument) -> bool:
    """Whether this stop, once it rests, is one the position can live with: not further away than where it was to be
    placed first, the ladder's few ticks aside (STP-10). A tighter one has been moved, and is never loosened."""
    intent = stop.intent
    if intent.position_id != position.id or intent.side is position.side or not intent.reduce_only:
        return False
    if stop.trigger_price is None or not covers(stop, position):
        return False
    if stop.trigger_price % instrument.tick:
        return False  # the venue's tick has changed since it was sent (VAL-20)
    wanted = stop_price(position, instrument)
    room = max(wanted * LEVEL_TOLERANCE, instrument.tick * LEVEL_TICKS)
    return not better(position.side, wanted - position.side.sign * room, stop.trigger_price)


def covers(stop: Order, position: Position) -> bool:
    """Whether it is for the whole of the position and for no more."""
    return stop.intent.whole_position or stop.quantity == position.quantity


def provisional(stop: Order) -> bool:
    """Whether its level is still the one from before the fill (DESIGN §3.7): it is moved once, either way."""
    return stop.intent.attached_to is not None and stop.level is None


def closer(stop: Order, other: Order) -> bool:
    """Whether it stands closer to the price than another stop of the same position, where it belongs."""
    if stop.trigger_price is None or other.trigger_price is None or provisional(stop):
        return False
    return better(stop.intent.side.opposite, stop.trigger_price, other.trigger_price)


def crossed(side: Side, level: Decimal, reference: Decimal) -> bool:
    """Whether `reference` has reached the stop of a position of this side."""
    return reference <= level if side is Side.BUY else reference >= level
