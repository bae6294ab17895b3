"""Generated histories: what a venue did, told badly, must end as the venue has it.

One history is one run of the engine beside a venue with its own books (tests/fakes/true_venue.py) on virtual time:
entries filled whole, in parts or not at all, stops that fire, are refused when they fire or are cancelled by the owner,
closes, reductions, openings and turns by the owner's hand, auto-deleveraging, liquidation, funding and deposits, while
frames are lost, doubled, late and overtaken, answers go missing and reads fail. Then the weather clears, the reconciler
runs, and orders, trades, positions, stops and wallet must be the venue's.

`python -m tests.campaigns.histories --runs 10000 --seed 1` prints the count.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import structlog

from core.domain.ids import InstrumentId, Leg, PositionId, SignalId, VenueName, client_order_id
from core.domain.money import Price
from core.domain.order import OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.position import PositionKey
from core.domain.reports import Origin, Report, WalletCause
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.engine.account_watch import AccountWatch
from core.engine.bookkeeping import Bookkeeper
from core.engine.closer import Closer
from core.engine.doubts import UNEXPLAINED_SECONDS
from core.engine.inflight import InflightResolver
from core.engine.leverage import LeverageKeeper
from core.engine.order_manager import OrderManager
from core.engine.ports import Attach, UserStream, VenueClient, VenueTraits
from core.engine.prefetch import Prefetcher
from core.engine.protection_manager import ProtectionManager
from core.engine.reconciler import Reconciler
from core.engine.records import JournalState
from core.engine.risk_guard import RiskGuard
from core.engine.state import State
from core.errors import VenueError
from tests.builders import BTC, ETH, USDT, an_instrument, notional, price, quantity, result_rules, risk_limits
from tests.campaigns.history_judge import Judge
from tests.fakes.attaching_venue import AttachingVenue
from tests.fakes.diary import Diary
from tests.fakes.fake_audit import FakeAudit
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.fake_stream import FakeStream
from tests.fakes.true_venue import TrueOrder, TrueVenue
from tests.fakes.virtual_loop import VirtualClock, VirtualLoop
from tests.fakes.weather import Weather

BINANCE = VenueName.BINANCE
ACCOUNT = "binance/history"
SOL = InstrumentId(BINANCE, type(BTC.symbol)("SOL/USDT:USDT"))
INSTRUMENTS = (BTC, ETH, SOL)
S = OrderStatus
KINDS = {
    "apart": VenueTraits(),
    "position": VenueTraits(attach=Attach.FIRST_FILL, whole_position_stops=True, amends_stops=True),
    "attached": VenueTraits(attach=Attach.COMPLETE_FILL, amends_stops=True),
}
"""Venues by their stops: orders of their own, one of each position, or attached to entries with a quantity."""
CALM_SECONDS = 15.0
"""Longer than the resolver's longest pause between two questions."""


