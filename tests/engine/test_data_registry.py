"""The prices exits go by: one picture, its source and age, and what is done when the stream is late."""

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import structlog
from msgspec.structs import astuple

from core.domain.exits import Funding
from core.domain.ids import VenueName
from core.domain.order import TriggerReference
from core.domain.prices import PriceKind, PriceSource
from core.engine.data_registry import DataRegistry
from core.engine.ports import FundingRate
from core.errors import Unreachable
from tests.builders import BTC, ETH, price
from tests.engine.registries import Stage
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.log_lines import LogLines

MARK, CONTRACT = TriggerReference.MARK_PRICE, TriggerReference.CONTRACT_PRICE


@pytest.fixture
def lines() -> Iterator[LogLines]:
    before = structlog.get_config()
    yield LogLines()
    structlog.configure(**before)


# one picture


@pytest.mark.failure("MKT-07")
async def test_a_tick_of_a_watched_instrument_is_stored_and_told_in_the_same_step() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    stage.market.tick(ETH.symbol, 7)
    assert [(instrument, told.mark, told.age_ms) for instrument, told in stage.told] == [(BTC, price(100), 0)]
    stage.registry.unwatch(BTC)
    stage.market.tick(BTC.symbol, 101)
    assert len(stage.told) == 1
    assert stage.registry.exit_view(BTC) is None


@pytest.mark.failure("MKT-07")
@pytest.mark.parametrize("missing", ["markets", "reads", "rules", "clock", "notifier", "offset_ms", "activity"])
async def test_without_a_dependency_there_is_no_registry(missing: str) -> None:
    given: dict[str, Any] = {
        "markets": {}, "reads": {}, "rules": None, "clock": VirtualClock(), "notifier": FakeNotifier(),
        "offset_ms": None, "activity": None, "reads_funding": False,
    }  # fmt: skip
    del given[missing]
    with pytest.raises(TypeError, match=missing):
        DataRegistry(**given)


async def test_watching_wants_the_stream_takes_what_is_known_and_asks_nobody() -> None:
    stage = Stage()
    stage.market.tick(BTC.symbol, 100)
    stage.registry.watch(BTC)
    stage.registry.watch(BTC)
    assert list(stage.market.wanted) == [BTC.symbol]
    assert stage.source() is PriceSource.WEBSOCKET
    assert stage.reads.asked == []


@pytest.mark.failure("MKT-10", "INV-11")
async def test_what_was_handed_out_never_changes_and_every_change_has_a_version_of_its_own() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    first = stage.registry.snapshot(BTC)
    assert first is not None
    seen = astuple(first)
    for mark in (101, 102, 103):
        stage.market.tick(BTC.symbol, mark)
    assert astuple(first) == seen
    versions = [told.version for _, told in stage.told]
    assert versions == sorted(set(versions))
    view, newest = stage.registry.exit_view(BTC), stage.registry.snapshot(BTC)
    assert view is not None
    assert view[0] == newest, "one version, however it is asked for"
    with pytest.raises(AttributeError):
        first.mark = price(1)  # type: ignore[misc]


@pytest.mark.failure("MKT-08")
async def test_prices_of_different_kinds_stand_apart_and_none_overwrites_another() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.touches[BTC.symbol] = (99, 101)
    stage.market.lasts[BTC.symbol] = 98
    stage.market.tick(BTC.symbol, 100)
    stage.triple(104, last=103)
    async with stage.running():
        await asyncio.sleep(9)
        told = stage.registry.snapshot(BTC)
        assert told is not None
        assert (told.source, told.mark, told.last, told.bid, told.ask) == (
            PriceSource.REST, price(104), price(103), None, None,
        )  # fmt: skip
        stage.market.tick(BTC.symbol, 100)
        live = stage.registry.snapshot(BTC)
        assert live is not None
        assert (live.mark, live.last, live.bid, live.ask) == (price(100), price(98), price(99), price(101))


@pytest.mark.parametrize(("kind", "at"), [(PriceKind.MARK, 100), (PriceKind.TRADES, 101)])
async def test_exits_go_by_the_kind_of_price_that_is_configured(kind: PriceKind, at: int) -> None:
    stage = Stage(kind)
    stage.registry.watch(BTC)
    stage.market.lasts[BTC.symbol] = 101
    stage.market.tick(BTC.symbol, 100)
    assert stage.told[0][1].price(kind) == price(at)


