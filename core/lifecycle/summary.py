"""What `--once` and `--check` print when they are done: one table, and whether the venue agrees with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.domain.money import plain
from core.domain.signal import Side
from core.domain.wave import Leg, LegState, WaveReport
from core.dry_run import VenueRecord
from core.lifecycle.preflight import Check, Grade, Preflight, worst

AGREEMENT_MS = Decimal(5)
"""Ours is the difference of two venue stamps in whole ms, the venue's own has fractions and its own clock tick."""
_COLOURS = {LegState.PROTECTED: "green", LegState.REFUSED: "yellow"}
_GRADES = {Grade.OK: "green", Grade.WARN: "yellow", Grade.LATE: "yellow", Grade.OFF: "red"}


def show_waves(
    console: Console, reports: Sequence[WaveReport], symbols: Mapping[str, str], records: Sequence[VenueRecord] | None
) -> None:
    """One row per signal, every refusal in words below. `symbols`: the venue's own name of each instrument; `records`
    None outside dry run."""
    for report in reports:
        table = Table(
            title=f"Wave {report.wave_id}", title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False
        )
        for name in ("signal", "symbol"):
            table.add_column(name, overflow="fold")
        for name in ("side", "verdict"):
            table.add_column(name, no_wrap=True)
        for name in ("filled", "at", "stop", "naked ms"):
            table.add_column(name, justify="right", no_wrap=True)
        for leg in report.legs:
            table.add_row(*_row(leg, records, symbols))
        for unusable in report.unusable:
            table.add_row(unusable.id, unusable.symbol, "", f"[yellow]{unusable.code}[/]")
        console.print(table)
        if records is not None:
            console.print("naked ms: longest time without a stop, by our own record / by the venue's\n", style="dim")
        for line in _refusals(report):
            console.print(line, highlight=False)
        console.print(_stages(report), highlight=False)


def disagreements(
    reports: Sequence[WaveReport], symbols: Mapping[str, str], records: Sequence[VenueRecord]
) -> list[str]:
    """Where the venue's own record says something else than we do; full sentences."""
    found = []
    for report in reports:
        for leg in report.legs:
            record = _record_of(leg, symbols, records)
            found += [f"{leg.instrument}: {what}" for what in _differences(leg, record)]
    found += [
        f"{r.venue}:{r.symbol}: {plain(r.uncovered_quantity)} stand without a stop for {plain(r.naked_now_ms)} ms"
        for r in records
        if r.open and r.naked_now_ms > 0
    ]
    return found


def show_preflight(console: Console, host: Sequence[Check], results: Sequence[Preflight]) -> None:
    """One table for the host and one per venue, the verdict in its title."""
    for where, checks in (("this host", host), *((result.venue.value, result.checks) for result in results)):
        grade = worst(checks)
        title = f"{where}: [{_GRADES[grade]}]{grade}[/]"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("check", no_wrap=True)
        table.add_column("result", no_wrap=True)
        table.add_column("what", overflow="fold")
        for check in checks:
            table.add_row(check.about, f"[{_GRADES[check.grade]}]{check.grade}[/]", escape(check.what))
        console.print(table)


def _row(leg: Leg, records: Sequence[VenueRecord] | None, symbols: Mapping[str, str]) -> list[str]:
    verdict = leg.state.value if leg.denied is None else leg.denied.reason.value
    row = [
        leg.signal.id,
        f"{leg.instrument.venue} {symbols.get(str(leg.instrument), leg.instrument.symbol)}",
        "long" if leg.signal.side is Side.BUY else "short",
        f"[{_COLOURS.get(leg.state, 'red')}]{verdict}[/]",
        _number(leg.quantity),
        _number(leg.fill_price),
        _number(leg.stop_price),
    ]
    naked = "" if leg.unprotected_ms is None else str(leg.unprotected_ms)
    record = _record_of(leg, symbols, records or ()) if leg.denied is None else None
    return [*row, naked if record is None else f"{naked} / {plain(round(record.max_unprotected_ms, 1))}"]


def _refusals(report: WaveReport) -> list[str]:
    lines = []
    for leg in report.legs:
        if leg.denied is not None:
            values = ", ".join(f"{name}={value}" for name, value in leg.denied.values.items())
            lines.append(f"{leg.signal.id}: {leg.denied.detail}" + (f" ({values})" if values else ""))
    return [*lines, *(f"{unusable.id}: {unusable.detail}" for unusable in report.unusable)]


def _record_of(leg: Leg, symbols: Mapping[str, str], records: Sequence[VenueRecord]) -> VenueRecord | None:
    symbol = symbols.get(str(leg.instrument))
    lives = [r for r in records if r.venue == leg.instrument.venue and r.symbol == symbol]
    return lives[-1] if lives else None


def _differences(leg: Leg, record: VenueRecord | None) -> list[str]:
    if leg.state is LegState.REFUSED:
        return []
    if record is None:
        return ["the venue has no record of this position"]
    if leg.state is LegState.PROTECTED and not record.open:
        return ["we hold it protected, the venue has it closed"]
    ours = leg.unprotected_ms
    if leg.state is LegState.PROTECTED and ours is not None and abs(record.max_unprotected_ms - ours) > AGREEMENT_MS:
        return [f"unprotected {ours} ms by our record, {plain(round(record.max_unprotected_ms, 1))} ms by the venue's"]
    return []


def _stages(report: WaveReport) -> str:
    stages = report.stages
    named = {
        "prefetched": stages.prefetched,
        "validated": stages.validated,
        "journaled": stages.journaled,
        "entries acknowledged": stages.acknowledged,
        "protected": stages.protected,
    }
    told = ", ".join(f"{name} {value:g}" for name, value in named.items() if value is not None)
    return f"\nmilliseconds since the first signal: {told}"


def _number(value: Decimal | None) -> str:
    if value is None:
        return ""
    exponent = value.as_tuple().exponent
    return plain(round(value, 8) if isinstance(exponent, int) and exponent < -8 else value)