class History(Judge):
    """One life of one account, of `length` happenings. `chance` decides everything."""

    length = (5, 40)

    def __init__(self, chance: Random, *, hedge: bool, kind: str = "apart", dies: bool = False) -> None:
        self._chance = chance
        self._dies = dies
        self._clock = VirtualClock()
        self._listed = {i: an_instrument(i) for i in INSTRUMENTS}
        self.journal, self.notifier = FakeJournal(Diary()), FakeNotifier()
        traits = KINDS[kind]
        make = TrueVenue if traits.attach is Attach.NEVER else partial(AttachingVenue, traits=traits)
        self.venue = make(list(self._listed.values()), self._clock, chance, lambda _told: None, hedge=hedge)
        self.venue.plan = self._plan
        self.broken: list[str] = []
        self.seen: Counter[str] = Counter()
        self._entries = 0
        self._works: set[asyncio.Task[None]] = set()
        self._assemble()

    def _assemble(self) -> None:
        """The engine, as it is at a start; what the venue tells from now on is for this one."""
        self.state = State()
        self._inbox: asyncio.Queue[Sequence[Report]] = asyncio.Queue()
        self.venue.post = self._inbox.put_nowait
        listed = self._listed
        clients: dict[VenueName, VenueClient] = {BINANCE: self.venue}
        streams: dict[VenueName, UserStream] = {BINANCE: FakeStream()}
        audit = FakeAudit()
        books = Bookkeeper(journal=self.journal, audit=audit, clock=self._clock, default_stop_percent=Decimal(2))
        self.orders = OrderManager(clients=clients, state=self.state, books=books, clock=self._clock)
        self.risk = RiskGuard(
            state=self.state,
            limits=risk_limits(),
            results=result_rules(),
            quotes=dict.fromkeys(INSTRUMENTS, USDT),
            quote_coins=frozenset({USDT}),
            mark=self._mark,
            journal=self.journal,
            clock=self._clock,
            notifier=self.notifier,
            most_positions=lambda venue: clients[venue].traits.most_stops,
        )
        accounts, self.books = {BINANCE: ACCOUNT}, books
        self.closer = Closer(
            accounts=accounts,
            orders=self.orders,
            risk=self.risk,
            clock=self._clock,
            notifier=self.notifier,
            mark=self._mark,
            instruments=listed,
        )
        self.protection = ProtectionManager(
            accounts=accounts,
            orders=self.orders,
            risk=self.risk,
            closer=self.closer,
            instruments=listed,
            reference=self._reference,
            working_type=TriggerReference.MARK_PRICE,
            deadline_seconds=3.0,
            alert_ms=300,
            traits=lambda venue: clients[venue].traits,
            books=books,
            clock=self._clock,
            notifier=self.notifier,
        )
        self.inflight = InflightResolver(orders=self.orders, clients=clients, clock=self._clock, notifier=self.notifier)
        prefetcher = Prefetcher(
            clients=clients, streams=streams, orders=self.orders, clock=self._clock, timeout_seconds=5.0
        )
        self.reconciler = Reconciler(
            clients=clients,
            streams=streams,
            orders=self.orders,
            protection=self.protection,
            prefetcher=prefetcher,
            books=books,
            clock=self._clock,
            notifier=self.notifier,
        )
        leverage = LeverageKeeper(clients=clients, state=self.state, leverage=1)
        watch = AccountWatch(clients=clients, risk=self.risk, leverage=leverage, notifier=self.notifier)
        self.risk.follow(self.orders)
        for listener in (self.protection, self.reconciler, leverage, watch):
            self.orders.listen(listener.on_events)
        self.orders.on_unresolved(self.inflight.watch)
        self.orders.on_broken(self._broke)

    def _mark(self, _instrument: InstrumentId) -> Decimal | None:
        """No price is known in these histories."""

    def _reference(self, instrument: InstrumentId, _kind: TriggerReference) -> Decimal | None:
        return self._mark(instrument)

    def _broke(self, reason: str) -> None:
        self.broken.append(reason)
        self.risk.halt(reason)

    # the life

    async def live(self) -> list[str]:
        """What is wrong in the end; empty = our picture is the venue's."""
        for _ in range(self._chance.randint(0, 2) if self._dies else 0):
            await self._one_life(last=False)
            await self._rise()
        return await self._one_life(last=True)

    async def _rise(self) -> None:
        """A start after a death that took the newest words of the journal along."""
        self.seen["death"] += 1
        self.journal.lose(self._chance.choice((0, 0, 1, 3, 8)))
        await asyncio.sleep(self._chance.choice((0.0, 0.5, 30.0)) * self._chance.random())
        self._assemble()
        held = await self.journal.load()
        self._restore(held)
        for order in held.orders:
            if order.intent.leg is Leg.ENTRY and (not order.ended or order.fills_missing):
                self.risk.hold(order)

    def _restore(self, held: JournalState) -> None:
        self.orders.restore(held.orders, held.positions)

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        """What runs in a life."""
        return [part.run() for part in (self.orders, self.protection, self.inflight, self.reconciler)]

    async def _one_life(self, *, last: bool) -> list[str]:
        self.risk.set_state(TradingState.ACTIVE, reason="history", author="test")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in self._parts()]
            tasks.append(group.create_task(self._deliver()))
            await asyncio.sleep(0)
            try:
                await self._reconciled()
                for _ in range(self._chance.randint(*self.length)):
                    await self._step()
                return await self._calm() if last else []
            finally:
                for task in (*tasks, *self._works):
                    task.cancel()

    async def _reconciled(self) -> None:
        """A start waits for it."""
        while True:
            try:
                return await self.reconciler.reconcile(BINANCE)
            except VenueError:
                await asyncio.sleep(1)

    async def _deliver(self) -> None:
        while True:
            await self.orders.take(await self._inbox.get())

    async def _step(self) -> None:
        chance, likely = self._chance, self._happenings()
        happening = chance.choices(tuple(likely), weights=tuple(likely.values()))[0]
        self.seen[happening.__name__.strip("_")] += 1
        happening()
        await asyncio.sleep(chance.choice((0.0, 0.02, 0.2, 1.0, 4.0)) * chance.random())

    def _happenings(self) -> dict[Callable[[], None], int]:
        """How likely each is, against the others."""
        return {
            self._enter: 8,
            self._fire: 4,
            self._by_hand: 3,
            self._venue_takes: 2,
            self._close: 2,
            self._cancel_by_hand: 1,
            self._money: 1,
            self._reconcile: 3,
            self._weather_turns: 4,
        }

    async def _calm(self) -> list[str]:
        """Nothing is lost any more, and what was on its way has arrived or never will: one reading makes it true, or
        a second where nothing explained the first. Two more: an orphan is cancelled in the second that sees it old."""
        self.venue.weather = Weather()
        await asyncio.sleep(CALM_SECONDS)
        await self._read()
        if self.reconciler.in_doubt:
            await asyncio.sleep(UNEXPLAINED_SECONDS)
            await self._read()
        wrong = [f"after one reading: {what}" for what in await self._judged(self._wrong)]
        await self._read(times=2)
        return [*wrong, *await self._judged(lambda: [*self._wrong(), *self._wrong_in_the_end()])]

    async def _read(self, times: int = 1) -> None:
        for _ in range(times):
            await self.reconciler.reconcile(BINANCE)
            await asyncio.sleep(CALM_SECONDS)

    async def _judged(self, judge: Callable[[], list[str]]) -> list[str]:
        """Twice where something is wrong: the first look may have met a cancel on its way."""
        if judge():
            await asyncio.sleep(0.5)
        return judge()

    def _work(self, doing: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await doing()
            except VenueError:
                self.seen["failed_reading"] += 1

        task = asyncio.get_running_loop().create_task(run())
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    # what can happen

    def _weather_turns(self) -> None:
        chance = self._chance

        def sometimes(most: float) -> float:
            return chance.choice((0.0, 0.0, chance.random() * most, most))

        self.venue.weather = Weather(
            lost=sometimes(1.0),
            doubled=sometimes(1.0),
            late=sometimes(6.0),
            unclear=sometimes(0.6),
            refused=sometimes(0.5),
            unread=sometimes(0.5),
            early=sometimes(1.0),
            latency=chance.choice((0.0, 0.05, 0.6)),
        )

    def _enter(self) -> None:
        chance = self._chance
        instrument, side = chance.choice(INSTRUMENTS), chance.choice(tuple(Side))
        if self.state.positions_on(instrument) and not self.venue.hedge:
            return
        if self.state.position(PositionKey(instrument, side)) or self.risk.reserved(instrument):
            return
        self._entries += 1
        signal = f"h{self._entries}"
        client_id = client_order_id(ACCOUNT, signal, Leg.ENTRY, 0)
        intent = OrderIntent(
            client_order_id=client_id,
            instrument=instrument,
            leg=Leg.ENTRY,
            attempt=0,
            signal_id=SignalId(signal),
            position_id=PositionId(client_id),
            side=side,
            type=chance.choice((OrderType.MARKET, OrderType.LIMIT_IOC)),
            quantity=quantity(chance.randint(1, 6)),
            reduce_only=False,
            price=price(100),
            decision_price=price(100),
            stop_loss_percent=Decimal(2),
        )
        approved = self.risk.approve_entry(self._asked_for(intent), notional(intent.quantity * 100)).approved
        if approved is not None:
            stop = self.protection.attached(intent)
            stops = {} if stop is None else {client_id: self.risk.approve_reducing(stop)}
            self._work(lambda: self.orders.submit([approved], stops))

    def _asked_for(self, intent: OrderIntent) -> OrderIntent:
        """What a signal would have asked for."""
        return intent

    def _plan(self, order: TrueOrder) -> None:
        """How the venue fills an entry it took: at once, in parts with pauses, in part, or not at all."""
        chance = self._chance
        rest, at = int(order.quantity), 0.0
        end: OrderStatus | None = None
        while rest > 0:
            if chance.random() < 0.15:
                end = chance.choice((S.EXPIRED, S.CANCELED))
                break
            piece = rest if chance.random() < 0.5 else chance.randint(1, rest)
            rest -= piece
            self._at(at, partial(self._trade_if_resting, order, Decimal(piece)))
            at += chance.choice((0.0, 0.0, 0.01, 0.3, 2.0))
        if end is not None:
            self._at(at, partial(self._end_if_resting, order, end))

    def _at(self, seconds: float, action: Callable[[], object]) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, action)
        else:
            action()

    def _fire(self) -> None:
        """The price reaches the stops of one instrument: all of one direction, at once."""
        chance = self._chance
        waiting = self.venue.waiting_stops(chance.choice(INSTRUMENTS))
        if not waiting:
            return
        side = chance.choice(waiting).side
        for stop in waiting:
            if stop.side is side:
                self._fire_one(stop)

    def _fire_one(self, stop: TrueOrder) -> None:
        chance = self._chance
        if not self.venue.held.get(stop.key) or chance.random() < 0.1:
            self.venue.end(stop, S.REJECTED)  # refused at the moment it fired
            return
        self.venue.fire(stop)
        if chance.random() < 0.1:
            self.venue.end(stop, S.EXPIRED)
            return
        first = stop.quantity if chance.random() < 0.6 else Decimal(chance.randint(1, max(1, int(stop.quantity))))
        later = chance.choice((0.0, 0.3, 0.8))

        rest = later + chance.choice((0.0, 0.4))
        self._at(later, partial(self._trade_if_resting, stop, first))
        self._at(rest, partial(self._trade_if_resting, stop, stop.quantity))
        self._at(rest, partial(self._end_if_resting, stop, S.EXPIRED))

    def _trade_if_resting(self, order: TrueOrder, amount: Decimal) -> None:
        if order.resting:
            self.venue.trade(order, amount)

    def _end_if_resting(self, order: TrueOrder, status: OrderStatus) -> None:
        if order.resting:
            self.venue.end(order, status)

    def _by_hand(self) -> None:
        """The owner shrinks, grows, closes, turns or opens a position in another program."""
        chance = self._chance
        instrument = chance.choice(INSTRUMENTS)
        held = [k for k, q in self.venue.held.items() if q and k.instrument == instrument]
        amount = Decimal(chance.randint(1, 8))
        if held and chance.random() < 0.7:
            key = chance.choice(held)
            if not self.venue.hedge and chance.random() < 0.3:  # without reduce-only it can turn the position round
                self.venue.foreign(instrument, key.side.opposite, amount, reduce=None, origin=Origin.ORDER)
            else:
                self.venue.foreign(instrument, key.side.opposite, amount, reduce=key.side, origin=Origin.ORDER)
        elif chance.random() < 0.5:
            self.venue.foreign(instrument, chance.choice(tuple(Side)), amount, reduce=None, origin=Origin.ORDER)

    def _venue_takes(self) -> None:
        """Liquidation takes all of a position and cancels its plain orders; ADL takes a part."""
        chance = self._chance
        held = [key for key, quantity in self.venue.held.items() if quantity]
        if not held:
            return
        key = chance.choice(held)
        whole = chance.random() < 0.4
        amount = self.venue.held[key] if whole else Decimal(chance.randint(1, max(1, int(self.venue.held[key]))))
        origin = Origin.LIQUIDATION if whole else Origin.ADL
        if whole:
            for order in self.venue.orders.values():
                if order.resting and order.instrument == key.instrument and (order.trigger is None or order.child):
                    self.venue.end(order, S.CANCELED)
        self.seen[origin.value] += 1
        self.venue.foreign(key.instrument, key.side.opposite, amount, reduce=key.side, origin=origin)

    def _close(self) -> None:
        positions = self.state.positions()
        if positions:
            key = self._chance.choice(positions).key
            self._work(lambda: self.closer.flatten(key, "history", leg=Leg.CLOSE))

    def _cancel_by_hand(self) -> None:
        """Or moved, where stops can be."""
        if not (waiting := [o for o in self.venue.orders.values() if o.waiting]):
            return
        stop = self._chance.choice(waiting)
        if isinstance(self.venue, AttachingVenue) and stop.trigger is not None and self._chance.random() < 0.6:
            self.venue.move(stop, Price(stop.trigger + self._chance.choice((-20, -1, 1, 20))))
        else:
            self.venue.end(stop, S.CANCELED)

    def _money(self) -> None:
        cause = self._chance.choice((WalletCause.FUNDING, WalletCause.DEPOSIT, WalletCause.WITHDRAWAL))
        self.venue.wallet_changes(Decimal(self._chance.randint(-50, 50)), cause)

    def _reconcile(self) -> None:
        self._work(lambda: self.reconciler.reconcile(BINANCE))


