"""What an endpoint is: who may call it, what it is for, how often, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from msgspec import Struct, field

from tools.venuesim.bybit.params import Params
from tools.venuesim.wire import Lane


class Security(Enum):
    """What a caller needs."""

    NONE = auto()
    READ = auto()
    TRADE = auto()


class Answer(Struct, frozen=True):
    """A result that needs more around it than the usual envelope."""

    result: dict[str, Any]
    message: str = "OK"
    extra: dict[str, Any] = field(default_factory=dict)
    """retExtInfo."""


Handler = Callable[[Params], dict[str, Any] | Answer]


class Route(Struct, frozen=True):
    handler: Handler
    lane: Lane
    security: Security = Security.NONE
    per_second: int = 50
    """Calls a second of this account; public endpoints count only for their address."""
    batch: bool = False
    """Every entry of ``request`` is a call of its own."""


Routes = dict[tuple[str, str], Route]
