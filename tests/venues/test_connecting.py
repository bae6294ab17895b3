"""A venue is connected by its name alone; what is not built is said so, and nothing of other venues is loaded."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import core.venues
from core.clock import SystemClock
from core.domain.ids import VenueName
from core.domain.reports import Report
from core.transport import Transport
from core.venues import VenueAccess, connect_venue
from tests.fakes.fake_socket import FakeSocket
from tests.venues.test_seam import Wire


def test_every_venue_has_its_module_by_name() -> None:
    assert set(core.venues.ADAPTERS) == set(VenueName)
    assert core.venues.ADAPTERS[VenueName.BINANCE] == "core.venues.binance.connection"


def test_a_venue_without_an_adapter_is_refused_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(core.venues.ADAPTERS, VenueName.OKX, "core.venues.nowhere")

    async def nobody() -> None: ...

    async def sink(reports: Sequence[Report]) -> None:
        del reports

    with pytest.raises(ValueError, match="there is no adapter for okx yet"):
        connect_venue(
            VenueAccess(name=VenueName.OKX, key="k", secret="s"),
            clock=SystemClock(),
            transport=Transport(http=Wire(), socket=lambda: FakeSocket([])),
            sink=sink,
            on_connected=nobody,
        )


def test_connecting_one_venue_loads_no_other(project_root: Path) -> None:
    script = (
        "import sys\n"
        "from importlib import import_module\n"
        "from core.venues import ADAPTERS\n"
        "import_module(ADAPTERS['binance'])\n"
        "print([m for m in sys.modules if 'bybit' in m or 'okx' in m])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=project_root, capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "[]"
