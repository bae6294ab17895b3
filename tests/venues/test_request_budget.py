"""The request budget against a strict count of the venue's own: whatever comes, no window is ever exceeded."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import RateLimited
from core.venues.rate_counters import Limit
from core.venues.request_budget import Charge, Lane, RequestBudget
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop

WEIGHT = Limit(bucket="weight", used_header="weight", window_ms=60_000, capacity=100)
ORDERS = Limit(bucket="orders", used_header="orders", window_ms=10_000, capacity=30)
CHARGES = {
    "stop": Charge(lane=Lane.PROTECTION, costs={"orders": 1}),
    "close": Charge(lane=Lane.CLOSE, costs={"orders": 1}),
    "cancel": Charge(lane=Lane.CANCEL, costs={"weight": 1}),
    "entry": Charge(lane=Lane.ENTRY, costs={"orders": 1}, promises={"orders": 1}),
    "data": Charge(lane=Lane.DATA, costs={"weight": 20}),
}


class Counting:
    """A venue that counts what arrives, by calendar windows, `latency` seconds after it was sent."""

    def __init__(self, *, clock_ahead_ms: int = 0) -> None:
        self.clock = VirtualClock()
        self._ahead = clock_ahead_ms
        self.budget = RequestBudget("binance", (WEIGHT, ORDERS), self.clock, venue_ms=self.venue_ms)
        self.arrived: Counter[tuple[str, int]] = Counter()

    def venue_ms(self) -> int:
        return self.clock.now_ms() + self._ahead

    async def send(self, charge: Charge, latency: float, *, lost: bool = False) -> float:
        """The answer's headers tell the running totals; the result is how long leave took."""
        asked = self.clock.monotonic()
        ticket = await self.budget.acquire(charge)
        waited = self.clock.monotonic() - asked
        await asyncio.sleep(latency / 2)
        totals = {}
        for limit, cost in ((limit, charge.costs.get(limit.bucket, 0)) for limit in (WEIGHT, ORDERS)):
            key = (limit.name, self.venue_ms() // limit.window_ms)
            self.arrived[key] += cost
            totals[limit.name] = str(self.arrived[key])
        await asyncio.sleep(latency / 2)
        self.budget.settle(ticket, None if lost else totals)
        return waited

    def worst(self, limit: Limit) -> int:
        return max((n for (name, _), n in self.arrived.items() if name == limit.name), default=0)


def _on_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


PLANS = st.lists(
    st.tuples(
        st.sampled_from(sorted(CHARGES)),
        st.floats(0, 40),  # when
        st.floats(0, 3),  # latency
        st.booleans(),  # the answer is lost
    ),
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(-4_000, 4_000))
def test_no_window_is_ever_exceeded_and_everything_leaves_in_the_end(
    plan: list[tuple[str, float, float, bool]], clock_ahead_ms: int
) -> None:
    async def scenario() -> None:
        venue = Counting(clock_ahead_ms=clock_ahead_ms)

        async def one(kind: str, when: float, latency: float, lost: bool) -> None:
            await asyncio.sleep(when)
            await venue.send(CHARGES[kind], latency, lost=lost)

        try:
            async with asyncio.TaskGroup() as tasks:
                for row in plan:
                    tasks.create_task(one(*row))
        except* RateLimited:
            assert sum(CHARGES[kind].costs.get("weight", 0) for kind, *_ in plan) > 150, (
                "only a flood may be turned away"
            )
        assert venue.worst(WEIGHT) <= WEIGHT.capacity
        assert venue.worst(ORDERS) <= ORDERS.capacity

    _on_virtual_time(scenario())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.floats(0, 9.9))
def test_protection_never_waits_for_what_waits_below_it(entries: int, when: float) -> None:
    """The order of a stop was promised to its entry, however many entries and reads still wait."""

    async def scenario() -> None:
        venue = Counting()
        waits: list[float] = []

        async def entry_and_stop() -> None:
            await venue.send(CHARGES["entry"], 0.25)
            waits.append(await venue.send(CHARGES["stop"], 0.25))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(6):
                tasks.create_task(venue.send(CHARGES["data"], 0.25))
            await asyncio.sleep(when)
            for _ in range(entries):
                tasks.create_task(entry_and_stop())
        assert max(waits, default=0.0) == 0.0
        assert venue.worst(ORDERS) <= ORDERS.capacity

    _on_virtual_time(scenario())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.floats(0, 9.9))
