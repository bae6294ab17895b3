"""The result of a replay on a terminal of 80 columns."""

from __future__ import annotations

from decimal import Decimal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from core.domain.money import plain
from tools.candle_replay.candles import day_and_time
from tools.candle_replay.document import Result, assumptions, by_number, exit_reasons, side_name
from tools.candle_replay.results import Trade

SHOWN = 30
"""Trades in the table; the first and the last ones of more. JSON and the page have all."""


def show(console: Console, result: Result) -> None:
    """Trades, headline figures, why positions were closed and signals refused, and what was assumed."""
    console.print(_title(result))
    if result.trades:
        console.print(_trades(result))
    console.print(_headline(result))
    if result.trades:
        console.print(_reasons(result))
    if result.outcome.recorder.refusals:
        console.print(_refusals(result))
    for line in _warnings(result):
        console.print(Text(line, style="yellow"))
    console.print(Text("Assumed", style="bold dim"))
    for line in assumptions(result):
        console.print(Text(line, style="dim"))


def _title(result: Result) -> Text:
    recording, request = result.recording, result.request
    first, last = recording.candles[0], recording.candles[-1]
    what = f"{request.strategy} on {result.prepared.account.instrument.id.symbol}, {request.venue}"
    when = f"{day_and_time(first.open_ms)} to {day_and_time(last.open_ms + recording.length_ms)} UTC"
    return Text(f"{what}\n{when}, {len(recording.candles):,} candles of {recording.timeframe}\n", style="bold")


def _trades(result: Result) -> Table:
    table = _table("opened", ">held", "side", ">entry", ">exit", ">net", ">%", "closed by")
    trades = list(result.trades)
    shown = trades if len(trades) <= SHOWN else [*trades[: SHOWN // 2], None, *trades[-SHOWN // 2 :]]
    for trade in shown:
        if trade is None:
            table.add_row(f"… {len(trades) - SHOWN} more", *[""] * 7, style="dim")
        else:
            table.add_row(*_row(trade))
    return table


def _row(trade: Trade) -> list[RenderableType]:
    style = "green" if trade.net > 0 else "red"
    return [
        day_and_time(trade.opened_ms)[5:],
        _held(trade.closed_ms - trade.opened_ms),
        side_name(trade),
        _price(trade.entry_price),
        _price(trade.exit_price),
        Text(f"{trade.net:+.2f}", style=style),
        Text(f"{trade.percent:+.2f}", style=style),
        escape(trade.reason),
    ]


def _headline(result: Result) -> Table:
    told, table = result.figures, Table(box=box.SIMPLE, show_header=False, padding=(0, 1), pad_edge=False)
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify, no_wrap=True)
    quote = result.prepared.account.instrument.quote
    net = Text(f"{told.net:+,.2f} {quote} ({told.return_percent:+.2f}%)", style="green" if told.net > 0 else "red")
    rows: list[tuple[str, RenderableType, str, RenderableType]] = [
        ("result after costs", net, "final balance", f"{told.final:,.2f}"),
        ("before costs", f"{told.gross:+,.2f}", "max drawdown", f"{told.drawdown:,.2f} ({told.drawdown_percent:.2f}%)"),
        ("fees", f"{-told.fees:,.2f}", "in a position", f"{told.exposure_percent:.1f}% of the time"),
        ("funding", f"{told.funding:+,.2f}", "trades", f"{told.trades}"),
        ("slippage, in prices", f"{-told.slippage:,.2f}", "win rate", _maybe(told.win_rate, "%")),
        ("average win", _maybe(told.average_win), "profit factor", _maybe(told.profit_factor)),
        ("average loss", _maybe(told.average_loss), "average held", _minutes(told.held_minutes)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _reasons(result: Result) -> Table:
    table = _table("closed by", ">positions", ">of them won", ">net")
    for row in exit_reasons(result.trades):
        table.add_row(escape(row["reason"]), str(row["count"]), str(row["wins"]), f"{Decimal(row['net']):+,.2f}")
    return table


def _refusals(result: Result) -> Group:
    recorder = result.outcome.recorder
    table = _table("refused because", ">signals")
    for reason, count in by_number(recorder.refusals):
        table.add_row(escape(reason), str(count))
    return Group(Text(f"{recorder.signals} signals, {recorder.entered} entered"), table)


def _warnings(result: Result) -> list[str]:
    lines = []
    gaps = result.recording.gaps
    if gaps:
        missing, first = sum(gap.missing for gap in gaps), day_and_time(gaps[0].after_ms)
        what = f"{len(gaps)} gaps, {missing} candles are missing, the first after {first}"
        lines.append(f"The data has {what}; strategies begin anew behind each.")
    if result.outcome.halted:
        lines.append(f"Trading was halted: {result.outcome.halted}")
    return lines


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def _held(ms: int) -> str:
    minutes = ms // 60_000
    days, hours = minutes // 1_440, minutes % 1_440 // 60
    if days:
        return f"{days}d{hours:02}h"
    return f"{hours}h{minutes % 60:02}m" if hours else f"{minutes}m{ms // 1000 % 60:02}s"


def _price(price: Decimal) -> str:
    return plain(round(price, 2 if price >= 100 else 6))


def _maybe(value: Decimal | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.2f}{unit}"


def _minutes(value: Decimal | None) -> str:
    return "–" if value is None else _held(int(value * 60_000))
