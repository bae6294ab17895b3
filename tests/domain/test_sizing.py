"""One function decides how much, over random venue rules (VAL-01, VAL-12)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.instrument import Instrument
from core.domain.money import Price, plain
from core.domain.sizing import Sized, SizingRule, size
from core.domain.verdict import Denied, Reason
from tests.builders import a_lot, an_instrument, price, sizing_rule


@st.composite
def markets(draw: st.DrawFn) -> tuple[Instrument, Price, SizingRule]:
    step = Decimal(1).scaleb(-draw(st.integers(-3, 8)))
    tick = Decimal(1).scaleb(-draw(st.integers(-1, 8)))
    lot = a_lot(minimum=step * draw(st.integers(1, 1_000)), maximum=step * draw(st.integers(1_001, 10**9)), step=step)
    instrument = an_instrument(lot=lot, tick=tick, min_notional=draw(st.sampled_from([0, 1, 5, 20, 100])))
    at = price(tick * draw(st.integers(1, 10**7)))
    rule = sizing_rule(target=draw(st.integers(1, 10_000)), minimum=draw(st.integers(0, 50)))
    return instrument, at, rule


@pytest.mark.failure("VAL-01", "INV-9")
@given(markets())
def test_a_size_always_passes_the_venues_own_check(market: tuple[Instrument, Price, SizingRule]) -> None:
    instrument, at, rule = market
    lot = instrument.market_lot
    sized = size(instrument, at, rule, lot)
    if isinstance(sized, Denied):
        return
    assert sized.quantity % lot.step == 0
    assert lot.minimum <= sized.quantity <= lot.maximum
    assert sized.notional == sized.quantity * at
    assert sized.notional >= max(instrument.min_notional, rule.minimum)
    assert sized.notional <= rule.target * Decimal("1.10")


@pytest.mark.failure("VAL-01", "INV-9")
@given(markets())
def test_a_refusal_for_being_too_small_means_no_allowed_quantity_costs_little_enough(
    market: tuple[Instrument, Price, SizingRule],
) -> None:
    instrument, at, rule = market
    lot = instrument.market_lot
    sized = size(instrument, at, rule, lot)
    if not isinstance(sized, Denied) or sized.reason is not Reason.BELOW_MINIMUM:
        return
    cheapest = Decimal(sized.values["smallest"])
    assert cheapest > rule.target * Decimal("1.10")
    one_step_less = cheapest / at - lot.step
    floor = max(instrument.min_notional, rule.minimum)
    assert one_step_less < lot.minimum or one_step_less * at < floor


def test_rounding_comes_before_the_check() -> None:
    # 0.571 of a coin with step 0.1 is 0.5, and 0.5 costs less than the venue's minimum: 0.6 is what it takes.
    instrument = an_instrument(lot=a_lot("0.1", 1000, "0.1"), min_notional=5)
    sized = size(instrument, price("9.8"), sizing_rule(target="5.6", minimum=1), instrument.market_lot)
    assert isinstance(sized, Sized)
    assert plain(sized.quantity) == "0.6"


@pytest.mark.parametrize(("minimum", "accepted"), [("1.1", True), ("1.101", False)])
def test_the_venues_minimum_is_used_up_to_ten_percent_above_the_target(minimum: str, accepted: bool) -> None:
    instrument = an_instrument(lot=a_lot(minimum, 1000, "0.001"), min_notional=0)
    sized = size(instrument, price(100), sizing_rule(target=100, minimum=0), instrument.market_lot)
    assert isinstance(sized, Sized) is accepted


def test_a_refusal_names_the_setting_and_the_numbers() -> None:
    instrument = an_instrument(lot=a_lot(2, 1000, 1), min_notional=5)
    denied = size(instrument, price(100), sizing_rule(target=100), instrument.market_lot)
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.BELOW_MINIMUM
    assert denied.values == {
        "POSITION_SIZE_USD": "100",
        "MIN_POSITION_SIZE_USDT": "5",
        "POSITION_SIZE_TOLERANCE_PERCENT": "10",
        "most": "110",
        "smallest": "200",
    }


def test_more_than_the_venue_takes_in_one_order_is_refused() -> None:
    instrument = an_instrument(lot=a_lot(1, 5, 1))
    denied = size(instrument, price(10), sizing_rule(target=100), instrument.market_lot)
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.ABOVE_MAXIMUM


@given(markets(), st.decimals(min_value=Decimal("1e-9"), max_value=10**9, places=10))
def test_rounding_goes_the_way_its_name_says_and_never_further_than_one_tick(
    market: tuple[Instrument, Price, SizingRule], value: Decimal
) -> None:
    instrument, _, _ = market
    down, up = instrument.round_price_down(value), instrument.round_price_up(value)
    assert down <= value <= up
    assert up - down in (0, instrument.tick)
    assert down % instrument.tick == 0
    quantity = instrument.round_quantity(value, instrument.lot)
    assert 0 <= value - quantity < instrument.lot.step
