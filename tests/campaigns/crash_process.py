"""The daemon as a process of its own that ends itself by SIGKILL at a counted moment: `CRASH_AT` says which.

Everything is real: threads, files, sockets, time. Each moment is counted at the ports (`core/transport.py`, the
journal's file) while nothing of the daemon is changed; the process is gone in the middle of it.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from unittest.mock import patch

from core.engine.records import Record
from core.storage.database import Database
from core.transport import AiohttpHttp, HttpResponse, WebsocketsSocket

CRASH_AT = "CRASH_AT"
MOMENTS = (
    "journal-before", "journal-after", "send-before", "receive-before", "frame-sent", "frame-received",
)  # fmt: skip
"""Sends and answers count when they are no GET, so that they are of orders; journal writes when somebody waits."""
MAIN = Path(__file__).resolve().parent.parent.parent / "main.py"


class Counter:
    """Ends the process at the so-manyth `moment`, counted from the first intent on: a start before it risks nothing."""

    def __init__(self, moment: str, number: int) -> None:
        self._moment, self._left, self._began = moment, number, False

    def reach(self, moment: str) -> None:
        self._began = self._began or moment == MOMENTS[0]
        if self._began and moment == self._moment:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def wrapped(reach: Callable[[str], None]) -> Sequence[AbstractContextManager[object]]:
    """The ports with `reach` at every moment."""
    request, write = AiohttpHttp.request, Database.write
    sent, received = WebsocketsSocket.send, WebsocketsSocket.receive

    async def counted_request(
        http: AiohttpHttp, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        if method != "GET":
            reach("send-before")
        answer = await request(http, method, url, headers, body)
        if method != "GET":
            reach("receive-before")
        return answer

    def counted_write(database: Database, groups: Sequence[Sequence[Record]], *, durable: bool) -> list[str]:
        if durable:
            reach("journal-before")
        refused = write(database, groups, durable=durable)
        if durable:
            reach("journal-after")
        return refused

    async def counted_send(socket: WebsocketsSocket, text: str) -> None:
        await sent(socket, text)
        reach("frame-sent")

    async def counted_receive(socket: WebsocketsSocket) -> bytes:
        frame = await received(socket)
        reach("frame-received")
        return frame

    return (
        patch.object(AiohttpHttp, "request", counted_request),
        patch.object(Database, "write", counted_write),
        patch.object(WebsocketsSocket, "send", counted_send),
        patch.object(WebsocketsSocket, "receive", counted_receive),
    )


def main() -> None:
    moment, _, number = os.environ.pop(CRASH_AT).partition(":")
    if moment not in MOMENTS:
        sys.exit(f"{CRASH_AT}: {moment!r} is none of {', '.join(MOMENTS)}")
    with ExitStack() as stack:
        for change in wrapped(Counter(moment, int(number)).reach):
            stack.enter_context(change)
        sys.argv = [str(MAIN)]
        runpy.run_path(str(MAIN), run_name="__main__")


if __name__ == "__main__":
    main()
