"""Who works through much in a row lets what has just been decided go first.

A decision takes some turns of the loop to become a request. Whoever reads prices would else put all that are waiting
between two of them. It says `gives_way` once and asks its `Way` after each price; who decides calls `give_way`, and
nothing has to be wired between the two.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Final

IN_A_ROW: Final = 32
"""So much is done in one step while nothing is decided: a turn of the loop costs a third of a price."""
TURNS: Final = 16
"""So many turns a decision is given: from a price to a request there are a dozen."""
AT_ONCE: Final = 16
PAUSE_SECONDS: Final = 0.004
"""Of a round over everything there is: so much in one step, and the pause between two of them."""


class Way:
    """Of one task that works through much."""

    __slots__ = ("_done", "_turns")

    def __init__(self) -> None:
        self._done = self._turns = 0

    @property
    def given(self) -> bool:
        """Whether others go first after each part of the work now."""
        return self._turns > 0

    def clear(self) -> None:
        """Something was decided: others go first for a while."""
        self._turns = TURNS

    async def step(self) -> None:
        """Asked after each part of the work; lets others have their turn where it is theirs."""
        if self._turns:
            self._turns -= 1
        else:
            self._done += 1
            if self._done < IN_A_ROW:
                return
        self._done = 0
        await asyncio.sleep(0)


_WAY: ContextVar[Way | None] = ContextVar("way", default=None)


def gives_way() -> Way:
    """For the task that runs now."""
    way = Way()
    _WAY.set(way)
    return way


def give_way() -> None:
    """From within the step in which something is decided."""
    if (way := _WAY.get()) is not None:
        way.clear()
