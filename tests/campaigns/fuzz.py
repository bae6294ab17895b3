"""Every inbound parser under a coverage-guided fuzzer, one after the other; a table, and what was found.

A parser may answer or refuse with its own declared error, in time and within its memory; all else is a finding. The
inputs of findings are kept in a folder and fed again with --replay. Without atheris (it has no build for every system)
inputs are made by chance alone, and the table says so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from tests.campaigns.fuzz_child import HANG_SECONDS, have_atheris
from tests.campaigns.fuzz_judge import ROOT, Tally, judged
from tests.campaigns.fuzz_list import PARSERS, parser_named
from tests.fakes.virtual_loop import VirtualLoop

_COVERED = re.compile(r"cov: (\d+)")


@dataclass(slots=True)
class Run:
    """What one child told; `died` holds its last words where it did not live to tell."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    covered: str = ""
    outcomes: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    died: str = ""

    @property
    def clean(self) -> bool:
        return not self.findings and not self.died


def fuzzed(name: str, seconds: float, seed: int, *, plain: bool) -> Run:
    """One parser in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, "-m", "tests.campaigns.fuzz_child", name, "--seconds", str(seconds)]
        command += ["--seed", str(seed), "--out", str(out), *(["--plain"] if plain else [])]
        limit = seconds + 60 + 2 * HANG_SECONDS
        try:
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=limit, check=False)
            words = ended.stderr.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            return Run(name, died=f"it did not end within {limit:.0f} s")
        if not out.exists():
            return Run(name, died=f"exit status {ended.returncode}: {words[-2_000:]}")
        told = json.loads(out.read_text())
        covered = _COVERED.findall(words)
        return Run(name=name, covered=covered[-1] if covered else "", **told)


def replayed(name: str, path: Path) -> int:
    """Feed one kept input again."""

    data = path.read_bytes()

    async def once() -> Tally:
        tally = Tally()
        parser = parser_named(name)
        async with parser.opened() as opened:
            await judged(parser, opened.feed, data, tally)
        return tally

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        tally = runner.run(once())
    for finding in tally.findings.values():
        print(finding.text)
    print("no finding" if not tally.findings else "")
    return 1 if tally.findings else 0


def _table(runs: list[Run]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("parser", "executions", "seconds", "a second", "covered", "taken", "refused", "findings"):
        table.add_column(title, justify="left" if title == "parser" else "right")
    for run in runs:
        taken = run.outcomes.get("taken", 0)
        table.add_row(
            run.name, f"{run.executions:,}", f"{run.seconds:.0f}", f"{run.executions / max(run.seconds, 0.1):,.0f}",
            run.covered, f"{taken:,}", f"{sum(run.outcomes.values()) - taken:,}",
            str(len(run.findings)) if not run.died else "died",
        )  # fmt: skip
    return table


def _kept(run: Run, folder: Path) -> None:
    for number, finding in enumerate(run.findings, 1):
        path = folder / f"{run.name.replace(' ', '-')}-{number}"
        path.write_bytes(base64.b64decode(finding["data"]))
        print(f"\n{run.name}: {finding['what']} in {finding['where']}, input kept in {path}\n{finding['text']}")
    if run.died:
        print(f"\n{run.name}: {run.died}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="for each parser (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="parsers whose name holds this text")
    parser.add_argument("--plain", action="store_true", help="by chance alone, without coverage")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (2)")
    parser.add_argument("--replay", type=Path, help="feed this kept input to the parser named by --only")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if asked.replay is not None:
        return replayed(asked.only, asked.replay)
    plain = asked.plain or not have_atheris()
    names = [one.name for one in PARSERS if asked.only in one.name]
    with ThreadPoolExecutor(asked.jobs) as pool:
        runs = list(pool.map(lambda name: fuzzed(name, asked.seconds, asked.seed, plain=plain), names))
    Console(width=120).print(_table(runs))
    folder = Path(tempfile.mkdtemp(prefix="fuzz-")) if any(run.findings for run in runs) else Path()
    for run in runs:
        _kept(run, folder)
    if plain:
        print("inputs were made by chance alone: atheris is not installed, or --plain was given")
    for note in sorted({run.note for run in runs if run.note}):
        print(note)
    found = sum(not run.clean for run in runs)
    print(f"{sum(run.executions for run in runs):,} inputs, {len(runs)} parsers, {found} with findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