def run(
    chance: Random, kind: str = "apart", *, dies: bool = False, of: type[History] = History
) -> tuple[list[str], Counter[str]]:
    """What is wrong in the end of one history, and what happened in it."""

    async def live() -> tuple[list[str], Counter[str]]:
        history = of(chance, hedge=chance.random() < 0.25, kind=kind, dies=dies)
        wrong = await history.live()
        history.seen["entries"] += len(history.venue.sent)
        history.seen["trades"] += len(history.venue.fills_told)
        return wrong, history.seen

    with asyncio.Runner(loop_factory=VirtualLoop, debug=False) as runner:
        return runner.run(live())


def campaign(of: type[History]) -> int:
    """Run many, as asked on the command line; the exit status of the program."""
    parser = argparse.ArgumentParser(prog="histories", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=10_000, help="how many histories (10000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--venue", choices=KINDS, help="of one kind only; else of each in turn")
    parser.add_argument("--dies", action="store_true", help="with deaths and new starts in between")
    parser.add_argument("--show", action="store_true", help="log what the engine does")
    if not (asked := parser.parse_args()).show:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seen: Counter[str] = Counter()
    failed, started = 0, time.monotonic()
    for seed in range(asked.seed, asked.seed + asked.runs):
        kind = asked.venue or list(KINDS)[seed % len(KINDS)]
        wrong, happened = run(Random(seed), kind, dies=asked.dies, of=of)
        seen += happened
        if wrong:
            failed += 1
            print(f"seed {seed} {kind}: {'; '.join(wrong)}", flush=True)
        if (seed - asked.seed + 1) % 1000 == 0:
            print(f"{seed - asked.seed + 1} histories, {failed} wrong", flush=True)
    print(", ".join(f"{name} {count}" for name, count in sorted(seen.items())))
    print(f"{asked.runs} histories in {time.monotonic() - started:.0f} s, {failed} did not end in the venue's state")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(campaign(History))
