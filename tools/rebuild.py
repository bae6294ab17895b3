"""Positions, money and wave verdicts rebuilt from the records of an audit log alone: no venue, no journal, no clock.

Trades make positions, exactly as in the daemon: the entry is the average of what is held, what a closing trade made is
counted against it, and an entry that goes on after its position was closed opens that one again. After each step the
record of the position must say what its trades made of it. One that was taken over from the venue begins with the
venue's figure. After an unclean start the tail of the log may be missing: its record tells what was open by the
journal, what is told next is taken as it is, and each is counted as a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from core.domain.money import ZERO, plain

TAKEN_OVER: Final = "reconciliation"
"""What changed a position that no trade did."""
CLOSE_ENOUGH: Final = Decimal("1e-9")
"""Averages have 28 digits; what differs by less is rounding."""
_LONG: Final = {"buy": "long", "sell": "short"}


class Held(NamedTuple):
    """A position's key at its venue: the instrument as the log spells it, long or short."""

    instrument: str
    side: str


class Trade(NamedTuple):
    """Which trade it is."""

    instrument: str
    trade_id: str


class Rebuilt(Struct, frozen=True, kw_only=True):
    """One position. Money in the coin it is settled in, `realized` gross of `fees`."""

    id: str = ""
    instrument: str = ""
    side: str = ""
    quantity: Decimal = ZERO
    entry_quantity: Decimal = ZERO
    entry_cost: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    taken_over: bool = False

    @property
    def entry_price(self) -> Decimal:
        return self.entry_cost / self.entry_quantity if self.entry_quantity else ZERO

    def entered(self, quantity: Decimal, price: Decimal, fee: Decimal) -> Rebuilt:
        held, entered = self.quantity + quantity, self.entry_quantity + quantity
        cost = self.entry_cost + quantity * price
        if self.quantity != self.entry_quantity:
            cost = (self.quantity * self.entry_price + quantity * price) / held * entered
        return replace(self, quantity=held, entry_quantity=entered, entry_cost=cost, fees=self.fees + fee)

    def reduced(self, quantity: Decimal, price: Decimal, fee: Decimal, sign: int) -> Rebuilt:
        made = (price - self.entry_price) * quantity * sign
        return replace(self, quantity=self.quantity - quantity, realized=self.realized + made, fees=self.fees + fee)

    def differs(self, other: Rebuilt) -> list[str]:
        """Figures in which they do not agree, e.g. `realized 1.5 against 2`."""
        names = ("quantity", "entry_price", "realized", "fees")
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in names)
        return [
            f"{name} {plain(round(ours, 10))} against {plain(round(theirs, 10))}"
            for name, ours, theirs in pairs
            if abs(ours - theirs) > CLOSE_ENOUGH * max(Decimal(1), abs(theirs))
        ]