# levels


async def test_each_level_serves_in_its_turn_and_the_stream_takes_over_by_itself(lines: LogLines) -> None:
    """The stream ends at 49 s, the closed minute comes at 63.5 s, the ticker when the venue answers again."""
    stage = Stage()
    stage.registry.watch(BTC)
    stage.triple(102)
    stage.reads.close = 101
    await asyncio.sleep(60 - stage.clock.now_ms() % 60_000 / 1000)
    async with stage.running():
        await stage.ticking(50)
        stage.reads.latency = 2.5  # no ticker comes in time, a candle does
        await asyncio.sleep(9.9)
        assert stage.source() is None
        await asyncio.sleep(4)
        assert stage.source() is PriceSource.CANDLE
        view = stage.registry.exit_view(BTC)
        assert view is not None
        assert (view[0].price(PriceKind.MARK), view[0].mark) == (price(101), None)
        stage.reads.latency = 0.0
        await asyncio.sleep(20)
        assert stage.source() is PriceSource.REST
        await stage.ticking(2)
        assert stage.source() is PriceSource.WEBSOCKET
    told = [str(line["event"]) for line in lines.lines if str(line["event"]).startswith("price source")]
    assert [line.partition(",")[0].removeprefix("price source BTC/USDT:USDT ") for line in told] == [
        "websocket -> none",
        "none -> candle",
        "candle -> rest",
        "rest -> websocket",
    ]
    assert all(" age " in line for line in told), told
    (to_candle,) = [line for line in lines.lines if line.get("to") == "candle"]
    assert (to_candle["venue"], to_candle["symbol"], to_candle["from"]) == (BTC.venue, BTC.symbol, "none")
    assert stage.registry.counts["rest->websocket"] == 1


async def test_a_price_serves_a_critical_exit_longer_than_a_normal_one_and_then_none() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    seen = []
    for _ in range(12):
        await asyncio.sleep(1)
        view = stage.registry.exit_view(BTC)
        seen.append(None if view is None else view[1])
    assert seen == [True] * 5 + [False] * 5 + [None] * 2
    newest = stage.registry.snapshot(BTC)
    assert newest is not None
    assert newest.age_ms == 12_000


async def test_a_transition_is_said_once_and_ticks_are_only_counted(lines: LogLines) -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    async with stage.running():
        await stage.ticking(50, every=0.1)
        assert stage.registry.levels() == {BTC: PriceSource.WEBSOCKET}
        assert not [line for line in lines.lines if "price source" in str(line["event"])]
        assert stage.registry.counts["websocket"] == 500
        await asyncio.sleep(40)
        assert stage.registry.levels() == {BTC: None}
    assert len([line for line in lines.lines if "price source" in str(line["event"])]) == 1


async def test_a_tick_that_took_five_seconds_to_come_is_five_seconds_old_and_a_wrong_clock_ages_nothing() -> None:
    for late, age in ((500, 0), (5_500, 5_500), (3_600_000, 0), (-3_600_000, 0)):
        stage = Stage()
        stage.registry.watch(BTC)
        stage.offset_ms = late
        stage.market.tick(BTC.symbol, 100)
        view = stage.registry.exit_view(BTC)
        assert view is not None
        assert (view[0].age_ms, view[1]) == (age, age <= 5_000)


async def test_ticks_that_come_late_cast_doubt_on_the_measured_clock_until_they_come_in_time() -> None:
    stage, doubted = Stage(), list[VenueName]()
    stage.registry.on_late(doubted.append)
    stage.registry.watch(BTC)
    stage.offset_ms = 6_000
    stage.market.tick(BTC.symbol, 100)
    await stage.registry.look()
    assert doubted == [BTC.venue]
    stage.offset_ms = 0
    await asyncio.sleep(1)
    stage.market.tick(BTC.symbol, 101)
    await stage.registry.look()
    assert doubted == [BTC.venue]


# the ticker


