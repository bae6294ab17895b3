"""A host clock that was ahead and is set right must not freeze the request budget: stops have to go out."""

from core.venues.request_budget import Charge, Lane
from tests.venues.test_request_budget import CHARGES, ORDERS, Counting, _on_virtual_time

HOUR_MS = 3_600_000


def test_windows_begin_anew_when_the_reckoned_clock_is_set_back() -> None:
    async def story() -> None:
        venue = Counting(clock_ahead_ms=HOUR_MS)
        for _ in range(ORDERS.capacity):
            await venue.send(CHARGES["stop"], 0)
        venue._ahead = 0
        for _ in range(3 * ORDERS.capacity):
            assert await venue.send(CHARGES["stop"], 0) <= ORDERS.window_ms / 1000 + 1
        assert venue.worst(ORDERS) <= ORDERS.capacity

    _on_virtual_time(story())


def test_a_clock_that_steps_back_a_little_frees_no_room_twice() -> None:
    async def story() -> None:
        venue = Counting()
        await venue.send(CHARGES["stop"], 0)  # the first window that is used ends somewhere ahead
        left = ORDERS.window_ms - venue.venue_ms() % ORDERS.window_ms
        venue._ahead = left + 100
        for _ in range(ORDERS.capacity):
            await venue.budget.acquire(CHARGES["stop"])
        venue._ahead = left - 100
        assert venue.budget._shortage(CHARGES["stop"], venue.budget._now()) is not None

    _on_virtual_time(story())


def test_promises_of_stops_run_out_though_the_clock_was_set_back() -> None:
    async def story() -> None:
        venue, host = Counting(), [HOUR_MS]
        wall = venue.clock.now_ms
        venue.clock.now_ms = lambda: wall() + host[0]  # type: ignore[method-assign]
        for _ in range(2):
            await venue.send(Charge(lane=Lane.ENTRY, costs={"orders": 1}, promises={"orders": 13}), 0)
        host[0] = 0
        waited = [await venue.send(CHARGES["close"], 0) for _ in range(6)]
        assert max(waited) <= 2 * ORDERS.window_ms / 1000

    _on_virtual_time(story())
