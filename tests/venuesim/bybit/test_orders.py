"""Order commands: what is taken, what is refused with which code, and how orders read afterwards."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk
from tools.venuesim.exchange.model import PositionMode

ONE = {"category": "linear", "symbol": BTC}
LIMIT = {**ONE, "side": "Buy", "orderType": "Limit", "qty": "0.010"}
MARKET = {**ONE, "side": "Buy", "orderType": "Market", "qty": "0.010"}
CREATE = "/v5/order/create"


def near(desk: Desk, share: str) -> str:
    """A price on the tick grid, with the decimals the venue writes."""
    return f"{desk.price() * Decimal(share):.1f}0"


def code(desk: Desk, path: str, **params: Any) -> int:
    answer = desk.post(path, **{name: value for name, value in params.items() if value is not None})
    assert answer["retCode"], answer
    return int(answer["retCode"])


def row(desk: Desk, **which: Any) -> dict[str, Any]:
    """The order as realtime knows it, open or ended."""
    (found,) = desk.ok("GET", "/v5/order/realtime", **ONE, **which)["list"]
    assert isinstance(found, dict)
    return found


def open_ids(desk: Desk, **more: Any) -> list[str]:
    return [entry["orderLinkId"] for entry in desk.ok("GET", "/v5/order/realtime", **ONE, **more)["list"]]


def test_an_answer_holds_only_the_two_names_of_the_order() -> None:
    desk = Desk()
    answer = desk.post(CREATE, **MARKET, orderLinkId="one")
    assert (answer["retCode"], answer["retMsg"]) == (0, "OK")
    assert set(answer["result"]) == {"orderId", "orderLinkId"}
    assert row(desk, orderId=answer["result"]["orderId"])["orderLinkId"] == "one"


def test_an_order_without_a_name_shows_none() -> None:
    desk = Desk()
    desk.order()
    (entry,) = desk.ok("GET", "/v5/execution/list", **ONE)["list"]
    assert entry["orderLinkId"] == ""


def test_a_market_order_shows_the_price_it_would_not_go_beyond() -> None:
    desk = Desk()
    desk.order(orderLinkId="one")
    entry = row(desk, orderLinkId="one")
    assert (entry["orderType"], entry["timeInForce"], entry["orderStatus"]) == ("Market", "IOC", "Filled")
    assert Decimal(entry["price"]) > desk.price()
    assert Decimal(entry["cumExecValue"]) == Decimal(entry["avgPrice"]) * Decimal("0.010")
    assert entry["cumFeeDetail"].keys() == {"USDT"}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"category": "inverse"}, 10001),
        ({"symbol": "NOPEUSDT"}, 10001),
        ({"side": "buy"}, 10001),
        ({"orderType": "Stop"}, 10001),
        ({"qty": "0.0105"}, 10001),
        ({"qty": "0.0001"}, 10001),
        ({"qty": "x"}, 10001),
        ({"qty": "2000"}, 10001),
        ({"qty": None}, 10001),
        ({"price": None}, 10001),
        ({"price": "70000.05"}, 10001),
        ({"price": "3000000"}, 0),
        ({"positionIdx": 1}, 10001),
        ({"positionIdx": 7}, 10001),
        ({"timeInForce": "GTX"}, 10001),
        ({"orderLinkId": "blank space"}, 10001),
        ({"orderLinkId": "x" * 37}, 10001),
        ({"qty": "0.001", "price": "4000.0"}, 110094),
        ({"qty": "20"}, 110007),
        ({"qty": "900"}, 110090),
        ({"reduceOnly": True}, 110017),
        ({"smpType": "Sometimes"}, 10001),
    ],
)
def test_what_cannot_be_is_refused_with_the_venues_code(wrong: dict[str, Any], expected: int) -> None:
    desk = Desk()
    given = {**LIMIT, "price": near(desk, "0.995"), **wrong}
    answer = desk.post(CREATE, **{name: value for name, value in given.items() if value is not None})
    assert answer["retCode"] == expected, answer
    assert answer["retMsg"]


def test_a_name_is_never_given_twice_also_after_the_order_ended() -> None:
    desk = Desk()
    desk.order(orderLinkId="one")
    assert code(desk, CREATE, **MARKET, orderLinkId="one") == 110072
    stop = {**ONE, "side": "Sell", "orderType": "Market", "qty": "0.010", "triggerDirection": 2}
    assert code(desk, CREATE, **stop, triggerPrice=near(desk, "0.9"), orderLinkId="one") == 110072
    desk.ok("POST", CREATE, **stop, triggerPrice=near(desk, "0.9"), orderLinkId="two")
    assert code(desk, CREATE, **MARKET, orderLinkId="two") == 110072
    desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="two")
    assert code(desk, CREATE, **MARKET, orderLinkId="two") == 110072


def test_post_only_that_would_take_is_taken_and_then_cancelled() -> None:
    desk = Desk()
    desk.order(orderType="Limit", price=near(desk, "1.005"), timeInForce="PostOnly", orderLinkId="maker")
    entry = row(desk, orderLinkId="maker")
    assert (entry["orderStatus"], entry["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert entry["timeInForce"] == "PostOnly"


@pytest.mark.parametrize(
    ("tif", "qty", "reason"),
    [("FOK", "110.000", "EC_NoEnoughQtyToFill"), ("IOC", "0.010", "EC_NoImmediateQtyToFill")],
)
def test_orders_that_must_fill_at_once_end_with_their_reason(tif: str, qty: str, reason: str) -> None:
    desk = Desk(balance=Decimal(10_000_000))
    price = near(desk, "1.0005") if tif == "FOK" else near(desk, "0.995")
    desk.order(orderType="Limit", price=price, timeInForce=tif, qty=qty, orderLinkId="now")
    entry = row(desk, orderLinkId="now")
    assert (entry["orderStatus"], entry["rejectReason"], entry["leavesQty"]) == ("Cancelled", reason, "0.000")


def test_limit_prices_beyond_the_band_are_clamped_until_the_account_wants_them_refused() -> None:
    desk = Desk()
    band = Decimal(desk.public("/v5/market/price-limit", **ONE)["result"]["sellLmt"])
    desk.order(side="Sell", orderType="Limit", price=near(desk, "0.9"), timeInForce="PostOnly", orderLinkId="low")
    assert Decimal(row(desk, orderLinkId="low")["price"]) == band
    desk.ok("POST", "/v5/account/set-limit-px-action", category="linear", modifyEnable=False)
    given = {**LIMIT, "side": "Sell", "price": near(desk, "0.9")}
    assert code(desk, CREATE, **given) == 110120
    assert code(desk, CREATE, **{**given, "side": "Buy", "price": near(desk, "1.1")}) == 110121


def test_a_close_larger_than_the_position_is_cut_down_to_it() -> None:
    desk = Desk()
    desk.order()
    desk.order(side="Sell", qty="1.000", reduceOnly=True, orderLinkId="close")
    assert row(desk, orderLinkId="close")["qty"] == "0.010"
    assert desk.look("state")["positions"] == []


def test_quantity_zero_closes_everything() -> None:
    desk = Desk()
    desk.order(qty="0.025")
    desk.order(side="Sell", qty="0", reduceOnly=True, closeOnTrigger=True, orderLinkId="close")
    entry = row(desk, orderLinkId="close")
    assert (entry["cumExecQty"], entry["reduceOnly"], entry["closeOnTrigger"]) == ("0.025", True, True)


def test_a_close_beyond_the_largest_order_is_split_into_several() -> None:
    desk = Desk(balance=Decimal(10_000_000))
    desk.sim("account", position={"symbol": BTC, "qty": "250", "entry": str(desk.price())})
    desk.order(side="Sell", qty="0", reduceOnly=True, closeOnTrigger=True, orderLinkId="close")
    orders = desk.look("state?all=1")["orders"]
    assert [(row["qty"], row["client_id"]) for row in orders] == [("119", "close"), ("119", None), ("12", None)]
    assert len({row["id"] for row in orders}) == 3


def test_an_amendment_gives_the_new_total_and_may_not_go_below_what_is_filled() -> None:
    desk = Desk()
    desk.fault("partial_fill", fraction=0.5)
    desk.order(orderType="Limit", price=near(desk, "1.002"), orderLinkId="part")
    assert row(desk, orderLinkId="part")["orderStatus"] == "PartiallyFilled"
    amend = {**ONE, "orderLinkId": "part"}
    assert code(desk, "/v5/order/amend", **amend, qty="0.005") == 110064
    assert code(desk, "/v5/order/amend", **amend, stopLoss=near(desk, "0.9")) == 110059
    desk.ok("POST", "/v5/order/amend", **amend, qty="0.020", price=near(desk, "0.995"))
    entry = row(desk, orderLinkId="part")
    assert (entry["qty"], entry["leavesQty"], entry["price"]) == ("0.020", "0.015", near(desk, "0.995"))
    assert code(desk, "/v5/order/amend", **amend, qty="0.020") == 10001
    assert code(desk, "/v5/order/amend", **ONE, orderLinkId="other", qty="1") == 110001
    assert code(desk, "/v5/order/amend", **ONE, qty="1") == 10001


def test_orders_are_cancelled_by_either_name_and_only_once() -> None:
    desk = Desk()
    names = [desk.order(orderType="Limit", price=near(desk, "0.995"), orderLinkId=name) for name in ("a", "b")]
    assert desk.ok("POST", "/v5/order/cancel", **ONE, orderId=names[0]["orderId"]) == names[0]
    assert desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="b") == names[1]
    assert code(desk, "/v5/order/cancel", **ONE, orderLinkId="b") == 110001
    assert code(desk, "/v5/order/cancel", **ONE, orderId="123") == 110001
    entry = row(desk, orderLinkId="a")
    assert (entry["orderStatus"], entry["cancelType"]) == ("Cancelled", "CancelByUser")


def with_everything_open() -> Desk:
    desk = Desk()
    desk.order()
    desk.order(orderType="Limit", price=near(desk, "0.995"), orderLinkId="rest")
    desk.run(1)
    trigger = near(desk, "0.9")
    stop = {"side": "Sell", "reduceOnly": True, "triggerPrice": trigger, "triggerDirection": 2}
    desk.order(**stop, orderLinkId="stop")
    desk.run(1)
    desk.ok("POST", "/v5/position/trading-stop", **ONE, tpslMode="Full", positionIdx=0, stopLoss=trigger)
    return desk


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({"symbol": BTC}, []),
        ({"settleCoin": "USDT"}, []),
        ({"baseCoin": "BTC"}, []),
        ({"settleCoin": "USDC"}, ["", "stop", "rest"]),
        ({"symbol": "ETHUSDT"}, ["", "stop", "rest"]),
        ({"symbol": BTC, "orderFilter": "Order"}, ["", "stop"]),
        ({"symbol": BTC, "orderFilter": "StopOrder"}, ["rest"]),
        ({"symbol": BTC, "orderFilter": "StopOrder", "stopOrderType": "Stop"}, ["", "rest"]),
    ],
)
def test_cancel_all_takes_what_it_names(which: dict[str, str], left: list[str]) -> None:
    desk = with_everything_open()
    assert open_ids(desk) == ["", "stop", "rest"]
    result = desk.ok("POST", "/v5/order/cancel-all", category="linear", **which)
    assert (result["success"], len(result["list"])) == ("1", 3 - len(left))
    assert open_ids(desk) == left


def test_cancel_all_must_say_of_what() -> None:
    assert code(with_everything_open(), "/v5/order/cancel-all", category="linear") == 10001


@pytest.mark.parametrize(
    ("side", "direction", "share"), [("Buy", 1, "1.01"), ("Buy", 2, "0.99"), ("Sell", 1, "1.01"), ("Sell", 2, "0.99")]
)
def test_an_order_with_a_trigger_keeps_its_id_when_it_fires(side: str, direction: int, share: str) -> None:
    desk = Desk()
    trigger = near(desk, share)
    placed = desk.order(side=side, triggerPrice=trigger, triggerDirection=direction, orderLinkId="wait")
    entry = row(desk, orderLinkId="wait")
    assert (entry["orderStatus"], entry["stopOrderType"]) == ("Untriggered", "Stop")
    assert (entry["triggerDirection"], entry["triggerPrice"], entry["triggerBy"]) == (direction, trigger, "LastPrice")
    desk.move(trigger)
    entry = row(desk, orderId=placed["orderId"])
    assert (entry["orderStatus"], entry["orderLinkId"], entry["side"]) == ("Filled", "wait", side)
    assert entry["triggerPrice"] == trigger
    assert [fill["orderId"] for fill in desk.ok("GET", "/v5/execution/list", **ONE)["list"]] == [placed["orderId"]]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"triggerDirection": 1}, 110092),
        ({"triggerDirection": 2, "triggerPrice": "90000.0"}, 110093),
        ({"triggerDirection": None}, 10001),
        ({"triggerBy": "Other"}, 10001),
        ({"stopLoss": "60000"}, 10001),
    ],
)
def test_a_trigger_must_lie_ahead(wrong: dict[str, Any], expected: int) -> None:
    desk = Desk()
    given = {**MARKET, "side": "Sell", "triggerPrice": near(desk, "0.95"), "triggerDirection": 2, **wrong}
    assert code(desk, CREATE, **given) == expected


def test_a_stop_limit_rests_at_its_price_once_it_fired() -> None:
    desk = Desk()
    trigger, price = near(desk, "0.99"), near(desk, "0.995")
    desk.order(
        side="Sell", orderType="Limit", price=price, triggerPrice=trigger, triggerDirection=2, orderLinkId="wait"
    )
    desk.move(trigger)
    entry = row(desk, orderLinkId="wait")
    assert (entry["orderStatus"], entry["orderType"], entry["price"]) == ("New", "Limit", price)
    desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="wait")
    assert row(desk, orderLinkId="wait")["orderStatus"] == "Cancelled"


def test_a_waiting_order_is_amended_and_ends_deactivated() -> None:
    desk = Desk()
    trigger = near(desk, "0.95")
    desk.order(side="Sell", triggerPrice=trigger, triggerDirection=2, orderLinkId="wait")
    desk.ok("POST", "/v5/order/amend", **ONE, orderLinkId="wait", triggerPrice=near(desk, "0.97"), qty="0.020")
    entry = row(desk, orderLinkId="wait")
    assert (entry["triggerPrice"], entry["qty"]) == (near(desk, "0.97"), "0.020")
    assert code(desk, "/v5/order/amend", **ONE, orderLinkId="wait", triggerPrice=near(desk, "1.05")) == 110093
    desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="wait")
    entry = row(desk, orderLinkId="wait")
    assert (entry["orderStatus"], entry["cancelType"]) == ("Deactivated", "CancelByUser")


def test_a_symbol_has_room_for_ten_waiting_orders() -> None:
    desk = Desk()
    stop = {"side": "Sell", "triggerPrice": near(desk, "0.95"), "triggerDirection": 2}
    for _ in range(10):
        desk.order(**stop)
        desk.run(200)
    assert code(desk, CREATE, **{**MARKET, **stop}) == 110009
    desk.order(symbol="ETHUSDT", qty="0.10", side="Sell", triggerPrice="2000", triggerDirection=2)


def test_a_batch_pairs_each_order_with_its_outcome() -> None:
    desk = Desk()
    entry = {"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010"}
    rows = [{**entry, "orderLinkId": "a"}, {**entry, "orderLinkId": "a"}, {**entry, "qty": "0", "orderLinkId": "c"}]
    answer = desk.post("/v5/order/create-batch", category="linear", request=rows)
    assert answer["retCode"] == 0
    assert [outcome["code"] for outcome in answer["retExtInfo"]["list"]] == [0, 110072, 10001]
    made = answer["result"]["list"]
    assert [(bool(line["orderId"]), line["orderLinkId"], bool(line["createAt"])) for line in made] == [
        (True, "a", True), (False, "a", False), (False, "c", False),
    ]  # fmt: skip


def test_batches_amend_and_cancel_too() -> None:
    desk = Desk()
    entry = {"symbol": BTC, "side": "Buy", "orderType": "Limit", "qty": "0.010", "price": near(desk, "0.995")}
    rows = [{**entry, "orderLinkId": name} for name in ("a", "b")]
    desk.ok("POST", "/v5/order/create-batch", category="linear", request=rows)
    changes = [{"symbol": BTC, "orderLinkId": name, "qty": "0.020"} for name in ("a", "b", "c")]
    answer = desk.post("/v5/order/amend-batch", category="linear", request=changes)
    assert [outcome["code"] for outcome in answer["retExtInfo"]["list"]] == [0, 0, 110001]
    assert row(desk, orderLinkId="b")["qty"] == "0.020"
    names = [{"symbol": BTC, "orderLinkId": name} for name in ("a", "b")]
    answer = desk.post("/v5/order/cancel-batch", category="linear", request=names)
    assert [outcome["code"] for outcome in answer["retExtInfo"]["list"]] == [0, 0]
    assert open_ids(desk) == []


@pytest.mark.parametrize("count", [0, 21])
def test_a_batch_has_one_to_twenty_orders(count: int) -> None:
    rows = [{"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010"}] * count
    assert code(Desk(), "/v5/order/create-batch", category="linear", request=rows) == 10001


def test_ten_orders_of_a_batch_pass_and_the_rest_carry_the_limits_code() -> None:
    rows = [{"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.001"}] * 12
    answer = Desk().post("/v5/order/create-batch", category="linear", request=rows)
    assert [outcome["code"] for outcome in answer["retExtInfo"]["list"]] == [0] * 10 + [10006] * 2


def test_hedged_positions_are_separate_and_a_close_needs_its_side() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    desk.order(positionIdx=1)
    desk.order(side="Sell", positionIdx=2, qty="0.020")
    held = desk.ok("GET", "/v5/position/list", **ONE)["list"]
    assert [(line["positionIdx"], line["side"], line["size"]) for line in held] == [
        (1, "Buy", "0.010"),
        (2, "Sell", "0.020"),
    ]
    assert code(desk, CREATE, **MARKET) == 10001
    desk.order(side="Sell", positionIdx=1, qty="1.000", reduceOnly=True, orderLinkId="close")
    assert row(desk, orderLinkId="close")["reduceOnly"] is True
    held = desk.ok("GET", "/v5/position/list", category="linear", settleCoin="USDT")["list"]
    assert [line["positionIdx"] for line in held] == [2]


def test_the_request_log_knows_lanes_and_names_of_batches_too() -> None:
    desk = Desk()
    desk.order(orderLinkId="one")
    desk.order(side="Sell", triggerPrice=near(desk, "0.9"), triggerDirection=2, orderLinkId="two")
    rows = [
        {"symbol": BTC, "side": "Buy", "orderType": "Market", "qty": "0.010", "orderLinkId": f"b{n}"} for n in (1, 2)
    ]
    desk.post("/v5/order/create-batch", category="linear", request=rows)
    desk.post("/v5/order/amend", **ONE, orderLinkId="two", qty="0.020")
    desk.post("/v5/order/cancel", **ONE, orderLinkId="two")
    desk.get("/v5/order/realtime", **ONE)
    desk.post("/v5/position/trading-stop", **ONE, stopLoss=near(desk, "0.9"), positionIdx=0)
    desk.get("/v5/account/info")
    desk.public("/v5/market/time")
    log = [(line["lane"], line["client_ids"], line["code"]) for line in desk.look("requests?since=0")]
    assert log == [
        ("order", ["one"], 0),
        ("stop", ["two"], 0),
        ("order", ["b1", "b2"], 0),
        ("amend", ["two"], 0),
        ("cancel", ["two"], 0),
        ("query", [], 0),
        ("stop", [], 0),
        ("account", [], 0),
        ("market", [], 0),
    ]
