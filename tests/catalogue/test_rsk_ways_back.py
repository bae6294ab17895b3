"""From every blocked state a way leads back to trading, also over a restart (RSK-03)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest

from core.domain.day import day_of, end_of
from core.domain.ids import Leg, VenueName
from core.domain.verdict import Reason
from core.engine.ports import About
from core.errors import Unreachable
from tests.builders import (
    BTC,
    ETH,
    a_balance_report,
    an_instrument,
    an_intent,
    result_rules,
)
from tests.catalogue.risk import (
    RULES,
    a_loss,
    commands,
    denied,
    kept,
    lose_the_day,
)
from tests.engine.bench import BINANCE, Bench, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")


# --- RSK-03, and what must survive a restart -------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocked:
    """A way into a blocked state, the way out of it, and whether a restart keeps it."""

    into: Callable[[Bench], Awaitable[None]]
    out: Callable[[Bench], Awaitable[None]]
    reason: Reason
    kept: bool = True


async def three_stops(bench: Bench) -> None:
    for number in range(3):
        await a_loss(bench, f"stop{number}")
    bench.venue.price = Decimal(100)


async def fall(bench: Bench) -> None:
    bench.risk.ledger.rules = result_rules(max_drawdown_percent=1)
    bench.risk.ledger._set_day(bench.risk.ledger.book.day.funded(Decimal(-101)))
    await bench.settle(2)


def refusing(about: About, times: int = 1) -> Callable[[Bench], Awaitable[None]]:
    async def into(bench: Bench) -> None:
        bench.venue.script(Leg.ENTRY, *[bench.venue.reject(about=about)] * times)
        for number in range(times):
            await bench.enter(an_intent(f"refused{number}"))
            await bench.settle()

    return into


async def run_short(bench: Bench) -> None:
    bench.venue.error = Unreachable(BINANCE, "no route")
    bench.orders.apply([a_balance_report(1, venue_time_ms=bench.clock.now_ms())])
    assert denied(bench, "short") is Reason.BALANCE_TOO_LOW


async def refill(bench: Bench) -> None:
    bench.orders.apply([a_balance_report(venue_time_ms=bench.clock.now_ms())])


async def _no_look(pause: float = 0.0) -> None:
    del pause


async def until_midnight(bench: Bench) -> None:
    """Nothing but the entry itself looks at the clock: the unlock must come before the test it lifts."""
    bench.risk.ledger.tick = _no_look  # type: ignore[method-assign]
    left_ms = end_of(day_of(bench.clock.now_ms())) - bench.clock.now_ms()
    await asyncio.sleep((left_ms - 500) / 1000)
    assert denied(bench, "just before") is not None
    await asyncio.sleep(0.6)


async def resume(bench: Bench) -> None:
    commands(bench).resume("me")


def ordered(name: str, venue: VenueName | None = None) -> Callable[[Bench], Awaitable[None]]:
    async def into(bench: Bench) -> None:
        await getattr(commands(bench), name)("me", venue)

    return into


def later(seconds: float) -> Callable[[Bench], Awaitable[None]]:
    async def out(bench: Bench) -> None:
        await asyncio.sleep(seconds)

    return out


async def kill(bench: Bench) -> None:
    bench.risk.states.set_killed(True)


async def unkill(bench: Bench) -> None:
    bench.risk.states.set_killed(False)


async def resume_venue(bench: Bench) -> None:
    commands(bench).resume("me", BINANCE)


BLOCKED = {
    "day loss, until midnight": Blocked(lose_the_day, until_midnight, Reason.DAY_LOSS),
    "day loss, until resumed": Blocked(lose_the_day, resume, Reason.DAY_LOSS),
    "streak, until midnight": Blocked(three_stops, until_midnight, Reason.STOP_STREAK),
    "streak, until resumed": Blocked(three_stops, resume, Reason.STOP_STREAK),
    "drawdown": Blocked(fall, resume, Reason.DRAWDOWN),
    "errors": Blocked(refusing(About.UNREACHED, 5), later(30), Reason.VENUE_ERRORS),
    "errors, resumed": Blocked(refusing(About.UNREACHED, 5), resume, Reason.VENUE_ERRORS),
    "margin": Blocked(refusing(About.INSUFFICIENT_MARGIN), later(60), Reason.MARGIN_PAUSE),
    "restriction": Blocked(refusing(About.ACCOUNT_RESTRICTED), later(60), Reason.ACCOUNT_RESTRICTED),
    "shortage": Blocked(run_short, refill, Reason.BALANCE_TOO_LOW),
    "pause": Blocked(ordered("pause"), resume, Reason.NOT_ACTIVE),
    "reduce": Blocked(ordered("reduce"), resume, Reason.NOT_ACTIVE),
    "panic": Blocked(ordered("panic"), resume, Reason.NOT_ACTIVE),
    "pause of the venue": Blocked(ordered("pause", BINANCE), resume_venue, Reason.NOT_ACTIVE),
    "panic of the venue": Blocked(ordered("panic", BINANCE), resume_venue, Reason.NOT_ACTIVE),
    "panic of the venue, all resumed": Blocked(ordered("panic", BINANCE), resume, Reason.NOT_ACTIVE),
    "KILL file": Blocked(kill, unkill, Reason.NOT_ACTIVE, kept=False),
}


@pytest.mark.failure("RSK-03", "INV-15")
@pytest.mark.failure("RSK-08")
@pytest.mark.parametrize("restarts", [False, True], ids=["in one run", "over a restart"])
@pytest.mark.parametrize("way", BLOCKED)
async def test_from_every_blocked_state_a_way_leads_back_to_trading(way: str, restarts: bool) -> None:
    blocked = BLOCKED[way]
    coins = [an_instrument(BTC), an_instrument(ETH)]
    async with a_bench(results=RULES, instruments=coins) as bench:
        assert denied(bench, "free", instrument=ETH) is None
        await blocked.into(bench)
        assert denied(bench, "held back", instrument=ETH) is blocked.reason
        if not (restarts and blocked.kept):
            await blocked.out(bench)
            assert denied(bench, "back", instrument=ETH) is None
            return
        values, held = kept(bench), bench.state.positions()
        rules = bench.risk.ledger.rules
    async with a_bench(results=RULES, instruments=coins) as again:
        for position in held:
            again.venue.positions_held[position.instrument] = position.quantity
        again.orders.restore([], held)
        again.risk.recall(values)
        again.risk.ledger.rules = rules
        if (standing := again.risk.restore(values)) is not None:
            again.risk.states.put(standing)
        if way == "shortage":
            await run_short(again)
        assert denied(again, "held back", instrument=ETH) is blocked.reason
        await blocked.out(again)
        assert denied(again, "back", instrument=ETH) is None
