"""Generated histories with prices: exits act, stops are moved behind the price, and the same end is asked for.

Like `tests.campaigns.histories`, and each instrument has a price that walks, jumps, is told late, old or not at all. It
fires the stops it comes to. Beside the venue's state it is judged: no stop is loosened once the entry has ended, each
step of a take profit trades once, what reduces is reduce-only and of the position that is open, every close says why,
nothing stays behind in the exits.

`python -m tests.campaigns.exit_histories --runs 3000 --dies` prints the count.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from core.domain.aging import AgedRules
from core.domain.exits import ExitRules, Funding
from core.domain.ids import InstrumentId, Leg, PositionId
from core.domain.money import Price
from core.domain.order import OrderIntent, OrderStatus
from core.domain.position import PositionKey
from core.domain.prices import PriceKind, PriceSource, Snapshot
from core.domain.profit_steps import ProfitStep
from core.domain.protection import provisional
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, better
from core.engine.closer import TRIES_A_STEP
from core.engine.exit_actions import ExitPolicy
from core.engine.exit_engine import ExitEngine
from core.engine.records import JournalState
from core.engine.stop_orders import refusals
from tests.campaigns.histories import CALM_SECONDS, INSTRUMENTS, History, campaign
from tests.fakes.attaching_venue import AttachingVenue

S = OrderStatus
CLOSES = (Leg.CLOSE, Leg.FLATTEN, Leg.TAKE_PROFIT)
STEPS = (ProfitStep(percent=Decimal(2), share=Decimal(40)), ProfitStep(percent=Decimal(4), share=Decimal(60)))


class WalkingPrices:
    """What the exits see of the venue's prices: at some age, or nothing."""

    def __init__(self, prices: dict[InstrumentId, Decimal]) -> None:
        self._prices = prices
        self._listeners: list[Callable[[InstrumentId], None]] = []
        self.age_ms = 0
        self.watched: set[InstrumentId] = set()

    def on_tick(self, listener: Callable[[InstrumentId], None]) -> None:
        self._listeners.append(listener)

    def watch(self, instrument: InstrumentId) -> None:
        self.watched.add(instrument)

    def unwatch(self, instrument: InstrumentId) -> None:
        self.watched.discard(instrument)

    def exit_view(self, instrument: InstrumentId) -> tuple[Snapshot, bool] | None:
        if self.age_ms > 10_000:
            return None
        price = Price(self._prices[instrument])
        told = Snapshot(instrument, PriceSource.WEBSOCKET, price, None, None, price, 0, self.age_ms, 0)
        return told, self.age_ms <= 5_000

    def funding(self, _instrument: InstrumentId) -> Funding | None:
        return None

    def tick(self, instrument: InstrumentId) -> None:
        for listener in self._listeners:
            listener(instrument)


