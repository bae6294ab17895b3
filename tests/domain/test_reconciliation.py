"""Two pictures compared: deterministic, idempotent, and nothing is concluded about what is foreign."""

from hypothesis import given
from hypothesis import strategies as st

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.order import OrderStatus
from core.domain.position import Position, PositionKey
from core.domain.reconciliation import (
    Evidence,
    adopted,
    closed_elsewhere,
    evidence,
    missing_orders,
    orphans,
    position_mismatches,
)
from core.domain.reports import FillReport, OrderStatusReport, PositionReport, PositionSide
from core.domain.signal import Side
from tests.builders import (
    BTC,
    ETH,
    NOW_MS,
    a_fill,
    a_position,
    a_position_report,
    a_status,
    an_instrument_id,
    an_intent,
    an_order,
)

NAMES = [BTC, ETH, an_instrument_id(venue=VenueName.BYBIT)]
sizes = st.dictionaries(st.sampled_from(NAMES), st.integers(-3, 3))


def ours_of(figures: dict[InstrumentId, int]) -> dict[PositionKey, Position]:
    positions = (
        a_position(i, side=Side.BUY if n > 0 else Side.SELL, amount=abs(n), position_id=str(i))
        for i, n in figures.items()
        if n
    )
    return {position.key: position for position in positions}


@given(sizes, sizes)
def test_booking_every_mismatch_makes_the_pictures_equal_and_a_second_run_finds_nothing(
    here: dict[InstrumentId, int], there: dict[InstrumentId, int]
) -> None:
    ours = ours_of(here)
    told = [a_position_report(i, amount=n, at=100) for i, n in there.items()]
    found = position_mismatches(ours.values(), told)
    assert {m.instrument for m in found} == {i for i in NAMES if here.get(i, 0) != there.get(i, 0)}
    assert found == position_mismatches(ours.values(), list(reversed(told)))
    for mismatch in found:
        position = adopted(mismatch, a_position().stop_loss_percent, ours.get(mismatch.key))
        ours.pop(mismatch.key, None)
        if position is not None:
            ours[position.key] = position
    assert position_mismatches(ours.values(), told) == []


def test_both_sides_of_a_hedged_symbol_are_positions_of_their_own() -> None:
    told = [
        a_position_report(amount=2, position_side=PositionSide.LONG),
        a_position_report(amount=-3, position_side=PositionSide.SHORT),
    ]
    known = a_position(side=Side.BUY, amount=2)
    (mismatch,) = position_mismatches([known], told)
    assert (mismatch.key.side, mismatch.ours, mismatch.venue) == (Side.SELL, 0, 3)
    stop = resting_stop()
    assert orphans([stop], {}, [a_position(side=Side.SELL)]) == [stop], "a short does not need a long's stop"


def test_adopting_twice_is_adopting_once() -> None:
    (mismatch,) = position_mismatches([], [a_position_report(amount=-2)])
    first = adopted(mismatch, a_position().stop_loss_percent, None)
    assert first == adopted(mismatch, a_position().stop_loss_percent, None)
    assert first is not None
    assert (first.side, first.quantity, first.entry_price) == (Side.SELL, 2, 100)


def test_a_changed_size_keeps_the_entry_price_the_position_was_opened_at() -> None:
    known = a_position(amount=3, at=100)
    (mismatch,) = position_mismatches([known], [a_position_report(amount=1, at=555)])
    after = adopted(mismatch, known.stop_loss_percent, known)
    assert after is not None
    assert (after.id, after.quantity, after.entry_price) == (known.id, 1, 100)


def test_a_position_of_the_other_side_is_a_different_position() -> None:
    known = a_position(side=Side.BUY)
    gone, turned = position_mismatches([known], [a_position_report(amount=-1)])
    assert (gone.key, gone.venue, adopted(gone, known.stop_loss_percent, known)) == (known.key, 0, None)
    after = adopted(turned, known.stop_loss_percent, None)
    assert after is not None
    assert (after.id != known.id, after.side) == (True, Side.SELL)


def test_a_position_closed_elsewhere_gets_no_invented_price() -> None:
    closed = closed_elsewhere(a_position(), NOW_MS + 5)
    assert (closed.open, closed.realized, closed.exit_quantity, closed.closed_ms) == (False, 0, 0, NOW_MS + 5)


def test_only_listed_orders_count_as_seen_and_only_acknowledged_ones_are_asked_for() -> None:
    first, second, third = (an_order(an_intent(key)) for key in ("a", "b", "c"))
    acknowledged = [first.client_order_id, second.client_order_id]
    missing = missing_orders([first, second, third], [a_status(first.intent)], acknowledged)
    assert missing == [second]


def resting_stop(key: str = "s1", **changes: object) -> OrderStatusReport:
    return a_status(an_intent(key, leg=Leg.STOP, side=Side.SELL, trigger=98, **changes))  # type: ignore[arg-type]


