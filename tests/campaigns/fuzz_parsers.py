"""What comes in beside the venues: signals, settings, journal, audit log, control socket, candles, Telegram."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from telegram import Update
from telegram.error import TelegramError
from telegram.request import BaseRequest

from core.domain.alerts import AlertKind
from core.domain.audit import BrokenLineError, check_line, read_claim, seal, verify
from core.domain.ids import ClientOrderId, PositionId, VenueName
from core.engine.ports import Level
from core.engine.records import (
    ExecutionRecord,
    ExitRecord,
    FillRecord,
    OrderRecord,
    PositionRecord,
    StateRecord,
    WaveMark,
)
from core.errors import ConfigError, JournalUnreadable, JournalUnwritable, MalformedPayload
from core.settings.loading import load_settings
from core.signals.frames import decode_frame
from core.signals.polled import CheckPlan
from core.signals.server import ServerAddress, SignalForm, SignalServer
from core.status.control import ControlServer
from core.storage.audit_files import LOG_NAME, AuditFiles
from core.storage.history import reading
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor
from tests.builders import NOW_MS
from tests.campaigns.fuzz_judge import ROOT, Open, Parser, Unsound
from tests.fakes.fake_socket import FakeSocket
from tests.fakes.virtual_loop import VirtualClock
from tests.signals.test_parsing import PLAIN, a_reader
from tests.storage.records import a_fill, a_position, a_signal, an_exit_state, an_order
from tests.tgbot.desks import FakeDesk, no_picture
from tgbot.bot import TelegramAccount, TelegramBot
from tgbot.roles import Roster
from tools.candle_replay.candles import BadInput, joined, moment, read
from tools.verify_audit import check

_CHAT = 42
_TABLES = ("orders", "positions", "exits", "state", "waves", "signals", "executions", "fills")


def _text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# --- signals ----------------------------------------------------------------------------------------------------------


class _Told:
    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None: ...


@asynccontextmanager
async def _signals() -> AsyncIterator[Open]:
    """Frames of both forms of the protocol, as the connection hands them on."""
    waves: list[Any] = []
    servers = []
    for form in (SignalForm.PUSHED, SignalForm.POLLED):
        server = SignalServer(
            address=ServerAddress(url="ws://127.0.0.1:1", token="t"),
            form=form,
            socket=lambda: FakeSocket([]),
            reader=a_reader(venues=tuple(VenueName), default=VenueName.BINANCE),
            collect_seconds=0.05,
            plan=CheckPlan(minutes=(6,), interval_seconds=1, duration_seconds=120),
            clock=VirtualClock(),
            notifier=_Told(),
        )
        servers.append((server, asyncio.create_task(server.run(waves.append))))
    await asyncio.sleep(0.01)

    async def feed(data: bytes) -> object:
        waves.clear()
        frame = decode_frame(data)
        refused: MalformedPayload | None = None
        for server, _ in servers:
            try:
                await server._on_frame(frame)
            except MalformedPayload as error:
                refused = error
        await asyncio.sleep(0.2)
        if refused is not None:
            raise refused
        return waves

    full = {
        **PLAIN, "created_at": 1_790_000_000, "exchange_id": 1, "score_week": 1, "score_month": "2.5", "price": "60000",
        "recommended_action": "BUY", "stop_loss_filter": "2.5", "take_profit_filter": 4, "max_trades_filter": 3,
        "trailing_activation_filter": 1.5, "trailing_distance_filter": "0.5", "time_limit_minutes": 90,
        "patterns": ["a", "b"], "rsi": 61.5, "strategy": "s", "trading_pair_id": 7,
    }  # fmt: skip
    seeds = [
        {"type": "signal", **full},
        {"type": "signals_snapshot", "data": [full, {**full, "id": "x", "direction": "SHORT"}]},
        {"type": "signals", "data": [full, {**full, "id": 3}], "count": 2},
        {"type": "heartbeat"}, {"type": "pong"}, {"type": "stats", "data": {}}, {"type": "error", "message": "no"},
    ]  # fmt: skip
    try:
        yield Open(feed=feed, seeds=[_text(seed) for seed in seeds])
    finally:
        for _, task in servers:
            task.cancel()
        await asyncio.gather(*(task for _, task in servers), return_exceptions=True)


# --- settings ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _settings() -> AsyncIterator[Open]:
    """A whole `.env`; the same lines once more as the environment, where they can stand in one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.touch(mode=0o600)

        async def feed(data: bytes) -> object:
            path.write_bytes(data)
            try:
                load_settings({}, path, to_trade=False)
            except ConfigError as error:
                str(error).encode()
            lines = [line.partition("=") for line in data.decode("utf-8", "replace").splitlines()]
            return load_settings({key: value for key, _, value in lines if key}, None, to_trade=False).warnings

        example = (ROOT / ".env.example").read_text("utf-8")
        given = [line[1:].strip() for line in example.splitlines() if line.startswith("#") and "=" in line]
        short = "BINANCE_API_KEY=abc\nBINANCE_API_SECRET='s p'\nPOSITION_SIZE_USDT=100\nexport MAX_OPEN_POSITIONS=3\n"
        old = "COOLDOWN_AFTER_LOSS_MINUTES=5\nMIN_POSITION_SIZE_USD=6\nWAVE_CHECK_MINUTES=6,20,35,50\n"
        files = ["\n".join(lines) for lines in (given[:20], given[20:60], given[60:120], given[120:])]
        seeds = [short, old, short + old, *files]
        yield Open(feed=feed, seeds=[seed.encode() for seed in seeds], donors=[line.encode() for line in given])


