"""WaveProcessor: mark, prefetch per venue, validate in parallel, allocate, execute, account for every leg.

Everything between two awaits is deterministic: the same wave in the same state is decided the same way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import structlog
from msgspec import Struct
from msgspec.structs import asdict, replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.gate import Gate, first_refusal, refused
from core.domain.ids import SignalId, VenueName, WaveId
from core.domain.money import plain
from core.domain.signal import Signal
from core.domain.verdict import Denied, Reason
from core.domain.wave import Candidate, Leg, LegState, StageTimes, TurnedDown, Wave, WaveReport, ranked
from core.engine.bookkeeping import Bookkeeper
from core.engine.entry import EntryDesk
from core.engine.owned_tasks import OwnedTasks, TaskOwner
from core.engine.ports import Level, Notifier, SignalBatch
from core.engine.prefetch import Prefetcher
from core.engine.records import SignalMark, WaveMark
from core.engine.waiting_batches import WaitingBatches
from core.errors import JournalUnwritable

log = structlog.get_logger(__name__)

REPORTS_KEPT = 50
LEGS_KEPT = 200
"""Of all kept reports together: with its gates a leg takes 5 KB, and a wave may have 500 of them."""
CAUSES_TOLD = 5
TOGETHER_SECONDS = 0.025
"""Venues that are ready within this long of each other are ranked together; a slower one ranks by itself."""
SEEN_REMEMBERED = 200_000
"""Signals, newest last; the oldest have long expired. The journal knows a week of them at start."""


class WaveRules(Struct, frozen=True, kw_only=True):
    """`max_trades` per venue and wave; `max_trades_total` over all venues, 0 = no cap. Seconds for the rest."""

    max_trades: int
    max_trades_total: int
    max_positions: int
    timeout: float


class WaveProcessor:
    def __init__(
        self,
        *,
        desk: EntryDesk,
        prefetcher: Prefetcher,
        books: Bookkeeper,
        rules: WaveRules,
        clock: Clock,
        notifier: Notifier,
        seen: frozenset[tuple[str, str]],
        renew_rules: Callable[[VenueName], Awaitable[None]],
    ) -> None:
        """`renew_rules` loads a venue's trading rules anew; it must not raise for what the venue says."""
        self._desk = desk
        self._prefetcher = prefetcher
        self._books = books
        self._rules = rules
        self._clock = clock
        self._notifier = notifier
        self._renew_rules = renew_rules
        self._seen = dict.fromkeys(seen)
        self._tasks: TaskOwner | None = None
        self.waiting = WaitingBatches()
        self.reports: deque[WaveReport] = deque(maxlen=REPORTS_KEPT)
        """The newest; the journal has them all."""
        self.finished = 0
        self.refusals: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        """Heard since the start, by source."""
        self._listeners: list[Callable[[WaveReport], None]] = []

    def on_report(self, listener: Callable[[WaveReport], None]) -> None:
        """Called with every finished wave."""
        self._listeners.append(listener)

    async def run(self) -> None:
        async with OwnedTasks() as tasks:
            self._tasks = tasks
            while self.waiting:
                self.handle(self.waiting.next())
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def expect(self) -> None:
        """A wave is due shortly: ask the venues and warm their connections now, off the wave's own time."""
        if self._tasks is not None:
            self._tasks.create_task(self._prefetcher.prepare(), name="wave/expected")

    def handle(self, batch: SignalBatch) -> None:
        """Start a wave. Its signals are marked as seen here, before anything can be awaited (SIG-01, INV-11)."""
        if self._tasks is None:
            self.waiting.put(batch)
            return
        self.signals[batch.source] += len(batch.signals) + len(batch.unusable)
        wave, legs = self._mark(batch)
        self._tasks.create_task(self._process(wave, legs, batch.received), name=f"wave/{wave.id}")

    def _mark(self, batch: SignalBatch) -> tuple[Wave, dict[int, Leg]]:
        legs: dict[int, Leg] = {}
        for index, signal in enumerate(batch.signals):
            key = (signal.source, signal.id)
            if key in self._seen:
                denied = Denied(reason=Reason.ALREADY_SEEN, detail="this signal was handled before")
                legs[index] = Leg(signal=signal, state=LegState.REFUSED, denied=denied)
            self._seen[key] = None
        while len(self._seen) > SEEN_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        first = min((s.id for s in batch.signals), default="")
        wave_id = WaveId(f"{batch.source}-{batch.received_ms}-{sha256(first.encode()).hexdigest()[:4]}")
        wave = Wave(
            id=wave_id,
            source=batch.source,
            received_ms=batch.received_ms,
            signals=batch.signals,
            unusable=batch.unusable,
        )
        return wave, legs

    async def _process(self, wave: Wave, legs: dict[int, Leg], started: float) -> None:
        structlog.contextvars.bind_contextvars(wave=wave.id)
        run = _Run(wave=wave, legs=legs, started=started, clock=self._clock, timeout=self._rules.timeout)
        fresh = [i for i in range(len(wave.signals)) if i not in legs]
        marks = [self._signal_mark(wave, wave.signals[i]) for i in fresh]
        self._books.soon([WaveMark(wave_id=wave.id, source=wave.source, received_ms=wave.received_ms), *marks])
        log.info("wave.received", signals=len(wave.signals), unusable=len(wave.unusable), source=wave.source)
        try:
            async with asyncio.timeout(self._rules.timeout):
                await self._trade(run, fresh)
        except TimeoutError:
            log.warning("wave.timeout", seconds=self._rules.timeout)
        except Exception:
            self._finish(run)  # its books are closed with what is known; why it failed is the supervisor's to tell
            raise
        self._finish(run)

    # deciding

    async def _decide(self, run: _Run, venue: VenueName, indices: Sequence[int]) -> list[Candidate]:
        """The signals of one venue, by that venue and by nothing else (SIG-04); what it turns down is settled."""
        denied = await self._prefetcher.prefetch(venue)
        run.stamp("prefetched")
        positions = self._desk.open_positions([venue])
        text = f"prefetched {positions} positions"
        log.info("wave.prefetched", text=text, venue=venue, positions=positions, ms=run.stages.prefetched)
        verdicts = await self._judged([run.wave.signals[i] for i in indices], denied)
        run.stamp("validated")
        candidates = []
        for verdict in verdicts:
            if isinstance(verdict, TurnedDown):
                run.turn_down(verdict.signal, verdict.gates)
            else:
                candidates.append(verdict)
        took = run.stages.took_ms("prefetched", "validated")
        text = f"validation complete: {len(candidates)} of {len(indices)} passed on {venue} in {took:g} ms"
        ms = run.stages.validated
        log.info("wave.validated", text=text, venue=venue, passed=len(candidates), of=len(indices), ms=ms)
        return candidates

    async def _judged(
        self, signals: Sequence[Signal], denied: Denied | None = None, attempt: int = 0
    ) -> list[Candidate | TurnedDown]:
        """`denied`: why the state of their venue could not be had."""
        if denied is not None:
            gates = (Gate(name="prefetch", value="failed", denied=denied),)
            return [TurnedDown(signal=signal, gates=gates) for signal in signals]
        failures = await self._desk.warm(signals)
        return [self._judge(signal, attempt, failures.get(signal.instrument)) for signal in signals]

    def _judge(self, signal: Signal, attempt: int, failure: Exception | None) -> Candidate | TurnedDown:
        try:
            if failure is not None:
                raise failure
            return self._desk.validate(signal, attempt)
        except Exception as error:  # swallow: one signal we cannot judge must not cost the others of its wave (SIG-10)
            log.exception("wave.signal_failed", signal_id=signal.id)
            gate = refused("judged", Reason.INTERNAL_ERROR, f"it could not be judged: {error!r}")
            return TurnedDown(signal=signal, gates=(gate,))

    # executing

    async def _trade(self, run: _Run, fresh: Sequence[int]) -> None:
        """Each venue decides its signals by itself; those that are ready fill the slots, best first, and do not wait
        for one that is slow (NET-10). A definite refusal or a zero fill frees its slot for the next candidate."""
        spare: deque[Candidate] = deque()
        working: dict[asyncio.Task[Leg], Candidate] = {}
        held: Counter[VenueName] = Counter()
        async with asyncio.TaskGroup() as tasks:
            deciding = {
                tasks.create_task(self._decide(run, venue, indices), name=f"wave/{run.wave.id}/{venue}")
                for venue, indices in run.by_venue(fresh).items()
            }
            while deciding or working:
                await asyncio.wait({*deciding, *working}, return_when=asyncio.FIRST_COMPLETED)
                if any(task.done() for task in deciding):
                    decided, deciding = await asyncio.wait(deciding, timeout=TOGETHER_SECONDS)
                    spare = deque(ranked([*spare, *(c for ready in decided for c in ready.result())]))
                for task in [task for task in working if task.done()]:
                    candidate, leg = working.pop(task), task.result()
                    run.settle(candidate.signal, leg)
                    if leg.state is not LegState.REFUSED:
                        continue
                    if candidate.attempt == 0 and self._desk.rules_changed(candidate.signal):
                        name = f"wave/{run.wave.id}/again/{candidate.signal.id}"
                        deciding.add(tasks.create_task(self._decide_again(candidate, held), name=name))
                        continue
                    held[candidate.signal.instrument.venue] -= 1
                    spare = self._without_margin(run, candidate, leg, spare)
                chosen = self._allocate(run, spare, held)
                run.stamp_once("allocated")
                for candidate in await self._send(run, chosen, held):
                    task = tasks.create_task(self._follow(run, candidate), name=f"leg/{candidate.signal.id}")
                    working[task] = candidate
                run.stamp_once("journaled")
        for candidate in spare:
            run.turn_down(candidate.signal, (*candidate.gates, _slot_gate(candidate, run.full[candidate.signal.id])))

    async def _decide_again(self, candidate: Candidate, held: Counter[VenueName]) -> list[Candidate]:
        """By the venue's newest rules (VAL-20). Its slot is kept meanwhile, and no other venue waits for them."""
        await self._renew_rules(candidate.signal.instrument.venue)
        judged = await self._judged([candidate.signal], attempt=1)
        held[candidate.signal.instrument.venue] -= 1
        return [again for again in judged if isinstance(again, Candidate)]

    def _without_margin(self, run: _Run, candidate: Candidate, leg: Leg, spare: deque[Candidate]) -> deque[Candidate]:
        """The spare candidates that a refusal leaves, best first."""
        if leg.denied is None or leg.denied.reason is not Reason.INSUFFICIENT_MARGIN:
            return spare
        venue = candidate.signal.instrument.venue
        for other in spare:
            if other.signal.instrument.venue is venue:
                run.turn_down(other.signal, (*other.gates, _no_margin_gate(venue)))
        return deque(other for other in spare if other.signal.instrument.venue is not venue)

    def _allocate(self, run: _Run, spare: deque[Candidate], held: Counter[VenueName]) -> list[Candidate]:
        """Synchronous: every check and reservation of the wave in one step. What has no slot stays in `spare`."""
        chosen: list[Candidate] = []
        kept: list[Candidate] = []
        while spare:
            candidate = spare.popleft()
            venue = candidate.signal.instrument.venue
            if (full := self._full(candidate.signal, held)) is not None:
                run.full[candidate.signal.id] = full
                kept.append(candidate)
                continue
            gates = self._desk.reserve(candidate, run.wave.id)
            run.note_gates(candidate.signal, (*candidate.gates, *gates))
            if first_refusal(gates) is not None:
                run.turn_down(candidate.signal, (*candidate.gates, *gates))
                continue
            held[venue] += 1
            chosen.append(candidate)
        spare.extend(kept)
        return chosen

    async def _send(self, run: _Run, chosen: list[Candidate], held: Counter[VenueName]) -> list[Candidate]:
        """One durable commit for all, then the wire. Without the journal nothing is sent."""
        if not chosen:
            return []
        try:
            await self._desk.send(chosen)
        except JournalUnwritable as error:
            gate = refused("journal", Reason.JOURNAL_UNWRITABLE, str(error), value="unwritable", limit="writable")
            for candidate in chosen:
                held[candidate.signal.instrument.venue] -= 1
                run.turn_down(candidate.signal, (*candidate.gates, gate))
            return []
        return chosen

    async def _follow(self, run: _Run, candidate: Candidate) -> Leg:
        structlog.contextvars.bind_contextvars(signal_id=candidate.signal.id)
        acknowledged = await self._desk.acknowledged(candidate)
        run.stamp("acknowledged")
        if acknowledged.state is LegState.REFUSED:
            return acknowledged
        leg = await self._desk.protected(candidate)
        run.stamp("protected")
        return leg

    def _full(self, signal: Signal, held: Counter[VenueName]) -> _Cap | None:
        """Which limit leaves no slot for this signal, if one does."""
        rules, asked = self._rules, signal.parameters.max_trades
        cap = _Cap("MAX_TRADES_PER_WAVE", rules.max_trades)
        if asked is not None:
            own = asked <= rules.max_positions
            cap = _Cap("max_trades_filter", asked) if own else _Cap("MAX_POSITIONS", rules.max_positions)
        if held[signal.instrument.venue] >= cap.limit:
            return cap
        total = rules.max_trades_total
        return _Cap("MAX_TRADES_PER_WAVE_TOTAL", total) if total and held.total() >= total else None

    # accounting

    def _finish(self, run: _Run) -> None:
        report = run.report(self._desk.leg_now)
        self._keep(report)
        now = self._clock.now_ms()
        marks = [self._signal_mark(run.wave, leg.signal, leg) for leg in report.legs if not _is_repeat(leg)]
        states = Counter(leg.state.value for leg in report.legs)
        finished = WaveMark(
            wave_id=run.wave.id,
            source=run.wave.source,
            received_ms=run.wave.received_ms,
            finished_ms=now,
            stages=asdict(report.stages),
            counts=_counts(report, states),
            unusable=report.unusable,
        )
        self._books.soon([*marks, finished])
        for leg in report.legs:
            _log_leg(leg)
            if leg.denied is not None:
                self.refusals[leg.denied.reason.value] += 1
        for unusable in report.unusable:
            self.refusals[unusable.code] += 1
            log.info("signal.unusable", signal_id=unusable.id, symbol=unusable.symbol, why=unusable.detail)
        verdicts = [_verdict_facts(leg) for leg in report.legs if not _is_repeat(leg)]
        self._books.note("wave", {"wave_id": run.wave.id, **states, "signals": verdicts})
        log.info("wave.done", **states, ms=run.stages.protected)
        told = states + Counter({"unusable": len(report.unusable)})
        self._notifier.notify(
            Level.INFO, f"wave of {told.total()}: " + _sentence(told) + _causes(report), kind=AlertKind.WAVE
        )
        # A repeated signal's entry belongs to the wave that brought it first.
        self._desk.forget(leg.signal for leg in report.legs if not _is_repeat(leg))
        for listener in self._listeners:
            try:
                listener(report)
            except Exception:  # swallow: statistics of a finished wave must not end the waves after it (SIG-10)
                log.exception("wave.listener_failed", listener=repr(listener))

    def _keep(self, report: WaveReport) -> None:
        self.finished += 1
        self.reports.append(report)
        while len(self.reports) > 1 and sum(len(kept.legs) for kept in self.reports) > LEGS_KEPT:
            self.reports.popleft()

    def _signal_mark(self, wave: Wave, signal: Signal, leg: Leg | None = None) -> SignalMark:
        denied = None if leg is None else leg.denied
        return SignalMark(
            source=signal.source,
            signal_id=signal.id,
            wave_id=wave.id,
            venue=signal.instrument.venue,
            symbol=signal.instrument.symbol,
            side=signal.side.value,
            score=plain(signal.score),
            code="" if denied is None else denied.reason.value,
            detail="" if denied is None else denied.detail,
            time_ms=self._clock.now_ms(),
            values={} if denied is None else dict(denied.values),
            gates=() if leg is None else leg.gates,
        )


