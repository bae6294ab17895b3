"""Whose stop rests in a position's slot, whichever way the venue names it."""

from decimal import Decimal

from msgspec.structs import replace

from core.domain.ids import ClientOrderId, VenueOrderId
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.signal import Side
from core.venues.bybit.modes import PositionModes
from core.venues.bybit.position_stops import CLOCK_SLACK_MS, REMEMBERED, Named, PositionStops, Stage, StopSeen
from tests.builders import price
from tests.venues.bybit.desk import BTC, ETH, a_stop, an_intent

NOW = 1_790_000_000_000
FIRST, SECOND = a_stop("90"), a_stop("95", attempt=1)


def the_stops(*, hedge: bool = False, known: bool = True) -> PositionStops:
    modes = PositionModes()
    if known:
        modes.learn(hedge=hedge)
    return PositionStops(modes)


def seen(
    name: str = "a",
    level: str = "90",
    *,
    stage: Stage = Stage.RESTING,
    index: int = 0,
    side: Side = Side.SELL,
    entry: str = "",
    at: int = NOW,
    moved: bool = False,
) -> StopSeen:
    return StopSeen(
        venue_order_id=VenueOrderId(name),
        instrument=BTC,
        index=index,
        side=side,
        level=price(level),
        entry=entry,
        time_ms=at,
        stage=stage,
        moved=moved,
    )


def named(told: Named | None) -> ClientOrderId:
    assert told is not None
    return told.client_order_id


def resting(stops: PositionStops, intent: OrderIntent = FIRST, name: str = "a") -> None:
    stops.expect(intent, NOW)
    assert named(stops.recognise(seen(name, str(intent.trigger_price)))) == intent.client_order_id


def test_a_newer_stop_takes_the_place_under_the_same_order_id() -> None:
    stops = the_stops()
    resting(stops)
    stops.expect(SECOND, NOW)
    told = stops.recognise(seen("a", "95"))
    assert named(told) == SECOND.client_order_id
    assert told is not None
    assert told.replaced is stops.own(FIRST.client_order_id)
    assert stops.name_of("a") == SECOND.client_order_id
    assert named(stops.recognise(seen("a", "95", stage=Stage.FIRED))) == SECOND.client_order_id


def test_a_newer_stop_takes_the_place_under_another_order_id() -> None:
    stops = the_stops()
    resting(stops)
    stops.expect(SECOND, NOW)
    told = stops.recognise(seen("b", "95"))
    assert told is not None
    assert (told.client_order_id, told.replaced) == (SECOND.client_order_id, stops.own(FIRST.client_order_id))
    assert told.replaced is not None
    assert told.replaced.over
    assert named(stops.recognise(seen("a", stage=Stage.ENDED))) == FIRST.client_order_id
    owner = stops.own(SECOND.client_order_id)
    assert owner is not None
    assert stops.owns_slot(owner)


def test_until_the_newer_one_is_seen_the_older_one_is_told_as_it_stands() -> None:
    stops = the_stops()
    resting(stops)
    stops.expect(SECOND, NOW)
    assert named(stops.recognise(seen("a", "90"))) == FIRST.client_order_id
    stops.taken(SECOND.client_order_id, NOW + 10)
    assert named(stops.recognise(seen("a", "90", at=NOW + 5))) == FIRST.client_order_id
    assert named(stops.recognise(seen("a", "94.9", at=NOW + 10))) == SECOND.client_order_id


def test_a_newer_one_that_is_refused_leaves_the_older_one_in_its_place() -> None:
    stops = the_stops()
    resting(stops)
    stops.expect(SECOND, NOW)
    stops.refused(SECOND.client_order_id)
    assert stops.own(SECOND.client_order_id) is None
    assert named(stops.recognise(seen("a", "95"))) == FIRST.client_order_id


def test_a_refused_one_gives_the_place_back_to_the_one_expected_before_it() -> None:
    stops = the_stops()
    stops.expect(FIRST, NOW)
    stops.expect(SECOND, NOW)
    stops.refused(SECOND.client_order_id)
    assert named(stops.recognise(seen("a", "90"))) == FIRST.client_order_id


