"""Order and position state, as docs/FAILURES.md demands it (POS)."""

import ast
import asyncio
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.order import Order, OrderIntent, OrderStatus, apply_status
from core.domain.position import PositionKey
from core.domain.reconciliation import key_of, position_mismatches
from core.domain.reports import BalanceReport, Report, Source
from core.domain.signal import Side
from core.domain.wave import LegState
from core.engine.ports import Level, Outcome
from core.engine.state import State
from core.errors import MalformedPayload, Unreachable
from core.venues.binance.parse import order_event, position_report, trade_report
from core.venues.binance.payloads import OrderTradeUpdate, OrderUpdate, PositionRow, TradeRow
from core.venues.symbols import SymbolTable
from tests.builders import (
    BTC,
    NOW_MS,
    a_balance_report,
    a_mass_status,
    a_position,
    a_position_report,
    a_status,
    an_instrument,
    an_instrument_id,
    an_intent,
    an_order,
    price,
)
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.scenarios.worlds import PAIRS, World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

S = OrderStatus
CORE = Path(__file__).resolve().parents[2] / "core"


# --- POS-02 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("POS-02", "INV-5")
@pytest.mark.parametrize("hidden_ms", [300, 6_000, 14_000])
async def test_an_open_the_venue_hides_for_a_while_is_protected_once_it_appears(world: World, hidden_ms: int) -> None:
    """Longer than the ten seconds after which an order counts as absent: then the position itself has to be found."""
    await world.play(a_wave(PAIRS[:1], at_ms=8_000))
    async with world.running() as daemon:
        await world.fault("drop_response", match={"path": "/fapi/v1/order", "method": "POST"})
        for event in ("ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"):
            await world.fault("delay_event", match={"event": event}, delay_ms=hidden_ms, count=-1)
        late = {"at_ms": 0.0, "duration_ms": 4_000.0 + hidden_ms, "count": -1}
        await world.fault(
            "http_error", match={"path": "/fapi/v1/order", "method": "GET"}, status=400, code=-2013, **late
        )
        for path in ("/fapi/v3/positionRisk", "/fapi/v3/account", "/fapi/v1/userTrades"):
            await world.fault("empty_rest", match={"path": path}, **late)
        await world.until(lambda: _protected(world, 1), seconds=60)
        assert len(await world.sent("order")) == 1
        assert daemon.held() == await world.held()
        await asyncio.sleep(20)
        await world.everything_holds()


@pytest.mark.failure("POS-02", "INV-5")
async def test_a_stop_refused_for_want_of_a_position_is_tried_again_for_the_filled_size(world: World) -> None:
    await world.play(a_wave(PAIRS[:1]))
    await world.fault("reject_stop", code=-4509)
    async with world.running() as daemon:
        report = await daemon.wave()
        assert report.legs[0].state is LegState.PROTECTED
        await world.everything_holds()


async def _protected(world: World, count: int) -> bool:
    held, stops = await world.held(), await world.resting_stops()
    return len(held) == len(stops) == count


# --- POS-03 ----------------------------------------------------------------------------------------------------------

NO_PRICE = ["0", "0.00000", "-1", "", "NaN", "Infinity"]


def a_trade_frame(**changes: Any) -> OrderTradeUpdate:
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "client_id": an_intent().client_order_id,
        "side": "BUY",
        "quantity": "1",
        "average": "100",
        "execution": "TRADE",
        "status": "FILLED",
        "order_id": 7,
        "last_quantity": "1",
        "filled": "1",
        "last_price": "100",
        "trade_id": 9,
    }
    return OrderTradeUpdate(time=1, order=OrderUpdate(**fields | changes))


def a_table() -> SymbolTable:
    table = SymbolTable()
    table.replace([an_instrument()])
    return table


@pytest.mark.failure("POS-03")
@pytest.mark.parametrize("bad", NO_PRICE)
@pytest.mark.parametrize("field", ["last_price", "last_quantity"])
def test_a_trade_without_a_price_or_a_size_never_becomes_a_fill(bad: str, field: str) -> None:
    nothing_traded = field == "last_quantity" and bad in ("0", "0.00000")
    try:
        told = order_event(a_trade_frame(**{field: bad}), a_table())
    except MalformedPayload:
        assert not nothing_traded
    else:
        assert [type(report).__name__ for report in told] == ["OrderStatusReport"]
        assert nothing_traded
    row = TradeRow("BTCUSDT", 1, 7, "BUY", "100", "1", "0", "0", "USDT", 1, False)
    spoilt = {"last_price": "price", "last_quantity": "qty"}[field]
    with pytest.raises(MalformedPayload):
        trade_report(TradeRow(**{f: getattr(row, f) for f in row.__struct_fields__} | {spoilt: bad}), BTC, Source.REST)


