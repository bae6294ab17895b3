"""The order table over every pair, and the promise behind it: arrival order and repetition of news change nothing."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.order import (
    ENDED,
    NEXT,
    RANK,
    IllegalReport,
    Move,
    Order,
    OrderIntent,
    OrderStatus,
    apply_fill,
    apply_status,
)
from core.domain.reports import FillReport, OrderStatusReport
from tests.builders import NOW_MS, a_fill, a_status, an_intent, an_order, quantity

S = OrderStatus
ODD_BUT_REAL = [
    (S.CANCELED, S.FILLED),  # a fill was under way when the cancel arrived
    (S.EXPIRED, S.FILLED),
    (S.ABSENT, S.ACCEPTED),  # the look-up was too early
    (S.ABSENT, S.FILLED),
    (S.ACCEPTED, S.REJECTED),  # a stop refused at the moment it fired
    (S.TRIGGERED, S.REJECTED),
    (S.IN_FLIGHT, S.FILLED),
    (S.INITIALIZED, S.FILLED),
]


@pytest.mark.failure("POS-14")
@pytest.mark.parametrize(("old", "new"), list(product(S, repeat=2)))
def test_every_pair_is_applied_stale_or_illegal_and_never_moves_back(old: S, new: S) -> None:
    order = an_order(status=old)
    after = apply_status(order, a_status(status=new))
    match NEXT[old, new]:
        case Move.APPLY:
            assert isinstance(after, Order)
            assert after.status is new
            assert RANK[new] > RANK[old]
        case Move.STALE:
            assert after is order
        case Move.ILLEGAL:
            assert isinstance(after, IllegalReport)
            assert after.order is order


@pytest.mark.parametrize(("old", "new"), ODD_BUT_REAL)
def test_odd_but_real_transitions_are_legal(old: S, new: S) -> None:
    assert NEXT[old, new] is Move.APPLY


@pytest.mark.parametrize("old", [S.FILLED, S.PARTIALLY_FILLED, S.CANCELED, S.EXPIRED])
def test_an_order_that_worked_cannot_turn_out_rejected(old: S) -> None:
    assert NEXT[old, S.REJECTED] is Move.ILLEGAL


@dataclass(frozen=True)
class Life:
    """All a venue ever says of one order."""

    intent: OrderIntent
    reports: tuple[OrderStatusReport | FillReport, ...]
    final: S
    filled: Decimal


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Accepted, some trades, and an end; a trade may come after a cancel, as real venues allow."""
    pieces = draw(st.lists(st.integers(1, 5), min_size=0, max_size=5))
    rest = draw(st.integers(0, 3))
    intent = an_intent(amount=max(1, sum(pieces) + rest))
    whole = bool(pieces) and rest == 0
    reports: list[OrderStatusReport | FillReport] = [a_status(intent, S.ACCEPTED, venue_time_ms=NOW_MS)]
    filled = Decimal(0)
    for number, piece in enumerate(pieces, start=1):
        filled += piece
        at = NOW_MS + number
        status = S.FILLED if filled == intent.quantity else S.PARTIALLY_FILLED
        trade = a_fill(intent, trade_id=f"t{number}", amount=piece, at=99 + number, venue_time_ms=at)
        reports += [trade, a_status(intent, status, filled=filled, venue_time_ms=at)]
    final = S.FILLED
    if not whole:
        final = draw(st.sampled_from([S.CANCELED, S.EXPIRED]))
        reports.append(a_status(intent, final, filled=filled, venue_time_ms=NOW_MS + 10))
    return Life(intent=intent, reports=tuple(reports), final=final, filled=filled)


def tell(order: Order, report: OrderStatusReport | FillReport) -> Order | IllegalReport:
    return apply_fill(order, report) if isinstance(report, FillReport) else apply_status(order, report)


def lived(life: Life, told: list[OrderStatusReport | FillReport]) -> Order:
    order = an_order(life.intent)
    for report in told:
        after = tell(order, report)
        assert isinstance(after, Order), after
        assert RANK[after.status] >= RANK[order.status]
        assert after.filled >= order.filled
        order = after
    return order


@given(st.data())
def test_any_order_and_repetition_of_reports_ends_in_the_same_order(data: st.DataObject) -> None:
    life = data.draw(lives())
    shuffled = data.draw(st.permutations(life.reports))
    again = data.draw(st.lists(st.sampled_from(life.reports), max_size=6))
    expected = lived(life, list(life.reports))
    assert lived(life, [*shuffled, *again]) == expected
    assert (expected.status, expected.filled, expected.fills_missing) == (life.final, life.filled, 0)


