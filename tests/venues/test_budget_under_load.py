"""The request budget when much is wanted at once, and after the venue said "too fast". Virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from core.venues.binance import facts
from core.venues.request_budget import Charge, Lane, RequestBudget
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop

_ENTRY = Charge(lane=Lane.ENTRY, costs={"orders": 1}, promises={"orders": 1})
_STOP = Charge(lane=Lane.PROTECTION, costs={"orders": 1})
_READ = Charge(lane=Lane.DATA, costs={"weight": 2_000})


def _run(scenario: Callable[[RequestBudget, VirtualClock], Coroutine[Any, Any, None]]) -> None:
    async def on_loop() -> None:
        clock = VirtualClock()
        await scenario(RequestBudget("binance", facts.LIMITS, clock), clock)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(on_loop())


async def _send(budget: RequestBudget, charge: Charge) -> None:
    ticket = await budget.acquire(charge)
    await asyncio.sleep(0.25)
    budget.settle(ticket)


def test_a_thousand_orders_at_once_fill_every_window_and_exceed_none() -> None:
    async def scenario(budget: RequestBudget, clock: VirtualClock) -> None:
        sent: list[int] = []

        async def leg() -> None:
            for charge in (_ENTRY, _STOP):
                ticket = await budget.acquire(charge)
                sent.append(clock.now_ms())
                await asyncio.sleep(0.25)
                budget.settle(ticket)

        await asyncio.gather(*(leg() for _ in range(500)))
        windows = list(Counter(at // 10_000 for at in sent).values())
        assert sum(windows) == 1_000
        assert max(windows) <= 300
        assert min(windows[:-1]) >= 285

    _run(scenario)


def test_a_stop_passes_entries_that_wait() -> None:
    async def scenario(budget: RequestBudget, clock: VirtualClock) -> None:
        entries = [asyncio.ensure_future(_send(budget, _ENTRY)) for _ in range(1_000)]
        await asyncio.sleep(0.01)
        asked = clock.now_ms()
        budget.settle(await budget.acquire(_STOP))
        assert clock.now_ms() == asked
        for entry in entries:
            entry.cancel()
        await asyncio.wait(entries)

    _run(scenario)


def test_a_stop_leaves_when_the_venue_lets_us_again_and_not_later() -> None:
    async def scenario(budget: RequestBudget, clock: VirtualClock) -> None:
        until = clock.now_ms() + 5_000
        budget.block_until(until)
        budget.settle(await budget.acquire(_STOP))
        assert until <= clock.now_ms() <= until + 1

    _run(scenario)


def test_giving_up_waiting_leaves_nothing_behind() -> None:
    async def scenario(budget: RequestBudget, clock: VirtualClock) -> None:
        budget.settle(await budget.acquire(_READ))
        waiting = asyncio.ensure_future(budget.acquire(_READ))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        asked = clock.now_ms()
        budget.settle(await budget.acquire(Charge(lane=Lane.DATA, costs={"weight": 1})))
        assert clock.now_ms() == asked

    _run(scenario)
