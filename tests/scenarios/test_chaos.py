"""A short, seeded part of the chaos campaign, and the proof that a seed is one run. `make chaos` plays thousands."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.config import PROJECT_ROOT
from tests.campaigns.chaos import Result, campaign, summary
from tests.campaigns.chaos_excuses import longest_uncovered
from tests.campaigns.chaos_faults import _DRAWN, kinds_at
from tests.campaigns.chaos_plan import BANNED_SECONDS, CALM_SECONDS, Happening, _calm, plan_of
from tests.campaigns.chaos_record import Window
from tools.venuesim.faults import KINDS, parse

SEEDS = (2, 65, 111)
"""The last with a full disk, a KILL file and a kill."""


@pytest.mark.timeout(120)
def test_seeds_hold_what_is_promised_and_are_the_same_run_in_every_process() -> None:
    """Two processes with other hashes of texts, so that no order of a set may matter."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(_played, ("0", "4711"))
    assert {result["seed"]: result["wrong"] for result in first} == {seed: [] for seed in SEEDS}
    assert [result["digest"] for result in first] == [result["digest"] for result in second]
    assert len({result["digest"] for result in first}) == len(SEEDS)


def _played(hash_seed: str) -> list[dict[str, object]]:
    seeds = [word for seed in SEEDS for word in ("--seed", str(seed))]
    command = [sys.executable, "-m", "tests.campaigns.chaos", "--json", "--jobs", "1", *seeds]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, cwd=PROJECT_ROOT, env=env, capture_output=True, check=False)
    return list(json.loads(told.stdout))


def test_every_kind_of_fault_is_drawn_and_is_one_the_simulators_take() -> None:
    assert set(_DRAWN) == set(KINDS)
    drawn = set[str]()
    for seed in range(300):
        for happening in plan_of(seed).happenings:
            if happening.what == "fault":
                drawn.add(parse(happening.details)["kind"])
    assert drawn == set(KINDS)
    assert "listen_key_expired" not in kinds_at("okx")


def test_a_plan_is_its_seed() -> None:
    assert plan_of(4711) == plan_of(4711)
    assert plan_of(4711) != plan_of(4712)


def test_it_is_calm_for_as_long_as_a_ban_and_a_refused_key_may_last_one_after_the_other() -> None:
    key = Happening(at_s=1.0, what="fault", venue="bybit", details={"kind": "revoke_key"})
    ban = Happening(at_s=1.0, what="fault", venue="bybit", details={"kind": "rate_limit", "status": 403})
    assert _calm("okx", [key, ban]) == CALM_SECONDS
    assert _calm("bybit", [key, key]) == BANNED_SECONDS
    assert _calm("bybit", [key, ban]) == 2 * BANNED_SECONDS


def test_time_that_no_window_excuses_is_measured_in_one_stretch() -> None:
    windows = [Window(0.0, 2.0), Window(1.0, 4.0), Window(9.0, 20.0)]
    assert longest_uncovered(3.0, 12.0, windows) == 5.0
    assert longest_uncovered(5.0, 6.0, []) == 1.0
    assert longest_uncovered(1.0, 3.5, windows) == 0.0


def test_a_summary_names_the_seeds_that_failed() -> None:
    good = Result(seed=1, venues=("okx",), seconds=1.0, digest="a", faults={"latency": 2})
    bad = Result(seed=2, venues=("okx",), seconds=1.0, digest="b", wrong=["a position is bare"], worst_naked_ms=9_000.0)
    told = summary([good, bad], 60.0)
    assert "1 FAILED: 2" in told
    assert "9000 ms (seed 2)" in told
    assert list(campaign([], 1)) == []
