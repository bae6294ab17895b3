"""Closes one position or all, at market and reduce-only, and says whether the venue is flat afterwards.

While the daemon runs it does the closing, through its control socket; otherwise this program takes the daemon's lock
and acts itself. Protective orders of what was closed are removed. Exit status: 0 flat, 1 something is still open,
2 usage, configuration or nobody who agreed, 3 a venue could not be used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from core.clock import Clock, SystemClock
from core.config import Settings, default_env_file, load_settings
from core.domain.ids import InstrumentId, Leg, PositionId, SignalId, VenueName, client_order_id
from core.domain.money import ZERO, Quantity, plain
from core.domain.order import OrderIntent, OrderType
from core.domain.reconciliation import order_of
from core.domain.reports import OrderStatusReport, PositionReport
from core.domain.signal import Side
from core.domain.symbols import same_symbol, spellings
from core.engine.ports import Departure, Rejected, VenueClient
from core.errors import AlreadyRunning, BreakwaterError, ConfigError, StartRefused, VenueError
from core.logs import configure_logging
from core.status.control import SOCKET_NAME
from core.storage.instance_lock import instance_locks
from core.venues import VenueAccess
from core.wiring.accounts import accesses, account_keys
from tools.daemon_link import daemon
from tools.venue_link import opened

FLAT, STILL_OPEN, USAGE, VENUE_FAILED = 0, 1, 2, 3
ATTEMPTS = 3
CONFIRM_SECONDS = 5.0
CONFIRM_STEP = 0.2
DAEMON_SECONDS = 60.0
Row = dict[str, Any]


class NotAgreed(StartRefused):
    """Nobody said yes; nothing was done."""


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
            rows, unused = _close(settings, asked)
    except NotAgreed as error:
        print(str(error), file=sys.stderr)
        return USAGE
    except (VenueError, StartRefused) as error:
        print(str(error), file=sys.stderr)
        return VENUE_FAILED
    except BreakwaterError as error:
        print(str(error), file=sys.stderr)
        return STILL_OPEN
    _show(rows, as_json=asked.json, what=_what(asked), asked_all=not unused)
    for why in unused:
        print(f"could not be used, and may hold it: {why}", file=sys.stderr)
    if unused:
        return VENUE_FAILED
    return FLAT if all(row["flat"] and not row["left_orders"] for row in rows) else STILL_OPEN


def _close(settings: Settings, asked: argparse.Namespace) -> tuple[list[Row], list[VenueError | StartRefused]]:
    """Through the daemon when it holds the lock, else by ourselves while we hold it; and what could not be used. A
    venue that is not configured is refused: "no open position" there would be told of a venue that nobody asked."""
    if asked.venue not in (None, *(access.name for access in accesses(settings))):
        raise StartRefused(f"{asked.venue} is not configured: there is no key for it, or EXCHANGES leaves it out")
    try:
        with instance_locks(settings.process.data_dir, account_keys(settings)):
            return asyncio.run(_close_directly(settings, asked))
    except AlreadyRunning:
        if not (settings.process.data_dir / SOCKET_NAME).exists():
            raise
        return _close_through_daemon(settings.process.data_dir, asked), []


def _close_through_daemon(data_dir: Path, asked: argparse.Namespace) -> list[Row]:
    with daemon(data_dir, DAEMON_SECONDS) as link:
        held = [f"{p['instrument'][0]} {p['instrument'][1]}" for p in link.ask("status")["positions"]]
        _confirm(asked, f"the daemon holds {', '.join(held) or 'nothing'}")
        rows: list[Row] = []
        for symbol in (None,) if asked.symbol is None else spellings(asked.symbol):
            rows += link.ask("close", symbol=symbol, venue=asked.venue, author="close_position")
        return rows


async def _close_directly(
    settings: Settings, asked: argparse.Namespace
) -> tuple[list[Row], list[VenueError | StartRefused]]:
    """One venue after the other, because each may have to be agreed to; one that fails costs only its own positions."""
    rows: list[Row] = []
    unused: list[VenueError | StartRefused] = []
    clock = SystemClock()
    for access in accesses(settings):
        if asked.venue not in (None, access.name):
            continue
        try:
            rows += await _close_at(access, clock, asked)
        except NotAgreed:
            raise
        except (VenueError, StartRefused) as error:
            unused.append(error)
    return rows, unused


async def _close_at(access: VenueAccess, clock: Clock, asked: argparse.Namespace) -> list[Row]:
    async with opened(access, clock) as client:
        held_there = [p for p in await client.positions() if p.quantity != ZERO]
        positions = [p for p in held_there if _is_asked_for(client, p, asked.symbol)]
        if not positions:
            return []
        held = ", ".join(f"{plain(p.quantity)} {p.instrument.symbol}" for p in positions)
        _confirm(asked, f"{access.name} holds {held}")
        return [await _close_one(client, position, clock) for position in positions]


async def _close_one(client: VenueClient, position: PositionReport, clock: Clock) -> Row:
    """In hedge mode the other side of the symbol is a position of its own: its size and its stop do not count here."""
    instrument, held, detail = position.instrument, position.quantity, ""
    long, known, sent = position.quantity > ZERO, client.instruments.get(instrument.symbol), 0
    for _ in range(ATTEMPTS):
        size = Quantity(abs(held))
        for part in [size] if known is None else known.market_parts(size):
            outcome = await client.submit(Departure(intent=_intent(instrument, part, long, clock.now_ms(), sent)))
            sent += 1
            if isinstance(outcome, Rejected):
                detail = f"{outcome.code} {outcome.detail}"
        held = await _until_flat(client, instrument, long=long)
        if held == ZERO:
            break
    left = await _remove_orders(client, instrument, long=long) if held == ZERO else 0
    return {
        "venue": instrument.venue.value,
        "symbol": instrument.symbol,
        "quantity": plain(abs(position.quantity)),
        "flat": held == ZERO,
        "left_orders": left,
        "detail": "" if held == ZERO else detail or f"the venue still holds {plain(held)}",
    }


def _intent(
    instrument: InstrumentId,
    quantity: Quantity,
    long: bool,  # noqa: FBT001 - which side is closed
    now_ms: int,
    attempt: int,
) -> OrderIntent:
    """Each attempt is a new order; every one is reduce-only, so that a late first one cannot turn the position."""
    identity = f"close_position/{instrument}/{now_ms}"
    return OrderIntent(
        client_order_id=client_order_id("operator", identity, Leg.CLOSE, attempt),
        instrument=instrument,
        leg=Leg.CLOSE,
        attempt=attempt,
        signal_id=SignalId(""),
        position_id=PositionId(identity),
        side=Side.SELL if long else Side.BUY,
        type=OrderType.MARKET,
        quantity=quantity,
        reduce_only=True,
    )


async def _held(client: VenueClient, instrument: InstrumentId, *, long: bool) -> Quantity:
    mine = [p.quantity for p in await client.positions() if p.instrument == instrument]
    return Quantity(sum((quantity for quantity in mine if (quantity > ZERO) is long), ZERO))


async def _until_flat(client: VenueClient, instrument: InstrumentId, *, long: bool) -> Quantity:
    """The venue's own figure, asked until it is zero or the time is over."""
    held = await _held(client, instrument, long=long)
    for _ in range(int(CONFIRM_SECONDS / CONFIRM_STEP)):
        if held == ZERO:
            break
        await asyncio.sleep(CONFIRM_STEP)
        held = await _held(client, instrument, long=long)
    return held


