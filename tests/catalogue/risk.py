"""What the tests of the risk entries share: an entry asked about, a loss, a wallet that moved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from core.domain.gate import Gate
from core.domain.ids import Asset
from core.domain.reports import BalanceReport, Source, WalletCause
from core.domain.verdict import Reason
from core.engine.commands import Commands
from core.engine.records import StateRecord
from tests.builders import (
    BTC,
    NOW_MS,
    USDT,
    Number,
    an_instrument_id,
    an_intent,
    notional,
    result_rules,
)
from tests.engine.bench import BINANCE, Bench

COINS = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(12)]
CENT = Decimal("0.01")
RULES = result_rules(max_daily_loss=99, streak_limit=3)
"""A day that is over at a loss of 99, or with three stops in a row."""


def denied(bench: Bench, key: str = "probe", worth: Number = 100, **fields: Any) -> Reason | None:
    """The answer to one entry, which is taken back at once."""
    intent = an_intent(key, **fields)
    refusal = bench.risk.approve_entry(intent, notional(worth)).denied
    bench.risk.release(intent.client_order_id)
    return None if refusal is None else refusal.reason


def gate(bench: Bench, name: str, worth: Number = 100) -> Gate:
    intent = an_intent("probe")
    ruling = bench.risk.approve_entry(intent, notional(worth))
    bench.risk.release(intent.client_order_id)
    return next(gate for gate in ruling.gates if gate.name == name)


def kept(bench: Bench) -> dict[str, str]:
    """What the journal would tell the next start."""
    rows = [*bench.journal.durable, *bench.journal.posted]
    return {row.key: row.value for row in rows if isinstance(row, StateRecord)}


async def a_loss(bench: Bench, key: str, *, instrument: Any = BTC, at: Number = 98) -> None:
    """A position that its stop closes at `at`; entered at 100, 0.05 of fees each way."""
    bench.venue.price = Decimal(100)
    await bench.enter(an_intent(key, instrument=instrument))
    await bench.until(lambda: bool(bench.venue.working_stops()))
    bench.venue.price = Decimal(at)
    await bench.venue.fire(bench.venue.working_stops()[0])
    await bench.until(lambda: not bench.state.positions_on(instrument))
    await bench.settle()


def set_mark(bench: Bench, value: Number) -> None:
    bench.market.default = value


def wallet(
    cause: WalletCause, change: Number, after: Number, at_ms: int = NOW_MS, asset: Asset = USDT
) -> BalanceReport:
    return BalanceReport(
        venue=BINANCE,
        asset=asset,
        wallet=Decimal(after),
        available=None,
        venue_time_ms=at_ms,
        source=Source.STREAM,
        cause=cause,
        change=Decimal(change),
    )


def commands(bench: Bench) -> Commands:
    return Commands(
        orders=bench.orders,
        closer=bench.closer,
        clients=bench.venues,
        instruments={instrument.id: instrument for instrument in bench.venue.instruments.values()},
        books=bench.protection._books,
        risk=bench.risk,
    )


async def lose_the_day(bench: Bench) -> None:
    await bench.enter(an_intent("loser"))
    await bench.until(lambda: bool(bench.venue.working_stops()))
    set_mark(bench, "0.05")
    await bench.settle(2)
    set_mark(bench, 100)
    await bench.settle(2)
