"""When the collector of cycles runs: between two turns of the loop, a little at a time.

Left to itself it runs where something is made, and most is made on the way of an order: its pauses, of milliseconds
where much is open, would meet the very requests that must not wait. So it is asked ten times a second; then there is
little to look through. What it would do by itself in a burst stays allowed, at a higher bound.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Final

EVERY_SECONDS: Final = 0.1
LEAST: Final = 100
"""Objects made and not freed since the last time, for which it is worth a look."""
BURST: Final = 3_000
"""So many of them bring Python's own look all the same: about two milliseconds of work."""
WHOLE_EVERY: Final = round(900 / EVERY_SECONDS)
"""Looks until everything is looked through that is not there for good: some ten milliseconds."""


class Collector:
    """`run` is the task; Python's own bounds are back when it ends."""

    def __init__(self) -> None:
        self.looks = 0

    async def run(self) -> None:
        """Until cancelled."""
        before = gc.get_threshold()
        gc.set_threshold(BURST, before[1], WHOLE_EVERY)
        try:
            while True:
                await asyncio.sleep(EVERY_SECONDS)
                self.look()
        finally:
            gc.set_threshold(*before)

    def look(self) -> None:
        """One pause's work."""
        self.looks += 1
        if self.looks % WHOLE_EVERY == 0:
            gc.collect()
        elif gc.get_count()[0] >= LEAST:
            gc.collect(1)
