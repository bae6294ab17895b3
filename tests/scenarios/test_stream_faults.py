"""Each way a private stream can fail, met by each thing that can happen meanwhile.

However it was told: the book is the venue's, every position has its one stop, counters and log lines say what happened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.position import PositionKey
from core.domain.reports import Report
from core.domain.signal import Side
from core.domain.wave import LegState
from core.engine.ports import StreamState
from core.venues import VenueAccess, connect_venue
from tests.fakes.sim_transport import Line
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import the_owner
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

PRIVATE = {"stream": "listenKey"}
"""Part of the private socket's path and of no other."""
WORDS = ("no pong within 15 s", "connection closed (1006)", "the stream key expired")


@dataclass(frozen=True)
class Failure:
    """A fault, and what it must show: reconnects and key swaps counted, and the reason in the log."""

    fault: dict[str, Any]
    reconnects: int = 0
    key_swaps: int = 0
    why: str | None = None
    match: dict[str, str] = field(default_factory=lambda: dict(PRIVATE))


FAILURES = {
    "cut": Failure({"kind": "disconnect_stream"}, reconnects=1, why=WORDS[1]),
    "half-open": Failure({"kind": "half_open_stream"}, reconnects=1, why=WORDS[0]),
    "expired": Failure({"kind": "listen_key_expired"}, reconnects=1, key_swaps=1, why=WORDS[2], match={}),
    "duplicated": Failure({"kind": "duplicate_event", "count": -1}),
    "reordered": Failure({"kind": "reorder_events", "count": -1}),
    "delayed": Failure({"kind": "delay_event", "count": -1, "delay_ms": 3_000}),
    "lossy": Failure({"kind": "lose_event", "count": -1, "fraction": 0.5, "seed": 1}),
    "silent for a minute": Failure({"kind": "lose_event", "duration_ms": 60_000}),
}


async def _a_wave(world: SimulatedWorld, daemon: Daemon) -> None:
    report = await daemon.wave(2)
    assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2


async def _a_stop_that_fires(world: SimulatedWorld, daemon: Daemon) -> None:
    (stop,) = [row for row in (await world.ask("state"))["orders"] if row["symbol"] == "BTCUSDT"]
    beyond = Decimal(stop["stop_price"]) * Decimal("0.99")
    await world.tell("price", symbol="BTCUSDT", price=str(beyond.quantize(Decimal("0.1"))))


async def _a_close(world: SimulatedWorld, daemon: Daemon) -> None:
    assert daemon.orchestrator.queries is not None
    (instrument,) = [r.instrument for r in daemon.status.positions if r.instrument.symbol.startswith("BTC/")]
    closer = daemon.orchestrator.queries._protection._closer
    async with asyncio.timeout(20):
        await closer.flatten(PositionKey(instrument, Side.BUY), "test", leg=Leg.CLOSE)


async def _a_close_by_hand(world: SimulatedWorld, daemon: Daemon) -> None:
    await the_owner(world).trade("BTCUSDT", "SELL", str((await world.held())["BTCUSDT"]), reduceOnly="true")


Happening = Callable[[SimulatedWorld, Daemon], Awaitable[None]]
HAPPENINGS: dict[str, tuple[Happening, int]] = {
    "wave": (_a_wave, 4),
    "stop fires": (_a_stop_that_fires, 1),
    "close": (_a_close, 1),
    "close by hand": (_a_close_by_hand, 1),
}
"""And how many positions there are afterwards."""


