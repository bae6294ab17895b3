"""The status text: complete, readable, and there even when much is unknown."""

from dataclasses import replace
from decimal import Decimal

import pytest

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.queries import ExitRow, PositionRow, StatusReport, VenueRow
from tgbot.format import duration, status_text

VENUE = VenueRow(
    venue=VenueName.BINANCE,
    connected=True,
    connected_s=3700.0,
    reconnects=1,
    key_swaps=0,
    reconciled_s=12.5,
    off_because=None,
)
POSITION = PositionRow(
    instrument=InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT")),
    side="long",
    quantity=Decimal("0.010"),
    entry_price=Decimal(200_000) / Decimal(3),
    mark=Decimal("66700.1"),
    unrealized=Decimal("0.3343"),
    stop=Decimal("65333.3"),
    unprotected_ms=260,
    age_s=65,
)


def a_status(**changes: object) -> StatusReport:
    status = StatusReport(
        build="0.1.0",
        uptime_s=90_061,
        trading_state="active",
        reason="",
        venues=(VENUE,),
        positions=(POSITION,),
        balances={"binance USDT": Decimal("10000.50000000")},
        waves=3,
        refusals={"expired": 1, "max_positions": 2},
        unresolved_orders=0,
    )
    return replace(status, **changes)  # type: ignore[arg-type]


def test_a_status_says_state_venue_position_stop_and_refusals() -> None:
    assert status_text(a_status()).split("\n") == [
        "ACTIVE",
        "Breakwater 0.1.0, up 1d 1h",
        "binance: WS connected 1h 1m, 1 reconnects, reconciled 12s ago",
        "",
        "binance BTC/USDT:USDT long 0.01 @ 66666.66667, stop 65333.3, result +0.33, 1m 5s",
        "",
        "binance USDT: 10000.5",
        "Waves: 3, refused: max_positions 2, expired 1",
    ]


def test_what_is_wrong_stands_out() -> None:
    text = status_text(
        a_status(
            trading_state="halted",
            reason="journal unwritable",
            venues=(replace(VENUE, connected_s=None, reconciled_s=None), replace(VENUE, off_because="key refused")),
            positions=(replace(POSITION, stop=None, mark=None, unrealized=None),),
            unresolved_orders=2,
        )
    )
    for words in ("HALTED (journal unwritable)", "WS down", "never reconciled", "OFF, key refused", "NO STOP"):
        assert words in text
    assert "result unknown" in text
    assert "2 orders with unknown outcome" in text


def test_an_empty_account_has_a_status_too() -> None:
    text = status_text(a_status(venues=(), positions=(), balances={}, refusals={}))
    assert "No open positions" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m 0s"), (3600, "1h 0m"), (86_400, "1d 0h"), (-5, "0s")],
)
def test_durations_show_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_status_counts_signals_prices_by_source_and_exits() -> None:
    row = ExitRow(
        analyses=1204,
        trailing_checks=1200,
        stops_moved=3,
        moves_refused=0,
        waited_for_price=0,
        closes={"trailing": 2, "aged": 1},
    )
    status = a_status(signals={"server": 6, "scalping_v1": 1}, prices={"websocket": 2, "candle": 1}, exits=row)
    assert status_text(status).split("\n")[-3:] == [
        "Signals: 1 scalping_v1, 6 server",
        "Prices: 2 websocket, 1 candle",
        "Exits: 1204 analyses, 1200 trailing checks, 3 stops moved; closed: 2 trailing, 1 aged",
    ]
