"""Protective stops, as docs/FAILURES.md demands it (STP)."""

import ast
import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.domain.ids import Leg, VenueName, client_order_id
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.position import PositionKey
from core.domain.signal import Side
from core.engine.ports import Outcome, Unknown
from core.lifecycle.outcome import ExitStatus
from tests.builders import ACCOUNT, BTC, BTC_LONG, ETH, a_position, an_instrument, an_instrument_id, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.fakes.scripted_venue import Resting
from tests.scenarios.worlds import PAIRS, SimulatedWorld, World, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

S = OrderStatus
VENUES = tuple(VenueName)
CORE = Path(__file__).resolve().parents[2] / "core"
STOP_REQUEST = "POST /fapi/v1/algoOrder"


# --- STP-07, STP-12 -------------------------------------------------------------------------------------------------


def outcomes(bench: Bench) -> dict[str, Callable[[OrderIntent], Any]]:
    venue = bench.venue
    return {
        "accept": venue.behave,
        "reject": venue.reject(),
        "lost answer": venue.lose_answer,
        "lost request": venue.lose_request,
    }


@pytest.mark.failure("STP-07", "INV-4")
@pytest.mark.parametrize("change", ["reject", "lost answer", "lost request"])
async def test_a_failed_or_ambiguous_change_keeps_the_old_stop_and_reads_again(change: str) -> None:
    async with a_bench(latency=0.05) as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(1)], 1.0
        bench.venue.script(Leg.STOP, bench.venue.behave, outcomes(bench)[change])
        await bench.enter(an_intent(amount=2))
        await bench.settle(1)
        (first,) = bench.sent_stops()
        position_id = bench.position().id
        for _ in range(300):
            await bench.settle(0.01)
            known = bench.protection.protection(position_id)
            assert known is not None
            assert known.stop is not None
            confirmed = bench.state.order(known.stop)
            assert confirmed is not None
            assert confirmed.status is not S.IN_FLIGHT
            newest = bench.order(bench.sent_stops()[-1])
            if newest.status in (S.INITIALIZED, S.IN_FLIGHT):
                assert (known.stop, known.quantity) == (first.client_order_id, 1)
                assert bench.order(first).status is S.ACCEPTED
        assert bench.protection.covered(BTC_LONG)
        assert bench.position().quantity == 2
        if change == "lost request":  # a lost answer is made good by the stream before the first question
            assert bench.sent_stops()[1].client_order_id in [asked for _, asked in bench.venue.asked]


@pytest.mark.failure("STP-12", "INV-3")
@pytest.mark.parametrize("stop", ["accept", "reject", "lost answer", "lost request"])
@pytest.mark.parametrize("cancel", ["accept", "reject", "lost"])
async def test_no_instant_of_a_replacement_is_without_a_live_stop_whichever_call_fails(stop: str, cancel: str) -> None:
    async with a_bench(latency=0.05) as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1), Decimal(1), Decimal(1)], 1.5
        bench.venue.script(Leg.STOP, bench.venue.behave, outcomes(bench)[stop], outcomes(bench)[stop])
        await bench.enter(an_intent(amount=3))
        if cancel == "reject":
            bench.venue.cancel_answers.append(await bench.venue.reject("-2011")(an_intent()))
        elif cancel == "lost":
            bench.venue.cancel_answers.append(Unknown(cause="time-out"))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        for _ in range(1_500):
            await bench.settle(0.004)
            assert bench.venue.working_stops()
        await bench.settle(10)
        held = bench.venue.positions_held[BTC]
        (last,) = [stop for stop in bench.venue.working_stops() if stop.intent.quantity == held]
        assert held == bench.position().quantity == last.intent.quantity == 3
        assert all(intent.reduce_only for intent in bench.venue.sent if intent.leg is not Leg.ENTRY)


# --- STP-08 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("STP-08", "INV-1", "INV-3")
def test_only_the_protection_manager_makes_stops_and_each_is_reduce_only() -> None:
    makers = {}
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "OrderIntent":
                fields = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if fields.get("type") == "OrderType.STOP_MARKET":
                    makers[path.name] = (fields["leg"], fields["reduce_only"])
    assert makers == {"stop_orders.py": ("Leg.STOP", "True")}, "which only the protection manager asks"


