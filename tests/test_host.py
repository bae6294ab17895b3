"""Is the host fit: each thing that is wrong is refused or warned about, with what to do (CFG-12)."""

import os
import resource
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from core.lifecycle.host import WRITTEN_MS, examine_host
from core.lifecycle.preflight import Check, Grade

NOW = WRITTEN_MS + 1
GIB = 1024**3


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def _worst(checks: list[Check]) -> dict[str, Grade]:
    return {check.about: check.grade for check in checks if check.grade is not Grade.OK}


def _handles(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))


def _free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GIB, 10 * GIB - free, free))


@pytest.fixture(autouse=True)
def _fit(monkeypatch: pytest.MonkeyPatch) -> None:
    _handles(monkeypatch, 4096)
    _free(monkeypatch, 5 * GIB)


@pytest.mark.failure("CFG-12")
def test_a_fit_host_has_nothing_to_say(tmp_path: Path) -> None:
    checks = examine_host({"DATA_DIR": tmp_path / "data"}, NOW)
    assert _worst(checks) == {}
    assert {check.where for check in checks} == {"host"}
    assert list((tmp_path / "data").iterdir()) == [], "the probe file is gone"


@pytest.mark.failure("CFG-12")
@pytest.mark.parametrize(("limit", "grade"), [(100, Grade.OFF), (256, Grade.WARN)])
def test_too_few_file_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, grade: Grade) -> None:
    _handles(monkeypatch, limit)
    checks = examine_host({"DATA_DIR": tmp_path}, NOW)
    assert _worst(checks) == {"file handles": grade}
    assert "ulimit -n" in checks[0].what


@pytest.mark.failure("CFG-12")
@pytest.mark.parametrize(("free", "grade"), [(50 * 1024**2, Grade.OFF), (500 * 1024**2, Grade.WARN)])
def test_too_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, grade: Grade) -> None:
    _free(monkeypatch, free)
    checks = examine_host({"LOG_DIR": tmp_path}, NOW)
    assert _worst(checks) == {"LOG_DIR disk": grade}
    assert "set LOG_DIR to a folder on another disk" in checks[-1].what


@pytest.mark.failure("CFG-12")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    checks = examine_host({"DATA_DIR": tmp_path / "file" / "data"}, NOW)
    assert _worst(checks) == {"DATA_DIR folder": Grade.OFF}
    assert "set DATA_DIR to another folder" in checks[-1].what


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert _worst(examine_host({"DATA_DIR": tmp_path}, NOW)) == {"DATA_DIR folder": Grade.OFF}


@pytest.mark.failure("CFG-12")
def test_a_clock_that_cannot_be_right(tmp_path: Path) -> None:
    checks = examine_host({"DATA_DIR": tmp_path}, WRITTEN_MS - 1)
    assert _worst(checks) == {"clock": Grade.OFF}
    assert "timedatectl" in next(check.what for check in checks if check.about == "clock")
