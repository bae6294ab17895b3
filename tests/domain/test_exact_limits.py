"""At its limit a rule lets through, one tick beyond it refuses; and each figure is measured the way it is described."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.breaker import Breaker, PauseCause
from core.domain.cooldown import CloseKind, CooldownRules, LastClose
from core.domain.day import DayAccount, day_of
from core.domain.equity import Equity
from core.domain.gate import Gate
from core.domain.ids import ClientOrderId
from core.domain.instrument import Bracket
from core.domain.liquidity import liquidity
from core.domain.money import Notional
from core.domain.risk import clock_gate
from core.domain.risk_book import RiskBook
from core.domain.screening import screen
from core.domain.signal import Side
from core.domain.sizing import Sized, bracket_gate, size
from core.domain.verdict import Denied, Reason
from tests.builders import (
    BTC,
    ETH,
    NOW_MS,
    a_lot,
    a_signal,
    an_activity,
    an_instrument,
    facts,
    liquidity_rules,
    notional,
    price,
    risk_limits,
    screening_rules,
    sizing_rule,
)

MINUTE_MS = 60_000
ENTRY, TRIAL = ClientOrderId("e"), ClientOrderId("t")


def gate(name: str, signal: dict[str, Any], known: dict[str, Any], rules: dict[str, Any]) -> Gate:
    gates = screen(a_signal(**signal), facts(**known), screening_rules(**rules))
    return next(gate for gate in gates if gate.name == name)


@pytest.mark.parametrize(("error_ms", "passes"), [(1000, True), (-1000, True), (1001, False), (-1001, False)])
def test_a_clock_may_have_jumped_either_way_by_as_much_as_is_allowed(error_ms: int, passes: bool) -> None:
    assert clock_gate(error_ms, risk_limits(max_clock_error_ms=1000)).passed is passes


def test_the_drawdown_of_a_small_account_counts_as_well() -> None:
    assert Equity(now=Decimal(60), peak=Decimal(80)).drawdown_percent == 25
    assert Equity(now=Decimal(-5), peak=Decimal(0)).drawdown_percent == 0


def test_a_close_is_remembered_as_long_as_the_longest_cooldown_runs_also_for_another_hands_trade() -> None:
    rules = CooldownRules(after_loss=300, after_external=3600)
    book = RiskBook(day=DayAccount(day=day_of(NOW_MS)))
    for instrument, minutes in ((BTC, 0), (ETH, 59)):
        close = LastClose(side=Side.BUY, kind=CloseKind.EVEN, at_ms=NOW_MS + minutes * MINUTE_MS, external=True)
        book = book.with_close(instrument, close, by_stop=False, rules=rules)
    assert {key.instrument for key in book.closes} == {BTC, ETH}
    late = LastClose(side=Side.BUY, kind=CloseKind.EVEN, at_ms=NOW_MS + 60 * MINUTE_MS, external=True)
    after = book.with_close(ETH, late, by_stop=False, rules=rules)
    assert {key.instrument for key in after.closes} == {ETH}


@pytest.mark.parametrize("cause", [PauseCause.MARGIN, PauseCause.RESTRICTED])
def test_a_refusal_for_margin_or_restriction_is_no_venue_error(cause: PauseCause) -> None:
    assert Breaker(errors_limit=2, errors=1).failed(cause, "x", ENTRY, NOW_MS).errors == 1


def test_a_second_answer_to_the_same_trial_does_not_double_the_wait_again() -> None:
    begun = Breaker(errors_limit=1).failed(PauseCause.ERRORS, "x", ENTRY, NOW_MS)
    once = begun.tried(TRIAL, NOW_MS + 30_000).failed(PauseCause.ERRORS, "x", TRIAL, NOW_MS + 30_000)
    assert once.failed(PauseCause.ERRORS, "x", TRIAL, NOW_MS + 40_000).pause == once.pause


def test_longs_pass_where_shorts_are_switched_off() -> None:
    assert gate("side", {"side": Side.BUY}, {}, {"allow_shorts": False}).passed


@pytest.mark.parametrize(("age", "passes"), [(3600.0, True), (3600.1, False)])
def test_trading_rules_may_be_as_old_as_is_allowed(age: float, passes: bool) -> None:
    assert gate("rules_age", {}, {"rules_age": age}, {"rules_max_age": 3600.0}).passed is passes


@pytest.mark.parametrize(
    ("ours", "makers", "passes"),
    [
        (105, None, True),
        ("105.01", None, False),
        (95, None, True),
        ("94.99", None, False),
        (100, 105, True),
        (100, "105.01", False),
        (100, "94.99", False),
    ],
)
def test_the_price_we_would_pay_and_the_one_its_maker_saw_may_each_be_so_far_from_the_mark(
    ours: str | int, makers: str | int | None, passes: bool
) -> None:
    signal = replace(a_signal(), price=None if makers is None else price(makers))
    gates = screen(signal, facts(price=price(ours), mark=price(100)), screening_rules(divergence_refuse=Decimal(5)))
    (divergence,) = (gate for gate in gates if gate.name == "divergence")
    assert divergence.passed is passes
    assert passes or (divergence.denied is not None and divergence.denied.reason is Reason.PRICE_DIVERGES)


@pytest.mark.parametrize(("warn", "noted"), [(0, False), (1, True), (2, False)])
def test_a_divergence_is_noted_beyond_the_warning_and_zero_switches_that_off(warn: int, noted: bool) -> None:
    told = gate("divergence", {}, {"price": price(102)}, {"divergence_warn": Decimal(warn)})
    assert bool(told.note) is noted


def test_the_spread_is_a_part_of_the_middle_between_bid_and_ask() -> None:
    gates = liquidity(Side.BUY, price(100), (price(90), price(110)), an_activity(), liquidity_rules())
    (spread,) = (gate for gate in gates if gate.name == "spread")
    assert spread.value == "20"


@pytest.mark.parametrize(("most", "passes"), [(1, True), ("0.999", False)])
def test_an_order_may_be_as_large_as_the_venue_takes(most: str | int, passes: bool) -> None:
    sized = size(an_instrument(), price(100), sizing_rule(target=100), a_lot(maximum=most))
    assert isinstance(sized, Sized) is passes
    assert passes or (isinstance(sized, Denied) and sized.reason is Reason.ABOVE_MAXIMUM)


@pytest.mark.parametrize(("held", "passes"), [(900, True), ("900.01", False)])
def test_a_bracket_may_be_filled_to_its_end_by_what_is_held_and_what_is_wanted(held: str | int, passes: bool) -> None:
    brackets = (Bracket(most_notional=Notional(Decimal(1000)), max_leverage=10),)
    instrument = replace(an_instrument(), brackets=brackets)
    assert bracket_gate(instrument, notional(100), Decimal(held), 10).passed is passes