@pytest.mark.failure("STP-08", "INV-1", "INV-3")
@pytest.mark.parametrize("direction", ["LONG", "SHORT"])
async def test_two_stops_and_a_close_in_the_same_instant_end_at_zero_and_never_beyond(
    world: World, direction: str
) -> None:
    await world.play({"at_ms": 8_000, "signals": [a_signal("SOLUSDT", direction=direction)]})
    async with world.running(CLOSE_POSITIONS_ON_SHUTDOWN="true") as daemon:
        await world.fault("slow_fill", match={"symbol": "SOLUSDT"}, count=1, fraction=0.5, delay_ms=1_000)
        await world.fault("latency", match={"path": "/fapi/v1/algoOrder", "method": "DELETE"}, delay_ms=8_000, count=-1)
        await daemon.wave()
        assert len((await world.resting_stops())["SOLUSDT"]) > 1
        (row,) = (await world.ask("state"))["positions"]
        factor = Decimal("0.93") if direction == "LONG" else Decimal("1.07")
        stopping = asyncio.ensure_future(daemon.stop())
        await world.tell(
            "price", symbol="SOLUSDT", price=str((Decimal(row["entry"]) * factor).quantize(Decimal("0.01")))
        )
        assert (await stopping).status is ExitStatus.DONE
        assert await world.held() == {}
    running = Decimal(0)
    for fill in sorted((await world.ask("state?all=1"))["fills"], key=lambda fill: int(fill["id"])):
        running += Decimal(fill["qty"]) * (1 if fill["side"] == "buy" else -1)
        assert running * (1 if direction == "LONG" else -1) >= 0
    assert running == 0


# --- STP-10, STP-14 -------------------------------------------------------------------------------------------------


def a_stop(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {"leg": Leg.STOP, "side": Side.SELL, "trigger": 98, "attempt": 0}
    return an_intent(**fields | changes)


LEFTOVERS = {
    "of an earlier position": a_stop(position_id="earlier", client_id=client_order_id(ACCOUNT, "e", Leg.STOP, 0)),
    "of another size": a_stop(amount=2),
    "beyond the level": a_stop(trigger="92.9"),
    "nearer than the level": a_stop(trigger="99.9"),
    "of the other side": a_stop(side=Side.BUY),
}


@pytest.mark.failure("STP-10")
@pytest.mark.parametrize("leftover", LEFTOVERS.values(), ids=list(LEFTOVERS))
async def test_a_leftover_stop_is_no_protection_and_goes_once_the_right_one_rests(leftover: OrderIntent) -> None:
    wrong = leftover.trigger_price not in (98, Decimal("99.9"))
    async with a_bench() as bench:
        bench.orders.restore([Order(intent=leftover, status=S.ACCEPTED)], [a_position()])
        await bench.venue.execute(leftover)
        bench.venue.positions_held[BTC] = Decimal(1)
        near = leftover.trigger_price == Decimal("99.9")
        assert bench.protection.covered(BTC_LONG) is near, "within 5 %: good enough"
        await bench.reconciler.reconcile(BINANCE)
        await bench.settle(1)
        assert bench.protection.covered(BTC_LONG)
        closing = [stop for stop in bench.venue.working_stops() if stop.intent.side is Side.SELL]
        expected = Decimal("99.9") if near else 98
        assert [(s.intent.trigger_price, s.intent.quantity, s.intent.position_id) for s in closing] == [
            (expected, 1, a_position().id)
        ]
        assert wrong or near or leftover.client_order_id not in {s.intent.client_order_id for s in closing}


@pytest.mark.failure("STP-14")
@pytest.mark.parametrize("prices", [("100.05", "100.07"), ("99.9", "100.0001"), ("0.00001234", "0.00001235")])
async def test_a_level_between_two_ticks_is_set_once_and_never_again(prices: tuple[str, str]) -> None:
    tick = "0.00000001" if prices[0].startswith("0.0") else "0.1"
    async with a_bench(instruments=[an_instrument(BTC, tick=tick, min_notional=0)]) as bench:
        bench.venue.partial, bench.venue.pause = [Decimal(1)], 0.0
        bench.venue.price = bench.market.default = Decimal(prices[0])
        intent = an_intent(amount=2, decision_price=prices[0])
        await bench.enter(intent)
        await bench.settle()
        entry = bench.venue.orders[intent.client_order_id]
        bench.venue.price = Decimal(prices[1])
        await bench.venue.trade(entry, Decimal(1))
        await bench.settle(1)
        sent = len(bench.venue.sent)
        for _ in range(100):
            bench.protection.guard(BTC_LONG)
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(0.1)
        assert len(bench.venue.sent) == sent
        (resting,) = bench.venue.working_stops()
        assert resting.intent.trigger_price is not None
        assert resting.intent.trigger_price % Decimal(tick) == 0


# --- STP-11, STP-18 -------------------------------------------------------------------------------------------------

# What a stop's request says on every venue stands in test_venue_requests.py.


@pytest.mark.failure("STP-11")
@pytest.mark.parametrize("factor", ["0.9", "1.1"])
async def test_a_wick_of_the_last_price_fires_nothing_while_the_mark_stands_still(tmp_path: Path, factor: str) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        wave = [
            a_signal(symbol, id=f"{venue}-{symbol}", exchange=venue, direction=direction)
            for venue in VENUES
            for symbol, direction in zip(PAIRS[:2], ("LONG", "SHORT"), strict=True)
        ]
        await world.play({"at_ms": 4_000, "signals": wave})
        async with world.running() as daemon:
            await daemon.wave()
            for venue in VENUES:
                for symbol in await world.held(venue):
                    mark = world.venues[venue].simulation.engine.quote(symbol).mark
                    wick = str((mark * Decimal(factor)).quantize(Decimal("0.01")))
                    await world.tell("price", venue, symbol=symbol, price=wick, mark=str(mark), hold_ms=1)
                    await asyncio.sleep(0.5)
            assert [len(await world.held(venue)) for venue in VENUES] == [2, 2, 2]
            await world.everything_holds()


@pytest.mark.failure("STP-18")
async def test_a_gap_through_the_stop_is_booked_at_its_real_price() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (stop,) = bench.venue.working_stops()
        assert stop.intent.type is OrderType.STOP_MARKET
        assert stop.intent.price is None
        bench.venue.price = Decimal(90)
        await bench.venue.fire(stop)
        await bench.settle(1)
        closed = bench.state.last_closed(BTC_LONG)
        assert closed is not None
        assert closed.realized == -10


@pytest.mark.failure("STP-18")
@pytest.mark.parametrize("side", list(Side))
async def test_a_stop_passed_for_three_seconds_costs_the_position_once(side: Side) -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent(side=side))
        await bench.settle()
        patience = bench.exits.policy.rules.stop_passed_ms / 1000
        beyond = Decimal(97) if side is Side.BUY else Decimal(103)
        bench.market.default = beyond
        await bench.settle(patience - 1.1)
        bench.market.default = 100  # back in time: nothing happens
        await bench.settle(10)
        assert bench.venue.only(Leg.FLATTEN) == []
        bench.market.default = beyond
        bench.venue.script(Leg.FLATTEN, bench.venue.lose_request)
        await bench.settle(patience + 1.1)
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        await bench.settle(30)
        (first, *more) = bench.venue.only(Leg.FLATTEN)
        assert first.reduce_only
        assert len(more) == 1, "the lost one is proven absent, then one more"
        assert bench.state.positions() == []
        assert len([text for text in bench.notifier.critical() if "closing at market" in text]) == 1


