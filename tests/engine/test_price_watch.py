"""What the registry makes of rogue ticks, of silence, of late references, and of a start without prices."""

import asyncio
import itertools

import pytest

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.order import TriggerReference
from core.domain.prices import PriceSource
from core.engine.ports import PriceTriple
from core.errors import VenueError
from core.venues.okx.contracts import ContractTable
from tests.builders import BTC, ETH, Number, a_signal, an_instrument, price
from tests.engine.bench import a_bench
from tests.engine.registries import Stage
from tests.fakes.fake_market import FakeMarket

MARK, CONTRACT = TriggerReference.MARK_PRICE, TriggerReference.CONTRACT_PRICE


# rogue ticks


@pytest.mark.failure("MKT-11")
@pytest.mark.parametrize("rogue", [1_000, 10, "105.2", "94.7"])
async def test_one_rogue_tick_reaches_nobody_and_the_next_good_one_does(rogue: Number) -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.triple(100)
    async with stage.running():
        await stage.ticking(3)
        stage.market.touches[BTC.symbol] = ("99.9", "100.1")
        stage.market.tick(BTC.symbol, rogue)
        await asyncio.sleep(0.5)
        assert stage.told[-1][1].mark == price(100)
        view = stage.registry.exit_view(BTC)
        assert view is not None
        assert view[0].mark == price(100)
        assert stage.registry.reference(BTC, MARK) == price(100)
        assert stage.registry.counts["rogue_ticks"] == 1
        stage.market.tick(BTC.symbol, "100.5")
        assert stage.told[-1][1].mark == price("100.5")


@pytest.mark.failure("MKT-11")
async def test_a_crash_that_the_book_shows_too_acts_in_the_same_step() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    stage.market.touches[BTC.symbol] = ("79.9", "80.3")
    stage.market.tick(BTC.symbol, 80)
    assert [told.mark for _, told in stage.told] == [price(100), price(80)]
    assert stage.registry.counts["rogue_ticks"] == 0


@pytest.mark.failure("MKT-11")
async def test_a_crash_without_a_book_acts_once_the_ticker_says_the_same() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.reads.latency = 0.2
    async with stage.running():
        await stage.ticking(2)
        stage.market.touches[BTC.symbol] = None
        stage.triple("80.4")
        stage.market.tick(BTC.symbol, 80)
        assert len(stage.told) == 2, "not before somebody agrees"
        await asyncio.sleep(0.75)
        assert stage.told[-1][1].mark == price(80)
        assert stage.told[-1][1].source is PriceSource.WEBSOCKET
        stage.market.tick(BTC.symbol, "79.8")
        assert stage.told[-1][1].mark == price("79.8")


@pytest.mark.failure("MKT-11")
async def test_while_a_stream_stays_rogue_exits_go_by_the_ticker() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.triple(101)
    async with stage.running():
        await stage.ticking(2)
        stage.market.touches[BTC.symbol] = None
        await stage.ticking(10, at=1_000)
        view = stage.registry.exit_view(BTC)
        assert view is not None
        assert (view[0].source, view[0].mark) == (PriceSource.REST, price(101))
        assert stage.registry.reference(BTC, MARK) == price(101)


@pytest.mark.failure("MKT-11")
@pytest.mark.parametrize("rogue", [1_000, 10])
async def test_a_rogue_tick_enters_nothing(rogue: int) -> None:
    async with a_bench() as bench:
        bench.market.marks[BTC.symbol], bench.market.touches[BTC.symbol] = rogue, ("99.9", "100.1")
        bench.waves.handle(bench.batch(a_signal()))
        await bench.settle(5)
        assert bench.venue.only(Leg.ENTRY) == []
        bench.market.marks[BTC.symbol] = 100
        bench.waves.handle(bench.batch(a_signal("s2")))
        await bench.settle(5)
        assert len(bench.venue.only(Leg.ENTRY)) == 1


# silence


@pytest.mark.failure("MKT-05")
async def test_a_silent_symbol_is_asked_for_alone_at_growing_pauses_then_alarms_once() -> None:
    stage = Stage()
    stage.triple(100)
    for instrument in (BTC, ETH):
        stage.registry.watch(instrument)
    async with stage.running():
        asked_at: list[float] = []
        last = stage.clock.monotonic()
        stage.market.tick(BTC.symbol, 100)
        for _ in range(400):
            stage.market.tick(ETH.symbol, 100)
            await asyncio.sleep(0.5)
            while len(asked_at) < len(stage.market.refreshed):
                asked_at.append(stage.clock.monotonic() - last)
        assert set(stage.market.refreshed) == {BTC.symbol}, "no other symbol is touched"
        gaps = [b - a for a, b in itertools.pairwise(asked_at)]
        assert asked_at[0] == pytest.approx(30.5, abs=0.6)
        assert gaps[:4] == pytest.approx([2, 4, 8, 16], abs=0.6)
        (alert,) = stage.notifier.critical()
        assert "BTC/USDT:USDT: no live price for 120 s with a position open; it goes by rest" in alert
        assert stage.source() is PriceSource.REST, "its price is asked for by request"
        stage.market.tick(BTC.symbol, 100)
        await asyncio.sleep(1)
        refreshed = stage.market.refreshed.count(BTC.symbol)
        await stage.ticking(60)
        assert stage.market.refreshed.count(BTC.symbol) == refreshed
        assert len(stage.notifier.critical()) == 1
        assert stage.notifier.messages[-1][1] == f"{BTC}: live prices come again"


