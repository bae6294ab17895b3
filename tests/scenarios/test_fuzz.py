"""The seeded part of `make fuzz`: each parser gets what venues and people really send, and changes of it.

Hypothesis chooses what is wrong, so that what it finds is as small as it can be.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns.fuzz_judge import Open, Parser, Tally, changed, judged
from tests.campaigns.fuzz_list import PARSERS
from tests.fakes.virtual_loop import VirtualLoop

DEAR = {"journal": 15, "audit": 25, "settings": 20, "candles": 60}
"""Parsers that read files; how many inputs they get."""
CHEAP = 100


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as running:
        yield running


def clean(runner: asyncio.Runner, parser: Parser, opened: Open, data: bytes) -> None:
    tally = Tally()
    runner.run(judged(parser, opened.feed, data, tally))
    for finding in tally.findings.values():
        pytest.fail(f"{finding.what} in {finding.where} for {finding.data[:400]!r}\n{finding.text}")


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_refuses_what_is_wrong_with_its_own_error_and_nothing_else(
    runner: asyncio.Runner, parser: Parser
) -> None:
    stack = AsyncExitStack()
    opened = runner.run(stack.enter_async_context(parser.opened()))
    try:
        for seed in opened.seeds[:: max(1, len(opened.seeds) // 40)]:
            clean(runner, parser, opened, seed)

        @settings(
            max_examples=DEAR.get(parser.name, CHEAP),
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(opened.seeds), st.randoms(use_true_random=False))
        def fed(seed: bytes, chance: object) -> None:
            clean(runner, parser, opened, changed(seed, opened, chance))  # type: ignore[arg-type]  # it draws as one

        fed()
    finally:
        runner.run(stack.aclose())
