"""How long a killed daemon takes until everything is protected again, and what is unknown after an outage.

Both in virtual time, so of the wire and of our own waiting only; what this machine computed is told beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.campaigns.crash_life import log_to
from tests.fakes.virtual_loop import VirtualLoop
from tests.scenarios.worlds import AFTER_CRASHES, Daemon, SimulatedWorld, a_signal

LATENCY_MS = 250.0
POSITIONS = 10
AIM_SECONDS = 5.0
OUTAGE_SECONDS = 20.0
AFTER_SECONDS = 60.0
WAVE_MS = 8_000
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "TRX", "DOT", "LINK", "AVAX", "LTC", "BNB", "BCH", "SUI", "UNI")
SETTINGS: Mapping[str, Any] = {**AFTER_CRASHES, "TRAILING_MODE": "off", "VENUE_ERRORS_LIMIT": 0}


def told(venues: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[str]:
    """Says the figures; the answer is what is beyond its aim."""
    wrong = []
    with (
        (folder / "figures.log").open("w", encoding="utf-8") as log,
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        log_to(log)
        for venue in venues:
            place = folder / f"{venue}-figures"
            for name, bare in (("with their stops", False), ("all stops gone", True)):
                began = time.process_time()
                protected, ready = runner.run(restart(venue, place / name.replace(" ", "-"), bare=bare))
                worked = time.process_time() - began
                text = f"{venue}: restart to all-protected, {POSITIONS} positions {name}, {LATENCY_MS:g} ms latency: "
                text += f"{protected:.2f} s (aim {AIM_SECONDS:g}), trading after {ready:.2f} s"
                say(f"{text}; {worked:.1f} s of computing for all of it")
                wrong += [f"{venue}: {protected:.2f} s to all-protected"] if protected > AIM_SECONDS else []
            left, most = runner.run(outage(venue, place / "outage"))
            text = f"unknown orders {AFTER_SECONDS:g} s after an outage of {OUTAGE_SECONDS:g} s: {left} (aim 0)"
            say(f"{venue}: {text}, at most {most} in it")
            wrong += [f"{venue}: {left} orders unknown after an outage"] if left else []
    return wrong


async def restart(venue: str, folder: Path, *, bare: bool) -> tuple[float, float]:
    """Seconds from the start of a daemon that was killed with ten positions to the last of them verified under its
    stop, and to its taking signals. `bare`: somebody took every stop away meanwhile, and the venue's record counts."""
    async with _Playing(folder, venue) as world:
        first = world.daemon(**SETTINGS)
        first.begin()
        await first.ready()
        await first.wave()
        await asyncio.sleep(2)
        left = await first.kill()
        if bare:
            engine = world.venue.simulation.engine
            for symbol in await world.held():
                engine.cancel_all_conditionals(symbol)
        began = world.clock.monotonic()
        second = world.daemon(left, **SETTINGS)
        second.begin()
        if bare:
            await world.until(lambda: _covered(world, POSITIONS))
        else:
            await second.ready()
        protected = world.clock.monotonic() - began
        await second.ready()
        ready = world.clock.monotonic() - began
        await world.everything_holds()
        await second.stop()
        return protected, ready


async def outage(venue: str, folder: Path) -> tuple[int, int]:
    """Orders whose fate is unknown a minute after the venue can be reached again, and the most there were: half of the
    entries are executed without an answer, the daemon is killed in it, the next one starts into it."""
    async with _Playing(folder, venue) as world:
        began = world.clock.monotonic()
        first = world.daemon(**SETTINGS)
        first.begin()
        await first.ready()
        await asyncio.sleep(began + WAVE_MS / 1000 - world.clock.monotonic())
        await world.fault("drop_response", match={"method": "POST"}, fraction=0.5, count=-1)
        await world.fault("drop_request", match={"method": "GET"}, count=-1)
        await world.fault("lose_event", count=-1)
        most = 0
        for _ in range(10):
            await asyncio.sleep(OUTAGE_SECONDS / 20)
            most = max(most, _unknown(first))
        left = await first.kill()
        second = world.daemon(left, **SETTINGS)
        second.begin()
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        await world.forgive()
        await asyncio.sleep(AFTER_SECONDS)
        await second.ready()
        unknown = _unknown(second)
        await world.everything_holds()
        await second.stop()
        return unknown, most


class _Playing(SimulatedWorld):
    """A world whose server sends one wave of ten signals."""

    def __init__(self, folder: Path, venue: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, (venue,), latency_ms=LATENCY_MS, symbols=40)
        self._venue_name = venue

    async def __aenter__(self) -> Self:
        names = {symbol.replace("-SWAP", "").replace("-", "") for symbol in self.pairs("USDT")}
        coins = [coin for coin in COINS if f"{coin}USDT" in names][:POSITIONS]
        signals = [
            a_signal(f"{coin}USDT", exchange=self._venue_name, direction="LONG" if i % 2 else "SHORT")
            for i, coin in enumerate(coins)
        ]
        await self.play({"at_ms": WAVE_MS, "signals": signals})
        return self


async def _covered(world: SimulatedWorld, count: int) -> bool:
    held = {symbol: [abs(quantity)] for symbol, quantity in (await world.held()).items()}
    return len(held) == count and await world.resting_stops() == held


def _unknown(daemon: Daemon) -> int:
    return 0 if daemon.orchestrator.queries is None else daemon.status.unresolved_orders
