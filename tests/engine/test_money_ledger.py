"""The keeping of the money ledger, on fakes: what is asked, when it is believed, who is told."""

import asyncio
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Asset, TradeId
from core.domain.ledger import Income, IncomeKind
from core.domain.reports import BalanceReport, Source, WalletCause
from core.engine.bookkeeping import Bookkeeper
from core.engine.money_ledger import AGAIN_SECONDS, PERIOD_SECONDS, MoneyLedgers, MoneyRow
from core.engine.money_record import key_of
from core.engine.ports import Level
from core.engine.records import FillRecord, StateRecord
from core.errors import Unreachable
from tests.builders import BTC, a_balance_report, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.fakes.virtual_loop import VirtualLoop

USDT = Asset("USDT")
LOOK = 5.0
"""Longer than one reading takes, shorter than anything waits."""


def row(bench: Bench) -> MoneyRow:
    (only,) = bench.money.rows()
    return only


def later(seconds: float) -> None:
    """Without anything happening meanwhile."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump(seconds)


def line(bench: Bench, amount: str, kind: IncomeKind = IncomeKind.FUNDING, **more: object) -> Income:
    """In the venue's history from now on; the wallet has it already."""
    told = Income(
        venue=BINANCE,
        id=f"line {len(bench.venue.history)}",
        asset=USDT,
        kind=kind,
        amount=Decimal(amount),
        venue_time_ms=bench.clock.now_ms(),
        symbol=BTC.symbol,
    )
    told = replace(told, **more)
    bench.venue.history.append(told)
    return told


def traded(bench: Bench) -> None:
    """The venue's books of its newest trade: the fee is paid and listed."""
    fill = [fill for order in bench.venue.orders.values() for fill in order.fills][-1]
    bench.venue.wallet -= fill.fee
    line(bench, f"-{fill.fee}", IncomeKind.FEE, trade_id=fill.trade_id, venue_time_ms=fill.venue_time_ms)


def again(bench: Bench, values: dict[str, str]) -> MoneyLedgers:
    """The ledgers of a new start over the same journal."""
    fills = [r.fill for r in bench.journal.posted if isinstance(r, FillRecord)]
    books = Bookkeeper(journal=bench.journal, audit=bench.audit, clock=bench.clock, default_stop_percent=Decimal(2))
    made = MoneyLedgers(
        clients=dict(bench.venues),
        orders=bench.orders,
        books=books,
        quote_coins=frozenset({USDT}),
        listed=bench.risk.ledger.funding_listed,
        serves=lambda _venue: True,
        notifier=bench.notifier,
        clock=bench.clock,
    )
    made.recall(values, fills)
    return made


def saved(bench: Bench) -> dict[str, str]:
    return {r.key: r.value for r in bench.journal.posted if isinstance(r, StateRecord) and r.key == key_of(BINANCE)}


async def test_it_is_read_at_the_start_and_every_few_minutes() -> None:
    async with a_bench() as bench, asyncio.TaskGroup() as group:
        running = group.create_task(bench.money.run())
        await bench.settle(LOOK)
        assert row(bench).residual == 0
        asked = bench.venue.reads.count("income")
        await bench.settle(3 * PERIOD_SECONDS)
        assert bench.venue.reads.count("income") == asked + 3
        bench.money.ask(BINANCE)
        await bench.settle(LOOK)
        assert bench.venue.reads.count("income") == asked + 4, "and after a connection"
        running.cancel()


async def test_a_reading_that_fails_leaves_the_figure_unknown_and_is_tried_again_soon() -> None:
    async with a_bench() as bench, asyncio.TaskGroup() as group:
        bench.venue.error = Unreachable(BINANCE, "no")
        running = group.create_task(bench.money.run())
        await bench.settle(LOOK)
        assert row(bench).residual is None
        bench.venue.error = None
        await bench.settle(AGAIN_SECONDS + LOOK)
        assert row(bench).residual == 0
        running.cancel()


