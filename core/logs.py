"""Logging: readable lines on the console, JSON lines in a rotated file, neither ever in the way of trading.

A call on the event loop only builds a dict and puts it into a bounded queue; one thread redacts, renders and writes.
A full queue drops the record and counts it, a failing disk falls back to stderr and counts (OPS-10). Records carry the
context bound with `structlog.contextvars` (wave, signal_id, client_order_id, venue), stamps are UTC with offset, and
one record is one line whatever its text holds (SEC-09).
"""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import structlog

from core.clock import iso_utc
from core.log_files import Retention, RotatedFile
from core.redaction import Redactor

QUEUE_SIZE = 10_000
STOP_SECONDS = 3.0
NOISY_LIBRARIES = ("aiohttp", "asyncio", "ccxt", "httpcore", "httpx", "telegram", "websockets")
"""Kept at WARNING: httpx logs whole URLs at INFO, and the Telegram token is part of them."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
Event = MutableMapping[str, Any]


class LogHealth:
    """How logging itself is doing; read by status and alerts."""

    def __init__(self) -> None:
        self.dropped = 0
        self.file_failures = 0
        self.unrenderable = 0
        self.file_ok = True
        self.rotates = True
        self.queued: Callable[[], int] = int
        """Records that wait to be written, of at most `QUEUE_SIZE`."""


class LogWriter:
    """The thread that writes, and the queue in front of it."""

    def __init__(self, console: TextIO, file: RotatedFile | None, redactor: Redactor, health: LogHealth) -> None:
        self.health = health
        self._console, self._file, self._redactor = console, file, redactor
        self._colour = console.isatty()
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE_SIZE)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        health.queued = self._queue.qsize

    def start(self) -> None:
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue one record; never blocks and never raises."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.health.dropped += 1

    def stop(self) -> None:
        """Write what is queued, for at most `STOP_SECONDS`: a hanging disk must not keep the process alive."""
        try:
            self._queue.put(None, timeout=STOP_SECONDS)
        except queue.Full:
            return
        self._thread.join(STOP_SECONDS)
        if self._file is not None and not self._thread.is_alive():
            self._file.close()

    def _run(self) -> None:
        reported = 0
        while (event := self._queue.get()) is not None:
            self._write(event)
            if self.health.dropped > reported:
                reported = self.health.dropped
                self._write({"time": event["time"], "level": "warning", "event": "log.dropped", "total": reported})

    def _write(self, event: Event) -> None:
        try:
            clean = self._redactor.mapping(event)
            line = json_line(clean)
        except Exception as error:  # swallow: a value whose __str__ fails must not stop the log
            self.health.unrenderable += 1
            clean = {
                "time": event["time"],
                "level": "error",
                "event": "log.unrenderable",
                "error": type(error).__name__,
            }
            line = json_line(clean)
        self._to_console(console_line(clean, colour=self._colour, brief=self._file is not None))
        if self._file is not None:
            self._to_file(self._file, line, str(clean["time"]))

    def _to_file(self, file: RotatedFile, line: str, stamp: str) -> None:
        try:
            file.write(line)
        except OSError as error:
            self.health.file_failures += 1
            if self.health.file_ok:
                self.health.file_ok = False
                notice = {"time": stamp, "level": "error", "event": "log.file_failed", "error": str(error)}
                _say(sys.stderr, console_line(notice, colour=False, brief=True))
            _say(sys.stderr, line)
            return
        if self.health.rotates is bool(file.rotation_failed):
            self._note_rotation(file.rotation_failed, stamp)
        if not self.health.file_ok:
            self.health.file_ok = True
            lost = {"time": stamp, "level": "warning", "event": "log.file_recovered"}
            self._to_console(console_line(lost, colour=self._colour, brief=True))

    def _note_rotation(self, failed: str, stamp: str) -> None:
        self.health.rotates = not failed
        if failed:
            self.health.file_failures += 1
            notice = {"time": stamp, "level": "error", "event": "log.not_rotated", "error": failed}
            _say(sys.stderr, console_line(notice, colour=False, brief=True))

    def _to_console(self, line: str) -> None:
        if not _say(self._console, line) and self._file is None:
            self.health.dropped += 1


def _say(stream: TextIO, line: str) -> bool:
    """Write a line to a terminal or pipe; False when it is closed, which no log may make the daemon's problem."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        return False
    return True


