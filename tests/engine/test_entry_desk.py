"""Whose signal opened a position: what a strategy's exits may speak about."""

from msgspec.structs import replace

from core.domain.ids import Leg, PositionId, SignalId, client_order_id
from tests.builders import ACCOUNT, a_position, a_signal
from tests.engine.bench import a_bench


async def test_a_position_is_of_the_source_whose_signal_opened_it_and_of_no_other() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal("s1"))
        (position,) = bench.state.positions()
        assert bench.desk.opened("test", position)
        assert not bench.desk.opened("another", position)
        assert not bench.desk.opened("test", replace(position, signal_id=SignalId("s2")))


async def test_an_entry_that_was_repeated_under_new_rules_is_known_and_a_position_from_elsewhere_is_nobodys() -> None:
    async with a_bench() as bench:
        again = client_order_id(ACCOUNT, "test/s1", Leg.ENTRY, 1)
        assert bench.desk.opened("test", replace(a_position(), id=PositionId(again), signal_id=SignalId("s1")))
        adopted = replace(a_position(), id=PositionId("adopted"), signal_id=SignalId(""))
        assert not bench.desk.opened("test", adopted)
        assert not bench.desk.opened("", adopted)