# --- journal and audit ------------------------------------------------------------------------------------------------


async def _filled_journal(path: Path) -> None:
    journal = SqliteJournal(path, InlineExecutor(), lambda: NOW_MS)
    await journal.open()
    order = an_order()
    await journal.append([
        WaveMark(wave_id="w-1", source="ws", received_ms=NOW_MS, finished_ms=NOW_MS),
        a_signal(time_ms=NOW_MS), OrderRecord(order=order, time_ms=NOW_MS), FillRecord(fill=a_fill(), time_ms=NOW_MS),
        PositionRecord(position=a_position(), time_ms=NOW_MS), ExitRecord(state=an_exit_state(), time_ms=NOW_MS),
        StateRecord(key="risk", value='{"day":"2026-09-21"}', time_ms=NOW_MS),
        ExecutionRecord(client_order_id=ClientOrderId(order.client_order_id), values={"a": "1"}, time_ms=NOW_MS),
    ])  # fmt: skip
    await journal.close()


@asynccontextmanager
async def _journal() -> AsyncIterator[Open]:
    """One cell of one row is another one: a start and the tools must say so, or do without."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        await _filled_journal(path)
        whole = path.read_bytes()
        seeds = []
        with sqlite3.connect(path) as told:
            for table in _TABLES:
                cursor = told.execute(f"SELECT * FROM {table}")
                columns = [column[0] for column in cursor.description]
                row = cursor.fetchone()
                seeds += [
                    f"{table}|{column}\n".encode() + _text(value) for column, value in zip(columns, row, strict=True)
                ]

        async def feed(data: bytes) -> object:
            change = _change(data)
            path.write_bytes(whole)
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                if change is not None:
                    table, column, value = change
                    connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,))
            except (sqlite3.Error, OverflowError, UnicodeEncodeError, ValueError):
                return None  # SQLite itself keeps such a thing out
            finally:
                connection.close()
            return await _read_back(path)

        yield Open(feed=feed, seeds=seeds, headed=True)


def _change(data: bytes) -> tuple[str, str, Any] | None:
    head, _, text = data.partition(b"\n")
    table, _, column = head.decode("latin-1").partition("|")
    if table not in _TABLES or not column.isidentifier():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text.decode("utf-8", "replace")
    return table, column, value if isinstance(value, str | int | float | None) else text.decode("utf-8", "replace")


async def _read_back(path: Path) -> object:
    refused: Exception | None = None
    journal = SqliteJournal(path, InlineExecutor(), lambda: NOW_MS)
    await journal.open()
    try:
        await journal.load()
    except JournalUnwritable as error:
        refused = error
    await journal.close()
    with reading(path) as history:
        for wave in history.last_waves(3):
            for signal in history.signals_of(wave.wave_id):
                history.entry_of(signal)
        history.orders_of(PositionId("p-1"))
        history.last_wave_with("BTCUSDT", None)
        history.working_orders()
        history.open_positions()
        history.refusals_since(0)
        history.values()
    if refused is not None:
        raise refused
    return None


@asynccontextmanager
async def _audit() -> AsyncIterator[Open]:
    """A whole file: proved by the tool, and opened by a daemon that goes on after it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOG_NAME

        async def feed(data: bytes) -> object:
            path.write_bytes(data)
            path.with_name("audit.head").unlink(missing_ok=True)
            check(path.parent)
            for line in data.decode("latin-1").split("\n")[:3]:
                try:
                    seq, prev, _ = read_claim(line)
                    check_line(line, prev_hash=prev, seq=seq)
                except BrokenLineError:
                    continue
            files = AuditFiles(path.parent, rotate_bytes=10**9)
            files.open()
            try:
                files.write("2026-09-21T14:00:00.000Z", "start", {"a": 1})
            finally:
                files.close()
            last = path.read_bytes().splitlines()[-1].decode()
            claim = read_claim(last)
            if not verify([last], claim[1], claim[0]).ok:
                raise Unsound("the chain cannot go on after this file")
            return None

        records: Sequence[Mapping[str, object]]
        records = ({"a": 1}, {"order": {"id": "x", "price": "1.5"}, "list": [1, None]}, {})
        lines, previous = [], "0" * 64
        for number, data in enumerate(records, 1):
            sealed = seal(previous, number, "2026-09-21T14:00:00.000Z", "order.sent", data)
            previous = sealed.hash
            lines.append(sealed.line)
        yield Open(feed=feed, seeds=[("\n".join(lines[:count]) + "\n").encode() for count in (1, 2, 3)])


