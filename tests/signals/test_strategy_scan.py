"""The scan on virtual time: every close is judged once, and nobody else's trouble stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.candle import Candle
from core.domain.ids import InstrumentId, SignalId, Symbol, VenueName
from core.domain.position import PositionKey
from core.domain.signal import Side, Signal, SignalParameters
from core.engine.ports import SignalBatch
from core.engine.state import State
from core.errors import Unreachable
from core.signals.strategy_scan import ScanRules, StrategyScan
from core.signals.universe import NamedInstruments
from strategies.base import ExitAdvice, Strategy, View, candle_signal
from tests.builders import (
    BTC,
    ETH,
    NOW_MS,
    USDT,
    a_balance_report,
    a_position,
    a_position_report,
    an_intent,
    an_order,
)
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.virtual_loop import VirtualClock
from tests.strategies.candles import MINUTE, a_candle

BINANCE = VenueName.BINANCE
WARMUP = 5
FIRST_CLOSE_MS = NOW_MS // MINUTE * MINUTE + MINUTE
"""The first close after the start of virtual time."""


class Told:
    """A strategy that does what the test says and remembers what it saw."""

    name, warmup, scores = "told", WARMUP, (Decimal(0), Decimal(1))

    def __init__(
        self, decide: Callable[[View], list[Signal]], let_go: Callable[[View], list[ExitAdvice]] = lambda _: []
    ) -> None:
        self._decide, self._let_go = decide, let_go
        self.views: list[View] = []
        self.learned: list[InstrumentId] = []

    def learn(self, instrument: InstrumentId, candles: Sequence[Candle], timeframe_ms: int) -> None:
        assert len(candles) == WARMUP
        assert timeframe_ms == MINUTE
        self.learned.append(instrument)

    def exits(self, view: View) -> list[ExitAdvice]:
        return self._let_go(view)

    def on_candle(self, view: View) -> list[Signal]:
        self.views.append(view)
        return self._decide(view)


class Tape:
    """Candles that exist once their minute is over, by the venue's clock; what is in `withheld` never does."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.offset_ms = 0
        self.late_ms = 0
        self.asked: list[tuple[Symbol, int, float]] = []
        self.withheld: set[tuple[Symbol, int]] = set()
        self.broken: set[Symbol] = set()
        self.silent: set[Symbol] = set()

    async def candles(self, symbol: Symbol, timeframe: str, limit: int) -> Sequence[Candle]:
        assert timeframe == "1m"
        now_ms = self._clock.now_ms() + self.offset_ms
        self.asked.append((symbol, limit, now_ms))
        await asyncio.sleep(0.05)
        if symbol in self.silent:
            await asyncio.Event().wait()
        if symbol in self.broken:
            raise Unreachable("binance", "away")
        newest = (now_ms - self.late_ms) // MINUTE * MINUTE - MINUTE
        opens = [newest - back * MINUTE for back in range(limit)][::-1]
        return [replace(a_candle(0, 100.0), open_ms=at) for at in opens if (symbol, at) not in self.withheld]

    async def open_interest(self, symbol: Symbol) -> Decimal:
        raise NotImplementedError

    async def day_turnover(self) -> dict[Symbol, Decimal]:
        raise NotImplementedError


