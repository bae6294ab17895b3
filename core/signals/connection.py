"""One connection to a signal server: log in, then frames until it ends. What is in the frames is for others.

Liveness is judged by a watchdog around the reader, never inside it (SIG-12): any frame counts, 90 s without one end the
connection.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from core.errors import BreakwaterError, MalformedPayload, Unreachable
from core.redaction import Redactor
from core.signals.fields import shown
from core.signals.frames import decode_frame
from core.transport import Socket

log = structlog.get_logger(__name__)

STEP_SECONDS = 5.0
SILENCE_SECONDS = 90.0


class LoginRefused(BreakwaterError):
    """The signal server does not take our token; the operator fixes SIGNAL_WS_TOKEN."""


class ServerConnection:
    """Used once. `counts` gets what was wrong with its frames."""

    def __init__(self, socket: Socket, url: str, counts: Counter[str]) -> None:
        self._socket = socket
        self._url = url
        self._counts = counts
        self._redactor = Redactor()

    async def open(self, token: str) -> None:
        """Connect and log in, 5 s for each step. Raises LoginRefused, MalformedPayload, Unreachable, TimeoutError."""
        self._redactor = Redactor((token,))  # a server may say it back, even as the name of a signal
        async with asyncio.timeout(STEP_SECONDS):
            await self._socket.open(self._url)
        await self._step("auth_required")
        await self._socket.send(json.dumps({"type": "auth", "token": token}))
        await self._step("auth_success")

    async def read(self, on_frame: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        """Until the connection ends. A frame that cannot be used is counted and left behind (SIG-15). Raises
        Unreachable, TimeoutError."""
        async with asyncio.timeout(SILENCE_SECONDS) as watchdog:
            while True:
                data = await self._socket.receive()
                watchdog.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
                try:
                    await on_frame(self._decoded(data))
                except MalformedPayload as error:
                    self._counts["malformed_frames"] += 1
                    log.warning("signals.frame_refused", error=str(error))

    async def say(self, kind: str) -> None:
        """Send one request. That the connection has ended is found out and told by `read`."""
        try:
            await self._socket.send(json.dumps({"type": kind}))
        except Unreachable as error:
            log.debug("signals.not_sent", type=kind, error=str(error))

    async def close(self) -> None:
        await self._socket.close()

    def _decoded(self, data: bytes) -> Mapping[str, Any]:
        return decode_frame(self._redactor.raw(data))

    async def _step(self, kind: str) -> None:
        async with asyncio.timeout(STEP_SECONDS):
            frame = self._decoded(await self._socket.receive())
        if frame.get("type") == "auth_failed":
            raise LoginRefused(f"the signal server refused the token: {shown(frame.get('message', 'no reason given'))}")
        if frame.get("type") != kind:
            raise MalformedPayload("signal server", f"expected {kind}, got {shown(frame.get('type'))}")
