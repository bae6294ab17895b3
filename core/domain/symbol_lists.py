"""The symbols people allow or forbid, however they spelt them."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from core.domain.instrument import Instrument
from core.domain.symbols import compact


class SymbolLists(Struct, frozen=True, kw_only=True):
    """As they were written. An empty `allow` allows everything; `stop` outranks it. One entry is meant for every venue
    that lists the swap."""

    allow: frozenset[str] = frozenset()
    stop: frozenset[str] = frozenset()

    def stopped_by(self, instrument: Instrument) -> list[str]:
        """The entries of the stop-list that name it."""
        return sorted(spelling for name in _names(instrument) for spelling in _spelt(self.stop).get(name, ()))

    def allows(self, instrument: Instrument) -> bool:
        """Whether the allow-list lets it be entered; the stop-list is another question."""
        return not self.allow or any(name in _spelt(self.allow) for name in _names(instrument))


def _names(instrument: Instrument) -> set[str]:
    return {compact(instrument.id.symbol), compact(instrument.venue_symbol)}


@lru_cache(maxsize=8)
def _spelt(entries: frozenset[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in sorted(entries):
        found[compact(entry)] = (*found.get(compact(entry), ()), entry)
    return found
