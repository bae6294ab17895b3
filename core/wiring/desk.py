"""The operator's desk, put together from a running engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from core.assembly import Engine
from core.config import Settings
from core.domain.candle import Candle
from core.domain.ids import InstrumentId
from core.engine.operator_desk import ConfigLine, HealthWord, LogLine, OperatorDesk
from core.engine.queries import Queries
from core.log_reading import last_lines
from core.redaction import Redactor
from core.settings.display import shown_value
from core.settings.fields import entries
from core.status.health import Health
from core.storage.journal import FILE_NAME
from core.storage.past import JournalPast
from core.storage.writer import InlineExecutor


def operator_desk(
    engine: Engine, queries: Queries, health: Callable[[], Health], opened: Callable[[], bool]
) -> OperatorDesk:
    """Connects nothing and reads nothing before it is asked. `opened`: see OperatorDesk."""
    settings = engine.settings
    worker = engine.workers or InlineExecutor()
    return OperatorDesk(
        queries=queries,
        commands=engine.commands,
        past=JournalPast(settings.process.data_dir / FILE_NAME, worker),
        logs=partial(_log_lines, settings, worker),
        candles=partial(_candles, engine),
        instruments=partial(_instruments, engine),
        config=partial(_config, settings),
        health=lambda: _word(health()),
        opened=opened,
        ready=lambda: not engine.risk.states.starting,
        notifier=engine.notifier,
        audit=engine.audit,
    )


async def _log_lines(settings: Settings, worker: Executor, count: int, least: str) -> Sequence[LogLine]:
    path = settings.process.log_dir / "breakwater.log"
    redactor = Redactor(settings.secret_values())
    return await asyncio.get_running_loop().run_in_executor(worker, last_lines, path, count, least, redactor)


async def _candles(engine: Engine, instrument: InstrumentId, timeframe: str, limit: int) -> Sequence[Candle]:
    return await engine.reads[instrument.venue].candles(instrument.symbol, timeframe, limit)


def _instruments(engine: Engine, spelling: str) -> Sequence[InstrumentId]:
    found = ((venue, engine.symbol_index(venue).find(spelling)) for venue in engine.clients)
    return [InstrumentId(venue, symbol) for venue, symbol in found if symbol is not None]


def _config(settings: Settings) -> Sequence[ConfigLine]:
    return [
        ConfigLine(
            group=entry.group.title,
            name=entry.env,
            value=shown_value(settings, entry),
            source=settings.sources.get(entry.env, "default"),
            effective=entry.effective,
        )
        for entry in entries(Settings)
    ]


def _word(health: Health) -> HealthWord:
    return HealthWord(level=health.level.value, reasons=health.reasons)
