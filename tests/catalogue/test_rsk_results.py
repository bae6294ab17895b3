"""The day's result, stops in a row, wallets (RSK-08 to RSK-10)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.domain.day import day_of, end_of
from core.domain.ids import Asset
from core.domain.reports import WalletCause
from core.domain.risk import TradingState
from core.domain.standing import Standing
from core.domain.verdict import Reason
from core.engine.exit_engine import NEVER_MS
from core.errors import Unreachable
from tests.builders import (
    BTC,
    NOW_MS,
    a_balance_report,
    an_intent,
    exit_policy,
    result_rules,
)
from tests.catalogue.risk import (
    RULES,
    a_loss,
    commands,
    denied,
    kept,
    set_mark,
    wallet,
)
from tests.engine.bench import BINANCE, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")


# --- RSK-08 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-08")
async def test_a_row_of_stops_counts_over_restarts_and_a_win_ends_it() -> None:
    values: dict[str, str] = {}
    for expected in (1, 2, 3):
        async with a_bench(results=RULES) as bench:
            bench.risk.recall(values)
            await a_loss(bench, f"day{expected}")
            assert bench.risk.ledger.book.streak == expected
            values = kept(bench)
    async with a_bench(results=RULES) as bench:
        bench.risk.recall(values)
        assert denied(bench) is Reason.STOP_STREAK
        commands(bench).resume("me")
        await a_loss(bench, "one more")
        await a_loss(bench, "a win", at=103)
        assert bench.risk.ledger.book.streak == 0


@pytest.mark.failure("RSK-08")
async def test_what_a_position_lost_between_its_last_note_and_a_crash_is_not_forgotten() -> None:
    async with a_bench(results=RULES) as bench:
        await bench.enter(an_intent("loser"))
        await bench.settle()
        values = kept(bench)  # nothing of the fall that follows
        set_mark(bench, 40)
        held = bench.state.positions()
    async with a_bench(results=RULES) as again:
        again.venue.positions_held[BTC] = Decimal(1)
        again.orders.restore([], held)
        again.risk.recall(values)
        set_mark(again, 40)
        await again.settle(1.1)
        assert again.risk.ledger.book.day.result == Decimal("-60.05")


async def test_a_position_the_journal_has_no_more_keeps_its_last_worth_in_the_days_result() -> None:
    async with a_bench(results=RULES, exits=exit_policy(stop_passed_ms=NEVER_MS)) as bench:
        await bench.enter(an_intent("loser"))
        await bench.settle()
        set_mark(bench, 90)
        await bench.settle(31)
        values = kept(bench)
    async with a_bench(results=RULES) as again:
        again.risk.recall(values)
        day = again.risk.ledger.book.day
        assert (day.shares, day.closed, day.result) == ({}, Decimal("-10.05"), Decimal("-10.05"))


# --- RSK-09 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-09")
async def test_every_cause_of_a_wallet_change_goes_where_it_belongs() -> None:
    async with a_bench(results=RULES) as bench:
        await bench.enter(an_intent("held"))
        await bench.settle(2)
        before, trades = bench.position(), len(bench.audit.records)
        after = Decimal(10_000)
        for number, cause in enumerate(WalletCause):
            day, equity = bench.risk.ledger.book.day, bench.risk.ledger.book.equity
            after -= 5_000
            bench.orders.apply(
                [wallet(cause, -5_000 if cause is not WalletCause.FUNDING else -1, after, NOW_MS + number)]
            )
            now = bench.risk.ledger.book
            assert now.streak == 0
            assert bench.position() == before
            if cause is WalletCause.FUNDING:
                assert now.day.result - day.result == -1
            else:
                assert now.day.result == day.result, cause
                assert now.equity.peak - now.equity.now == equity.peak - equity.now, cause
        kinds = [kind for kind, _ in bench.audit.records[trades:]]
        assert kinds.count("wallet") == len(WalletCause), "each one is in the audit log with its cause"
        assert "fill" not in kinds
        assert not bench.risk.ledger.book.episodes


@pytest.mark.failure("RSK-09")
async def test_funding_told_by_two_connections_counts_once_and_other_coins_do_not() -> None:
    async with a_bench() as bench:
        first, second = (wallet(WalletCause.FUNDING, -1, 10_000 - n, NOW_MS + 5) for n in (1, 2))
        bench.orders.apply([first, second, first, second])
        bench.orders.apply([wallet(WalletCause.FUNDING, -1, 3, NOW_MS + 6, Asset("BNB"))])
        assert bench.risk.ledger.book.day.funding == -2


async def test_a_transfer_while_nobody_looked_is_taken_over_at_midnight_without_being_a_result() -> None:
    async with a_bench(results=result_rules(max_drawdown_percent=10)) as bench:
        await bench.settle(2)
        assert bench.risk.ledger.book.equity.now == 10_000
        bench.venue.error = Unreachable(BINANCE, "no route")  # nothing else tells another wallet
        bench.orders.apply([a_balance_report(4_000, venue_time_ms=NOW_MS + 10**9)])
        await bench.settle((end_of(day_of(bench.clock.now_ms())) - bench.clock.now_ms()) / 1000 + 2)
        equity = bench.risk.ledger.book.equity
        assert (equity.now, equity.drawdown_percent) == (4_000, 0)
        assert bench.risk.standing.state is TradingState.ACTIVE


# --- RSK-10 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-10")
async def test_an_open_loss_with_fees_and_funding_stops_trading_while_nobody_asks() -> None:
    async with a_bench(results=result_rules(max_daily_loss=100)) as bench:
        await a_loss(bench, "closed", at=70)  # 30 and 0.1 of fees
        bench.venue.price = Decimal(100)
        await bench.enter(an_intent("open"))  # 0.05
        await bench.settle()
        bench.orders.apply([wallet(WalletCause.FUNDING, "-9.85", 9_990, NOW_MS + 60_000)])
        set_mark(bench, "40.01")
        await bench.settle(2)
        assert bench.risk.ledger.book.day.result == Decimal("-99.99")
        assert bench.risk.standing.state is TradingState.ACTIVE
        set_mark(bench, 40)
        await bench.settle(1)
        assert bench.risk.standing == Standing(
            state=TradingState.REDUCING, reason="100 lost today (MAX_DAILY_LOSS=100)", author="breakwater"
        )


async def test_a_price_that_is_not_known_leaves_the_last_worth_standing() -> None:
    async with a_bench(results=result_rules(max_daily_loss=100)) as bench:
        await bench.enter(an_intent("open"))
        await bench.settle()
        set_mark(bench, 60)
        await bench.settle(2)
        bench.market.default = None
        await bench.settle(5)
        assert bench.risk.ledger.book.day.result == Decimal("-40.05")


async def test_several_trades_told_at_once_are_no_intervention_of_somebody_else() -> None:
    async with a_bench(results=result_rules(after_external=15)) as bench:
        await bench.enter(an_intent("held", amount=2))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        bench.venue.tells = False
        bench.venue.price = Decimal(98)
        stop = bench.venue.working_stops()[0]
        for piece in (Decimal("0.5"), Decimal("1.5")):
            await bench.venue.trade(stop, piece)
        bench.orders.apply([*stop.fills, bench.venue._status(stop)])
        assert not bench.state.positions()
        assert denied(bench) is None
        assert bench.risk.ledger.book.streak == 1