async def _remove_orders(client: VenueClient, instrument: InstrumentId, *, long: bool) -> int:
    """Cancel what only closes and now has nothing to close; the number that is still there."""
    status = await client.mass_status()
    for report in _closing_orders(status.orders, instrument, long=long):
        await client.cancel(order_of(report))
    status = await client.mass_status()
    return len(_closing_orders(status.orders, instrument, long=long))


def _closing_orders(
    orders: Sequence[OrderStatusReport], instrument: InstrumentId, *, long: bool
) -> list[OrderStatusReport]:
    side = Side.SELL if long else Side.BUY
    return [order for order in orders if order.instrument == instrument and order.reduce_only and order.side is side]


def _is_asked_for(client: VenueClient, position: PositionReport, symbol: str | None) -> bool:
    """By any spelling, the venue's own and the coin alone included."""
    known = client.instruments.get(position.instrument.symbol)
    names = {position.instrument.symbol, position.instrument.symbol if known is None else known.venue_symbol}
    return symbol is None or any(same_symbol(spelt, name) for spelt in spellings(symbol) for name in names)


def _what(asked: argparse.Namespace) -> str:
    """What was to be closed, for people."""
    what = f" in {asked.symbol}" if asked.symbol else ""
    return what + (f" at {asked.venue}" if asked.venue else "")


def _confirm(asked: argparse.Namespace, held: str) -> None:
    """Raises NotAgreed unless the operator agrees."""
    if asked.yes:
        return
    what = asked.symbol or "all of it"
    if not sys.stdin.isatty():
        raise NotAgreed(f"{held}; nobody is there to confirm closing {what}: add --yes")
    print(f"{held}. Close {what} at market? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAgreed("nothing was closed")


def _show(rows: list[Row], *, as_json: bool, what: str, asked_all: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        if asked_all:
            print(f"no open position{what}")
        return
    table = Table()
    for name in ("venue", "symbol", "quantity", "flat", "orders left", "detail"):
        table.add_column(name, overflow="fold")
    for row in rows:
        flat = "[green]flat[/]" if row["flat"] else "[red]STILL OPEN[/]"
        table.add_row(row["venue"], row["symbol"], row["quantity"], flat, str(row["left_orders"]), row["detail"])
    Console().print(table)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="close_position.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    spelt = "BTCUSDT, BTC/USDT or BTC/USDT:USDT; BTC is that coin against USDT and USDC"
    what.add_argument("symbol", nargs="?", metavar="SYMBOL", help=spelt)
    what.add_argument("--all", action="store_true", help="every open position")
    parser.add_argument("--venue", choices=[venue.value for venue in VenueName], help="only at this venue")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