class _Cap(NamedTuple):
    """A limit on the entries of one wave: the setting, or the signal's own field, and its value."""

    name: str
    limit: int


class _Run:
    """One wave on its way: the legs decided so far and when each stage was reached."""

    def __init__(self, *, wave: Wave, legs: dict[int, Leg], started: float, clock: Clock, timeout: float) -> None:
        self.wave = wave
        self._timeout = timeout
        self.stages = StageTimes()
        self._legs = legs
        self._started = started
        self._clock = clock
        self._gates: dict[int, tuple[Gate, ...]] = {}
        self.full: dict[SignalId, _Cap] = {}
        """Why a candidate had no slot when it was last looked at."""
        self._index = {signal.id: i for i, signal in enumerate(wave.signals) if i not in legs}

    def by_venue(self, indices: Sequence[int]) -> dict[VenueName, list[int]]:
        groups: dict[VenueName, list[int]] = {}
        for i in indices:
            groups.setdefault(self.wave.signals[i].instrument.venue, []).append(i)
        return groups

    def stamp(self, stage: str) -> None:
        elapsed = round((self._clock.monotonic() - self._started) * 1000, 1)
        self.stages = replace(self.stages, **{stage: elapsed})

    def stamp_once(self, stage: str) -> None:
        if getattr(self.stages, stage) is None:
            self.stamp(stage)

    def note_gates(self, signal: Signal, gates: tuple[Gate, ...]) -> None:
        """Every gate asked so far; they go with whatever the leg becomes."""
        self._gates[self._index[signal.id]] = gates

    def turn_down(self, signal: Signal, gates: tuple[Gate, ...]) -> None:
        self.note_gates(signal, gates)
        self.settle(signal, Leg(signal=signal, state=LegState.REFUSED, denied=first_refusal(gates)))

    def settle(self, signal: Signal, leg: Leg) -> None:
        self._legs[self._index[signal.id]] = leg

    def report(self, now: Callable[[Signal], Leg]) -> WaveReport:
        """Legs nobody settled (the wave timed out) are told as they stand."""
        legs = tuple(
            replace(self._legs.get(i) or self._late(now(signal)), gates=self._gates.get(i, ()))
            for i, signal in enumerate(self.wave.signals)
        )
        return WaveReport(
            wave_id=self.wave.id,
            source=self.wave.source,
            received_ms=self.wave.received_ms,
            legs=legs,
            unusable=self.wave.unusable,
            stages=self.stages,
        )

    def _late(self, leg: Leg) -> Leg:
        """With the setting that ended the wave before this signal was decided."""
        if leg.denied is None:
            return leg
        return replace(leg, denied=replace(leg.denied, values={"WAVE_TIMEOUT_SECONDS": f"{self._timeout:g}"}))


