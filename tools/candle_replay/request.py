"""From what the user asked for to what is replayed: the settings, the venue's account, the candles."""

from __future__ import annotations

import os
from decimal import Decimal
from importlib import import_module
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from core.config import Settings, default_env_file, derive_settings, load_settings
from core.domain.candle import TIMEFRAME_MS
from core.domain.ids import VenueName
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED
from core.domain.symbols import SymbolAmbiguous, SymbolIndex
from core.engine.ports import VenueTraits
from core.wiring.sources import NO_STRATEGY
from strategies.registry import known
from tools.candle_replay.candles import BadInput, Recording, joined, moment, read
from tools.candle_replay.session import Account
from tools.candle_replay.tape import Costs
from tools.candle_replay.translate import instrument_of
from tools.venuesim.exchange.model import Instrument as SimulatedInstrument
from tools.venuesim.venues import load

LISTED = 200
"""Instruments of the simulator's table to choose from: those captured from the venue come first."""
FUNDING_HOURS = 8
NORMAL_COSTS = Costs(spread=Decimal("0.01"), slippage=Decimal("0.02"))
NOWHERE = "http://127.0.0.1:9"
"""The address the settings name; nothing is ever sent."""
FIVE_MINUTES_MS = 300_000
FILTER_OF_FIVE_MINUTES = "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING"
"""Longer candles do not tell the move of five minutes: refused for that, no signal of theirs would ever be played."""


class Request(Struct, frozen=True, kw_only=True):
    """What was asked for. Percentages of the price; `latency_ms` one way; `changes` are settings by name."""

    strategy: str
    data: Path
    symbol: str = "BTC/USDT:USDT"
    venue: VenueName = VenueName.BINANCE
    timeframe: str | None = None
    begin: str | None = None
    end: str | None = None
    balance: Decimal = Decimal(10_000)
    latency_ms: float = 50.0
    costs: Costs = NORMAL_COSTS
    funding_percent: Decimal = Decimal("0.01")
    env_file: Path | None = None
    changes: tuple[tuple[str, str], ...] = ()


class Prepared(Struct, frozen=True, kw_only=True):
    settings: Settings
    account: Account
    recording: Recording


def prepare(request: Request) -> Prepared:
    """Everything a replay needs, checked. Raises BadInput, and ConfigError for settings that make no sense."""
    names = [*known(), NO_STRATEGY]
    if request.strategy not in names:
        raise BadInput(f"--strategy {request.strategy} does not exist; there are {', '.join(names)}.")
    if request.timeframe is not None and request.timeframe not in TIMEFRAME_MS:
        raise BadInput(f"--timeframe {request.timeframe} is not one of {', '.join(TIMEFRAME_MS)}.")
    begin = None if request.begin is None else moment(request.begin, "--from")
    end = None if request.end is None else moment(request.end, "--to")
    if begin is not None and end is not None and begin >= end:
        raise BadInput(f"--from {request.begin} is not before --to {request.end}.")
    account = account_of(request)
    recording = read(request.data, begin_ms=begin, end_ms=end)
    if request.timeframe is not None:
        recording = joined(recording, request.timeframe)
    daemon = load_settings(os.environ, request.env_file or default_env_file(), to_trade=False)
    settings = settings_of(request, daemon, account.instrument, recording.timeframe)
    return Prepared(settings=settings, account=account, recording=recording)


def account_of(request: Request) -> Account:
    """The venue's account and instrument. Raises BadInput for a symbol the simulator does not list."""
    venue = load(request.venue)
    simulated = list(venue.instruments(LISTED, 0))
    listed = {row.id.symbol: row for row in (instrument_of(s, request.venue) for s in simulated)}
    try:
        symbol = SymbolIndex(listed).find(request.symbol)
    except SymbolAmbiguous as error:
        raise BadInput(f"--symbol {request.symbol} is ambiguous: {error}.") from None
    if symbol is None:
        real = ", ".join(str(listed[s].venue_symbol) for s, row in zip(listed, simulated, strict=True) if _real(row))
        raise BadInput(f"--symbol {request.symbol} is not in the simulator's list of {request.venue}: {real}.")
    instrument = listed[symbol]
    traits: VenueTraits = import_module(f"core.venues.{request.venue}.facts").TRAITS
    return Account(
        venue=request.venue,
        simulated=_funded(next(s for s in simulated if s.symbol == instrument.venue_symbol), request.funding_percent),
        instrument=instrument,
        traits=traits,
        policy=venue.policy,
        balance=request.balance,
        costs=request.costs,
        latency_ms=request.latency_ms,
    )


def _real(row: SimulatedInstrument) -> bool:
    return not row.generated


def _funded(row: SimulatedInstrument, percent: Decimal) -> SimulatedInstrument:
    return replace(row, funding_hours=FUNDING_HOURS, funding_rate=percent / HUNDRED)


def settings_of(request: Request, settings: Settings, instrument: Instrument, timeframe: str) -> Settings:
    """The daemon's `settings`, with this one venue, this strategy and nobody to tell; then what --set says. Raises
    ConfigError and BadInput."""
    changes: dict[str, str | None] = dict.fromkeys(_not_of_a_replay(settings))
    own = request.venue.upper()
    changes |= {f"{own}_API_KEY": "replay", f"{own}_API_SECRET": "replay", f"{own}_URL": NOWHERE}
    if request.venue is VenueName.OKX:
        changes["OKX_PASSPHRASE"] = "replay"
    changes |= {"STRATEGY": request.strategy, "STRATEGY_SYMBOLS": instrument.id.symbol, "STRATEGY_TIMEFRAME": timeframe}
    changes |= {"QUOTE_COIN": instrument.quote, "TRADING_ENABLED": "true"}
    if TIMEFRAME_MS[timeframe] > FIVE_MINUTES_MS:
        changes[FILTER_OF_FIVE_MINUTES] = "pass"
    for name, value in request.changes:
        changes[name] = value
    try:
        return derive_settings(settings, changes, source="replay")
    except KeyError as error:
        raise BadInput(f"--set: {error.args[0]}.") from None


def _not_of_a_replay(settings: Settings) -> list[str]:
    """Names that were given and are about other venues, the signal server, people, or this host."""
    apart = ("BINANCE_", "BYBIT_", "OKX_", "SIGNAL_WS_", "TELEGRAM_")
    alone = {"EXCHANGES", "DEFAULT_EXCHANGE", "STOPLIST_SYMBOLS", "ALLOWLIST_SYMBOLS"}
    return [name for name in settings.sources if name.startswith(apart) or name in alone]
