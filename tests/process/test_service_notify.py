"""What a service manager hears: a socket of its kind, and one look at a time."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from core.clock import SystemClock
from core.redaction import Redactor
from core.status.health import Finding, Health, HealthLevel
from core.supervision.service_notify import NotifySocket, ServiceNotify
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("a datagram to a socket that is there waits for nothing")
_WELL = Health()
_DEGRADED = Health((Finding(HealthLevel.DEGRADED, "venue", "okx: maintenance"),))
_ILL = Health((Finding(HealthLevel.UNHEALTHY, "stream", "no private stream is up"),))


def _hang(seconds: float) -> None:
    time.sleep(seconds)


class _Listener:
    def __init__(self, heard: socket.socket) -> None:
        self._heard = heard

    def __call__(self) -> list[str]:
        """What came since the last time; one message is its lines with spaces between."""
        messages = []
        while True:
            try:
                messages.append(self._heard.recv(4096).decode().replace("\n", " "))
            except BlockingIOError:
                return messages

    async def over(self, seconds: int) -> list[str]:
        """Heard as it comes: of what nobody reads, Linux keeps ten datagrams and drops what comes after."""
        messages = []
        for _ in range(seconds):
            await asyncio.sleep(1)
            messages += self()
        return messages


@contextmanager
def _listening(address: str) -> Iterator[_Listener]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if address.startswith("@") else address)
        heard.settimeout(0)
        yield _Listener(heard)


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "file" else f"@breakwater-{tmp_path.name}-{id(tmp_path)}"


async def test_a_daemon_says_that_it_starts_is_ready_lives_and_stops(address: str) -> None:
    with _listening(address) as heard:
        service = ServiceNotify(NotifySocket({"NOTIFY_SOCKET": address}), VirtualClock())
        service.look()
        assert heard() == ["EXTEND_TIMEOUT_USEC=60000000 WATCHDOG=1"]
        service.ready(lambda: _WELL, lambda: "active |\n 2 positions")
        service.look()
        assert heard() == ["READY=1 STATUS=active | 2 positions WATCHDOG=1", "WATCHDOG=1"]
        service.stopping()
        service.look()
        assert heard()[0] == "STOPPING=1 STATUS=stopping"


async def test_pings_stop_while_it_is_unhealthy_and_say_why_and_come_back(tmp_path: Path) -> None:
    address, now = str(tmp_path / "notify"), _WELL
    with _listening(address) as heard:
        service = ServiceNotify(NotifySocket({"NOTIFY_SOCKET": address}), VirtualClock())
        service.ready(lambda: now, lambda: "active")
        heard()
        told = list[str]()
        for health in (_DEGRADED, _ILL, _ILL, _WELL):
            now = health
            service.look()
            told += heard()
        unhealthy = "STATUS=unhealthy: no private stream is up"
        assert told == ["WATCHDOG=1", unhealthy, unhealthy, "WATCHDOG=1 STATUS=active"]


async def test_nothing_secret_is_shown_by_the_service_manager(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with _listening(address) as heard:
        to = NotifySocket({"NOTIFY_SOCKET": address})
        service = ServiceNotify(to, VirtualClock(), Redactor(["a-long-secret-of-ours"]))
        service.ready(lambda: _WELL, lambda: "active a-long-secret-of-ours")
        assert "a-long-secret" not in heard()[0]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
async def test_the_watchdog_time_is_read_as_it_is_meant(environment: dict[str, str], seconds: float | None) -> None:
    assert NotifySocket(environment, pid=7).watchdog_seconds == seconds


async def test_a_manager_that_is_not_there_or_has_gone_costs_one_line(tmp_path: Path) -> None:
    NotifySocket({}).send(READY="1")
    gone = NotifySocket({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with structlog.testing.capture_logs() as lines:
        gone.send(WATCHDOG="1")
        gone.send(WATCHDOG="1")
    assert [line["event"] for line in lines] == ["service.not_told"]


@pytest.mark.failure("OPS-11")
@pytest.mark.asyncio(loop_factories=["real"])
async def test_a_hanging_loop_sends_no_pings_and_the_unit_ends_it_within_thirty_seconds(
    tmp_path: Path, project_root: Path
) -> None:
    address = str(tmp_path / "notify")
    with _listening(address) as heard:
        service = ServiceNotify(NotifySocket({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}), SystemClock())
        service.ready(lambda: _WELL, lambda: "active")
        task = asyncio.ensure_future(service.run())
        async with asyncio.timeout(20):
            while len(heard()) < 2:  # noqa: ASYNC110 - a datagram wakes nobody here
                await asyncio.sleep(0.05)
        _hang(0.3)
        assert not heard()
        task.cancel()
        await asyncio.wait([task])
    unit = (project_root / "deploy" / "breakwater.service").read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=30", "Restart=on-failure"} <= set(unit)


@pytest.mark.failure("OPS-11")
async def test_streams_that_are_cut_stop_the_pings_after_health_said_why(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:1]))
        host, lines = world._host(lambda *_: None)
        told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
        with _listening(address) as heard:
            daemon = Daemon(world.settings(), replace(host, service=NotifySocket(told)), lines)
            daemon.begin()
            await daemon.ready()
            await daemon.wave()
            start = await heard.over(20)
            assert start[0].startswith("EXTEND_TIMEOUT_USEC=")
            assert any(message.startswith("READY=1 STATUS=active") for message in start)
            assert start[-1].startswith("WATCHDOG=1")

            await world.fault("disconnect_stream", count=-1, match={"stream": "listenKey"})
            assert all("WATCHDOG=1" in message for message in await heard.over(50))
            assert "binance: private stream down" in daemon.orchestrator._service.health().reasons[0]
            assert not any("WATCHDOG=1" in message for message in (await heard.over(25))[3:])
            silent = await heard.over(30)
            assert all(message.startswith("STATUS=unhealthy: no private stream is up, for") for message in silent)
            assert len(silent) >= 5

            await world.forgive()
            lately = await heard.over(120)  # the longest pause before it connects again, and a ping
            assert lately[-1].startswith("WATCHDOG=1"), "healthy again before anybody started it anew"
            await daemon.stop()
            assert any(message.startswith("STOPPING=1") for message in heard())
        await world.everything_holds()
