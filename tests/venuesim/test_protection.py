"""The venue's own record of how long positions stood without a stop."""

from typing import Any

from tests.venuesim.builders import BTC, START_MS
from tests.venuesim.rig import Rig
from tools.venuesim.exchange.model import ConditionalRequest, ConditionalType, PositionMode, PositionSide, Side


def row(rig: Rig) -> dict[str, Any]:
    (only,) = rig.get("protection")
    return dict(only)


def place(rig: Rig, kind: ConditionalType, **keys: Any) -> None:
    fields: dict[str, Any] = {"symbol": BTC, "side": Side.SELL, "type": kind, "reduce_only": True, **keys}
    rig.simulation.engine.place_conditional(ConditionalRequest(**fields))


def test_a_position_is_naked_until_its_stop_rests() -> None:
    rig = Rig()
    rig.order()
    rig.pass_ms(70)
    assert (row(rig)["naked_now_ms"], row(rig)["max_unprotected_ms"], row(rig)["uncovered_qty"]) == (70, 70, "0.1")
    rig.stop(900)
    rig.pass_ms(500)
    assert row(rig) == {
        "symbol": BTC, "side": "long", "opened": START_MS, "protected": START_MS + 70, "closed": None,
        "max_unprotected_ms": 70, "naked_now_ms": 0, "uncovered_qty": "0",
        "intervals": [{"from": START_MS, "to": START_MS + 70, "uncovered_qty": "0.1"}],
    }  # fmt: skip


def test_a_stop_for_a_part_leaves_the_rest_uncovered_and_parts_add_up() -> None:
    rig = Rig()
    rig.order(qty="0.3")
    rig.stop(900, qty="0.1")
    assert row(rig)["uncovered_qty"] == "0.2"
    rig.pass_ms(10)
    rig.stop(890, qty="0.2")
    assert (row(rig)["protected"], row(rig)["naked_now_ms"]) == (START_MS + 10, 0)


def test_growing_a_covered_position_uncovers_the_growth() -> None:
    rig = Rig()
    rig.order()
    rig.stop(900)
    rig.pass_ms(100)
    rig.order()
    rig.pass_ms(5)
    assert (row(rig)["uncovered_qty"], row(rig)["naked_now_ms"], row(rig)["protected"]) == ("0.1", 5, START_MS)


def test_cancelling_the_stop_opens_a_new_interval() -> None:
    rig = Rig()
    rig.order()
    rig.stop(900, client_id="s")
    rig.pass_ms(100)
    rig.simulation.engine.cancel_conditional(client_id="s")
    rig.pass_ms(30)
    rig.stop(900)
    assert row(rig)["max_unprotected_ms"] == 30
    assert [interval["from"] for interval in row(rig)["intervals"]] == [START_MS, START_MS + 100]


def test_take_profits_and_stops_that_may_open_are_no_cover() -> None:
    rig = Rig()
    rig.order()
    place(rig, ConditionalType.TAKE_PROFIT, qty=rig.simulation.engine.positions()[0].qty, trigger_price=1100)
    place(rig, ConditionalType.STOP, qty=rig.simulation.engine.positions()[0].qty, trigger_price=900, reduce_only=False)
    assert row(rig)["uncovered_qty"] == "0.1"


def test_a_trailing_stop_covers_once_it_is_armed() -> None:
    rig = Rig()
    rig.order()
    qty = rig.simulation.engine.positions()[0].qty
    place(rig, ConditionalType.TRAILING, qty=qty, callback_rate=qty / 10, activation_price=qty * 10_500)
    assert row(rig)["uncovered_qty"] == "0.1"
    rig.post("price", symbol=BTC, price="1060", hold_ms=10**9)
    assert row(rig)["uncovered_qty"] == "0"


def test_the_working_child_of_a_triggered_stop_still_covers() -> None:
    rig = Rig()
    rig.order()
    qty = rig.simulation.engine.positions()[0].qty
    place(rig, ConditionalType.STOP_LIMIT, qty=qty, trigger_price=qty * 9_000, price=qty * 9_500, client_id="s")
    rig.post("price", symbol=BTC, price="899", hold_ms=10**9)
    rig.pass_ms(40)
    assert row(rig)["naked_now_ms"] == 0
    rig.simulation.engine.cancel(BTC, client_id="s")
    rig.pass_ms(40)
    assert row(rig)["naked_now_ms"] == 40


def test_closing_ends_the_row_and_the_next_position_gets_its_own() -> None:
    rig = Rig()
    rig.order()
    rig.pass_ms(10)
    rig.order(side="sell")
    rig.pass_ms(10)
    rig.order(side="sell")
    first, second = rig.get("protection")
    assert (first["closed"], first["naked_now_ms"], first["max_unprotected_ms"]) == (START_MS + 10, 0, 10)
    assert (second["side"], second["opened"]) == ("short", START_MS + 20)


def test_a_flip_closes_one_life_and_begins_another() -> None:
    rig = Rig()
    rig.order()
    rig.order(side="sell", qty="0.3")
    first, second = rig.get("protection")
    assert first["closed"] == second["opened"] == START_MS
    assert second["uncovered_qty"] == "0.2"


def test_in_hedge_mode_each_side_has_its_own_row_and_needs_no_reduce_only_mark() -> None:
    rig = Rig(position_mode=PositionMode.HEDGE)
    engine = rig.simulation.engine
    rig.post("account", position={"symbol": BTC, "qty": "0.1", "entry": "1000"})
    rig.post("account", position={"symbol": BTC, "qty": "-0.2", "entry": "1000"})
    qty = engine.positions()[0].qty
    place(
        rig, ConditionalType.STOP, qty=qty, trigger_price=qty * 9_000, reduce_only=False,
        position_side=PositionSide.LONG,
    )  # fmt: skip
    assert [(life["side"], life["uncovered_qty"]) for life in rig.get("protection")] == [
        ("long", "0"),
        ("short", "0.2"),
    ]
