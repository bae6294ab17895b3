"""The disk of the log refuses, or its file is not rotated: trading goes on, people hear of it once and of its end."""

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from core.domain.alerts import AlertKind
from core.domain.wave import LegState
from core.log_files import RotatedFile
from core.logs import LogHealth, configure_logging
from core.supervision.standing_watches import LOG_QUIET_SECONDS, watch_log
from tests.fakes.fake_notifier import FakeNotifier
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("the log's thread is waited for in real time")


def _until(condition: Callable[[], bool]) -> None:
    """Of the log's own thread, while the virtual loop stands."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _full(self: RotatedFile, line: str) -> None:
    del self, line
    raise OSError(28, "No space left on device")


def _not_rotated(self: RotatedFile) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.failure("OPS-10")
@pytest.mark.parametrize(("method", "fails"), [("write", _full), ("_shift", _not_rotated)], ids=["full", "rotation"])
async def test_a_log_that_cannot_be_written_costs_trading_nothing_and_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    fails: Callable[..., None],
) -> None:
    folder = tmp_path / "log"
    with configure_logging(folder, console=io.StringIO()) as health:
        async with SimulatedWorld(tmp_path) as world:
            await world.play(a_wave(PAIRS[:2], at_ms=10_000))
            host, lines = world._host(lambda *_: None)
            daemon = Daemon(world.settings(), replace(host, log=health), lines)
            daemon.begin()
            await daemon.ready()
            people = FakeNotifier()
            daemon.orchestrator._notices.attach(people)
            with monkeypatch.context() as broken:
                broken.setattr(RotatedFile, method, fails)
                writer = structlog.get_config()["logger_factory"]()._writer
                writer._file._max_bytes, writer._file._rotate_at = 10_000, 1
                structlog.get_logger().info("the line it begins with")
                _until(lambda: health.file_failures > 0)
                report = await daemon.wave()
                await asyncio.sleep(90)
                assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
                assert _told(people) == ["+file"]
            for _ in range(20):
                structlog.get_logger().info("the disk takes it again", of="a line that is long enough to rotate" * 10)
            _until(lambda: health.file_ok and health.rotates)
            await asyncio.sleep(2)
            assert _told(people) == ["+file", "-file"]
            await daemon.stop()
            await world.everything_holds()
    error = capsys.readouterr().err
    assert error.count("log.file_failed") + error.count("log.not_rotated") == 1
    assert "the disk takes it again" in _written(folder)
    elsewhere = error if method == "write" else _written(folder)
    assert '"event": "wave.done"' in elsewhere, "what does not reach the file stands on stderr"


def _written(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


def _told(people: FakeNotifier) -> list[str]:
    pairs = zip(people.kinds, people.conditions, strict=True)
    return [condition for kind, condition in pairs if kind is AlertKind.LOG]


@pytest.mark.failure("OPS-10")
async def test_a_log_that_loses_records_is_told_once_until_it_has_been_complete_for_a_while() -> None:
    health, people = LogHealth(), FakeNotifier()
    task = asyncio.ensure_future(watch_log(health, people))
    for _ in range(5):
        await asyncio.sleep(3)
        health.dropped += 100
    await asyncio.sleep(LOG_QUIET_SECONDS + 3)
    assert people.conditions == ["+records", "-records"]
    assert "500 records were lost" in people.messages[1][1]
    health.dropped += 1
    await asyncio.sleep(2)
    assert people.conditions == ["+records", "-records", "+records"]
    task.cancel()
    await asyncio.wait([task])
