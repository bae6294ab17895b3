"""DataRegistry: the prices that exits go by, per instrument, with their source and age (DESIGN §2).

Live ticks first; where they are too old, the last closed minute, then a ticker by request. Entries never come here:
they use the live stream or nothing. Storing a tick and telling of it is one step without an await.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.candle import Candle
from core.domain.exits import Funding
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.liquidity import Activity
from core.domain.money import Price
from core.domain.order import TriggerReference
from core.domain.prices import AgeLimits, PriceKind, PriceSource, Purpose, Snapshot
from core.engine.giving_way import AT_ONCE, PAUSE_SECONDS
from core.engine.ports import Level, MarketData, MarketReads, Notifier, PriceTriple, Quote
from core.engine.price_chain import MINUTE_MS, ChainRules, PriceChain
from core.engine.price_reads import PriceReads, Takers
from core.engine.tick_watch import ALERT_SECONDS, SILENT_SECONDS, TickWatch

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
SWEEP_SECONDS = 5.0
"""Between two looks for silence among the symbols that nobody holds."""
REFERENCE_MAX_AGE_MS = 10_000
"""Beyond it a trigger reference is not used but refreshed (STP-04)."""


class _Watched(PriceChain):
    """A chain, and the level that was last seen to be in use."""

    __slots__ = ("level", "seen_level")

    def __init__(self, instrument: InstrumentId, rules: ChainRules) -> None:
        super().__init__(instrument=instrument, rules=rules, limits=rules.limits)
        self.level: PriceSource | None = None
        self.seen_level = False


class DataRegistry:
    """Prices of watched instruments. `counts`: ticks by source, transitions, what was done about late prices."""

    def __init__(
        self,
        *,
        markets: Mapping[VenueName, MarketData],
        reads: Mapping[VenueName, MarketReads],
        rules: ChainRules,
        clock: Clock,
        notifier: Notifier,
        offset_ms: Callable[[VenueName], int],
        serves: Callable[[VenueName], bool],
        activity: Callable[[InstrumentId], Activity],
        reads_funding: bool,
    ) -> None:
        """`markets` and `reads` may lose and gain venues. `offset_ms` is a venue's clock minus ours; one that does not
        serve is asked nothing (`serves`). `activity` is what the screener knows; funding is read only where somebody
        goes by it."""
        self._markets, self._reads, self._rules = markets, reads, rules
        self._clock, self._notifier, self._offset_ms, self._serves = clock, notifier, offset_ms, serves
        self.activity = activity
        self._reads_funding = reads_funding
        self._watched: dict[InstrumentId, _Watched] = {}
        self._by_venue: dict[VenueName, dict[Symbol, _Watched]] = {}
        self._heard: dict[VenueName, MarketData] = {}
        self._fundings: dict[InstrumentId, Funding] = {}
        self._tickers: dict[VenueName, tuple[int, Mapping[Symbol, PriceTriple]]] = {}
        self._requests: dict[VenueName, PriceReads] = {}
        self._needed: set[VenueName] = set()
        self._listeners: list[Callable[[InstrumentId], None]] = []
        self._doubts_clock: Callable[[VenueName], None] = lambda _venue: None
        self._gone: Callable[[InstrumentId], bool] = lambda _instrument: False
        self._silence: TickWatch[InstrumentId] = TickWatch()
        self._warned: set[Purpose] = set()
        self._swept = float("-inf")
        self._held_back: dict[VenueName, Callable[[VenueName, str | None], None]] = {}
        self.counts: Counter[str] = Counter()

    # telling

    def on_tick(self, listener: Callable[[InstrumentId], None]) -> None:
        """Called in the step in which a price of a watched instrument is stored; must be quick and must not raise."""
        self._listeners.append(listener)

    def on_late(self, doubts_clock: Callable[[VenueName], None]) -> None:
        """Called at each look while ticks of a venue come late: its stream is slow, or its clock is not what was
        measured. Must not raise."""
        self._doubts_clock = doubts_clock

    def on_listing(self, gone: Callable[[InstrumentId], bool]) -> None:
        """Who knows that a venue lists an instrument no longer: no price of it will come, none is asked for and nothing
        waits for one. Must not raise."""
        self._gone = gone

    def watch(self, instrument: InstrumentId) -> None:
        """From this step on its price is kept and its silence noticed. No request, no wait; idempotent."""
        if instrument in self._watched:
            return
        chain = _Watched(instrument, self._rules)
        self._watched[instrument] = chain
        self._held(instrument.venue)[instrument.symbol] = chain
        self._listen()
        market = self._markets.get(instrument.venue)
        if market is not None:
            market.hold([instrument.symbol])
            if (quote := market.quote(instrument.symbol)) is not None:
                self._take(chain, quote)

    def unwatch(self, instrument: InstrumentId) -> None:
        if self._watched.pop(instrument, None) is not None:
            del self._by_venue[instrument.venue][instrument.symbol]
            self._fundings.pop(instrument, None)
            if (market := self._markets.get(instrument.venue)) is not None:
                market.release([instrument.symbol])

    # asking

    def snapshot(self, instrument: InstrumentId) -> Snapshot | None:
        """The newest price, whatever its age: to show it."""
        chain = self._dated(instrument)
        return None if chain is None else chain.newest(self._now_ms())

    def exit_view(self, instrument: InstrumentId) -> tuple[Snapshot, bool] | None:
        """The best level that serves a critical exit, and whether it serves a normal one; None = no price."""
        chain = self._watched.get(instrument)
        if chain is None:
            return None
        now_ms = self._now_ms()
        live = chain.live
        if live is None or now_ms - live.at_ms > chain.limits.exit:
            self._date(chain)
        return chain.view(now_ms)

    def limits(self, instrument: InstrumentId) -> AgeLimits:
        """As widened by the pace of its own ticks."""
        chain = self._watched.get(instrument)
        return self._rules.limits if chain is None else chain.limits

    def candles(self, instrument: InstrumentId) -> Sequence[Candle]:
        """Closed minutes without a gap, oldest first, since it is watched (an hour at most)."""
        chain = self._watched.get(instrument)
        return () if chain is None else tuple(chain.candles)

    def funding(self, instrument: InstrumentId) -> Funding | None:
        return self._fundings.get(instrument)

    def levels(self) -> Mapping[InstrumentId, PriceSource | None]:
        """Which level each watched instrument goes by; None = no price."""
        return {instrument: chain.level for instrument, chain in self._watched.items()}

    def unpriced(self, venue: VenueName, *, live: bool) -> Sequence[InstrumentId]:
        """Watched instruments there that no exit could go by a price of; with `live`, by one of the stream. Without
        what is not listed any more."""
        views = [(instrument, self.exit_view(instrument)) for instrument in self._awaited(venue)]
        return [i for i, view in views if view is None or (live and view[0].source is not PriceSource.WEBSOCKET)]

    def hold_blind(self, venues: Iterable[VenueName], hold: Callable[[VenueName, str | None], None]) -> None:
        """Where something is held that has no price at all, `hold` with the reason, and with None once all have one
        (MKT-04)."""
        for venue in venues:
            if blind := self.unpriced(venue, live=False):
                hold(venue, f"no price of {', '.join(i.symbol for i in blind)} since the start")
                self._held_back[venue] = hold

    def reference(self, instrument: InstrumentId, kind: TriggerReference) -> Price | None:
        """The price that fires a stop: live, for the mark else by request; None when it is not known. One that is too
        old is asked for anew and not used (STP-04). For the contract price the middle of the book stands in for the
        last trade."""
        now_ms = self._now_ms()
        chain = self._dated(instrument)
        market = self._markets.get(instrument.venue)
        quote = None if market is None else market.quote(instrument.symbol)
        doubted = chain is not None and chain.doubted is not None
        if quote is not None and not doubted and now_ms - quote.received * 1000 <= REFERENCE_MAX_AGE_MS:
            if kind is TriggerReference.MARK_PRICE:
                return quote.mark
            return None if quote.bid is None or quote.ask is None else Price((quote.bid + quote.ask) / 2)
        if chain is None and quote is None:
            return None
        self._need(instrument.venue)
        if kind is not TriggerReference.MARK_PRICE:
            return None
        if chain is not None and (mark := chain.fresh_mark(now_ms, REFERENCE_MAX_AGE_MS)) is not None:
            return mark
        asked_ms, told = self._tickers.get(instrument.venue, (0, {}))
        ticker = told.get(instrument.symbol) if now_ms - asked_ms <= REFERENCE_MAX_AGE_MS else None
        return None if ticker is None else ticker.mark

    # running

    async def run(self) -> None:
        """Own every read and watch the levels, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._requests.clear()  # of a run before this one nobody reads any more
            while True:
                for venue in [venue for venue in self._reads if venue not in self._requests]:
                    requests = self._requests[venue] = self._requests_of(venue)
                    tasks.create_task(requests.tickers(), name=f"data/tickers/{venue}")
                    tasks.create_task(requests.candles(), name=f"data/candles/{venue}")
                    if self._reads_funding:
                        tasks.create_task(requests.fundings(), name=f"data/funding/{venue}")
                await self.look(PAUSE_SECONDS)
                await asyncio.sleep(LOOK_SECONDS)

    async def look(self, pause: float = 0.0) -> None:
        """See which level each instrument goes by, ask for what is late, and say what has changed."""
        self._listen()
        now, now_ms = self._clock.monotonic(), self._now_ms()
        silent: dict[VenueName, list[Symbol]] = {}
        for number, (instrument, chain) in enumerate(tuple(self._watched.items()), start=1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(pause)
                now, now_ms = self._clock.monotonic(), self._now_ms()
            if self._watched.get(instrument) is not chain:
                continue
            self._date(chain)
            self._note_level(chain, now_ms)
            if not self._gone(instrument) and self._late(chain, now, now_ms):
                silent.setdefault(instrument.venue, []).append(instrument.symbol)
        self._say_prices_again()
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            self._sweep(now, silent)
        for venue in sorted(silent.keys() & self._markets.keys()):  # one that was late at the start tells nothing yet
            symbols = silent[venue]
            self.counts["resubscribed"] += len(symbols)
            log.info("data.resubscribed", venue=venue, symbols=len(symbols), first=symbols[0])
            self._markets[venue].refresh(symbols)
        for venue, hold in tuple(self._held_back.items()):
            if not self.unpriced(venue, live=False):
                hold(venue, None)
                del self._held_back[venue]
        for venue in self._needed & self._requests.keys():
            self._requests[venue].need_tickers()
        self._needed.clear()
        self._doubt_clocks()

    def _late(self, chain: _Watched, now: float, now_ms: int) -> bool:
        """Whether its channel is to be asked for anew. For a late price a ticker is asked for, and people are told."""
        age_ms = chain.live_age_ms(now_ms)
        if chain.doubted is not None or age_ms is None or age_ms > chain.limits.exit:
            self._need(chain.instrument.venue)
        age = None if age_ms is None else age_ms / 1000
        due = self._silence.due(chain.instrument, age, max(SILENT_SECONDS, chain.limits.exit / 1000), now)
        if self._silence.alarming(chain.instrument, age):
            self._alert(chain)
        self._warn_of_limits(chain)
        return due

    def _doubt_clocks(self) -> None:
        for venue in {instrument.venue for instrument, chain in self._watched.items() if chain.late_ms}:
            self._doubts_clock(venue)

    # ticks

    def _listen(self) -> None:
        """To every market there is; one that joined or came back is told what is wanted of it."""
        for venue, market in self._markets.items():
            if self._heard.get(venue) is not market:
                self._heard[venue] = market
                held = self._held(venue)
                market.on_tick(partial(self._on_tick, market, held))
                if held:
                    market.hold(list(held))

    def _on_tick(self, market: MarketData, held: Mapping[Symbol, _Watched], symbol: Symbol) -> None:
        chain = held.get(symbol)
        if chain is None:
            return
        quote = market.quote(symbol)
        if quote is not None and self._take(chain, quote):
            self._tell(chain)

    def _take(self, chain: _Watched, quote: Quote) -> bool:
        doubted = chain.doubted
        if not chain.take(quote, self._now_ms(), self._venue_ms(chain.instrument.venue)):
            if doubted is None:
                self._doubt(chain)
            return False
        self.counts["websocket"] += 1
        if chain.level is not PriceSource.WEBSOCKET:
            self._note_level(chain, self._now_ms())
        return True

    def _doubt(self, chain: _Watched) -> None:
        """One price that nothing confirms: the ticker is asked for at once and decides."""
        self._need(chain.instrument.venue, urgent=True)
        if chain.live is None:
            return
        self.counts["rogue_ticks"] += 1
        last = chain.live.told.price(self._rules.kind)
        where = {"venue": chain.instrument.venue, "symbol": chain.instrument.symbol}
        log.warning("data.tick_doubted", **where, told=str(chain.doubted), believed=str(last))

    def _take_tickers(self, venue: VenueName, told: Mapping[Symbol, PriceTriple]) -> None:
        now_ms = self._now_ms()
        venue_ms = self._venue_ms(venue)
        self._tickers[venue] = now_ms, told
        for symbol, chain in tuple(self._held(venue).items()):
            if symbol not in told:
                continue
            chain.take_ticker(told[symbol], venue_ms, now_ms)
            self.counts["rest"] += 1
            market = self._markets.get(venue)
            quote = None if chain.doubted is None or market is None else market.quote(symbol)
            if quote is not None and self._take(chain, quote):
                self._tell(chain)  # it was no rogue
            else:
                self._tell_late(chain)

    def _take_candles(self, instrument: InstrumentId, candles: Sequence[Candle]) -> None:
        chain = self._watched.get(instrument)
        if chain is None:
            return
        age_ms = max(0, self._venue_ms(instrument.venue) - candles[-1].open_ms - MINUTE_MS)
        if chain.take_candles(candles, self._now_ms() - age_ms):
            self.counts["candle"] += 1
            self._tell_late(chain)

    def _take_funding(self, instrument: InstrumentId, funding: Funding | None) -> None:
        if funding is None or instrument not in self._watched:
            self._fundings.pop(instrument, None)
        else:
            self._fundings[instrument] = funding

    def _tell_late(self, chain: _Watched) -> None:
        """What came by request is news only where it is what is gone by."""
        self._date(chain)
        self._note_level(chain, self._now_ms())
        if chain.level is not None and chain.level is not PriceSource.WEBSOCKET:
            self._tell(chain)

    def _tell(self, chain: _Watched) -> None:
        for listener in self._listeners:
            listener(chain.instrument)

    # levels

    def _note_level(self, chain: _Watched, now_ms: int) -> None:
        view = chain.view(now_ms)
        level = None if view is None else view[0].source
        if level is chain.level and chain.seen_level:
            return
        before, first = chain.level, not chain.seen_level
        if first and level is None:
            return  # nothing has come yet
        chain.level, chain.seen_level = level, True
        if first and level is PriceSource.WEBSOCKET:
            return
        age_ms = chain.live_age_ms(now_ms) if view is None else view[0].age_ms
        self.counts[f"{_word(before)}->{_word(level)}"] += 1
        _say_transition(chain.instrument, before, level, age_ms)

    def _say_prices_again(self) -> None:
        for instrument in self._silence.ended:
            self._notifier.notify(Level.INFO, f"{instrument}: live prices come again", kind=AlertKind.PRICES)
        self._silence.ended.clear()

    def _alert(self, chain: _Watched) -> None:
        self.counts["alerts"] += 1
        level = "it has no price" if chain.level is None else f"it goes by {chain.level}"
        self._notifier.notify(
            Level.CRITICAL,
            f"{chain.instrument}: no live price for {ALERT_SECONDS:g} s with a position open; {level}",
            kind=AlertKind.PRICES,
        )

    def _warn_of_limits(self, chain: _Watched) -> None:
        """A limit shorter than a feed's own interval calls every price of it stale (MKT-06)."""
        if chain.interval_ms <= self._rules.limits.entry:
            return
        for purpose in Purpose:
            if chain.interval_ms > self._rules.limits.of(purpose) and purpose not in self._warned:
                self._warned.add(purpose)
                log.warning(
                    "data.limit_below_interval",
                    symbol=str(chain.instrument),
                    purpose=purpose.value,
                    limit_ms=self._rules.limits.of(purpose),
                    interval_ms=chain.interval_ms,
                )

    # the rest

    def _sweep(self, now: float, silent: dict[VenueName, list[Symbol]]) -> None:
        """Symbols that are wanted and not held: an entry would find no price. Where all are silent it is the socket."""
        everything: set[InstrumentId] = set(self._watched)
        for venue, market in self._markets.items():
            if market.unasked:
                continue
            due, alive = [], False
            for symbol in market.wanted:
                instrument = InstrumentId(venue, symbol)
                everything.add(instrument)
                quote = market.quote(symbol)
                age = None if quote is None else now - quote.received
                alive = alive or (age is not None and age <= SILENT_SECONDS)
                if instrument not in self._watched and self._silence.due(instrument, age, SILENT_SECONDS, now):
                    due.append(symbol)
            if due and alive:
                silent.setdefault(venue, []).extend(due)
        self._silence.keep(everything)

    def _held(self, venue: VenueName) -> dict[Symbol, _Watched]:
        return self._by_venue.setdefault(venue, {})

    def _awaited(self, venue: VenueName) -> list[InstrumentId]:
        """What is watched there and can have a price."""
        return [chain.instrument for chain in self._held(venue).values() if not self._gone(chain.instrument)]

    def _dated(self, instrument: InstrumentId) -> _Watched | None:
        chain = self._watched.get(instrument)
        if chain is not None:
            self._date(chain)
        return chain

    def _date(self, chain: _Watched) -> None:
        """Where a stream tells changes only, what it told is as fresh as the stream."""
        market = self._markets.get(chain.instrument.venue)
        quote = None if market is None or chain.live is None else market.quote(chain.instrument.symbol)
        if quote is not None:
            trades = self._rules.kind is PriceKind.TRADES and quote.last_received is not None
            chain.unchanged(quote.last_received if trades and quote.last_received is not None else quote.received)

    def _need(self, venue: VenueName, *, urgent: bool = False) -> None:
        requests = self._requests.get(venue)
        if requests is None:
            self._needed.add(venue)
        else:
            requests.need_tickers(urgent=urgent)

    def _requests_of(self, venue: VenueName) -> PriceReads:
        return PriceReads(
            venue=venue,
            reads=self._reads,
            serves=self._serves,
            watched=lambda: self._awaited(venue),
            takers=Takers(tickers=self._take_tickers, candles=self._take_candles, funding=self._take_funding),
            venue_ms=lambda: self._venue_ms(venue),
            clock=self._clock,
            counts=self.counts,
        )

    def _venue_ms(self, venue: VenueName) -> int:
        return self._clock.now_ms() + self._offset_ms(venue)

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)


def _word(level: PriceSource | None) -> str:
    return "none" if level is None else level.value


def _say_transition(
    instrument: InstrumentId, before: PriceSource | None, level: PriceSource | None, age_ms: int | None
) -> None:
    age_s = None if age_ms is None else round(age_ms / 1000, 1)
    told = "" if age_s is None else f", age {age_s:.1f} s"
    say = log.info if level is PriceSource.WEBSOCKET else log.warning
    fields = {"from": _word(before), "to": _word(level), "age_s": age_s}
    text = f"price source {instrument.symbol} {_word(before)} -> {_word(level)}{told}"
    say(text, venue=instrument.venue, symbol=instrument.symbol, **fields)