def test_a_resting_stop_without_a_position_is_an_orphan_and_beside_one_it_is_not() -> None:
    stop = resting_stop()
    assert orphans([stop], {}, []) == [stop]
    assert orphans([stop], {}, [a_position()]) == []


def test_a_trailing_order_of_a_position_that_is_gone_is_an_orphan_and_a_close_is_not() -> None:
    stop = resting_stop()
    for leg, found in ((Leg.TRAIL, [stop]), (Leg.CLOSE, [])):
        known = an_order(an_intent(leg=leg, trigger=98))
        assert orphans([stop], {stop.client_order_id: known}, []) == found


def test_foreign_plain_and_ended_orders_are_never_orphans() -> None:
    foreign = resting_stop(client_id="web_1234")
    opening = resting_stop(reduce_only=False)
    plain = a_status(an_intent(leg=Leg.CLOSE))
    gone = a_status(an_intent(leg=Leg.STOP, trigger=98), OrderStatus.CANCELED)
    assert orphans([foreign, opening, plain, gone], {}, []) == []


LONG_OF_TEN = a_position(amount=10)
BOUGHT = a_fill(trade_id="in", amount=10, side=Side.BUY)


def judged(
    there: PositionReport | None,
    *fills: FillReport,
    known: Position | None = LONG_OF_TEN,
    before: tuple[PositionReport, ...] = (),
    traded_ms: int = NOW_MS,
) -> Evidence:
    rows = [] if there is None else [there]
    (mismatch,) = position_mismatches([] if known is None else [known], rows)
    return evidence(mismatch, known, before, rows, fills, traded_ms)


def sold(amount: int, trade_id: str = "out") -> FillReport:
    return a_fill(trade_id=trade_id, amount=amount, side=Side.SELL, client_id="android_1", venue_time_ms=NOW_MS + 5)


def test_more_than_we_know_of_is_believed_at_once_and_less_is_not() -> None:
    assert judged(a_position_report(amount=12)) is Evidence.ADDS
    assert judged(a_position_report(amount=7)) is Evidence.NONE
    assert judged(None) is Evidence.NONE
    assert judged(a_position_report(amount=3), known=None, traded_ms=0) is Evidence.ADDS
    assert [kind for kind in Evidence if not kind.suffices] == [Evidence.NONE, Evidence.OLDER]


def test_a_row_is_judged_by_its_own_time_against_what_was_told_before() -> None:
    assert judged(a_position_report(amount=7, venue_time_ms=NOW_MS + 1)) is Evidence.NEWER
    assert judged(a_position_report(amount=7, venue_time_ms=NOW_MS - 1)) is Evidence.OLDER
    assert judged(a_position_report(amount=12, venue_time_ms=NOW_MS - 1)) is Evidence.OLDER
    told = a_position_report(amount=10, venue_time_ms=NOW_MS + 9)
    assert judged(a_position_report(amount=7, venue_time_ms=NOW_MS + 1), before=(told,)) is Evidence.OLDER
    elsewhere = (a_position_report(ETH, amount=10, venue_time_ms=NOW_MS + 9),)
    assert judged(a_position_report(amount=7, venue_time_ms=NOW_MS + 1), before=elsewhere) is Evidence.NEWER
    flat = a_position_report(amount=0, at=None, venue_time_ms=NOW_MS + 1)
    assert judged(flat) is Evidence.NEWER


def test_a_hedged_row_says_nothing_of_the_other_direction() -> None:
    short = a_position_report(amount=-4, position_side=PositionSide.SHORT, venue_time_ms=NOW_MS + 9)
    known = LONG_OF_TEN
    mismatch = next(m for m in position_mismatches([known], [short]) if m.key == known.key)
    assert evidence(mismatch, known, (), [short], (), NOW_MS) is Evidence.NONE


def test_trades_that_leave_just_so_much_explain_it() -> None:
    assert judged(None, BOUGHT, sold(10)) is Evidence.TRADES
    assert judged(None, BOUGHT, sold(4), sold(6, "out2")) is Evidence.TRADES
    assert judged(a_position_report(amount=6), BOUGHT, sold(4)) is Evidence.TRADES
    assert judged(None, BOUGHT, sold(25)) is Evidence.TRADES, "it was turned round"


def test_a_history_that_lacks_what_was_bought_explains_nothing() -> None:
    """It is as old as the reading."""
    assert judged(None) is Evidence.NONE
    assert judged(None, sold(10)) is Evidence.NONE
    assert judged(None, BOUGHT, sold(4)) is Evidence.NONE
    earlier = a_fill(trade_id="old", amount=10, side=Side.BUY, venue_time_ms=NOW_MS - 1)
    assert judged(None, earlier, sold(10)) is Evidence.NONE
