"""What a chaos run borrows from its process, and gives back: chance, keys, a socket, the log, the disk, tasks."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import structlog

from core import orchestrator
from core.signals import backoff
from core.status.control import ControlServer
from core.storage import audit_files
from core.storage.database import Database
from core.venues import reconnecting
from tools.venuesim.binance import signing as binance_signing
from tools.venuesim.bybit import signing as bybit_signing
from tools.venuesim.okx import signing as okx_signing

TOKEN = "feedtoken-9f2c71"
KEYS = {name: f"{name}key0a1b2c3d" for name in ("binance", "bybit", "okx")}
SECRETS = {name: f"{name}secret4e5f6a7b" for name in KEYS}
PASSPHRASE = "okxpassphrase8c9d"
EVERY_SECRET = (TOKEN, PASSPHRASE, *KEYS.values(), *SECRETS.values())
"""Made up, and in no output of the daemon."""


_SIGNING: dict[str, Any] = {"binance": binance_signing, "bybit": bybit_signing, "okx": okx_signing}


class _NoCollector:
    """A daemon collects once and keeps what it has for good; a process that plays forty runs must not, and its own
    collection after each run looks through that run alone."""

    def collect(self) -> None: ...

    def freeze(self) -> None: ...


@contextmanager
def borrowed(
    seed: int, *, hears: Callable[..., Any], console: type[ControlServer], disk_full: Callable[[], bool]
) -> Iterator[None]:
    """`hears` is the last processor of the log, `console` stands in for the control server."""
    chance = Random(f"jitter/{seed}")
    begin = Database._begin

    def on_disk(database: Database) -> None:
        if disk_full():
            raise sqlite3.OperationalError("database or disk is full")
        begin(database)

    def to_disk(descriptor: int, data: bytes, offset: int) -> int:
        if disk_full():
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(descriptor, data, offset)

    instead: list[tuple[Any, str, Any]] = [
        (Database, "_begin", on_disk),
        (audit_files, "_pwrite", to_disk),
        (reconnecting, "SystemRandom", lambda: chance),
        (backoff, "SystemRandom", lambda: chance),
        (orchestrator, "ControlServer", console),
        (orchestrator, "gc", _NoCollector()),
        (okx_signing, "PASSPHRASE", PASSPHRASE),
        *((module, "API_KEY", KEYS[name]) for name, module in _SIGNING.items()),
        *((module, "API_SECRET", SECRETS[name]) for name, module in _SIGNING.items()),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in instead]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, hears],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=False,
    )
    try:
        for owner, name, value in instead:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


class ChaosTask(asyncio.Task[Any]):
    """Numbered, so that a set of tasks is walked in the same order in every process: asyncio cancels by walking one."""

    made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ChaosTask.made += 1
        self._mine = ChaosTask.made
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._mine

    def __eq__(self, other: object) -> bool:
        return self is other
