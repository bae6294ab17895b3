"""What an operator orders happens, whoever carries the order in, and is told by the venue's word."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.domain.risk import TradingState
from core.engine.commands import Commands
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
    return await server._answer(line)


async def test_pause_stops_entries_and_resume_admits_them_again() -> None:
    async with a_bench() as bench:
        assert (await ask(bench, {"command": "pause", "author": "me"}))["result"]["state"] is TradingState.REDUCING
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


async def test_a_close_is_told_by_the_venues_word_and_leaves_no_order() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        (row,) = (await ask(bench, {"command": "close", "symbol": "BTC/USDT"}))["result"]
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
