"""The venues in use and what they list; filled as they are connected and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from core.clock import Clock
from core.config import Settings
from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.engine.ports import MarketData, MarketReads, UserStream, VenueClient
from core.venues import VenueConnection
from core.wiring.rules import may_be_entered


class Listing(Struct, frozen=True, kw_only=True):
    """`loaded`: when the rules of a venue were taken over, monotonic seconds."""

    clients: dict[VenueName, VenueClient] = field(default_factory=dict)
    streams: dict[VenueName, UserStream] = field(default_factory=dict)
    markets: dict[VenueName, MarketData] = field(default_factory=dict)
    reads: dict[VenueName, MarketReads] = field(default_factory=dict)
    headroom: dict[VenueName, Callable[[], Mapping[str, float]]] = field(default_factory=dict)
    waiting: dict[VenueName, Callable[[], int]] = field(default_factory=dict)
    instruments: dict[InstrumentId, Instrument] = field(default_factory=dict)
    quotes: dict[InstrumentId, Asset] = field(default_factory=dict)
    loaded: dict[VenueName, float] = field(default_factory=dict)

    def connected(self, connections: Mapping[VenueName, VenueConnection]) -> None:
        for name, connection in connections.items():
            self.clients[name], self.streams[name] = connection.client, connection.user_stream
            self.markets[name], self.reads[name] = connection.market, connection.reads
            self.headroom[name], self.waiting[name] = connection.headroom, connection.waiting

    def rules_age(self, clock: Clock, venue: VenueName) -> float:
        """Seconds."""
        return clock.monotonic() - self.loaded.get(venue, float("-inf"))

    def learn(self, clock: Clock, settings: Settings, venue: VenueName) -> None:
        """Take over what a venue lists, and have prices of what may be entered where they do not come by themselves: an
        entry that first asked for one would be late."""
        self.loaded[venue] = clock.monotonic()
        listed = self.clients[venue].instruments
        for symbol, instrument in listed.items():
            self.instruments[InstrumentId(venue, symbol)] = instrument
            self.quotes[InstrumentId(venue, symbol)] = instrument.quote
        if not self.markets[venue].unasked:
            self.markets[venue].want(_enterable(settings, listed))


def _enterable(settings: Settings, listed: Mapping[Symbol, Instrument]) -> list[Symbol]:
    return [symbol for symbol, row in listed.items() if row.tradable and may_be_entered(settings, row)]
