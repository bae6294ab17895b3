"""What this process' requests are, told when the operating system has them.

uvloop collects what is written and hands it over when the handles of its turn are done. So each write of aiohttp is
followed by one byte on a stream of our own, which leaves with it: uvloop says when that stream has nothing left.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from unittest.mock import patch

from aiohttp.http_writer import StreamWriter

Seen = Callable[[bytes], None]


@asynccontextmanager
async def writes_seen(seen: Seen) -> AsyncIterator[None]:
    """`seen` is called with each write of aiohttp's within, a request and its body being one."""
    near, far = socket.socketpair()
    far.settimeout(0)
    loop = asyncio.get_running_loop()
    transport, flushes = await loop.create_connection(lambda: _Flushes(seen, far), sock=near)
    real = StreamWriter._write  # noqa: SLF001  # nothing public is told of a write

    def write(writer: StreamWriter, data: bytes) -> None:
        real(writer, data)
        flushes.follow(transport, bytes(data))

    def writelines(writer: StreamWriter, parts: Iterable[bytes]) -> None:
        write(writer, b"".join(parts))

    try:
        with patch.multiple(StreamWriter, _write=write, _writelines=writelines):
            yield
    finally:
        transport.close()
        far.close()


class _Flushes(asyncio.Protocol):
    def __init__(self, seen: Seen, far: socket.socket) -> None:
        self._seen, self._far = seen, far
        self._pending: list[bytes] = []

    def follow(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        self._pending.append(data)
        transport.set_write_buffer_limits(high=len(self._pending))
        transport.write(b".")
        transport.set_write_buffer_limits(high=0)  # so it says when nothing is left
        if transport.get_write_buffer_size() == 0:
            self.resume_writing()

    def resume_writing(self) -> None:
        pending, self._pending = self._pending, []
        for data in pending:
            self._seen(data)
        self._far.recv(len(pending))
