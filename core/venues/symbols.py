"""The two-way map between a venue's symbols and ccxt's unified ones, linear perpetuals only (VAL-03, VAL-04)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from core.domain.ids import InstrumentId, Symbol
from core.domain.instrument import Instrument
from core.errors import Refused


class NotListed(Refused, KeyError):
    """The venue lists no such contract, or none any more: nothing of it can be asked, and nothing was sent (VAL-03)."""

    __str__ = Exception.__str__


class SymbolTable:
    """Shared by the client and the streams of one venue; replaced as a whole when markets are loaded."""

    def __init__(self) -> None:
        self._by_symbol: Mapping[Symbol, Instrument] = MappingProxyType({})
        self._by_venue_symbol: dict[str, InstrumentId] = {}

    def replace(self, instruments: Iterable[Instrument]) -> None:
        """Raises ValueError when two instruments share a name: one of them would be traded for the other."""
        by_symbol: dict[Symbol, Instrument] = {}
        by_venue_symbol: dict[str, InstrumentId] = {}
        for instrument in instruments:
            symbol = instrument.id.symbol
            if symbol in by_symbol or instrument.venue_symbol in by_venue_symbol:
                raise ValueError(f"{instrument.id} ({instrument.venue_symbol}) is listed twice")
            by_symbol[symbol] = instrument
            by_venue_symbol[instrument.venue_symbol] = instrument.id
        self._by_symbol, self._by_venue_symbol = MappingProxyType(by_symbol), by_venue_symbol

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        """Read-only; unified symbol to instrument."""
        return self._by_symbol

    def unified(self, venue_symbol: str) -> InstrumentId | None:
        """None for what we do not trade (delivery contracts, other quote assets, delisted ones)."""
        return self._by_venue_symbol.get(venue_symbol)

    def venue_symbol(self, symbol: Symbol) -> str:
        """Raises NotListed for an unknown one: without market rules no order is sent (VAL-03)."""
        if (instrument := self._by_symbol.get(symbol)) is None:
            venue = next((known.venue for known in self._by_venue_symbol.values()), "venue")
            raise NotListed(venue, f"{symbol} is not listed")
        return instrument.venue_symbol