def test_an_amendment_may_keep_the_order_id() -> None:
    stops = the_stops()
    resting(stops)
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    stops.move(own, price("92"))
    assert named(stops.recognise(seen("a", "92"))) == FIRST.client_order_id
    stops.moved(own, NOW)
    assert own.venue_order_id == "a"


def test_an_amendment_may_give_a_new_order_id_after_ending_the_old_one() -> None:
    stops = the_stops()
    resting(stops)
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    stops.move(own, price("92"))
    assert stops.recognise(seen("a", stage=Stage.ENDED, moved=True)) is None
    assert named(stops.recognise(seen("b", "92"))) == FIRST.client_order_id
    stops.moved(own, NOW)
    assert (own.venue_order_id, stops.owns_slot(own)) == ("b", True)


def test_an_amendment_may_give_a_new_order_id_before_ending_the_old_one() -> None:
    stops = the_stops()
    resting(stops)
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    stops.move(own, price("92"))
    assert named(stops.recognise(seen("b", "92"))) == FIRST.client_order_id
    stops.moved(own, NOW)
    assert stops.recognise(seen("a", stage=Stage.ENDED, moved=True)) is None
    assert stops.owns_slot(own)


def test_the_end_of_the_old_order_id_may_be_told_after_the_amendment_was_answered() -> None:
    stops = the_stops()
    resting(stops)
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    stops.move(own, price("92"))
    stops.moved(own, NOW + 3)
    assert stops.recognise(seen("a", stage=Stage.ENDED, moved=True, at=NOW + 2)) is None
    assert named(stops.recognise(seen("b", "92", at=NOW + 2))) == FIRST.client_order_id


def test_a_stop_that_ends_with_its_position_ends_also_while_it_is_moved() -> None:
    stops = the_stops()
    resting(stops)
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    stops.move(own, price("92"))
    assert named(stops.recognise(seen("a", stage=Stage.ENDED))) == FIRST.client_order_id
    assert own.over


def test_an_attached_stop_is_known_by_the_entry_it_came_with() -> None:
    entry = an_intent()
    attached = a_stop("90", attached_to=entry.client_order_id)
    stops = the_stops()
    stops.expect(attached, NOW)
    told = stops.recognise(seen("a", "89.9", entry=entry.client_order_id))
    assert named(told) == attached.client_order_id


def test_what_rests_already_is_told_until_the_attached_stop_comes_to_be() -> None:
    stops = the_stops()
    resting(stops)
    attached = replace(SECOND, attached_to=an_intent(name="more").client_order_id)
    stops.expect(attached, NOW)
    stops.taken(attached.client_order_id, NOW)
    assert named(stops.recognise(seen("a", "90", at=NOW + 50))) == FIRST.client_order_id
    assert named(stops.recognise(seen("a", "95", at=NOW + 60))) == attached.client_order_id


def test_the_stop_of_an_entry_that_bought_nothing_is_given_up_once() -> None:
    entry = an_intent()
    attached = a_stop("90", attached_to=entry.client_order_id)
    stops = the_stops()
    stops.expect(attached, NOW)
    dropped = stops.entry_ended_unfilled(entry.client_order_id)
    assert dropped is not None
    assert dropped.intent == attached
    assert stops.entry_ended_unfilled(entry.client_order_id) is None
    assert named(stops.recognise(seen())) == ""


def test_a_stop_of_the_other_direction_is_not_ours() -> None:
    stops = the_stops()
    stops.expect(FIRST, NOW)
    assert named(stops.recognise(seen(side=Side.BUY))) == ""
    assert named(stops.recognise(seen("b", index=1))) == ""


