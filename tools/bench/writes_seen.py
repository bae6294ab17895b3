"""What this process' requests are, told when the operating system has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from aiohttp.http_writer import StreamWriter

Seen = Callable[[bytes], None]


@contextmanager
def writes_seen(seen: Seen) -> Iterator[None]:
    """`seen` is called with each write of aiohttp's within, a request and its body being one. One that the operating
    system does not take at once is not seen: the daemon's loop writes in the step that writes."""
    real = StreamWriter._write  # noqa: SLF001  # nothing public is told of a write

    def write(writer: StreamWriter, data: bytes) -> None:
        real(writer, data)
        if writer.transport is not None and not writer.transport.get_write_buffer_size():
            seen(bytes(data))

    def writelines(writer: StreamWriter, parts: Iterable[bytes]) -> None:
        write(writer, b"".join(parts))

    with patch.multiple(StreamWriter, _write=write, _writelines=writelines):
        yield