@pytest.mark.parametrize("none_of_it", [False, True])
async def test_no_ledger_is_opened_with_wallets_that_hold_nothing(
    monkeypatch: pytest.MonkeyPatch, none_of_it: bool
) -> None:
    """A venue that leaves everything out for some seconds must not make all money unexplained for good."""
    async with a_bench() as bench, asyncio.TaskGroup() as group:
        there = await bench.venue.balances()

        async def nothing() -> list[BalanceReport]:
            return [replace(report, wallet=Decimal(0)) for report in there] if none_of_it else []

        with monkeypatch.context() as empty:
            empty.setattr(bench.venue, "balances", nothing)
            running = group.create_task(bench.money.run())
            await bench.settle(LOOK)
        assert row(bench).residual is None
        await bench.settle(3 * PERIOD_SECONDS)
        assert row(bench).residual == 0
        assert not bench.notifier.messages
        running.cancel()


async def test_what_nothing_explains_is_said_once_after_a_second_reading_and_so_is_its_end() -> None:
    async with a_bench() as bench, asyncio.TaskGroup() as group:
        running = group.create_task(bench.money.run())
        await bench.settle(LOOK)
        bench.venue.wallet -= Decimal("0.5")
        bench.money.ask(BINANCE)
        await bench.settle(LOOK)
        assert (row(bench).residual, row(bench).balanced) == (Decimal("-0.5"), False)
        assert not bench.notifier.messages, "the history may list it in a moment"
        await bench.settle(AGAIN_SECONDS + 3 * PERIOD_SECONDS)
        (told,) = bench.notifier.messages
        assert told[0] is Level.CRITICAL
        assert "-0.5 USDT" in told[1]
        line(bench, "-0.5", IncomeKind.OTHER)
        await bench.settle(PERIOD_SECONDS)
        assert [level for level, _ in bench.notifier.messages] == [Level.CRITICAL, Level.INFO]
        running.cancel()


async def test_a_line_listed_a_moment_later_alarms_nobody() -> None:
    async with a_bench() as bench, asyncio.TaskGroup() as group:
        running = group.create_task(bench.money.run())
        await bench.settle(LOOK)
        bench.venue.wallet -= Decimal("0.5")
        bench.money.ask(BINANCE)
        await bench.settle(LOOK)
        line(bench, "-0.5")
        await bench.settle(2 * PERIOD_SECONDS)
        assert row(bench).residual == 0
        assert not bench.notifier.messages
        running.cancel()


async def test_wallets_that_move_while_they_are_read_are_not_judged() -> None:
    async with a_bench(latency=0.1) as bench:
        await bench.money.look(BINANCE)

        async def trickle() -> None:
            while True:
                bench.venue.wallet -= Decimal(1)
                await asyncio.sleep(0.15)

        async with asyncio.TaskGroup() as group:
            moving = group.create_task(trickle())
            await asyncio.sleep(0)
            assert not await bench.money.look(BINANCE)
            moving.cancel()
        assert row(bench).residual == 0, "the last figure stands, and its age says how old it is"


async def test_a_trade_that_nobody_told_is_found_in_the_history_and_booked_as_ours() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        bench.venue.tells = False
        await bench.settle(0.1)
        await bench.enter(an_intent(amount="1"))
        await bench.settle(0.1)
        traded(bench)
        assert await bench.money.look(BINANCE)
        assert (row(bench).residual, row(bench).trades) == (0, 1)
        assert bench.position().quantity == 1


async def test_a_trade_of_somebody_else_is_no_trade_of_ours() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        await bench.settle(0.1)
        bench.venue.wallet -= Decimal(2)
        line(bench, "-2", IncomeKind.PROFIT, trade_id=TradeId("theirs"))
        assert await bench.money.look(BINANCE)
        assert (row(bench).residual, row(bench).trades, row(bench).explained) == (0, 0, {"elsewhere": Decimal(-2)})
        assert not bench.state.positions()


async def test_after_a_crash_trades_booked_since_the_last_note_are_ours_still() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        values = saved(bench)
        await bench.settle(0.1)
        await bench.enter(an_intent(amount="1"))
        await bench.settle(0.1)
        traded(bench)
        second = again(bench, values)
        assert await second.look(BINANCE)
        (told,) = second.rows()
        assert (told.residual, told.trades) == (0, 1)


