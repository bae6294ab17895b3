"""Is this host fit? File handles, room on the disk, folders that can be written, a clock that can be right (CFG-12)."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from core.lifecycle.preflight import Check, Grade

WHERE: Final = "host"
HANDLES_NEEDED: Final = 128
"""Sockets, files and the pool of three venues."""
HANDLES_WISHED: Final = 1_024
WRITTEN_NAMES: Final = ("journal.db*", "audit*", "lock", "control.sock", "KILL", "dry-run", "breakwater.log*")
"""What the daemon makes in its folders by name. A link in such a place would have it write, or delete, elsewhere."""
DISK_NEEDED: Final = 100 * 1024**2
DISK_WISHED: Final = 1024**3
WRITTEN_MS: Final = 1_767_225_600_000
"""2026-01-01 UTC: this program was written later, so that no right clock shows less."""


def examine_host(folders: Mapping[str, Path], now_ms: int) -> list[Check]:
    """`folders` by the name of the setting that chose them; they are made where they are missing. Blocks shortly."""
    checks = [*_handles(), *_clock(now_ms)]
    for setting, folder in folders.items():
        found = [*_writable(setting, folder), *_links(setting, folder)]
        checks += found
        if not any(check.grade is Grade.OFF for check in found):
            checks += _room(setting, folder)
    return checks


def _handles() -> Iterator[Check]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = f"; raise it (`ulimit -n {HANDLES_WISHED}`, or LimitNOFILE= of the service)"
    said = f"{limit} file handles"
    if limit < HANDLES_NEEDED:
        yield _check(Grade.OFF, "file handles", f"{said}, at least {HANDLES_NEEDED} are needed{remedy}")
    elif limit < HANDLES_WISHED:
        yield _check(Grade.WARN, "file handles", f"{said}, fewer than {HANDLES_WISHED}{remedy}")
    else:
        yield _check(Grade.OK, "file handles", said)


def _clock(now_ms: int) -> Iterator[Check]:
    """Days end at 00:00 UTC in any time zone; only the moment itself can be wrong."""
    if now_ms < WRITTEN_MS:
        said = "the clock shows a moment before this program was written"
        yield _check(Grade.OFF, "clock", f"{said}; set it (`timedatectl set-ntp true`)")


def _writable(setting: str, folder: Path) -> Iterator[Check]:
    about = f"{setting} folder"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = f"make it writable for this user, or set {setting} to another folder"
        yield _check(Grade.OFF, about, f"{folder} cannot be written ({error.strerror or error}); {remedy}")
    else:
        yield _check(Grade.OK, about, f"{folder} can be written")


def _links(setting: str, folder: Path) -> Iterator[Check]:
    """SEC-06. The folder itself may be a link: its owner has chosen that."""
    names = sorted({path.name for name in WRITTEN_NAMES for path in folder.glob(name) if path.is_symlink()})
    if names:
        said = f"{', '.join(names)} in {folder} is a link to somewhere else"
        yield _check(Grade.OFF, f"{setting} folder", f"{said}; put the files there themselves, or set {setting}")


def _room(setting: str, folder: Path) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB free at {folder}"
    remedy = f"; make room, or set {setting} to a folder on another disk"
    if free < DISK_NEEDED:
        yield _check(Grade.OFF, f"{setting} disk", f"{said}, at least {DISK_NEEDED // 1024**2} MiB are needed{remedy}")
    elif free < DISK_WISHED:
        yield _check(Grade.WARN, f"{setting} disk", f"{said}{remedy}")
    else:
        yield _check(Grade.OK, f"{setting} disk", said)


def _check(grade: Grade, about: str, what: str) -> Check:
    return Check(where=WHERE, grade=grade, about=about, what=what)
