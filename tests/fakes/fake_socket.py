"""A WebSocket peer a test scripts: frames at times, or the end of the connection."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import Unreachable

Frame = Mapping[str, Any] | bytes
GONE = b"\x00gone"
"""In a script: the connection ends here."""


class FakeSocket:
    """`script` holds (seconds after the previous one, frame); then the peer is silent. `refuses` the handshake."""

    def __init__(self, script: Iterable[tuple[float, Frame]], *, refuses: bool = False) -> None:
        self._script = list(script)
        self._refuses = refuses
        self.sent: list[dict[str, Any]] = []
        self.url = ""
        self.closed = False
        self.pings = 0

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        if self._refuses:
            raise Unreachable("signals", "connection refused")

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def receive(self) -> bytes:
        if not self._script:
            await asyncio.sleep(1_000_000)
        wait, frame = self._script[0]
        if wait:
            await asyncio.sleep(wait)
        self._script.pop(0)
        if frame == GONE:
            raise Unreachable("signals", "connection closed (1006)")
        return frame if isinstance(frame, bytes) else json.dumps(frame).encode()

    async def ping(self) -> None:
        self.pings += 1

    async def close(self) -> None:
        self.closed = True
