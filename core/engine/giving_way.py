"""Who works through much in a row lets what has just been decided go first.

A decision takes some turns of the loop to become a request. Whoever reads prices would else put all that are waiting
between two of them. It asks its `Way` after each price; who decides calls `give_way`, and every reader, of whatever
socket, does nothing for as many turns as that takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, TypeVar

_T = TypeVar("_T")

IN_A_ROW: Final = 16
"""So much is done in one step while nothing is decided: a turn of the loop costs a third of a price."""
FEW_IN_A_ROW: Final = 4
"""Of a route that tells changes only: Binance tells the best bid and ask of hundreds of symbols at once, which decide
nothing and come before the marks that do. Of guardians that are woken: all of them look in the turn that follows."""
TURNS: Final = 8
"""So many turns a decision is given: a move of a stop has one left to be written in, a close has a few."""
AT_ONCE: Final = 8
PAUSE_SECONDS: Final = 0.004
"""Of a round over everything there is: so much in one step, and the pause between two of them."""


class _Decisions:
    """Of this process: it has one loop, and one processor to do everything on."""

    made = 0


def give_way() -> None:
    """From within the step in which something is decided."""
    _Decisions.made += 1


class Way:
    """Of one task that works through much."""

    __slots__ = ("_done", "_in_a_row", "_seen")

    def __init__(self, in_a_row: int = IN_A_ROW) -> None:
        """`in_a_row`: so many steps, then a turn."""
        self._done, self._in_a_row = 0, in_a_row
        self._seen = _Decisions.made

    @property
    def given(self) -> bool:
        """Whether others go first now, before the next part of the work."""
        return self._seen != _Decisions.made

    async def step(self) -> None:
        """Asked after each small part of the work; lets others have their turn where it is theirs."""
        self._done += 1
        if self._done >= self._in_a_row or self._seen != _Decisions.made:
            await self.turn()

    async def turn(self) -> None:
        """After a larger part: others have theirs, all of it where something was decided."""
        self._done = 0
        await asyncio.sleep(0)
        while self._seen != _Decisions.made:
            self._seen = _Decisions.made
            for _ in range(TURNS):
                await asyncio.sleep(0)


async def by_turns(parts: Iterable[_T]) -> list[_T]:
    """All that `parts` makes when asked, others having their turn in between."""
    way, made = Way(), list[_T]()
    for part in parts:
        made.append(part)
        await way.step()
    return made
