"""Faults that happen once, by themselves: to prices, symbols, positions and clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from msgspec.structs import replace

from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.model import Bracket, Instrument, Refused, SymbolStatus
from tools.venuesim.faults import Fault, FaultError

GAP = 0.05
SKEW_MS = 2_000.0
CHANGEABLE = frozenset(
    {
        "tick", "min_price", "max_price", "step", "min_qty", "max_qty", "market_step", "market_min_qty",
        "market_max_qty", "min_notional", "band_up", "band_down", "market_bound", "maker_fee", "taker_fee",
    }
)  # fmt: skip

GRID = ("tick", "step", "market_step")


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
        elif fault.kind == "halt_symbol":
            self._status(fault)

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
        """No trading in the symbol, for ``duration_ms`` if given.

        ``body`` may name another status than "halted"; "settling" and "closed" settle its positions, as a delisting.
        """
        status = self._status(fault)
        if status in (SymbolStatus.SETTLING, SymbolStatus.CLOSED):
            self._stage.engine.settle(self._instrument(fault).symbol)
        self._set_status(fault, status)
        self._undo_after(fault, lambda: self._set_status(fault, SymbolStatus.TRADING))

    def _change_filters(self, fault: Fault) -> None:
        """Other limits for the symbol: ``body`` = {field: value}; back after ``duration_ms`` if given.

        ``brackets`` is a list of {leverage, cap, rate}, lowest cap first.
        """
        before = self._instrument(fault)
        changes = self._changes(fault)
        self._stage.engine.operator.change_instrument(replace(before, **changes))
        self._undo_after(fault, lambda: self._stage.engine.operator.change_instrument(before))

    def _liquidate(self, fault: Fault) -> None:
        """Now; with ``duration_ms`` the symbol takes no orders for that long."""
        self._stage.engine.liquidate(self._instrument(fault).symbol, fault.duration_ms or 0.0)

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

    def _status(self, fault: Fault) -> SymbolStatus:
        try:
            return SymbolStatus(str(fault.body or SymbolStatus.HALTED.value))
        except ValueError as error:
            raise FaultError(f"unknown status {fault.body!r}; known: {', '.join(SymbolStatus)}") from error

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
        values = dict(fault.body)
        changes: dict[str, Any] = {}
        if "brackets" in values:
            changes["brackets"] = _brackets(values.pop("brackets"))
        known = CHANGEABLE.intersection(Instrument.__struct_fields__)
        for key in values:
            if key not in known:
                raise FaultError(f"unknown filter {key!r}; known: brackets, {', '.join(sorted(known))}")
        try:
            changes |= {key: Decimal(str(value)) for key, value in values.items()}
        except InvalidOperation as error:
            raise FaultError("filters are numbers") from error
        if any(changes.get(key, 1) <= 0 for key in GRID):
            raise FaultError("tick and step must be above 0")
        return changes


def _brackets(rows: object) -> tuple[Bracket, ...]:
    """A leverage table; floors and the constants that keep the maintenance margin continuous follow from it."""
    if not isinstance(rows, list) or not rows:
        raise FaultError("brackets must be a list of {leverage, cap, rate}")
    table: list[Bracket] = []
    try:
        for row in rows:
            floor, rate = (table[-1].cap if table else Decimal(0)), Decimal(str(row["rate"]))
            cum = table[-1].cum + floor * (rate - table[-1].rate) if table else Decimal(0)
            cap = Decimal(str(row["cap"]))
            table.append(Bracket(leverage=int(row["leverage"]), floor=floor, cap=cap, rate=rate, cum=cum))
    except (InvalidOperation, KeyError, TypeError, ValueError) as error:
        raise FaultError("brackets must be a list of {leverage, cap, rate}") from error
    return tuple(table)
