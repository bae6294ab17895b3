"""A status report for tests: two venues that are well, and what a test says otherwise."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.queries import PositionRow, StatusReport, VenueRow

BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))


def venue_row(venue: VenueName = VenueName.BINANCE, **changed: Any) -> VenueRow:
    row = VenueRow(
        venue=venue, connected=True, connected_s=60.0, reconnects=0, key_swaps=0, reconciled_s=5.0, off_because=None
    )
    return replace(row, **changed)


def venue_down(venue: VenueName, seconds: float) -> VenueRow:
    return venue_row(venue, connected=False, connected_s=None, down_s=seconds)


def position_row(**changed: Any) -> PositionRow:
    row = PositionRow(
        instrument=BTC,
        side="long",
        quantity=Decimal("0.5"),
        entry_price=Decimal(60_000),
        mark=Decimal(60_100),
        unrealized=Decimal(50),
        stop=Decimal(58_800),
        unprotected_ms=12,
        age_s=300.0,
    )
    return replace(row, **changed)


def report(**changed: Any) -> StatusReport:
    told = StatusReport(
        build="1.0",
        uptime_s=100.0,
        trading_state="active",
        reason="",
        venues=(venue_row(), venue_row(VenueName.BYBIT)),
        positions=(),
        balances={},
        waves=0,
        refusals={},
        unresolved_orders=0,
    )
    return replace(told, **changed)
