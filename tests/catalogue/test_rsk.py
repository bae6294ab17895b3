"""Limits and alerts, as docs/FAILURES.md demands them (RSK-01 to RSK-06)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from core.config import Settings, load_settings
from core.domain.ids import Leg, VenueName
from core.domain.risk import TradingState
from core.domain.verdict import Reason
from core.engine.ports import Level
from core.errors import ConfigError, Unreachable
from core.settings.fields import entries
from tests.builders import (
    BTC,
    ETH,
    NOW_MS,
    USDT,
    Number,
    a_balance_report,
    an_instrument,
    an_instrument_id,
    an_intent,
    notional,
    result_rules,
    risk_limits,
)
from tests.catalogue.risk import (
    CENT,
    COINS,
    RULES,
    denied,
    gate,
    kept,
    lose_the_day,
    set_mark,
)
from tests.engine.bench import BINANCE, a_bench

pytestmark = pytest.mark.may_block("simulation runs storage inline")


# --- RSK-01 ----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("RSK-01", "INV-14")
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

UNITS = ("_USD", "_USDT", "_PERCENT", "_SECONDS", "_MS", "_PER_MINUTE", "_PER_VENUE", "_POSITIONS", "_LIMIT", "_LOSS")
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
        ("COOLDOWN_AFTER_LOSS_SECONDS", "1.5"),
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
