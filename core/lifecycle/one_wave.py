"""What `--once` waits for: the first wave that is settled, or the reason why there is none."""

from __future__ import annotations

import asyncio

from core.domain.wave import WaveReport
from core.engine.wave_processor import WaveProcessor
from core.lifecycle.outcome import ExitStatus, Outcome
from core.lifecycle.readiness import or_stop
from core.wiring.sources import Sources


async def one_wave(waves: WaveProcessor, sources: Sources, outcome: Outcome, stop: asyncio.Event, wait_s: int) -> None:
    """At most `wait_s` seconds (ONCE_WAIT_SECONDS); `outcome` is told what happened."""
    if not sources.names:
        outcome.said = "no signal source is configured (SIGNAL_WS_URL, STRATEGY); nothing to wait for"
        return
    decided = sources.decided

    def note(report: WaveReport) -> None:
        outcome.reports.append(report)
        if not report.only_late:
            decided.set()

    waves.on_report(note)
    try:
        async with asyncio.timeout(wait_s):
            await or_stop(stop, decided.wait())
    except TimeoutError:
        outcome.said = f"no signal within {wait_s} s (ONCE_WAIT_SECONDS)"
        return
    if not outcome.reports:
        outcome.said = f"no signal: {sources.said}" if decided.is_set() else outcome.said
        return
    if all(report.settled for report in outcome.reports):
        outcome.said = "the wave is settled"
    else:
        outcome.status = ExitStatus.OPERATOR_NEEDED
        outcome.said = "a leg of the wave is unknown or unprotected; run again to reconcile it"
