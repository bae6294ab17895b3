"""Order placement, as docs/FAILURES.md demands it (ORD)."""

import asyncio
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.ids import Leg
from core.domain.order import OrderIntent, OrderStatus
from core.domain.reports import Source
from core.domain.wave import LegState
from core.engine.ports import About, Accepted, Outcome, Rejected
from core.venues.binance.orders import placement
from core.venues.binance.parse import STATUSES, order_report
from core.venues.binance.payloads import OrderRow
from tests.builders import BTC, BTC_LONG, ETH, an_intent
from tests.builders import a_signal as a_read_signal
from tests.catalogue.replies import changed, without
from tests.engine.bench import Bench, a_bench
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

S = OrderStatus
ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
MANY: dict[str, Any] = {"MAX_POSITIONS": 100, "MAX_TRADES_PER_WAVE": 100, "MAX_EXPOSURE_USD": 100_000}
ABSENT = object()
AN_ORDER_ROW = {
    "orderId": 7,
    "symbol": "BTCUSDT",
    "status": "FILLED",
    "clientOrderId": "c",
    "origQty": "1",
    "executedQty": "1",
    "side": "BUY",
}


@pytest.mark.failure("ORD-03")
@pytest.mark.parametrize(
    ("fault", "bought"),
    [
        ({"kind": "http_error", "status": 502, "body": "<html>Bad Gateway</html>", "phase": "after"}, True),
        ({"kind": "http_error", "status": 502, "body": "<html>Bad Gateway</html>", "phase": "before"}, False),
        ({"kind": "http_error", "status": 400, "code": -4116, "phase": "after"}, True),
        ({"kind": "http_error", "status": 400, "code": -4116, "phase": "before"}, False),
        ({"kind": "latency", "delay_ms": 4_400}, True),
    ],
    ids=["502 executed", "502 not", "duplicate id executed", "duplicate id not", "slow"],
)
@pytest.mark.parametrize("silent", [False, True])
async def test_an_unclear_or_duplicate_id_answer_is_looked_up_and_nothing_is_sent_again(
    world: World, fault: dict[str, Any], bought: bool, silent: bool
) -> None:
    """`silent`: no stream event helps, only look-ups by the same client id."""
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as daemon:
        await world.tell("fault", match={"path": "/fapi/v1/order", "method": "POST"}, **fault)
        if silent:
            await world.fault("lose_event", match={"event": "ORDER_TRADE_UPDATE"}, count=-1)
        report = await daemon.wave()
        assert report.legs[0].state is (LegState.PROTECTED if bought else LegState.REFUSED)
        (sent,) = await world.sent("order")
        looked_up = [row["client_id"] for row in await world.ask("requests?since=0") if row["path"] == "/fapi/v1/order"]
        assert set(looked_up) == {sent["client_id"]}
        await world.everything_holds()


@pytest.mark.failure("ORD-05")
@pytest.mark.parametrize("what", [ORDER, STOP])
async def test_a_reply_with_any_field_absent_none_or_empty_rolls_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    spoilt: list[tuple[str, object]] = []

    def spoil(asked: str, told: Any) -> Any:
        if asked != what:
            return told
        key, value = list(product(sorted(told), (ABSENT, None, "")))[len(spoilt) % (3 * len(told))]
        spoilt.append((key, value))
        return without(key, told) if value is ABSENT else {**told, key: value}

    changed(monkeypatch, spoil)
    async with SimulatedWorld(tmp_path, tick_hz=0.2, symbols=160, balance=Decimal(1_000_000)) as world:
        pairs = world.pairs("USDT")[:100]
        await world.play(a_wave(pairs))
        async with world.running(**MANY) as daemon:
            report = await daemon.wave()
            sent = await world.sent("order")
            states = [leg.state for leg in report.legs if leg.client_order_id is not None]
            assert states == [LegState.PROTECTED] * len(sent), "one order each, and none to close"
            keys = {key for key, _ in spoilt}
            assert {"status" if what == ORDER else "algoStatus", "side"} <= keys
            assert len(set(spoilt)) == 3 * len(keys), "every field was absent, None and empty once"
            await world.everything_holds()


