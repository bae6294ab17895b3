"""Which margin mode an order says. At OKX it belongs to the order, not to the symbol.

Two positions of one swap may stand side by side in two modes, and an order in the wrong one opens a second position
instead of closing the first.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import ZERO
from core.domain.order import OrderIntent
from core.domain.reports import PositionReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import MarginMode

log = structlog.get_logger(__name__)

_Key = tuple[InstrumentId, PositionSide]


class MarginBook:
    """The modes wanted for entries and those of the positions that are there. Shared by the client and its stream."""

    def __init__(self) -> None:
        self._wanted: dict[InstrumentId, MarginMode] = {}
        self._held: dict[_Key, MarginMode] = {}
        self._said: set[_Key] = set()

    def wanted(self, instrument: InstrumentId) -> MarginMode:
        """Cross until something else is asked for."""
        return self._wanted.get(instrument, MarginMode.CROSS)

    def want(self, instrument: InstrumentId, mode: MarginMode) -> None:
        self._wanted[instrument] = mode

    def of(self, intent: OrderIntent) -> MarginMode:
        """An entry's is the wanted one; what reduces goes by the position that is there."""
        if not intent.reduce_only:
            return self.wanted(intent.instrument)
        held = PositionSide.LONG if intent.side is Side.SELL else PositionSide.SHORT
        told = self._held.get((intent.instrument, PositionSide.BOTH)) or self._held.get((intent.instrument, held))
        return told or self.wanted(intent.instrument)

    def picture(self, reports: Iterable[PositionReport]) -> list[PositionReport]:
        """All positions of the account: one per instrument and side, the wanted mode's where there are two."""
        self._held.clear()
        rows = sorted(reports, key=lambda row: _mode(row) is not self.wanted(row.instrument))
        return [row for row in rows if self.hear(row)]

    def hear(self, report: PositionReport) -> bool:
        """One position told; False for one in another mode than the one we keep, which is said once."""
        key, mode = (report.instrument, report.position_side), _mode(report)
        held = self._held.get(key)
        if held is not None and held is not mode:
            if report.quantity != ZERO and key not in self._said:
                self._said.add(key)
                log.error("venue.two_margin_modes", venue=VenueName.OKX, instrument=str(report.instrument), kept=held)
            return False
        if report.quantity == ZERO:
            self._held.pop(key, None)
        else:
            self._held[key] = mode
        return True


def _mode(report: PositionReport) -> MarginMode:
    return MarginMode.ISOLATED if report.isolated else MarginMode.CROSS
