"""What happens between an entry's approval and the step in which it leaves: pause, expiry, a price that went away."""

import pytest

from core.domain.ids import Leg
from core.domain.order import OrderStatus
from core.domain.verdict import Reason
from core.domain.wave import LegState, WaveReport
from tests.builders import BTC, NOW_MS, a_signal
from tests.engine.bench import Bench, a_bench, wave_rules


def refusal(report: WaveReport) -> Reason | None:
    (leg,) = report.legs
    assert leg.state is LegState.REFUSED
    return None if leg.denied is None else leg.denied.reason


async def nothing_left(bench: Bench) -> None:
    assert not bench.venue.sent
    assert not bench.risk.reserved(BTC), "the reservation ends with the entry"
    (order,) = (order for order in bench.state._orders.values() if order.intent.leg is Leg.ENTRY)
    assert order.status is OrderStatus.CANCELED
    assert "never sent" in order.detail
    before = len(bench.venue.reads)
    await bench.settle(30)
    assert len([what for what in bench.venue.reads[before:] if what == "query"]) == 0, "no look-up of what never left"


@pytest.mark.failure("RSK-11")
async def test_a_pause_keeps_back_an_entry_that_waits_for_its_turn() -> None:
    async with a_bench() as bench:
        bench.venue.queued = 5.0
        bench.waves.handle(bench.batch(a_signal()))
        await bench.settle(1)
        bench.risk.restrict("paused", "owner")
        await bench.settle(10)
        (report,) = bench.waves.reports
        assert refusal(report) is Reason.NOT_ACTIVE
        await nothing_left(bench)


async def test_a_signal_that_expires_while_its_entry_waits_is_not_traded() -> None:
    async with a_bench() as bench:
        bench.venue.queued = 5.0
        report = await bench.wave(a_signal(expires_at_ms=NOW_MS + 4_000))
        assert refusal(report) is Reason.EXPIRED
        await nothing_left(bench)


@pytest.mark.parametrize(("price", "sent"), [(104, True), (106, False), (94, False)])
async def test_an_entry_whose_price_went_away_while_it_waited_is_kept_back(price: int, sent: bool) -> None:
    async with a_bench() as bench:
        bench.venue.queued = 5.0
        bench.waves.handle(bench.batch(a_signal()))
        await bench.settle(1)
        bench.market.default = price
        await bench.settle(10)
        (report,) = bench.waves.reports
        if sent:
            assert report.legs[0].state is LegState.PROTECTED
        else:
            assert refusal(report) is Reason.PRICE_DIVERGES
            await nothing_left(bench)


async def test_a_stop_never_waits_for_anybodys_word() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal())
        bench.risk.restrict("paused", "owner")
        await bench.closer.flatten(bench.position().key, "ordered")
        assert not bench.state.positions()


async def test_an_entry_that_waits_longer_than_its_wave_lasts_does_not_leave() -> None:
    async with a_bench(waves=wave_rules(timeout=5)) as bench:
        bench.venue.queued = 10.0
        report = await bench.wave(a_signal())
        assert not report.settled
        await bench.settle(10)
        await nothing_left(bench)


async def test_an_entry_that_left_before_its_wave_ended_is_not_taken_back() -> None:
    async with a_bench(waves=wave_rules(timeout=5)) as bench:
        bench.venue.latency = 10.0
        await bench.wave(a_signal())
        bench.venue.latency = 0.0
        await bench.settle(60)
        assert bench.protection.covered(bench.position().key)
