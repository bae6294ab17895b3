"""What is less than the venue takes in one order is tried once, listed, and left alone (VAL-19, ORD-15)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.risk import TradingState
from core.domain.standing import Standing
from core.engine.ports import Level
from core.status.line import status_line
from tests.builders import BTC, a_lot, a_signal, an_instrument, quantity
from tests.engine.asked import queries
from tests.engine.bench import Bench, a_bench

COARSE = replace(an_instrument(BTC), market_lot=a_lot(minimum="0.1", step="0.001"))


async def left_with_dust(bench: Bench, amount: str) -> None:
    """A position of which the venue filled less than its own minimum, and that it then refuses to close."""
    bench.venue.partial = [quantity(amount)]
    bench.venue.always(Leg.FLATTEN, bench.venue.reject("-4003"))
    bench.venue.always(Leg.STOP, bench.venue.reject("-4003"))
    bench.waves.handle(bench.batch(a_signal()))
    await bench.settle(60)


@pytest.mark.failure("ORD-15", "VAL-19")
async def test_dust_is_tried_once_then_listed_and_neither_repeated_nor_alarmed() -> None:
    async with a_bench(instruments=[COARSE]) as bench:
        await left_with_dust(bench, "0.05")
        position = bench.position()
        assert position.quantity == Decimal("0.05")
        assert len(bench.venue.only(Leg.FLATTEN)) == 1
        assert not bench.venue.only(Leg.STOP), "no stop that the venue could only refuse"
        assert bench.protection.dust(position.key)
        assert bench.protection.covered(position.key)
        said = [text for level, text in bench.notifier.messages if level is not Level.INFO]
        assert len([text for text in said if "dust" in text]) == 1
        assert not [text for text in said if "cannot be closed" in text]
        await bench.settle(600)
        assert len(bench.venue.only(Leg.FLATTEN)) == 1


async def test_what_shrank_to_dust_shows_as_dust_and_not_by_the_stop_it_once_had() -> None:
    async with a_bench(instruments=[COARSE]) as bench:
        await bench.wave(a_signal())
        position = bench.position()
        assert bench.protection.covered(position.key)
        bench.venue.always(Leg.FLATTEN, bench.venue.reject("-4003"))
        bench.orders.take_over(replace(position, quantity=quantity("0.05")), bench.clock.now_ms())
        await bench.settle(30)
        (row,) = queries(bench).positions()
        assert (row.dust, row.stop) == (True, None)
        assert "1 dust" in status_line(queries(bench).status())


async def test_an_operator_may_try_dust_again_and_the_close_returns() -> None:
    async with a_bench(instruments=[COARSE]) as bench:
        await left_with_dust(bench, "0.05")
        await bench.closer.flatten(bench.position().key, "ordered", leg=Leg.CLOSE)
        assert len(bench.venue.only(Leg.CLOSE)) == 1


async def test_a_venue_that_takes_dust_leaves_nothing() -> None:
    async with a_bench(instruments=[COARSE]) as bench:
        bench.venue.partial = [quantity("0.05")]
        bench.waves.handle(bench.batch(a_signal()))
        await bench.settle(60)
        assert not bench.state.positions()
        assert not [text for _, text in bench.notifier.messages if "dust" in text]


async def test_a_panic_is_over_when_only_dust_is_left_and_does_not_repeat_its_close_each_second() -> None:
    async with a_bench(instruments=[COARSE]) as bench:
        bench.venue.always(Leg.CLOSE, bench.venue.reject("-4003"))
        await left_with_dust(bench, "0.05")
        bench.risk.states.put(Standing(state=TradingState.HALTED, reason="panic", author="me", flatten=True))
        await bench.settle(60)
        assert len(bench.venue.only(Leg.CLOSE)) <= 1
        assert not bench.risk.states.said().flatten
