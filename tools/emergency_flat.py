"""Makes every account flat, now: cancels what would open something, closes every position reduce-only at market, proves
by reading again that it is gone, and then removes the orders that were left to close it. Stops rest until then.

Needs the keys and nothing else: no daemon, no journal, no sound configuration. Where a daemon runs (it holds the lock),
that one is told to panic, because two must not close the same position, and the venues are asked afterwards whether it
is true; venues that it does not trade now are ended by this program. By default everything in USDT and USDC perpetuals
on the account is ended, whoever opened it; --ours leaves alone what Breakwater did not open.

Exit status: 0 flat and clean, 4 something is left or a venue could not be used (it is named), 2 usage, configuration or
nobody who agreed. Nothing here keeps a daemon that is started later from trading: touch DATA_DIR/KILL for that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from msgspec import Struct
from msgspec.structs import replace

from core.clock import SystemClock
from core.config import default_env_file, load_settings
from core.domain.ids import VenueName
from core.domain.money import plain
from core.errors import AlreadyRunning, ConfigError, StartRefused, VenueError
from core.logs import configure_logging
from core.storage.instance_lock import instance_locks
from core.venues import VenueAccess
from core.wiring.accounts import accesses, lock_name
from tools.daemon_link import NoDaemon, daemon
from tools.flattening import SECONDS, Flattened, Flattening, flatten, key_of
from tools.keys_alone import KeysAlone, keys_alone
from tools.venue_link import connected

FLAT, USAGE, LEFT = 0, 2, 4
ANSWER_SECONDS = 3.0
"""A daemon that does not tell its status within this is stuck, and will not panic either."""
PANIC_SECONDS = 120.0
"""A daemon whose venue does not answer tells that within it: it tries twice for half a minute, and asks."""
LOOK_SECONDS = 15.0
"""How long the list to be agreed to waits for a venue; one that does not answer is named, and tried all the same."""
BY_DAEMON = "the daemon's panic"
Row = dict[str, Any]


class NotAgreed(StartRefused):
    """Nobody said yes; nothing was done."""


class Wish(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    ours_only: bool
    seconds: float
    yes: bool
    as_json: bool
    without_lock: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    reach = _reach(asked)
    for problem in reach.problems:
        print(f"cannot be used: {problem}", file=sys.stderr)
    if not reach.accesses:
        print("There is no account to make flat: no key of a venue is configured", file=sys.stderr)
        return USAGE
    wish = Wish(
        ours_only=asked.ours, seconds=asked.seconds, yes=asked.yes, as_json=asked.json, without_lock=asked.without_lock
    )
    try:
        with configure_logging(None, "ERROR", secrets=reach.secrets):
            rows = _flatten(reach, wish, asked.venue)
    except NotAgreed as error:
        print(str(error), file=sys.stderr)
        return USAGE
    except (StartRefused, NoDaemon) as error:
        print(str(error), file=sys.stderr)
        return LEFT
    if wish.as_json:
        print(json.dumps({"venues": rows, "problems": list(reach.problems)}, indent=2))
    else:
        _show(rows)
    return FLAT if all(row["flat"] for row in rows) and not reach.problems else LEFT


def _reach(asked: argparse.Namespace) -> KeysAlone:
    """By the configuration; by the keys alone where that has mistakes."""
    env_file = asked.env_file or default_env_file()
    try:
        settings = load_settings(os.environ, env_file)
        found = KeysAlone(
            accesses=tuple(accesses(settings)),
            data_dir=settings.process.data_dir,
            log_dir=settings.process.log_dir,
            secrets=settings.secret_values(),
            problems=(),
        )
    except ConfigError as error:
        found = keys_alone(os.environ, env_file)
        if found.accesses:
            print(f"The configuration has mistakes; going on with the keys alone:\n{error}", file=sys.stderr)
        else:
            print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
    chosen = tuple(
        replace(access, only_closes=True) for access in found.accesses if asked.venue in (None, access.name.value)
    )
    problems = tuple(problem for problem in found.problems if asked.venue is None or problem.startswith(asked.venue))
    return replace(found, accesses=chosen, problems=problems)


def _flatten(reach: KeysAlone, wish: Wish, venue: str | None) -> list[Row]:
    """Through the daemon when one answers or holds the lock, else by ourselves while we hold it."""
    keys = [lock_name(access) for access in reach.accesses]
    if _answers(reach.data_dir):
        return _through_daemon(reach, wish, venue)
    try:
        with instance_locks(reach.data_dir, keys):
            return asyncio.run(_directly(reach.accesses, wish))
    except AlreadyRunning as error:
        remedy = "it does not answer at the control socket of this DATA_DIR: end its process, and run this again"
        raise StartRefused(f"{error.args[0].partition(';')[0]}, and {remedy}") from error
    except PermissionError as error:
        if not wish.without_lock:
            remedy = "run it as the daemon's user, or add --without-lock when you know that no daemon runs"
            raise StartRefused(f"the lock of the daemon could not be looked at ({error}): {remedy}") from error
    except OSError as error:  # a disk that is full or broken: no daemon could take the lock there either
        print(f"the lock could not be taken ({error}); going on without it", file=sys.stderr)
    return asyncio.run(_directly(reach.accesses, wish))


# by ourselves


async def _directly(accesses_: Sequence[VenueAccess], wish: Wish) -> list[Row]:
    """All venues at once; one that is dead holds up no other."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(access, clock)) for access in accesses_]
        if not wish.yes:
            looks = [Flattening(client, clock, began=0, ours_only=wish.ours_only) for client in clients]
            await asyncio.to_thread(_confirm, await asyncio.gather(*(_look(look) for look in looks)))
        began = clock.monotonic()
        done = await asyncio.gather(
            *(flatten(c, clock, began=began, ours_only=wish.ours_only, seconds=wish.seconds) for c in clients)
        )
    return [_row(one) for one in done]


