"""What an endpoint is: who may call it, what it is for, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from msgspec import Struct

from tools.venuesim.binance.params import Params
from tools.venuesim.wire import Lane

Handler = Callable[[Params], object]


class Security(Enum):
    """The venue's security types."""

    NONE = auto()
    KEY = auto()
    READ = auto()
    TRADE = auto()

    @property
    def signed(self) -> bool:
        """Whether timestamp and signature are needed."""
        return self in (Security.READ, Security.TRADE)


class Route(Struct, frozen=True):
    """One endpoint; `orders` is what it costs on the order counters (per 10 s, per minute)."""

    handler: Handler
    lane: Lane
    security: Security = Security.NONE
    orders: tuple[int, int] = (0, 0)


Routes = dict[tuple[str, str], Route]
