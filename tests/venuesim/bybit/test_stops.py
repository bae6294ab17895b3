"""Stops of positions: attached to an entry, set by trading-stop, of all of the position or of a part, and trailing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk
from tools.venuesim.exchange.model import PositionMode

ONE = {"category": "linear", "symbol": BTC}
STOP = "/v5/position/trading-stop"


def near(desk: Desk, share: str) -> str:
    return f"{desk.price() * Decimal(share):.1f}0"


def position(desk: Desk, index: int = 0) -> dict[str, Any]:
    rows = desk.ok("GET", "/v5/position/list", **ONE)["list"]
    return next(dict(row) for row in rows if row["positionIdx"] == index)


def waiting(desk: Desk) -> list[dict[str, Any]]:
    return [dict(row) for row in desk.ok("GET", "/v5/order/realtime", **ONE, orderFilter="StopOrder")["list"]]


def set_stop(desk: Desk, *, mode: str = "Full", index: int = 0, **levels: Any) -> int:
    return int(desk.post(STOP, **ONE, tpslMode=mode, positionIdx=index, **levels)["retCode"])


def test_attached_stops_are_there_with_the_fill_and_follow_the_whole_position() -> None:
    desk = Desk()
    low, high = near(desk, "0.95"), near(desk, "1.05")
    desk.order(stopLoss=low, takeProfit=high, slTriggerBy="MarkPrice", orderLinkId="entry")
    held = position(desk)
    assert (held["stopLoss"], held["takeProfit"], held["tpslMode"]) == (low, high, "Full")
    rows = {row["stopOrderType"]: row for row in waiting(desk)}
    assert rows.keys() == {"StopLoss", "TakeProfit"}
    stop = rows["StopLoss"]
    assert (stop["orderStatus"], stop["qty"], stop["side"], stop["triggerBy"]) == (
        "Untriggered",
        "0.010",
        "Sell",
        "MarkPrice",
    )
    assert (stop["orderLinkId"], stop["parentOrderLinkId"], stop["createType"]) == ("", "entry", "CreateByStopLoss")
    assert (stop["reduceOnly"], stop["closeOnTrigger"], stop["triggerDirection"]) == (True, True, 2)
    desk.order(qty="0.020")
    assert {row["qty"] for row in waiting(desk)} == {"0.030"}
    assert [row["max_unprotected_ms"] for row in desk.look("protection")] == [0]


def test_a_second_entrys_stop_takes_the_place_of_the_first() -> None:
    desk = Desk()
    desk.order(stopLoss=near(desk, "0.95"))
    (first,) = waiting(desk)
    level = near(desk, "0.96")
    desk.order(stopLoss=level)
    (second,) = waiting(desk)
    assert (second["triggerPrice"], second["orderId"]) == (level, first["orderId"])


def test_a_triggered_stop_closes_everything_and_clears_its_sibling() -> None:
    desk = Desk()
    low = near(desk, "0.99")
    desk.order(stopLoss=low, takeProfit=near(desk, "1.05"))
    names = {row["stopOrderType"]: row["orderId"] for row in waiting(desk)}
    desk.move(low)
    assert position(desk)["size"] == "0"
    (fill, _) = desk.ok("GET", "/v5/execution/list", **ONE)["list"]
    assert (fill["orderId"], fill["stopOrderType"], fill["createType"]) == (
        names["StopLoss"], "StopLoss", "CreateByStopLoss",
    )  # fmt: skip
    assert fill["closedSize"] == "0.010"
    (gone,) = desk.ok("GET", "/v5/order/history", **ONE, orderId=names["TakeProfit"])["list"]
    assert (gone["orderStatus"], gone["cancelType"]) == ("Deactivated", "CancelByTpSlTsClear")


def test_stops_of_an_unfilled_entry_vanish_with_it() -> None:
    desk = Desk()
    desk.order(orderType="Limit", price=near(desk, "0.99"), stopLoss=near(desk, "0.95"), orderLinkId="entry")
    assert waiting(desk) == []
    (entry,) = desk.ok("GET", "/v5/order/realtime", **ONE)["list"]
    assert (entry["stopLoss"], entry["slTriggerBy"], entry["tpslMode"]) == (near(desk, "0.95"), "LastPrice", "Full")
    desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="entry")
    desk.move(near(desk, "0.94"))
    assert waiting(desk) == []


def test_the_stops_of_an_open_entry_can_be_changed_until_it_fills() -> None:
    desk = Desk()
    price = near(desk, "0.995")
    desk.order(orderType="Limit", price=price, stopLoss=near(desk, "0.95"), orderLinkId="entry")
    amend = {**ONE, "orderLinkId": "entry"}
    level = near(desk, "0.96")
    assert desk.post("/v5/order/amend", **amend, stopLoss=near(desk, "1.05"))["retCode"] == 10001
    desk.ok("POST", "/v5/order/amend", **amend, stopLoss=level, slTriggerBy="MarkPrice")
    desk.ok("POST", "/v5/order/amend", **amend, takeProfit=near(desk, "1.05"))
    desk.ok("POST", "/v5/order/amend", **amend, takeProfit="0")
    desk.fault("partial_fill", fraction=0.5)
    desk.ok("POST", "/v5/order/amend", **amend, price=near(desk, "1.001"))
    (stop,) = waiting(desk)
    assert (stop["triggerPrice"], stop["triggerBy"], stop["stopOrderType"]) == (level, "MarkPrice", "StopLoss")


def test_partial_mode_protects_what_was_filled_with_orders_of_their_own() -> None:
    desk = Desk()
    low, limit = near(desk, "0.95"), near(desk, "0.949")
    desk.order(stopLoss=low, tpslMode="Partial", slOrderType="Limit", slLimitPrice=limit)
    desk.order(qty="0.020")
    assert position(desk)["stopLoss"] == "0.00"
    (stop,) = waiting(desk)
    assert (stop["stopOrderType"], stop["qty"], stop["orderType"], stop["price"]) == (
        "PartialStopLoss", "0.010", "Limit", limit,
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"stopLoss": "90000"},
        {"takeProfit": "60000"},
        {"side": "Sell", "stopLoss": "60000"},
        {"side": "Sell", "takeProfit": "90000"},
        {"stopLoss": "70000", "slOrderType": "Limit", "slLimitPrice": "69000"},
        {"stopLoss": "70000", "tpslMode": "Partial", "slOrderType": "Limit"},
        {"stopLoss": "70000", "slTriggerBy": "Something"},
        {"stopLoss": "70000", "tpslMode": "Half"},
        {"stopLoss": "70000.05"},
    ],
)
def test_attached_stops_that_cannot_be_refuse_the_entry(wrong: dict[str, str]) -> None:
    desk = Desk()
    order = {**ONE, "side": "Buy", "orderType": "Market", "qty": "0.010", **wrong}
    assert desk.post("/v5/order/create", **order)["retCode"] == 10001
    assert position(desk)["size"] == "0"


def test_an_order_that_waits_brings_its_stops_when_it_fires() -> None:
    desk = Desk()
    trigger, low = near(desk, "1.01"), near(desk, "0.95")
    desk.order(triggerPrice=trigger, triggerDirection=1, stopLoss=low, orderLinkId="breakout")
    assert [row["stopOrderType"] for row in waiting(desk)] == ["Stop"]
    desk.move(trigger)
    assert position(desk)["stopLoss"] == low
    (stop,) = waiting(desk)
    assert stop["parentOrderLinkId"] == "breakout"


def test_trading_stop_sets_moves_and_takes_away() -> None:
    desk = Desk()
    assert set_stop(desk, stopLoss="70000") == 10001
    desk.order()
    low, lower = near(desk, "0.97"), near(desk, "0.95")
    answer = desk.post(STOP, **ONE, tpslMode="Full", positionIdx=0, stopLoss=low)
    assert (answer["retCode"], answer["result"]) == (0, {})
    assert position(desk)["stopLoss"] == low
    assert set_stop(desk, stopLoss=low) == 34040
    assert set_stop(desk, stopLoss=lower) == 0
    assert set_stop(desk, takeProfit=near(desk, "1.05"), stopLoss=lower) == 0
    assert [position(desk)[leg] for leg in ("stopLoss", "takeProfit")] == [lower, near(desk, "1.05")]
    assert set_stop(desk, stopLoss="0") == 0
    assert [row["stopOrderType"] for row in waiting(desk)] == ["TakeProfit"]
    assert set_stop(desk, stopLoss="0") == 34040


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"stopLoss": "90000"}, 10001),
        ({"takeProfit": "60000"}, 10001),
        ({}, 10001),
        ({"mode": "Half", "stopLoss": "70000"}, 10001),
        ({"index": 1, "stopLoss": "70000"}, 10001),
        ({"trailingStop": "0.05"}, 10001),
        ({"trailingStop": "500000"}, 10001),
        ({"mode": "Partial", "stopLoss": "70000"}, 10001),
        ({"mode": "Partial", "stopLoss": "70000", "takeProfit": "90000", "slSize": "0.005", "tpSize": "0.006"}, 10001),
        ({"mode": "Partial", "stopLoss": "70000", "slSize": "5"}, 110058),
    ],
)
def test_stops_that_cannot_be_are_refused(levels: dict[str, Any], expected: int) -> None:
    desk = Desk()
    desk.order()
    assert set_stop(desk, **levels) == expected
    assert waiting(desk) == []


def test_partial_stops_only_add_up_to_twenty() -> None:
    desk = Desk()
    desk.order()
    for number in range(20):
        assert set_stop(desk, mode="Partial", stopLoss=f"{70000 + number}", slSize="0.001") == 0
        desk.run(200)
    assert set_stop(desk, mode="Partial", stopLoss="69000", slSize="0.001") == 110061
    assert {row["stopOrderType"] for row in waiting(desk)} == {"PartialStopLoss"}


def test_a_stop_is_moved_by_an_amendment_and_taken_away_by_a_cancel() -> None:
    desk = Desk()
    desk.order(stopLoss=near(desk, "0.95"))
    (stop,) = waiting(desk)
    level = near(desk, "0.96")
    desk.ok("POST", "/v5/order/amend", **ONE, orderId=stop["orderId"], triggerPrice=level)
    assert position(desk)["stopLoss"] == level
    desk.ok("POST", "/v5/order/cancel", **ONE, orderId=stop["orderId"])
    assert position(desk)["stopLoss"] == "0.00"


def test_a_trailing_stop_follows_and_fires() -> None:
    desk = Desk()
    desk.order()
    start = desk.price()
    assert set_stop(desk, trailingStop="500") == 0
    assert position(desk)["trailingStop"] == "500.00"
    (stop,) = waiting(desk)
    assert (stop["stopOrderType"], stop["qty"], Decimal(stop["triggerPrice"])) == ("TrailingStop", "0.010", start - 500)
    desk.move(start + 400)
    assert Decimal(waiting(desk)[0]["triggerPrice"]) == start - 100
    desk.move(start - 100)
    assert position(desk)["size"] == "0"
    assert desk.ok("GET", "/v5/execution/list", **ONE)["list"][0]["stopOrderType"] == "TrailingStop"


def test_a_trailing_stop_waits_for_its_activation() -> None:
    desk = Desk()
    desk.order()
    start = desk.price()
    assert set_stop(desk, trailingStop="500", activePrice=f"{start + 1000}") == 0
    assert Decimal(waiting(desk)[0]["triggerPrice"]) == start + 1000
    desk.move(start - 600)
    assert position(desk)["size"] == "0.010"
    desk.move(start + 1000)
    assert Decimal(waiting(desk)[0]["triggerPrice"]) == start + 500


def test_each_hedged_side_has_stops_of_its_own() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    low, high = near(desk, "0.95"), near(desk, "1.05")
    desk.order(positionIdx=1, stopLoss=low)
    desk.order(side="Sell", positionIdx=2, stopLoss=high)
    assert [position(desk, index)["stopLoss"] for index in (1, 2)] == [low, high]
    assert set_stop(desk, index=2, stopLoss=near(desk, "1.06")) == 0
    assert {(row["positionIdx"], row["side"]) for row in waiting(desk)} == {(1, "Sell"), (2, "Buy")}
    desk.move(low)
    assert [position(desk, index)["size"] for index in (1, 2)] == ["0", "0.010"]
    assert [row["max_unprotected_ms"] for row in desk.look("protection")] == [0, 0]


def test_the_state_names_orders_and_fills_as_the_venue_does() -> None:
    desk = Desk()
    placed = desk.order(stopLoss=near(desk, "0.95"))
    state = desk.look("state?all=1")
    (stop,) = waiting(desk)
    assert {row["id"] for row in state["orders"]} == {placed["orderId"], stop["orderId"]}
    (fill,) = desk.ok("GET", "/v5/execution/list", **ONE)["list"]
    assert [(row["id"], row["order_id"]) for row in state["fills"]] == [(fill["execId"], placed["orderId"])]


def test_the_state_lists_stops_of_positions_as_orders() -> None:
    desk = Desk()
    desk.order(stopLoss=near(desk, "0.95"), takeProfit=near(desk, "1.05"))
    rows = desk.look("state")["orders"]
    assert sorted((row["type"], row["client_id"], row["status"]) for row in rows) == [
        ("stop", None, "untriggered"), ("take_profit", None, "untriggered"),
    ]  # fmt: skip


@pytest.mark.parametrize("attached", [True, False])
def test_of_two_stops_of_a_part_the_one_that_fires_cancels_the_other(attached: bool) -> None:
    desk = Desk()
    desk.order(qty="0.020")
    low, high = near(desk, "0.99"), near(desk, "1.05")
    if attached:
        desk.order(stopLoss=low, takeProfit=high, tpslMode="Partial")
    else:
        assert set_stop(desk, mode="Partial", stopLoss=low, takeProfit=high, slSize="0.010", tpSize="0.010") == 0
    names = {row["stopOrderType"]: row["orderId"] for row in waiting(desk)}
    desk.move(low)
    assert waiting(desk) == []
    assert position(desk)["size"] == ("0.020" if attached else "0.010")
    (gone,) = desk.ok("GET", "/v5/order/history", **ONE, orderId=names["PartialTakeProfit"])["list"]
    assert (gone["orderStatus"], gone["cancelType"]) == ("Deactivated", "CancelByOCOTpCanceledBySlTriggered")