class Rig:
    def __init__(
        self,
        decide: Callable[[View], list[Signal]],
        let_go: Callable[[View], list[ExitAdvice]] = lambda _: [],
        *,
        once: bool = False,
        offset_ms: int = 0,
    ) -> None:
        self.clock = VirtualClock()
        self.tape = Tape(self.clock)
        self.tape.offset_ms = offset_ms
        self.state, self.notifier = State(), FakeNotifier()
        self.made: list[Told] = []
        self.batches: list[SignalBatch] = []
        self.emitted_ms: list[int] = []
        self.expected_ms: list[int] = []
        self.wanted: list[InstrumentId] = []
        self.advice: list[dict[PositionKey, str]] = []
        self.listed = [BTC, ETH]

        def make() -> Strategy:
            self.made.append(Told(decide, let_go))
            return self.made[-1]

        self.scan = StrategyScan(
            make=make,
            rules=ScanRules(timeframe="1m", ttl_ms=600_000, quotes=frozenset({USDT}), most_stop_percent=Decimal(10)),
            universe=NamedInstruments(lambda: list(self.listed)),
            reads={BINANCE: self.tape},  # type: ignore[dict-item]
            state=self.state,
            opened=lambda source, position: position.signal_id == source,
            offset_ms=lambda: self.tape.offset_ms,
            on_universe=self._want,
            advise=lambda advice: self.advice.append(dict(advice)),
            clock=self.clock,
            notifier=self.notifier,
            once=once,
        )

    def _want(self, instruments: Collection[InstrumentId]) -> None:
        self.wanted += instruments

    def emit(self, batch: SignalBatch) -> None:
        self.batches.append(batch)
        self.emitted_ms.append(self.clock.now_ms())

    def expect(self) -> None:
        self.expected_ms.append(self.clock.now_ms())

    @property
    def strategy(self) -> Told:
        return self.made[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.scan.run(self.emit, self.expect))
            yield
            task.cancel()

    async def closes(self, number: int) -> None:
        """Until shortly after the so-manyth close."""
        until_ms = FIRST_CLOSE_MS + (number - 1) * MINUTE + 20_000 - self.tape.offset_ms
        await asyncio.sleep((until_ms - self.clock.now_ms()) / 1000)


def longs(view: View) -> list[Signal]:
    return [candle_signal("told", view, instrument, Side.BUY, Decimal("0.5")) for instrument in view.candles]


def silence(view: View) -> list[Signal]:
    return []


async def test_each_close_is_one_question_and_one_wave_over_all_symbols() -> None:
    rig = Rig(longs)
    async with rig.running():
        await rig.closes(3)
    assert [view.close_ms for view in rig.strategy.views] == [FIRST_CLOSE_MS + n * MINUTE for n in range(3)]
    assert [[s.instrument for s in batch.signals] for batch in rig.batches] == [[BTC, ETH]] * 3
    assert {batch.source for batch in rig.batches} == {"told"}
    after = [moment - view.close_ms for moment, view in zip(rig.emitted_ms, rig.strategy.views, strict=True)]
    assert all(500 <= ms <= 1_000 for ms in after)
    assert len({s.id for batch in rig.batches for s in batch.signals}) == 6


async def test_no_signal_is_no_wave() -> None:
    rig = Rig(silence)
    async with rig.running():
        await rig.closes(3)
    assert len(rig.strategy.views) == 3
    assert rig.batches == []


async def test_a_wave_is_announced_seconds_before_its_close() -> None:
    rig = Rig(silence)
    async with rig.running():
        await rig.closes(2)
    assert rig.expected_ms == [FIRST_CLOSE_MS - 4_000, FIRST_CLOSE_MS + MINUTE - 4_000]


@pytest.mark.parametrize("offset_ms", [-3_000, 2_500])
async def test_closes_are_counted_on_the_venues_clock(offset_ms: int) -> None:
    rig = Rig(longs, offset_ms=offset_ms)
    async with rig.running():
        await rig.closes(2)
    assert [view.open_ms % MINUTE for view in rig.strategy.views] == [0] * len(rig.strategy.views)
    first = rig.strategy.views[0]
    assert 500 <= rig.emitted_ms[0] + offset_ms - first.close_ms <= 1_000


async def test_history_is_read_once_and_then_only_what_is_missing() -> None:
    rig = Rig(silence)
    async with rig.running():
        await rig.closes(3)
    assert [limit for symbol, limit, _ in rig.tape.asked if symbol == BTC.symbol] == [WARMUP, 2, 2, 2]
    assert rig.strategy.learned == [BTC, ETH]
    assert rig.wanted == [BTC, ETH]
    for view in rig.strategy.views:
        for candles in view.candles.values():
            assert [c.open_ms for c in candles] == [view.open_ms - n * MINUTE for n in range(WARMUP)][::-1]


