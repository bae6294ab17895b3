"""The stop, in the stated order (DESIGN §3.16): what must not wait is bounded, stops stay on the venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from core.assembly import Engine
from core.domain.alerts import AlertKind
from core.domain.ids import Leg
from core.domain.order import UNACKNOWLEDGED, Order
from core.domain.risk import TradingState
from core.engine.ports import Level
from core.errors import JournalUnwritable, VenueError
from core.lifecycle.outcome import ExitStatus, Outcome
from core.storage.journal import SqliteJournal
from core.supervision.tasks import STEP_SECONDS, Supervisor
from core.wiring.telling import Telling

log = structlog.get_logger(__name__)

CLOSING_SHARE = 0.6
"""Of the time a stop has, for `CLOSE_POSITIONS_ON_SHUTDOWN`."""
LAST_WORDS_SECONDS = 1.0
"""Before the channels to people are left; what is not told by then is told by the next run."""
WATCHERS = (
    "control",
    "kill-file",
    "journal-watch",
    "status-line",
    "faults",
    "reports",
    "retention",
    "reconciler",
    "money",
    "exits",
    "risk-watch",
    "time-jumps",
    "account-watch",
    "upkeep",
    "screener",
)


async def shut_down(engine: Engine, tasks: Supervisor, telling: Telling, outcome: Outcome) -> None:
    """Everything but what was open before the first task: clients, audit and journal are left by their owner."""
    log.info("stopping")
    engine.risk.states.stopping = True
    if engine.risk.standing.state is TradingState.ACTIVE:
        engine.risk.set_state(TradingState.REDUCING, reason="stopping", author="breakwater")
    process = engine.settings.process
    deadline = engine.clock.monotonic() + process.shutdown_timeout_seconds
    if process.close_positions_on_shutdown:
        closing = process.shutdown_timeout_seconds * CLOSING_SHARE
        await _settle(engine, tasks, deadline - closing)
        await _close_all(engine, closing)
        # Of the rest what belonged to the closed positions is cancelled.
    await _settle(engine, tasks, deadline)
    _tell_what_is_left(engine, outcome)
    await tasks.end(*tasks.named("signals/", "late/"))
    await tasks.end("waves", *WATCHERS, "outages")
    await tasks.end("data", *tasks.named("market/"))
    await tasks.end(*tasks.named("user-stream/"))
    telling.say_stopping()
    await take_leave(tasks, telling)
    await tasks.end("native-trailing", "protection", "inflight", "orders")


async def take_leave(tasks: Supervisor, telling: Telling) -> None:
    """Of the people: nobody is told or answered any more."""
    await telling.drain(LAST_WORDS_SECONDS)
    await tasks.end("telegram", "status", *tasks.named("alerts"))
    await telling.close()


def forced(engine: Engine, outcome: Outcome) -> None:
    """A second signal ended the stop. Nothing more is awaited: what has no stop is named, for the next start to see to.
    People hear of it from the journal's alerts, then or now."""
    if outcome.status is ExitStatus.DONE:
        outcome.status, outcome.said = ExitStatus.FAILED, "the stop was forced before it was over; stops stay"
        _tell_what_is_left(engine, outcome)
    log.error("stop.forced", said=outcome.said)


def _tell_what_is_left(engine: Engine, outcome: Outcome) -> None:
    """Positions without a confirmed stop, entries of which the venue has not said that they bought nothing, and what
    was to be closed and was not."""
    positions = engine.orders.state.positions()
    left = [p.key for p in positions if not engine.protection.covered(p.key)]
    covered = [p.key for p in positions if p.key not in left]
    unclosed = covered if engine.settings.process.close_positions_on_shutdown else []
    unknown = [order for order in undecided(engine) if not order.intent.reduce_only]
    if not left and not unclosed and not unknown:
        return
    said = []
    if left:
        said.append("without a confirmed stop: " + ", ".join(map(str, left)))
    if unclosed:
        said.append("not closed (CLOSE_POSITIONS_ON_SHUTDOWN), under their stops: " + ", ".join(map(str, unclosed)))
    if unknown:
        said.append("with an entry of unknown outcome: " + ", ".join(str(order.instrument) for order in unknown))
    text = "; ".join(said) + "; start again or close them"
    if outcome.status is not ExitStatus.OPERATOR_NEEDED:
        outcome.status, outcome.said = ExitStatus.OPERATOR_NEEDED, text
    engine.notifier.notify(Level.CRITICAL, f"stopped {text}", kind=AlertKind.UNPROTECTED)


async def _settle(engine: Engine, tasks: Supervisor, deadline: float) -> None:
    """Until nothing is in flight and everything has its stop, or the time for it is over (OPS-02)."""
    while undecided(engine) or not engine.protection.all_covered() or _busy(engine):
        if engine.clock.monotonic() >= deadline or not tasks.running("orders"):
            break
        await asyncio.sleep(0.02)


async def _close_all(engine: Engine, seconds: float) -> None:
    positions = engine.orders.state.positions()
    closes = (engine.closer.flatten(p.key, "CLOSE_POSITIONS_ON_SHUTDOWN", leg=Leg.CLOSE) for p in positions)
    await bounded("close positions", lambda: asyncio.gather(*closes), seconds=seconds)


async def bounded(what: str, close: Callable[[], Awaitable[Any]], *, seconds: float = STEP_SECONDS) -> None:
    """One closing step; one that is slow, or whose venue fails, is logged and left behind."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except TimeoutError:
        log.warning("stop.slow_step", what=what, seconds=seconds)
    except VenueError as error:
        log.warning("stop.step_failed", what=what, error=str(error))


async def close_journal(journal: SqliteJournal, outcome: Outcome) -> None:
    """What could not be written decides how the run ended."""
    try:
        await bounded("journal", journal.close)
    except JournalUnwritable as error:
        outcome.status = ExitStatus.OPERATOR_NEEDED
        outcome.said = str(error)
        log.error("journal.not_closed", error=str(error))  # noqa: TRY400 - the sentence is the news


def undecided(engine: Engine) -> list[Order]:
    """Orders of which the venue has not said what became of them."""
    live = engine.orders.state.all_live_orders()
    return [order for order in live if order.status in UNACKNOWLEDGED or order.fills_missing]


def _busy(engine: Engine) -> bool:
    """Whether a stop or a trailing order is being placed, moved or cancelled."""
    return engine.protection.busy or (engine.native is not None and engine.native.busy)