# --- people and tools -------------------------------------------------------------------------------------------------


class _Done:
    """Stands where the engine would carry a command out; what it is given must be as declared."""

    venues = frozenset(VenueName)

    async def close(self, symbol: str | None, venue: VenueName | None, author: str) -> list[Any]:
        return [self._facts(symbol, venue, author)]

    async def cancel(self, order_id: str, author: str, venue: VenueName | None) -> Any:
        return self._facts(order_id, venue, author)

    async def pause(self, author: str, venue: VenueName | None) -> Any:
        return self._facts("", venue, author)

    reduce = panic = pause

    def resume(self, author: str, venue: VenueName | None) -> Any:
        return self._facts("", venue, author)

    @staticmethod
    def _facts(text: object, venue: object, author: object) -> Any:
        if not isinstance(text, str | None) or not isinstance(venue, VenueName | None) or not isinstance(author, str):
            raise Unsound("a command was given something it does not take")
        return SimpleNamespace(facts=lambda: {"text": text, "author": author})


@asynccontextmanager
async def _control() -> AsyncIterator[Open]:
    """Lines as they come over the socket; every one has its answer, on one line."""
    commands: Any = _Done()
    queries: Any = FakeDesk().queries
    with tempfile.TemporaryDirectory() as folder:
        server = ControlServer(folder=Path(folder), queries=queries, commands=commands)

        async def feed(data: bytes) -> object:
            reader = asyncio.StreamReader(limit=64 * 1024)
            reader.feed_data(data)
            reader.feed_eof()
            writer = _Lines()
            await server._serve(reader, writer)  # type: ignore[arg-type]  # it writes, drains and closes
            answers = [json.loads(line) for line in bytes(writer.data).splitlines()]
            if any(answer.keys() - {"ok", "result", "error"} for answer in answers):
                raise Unsound("an answer of another form")
            return None

        asked: list[Mapping[str, Any]] = [
            {"command": "status"}, {"command": "close", "symbol": "BTCUSDT", "venue": "binance", "author": "me"},
            {"command": "cancel", "id": "bw1"}, {"command": "panic", "venue": "okx"}, {"command": "resume"},
            {"command": "pause"}, {"command": "reduce"}, {"command": "risk"}, {"command": "close"},
        ]  # fmt: skip
        lines = [_text(line) + b"\n" for line in asked]
        yield Open(feed=feed, seeds=[*lines, b"".join(lines)])


class _Lines:
    """Enough of a StreamWriter."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...


@asynccontextmanager
async def _candles() -> AsyncIterator[Open]:
    """A CSV file, read and joined; and what `--from` and `--to` are given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.csv"

        async def feed(data: bytes) -> object:
            path.write_bytes(data)
            try:
                moment(data[:40].decode("utf-8", "replace"), "--from")
            except BadInput as error:
                str(error)
            recording = read(path)
            joined(recording, "5m")
            return [*recording.candles, *recording.gaps, recording.timeframe]

        rows = "\n".join(f"{1_640_995_200 + 60 * n},46216.9,46271.1,46208.4,46250.0,20.{n}" for n in range(12))
        stamped = "\n".join(f"2022-01-01T00:0{n}:00Z,1,2,1,2,3" for n in range(10))
        head = "timestamp,open,high,low,close,volume\n"
        yield Open(feed=feed, seeds=[(head + rows).encode(), (head + stamped + "\n").encode()])


