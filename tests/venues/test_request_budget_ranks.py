"""Who leaves first when a thousand entries and every trailing move wait beside a stop, by each venue's own limits and
charges (NET-03). Virtual time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec import Struct

from core.venues.binance import facts as binance
from core.venues.bybit import limits as bybit
from core.venues.okx import limits as okx
from core.venues.rate_counters import Limit
from core.venues.request_budget import Charge, Lane, RequestBudget, only_tightening, ranked
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop

ROUND_TRIP = 0.2
ENTRIES, MOVES = 1_000, 300


class Venue(Struct, frozen=True, kw_only=True):
    """What a request of each kind costs. Entries and moves are of many symbols, by number."""

    limits: Sequence[Limit]
    entry: Callable[[int], Charge]
    stop: Callable[[int], Charge]
    close: Callable[[int], Charge]

    def move(self, number: int) -> Charge:
        with only_tightening(applies=True):
            return ranked(self.stop(number))


def _okx(path: str, row: Mapping[str, Any], number: int) -> Charge:
    return okx.charge_of("POST", path, {"instId": f"C{number}-USDT-SWAP", **row}, 0)


VENUES = {
    "binance": Venue(
        limits=binance.LIMITS,
        entry=lambda n: binance.charge_of("POST", "order", {"side": "BUY"}, 0),
        stop=lambda n: binance.charge_of("POST", "algoOrder", {"side": "SELL"}, 0),
        close=lambda n: binance.charge_of("POST", "order", {"side": "SELL", "reduceOnly": "true"}, 0),
    ),
    "bybit": Venue(
        limits=bybit.LIMITS,
        entry=lambda n: bybit.charge_of("POST", "v5/order/create", {}, 0),
        stop=lambda n: bybit.charge_of("POST", "v5/position/trading-stop", {}, 0),
        close=lambda n: bybit.charge_of("POST", "v5/order/create", {"reduceOnly": True}, 0),
    ),
    "okx": Venue(
        limits=okx.LIMITS,
        entry=lambda n: _okx("trade/order", {}, 0),
        stop=lambda n: _okx("trade/amend-algos", {}, n % 3),
        close=lambda n: _okx("trade/order", {"reduceOnly": True}, n % 3),
    ),
}
MANY_PER_SECOND = {"binance": 1, "bybit": 2, "okx": 3}
"""How many stops beside each other must leave at once in any second of this: fewer than each venue takes of them."""


@dataclass(slots=True)
class Record:
    """When each request left, seconds from the start; and how long each stop and close waited, milliseconds."""

    left: dict[str, list[float]] = field(default_factory=lambda: {"entry": [], "move": []})
    waited: list[int] = field(default_factory=list)


def _measured(venue: Venue, at_once: int) -> Record:
    record = Record()

    async def scenario() -> None:
        clock = VirtualClock()
        budget, start = RequestBudget("venue", venue.limits, clock), clock.monotonic()

        async def send(charge: Charge, kind: str) -> None:
            ticket = await budget.acquire(charge)
            record.left[kind].append(clock.monotonic() - start)
            await asyncio.sleep(ROUND_TRIP)
            budget.settle(ticket)

        async def ask(charge: Charge) -> None:
            asked = clock.now_ms()
            ticket = await budget.acquire(charge)
            record.waited.append(clock.now_ms() - asked)
            await asyncio.sleep(ROUND_TRIP)
            budget.settle(ticket)

        waiting = [asyncio.ensure_future(send(venue.entry(n), "entry")) for n in range(ENTRIES)]
        await asyncio.sleep(0.001)
        waiting += [asyncio.ensure_future(send(venue.move(n), "move")) for n in range(MOVES)]
        async with asyncio.TaskGroup() as tasks:
            for moment in range(12):  # at any moment of a window
                await asyncio.sleep(1.7)
                for n in range(at_once):
                    tasks.create_task(ask(venue.stop(n + moment)))
                tasks.create_task(ask(venue.close(moment)))
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
    return record


@pytest.mark.failure("NET-03")
@pytest.mark.parametrize("name", list(VENUES))
def test_behind_a_thousand_entries_and_every_trailing_move_stops_and_closes_leave_at_once(name: str) -> None:
    record = _measured(VENUES[name], MANY_PER_SECOND[name])
    assert len(record.waited) == 12 * (MANY_PER_SECOND[name] + 1)
    assert max(record.waited) <= 200
    assert len(record.left["entry"]) < ENTRIES, "they were queued all the time"


@pytest.mark.failure("NET-03")
@pytest.mark.parametrize("name", list(VENUES))
def test_a_trailing_move_has_its_share_while_a_thousand_entries_wait(name: str) -> None:
    moves = _measured(VENUES[name], 1).left["move"]
    assert len([at for at in moves if at <= 11]) >= 40, "nearly half of what the venue takes of stops"


@pytest.mark.failure("NET-03")
@pytest.mark.parametrize("name", list(VENUES))
def test_a_trailing_move_ranks_below_stops_closes_and_cancels_and_above_entries(name: str) -> None:
    venue = VENUES[name]
    assert venue.stop(0).lane < Lane.CANCEL < venue.move(0).lane < venue.entry(0).lane
    assert venue.close(0).lane < Lane.CANCEL
    with only_tightening(applies=True):
        assert ranked(venue.close(0)).lane is Lane.CLOSE
        assert ranked(venue.entry(0)).lane is Lane.ENTRY
    assert ranked(venue.stop(0)).lane is Lane.PROTECTION


def test_moves_alone_leave_half_of_what_the_venue_takes_of_stops() -> None:
    venue = VENUES["bybit"]

    async def scenario() -> None:
        clock = VirtualClock()
        budget = RequestBudget("bybit", venue.limits, clock)
        moves = [asyncio.ensure_future(budget.acquire(venue.move(n))) for n in range(50)]
        await asyncio.sleep(0.1)
        assert sum(move.done() for move in moves) == 5
        asked = clock.now_ms()
        for n in range(5):
            await budget.acquire(venue.stop(n))
        assert clock.now_ms() == asked
        for move in moves:
            move.cancel()
        await asyncio.wait(moves)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("name", list(VENUES))
def test_moves_that_come_one_by_one_below_their_limit_leave_at_once(name: str) -> None:
    """At the venue that counts them most strictly five may leave in a second."""
    venue, waited = VENUES[name], list[int]()

    async def scenario() -> None:
        clock = VirtualClock()
        budget = RequestBudget(name, venue.limits, clock)

        async def move(number: int) -> None:
            asked = clock.now_ms()
            ticket = await budget.acquire(venue.move(number))
            waited.append(clock.now_ms() - asked)
            await asyncio.sleep(ROUND_TRIP / 2)
            budget.settle(ticket)

        async with asyncio.TaskGroup() as tasks:
            for number in range(80):
                tasks.create_task(move(number))
                await asyncio.sleep(0.25)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
    assert waited == [0] * 80
