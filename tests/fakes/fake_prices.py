"""What the exit engine sees of prices, set by a test: the marks of fake markets, one source, an age."""

import asyncio
from collections.abc import Callable, Mapping

from core.domain.exits import Funding
from core.domain.ids import InstrumentId, VenueName
from core.domain.prices import AgeLimits, PriceSource, Snapshot
from tests.fakes.fake_market import FakeMarket

LIMITS = AgeLimits()


class FakePrices:
    """`source` None = no price at all."""

    def __init__(self, markets: Mapping[VenueName, FakeMarket]) -> None:
        self._markets = markets
        self._listeners: list[Callable[[InstrumentId], None]] = []
        self._version = 0
        self.watched: list[InstrumentId] = []
        self.fundings: dict[InstrumentId, Funding] = {}
        self.source: PriceSource | None = PriceSource.WEBSOCKET

    def on_tick(self, listener: Callable[[InstrumentId], None]) -> None:
        self._listeners.append(listener)

    def watch(self, instrument: InstrumentId) -> None:
        self.watched.append(instrument)

    def unwatch(self, instrument: InstrumentId) -> None:
        self.watched.remove(instrument)

    def exit_view(self, instrument: InstrumentId) -> tuple[Snapshot, bool] | None:
        quote = self._markets[instrument.venue].quote(instrument.symbol)
        if quote is None or self.source is None:
            return None
        age_ms = round((asyncio.get_running_loop().time() - quote.received) * 1000)
        if age_ms > LIMITS.critical:
            return None
        told = Snapshot(
            instrument=instrument,
            source=self.source,
            mark=quote.mark,
            bid=quote.bid,
            ask=quote.ask,
            last=quote.mark,
            venue_time_ms=quote.venue_time_ms,
            age_ms=age_ms,
            version=self._version,
        )
        return told, age_ms <= LIMITS.exit

    def funding(self, instrument: InstrumentId) -> Funding | None:
        return self.fundings.get(instrument)

    def tick(self, instrument: InstrumentId) -> None:
        """A price has come."""
        self._version += 1
        for listener in self._listeners:
            listener(instrument)
