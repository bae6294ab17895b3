"""Each filter refuses at its limit, says which setting did, and has a stated answer for a missing input (VAL-16)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.gate import Gate, first_refusal
from core.domain.liquidity import Activity, LiquidityRules, OnMissing, liquidity
from core.domain.money import Price
from core.domain.signal import Side
from core.domain.verdict import Reason
from tests.builders import an_activity, liquidity_rules, price

MARK = price(100)
TOUCH = (price("99.99"), price("100.01"))
CENT = Decimal("0.01")


def gates(
    activity: Activity | None = None,
    *,
    side: Side = Side.BUY,
    mark: Price | None = MARK,
    touch: tuple[Price, Price] | None = TOUCH,
    rules: LiquidityRules | None = None,
) -> dict[str, Gate]:
    told = liquidity(side, mark, touch, activity or an_activity(), rules or liquidity_rules())
    return {gate.name: gate for gate in told}


def reason(gate: Gate) -> Reason | None:
    return None if gate.denied is None else gate.denied.reason


def test_a_liquid_symbol_passes_all_four() -> None:
    assert first_refusal(gates().values()) is None
    assert list(gates()) == ["open_interest", "volume_1h", "move_5min", "spread"]


@pytest.mark.failure("VAL-16")
@pytest.mark.parametrize(
    ("name", "at_limit", "beyond", "why", "setting"),
    [
        (
            "open_interest",
            gates(an_activity(open_interest=Decimal(10_000))),
            gates(an_activity(open_interest=Decimal(10_000) - CENT)),
            Reason.OPEN_INTEREST_TOO_LOW,
            "SIGNAL_MIN_OPEN_INTEREST_USDT",
        ),
        (
            "volume_1h",
            gates(an_activity(volume_1h=Decimal(50_000))),
            gates(an_activity(volume_1h=Decimal(50_000) - CENT)),
            Reason.VOLUME_TOO_LOW,
            "SIGNAL_MIN_VOLUME_1H_USDT",
        ),
        (
            "move_5min",
            gates(mark=price(96)),
            gates(mark=price("95.99")),
            Reason.MOVED_AGAINST,
            "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT",
        ),
        (
            "spread",
            gates(touch=(price("99.75"), price("100.25"))),
            gates(touch=(price("99.74"), price("100.25"))),
            Reason.SPREAD_TOO_WIDE,
            "MAX_SPREAD_PERCENT",
        ),
    ],
)
def test_a_filter_passes_at_its_limit_and_refuses_one_step_beyond(
    name: str, at_limit: dict[str, Gate], beyond: dict[str, Gate], why: Reason, setting: str
) -> None:
    assert at_limit[name].passed
    gate = beyond[name]
    assert reason(gate) is why
    assert gate.denied is not None
    assert setting in gate.denied.values
    assert setting in gate.limit


@pytest.mark.parametrize(
    ("side", "mark", "passes"),
    [(Side.BUY, 90, False), (Side.BUY, 110, True), (Side.SELL, 90, True), (Side.SELL, 110, False)],
)
def test_only_a_move_against_the_entry_side_counts(side: Side, mark: int, passes: bool) -> None:
    assert gates(side=side, mark=price(mark))["move_5min"].passed is passes


MISSING = [
    ("open_interest", {"open_interest": None}, {}, Reason.OPEN_INTEREST_MISSING),
    ("volume_1h", {"volume_1h": None}, {}, Reason.VOLUME_MISSING),
    ("move_5min", {"price_before": None}, {}, Reason.PRICE_CHANGE_MISSING),
    ("spread", {}, {"touch": None}, Reason.SPREAD_MISSING),
]


@pytest.mark.failure("VAL-16")
@pytest.mark.parametrize(("name", "lacking", "asked", "why"), MISSING)
def test_a_missing_input_has_its_own_reason_or_passes_openly(
    name: str, lacking: dict[str, None], asked: dict[str, None], why: Reason
) -> None:
    activity = an_activity(**lacking)
    gate = gates(activity, **asked)[name]  # type: ignore[arg-type]
    assert reason(gate) is why
    assert gate.denied is not None
    assert any(key.endswith("_ON_MISSING") for key in gate.denied.values)

    rules = liquidity_rules()
    lenient = replace(rules, **{name: replace(getattr(rules, name), on_missing=OnMissing.PASS)})
    let_through = gates(activity, rules=lenient, **asked)[name]  # type: ignore[arg-type]
    assert let_through.passed
    assert "ON_MISSING=pass" in let_through.note


@pytest.mark.failure("VAL-16")
@pytest.mark.parametrize(("name", "lacking", "asked", "why"), MISSING)
def test_a_venue_that_did_not_answer_is_a_venue_error_and_not_a_filtered_signal(
    name: str, lacking: dict[str, None], asked: dict[str, None], why: Reason
) -> None:
    del why
    gate = gates(an_activity(error="binance: no answer", **lacking), **asked)[name]  # type: ignore[arg-type]
    assert reason(gate) is Reason.VENUE_ERROR
    assert gate.denied is not None
    assert "no answer" in gate.denied.detail


@pytest.mark.parametrize(("name", "lacking", "asked", "why"), MISSING)
def test_zero_switches_a_filter_off_also_without_its_input(
    name: str, lacking: dict[str, None], asked: dict[str, None], why: Reason
) -> None:
    del why
    rules = liquidity_rules()
    off = replace(rules, **{name: replace(getattr(rules, name), limit=Decimal(0))})
    gate = gates(an_activity(**lacking), rules=off, **asked)[name]  # type: ignore[arg-type]
    assert gate.passed
    assert "(off)" in gate.limit


def test_figures_older_than_allowed_are_missing_ones() -> None:
    told = gates(an_activity(age=300.1))
    assert reason(told["open_interest"]) is Reason.OPEN_INTEREST_MISSING
    assert reason(told["volume_1h"]) is Reason.VOLUME_MISSING
    assert told["open_interest"].denied is not None
    assert "300 s old" in told["open_interest"].denied.detail
    assert first_refusal(gates(an_activity(age=300.0)).values()) is None


def test_without_a_mark_nothing_can_be_valued() -> None:
    told = gates(mark=None)
    assert reason(told["open_interest"]) is Reason.OPEN_INTEREST_MISSING
    assert reason(told["move_5min"]) is Reason.PRICE_CHANGE_MISSING
    assert told["spread"].passed
