"""What an endpoint is: who may call it, what it is for, how often, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from msgspec import Struct

from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.params import Params
from tools.venuesim.wire import Lane

TWO_SECONDS_MS = 2_000


class Security(Enum):
    """What a caller needs."""

    NONE = auto()
    READ = auto()
    TRADE = auto()


class Scope(Enum):
    """Whose calls are counted together."""

    USER = auto()
    """Of the account, or of the address where no key is needed."""
    INSTRUMENT = auto()
    """Of the account and one instrument."""


class Items(Enum):
    """Whether the answer speaks of single items, each with a code of its own."""

    NONE = auto()
    """Rows; an error is the answer's own code."""
    ONE = auto()
    """The body is an object, a refusal is the sCode of the only item."""
    MANY = auto()
    """The body is an array."""


Handler = Callable[[Params], list[Row]]


class Route(Struct, frozen=True, kw_only=True):
    handler: Handler
    """For items: called with one item, answers its row."""
    lane: Lane
    security: Security = Security.NONE
    calls: int = 20
    """Calls within ``per_ms``; for arrays, elements."""
    per_ms: int = TWO_SECONDS_MS
    scope: Scope = Scope.USER
    items: Items = Items.NONE
    most: int = 20
    """Elements of an array."""
    single: str | None = None
    """The path of the call for one item, on whose counter an array of one element counts."""
    counts_orders: bool = False
    """New and amended orders also count on the account's own limit."""
    timed: bool = False
    """The answer tells when it came in and went out."""


Routes = dict[tuple[str, str], Route]
