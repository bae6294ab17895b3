"""Orders that left before they had a row, found by the trades they made while nobody ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.domain.ids import is_ours
from core.domain.order import OrderIntent
from core.domain.position import Position
from core.domain.reports import FillReport
from core.engine.order_manager import OrderManager
from core.engine.ports import NotFound, VenueClient


async def take_back(orders: OrderManager, client: VenueClient, position: Position, fills: Sequence[FillReport]) -> None:
    """Ask for what an earlier run sent for `position` and could not write down, if it made any of these trades. Raises
    VenueError."""
    unnoted = orders.unnoted(position.id)
    known = orders.state.order_by_venue_id
    strange = {
        fill.venue_order_id: fill
        for fill in fills
        if unnoted and fill.side is not position.side and known(fill.instrument, fill.venue_order_id) is None
    }
    wanted: dict[str, OrderIntent] = {}
    for venue_order_id, fill in strange.items():
        name = fill.client_order_id or await client.client_id_of(fill.instrument, venue_order_id)
        if name in unnoted:
            wanted[name] = unnoted[name]
        elif name is NotFound.NOT_FOUND or not is_ours(name):  # what a fired stop becomes may have a name of its own
            wanted |= _stops(unnoted.values())
    for intent in wanted.values():
        if not isinstance(answer := await client.query_order(intent), NotFound):
            await orders.take([answer])
    await orders.drained()


def _stops(unnoted: Iterable[OrderIntent]) -> dict[str, OrderIntent]:
    """Those that are orders with a name."""
    return {i.client_order_id: i for i in unnoted if i.conditional and not i.whole_position}
