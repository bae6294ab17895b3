"""Tells the running daemon what to do, or asks it, through its control socket; what Telegram offers, from a shell.

  python tools/control.py pause                 no entries until resume (reduce: the same under its own name)
  python tools/control.py panic --venue okx     halt one venue and close everything of ours there, at market
  python tools/control.py resume                trade again; what was lost is accepted, limits count anew
  python tools/control.py cancel ID             one order by client or venue id; never the stop of a position
  python tools/control.py health                ok, degraded or unhealthy, and why (also: status, risk, orders)

Asks before panic unless --yes is given. Exit status: 0 done, 2 usage or configuration, 3 no daemon answers, 4 the
daemon refused, or something is left open.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.errors import ConfigError, StartRefused
from tools.daemon_link import NoDaemon, daemon
from tools.data_folder import add_arguments, folder_of

DONE, USAGE, NO_DAEMON, LEFT = 0, 2, 3, 4
ASKS = ("status", "risk", "health", "orders")
ORDERS = ("pause", "reduce", "resume", "panic", "cancel")
SECONDS = 120.0
"""A panic waits for the venues."""


def main() -> int:
    asked = _arguments()
    if asked.command == "panic" and not asked.yes and not _agreed(asked.venue):
        print("nothing was done", file=sys.stderr)
        return USAGE
    try:
        with daemon(folder_of(asked), SECONDS) as link:
            result = link.ask(asked.command, **_fields(asked))
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return USAGE
    except NoDaemon as error:
        print(str(error), file=sys.stderr)
        return NO_DAEMON
    except StartRefused as error:
        print(str(error), file=sys.stderr)
        return LEFT
    print(json.dumps(result, indent=2) if asked.json or asked.command in ASKS else _said(asked.command, result))
    return LEFT if _left(result) else DONE


def _fields(asked: argparse.Namespace) -> dict[str, str]:
    if asked.command in ASKS:
        return {}
    fields = {"author": f"shell:{getpass.getuser()}", "venue": asked.venue, "id": asked.id}
    return {name: value for name, value in fields.items() if value}


def _said(command: str, result: Mapping[str, Any]) -> str:
    if command == "cancel":
        return json.dumps(result)
    where = f" at {result['venue']}" if result.get("venue") else ""
    lines = [f"{str(result['state']).upper()}{where}: {result['reason']}"]
    if result.get("unanswered"):
        lines.append(f"{result['unanswered']} entries had left before and are not answered yet")
    for row in result.get("closed", ()):
        end = "flat" if row["flat"] else f"NOT flat: {row['detail'] or 'look with check_orders.py'}"
        lines.append(f"{row['venue']} {row['symbol']} {row['quantity']}: {end}, result {row['realized']}")
    return "\n".join(lines)


def _left(result: Any) -> bool:
    """Whether something that was to be closed is open."""
    return isinstance(result, dict) and any(not row["flat"] for row in result.get("closed", ()))


def _agreed(venue: str | None) -> bool:
    print(f"This closes every position of ours{f' at {venue}' if venue else ''} at market and halts trading.")
    return sys.stdin.isatty() and input("Type yes: ").strip().lower() == "yes"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s COMMAND [options]"
    )
    parser.add_argument("command", choices=(*ORDERS, *ASKS), metavar="COMMAND", help=", ".join((*ORDERS, *ASKS)))
    parser.add_argument("id", nargs="?", help="of the order to cancel")
    parser.add_argument("--venue", choices=("binance", "bybit", "okx"), help="only this venue")
    parser.add_argument("--yes", action="store_true", help="do not ask before panic")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    add_arguments(parser)
    asked = parser.parse_args()
    if (asked.command == "cancel") is not bool(asked.id):
        parser.error("cancel takes the id of an order, and nothing else does")
    return asked


if __name__ == "__main__":
    sys.exit(main())
