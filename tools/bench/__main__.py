"""Measure Breakwater against the simulator: waves in multiples of the venue's latency, frames in microseconds.

W1 to W3 run the real daemon against simulator processes and signals pushed by tools/signal_server; times come from the
venues' own records. W4 to W6, O1 and V1 give work to the parts of a daemon inside this process, with ccxt as it comes
beside it. E rows replay private stream frames in this process, R1 recorded candles. F rows start the daemon at all
venues at once (F4 for ten minutes; --quick for seconds). X rows tick prices of symbols that are held: how soon the move
of a stop leaves (X1) or a close (X1c), what a price costs in the exits (X3), what many symbols take (X2), and how late
the loop is on a bad network (X4). W, V, E, X1 and X3 are measured per venue, waves over all of them as well. Nothing
fails on a time; exit status 1 means that something did not do what it was to be measured doing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from core.prompt_loop import PromptLoop
from tools.bench.at_rest import rest_figures
from tools.bench.daemon_cost import daemon_figures
from tools.bench.effort import FULL, QUICK, Effort
from tools.bench.exit_latency import exit_figures
from tools.bench.figure import Figure
from tools.bench.frame_cost import frame_figures
from tools.bench.order_burst import burst_figures
from tools.bench.order_cpu import cpu_figures
from tools.bench.order_delay import delay_figures
from tools.bench.processes import BenchError
from tools.bench.replay_speed import replay_figures
from tools.bench.streaming import streaming_figures
from tools.bench.surroundings import sentence, surroundings
from tools.bench.table import show
from tools.bench.validation import validation_figures
from tools.bench.venues import VENUES, VenueFacts
from tools.bench.waves import wave_figures

GROUPS: Final = (
    (frozenset({"W1", "W1m", "W2", "W3"}), wave_figures),
    (frozenset({"W4", "W5"}), delay_figures),
    (frozenset({"W6"}), burst_figures),
    (frozenset({"O1"}), cpu_figures),
    (frozenset({"V1"}), validation_figures),
    (frozenset({"E1", "E3"}), frame_figures),
    (frozenset({"R1"}), replay_figures),
    (frozenset({"F1", "F2"}), daemon_figures),
    (frozenset({"F3", "F4"}), rest_figures),
    (frozenset({"X1", "X3"}), exit_figures),
    (frozenset({"X2", "X4"}), streaming_figures),
)
NAMES: Final = tuple(sorted(name for names, _ in GROUPS for name in names))


def main() -> int:
    """See the module's text."""
    asked = _arguments()
    effort = QUICK if asked.quick else FULL
    if asked.latency_ms is not None:
        effort = replace(effort, latency_ms=asked.latency_ms)
    effort = replace(effort, compared=not asked.alone)
    venues = [VENUES[name] for name in VENUES if name in (asked.venue or VENUES)]
    machine = surroundings()
    try:
        with asyncio.Runner(loop_factory=PromptLoop) as runner:
            figures = runner.run(_measure(effort, frozenset(asked.figures or NAMES), venues))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps({"machine": machine, "figures": [figure.as_json() for figure in figures]}, indent=1))
    else:
        show(figures, sentence(machine))
    return 1 if any(figure.failed for figure in figures) else 0


async def _measure(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    figures: list[Figure] = []
    for names, measure in GROUPS:
        if mine := names & wanted:
            print(f"measuring {', '.join(sorted(mine))} …", file=sys.stderr, flush=True)
            figures += await measure(effort, mine, venues)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", choices=[*NAMES, []], metavar="ID", help=f"of {', '.join(NAMES)} (all)")
    parser.add_argument("--venue", action="append", choices=sorted(VENUES), help="only there; may be repeated (all)")
    parser.add_argument("--json", action="store_true", help="every sample, for programs")
    parser.add_argument("--alone", action="store_true", help="without ccxt beside us (but in O1, which is a ratio)")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, not how fast it is")
    parser.add_argument("--latency-ms", type=float, metavar="D", help="the simulator's latency (250; 20 with --quick)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
