"""The control socket: one JSON object per line in, one per line out; mode 0600, only the daemon's own user may speak.

Requests, with what is optional in brackets:

    {"command": "status"}                                     one picture of everything (queries.StatusReport)
    {"command": "risk"}                                       every figure entries are judged by (RiskFigures)
    {"command": "health"}                                     ok, degraded or unhealthy, with the reasons
    {"command": "orders"}                                     orders that are not ended, as we know them
    {"command": "close"[, "symbol": "BTCUSDT"][, "venue"]}    close at market; without a symbol everything
    {"command": "cancel", "id": "…"[, "venue"]}               one order by client or venue id, ours or not
    {"command": "pause"[, "venue"]}                           no entries until `resume`
    {"command": "reduce"[, "venue"]}                          the same state under its own name
    {"command": "panic"[, "venue"]}                           HALTED, and everything of ours is closed at market
    {"command": "resume"[, "venue"]}                          trade again, whatever had stopped entries

`"author"` may go with each; any other name is refused. Answers are `{"ok": true, "result": …}` or
`{"ok": false, "error": "…"}`, and come after the venue's word. After `pause`, `reduce` and `panic` are answered no new
entry leaves; `unanswered` counts entries that had left before and that the venue has not answered yet. A stop that
protects an open position is never cancelled: close the position. `resume` accepts what was lost: the day's loss, the
row of stops and the drawdown count anew from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from core.domain.ids import VenueName
from core.engine.commands import Commands
from core.engine.queries import Queries
from core.status.health import Health, health_facts
from core.status.json_text import json_text

log = structlog.get_logger(__name__)

SOCKET_NAME = "control.sock"
LONGEST_ADDRESS = 100
"""Bytes: Linux takes 107, macOS 103."""
MAX_LINE = 64 * 1024
STOPPING = b'{"ok": false, "error": "the daemon is stopping; what was ordered may be half done"}\n'
_VENUE = frozenset({"venue"})
COMMANDS = {
    "status": frozenset[str](),
    "risk": frozenset[str](),
    "health": frozenset[str](),
    "orders": frozenset[str](),
    "close": _VENUE | {"symbol"},
    "cancel": _VENUE | {"id"},
    "pause": _VENUE,
    "reduce": _VENUE,
    "panic": _VENUE,
    "resume": _VENUE,
}
"""What may go with each beside `author`."""


@contextlib.contextmanager
def spelled(path: Path) -> Iterator[str]:
    """A spelling of the socket's path that the system takes: an address has room for about a hundred bytes only, and a
    data folder may lie deeper. Then its folder is named by a handle, which is open inside the block (Linux)."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlServer:
    """Serves while `run` runs; a request that makes no sense is answered, never fatal."""

    def __init__(
        self, *, folder: Path, queries: Queries, commands: Commands, health: Callable[[], Health] = Health
    ) -> None:
        self._path = folder / SOCKET_NAME
        self._queries = queries
        self._commands = commands
        self._health = health
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled. The caller holds the lock of the data folder: a socket file found here is a dead one's."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with spelled(self._path) as address:
            # Not served here: that would wait a step, and whoever is stopped in it would leave the socket open.
            server = await asyncio.start_unix_server(self._serve, address, limit=MAX_LINE, start_serving=False)
        try:
            async with server:
                self._path.chmod(0o600)
                try:
                    await server.serve_forever()
                finally:
                    await self._hang_up()
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _hang_up(self) -> None:
        """Whoever still waits for an answer is told that there will be none."""
        waiting = set(self._serving)
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            while line := await reader.readline():
                writer.write(await self.answer(line))
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # ValueError: a line longer than the limit
            log.info("control.dropped", error=str(error))
        except asyncio.CancelledError:
            writer.write(STOPPING)
            raise
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, line: bytes) -> bytes:
        """The line that answers a request's line; what cannot be done is said in it, not raised."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise TypeError("a request is a JSON object")
            told = json_text({"ok": True, "result": await self._do(request)})
        except (ValueError, TypeError, RecursionError) as error:
            told = json_text({"ok": False, "error": str(error)})
        return told.encode() + b"\n"

    async def _do(self, request: Mapping[str, Any]) -> Any:
        _check_names(request)
        author = str(request.get("author", "control socket"))
        match request.get("command"):
            case "status":
                return self._queries.status()
            case "risk":
                return self._queries.risk()
            case "health":
                return health_facts(self._health())
            case "orders":
                return self._queries.orders()
            case "close":
                symbol = _optional_text(request, "symbol")
                closed = await self._commands.close(symbol, self._venue(request), author)
                return [one.facts() for one in closed]
            case "cancel":
                if not (order_id := _optional_text(request, "id")):
                    raise TypeError("id is the client or venue id of an order, as text")
                return (await self._commands.cancel(order_id, author, self._venue(request))).facts()
            case "pause" | "reduce" | "panic" as order:
                commands = self._commands
                stop = {"pause": commands.pause, "reduce": commands.reduce, "panic": commands.panic}[order]
                return (await stop(author, self._venue(request))).facts()
            case "resume":
                return self._commands.resume(author, self._venue(request)).facts()
            case other:
                raise ValueError(f"unknown command {other!r}; known: {', '.join(COMMANDS)}")

    def _venue(self, request: Mapping[str, Any]) -> VenueName | None:
        """Raises ValueError for a venue that is not traded here: nothing is paused or flat there."""
        if (venue := request.get("venue")) is None:
            return None
        if not isinstance(venue, str) or venue not in self._commands.venues:
            raise ValueError(f"{venue!r} is not traded here; it is {', '.join(sorted(self._commands.venues))}")
        return VenueName(venue)


def _check_names(request: Mapping[str, Any]) -> None:
    """Raises ValueError for what the command does not know: a misspelt `symbol` must not close everything."""
    if (known := COMMANDS.get(str(request.get("command")))) is None:
        return
    if strange := sorted(request.keys() - known - {"command", "author"}):
        allowed = ", ".join(sorted(known | {"author"}))
        raise ValueError(f"{request['command']} does not know {', '.join(strange)}; it knows {allowed}")


def _optional_text(request: Mapping[str, Any], name: str) -> str | None:
    value = request.get(name)
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{name} is a text, or null")