@pytest.mark.failure("ORD-06", "INV-2", "INV-3")
@pytest.mark.parametrize("direction", ["LONG", "SHORT"])
async def test_with_the_side_gone_from_every_reply_a_failed_entry_still_ends_flat(
    world: World, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    changed(monkeypatch, lambda _asked, told: without("side", told))
    await world.play({"at_ms": 4_000, "signals": a_wave(PAIRS[:2])["signals"][:: 1 if direction == "LONG" else -1][:1]})
    await world.fault("reject_stop", count=3, code=-2010)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert report.legs[0].state is LegState.FLATTENED
        assert await world.held() == {}
        _, close = [o for o in (await world.ask("state?all=1"))["orders"] if o["type"] == "market"]
        assert close["reduce_only"]
        assert close["side"] == ("sell" if direction == "LONG" else "buy")
        await world.everything_holds()


@pytest.mark.failure("ORD-08", "INV-5")
@pytest.mark.parametrize("gone", [True, False])
async def test_nothing_to_reduce_is_checked_by_reading_the_position_once(gone: bool) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(15)  # sooner the venue may not see the position itself yet

        async def nothing(_: OrderIntent) -> Outcome:
            return Rejected(code="-2022", detail="ReduceOnly Order is rejected.", about=About.NOTHING_TO_REDUCE)

        bench.venue.script(Leg.FLATTEN, nothing)
        if gone:  # closed by somebody else, and nobody told us
            bench.venue.positions_held.clear()
            bench.venue.always(Leg.FLATTEN, nothing)
        reads = bench.venue.reads.count("mass_status")
        await bench.closer.flatten(BTC_LONG, "test")
        assert bench.state.position(BTC_LONG) is None
        assert not bench.venue.positions_held.get(BTC)
        assert bench.venue.reads.count("mass_status") == reads + 1
        assert len(bench.venue.only(Leg.FLATTEN)) == (1 if gone else 2)


@pytest.mark.failure("ORD-08", "INV-5")
async def test_a_venue_that_always_finds_nothing_to_reduce_never_proves_flat_and_is_not_hammered() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(6)
        bench.venue.always(Leg.FLATTEN, bench.venue.reject("-2022", about=About.NOTHING_TO_REDUCE))
        closing = bench.clock.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await bench.closer.flatten(BTC_LONG, "test")
        assert bench.position().quantity == 1
        assert bench.protection.covered(BTC_LONG)
        sent = [at for at, o in zip(bench.venue.sent_at, bench.venue.sent, strict=True) if o.leg is Leg.FLATTEN]
        assert all(sum(at <= other < at + 5 for other in sent) <= 2 for at in sent), [at - closing for at in sent]


@pytest.mark.failure("ORD-09", "INV-4")
async def test_an_accepted_close_closes_nothing_until_fills_cover_the_size() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(amount=3))
        await bench.settle()
        bench.venue.script(Leg.FLATTEN, bench.venue.accept_silently)
        close = asyncio.ensure_future(bench.closer.flatten(BTC_LONG, "test"))
        await bench.settle(30)
        (working,) = bench.venue.only(Leg.FLATTEN)
        assert bench.order(working).status is S.ACCEPTED
        assert bench.position().quantity == 3
        resting = bench.venue.orders[working.client_order_id]
        await bench.venue.trade(resting, Decimal(2))
        await bench.settle(1)
        assert bench.position().quantity == 1
        assert not close.done()
        await bench.venue.trade(resting, Decimal(1))
        await close
        assert bench.state.position(BTC_LONG) is None
        assert bench.venue.only(Leg.FLATTEN) == [working]


@pytest.mark.failure("ORD-09", "INV-4")
async def test_a_position_of_size_zero_at_the_venue_is_closed_and_stays_closed() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.positions_held.clear()
        await bench.settle(120)
        assert bench.state.positions() == []
        (position,) = {row["position_id"] for row in bench.audit.of("position")}
        assert position == an_intent().position_id