def escape(text: str) -> str:
    """`text` on one line: control, line-breaking and direction-changing characters as `\\uXXXX`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_line(event: Mapping[str, object]) -> str:
    return escape(json.dumps(event, ensure_ascii=False, default=str))


def console_line(event: Mapping[str, object], *, colour: bool, brief: bool) -> str:
    """`stamp level event key=value …`; with `brief` the traceback is left to the file."""
    level = str(event.get("level", "info"))
    shown = f"\x1b[{_COLOURS.get(level, '0')}m{level:<8}\x1b[0m" if colour else f"{level:<8}"
    skipped = {"time", "level", "event", "exception"} if brief else {"time", "level", "event"}
    pairs = (f"{name}={_quoted(value)}" for name, value in event.items() if name not in skipped)
    return " ".join([str(event.get("time", "")), shown, escape(str(event.get("event", ""))), *pairs])


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and (not value or any(char in value for char in ' "=\t')):
        text = json.dumps(value, ensure_ascii=False)
    return escape(text)


class _Queued:
    """What structlog calls at the end of its chain; every level does the same."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def debug(self, event: Event) -> None:
        self._writer.put(event)

    info = warning = error = critical = exception = msg = log = debug


class _FromLibraries(logging.Handler):
    """Records of the standard library's logging, brought into the same queue."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        event: Event = {
            "time": iso_utc(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "event": "library",
            "logger": record.name,
        }
        try:
            event["text"] = record.getMessage()
        except (TypeError, ValueError) as error:
            event["text"] = f"{record.msg!r} (its arguments do not fit: {error})"
        if record.exc_info and record.exc_info[1] is not None:
            _describe(record.exc_info[1], event)
        self._writer.put(event)


def _describe(error: BaseException, event: Event) -> None:
    event["error"] = f"{type(error).__name__}: {error}"
    event["exception"] = "".join(traceback.format_exception(error))


def _with_context(_logger: Any, _method: str, event: Event) -> Event:
    """Add what is bound, by name: structlog's own merging follows the variables' hashes, another order every run."""
    bound = structlog.contextvars.get_contextvars()
    for name in sorted(bound):
        event.setdefault(name, bound[name])
    return event


def _with_exception(_logger: Any, _method: str, event: Event) -> Event:
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if info is True:
        error = sys.exc_info()[1]
    if error is not None:
        _describe(error, event)
    return event


def _stamper(now_ms: Callable[[], int]) -> structlog.typing.Processor:
    def stamp(_logger: Any, method: str, event: Event) -> Event:
        level = "error" if method == "exception" else "warning" if method == "warn" else method
        return {"time": iso_utc(now_ms()), "level": level, "event": event.pop("event", ""), **event}

    return stamp


def _as_argument(_logger: Any, _method: str, event: Event) -> tuple[tuple[Event], dict[str, Any]]:
    return (event,), {}


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def configure_logging(
    log_dir: Path | None,
    level: str = "INFO",
    *,
    secrets: Iterable[str] = (),
    console: TextIO | None = None,
    now_ms: Callable[[], int] = _wall_ms,
    retention: Retention | None = None,
) -> Iterator[LogHealth]:
    """Log to `console` (stderr) and, unless None, to `log_dir`/breakwater.log until the block is left.

    `secrets` are masked wherever they appear. Inside the block `structlog.get_logger()` works anywhere; the standard
    library's loggers come along, those of our libraries from WARNING up.
    """
    health = LogHealth()
    file = RotatedFile(log_dir / "breakwater.log", retention) if log_dir is not None else None
    writer = LogWriter(console or sys.stderr, file, Redactor(secrets), health)
    number = logging.getLevelNamesMapping()[level]
    handler = _FromLibraries(writer)
    root = logging.getLogger()
    before_root = root.level
    before = {name: logging.getLogger(name).level for name in NOISY_LIBRARIES}
    structlog.configure(
        processors=[_with_context, _stamper(now_ms), _with_exception, _as_argument],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_names: _Queued(writer),
        cache_logger_on_first_use=False,  # a module's logger must follow the next configuration, as in tests
    )
    writer.start()
    root.addHandler(handler)
    root.setLevel(number)
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    try:
        yield health
    finally:
        root.removeHandler(handler)
        root.setLevel(before_root)
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)
        structlog.reset_defaults()
        writer.stop()
