"""One reading for all who ask at about the same time, and never one that began before they asked.

When everything is closed at once each position wants to be seen gone, and one venue allows five such requests a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from core.errors import Unreachable, VenueError

_T = TypeVar("_T")

GATHER_SECONDS: Final = 0.02
"""How long the first to ask waits for others; little beside a round trip."""


class JoinedReads(Generic[_T]):
    """`read` asks the venue called `venue` and may raise VenueError, which all who joined then get."""

    def __init__(self, venue: str, read: Callable[[], Awaitable[_T]]) -> None:
        self._venue, self._read = venue, read
        self._next: asyncio.Future[_T] | None = None

    async def __call__(self) -> _T:
        """Raises VenueError; Unreachable also when whoever asked for all was cancelled."""
        if self._next is not None:
            return await asyncio.shield(self._next)
        told = self._next = asyncio.get_running_loop().create_future()
        try:
            await asyncio.sleep(GATHER_SECONDS)
            self._next = None  # who asks from here on wants a newer one
            answer = await self._read()
            told.set_result(answer)
        except VenueError as error:
            told.set_exception(error)
            told.exception()  # there may be nobody else to hear it
            raise
        finally:
            if self._next is told:
                self._next = None
            if not told.done():
                told.set_exception(Unreachable(self._venue, "the reading was given up"))
                told.exception()
        return answer
