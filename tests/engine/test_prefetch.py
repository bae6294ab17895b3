"""What a wave may take for known, and what one failing venue costs."""

import pytest

from core.domain.ids import VenueName
from core.domain.verdict import Reason
from core.engine.ports import StreamState
from core.errors import Unreachable
from tests.engine.bench import BINANCE, a_bench


async def test_a_live_stream_and_a_recent_reconciliation_cost_no_request() -> None:
    async with a_bench() as bench:
        assert await bench.prefetcher.prefetch(BINANCE) is None
        assert bench.venue.reads == []


async def test_without_a_recent_confirmation_positions_and_balances_are_read_once_and_together() -> None:
    async with a_bench(latency=0.5) as bench:
        bench.prefetcher._confirmed.clear()
        started = bench.clock.monotonic()
        assert await bench.prefetcher.prefetch(BINANCE) is None
        assert sorted(bench.venue.reads) == ["balances", "positions"]
        assert bench.clock.monotonic() - started == pytest.approx(0.5)


async def test_a_stream_that_went_down_just_now_is_made_up_for_by_reading() -> None:
    async with a_bench() as bench:
        await bench.prefetcher.prefetch(BINANCE)
        bench.streams[BINANCE].state = StreamState.DOWN
        await bench.settle(29)
        assert await bench.prefetcher.prefetch(BINANCE) is None
        assert sorted(bench.venue.reads) == ["balances", "positions"]


async def test_a_stream_down_for_more_than_thirty_seconds_stops_entries() -> None:
    async with a_bench() as bench:
        await bench.prefetcher.prefetch(BINANCE)
        bench.streams[BINANCE].state = StreamState.DOWN
        await bench.settle(31)
        refused = await bench.prefetcher.prefetch(BINANCE)
        assert refused is not None
        assert refused.reason is Reason.STREAM_DOWN


async def test_a_failing_and_a_silent_venue_are_refused_with_the_reason() -> None:
    async with a_bench() as bench:
        bench.prefetcher._confirmed.clear()
        bench.venue.error = Unreachable(BINANCE, "no route")
        refused = await bench.prefetcher.prefetch(BINANCE)
        assert refused is not None
        assert (refused.reason, "no route" in refused.detail) == (Reason.PREFETCH_FAILED, True)
        bench.venue.error, bench.venue.latency = None, 60
        refused = await bench.prefetcher.prefetch(BINANCE)
        assert refused is not None
        assert (refused.reason, "within 5 s" in refused.detail) == (Reason.PREFETCH_FAILED, True)


async def test_a_venue_that_is_not_configured_is_named() -> None:
    async with a_bench() as bench:
        refused = await bench.prefetcher.prefetch(VenueName.OKX)
        assert refused is not None
        assert refused.reason is Reason.VENUE_MISSING
