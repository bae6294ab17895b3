"""RefusalWatch: says when a filter refuses everything of a venue, and when the prices of a symbol do not agree.

Either is more often a field that was misread, or a source that lies, than a market without chances (VAL-06, VAL-15).
Fed with finished waves, so nothing waits for it. What it counts begins anew with each start.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import structlog

from core.domain.alerts import AlertKind
from core.domain.gate import Gate
from core.domain.ids import InstrumentId, VenueName
from core.domain.verdict import Reason
from core.domain.wave import Leg, WaveReport
from core.engine.ports import Level, Notifier

log = structlog.get_logger(__name__)

IN_A_ROW = 20
FILTERS = frozenset(
    {
        "expiry", "score", "side", "symbol", "quote_coin", "stoplist", "allowlist", "status", "rules_age", "price",
        "divergence", "open_interest", "volume_1h", "move_5min", "spread", "leverage", "stop_distance", "size",
        "bracket",
    }
)  # fmt: skip
"""Gates that judge the signal and its market. A full book or a position that is already open is nothing odd."""

_Filter = tuple[VenueName, str]


class RefusalWatch:
    """One alert per episode: a filter's ends when a signal passes it, a symbol's when its prices agree again."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._in_a_row: Counter[_Filter] = Counter()
        self._diverging: set[InstrumentId] = set()

    def on_report(self, report: WaveReport) -> None:
        """WaveProcessor.on_report. A gate that was not asked counts neither way."""
        closed: dict[VenueName, list[Gate]] = defaultdict(list)
        opened: dict[VenueName, list[Gate]] = defaultdict(list)
        for leg in report.legs:
            for gate in leg.gates:
                if gate.name in FILTERS:
                    self._count(leg.instrument.venue, gate, closed, opened)
        for venue, gates in closed.items():
            self._say_closed(venue, gates)
        for venue, gates in opened.items():
            names = ", ".join(gate.name for gate in gates)
            log.info("filter.passes_again", venue=venue, filters=names)
            self._notifier.notify(
                Level.INFO, f"{venue}: a signal passed the filter {names} again", kind=AlertKind.REFUSALS
            )
        self._judge_prices(report.legs)

    def _count(
        self, venue: VenueName, gate: Gate, closed: dict[VenueName, list[Gate]], opened: dict[VenueName, list[Gate]]
    ) -> None:
        key = (venue, gate.name)
        if gate.passed:
            if self._in_a_row.pop(key, 0) >= IN_A_ROW:
                opened[venue].append(gate)
            return
        self._in_a_row[key] += 1
        if self._in_a_row[key] == IN_A_ROW:
            closed[venue].append(gate)

    def _say_closed(self, venue: VenueName, gates: Iterable[Gate]) -> None:
        """One cause, such as prices that do not come, may close several filters: all are told in one alert."""
        told = [f"{gate.name} ({gate.limit}; last: {gate.value})" for gate in gates]
        log.error("filter.refuses_everything", venue=venue, signals=IN_A_ROW, filters=told)
        text = f"{venue}: its last {IN_A_ROW} signals were all refused by the filter {', '.join(told)}"
        self._notifier.notify(
            Level.CRITICAL, f"{text}; is its figure read rightly, is the limit meant so?", kind=AlertKind.REFUSALS
        )

    def _judge_prices(self, legs: Iterable[Leg]) -> None:
        begun: dict[InstrumentId, str] = {}
        for leg in legs:
            gate = next((gate for gate in leg.gates if gate.name == "divergence"), None)
            if gate is None:
                continue
            if gate.denied is None:
                self._end_divergence(leg.instrument, begun)
            elif gate.denied.reason is Reason.PRICE_DIVERGES and leg.instrument not in self._diverging:
                self._diverging.add(leg.instrument)
                begun[leg.instrument] = f"{leg.instrument} ({gate.denied.detail})"
        if begun:
            log.error("prices.diverge", symbols=list(begun.values()))
            self._notifier.notify(
                Level.CRITICAL,
                f"no entries where prices do not agree: {', '.join(begun.values())}",
                kind=AlertKind.PRICES,
            )

    def _end_divergence(self, instrument: InstrumentId, begun: dict[InstrumentId, str]) -> None:
        if instrument not in self._diverging:
            return
        self._diverging.discard(instrument)
        begun.pop(instrument, None)
        log.info("prices.agree_again", instrument=str(instrument))
        self._notifier.notify(
            Level.INFO, f"{instrument}: its prices agree again; entries are possible", kind=AlertKind.PRICES
        )
