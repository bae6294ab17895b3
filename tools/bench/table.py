"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.bench.figure import Figure, number, spread

WIDTH = 150
"""Where output is no terminal."""


def show(figures: Sequence[Figure], machine: str) -> None:
    """Print the table, then what has to be said about single rows."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(_table(figures))
    for line in _remarks(figures):
        console.print(line, highlight=False, style="dim" if not line.startswith("!") else "red")
    console.print(f"machine: {machine}", highlight=False, style="dim")
    console.print("D = the simulator's latency. E and F rows depend on the machine; ratios do less.", style="dim")


def _table(figures: Iterable[Figure]) -> Table:
    table = Table(show_lines=False, pad_edge=False)
    for name in ("id", "venue", "figure", "unit"):
        table.add_column(name, no_wrap=name != "figure")
    for name in ("ours", "min–max ×n", "aim"):
        table.add_column(name, justify="right", no_wrap=name != "aim")
    table.add_column("others today")
    table.add_column("their/ours", justify="right", no_wrap=True)
    for figure in figures:
        ours = number(figure.ours) + (" max" if figure.worst else "")
        table.add_row(
            figure.id,
            figure.venue,
            figure.what,
            figure.unit,
            Text(ours, style="red" if figure.failed else "bold"),
            spread(figure.samples),
            figure.aim,
            figure.others,
            _ratio(figure),
        )
    return table


def _ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return "–"
    return f"{number(figure.ratio)}×" + ("*" if figure.beside_measured else "")


def _remarks(figures: Iterable[Figure]) -> Iterable[str]:
    for figure in figures:
        name = f"{figure.id} {figure.venue}".rstrip()
        if figure.failed:
            yield f"! {name}: {figure.failed}"
        compared = ""
        if figure.beside is not None:
            where = "* measured now" if figure.beside_measured else "published"
            compared = f" compared with {figure.beside_name}: {number(figure.beside)} {figure.unit} ({where})."
        yield f"{name}: {figure.note}.{compared}"
