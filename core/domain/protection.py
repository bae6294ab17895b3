"""Where the stop belongs, and what to do when it cannot stand there."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, Price, Quantity, plain
from core.domain.position import Position
from core.domain.signal import Side

MAX_STOP_ATTEMPTS = 3
"""Placements of one stop before the position is flattened (STP-01, STP-02)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlan:
    """A reduce-only market stop for the whole quantity; `side` is the closing side."""

    side: Side
    quantity: Quantity
    trigger_price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """The position must go now; `why` is a full sentence."""

    why: str


def stop_price(position: Position, instrument: Instrument) -> Price:
    """From the fill price, rounded towards it: never further away than asked (STP-02, STP-03).

    Where the tick is coarser than the distance, rounding would reach the fill itself: then the next tick on the losing
    side, which is the nearest level that can stand at all.
    """
    entry = position.entry_price
    distance = entry * position.stop_loss_percent / HUNDRED
    if position.side is Side.BUY:
        below = instrument.round_price_up(entry - distance)
        return below if below < entry else Price(below - instrument.tick)
    above = instrument.round_price_down(entry + distance)
    return above if above > entry else Price(above + instrument.tick)


def plan(position: Position, instrument: Instrument, reference: Decimal | None, attempt: int) -> StopPlan | Flatten:
    """The stop for attempt `attempt` (0 first), or the order to flatten.

    `reference` is the price that fires the stop (mark unless configured), None when it is not known: then the level is
    sent as it is and the venue is the judge. A level already crossed is never moved away from the market: the initial
    stop comes from the fill or not at all (STP-05, STP-06, INV-6).
    """
    if attempt >= MAX_STOP_ATTEMPTS:
        return Flatten(why=f"the venue refused {attempt} stops")
    level = stop_price(position, instrument)
    if level <= 0:
        return Flatten(why=f"the stop level {plain(level)} is not a price")
    if reference is not None and crossed(position.side, level, reference):
        return Flatten(why=f"the price {plain(Decimal(reference))} is already through the stop {plain(level)}")
    return StopPlan(side=position.side.opposite, quantity=position.quantity, trigger_price=level)


def crossed(side: Side, level: Decimal, reference: Decimal) -> bool:
    """Whether `reference` has reached the stop of a position of this side."""
    return reference <= level if side is Side.BUY else reference >= level