def _slot_gate(candidate: Candidate, cap: _Cap) -> Gate:
    what = "other signals have taken every slot of the wave"
    figures: dict[str, object] = {cap.name: cap.limit, "score": plain(candidate.signal.score)}
    limit = f"{cap.name}={cap.limit}"
    return refused("slot", Reason.WAVE_LIMIT, what, value="none left", limit=limit, **figures)


def _no_margin_gate(venue: VenueName) -> Gate:
    what = f"{venue} refused an entry of this wave for lack of margin; it would refuse this one too"
    return refused("margin", Reason.INSUFFICIENT_MARGIN, what, value="none left", venue=venue)


def _log_leg(leg: Leg) -> None:
    """A refusal with the setting behind it (VAL-11), and what a gate let through and found worth a word (VAL-15)."""
    told = {"signal_id": leg.signal.id, "instrument": str(leg.instrument)}
    notes = {gate.name: f"{gate.value}: {gate.note}" for gate in leg.gates if gate.note}
    if notes:
        log.warning("signal.noted", **told, notes=notes)
    if leg.denied is not None:
        limit = next((gate.limit for gate in leg.gates if not gate.passed), "")
        log.info("signal.denied", **told, why=str(leg.denied), limit=limit, values=dict(leg.denied.values))


def _is_repeat(leg: Leg) -> bool:
    return leg.denied is not None and leg.denied.reason is Reason.ALREADY_SEEN


