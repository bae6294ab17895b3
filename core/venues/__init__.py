"""Adapters to the venues. `connect_venue` is the only thing the composition root needs to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from msgspec import Struct

from core.domain.ids import VenueName
from core.engine.ports import MarketData, MarketReads, ReportSink, StreamState, UserStream, VenueClient, VenueHealth

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Transport

ADAPTERS = {name: f"core.venues.{name}.connection" for name in VenueName}
"""Modules with a function `connect` of the signature of `connect_venue`."""


class VenueAccess(Struct, frozen=True, kw_only=True):
    """Where an account is and how to get in. `base_url` replaces every host of the venue, sockets included
    (`http://127.0.0.1:PORT`, the simulator); without it `testnet` chooses between the venue's own hosts."""

    name: VenueName
    key: str
    secret: str
    passphrase: str = ""
    base_url: str | None = None
    testnet: bool = False
    trades: bool = False
    """Whether the last trade of wanted symbols is needed where it costs a stream of its own."""
    only_closes: bool = False
    """Nothing will be opened: what only sizes an entry (risk tiers, many pages at Bybit) is not waited for."""

    def __repr__(self) -> str:
        where = self.base_url or ("testnet" if self.testnet else "production")
        return f"VenueAccess({self.name}, {where})"


class VenueConnection(Struct, frozen=True, kw_only=True):
    """One venue, ready to be opened (`await client.open()`) and run (`user_stream.run()`, `market.run()`)."""

    client: VenueClient
    user_stream: UserStream
    market: MarketData
    reads: MarketReads
    headroom: Callable[[], Mapping[str, float]] = dict
    """By lane of the request budget: the part of it that is free now."""
    waiting: Callable[[], int] = int
    """How many requests wait for room in the budget."""


def connect_venue(  # noqa: PLR0913 - the composition root's one call: who is asked, over what, and who hears of it
    access: VenueAccess,
    *,
    clock: Clock,
    transport: Transport,
    sink: ReportSink,
    on_connected: Callable[[], Awaitable[None]],
    on_state: Callable[[StreamState], None] = lambda _state: None,
    on_set_aside: Callable[[], None] = lambda: None,
    on_health: Callable[[VenueHealth], None] = lambda _health: None,
    on_refused: Callable[[str, int], None] = lambda _why, _times: None,
    workers: Executor | None = None,
) -> VenueConnection:
    """Builds, connects nothing yet.

    `on_connected` reconciles; it runs after every (re)connect of the private stream, while its frames already flow into
    `sink`, and the stream counts as LIVE only when it returned. A VenueError from it makes the stream connect anew.
    `on_set_aside` hears of every frame that could not be understood, `on_health` when the venue begins or ceases to
    serve, `on_refused` when it refuses the private stream's login or one of its topics: its words, and how often in a
    row. `workers` parse long answers off the loop; without them it is done on it. Raises ValueError for a venue
    without an adapter.
    """
    adapter = ADAPTERS[access.name]
    if find_spec(adapter) is None:
        raise ValueError(f"there is no adapter for {access.name} yet")
    # Imported here: ccxt costs 100 ms and 40 MiB, and only the venues in use should be loaded.
    connect: Callable[..., VenueConnection] = import_module(adapter).connect
    return connect(
        access,
        clock=clock,
        transport=transport,
        sink=sink,
        on_connected=on_connected,
        on_state=on_state,
        on_set_aside=on_set_aside,
        on_health=on_health,
        on_refused=on_refused,
        workers=workers,
    )
