"""The control socket: one JSON object per line in, one per line out; mode 0600, only the daemon's own user may speak.

`{"command": "status"}`, `{"command": "close", "symbol": "BTCUSDT" | null, "venue": "binance" | null}`,
`{"command": "pause"}` and `{"command": "resume"}`. Answers are
`{"ok": true, "result": …}` or `{"ok": false, "error": "…"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from core.domain.ids import VenueName
from core.engine.commands import Commands
from core.engine.queries import Queries

log = structlog.get_logger(__name__)

SOCKET_NAME = "control.sock"
MAX_LINE = 64 * 1024


class ControlServer:
    """Serves while `run` runs; a request that makes no sense is answered, never fatal."""

    def __init__(self, *, folder: Path, queries: Queries, commands: Commands) -> None:
        self._path = folder / SOCKET_NAME
        self._queries = queries
        self._commands = commands

    async def run(self) -> None:
        """Until cancelled. The caller holds the lock of the data folder: a socket file found here is a dead one's."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
        self._path.chmod(0o600)
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line), default=_text).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # ValueError: a line longer than the limit
            log.info("control.dropped", error=str(error))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise TypeError("a request is a JSON object")
            return {"ok": True, "result": await self._do(request)}
        except (ValueError, TypeError, RecursionError) as error:
            return {"ok": False, "error": str(error)}

    async def _do(self, request: Mapping[str, Any]) -> Any:
        match request.get("command"):
            case "status":
                return asdict(self._queries.status())
            case "close":
                symbol, venue = request.get("symbol"), request.get("venue")
                if not (symbol is None or isinstance(symbol, str)):
                    raise TypeError("symbol is a text, or null for all")
                chosen = None if venue is None else VenueName(venue)
                closed = await self._commands.close(symbol, chosen, author=str(request.get("author", "control socket")))
                return [one.facts() for one in closed]
            case "pause" | "resume" as order:
                author = str(request.get("author", "control socket"))
                change = self._commands.pause if order == "pause" else self._commands.resume
                return asdict(change(author))
            case other:
                raise ValueError(f"unknown command {other!r}; known: status, close, pause, resume")


def _text(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)