async def test_readings_that_find_nothing_write_nothing() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        written, noted = saved(bench), len(bench.audit.records)
        for _ in range(24):
            later(PERIOD_SECONDS)
            assert await bench.money.look(BINANCE)
        assert (saved(bench), len(bench.audit.records)) == (written, noted)


async def test_a_note_that_cannot_be_read_begins_a_new_ledger() -> None:
    async with a_bench() as bench:
        second = again(bench, {key_of(BINANCE): '{"accounts": 1}'})
        assert await second.look(BINANCE)
        assert second.rows()[0].residual == 0


async def test_a_history_that_no_more_reaches_back_far_enough_is_said_and_begun_anew() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        bench.venue.wallet += 1
        bench.venue.traits = replace(bench.venue.traits, income_days=1)
        later(2 * 24 * 3600.0)
        assert await bench.money.look(BINANCE)
        assert row(bench).residual == 0
        assert any("gap" in text for _, text in bench.notifier.messages)


async def test_funding_listed_for_an_earlier_day_moves_no_result_of_today() -> None:
    async with a_bench() as bench:
        await bench.money.look(BINANCE)
        await bench.settle(60.0)
        bench.venue.wallet -= 3
        line(bench, "-3")
        later(24 * 3600.0)
        bench.risk.ledger.settle()
        assert await bench.money.look(BINANCE)
        assert bench.risk.ledger.book.day.funding == 0
        assert row(bench).residual == 0
        later(3 * 3600.0)
        bench.venue.wallet -= 2
        line(bench, "-2")
        assert await bench.money.look(BINANCE)
        assert bench.risk.ledger.book.day.funding == -2


async def test_a_withdrawal_that_no_stream_told_is_taken_from_the_history_and_is_no_drawdown() -> None:
    async with a_bench() as bench:
        await bench.settle(2)
        await bench.money.look(BINANCE)
        await bench.settle(60)
        before = bench.risk.ledger.book.equity
        bench.venue.wallet -= 4_000
        line(bench, "-4000", IncomeKind.TRANSFER)
        for _ in range(2):
            assert await bench.money.look(BINANCE)
            equity = bench.risk.ledger.book.equity
            assert (equity.now, equity.drawdown_percent) == (before.now - 4_000, 0)
        assert row(bench).residual == 0


@pytest.mark.parametrize("stream_first", [True, False])
async def test_a_transfer_told_by_stream_and_history_moves_the_equity_once(*, stream_first: bool) -> None:
    async with a_bench() as bench:
        await bench.settle(2)
        await bench.money.look(BINANCE)
        await bench.settle(60)
        before = bench.risk.ledger.book.equity.now
        bench.venue.wallet += 500
        listed = line(bench, "500", IncomeKind.TRANSFER)
        told = replace(
            a_balance_report(bench.venue.wallet, venue_time_ms=listed.venue_time_ms),
            source=Source.STREAM,
            cause=WalletCause.DEPOSIT,
            change=Decimal(500),
        )
        if stream_first:
            bench.orders.apply([told])
        assert await bench.money.look(BINANCE)
        assert row(bench).explained == {"transfers": 500}
        if not stream_first:
            bench.orders.apply([told])
        assert bench.risk.ledger.book.equity.now == before + 500


async def test_a_transfer_of_yesterday_was_taken_over_at_midnight_already() -> None:
    async with a_bench() as bench:
        await bench.settle(2)
        await bench.money.look(BINANCE)
        await bench.settle(60)
        bench.venue.wallet -= 4_000
        line(bench, "-4000", IncomeKind.TRANSFER)
        await bench.reconciler.reconcile(BINANCE)  # the wallet is known, and not why it is another one
        later(24 * 3600.0)
        bench.risk.ledger.settle()
        taken = bench.risk.ledger.book.equity
        assert await bench.money.look(BINANCE)
        assert bench.risk.ledger.book.equity == taken
        assert taken.now == 6_000
