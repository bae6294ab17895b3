"""One message a second to a chat, whoever sends it (TEL-03): answers and alerts share one pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

PACE_S: Final = 1.0
"""Telegram allows one message a second to a chat."""


class Pace:
    """Turns are given in the order they are asked for, answers before alerts."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._free_at = self._held_until = 0.0
        self._lock = asyncio.Lock()
        self._answers = 0
        self._on_hold: Callable[[], None] = lambda: None

    def listen(self, on_hold: Callable[[], None]) -> None:
        """`on_hold` is called with each `hold`, whoever met the flood; the newest listener only."""
        self._on_hold = on_hold

    async def turn(self, *, answer: bool = False) -> None:
        """Waits until something may be shown."""
        self._answers += answer
        try:
            while True:
                async with self._lock:
                    await self._until_free()
                    if answer or not self._answers:
                        self._free_at = asyncio.get_running_loop().time() + PACE_S
                        return
        finally:
            self._answers -= answer

    async def _until_free(self) -> None:
        waited_for: float | None = None
        while waited_for != self._free_at:  # a flood may have begun meanwhile
            waited_for = self._free_at
            if (wait := waited_for - asyncio.get_running_loop().time()) > 0:
                await self._sleep(wait)

    def hold(self, seconds: float) -> None:
        """Nothing goes out for so long: Telegram has said so."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)
        self._free_at = max(self._free_at, self._held_until)
        self._on_hold()

    def held_s(self) -> float:
        """How long nothing goes out yet; 0 = Telegram holds nobody."""
        return max(self._held_until - asyncio.get_running_loop().time(), 0.0)
