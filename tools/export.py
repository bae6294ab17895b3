"""Orders, positions or trades of the journal as a table for a spreadsheet (CSV) or for programs (JSON).

Reads the journal only, beside a running daemon as well as without one. Times are UTC in ISO 8601, amounts plain
decimals. Text from outside that a spreadsheet would take for a formula is quoted with an apostrophe. Exit status: 0
written, 2 usage, configuration or no journal.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.domain.money import plain
from core.domain.position import Position
from core.domain.reports import FillReport
from core.engine.past import PastOrder
from core.errors import ConfigError, JournalUnreadable
from core.storage.history import History, reading
from core.storage.journal import FILE_NAME
from tools import data_folder

WRITTEN, USAGE = 0, 2
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (or of a new cell before one)."""
NUMBER = re.compile(r"-?\d+(\.\d+)?")
SPAN = re.compile(r"(\d{1,5})\s*([dh])")
SPAN_MS = {"d": 24 * 3600 * 1000, "h": 3600 * 1000}
DIGITS = 12
"""Behind the point."""
Cell = str | bool | int
Row = Mapping[str, Cell]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        with reading(data_folder.folder_of(asked) / FILE_NAME) as history:
            number = _write(asked, TABLES[asked.table](history, asked.since))
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return USAGE
    except JournalUnreadable as error:
        print(str(error), file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"{asked.out or 'the output'} could not be written: {error.strerror or error}", file=sys.stderr)
        return USAGE
    if asked.out is not None:
        print(f"{number} {asked.table} written to {asked.out}")
    return WRITTEN


# tables


def orders(history: History, since_ms: int) -> Iterator[Row]:
    """Decided since then."""
    for one in history.orders_since(since_ms):
        yield _order(one)


def positions(history: History, since_ms: int) -> Iterator[Row]:
    """Open ones, and those that were closed since then; by the moment they were opened."""
    for position in history.every_position():
        if position.closed_ms is None or position.closed_ms >= since_ms:
            yield _position(position)


def trades(history: History, since_ms: int) -> Iterator[Row]:
    """Since then by the venue's clock."""
    for fill in history.every_fill():
        if fill.venue_time_ms >= since_ms:
            yield _trade(fill)


TABLES: Mapping[str, Callable[[History, int], Iterator[Row]]] = {
    "orders": orders,
    "positions": positions,
    "trades": trades,
}


def _order(one: PastOrder) -> Row:
    order, intent = one.order, one.order.intent
    return {
        "decided": iso(one.intent_ms),
        "venue": intent.instrument.venue.value,
        "symbol": intent.instrument.symbol,
        "leg": intent.leg.value,
        "side": intent.side.value,
        "type": intent.type.value,
        "quantity": plain(order.quantity),
        "price": _number(intent.price),
        "trigger_price": _number(order.trigger_price),
        "reduce_only": intent.reduce_only,
        "status": order.status.value,
        "filled": plain(order.filled),
        "average_price": _price(order.average_price),
        "decision_price": _number(intent.decision_price),
        "slippage_percent": one.execution.get("slippage_percent", ""),
        "fees": one.execution.get("fees", ""),
        "reason": intent.reason,
        "detail": order.detail,
        "signal": intent.signal_id,
        "wave": intent.wave_id,
        "position": intent.position_id,
        "client_order_id": intent.client_order_id,
        "venue_order_id": order.venue_order_id or "",
    }


def _position(position: Position) -> Row:
    closed = position.exit_quantity
    return {
        "opened": iso(position.opened_ms),
        "closed": "" if position.closed_ms is None else iso(position.closed_ms),
        "venue": position.instrument.venue.value,
        "symbol": position.instrument.symbol,
        "side": "long" if position.side.sign > 0 else "short",
        "open_quantity": plain(position.quantity),
        "entry_quantity": plain(position.entry_quantity),
        "entry_price": _price(position.entry_price),
        "exit_quantity": plain(closed),
        "exit_price": _price(position.exit_cost / closed) if closed else "",
        "realized_before_fees": plain(position.realized),
        "fees": plain(position.fees),
        "result": plain(position.realized - position.fees),
        "signal": position.signal_id,
        "position": position.id,
    }


def _trade(fill: FillReport) -> Row:
    return {
        "time": iso(fill.venue_time_ms),
        "venue": fill.instrument.venue.value,
        "symbol": fill.instrument.symbol,
        "side": fill.side.value,
        "quantity": plain(fill.quantity),
        "price": plain(fill.price),
        "value": plain(fill.quantity * fill.price),
        "fee": plain(fill.fee),
        "fee_asset": fill.fee_asset,
        "realized": plain(fill.realized),
        "maker": fill.maker,
        "trade": fill.trade_id,
        "client_order_id": fill.client_order_id,
        "venue_order_id": fill.venue_order_id,
    }


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: Decimal | None) -> str:
    return "" if value is None else plain(value)


def _price(average: Decimal | None) -> str:
    """A quotient, as exact as any venue's tick."""
    return "" if average is None else plain(round(average, DIGITS))


# files


def safe(cell: Cell) -> Cell:
    """As a spreadsheet will show it and nothing more (a symbol or a reason comes from outside)."""
    if isinstance(cell, str) and cell.startswith(FORMULA) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def write_csv(file: TextIO, rows: Iterable[Row]) -> int:
    """Their number. Without rows there is no header to know either."""
    writer, number = None, 0
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\r\n")
            writer.writeheader()
        writer.writerow({name: safe(_flat(cell)) for name, cell in row.items()})
        number += 1
    return number


def _flat(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell


def write_json(file: TextIO, rows: Iterable[Row]) -> int:
    """One array, a row a line."""
    number = 0
    for row in rows:
        file.write(f"{',' if number else '['}\n{json.dumps(row, ensure_ascii=False)}")
        number += 1
    file.write("\n]\n" if number else "[]\n")
    return number


def _write(asked: argparse.Namespace, rows: Iterable[Row]) -> int:
    write = {"csv": write_csv, "json": write_json}[asked.format]
    if asked.out is None:
        text = io.StringIO(newline="")
        number = write(text, rows)
        sys.stdout.write(text.getvalue())
        return number
    with _replaced(asked.out) as file:
        return write(file, rows)


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """The file appears whole or not at all, readable by its owner only."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


# arguments


def since(text: str) -> int:
    """`2026-11-01`, `2026-11-01T08:00`, `7d` or `12h`, as UTC ms. Raises ValueError."""
    if (span := SPAN.fullmatch(text.strip())) is not None:
        return round(time.time() * 1000) - int(span[1]) * SPAN_MS[span[2]]
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _since(text: str) -> int:
    try:
        return since(text)
    except ValueError:
        what = f"{text!r} is neither a time (2026-11-01T08:00, UTC) nor a span (7d, 12h)"
        raise argparse.ArgumentTypeError(what) from None


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="export.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=list(TABLES), help="what to write")
    parser.add_argument("--since", type=_since, default=0, metavar="TIME", help="2026-11-01, 7d or 12h; default all")
    parser.add_argument("--format", choices=["csv", "json"], default="csv")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of to the terminal")
    data_folder.add_arguments(parser)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
