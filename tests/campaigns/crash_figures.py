"""How fast a daemon is back after its death, and what is still unknown when a venue is reachable again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path


def told(venues: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[str]:
    return []
