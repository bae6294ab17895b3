"""Why a signal became an order, or did not: every question that was asked of it, with value, limit and answer.

Looks at the last wave that had the symbol (or at `--wave`), reads the journal only, and works beside a running daemon
as well as without one. Exit status: 0 told, 1 there was no such signal or wave, 2 usage, configuration or no journal.
"""

from __future__ import annotations

import argparse
import json
import sys
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

from core.domain.gate import Gate
from core.domain.ids import Leg, VenueName
from core.domain.money import plain
from core.domain.position import Position
from core.domain.symbols import spellings
from core.engine.past import PastOrder, PastWave, Story
from core.engine.records import SignalMark
from core.errors import ConfigError, JournalUnreadable
from core.storage.history import History, reading
from core.storage.journal import FILE_NAME
from core.storage.stories import account_of
from tools import data_folder

TOLD, NOTHING, USAGE = 0, 1, 2
WAVES_NAMED = 5
_SIDES = {"buy": "long", "sell": "short"}
_GATE_COLUMNS = ("gate", "value", "limit", "verdict")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        with reading(data_folder.folder_of(asked) / FILE_NAME) as history:
            return _tell(history, asked)
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
    except JournalUnreadable as error:
        print(str(error), file=sys.stderr)
    return USAGE


def _tell(history: History, asked: argparse.Namespace) -> int:
    venue = None if asked.venue is None else VenueName(asked.venue)
    accounts = [account_of(history, spelt, venue, asked.wave) for spelt in spellings(asked.symbol)]
    told = next((one for one in accounts if one.found), accounts[0])
    wave = told.wave
    if wave is None or not told.found:
        return _tell_nothing(history, told.said, asked)
    if asked.json:
        facts = {"signals": [_facts(story) for story in told.stories], "unusable": list(told.unread)}
        print(json.dumps({**_wave_facts(wave), **facts}, indent=2))
        return TOLD
    console = Console()
    _show_wave(console, wave)
    for story in told.stories:
        _show(console, story)
    for one in told.unread:
        text = f"\n[bold]{escape(one['symbol'])}[/] signal {escape(one['id'])}: [yellow]{one['code']}[/]"
        console.print(f"{text}, {escape(one['detail'])}", highlight=False)
    return TOLD


def _tell_nothing(history: History, said: str, asked: argparse.Namespace) -> int:
    last = history.last_waves(WAVES_NAMED)
    if asked.json:
        print(json.dumps({"error": said, "last_waves": [_wave_facts(one) for one in last]}, indent=2))
        return NOTHING
    print(said, file=sys.stderr)
    if not last:
        print("the journal has no wave at all yet", file=sys.stderr)
        return NOTHING
    print("the last waves:", file=sys.stderr)
    for one in last:
        print(f"  {one.wave_id}  {_moment(one.received_ms)}  {_counted(one.counts) or 'not finished'}", file=sys.stderr)
    return NOTHING


# as a table


def _show_wave(console: Console, wave: PastWave) -> None:
    console.print(f"[bold]Wave {escape(wave.wave_id)}[/] from {escape(wave.source)}, {_moment(wave.received_ms)}")
    if wave.finished_ms is None:
        console.print("[yellow]not finished[/]: it is under way, or its daemon ended in it; gates are told at the end")
        return
    console.print(_counted(wave.counts), highlight=False)
    reached = ", ".join(f"{name} {value:g}" for name, value in wave.stages.items() if value is not None)
    console.print(f"milliseconds since the first signal: {reached or 'no stage was reached'}", highlight=False)


def _show(console: Console, story: Story) -> None:
    signal = story.signal
    console.print(
        f"\n[bold]{escape(signal.symbol)}[/] {_SIDES.get(signal.side, signal.side)} at {signal.venue}, "
        f"score {signal.score}, signal {escape(signal.signal_id)}: {_verdict(signal)}",
        highlight=False,
    )
    if signal.gates:
        console.print(_gate_table(signal.gates))
    for one in story.orders:
        console.print(_order_line(one), highlight=False)
    if story.position is not None:
        console.print(_position_line(story.position), highlight=False)


def _verdict(signal: SignalMark) -> str:
    return f"[yellow]{signal.code}[/], {escape(signal.detail)}" if signal.code else "[green]accepted[/]"