# --- STP-13 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("STP-13", "INV-5")
@pytest.mark.parametrize("lives", [True, False])
async def test_after_a_restart_a_stop_is_made_only_after_a_successful_reading(world: World, lives: bool) -> None:
    """Killed between fill and stop; the venue cannot be read for half a minute after the restart."""
    await world.play(a_wave(PAIRS[:1]))
    left: list[Path] = []
    first = world.daemon(watch=lambda moment, what: _strike(first, left, moment, what))
    first.begin()
    await world.until(lambda: _struck(left), seconds=30)
    data = await first.bury(left[0])
    if not lives:
        await world.tell("account", position={"symbol": "BTCUSDT", "qty": "0"})
    failing = 35_000.0
    fault = {"status": 500, "count": -1, "duration_ms": failing}
    await world.fault("http_error", match={"path": "/fapi/v3/positionRisk"}, **fault)
    second = world.daemon(data)
    with capture_logs() as logs:
        second.begin()
        await asyncio.sleep(failing / 1000 - 1)
        assert await world.sent("stop") == []
        assert [row for row in logs if row["log_level"] in ("error", "warning") and "stream" in row["event"]]
        await asyncio.sleep(60)
    alarms = [row["text"] for row in logs if row["event"] == "notice"]
    assert len(await world.sent("stop")) == (1 if lives else 0)
    assert any("could not be read" in text for text in alarms), alarms
    told = [row["event"] for row in logs if row["event"] in ("reconcile.done", "risk.trading_state")]
    begun = next(row["reason"] for row in logs if row["event"] == "risk.trading_state")
    read_before = told[0] == "reconcile.done"
    assert read_before or "binance not read yet" in begun, "what could not be read is not called verified"
    await second.stop()
    await world.everything_holds()


