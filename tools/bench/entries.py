"""Entries through the daemon's own path: a signal, screened and sized, approved, journaled, sent, protected."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from decimal import Decimal

from core.assembly import Engine
from core.domain.ids import InstrumentId, SignalId, VenueName
from core.domain.instrument import Instrument
from core.domain.signal import Side, Signal
from core.domain.wave import Candidate, LegState, TurnedDown
from tools.bench.processes import BenchError

PROTECTED_SECONDS = 90.0
_NUMBERS = itertools.count(1)


def signals(engine: Engine, instruments: Iterable[InstrumentId]) -> list[Signal]:
    """One fresh signal for each."""
    now = engine.clock.now_ms()
    return [
        Signal(
            id=SignalId(f"bench-{next(_NUMBERS)}"),
            source="bench",
            instrument=instrument,
            side=Side.BUY,
            score=Decimal(50),
            event_time_ms=now,
            expires_at_ms=now + 600_000,
        )
        for instrument in instruments
    ]


async def validated(engine: Engine, instruments: Iterable[InstrumentId]) -> list[Candidate | TurnedDown]:
    """As a wave does it: cold symbols are warmed side by side, then each signal is judged."""
    wanted = signals(engine, instruments)
    await engine.desk.warm(wanted)
    return [engine.desk.validate(signal) for signal in wanted]


async def decided(engine: Engine, instruments: Iterable[InstrumentId]) -> list[Candidate]:
    """Validated and reserved: all that is missing is to send them. Raises BenchError when one is refused."""
    verdicts = await validated(engine, instruments)
    candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
    if len(candidates) != len(verdicts):
        refused = next(verdict for verdict in verdicts if not isinstance(verdict, Candidate))
        raise BenchError(
            f"{refused.signal.instrument} was refused: {[str(g.denied) for g in refused.gates if g.denied]}"
        )
    for candidate in candidates:
        if denied := [str(gate.denied) for gate in engine.desk.reserve(candidate, "bench") if gate.denied]:
            raise BenchError(f"{candidate.signal.instrument} was denied: {denied}")
    return candidates


async def protected(engine: Engine, candidates: Sequence[Candidate]) -> None:
    """Until each has its stop. Raises BenchError."""
    try:
        async with asyncio.timeout(PROTECTED_SECONDS):
            legs = await asyncio.gather(*(engine.desk.protected(candidate) for candidate in candidates))
    except TimeoutError:
        raise BenchError(f"not all of {len(candidates)} entries were protected in {PROTECTED_SECONDS:g} s") from None
    engine.desk.forget(candidate.signal for candidate in candidates)
    if wrong := [leg for leg in legs if leg.state is not LegState.PROTECTED]:
        raise BenchError(f"{len(wrong)} of {len(legs)} entries ended otherwise, e.g. {wrong[0]}")


def listed(engine: Engine, venue: VenueName, count: int, *, last: bool = False) -> list[InstrumentId]:
    """The first, or `last`, `count` USDT instruments of `venue` that trade, and in which an order can be as large as an
    entry is. Raises BenchError when there are fewer."""
    found = [i for i, rules in engine.instruments.items() if i.venue is venue and _usable(engine, rules)]
    if len(found) < count:
        raise BenchError(f"{venue} lists {len(found)} usable instruments, {count} are needed")
    return found[-count:] if last else found[:count]


def _usable(engine: Engine, rules: Instrument) -> bool:
    quote = engine.markets[rules.id.venue].quote(rules.id.symbol)
    if not rules.tradable or rules.quote != "USDT" or quote is None or quote.mark is None:
        return False
    size = engine.settings.sizing.position_size_usd
    return rules.market_lot.minimum * quote.mark < size < rules.market_lot.maximum * quote.mark / 2
