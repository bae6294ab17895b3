"""A short part of the wave campaign: real processes, two small waves, one with half of its answers lost. `make waves`
plays forty."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.wave_judge import FLAT_MIB, growth_mib, none_twice, open_and_protected, refusals
from tests.campaigns.wave_plans import FAULTS, Plan
from tests.campaigns.waves import Result, run
from tools.venuesim.faults import parse

SHORT = Plan(name="short", sizes=(6, 9), limit=6, latency_ms=40.0, first_ms=4_000, gap_seconds=4.0)


@pytest.mark.timeout(120)
def test_waves_are_open_protected_closed_and_never_twice(tmp_path: Path) -> None:
    names = ("none", "reorder_events")
    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(lambda name: _short(name, tmp_path), names))
    assert {result.faults: result.wrong for result in results} == {name: [] for name in names}
    assert [result.opened for result in results] == [[6, 6]] * 2


def _short(faults: str, folder: Path) -> Result:
    return run(SHORT, faults, folder / faults, lambda _line: None)


def test_every_named_fault_is_one_the_simulator_knows() -> None:
    for weather in FAULTS.values():
        for fault in weather.faults:
            parse(fault)


def test_the_judge_sees_a_missing_a_strange_and_a_short_stopped_position() -> None:
    state = _state(positions={"A": "1", "B": "2"}, stops={"A": "1", "B": "1"})
    protection = [{"symbol": "A", "closed": None, "naked_now_ms": "12"}]
    wrong = open_and_protected(["A"], 3, state, protection)
    assert wrong == [
        "B is open and no signal of this wave asked for it",
        "2 positions are open, 3 should be",
        "B: a position of 2 under stops for 1",
        "A has been naked for 12 ms",
    ]
    assert not open_and_protected(["A"], 1, _state(positions={"A": "-1"}, stops={"A": "1"}), [])


def test_the_judge_sees_an_order_sent_or_executed_twice() -> None:
    order = {"client_id": "x", "symbol": "A", "reduce_only": False, "type": "market", "filled": "1"}
    request = {"client_id": "x", "lane": "order"}
    wrong = none_twice([order, order], [request, request], {"A": 1})
    assert len(wrong) == 3
    assert not none_twice([order, {**order, "client_id": "y", "filled": "0"}], [request], {"A": 1})


def test_refusals_are_counted_by_lane_and_code() -> None:
    rows: list[dict[str, Any]] = [
        {"lane": "order", "status": 400, "code": -2019},
        {"lane": "order", "status": 200, "code": None},
        {"lane": "stop", "status": None, "code": None},
    ]
    assert refusals(rows) == {"order 400 -2019": 1}


def test_memory_that_keeps_growing_is_told_from_memory_that_comes_and_goes() -> None:
    assert growth_mib([90.0] * 9) is None
    assert growth_mib([90.0, 95.0] * 6) == 0
    assert growth_mib([90.0 + 2 * wave for wave in range(20)]) == 20 > FLAT_MIB


def _state(*, positions: dict[str, str], stops: dict[str, str]) -> dict[str, Any]:
    return {
        "positions": [{"symbol": symbol, "qty": quantity} for symbol, quantity in positions.items()],
        "orders": [{"type": "stop", "symbol": symbol, "qty": quantity} for symbol, quantity in stops.items()],
    }