def _strike(daemon: Any, left: list[Path], moment: str, what: str) -> None:
    if not left and (moment, what) == ("sending", STOP_REQUEST):
        left.append(daemon.strike())


async def _struck(left: list[Path]) -> bool:
    return bool(left)


# --- STP-16, STP-20 -------------------------------------------------------------------------------------------------


async def leftover(bench: Bench, key: str, instrument: Any) -> Resting:
    """A stop of ours that rests beside no position: its cancel failed."""
    await bench.enter(an_intent(key, instrument=instrument))
    await bench.settle()
    (stop,) = [s for s in bench.venue.working_stops() if s.intent.instrument == instrument]
    bench.venue.cancel_answers.append(await bench.venue.reject("-1001")(stop.intent))
    await bench.closer.flatten(PositionKey(instrument, Side.BUY), "test")
    await bench.settle()
    assert stop.status is S.ACCEPTED
    return stop


@pytest.mark.failure("STP-16")
async def test_what_is_left_after_a_close_goes_within_two_minutes_although_cancels_fail(world: World) -> None:
    await world.play(a_wave(PAIRS[:3]))
    async with world.running() as daemon:
        await daemon.wave()
        cancels = {"path": "/fapi/v1/algoOrder", "method": "DELETE"}
        await world.fault("http_error", match=cancels, status=500, duration_ms=40_000.0)
        for pair in PAIRS[:3]:
            await world.fault("adl", match={"symbol": pair}, fraction=1.0)
        await asyncio.sleep(20)
        assert await world.held() == {}
        assert len(await world.resting_stops()) == 3
        for row in (await world.ask("state"))["orders"]:  # an orphan that fires opens nothing
            if row["symbol"] == "BTCUSDT":
                await world.tell("price", symbol="BTCUSDT", price=str(Decimal(row["stop_price"]) * Decimal("0.99")))
        await asyncio.sleep(5)
        assert await world.held() == {}
        await asyncio.sleep(95)
        assert await world.resting_stops() == {}
        assert daemon.held() == await world.held() == {}


@pytest.mark.failure("STP-16")
async def test_more_than_ten_orphans_are_said_once() -> None:
    names = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(12)]
    async with a_bench(instruments=[an_instrument(name) for name in names]) as bench:
        for number, name in enumerate(names):
            await leftover(bench, f"s{number}", name)
        bench.venue.cancel_answers.extend([Unknown(cause="time-out")] * 40)
        for _ in range(3):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(1)
        assert len([text for text in bench.notifier.critical() if "protect nothing" in text]) == 1


@pytest.mark.failure("STP-20")
@pytest.mark.parametrize("refusals", [1, 3])
async def test_a_stop_refused_for_too_many_clears_leftovers_once_then_flattens(refusals: int) -> None:
    async with a_bench() as bench:
        orphan = await leftover(bench, "old", ETH)
        bench.venue.cancelled.clear()
        refused: list[int] = []

        async def too_many(intent: OrderIntent) -> Outcome:
            refused.append(len(bench.venue.cancelled))
            return await bench.venue.reject("-4045")(intent)

        bench.venue.script(Leg.STOP, *[too_many] * refusals)
        await bench.enter(an_intent("new"))
        await bench.settle(2)
        assert refused == [0, 1, 1][:refusals], "cleared after the first refusal, before the second try"
        assert orphan.status is S.CANCELED
        if refusals < 3:
            assert bench.protection.covered(BTC_LONG)
        else:
            assert not bench.venue.positions_held[BTC]
        assert len(bench.venue.working_stops()) == len(bench.state.positions())


@pytest.mark.failure("STP-20")
async def test_in_steady_state_there_are_as_many_stops_as_positions(world: World) -> None:
    waves = [a_wave(PAIRS[:3], at_ms=4_000), a_wave(PAIRS[3:], at_ms=30_000)]
    await world.play(*waves)
    await world.fault("reject_stop", code=-4045, fraction=0.5, count=-1)
    async with world.running() as daemon:
        for number in (1, 2):
            report = await daemon.wave(number)
            assert report.settled
            await asyncio.sleep(12)
            await world.everything_holds()
            assert sum(map(len, (await world.resting_stops()).values())) == len(await world.held())
