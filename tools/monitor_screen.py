"""The monitor's screen: facts as lines, none longer and not more of them than the terminal has room for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from core.logs import console_line, escape
from tools.monitor_source import seconds_since

LEAST_LOG_LINES = 3
WIDE = 100
"""From so many columns on the quantity has room too."""
STATES = {"active": "bold green", "reducing": "bold yellow", "halted": "bold red"}
LEVELS = {"ok": "green", "degraded": "yellow", "unhealthy": "bold red"}
LOG_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}
Cells = Sequence[tuple[str, int, str]]
"""Text, width (negative = to the left), style."""


def lines(facts: Mapping[str, Any], width: int, height: int) -> list[Text]:
    """At most `height` lines of at most `width` columns; what has no room is counted, the log gets the rest."""
    facts = _printable(facts)
    top = [*_head(facts), *_venues(facts), *_risk(facts)]
    below = [*_waves(facts), *_refusals(facts), *_tasks(facts)]
    room = max(2, height - len(top) - len(below) - LEAST_LOG_LINES - 1)
    middle = _positions(facts, width, room)
    shown = [*top, *middle, *below]
    left = height - len(shown) - 1
    if left > 0 and facts["log"]:
        shown.append(Text("log", style="dim"))
        shown += [_log_line(record) for record in facts["log"][-left:]]
    return [_cut(line, width) for line in shown[:height]]


def _printable(value: Any) -> Any:
    """Words of venues and signals move no cursor and begin no line of their own (SEC-09)."""
    match value:
        case str():
            return escape(value)
        case Mapping():
            return {name: _printable(one) for name, one in value.items()}
        case list() | tuple():
            return [_printable(one) for one in value]
        case _:
            return value


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _head(facts: Mapping[str, Any]) -> Iterator[Text]:
    now = datetime.fromisoformat(facts["time"]).astimezone(UTC).strftime("%H:%M:%S UTC")
    if not facts["running"]:
        yield Text.assemble(("NOT RUNNING", "bold red"), _since(facts), (f"   {now}", "dim"))
        yield Text(f"{facts['silent']}; positions as the journal has them", style="yellow")
        return
    health = facts.get("health", {})
    level = health.get("health", "")
    yield Text.assemble(
        (facts["state"].upper(), STATES.get(facts["state"], "bold")),
        (f" {facts['reason']}", ""),
        ("   health ", "dim"),
        (level, LEVELS.get(level, "")),
        (f"   up {span(facts['uptime_s'])}   {now}", "dim"),
    )
    for why in health.get("reasons", ())[:2]:
        yield Text(f"  {why}", style=LEVELS.get(level, ""))
    if facts["build"] != facts["installed_build"]:
        yield Text(
            f"  build {facts['installed_build']} is installed, {facts['build']} runs: restart it", style="yellow"
        )


def _since(facts: Mapping[str, Any]) -> tuple[str, str]:
    seen = facts.get("last_seen")
    if seen is None:
        return ("", "")
    stamp = datetime.fromisoformat(seen).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (f" since {stamp} ({span(seconds_since(seen))} ago)", "red")


def _venues(facts: Mapping[str, Any]) -> Iterator[Text]:
    for row in facts["venues"]:
        up = row["connected"]
        stream = ("live", "green") if up else ("DOWN", "bold red")
        lasted = row["connected_s"] if up else row.get("down_s")
        off, paused = row["off_because"], row.get("paused")
        entries = ("entries on", "green") if facts["state"] == "active" else ("no entries", "yellow")
        if off is not None or paused is not None:
            entries = (f"no entries: {off or paused}", "red" if off else "yellow")
        read = "never" if row["reconciled_s"] is None else f"{span(row['reconciled_s'])} ago"
        yield Text.assemble(
            (f"{row['venue']:8}", "bold"),
            stream,
            (f" {'' if lasted is None else span(lasted)}".ljust(9), ""),
            (f"reconciled {read}".ljust(23), "dim"),
            (f"{row['reconnects']} reconnects".ljust(15), "dim"),
            entries,
        )


def _risk(facts: Mapping[str, Any]) -> Iterator[Text]:
    if (risk := facts.get("risk")) is None:
        return
    day, limit = float(risk["day_result"]), float(risk["day_loss_limit"])
    parts = [
        ("day ", "dim"),
        (f"{day:+.2f}", "green" if day >= 0 else "red"),
        (f" of -{limit:g}" if limit else "", "dim"),
        ("  streak ", "dim"),
        (f"{risk['streak']}" + (f" of {risk['streak_limit']}" if risk["streak_limit"] else ""), ""),
        ("  drawdown ", "dim"),
        (f"{float(risk['drawdown_percent']):.2f}%", ""),
        ("  exposure ", "dim"),
        (f"{float(risk.get('exposure', 0)):.0f}", ""),
        ("  equity ", "dim"),
        (f"{float(risk.get('equity', 0)):.2f}", ""),
    ]
    yield Text.assemble(*parts)
    for what in facts.get("held_back", ()):
        yield Text(f"  no entries: {what}", style="yellow")


def _positions(facts: Mapping[str, Any], width: int, room: int) -> list[Text]:
    rows = facts["positions"]
    if not rows:
        return [Text("no position", style="dim")]
    wide = width >= WIDE
    shown = [_position(row, wide=wide) for row in rows]
    if len(shown) > room - 1:
        kept = max(1, room - 2)
        # What has no stop is never among those left out.
        first = sorted(range(len(rows)), key=lambda index: rows[index]["stop"] is not None)
        shown = [shown[index] for index in first[:kept]]
        shown.append(Text(f"… {len(rows) - kept} more", style="dim"))
    names = _cells([(name, size, "dim") for name, size in _columns(wide=wide)])
    return [names, *shown]


def _columns(*, wide: bool) -> list[tuple[str, int]]:
    sizes = [("position", -13), ("side", -5), ("entry", 9), ("mark", 9), ("P&L", 8), ("stop", 9), ("away", 6)]
    last = [("safe", 5), ("age", 5)]
    return [*sizes[:2], ("size", 10), *sizes[2:], *last] if wide else [*sizes, *last]


def _position(row: Mapping[str, Any], *, wide: bool) -> Text:
    unrealized = row.get("unrealized")
    result = ("", "") if unrealized is None else (f"{float(unrealized):+.2f}", _sign(float(unrealized)))
    stop = row["stop"] or ("dust" if row.get("dust") else "NONE")
    away = row["stop_distance_percent"]
    safe = row.get("protected_s")
    texts = [
        (f"{row['venue']} {_coin(row['symbol'])}", "bold"),
        (row["side"], ""),
        *([(row["quantity"], "")] if wide else []),
        (_price(row["entry_price"]), ""),
        (_price(row["mark"]), ""),
        result,
        (_price(stop), "bold red" if stop == "NONE" else ""),
        ("" if away is None else f"{float(away):.2f}%", ""),
        ("" if safe is None else span(safe), ""),
        (span(row["age_s"]), "dim"),
    ]
    sized = zip(texts, _columns(wide=wide), strict=True)
    return _cells([(text, size, style) for (text, style), (_, size) in sized])


def _cells(cells: Cells) -> Text:
    line = Text()
    for text, size, style in cells:
        room = abs(size)
        cut = text if len(text) <= room else f"{text[: room - 1]}…"
        line.append(cut.ljust(room) if size < 0 else cut.rjust(room), style=style)
        line.append(" ")
    line.rstrip()
    return line


def _coin(symbol: str) -> str:
    base, _, rest = symbol.partition("/")
    quote = rest.partition(":")[0]
    return base if quote == "USDT" else f"{base}/{quote}"


def _price(text: str | None) -> str:
    """Nine columns hold any price to five digits and more; a longer one loses digits behind the point."""
    if text is None:
        return ""
    return text[:9].rstrip(".") if "." in text[:9] else text


def _sign(value: float) -> str:
    return "green" if value >= 0 else "red"


def _waves(facts: Mapping[str, Any]) -> Iterator[Text]:
    for row in facts.get("last_waves", ())[:3]:
        when = datetime.fromtimestamp(row["received_ms"] / 1000, UTC).strftime("%m-%d %H:%M:%S")
        counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row["counts"].items())
        took = "" if row["protected_ms"] is None else f", protected after {row['protected_ms']:g} ms"
        yield Text.assemble(("wave ", "dim"), when, f"  {counted if row['finished'] else 'under way'}{took}")


def _refusals(facts: Mapping[str, Any]) -> Iterator[Text]:
    told = ", ".join(f"{code} {count}" for code, count in facts.get("refusals_24h", {}).items())
    if told:
        yield Text.assemble(("refused in 24 h  ", "dim"), told)


def _tasks(facts: Mapping[str, Any]) -> Iterator[Text]:
    for row in facts.get("tasks", ())[:2]:
        state = "runs again" if row["running"] else f"ended, again in {span(row['again_in_s'] or 0)}"
        yield Text(f"task {row['name']}: {state}, {row['failures']} failures: {row['why']}", style="yellow")


def _log_line(record: Mapping[str, Any]) -> Text:
    stamp = str(record.get("time", ""))
    clock = stamp[11:19] if len(stamp) > 19 else stamp
    text = console_line({**record, "time": clock}, colour=False, brief=True)
    return Text(text, style=LOG_STYLES.get(str(record.get("level")), "dim"))


def span(seconds: float) -> str:
    """Five columns at most."""
    for size, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            value = seconds / size
            return f"{value:.0f}{letter}" if value >= 10 else f"{value:.1f}{letter}"
    return f"{seconds:.0f}s"