def test_closes_of_protected_positions_leave_other_entries_the_orders_their_stops_were_promised(
    entries: int, when: float
) -> None:
    async def scenario() -> None:
        venue = Counting()
        waits: list[float] = []

        async def whole_life(latency: float) -> None:
            await venue.send(CHARGES["entry"], latency)
            waits.append(await venue.send(CHARGES["stop"], latency))
            await venue.send(CHARGES["close"], latency)

        await asyncio.sleep(when)
        async with asyncio.TaskGroup() as tasks:
            for number in range(entries):
                tasks.create_task(whole_life(0.02 if number % 2 else 0.25))
        assert max(waits, default=0.0) == 0.0
        assert venue.worst(ORDERS) <= ORDERS.capacity

    _on_virtual_time(scenario())


async def test_leave_comes_back_at_once_while_there_is_room() -> None:
    venue = Counting()
    loop = asyncio.get_running_loop()
    turns: list[int] = []
    loop.call_soon(turns.append, 1)
    for _ in range(10):
        await venue.budget.acquire(CHARGES["stop"])
    assert not turns, "no turn of the loop was given away"


async def test_a_full_window_is_waited_out_and_the_next_one_is_whole() -> None:
    venue = Counting()
    for _ in range(4):
        await venue.send(CHARGES["data"], 0)
    waited = await venue.send(CHARGES["data"], 0)
    assert 0 < waited <= 60.1
    for _ in range(3):
        assert await venue.send(CHARGES["data"], 0) == 0


async def test_others_on_the_same_address_are_seen_in_the_headers() -> None:
    venue = Counting()
    venue.arrived["weight", venue.venue_ms() // WEIGHT.window_ms] = 70
    assert await venue.send(CHARGES["cancel"], 0) == 0
    assert venue.budget.figures().used["weight"] == 71
    assert await venue.send(CHARGES["data"], 0) > 0, "85 % of the window is the limit of data"


async def test_a_header_of_the_window_before_corrects_nothing() -> None:
    venue = Counting()
    ticket = await venue.budget.acquire(CHARGES["cancel"])
    await asyncio.sleep(61)
    venue.budget.settle(ticket, {"weight": "99"})
    assert venue.budget.figures().used["weight"] <= 1


@pytest.mark.parametrize("odd", ["", "-5", "many", "1e3"])
async def test_an_odd_header_is_ignored(odd: str) -> None:
    venue = Counting()
    venue.budget.settle(await venue.budget.acquire(CHARGES["cancel"]), {"weight": odd})
    assert venue.budget.figures().used["weight"] == 1


@pytest.mark.parametrize("kind", sorted(CHARGES))
async def test_nothing_leaves_while_the_venue_demands_silence(kind: str) -> None:
    venue = Counting()
    venue.budget.block_until(venue.clock.now_ms() + 20_000)
    assert await venue.send(CHARGES[kind], 0) >= 20


async def test_a_ban_longer_than_anyone_would_wait_is_refused_with_its_end() -> None:
    venue = Counting()
    until = venue.clock.now_ms() + 3 * 86_400_000
    venue.budget.block_until(until)
    with pytest.raises(RateLimited) as refused:
        await venue.budget.acquire(CHARGES["stop"])
    assert refused.value.retry_at_ms == until


async def test_a_shorter_block_does_not_shorten_a_longer_one() -> None:
    venue = Counting()
    now = venue.clock.now_ms()
    venue.budget.block_until(now + 50_000)
    venue.budget.block_until(now + 10_000)
    assert venue.budget.blocked_until_ms == now + 50_000


@pytest.mark.parametrize("bucket", [None, "place"])
async def test_a_pause_that_is_over_stays_over_when_the_clock_is_set_back(bucket: str | None) -> None:
    clock = VirtualClock()
    budget = RequestBudget("okx", (), clock)
    if bucket is None:
        budget.block_until(clock.now_ms() + 2_000)
    else:
        budget.block(bucket, clock.now_ms() + 2_000)
    await asyncio.sleep(60)
    clock.skew_ms -= 3_600_000
    stop = Charge(lane=Lane.PROTECTION, costs={"place": 1}, commands=True)
    budget.settle(await budget.acquire(stop))
    assert budget.blocked_until_ms < clock.now_ms()
