"""A simulator process for clients that know nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

PATIENCE_S = 10


@dataclass(frozen=True)
class Venue:
    """A running simulator."""

    url: str
    ws: str

    def state(self) -> Any:
        """What the venue itself has recorded."""
        return self._look("state")

    def requests(self) -> Any:
        """Every request and socket command it was sent."""
        return self._look("requests")

    def protection(self) -> Any:
        """How long each position stood without a stop."""
        return self._look("protection")

    def set_price(self, symbol: str, price: str) -> None:
        """Moves the market and waits until triggers ran."""
        body = json.dumps({"symbol": symbol, "price": price, "hold_ms": 60_000}).encode()
        request = Request(f"{self.url}/_sim/price", data=body, headers={"content-type": "application/json"})
        with urlopen(request, timeout=PATIENCE_S) as answer:
            assert answer.status == 200

    def _look(self, what: str) -> Any:
        with urlopen(f"{self.url}/_sim/{what}", timeout=PATIENCE_S) as answer:
            return json.load(answer)


@contextmanager
def running(project_root: Path, venue: str = "binance", *arguments: str) -> Iterator[Venue]:
    """A process of its own for every test: they trade one account."""
    command = [sys.executable, "-m", "tools.venuesim", "--venue", venue, "--tick-hz", "10", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project_root)
    assert process.stdout is not None
    with closing(process.stdout):
        try:
            ready = json.loads(process.stdout.readline())
            yield Venue(url=ready["url"], ws=ready["ws"])
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