@pytest.mark.failure("POS-03")
@pytest.mark.parametrize("entry", [None, "0", "0.0"])
async def test_a_position_without_an_entry_price_is_not_adopted_and_reaches_no_arithmetic(entry: str | None) -> None:
    row = PositionRow("BTCUSDT", "2", entry or "", "0")
    report = position_report(row, BTC, Source.REST)
    assert report.entry_price is None
    async with a_bench() as bench:
        bench.venue.mass_statuses.extend([a_mass_status(positions=(report,))] * 3)
        for _ in range(3):
            await bench.reconciler.reconcile(BINANCE)
        assert bench.state.positions() == []
        assert bench.orders.counts["failed_reports"] == 0
        assert bench.venue.sent == []


@pytest.mark.failure("POS-03")
async def test_an_entry_in_doubt_is_no_position_and_after_ten_seconds_people_are_told() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        bench.venue.error = Unreachable(BINANCE, "no route")
        await bench.enter(an_intent())
        await bench.settle(9.9)
        assert bench.order(an_intent()).status is S.IN_FLIGHT
        assert bench.state.positions() == []
        assert bench.notifier.critical() == []
        await bench.settle(0.2)
        assert len(bench.notifier.critical()) == 1


# --- POS-04, POS-05 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("POS-04", "INV-7")
async def test_another_average_at_the_venue_is_recorded_and_said_and_ours_stays() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        bench.venue.price = Decimal("241.99")
        for _ in range(3):
            await bench.reconciler.reconcile(BINANCE)
            await bench.settle(1)
        assert bench.position().entry_price == 100
        assert [stop.intent.trigger_price for stop in bench.venue.working_stops()] == [98]
        (told,) = [text for level, text in bench.notifier.messages if level is Level.WARNING]
        assert "100" in told
        assert "241.99" in told
        (noted,) = [row for row in bench.audit.of("discrepancy") if row["kind"] == "entry_price"]
        assert "241.99" in noted["what"]


@pytest.mark.failure("POS-05")
@pytest.mark.parametrize("answer", ["told", "lost", "late", "hidden"])
async def test_entry_and_reconciliation_racing_make_one_position_whatever_their_timing(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """`hidden`: for six seconds the venue shows the position and can tell nothing about the order."""
    for offset_ms in range(0, 1_600, 80):
        async with a_bench(latency=0.25) as bench:
            if answer == "lost":
                bench.venue.tells = False
                bench.venue.script(Leg.ENTRY, bench.venue.lose_answer)
            elif answer == "hidden":
                bench.venue.tells = False
                bench.venue.script(Leg.ENTRY, bench.venue.lose_answer)
                _hide_orders(bench, monkeypatch, until=bench.clock.monotonic() + 6)
            elif answer == "late":
                bench.venue.script(Leg.ENTRY, _told_a_second_late(bench))
            entering = asyncio.ensure_future(bench.enter(an_intent()))
            await bench.settle(offset_ms / 1000)
            await asyncio.gather(bench.reconciler.reconcile(BINANCE), bench.reconciler.reconcile(BINANCE), entering)
            await bench.settle(15)
            bench.venue.tells = True
            position = bench.position()
            assert (position.id, position.quantity) == (an_intent().position_id, 1), offset_ms
            assert {intent.leg for intent in bench.venue.sent} == {Leg.ENTRY, Leg.STOP}
            assert bench.venue.positions_held[BTC] == 1
            assert len(bench.venue.working_stops()) == 1


def _hide_orders(bench: Bench, monkeypatch: pytest.MonkeyPatch, until: float) -> None:
    query, trades = bench.venue.query_order, bench.venue.fills

    async def hidden_order(intent: OrderIntent) -> Any:
        if bench.clock.monotonic() < until:
            raise Unreachable(BINANCE, "no route")
        return await query(intent)

    async def hidden_trades(*asked: Any) -> Any:
        return [] if bench.clock.monotonic() < until else await trades(*asked)

    monkeypatch.setattr(bench.venue, "query_order", hidden_order)
    monkeypatch.setattr(bench.venue, "fills", hidden_trades)


def _told_a_second_late(bench: Bench):  # type: ignore[no-untyped-def]
    async def late(intent: OrderIntent) -> Outcome:
        bench.venue.tells = False
        await bench.venue.execute(intent)
        order = bench.venue.orders[intent.client_order_id]
        told: list[Report] = [*order.fills, bench.venue._status(order)]
        asyncio.get_running_loop().call_later(1, bench.orders.apply, told)
        bench.venue.tells = True
        return await bench.venue.lose_request(intent)

    return late


# --- POS-06, POS-07 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("POS-06", "INV-11")
def test_ten_thousand_random_changes_while_snapshots_are_walked_raise_nothing() -> None:
    chance, state = Random(6), State()
    names = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(20)]
    walks: list[Any] = []
    for step in range(10_000):
        name, side = chance.choice(names), chance.choice(list(Side))
        match chance.randrange(5):
            case 0:
                amount = chance.choice([0, 1, 2])
                state.put_position(a_position(name, side=side, amount=amount, entry_amount=2, position_id=f"p{step}"))
            case 1:
                status = chance.choice([S.ACCEPTED, S.CANCELED, S.FILLED])
                order = an_order(an_intent(f"k{chance.randrange(300)}", instrument=name), status=status)
                state.put_order(order)
            case 2:
                state.put_venue_position(a_position_report(name, amount=chance.choice([0, 1]), venue_time_ms=step))
            case 3:
                state.put_balance(a_balance_report(step, venue_time_ms=step), float(step))
            case _:
                views = (state.positions, state.all_live_orders, state.venue_positions, state.balances)
                walks.append((iter(chance.choice(views)()), None))
                walks.append((iter(state.live_orders(name)), None))
        for walk, _ in walks:
            next(walk, None)
        walks = walks[-50:]


