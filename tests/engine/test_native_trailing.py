"""The venue's own trailing order beside the stop: one per position; ours to do where the venue will not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, SignalId
from core.domain.money import Quantity
from core.domain.order import OrderStatus, OrderType, TriggerReference
from core.domain.signal import Side, Signal
from core.engine.bookkeeping import Bookkeeper
from core.engine.native_trailing import LOOK_SECONDS, MOST_LOST, NativeTrailing
from core.engine.ports import About, VenueTraits
from tests.builders import ACCOUNT, BTC, a_signal, exit_policy, trailing_rules
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.engine.test_attached_stops import BYBIT_LIKE, OKX_LIKE
from tests.fakes.scripted_venue import Resting

S = OrderStatus
PLAIN = VenueTraits(native_trailing=True)
EVERY_KIND = pytest.mark.parametrize(
    "traits",
    [PLAIN, replace(BYBIT_LIKE, native_trailing=True), replace(OKX_LIKE, native_trailing=True)],
    ids=["own stops", "whole position", "by quantity"],
)


@dataclass(frozen=True)
class Trailed:
    """A bench whose venue trails."""

    bench: Bench
    native: NativeTrailing

    def resting(self) -> list[Resting]:
        return [o for o in self.bench.venue.orders.values() if o.intent.leg is Leg.TRAIL and o.status is S.ACCEPTED]

    def sent(self) -> int:
        return len(self.bench.venue.only(Leg.TRAIL))

    async def shrunk_to(self, amount: str) -> None:
        bench = self.bench
        bench.venue.positions_held[BTC] = Decimal(amount)
        bench.orders.put_position(replace(bench.position(), quantity=Quantity(Decimal(amount))))
        await bench.settle(1)


def native_of(bench: Bench) -> NativeTrailing:
    def reference(instrument: object, _kind: TriggerReference) -> Decimal | None:
        return bench.venue.price if instrument == BTC else None

    return NativeTrailing(
        rules=exit_policy(trailing=trailing_rules()).rules,
        manages_external=False,
        accounts={BINANCE: ACCOUNT},
        orders=bench.orders,
        protection=bench.protection,
        risk=bench.risk,
        instruments=bench.instruments,
        reference=reference,
        working_type=TriggerReference.MARK_PRICE,
        traits=lambda _venue: bench.venue.traits,
        books=Bookkeeper(journal=bench.journal, audit=bench.audit, clock=bench.clock, default_stop_percent=Decimal(2)),
        notifier=bench.notifier,
    )


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[NativeTrailing]:
    native = native_of(bench)
    bench.orders.listen(native.on_events)
    task = asyncio.create_task(native.run())
    try:
        yield native
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def a_trailed(
    traits: VenueTraits = PLAIN, *, signal: Signal | None = None, latency: float = 0.05
) -> AsyncIterator[Trailed]:
    """A position entered at 100, its stop 2 % away, 1.5 % activation, 0.5 % callback."""
    async with a_bench(latency=latency, exits=exit_policy(trailing=trailing_rules())) as bench:
        bench.venue.traits = traits
        async with running(bench) as native:
            trailed = Trailed(bench, native)
            bench.exits._trailed_by_venue = native.trails
            await bench.wave(signal or a_signal("s"))
            await bench.settle(1)
            yield trailed


@EVERY_KIND
@pytest.mark.parametrize("side", list(Side))
async def test_beside_a_confirmed_stop_rests_one_trailing_order_of_the_positions_quantity(
    traits: VenueTraits, side: Side
) -> None:
    async with a_trailed(traits, signal=a_signal("s", side=side)) as trailed:
        bench = trailed.bench
        (trail,) = trailed.resting()
        intent, position = trail.intent, bench.position()
        assert (intent.type, intent.reduce_only) == (OrderType.TRAILING_STOP, True)
        assert (intent.side, intent.quantity) == (side.opposite, position.quantity)
        assert intent.trigger_price == (Decimal("101.5") if side is Side.BUY else Decimal("98.5"))
        assert intent.trailing_callback_percent == Decimal("0.5")
        assert len(bench.venue.working_stops()) == 1
        assert bench.protection.all_covered()
        await bench.settle(60)
        assert trailed.sent() == 1, "looked at again and again, and left alone"
        assert not bench.venue.cancelled


async def test_the_trailing_order_waits_for_the_confirmed_stop() -> None:
    async with a_bench() as bench:
        bench.venue.traits = PLAIN
        bench.venue.script(Leg.STOP, bench.venue.lose_request)
        async with running(bench):
            bench.waves.handle(bench.batch(a_signal("s")))
            await bench.settle(0.2)
            assert bench.state.positions()
            assert not bench.protection.all_covered()
            assert not bench.venue.only(Leg.TRAIL)
            await bench.until(bench.protection.all_covered)
            await bench.until(lambda: bool(bench.venue.only(Leg.TRAIL)))


async def test_what_the_signal_asked_for_goes_before_the_configuration() -> None:
    signal = a_signal("s")
    own = replace(signal.parameters, trailing_activation_percent=Decimal(3), trailing_distance_percent=Decimal("1.25"))
    async with a_trailed(signal=replace(signal, parameters=own)) as trailed:
        (trail,) = trailed.resting()
        assert (trail.intent.trigger_price, trail.intent.trailing_callback_percent) == (103, Decimal("1.25"))


async def test_a_smaller_position_gets_a_new_order_before_the_old_one_goes() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        (old,) = trailed.resting()
        await trailed.shrunk_to("0.4")
        (new,) = trailed.resting()
        assert new.intent.quantity == Decimal("0.4")
        assert old.status is S.CANCELED or old.intent.client_order_id in bench.venue.cancelled
        assert trailed.sent() == 2
        sent_at = bench.venue.sent_at[bench.venue.sent.index(new.intent)]
        assert bench.order(old.intent).venue_time_ms >= sent_at, "the old one went after the new one was there"
        assert trailed.native.trails(bench.position().id)


async def test_a_position_as_a_whole_keeps_its_order_whatever_its_size() -> None:
    async with a_trailed(replace(BYBIT_LIKE, native_trailing=True)) as trailed:
        await trailed.shrunk_to("0.4")
        assert trailed.sent() == 1


async def test_beyond_its_activation_it_follows_at_once() -> None:
    async with a_trailed() as trailed:
        trailed.bench.tick(102)
        await trailed.shrunk_to("0.4")
        (new,) = trailed.resting()
        assert new.intent.trigger_price is None


@EVERY_KIND
async def test_when_it_fires_the_position_is_closed_and_the_stop_goes(traits: VenueTraits) -> None:
    async with a_trailed(traits) as trailed:
        bench = trailed.bench
        (trail,) = trailed.resting()
        bench.venue.price = Decimal(103)
        await bench.venue.fire(trail)
        for stop in bench.venue.working_stops():
            if stop.intent.whole_position:  # goes with its position
                await bench.venue.end(stop, S.CANCELED)
        await bench.settle(5)
        assert not bench.state.positions()
        assert not bench.venue.working_stops()
        assert not bench.venue.only(Leg.FLATTEN)
        assert trailed.sent() == 1


async def test_when_the_stop_fires_the_trailing_order_is_cancelled() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        (stop,) = bench.venue.working_stops()
        await bench.venue.fire(stop)
        await bench.settle(2)
        assert not bench.state.positions()
        assert not trailed.resting()


async def test_one_that_somebody_took_away_is_placed_again_and_not_for_ever() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        for number in range(1, MOST_LOST):
            (trail,) = trailed.resting()
            await bench.venue.end(trail, S.CANCELED)
            await bench.settle(3)
            assert trailed.sent() == number + 1
        (trail,) = trailed.resting()
        await bench.venue.end(trail, S.CANCELED)
        await bench.settle(30)
        assert trailed.sent() == MOST_LOST
        assert not trailed.native.trails(bench.position().id)
        assert len(bench.venue.working_stops()) == 1


async def test_what_the_venue_refuses_is_told_once_and_trailed_by_us() -> None:
    async with a_bench(exits=exit_policy(trailing=trailing_rules())) as bench:
        bench.venue.traits = PLAIN
        bench.venue.always(Leg.TRAIL, bench.venue.reject("-2007"))
        async with running(bench) as native:
            bench.exits._trailed_by_venue = native.trails
            await bench.wave(a_signal("s"))
            await bench.settle(60)
            assert not native.trails(bench.position().id)
            assert len(bench.venue.only(Leg.TRAIL)) == 1
            assert len([m for m in bench.notifier.messages if "trailing order" in str(m)]) == 1
            bench.tick(103)
            await bench.settle(1)
            (stop,) = bench.venue.working_stops()
            assert stop.intent.trigger_price is not None
            assert stop.intent.trigger_price > 102


async def test_while_the_venue_trails_the_stop_is_not_moved_by_us() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        (before,) = bench.venue.working_stops()
        bench.tick(103)
        await bench.settle(1)
        assert bench.venue.working_stops() == [before]


async def test_a_price_that_came_to_the_activation_meanwhile_makes_it_follow_from_the_start() -> None:
    async with a_bench() as bench:
        bench.venue.traits = PLAIN
        bench.venue.script(Leg.TRAIL, bench.venue.reject("-2021", About.WOULD_TRIGGER))
        async with running(bench) as native:
            await bench.wave(a_signal("s"))
            await bench.settle(1)
            first, second = bench.venue.only(Leg.TRAIL)
            assert (first.trigger_price, second.trigger_price) == (Decimal("101.5"), None)
            assert native.trails(bench.position().id)


async def test_one_that_never_left_is_tried_again_later_and_not_at_once() -> None:
    async with a_bench() as bench:
        bench.venue.traits = PLAIN
        bench.venue.always(Leg.TRAIL, bench.venue.reject("", About.UNREACHED))
        async with running(bench) as native:
            await bench.wave(a_signal("s"))
            await bench.settle(LOOK_SECONDS * 4.5)
            assert 3 <= len(bench.venue.only(Leg.TRAIL)) <= 6
            assert native.trails(bench.position().id), "the venue has not judged it"
            bench.venue.always(Leg.TRAIL, bench.venue.behave)
            await bench.until(
                lambda: any(o.intent.leg is Leg.TRAIL and o.status is S.ACCEPTED for o in bench.venue.orders.values())
            )


async def test_after_a_restart_the_one_that_rests_is_kept() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        async with running(bench) as again:
            await bench.settle(20)
            assert trailed.sent() == 1
            assert again.trails(bench.position().id)


async def test_one_whose_answer_is_lost_is_not_sent_twice() -> None:
    async with a_bench(latency=0.05) as bench:
        bench.venue.traits = PLAIN
        bench.venue.tells = True
        bench.venue.script(Leg.TRAIL, bench.venue.lose_answer)
        async with running(bench):
            await bench.wave(a_signal("s"))
            await bench.settle(20)
            assert len(bench.venue.only(Leg.TRAIL)) == 1


async def test_no_trailing_order_is_placed_while_the_position_is_being_closed() -> None:
    async with a_trailed() as trailed:
        bench = trailed.bench
        bench.venue.always(Leg.CLOSE, bench.venue.hang)
        closing = asyncio.create_task(bench.closer.flatten(bench.position().key, "wanted", leg=Leg.CLOSE))
        await bench.settle(0.2)
        (trail,) = trailed.resting()
        await bench.venue.end(trail, S.CANCELED)
        await bench.settle(5)
        assert trailed.sent() == 1
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


async def test_what_somebody_else_opened_keeps_to_its_stop() -> None:
    async with a_trailed() as trailed:
        strange = replace(trailed.bench.position(), signal_id=SignalId(""))
        assert trailed.native._rules_of(strange) is None


async def test_a_venue_without_trailing_orders_is_never_asked() -> None:
    async with a_trailed(VenueTraits()) as trailed:
        assert trailed.sent() == 0
        assert not trailed.native.trails(trailed.bench.position().id)
