"""The seeded part of the histories with prices and exits; the campaign runs thousands of them."""

from __future__ import annotations

import logging
from random import Random

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns.exit_histories import ExitHistory
from tests.campaigns.histories import KINDS, run


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@settings(max_examples=80, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.sampled_from(list(KINDS)), st.booleans())
def test_any_history_with_exits_ends_in_the_venues_state(seed: int, kind: str, dies: bool) -> None:
    wrong, _ = run(Random(seed), kind, dies=dies, of=ExitHistory)
    assert not wrong


def test_the_histories_hold_every_kind_of_exit() -> None:
    """A generator in which no stop moves and no step trades would prove nothing about either."""
    runs = [run(Random(seed), list(KINDS)[seed % 3], of=ExitHistory)[1] for seed in range(60)]
    seen = sum(runs[1:], start=runs[0])
    closes = {"aged", "strategy", "take_profit", "time_limit", "trailing"}
    wanted = {"stops moved", "amended", "moved by another stop", "steps traded", "sent flatten critical_loss"}
    assert {*wanted, *(f"sent close {reason}" for reason in closes)} <= {what for what, n in seen.items() if n}
