"""The port of a messenger: a notifier that has to be run, and that answers questions (Telegram)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from core.engine.ports import AuditLog, Notifier
from core.engine.queries import Queries


class Messenger(Notifier, Protocol):
    """A notifier that lives in a task of its own."""

    async def run(self) -> None: ...
    async def drain(self, timeout_s: float) -> bool: ...


class MakeMessenger(Protocol):
    """`first_update` and `on_update` carry the newest handled command over a restart."""

    def __call__(
        self, *, queries: Queries, audit: AuditLog, first_update: int, on_update: Callable[[int], None]
    ) -> Messenger: ...
