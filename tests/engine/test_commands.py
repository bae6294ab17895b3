"""What an operator orders happens, whoever carries the order in, and is told by the venue's word."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.order import OrderIntent, OrderStatus
from core.domain.risk import TradingState
from core.engine.commands import Commands
from core.engine.ports import Accepted, Outcome
from core.errors import Unreachable
from core.status.control import ControlServer
from tests.builders import BTC_LONG, an_instrument, an_intent
from tests.engine.bench import Bench, a_bench


def commands(bench: Bench) -> Commands:
    return Commands(
        orders=bench.orders,
        closer=bench.closer,
        clients={bench.venue.name: bench.venue},
        instruments={an_instrument().id: an_instrument()},
        books=bench.protection._books,
        risk=bench.risk,
    )


async def ask(bench: Bench, request: Any) -> Any:
    """Through the control socket's own answer, without the socket."""
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    server = ControlServer(folder=Path(), queries=None, commands=commands(bench))  # type: ignore[arg-type]
    return json.loads(await server.answer(line))


async def test_pause_stops_entries_and_resume_admits_them_again() -> None:
    async with a_bench() as bench:
        assert (await ask(bench, {"command": "pause", "author": "me"}))["result"]["state"] == TradingState.REDUCING
        assert (bench.risk.standing.reason, bench.risk.standing.author) == ("paused", "me")
        assert (await ask(bench, {"command": "resume"}))["ok"]
        assert bench.risk.standing.state is TradingState.ACTIVE


async def test_nobody_resumes_past_the_kill_file() -> None:
    async with a_bench() as bench:
        bench.risk.states.set_killed(True)
        answer = await ask(bench, {"command": "resume"})
        assert not answer["ok"]
        assert "KILL" in answer["error"]
        assert bench.risk.standing.state is TradingState.HALTED


@pytest.mark.parametrize("spelling", ["BTC/USDT", "BTCUSDT", "btc-usdt-swap", "BTC/USDT:USDT"])
async def test_a_close_is_told_by_the_venues_word_and_leaves_no_order(spelling: str) -> None:
    """Whatever venue's spelling it is: one symbol may be held on several, and "no open position" must be true."""
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        (row,) = (await ask(bench, {"command": "close", "symbol": spelling}))["result"]
        assert (row["flat"], row["left_orders"], row["detail"]) == (True, 0, "")
        assert bench.state.position(BTC_LONG) is None


@pytest.mark.parametrize(
    "request_",
    [b"nonsense", b"[1]", {"command": "dance"}, {"command": "close", "symbol": 5}, {"command": "close", "venue": "x"}],
)
async def test_a_request_that_makes_no_sense_is_answered(request_: Any) -> None:
    async with a_bench() as bench:
        answer = await ask(bench, request_)
        assert not answer["ok"]
        assert answer["error"]


async def test_an_order_that_has_ended_and_a_close_under_way_are_not_cancelled() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.until(lambda: bool(bench.venue.working_stops()))
        ended = await ask(bench, {"command": "cancel", "id": an_intent().client_order_id})
        assert "has ended already: filled" in ended["error"]
        bench.venue.always(Leg.CLOSE, bench.venue.hang)
        closing = asyncio.create_task(ask(bench, {"command": "close", "symbol": "BTC/USDT"}))
        await bench.until(lambda: bool(bench.venue.only(Leg.CLOSE)))
        (close,) = bench.venue.only(Leg.CLOSE)
        under_way = await ask(bench, {"command": "cancel", "id": close.client_order_id})
        assert "closes the position" in under_way["error"]
        assert bench.venue.cancelled == []
        closing.cancel()


@pytest.mark.parametrize("by_venue_id", [False, True])
async def test_an_entry_of_ours_that_rests_is_cancelled_by_either_of_its_ids(*, by_venue_id: bool) -> None:
    async with a_bench() as bench:

        async def rest(intent: OrderIntent) -> Outcome:
            return Accepted(reports=(bench.venue._status(bench.venue._register(intent, OrderStatus.ACCEPTED)),))

        bench.venue.script(Leg.ENTRY, rest)
        await bench.enter(an_intent())
        await bench.settle()
        resting = bench.order(an_intent())
        order_id = resting.venue_order_id if by_venue_id else resting.client_order_id
        answer = (await ask(bench, {"command": "cancel", "id": order_id}))["result"]
        assert (answer["ours"], answer["cancelled"], answer["status"]) == (True, True, "canceled")
        assert not bench.risk.reserved(resting.instrument)


async def test_an_order_that_no_venue_knows_says_which_venues_could_not_be_read() -> None:
    async with a_bench() as bench:
        bench.venue.error = Unreachable(VenueName.BINANCE, "no route")
        answer = await ask(bench, {"command": "cancel", "id": "nobody's"})
        assert "no resting order has the id" in answer["error"]
        assert "no route" in answer["error"]


@pytest.mark.parametrize("order", ["pause", "reduce", "panic", "resume", "cancel"])
async def test_an_order_for_a_venue_there_is_not_changes_nothing(order: str) -> None:
    async with a_bench() as bench:
        answer = await ask(bench, {"command": order, "venue": "nowhere", "id": "x"})
        assert not answer["ok"]
        assert bench.risk.standing.state is TradingState.ACTIVE


async def test_a_venue_is_not_resumed_while_everything_is_stopped() -> None:
    async with a_bench() as bench:
        await ask(bench, {"command": "pause"})
        answer = await ask(bench, {"command": "resume", "venue": "binance"})
        assert "resume without a venue" in answer["error"]
        assert bench.risk.standing.state is TradingState.REDUCING
