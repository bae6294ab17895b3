"""From the first task to ACTIVE: streams live, positions protected, prices seen, leverage confirmed (DESIGN §3.16)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

import structlog

from core.assembly import Engine
from core.build import build_id
from core.domain.alerts import AlertKind
from core.domain.ids import InstrumentId, VenueName
from core.domain.risk import TradingState
from core.domain.standing import strictest
from core.engine.ports import Level
from core.engine.records import JournalState
from core.engine.risk_guard import PRICES, STREAM
from core.engine.trading_states import CONFIGURATION
from core.lifecycle.stopping import undecided
from core.wiring.rules import may_be_entered

log = structlog.get_logger(__name__)

STREAMS_READY_SECONDS = 30.0
MARKET_READY_SECONDS = 10.0
PROTECTED_AT_START_SECONDS = 30.0


async def until_live(engine: Engine, stop: asyncio.Event) -> None:
    """Each stream signals ready only after its venue was reconciled; a venue that is late is off until then."""
    try:
        async with asyncio.timeout(STREAMS_READY_SECONDS):
            await or_stop(stop, asyncio.gather(*(stream.wait_live() for stream in engine.streams.values())))
    except TimeoutError:
        late = sorted(venue for venue, stream in engine.streams.items() if stream.live_since_ms is None)
        log.error("stream.not_live", venues=late, waited_s=STREAMS_READY_SECONDS)  # noqa: TRY400 - no news in a trace
        for venue in late:
            engine.risk.set_venue(venue, "its private stream has not come up since the start", by=STREAM)
        unread = f"{', '.join(late)}: could not be read for {STREAMS_READY_SECONDS:g} s, still trying"
        engine.notifier.notify(
            Level.CRITICAL, f"{unread}; positions there stand as they were left", kind=AlertKind.VENUE
        )


async def until_protected(engine: Engine, stop: asyncio.Event) -> None:
    """And until the venue has said of every order what became of it."""
    deadline = engine.clock.monotonic() + PROTECTED_AT_START_SECONDS
    while not (_covered(engine) and not undecided(engine)):
        if engine.clock.monotonic() >= deadline or stop.is_set():
            return
        await asyncio.sleep(0.05)


async def until_priced(engine: Engine, stop: asyncio.Event) -> None:
    """Of positions that were found meanwhile, too; what then has no price is held back until it has one. What is not
    listed any more will have none."""
    engine.data.on_listing(partial(_gone, engine))
    deadline = engine.clock.monotonic() + MARKET_READY_SECONDS
    while engine.clock.monotonic() < deadline and not stop.is_set():
        if all(_priced(engine, venue) for venue in engine.clients):
            return
        await asyncio.sleep(0.02)
    log.warning("market.not_priced", waited_s=MARKET_READY_SECONDS)
    engine.data.hold_blind(engine.clients, partial(engine.risk.set_venue, by=PRICES))


async def confirm_leverage(engine: Engine) -> None:
    """Of everything that may be entered."""
    await engine.leverage.confirm_all(
        i
        for i, instrument in engine.instruments.items()
        if instrument.tradable and may_be_entered(engine.settings, instrument)
    )


def go(engine: Engine, held: JournalState) -> None:
    """ACTIVE, unless an operator said otherwise before the restart or during the start, or something is not right."""
    risk = engine.risk
    said, standing = risk.states.said(), risk.restore(held.values)
    starting = risk.states.starting
    resumed = said.state is TradingState.ACTIVE  # by somebody: until here nothing else does it
    if standing is not None and not resumed and (starting or strictest([standing, said]) is standing):
        risk.states.put(standing)
    elif said.state is TradingState.HALTED and not starting:
        log.warning("start.halted", reason=said.reason)
    elif not engine.settings.trading.trading_enabled:
        risk.set_state(TradingState.REDUCING, reason="TRADING_ENABLED=false", author=CONFIGURATION)
    elif risk.standing.state is TradingState.REDUCING:
        log.warning("start.restricted", reason=risk.standing.reason)
    elif not _covered(engine):
        risk.halt("a position stands without a stop after the start", told=True)
        text = "a position stands without a stop after the start"
        engine.notifier.notify(Level.CRITICAL, text, kind=AlertKind.UNPROTECTED)
    else:
        late = [venue for venue in engine.clients if risk.venue_off_reason(venue) is not None]
        verified = "every position is verified protected" + (f", {', '.join(late)} not read yet" if late else "")
        risk.set_state(TradingState.ACTIVE, reason=verified, author="breakwater")
    now = risk.standing
    log.info("ready", build=build_id(), venues=sorted(engine.clients), state=now.state.value, reason=now.reason)


async def or_stop(stop: asyncio.Event, work: Awaitable[Any]) -> None:
    """Wait for `work`, or until the daemon is told to stop."""

    async def wait() -> None:
        await work

    async def asked() -> None:
        await stop.wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(), name="awaited"), group.create_task(asked(), name="stop-asked")]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


def _gone(engine: Engine, instrument: InstrumentId) -> bool:
    """Whether its venue was opened and lists it no longer."""
    client = engine.clients.get(instrument.venue)
    return client is not None and instrument.symbol not in client.instruments


def _covered(engine: Engine) -> bool:
    """As far as stops can be placed: people hear of the rest from the reconciler."""
    held = engine.orders.state.positions()
    return all(engine.protection.covered(p.key) for p in held if not _gone(engine, p.instrument))


def _priced(engine: Engine, venue: VenueName) -> bool:
    """Prices come, and each position has one."""
    quotes = map(engine.markets[venue].quote, engine.clients[venue].instruments)
    return not engine.data.unpriced(venue, live=True) and any(
        quote is not None and quote.mark is not None and quote.bid is not None for quote in quotes
    )