async def test_one_request_serves_all_symbols_and_none_is_sent_while_streams_live() -> None:
    stage = Stage()
    stage.triple(100)
    stage.reads.triples[ETH.symbol] = stage.reads.triples[BTC.symbol]
    for instrument in (BTC, ETH):
        stage.registry.watch(instrument)
        stage.market.tick(instrument.symbol, 100)
    async with stage.running():
        await asyncio.sleep(4)
        assert stage.asked("prices") == 0
        await asyncio.sleep(16)
        assert 5 <= stage.asked("prices") <= 9, "one about every two seconds"
        assert stage.registry.levels() == {BTC: PriceSource.REST, ETH: PriceSource.REST}
        assert not [name for name, symbol in stage.reads.asked if name == "prices" and symbol]
        for instrument in (BTC, ETH):
            stage.market.tick(instrument.symbol, 100)
        await asyncio.sleep(3)
        asked = stage.asked("prices")
        for _ in range(30):
            for instrument in (BTC, ETH):
                stage.market.tick(instrument.symbol, 100)
            await asyncio.sleep(1)
        assert stage.asked("prices") == asked


async def test_a_venue_that_hangs_is_asked_ever_more_seldom_and_holds_nothing_up() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    stage.market.tick(BTC.symbol, 100)
    stage.reads.latency = 3_600.0
    async with stage.running():
        await asyncio.sleep(120)
        assert 5 <= stage.asked("prices") <= 11
        assert stage.registry.counts["failed_tickers"] >= 5
        stage.market.tick(BTC.symbol, 101)
        assert stage.told[-1][1].mark == price(101)


async def test_reads_that_fail_are_tried_again() -> None:
    stage = Stage(funding=True)
    stage.registry.watch(BTC)
    stage.triple(100)
    stage.reads.fundings[BTC.symbol] = FundingRate(rate_percent=Decimal("0.01"), due_ms=5)
    stage.reads.error = Unreachable("binance", "no route")
    async with stage.running():
        await asyncio.sleep(70)
        assert stage.source() is None
        assert {"failed_tickers", "failed_candles", "failed_funding"} <= stage.registry.counts.keys()
        stage.reads.error = None
        await asyncio.sleep(20)
        assert stage.source() is PriceSource.REST
        await asyncio.sleep(300)
        assert stage.registry.funding(BTC) == Funding(rate_percent=Decimal("0.01"), due_ms=5)
        assert stage.registry.candles(BTC)


async def test_funding_is_read_every_few_minutes_and_only_where_somebody_goes_by_it() -> None:
    for wanted, asked in ((True, 3), (False, 0)):
        stage = Stage(funding=wanted)
        stage.registry.watch(BTC)
        async with stage.running():
            await asyncio.sleep(700)
        assert stage.asked("funding") == asked


async def test_closed_minutes_are_read_once_each_and_kept_without_a_gap() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    async with stage.running():
        for _ in range(5 * 60):
            stage.market.tick(BTC.symbol, 100)
            await asyncio.sleep(1)
        candles = stage.registry.candles(BTC)
        assert len(candles) == 3 + 4
        assert {b.open_ms - a.open_ms for a, b in itertools.pairwise(candles)} == {60_000}
        assert candles[-1].open_ms + 60_000 <= stage.clock.now_ms()
        assert stage.asked("candles") == 5


# pace


@pytest.mark.failure("MKT-06")
async def test_a_slow_symbol_is_given_twice_its_own_interval_and_a_quick_one_the_limit_that_is_set(
    lines: LogLines,
) -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    async with stage.running():
        await stage.ticking(80, every=4)
        assert stage.registry.limits(BTC).exit == 8_000
        await asyncio.sleep(3.5)
        view = stage.registry.exit_view(BTC)
        assert view is not None
        assert (view[0].age_ms, view[1]) == (7_500, True), "older than 5 s, and it is no silence"
        assert stage.registry.limits(ETH).exit == 5_000
        await asyncio.sleep(120)
        await stage.ticking(4, every=4)
        assert stage.registry.limits(BTC).exit == 8_000, "an outage is no pace"
    (warned,) = lines.of("data.limit_below_interval")
    assert (warned["purpose"], warned["limit_ms"], warned["interval_ms"]) == ("entry", 3_000, 4_000)


@pytest.mark.failure("MKT-06")
async def test_ticks_at_a_pace_of_their_own_are_never_called_stale() -> None:
    stage = Stage()
    stage.registry.watch(BTC)
    async with stage.running():
        await stage.ticking(900, every=4.5)
        transitions = [name for name in stage.registry.counts if "->" in name]
    assert transitions in ([], ["websocket->rest", "rest->websocket"]), "once at most, while the pace was not known"
    assert sum(stage.registry.counts[name] for name in transitions) <= 2
