"""The life that is cut short at every point, and the one that follows it.

A daemon boots, takes a wave in which one entry is filled in parts, trails its stops, takes profit in parts and whole,
is stopped out, takes a second wave and closes at a time limit. `Survivor` starts it again from what was left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TextIO

import structlog

from core.signals import backoff
from core.venues import reconnecting
from tests.campaigns import crash_judge as judge
from tests.campaigns.crash_points import Left, PointedWorld
from tests.scenarios.worlds import AFTER_CRASHES, Daemon, a_signal
from tools.bench.venues import VENUES

LATENCY_MS = 60.0
LISTED = 10
SETTLED_SECONDS = 5.0
ON_ITS_WAY_SECONDS = 1.5
"""A trailing stop being moved has two for a round trip: what is wrong must still be wrong after this."""
SWEEP_SECONDS = 75.0
"""Within which a stop that protects nothing is cancelled: seen twice, 45 s apart, and older than ten."""
LAST_SECONDS = 24.0
SETTINGS: Mapping[str, Any] = {
    "STOP_LOSS_PERCENT": "1.5",
    "TRAILING_ACTIVATION_PERCENT": "0.5",
    "TRAILING_CALLBACK_PERCENT": "0.4",
    "TRAILING_MIN_UPDATE_INTERVAL_SECONDS": 1,
    "BREAKEVEN_ACTIVATION_PERCENT": "0.4",
    "TAKE_PROFIT_STEPS": "1.2:50,2.4:50",
    "MAX_DRAWDOWN_PERCENT": 0,
    "VENUE_ERRORS_LIMIT": 0,
    **AFTER_CRASHES,
}


class Move(NamedTuple):
    """So long after the start the price of a coin is so many percent from where it was when the waves began."""

    at: float
    coin: str
    percent: str


MOVES = (
    Move(6.0, "BTC", "0.7"),
    Move(6.3, "ETH", "-1.4"),
    Move(6.6, "XRP", "1.9"),
    Move(8.0, "BTC", "1.0"),
    Move(8.5, "SOL", "0.5"),
    Move(10.0, "ETH", "-2.6"),
    Move(11.0, "BTC", "0.2"),
    Move(15.5, "ADA", "1.0"),
    Move(17.0, "DOGE", "-0.8"),
    Move(18.0, "DOGE", "-1.0"),
    Move(19.5, "ADA", "-2.0"),
)


def waves(venue: str) -> list[dict[str, Any]]:
    """BTC trails and is stopped out, ETH takes profit twice, SOL is filled in parts, XRP is stopped out at once; later
    ADA has a take profit of its own, DOGE trails."""

    def of(coin: str, direction: str, **own: Any) -> dict[str, Any]:
        return a_signal(f"{coin}USDT", id=f"crash-{coin}", exchange=venue, direction=direction, **own)

    first = [of("BTC", "LONG"), of("ETH", "SHORT"), of("SOL", "LONG"), of("XRP", "SHORT")]
    second = [of("ADA", "LONG", take_profit_filter="0.8"), of("DOGE", "SHORT")]
    return [{"at_ms": 4_000, "signals": first}, {"at_ms": 13_500, "signals": second}]


async def a_world(folder: Path, venue: str, seed: int, trailing: str) -> PointedWorld:
    """Its signals count from now, the only chance in the daemon (how long it backs off) is seeded."""
    chance = Random(seed)
    for module in (reconnecting, backoff):
        module.SystemRandom = lambda: chance  # type: ignore[attr-defined]
    world = PointedWorld(folder, venue, latency_ms=LATENCY_MS, seed=seed, symbols=LISTED)
    world.env = {**SETTINGS, "TRAILING_MODE": trailing}
    await world.play(*waves(venue))
    symbol = VENUES[venue].spelt("SOL/USDT:USDT")
    await world.fault("partial_fill", match={"symbol": symbol}, fraction=0.4, delay_ms=350)
    return world


async def live(world: PointedWorld, venue: str) -> Daemon:
    """To the end, counted; the daemon is still there then."""
    began = world.clock.monotonic()
    world.points.armed = True
    world.count_steps()
    daemon = world.daemon(**world.env)
    daemon.begin()
    engine, start = world.venue.simulation.engine, dict[str, Decimal]()
    for move in MOVES:
        await asyncio.sleep(began + move.at - world.clock.monotonic())
        symbol = VENUES[venue].spelt(f"{move.coin}/USDT:USDT")
        start.setdefault(symbol, engine.quote(symbol).last)
        world.venue.catch_up()
        engine.set_price(symbol, start[symbol] * (1 + Decimal(move.percent) / 100))
        world.venue.arm()
    await asyncio.sleep(began + LAST_SECONDS - world.clock.monotonic())
    world.points.armed = False
    return daemon


async def after(world: PointedWorld, venue: str, left: Left, say: Callable[[str], None]) -> list[str]:
    """The new start, and what is wrong when it has had its five seconds."""
    world.die()
    if world.points.armed:
        world.count_steps()
    daemon = world.daemon(left.data, **world.env)
    daemon.begin()
    began = world.clock.monotonic()
    await daemon.ready()
    world.points.armed = False
    say(f"ready again after {world.clock.monotonic() - began:.2f} s")
    await asyncio.sleep(SETTLED_SECONDS)
    wrong = await _judged(world, venue, daemon)
    if wrong:
        say(f"at first: {'; '.join(wrong)}")
        await asyncio.sleep(ON_ITS_WAY_SECONDS)
        wrong = await _judged(world, venue, daemon)
    outcome = await daemon.stop()
    if outcome.status.value:
        wrong.append(f"the new daemon ended with {outcome.status.name}: {outcome.said}")
    return wrong + judge.in_the_audit(left.data, left.audit)


async def _judged(world: PointedWorld, venue: str, daemon: Daemon) -> list[str]:
    record = await judge.read(world)
    return [
        *judge.at_the_venue(record),
        *judge.in_the_daemon(record, daemon, daemon.status),
        *judge.in_the_journal(record, venue, daemon.data_dir / "journal.db"),
    ]


def log_to(file: TextIO) -> None:
    """What the daemon says, with the time of its loop, without colours and traces."""

    def timed(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        with suppress(RuntimeError):  # said where no loop runs
            event["at"] = round(asyncio.get_running_loop().time() - 1_000, 3)
        return event

    structlog.configure(
        processors=[timed, structlog.processors.KeyValueRenderer(key_order=["at", "event"], drop_missing=True)],
        logger_factory=structlog.WriteLoggerFactory(file=file),
    )
