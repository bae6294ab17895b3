"""A position is its own fills and nothing else."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.ids import Asset, Leg
from core.domain.position import FillWithoutPosition, Position, open_or_add, reduce
from core.domain.signal import Side
from tests.builders import NOW_MS, a_fill, a_position, an_intent

STOP = Decimal(2)
trades = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 1_000)), min_size=1, max_size=6)


def opened(side: Side, entries: list[tuple[int, int]]) -> Position:
    intent = an_intent(side=side, amount=sum(amount for amount, _ in entries))
    position: Position | None = None
    for number, (amount, at) in enumerate(entries):
        fill = a_fill(intent, trade_id=f"e{number}", amount=amount, at=at, fee=1)
        position = open_or_add(position, fill, intent, STOP)
    assert position is not None
    return position


def close_fill(position: Position, amount: Decimal | int, at: int, venue_time_ms: int = NOW_MS) -> Position:
    intent = an_intent(leg=Leg.CLOSE, side=position.side.opposite, amount=amount)
    return reduce(position, a_fill(intent, at=at, fee=1, venue_time_ms=venue_time_ms))


@pytest.mark.failure("POS-12")
@given(st.sampled_from(Side), trades, st.data())
def test_closing_fills_end_at_exactly_zero_and_the_result_is_what_the_fills_say(
    side: Side, entries: list[tuple[int, int]], data: st.DataObject
) -> None:
    position = opened(side, entries)
    proceeds, closing_fills = Decimal(0), 0
    while position.open:
        amount = data.draw(st.integers(1, int(position.quantity)))
        at = data.draw(st.integers(1, 1_000))
        position = close_fill(position, amount, at)
        proceeds += amount * at
        closing_fills += 1
    assert position.quantity == 0
    assert position.closed_ms == NOW_MS
    paid = sum(amount * at for amount, at in entries)
    assert abs(position.realized - (proceeds - paid) * side.sign) < Decimal("1e-18")
    assert position.fees == len(entries) + closing_fills


@given(st.sampled_from(Side), trades, st.integers(1, 1_000))
def test_the_entry_price_is_the_average_of_entry_fills_and_closing_never_rewrites_it(
    side: Side, entries: list[tuple[int, int]], at: int
) -> None:
    position = opened(side, entries)
    expected = Decimal(sum(a * p for a, p in entries)) / sum(a for a, _ in entries)
    assert position.entry_price == expected
    assert close_fill(position, 1, at).entry_price == expected


@given(st.sampled_from(Side), st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 1_000)), min_size=1, max_size=12))
def test_entries_and_exits_that_alternate_realise_what_was_paid_and_got(
    side: Side, moves: list[tuple[int, int]]
) -> None:
    intent = an_intent(side=side, amount=10_000)
    position: Position | None = None
    cash = entries = 0
    for number, (wished, at) in enumerate([*moves, (-10_000, 500)]):
        amount = wished if wished > 0 else -min(-wished, 0 if position is None else int(position.quantity))
        if amount > 0:
            fill = a_fill(intent, trade_id=f"e{number}", amount=amount, at=at, fee=1)
            position, entries = open_or_add(position, fill, intent, STOP), entries + amount
        elif amount < 0 and position is not None:
            position = close_fill(position, -amount, at)
        cash -= amount * at * side.sign
    if position is not None:
        assert not position.open
        assert position.id == intent.position_id
        assert position.entry_quantity == position.exit_quantity == entries
        assert abs(position.realized - cash) < Decimal("1e-18")


def test_what_is_added_after_a_part_was_sold_is_averaged_with_what_is_left() -> None:
    entry = an_intent(amount=4)
    half = close_fill(opened(Side.BUY, [(2, 100)]), 1, 90)
    position = open_or_add(half, a_fill(entry, trade_id="late", amount=3, at=80), entry, STOP)
    assert (position.entry_price, position.quantity, position.entry_quantity) == (85, 4, 5)


def test_result_is_profit_for_a_long_that_rose_and_a_short_that_fell() -> None:
    assert a_position(at=100).unrealized(Decimal(110)) == 10
    assert a_position(at=100, side=Side.SELL).unrealized(Decimal(90)) == 10
    assert a_position(at=100).profit_percent(Decimal(110)) == 10
    assert a_position(at=100, side=Side.SELL).profit_percent(Decimal(110)) == -10


def test_nothing_about_a_position_knows_leverage() -> None:
    assert not [name for name in Position.__struct_fields__ if "leverage" in name or "margin" in name]


def test_the_stop_distance_of_the_signal_travels_with_the_position() -> None:
    intent = an_intent(stop_loss_percent="3.5")
    assert open_or_add(None, a_fill(intent), intent, STOP).stop_loss_percent == Decimal("3.5")
    plain_intent = an_intent(stop_loss_percent=None)
    assert open_or_add(None, a_fill(plain_intent), plain_intent, STOP).stop_loss_percent == STOP


@pytest.mark.parametrize("position", [None, a_position(amount=1), a_position(side=Side.SELL, amount=5)])
def test_a_closing_fill_that_closes_nothing_we_know_changes_nothing(position: Position | None) -> None:
    fill = a_fill(an_intent(leg=Leg.CLOSE, side=Side.SELL, amount=2))
    with pytest.raises(FillWithoutPosition):
        reduce(position, fill)


def test_an_entry_after_a_close_is_a_new_position() -> None:
    closed = close_fill(opened(Side.BUY, [(1, 100)]), 1, 110)
    intent = an_intent("s2")
    again = open_or_add(closed, a_fill(intent, at=50), intent, STOP)
    assert (again.id, again.entry_price, again.realized) == (intent.position_id, 50, 0)


def test_an_entry_that_goes_on_after_its_position_was_closed_opens_it_again_with_what_it_made() -> None:
    entry = an_intent(amount=3)
    closed = close_fill(opened(Side.BUY, [(1, 100)]), 1, 110)
    late = a_fill(entry, trade_id="late", amount=2, at=50, venue_time_ms=NOW_MS + 9)
    again = open_or_add(closed, late, entry, STOP)
    assert again.open
    assert again.closed_ms is None
    assert (again.id, again.entry_price, again.quantity, again.realized) == (entry.position_id, 50, 2, 10)
    assert (again.opened_ms, again.fees) == (NOW_MS + 9, closed.fees + late.fee)


def test_a_fee_in_another_coin_is_not_taken_for_quote_coin() -> None:
    entry = an_intent(amount=1)
    paid_in_bnb = replace(a_fill(entry, amount=1, at=100, fee="0.002"), fee_asset=Asset("BNB"))
    position = open_or_add(None, paid_in_bnb, entry, STOP)
    assert position.fees == 0
    closed = close_fill(position, 1, 110)
    assert (closed.fees, closed.realized) == (1, 10)
