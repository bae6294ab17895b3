"""How things stand, on one screen: trading state, venues, positions and their stops, the last waves, refusals.

Asks the running daemon through its control socket; without one it tells what the journal knows, and says so. Exit
status: 0 fine, 4 something for the operator to do (it is named), 2 usage, configuration or nothing to look at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.build import build_id
from core.domain.ids import Leg
from core.domain.money import HUNDRED, ZERO, plain
from core.domain.order import Order, OrderStatus
from core.domain.position import Position
from core.domain.risk import TradingState
from core.domain.spans import span
from core.engine.past import PastWave
from core.errors import ConfigError, JournalUnreadable, StartRefused
from core.storage.history import History, reading
from core.storage.journal import FILE_NAME
from tools import data_folder
from tools.daemon_link import NoDaemon, daemon
from tools.doctor_host import lock_holder

FINE, USAGE, OPERATOR_NEEDED = 0, 2, 4
DAEMON_SECONDS = 0.7
"""The whole answer takes less than a second, whatever the daemon does."""
WAVES_SHOWN = 5
DAY_MS = 24 * 3600 * 1000
_STATES = {"active": "green", "reducing": "yellow", "halted": "red"}
Facts = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        facts = look(data_folder.folder_of(asked))
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return USAGE
    except JournalUnreadable as error:
        print(str(error), file=sys.stderr)
        return USAGE
    if asked.json:
        print(json.dumps(facts, indent=2))
    else:
        _show(Console(), facts)
    return OPERATOR_NEEDED if facts["to_do"] else FINE


def look(folder: Path) -> Facts:
    """Everything the screen shows. Raises JournalUnreadable when there is neither a daemon nor a journal."""
    silent = ""
    try:
        with daemon(folder, DAEMON_SECONDS) as link:
            facts = of_daemon(link.ask("status"))
    except (NoDaemon, StartRefused) as error:
        silent = str(error) if not isinstance(error, NoDaemon) or error.stuck else _starting(folder)
        with reading(folder / FILE_NAME) as history:
            facts = {**of_journal(history, silent=bool(silent)), **waves_of(history)}
    else:
        with reading(folder / FILE_NAME) as history:
            facts |= waves_of(history)
    return {**facts, "to_do": [*([silent] if silent else []), *to_do(facts)]}


def _starting(folder: Path) -> str:
    """What it says of a daemon that has the lock and serves nobody yet; "" where there is none."""
    holder = lock_holder(folder / "lock")
    return "" if holder is None else f"process {holder} starts here, or waits for its venues: look at its log"


def of_daemon(status: Mapping[str, Any]) -> Facts:
    return {
        "source": "daemon",
        "build": status["build"],
        "installed_build": build_id(),
        "uptime_s": round(status["uptime_s"]),
        "state": status["trading_state"],
        "reason": status["reason"],
        "held_back": [*status["risk"]["reached"], *status["risk"]["shortages"]],
        "venues": status["venues"],
        "positions": [_told_position(row) for row in status["positions"]],
        "balances": status["balances"],
        "unresolved_orders": status["unresolved_orders"],
    }


def _told_position(row: Mapping[str, Any]) -> Facts:
    mark, stop, unrealized = (row[name] and _short(Decimal(row[name])) for name in ("mark", "stop", "unrealized"))
    return {
        "venue": row["instrument"][0],
        "symbol": row["instrument"][1],
        "side": row["side"],
        "quantity": row["quantity"],
        "entry_price": _short(Decimal(row["entry_price"])),
        "mark": mark,
        "unrealized": unrealized,
        "stop": stop,
        "dust": row["dust"],
        "stop_distance_percent": _distance(stop, mark or row["entry_price"]),
        "distance_of": "mark" if mark else "entry price",
        "age_s": round(row["age_s"]),
    }


def of_journal(history: History, *, silent: bool) -> Facts:
    """What was written last; a venue knows better, and only a daemon or `check_orders.py` asks it. `silent`: there is
    a daemon, but it does not answer."""
    values = history.values()
    standing = json.loads(values["trading_state"]) if "trading_state" in values else {}
    stops = [order for order in history.working_orders() if order.intent.leg is Leg.STOP]
    running = values.get("run") == "running"
    return {
        "source": "journal",
        "state": standing.get("state", "unknown"),
        "reason": standing.get("reason", ""),
        "ended": "not ended" if silent else "without being stopped" if running else "stopped",
        "positions": [_held_position(position, stops) for position in history.open_positions()],
        "unresolved_orders": sum(1 for o in history.working_orders() if o.status is OrderStatus.IN_FLIGHT),
    }


def _held_position(position: Position, stops: Sequence[Order]) -> Facts:
    mine = [o for o in stops if o.intent.position_id == position.id and o.status is OrderStatus.ACCEPTED]
    covered = sum((o.quantity for o in mine), ZERO) >= position.quantity
    stop = next((o.trigger_price for o in mine), None) if covered else None
    told = None if stop is None else plain(stop)
    return {
        "venue": position.instrument.venue.value,
        "symbol": position.instrument.symbol,
        "side": "long" if position.side.sign > 0 else "short",
        "quantity": plain(position.quantity),
        "entry_price": _short(position.entry_price),
        "mark": None,
        "unrealized": None,
        "stop": told,
        "stop_distance_percent": _distance(told, plain(position.entry_price)),
        "distance_of": "entry price",
        "age_s": max(0, round(time.time() - position.opened_ms / 1000)),
    }


def waves_of(history: History) -> Facts:
    since = round(time.time() * 1000) - DAY_MS
    waves = [_wave_facts(wave) for wave in history.last_waves(WAVES_SHOWN)]
    return {"last_waves": waves, "refusals_24h": history.refusals_since(since)}


def _wave_facts(wave: PastWave) -> Facts:
    return {
        "wave": wave.wave_id,
        "received_ms": wave.received_ms,
        "finished": wave.finished_ms is not None,
        "counts": dict(wave.counts),
        "protected_ms": wave.stages.get("protected"),
    }


def to_do(facts: Facts) -> list[str]:
    needed = [
        f"{row['venue']} {row['symbol']} {row['side']} has no confirmed stop: close it (tools/close_position.py) or "
        "let the daemon protect it"
        for row in facts["positions"]
        if row["stop"] is None and not row.get("dust")
    ]
    if facts["source"] == "daemon" and facts["state"] == TradingState.HALTED:
        needed.append(f"trading is halted: {facts['reason']}")
    if facts["source"] == "daemon" and facts["state"] == TradingState.REDUCING and not facts["held_back"]:
        needed.append(f"nothing is entered until somebody resumes: {facts['reason']}")
    if facts["source"] == "journal" and facts.get("ended") == "without being stopped":
        needed.append("the last daemon ended without being stopped: start it, it reconciles what it missed")
    if facts["source"] == "daemon" and facts["build"] != facts["installed_build"]:
        needed.append(f"build {facts['installed_build']} is installed, the daemon runs {facts['build']}: restart it")
    off = [row for row in facts.get("venues", ()) if row["off_because"]]
    return needed + [f"{row['venue']} takes no entries: {row['off_because']}" for row in off]


# as a screen


def _show(console: Console, facts: Facts) -> None:
    colour = _STATES.get(facts["state"], "white")
    state = f"[bold {colour}]{facts['state'].upper()}[/] {escape(facts['reason'])}"
    running = facts["source"] == "daemon" or facts["ended"] == "not ended"
    console.print(state if running else f"[bold]NOT RUNNING[/], it was {state}", highlight=False)
    if facts["source"] == "daemon":
        told = f"told by the running daemon, build {facts['build']}, up {span(facts['uptime_s'])}"
    elif facts["ended"] == "not ended":
        told = "told by the journal: the daemon that runs here does not answer"
    else:
        ended = "was stopped" if facts["ended"] == "stopped" else f"ended {facts['ended']}"
        told = f"told by the journal: no daemon is running here, the last one {ended}"
    console.print(told, style="dim", highlight=False)
    for why in facts.get("held_back", ()):
        console.print(f"[yellow]no entries:[/] {escape(why)}", highlight=False)
    if facts.get("venues"):
        console.print("", _venue_table(facts["venues"], facts["state"]), sep="\n")
    console.print("", _position_table(facts["positions"]) if facts["positions"] else "no open position", sep="\n")
    if facts["last_waves"]:
        console.print("", _wave_table(facts["last_waves"]), sep="\n")
    refused = ", ".join(f"{code} {count}" for code, count in facts["refusals_24h"].items())
    console.print(f"\nrefused in 24 h: {refused or 'nothing'}", highlight=False)
    for what in facts["to_do"]:
        console.print(f"[bold red]to do:[/] {escape(what)}", highlight=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _venue_table(rows: Sequence[Mapping[str, Any]], state: str) -> Table:
    table = _table("Venues", "venue", "stream", "for", "reconnects", "reconciled", "entries")
    for row in rows:
        stream = "[green]live[/]" if row["connected"] else "[red]down[/]"
        since = "" if row["connected_s"] is None else span(row["connected_s"])
        read = "never" if row["reconciled_s"] is None else f"{span(row['reconciled_s'])} ago"
        entries = _entries(row) if state == TradingState.ACTIVE else f"[yellow]no[/]: trading is {state.upper()}"
        table.add_row(row["venue"], stream, since, str(row["reconnects"]), read, entries)
    return table


def _entries(row: Mapping[str, Any]) -> str:
    key = ", [red]the key may withdraw[/]" if "withdraw" in (row.get("key_may") or ()) else ""
    if (off := row["off_because"]) is not None:
        return f"[red]off[/]: {escape(off)}{key}"
    paused = row.get("paused")
    return ("[green]on[/]" if paused is None else f"[yellow]pause[/]: {escape(paused)}") + key


def _position_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Positions", "symbol", "side", "size", "entry", "mark", "result", "stop", "away", "age")
    several = len({row["venue"] for row in rows}) > 1
    for row in rows:
        away = row["stop_distance_percent"]
        table.add_row(
            f"{row['venue']} {row['symbol'].removesuffix('/USDT:USDT')}" if several else row["symbol"],
            row["side"],
            row["quantity"],
            row["entry_price"],
            row["mark"] or "",
            "" if row["unrealized"] is None else f"{Decimal(row['unrealized']):+.2f}",
            row["stop"] or ("dust" if row.get("dust") else "[bold red]NONE[/]"),
            "" if away is None else f"{away}%",
            span(row["age_s"]),
        )
    return table


def _wave_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Last waves", "wave", "received, UTC", "signals", "protected after")
    for row in rows:
        counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row["counts"].items())
        took = "" if row["protected_ms"] is None else f"{row['protected_ms']:g} ms"
        moment = datetime.fromtimestamp(row["received_ms"] / 1000, UTC).strftime("%m-%d %H:%M:%S")
        table.add_row(row["wave"], moment, counted if row["finished"] else "not finished", took)
    return table


def _distance(stop: str | None, price: str) -> str | None:
    if stop is None:
        return None
    return plain(round(abs(Decimal(stop) / Decimal(price) - 1) * HUNDRED, 2))


def _short(value: Decimal) -> str:
    return plain(round(value, 8))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="quick_check.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    data_folder.add_arguments(parser)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
