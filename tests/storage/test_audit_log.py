"""The audit files: chain across rotation and restart, torn tails, blocked and full disks."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.storage import audit_files, audit_log
from core.storage.audit_files import HEAD_NAME, LOG_NAME, rotated_files
from core.storage.audit_log import AuditLog
from core.storage.writer import InlineExecutor, WriterThread
from tools.verify_audit import check

pytestmark = pytest.mark.may_block(reason="files are written inline, so that a test sees them at once")

T0 = 1_789_000_000_000


class Ticks:
    """Milliseconds that go on by one at each look."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> int:
        self.now += 1
        return self.now


def an_audit_log(folder: Path, **kwargs: int) -> AuditLog:
    return AuditLog(folder, InlineExecutor(), Ticks(), **kwargs)


async def write(folder: Path, records: int, **kwargs: int) -> None:
    log = an_audit_log(folder, **kwargs)
    await log.open()
    for number in range(records):
        log.record("order.filled", {"n": number, "text": "a\nb\x1b[31m"})
    await log.close()


@pytest.mark.failure("SEC-04")
async def test_records_are_one_line_each_readable_by_the_owner_only(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    assert (tmp_path / LOG_NAME).read_bytes().count(b"\n") == 3
    assert b"\x1b" not in (tmp_path / LOG_NAME).read_bytes()
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in (LOG_NAME, HEAD_NAME)} == {0o600}
    assert check(tmp_path).clean


@pytest.mark.failure("SEC-04")
async def test_a_file_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).touch(mode=0o644)
    await write(tmp_path, 1)
    assert (tmp_path / LOG_NAME).stat().st_mode & 0o777 == 0o600


