"""Dry run: the same daemon against simulator processes on loopback that are started and stopped here.

Nothing else knows about dry run. Configured keys and addresses are not used (CFG-10), and nothing of what leaves this
host: the Telegram bot and the alert webhook of the settings belong to the live daemon.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from core.config import PROJECT_ROOT, Settings, derive_settings
from core.errors import StartRefused
from core.settings.values import is_loopback
from core.transport import AiohttpHttp

VENUES = ("binance", "bybit", "okx")
"""All of them, unless EXCHANGES chooses."""
RUNS = "dry-run"
"""The folder of their data, inside the configured one, and of their log."""
KEPT_RUNS = 5
READY_SECONDS = 20.0
STOP_SECONDS = 5.0
_PREFIX = {"binance": "BINANCE", "bybit": "BYBIT", "okx": "OKX"}


class VenueRecord(Struct, frozen=True, kw_only=True):
    """The venue's own record of one position life (`/_sim/protection`). Milliseconds, base units."""

    venue: str
    symbol: str
    open: bool
    naked_now_ms: Decimal
    max_unprotected_ms: Decimal
    uncovered_quantity: Decimal


class DryRun(Struct, frozen=True, kw_only=True):
    """Settings that lead to the simulators, and a way to ask these for their own record."""

    settings: Settings
    urls: Mapping[str, str]

    async def records(self) -> list[VenueRecord]:
        """Every position life the venues saw. Raises VenueError."""
        rows: list[VenueRecord] = []
        http = AiohttpHttp("simulator")
        try:
            for venue, url in self.urls.items():
                answer = await http.request("GET", f"{url}/_sim/protection", {})
                rows += [_record(venue, row) for row in json.loads(answer.body)]
        finally:
            await http.close()
        return rows


@asynccontextmanager
async def dry_run(settings: Settings) -> AsyncIterator[DryRun]:
    """Simulators for every venue, up while inside. Raises StartRefused when one does not start."""
    folder = _fresh_folder(settings.process.data_dir / RUNS)
    chosen = settings.trading.exchanges or VENUES
    async with AsyncExitStack() as stack:
        started = {venue: await stack.enter_async_context(_simulator(venue, folder)) for venue in chosen}
        ready = await asyncio.gather(*(_ready_url(venue, process) for venue, process in started.items()))
        urls: dict[str, str] = dict(zip(started, ready, strict=True))
        changes: dict[str, str | None] = {
            "DATA_DIR": str(folder),
            "EXCHANGES": ",".join(urls),
            "PREFLIGHT_PROBE_ORDERS": "true",
            "LOG_DIR": str(log_folder(settings)),
            **_people(settings),
        }
        for venue, prefix in _PREFIX.items():
            used = venue in urls
            changes[f"{prefix}_API_KEY"] = "sim" if used else None
            changes[f"{prefix}_API_SECRET"] = "sim" if used else None
            changes[f"{prefix}_URL"] = urls.get(venue)
            changes[f"{prefix}_TESTNET"] = None
        changes["OKX_PASSPHRASE"] = "sim" if "okx" in urls else None
        yield DryRun(settings=derive_settings(settings, changes, source="dry run"), urls=urls)


def log_folder(settings: Settings) -> Path:
    """Of its own: two processes that write and rotate one file would lose lines of both."""
    return settings.process.log_dir / RUNS


def _people(settings: Settings) -> dict[str, str | None]:
    """Who hears of a live daemon must not hear of this one, nor may it take what is said or posted to that one: only a
    bot server and a webhook on this host are used, and signals are posted to a port of its own."""
    changes: dict[str, str | None] = {}
    if not is_loopback(urlsplit(settings.telegram.api_url).hostname):
        changes |= dict.fromkeys(("TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID"))
    if not is_loopback(urlsplit(settings.alerts.webhook_url or "").hostname):
        changes |= dict.fromkeys(("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"))
    if settings.webhook.port is not None:
        changes["WEBHOOK_PORT"] = "0"
    return changes


@asynccontextmanager
async def _simulator(venue: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Started, and not necessarily ready. Out of reach of the terminal's Ctrl-C, which is for the daemon: its venues
    must still be there while it settles and asks for their record."""
    command = [sys.executable, "-m", "tools.venuesim", "--venue", venue, "--log", str(folder / f"{venue}.jsonl")]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await _end(process)


async def _ready_url(venue: str, process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise StartRefused(f"the {venue} simulator has no output")
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await process.stdout.readline()
    except TimeoutError:
        raise StartRefused(f"the {venue} simulator was not ready within {READY_SECONDS:g} s") from None
    if not line:
        raise StartRefused(f"the {venue} simulator ended at once; run `python -m tools.venuesim --venue {venue}`")
    return str(json.loads(line)["url"])


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _fresh_folder(root: Path) -> Path:
    """A folder named by the UTC start; older runs beyond the last few are removed."""
    for path in (*reversed(root.parents), root):  # with `parents` only the last one would have the mode
        path.mkdir(exist_ok=True, mode=0o700)
    earlier: Sequence[Path] = sorted(path for path in root.iterdir() if path.is_dir())
    for path in earlier[: max(0, len(earlier) - KEPT_RUNS + 1)]:
        shutil.rmtree(path)
    folder = root / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
    folder.mkdir(mode=0o700)
    return folder


def _record(venue: str, row: Mapping[str, object]) -> VenueRecord:
    return VenueRecord(
        venue=venue,
        symbol=str(row["symbol"]),
        open=row["closed"] is None,
        naked_now_ms=Decimal(str(row["naked_now_ms"])),
        max_unprotected_ms=Decimal(str(row["max_unprotected_ms"])),
        uncovered_quantity=Decimal(str(row["uncovered_qty"])),
    )