@dataclass(slots=True)
class Rebuild:
    """Everything the log proves. `differences` contradict, `gaps` are what an unclean start explains."""

    records: int = 0
    starts: int = 0
    unclean: int = 0
    trades: dict[Trade, Mapping[str, Any]] = field(default_factory=dict)
    positions: dict[str, Rebuilt] = field(default_factory=dict)
    verdicts: dict[tuple[str, str], str] = field(default_factory=dict)
    """By source and id of the signal: the code it was refused with, "" for none."""
    waves: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    interrupted: set[str] = field(default_factory=set)
    income: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    money: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """The newest word about each wallet, by venue and coin."""
    other_fees: defaultdict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    differences: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    _open: dict[Held, Rebuilt] = field(default_factory=dict)
    _unsure: set[Held] = field(default_factory=set)
    _all_unsure: bool = False

    def take(self, records: Iterable[Mapping[str, Any]]) -> Rebuild:
        """Raises KeyError, ValueError, ArithmeticError for a record that does not say what its kind does."""
        for record in records:
            self.records += 1
            handler = _HANDLERS.get(str(record["kind"]))
            if handler is not None:
                handler(self, record["data"])
        return self

    # one record

    def start(self, _: Mapping[str, Any]) -> None:
        self.starts += 1

    def unclean_start(self, data: Mapping[str, Any]) -> None:
        self.unclean += 1
        held = data.get("positions", {})
        if isinstance(held, list):
            self._as_journaled({told.id: told for told in map(_told, held)})
        elif "positions" in data:  # of earlier programs: quantities by id, or nothing
            self._with_quantities(held)
        self._unsure = set(self._open)
        self._all_unsure = True

    def fill(self, data: Mapping[str, Any]) -> None:
        trade = Trade(data["instrument"], data["trade_id"])
        if trade in self.trades:  # the journal had lost it, and the venue told it again
            return
        self.trades[trade] = data
        entry = data["leg"] == "entry"
        held = Held(data["instrument"], _LONG[data["side"]] if entry else _opposite(_LONG[data["side"]]))
        goes_on = not entry or data.get("client_order_id") in self.positions
        if goes_on and self._all_unsure and held not in self._open:
            self._unsure.add(held)  # what it closes or opens again may have been told in records that were lost
        self._trade(held, data, entry=entry)

    def foreign_fill(self, data: Mapping[str, Any]) -> None:
        trade = Trade(data["instrument"], data["trade_id"])
        if trade not in self.trades and "side" in data:
            self.trades[trade] = data
            self._trade(Held(data["instrument"], _opposite(_LONG[data["side"]])), data, entry=False)

    def position(self, data: Mapping[str, Any]) -> None:
        held = Held(data["instrument"], data["side"])
        told, ours = _told(data), self._open.get(held)
        known = replace(ours or Rebuilt(), id=told.id, instrument=told.instrument, side=told.side)
        if data.get("by") == TAKEN_OVER:
            known = replace(told, taken_over=True)
        elif wrong := known.differs(told):
            where = f"{held.instrument} {held.side} ({told.id}): {', '.join(wrong)}"
            unsure = held in self._unsure or (ours is None and self._all_unsure)
            (self.gaps if unsure else self.differences).append(f"trades made of {where} in its record")
            known = replace(told, taken_over=known.taken_over)
        self.positions[told.id] = known
        if known.quantity:
            self._open[held] = known
        else:
            self._open.pop(held, None)
            self._unsure.discard(held)

    def wave(self, data: Mapping[str, Any]) -> None:
        self.waves[data["wave_id"]] = data
        for row in data.get("signals", ()):
            self.verdicts[row["source"], row["id"]] = row["code"]

    def waves_interrupted(self, data: Mapping[str, Any]) -> None:
        self.interrupted.update(data["waves"])

    def income_line(self, data: Mapping[str, Any]) -> None:
        key = (data["venue"], data["id"])
        if key in self.income and not self.unclean:
            self.differences.append(f"{data['venue']}: the income {data['id']} was counted twice")
        self.income[key] = data

    def money_row(self, data: Mapping[str, Any]) -> None:
        self.money[data["venue"], data["asset"]] = data

    # sums

    def results(self) -> dict[tuple[str, str], dict[str, Decimal]]:
        """By venue and coin: what positions realised, their fees, and other income by kind."""
        sums: defaultdict[tuple[str, str], defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for position in self.positions.values():
            key = position.instrument.partition(":")[0], position.instrument.rpartition(":")[2]
            sums[key]["realized"] += position.realized
            sums[key]["fees"] -= position.fees
        for key, fee in self.other_fees.items():
            sums[key]["fees"] -= fee
        for row in self.income.values():
            sums[row["venue"], row["asset"]][row["kind"]] += Decimal(row["amount"])
        return {key: dict(parts) for key, parts in sorted(sums.items())}

    def _as_journaled(self, journaled: Mapping[str, Rebuilt]) -> None:
        """The journal knew more than the log when the run was killed, or less; what is open by it is what goes on."""
        self._with_quantities({name: plain(told.quantity) for name, told in journaled.items()})
        for told in journaled.values():
            held = Held(told.instrument, told.side)
            ours = self._open.get(held, Rebuilt())
            if not ours.id:
                where = f"{held.instrument} {held.side} ({told.id})"
                self.gaps.append(f"the log tells no position {where}, the journal has {plain(told.quantity)} open")
            self.positions[told.id] = self._open[held] = replace(told, taken_over=ours.taken_over)

    def _with_quantities(self, quantities: Mapping[str, str]) -> None:
        for held, ours in list(self._open.items()):
            quantity = Decimal(quantities.get(ours.id, "0"))
            if not ours.id or quantity == ours.quantity:  # without an id: trades of which no position is told yet
                continue
            was = f"{held.instrument} {held.side} ({ours.id}): {plain(ours.quantity)}"
            self.gaps.append(f"the log ends with {was} open, the journal with {plain(quantity)}")
            self.positions[ours.id] = self._open[held] = replace(ours, quantity=quantity)
            if not quantity:
                del self._open[held]

    def _trade(self, held: Held, data: Mapping[str, Any], *, entry: bool) -> None:
        quantity, price, fee = Decimal(data["quantity"]), Decimal(data["price"]), Decimal(data["fee"])
        if data["fee_asset"] != held.instrument.rpartition(":")[2]:
            self.other_fees[held.instrument.partition(":")[0], data["fee_asset"]] += fee
            fee = ZERO
        known = self._open.get(held)
        if known is None:  # an entry that goes on after its position was closed opens it again
            known = self.positions.get(data.get("client_order_id", ""), Rebuilt()) if entry else Rebuilt()
        sign = 1 if held.side == "long" else -1
        self._open[held] = known.entered(quantity, price, fee) if entry else known.reduced(quantity, price, fee, sign)


def _told(data: Mapping[str, Any]) -> Rebuilt:
    """What a record says of a position; logs of earlier programs tell no `entry_quantity`."""
    quantity, price = Decimal(data["quantity"]), Decimal(data["entry_price"])
    entered = Decimal(data.get("entry_quantity", data["quantity"]))
    return Rebuilt(
        id=data["position_id"],
        instrument=data["instrument"],
        side=data["side"],
        quantity=quantity,
        entry_quantity=entered or Decimal(1),
        entry_cost=(entered or Decimal(1)) * price,
        realized=Decimal(data["realized"]),
        fees=Decimal(data["fees"]),
    )


def _opposite(side: str) -> str:
    return "short" if side == "long" else "long"


_HANDLERS: Final = {
    "start": Rebuild.start,
    "unclean_start": Rebuild.unclean_start,
    "fill": Rebuild.fill,
    "foreign_fill": Rebuild.foreign_fill,
    "position": Rebuild.position,
    "wave": Rebuild.wave,
    "waves_interrupted": Rebuild.waves_interrupted,
    "income": Rebuild.income_line,
    "money": Rebuild.money_row,
}
