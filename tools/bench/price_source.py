"""A venue's public sockets with prices made to order: what stands between them and the daemon, in a process of its own.

Frames pass both ways. While prices are fed those of the venue are held back, and each symbol's come one by one at
moments that know nothing of each other (exponential pauses), as from a venue with so many independent markets. Prices
of another kind, on a socket of their own, pass in the same way: the simulator makes all its symbols' at once.

Run with the venue's name and its root for sockets; it prints the root to use in its place, reads commands from standard
input (one JSON list a line) and answers some of them the same way.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from random import Random
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
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

    def __init__(self, words: PriceWords, upstream: str) -> None:
        self._words, self._upstream = words, upstream
        self._connection: ServerConnection | None = None
        self._feeding = threading.Event()
        self._texts: dict[str, list[str]] = {}
        self._decisive: deque[tuple[str, list[str]]] = deque()
        self._put: dict[str, list[int]] = {}
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
                self._put.setdefault(name, []).append(time.perf_counter_ns())
                self._send(name, texts[0])
            now = time.perf_counter()
            if now < due:
                time.sleep(min(due - now, LONGEST_SLEEP_SECONDS))
                continue
            due += chance.expovariate(rate)
            name = names[self._sent % len(names)]
            texts = self._texts[name]
            self._send(name, texts[self._sent // len(names) % len(texts)])
            self._sent += 1

    def _send(self, name: str, text: str) -> None:
        if self._connection is not None:
            self._connection.send(self._words.mark(time.time_ns() // 1_000_000, name, text))


def _obey_all(source: Source, server: Server) -> None:
    for line in sys.stdin:
        answer = source.obey(json.loads(line))
        if answer is not None:
            print(json.dumps(answer), flush=True)
    server.shutdown()


def main() -> None:
    name, upstream = sys.argv[1:]
    source = Source(PRICE_WORDS[VenueName(name)], upstream)
    with serve(source.stand_between, HOST, 0, compression=None, max_size=None) as server:
        port = server.socket.getsockname()[1]
        print(json.dumps(f"ws://{HOST}:{port}"), flush=True)
        threading.Thread(target=_obey_all, args=(source, server), daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