async def _look(flattening: Flattening) -> str:
    """What would be ended at one venue, in words."""
    venue = flattening.result.venue
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await flattening.client.open()
            status = await flattening.read()
    except TimeoutError:
        return f"{venue}: does not answer within {LOOK_SECONDS:g} s; it is tried all the same"
    except (VenueError, StartRefused) as error:
        return f"{venue}: could not be asked, it is tried all the same: {error}"
    held = [f"{plain(abs(position.quantity))} {key_of(position)}" for position in status.positions]
    return f"{venue}: {', '.join(held) or 'no position'}; {len(status.orders)} resting orders"


def _confirm(lines: Sequence[str]) -> None:
    """Raises NotAgreed unless the operator agrees."""
    listed = "\n".join(lines)
    if not sys.stdin.isatty():
        raise NotAgreed(f"{listed}\nnobody is there to confirm; add --yes")
    print(f"{listed}\nCancel all of it and close all of it at market? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAgreed("nothing was done")


# through the daemon


def _answers(data_dir: Path) -> bool:
    try:
        with daemon(data_dir, ANSWER_SECONDS) as link:
            link.ask("status")
    except NoDaemon:
        return False
    return True


def _through_daemon(reach: KeysAlone, wish: Wish, venue: str | None) -> list[Row]:
    """Its panic, and then the venue's own word; by ourselves where it does not trade. Raises NoDaemon when it does not
    answer."""
    with daemon(reach.data_dir, max(wish.seconds, PANIC_SECONDS)) as link:
        status = link.ask("status")
        traded = {row["venue"] for row in status["venues"]}
        its = [one for one in reach.accesses if one.name.value in traded]
        others = [one for one in reach.accesses if one not in its]
        if not wish.yes:
            held = [f"{p['instrument'][0]} {p['instrument'][1]}" for p in status["positions"]]
            asked = [f"{one.name}: the daemon does not trade there; this program closes all of it" for one in others]
            if its:
                asked.insert(0, f"a daemon runs; it holds {', '.join(held) or 'nothing'}, and will be told to panic")
            _confirm(asked)
        began = time.monotonic()
        try:
            told = link.ask("panic", venue=venue, author="emergency_flat") if its else {}
        except NoDaemon as error:
            ended = "end its process (kill -9), and run this again" if error.stuck else "run this again"
            raise NoDaemon(f"{error}: {ended}", stuck=error.stuck) from error
    answered = round(time.monotonic() - began, 3)
    closed = {(one["venue"], one["symbol"]): one for one in told.get("closed", [])}
    rows = asyncio.run(_verified(its, wish)) if its else []
    for row in rows:
        row["by"], row["verified_s"] = BY_DAEMON, answered if row["flat"] else None
        row["positions"] = [
            {
                "symbol": symbol,
                "side": "",
                "quantity": one["quantity"],
                "flat": one["flat"],
                "flat_s": answered,
                "price": None,
                "detail": one["detail"],
            }
            for (where, symbol), one in closed.items()
            if where == row["venue"]
        ]
    return [*rows, *(asyncio.run(_directly(others, replace(wish, yes=True))) if others else [])]


async def _verified(accesses_: Sequence[VenueAccess], wish: Wish) -> list[Row]:
    """What the venues themselves say afterwards; two readings, nothing is sent."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(access, clock)) for access in accesses_]
        return list(
            await asyncio.gather(
                *(_venue_word(Flattening(c, clock, began=0, ours_only=wish.ours_only)) for c in clients)
            )
        )


async def _venue_word(flattening: Flattening) -> Row:
    row = _row(flattening.result)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await flattening.client.open()
            left: list[str] = []
            for _ in range(2):
                left += await flattening.what_is_left()
    except TimeoutError:
        return row | {"flat": False, "failed": f"does not answer within {LOOK_SECONDS:g} s"}
    except (VenueError, StartRefused) as error:
        return row | {"flat": False, "failed": str(error)}
    why = "the daemon closes what is its own; stop it and run this again" if left else ""
    return row | {"flat": not left, "left": sorted(set(left)), "failed": why}


# shown


def _row(done: Flattened) -> Row:
    return {
        "venue": done.venue.value,
        "by": "this program",
        "flat": done.done,
        "positions": [
            {
                "symbol": one.key.instrument.symbol,
                "side": "long" if one.key.long else "short",
                "quantity": plain(one.quantity),
                "flat": one.flat,
                "flat_s": None if one.flat_s is None else round(one.flat_s, 3),
                "price": None if one.price is None else plain(one.price),
                "detail": "" if one.flat else one.detail,
            }
            for one in done.closings.values()
        ],
        "cancelled": done.cancelled,
        "left": done.left,
        "failed": done.failed,
        "verified_s": None if done.verified_s is None else round(done.verified_s, 3),
        "removed_s": None if done.removed_s is None else round(done.removed_s, 3),
    }


def _show(rows: Sequence[Row]) -> None:
    for row in rows:
        for one in row["positions"]:
            at = f" at {one['price']}" if one["price"] else ""
            said = f"flat{at}, {one['flat_s']:g} s" if one["flat"] else f"STILL OPEN {one['detail']}".strip()
            name = " ".join(part for part in (one["symbol"], one["side"], one["quantity"]) if part)
            print(f"{row['venue']:8} {name}: {said}")
        print(f"{row['venue']:8} {_sentence(row)}")
    if any(row["by"] == BY_DAEMON for row in rows):
        print("The daemon goes on HALTED, also after a restart, until somebody resumes.")


def _sentence(row: Row) -> str:
    if row["flat"]:
        proved = "" if row["verified_s"] is None else f" after {row['verified_s']:g} s"
        orders = f", {row['cancelled']} orders cancelled" if row["cancelled"] else ""
        return f"flat{proved}, two readings agree{orders}, no order is left ({row['by']})"
    left = f"LEFT: {', '.join(row['left'])}" if row["left"] else "NOT PROVED FLAT"
    return f"{left}{': ' if row['failed'] else ''}{row['failed']}"


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="emergency_flat.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venue", choices=[venue.value for venue in VenueName], help="only this venue")
    parser.add_argument("--ours", action="store_true", help="leave alone what Breakwater did not open")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--without-lock",
        action="store_true",
        help="go on where the daemon's lock may not be looked at (another user's)",
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help=f"try each venue so long (default {SECONDS:g})"
    )
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