class _Answers(BaseRequest):
    """What a Bot API server would answer."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @property
    def read_timeout(self) -> float | None:
        return None

    async def initialize(self) -> None: ...
    async def shutdown(self) -> None: ...
    async def do_request(self, url: str, method: str, *args: Any, **more: Any) -> tuple[int, bytes]:
        if url.endswith("getUpdates"):
            return 200, self.body
        if url.endswith("getMe"):
            return 200, _text({"ok": True, "result": {"id": 1, "is_bot": True, "first_name": "b", "username": "b_bot"}})
        return 200, b'{"ok":true,"result":true}'


class _Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now_ms(self) -> int:
        return NOW_MS


class LibraryRefused(Exception):
    """python-telegram-bot could not read the answer: the poll is tried again after a pause."""


class _Heard:
    """A bot whose tasks are lived through at once, and which shows nothing but notes it."""

    def __init__(self) -> None:
        self.answers = _Answers(b"")
        account = TelegramAccount(token="1:x", roster=Roster(chat_id=_CHAT), network=lambda: self.answers)
        feed: Any = None
        self.bot = TelegramBot(account=account, desk=FakeDesk().desk, feed=feed, clock=_Clock(), draw=no_picture)
        self.replies: list[object] = []
        self._begun: list[tuple[Coroutine[Any, Any, object], asyncio.Future[object]]] = []
        self.bot._talk._chat.show = self._show  # type: ignore[method-assign]
        self.bot._talk._start = self._start

    async def fetch(self, data: bytes) -> None:
        self.answers.body = data
        try:
            await self.bot._fetch()
        finally:
            self.bot._last_update = 0
            while self._begun:
                work, over = self._begun.pop(0)
                over.set_result(await work)

    async def _show(self, page: object) -> int:
        self.replies.append(page)
        return 1

    def _start(self, work: Coroutine[Any, Any, object], name: str) -> Any:
        del name
        over = asyncio.get_running_loop().create_future()
        self._begun.append((work, over))
        return over


@asynccontextmanager
async def _telegram() -> AsyncIterator[Open]:
    """Answers of getUpdates. The library may refuse one; our own code must not, and the next one must be heard."""
    heard = _Heard()

    async def feed(data: bytes) -> object:
        try:
            await heard.fetch(data)
        except Exception as error:
            frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            if "tgbot" in frames[-1] and not isinstance(error, TelegramError):
                raise
            raise LibraryRefused from error
        heard.replies.clear()
        await asyncio.sleep(0)  # what was answered is noted as over
        await heard.fetch(_update(1, "/status"))
        if not heard.replies:
            raise Unsound("the question after it was not heard")
        return None

    await heard.bot._bot.initialize()
    two = json.loads(_update(7, "/help"))["result"] + json.loads(_update(8, "/status@b_bot now"))["result"]
    other = _update(9, "/status").replace(b'"id":42', b'"id":43')
    press = _press(10, "r:status")
    try:
        yield Open(feed=feed, seeds=[_update(6, "/status"), _text({"ok": True, "result": two}), other, press])
    finally:
        await heard.bot._bot.shutdown()


def _update(number: int, text: str) -> bytes:
    chat = {"id": _CHAT, "type": "private", "first_name": "o"}
    message = {
        "message_id": number, "date": NOW_MS // 1000, "chat": chat, "text": text,
        "from": {"id": _CHAT, "is_bot": False, "first_name": "o", "language_code": "en"},
        "entities": [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}],
    }  # fmt: skip
    return _text({"ok": True, "result": [{"update_id": number, Update.MESSAGE: message}]})


def _press(number: int, data: str) -> bytes:
    chat = {"id": _CHAT, "type": "private", "first_name": "o"}
    query = {
        "id": str(number), "chat_instance": "1", "data": data,
        "from": {"id": _CHAT, "is_bot": False, "first_name": "o"},
        "message": {"message_id": 1, "date": NOW_MS // 1000, "chat": chat, "text": "x"},
    }  # fmt: skip
    return _text({"ok": True, "result": [{"update_id": number, Update.CALLBACK_QUERY: query}]})


def other_parsers() -> Sequence[Parser]:
    return [
        Parser(name="signals", declared=(MalformedPayload,), opened=_signals),
        Parser(name="settings", declared=(ConfigError,), opened=_settings),
        Parser(name="journal", declared=(JournalUnwritable, JournalUnreadable), opened=_journal),
        Parser(name="audit", declared=(), opened=_audit),
        Parser(name="control", declared=(), opened=_control),
        Parser(name="candles", declared=(BadInput,), opened=_candles),
        Parser(name="telegram", declared=(LibraryRefused,), opened=_telegram),
    ]
