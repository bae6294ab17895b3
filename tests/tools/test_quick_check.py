"""What the screen says from the journal alone."""

from decimal import Decimal

from msgspec.structs import replace

from core.domain.ids import Leg
from core.domain.money import Price
from core.domain.order import OrderStatus
from core.domain.signal import Side
from tests.builders import a_position, an_intent, an_order
from tools import quick_check


def test_a_stop_that_was_moved_is_shown_where_it_stands_now() -> None:
    held = a_position()
    intent = replace(an_intent(leg=Leg.STOP, side=Side.SELL, trigger=98), position_id=held.id, quantity=held.quantity)
    moved = replace(an_order(intent=intent, status=OrderStatus.ACCEPTED), level=Price(Decimal(99)))
    assert quick_check._held_position(held, [moved])["stop"] == "99"