@pytest.mark.failure("MKT-05")
async def test_a_symbol_that_is_only_wanted_is_asked_for_too_and_a_dead_socket_is_left_to_itself() -> None:
    stage = Stage()
    stage.market.unasked = False
    stage.market.want([BTC.symbol, ETH.symbol])
    stage.market.tick(BTC.symbol, 100)
    async with stage.running():
        for _ in range(60):
            stage.market.tick(ETH.symbol, 100)
            await asyncio.sleep(1)
        assert set(stage.market.refreshed) == {BTC.symbol}
        refreshed = len(stage.market.refreshed)
        await asyncio.sleep(36)
        stage.market.refreshed.clear()
        await asyncio.sleep(300)
        assert stage.market.refreshed == [], "where all are silent it is not the symbols' fault"
    assert refreshed <= 5
    assert stage.notifier.critical() == [], "nothing is held there"


# references of stops


@pytest.mark.failure("STP-04", "INV-6")
async def test_a_reference_too_old_is_not_used_but_asked_for_anew() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    stage.triple("50.5")
    assert stage.registry.reference(BTC, MARK) == price(100)
    await asyncio.sleep(10.1)
    assert stage.registry.reference(BTC, MARK) is None, "hours old or ten seconds old: it is none"
    async with stage.running():
        stage.registry.reference(BTC, MARK)
        await asyncio.sleep(0.1)
        assert stage.registry.reference(BTC, MARK) == price("50.5")
        assert stage.registry.reference(BTC, CONTRACT) is None, "a ticker tells no book"


@pytest.mark.failure("STP-04", "INV-6")
async def test_before_a_position_is_known_its_late_reference_is_refreshed_as_well() -> None:
    stage = Stage()
    stage.market.tick(ETH.symbol, 100)
    stage.reads.triples[ETH.symbol] = PriceTriple(mark=price(60), index=price(60), last=price(61))
    async with stage.running():
        await asyncio.sleep(11)
        assert stage.asked("prices") == 0, "nobody wanted it"
        assert stage.registry.reference(ETH, MARK) is None
        await asyncio.sleep(0.1)
        assert stage.registry.reference(ETH, MARK) == price(60)
        await asyncio.sleep(25)
        assert stage.registry.reference(ETH, MARK) is None


async def test_each_kind_of_reference_is_its_own_price() -> None:
    stage = Stage()
    stage.market.touches[BTC.symbol] = (98, 100)
    stage.market.tick(BTC.symbol, 100)
    assert stage.registry.reference(BTC, MARK) == price(100)
    assert stage.registry.reference(BTC, CONTRACT) == price(99)
    assert stage.registry.reference(InstrumentId(VenueName.OKX, BTC.symbol), MARK) is None


# the start, and venues that come and go


@pytest.mark.failure("MKT-04")
async def test_entries_wait_where_a_position_has_no_price_until_it_has() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    said: list[str | None] = []
    assert stage.registry.unpriced(BTC.venue, live=True) == [BTC]
    stage.registry.hold_blind([BTC.venue], lambda _venue, why: said.append(why))
    assert said == ["no price of BTC/USDT:USDT since the start"]
    stage.triple(100)
    async with stage.running():
        await asyncio.sleep(1)
        assert said[1:] == [None]
        assert stage.registry.unpriced(BTC.venue, live=False) == []
        assert stage.registry.unpriced(BTC.venue, live=True) == [BTC]


async def test_a_venue_that_joins_late_is_heard_and_told_what_is_wanted_of_it() -> None:
    stage = Stage()
    del stage.markets[BTC.venue]
    stage.registry.watch(BTC)
    late = FakeMarket(None)
    async with stage.running():
        await asyncio.sleep(2)
        stage.markets[BTC.venue] = late
        await asyncio.sleep(1)
        assert list(late.wanted) == [BTC.symbol]
        late.tick(BTC.symbol, 100)
        assert stage.source() is PriceSource.WEBSOCKET


@pytest.mark.failure("VAL-21", "MKT-04")
async def test_nothing_waits_for_a_price_of_what_is_not_listed_any_more() -> None:
    stage = Stage()
    stage.registry.on_listing(lambda instrument: instrument == BTC)
    stage.registry.watch(BTC)
    stage.registry.watch(ETH)
    said: list[str | None] = []
    assert stage.registry.unpriced(BTC.venue, live=True) == [ETH]
    stage.registry.hold_blind([BTC.venue], lambda _venue, why: said.append(why))
    assert said == ["no price of ETH/USDT:USDT since the start"]
    stage.market.tick(ETH.symbol, 100)
    async with stage.running():
        for _ in range(60):
            stage.market.tick(ETH.symbol, 100)
            await asyncio.sleep(2)
        assert said[1:] == [None]
        assert stage.notifier.critical() == []
        assert stage.registry.counts["ticker_requests"] == stage.registry.counts["resubscribed"] == 0
        assert {symbol for _, symbol in stage.reads.asked} == {ETH.symbol}


@pytest.mark.failure("VAL-03")
def test_a_question_about_what_is_not_listed_is_refused_and_no_fault_of_the_program() -> None:
    table = ContractTable()
    table.replace([an_instrument(BTC)])
    for ask in (lambda: table.venue_symbol(ETH.symbol), lambda: table.contract_of(ETH)):
        with pytest.raises(VenueError, match=f"^{BTC.venue}: {ETH.symbol} is not listed$"):
            ask()
