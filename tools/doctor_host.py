"""What the doctor asks of this host: configuration, files and their modes, versions, lock, journal, audit, service."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from core.config import PROJECT_ROOT, Settings
from core.domain.money import plain
from core.errors import StartRefused
from core.lifecycle.host import examine_host
from core.lifecycle.preflight import Grade as HostGrade
from core.settings.fields import entries
from core.settings.values import is_loopback
from core.storage.journal import FILE_NAME
from core.storage.migrations import VERSION
from tools.checkup import Finding, Grade, fail, ok, warn
from tools.daemon_link import NoDaemon, daemon
from tools.verify_audit import check as check_audit

LEAST_PYTHON = (3, 11)
MOST_LEVERAGE = 10
"""Above it a warning: an ordinary day moves that much."""
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)
SERVICE = "breakwater.service"
SECRET_FOLDER_BITS = stat.S_IRWXG | stat.S_IRWXO
_GRADES = {HostGrade.OK: Grade.OK, HostGrade.WARN: Grade.WARN, HostGrade.LATE: Grade.WARN, HostGrade.OFF: Grade.FAIL}


# configuration


def risky_values(settings: Settings) -> Iterator[Finding]:
    """What is allowed and still deserves a second look."""
    said = list(_risks(settings))
    yield from (warn("configuration", what) for what in (*settings.warnings, *said))
    if not said and not settings.warnings:
        yield ok("configuration", "every name is known and no value looks risky")


def _risks(settings: Settings) -> Iterator[str]:
    risk, sizing = settings.risk, settings.sizing
    if sizing.leverage > MOST_LEVERAGE:
        yield f"LEVERAGE={sizing.leverage}: a move of {100 / sizing.leverage:.1f} % liquidates; lower it unless meant"
    if not settings.trading.trading_enabled:
        yield "TRADING_ENABLED=false: nothing new is opened"
    if settings.telegram.token is None:
        yield "TELEGRAM_TOKEN is not set, so nobody is told when something is wrong"
    if settings.process.close_positions_on_shutdown:
        yield "CLOSE_POSITIONS_ON_SHUTDOWN=true: every restart closes everything at market"
    if risk.max_exposure_usd < settings.risk.max_positions * sizing.position_size_usd:
        held = int(risk.max_exposure_usd / sizing.position_size_usd)
        exposure = plain(risk.max_exposure_usd)
        yield f"MAX_EXPOSURE_USD={exposure} allows {held} positions, fewer than MAX_POSITIONS={risk.max_positions}"
    for name, host in (("STATUS_HOST", settings.status.host), ("WEBHOOK_HOST", settings.webhook.host)):
        if not is_loopback(host):
            yield f"{name}={host} can be reached from other hosts; keep it on loopback behind a tunnel or a proxy"


def kill_file(data_dir: Path) -> Iterator[Finding]:
    if (data_dir / "KILL").exists():
        yield warn("kill file", f"{data_dir / 'KILL'} exists: trading is halted while it does; delete it to trade")


# files


def file_modes(files: Mapping[str, Path], folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Files that only their owner may read, and folders that nobody else may look into."""
    found: list[Finding] = []
    for name, path in files.items():
        if path.exists():
            found += _mode(name, path, SECRET_FOLDER_BITS, "600")
    for name, path in folders.items():
        if path.exists():
            found += _mode(name, path, SECRET_FOLDER_BITS, "700")
    yield from found or [ok("file modes", "files with secrets and state are for their owner only")]


def _mode(name: str, path: Path, forbidden: int, wanted: str) -> Iterator[Finding]:
    told = path.stat()
    mode = stat.S_IMODE(told.st_mode)
    if mode & forbidden:
        yield fail("file modes", f"{name} {path} may be read by others (mode {mode:04o}); run: chmod {wanted} {path}")
    if told.st_uid != os.geteuid():
        yield warn("file modes", f"{name} {path} belongs to another user (uid {told.st_uid}); run this as that user")


def secret_files(env: Mapping[str, str], env_file: Path | None) -> dict[str, Path]:
    """The `.env`, and the files of secrets that the environment names."""
    names = [entry.file_env for entry in entries(Settings) if entry.secret and env.get(entry.file_env)]
    files = {name: (PROJECT_ROOT / Path(env[name]).expanduser()) for name in names}
    if env_file is not None:
        files[".env"] = env_file
    return {name: path for name, path in files.items() if not _is_runtime(path)}


def _is_runtime(path: Path) -> bool:
    """Mounted there by a container runtime or a service manager, with a mode of its own."""
    return path.is_relative_to("/run") or path.is_relative_to("/proc")


# host


