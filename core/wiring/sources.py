"""Where signals come from: the signal server, the webhook, a strategy; built from settings once the venues are open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from functools import partial

import structlog

from core.assembly import Engine
from core.config import Settings
from core.domain.alerts import AlertKind
from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED
from core.domain.symbols import SymbolAmbiguous
from core.engine.ports import Level, MarketReads, SignalBatch, SignalSource
from core.errors import ConfigError
from core.settings.problems import Problem
from core.settings.values import to_text
from core.signals.strategy_scan import ScanRules, StrategyScan
from core.signals.universe import ByRules, NamedInstruments, Universe
from core.transport import Transport
from core.wiring.rules import may_be_entered, universe_rules
from core.wiring.server_source import server_source
from core.wiring.webhook_source import WEBHOOK, webhook_source
from strategies.base import Options, Strategy
from strategies.registry import known, maker

log = structlog.get_logger(__name__)

NO_STRATEGY = "none"


class Sources:
    """The sources of one run by name. `decided` is set when every one has ended and none had anything to say."""

    def __init__(self, sources: Mapping[str, SignalSource]) -> None:
        self._sources = dict(sources)
        self._running = set(self._sources)
        self._emitted = 0
        self.decided = asyncio.Event()

    @property
    def names(self) -> list[str]:
        return list(self._sources)

    @property
    def said(self) -> str:
        """How the strategy's last look went, for people."""
        scans = (source for source in self._sources.values() if isinstance(source, StrategyScan))
        return "; ".join(scan.said for scan in scans)

    async def run(self, name: str, emit: Callable[[SignalBatch], None], expect: Callable[[], None]) -> None:
        """Until cancelled, or until the source has nothing more to do."""

        def counted(batch: SignalBatch) -> None:
            self._emitted += 1
            emit(batch)

        await self._sources[name].run(counted, expect)
        self._running.discard(name)
        if not self._running and not self._emitted:
            self.decided.set()


def signal_sources(
    engine: Engine,
    transport: Transport,
    *,
    held: Mapping[str, str],
    once: bool,
    seen: Iterable[tuple[str, str]] = (),
) -> Sources:
    """The signal server and the webhook, if set; the strategy where neither is, or where STRATEGY is set explicitly.

    `held` are the journal's values of earlier runs, `seen` the signals they handled. Raises ConfigError for a strategy
    that does not exist, cannot reach the scores asked for, or shall look at symbols that are not listed linear swaps
    (CFG-09).
    """
    sources: dict[str, SignalSource] = {}
    server = server_source(engine, transport, once=once, held=held)
    if server is not None:
        sources["server"] = server
    if (webhook := webhook_source(engine, seen)) is not None:
        sources[WEBHOOK] = webhook
    settings = engine.settings
    if settings.strategy.name != NO_STRATEGY and (not sources or "STRATEGY" in settings.sources):
        scan = strategy_scan(engine, once=once)
        if scan is not None:
            sources[settings.strategy.name] = scan
    return Sources(sources)


def strategy_scan(engine: Engine, *, once: bool) -> StrategyScan | None:
    """The configured strategy as a source; None where its venue cannot be used. Raises ConfigError."""
    settings = engine.settings
    if not _venues(engine):
        text = f"strategy {settings.strategy.name} has no venue: DEFAULT_EXCHANGE cannot be used"
        log.error("scan.no_venue", strategy=settings.strategy.name, default=settings.trading.default_exchange)
        engine.notifier.notify(Level.WARNING, text, kind=AlertKind.SIGNALS)
        return None
    return StrategyScan(
        make=_maker(settings),
        rules=ScanRules(
            timeframe=settings.strategy.timeframe,
            ttl_ms=settings.signals.ttl_seconds * 1000,
            quotes=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
            most_stop_percent=HUNDRED / settings.sizing.leverage,
        ),
        universe=_universe(engine),
        reads=engine.reads,
        state=engine.orders.state,
        opened=engine.desk.opened,
        offset_ms=lambda: min((engine.clients[venue].clock_offset_ms for venue in _venues(engine)), default=0),
        on_universe=partial(_want_prices, engine),
        advise=partial(engine.exits.advise, settings.strategy.name),
        clock=engine.clock,
        notifier=engine.notifier,
        once=once,
    )


