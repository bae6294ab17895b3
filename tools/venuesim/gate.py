"""Faults inside the engine: orders refused or filled in an unusual way."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tools.venuesim.exchange.model import (
    Conditional,
    ConditionalRequest,
    Order,
    OrderRequest,
    Origin,
    Refusal,
    Refused,
)
from tools.venuesim.exchange.state import FillPlan
from tools.venuesim.faults import Fault, Occasion
from tools.venuesim.rest import Floor

HALF = Decimal("0.5")
QUARTER = Decimal("0.25")
SLOW_MS = 500.0
ALL = Decimal(1)


class FaultGate:
    """``reject_order``, ``reject_stop`` (phase "after": when it triggers), ``partial_fill``, ``slow_fill``."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def order(self, request: OrderRequest) -> None:
        self._refuse(self._take("reject_order", request.symbol, request.client_id))

    def conditional(self, request: ConditionalRequest) -> None:
        occasion = self._occasion(request.symbol, request.client_id, phase="before")
        self._refuse(self._floor.fault("reject_stop", occasion))

    def trigger(self, row: Conditional) -> None:
        self._refuse(self._floor.fault("reject_stop", self._occasion(row.symbol, row.client_id, phase="after")))

    def fill_plan(self, order: Order) -> FillPlan | None:
        if order.origin is not Origin.CLIENT:
            return None
        if (part := self._take("partial_fill", order.symbol, order.client_id)) is not None:
            return FillPlan(fraction=_fraction(part, HALF), again_ms=part.delay_ms)
        if (slow := self._take("slow_fill", order.symbol, order.client_id)) is not None:
            again = SLOW_MS if slow.delay_ms is None else slow.delay_ms
            return FillPlan(fraction=_fraction(slow, QUARTER), again_ms=again)
        return None

    def _take(self, kind: str, symbol: str, client_id: str | None) -> Fault | None:
        return self._floor.fault(kind, self._occasion(symbol, client_id))

    def _occasion(self, symbol: str, client_id: str | None, phase: str | None = None) -> Occasion:
        ids = () if client_id is None else (client_id,)
        return replace(self._floor.current or Occasion(), symbol=symbol, client_ids=ids, phase=phase)

    def _refuse(self, fault: Fault | None) -> None:
        if fault is not None:
            raise Refused(Refusal.INJECTED, fault.kind, code=fault.code)


def _fraction(fault: Fault, default: Decimal) -> Decimal:
    return default if fault.fraction is None else min(ALL, Decimal(str(fault.fraction)))
