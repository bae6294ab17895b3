"""What `--once` and `--check` print when they are done: one table, and whether the venue agrees with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from core.domain.money import plain
from core.domain.signal import Side
from core.domain.wave import Leg, LegState, WaveReport
from core.dry_run import VenueRecord
from core.preflight import Grade, Preflight

AGREEMENT_MS = Decimal(5)
"""Ours is the difference of two venue stamps in whole ms, the venue's own has fractions and its own clock tick."""
_COLOURS = {LegState.PROTECTED: "green", LegState.REFUSED: "yellow"}
_GRADES = {Grade.OK: "green", Grade.WARN: "yellow", Grade.OFF: "red"}


def show_waves(
    console: Console, reports: Sequence[WaveReport], symbols: Mapping[str, str], records: Sequence[VenueRecord] | None
) -> None:
    """One row per signal. `symbols`: the venue's own name of each instrument; `records` None outside dry run."""
    for report in reports:
        table = Table(title=f"Wave {report.wave_id}", title_justify="left", expand=False)
        for name in ("signal", "instrument", "side"):
            table.add_column(name, overflow="fold")
        table.add_column("verdict")
        for name in ("filled", "fill price", "stop", "unprotected ms"):
            table.add_column(name, justify="right")
        if records is not None:
            table.add_column("venue's record ms", justify="right")
        table.add_column("why", overflow="fold")
        for leg in report.legs:
            table.add_row(*_row(leg, symbols, records))
        for unusable in report.unusable:
            blanks = [""] * (5 if records is not None else 4)
            verdict = "[yellow]refused[/]"
            table.add_row(unusable.id, unusable.symbol, "", verdict, *blanks, f"{unusable.code}: {unusable.detail}")
        console.print(table)
        console.print(_stages(report))


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


def show_preflight(console: Console, results: Sequence[Preflight]) -> None:
    table = Table(title="Pre-flight", title_justify="left")
    for name in ("venue", "result", "what"):
        table.add_column(name, overflow="fold")
    for result in results:
        for check in result.checks:
            table.add_row(check.venue, f"[{_GRADES[check.grade]}]{check.grade}[/]", check.what)
    console.print(table)


def _row(leg: Leg, symbols: Mapping[str, str], records: Sequence[VenueRecord] | None) -> list[str]:
    colour = _COLOURS.get(leg.state, "red")
    row = [
        leg.signal.id,
        str(leg.instrument),
        "long" if leg.signal.side is Side.BUY else "short",
        f"[{colour}]{leg.state}[/]",
        _number(leg.quantity),
        _number(leg.fill_price),
        _number(leg.stop_price),
        "" if leg.unprotected_ms is None else str(leg.unprotected_ms),
    ]
    if records is not None:
        record = _record_of(leg, symbols, records) if leg.denied is None else None
        row.append("" if record is None else plain(round(record.max_unprotected_ms, 1)))
    row.append("" if leg.denied is None else str(leg.denied))
    return row


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
    return f"milliseconds since the first signal: {told}"


def _number(value: Decimal | None) -> str:
    if value is None:
        return ""
    exponent = value.as_tuple().exponent
    return plain(round(value, 8) if isinstance(exponent, int) and exponent < -8 else value)
