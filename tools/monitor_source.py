"""What the monitor shows, from whoever can tell it: the status page, else the control socket, else the journal."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from core.config import Settings
from core.errors import JournalUnreadable, StartRefused
from core.settings.values import is_loopback
from core.storage.history import reading
from core.storage.journal import FILE_NAME
from tools import quick_check
from tools.daemon_link import NoDaemon, daemon
from tools.direct import opened

ANSWER_SECONDS = 2.0
LOG_NAME = "breakwater.log"
LOG_BYTES = 64 * 1024
LOG_LINES = 40
WAVES = 5
Facts = dict[str, Any]


class Silent(Exception):
    """Nobody answers; the text says how that was found out."""


class Places(Struct, frozen=True, kw_only=True):
    """Where to look. `page` is the address of `/status`, "" where there is no status page, and `token` what it asks."""

    data_dir: Path
    log_dir: Path | None
    page: str = ""
    token: str = ""


def places_of(settings: Settings) -> Places:
    """Of the daemon with these settings."""
    status = settings.status
    page = ""
    if status.port:
        host = status.host if is_loopback(status.host) else "127.0.0.1"
        scheme = "https" if status.tls_cert is not None else "http"
        page = f"{scheme}://{f'[{host}]' if ':' in host else host}:{status.port}/status"
    token = "" if status.token is None else status.token.get_secret_value()
    return Places(data_dir=settings.process.data_dir, log_dir=settings.process.log_dir, page=page, token=token)


def look(places: Places) -> Facts:
    """Never raises for what is missing: that is a fact too."""
    facts: Facts = {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        source, told = _told(places)
        facts |= {**quick_check.of_daemon(told), **_more(told), "running": True, "source": source, "silent": ""}
    except Silent as silent:
        facts |= {"running": False, "source": "journal", "silent": str(silent), "last_seen": _last_seen(places)}
        facts |= {"state": "not running", "reason": str(silent), "positions": [], "venues": []}
    try:
        with reading(places.data_dir / FILE_NAME) as history:
            if not facts["running"]:
                facts |= quick_check.of_journal(history, silent=False) | {"reason": facts["silent"]}
            facts |= quick_check.waves_of(history)
    except JournalUnreadable as error:
        facts |= {"last_waves": [], "refusals_24h": {}, "journal": str(error)}
    facts["log"] = log_tail(places.log_dir)
    return facts


def _told(places: Places) -> tuple[str, Mapping[str, Any]]:
    """Which way it came, and the status with the health in it. Raises Silent."""
    why = ""
    if places.page:
        try:
            return "status page", _page(places)
        except (OSError, ValueError) as error:
            why = f"the status page does not answer ({getattr(error, 'reason', None) or error})"
    try:
        with daemon(places.data_dir, ANSWER_SECONDS) as link:
            return "control socket", {**link.ask("status"), "health": link.ask("health")}
    except (NoDaemon, StartRefused) as error:
        raise Silent(why if why and isinstance(error, NoDaemon) and not error.stuck else str(error)) from error


def _page(places: Places) -> Mapping[str, Any]:
    headers = {"Authorization": f"Bearer {places.token}"} if places.token else {}
    request = urllib.request.Request(places.page, headers=headers)  # noqa: S310 - http or https, made here
    with opened(request, ANSWER_SECONDS, to_this_host=True) as answer:
        told = json.load(answer)
    if not isinstance(told, dict) or "trading_state" not in told:
        raise ValueError("another program answers there")
    return told


def _more(told: Mapping[str, Any]) -> Facts:
    """What this screen shows beside the one of quick_check."""
    by_key = {(row["instrument"][0], row["instrument"][1], row["side"]): row for row in told["positions"]}
    positions = []
    for row in quick_check.of_daemon(told)["positions"]:
        raw = by_key[row["venue"], row["symbol"], row["side"]]
        more = {name: raw.get(name) for name in ("protected_s", "naked_s", "unprotected_ms")}
        positions.append(row | more | {"entry_price": row["entry_price"]})
    return {
        "positions": positions,
        "health": told.get("health", {}),
        "risk": told.get("risk"),
        "waves": told["waves"],
        "refusals": told["refusals"],
        "signals": told.get("signals", {}),
        "tasks": [row for row in told.get("tasks", ()) if not row["running"] or row["why"]],
    }


def _last_seen(places: Places) -> str | None:
    """When the daemon last did something that can be seen: its last log record."""
    tail = log_tail(places.log_dir, 1)
    if tail and tail[-1].get("time"):
        return str(tail[-1]["time"])
    journal = places.data_dir / FILE_NAME
    if not journal.exists():
        return None
    return datetime.fromtimestamp(journal.stat().st_mtime, UTC).isoformat(timespec="seconds")


def log_tail(folder: Path | None, lines: int = LOG_LINES) -> list[dict[str, Any]]:
    """The newest records, oldest first; what is no record is left out."""
    path = None if folder is None else folder / LOG_NAME
    if path is None or not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        text = file.read(LOG_BYTES).decode("utf-8", "backslashreplace")
    found: deque[dict[str, Any]] = deque(maxlen=lines)
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return list(found)


def seconds_since(stamp: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(stamp).timestamp())