@pytest.mark.failure("ORD-10")
@pytest.mark.parametrize("average", ["0", "0.00000", "", None])
async def test_an_answer_without_an_average_is_completed_by_the_trades_and_never_by_the_signal(
    average: str | None,
) -> None:
    assert placement(an_intent(), "BTCUSDT", hedge_mode=False).params["newOrderRespType"] == "RESULT"
    row = msgspec.convert({**AN_ORDER_ROW, "avgPrice": average}, OrderRow)
    assert order_report(row, BTC, Source.REST).average_price is None
    async with a_bench() as bench:
        bench.venue.tells = False
        bench.venue.price = bench.market.default = Decimal(103)
        await bench.enter(an_intent(decision_price=100))
        await bench.settle(2)
        assert "fills" in bench.venue.reads
        assert bench.position().entry_price == 103
        assert [stop.trigger_price for stop in bench.sent_stops()] == [Decimal(101)]


async def nobody_trades(bench: Bench, intent: OrderIntent) -> Outcome:
    """An empty book, or one whose prices are all beyond the venue's bound: expired, filled 0."""
    order = bench.venue._register(intent, S.ACCEPTED)
    order.status = S.EXPIRED
    return Accepted(reports=(bench.venue._status(order),))


@pytest.mark.failure("ORD-14")
async def test_an_entry_that_found_no_liquidity_opened_nothing_and_is_not_tried_again() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, partial(nobody_trades, bench))
        report = await bench.wave(a_read_signal(), a_read_signal("s2", instrument=ETH))
        lost, traded = report.legs
        assert (lost.state, traded.state) == (LegState.REFUSED, LegState.PROTECTED)
        assert lost.denied is not None
        assert "no liquidity" in lost.denied.detail
        await bench.settle(120)
        assert len(bench.venue.only(Leg.ENTRY)) == 2
        assert [position.instrument for position in bench.state.positions()] == [ETH]
        assert not bench.risk.reserved(BTC)


@pytest.mark.failure("ORD-14")
async def test_an_exit_that_fills_nothing_is_repeated_and_people_are_called() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.script(Leg.FLATTEN, *[partial(nobody_trades, bench)] * 3)
        await bench.closer.flatten(BTC_LONG, "test")
        assert len(bench.venue.only(Leg.FLATTEN)) == 4
        assert len(bench.notifier.critical()) == 1
        assert bench.state.position(BTC_LONG) is None


@pytest.mark.failure("ORD-16")
@pytest.mark.parametrize("filled", ["0", "0.4"])
async def test_an_entry_expired_in_match_is_booked_with_what_it_filled(filled: str) -> None:
    assert STATUSES["EXPIRED_IN_MATCH"] is S.EXPIRED
    async with a_bench() as bench:

        async def meet_ourselves(intent: OrderIntent) -> Outcome:
            order = bench.venue._register(intent, S.ACCEPTED)
            if Decimal(filled):
                await bench.venue.trade(order, Decimal(filled))
            row = msgspec.convert(
                AN_ORDER_ROW
                | {"orderId": int(order.venue_order_id[1:]), "clientOrderId": intent.client_order_id}
                | {"origQty": "1", "executedQty": filled, "status": "EXPIRED_IN_MATCH"},
                OrderRow,
            )
            order.status = S.EXPIRED
            return Accepted(reports=(order_report(row, BTC, Source.REST),))

        bench.venue.script(Leg.ENTRY, meet_ourselves)
        report = await bench.wave(a_read_signal())
        (entry,) = bench.venue.only(Leg.ENTRY)
        order = bench.order(entry)
        assert (order.status, order.filled) == (S.EXPIRED, Decimal(filled))
        held = [position.quantity for position in bench.state.positions()]
        stops = [stop.intent.quantity for stop in bench.venue.working_stops()]
        assert held == stops == ([Decimal(filled)] if Decimal(filled) else [])
        assert report.legs[0].state is (LegState.PROTECTED if Decimal(filled) else LegState.REFUSED)
        journaled = [r.order for r in bench.journal.posted if hasattr(r, "order") and r.order.intent == entry]
        assert journaled[-1] == order