async def test_a_restart_goes_on_with_the_chain(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    await write(tmp_path, 2)
    assert check(tmp_path).records == 5


@pytest.mark.failure("JRN-11")
async def test_rotation_keeps_the_chain_from_genesis_and_any_change_is_located(tmp_path: Path) -> None:
    await write(tmp_path, 20, rotate_bytes=1500)
    await write(tmp_path, 20, rotate_bytes=1500)  # the clock was set back: names still follow the chain
    files = [*rotated_files(tmp_path), tmp_path / LOG_NAME]
    assert len(files) > 5
    assert check(tmp_path).records == 40
    for path in files:
        original = path.read_bytes()
        lines = original.splitlines(keepends=True)
        for number in range(len(lines)):
            changed = [*lines[:number], lines[number].replace(b"filled", b"fillex"), *lines[number + 1 :]]
            path.write_bytes(b"".join(changed))
            found = check(tmp_path)
            assert (found.file, found.line) == (path.name, number + 1)
            path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
            assert not check(tmp_path).clean
        path.write_bytes(b"".join([lines[-1], *lines[:-1]] if len(lines) > 1 else []))
        assert not check(tmp_path).clean
        path.write_bytes(original)
    assert check(tmp_path).clean


async def test_a_removed_file_is_found(tmp_path: Path) -> None:
    await write(tmp_path, 20, rotate_bytes=1500)
    rotated_files(tmp_path)[1].unlink()
    found = check(tmp_path)
    assert (found.clean, found.line) == (False, 1)


async def test_an_emptied_newest_file_is_found(tmp_path: Path) -> None:
    await write(tmp_path, 20, rotate_bytes=1500)
    (tmp_path / LOG_NAME).unlink()
    assert not check(tmp_path).clean


@pytest.mark.failure("JRN-10")
@pytest.mark.parametrize("cut", [1, 2, 50, 250])
async def test_a_torn_tail_is_cut_reported_and_the_chain_goes_on(tmp_path: Path, cut: int) -> None:
    await write(tmp_path, 3)
    whole = (tmp_path / LOG_NAME).read_bytes()
    os.truncate(tmp_path / LOG_NAME, len(whole) - cut)
    log = an_audit_log(tmp_path)
    tail = await log.open()
    log.record("after", {})
    await log.close()
    assert tail.cut_bytes > 0
    assert tail.lost is not None
    assert tail.lost.seq == 3
    assert check(tmp_path).clean
    assert b'"kind":"audit.tail_cut"' in (tmp_path / LOG_NAME).read_bytes()


async def test_a_page_of_zeros_at_the_end_is_cut(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b"\0" * 4096 + b"\n" + b"\0" * 100)
    assert (await an_audit_log(tmp_path).open()).cut_bytes == 4197
    assert check(tmp_path).records == 4


async def test_an_altered_last_record_stays_as_evidence(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":7'))
    assert (await an_audit_log(tmp_path).open()).altered
    found = check(tmp_path)
    assert (found.clean, found.line) == (False, 3)


async def test_a_log_torn_down_to_nothing_after_rotation_follows_the_rotated_file(tmp_path: Path) -> None:
    await write(tmp_path, 20, rotate_bytes=1500)
    (tmp_path / LOG_NAME).write_bytes(b'{"data":')
    await write(tmp_path, 1)
    assert check(tmp_path).clean


async def test_a_bad_record_is_replaced_by_a_note_and_its_neighbours_are_stored(tmp_path: Path) -> None:
    log = an_audit_log(tmp_path)
    await log.open()
    log.record("good", {})
    log.record("bad", {"price": 0.1})
    log.record("good", {})
    await log.close()
    assert log.statistics().bad == 1
    assert check(tmp_path).records == 3
    assert b'"kind":"audit.bad_record"' in (tmp_path / LOG_NAME).read_bytes()


class _Disk:
    """Stands in for os.pwrite: full (writes half, then fails) while `full` is set, blocked until `open` is set."""

    def __init__(self) -> None:
        self.full = False
        self.open = threading.Event()
        self.open.set()

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self.open.wait()
        if self.full and len(data) > 1:
            return os.pwrite(descriptor, data[: len(data) // 2], offset)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(descriptor, data, offset)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Disk]:
    disk = _Disk()
    monkeypatch.setattr(audit_files, "_pwrite", disk.pwrite)
    yield disk
    disk.open.set()


async def test_a_full_disk_keeps_records_until_there_is_room_and_leaves_no_half_line(
    tmp_path: Path, disk: _Disk
) -> None:
    log = an_audit_log(tmp_path)
    await log.open()
    log.record("a", {})
    log._outbox._wake()
    disk.full = True
    log.record("b", {})
    log.record("c", {})
    log._outbox._wake()
    await asyncio.sleep(0)
    assert log.statistics().failing
    assert log.statistics().backlog == 2
    disk.full = False
    log._outbox._wake()
    assert not log.statistics().failing
    await log.close()
    assert check(tmp_path).records == 3


async def test_a_disk_that_recovers_is_tried_again_without_a_new_record(
    tmp_path: Path, disk: _Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "RETRY_S", 0.001)
    log = an_audit_log(tmp_path)
    await log.open()
    disk.full = True
    log.record("a", {})
    log._outbox._wake()
    disk.full = False
    async with asyncio.timeout(5):
        while log.statistics().failing:  # noqa: ASYNC110 - the retry timer is what is waited for
            await asyncio.sleep(0.001)
    assert log.statistics().written == 1
    await log.close()


async def test_a_blocked_disk_costs_the_caller_nothing_and_the_gap_is_recorded(tmp_path: Path, disk: _Disk) -> None:
    thread = WriterThread("audit")
    log = AuditLog(tmp_path, thread, Ticks(), capacity=5)
    await log.open()
    disk.open.clear()
    for number in range(20):
        log.record("n", {"n": number})
    assert log.statistics().dropped == 15
    disk.open.set()
    await log.close()
    thread.shutdown()
    result = check(tmp_path)
    assert (result.clean, result.records) == (True, 6)
    assert b'"dropped":15' in (tmp_path / LOG_NAME).read_bytes()


async def test_closing_on_a_blocked_disk_can_be_given_up(tmp_path: Path, disk: _Disk) -> None:
    thread = WriterThread("audit")
    log = AuditLog(tmp_path, thread, Ticks())
    await log.open()
    disk.open.clear()
    log.record("n", {})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await log.close()
    disk.open.set()
    thread.shutdown()
    assert check(tmp_path).clean


async def test_a_record_after_closing_is_counted_as_dropped(tmp_path: Path) -> None:
    log = an_audit_log(tmp_path)
    await log.open()
    await log.close()
    log.record("late", {})
    assert (log.statistics().dropped, log.statistics().backlog) == (1, 0)


async def test_closing_on_a_full_disk_does_not_raise(tmp_path: Path, disk: _Disk) -> None:
    log = an_audit_log(tmp_path)
    await log.open()
    disk.full = True
    log.record("n", {})
    await log.close()
    assert (log.statistics().backlog, bool(log.statistics().failing)) == (1, True)