def host(folders: Mapping[str, Path]) -> Iterator[Finding]:
    for check in examine_host(folders, time.time_ns() // 1_000_000):
        yield Finding(about=check.about, grade=_GRADES[check.grade], what=check.what)


def clock() -> Iterator[Finding]:
    """Whether the host keeps its clock right by itself; how far it is from a venue's the venue's own check tells."""
    program = shutil.which("timedatectl")
    told = "" if program is None else _said([program, "show", "--property=NTPSynchronized", "--value"])
    if told == "yes":
        yield ok("host clock", "it is synchronised over the network")
    elif told == "no":
        yield warn("host clock", "it is not synchronised; run: timedatectl set-ntp true")
    else:
        yield ok("host clock", "this host does not tell whether it is synchronised; compare with a venue's below")


# versions


def versions() -> Iterator[Finding]:
    """Python, and each library against the pinned list."""
    python = platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        yield fail("python", f"Python {python} is too old; install 3.11 or newer and set up .venv again")
    else:
        yield ok("python", f"Python {python} ({platform.machine()}, {platform.system()} {platform.release()})")
    pinned = PROJECT_ROOT / "requirements.txt"
    if not pinned.exists():
        yield warn("libraries", "requirements.txt is missing; libraries cannot be compared")
        return
    wrong = [
        what for name, pins in pinned_versions(pinned.read_text("utf-8")).items() if (what := _differs(name, pins))
    ]
    if wrong:
        install = "run: .venv/bin/pip install --require-hashes -r requirements.txt"
        yield fail("libraries", f"{'; '.join(wrong)}; {install}")
    else:
        yield ok("libraries", "every library has its pinned version")


def pinned_versions(text: str) -> dict[str, dict[str, bool]]:
    """By name: each version that is pinned for some platform, and whether it is for some only."""
    found: dict[str, dict[str, bool]] = {}
    for name, version, marker in PINNED.findall(text):
        found.setdefault(name, {})[version] = bool(marker)
    return found


def _differs(name: str, pins: Mapping[str, bool]) -> str:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "" if all(pins.values()) else f"{name} is not installed"
    return "" if found in pins else f"{name} {found} instead of {' or '.join(pins)}"


# the daemon and what it writes


def lock(data_dir: Path, build: str) -> Iterator[Finding]:
    """Whether a daemon runs here. Nothing is locked for it: a daemon that starts right now must not be refused."""
    try:
        with daemon(data_dir, 2.0) as link:
            status = link.ask("status")
    except NoDaemon as error:
        holder = lock_holder(data_dir / "lock")
        if holder is not None and not error.stuck:
            what = f"process {holder} holds the lock and serves no control socket: it starts, or waits for its venues"
            yield warn("daemon", f"{what}; its log tells")
        elif holder is not None:
            remedy = f"look at its log; end it with kill {holder}, in need with kill -9 {holder}: stops stay"
            yield fail("daemon", f"process {holder} holds the lock and does not answer ({error}); {remedy}")
        else:
            yield ok("daemon", "no daemon runs with this DATA_DIR")
        return
    except StartRefused as error:
        yield warn("daemon", f"a daemon runs and does not tell its status: {error}")
        return
    yield from _running(status, build)


def _running(status: Mapping[str, Any], build: str) -> Iterator[Finding]:
    said = f"build {status['build']} runs since {status['uptime_s'] / 3600:.1f} h, {status['trading_state']}"
    naked = [row["instrument"] for row in status["positions"] if row["stop"] is None and not row["dust"]]
    if naked:
        yield fail("daemon", f"{len(naked)} positions have no confirmed stop: look with tools/check_orders.py")
    if status["build"] != build:
        yield warn("daemon", f"{said}; build {build} is installed: restart it")
    elif status["trading_state"] == "halted":
        yield warn("daemon", f"{said}: {status['reason']}")
    else:
        yield ok("daemon", said)


def lock_holder(path: Path) -> int | None:
    """The process that holds this lock, as the kernel tells it; None when nobody does, or it does not tell."""
    try:
        told, locks = path.stat(), Path("/proc/locks").read_text("ascii")
    except OSError:
        return None
    mark = f":{told.st_ino} "
    for line in locks.splitlines():
        fields = line.split()
        if "FLOCK" in fields and mark in f"{line} " and "->" not in fields:
            return int(fields[fields.index("WRITE") + 1]) if "WRITE" in fields else None
    return None


def journal(data_dir: Path) -> Iterator[Finding]:
    path = data_dir / FILE_NAME
    set_aside = sorted(other.name for other in data_dir.glob(f"{FILE_NAME}.broken-*") if not other.name.endswith("m"))
    if set_aside:
        yield warn("journal", f"{set_aside[-1]} was set aside as broken; keep it until you know why, then delete it")
    if not path.exists():
        yield ok("journal", f"none yet at {path}: no daemon has run with this DATA_DIR")
        return
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2.0)
        try:
            sound = connection.execute("PRAGMA quick_check(3)").fetchall()
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        yield fail("journal", f"{path} cannot be read ({error}); a start sets it aside and takes over from the venues")
        return
    if sound != [("ok",)]:
        yield fail(
            "journal", f"{path} is damaged ({sound[0][0]}); a start sets it aside and takes over from the venues"
        )
    elif version > VERSION:
        yield fail("journal", f"{path} was written by a newer program (schema {version}); use that one")
    else:
        size = path.stat().st_size / 1024**2
        yield ok("journal", f"sound, schema {version}, {size:.1f} MiB")


def audit(data_dir: Path) -> Iterator[Finding]:
    try:
        result = check_audit(data_dir)
    except FileNotFoundError:
        yield ok("audit log", "none yet")
        return
    if result.clean:
        yield ok("audit log", result.sentence())
    else:
        yield fail("audit log", f"{result.sentence()}; keep a copy, and ask who could write there")


def service() -> Iterator[Finding]:
    """The state of the systemd unit, where there is one."""
    program = shutil.which("systemctl")
    if program is None:
        yield ok("service", "no systemd here")
        return
    names = ("LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState")
    told = _said([program, "show", SERVICE, f"--property={','.join(names)}"])
    facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if facts.get("LoadState") != "loaded":
        yield ok("service", f"{SERVICE} is not installed (make install-service)")
        return
    said = f"{facts.get('ActiveState')} ({facts.get('SubState')}), {facts.get('NRestarts')} restarts"
    if facts.get("ActiveState") == "failed":
        yield fail("service", f"{said}, {facts.get('Result')}; see journalctl -u {SERVICE}")
    elif facts.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
        yield warn("service", f"{said}, and it does not start with the host; run: systemctl enable {SERVICE}")
    else:
        yield ok("service", said)


def _said(command: list[str]) -> str:
    """Its output, "" when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
