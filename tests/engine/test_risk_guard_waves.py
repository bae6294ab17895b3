"""Whatever waves come, side by side and with whatever answers: no limit is ever exceeded, at no moment."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.money import ZERO
from core.domain.order import OrderIntent
from tests.builders import NOW_MS, a_balance_report, a_signal, an_instrument, an_instrument_id, notional, risk_limits
from tests.builders import sizing_rule as a_size
from tests.engine.bench import Bench, a_bench, wave_rules
from tests.fakes.virtual_loop import VirtualLoop

BINANCE, OKX = VenueName.BINANCE, VenueName.OKX
COINS = [an_instrument_id(f"C{n}/USDT:USDT", venue) for venue in (BINANCE, OKX) for n in range(8)]
ANSWERS = ("behave", "reject", "lose_answer", "lose_request", "expire")
MINUTE = 60.0


@dataclass(frozen=True)
class Limits:
    positions: int
    on_venue: int
    exposure: int
    coin: int
    rate: int
    reserve: int
    leverage: int


@dataclass
class Judge:
    """Looks at state at each send, by its own count: reservations are none of its business."""

    bench: Bench
    limits: Limits
    wallets: dict[VenueName, int]

    def __post_init__(self) -> None:
        self.sent_at: list[float] = []
        self.bench.orders.on_sent(self.sent)

    def sent(self, intent: OrderIntent) -> None:
        if intent.reduce_only:
            return
        self.sent_at.append(self.bench.clock.monotonic())
        at_stake = self.at_stake()
        total = sum(at_stake.values(), ZERO)
        assert len(at_stake) <= self.limits.positions
        assert total <= self.limits.exposure
        for venue, wallet in self.wallets.items():
            here = [worth for key, worth in at_stake.items() if key.venue is venue]
            assert not self.limits.on_venue or len(here) <= self.limits.on_venue
            assert not here or sum(here, ZERO) / self.limits.leverage + self.limits.reserve <= wallet
        for coin in {key.symbol for key in at_stake}:
            same = sum((worth for key, worth in at_stake.items() if key.symbol == coin), ZERO)
            assert not self.limits.coin or same <= self.limits.coin
        recent = [at for at in self.sent_at if at > self.sent_at[-1] - MINUTE]
        assert not self.limits.rate or len(recent) <= self.limits.rate

    def at_stake(self) -> dict[InstrumentId, Decimal]:
        """Open, or ordered and not known to have failed."""
        state = self.bench.state
        worth = {position.instrument: position.notional for position in state.positions()}
        for order in state.all_live_orders():
            if order.intent.leg is Leg.ENTRY and order.intent.decision_price is not None:
                ordered = order.intent.quantity * order.intent.decision_price
                worth[order.instrument] = max(ordered, worth.get(order.instrument, ZERO))
        return worth


limits = st.builds(
    Limits,
    positions=st.integers(1, 8),
    on_venue=st.integers(0, 2),
    exposure=st.integers(100, 1_000),
    coin=st.sampled_from([0, 100, 150, 250]),
    rate=st.integers(0, 6),
    reserve=st.integers(0, 60),
    leverage=st.integers(1, 20),
)
waves = st.lists(
    st.tuples(st.lists(st.sampled_from(COINS), max_size=12), st.sampled_from([0.0, 0.02, 5.0, 61.0])),
    min_size=1,
    max_size=4,
)


@pytest.mark.failure("VAL-14")
@settings(max_examples=60, deadline=None)
@given(
    within=limits,
    plan=waves,
    wallets=st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=20),
    target=st.integers(20, 150),
)
def test_no_waves_however_many_at_once_exceed_any_limit(
    within: Limits,
    plan: list[tuple[list[InstrumentId], float]],
    wallets: tuple[int, int],
    answers: list[str],
    target: int,
) -> None:
    async def story() -> None:
        bounds = risk_limits(
            max_positions=within.positions,
            max_exposure=within.exposure,
            reserve=within.reserve,
            leverage=within.leverage,
            max_positions_per_venue=within.on_venue,
            max_coin_exposure=notional(within.coin),
            max_entries_per_minute=within.rate,
        )
        async with a_bench(
            instruments=[an_instrument(coin) for coin in COINS],
            limits=bounds,
            sizing=a_size(target=target),
            waves=wave_rules(max_trades=12, timeout=90.0),
            latency=0.25,
        ) as bench:
            purse = dict(zip((BINANCE, OKX), wallets, strict=True))
            told = NOW_MS + 10**9  # no reading of the scripted venue replaces these
            bench.orders.apply([a_balance_report(w, venue=v, venue_time_ms=told) for v, w in purse.items()])
            judge = Judge(bench, within, purse)
            for number, answer in enumerate(answers):
                venue = bench.venues[BINANCE if number % 2 else OKX]
                scripted = {"reject": venue.reject(), "expire": venue.reject("-5021")}
                venue.script(Leg.ENTRY, scripted.get(answer) or getattr(venue, answer))
            for number, (coins, pause) in enumerate(plan):
                signals = [a_signal(f"w{number}s{n}", instrument=c, score=90 - n) for n, c in enumerate(coins)]
                bench.waves.handle(bench.batch(*signals))
                await bench.settle(pause)
            await bench.until(lambda: len(bench.waves.reports) == len(plan), 200)
            assert len(judge.sent_at) == sum(len(v.only(Leg.ENTRY)) for v in bench.venues.values())

    loop = VirtualLoop()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()
