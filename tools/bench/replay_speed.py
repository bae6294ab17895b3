"""R1: recorded candles through strategy, risk, orders and exits, in candles a second of computing time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from pathlib import Path
from random import Random

from core.config import load_settings
from core.domain.candle import Candle
from core.domain.ids import SignalId, VenueName
from core.domain.money import Price
from core.domain.signal import Side, Signal, SignalParameters
from core.engine.ports import SignalBatch
from core.logs import configure_logging
from core.signals.strategy_scan import StrategyScan
from strategies.base import Options
from strategies.registry import maker
from tools.bench.effort import Effort
from tools.bench.figure import Figure
from tools.bench.processes import BenchError
from tools.bench.venues import VenueFacts
from tools.candle_replay.candles import Recording
from tools.candle_replay.loop import ReplayLoop
from tools.candle_replay.request import Prepared, Request, account_of, settings_of
from tools.candle_replay.session import Session

STRATEGY, MINUTE_MS, EVERY = "scalping_v1", 60_000, 100
START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
HELD_MINUTES = Decimal(5)
FREELY = {"SL_STREAK_LIMIT": "1000", "COOLDOWN_AFTER_LOSS_SECONDS": "0"}
HELD = {"TIME_LIMIT_HOURS": "720", "MAX_POSITION_AGE_HOURS": "700"}
OTHERS = "Nautilus v1 51k / 6-9k, v2 290k; freqtrade 113k / 10k"


async def replay_figures(effort: Effort, wanted: frozenset[str], venues: Sequence[VenueFacts]) -> list[Figure]:
    """Three runs over the same candles: prices alone, a strategy that is silent, and an entry every 100 candles."""
    del wanted, venues
    return await asyncio.to_thread(_measure, effort.replayed, effort.replays)


def _measure(candles: int, rounds: int) -> list[Figure]:
    recording = _candles(candles)
    with configure_logging(None, "CRITICAL", console=StringIO()):
        alone = [_rate(_session("none", recording)) for _ in range(rounds)]
        held = [_rate(_session("none", recording, _Holder, HELD), 1) for _ in range(rounds)]
        asked = [_rate(_session(STRATEGY, recording)) for _ in range(rounds)]
        traded = [_rate(_session(STRATEGY, recording, _Metronome), candles // EVERY) for _ in range(rounds)]
    indicators = _indicators(recording)
    each = [1e6 / max(rates) for rates in (alone, asked, traded)]
    where = (
        f"of {each[2]:.0f} µs a candle: {each[0]:.0f} prices and exits, {indicators:.0f} indicators, "
        f"{max(0.0, each[1] - each[0] - indicators):.0f} asking the strategy, {max(0.0, each[2] - each[1]):.0f} orders "
        f"({(each[2] - each[1]) * EVERY / 1000:.1f} ms for an entry, its stop and its exit)"
    )
    return [
        _figure("registry and exits only, nothing held", alone, "≥ 100,000"),
        _figure("registry and exits only, one position held all the time", held, ""),
        _figure(f"{STRATEGY}, no orders", asked, ""),
        _figure(f"{STRATEGY}, entry, stop and exit every {EVERY} candles", traded, "≥ 30,000", where),
    ]


class _Metronome(Session):
    """Beside what the strategy says there is an entry every so many candles, closed again by its time limit."""

    _count = 0
    _due = EVERY
    again = True
    parameters = SignalParameters(time_limit_minutes=HELD_MINUTES)

    def _ask(self, scan: StrategyScan | None, emit: Callable[[SignalBatch], None], candle: Candle) -> None:
        super()._ask(scan, emit, candle)
        self._count += 1
        if self._count == self._due:
            self._due += EVERY if self.again else 0
            self._enter(emit, candle)

    def _enter(self, emit: Callable[[SignalBatch], None], candle: Candle) -> None:
        now_ms = candle.open_ms + MINUTE_MS
        signal = Signal(
            id=SignalId(str(self._count)),
            source="metronome",
            instrument=self.instrument.id,
            side=Side.BUY if self._count // EVERY % 2 else Side.SELL,
            score=Decimal(1),
            event_time_ms=now_ms,
            expires_at_ms=now_ms + MINUTE_MS,
            parameters=self.parameters,
        )
        received = self.clock.monotonic()
        emit(SignalBatch(source="metronome", received=received, received_ms=now_ms, signals=(signal,), unusable=()))


class _Holder(_Metronome):
    """One position from early on, which nothing closes."""

    again = False
    parameters = SignalParameters(stop_loss_percent=Decimal(20))


def _session(
    strategy: str, recording: Recording, kind: type[Session] = Session, settings_changed: Mapping[str, str] = FREELY
) -> Session:
    request = Request(
        strategy=strategy, data=Path("walk"), venue=VenueName.BINANCE, changes=tuple(settings_changed.items())
    )
    account = account_of(request)
    settings = settings_of(request, load_settings({}, None, to_trade=False), account.instrument, recording.timeframe)
    prepared = Prepared(settings=settings, account=account, recording=recording)
    return kind(prepared.settings, prepared.account, prepared.recording, ReplayLoop())


def _rate(session: Session, least_trades: int = 0) -> float:
    """Candles a second of this thread's computing time."""
    started = time.thread_time()
    outcome = session.play()
    seconds = time.thread_time() - started
    if len(outcome.recorder.trades) < least_trades * 0.9:
        trades, refused = len(outcome.recorder.trades), dict(outcome.recorder.refusals)
        raise BenchError(f"R1: {trades} trades where {least_trades} were expected; refused: {refused}")
    return outcome.candles / seconds


def _indicators(recording: Recording) -> float:
    """Microseconds a candle of the strategy's indicators alone."""
    strategy = maker(STRATEGY)(Options(min_score=Decimal("0.5")))
    instrument = account_of(Request(strategy=STRATEGY, data=Path("walk"))).instrument.id
    started = time.thread_time()
    strategy.learn(instrument, recording.candles, MINUTE_MS)
    return (time.thread_time() - started) * 1e6 / len(recording.candles)


def _candles(count: int) -> Recording:
    """A calm walk around 40,000, the same each time."""
    chance, last = Random(1), 400_000
    candles = []
    for number in range(count):
        opened, last = last, last + chance.randint(-150, 150) + (400_000 - last) // 200
        high, low = max(opened, last) + chance.randint(0, 60), min(opened, last) - chance.randint(0, 60)
        volume = Decimal(chance.randint(500, 1_500)) / 10
        o, h, lo, c = (Price(Decimal(ticks) / 10) for ticks in (opened, high, low, last))
        candles.append(Candle(START_MS + number * MINUTE_MS, o, h, lo, c, volume, volume * c))
    return Recording(candles=candles, length_ms=MINUTE_MS, gaps=())


def _figure(what: str, rates: Sequence[float], aim: str, note: str = "") -> Figure:
    return Figure(
        id="R1",
        venue=VenueName.BINANCE,
        what=f"replayed 1-minute candles: {what}",
        unit="candles/s",
        samples=tuple(rates),
        aim=aim,
        others=f"{OTHERS} (empty / with orders)",
        note=note,
    )
