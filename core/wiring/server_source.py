"""The signal server as a source, built from settings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from core.assembly import Engine
from core.config import Settings
from core.domain.ids import VenueName
from core.engine.records import StateRecord
from core.signals.parsing import SignalReader
from core.signals.polled import CheckPlan
from core.signals.server import ServerAddress, SignalForm, SignalServer
from core.transport import Transport
from core.wiring.source_clock import SourceClock

_CANDLE_KEY = "newest_polled_candle"


def server_source(engine: Engine, transport: Transport, *, once: bool, held: Mapping[str, str]) -> SignalServer | None:
    """None where no server is set. With `once` it is asked at once, whatever WAVE_CHECK_MINUTES says. `held`: the
    journal's values of earlier runs, among them the newest candle whose polled wave was handled."""
    settings: Settings = engine.settings
    signals, wave = settings.signals, settings.wave
    if signals.ws_url is None:
        return None
    token = "" if signals.ws_token is None else signals.ws_token.get_secret_value()
    return SignalServer(
        address=ServerAddress(url=signals.ws_url, token=token),
        form=SignalForm(signals.form),
        socket=transport.socket,
        reader=signal_reader(engine, "server"),
        collect_seconds=wave.collect_ms / 1000,
        plan=CheckPlan(
            minutes=wave.check_minutes,
            interval_seconds=wave.check_interval_seconds,
            duration_seconds=wave.check_duration_seconds,
            at_once=once,
        ),
        clock=SourceClock(engine),
        notifier=engine.notifier,
        newest_candle_ms=int(held.get(_CANDLE_KEY, "0")),
        note=partial(_note_candle, engine),
    )


def signal_reader(engine: Engine, source: str) -> SignalReader:
    """How signals of a source are read that come from outside."""
    settings: Settings = engine.settings
    default = settings.trading.default_exchange
    return SignalReader(
        source=source,
        ttl_ms=settings.signals.ttl_seconds * 1000,
        venues=tuple(VenueName(name) for name in settings.venues),
        default_venue=None if default is None else VenueName(default),
        resolve=engine.resolve,
        near=lambda venue, spelling: engine.symbol_index(venue).near(spelling),
    )


def _note_candle(engine: Engine, candle_ms: int) -> None:
    """Written before any order of that candle's wave: the journal keeps the order of its records (SIG-16)."""
    record = StateRecord(key=_CANDLE_KEY, value=str(candle_ms), time_ms=engine.clock.now_ms())
    engine.journal.append_nowait([record])
