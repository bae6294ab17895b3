"""The real processes of a campaign: simulator, signal server, daemon. Started, asked, killed; none is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 30.0


class Process:
    """One child whose standard error goes to a file."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log.open("ab")
        self.started = time.monotonic()
        self.child = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={"PATH": os.environ["PATH"], **(env or {})},
        )

    def ready_line(self) -> dict[str, Any]:
        line = self.child.stdout.readline() if self.child.stdout is not None else b""
        if not line:
            raise RuntimeError(f"the process ended before it was ready; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """SIGKILL: nothing of the process runs any more when this returns."""
        self.child.kill()
        self.end()

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, and the exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.end(timeout)

    def end(self, timeout: float = 15.0) -> int:
        try:
            self.child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()
        self._log.close()
        return self.child.returncode


@contextmanager
def running(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    process = Process(command, log, env)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.stop()


def ask(url: str, body: Mapping[str, Any] | None = None, *, method: str | None = None) -> Any:
    """A GET of the simulator's control interface; a POST with a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for_line(path: Path, word: str, start: int = 0, timeout: float = READY_SECONDS) -> int:
    """Until a line with `word` stands in `path` behind byte `start`; the size of the file then."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        data = path.read_bytes() if path.exists() else b""
        if word.encode() in data[start:]:
            return len(data)
        time.sleep(0.02)
    raise TimeoutError(f"no {word!r} in {path.name} within {timeout:g} s")