async def test_all_symbols_are_read_at_the_same_time() -> None:
    rig = Rig(silence)
    rig.listed = [BTC._replace(symbol=Symbol(f"C{n}/USDT:USDT")) for n in range(50)]
    async with rig.running():
        await rig.closes(1)
    asked = [moment for _, limit, moment in rig.tape.asked if limit == 2]
    assert len(asked) == 50
    assert max(asked) == min(asked)


@pytest.mark.failure("MKT-09")
async def test_a_candle_that_comes_late_is_waited_for_and_the_running_one_never_shown() -> None:
    rig = Rig(longs)
    rig.tape.late_ms = 2_000
    async with rig.running():
        await rig.closes(2)
    assert [list(view.candles) for view in rig.strategy.views] == [[BTC, ETH]] * 2
    assert all(c[-1].open_ms == view.open_ms for view in rig.strategy.views for c in view.candles.values())
    assert rig.emitted_ms[0] >= FIRST_CLOSE_MS + 2_000


@pytest.mark.parametrize("trouble", ["broken", "silent"])
async def test_a_symbol_that_cannot_be_read_is_left_out_of_that_close_only(trouble: str) -> None:
    rig = Rig(longs)
    async with rig.running():
        await rig.closes(1)
        getattr(rig.tape, trouble).add(ETH.symbol)
        await rig.closes(2)
        getattr(rig.tape, trouble).clear()
        await rig.closes(4)
    assert [list(view.candles) for view in rig.strategy.views] == [[BTC, ETH], [BTC], [BTC, ETH], [BTC, ETH]]
    eth = [view.candles[ETH] for view in rig.strategy.views if ETH in view.candles]
    assert [c[-1].open_ms - c[0].open_ms for c in eth] == [MINUTE * (WARMUP - 1)] * 3
    assert rig.scan.counts["left_out"] == 1


@pytest.mark.failure("MKT-09")
async def test_a_symbol_with_a_gap_is_left_out_until_enough_candles_follow() -> None:
    rig = Rig(longs)
    rig.tape.withheld = {(ETH.symbol, FIRST_CLOSE_MS)}
    async with rig.running():
        await rig.closes(9)
    shown = [ETH in view.candles for view in rig.strategy.views]
    assert shown == [True, False, False, False, False, False, True, True, True]
    assert all(BTC in view.candles for view in rig.strategy.views)


async def test_a_strategy_that_raises_costs_its_own_close_and_is_made_anew() -> None:
    calls: list[int] = []

    def second_fails(view: View) -> list[Signal]:
        calls.append(view.open_ms)
        if len(calls) == 2:
            raise ZeroDivisionError("oh")
        return longs(view)

    rig = Rig(second_fails)
    async with rig.running():
        await rig.closes(4)
    assert len(calls) == 4
    assert len(rig.batches) == 3
    assert len(rig.made) == 2
    assert rig.made[1].learned == [BTC, ETH]
    assert rig.scan.counts["failures"] == 1
    assert [text for _, text in rig.notifier.messages if "ZeroDivisionError: oh" in text]


async def test_people_hear_of_a_failing_strategy_once_not_every_minute() -> None:
    def fails(view: View) -> list[Signal]:
        raise ValueError("again")

    rig = Rig(fails)
    async with rig.running():
        await rig.closes(5)
    assert rig.scan.counts["failures"] == 5
    assert len(rig.notifier.messages) == 1