def test_in_hedge_mode_each_direction_has_a_slot_of_its_own() -> None:
    stops = the_stops(hedge=True)
    long, short = FIRST, a_stop("110", side=Side.BUY, name="short")
    stops.expect(long, NOW)
    stops.expect(short, NOW)
    assert named(stops.recognise(seen("a", "90", index=1))) == long.client_order_id
    assert named(stops.recognise(seen("b", "110", index=2, side=Side.BUY))) == short.client_order_id
    owners = [stops.own(intent.client_order_id) for intent in (long, short)]
    assert all(owner is not None and stops.owns_slot(owner) for owner in owners)


def test_in_one_way_mode_the_stop_of_a_short_takes_the_slot_of_the_longs() -> None:
    stops = the_stops()
    resting(stops)
    short = a_stop("110", side=Side.BUY, name="short")
    stops.expect(short, NOW)
    stops.recognise(seen("b", "110", side=Side.BUY))
    long = stops.own(FIRST.client_order_id)
    assert long is not None
    assert not stops.owns_slot(long), "clearing the slot for it would take the short's stop away"


def test_a_row_from_before_the_stop_was_sent_is_another_ones() -> None:
    stops = the_stops()
    stops.expect(FIRST, NOW)
    old = seen("old", "90", stage=Stage.ENDED, at=NOW - CLOCK_SLACK_MS - 1)
    assert named(stops.recognise(old)) == ""


def test_a_stop_that_fires_before_it_was_told_is_recognised() -> None:
    stops = the_stops()
    stops.expect(FIRST, NOW)
    assert named(stops.recognise(seen("a", stage=Stage.FIRED))) == FIRST.client_order_id
    assert named(stops.recognise(seen("a", stage=Stage.ENDED))) == FIRST.client_order_id
    assert stops.name_of("a") == FIRST.client_order_id


def test_recalled_before_the_mode_is_known_a_stop_waits_for_its_slot() -> None:
    modes = PositionModes()
    stops = PositionStops(modes)
    stops.recall([Order(intent=FIRST, status=OrderStatus.ACCEPTED, venue_order_id=VenueOrderId("a"))])
    assert stops.name_of("a") == FIRST.client_order_id
    modes.learn(hedge=True)
    stops.seat_recalled()
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    assert (own.index, stops.owns_slot(own)) == (1, True)


def test_a_recalled_stop_stands_where_it_was_last_moved_to() -> None:
    stops = the_stops()
    order = Order(
        intent=FIRST,
        status=OrderStatus.ACCEPTED,
        venue_order_id=VenueOrderId("a"),
        level=price("93"),
        venue_time_ms=NOW,
    )
    stops.recall([order])
    own = stops.own(FIRST.client_order_id)
    assert own is not None
    assert own.level == Decimal(93)


def test_a_recalled_stop_is_found_under_a_new_order_id_in_its_slot() -> None:
    stops = the_stops()
    stops.recall([Order(intent=FIRST, status=OrderStatus.ACCEPTED, venue_order_id=VenueOrderId("a"))])
    assert named(stops.recognise(seen("b", "91"))) == FIRST.client_order_id
    assert stops.name_of("b") == stops.name_of("a") == FIRST.client_order_id


def test_recalling_twice_changes_nothing() -> None:
    stops = the_stops()
    orders = [Order(intent=FIRST, status=OrderStatus.ACCEPTED, venue_order_id=VenueOrderId("a"))]
    stops.recall(orders)
    own = stops.own(FIRST.client_order_id)
    stops.recall(orders)
    assert stops.own(FIRST.client_order_id) is own


def test_many_ended_stops_are_forgotten_and_resting_ones_are_not() -> None:
    stops = the_stops()
    resting(stops)
    for number in range(REMEMBERED + 10):
        other = a_stop("80", name=f"other {number}", instrument=ETH)
        stops.expect(other, NOW)
        for stage in (Stage.RESTING, Stage.ENDED):
            stops.recognise(replace(seen(f"x{number}", "80", stage=stage), instrument=ETH))
    assert stops.name_of("a") == FIRST.client_order_id
    assert stops.name_of("x0") == ""
    assert stops.own(a_stop("80", name="other 0", instrument=ETH).client_order_id) is None
    assert stops.name_of(f"x{REMEMBERED + 9}") != ""
