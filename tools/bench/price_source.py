"""A venue's public sockets with prices made to order: what stands between them and the daemon, in a process of its own.

Frames pass both ways. While prices are fed those of the venue are held back, and each symbol's come one by one at
moments that know nothing of each other (exponential pauses), as from a venue with so many independent markets. Prices
of another kind, on a socket of their own, pass in the same way: the simulator makes all its symbols' at once.

Run with the venue's name, its root for sockets and the daemon's pid; it prints the root to use in its place, reads
commands from standard input (one JSON list a line) and answers some of them the same way.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from random import Random
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from core.domain.ids import VenueName
from tools.bench.price_words import PRICE_WORDS, PriceWords

HOST: Final = "127.0.0.1"
LONGEST_SLEEP_SECONDS: Final = 0.01
BESIDE_PER_SECOND: Final = 1_000.0
"""More than the simulator makes of them."""


class Source:
    """The newest connection to the venue's socket of marks is the one that is fed."""

    def __init__(self, words: PriceWords, upstream: str, clock: int) -> None:
        """`clock` of the daemon's computing time."""
        self._words, self._upstream, self._clock = words, upstream, clock
        self._connection: ServerConnection | None = None
        self._feeding = threading.Event()
        self._texts: dict[str, list[str]] = {}
        self._decisive: deque[tuple[str, list[str]]] = deque()
        self._put: dict[str, list[tuple[int, int]]] = {}
        self._sent = 0
        self._feeder: threading.Thread | None = None

    def stand_between(self, connection: ServerConnection) -> None:
        """One connection of the daemon's, until either side ends it."""
        assert connection.request is not None  # noqa: S101 - the handshake is over
        path, chance = connection.request.path, Random(2)
        fed = path.startswith(self._words.path)
        with connect(self._upstream + path, compression=None, max_size=None, proxy=None) as venue:
            if fed:
                self._connection = connection
            threading.Thread(target=self._pass_on, args=(connection, venue), daemon=True).start()
            with suppress(ConnectionClosed):
                for frame in venue:
                    if not self._feeding.is_set():
                        connection.send(frame)
                    elif not fed:
                        connection.send(frame)
                        time.sleep(chance.expovariate(BESIDE_PER_SECOND))
                    elif not self._words.tells_prices(frame.encode() if isinstance(frame, str) else frame):
                        connection.send(frame)

    @staticmethod
    def _pass_on(connection: ServerConnection, venue: Any) -> None:
        with suppress(ConnectionClosed):
            for frame in connection:
                venue.send(frame)
        venue.close()

    def obey(self, command: list[Any]) -> object:
        """What is to be answered, or None."""
        match command:
            case ["feed", dict(texts), float(rate)]:
                self._texts, self._put, self._sent = texts, {}, 0
                self._feeding.set()
                self._feeder = threading.Thread(target=self._feed, args=(rate,), daemon=True)
                self._feeder.start()
            case ["decide", str(name), list(texts)]:
                self._decisive.append((name, texts))
            case ["once", dict(prices)]:
                for name, text in prices.items():
                    self._send(name, text)
            case ["rest"]:
                self._feeding.clear()
                if self._feeder is not None:
                    self._feeder.join()
                return {"prices": self._sent, "put": self._put}
            case _:
                raise ValueError(f"no such command: {command}")
        return None

    def _feed(self, rate: float) -> None:
        """So many prices a second in all, each symbol's turn after the one before it."""
        chance, names, due = Random(1), list(self._texts), time.perf_counter()
        while self._decisive or self._feeding.is_set():
            if self._decisive:
                name, texts = self._decisive.popleft()
                self._texts[name] = texts
                self._put.setdefault(name, []).append(self._send(name, texts[0]))
            now = time.perf_counter()
            if now < due:
                time.sleep(min(due - now, LONGEST_SLEEP_SECONDS))
                continue
            due += chance.expovariate(rate)
            name = names[self._sent % len(names)]
            texts = self._texts[name]
            self._send(name, texts[self._sent // len(names) % len(texts)])
            self._sent += 1

    def _send(self, name: str, text: str) -> tuple[int, int]:
        """Nanoseconds by the clock and computed by the daemon, at the moment the operating system gets it."""
        assert self._connection is not None  # noqa: S101 - prices are fed to a daemon that is there
        mark = self._words.mark(time.time_ns() // 1_000_000, name, text)
        frame = Frame(Opcode.TEXT, mark.encode("ascii")).serialize(mask=False)
        with self._connection.protocol_mutex:
            moment = time.perf_counter_ns(), time.clock_gettime_ns(self._clock)
            self._connection.socket.sendall(frame)
        return moment


def clock_of(pid: int) -> int:
    """The clock of a process' computing time. While the process runs it lags by what it computed since the kernel last
    looked, some milliseconds at most. Raises OSError."""
    clock = ctypes.c_int()
    if failed := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(failed, "no clock of that process", str(pid))
    return clock.value


def _obey_all(source: Source, server: Server) -> None:
    for line in sys.stdin:
        answer = source.obey(json.loads(line))
        if answer is not None:
            print(json.dumps(answer), flush=True)
    server.shutdown()


def main() -> None:
    name, upstream, pid = sys.argv[1:]
    source = Source(PRICE_WORDS[VenueName(name)], upstream, clock_of(int(pid)))
    with serve(source.stand_between, HOST, 0, compression=None, max_size=None) as server:
        port = server.socket.getsockname()[1]
        print(json.dumps(f"ws://{HOST}:{port}"), flush=True)
        threading.Thread(target=_obey_all, args=(source, server), daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