class ExitHistory(History):
    """`wrong_orders` are those that must never have been sent."""

    length = (20, 120)

    def __init__(self, chance: Random, *, hedge: bool, kind: str = "apart", dies: bool = False) -> None:
        self.wrong_orders: list[str] = []
        self.intents: dict[str, OrderIntent] = {}
        self._policy = _a_policy(chance)
        super().__init__(chance, hedge=hedge, kind=kind, dies=dies)

    def _assemble(self) -> None:
        prices = self.venue.prices
        for instrument in INSTRUMENTS:
            prices.setdefault(instrument, Decimal(100))
        super()._assemble()
        self.prices = WalkingPrices(prices)
        self.exits = ExitEngine(
            policy=self._policy,
            orders=self.orders,
            protection=self.protection,
            closer=self.closer,
            risk=self.risk,
            prices=self.prices,
            instruments=self._listed,
            reference=self._reference,
            offset_ms=lambda _venue: 0,
            books=self.books,
            clock=self._clock,
            notifier=self.notifier,
        )
        self.orders.listen(self.exits.on_events)
        self.orders.on_sent(self._sent)

    def _mark(self, instrument: InstrumentId) -> Decimal | None:
        return self.venue.prices[instrument]

    def _restore(self, held: JournalState) -> None:
        super()._restore(held)
        self.exits.restore(held.exits)

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        return [*super()._parts(), self.exits.run()]

    def _asked_for(self, intent: OrderIntent) -> OrderIntent:
        price = self._listed[intent.instrument].round_price_down(self.venue.prices[intent.instrument])
        return replace(intent, price=price, decision_price=price)

    # what can happen

    def _happenings(self) -> dict[Callable[[], None], int]:
        return {
            **super()._happenings(),
            self._fire: 0,
            self._walk: 100,
            self._prices_turn: 3,
            self._advise: 2,
            self._trading_turns: 1,
        }

    def _walk(self) -> None:
        chance, instrument = self._chance, self._chance.choice(INSTRUMENTS)
        percent = Decimal(chance.choice((-20, -6, -4, -2, -1, 1, 2, 3, 4, 6, 8, 20))) / 10
        price = self.venue.prices[instrument] * (100 + percent) / 100
        within = min(max(price, Decimal(50)), Decimal(200))
        self.venue.prices[instrument] = Decimal(self._listed[instrument].round_price_down(within))
        if chance.random() < 0.1:
            self.prices.tick(instrument)  # before the venue's stops act
        for stop in self.venue.waiting_stops(instrument):
            if self.venue.beyond(instrument, stop.side, stop.trigger) and chance.random() < 0.95:
                self._fire_one(stop)
        if chance.random() < 0.8:
            self.prices.tick(instrument)

    def _prices_turn(self) -> None:
        self.prices.age_ms = self._chance.choice((0, 0, 0, 7_000, 20_000))

    def _advise(self) -> None:
        chance = self._chance
        keys = [
            PositionKey(chance.choice(INSTRUMENTS), chance.choice(tuple(Side))) for _ in range(chance.randint(0, 2))
        ]
        self.exits.advise("history", dict.fromkeys(keys, "the trend has turned"))

    def _trading_turns(self) -> None:
        state = self._chance.choice(tuple(TradingState))
        self.risk.set_state(state, reason="history", author="test")

    async def _calm(self) -> list[str]:
        self.prices.age_ms = 0
        self.exits.advise("history", {})
        self.risk.set_state(TradingState.ACTIVE, reason="history", author="test")
        for instrument in INSTRUMENTS:
            for stop in self.venue.waiting_stops(instrument):
                if self.venue.beyond(instrument, stop.side, stop.trigger):
                    self._fire_one(stop)
        wrong = await super()._calm()
        self._count()
        if self._wrong_exits():
            await asyncio.sleep(CALM_SECONDS)  # a close may have begun a moment ago
        return [*wrong, *self._wrong_exits()]

    # judging

    def _sent(self, intent: OrderIntent) -> None:
        """In the moment it goes out."""
        self.intents[intent.client_order_id] = intent
        position = self.state.position(PositionKey(intent.instrument, intent.side.opposite))
        name = f"{intent.client_order_id} ({intent.leg})"
        if intent.leg is Leg.ENTRY:
            return
        if not intent.reduce_only:
            self.wrong_orders.append(f"{name} can turn a position round")
        if intent.leg in CLOSES:
            if not intent.reason:
                self.wrong_orders.append(f"{name} says no reason")
            if position is not None and position.id != intent.position_id:
                self.wrong_orders.append(f"{name} closes another position")
            self.seen[f"sent {intent.leg} {intent.reason.partition(':')[0][:20]}"] += 1
        elif intent.reason:
            self.seen["moved by another stop"] += 1
        if intent.leg is Leg.STOP and position is not None and intent.trigger_price is not None:
            tightest = self._tightest(position.id, position.key)
            if tightest is not None and better(position.side, tightest, intent.trigger_price):
                self.wrong_orders.append(f"{name} at {intent.trigger_price} is looser than {tightest}")

    def _tightest(self, position_id: PositionId, key: PositionKey) -> Price | None:
        """Where a stop rests that is not to be loosened; None while an entry fills or the ladder climbs."""
        orders = self.state.orders_of(position_id)
        if refusals(orders) or any(o.intent.leg is Leg.ENTRY and (not o.ended or o.fills_missing) for o in orders):
            return None
        stops = [o for o in orders if o.intent.leg is Leg.STOP and o.status is S.ACCEPTED and not provisional(o)]
        true = {c: order.trigger for c, order in self.venue.orders.items() if order.waiting}
        both = [stop.trigger_price for stop in stops if stop.trigger_price == true.get(stop.client_order_id)]
        levels = [level for level in both if level is not None]
        if not levels:
            return None
        return max(levels) if key.side is Side.BUY else min(levels)

    def _count(self) -> None:
        self.seen["too late"] += len(self.venue.too_late)
        self.seen["found nothing"] += len(self.venue.found_nothing)
        self.seen["stops moved"] += self.exits.counts.stops_moved
        self.seen["steps traded"] += len(self._steps())
        self.seen["moves refused"] += self.exits.counts.moves_refused
        if isinstance(self.venue, AttachingVenue):
            self.seen["amended"] += len(self.venue.amended)

    def _steps(self) -> Counter[tuple[PositionId, int]]:
        """How many orders of each step traded, or may."""
        return Counter(
            (intent.position_id, intent.attempt // TRIES_A_STEP)
            for client_id, intent in self.intents.items()
            if intent.leg is Leg.TAKE_PROFIT
            and (order := self.venue.orders.get(client_id)) is not None
            and (order.filled or order.resting)
        )

    def _wrong_exits(self) -> list[str]:
        steps = self._steps()
        held = {position.key for position in self.state.positions()}
        watches = self.exits._watches
        return [
            *self.wrong_orders,
            *(f"step {step} of {position} traded {n} times" for (position, step), n in steps.items() if n > 1),
            *(f"{key} is watched or not" for key in held ^ set(watches)),
            *(
                f"{key} is still being moved or closed"
                for key, w in watches.items()
                if w.moving or w.closing or w.taking
            ),
            *(f"a move of {key} was forgotten" for key in self.protection._tightening._wishes),
            *(f"{task.get_name()} is left over" for task in asyncio.all_tasks() if _leaks(task)),
            *(f"the price of {i} is watched or not" for i in self.prices.watched ^ {key.instrument for key in held}),
        ]


def _leaks(task: asyncio.Task[Any]) -> bool:
    return not task.done() and task.get_name().startswith(("exits/", "protection/tighten/"))


def _a_policy(chance: Random) -> ExitPolicy:
    trailing = TrailingRules(
        activation_percent=Decimal(1),
        callback_percent=Decimal("0.5"),
        interval_ms=chance.choice((0, 2_000, 30_000)),
        least_step_percent=Decimal("0.1"),
        forced_step_percent=Decimal(1),
    )
    aged = AgedRules(
        from_hours=Decimal("0.02"),
        grace_hours=Decimal("0.01"),
        step_percent=Decimal(60),
        acceleration=Decimal("1.2"),
        most_percent=Decimal(10),
    )
    rules = ExitRules(
        critical_percent=Decimal(1),
        critical_confirm_ms=chance.choice((0, 500)),
        time_limit_ms=chance.choice((60_000, 3_600_000)),
        trailing=chance.choice((trailing, trailing, None)),
        steps=chance.choice(((), STEPS)),
        breakeven_percent=chance.choice((Decimal(0), Decimal("0.6"))),
        fee_percent=Decimal("0.05"),
        giveback_from_percent=chance.choice((Decimal(0), Decimal(3))),
        giveback_percent=Decimal(50),
        aged=chance.choice((None, aged)),
        confirm_ms=chance.choice((0, 300)),
    )
    return ExitPolicy(
        rules=rules,
        moves=trailing,
        kind=PriceKind.MARK,
        limit_profits=chance.random() < 0.3,
        manages_external=chance.random() < 0.5,
    )


if __name__ == "__main__":
    sys.exit(campaign(ExitHistory))
