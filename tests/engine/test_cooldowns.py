"""Whoever closes a position, and however we hear of it: its symbol waits before it is entered again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from core.domain.cooldown import CloseKind
from core.domain.day import DayAccount, day_of
from core.domain.ids import Leg
from core.domain.reports import Origin
from core.domain.risk_book import RiskBook
from core.domain.signal import Side
from core.domain.verdict import Denied, Reason
from core.engine.records import StateRecord
from tests.builders import BTC, BTC_LONG, Number, an_intent, notional, result_rules
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.engine.test_foreign_fills import a_foreign_fill

RULES = result_rules(after_loss=180, same_side=60, opposite_side=5)
Close = Callable[[Bench, Number], Awaitable[None]]


async def its_stop_fires(bench: Bench, at: Number) -> None:
    bench.venue.price = Decimal(at)
    (stop,) = bench.venue.working_stops()
    await bench.venue.fire(stop)


def flattened(leg: Leg) -> Close:
    async def close(bench: Bench, at: Number) -> None:
        bench.venue.price = Decimal(at)
        await bench.closer.flatten(BTC_LONG, "enough", leg=leg)

    return close


def traded_by_others(origin: Origin) -> Close:
    async def close(bench: Bench, at: Number) -> None:
        bench.venue.positions_held.clear()
        bench.orders.apply([a_foreign_fill(3, at=at, origin=origin)])

    return close


async def gone_in_two_readings(bench: Bench, at: Number) -> None:
    bench.tick(at)
    bench.venue.positions_held.clear()
    await bench.reconciler.reconcile(BINANCE)


HANDS: dict[str, tuple[Close, bool]] = {
    "our stop": (its_stop_fires, False),
    "an order to close, or a rule": (flattened(Leg.CLOSE), False),
    "an emergency close": (flattened(Leg.FLATTEN), False),
    "found by reconciliation": (gone_in_two_readings, True),
    **{f"somebody else: {origin}": (traded_by_others(origin), True) for origin in Origin},
}


def refusal(bench: Bench, side: Side) -> Denied | None:
    intent = an_intent(f"again-{side}-{bench.clock.now_ms()}", side=side)
    denied = bench.risk.approve_entry(intent, notional(100)).denied
    if denied is None:
        bench.risk.release(intent.client_order_id)
    return denied


def setting(denied: Denied | None) -> str:
    """Which cooldown refused; "" = none."""
    if denied is None:
        return ""
    assert denied.reason is Reason.COOLDOWN, denied
    assert "s to wait" in denied.detail
    return denied.values["setting"]


@pytest.mark.failure("TRL-13")
@pytest.mark.parametrize(("at", "kind"), [(98, CloseKind.LOSS), (110, CloseKind.WIN)])
@pytest.mark.parametrize("hand", HANDS)
async def test_any_close_by_anyone_starts_the_cooldown_and_a_restart_keeps_it(
    hand: str, at: int, kind: CloseKind
) -> None:
    close, external = HANDS[hand]
    async with a_bench(results=RULES) as bench:
        await bench.enter(an_intent(amount=3))
        await bench.settle()
        await close(bench, at)
        await bench.until(lambda: not bench.state.positions())
        last = bench.risk.ledger.book.closes[BTC_LONG]
        assert (last.kind, last.external) == (kind, external)
        lost = kind is CloseKind.LOSS
        written = [r.value for r in bench.journal.posted if isinstance(r, StateRecord) and r.key == "risk_book"]
        bench.risk.ledger.book = RiskBook(day=DayAccount(day=day_of(bench.clock.now_ms())))
        bench.risk.recall({"risk_book": written[-1]})
        expected = "COOLDOWN_AFTER_LOSS_SECONDS" if lost else "COOLDOWN_SAME_SIDE_SECONDS"
        assert setting(refusal(bench, Side.BUY)) == expected
        other = "COOLDOWN_AFTER_LOSS_SECONDS" if lost else "COOLDOWN_OPPOSITE_SIDE_SECONDS"
        assert setting(refusal(bench, Side.SELL)) == other
        for seconds, sides in [(180, [*Side])] if lost else [(5, [Side.SELL]), (60, [Side.BUY])]:
            for early, denied in ((1, True), (0, False)):
                await bench.settle((last.at_ms + seconds * 1000 - early - bench.clock.now_ms()) / 1000)
                assert {refusal(bench, side) is not None for side in sides} == {denied}


@pytest.mark.failure("TRL-13")
async def test_what_another_hand_changes_of_an_open_position_starts_a_cooldown_too() -> None:
    async with a_bench(results=RULES) as bench:
        await bench.enter(an_intent(amount=3))
        await bench.settle()
        bench.orders.apply([a_foreign_fill(1)])
        await bench.settle()
        last = bench.risk.ledger.book.closes[BTC_LONG]
        assert (last.kind, last.external) == (CloseKind.EVEN, True)
        assert bench.state.positions_on(BTC)


@pytest.mark.failure("TRL-13")
async def test_a_cooldown_holds_back_no_close() -> None:
    async with a_bench(results=RULES) as bench:
        await bench.enter(an_intent(amount=3))
        await bench.settle()
        bench.orders.apply([a_foreign_fill(1)])
        await bench.closer.flatten(BTC_LONG, "enough", leg=Leg.CLOSE)
        await bench.until(lambda: not bench.state.positions())
