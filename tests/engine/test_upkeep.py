"""Upkeep: rules, clocks and connections are kept fresh, and a change of rules reaches stops (VAL-20, VAL-21)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.instrument import Instrument
from core.domain.wave import TurnedDown
from core.engine.ports import About
from core.engine.upkeep import DOUBT_SECONDS, WARM_SECONDS, Upkeep, UpkeepRules
from core.errors import Unreachable
from tests.builders import BTC, ETH, a_signal, an_instrument, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench


@asynccontextmanager
async def an_upkeep(bench: Bench, *, serves: bool = True, refresh: float = 3_600.0) -> AsyncIterator[Upkeep]:
    """Running, wired as the composition root wires it."""
    instruments: dict[InstrumentId, Instrument] = bench.protection._instruments  # type: ignore[assignment]

    def learn(venue: VenueName) -> None:
        for instrument in bench.venues[venue].instruments.values():
            instruments[instrument.id] = instrument

    upkeep = Upkeep(
        clients=dict(bench.venues),
        markets=dict(bench.markets),
        state=bench.state,
        protection=bench.protection,
        learn=learn,
        serves=lambda _venue: serves,
        rules=UpkeepRules(refresh_seconds=refresh, connections=7),
        notifier=bench.notifier,
        clock=bench.clock,
    )
    bench.orders.on_outcome(upkeep.on_outcome)
    bench.protection.on_stale_rules(upkeep.renew)
    task = asyncio.create_task(upkeep.run())
    await asyncio.sleep(0)
    try:
        yield upkeep
    finally:
        task.cancel()
        await asyncio.wait([task])


def venue_changes(bench: Bench, instrument: Instrument) -> None:
    """From the next load on the venue lists it like this."""
    venue = bench.venues[instrument.id.venue]

    async def load() -> None:
        venue.reads.append("instruments")
        await asyncio.sleep(0.2)
        venue._instruments = {**venue._instruments, instrument.id.symbol: instrument}

    venue.load_instruments = load  # type: ignore[method-assign]


async def test_rules_are_loaded_again_and_again_and_connections_never_grow_cold() -> None:
    async with a_bench() as bench, an_upkeep(bench, refresh=300.0):
        await asyncio.sleep(601)
        assert Counter(bench.venue.reads)["instruments"] == 2
        assert bench.venue.warmed == [7] * int(601 // WARM_SECONDS)


async def test_a_venue_that_does_not_serve_is_left_in_peace() -> None:
    async with a_bench(measures_clock=False) as bench, an_upkeep(bench, serves=False, refresh=300.0):
        await asyncio.sleep(601)
        assert not {"clock", "instruments"} & set(bench.venue.reads)
        assert bench.venue.warmed == []


async def test_a_doubted_clock_is_measured_at_once_and_not_again_while_the_measurement_is_new() -> None:
    async with a_bench() as bench, an_upkeep(bench) as upkeep:
        before = Counter(bench.venue.reads)["clock"]
        for _ in range(int(DOUBT_SECONDS) - 1):
            upkeep.doubt_clock(BINANCE)
            await asyncio.sleep(1)
        assert Counter(bench.venue.reads)["clock"] == before + 1
        await asyncio.sleep(2)
        upkeep.doubt_clock(BINANCE)
        await asyncio.sleep(1)
        assert Counter(bench.venue.reads)["clock"] == before + 2


@pytest.mark.failure("VAL-20")
async def test_a_stop_refused_by_other_rules_is_sent_by_the_new_ones() -> None:
    async with a_bench(instruments=[an_instrument(BTC, tick="0.1")]) as bench, an_upkeep(bench):
        venue_changes(bench, an_instrument(BTC, tick="0.5"))
        bench.venue.price = bench.market.default = Decimal("101.3")
        bench.venue.script(Leg.STOP, bench.venue.reject("-4014", About.STALE_RULES))
        await bench.enter(an_intent())
        await bench.settle(1)
        refused, taken = bench.sent_stops()
        assert refused.trigger_price is not None
        assert refused.trigger_price == Decimal("99.3")
        assert taken.trigger_price == Decimal("99.5")
        assert taken.client_order_id != refused.client_order_id, "a new attempt"
        assert Counter(bench.venue.reads)["instruments"] == 1
        assert bench.protection.all_covered()


@pytest.mark.failure("VAL-20")
async def test_refusals_that_go_on_load_the_rules_once_and_end_in_flattening() -> None:
    async with a_bench() as bench, an_upkeep(bench):
        bench.venue.always(Leg.STOP, bench.venue.reject("-4014", About.STALE_RULES))
        await bench.enter(an_intent())
        await bench.settle(5)
        assert Counter(bench.venue.reads)["instruments"] == 1
        assert not bench.state.positions()


@pytest.mark.failure("VAL-20")
async def test_a_resting_stop_off_the_new_tick_is_replaced_and_another_one_left() -> None:
    listed = [an_instrument(BTC, tick="0.1"), an_instrument(ETH, tick="0.1")]
    async with a_bench(instruments=listed) as bench, an_upkeep(bench) as upkeep:
        bench.venue.price = Decimal("100.3")
        await bench.enter(an_intent())
        await bench.enter(an_intent("s2", instrument=ETH))
        await bench.settle(1)
        assert len(bench.sent_stops()) == 2
        venue_changes(bench, an_instrument(BTC, tick="1"))
        await upkeep.renew(VenueName.BINANCE)
        await bench.settle(1)
        *_, newest = bench.sent_stops()
        assert newest.instrument == BTC
        assert newest.trigger_price == 99
        assert len(bench.sent_stops()) == 3
        assert len(bench.venue.working_stops()) == 2
        assert bench.protection.all_covered()


@pytest.mark.failure("VAL-21")
async def test_a_symbol_that_stops_trading_with_a_position_alerts_once_and_can_be_closed() -> None:
    async with a_bench() as bench, an_upkeep(bench) as upkeep:
        await bench.enter(an_intent())
        await bench.settle(1)
        halted = replace(an_instrument(BTC), tradable=False, status="HALT")
        venue_changes(bench, halted)
        for _ in range(3):
            await upkeep.renew(VenueName.BINANCE)
            await asyncio.sleep(60)
        (alert,) = bench.notifier.critical()
        assert "HALT" in alert
        assert bench.protection.all_covered()
        sent = len(bench.venue.sent)
        await bench.closer.flatten(bench.position().key, "test")
        assert len(bench.venue.sent) == sent + 1
        assert not bench.state.positions()
        refused = bench.desk.validate(a_signal(instrument=BTC))
        assert isinstance(refused, TurnedDown)
        assert not isinstance(bench.desk.validate(a_signal(instrument=ETH)), TurnedDown)


async def test_rules_that_cannot_be_loaded_leave_the_old_ones() -> None:
    async with a_bench() as bench, an_upkeep(bench) as upkeep:
        bench.venue.error = Unreachable("binance", "gone")
        await upkeep.renew(VenueName.BINANCE)
        assert BTC.symbol in bench.venue.instruments
        assert bench.notifier.messages == []


async def test_a_refusal_that_asks_for_new_rules_after_upkeep_has_ended_breaks_nothing() -> None:
    async with a_bench() as bench:
        async with an_upkeep(bench) as upkeep:
            pass
        upkeep.ask(BINANCE)
        await upkeep.renew(BINANCE)
        assert "instruments" not in bench.venue.reads
