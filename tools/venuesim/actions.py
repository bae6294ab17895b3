"""Faults that happen once, by themselves: to prices, symbols, positions and clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.model import Instrument, Refused, SymbolStatus
from tools.venuesim.faults import Fault, FaultError

GAP = 0.05
SKEW_MS = 2_000.0
CHANGEABLE = frozenset(
    {
        "tick", "min_price", "max_price", "step", "min_qty", "max_qty", "market_step", "market_min_qty",
        "market_max_qty", "min_notional", "band_up", "band_down", "market_bound", "maker_fee", "taker_fee",
    }
)  # fmt: skip


class Stage(Protocol):
    """What an action may move."""

    @property
    def engine(self) -> MatchingEngine: ...

    def skew(self, offset_ms: float) -> None: ...

    def after(self, delay_ms: float, action: Callable[[], None]) -> None: ...


class Actions:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._table: Mapping[str, Callable[[Fault], None]] = {
            "gap_price": self._gap,
            "halt_symbol": self._halt,
            "change_filters": self._change_filters,
            "liquidate": self._liquidate,
            "adl": self._deleverage,
            "clock_skew": self._skew,
        }

    def check(self, fault: Fault) -> None:
        """Raises FaultError when the fault could not be carried out."""
        if fault.kind == "clock_skew":
            return
        self._instrument(fault)
        if fault.kind == "change_filters":
            self._changes(fault)

    def carry_out(self, fault: Fault) -> None:
        fault.seen += 1
        fault.hits += 1
        self._table[fault.kind](fault)

    def _gap(self, fault: Fault) -> None:
        """Jump by ``fraction`` of the price (0.05 = up 5 %), frozen there for ``duration_ms``."""
        engine = self._stage.engine
        symbol = self._instrument(fault).symbol
        jump = Decimal(str(GAP if fault.fraction is None else fault.fraction))
        engine.set_price(symbol, engine.quote(symbol).last * (1 + jump), hold_ms=fault.duration_ms or 0.0)

    def _halt(self, fault: Fault) -> None:
        """No trading in the symbol, for ``duration_ms`` if given."""
        self._set_status(fault, SymbolStatus.HALTED)
        self._undo_after(fault, lambda: self._set_status(fault, SymbolStatus.TRADING))

    def _change_filters(self, fault: Fault) -> None:
        """Other limits for the symbol: ``body`` = {field: value}; back after ``duration_ms`` if given."""
        before = self._instrument(fault)
        changes = self._changes(fault)
        self._stage.engine.operator.change_instrument(replace(before, **changes))
        self._undo_after(fault, lambda: self._stage.engine.operator.change_instrument(before))

    def _liquidate(self, fault: Fault) -> None:
        self._stage.engine.liquidate(self._instrument(fault).symbol)

    def _deleverage(self, fault: Fault) -> None:
        """Close ``fraction`` of the position (all of it by default)."""
        fraction = Decimal(1) if fault.fraction is None else Decimal(str(fault.fraction))
        self._stage.engine.deleverage(self._instrument(fault).symbol, fraction)

    def _skew(self, fault: Fault) -> None:
        """The venue's clock is off by ``delay_ms`` (negative: behind), for ``duration_ms`` if given."""
        self._stage.skew(SKEW_MS if fault.delay_ms is None else fault.delay_ms)
        self._undo_after(fault, lambda: self._stage.skew(0.0))

    def _undo_after(self, fault: Fault, undo: Callable[[], None]) -> None:
        if fault.duration_ms is not None:
            self._stage.after(fault.duration_ms, undo)

    def _set_status(self, fault: Fault, status: SymbolStatus) -> None:
        self._stage.engine.operator.set_status(self._instrument(fault).symbol, status)

    def _instrument(self, fault: Fault) -> Instrument:
        if fault.symbol is None:
            raise FaultError(f"{fault.kind} needs match.symbol")
        try:
            return self._stage.engine.instrument(fault.symbol)
        except Refused as refused:
            raise FaultError(f"unknown symbol {fault.symbol!r}") from refused

    def _changes(self, fault: Fault) -> dict[str, Any]:
        if not isinstance(fault.body, Mapping) or not fault.body:
            raise FaultError("change_filters needs body = {field: value}")
        known = {row.name for row in fields(Instrument)} & CHANGEABLE
        for key in fault.body:
            if key not in known:
                raise FaultError(f"unknown filter {key!r}; known: {', '.join(sorted(known))}")
        try:
            return {key: Decimal(str(value)) for key, value in fault.body.items()}
        except InvalidOperation as error:
            raise FaultError("filters are numbers") from error