def _gate_table(gates: Sequence[Gate]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in _GATE_COLUMNS:
        table.add_column(name, overflow="fold")
    for gate in gates:
        verdict = "[green]passed[/]" if gate.denied is None else f"[red]{gate.denied.reason.value}[/]"
        told = gate.note if gate.denied is None else gate.denied.detail
        table.add_row(
            gate.name, escape(gate.value), escape(gate.limit), verdict + (f": {escape(told)}" if told else "")
        )
    return table


def _order_line(one: PastOrder) -> str:
    order, intent = one.order, one.order.intent
    what = f"{_clock(one.intent_ms)} [bold]{intent.leg.value}[/] {intent.side.value} {plain(intent.quantity)}"
    if intent.trigger_price is not None:
        what += f" when {intent.trigger_reference.value} reaches {plain(intent.trigger_price)}"
    if order.level is not None and order.level != intent.trigger_price:
        what += f", moved to {plain(order.level)}"
    if intent.decision_price is not None:
        what += f", decided at {_short(intent.decision_price)}"
    what += f": {order.status.value}"
    if order.average_price is not None:
        what += f", filled {plain(order.filled)} at {_short(order.average_price)}"
    learned = ("slippage_percent", "latency_ms", "fees", "realized")
    told = [f"{name} {escape(one.execution[name])}" for name in learned if one.execution.get(name)]
    why = [text for text in (intent.reason, order.detail) if text]
    return what + "".join(f", {text}" for text in told) + "".join(f" ({escape(text)})" for text in why)


def _position_line(position: Position) -> str:
    at = f"{plain(position.entry_quantity)} at {_short(position.entry_price)}"
    fees = f"fees {plain(position.fees)}"
    if position.open:
        return f"position: [green]open[/], {plain(position.quantity)} left of {at}, {fees}"
    result = f"realised {plain(position.realized - position.fees)} after {fees}"
    return f"position: closed {_clock(position.closed_ms or 0)}, was {at}, {result}"


# as JSON


def _wave_facts(wave: PastWave) -> dict[str, Any]:
    return {
        "wave": wave.wave_id,
        "source": wave.source,
        "received_ms": wave.received_ms,
        "finished_ms": wave.finished_ms,
        "counts": dict(wave.counts),
        "stages_ms": dict(wave.stages),
    }


def _facts(story: Story) -> dict[str, Any]:
    signal = story.signal
    return {
        "signal": signal.signal_id,
        "source": signal.source,
        "venue": signal.venue,
        "symbol": signal.symbol,
        "side": signal.side,
        "score": signal.score,
        "verdict": signal.code or "accepted",
        "detail": signal.detail,
        "values": dict(signal.values),
        "gates": [_gate_facts(gate) for gate in signal.gates],
        "orders": [_order_facts(one) for one in story.orders],
        "position": None if story.position is None else _position_facts(story.position),
    }


def _gate_facts(gate: Gate) -> dict[str, Any]:
    verdict = "passed" if gate.denied is None else gate.denied.reason.value
    detail = gate.note if gate.denied is None else gate.denied.detail
    return {"gate": gate.name, "value": gate.value, "limit": gate.limit, "verdict": verdict, "detail": detail}


def _order_facts(one: PastOrder) -> dict[str, Any]:
    order, intent = one.order, one.order.intent
    return {
        "client_order_id": order.client_order_id,
        "leg": intent.leg.value,
        "side": intent.side.value,
        "type": intent.type.value,
        "quantity": plain(intent.quantity),
        "decided_ms": one.intent_ms,
        "decision_price": _number(intent.decision_price),
        "trigger_price": _number(intent.trigger_price),
        "status": order.status.value,
        "filled": plain(order.filled),
        "average_price": _number(order.average_price),
        "detail": order.detail,
        "reason": intent.reason,
        "protects": intent.leg is Leg.STOP and not order.ended,
        "execution": dict(one.execution),
    }


def _position_facts(position: Position) -> dict[str, Any]:
    return {
        "position_id": position.id,
        "open": position.open,
        "quantity": plain(position.quantity),
        "entry_price": _number(position.entry_price),
        "opened_ms": position.opened_ms,
        "closed_ms": position.closed_ms,
        "realized": plain(position.realized),
        "fees": plain(position.fees),
    }


def _number(value: Decimal | None) -> str | None:
    return None if value is None else _short(value)


def _short(value: Decimal) -> str:
    """Averages are quotients: ten digits say enough."""
    exponent = value.as_tuple().exponent
    return plain(round(value, 10)) if isinstance(exponent, int) and exponent < -10 else plain(value)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="why.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("symbol", metavar="SYMBOL", help="BTCUSDT, BTC, BTC/USDT or BTC/USDT:USDT")
    parser.add_argument("--wave", metavar="ID", help="look at this wave instead of the last one with the symbol")
    parser.add_argument("--venue", choices=[venue.value for venue in VenueName], help="only signals for this venue")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    data_folder.add_arguments(parser)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
