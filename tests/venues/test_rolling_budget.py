"""The budget against venues that count in windows which roll along: per endpoint, per instrument, per account."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import RateLimited
from core.venues.rate_counters import Limit, RollingCounter
from core.venues.request_budget import Charge, Lane, RequestBudget
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop

LEFT, CAPACITY = "x-left", "x-capacity"
PER_SECOND = Limit(
    bucket="create", window_ms=1_000, capacity=10, rolling=True, left_header=LEFT, capacity_header=CAPACITY
)
STOPS = Limit(bucket="stop", window_ms=1_000, capacity=10, rolling=True)
ADDRESS = Limit(bucket="address", window_ms=5_000, capacity=60, rolling=True)
PLACE = Limit(bucket="place", window_ms=2_000, capacity=6, rolling=True)
ACCOUNT = Limit(bucket="account", window_ms=2_000, capacity=10, rolling=True)
LIMITS = (PER_SECOND, STOPS, ADDRESS, PLACE, ACCOUNT)

KINDS: Mapping[str, Charge] = {
    "entry": Charge(lane=Lane.ENTRY, costs={"create": 1, "address": 1}, commands=True),
    "close": Charge(lane=Lane.CLOSE, costs={"create": 1, "address": 1}, commands=True),
    "stop": Charge(lane=Lane.PROTECTION, costs={"stop": 1, "address": 1}, commands=True),
    "read": Charge(lane=Lane.DATA, costs={"address": 1}),
    "btc": Charge(lane=Lane.ENTRY, costs={"place:BTC": 1, "account": 1}, commands=True),
    "eth": Charge(lane=Lane.ENTRY, costs={"place:ETH": 1, "account": 1}, commands=True),
    "both": Charge(lane=Lane.ENTRY, costs={"place:BTC": 2, "place:ETH": 1, "account": 3}, commands=True),
}


class Strict:
    """A venue that looks back from every arrival over the whole window."""

    def __init__(self, limits: Sequence[Limit] = LIMITS) -> None:
        self.clock = VirtualClock()
        self._limits = {limit.bucket: limit for limit in limits}
        self.budget = RequestBudget("venue", limits, self.clock)
        self.arrived: dict[str, list[float]] = defaultdict(list)

    async def send(self, charge: Charge, up: float, down: float = 0.0, *, tells: bool = True) -> float:
        """The result is how long leave took."""
        asked = self.clock.monotonic()
        ticket = await self.budget.acquire(charge)
        waited = self.clock.monotonic() - asked
        await asyncio.sleep(up)
        for bucket, cost in charge.costs.items():
            self.arrived[bucket] += [self.clock.monotonic()] * cost
        headers = {LEFT: str(self._left(charge.endpoint)), CAPACITY: str(self._limit(charge.endpoint).capacity)}
        await asyncio.sleep(down)
        self.budget.settle(ticket, headers if tells else None)
        return waited

    def refusals(self) -> list[str]:
        """Every arrival that was one too many."""
        bad = []
        for bucket, times in self.arrived.items():
            limit, ordered = self._limit(bucket), sorted(times)
            for number, at in enumerate(ordered):
                first = number - limit.capacity
                if first >= 0 and ordered[first] > at - limit.window_ms / 1000:
                    bad.append(f"{bucket} at {at}")
        return bad

    def _limit(self, bucket: str) -> Limit:
        return self._limits[bucket.partition(":")[0]]

    def _left(self, bucket: str) -> int:
        limit, now = self._limit(bucket), self.clock.monotonic()
        recent = [at for at in self.arrived[bucket] if at > now - limit.window_ms / 1000]
        return max(limit.capacity - len(recent), 0)


def on_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


PLANS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.floats(0, 6),  # when
        st.floats(0, 2),  # to the venue
        st.floats(0, 2),  # and back
        st.booleans(),  # the answer is lost
    ),
    max_size=100,
)


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_no_rolling_window_is_ever_exceeded_however_requests_travel(
    plan: list[tuple[str, float, float, float, bool]],
) -> None:
    async def story() -> None:
        venue = Strict()

        async def one(kind: str, when: float, up: float, down: float, lost: bool) -> None:
            await asyncio.sleep(when)
            await venue.send(KINDS[kind], up, down, tells=not lost)

        async with asyncio.TaskGroup() as tasks:
            for row in plan:
                tasks.create_task(one(*row))
        assert venue.refusals() == []
        assert sum(map(len, venue.arrived.values())) == sum(sum(KINDS[row[0]].costs.values()) for row in plan)

    on_virtual_time(story())


@pytest.mark.parametrize("endpoint", ["create", "place:BTC"])
def test_a_flood_uses_what_the_venue_allows_and_is_never_refused(endpoint: str) -> None:
    """Entries, and a close for each, as in a burst of whole lives; 10 ms each way (W6)."""

    async def story() -> None:
        venue = Strict()
        entry = Charge(lane=Lane.ENTRY, costs={endpoint: 1}, commands=True)
        close = Charge(lane=Lane.CLOSE, costs={endpoint: 1}, commands=True)

        async def life() -> None:
            await venue.send(entry, 0.01, 0.01)
            await venue.send(close, 0.01, 0.01)

        await asyncio.gather(*(life() for _ in range(100)))
        assert venue.refusals() == []
        limit = venue._limit(endpoint)
        times = sorted(venue.arrived[endpoint])
        lasted = times[-1] - times[0]
        allowed = limit.capacity * (lasted * 1000 / limit.window_ms + 1)
        assert len(times) / allowed >= 0.95

    on_virtual_time(story())


def test_a_stop_leaves_at_once_past_a_thousand_entries_that_wait() -> None:
    async def story() -> None:
        venue = Strict((PER_SECOND, STOPS, Limit(bucket="address", window_ms=5_000, capacity=600, rolling=True)))
        entries = [asyncio.ensure_future(venue.send(KINDS["entry"], 0.01, 0.01)) for _ in range(1_000)]
        await asyncio.sleep(5.3)
        assert await venue.send(KINDS["stop"], 0.01, 0.01) <= 0.2
        assert await venue.send(KINDS["close"], 0.01, 0.01) <= 0.2
        assert venue.refusals() == []
        for entry in entries:
            entry.cancel()
        await asyncio.wait(entries)

    on_virtual_time(story())


async def test_who_waits_for_one_instrument_holds_up_no_other() -> None:
    venue = Strict()
    waiting = [asyncio.ensure_future(venue.send(KINDS["btc"], 0.1)) for _ in range(8)]
    await asyncio.sleep(0)
    assert await venue.send(KINDS["eth"], 0.1) == 0
    assert max(await asyncio.gather(*waiting)) > 1.9


async def test_what_is_short_for_a_stop_is_not_given_to_an_entry() -> None:
    limits = (Limit(bucket="all", window_ms=1_000, capacity=2, rolling=True),)
    venue = Strict(limits)
    stop = Charge(lane=Lane.PROTECTION, costs={"all": 1}, commands=True)
    entry = Charge(lane=Lane.ENTRY, costs={"all": 1}, commands=True)
    await asyncio.gather(venue.send(stop, 0), venue.send(stop, 0))
    order: list[str] = []

    async def sent(name: str, charge: Charge) -> None:
        await venue.send(charge, 0)
        order.append(name)

    await asyncio.gather(sent("entry", entry), sent("stop", stop))
    assert order == ["stop", "entry"]


async def test_an_order_sets_aside_what_its_stop_will_need_on_its_own_bucket() -> None:
    algo = Limit(bucket="algo", window_ms=2_000, capacity=2, rolling=True)
    venue = Strict((PLACE, algo))
    entry = Charge(lane=Lane.ENTRY, costs={"place:BTC": 1}, promises={"algo:BTC": 1}, commands=True)
    stop = Charge(lane=Lane.PROTECTION, costs={"algo:BTC": 1}, commands=True)
    cancel = Charge(lane=Lane.CANCEL, costs={"algo:BTC": 1}, commands=True)
    await venue.send(entry, 0)
    assert await venue.send(cancel, 0) == 0
    waiting = asyncio.ensure_future(venue.send(cancel, 0))
    assert await venue.send(stop, 0) == 0, "the last one is promised to it"
    assert await waiting > 1.9


# --- what the venue tells -----------------------------------------------------------------------------------------


@pytest.mark.failure("NET-04")
async def test_what_others_with_this_account_used_is_taken_from_the_headers() -> None:
    venue = Strict()
    venue.arrived["create"] += [venue.clock.monotonic()] * 7
    assert await venue.send(KINDS["entry"], 0) == 0
    assert await venue.send(KINDS["entry"], 0) == 0, "7 of others and 1 of ours leave one for an entry"
    assert await venue.send(KINDS["entry"], 0) > 0.9
    assert venue.refusals() == []


async def test_an_account_that_may_do_more_does_more() -> None:
    venue = Strict()
    venue.budget.settle(await venue.budget.acquire(KINDS["entry"]), {CAPACITY: "40", LEFT: "39"})
    waits = [await venue.send(KINDS["entry"], 0, tells=False) for _ in range(30)]
    assert max(waits) == 0


@pytest.mark.parametrize("odd", ["", "-1", "many"])
async def test_odd_headers_change_nothing(odd: str) -> None:
    venue = Strict()
    venue.budget.settle(await venue.budget.acquire(KINDS["entry"]), {CAPACITY: odd, LEFT: odd})
    assert venue.budget.figures().used["create/1000ms"] == 1


@pytest.mark.failure("NET-02")
async def test_a_limit_on_one_bucket_silences_exactly_that_for_exactly_as_long() -> None:
    venue = Strict()
    started = venue.clock.monotonic()
    venue.budget.block("create", venue.clock.now_ms() + 700)
    assert await venue.send(KINDS["stop"], 0) == 0
    assert await venue.send(KINDS["read"], 0) == 0
    assert 0.7 <= await venue.send(KINDS["close"], 0) <= 0.702
    assert await venue.send(KINDS["entry"], 0) == 0, "no ramp: only a silence of everything is followed by one"
    assert venue.clock.monotonic() - started <= 0.702


async def test_a_block_by_the_family_holds_for_every_instrument() -> None:
    venue = Strict()
    venue.budget.block("place", venue.clock.now_ms() + 500)
    waited = await asyncio.gather(venue.send(KINDS["btc"], 0), venue.send(KINDS["eth"], 0))
    assert min(waited) >= 0.5
    venue.budget.block("place:BTC", venue.clock.now_ms() + 500)
    assert await venue.send(KINDS["eth"], 0) == 0
    assert await venue.send(KINDS["btc"], 0) >= 0.5


async def test_a_request_too_large_for_any_window_is_refused_at_once() -> None:
    venue = Strict()
    with pytest.raises(RateLimited):
        await venue.budget.acquire(Charge(lane=Lane.ENTRY, costs={"create": 11}, commands=True))
    assert await venue.send(KINDS["entry"], 0) == 0


async def test_a_batch_as_large_as_a_window_goes_when_the_window_is_empty() -> None:
    venue = Strict()
    batch = Charge(lane=Lane.ENTRY, costs={"create": 10}, commands=True)
    assert [round(await venue.send(batch, 0), 1) for _ in range(3)] == [0, 1, 1]
    assert venue.refusals() == []


async def test_requests_that_hang_do_not_keep_a_close_from_leaving() -> None:
    venue = Strict()
    hanging = [asyncio.ensure_future(venue.send(KINDS["close"], 60)) for _ in range(10)]
    await asyncio.sleep(0)
    assert 5 <= await venue.send(KINDS["close"], 0) <= 6.1
    for request in hanging:
        request.cancel()
    await asyncio.wait(hanging)


async def test_what_is_given_back_is_free_again() -> None:
    venue = Strict()
    for _ in range(50):
        venue.budget.give_back(await venue.budget.acquire(KINDS["entry"]))
    assert venue.budget.figures().used["create/1000ms"] == 0


async def test_instruments_that_are_not_traded_any_more_are_forgotten() -> None:
    venue = Strict((PLACE,))
    for number in range(2_000):
        charge = Charge(lane=Lane.ENTRY, costs={f"place:C{number}": 1}, commands=True)
        venue.budget.settle(await venue.budget.acquire(charge))
        await asyncio.sleep(0.1)
    assert len(venue.budget.figures().used) <= 300


@pytest.mark.parametrize("instruments", [200, 600])
async def test_the_first_request_for_an_instrument_looks_at_few_counters_however_many_there_are(
    instruments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = Strict((PLACE,))
    for number in range(instruments):
        charge = Charge(lane=Lane.PROTECTION, costs={f"place:C{number}": 1}, commands=True)
        venue.budget.settle(await venue.budget.acquire(charge))
    await asyncio.sleep(10)
    looks, roll = [], RollingCounter.roll

    def counted(counter: RollingCounter, venue_ms: int, now: float) -> None:
        looks.append(counter)
        roll(counter, venue_ms, now)

    monkeypatch.setattr(RollingCounter, "roll", counted)
    await venue.budget.acquire(KINDS["btc"])
    assert len(looks) <= 6


async def test_an_order_given_up_while_it_waits_takes_nothing_with_it() -> None:
    venue = Strict()
    waiting = [asyncio.ensure_future(venue.send(KINDS["entry"], 0)) for _ in range(30)]
    await asyncio.sleep(0)
    for task in waiting[9:]:
        task.cancel()
    await asyncio.wait(waiting)
    await asyncio.sleep(1.1)
    assert [await venue.send(KINDS["entry"], 0) for _ in range(9)] == [0] * 9