def wrong(change: Callable[[Signal], Signal]) -> Callable[[View], list[Signal]]:
    """BTC's signal is changed, ETH's is right."""
    return lambda view: [change(s) if s.instrument == BTC else s for s in longs(view)]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, score=Decimal("1.01")),
        lambda s: replace(s, score=Decimal("NaN")),
        lambda s: replace(s, id=SignalId("mine")),
        lambda s: replace(s, source="another"),
        lambda s: replace(s, instrument=BTC._replace(symbol=Symbol("XRP/USDT:USDT"))),
        lambda s: replace(s, parameters=SignalParameters(stop_loss_percent=Decimal(10))),
        lambda s: replace(s, parameters=SignalParameters(stop_loss_percent=Decimal(0))),
        lambda s: replace(s, parameters=SignalParameters(trailing_activation_percent=Decimal(0))),
        lambda s: replace(s, parameters=SignalParameters(trailing_distance_percent=Decimal(100))),
        lambda s: replace(s, parameters=SignalParameters(take_profit_percent=Decimal("NaN"))),
        lambda s: replace(s, parameters=SignalParameters(time_limit_minutes=Decimal(0))),
    ],
    ids=[
        "score",
        "nan",
        "id",
        "source",
        "instrument",
        "beyond liquidation",
        "no distance",
        "activation",
        "callback",
        "take profit",
        "time limit",
    ],
)
async def test_a_signal_that_breaks_the_contract_is_refused_and_the_others_go_on(
    change: Callable[[Signal], Signal],
) -> None:
    rig = Rig(wrong(change))
    async with rig.running():
        await rig.closes(1)
    (batch,) = rig.batches
    assert [s.instrument for s in batch.signals] == [ETH]
    (refused,) = batch.unusable
    assert refused.code == "malformed"
    assert refused.detail.startswith("the strategy's signal ")


async def test_both_sides_of_one_symbol_cancel_each_other() -> None:
    def both(view: View) -> list[Signal]:
        return [*longs(view), candle_signal("told", view, BTC, Side.SELL, Decimal("0.9"))]

    rig = Rig(both)
    async with rig.running():
        await rig.closes(1)
    assert [s.instrument for s in rig.batches[0].signals] == [ETH]
    assert len(rig.batches[0].unusable) == 2


async def test_the_view_holds_positions_orders_and_free_balances_as_they_were() -> None:
    rig = Rig(silence)
    position, order = a_position(BTC), an_order(an_intent(instrument=ETH))
    foreign = a_position_report(ETH, amount=-2)
    rig.state.put_position(position)
    rig.state.put_order(order)
    rig.state.put_venue_position(foreign)
    rig.state.put_venue_position(a_position_report(BTC, amount=0))
    rig.state.put_balance(a_balance_report(1_000, available=900), now=0.0)
    async with rig.running():
        await rig.closes(1)
    (view,) = rig.strategy.views
    assert (view.positions, view.orders, view.account_positions) == ((position,), (order,), (foreign,))
    assert view.balances == {(BINANCE, USDT): Decimal(900)}
    assert view.taken() == {BTC, ETH}
    assert view.valid_ms == MINUTE
    with pytest.raises(TypeError):
        view.candles[BTC] = ()  # type: ignore[index]


async def test_a_restart_within_the_same_candle_makes_the_same_signals() -> None:
    first, second = Rig(longs, once=True), Rig(longs, once=True)
    await first.scan.run(first.emit, first.expect)
    await asyncio.sleep(5)
    await second.scan.run(second.emit, second.expect)
    ids = [[s.id for s in rig.batches[0].signals] for rig in (first, second)]
    assert ids[0] == ids[1]


async def test_one_look_is_at_the_last_closed_candle_and_ends() -> None:
    rig = Rig(silence, once=True)
    async with asyncio.timeout(2):
        await rig.scan.run(rig.emit, rig.expect)
    (view,) = rig.strategy.views
    assert view.close_ms == FIRST_CLOSE_MS - MINUTE
    assert rig.batches == []
    assert rig.scan.said.startswith("told looked at 2 symbols at the close of ")
    assert rig.scan.said.endswith(": 0 signals")


async def test_symbols_that_are_listed_later_join_and_others_leave() -> None:
    rig = Rig(silence)
    rig.listed = [BTC]
    async with rig.running():
        await rig.closes(1)
        rig.listed = [ETH]
        await rig.closes(62)
    assert list(rig.strategy.views[0].candles) == [BTC]
    assert list(rig.strategy.views[-1].candles) == [ETH]
    assert len(rig.strategy.views) == 62
    assert rig.wanted == [BTC, ETH]