def _counts(report: WaveReport, states: Mapping[str, int]) -> dict[str, int]:
    repeats = sum(1 for leg in report.legs if _is_repeat(leg))
    told = {"signals": len(report.legs), **states, "already_seen": repeats, "unusable": len(report.unusable)}
    return {name: count for name, count in told.items() if count or name == "signals"}


def _causes(report: WaveReport) -> str:
    """Why signals opened nothing, the most frequent first, so that nobody has to ask a tool for it."""
    codes = Counter(leg.denied.reason.value for leg in report.legs if leg.denied is not None)
    codes.update(unusable.code for unusable in report.unusable)
    named = [f"{count} {code}" for code, count in codes.most_common(CAUSES_TOLD)]
    others = codes.total() - sum(count for _, count in codes.most_common(CAUSES_TOLD))
    return f" ({', '.join([*named, f'{others} for other reasons'] if others else named)})" if named else ""


def _verdict_facts(leg: Leg) -> dict[str, str]:
    """What became of one signal, to be proved later; as its row in the journal has it."""
    signal = leg.signal
    return {
        "source": signal.source,
        "id": signal.id,
        "instrument": str(signal.instrument),
        "code": "" if leg.denied is None else leg.denied.reason.value,
        "state": leg.state.value,
    }


def _sentence(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "nothing in it"