def _maker(settings: Settings) -> Callable[[], Strategy]:
    strategy, least = settings.strategy, settings.signals.min_score
    try:
        create = maker(strategy.name)
    except KeyError:
        fix = f"choose one of {', '.join(known())}, or {NO_STRATEGY}"
        raise _refused("STRATEGY", strategy.name, "is not a strategy", fix) from None
    make = partial(create, Options(min_score=strategy.min_score))
    best = make().scores[1]
    for variable, score in (("STRATEGY_MIN_SCORE", strategy.min_score), ("MIN_SIGNAL_SCORE", least)):
        if score > best:
            what = f"is more than {to_text(best)}, the best score of {strategy.name}: it could never trade"
            raise _refused(variable, to_text(score), what, "lower it")
    return make


def _venues(engine: Engine) -> list[VenueName]:
    """Those the strategy trades at: DEFAULT_EXCHANGE if it is set, else every venue in use."""
    default = engine.settings.trading.default_exchange
    return [venue for venue in engine.clients if default is None or venue == default]


def _universe(engine: Engine) -> Universe:
    """Raises ConfigError where a symbol is named that no venue lists, or whose quote coin is off."""
    chosen = engine.settings.strategy.symbols
    if chosen.startswith("top "):
        return ByRules(
            universe_rules(engine.settings, int(chosen.removeprefix("top "))),
            partial(_reads, engine),
            offered=partial(_offered, engine),
            balance=partial(_wallet, engine),
            now_ms=engine.clock.now_ms,
        )
    spellings = chosen.split(",")
    for spelling in spellings:
        _prove(engine, spelling)
    return NamedInstruments(partial(_named, engine, spellings))


def _prove(engine: Engine, spelling: str) -> None:
    listed, venues = _listed(engine, spelling), _venues(engine)
    if not listed and len(engine.clients) < len(engine.settings.venues):
        log.warning("scan.symbol_not_listed", symbol=spelling, asked=venues, meaning="not every venue can be asked now")
    elif not listed:
        what = f"names {spelling}, which is no linear swap of {', '.join(venues)}"
        raise _refused("STRATEGY_SYMBOLS", engine.settings.strategy.symbols, what, "correct the name or leave it out")
    for instrument in listed:
        quote = engine.instruments[instrument].quote
        if quote not in engine.settings.trading.quote_coins:
            what = f"names {spelling}, whose quote coin {quote} is not among QUOTE_COIN"
            raise _refused("STRATEGY_SYMBOLS", engine.settings.strategy.symbols, what, f"add {quote} or leave it out")
    if listed and not _named(engine, [spelling]):
        log.warning(
            "scan.symbol_not_enterable", symbol=spelling, meaning="STOPLIST_SYMBOLS or ALLOWLIST_SYMBOLS leaves it out"
        )


def _named(engine: Engine, spellings: Collection[str]) -> list[InstrumentId]:
    """Without those that may not be entered: nothing is asked about them (VAL-17)."""
    listed = dict.fromkeys(i for spelling in spellings for i in _listed(engine, spelling))
    return [i for i in listed if may_be_entered(engine.settings, engine.instruments[i])]


def _listed(engine: Engine, spelling: str) -> list[InstrumentId]:
    """The instrument at every venue that lists it now."""
    try:
        found = [(venue, engine.resolve(venue, spelling)) for venue in _venues(engine)]
    except SymbolAmbiguous as error:
        what, fix = f"names a symbol twice listed: {error}", "write it as the venue does, with its settlement"
        raise _refused("STRATEGY_SYMBOLS", engine.settings.strategy.symbols, what, fix) from None
    return [InstrumentId(venue, symbol) for venue, symbol in found if symbol is not None]


def _reads(engine: Engine) -> dict[VenueName, MarketReads]:
    return {venue: engine.reads[venue] for venue in _venues(engine)}


def _offered(engine: Engine, venue: VenueName) -> list[Instrument]:
    """What may be entered at a venue by its quote coin and the symbol lists."""
    listed = engine.clients[venue].instruments.values()
    return [instrument for instrument in listed if may_be_entered(engine.settings, instrument)]


def _wallet(engine: Engine, venue: VenueName, asset: Asset) -> Decimal | None:
    balance = engine.orders.state.balance(venue, asset)
    return None if balance is None else balance.wallet


def _want_prices(engine: Engine, instruments: Collection[InstrumentId]) -> None:
    """A touch that was subscribed to is told at once; without that it may come seconds late."""
    by_venue: dict[VenueName, list[Symbol]] = defaultdict(list)
    for instrument in instruments:
        by_venue[instrument.venue].append(instrument.symbol)
    for venue, symbols in by_venue.items():
        engine.markets[venue].want(symbols)


def _refused(variable: str, value: str | Decimal, what: str, fix: str) -> ConfigError:
    return ConfigError([Problem(variable=variable, value=str(value), what=what, fix=fix)])
