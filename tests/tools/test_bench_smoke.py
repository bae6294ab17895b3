"""The benchmark runs and prints every row. How fast anything was is nobody's business here."""

import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tools.bench.order_burst import _shares
from tools.bench.processes import simulator
from tools.bench.venues import BINANCE, BYBIT, OKX, PROBE, VENUES, VenueFacts, accepted, refused
from tools.bench.waves import Record, StampedFeed

GROUPS = (
    ("W1m", "F1", "F2", "R1"),
    ("W1", "W2", "W3", "W4", "W5", "W6", "O1", "V1", "--venue", "bybit"),
    ("E1", "E3", "--venue", "okx"),
    ("F3", "F4"),
    ("X1", "X3", "--venue", "binance"),
)
"""Run beside each other: most of their time is waiting. One row goes to all venues at once, the others to one of them.
Streams of hundreds of symbols (X2, X4) take too long here."""
ROWS = {
    **{row: {"bybit"} for row in ("W1", "W2", "W3", "W4", "W5", "W6", "O1", "V1", "V1c")},
    **{row: {"okx"} for row in ("E1", "E1j", "E3")},
    **{row: {"mixed"} for row in ("W1m", "F1", "F2", "F3", "F4", "F4m")},
    **{row: {"binance"} for row in ("R1", "X1", "X1m", "X1w", "X1c", "X1cm", "X1cw", "X3", "X3j")},
}


@pytest.mark.timeout(240)
def test_the_quick_benchmark_measures_every_row(project_root: Path) -> None:
    with ThreadPoolExecutor(len(GROUPS)) as pool:
        figures = [figure for told in pool.map(lambda group: _measured(project_root, group), GROUPS) for figure in told]
    assert {name: {f["venue"] for f in figures if f["id"] == name} for name in {f["id"] for f in figures}} == ROWS
    assert not [figure for figure in figures if figure["failed"] or not figure["samples"]]


def _measured(project_root: Path, group: tuple[str, ...]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tools.bench", *group, "--quick", "--alone", "--json"]
    run = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    figures: list[dict[str, Any]] = json.loads(run.stdout)["figures"]
    assert run.returncode == 0, [(figure["id"], figure["venue"], figure["failed"]) for figure in figures]
    return figures


def test_an_unknown_row_is_a_usage_error(project_root: Path) -> None:
    command = [sys.executable, "-m", "tools.bench", "W9"]
    assert subprocess.run(command, cwd=project_root, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("facts", VENUES.values(), ids=list(VENUES))
async def test_the_venues_clock_is_compared_in_its_own_log(facts: VenueFacts) -> None:
    async with simulator(facts, latency_ms=0, symbols=40) as venue:
        ahead = await venue.clock_ahead_ms()
        symbols = await venue.symbols()
        rows = await venue.ask("requests?since=0")
    assert isinstance(ahead, float)
    assert facts.spelt("BTC/USDT:USDT") in symbols
    asked = [PROBE, *(path.partition("?")[0] for path in (facts.listing, facts.tickers) if path)]
    assert {row["path"] for row in rows} == set(asked)
    assert not any(refused(row) for row in rows)


def test_what_one_market_order_may_be_worth_goes_by_the_price() -> None:
    listing = {"result": {"list": [{"symbol": "A", "lotSizeFilter": {"maxMktOrderQty": "400"}}]}}
    tickers = {"result": {"list": [{"symbol": "A", "markPrice": "0.5"}]}}
    assert BYBIT.most(listing, tickers) == {"A": Decimal(200)}
    assert OKX.most(listing, tickers) == {}


def test_a_wave_with_a_missing_stop_is_not_complete() -> None:
    rows = [_row("order", 10.0, 20.0), _row("stop", 20.0, 30.0), _row("order", 11.0, 21.0)]
    record = Record(facts=BINANCE, requests=rows, lives=[_life("BTCUSDT", 20.0, 10.0)], orders=frozenset())
    told = record.told(["BTCUSDT", "ETHUSDT"], 5.0, 99.0)
    assert (told.entries, told.stops, told.lasted_ms) == (2, 1, 25.0)
    assert not told.complete


def test_a_stop_that_came_with_its_entry_counts_from_the_venues_own_record() -> None:
    batch = {**_row("order", 10.0, 20.0), "client_ids": ["a", "stop-of-a", "b", "stop-of-b"]}
    lives = [_life("BTC-USDT-SWAP", 15.0, 0.0), _life("ETH-USDT-SWAP", 31.0, 16.0)]
    record = Record(facts=OKX, requests=[batch], lives=lives, orders=frozenset("ab"))
    told = record.told(["BTC-USDT-SWAP", "ETH-USDT-SWAP"], 5.0, 99.0)
    assert (told.entries, told.stops, told.lasted_ms, told.naked_ms) == (2, 2, 26.0, 16.0)
    assert told.complete
    assert (
        not Record(facts=OKX, requests=[batch], lives=lives[:1], orders=frozenset("ab"))
        .told(["BTC-USDT-SWAP", "ETH-USDT-SWAP"], 5.0, 99.0)
        .complete
    )


def test_a_wave_over_two_venues_is_as_long_as_the_longer_part() -> None:
    parts = [
        Record(facts=facts, requests=[_row("order", 10.0, end)], lives=[_life("S", 15.0, naked)], orders=frozenset())
        for facts, end, naked in ((BYBIT, 20.0, 0.0), (OKX, 40.0, 3.0))
    ]
    first, second = (part.told(["S"], 10.0, math.inf) for part in parts)
    both = first.beside(second)
    assert (both.size, both.lasted_ms, both.naked_ms, both.complete) == (2, 30.0, 3.0, True)


def test_the_share_of_a_rolling_rate_is_the_busiest_endpoints() -> None:
    singles = [{**_row("order", 1_000.0 + 90 * n, 0.0), "path": "/v5/order/create"} for n in range(3)]
    batches = [
        {**_row("order", 1_005.0 + 1_000 * n, 0.0), "path": "/v5/order/create-batch", "client_ids": list("abcdefghij")}
        for n in range(2)
    ]
    assert _shares(BYBIT.rate, [*singles, *batches], frozenset("abcdefghij")) == [100.0]


def test_a_refusal_is_told_by_the_venues_own_code() -> None:
    codes = {"binance": (None, -2019), "bybit": (0, 10006), "okx": ("0", "50011")}
    for fine, refusal in codes.values():
        assert accepted({**_row("order", 0, 0), "code": fine})
        assert refused({**_row("order", 0, 0), "code": refusal})


def test_waves_are_scheduled_from_the_daemons_arrival_and_stamped_when_sent() -> None:
    feed = StampedFeed([[{"id": "a"}], [{"id": "b"}]], 500)
    feed.connect(40_000)
    first, second = feed.script
    assert second.at_ms - first.at_ms == 500
    assert first.at_ms > 40_000
    feed.filled({"id": "a"})
    assert set(feed.sent) == {"a"}


def _row(lane: str, received: float, answered: float) -> dict[str, Any]:
    return {
        "lane": lane,
        "received": received,
        "answered": answered,
        "status": 200,
        "code": None,
        "path": f"/{lane}",
        "client_ids": [],
    }


def _life(symbol: str, protected: float, naked: float) -> dict[str, Any]:
    return {"symbol": symbol, "protected": protected, "max_unprotected_ms": naked}
