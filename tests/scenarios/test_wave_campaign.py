"""A short part of the wave campaign: real processes, two small waves over three venues with frames out of order, one
of which dies before the second. `make waves` plays sixty."""

from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.deaths import HOWS, Death
from tests.campaigns.deaths import parse as parse_death
from tests.campaigns.wave_judge import FLAT_MIB, growth_mib, none_twice, open_and_protected, refusals
from tests.campaigns.wave_plans import FAULTS, Plan
from tests.campaigns.waves import Result, compared, run
from tools.bench.venues import VENUES
from tools.venuesim.faults import parse

SHORT = Plan(name="short", sizes=(6, 9), limit=9, latency_ms=40.0, gap_seconds=4.0)


@pytest.mark.timeout(120)
def test_waves_are_open_protected_closed_and_never_twice_beside_a_dead_venue_too(tmp_path: Path) -> None:
    death = Death(venue="okx", how="hang", wave=2)
    result = run(SHORT, "reorder_events", tmp_path / "run", lambda _line: None, death=death)
    assert not result.wrong
    assert result.opened == [6, 6]
    assert {name: set(codes.values()) for name, codes in result.verdicts.items()} == {"binance": {""}, "bybit": {""}}


def test_every_named_fault_is_one_the_simulators_know() -> None:
    for weather in FAULTS.values():
        for facts in VENUES.values():
            for fault in weather.at(facts, 1):
                parse(fault)


def test_a_fault_about_entries_is_spelt_as_each_venue_does() -> None:
    paths = {name: [f["match"]["path"] for f in FAULTS["unknown"].at(facts, 1)] for name, facts in VENUES.items()}
    assert paths == {
        "binance": ["/fapi/v1/order"],
        "bybit": ["/v5/order/create*"],
        "okx": ["/api/v5/trade/order", "/api/v5/trade/batch-orders"],
    }


def test_a_death_is_read_from_its_name_its_way_and_its_wave() -> None:
    assert parse_death("okx:hang@3") == Death(venue="okx", how="hang", wave=3)
    assert parse_death("bybit") == Death(venue="bybit", how="down")
    assert [parse_death(f"okx:{how}").how for how in HOWS] == list(HOWS)
    for wrong in ("ftx", "okx:asleep", "okx:hang@soon"):
        with pytest.raises(ValueError, match="is n"):
            parse_death(wrong)


def test_other_verdicts_and_a_tenth_more_time_are_seen_beside_a_death() -> None:
    alone = _played(lasted=100.0, codes={"a": "", "b": "low_volume"})
    assert not compared(alone, _played(lasted=109.0, codes={"a": "", "b": "low_volume"}))
    assert len(compared(alone, _played(lasted=111.0, codes={"a": "stale", "b": "low_volume"}))) == 2


def _played(*, lasted: float, codes: dict[str, str]) -> Result:
    own = {"binance": [lasted]}
    return Result(
        plan="p", faults="none", venues=["binance", "okx"], waves=1, lasted_ms=own, verdicts={"binance": codes}
    )


def test_the_judge_sees_a_missing_a_strange_and_a_short_stopped_position() -> None:
    state = _state(positions={"A": "1", "B": "2"}, stops={"A": "1", "B": "1"})
    protection = [{"symbol": "A", "closed": None, "naked_now_ms": "12"}]
    wrong = open_and_protected(["A"], state, protection)
    assert wrong == [
        "B is open and no signal of this wave asked for it",
        "B: a position of 2 under stops for 1",
        "A has been naked for 12 ms",
    ]
    assert not open_and_protected(["A"], _state(positions={"A": "-1"}, stops={"A": "1"}), [])


def test_the_judge_sees_an_order_sent_or_executed_twice() -> None:
    order = {"client_id": "x", "symbol": "A", "reduce_only": False, "type": "market", "filled": "1"}
    request = {"client_ids": ["x"], "lane": "order"}
    wrong = none_twice([order, order], [request, request], {"A": 1})
    assert len(wrong) == 3
    assert not none_twice([order, {**order, "client_id": "y", "filled": "0"}], [request], {"A": 1})


def test_refusals_are_counted_by_lane_and_code() -> None:
    rows: list[dict[str, Any]] = [
        {"lane": "order", "path": "/fapi/v1/order", "status": 400, "code": -2019},
        {"lane": "order", "path": "/fapi/v1/order", "status": 200, "code": None},
        {"lane": "stop", "path": "/v5/position/trading-stop", "status": 200, "code": 10006},
        {"lane": "order", "path": "/api/v5/trade/order", "status": 200, "code": "0"},
        {"lane": "stop", "path": "/fapi/v1/algoOrder", "status": None, "code": None},
    ]
    assert refusals(rows) == {"order 400 -2019": 1, "stop 200 10006": 1}


def test_memory_that_keeps_growing_is_told_from_memory_that_comes_and_goes() -> None:
    assert growth_mib([90.0] * 9) is None
    assert growth_mib([90.0, 95.0] * 6) == 0
    assert growth_mib([90.0 + 2 * wave for wave in range(20)]) == 20 > FLAT_MIB


def _state(*, positions: dict[str, str], stops: dict[str, str]) -> dict[str, Any]:
    return {
        "positions": [{"symbol": symbol, "qty": quantity} for symbol, quantity in positions.items()],
        "orders": [{"type": "stop", "symbol": symbol, "qty": quantity} for symbol, quantity in stops.items()],
    }
