"""Limits, pauses and the ways back, as docs/FAILURES.md demands them (RSK)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from core.config import Settings, load_settings
from core.domain.day import day_of, end_of
from core.domain.gate import Gate
from core.domain.ids import Asset, Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import BalanceReport, Source, WalletCause
from core.domain.risk import TradingState
from core.domain.risk_book import Limit
from core.domain.standing import Standing
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.commands import Commands
from core.engine.ports import About, Level, StateRecord
from core.errors import ConfigError, Unreachable
from core.settings.fields import entries
from tests.builders import (
    BTC,
    ETH,
    NOW_MS,
    USDT,
    Number,
    a_balance_report,
    a_signal,
    an_instrument,
    an_instrument_id,
    an_intent,
    notional,
    result_rules,
    risk_limits,
)
from tests.engine.bench import BINANCE, Bench, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")

COINS = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(12)]
CENT = Decimal("0.01")


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


# --- RSK-01 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-01")
async def test_the_first_refusal_for_balance_alerts_and_entries_wait_until_it_is_back() -> None:
    okx = an_instrument(an_instrument_id("BTC/USDT:USDT", VenueName.OKX))
    async with a_bench(instruments=[an_instrument(), okx], limits=risk_limits(reserve=10, leverage=10)) as bench:
        bench.orders.apply([a_balance_report("19.99", venue_time_ms=NOW_MS + 1)])
        for number in range(3):
            assert denied(bench, f"s{number}") is Reason.BALANCE_TOO_LOW
        (alert,) = bench.notifier.critical()
        assert "19.99 USDT free, 20 needed" in alert
        assert denied(bench, "small", 10) is Reason.BALANCE_TOO_LOW, "paused, not squeezed in below the alert"
        assert gate(bench, "shortage").denied is not None
        assert denied(bench, "other venue", instrument=okx.id) is None
        assert bench.risk.denials == {Reason.BALANCE_TOO_LOW: 5}
        bench.orders.apply([a_balance_report("20", venue_time_ms=NOW_MS + 2)])
        assert denied(bench, "back") is None
        assert (Level.INFO, "binance: 20 USDT are free again; entries go on") in bench.notifier.messages
        bench.orders.apply([a_balance_report("1", venue_time_ms=NOW_MS + 3)])
        assert denied(bench, "again") is Reason.BALANCE_TOO_LOW
        assert len(bench.notifier.critical()) == 2


# --- RSK-02 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-02")
async def test_an_old_balance_is_noted_at_30_s_and_refuses_beyond_60_s() -> None:
    async with a_bench() as bench:
        bench.venue.error = Unreachable(BINANCE, "no route")  # nothing refreshes it
        told = bench.clock.monotonic()
        bench.orders.apply([a_balance_report(venue_time_ms=NOW_MS + 1)])
        for age, note, refused in ((29, "", False), (30, "told 30 s ago", False), (60, "told 60 s ago", False)):
            await bench.settle(told + age - bench.clock.monotonic())
            found = gate(bench, "balance")
            assert (found.note, found.denied is not None) == (note, refused)
        await bench.settle(0.01)
        assert denied(bench) is Reason.BALANCE_UNKNOWN


# --- RSK-03, and what must survive a restart -------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocked:
    """A way into a blocked state, the way out of it, and whether a restart keeps it."""

    into: Callable[[Bench], Awaitable[None]]
    out: Callable[[Bench], Awaitable[None]]
    reason: Reason
    kept: bool = True


async def lose_the_day(bench: Bench) -> None:
    await bench.enter(an_intent("loser"))
    await bench.until(lambda: bool(bench.venue.working_stops()))
    set_mark(bench, "0.05")
    await bench.settle(2)
    set_mark(bench, 100)
    await bench.settle(2)


async def three_stops(bench: Bench) -> None:
    for number in range(3):
        await a_loss(bench, f"stop{number}")
    bench.venue.price = Decimal(100)


async def fall(bench: Bench) -> None:
    bench.risk.ledger.rules = result_rules(max_drawdown_percent=1)
    bench.risk.ledger._set_day(bench.risk.ledger.book.day.funded(Decimal(-101)))
    await bench.settle(2)


def refusing(about: About, times: int = 1) -> Callable[[Bench], Awaitable[None]]:
    async def into(bench: Bench) -> None:
        bench.venue.script(Leg.ENTRY, *[bench.venue.reject(about=about)] * times)
        for number in range(times):
            await bench.enter(an_intent(f"refused{number}"))
            await bench.settle()

    return into


async def run_short(bench: Bench) -> None:
    bench.venue.error = Unreachable(BINANCE, "no route")
    bench.orders.apply([a_balance_report(1, venue_time_ms=bench.clock.now_ms())])
    assert denied(bench, "short") is Reason.BALANCE_TOO_LOW


async def refill(bench: Bench) -> None:
    bench.orders.apply([a_balance_report(venue_time_ms=bench.clock.now_ms())])


async def until_midnight(bench: Bench) -> None:
    """Nothing but the entry itself looks at the clock: the unlock must come before the test it lifts."""
    bench.risk.ledger.tick = lambda: None  # type: ignore[method-assign]
    left_ms = end_of(day_of(bench.clock.now_ms())) - bench.clock.now_ms()
    await asyncio.sleep((left_ms - 500) / 1000)
    assert denied(bench, "just before") is not None
    await asyncio.sleep(0.6)


async def resume(bench: Bench) -> None:
    commands(bench).resume("me")


def ordered(name: str, venue: VenueName | None = None) -> Callable[[Bench], Awaitable[None]]:
    async def into(bench: Bench) -> None:
        await getattr(commands(bench), name)("me", venue)

    return into


def later(seconds: float) -> Callable[[Bench], Awaitable[None]]:
    async def out(bench: Bench) -> None:
        await asyncio.sleep(seconds)

    return out


async def kill(bench: Bench) -> None:
    bench.risk.states.set_killed(True)


async def unkill(bench: Bench) -> None:
    bench.risk.states.set_killed(False)


async def resume_venue(bench: Bench) -> None:
    commands(bench).resume("me", BINANCE)


BLOCKED = {
    "day loss, until midnight": Blocked(lose_the_day, until_midnight, Reason.DAY_LOSS),
    "day loss, until resumed": Blocked(lose_the_day, resume, Reason.DAY_LOSS),
    "streak, until midnight": Blocked(three_stops, until_midnight, Reason.STOP_STREAK),
    "streak, until resumed": Blocked(three_stops, resume, Reason.STOP_STREAK),
    "drawdown": Blocked(fall, resume, Reason.DRAWDOWN),
    "errors": Blocked(refusing(About.UNREACHED, 5), later(30), Reason.VENUE_ERRORS),
    "errors, resumed": Blocked(refusing(About.UNREACHED, 5), resume, Reason.VENUE_ERRORS),
    "margin": Blocked(refusing(About.INSUFFICIENT_MARGIN), later(60), Reason.MARGIN_PAUSE),
    "restriction": Blocked(refusing(About.ACCOUNT_RESTRICTED), later(60), Reason.ACCOUNT_RESTRICTED),
    "shortage": Blocked(run_short, refill, Reason.BALANCE_TOO_LOW),
    "pause": Blocked(ordered("pause"), resume, Reason.NOT_ACTIVE),
    "reduce": Blocked(ordered("reduce"), resume, Reason.NOT_ACTIVE),
    "panic": Blocked(ordered("panic"), resume, Reason.NOT_ACTIVE),
    "pause of the venue": Blocked(ordered("pause", BINANCE), resume_venue, Reason.NOT_ACTIVE),
    "panic of the venue": Blocked(ordered("panic", BINANCE), resume_venue, Reason.NOT_ACTIVE),
    "panic of the venue, all resumed": Blocked(ordered("panic", BINANCE), resume, Reason.NOT_ACTIVE),
    "KILL file": Blocked(kill, unkill, Reason.NOT_ACTIVE, kept=False),
}
RULES = result_rules(max_daily_loss=99, streak_limit=3)


@pytest.mark.failure("RSK-03")
@pytest.mark.failure("RSK-08")
@pytest.mark.parametrize("restarts", [False, True], ids=["in one run", "over a restart"])
@pytest.mark.parametrize("way", BLOCKED)
async def test_from_every_blocked_state_a_way_leads_back_to_trading(way: str, restarts: bool) -> None:
    blocked = BLOCKED[way]
    coins = [an_instrument(BTC), an_instrument(ETH)]
    async with a_bench(results=RULES, instruments=coins) as bench:
        assert denied(bench, "free", instrument=ETH) is None
        await blocked.into(bench)
        assert denied(bench, "held back", instrument=ETH) is blocked.reason
        if not (restarts and blocked.kept):
            await blocked.out(bench)
            assert denied(bench, "back", instrument=ETH) is None
            return
        values, held, passed = kept(bench), bench.state.positions(), bench.clock.monotonic() - 1_000
        drawdown = bench.risk.ledger.rules
    async with a_bench(results=RULES, instruments=coins) as again:
        for position in held:
            again.venue.positions_held[position.instrument] = position.quantity
        again.orders.restore([], held)
        again.risk.recall(values)
        again.risk.ledger.rules = drawdown
        if (standing := again.risk.restore(values)) is not None:
            again.risk.states.put(standing)
        if way == "shortage":
            await run_short(again)
        assert denied(again, "held back", instrument=ETH) is blocked.reason
        await blocked.out(again)
        assert passed >= 0
        assert denied(again, "back", instrument=ETH) is None


# --- RSK-04 ----------------------------------------------------------------------------------------------------------

TIGHT: Mapping[str, tuple[Mapping[str, Any], int | Decimal, Reason]] = {
    "MAX_EXPOSURE_USD": ({"max_exposure": 1000}, 1000, Reason.MAX_EXPOSURE),
    "MAX_EXPOSURE_PER_SYMBOL_USD": ({"max_coin_exposure": notional(500)}, 500, Reason.MAX_SYMBOL_EXPOSURE),
    "MINIMUM_ACTIVE_BALANCE_USD": ({"reserve": 9900}, 1000, Reason.BALANCE_TOO_LOW),
}


@pytest.mark.failure("RSK-04")
@pytest.mark.parametrize("setting", TIGHT)
async def test_a_limit_of_money_acts_where_it_was_configured(setting: str) -> None:
    """These bound what comes after the entry: at the limit passes, a cent above is refused."""
    changes, most, reason = TIGHT[setting]
    async with a_bench(limits=risk_limits(**changes)) as bench:
        assert denied(bench, "at", most) is None
        assert denied(bench, "above", most + CENT) is reason


COUNTED: Mapping[str, tuple[Mapping[str, Any], Reason]] = {
    "MAX_POSITIONS": ({"max_positions": 3}, Reason.MAX_POSITIONS),
    "MAX_POSITIONS_PER_VENUE": ({"max_positions_per_venue": 3}, Reason.MAX_POSITIONS_ON_VENUE),
    "MAX_ENTRIES_PER_MINUTE": ({"max_entries_per_minute": 3}, Reason.ENTRY_RATE),
}


@pytest.mark.failure("RSK-04")
@pytest.mark.parametrize("setting", COUNTED)
async def test_a_limit_of_numbers_acts_where_it_was_configured(setting: str) -> None:
    changes, reason = COUNTED[setting]
    async with a_bench(limits=risk_limits(**changes), instruments=[an_instrument(coin) for coin in COINS]) as bench:
        for number in range(3):
            intent = an_intent(f"s{number}", instrument=COINS[number])
            assert bench.risk.approve_entry(intent, notional(100)).approved is not None
        refusal = bench.risk.approve_entry(an_intent("s3", instrument=COINS[3]), notional(100)).denied
        assert refusal is not None
        assert refusal.reason is reason
        assert any(
            f"{setting}=3" in gate.limit
            for gate in bench.risk.approve_entry(an_intent("s4", instrument=COINS[4]), notional(1)).gates
        )


@pytest.mark.failure("RSK-04")
async def test_the_entry_rate_is_of_any_60_seconds_and_outlives_a_restart() -> None:
    limits = risk_limits(max_entries_per_minute=1)
    async with a_bench(limits=limits) as bench:
        assert denied(bench, "first") is None
        await asyncio.sleep(59.9)
        assert denied(bench, "second") is Reason.ENTRY_RATE
        await asyncio.sleep(0.2)
        assert denied(bench, "third") is None
        values = kept(bench)
    async with a_bench(limits=limits) as again:
        again.risk.recall(values)
        assert denied(again, "fourth") is Reason.ENTRY_RATE


@pytest.mark.failure("RSK-04")
@pytest.mark.parametrize(("mark", "expected"), [("50.01", None), (50, Reason.DAY_LOSS)])
async def test_the_days_loss_acts_where_it_was_configured(mark: Number, expected: Reason | None) -> None:
    async with a_bench(results=result_rules(max_daily_loss="50.05")) as bench:
        await bench.enter(an_intent("loser"))  # 0.05 of fees
        await bench.settle()
        set_mark(bench, mark)
        await bench.settle(1)
        assert denied(bench, instrument=ETH) is expected


# --- RSK-05 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-05")
async def test_one_episode_is_one_action_and_one_alert_also_over_a_restart() -> None:
    async with a_bench(results=RULES) as bench:
        await lose_the_day(bench)
        for number in range(240):
            set_mark(bench, 100 if number % 2 else "0.05")  # in and out of the limit, four minutes long
            await bench.settle(1)
            assert denied(bench, f"s{number}", instrument=ETH) is Reason.DAY_LOSS
        alerts = [text for text in bench.notifier.critical() if "MAX_DAILY_LOSS" in text]
        assert len(alerts) == 1
        assert bench.risk.standing.state is TradingState.REDUCING
        assert len(bench.venue.only(Leg.ENTRY)) == 1
        assert not bench.venue.only(Leg.FLATTEN), "a limit closes nothing"
        values, held = kept(bench), bench.state.positions()
    async with a_bench(results=RULES) as again:
        again.venue.positions_held[BTC] = Decimal(1)
        again.orders.restore([], held)
        again.risk.recall(values)
        await again.settle(30)
        assert again.risk.standing.state is TradingState.REDUCING
        assert not [text for text in again.notifier.critical() if "MAX_DAILY_LOSS" in text]


# --- RSK-06 ----------------------------------------------------------------------------------------------------------

UNITS = ("_USD", "_USDT", "_PERCENT", "_MINUTES", "_MS", "_PER_MINUTE", "_PER_VENUE", "_POSITIONS", "_LIMIT", "_LOSS")
"""MAX_DAILY_LOSS and SL_STREAK_LIMIT keep the names people know; their documents say quote units and stops."""


@pytest.mark.failure("RSK-06")
def test_every_limit_says_its_unit() -> None:
    names = [entry.env for entry in entries(Settings) if entry.path[0] == "risk"]
    assert names
    assert [name for name in names if not name.endswith(UNITS)] == []


@pytest.mark.failure("RSK-06")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_DRAWDOWN_PERCENT", "100"),
        ("MAX_DRAWDOWN_PERCENT", "-1"),
        ("MAX_DAILY_LOSS", "0"),
        ("MAX_DAILY_LOSS", "-50"),
        ("SL_STREAK_LIMIT", "0"),
        ("STOP_LOSS_PERCENT", "100"),
        ("COOLDOWN_AFTER_LOSS_MINUTES", "1.5"),
        ("MAX_CLOCK_ERROR_MS", "1"),
    ],
)
def test_a_value_out_of_its_range_refuses_to_start(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_settings({name: value}, None)
    assert name in str(refusal.value)


@pytest.mark.failure("RSK-06")
async def test_results_and_exposure_are_the_same_at_leverage_1_and_20() -> None:
    seen = []
    for leverage in (1, 20):
        limits, rules = risk_limits(leverage=leverage), result_rules(max_daily_loss="3.05", max_drawdown_percent=1)
        async with a_bench(limits=limits, results=rules) as bench:
            await bench.enter(an_intent("loser"))
            await bench.settle()
            set_mark(bench, 98)
            await bench.settle(2)
            book, used = bench.risk.ledger.book, bench.risk.usage(BINANCE, USDT)
            row = (book.day.result, book.equity.drawdown_percent, used.exposure, denied(bench, instrument=ETH))
            set_mark(bench, 97)
            await bench.settle(2)
            seen.append((*row, denied(bench, instrument=ETH)))
    assert seen[0] == seen[1]
    assert seen[0][-2:] == (None, Reason.DAY_LOSS)
    assert seen[0][0] == Decimal("-2.05"), "2 of the price of 100, and the fee; never times the leverage"


# --- RSK-07 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-07")
async def test_five_errors_in_a_row_pause_entries_and_never_protection() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        await bench.enter(an_intent("held"))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
        for number in range(5):
            assert bench.risk.pauses.all() == {}
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        sent = len(bench.venue.only(Leg.ENTRY))
        for number in range(20):
            assert denied(bench, f"storm{number}", instrument=COINS[5]) is Reason.VENUE_ERRORS
        assert len(bench.notifier.critical()) == 1
        await bench.venue.end(bench.venue.working_stops()[0], OrderStatus.CANCELED)
        await bench.until(lambda: bool(bench.venue.working_stops()), 5)  # the position has a stop again
        await bench.closer.flatten(bench.position().key, "by hand")
        assert len(bench.venue.only(Leg.ENTRY)) == sent


@pytest.mark.failure("RSK-07")
async def test_the_venue_is_tried_again_by_single_entries_until_one_succeeds() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in COINS]) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
        for number in range(5):
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        await bench.settle(30)
        await bench.enter(an_intent("trial", instrument=COINS[6]))
        assert denied(bench, "beside it", instrument=COINS[7]) is Reason.VENUE_ERRORS
        await bench.settle(59)
        assert denied(bench, "too early", instrument=COINS[7]) is Reason.VENUE_ERRORS
        bench.venue.always(Leg.ENTRY, bench.venue.behave)
        await bench.settle(1)
        await bench.enter(an_intent("second trial", instrument=COINS[8]))
        await bench.settle()
        assert denied(bench, "free", instrument=COINS[9]) is None
        assert (Level.INFO, "binance: took an entry again; entries go on") in bench.notifier.messages


@pytest.mark.failure("RSK-07")
async def test_answers_to_protective_orders_neither_pause_entries_nor_end_a_pause() -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        bench.venue.script(Leg.STOP, *[bench.venue.reject("-1001", About.UNREACHED)] * 2)
        bench.venue.script(Leg.FLATTEN, *[bench.venue.reject("-1001", About.UNREACHED)] * 6)
        bench.venue.always(Leg.STOP, bench.venue.reject("-1001", About.UNREACHED))
        await bench.enter(an_intent("held"))
        await bench.until(lambda: len(bench.venue.sent) > 6)
        assert bench.risk.pauses.all() == {}
        await bench.until(lambda: not bench.state.positions())
        bench.venue.always(Leg.STOP, bench.venue.behave)
        for number in range(5):
            bench.venue.script(Leg.ENTRY, bench.venue.reject("-1001", About.UNREACHED))
            await bench.enter(an_intent(f"e{number}", instrument=COINS[number]))
            await bench.settle()
        bench.venue.positions_held[BTC] = Decimal(1)
        bench.reconciler.ask(BINANCE)
        await bench.until(lambda: bool(bench.venue.working_stops()))
        assert denied(bench, instrument=COINS[5]) is Reason.VENUE_ERRORS


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
    async with a_bench(results=RULES) as bench:
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
        stop = bench.venue.working_stops()[0]
        for piece in (Decimal("0.5"), Decimal("1.5")):
            await bench.venue.trade(stop, piece)
        bench.orders.apply([*stop.fills, bench.venue._status(stop)])
        assert not bench.state.positions()
        assert denied(bench) is None
        assert bench.risk.ledger.book.streak == 1


# --- RSK-11 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-11")
@pytest.mark.parametrize("order", ["pause", "reduce", "panic"])
@pytest.mark.parametrize("venue", [None, BINANCE])
async def test_no_entry_leaves_after_the_command_though_it_was_approved_before(
    order: str, venue: VenueName | None
) -> None:
    async with a_bench() as bench:
        bench.journal.seconds = 5.0  # the wave is approved and waits for its durable intent
        bench.waves.handle(bench.batch(a_signal(), a_signal("s2", instrument=ETH)))
        await bench.settle(1)
        assert bench.risk.reserved(BTC)
        await getattr(commands(bench), order)("me", venue)
        bench.journal.seconds = 0.0
        await bench.until(lambda: bool(bench.waves.reports))
        (report,) = bench.waves.reports
        assert not bench.venue.sent
        assert [leg.denied.reason for leg in report.legs if leg.denied] == [Reason.NOT_ACTIVE] * 2
        assert not bench.risk.reserved(BTC)
        assert not bench.state.all_live_orders()


@pytest.mark.failure("RSK-11")
async def test_after_a_pause_what_is_in_flight_is_protected_and_the_command_waits_for_the_answer() -> None:
    async with a_bench(latency=2.0) as bench:
        await bench.enter(an_intent())
        await bench.settle(0.5)
        began = bench.clock.monotonic()
        changed = await commands(bench).pause("me")
        assert (changed.unanswered, bench.clock.monotonic() - began) == (0, 1.5)
        await bench.until(lambda: bool(bench.venue.working_stops()))
        assert bench.position().quantity == 1


@pytest.mark.failure("RSK-11")
async def test_after_a_panic_what_is_in_flight_is_closed_however_late_it_fills() -> None:
    async with a_bench() as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        await bench.enter(an_intent())
        await bench.settle()
        await bench.enter(an_intent("open", instrument=ETH))
        await bench.settle(1)
        bench.venue.orders[an_intent().client_order_id] = late = bench.venue._register(
            an_intent(), OrderStatus.ACCEPTED
        )
        changed = await commands(bench).panic("me")
        assert [row.flat for row in changed.closed] == [True]
        assert bench.risk.standing == Standing(
            state=TradingState.HALTED, reason="panic", author="me", flatten=bench.risk.standing.flatten
        )
        await bench.venue.trade(late, Decimal(1))
        await bench.until(lambda: not bench.state.positions(), 10)
        await bench.until(lambda: not bench.risk.standing.flatten, 60)
        assert not any(bench.venue.positions_held.values())
        assert bench.risk.standing.state is TradingState.HALTED
        assert {intent.leg for intent in bench.venue.sent} <= {Leg.ENTRY, Leg.STOP, Leg.CLOSE}


@pytest.mark.failure("RSK-11")
async def test_a_panic_that_a_crash_interrupted_goes_on_after_the_restart() -> None:
    async with a_bench() as bench:
        await bench.enter(an_intent())
        await bench.settle(1)
        bench.venue.always(Leg.CLOSE, bench.venue.lose_request)
        task = asyncio.create_task(commands(bench).panic("me"))
        await bench.settle(1)
        values, held = kept(bench), bench.state.positions()
        task.cancel()
    async with a_bench() as again:
        again.venue.positions_held[BTC] = Decimal(1)
        again.orders.restore([], held)
        again.risk.recall(values)
        standing = again.risk.restore(values)
        assert standing is not None
        again.risk.states.put(standing)
        await again.until(lambda: not again.state.positions())
        assert not any(again.venue.positions_held.values())
        assert again.risk.standing.state is TradingState.HALTED
        assert denied(again) is Reason.NOT_ACTIVE


async def test_a_pause_does_not_loosen_a_panic() -> None:
    async with a_bench() as bench:
        await commands(bench).panic("me")
        changed = await commands(bench).pause("me")
        assert changed.standing.state is TradingState.HALTED


async def test_a_halt_of_our_own_does_not_make_a_restart_forget_a_pause() -> None:
    async with a_bench() as bench:
        await commands(bench).pause("me")
        bench.risk.halt("an invariant broke")
        values = kept(bench)
    async with a_bench() as again:
        again.risk.recall(values)
        assert again.risk.restore(values) == Standing(state=TradingState.REDUCING, reason="paused", author="me")


async def test_the_end_of_the_kill_file_gives_no_pause_away() -> None:
    async with a_bench() as bench:
        await commands(bench).pause("me")
        bench.risk.states.set_killed(True)
        assert bench.risk.standing.state is TradingState.HALTED
        bench.risk.states.set_killed(False)
        assert (bench.risk.standing.state, bench.risk.standing.author) == (TradingState.REDUCING, "me")


# --- RSK-12 and VAL-13 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "first_wait"),
    [
        pytest.param(About.ACCOUNT_RESTRICTED, 60, marks=pytest.mark.failure("RSK-12")),
        pytest.param(About.INSUFFICIENT_MARGIN, 60, marks=pytest.mark.failure("VAL-13")),
    ],
)
async def test_such_a_refusal_alerts_once_and_entries_are_tried_again_with_growing_waits(
    about: About, first_wait: int
) -> None:
    async with a_bench(instruments=[an_instrument(coin) for coin in [BTC, *COINS]]) as bench:
        await bench.enter(an_intent("held"))
        await bench.until(lambda: bool(bench.venue.working_stops()))
        sent = len(bench.venue.only(Leg.ENTRY))
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-4400", about))
        began = bench.clock.monotonic()
        tries = []
        for second in range(16 * first_wait):
            intent = an_intent(f"s{second}", instrument=COINS[second % 12])
            ruling = bench.risk.approve_entry(intent, notional(100))
            if ruling.approved is not None:
                tries.append(round(bench.clock.monotonic() - began))
                await bench.orders.submit([ruling.approved])
            await bench.settle(1)
        assert tries == [0, first_wait, 3 * first_wait, 7 * first_wait, 15 * first_wait]
        assert len(bench.venue.only(Leg.ENTRY)) == sent + len(tries)
        assert len(bench.notifier.critical()) == 1
        await bench.venue.end(bench.venue.working_stops()[0], OrderStatus.CANCELED)
        await bench.until(lambda: bool(bench.venue.working_stops()), 5)
        await bench.closer.flatten(bench.position().key, "by hand")
        assert not bench.state.positions()


@pytest.mark.failure("VAL-13")
async def test_margin_is_checked_before_sending_and_a_refusal_ends_the_venues_part_of_the_wave() -> None:
    coins = [an_instrument(coin) for coin in COINS]
    async with a_bench(instruments=coins, limits=risk_limits(leverage=1)) as bench:
        bench.orders.apply([a_balance_report("250", venue_time_ms=NOW_MS + 1)])
        report = await bench.wave(*(a_signal(f"s{n}", instrument=COINS[n], score=90 - n) for n in range(4)))
        states = [leg.state for leg in report.legs]
        assert states == [LegState.PROTECTED] * 2 + [LegState.REFUSED] * 2  # 100 each, 10 stay
        assert len(bench.venue.only(Leg.ENTRY)) == 2
    async with a_bench(instruments=coins) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-2019", About.INSUFFICIENT_MARGIN))
        waves = [bench.wave(*(a_signal(f"s{w}{n}", instrument=COINS[n]) for n in range(6))) for w in range(5)]
        for wave in waves:
            await wave
        assert len(bench.venue.only(Leg.ENTRY)) <= 5, "one wave's concurrent entries, then none"
        assert len(bench.notifier.critical()) == 1


# --- the clock -------------------------------------------------------------------------------------------------------


async def test_a_clock_that_jumped_holds_entries_back_until_the_venues_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        await bench.settle(2)
        bench.venue.error = Unreachable(BINANCE, "no route")
        exact = type(bench.clock).now_ms
        monkeypatch.setattr(type(bench.clock), "now_ms", lambda clock: exact(clock) + 1_001)
        assert denied(bench) is Reason.CLOCK_UNSURE
        bench.venue.error = None
        await bench.settle(12)
        assert "clock" in bench.venue.reads
        assert denied(bench) is None


async def test_a_clock_that_could_not_be_measured_for_an_hour_holds_entries_back() -> None:
    async with a_bench() as bench:
        assert denied(bench) is None
        bench.venue.error = Unreachable(BINANCE, "no route")
        assert gate(bench, "clock").limit == "MAX_CLOCK_ERROR_MS=1000"
        await bench.settle(3_599)
        assert gate(bench, "clock").passed
        await bench.settle(2)
        assert gate(bench, "clock").denied is not None


def test_the_limits_on_results_are_known_to_the_book() -> None:
    assert {limit.value for limit in Limit} == {"day_loss", "streak", "drawdown"}
    assert replace(RULES, streak_limit=2).text(Limit.STREAK) == "SL_STREAK_LIMIT=2"
