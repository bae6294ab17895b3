"""A venue that was late at the start and is not open yet: what concerns it waits, and everything else goes on."""

import asyncio

from core.domain.ids import Leg
from core.domain.order import OrderStatus
from core.engine.ports import VenueClient
from tests.builders import BTC, BTC_LONG, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench


def gone(bench: Bench) -> VenueClient:
    """As if the venue had not been opened: the engine holds a position there and has no client for it."""
    client = bench.orders._clients[BINANCE]
    del bench.orders._clients[BINANCE]  # type: ignore[attr-defined]  # the one mapping all of the engine shares
    return client


def back(bench: Bench, client: VenueClient) -> None:
    bench.orders._clients[BINANCE] = client  # type: ignore[index]


async def test_a_cancel_there_is_given_up_without_a_word_to_anybody() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        (stop,) = bench.state.live_orders(BTC)
        gone(bench)
        await bench.orders.cancel(stop)
        assert bench.state.order(stop.client_order_id) == stop
        assert not bench.venue.cancelled


async def test_a_close_there_is_tried_again_until_the_venue_is_open() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle()
        client = gone(bench)
        closing = asyncio.create_task(bench.closer.flatten(BTC_LONG, "test"))
        await bench.settle(20)
        assert not closing.done()
        assert bench.position().quantity > 0
        back(bench, client)
        await closing
        assert bench.state.position(BTC_LONG) is None


async def test_an_order_of_unknown_fate_there_is_asked_for_when_the_venue_is_open() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        intent = an_intent()
        await bench.enter(intent)
        client = gone(bench)
        await bench.settle(8)
        assert bench.order(intent).status is OrderStatus.IN_FLIGHT
        back(bench, client)
        await bench.settle(30)
        assert bench.order(intent).status is not OrderStatus.IN_FLIGHT


async def test_a_reading_that_was_asked_for_there_is_left_to_its_opening() -> None:
    async with a_bench() as bench:
        client = gone(bench)
        running = asyncio.create_task(bench.reconciler.run())
        bench.reconciler.ask(BINANCE)
        await bench.settle(10)
        assert not running.done()
        back(bench, client)
        bench.reconciler.ask(BINANCE)
        await bench.settle(10)
        assert BINANCE in bench.reconciler.last_ms
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
