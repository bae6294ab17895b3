"""Three time zones, one of them with a fraction of an hour and one beyond the date line: every time is told in UTC, and
says so."""

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.logs import configure_logging
from core.storage.history import reading
from tests.builders import NOW_MS
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")
ZONES = ("UTC", "Asia/Kathmandu", "Pacific/Kiritimati")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?P<offset>\S*(?: UTC)?)")
told: dict[str, Any] = {}
"""By zone: what the others are compared with."""


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as there:
        there.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.failure("OPS-12")
async def test_every_time_that_is_stored_or_shown_is_utc_and_says_so(tmp_path: Path, zone: str) -> None:
    async with SimulatedWorld(tmp_path) as world:
        await world.play(a_wave(PAIRS[:2], at_ms=4_000))
        with configure_logging(tmp_path / "log", console=io.StringIO(), now_ms=world.clock.now_ms):
            async with world.running() as daemon:
                await daemon.wave()
                status = daemon.status
    lines = (tmp_path / "log" / "breakwater.log").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    audit = [json.loads(line) for line in (daemon.data_dir / "audit.log").read_text().splitlines()]
    shown = [found["offset"] for line in lines for found in MOMENT.finditer(line)]
    assert len(shown) >= len(lines)
    assert {re.sub(r"[^0-9A-Z:+]", "", offset) for offset in shown} <= {"+00:00", "Z", "UTC"}
    assert all(record["time"].endswith("Z") for record in audit)
    with reading(daemon.data_dir / "journal.db") as history:
        (wave,) = history.last_waves(5)
    assert NOW_MS < wave.received_ms < NOW_MS + 60_000, "UTC milliseconds"
    told[zone] = (
        [(record["time"], record["event"]) for record in log],
        [record["time"] for record in audit],
        wave.received_ms,
        status.risk,
    )
    assert told[zone] == next(iter(told.values()))
