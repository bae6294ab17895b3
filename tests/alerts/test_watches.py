"""Faults that last: told once when they begin, once when they are over."""

import asyncio
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from core.alerts.watches import DISK_SECONDS, Disks, FaultWatch, rooms
from core.domain.alerts import AlertKind
from core.domain.ids import VenueName
from core.engine.ports import Level, UserStream
from core.storage.writer import InlineExecutor
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock

pytestmark = pytest.mark.may_block(reason="the disk is asked in this process")
MIB = 1024**2


class FakeStream:
    live_since_ms: int | None = 1


class Usage(NamedTuple):
    free: int


class Rig:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stream, self.serves, self.error = FakeStream(), True, cast("int | None", 0)
        self.explained = False
        self.free: int | OSError = 5_000 * MIB
        self.asked = 0
        self.notifier = FakeNotifier()
        monkeypatch.setattr(shutil, "disk_usage", self._usage)
        self.watch = FaultWatch(
            streams={VenueName.BINANCE: cast("UserStream", self.stream)},
            serves=lambda _: self.serves,
            explained=lambda _: self.explained,
            clock_error_ms=lambda _: self.error,
            most_clock_error_ms=1_000,
            disks=Disks(folders={"DATA_DIR": Path()}, least_free=1_000 * MIB, worker=InlineExecutor()),
            notifier=self.notifier,
            clock=VirtualClock(),
        )

    def _usage(self, _folder: Path) -> Usage:
        self.asked += 1
        if isinstance(self.free, OSError):
            raise self.free
        return Usage(self.free)

    @property
    def told(self) -> list[tuple[AlertKind, Level]]:
        return [(kind, level) for kind, (level, _) in zip(self.notifier.kinds, self.notifier.messages, strict=True)]

    @asynccontextmanager
    async def running(self) -> Any:
        task = asyncio.create_task(self.watch.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


async def test_without_faults_nothing_is_told_and_the_disk_is_asked_once_a_minute(rig: Rig) -> None:
    async with rig.running():
        await asyncio.sleep(10 * DISK_SECONDS)
    assert rig.told == []
    assert 8 <= rig.asked <= 11


async def test_a_stream_that_stays_down_is_told_once_and_its_return_once(rig: Rig) -> None:
    async with rig.running():
        rig.stream.live_since_ms = None
        await asyncio.sleep(25)
        rig.stream.live_since_ms = 1
        await asyncio.sleep(60)
        assert rig.told == []
        rig.stream.live_since_ms = None
        await asyncio.sleep(300)
        assert rig.told == [(AlertKind.STREAM, Level.CRITICAL)]
        rig.stream.live_since_ms = 2
        await asyncio.sleep(60)
    assert rig.told == [(AlertKind.STREAM, Level.CRITICAL), (AlertKind.STREAM, Level.INFO)]
    assert rig.notifier.conditions == ["+binance", "-binance"]


async def test_a_stream_that_somebody_has_told_of_is_told_of_once_more_when_it_is_up(rig: Rig) -> None:
    async with rig.running():
        rig.stream.live_since_ms, rig.explained = None, True
        await asyncio.sleep(60)
        assert rig.told == []
        rig.stream.live_since_ms, rig.explained = 2, False
        await asyncio.sleep(60)
    assert rig.told == [(AlertKind.STREAM, Level.INFO)]


async def test_an_outage_of_the_venue_is_not_told_once_more_as_a_silent_stream_or_a_wrong_clock(rig: Rig) -> None:
    async with rig.running():
        rig.stream.live_since_ms, rig.serves, rig.error = None, False, None
        await asyncio.sleep(300)
        assert rig.told == []
        rig.serves = True
        await asyncio.sleep(60)
    assert sorted(rig.told) == [(AlertKind.CLOCK, Level.CRITICAL), (AlertKind.STREAM, Level.CRITICAL)]


async def test_a_clock_that_was_put_right_at_once_is_no_alarm_and_one_that_stays_wrong_is(rig: Rig) -> None:
    async with rig.running():
        rig.error = 3_600_000
        await asyncio.sleep(12)
        rig.error = 0
        await asyncio.sleep(60)
        assert rig.told == []
        rig.error = -1_001
        await asyncio.sleep(600)
        rig.error = 1_000
        await asyncio.sleep(60)
    assert rig.told == [(AlertKind.CLOCK, Level.CRITICAL), (AlertKind.CLOCK, Level.INFO)]


async def test_a_disk_that_fills_is_told_once_until_there_is_room_again(rig: Rig) -> None:
    async with rig.running():
        rig.free = 999 * MIB
        await asyncio.sleep(2.5 * DISK_SECONDS)
        rig.free = 1_050 * MIB
        await asyncio.sleep(2.5 * DISK_SECONDS)
        rig.free = 999 * MIB
        await asyncio.sleep(2.5 * DISK_SECONDS)
        assert [text for _, text in rig.notifier.messages] == [
            "DATA_DIR: 999 MiB free, less than ALERT_MIN_FREE_MB=1000; make room before the journal cannot grow"
        ]
        rig.free = OSError("not mounted")
        await asyncio.sleep(2.5 * DISK_SECONDS)
        rig.free = 1_100 * MIB
        await asyncio.sleep(2.5 * DISK_SECONDS)
    assert rig.notifier.conditions == ["+DATA_DIR", "-DATA_DIR"]


def test_folders_on_one_disk_are_one_disk(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    folders = {"DATA_DIR": tmp_path, "LOG_DIR": tmp_path / "logs", "GONE": tmp_path / "gone"}
    assert list(rooms(folders)) == ["DATA_DIR and LOG_DIR"]
