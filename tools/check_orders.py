"""Which order protects which position, asked of the venue itself: orphans, and positions without a stop, are named.

Reads only: it may run beside the daemon and takes no lock. Exit status: 0 every position is covered and no order is
left over, 4 something is unprotected or orphaned, 2 usage or configuration, 3 a venue could not be asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec import Struct
from msgspec.structs import replace
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.clock import Clock, SystemClock
from core.config import Settings, default_env_file, load_settings
from core.domain.ids import VenueName, is_ours
from core.domain.money import HUNDRED, ZERO, Price, plain
from core.domain.reports import OrderStatusReport, PositionReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import MassStatus
from core.errors import ConfigError, StartRefused, VenueError
from core.logs import configure_logging
from core.venues import VenueAccess
from core.wiring.accounts import accesses
from tools.venue_link import opened

FINE, USAGE, VENUE_FAILED, OPERATOR_NEEDED = 0, 2, 3, 4
Row = dict[str, Any]


class Holding(Struct, frozen=True, kw_only=True):
    """One position as the venue tells it and what stands behind it. `covered` base units: the sum of its stops."""

    position: PositionReport
    stops: tuple[OrderStatusReport, ...]
    others: tuple[OrderStatusReport, ...]

    @property
    def covered(self) -> Decimal:
        return sum((stop.quantity for stop in self.stops), ZERO)

    @property
    def protected(self) -> bool:
        return self.covered >= abs(self.position.quantity)


class Picture(Struct, frozen=True, kw_only=True):
    """`orphans` can only reduce and have nothing to reduce; `entries` would open something. `nameless_stops`: the venue
    has one stop per position and keeps no client order id with it, so nobody can tell from it who set it."""

    venue: VenueName
    holdings: tuple[Holding, ...]
    orphans: tuple[OrderStatusReport, ...]
    entries: tuple[OrderStatusReport, ...]
    nameless_stops: bool = False

    @property
    def sound(self) -> bool:
        return not self.orphans and all(holding.protected for holding in self.holdings)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        settings = load_settings(os.environ, asked.env_file or default_env_file())
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return USAGE
    try:
        with configure_logging(None, "WARNING", secrets=settings.secret_values()):
            pictures, unread = asyncio.run(look(settings, asked.venue))
    except (VenueError, StartRefused) as error:
        print(str(error), file=sys.stderr)
        return VENUE_FAILED
    if asked.json:
        print(json.dumps([_facts(picture) for picture in pictures], indent=2))
    else:
        for picture in pictures:
            _show(Console(), picture)
    for why in unread:
        print(f"could not be asked: {why}", file=sys.stderr)
    if unread:
        return VENUE_FAILED
    return FINE if all(picture.sound for picture in pictures) else OPERATOR_NEEDED


async def look(settings: Settings, venue: str | None) -> tuple[list[Picture], list[VenueError | StartRefused]]:
    """Every configured venue, or the one named; and why some could not be asked. Raises StartRefused where there is
    none to ask."""
    clock = SystemClock()
    asked = [access for access in accesses(settings) if venue in (None, access.name)]
    if not asked:
        raise StartRefused(f"{venue} is not configured: there is no key for it, or EXCHANGES leaves it out")
    answers = await asyncio.gather(*(_picture(access, clock) for access in asked), return_exceptions=True)
    pictures, unread = [], []
    for answer in answers:
        if isinstance(answer, Picture):
            pictures.append(answer)
        elif isinstance(answer, VenueError | StartRefused):
            unread.append(answer)
        else:
            raise answer
    return pictures, unread


async def _picture(access: VenueAccess, clock: Clock) -> Picture:
    async with opened(access, clock) as client:
        picture = picture_of(await client.mass_status())
        return replace(picture, nameless_stops=client.traits.whole_position_stops)


def picture_of(status: MassStatus) -> Picture:
    """Who protects what, from one reading of a venue."""
    held = [position for position in status.positions if position.quantity != ZERO]
    closing = [order for order in status.orders if order.reduce_only]
    holdings = []
    behind: set[int] = set()
    for position in held:
        mine = [order for order in closing if _closes(order, position)]
        behind |= {id(order) for order in mine}
        stops = tuple(order for order in mine if _stops_loss(order, position))
        others = tuple(order for order in mine if not _stops_loss(order, position))
        holdings.append(Holding(position=position, stops=stops, others=others))
    return Picture(
        venue=status.venue,
        holdings=tuple(holdings),
        orphans=tuple(order for order in closing if id(order) not in behind),
        entries=tuple(order for order in status.orders if not order.reduce_only),
    )


def _closes(order: OrderStatusReport, position: PositionReport) -> bool:
    long = _is_long(position)
    return order.instrument == position.instrument and (order.side is Side.SELL) is long


def _is_long(position: PositionReport) -> bool:
    if position.position_side is PositionSide.BOTH:
        return position.quantity > ZERO
    return position.position_side is PositionSide.LONG


def _stops_loss(order: OrderStatusReport, position: PositionReport) -> bool:
    """A trigger on the losing side of the mark; one on the winning side takes profit and protects nothing."""
    if order.trigger_price is None:
        return False
    reference = position.mark_price or position.entry_price
    if reference is None:
        return True
    return order.trigger_price < reference if _is_long(position) else order.trigger_price > reference


# shown


def _facts(picture: Picture) -> Row:
    told = partial(_order_facts, nameless_stops=picture.nameless_stops)
    return {
        "venue": picture.venue.value,
        "sound": picture.sound,
        "positions": [_holding_facts(holding, told) for holding in picture.holdings],
        "orphans": [told(order) for order in picture.orphans],
        "entries": [told(order) for order in picture.entries],
    }


def _holding_facts(holding: Holding, told: Callable[[OrderStatusReport, Price | None], Row]) -> Row:
    position = holding.position
    return {
        "symbol": position.instrument.symbol,
        "side": "long" if _is_long(position) else "short",
        "quantity": plain(abs(position.quantity)),
        "entry_price": _number(position.entry_price),
        "mark": _number(position.mark_price),
        "protected": holding.protected,
        "covered": plain(holding.covered),
        "stops": [told(order, position.mark_price) for order in holding.stops],
        "others": [told(order, position.mark_price) for order in holding.others],
    }


def _order_facts(order: OrderStatusReport, mark: Price | None = None, *, nameless_stops: bool = False) -> Row:
    """`ours` None = the venue keeps no name with it."""
    nameless = nameless_stops and order.conditional and not order.client_order_id
    away = None
    if mark and order.trigger_price:
        away = plain(round(abs(order.trigger_price / mark - 1) * HUNDRED, 2))
    return {
        "symbol": order.instrument.symbol,
        "side": order.side.value,
        "quantity": plain(order.quantity),
        "trigger_price": _number(order.trigger_price),
        "away_percent": away,
        "conditional": order.conditional,
        "status": order.status.value,
        "client_order_id": order.client_order_id,
        "venue_order_id": order.venue_order_id,
        "ours": None if nameless else is_ours(order.client_order_id),
    }


def _number(value: Price | None) -> str | None:
    return None if value is None else plain(value)


def _show(console: Console, picture: Picture) -> None:
    facts = _facts(picture)
    table = Table(title=f"{picture.venue}: positions", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("symbol", "side", "quantity", "mark", "protected by", "away", "whose"):
        table.add_column(name, overflow="fold")
    for row in facts["positions"]:
        first = [row["symbol"], row["side"], row["quantity"], row["mark"] or ""]
        lines = [*row["stops"], *row["others"]]
        if not row["protected"]:
            table.add_row(*first, f"[bold red]NOT PROTECTED[/], stops cover {row['covered']}", "", "")
            first = [""] * 4
        for order in lines:
            table.add_row(*first, *_order_cells(order, stops=order in row["stops"]))
            first = [""] * 4
    console.print(table if facts["positions"] else f"{picture.venue}: no open position")
    for title, rows in (("orphan, it has nothing to close", facts["orphans"]), ("entry", facts["entries"])):
        colour = "red" if rows is facts["orphans"] else "yellow"
        for order in rows:
            at = f" at {order['trigger_price']}" if order["trigger_price"] else ""
            text = f"{order['symbol']} {order['side']} {order['quantity']}{at}, {_whose(order)}"
            console.print(f"[{colour}]{title}:[/] {escape(text)}", highlight=False)
    if picture.sound:
        console.print("[green]every position has its stop, and no order is left over[/]")


def _order_cells(order: Row, *, stops: bool) -> list[str]:
    kind = "stop" if stops else "other closing order"
    at = f" at {order['trigger_price']}" if order["trigger_price"] else ""
    away = "" if order["away_percent"] is None else f"{order['away_percent']} %"
    return [f"{kind} {order['side']} {order['quantity']}{at}", away, escape(_whose(order))]


def _whose(order: Row) -> str:
    if order["ours"] is None:
        return "the position's own"
    return "ours" if order["ours"] else f"not ours ({order['client_order_id'] or order['venue_order_id']})"


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check_orders.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venue", choices=[venue.value for venue in VenueName], help="only this venue")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
