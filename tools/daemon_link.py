"""The running daemon, asked through its control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from core.errors import BreakwaterError, StartRefused
from core.status.control import SOCKET_NAME, spelled


class NoDaemon(BreakwaterError):
    """Nobody answers at the control socket: there is no daemon, or it is stuck (`stuck`)."""

    def __init__(self, what: str, *, stuck: bool) -> None:
        self.stuck = stuck
        super().__init__(what)


class DaemonLink:
    """One connection; requests are answered in order."""

    def __init__(self, connection: socket.socket, lines: BufferedReader) -> None:
        self._connection = connection
        self._lines = lines

    def ask(self, command: str, **fields: Any) -> Any:
        """The result of one command. Raises StartRefused when the daemon says no, NoDaemon when it says nothing."""
        try:
            self._connection.sendall(json.dumps({"command": command, **fields}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise NoDaemon(f"the daemon does not answer: {error}", stuck=True) from error
        if not line:
            raise NoDaemon("the daemon ended while it was asked", stuck=False)
        answer = json.loads(line)
        if not answer["ok"]:
            raise StartRefused(f"the daemon refused: {answer['error']}")
        return answer["result"]


@contextmanager
def daemon(data_dir: Path, timeout_seconds: float) -> Iterator[DaemonLink]:
    """The daemon of this data folder. Raises NoDaemon when none runs there."""
    path = data_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            with spelled(path) as address:
                connection.connect(address)
        except TimeoutError:
            raise NoDaemon("the daemon does not take connections", stuck=True) from None
        except OSError as error:  # no such file or folder, or nobody behind it
            raise NoDaemon(f"no daemon is running there ({error.strerror or error})", stuck=False) from error
        with connection.makefile("rb") as lines:
            yield DaemonLink(connection, lines)