@pytest.mark.parametrize("happening", HAPPENINGS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_whatever_the_stream_does_meanwhile_the_book_ends_as_the_venues(
    world: SimulatedWorld, failure: str, happening: str
) -> None:
    said, failed = LogLines(), FAILURES[failure]
    happen, left = HAPPENINGS[happening]
    waves = [a_wave(PAIRS[:2]), *([a_wave(PAIRS[2:4], at_ms=8_000)] if happening == "wave" else [])]
    await world.play(*waves)
    async with world.running() as daemon:
        await daemon.wave()
        await world.tell("fault", match=failed.match, **failed.fault)
        await happen(world, daemon)
        await asyncio.sleep(75)
        await world.forgive()
        assert daemon.held() == await world.held()
        assert len(daemon.held()) == left
        await world.everything_holds()
        assert await world.longest_naked_ms() < 10_000
        venue = daemon.status.venues[0]
        assert venue.connected
        assert (venue.reconnects, venue.key_swaps) == (failed.reconnects, failed.key_swaps)
        assert [line["why"] for line in said.of("stream.down")] == ([] if failed.why is None else [failed.why])
        assert [line["connects"] for line in said.of("stream.live")] == list(range(1, failed.reconnects + 2))
        assert daemon.status.trading_state == "active"
        assert daemon.status.unresolved_orders == 0


@pytest.mark.parametrize(("down_s", "taken"), [(20, True), (45, False)])
async def test_entries_wait_once_the_stream_was_down_for_thirty_seconds_and_go_on_after(
    world: SimulatedWorld, down_s: int, *, taken: bool
) -> None:
    said = LogLines()
    at_ms = 4_000 + down_s * 1_000
    await world.play(a_wave(PAIRS[:1]), a_wave(PAIRS[1:2], at_ms=at_ms), a_wave(PAIRS[2:3], at_ms=200_000))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("disconnect_stream", match=PRIVATE, count=-1)
        (leg,) = (await daemon.wave(2)).legs
        if taken:  # on readings of the venue made for this wave
            assert leg.state is LegState.PROTECTED
        else:
            assert leg.denied is not None
            assert (leg.denied.reason.value, "private stream" in leg.denied.detail) == ("stream_down", True)
        await world.everything_holds()
        await world.forgive()
        (leg,) = (await daemon.wave(3, seconds=220)).legs
        assert leg.state is LegState.PROTECTED
        assert len(said.of("stream.down")) > 1
        assert len(said.of("stream.live")) == 1 + 1
        await world.everything_holds()
        assert daemon.held() == await world.held()


async def test_a_position_closed_while_the_stream_is_down_is_noticed_by_polling(world: SimulatedWorld) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("disconnect_stream", match=PRIVATE, count=-1)
        await asyncio.sleep(60)
        await _a_stop_that_fires(world, daemon)
        await asyncio.sleep(20)
        assert not daemon.status.venues[0].connected
        assert list(daemon.held()) == ["ETHUSDT"]
        await world.everything_holds()


@pytest.mark.failure("UDS-04")
async def test_a_day_without_a_trade_restarts_nothing(tmp_path: Path) -> None:
    """The venue pings, the key is kept alive, and silence is health; the socket itself is replaced once, as planned."""
    said = LogLines()
    heard: list[Report] = []

    async def hear(reports: Sequence[Report]) -> None:
        heard.extend(reports)

    async with SimulatedWorld(tmp_path, tick_hz=0.001) as world:
        access = VenueAccess(name=VenueName.BINANCE, key="sim", secret="sim", base_url=world.url)
        line = Line(world.venue).transport()
        venue = connect_venue(access, clock=world.clock, transport=line, sink=hear, on_connected=_nothing_to_settle)
        await venue.client.open()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(venue.user_stream.run())
            await asyncio.sleep(25 * 3600)
            stream = venue.user_stream
            assert stream.state is StreamState.LIVE
            assert (stream.reconnect_count, stream.stale_key_swap_count) == (0, 0)
            await the_owner(world).trade("BTCUSDT", "BUY", "0.001")
            await asyncio.sleep(1)
            assert heard
            running.cancel()
        assert said.of("stream.down") == []
        assert len(said.of("stream.live")) == 2
        kept = [row for row in await world.ask("requests?since=0") if row["path"].endswith("listenKey")]
        assert {row["status"] for row in kept} == {200}
        assert len([row for row in kept if row["method"] == "PUT"]) >= 25 * 60 / 30


async def _nothing_to_settle() -> None: ...
