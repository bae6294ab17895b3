"""What an incident bundle is made of: each part as text, secrets still in it; the bundle takes them out."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from core.build import build_id
from core.config import Settings, show_config
from core.errors import JournalUnreadable, StartRefused
from core.storage.audit_files import LOG_NAME, rotated_files
from core.storage.history import History, reading
from core.storage.journal import FILE_NAME
from tools import export
from tools.checkup import Question, answers
from tools.daemon_link import NoDaemon, daemon
from tools.verify_audit import check as check_audit

MOST_BYTES = 20 * 1024 * 1024
"""Of one part; what is older is left out, and the text says so."""
DAEMON_SECONDS = 3.0
SERVICE_LINES = 2000
LOG = "breakwater.log"


def configuration(settings: Settings | None, problems: Sequence[str]) -> str:
    if settings is None:
        return "The configuration cannot be used:\n" + "\n".join(problems) + "\n"
    return show_config(settings)


def versions() -> str:
    found = sorted(f"{one.metadata['Name']} {one.version}" for one in metadata.distributions())
    return "\n".join([f"breakwater {build_id()}", f"python {platform.python_version()}", *found]) + "\n"


def host(folders: Mapping[str, Path]) -> str:
    facts: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": _first_lines(Path("/proc/meminfo"), 5),
        "uptime_s": _first_lines(Path("/proc/uptime"), 1),
        "pressure": {name: _first_lines(Path("/proc/pressure") / name, 2) for name in ("cpu", "io", "memory")},
        "folders": {name: _folder(path) for name, path in folders.items()},
    }
    return json.dumps(facts, indent=2) + "\n"


def _first_lines(path: Path, number: int) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()[:number]
    except OSError:
        return []


def _folder(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        return {"path": str(path), "exists": False}
    files = {one.name: _file(one.lstat()) for one in sorted(path.iterdir())}
    return {"path": str(path), "free_bytes": shutil.disk_usage(path).free, "files": files}


def _file(told: os.stat_result) -> dict[str, Any]:
    return {"bytes": told.st_size, "mode": f"{told.st_mode & 0o7777:04o}", "changed": _iso(told.st_mtime)}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def doctor(questions: Sequence[Question]) -> str:
    return json.dumps([to_builtins(one) for one in answers(questions)], indent=2, ensure_ascii=False) + "\n"


def status(data_dir: Path) -> str:
    """As the daemon tells it, where one answers."""
    told: dict[str, Any] = {}
    try:
        with daemon(data_dir, DAEMON_SECONDS) as link:
            for command in ("status", "risk"):
                told[command] = link.ask(command)
    except (NoDaemon, StartRefused) as error:
        told["error"] = str(error)
    return json.dumps(told, indent=2) + "\n"


def logs(folder: Path, since_ms: int) -> Iterator[tuple[str, str]]:
    """Name and text of each log that has something since then; lines that cannot be read as records are kept."""
    begin = _iso(since_ms / 1000)
    for path in sorted(folder.glob(f"{LOG}*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_mtime * 1000 < since_ms:
            continue
        yield f"logs/{path.name}", _newest(path, lambda line: _time_of(line) >= begin)


def _time_of(line: str) -> str:
    """Of a log record; a line without one belongs to what stands around it and is kept."""
    try:
        record = json.loads(line)
    except ValueError:
        return "9"
    return str(record.get("time", "9")) if isinstance(record, dict) else "9"


def _newest(path: Path, wanted: Callable[[str], bool]) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - MOST_BYTES))
        text = file.read(MOST_BYTES).decode("utf-8", "backslashreplace")
    lines = text.splitlines(keepends=True)
    cut = size > MOST_BYTES
    kept = [line for line in (lines[1:] if cut else lines) if wanted(line)]
    return ("(older lines of this file are left out)\n" if cut else "") + "".join(kept)


def journal(data_dir: Path, since_ms: int) -> Iterator[tuple[str, str]]:
    """Orders, positions, trades, waves with their signals, and durable values; or why they cannot be read."""
    try:
        with reading(data_dir / FILE_NAME) as history:
            for name, rows in export.TABLES.items():
                yield f"journal/{name}.json", _lines(rows(history, since_ms))
            yield "journal/waves.json", _lines(_waves(history, since_ms))
            yield "journal/values.json", json.dumps(history.values(), indent=2) + "\n"
    except JournalUnreadable as error:
        yield "journal/unreadable.txt", f"{error}\n"


def _waves(history: History, since_ms: int) -> Iterator[dict[str, Any]]:
    for wave in history.every_wave():
        if wave.received_ms >= since_ms:
            signals = [to_builtins(one) for one in history.signals_of(wave.wave_id)]
            yield {**to_builtins(wave), "signals": signals}


def _lines(rows: Iterator[Mapping[str, Any]]) -> str:
    """A record a line, so that a large one can be looked at with any tool."""
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def audit(data_dir: Path, since_ms: int) -> Iterator[tuple[str, str]]:
    """Its tail, and whether the whole of it is unaltered. Taking secrets out of the tail may break its chain."""
    if not data_dir.is_dir():
        return
    try:
        yield "audit/verification.json", json.dumps(to_builtins(check_audit(data_dir)), indent=2) + "\n"
    except OSError as error:
        yield "audit/verification.json", json.dumps({"error": str(error)}) + "\n"
        return
    begin = _iso(since_ms / 1000)
    for path in (*rotated_files(data_dir), data_dir / LOG_NAME):
        if path.exists() and path.stat().st_mtime * 1000 >= since_ms:
            yield f"audit/{path.name}", _newest(path, lambda line: _time_of(line) >= begin)


def service(since_ms: int) -> str | None:
    """What systemd kept of the unit's output; None where there is none."""
    program = shutil.which("journalctl")
    if program is None:
        return None
    since = datetime.fromtimestamp(since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    command = [program, "--unit=breakwater.service", f"--since={since}", f"--lines={SERVICE_LINES}", "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10.0, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout or None
