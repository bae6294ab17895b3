"""A private stream whose state a test sets."""

import asyncio

from core.engine.ports import StreamState


class FakeStream:
    def __init__(self) -> None:
        self.state = StreamState.LIVE
        self.live_since_ms: int | None = 0
        self.down_since: float | None = None
        self.reconnect_count = 0
        self.stale_key_swap_count = 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def wait_live(self) -> None: ...
