"""The machine a run was made on, so that nobody compares microseconds of two different ones."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from typing import Any

_SPIN = 2_000_000


def surroundings() -> dict[str, Any]:
    """Date, interpreter, cores, load over the last minute, and how long a fixed piece of Python takes here and now
    (three times, ms): their spread is the noise that every time below has at least."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "spin_ms": [round(_spin(), 1) for _ in range(3)],
    }


def sentence(facts: dict[str, Any]) -> str:
    """For people."""
    spins = facts["spin_ms"]
    return (
        f"{facts['date']}, Python {facts['python']}, {facts['cores']} cores, load {facts['load_1m']}; "
        f"the same loop three times: {min(spins):g}–{max(spins):g} ms"
    )


def _spin() -> float:
    begin = time.perf_counter()
    for _ in range(_SPIN):
        pass
    return (time.perf_counter() - begin) * 1000
