"""What follows from a judgement: a close through the one pipeline, a step of a take profit, a move of the stop.

Each is marked before anything is awaited, so that the next tick finds it under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.exits import EVERY_PRICE, URGENT, Close, ExitReason, ExitRules, Seen
from core.domain.ids import InstrumentId, Leg
from core.domain.instrument import Instrument
from core.domain.money import ZERO, Price, Quantity, plain
from core.domain.order import Order
from core.domain.position import Position
from core.domain.prices import PriceKind
from core.domain.profit_steps import slices
from core.domain.trailing import TrailingRules, away, tighter, trailing_level, worth_moving
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer, Part
from core.engine.exit_watch import ExitCounts, ExitWatch, figures_of
from core.engine.first_step import at_once
from core.engine.giving_way import give_way
from core.engine.ports import Level, Notifier
from core.engine.protection_manager import ProtectionManager
from core.engine.tightening import Tightened

log = structlog.get_logger(__name__)

TRY_AGAIN_SECONDS = 1.0
MOVE_AGAIN_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 640.0
"""After a move the venue refused; twice as long after each more."""
LIMIT_TRIES = 5
"""A take profit at its level that was not filled so often goes at market (TRL-16)."""
CLOSERS = frozenset({ExitReason.CRITICAL_LOSS, ExitReason.STOP_PASSED})
"""People are called for these: something that should have closed the position before did not."""


class ExitPolicy(Struct, frozen=True, kw_only=True):
    """The configuration. `rules` hold for a position that asked for nothing; `moves` say when a stop is worth moving,
    whichever rule wants it. `limit_profits`: take profits are limit orders at their level first."""

    rules: ExitRules
    moves: TrailingRules
    kind: PriceKind
    limit_profits: bool = False
    manages_external: bool = False


class ExitActions:
    def __init__(
        self,
        *,
        policy: ExitPolicy,
        protection: ProtectionManager,
        closer: Closer,
        instruments: Mapping[InstrumentId, Instrument],
        books: Bookkeeper,
        clock: Clock,
        notifier: Notifier,
        counts: ExitCounts,
        crossed: Callable[[ExitWatch, Price, ExitReason], None],
    ) -> None:
        """`crossed` hears of a stop that could not be moved because the price was there first."""
        self._policy = policy
        self._protection = protection
        self._closer = closer
        self._instruments = instruments
        self._books = books
        self._clock = clock
        self._notifier = notifier
        self._counts = counts
        self._crossed = crossed
        self.tasks: asyncio.TaskGroup | None = None
        """Own what is under way; None = not running: nothing is done."""

    def act(self, watch: ExitWatch, position: Position, close: Close, seen: Seen) -> None:
        if self.tasks is None:
            return
        if close.reason in URGENT and not seen.normal and seen.price is not None:
            self._counts.critical_on_old_price += 1
            log.warning("exits.on_old_price", position=str(watch.key), rule=close.reason.value, age_ms=seen.age_ms)
        part = None if close.step is None else self._part(watch, position, close.step)
        if part is None or part.quantity >= position.quantity:
            watch.closing = True
            give_way()
            at_once(self.tasks, self._close(watch, position, close, seen), f"exits/close/{watch.key}")
        elif part.quantity and not watch.taking and self._clock.monotonic() >= watch.part_not_before:
            watch.taking = True
            give_way()
            at_once(self.tasks, self._take(watch, position, part, close, seen), f"exits/take/{watch.key}")

    async def _close(self, watch: ExitWatch, position: Position, close: Close, seen: Seen) -> None:
        why, figures = f"{close.reason.value}: {close.detail}", figures_of(watch.state, position, close, seen)
        urgent = close.reason in CLOSERS

        def tell() -> None:
            self._counts.closes[close.reason.value] += 1
            self._note(watch, position, "exits.close", why, figures)
            if urgent:  # of every other close its result is told
                text = f"{watch.key}: closing at market, {why} ({figures['profit']} %)"
                self._notifier.notify(Level.CRITICAL, text, kind=AlertKind.CLOSE)

        try:
            leg = Leg.FLATTEN if urgent else Leg.CLOSE
            await self._closer.flatten(watch.key, why, of=position.id, leg=leg, figures=figures, begun=tell)
        finally:
            watch.closing = False

    def _note(self, watch: ExitWatch, position: Position, event: str, why: str, figures: Mapping[str, str]) -> None:
        log.info(event, position=str(watch.key), why=why, **figures)
        self._books.note("exit", {"position_id": position.id, "instrument": str(position.instrument), **figures})

    def _part(self, watch: ExitWatch, position: Position, step: int) -> Part | None:
        """What this step closes; None = everything. A step whose slice is too small is merged into the next one. Slices
        go by the entry price: by one that moves, a step could leave to its neighbour what that does not take."""
        instrument, steps = self._instruments[position.instrument], watch.rules.steps
        sizes = slices(position.entry_quantity, steps, instrument, position.entry_price)
        if step + 1 == len(steps) and sum(sizes, ZERO) >= position.entry_quantity:
            return None
        if not sizes[step]:
            watch.steps_skipped = step + 1
        quantity = Quantity(min(sizes[step], position.quantity))
        if quantity and ZERO < position.quantity - quantity < instrument.market_lot.minimum:
            return None  # what it would leave could never be closed (VAL-19)
        tries = self._closer.tries(position, step)
        limit = None
        if self._policy.limit_profits and tries < LIMIT_TRIES:
            level = away(position.side, position.entry_price, steps[step].percent)
            rounded = instrument.round_price_up if position.side.sign > 0 else instrument.round_price_down
            limit = rounded(level)
        return Part(step=step, quantity=quantity, limit=limit)

    async def _take(self, watch: ExitWatch, position: Position, part: Part, close: Close, seen: Seen) -> None:
        why, figures = f"{close.reason.value}: {close.detail}", figures_of(watch.state, position, close, seen)
        try:
            taken = await self._closer.take_part(position, part, why, figures)
            figures["quantity"] = plain(part.quantity)
            self._note(watch, position, "exits.take_part", why, figures)
            if taken:
                self._counts.closes[close.reason.value] += 1
            else:
                watch.part_not_before = self._clock.monotonic() + TRY_AGAIN_SECONDS
        finally:
            watch.taking = False
            watch.band = EVERY_PRICE

    def consider_moving(self, watch: ExitWatch, position: Position, stop: Order, seen: Seen) -> None:
        level, resting, tasks = watch.state.level, stop.trigger_price, self.tasks
        if level is None or resting is None or watch.moving or watch.closing or tasks is None:
            return
        if self._clock.monotonic() < watch.move_not_before:
            return
        tick = self._instruments[position.instrument].tick
        since = self._since_moved(watch, stop, seen.now_ms)
        if worth_moving(position.side, resting, level, self._policy.moves, tick, since_last_ms=since):
            watch.moving = True
            watch.attempted = self._clock.monotonic()
            give_way()
            told = self._protection.tighten(position, level)  # its request is the client's when this returns
            tasks.create_task(self._moved(watch, told, level), name=f"exits/move/{watch.key}")

    def would_move(
        self, watch: ExitWatch, position: Position, stop: Order, price: Price, now_ms: int, ahead_ms: float
    ) -> bool:
        """Whether `consider_moving` would, if this price came so much later than now (of the venue)."""
        wanted, trailing, side = watch.state.level, watch.rules.trailing, position.side
        instrument, resting = self._instruments[position.instrument], stop.trigger_price
        if trailing is not None and watch.state.trailing:
            level = trailing_level(side, tighter(side, price, watch.state.peak or price), trailing, instrument)
            wanted = level if wanted is None else tighter(side, level, wanted)
        if wanted is None or resting is None or watch.moving or watch.closing:
            return False
        if self._clock.monotonic() + ahead_ms / 1000 < watch.move_not_before:
            return False
        since = self._since_moved(watch, stop, now_ms)
        since = None if since is None else since + int(ahead_ms)
        return worth_moving(side, resting, wanted, self._policy.moves, instrument.tick, since_last_ms=since)

    def _since_moved(self, watch: ExitWatch, stop: Order, now_ms: int) -> int | None:
        """Since the stop was moved or that was tried; a stop tells by itself that it was, also after a restart."""
        tried = None if watch.attempted is None else int((self._clock.monotonic() - watch.attempted) * 1000)
        moved = now_ms - stop.venue_time_ms if stop.level is not None or stop.intent.attempt else None
        return min((since for since in (tried, moved) if since is not None and since >= 0), default=None)

    async def _moved(self, watch: ExitWatch, told: asyncio.Future[Tightened], level: Price) -> None:
        by = ExitReason.TRAILING if watch.moved_by is None else watch.moved_by
        try:
            outcome = await told
        finally:
            watch.moving = False
            watch.band = EVERY_PRICE
        if outcome is Tightened.MOVED:
            self._counts.stops_moved += 1
            watch.refused = 0
            log.info("exits.stop_moved", position=str(watch.key), to=plain(level), rule=by.value)
        elif outcome is Tightened.REFUSED:
            self._counts.moves_refused += 1
            pause = min(MOVE_AGAIN_SECONDS * 2 ** min(watch.refused, 10), LONGEST_PAUSE_SECONDS)
            watch.refused += 1
            watch.move_not_before = self._clock.monotonic() + pause
        elif outcome is Tightened.CROSSED:
            self._crossed(watch, level, by)
