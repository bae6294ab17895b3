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
        self._free_at = 0.0
        self._lock = asyncio.Lock()
        self._answers = 0

    async def turn(self, *, answer: bool = False) -> None:
        """Waits until something may be shown."""
        self._answers += answer
        try:
            while True:
                async with self._lock:
                    if (wait := self._free_at - asyncio.get_running_loop().time()) > 0:
                        await self._sleep(wait)
                    if answer or not self._answers:
                        self._free_at = asyncio.get_running_loop().time() + PACE_S
                        return
        finally:
            self._answers -= answer

    def hold(self, seconds: float) -> None:
        """Nothing goes out for so long: Telegram has said so."""
        self._free_at = max(self._free_at, asyncio.get_running_loop().time() + seconds)
