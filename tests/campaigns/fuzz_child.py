"""One parser under one fuzzer, in a process of its own: what it allocates, where it hangs and how it dies is its own.

The coverage-guided engine is atheris (libFuzzer); its mutator is ours, so that what it makes is still JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import structlog

sys.path.insert(1, str(Path(__file__).resolve().parent.parent.parent / "telegram"))  # as the daemon does it

MOST_MEMORY = 3 * 1024**3
MOST_BYTES = 256 * 1024
HANG_SECONDS = 20
INSTRUMENTED = ("core", "tgbot", "tools.candle_replay", "tools.verify_audit")
_FRESH_AFTER = 50_000


def have_atheris() -> bool:
    return find_spec("atheris") is not None


class Bench:
    """A parser, its loop and its tally; `feed` is synchronous, as fuzzers want it."""

    def __init__(self, name: str, until: float, out: Path) -> None:
        from tests.campaigns.fuzz_judge import Tally
        from tests.campaigns.fuzz_list import parser_named
        from tests.fakes.virtual_loop import VirtualLoop

        self._until, self._out = until, out
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._parser, self.tally = parser_named(name), Tally()
        self._began = time.monotonic()
        self._stack = AsyncExitStack()
        self._fresh()

    def _fresh(self) -> None:
        self._runner.run(self._stack.aclose())
        self.opened = self._runner.run(self._stack.enter_async_context(self._parser.opened()))

    def feed(self, data: bytes) -> None:
        """Ends the process when its time is over."""
        from tests.campaigns.fuzz_judge import judged

        self._runner.run(judged(self._parser, self.opened.feed, data, self.tally))
        if self.tally.executions % _FRESH_AFTER == 0:
            self._fresh()
        if time.monotonic() > self._until:
            self.finish()

    def finish(self) -> None:
        tally = self.tally
        told = {
            "executions": tally.executions,
            "seconds": time.monotonic() - self._began,
            "outcomes": tally.outcomes,
            "note": self.opened.note,
            "findings": [
                {"what": one.what, "where": one.where, "text": one.text, "data": base64.b64encode(one.data).decode()}
                for one in tally.findings.values()
            ],
        }
        self._out.write_text(json.dumps(told))
        sys.stderr.flush()
        os._exit(0)  # libFuzzer owns the loop of the program and has no other way out of it


def _guided(bench: Bench, seed: int, atheris: Any) -> None:
    from tests.campaigns.fuzz_judge import changed

    def mutator(data: bytes, longest: int, number: int) -> bytes:
        chance = Random(number)
        if chance.random() < (0.6 if bench.opened.headed else 0.2):
            data = chance.choice(bench.opened.seeds)  # libFuzzer forgets those that reach nothing new by themselves
        if chance.random() < 0.7:
            return changed(data, bench.opened, chance)[:longest]
        head, newline, body = data.partition(b"\n") if bench.opened.headed else (b"", b"", data)
        room = max(1, longest - len(head) - 1)
        return head + newline + bytes(atheris.Mutate(body[:room], room))

    folder = Path(tempfile.mkdtemp())
    for number, text in enumerate(bench.opened.seeds):
        (folder / f"{number:04d}").write_bytes(text[:MOST_BYTES])
    options = [
        f"-seed={seed}", f"-max_len={MOST_BYTES}", f"-timeout={HANG_SECONDS}", "-rss_limit_mb=3072",
        f"-artifact_prefix={folder}/", "-print_final_stats=0", str(folder),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], bench.feed, custom_mutator=mutator)
    atheris.Fuzz()


def _by_chance(bench: Bench, seed: int) -> None:
    from tests.campaigns.fuzz_judge import changed

    chance = Random(seed)
    for text in bench.opened.seeds:
        bench.feed(text)
    while True:
        bench.feed(changed(chance.choice(bench.opened.seeds), bench.opened, chance))


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz_child", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without coverage")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    atheris: Any = None if asked.plain else import_module("atheris")
    with nullcontext() if atheris is None else atheris.instrument_imports(include=list(INSTRUMENTED)):
        import_module("tests.campaigns.fuzz_list")
        for name in ("binance", "bybit", "okx"):
            import_module(f"core.venues.{name}.connection")
    bench = Bench(asked.name, time.monotonic() + asked.seconds, asked.out)
    work: Callable[[], None] = (
        (lambda: _by_chance(bench, asked.seed)) if atheris is None else (lambda: _guided(bench, asked.seed, atheris))
    )
    work()


if __name__ == "__main__":
    main()