WRITERS = ("put_order", "drop_order", "put_position", "put_venue_position", "put_balance")


@pytest.mark.failure("POS-07")
def test_only_the_order_manager_writes_state() -> None:
    callers = set()
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_state"), attr=name)) if name in WRITERS:
                    callers.add(path.name)
    assert callers == {"order_manager.py"}


@pytest.mark.failure("POS-07")
async def test_reports_handed_in_at_once_are_applied_one_after_another() -> None:
    async with a_bench() as bench:
        running = 0
        apply = bench.orders.apply

        def watched(reports: list[Report]) -> None:
            nonlocal running
            running += 1
            assert running == 1
            apply(reports)
            running -= 1

        bench.orders.apply = watched  # type: ignore[assignment,method-assign]
        told = [a_balance_report(n, venue_time_ms=NOW_MS + n) for n in range(100)]
        await asyncio.gather(*(bench.orders.take([report]) for report in told))
        await bench.orders.drained()
        assert [balance.wallet for balance in bench.state.balances().values()] == [99]


@pytest.mark.failure("POS-07")
@given(st.data())
def test_a_report_that_does_not_say_erases_nothing(data: st.DataObject) -> None:
    order = an_order(status=S.ACCEPTED, venue_order_id="v1")
    silent = replace(
        a_status(order.intent, data.draw(st.sampled_from([S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCELED]))),
        venue_order_id=None,
        trigger_price=None,
        average_price=None,
        detail="",
    )
    after = apply_status(replace(order, detail="why"), silent)
    assert isinstance(after, Order)
    assert (after.venue_order_id, after.detail) == ("v1", "why")
    state = State()
    known = replace(a_position_report(amount=2), mark_price=price(99), unrealized=Decimal(1), isolated=True)
    fields = data.draw(st.sets(st.sampled_from(["entry_price", "mark_price", "unrealized", "isolated"])))
    state.put_venue_position(known)
    state.put_venue_position(replace(known, **dict.fromkeys(fields)))
    assert state.venue_positions() == [known]
    told: BalanceReport = a_balance_report(5, available=4)
    state.put_balance(told, 0.0)
    state.put_balance(replace(told, available=None), 0.0)
    balance = state.balance(BINANCE, told.asset)
    assert balance is not None
    assert balance.available == 4


# --- POS-09 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("POS-09", "INV-9")
@pytest.mark.parametrize(
    ("amount", "side", "expected"),
    [
        ("2", "BOTH", Side.BUY),
        ("-2", "BOTH", Side.SELL),
        ("2", "LONG", Side.BUY),
        ("2", "SHORT", Side.SELL),
        ("-2", "SHORT", Side.SELL),
    ],
)
def test_a_positions_side_is_parsed_once_and_net_mode_goes_by_the_sign(amount: str, side: str, expected: Side) -> None:
    report = position_report(PositionRow("BTCUSDT", amount, "100", "100", side), BTC, Source.REST)
    assert key_of(report) == PositionKey(BTC, expected)
    empty = position_report(PositionRow("BTCUSDT", "0", "100", "100", side), BTC, Source.REST)
    assert position_mismatches([], [empty]) == []


@pytest.mark.failure("POS-09", "INV-9")
@pytest.mark.parametrize("word", ["", "net", "buy", "long", "Long", "LONGISH"])
def test_an_unknown_side_raises_and_never_becomes_a_default(word: str) -> None:
    with pytest.raises(MalformedPayload):
        order_event(a_trade_frame(side=word), a_table())
    with pytest.raises(MalformedPayload):
        order_event(a_trade_frame(position_side=word), a_table())
    with pytest.raises(MalformedPayload):
        position_report(PositionRow("BTCUSDT", "1", "100", "100", word), BTC, Source.REST)


@pytest.mark.failure("POS-09", "INV-9")
async def test_a_frame_that_cannot_be_understood_is_followed_by_a_reading_of_the_venue(world: World) -> None:
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as daemon:
        await daemon.wave()
        await asyncio.sleep(10)
        await world.fault("garbage_frame", match={"stream": "listenKey"}, count=-1)
        before = await _readings(world)
        await world.fault("adl", match={"symbol": "BTCUSDT"}, fraction=1.0)
        await asyncio.sleep(1)
        assert await _readings(world) > before
        await world.until(lambda: _protected(world, 0), seconds=20)
        assert daemon.held() == {}


async def _readings(world: World) -> int:
    return sum(row["path"].endswith("positionRisk") for row in await world.ask("requests?since=0"))
