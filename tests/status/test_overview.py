"""One look for everybody: the same picture, judged by the same limits."""

import asyncio
import shutil
from pathlib import Path

import pytest

from core.status.health import GIB, HealthLevel, HealthLimits
from core.status.overview import DISK_SECONDS, Overview
from tests.fakes.virtual_loop import VirtualClock
from tests.status.reports import report

pytestmark = [
    pytest.mark.asyncio(loop_factories=["virtual"]),
    pytest.mark.may_block(reason="the disk is asked on the loop, which takes microseconds"),
]


class Disk:
    """What is free by folder, and how often it was asked; a folder that is not in it cannot be asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **free: int) -> None:
        self.free = {Path(name): amount for name, amount in free.items()}
        self.asked = 0
        monkeypatch.setattr(shutil, "disk_usage", self._usage)

    def _usage(self, folder: Path) -> "Disk._Usage":
        self.asked += 1
        if folder not in self.free:
            raise FileNotFoundError(folder)
        return Disk._Usage(self.free[folder])

    class _Usage:
        def __init__(self, free: int) -> None:
            self.free = free


def an_overview(*folders: str) -> Overview:
    limits = HealthLimits(deadline_seconds=3.0)
    return Overview(status=report, limits=limits, folders=[Path(name) for name in folders], clock=VirtualClock())


async def test_the_fuller_disk_counts_and_one_that_cannot_be_asked_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, data=9 * GIB, logs=GIB // 2)
    assert an_overview("data", "gone").health().level is HealthLevel.OK
    assert an_overview("data", "logs").health().reasons == ("0.50 GiB free for data and logs, less than 1",)
    assert an_overview("gone").health().level is HealthLevel.OK


async def test_the_disk_is_asked_now_and_then_however_often_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, data=9 * GIB)
    look = an_overview("data")
    for _ in range(100):
        look.look()
    assert disk.asked == 1
    disk.free[Path("data")] = 0
    await asyncio.sleep(DISK_SECONDS)
    assert look.health().level is HealthLevel.DEGRADED