@given(lives(), st.data())
def test_after_the_last_report_every_repetition_is_the_same_object(life: Life, data: st.DataObject) -> None:
    order = lived(life, list(life.reports))
    assert tell(order, data.draw(st.sampled_from(life.reports))) is order


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=12), st.integers(1, 10))
def test_filled_never_exceeds_what_was_ordered_without_an_alarm(trades: list[tuple[int, int]], ordered: int) -> None:
    order = an_order(an_intent(amount=ordered))
    counted: dict[str, int] = {}
    for number, amount in trades:
        trade_id = f"t{number}"
        after = apply_fill(order, a_fill(order.intent, trade_id=trade_id, amount=amount))
        fits = sum(counted.values()) + amount <= ordered
        if trade_id in counted:
            assert after is order
        elif fits:
            assert isinstance(after, Order)
            counted[trade_id], order = amount, after
        else:
            assert isinstance(after, IllegalReport)
        assert order.filled == sum(counted.values()) <= ordered


def test_a_status_that_claims_more_than_was_ordered_is_illegal() -> None:
    order = an_order(an_intent(amount=2))
    assert isinstance(apply_status(order, a_status(order.intent, S.FILLED, filled=3)), IllegalReport)


def test_a_late_fill_completes_a_canceled_order() -> None:
    order = an_order(an_intent(amount=2), status=S.CANCELED)
    after = apply_fill(order, a_fill(order.intent))
    assert isinstance(after, Order)
    assert after.status is S.FILLED


def test_a_late_partial_fill_is_counted_and_the_order_stays_canceled() -> None:
    order = an_order(an_intent(amount=2), status=S.CANCELED)
    after = apply_fill(order, a_fill(order.intent, amount=1))
    assert isinstance(after, Order)
    assert (after.status, after.filled) == (S.CANCELED, 1)


def test_a_trade_of_a_rejected_order_is_illegal() -> None:
    order = an_order(status=S.REJECTED)
    assert isinstance(apply_fill(order, a_fill(order.intent)), IllegalReport)


def test_a_status_ahead_of_the_trades_says_how_much_is_missing() -> None:
    order = an_order(an_intent(amount=3))
    told = apply_status(order, a_status(order.intent, S.FILLED, filled=3))
    assert isinstance(told, Order)
    assert (told.filled, told.fills_missing, told.average_price) == (0, 3, None)
    seen = apply_fill(told, a_fill(order.intent, amount=2, at=10))
    assert isinstance(seen, Order)
    assert (seen.fills_missing, seen.average_price) == (1, 10)


def test_the_quantities_of_an_untriggered_parent_are_never_fills() -> None:
    stop = an_intent(trigger=98, amount=2)
    told = apply_status(an_order(stop), a_status(stop, S.TRIGGERED, filled=2, conditional=True))
    assert isinstance(told, Order)
    assert told.fills_missing == 0


def test_average_price_is_weighted_by_quantity() -> None:
    order = an_order(an_intent(amount=4))
    for trade_id, amount, at in (("a", 1, 100), ("b", 3, 104)):
        after = apply_fill(order, a_fill(order.intent, trade_id=trade_id, amount=amount, at=at))
        assert isinstance(after, Order)
        order = after
    assert order.average_price == 103


def test_a_smaller_sum_told_later_takes_no_fill_back() -> None:
    order = an_order(an_intent(amount=5), status=S.PARTIALLY_FILLED, reported_filled=3)
    told = apply_status(order, a_status(order.intent, S.CANCELED, filled=1))
    assert isinstance(told, Order)
    assert (told.status, told.reported_filled) == (S.CANCELED, 3)


def test_ended_is_what_can_hold_no_reservation() -> None:
    assert {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.ABSENT} == ENDED


def test_a_stop_that_was_made_larger_unheard_is_filled_for_what_the_venue_says() -> None:
    """The word of the amendment was lost, then the stop fired: its trades are looked for, not refused for ever."""
    stop = an_intent(leg=Leg.STOP)
    larger = replace(a_status(stop, S.FILLED, filled=2, conditional=False), quantity=quantity(2))
    moved = apply_status(an_order(stop, status=S.ACCEPTED), larger)
    assert isinstance(moved, Order)
    assert (moved.quantity, moved.fills_missing, moved.status) == (2, 2, S.FILLED)
    entry = an_intent()
    larger = replace(a_status(entry, S.FILLED, filled=2), quantity=quantity(2))
    assert isinstance(apply_status(an_order(entry, status=S.ACCEPTED), larger), IllegalReport), "nobody amends an entry"
