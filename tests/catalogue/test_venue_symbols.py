"""Symbols and markets of every venue, as docs/FAILURES.md demands it (VAL-03, VAL-04)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.symbols import SymbolIndex
from core.engine.ports import Departure, Rejected
from tests.venues.binance_rig import Asked
from tests.venues.rigs import VENUES, a_venue_rig, sent

pytestmark = pytest.mark.may_block("simulation runs storage inline")


@pytest.mark.failure("VAL-03")
@pytest.mark.parametrize("venue", VENUES)
async def test_every_listed_swap_is_found_by_every_spelling_and_only_by_its_own(venue: VenueName) -> None:
    async with a_venue_rig(venue, symbols=200, streaming=False) as rig:
        listed = rig.client.instruments
        assert len(listed) >= 30
        assert len({i.venue_symbol for i in listed.values()}) == len(listed)
        index = SymbolIndex(listed)
        for symbol, instrument in listed.items():
            base, quote = symbol.partition(":")[0].split("/")
            for spelling in (
                symbol,
                instrument.venue_symbol,
                f"{base}{quote}",
                f"{base}-{quote}-SWAP",
                f"{base}/{quote}",
            ):
                assert index.find(spelling) == symbol, spelling
                assert index.find(spelling.lower()) == symbol, spelling


@pytest.mark.failure("VAL-03")
@pytest.mark.parametrize("venue", VENUES)
async def test_without_market_rules_nothing_is_sent(venue: VenueName) -> None:
    async with a_venue_rig(venue, streaming=False) as rig:
        unlisted = InstrumentId(venue, Symbol("BLAST/USDT:USDT"))
        assert unlisted.symbol not in rig.client.instruments
        for intent in (rig.entry(), rig.stop()):
            try:
                outcome = await rig.client.submit(Departure(intent=replace(intent, instrument=unlisted)))
            except KeyError:
                continue
            assert isinstance(outcome, Rejected)
        assert rig.tap.asked == []


MARKETS: Mapping[VenueName, Callable[[Asked, Any], bool]] = {
    VenueName.BINANCE: lambda asked, _: asked.path.startswith("/fapi/") or asked.path.startswith("/sapi/v1/account/"),
    VenueName.BYBIT: lambda _, said: said.get("category", "linear") == "linear",
    VenueName.OKX: lambda _, said: (
        all(row.get("instType", "SWAP") == "SWAP" for row in _rows(said))
        and all(row.get("instId", "-SWAP").endswith("-SWAP") for row in _rows(said))
    ),
}


def _rows(said: Any) -> list[dict[str, Any]]:
    return said if isinstance(said, list) else [said]


@pytest.mark.failure("VAL-04", "INV-8")
@pytest.mark.parametrize("venue", VENUES)
async def test_nothing_that_is_asked_is_of_another_market(venue: VenueName) -> None:
    """Listing, orders, stops, look-ups, prices and candles."""
    async with a_venue_rig(venue, opened=False) as rig:
        await rig.client.open()
        await rig.client.submit(rig.departing(rig.entry()))
        await rig.client.submit(Departure(intent=rig.stop()))
        await rig.client.query_order(rig.entry())
        await rig.client.fills(rig.btc, rig.clock.now_ms() - 60_000)
        await rig.client.mass_status()
        await rig.client.account_settings()
        await rig.connection.reads.candles(rig.btc.symbol, "1m", 5)
        await rig.connection.reads.prices()
        await rig.connection.reads.touches()
        assert len(rig.tap.asked) > 10
        assert [asked.path for asked in rig.tap.asked if not MARKETS[venue](asked, sent(asked))] == []
        assert {i.id.symbol.rpartition(":")[2] for i in rig.client.instruments.values()} <= {"USDT", "USDC"}
