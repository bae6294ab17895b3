"""Draws one picture for a phone: data as JSON on stdin, PNG on stdout. Started by the daemon, which never loads the
drawing library itself; uses nothing of Breakwater and touches no file but the library's own cache.

  {"kind": "candles", "title", "length_ms", "candles": [[open_ms, open, high, low, close], …],
   "levels": [{"name", "price"}], "fills": [{"time_ms", "price", "buy"}]}
  {"kind": "line", "title", "points": [[time_ms, value], …], "now": value}

Times are UTC milliseconds, prices are texts. Exit status: 0 drawn, 2 unusable data.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CPU_SECONDS: Final = 25
MEMORY_BYTES: Final = 2 * 1024**3
DPI: Final = 130
SIZE: Final = (8.0, 5.0)
UP, DOWN, PAPER, INK, FAINT = "#26a69a", "#ef5350", "#131722", "#d1d4dc", "#2a2e39"
LEVELS: Final = {"entry": "#42a5f5", "stop": "#ff9800", "mark": "#9e9e9e"}


def main() -> int:
    """See the module's text."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        sys.stdout.buffer.write(drawn(json.load(sys.stdin)))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        sys.stderr.write(f"unusable data: {type(error).__name__}: {error}\n")
        return 2
    return 0


def drawn(data: Mapping[str, Any]) -> bytes:
    """The PNG. Raises ValueError, KeyError, TypeError or IndexError for data of another form."""
    draw = {"candles": _candles, "line": _line}[str(data["kind"])]
    import matplotlib as mpl

    mpl.use("Agg")  # no display
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.yaxis.tick_right()
    for side in axes.spines.values():
        side.set_color(FAINT)
    draw(axes, data)
    axes.set_title(str(data["title"]), color=INK, fontsize=12, loc="left", parse_math=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=PAPER)
    return out.getvalue()


def _candles(axes: Axes, data: Mapping[str, Any]) -> None:
    opened_ms = [int(row[0]) for row in data["candles"]]
    rows = [tuple(map(float, row[1:])) for row in data["candles"]]
    first, length = opened_ms[0], int(data["length_ms"])
    for at, (opened, high, low, closed) in enumerate(rows):
        colour = UP if closed >= opened else DOWN
        axes.vlines(at, low, high, color=colour, linewidth=1.0)
        axes.bar(at, max(abs(closed - opened), (high - low) / 500), 0.7, min(opened, closed), color=colour)
    for fill in data["fills"]:
        when = (int(fill["time_ms"]) - first) / length - 0.5
        sign, colour = ("^", UP) if fill["buy"] else ("v", DOWN)
        axes.plot(when, float(fill["price"]), sign, color=colour, markersize=11, markeredgecolor="white", zorder=5)
    for level in data["levels"]:
        name, height = str(level["name"]), float(level["price"])
        colour = LEVELS.get(name, INK)
        axes.axhline(height, color=colour, linewidth=1.2, linestyle="--" if name == "stop" else "-")
        where, side = (0.99, "right") if name == "mark" else (0.01, "left")  # entry and mark are often at one height
        axes.annotate(
            f"{name} {level['price']:.10}", (where, height), xycoords=("axes fraction", "data"), color=colour,
            fontsize=9, ha=side, va="bottom", parse_math=False, zorder=6,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
        )  # fmt: skip
    axes.set_xlim(-1, len(rows) + 1)
    _times(axes, opened_ms)


def _times(axes: Axes, opened: list[int]) -> None:
    """A few stamps under the candles; days where the picture spans several."""
    step = max(1, len(opened) // 6)
    marks = list(range(0, len(opened), step))
    form = "%m-%d\n%H:%M" if opened[-1] - opened[0] > 86_400_000 else "%H:%M"
    axes.set_xticks(marks, [datetime.fromtimestamp(opened[at] / 1000, UTC).strftime(form) for at in marks])


def _line(axes: Axes, data: Mapping[str, Any]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    times = [datetime.fromtimestamp(int(point[0]) / 1000, UTC) for point in data["points"]]
    values = [float(point[1]) for point in data["points"]]
    start, now = values[0], float(data["now"])
    colour = UP if values[-1] >= start else DOWN
    axes.step(times, values, where="post", color=colour, linewidth=1.8)  # type: ignore[arg-type]
    axes.fill_between(times, values, start, step="post", color=colour, alpha=0.15)  # type: ignore[arg-type]
    axes.axhline(start, color=INK, linewidth=0.8, linestyle=":")
    axes.plot(times[-1], now, "o", color="white", markersize=6, zorder=5)  # type: ignore[arg-type]
    axes.annotate(
        f"now {now:,.2f}", (times[-1], now), color=INK, fontsize=9, ha="right", va="bottom", xytext=(-6, 6),
        textcoords="offset points", parse_math=False,
    )  # fmt: skip
    every = [*values, now]
    digits = 0 if max(every) - min(every) >= 50 else 2
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.{digits}f}")
    locator = AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set_color(INK)


if __name__ == "__main__":
    sys.exit(main())
