"""The short part of `make soak`: waves in virtual time leave nothing behind but what has a bound.

The bounds are made small here, so that a few waves reach them: what grows beyond them is a leak.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core import orchestrator
from core.engine import executions, order_manager, protections, state, trade_notices, wave_processor
from core.status.control import ControlServer
from core.storage.history import reading
from core.venues.bybit import position_stops
from tests.campaigns.census import census, grown
from tests.scenarios.worlds import PAIRS, Daemon, SimulatedWorld, a_signal
from tests.storage.records import table

WAVES = 7
WAVE_SECONDS = 12
FULL = 4
"""Waves after which every bound is reached."""
KEPT_FOR_A_TIME = frozenset({
    "_Known.samples",  # a minute each, of the last hours: what a symbol's own pace is judged by
    "_Watched.candles",
    "MoneyLedger.counted", "MoneyLedger.ours", "MoneyLedger.by_word",  # as long as the venue may still list them
    "MoneyLedgers._trades",  # until the next reading
    "WalletAccount.explained",  # causes, of which there are ten
    "RequestBudget._counters",  # one for each endpoint that is known by its limit, once it is asked
    "RollingCounter._over",  # requests of the last seconds
    "WaveProcessor._listeners",  # one for each `daemon.wave` of this test
})  # fmt: skip


@pytest.fixture
def consoles(monkeypatch: pytest.MonkeyPatch) -> list[ControlServer]:
    opened: list[ControlServer] = []

    class Console(ControlServer):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**parts)
            opened.append(self)

    monkeypatch.setattr(orchestrator, "ControlServer", Console)
    return opened


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REMEMBERED_ENDED_ORDERS", 12)
    monkeypatch.setattr(state, "REMEMBERED_IDS", 10)
    monkeypatch.setattr(protections, "REMEMBERED", 3)
    monkeypatch.setattr(position_stops, "REMEMBERED", 3)
    monkeypatch.setattr(trade_notices, "REMEMBERED", 10)
    monkeypatch.setattr(executions, "ENDED_KEPT", 10)
    monkeypatch.setattr(wave_processor, "SEEN_REMEMBERED", 6)
    monkeypatch.setattr(wave_processor, "REPORTS_KEPT", 2)
    monkeypatch.setattr(order_manager, "FOREIGN_TRADES_REMEMBERED", 10)


def a_script() -> list[dict[str, Any]]:
    venues = ("binance", "bybit", "okx")
    return [
        {
            "at_ms": 4_000 + number * WAVE_SECONDS * 1_000,
            "signals": [
                a_signal(pair, direction=("LONG", "SHORT")[(place + number) % 2], id=f"{number}-{pair}", exchange=venue)
                for place, (pair, venue) in enumerate(zip(PAIRS[:3], venues, strict=True))
            ],
        }
        for number in range(WAVES)
    ]


async def looked(daemon: Daemon, console: ControlServer, number: int) -> tuple[Counter[str], int]:
    """One wave entered, its positions closed, and what is left when all is calm."""
    await daemon.wave(number, seconds=2 * WAVE_SECONDS)
    assert daemon.positions
    assert json.loads(await console.answer(b'{"command": "close"}'))["ok"]
    await asyncio.sleep(WAVE_SECONDS / 2)
    assert not daemon.positions
    return census(daemon.orchestrator), len(asyncio.all_tasks())


@pytest.mark.failure("OPS-08")
@pytest.mark.may_block(reason="storage runs inline in a simulated world")
async def test_closed_positions_leave_nothing_behind(tmp_path: Path, consoles: list[ControlServer]) -> None:
    async with SimulatedWorld(tmp_path, ("binance", "bybit", "okx")) as world:
        await world.play(*a_script())
        async with world.running(MAX_DAILY_LOSS=1_000_000, SL_STREAK_LIMIT=1_000) as daemon:
            looks = [await looked(daemon, consoles[-1], number) for number in range(1, WAVES + 1)]
        data = daemon.data_dir
    (before, tasks_before), (after, tasks_after) = looks[FULL], looks[-1]
    places = {place: sizes for place, sizes in grown(before, after).items() if place not in KEPT_FOR_A_TIME}
    assert not places
    assert tasks_after <= tasks_before
    assert table(data, "SELECT count(*) FROM exits") == [(0,)]
    with reading(data / "journal.db") as history:
        assert history.open_positions() == []
        assert history.working_orders() == []
