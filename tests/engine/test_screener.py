"""The filters' inputs are kept warm; a cold symbol costs one read, a silent one only its own signal."""

import asyncio

import pytest

from core.domain.ids import Symbol, VenueName
from core.domain.money import Quantity
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.ports import MarketReads
from core.engine.screener import Screener
from core.errors import Unreachable
from tests.builders import BTC, ETH, a_signal, an_instrument, screening_rules
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.fakes.fake_reads import FakeReads
from tests.fakes.virtual_loop import VirtualClock


def reads(bench: Bench) -> list[str]:
    return [f"{what} {symbol.partition('/')[0]}" for what, symbol in bench.reads[BTC.venue].asked]


async def test_every_symbol_is_read_at_the_start_and_again_before_its_figures_are_too_old() -> None:
    async with a_bench() as bench:
        await bench.settle(1)
        assert sorted(set(reads(bench))) == [
            "candles BTC",
            "candles ETH",
            "open_interest BTC",
            "open_interest ETH",
        ]
        for _ in range(40):
            await asyncio.sleep(60)
            assert bench.screener.coverage == (2, 2)
        rounds = len(reads(bench)) / 4
        assert 40 * 60 / 300 <= rounds <= 40 * 60 / 300 * 2.5, "more often than needed costs the request budget"


async def test_a_symbol_that_may_not_be_entered_is_never_read() -> None:
    halted = an_instrument(ETH, tradable=False)
    async with a_bench(instruments=[an_instrument(BTC), halted]) as bench:
        await bench.settle(400)
        assert {line.split()[1] for line in reads(bench)} == {"BTC"}


async def test_signals_of_one_cold_symbol_share_one_read() -> None:
    async with a_bench() as bench:
        venue = bench.reads[BTC.venue]
        venue.latency = 0.2
        first, second = await asyncio.gather(bench.wave(a_signal("a")), bench.wave(a_signal("b", instrument=ETH)))
        assert [leg.state for report in (first, second) for leg in report.legs] == [LegState.PROTECTED] * 2
        assert reads(bench).count("candles BTC") <= 2, "the sweep and the wave"


async def test_a_venue_that_joins_after_the_start_is_read_from_then_on() -> None:
    clock, joined = VirtualClock(), dict[VenueName, MarketReads]()
    listed = {BTC: an_instrument(BTC)}
    screener = Screener(
        reads=joined, markets={}, instruments=listed, wanted=lambda _one: True, clock=clock, max_age=300
    )
    run = asyncio.ensure_future(screener.run())
    await asyncio.sleep(10)
    assert screener.coverage == (0, 1)
    joined[BTC.venue] = FakeReads(clock)
    await asyncio.sleep(10)
    assert screener.coverage == (1, 1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_a_wave_is_not_ended_by_a_screener_that_has_ended_and_is_not_started_again_yet() -> None:
    clock = VirtualClock()
    listed = {BTC: an_instrument(BTC)}
    all_reads: dict[VenueName, MarketReads] = {BTC.venue: FakeReads(clock)}
    screener = Screener(
        reads=all_reads, markets={}, instruments=listed, wanted=lambda _one: False, clock=clock, max_age=300
    )
    run = asyncio.ensure_future(screener.run())
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await screener.ensure(BTC)
    assert not screener.fresh(BTC)


@pytest.mark.failure("SIG-05")
async def test_a_look_up_that_never_answers_costs_only_its_own_signal() -> None:
    async with a_bench() as bench:
        bench.reads[BTC.venue].hangs.add(ETH.symbol)
        report = await bench.wave(a_signal("a"), a_signal("b", instrument=ETH))
        states = {leg.signal.id: leg.state for leg in report.legs}
        assert states == {"a": LegState.PROTECTED, "b": LegState.REFUSED}
        refused = next(leg for leg in report.legs if leg.signal.id == "b")
        assert refused.denied is not None
        assert refused.denied.reason is Reason.VENUE_ERROR
        assert "no answer within 3 s" in refused.denied.detail


async def test_what_could_not_be_read_is_said_and_read_later() -> None:
    async with a_bench() as bench:
        venue = bench.reads[BTC.venue]
        venue.error = Unreachable("binance", "maintenance")
        report = await bench.wave(a_signal("a"))
        assert report.legs[0].denied is not None
        assert "maintenance" in report.legs[0].denied.detail
        venue.error = None
        await bench.settle(300)
        report = await bench.wave(a_signal("b"))
        assert report.legs[0].state is LegState.PROTECTED


async def test_the_move_of_five_minutes_is_known_from_candles_and_then_from_the_marks() -> None:
    async with a_bench(screening=screening_rules(leverage=1)) as bench:
        await bench.settle(1)
        assert bench.screener.activity(BTC).price_before == 100, "closes of the minutes before the start"
        bench.market.default = 103
        await bench.settle(290)
        assert bench.screener.activity(BTC).price_before == 100
        await bench.settle(60)
        assert bench.screener.activity(BTC).price_before == 103


async def test_after_a_gap_in_the_marks_the_old_price_is_not_taken_for_the_one_five_minutes_ago() -> None:
    async with a_bench() as bench:
        await bench.settle(1)
        bench.market.default = None
        bench.reads[BTC.venue].error = Unreachable("binance", "down")
        await bench.settle(600)
        assert bench.screener.activity(BTC).price_before is None


async def test_what_is_remembered_does_not_grow_with_time() -> None:
    async with a_bench() as bench:
        await bench.settle(3600)
        kept = [len(known.samples) for known in bench.screener._known.values()]
        assert max(kept) <= 30


async def test_a_read_that_fails_leaves_no_other_one_running() -> None:
    async with a_bench() as bench:
        reads = bench.reads[BINANCE]

        async def refused(_symbol: Symbol) -> Quantity:
            raise Unreachable("binance", "no answer")

        reads.open_interest = refused  # type: ignore[assignment, method-assign]
        reads.latency = 5.0
        await bench.screener.ensure(BTC)
        asking = [task for task in asyncio.all_tasks() if "candles" in repr(task.get_coro())]
        assert not asking
