"""What one contract of each swap is. OKX counts in contracts everywhere; nobody outside this folder does.

A size passes this module in both directions and nothing is rounded here: base units that are no whole number of what
the venue counts in are an error, never a nearby size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation

from msgspec import Struct

from core.domain.ids import InstrumentId
from core.domain.instrument import Instrument
from core.domain.money import Quantity, decimal_of, plain
from core.venues.symbols import SymbolTable

_EXACTLY = Context(prec=28, traps=[Inexact, InvalidOperation, DivisionByZero])


class UncountableError(ValueError):
    """A size that is no exact number of contracts: the venue's rules are others than it was rounded by."""


class Contract(Struct, frozen=True, kw_only=True):
    """`size`: base units in one contract (`ctVal` x `ctMult`). `code` is the `instIdCode` that orders on a socket go by
    (requests use `inst_id`); None = the venue has not told it. `family` is what leverage and tiers belong to."""

    instrument: InstrumentId
    inst_id: str
    size: Decimal
    code: int | None
    family: str

    def count(self, quantity: Decimal) -> str:
        """Base units as the venue's text. Raises UncountableError when they are no exact number of contracts."""
        try:
            return plain(_EXACTLY.divide(quantity, self.size))
        except Inexact:
            what = f"{plain(quantity)} is no exact number of {self.inst_id}'s contracts of {self.size}"
            raise UncountableError(what) from None

    def base(self, text: str, field: str) -> Quantity:
        """The venue's contracts as base units, signed as told; "" is 0 (an order that names no size, an empty sum).
        Raises ValueError naming `field`."""
        return Quantity(decimal_of(text, field) * self.size if text else Decimal(0))


class Listed(Struct, frozen=True, kw_only=True):
    """One row of the instrument table."""

    instrument: Instrument
    contract: Contract


class ContractTable(SymbolTable):
    """The symbol table with the size of a contract beside each name; replaced as a whole with it."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, Listed] = {}

    def take(self, listed: Iterable[Listed]) -> None:
        """Raises ValueError when two rows share a name."""
        rows = list(listed)
        self.replace(row.instrument for row in rows)
        self._rows = {row.contract.inst_id: row for row in rows}

    @property
    def rows(self) -> Mapping[str, Listed]:
        """By venue symbol; what is no more listed is in it too."""
        return self._rows

    def contract(self, inst_id: str) -> Contract | None:
        """None for what is not traded here: inverse swaps, delivery contracts, spot."""
        row = self._rows.get(inst_id)
        return None if row is None else row.contract

    def contract_of(self, instrument: InstrumentId) -> Contract:
        """Raises NotListed for an unknown one: without market rules no order is sent (VAL-03)."""
        return self._rows[self.venue_symbol(instrument.symbol)].contract
