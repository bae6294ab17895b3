"""A stop that was moved is told of, and how long the longest stretch without one was."""

from decimal import Decimal

from msgspec.structs import replace

from core.domain.alerts import AlertKind
from core.domain.ids import Leg
from core.domain.money import Price
from tests.builders import BTC_LONG, a_signal
from tests.engine.bench import a_bench


async def test_a_moved_stop_is_told_with_both_levels_and_a_confirmed_one_is_not() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal())
        position = bench.position()
        (stop,) = [o for o in bench.state.orders_of(position.id, Leg.STOP) if not o.ended]
        protections = bench.protection.protections
        protections.record(position, stop, None)
        assert AlertKind.STOP_MOVED not in bench.notifier.kinds
        protections.record(position, replace(stop, level=Price(Decimal("99.5"))), None)
        assert bench.notifier.kinds[-1] is AlertKind.STOP_MOVED
        assert bench.notifier.messages[-1][1] == f"{BTC_LONG}: stop moved from 98 to 99.5"


async def test_the_longest_stretch_without_a_stop_is_told_once() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal())
        position = bench.position()
        (stop,) = [o for o in bench.state.orders_of(position.id, Leg.STOP) if not o.ended]
        protections = bench.protection.protections
        protections.take_longest()
        protections.record(position, stop, stop.venue_time_ms - 700)
        protections.record(position, stop, stop.venue_time_ms - 300)
        assert protections.take_longest() == 700
        assert protections.take_longest() == 0
