"""Looking after venues in trouble: what happens when one is back just as it is about to be asked."""

import asyncio

from core.engine.outages import Outages
from core.engine.ports import Condition, VenueHealth
from tests.engine.bench import BINANCE, a_bench


async def test_a_venue_that_is_back_in_the_very_moment_it_would_be_asked_ends_nothing() -> None:
    async with a_bench() as bench:
        outages = Outages(
            clients=dict(bench.venues),
            risk=bench.risk,
            reconcile=lambda _venue: None,
            notifier=bench.notifier,
            clock=bench.clock,
        )
        outages.on_health(BINANCE, VenueHealth(condition=Condition.DOWN, detail="silence"))
        watch = asyncio.create_task(outages.run())
        await asyncio.sleep(0)  # the question is scheduled, and not asked yet
        outages.on_health(BINANCE, VenueHealth(condition=Condition.UP))
        await bench.settle(5)
        assert outages.serves(BINANCE)
        assert not watch.done()
        watch.cancel()
        await asyncio.wait([watch])
