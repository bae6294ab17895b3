"""The port of a messenger: it has to be run, tells alerts and answers questions (Telegram)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from core.alerts.feed import Feed
from core.engine.operator_desk import OperatorDesk


class Messenger(Protocol):
    """What lives in a task of its own."""

    async def run(self) -> None: ...


class MakeMessenger(Protocol):
    """`feed` is what it tells besides its answers; `first_update` and `on_update` carry the newest handled command over
    a restart."""

    def __call__(
        self, *, desk: OperatorDesk, feed: Feed, first_update: int, on_update: Callable[[int], None]
    ) -> Messenger: ...
