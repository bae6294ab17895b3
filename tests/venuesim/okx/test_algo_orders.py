"""Algo orders over REST: stops, pairs, triggers, trailing stops, and stops that come with an entry."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, Desk, code_of
from tools.venuesim.exchange.model import PositionMode

PENDING, HISTORY = "trade/orders-algo-pending", "trade/orders-algo-history"


def _pair(desk: Desk, **more: Any) -> str:
    legs = {"slTriggerPx": desk.off("0.98"), "slOrdPx": "-1", "tpTriggerPx": desk.off("1.03"), "tpOrdPx": "-1"}
    return desk.algo(ordType="oco", **legs, **more)


def test_a_stop_waits_fires_and_names_its_order() -> None:
    desk = Desk()
    desk.order(sz="2")
    number = desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1", sz="2", algoClOrdId="stop1")
    row = desk.algo_row(number)
    assert (row["state"], row["slOrdPx"], row["slTriggerPxType"], row["sz"]) == ("live", "-1", "last", "2")
    assert [row["algoId"] for row in desk.ok("GET", PENDING, ordType="conditional")] == [number]
    desk.move(desk.off("0.97"))
    fired = desk.one("GET", "trade/order-algo", algoClOrdId="stop1")
    assert (fired["state"], fired["actualSide"], fired["actualSz"]) == ("effective", "sl", "2")
    assert fired["triggerTime"]
    assert fired["ordIdList"] == [fired["ordId"]]
    child = desk.row(fired["ordId"])
    assert (child["algoId"], child["algoClOrdId"], child["clOrdId"]) == (number, "stop1", "")
    assert desk.look("state")["fills"][-1]["client_id"] is None
    assert (child["source"], child["reduceOnly"], child["ordType"], child["state"]) == ("7", "true", "market", "filled")
    assert desk.ok("GET", "account/positions") == desk.ok("GET", PENDING, ordType="conditional") == []
    assert [row["algoId"] for row in desk.ok("GET", HISTORY, ordType="conditional", state="effective")] == [number]


def test_of_a_pair_the_one_that_fires_cancels_the_other_under_one_number() -> None:
    desk = Desk()
    desk.order()
    number = _pair(desk, algoClOrdId="pair1")
    row = desk.algo_row(number)
    assert (row["ordType"], row["slTriggerPx"], row["tpTriggerPx"]) == ("oco", desk.off("0.98"), desk.off("1.03"))
    assert len(desk.ok("GET", PENDING, ordType="conditional,oco")) == 1
    assert {row["id"] for row in desk.look("state")["orders"]} == {number}
    desk.move(desk.off("1.04"))
    fired = desk.algo_row(number)
    assert (fired["state"], fired["actualSide"]) == ("effective", "tp")
    assert desk.look("state")["orders"] == []


def test_cancelling_a_pair_takes_both_legs() -> None:
    desk = Desk()
    desk.order()
    number = _pair(desk)
    answer = desk.many("trade/cancel-algos", [{"instId": BTC, "algoId": number}])
    assert answer["code"] == "0"
    assert desk.algo_row(number)["state"] == "canceled"
    assert desk.look("state")["orders"] == []
    assert code_of(desk.many("trade/cancel-algos", [{"instId": BTC, "algoId": number}])) == "51400"
    assert desk.many("trade/cancel-algos", [{"instId": BTC, "algoId": number}] * 11)["code"] == "50025"


def test_the_old_way_to_cancel_trailing_stops_is_gone() -> None:
    desk = Desk()
    desk.order()
    number = desk.algo(ordType="move_order_stop", callbackRatio="0.01")
    answer = desk.submit("POST", "/api/v5/trade/cancel-advance-algos", [{"instId": BTC, "algoId": number}])
    assert (answer.status, answer.code) == (410, "50005")


def test_conditional_with_both_halves_keeps_only_the_stop_in_net_mode() -> None:
    desk = Desk()
    desk.order()
    legs = {"slTriggerPx": desk.off("0.98"), "slOrdPx": "-1", "tpTriggerPx": desk.off("1.03"), "tpOrdPx": "-1"}
    row = desk.algo_row(desk.algo(**legs))
    assert (row["slTriggerPx"], row["tpTriggerPx"]) == (desk.off("0.98"), "")


def test_levels_are_amended_in_place() -> None:
    desk = Desk()
    desk.order()
    number = _pair(desk)
    answer = desk.one(
        "POST", "trade/amend-algos", instId=BTC, algoId=number, newSlTriggerPx=desk.off("0.99"), newSlOrdPx="-1",
        newTpTriggerPx="0", reqId="q1",
    )  # fmt: skip
    assert (answer["algoId"], answer["reqId"]) == (number, "q1")
    row = desk.algo_row(number)
    assert (row["state"], row["slTriggerPx"], row["tpTriggerPx"]) == ("live", desk.off("0.99"), "")
    met = desk.post("trade/amend-algos", instId=BTC, algoId=number, newSlTriggerPx=desk.off("1.01"), newSlOrdPx="-1")
    assert code_of(met) == "51280"
    assert desk.algo_row(number)["slTriggerPx"] == desk.off("0.99")
    assert code_of(desk.post("trade/amend-algos", instId=BTC, algoId=number)) == "51500"
    assert code_of(desk.post("trade/amend-algos", instId=BTC, algoId="1", newSz="1")) == "51503"


def test_a_stop_of_the_whole_position_follows_its_size_and_ends_with_it() -> None:
    desk = Desk()
    desk.order(sz="1")
    number = desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1", sz=None, closeFraction="1")
    row = desk.algo_row(number)
    assert (row["closeFraction"], row["sz"], row["reduceOnly"]) == ("1", "", "true")
    (shown,) = desk.position()["closeOrderAlgo"]
    assert (shown["algoId"], shown["slTriggerPx"], shown["closeFraction"]) == (number, desk.off("0.98"), "1")
    again = desk.stop(slTriggerPx=desk.off("0.97"), slOrdPx="-1", sz=None, closeFraction="1")
    assert code_of(again) == "51088"
    desk.order(sz="4")
    (life,) = desk.look("protection")
    assert life["uncovered_qty"] == "0"
    desk.order(side="sell", sz="5", reduceOnly=True)
    assert desk.algo_row(number)["state"] == "canceled"


def test_a_plain_stop_outlives_its_position_unless_told_to_go() -> None:
    desk = Desk()
    desk.order()
    stays = desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1")
    goes = desk.algo(slTriggerPx=desk.off("0.97"), slOrdPx="-1", cxlOnClosePos=True)
    desk.order(side="sell", reduceOnly=True)
    assert (desk.algo_row(stays)["state"], desk.algo_row(goes)["state"]) == ("live", "canceled")


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"reduceOnly": None}, "51328"),
        ({"slOrdPx": "60000"}, "51330"),
        ({"closeFraction": "0.5"}, "51000"),
        ({"side": "buy", "slTriggerPx": "70000"}, "51058"),
    ],
)
def test_misuse_of_the_whole_position_is_refused(terms: dict[str, Any], code: str) -> None:
    desk = Desk()
    desk.order()
    usual = {"slTriggerPx": desk.off("0.98"), "slOrdPx": "-1", "sz": None, "closeFraction": "1"}
    assert code_of(desk.stop(**{**usual, **terms})) == code


@pytest.mark.parametrize(
    ("side", "half", "share", "by", "code"),
    [
        ("sell", "sl", "1.01", "last", "51280"),
        ("sell", "tp", "0.99", "last", "51279"),
        ("buy", "sl", "0.99", "last", "51278"),
        ("buy", "tp", "1.01", "last", "51277"),
        ("sell", "sl", "1.01", "mark", "51304"),
        ("sell", "tp", "0.99", "mark", "51303"),
        ("buy", "sl", "0.99", "mark", "51302"),
        ("buy", "tp", "1.01", "mark", "51300"),
        ("sell", "sl", "1.01", "index", "51308"),
        ("buy", "tp", "1.01", "index", "51305"),
    ],
)
def test_triggers_already_met_are_refused_with_side_and_price(
    side: str, half: str, share: str, by: str, code: str
) -> None:
    desk = Desk()
    legs = {f"{half}TriggerPx": desk.off(share), f"{half}OrdPx": "-1", f"{half}TriggerPxType": by}
    assert code_of(desk.stop(side=side, reduceOnly=None, **legs)) == code


def test_a_trigger_order_fires_from_either_side() -> None:
    desk = Desk()
    below = desk.algo(ordType="trigger", side="buy", reduceOnly=None, triggerPx=desk.off("0.98"), orderPx="-1", sz="1")
    above = desk.algo(ordType="trigger", side="buy", reduceOnly=None, triggerPx=desk.off("1.02"), orderPx="-1", sz="2")
    desk.move(desk.off("1.03"))
    assert (desk.algo_row(below)["state"], desk.algo_row(above)["state"]) == ("live", "effective")
    child = desk.row(desk.algo_row(above)["ordId"])
    assert (child["source"], desk.position()["pos"]) == ("6", "2")


def test_a_trailing_stop_follows_and_fires() -> None:
    desk = Desk()
    desk.order()
    start = desk.price()
    number = desk.algo(ordType="move_order_stop", callbackRatio="0.01")
    row = desk.algo_row(number)
    assert (row["callbackRatio"], row["activePx"]) == ("0.01", "")
    desk.move(start * Decimal("1.02"))
    level = Decimal(desk.algo_row(number)["moveTriggerPx"])
    assert abs(level - start * Decimal("1.02") * Decimal("0.99")) < 1
    desk.move(level - 1)
    fired = desk.algo_row(number)
    assert (fired["state"], desk.row(fired["ordId"])["source"]) == ("effective", "25")
    assert code_of(desk.stop(ordType="move_order_stop", callbackRatio="1.5")) == "51311"
    assert code_of(desk.stop(ordType="move_order_stop")) == "50015"


def test_an_attached_stop_exists_in_the_moment_of_the_whole_fill() -> None:
    desk = Desk()
    legs = [{"attachAlgoClOrdId": "sl1", "slTriggerPx": desk.off("0.98"), "slOrdPx": "-1"}]
    number = desk.order(sz="2", attachAlgoOrds=legs)
    (life,) = desk.look("protection")
    assert (life["max_unprotected_ms"], life["uncovered_qty"]) == (0, "0")
    (row,) = desk.ok("GET", PENDING, ordType="conditional")
    assert (row["algoClOrdId"], row["sz"], row["side"], row["reduceOnly"]) == ("sl1", "2", "sell", "true")
    entry = desk.row(number)
    (leg,) = entry["attachAlgoOrds"]
    assert leg["attachAlgoClOrdId"] == "sl1"
    assert leg["attachAlgoId"] != row["algoId"]


def test_a_part_filled_entry_has_no_attached_stop_and_a_cancelled_one_never_gets_it() -> None:
    desk = Desk()
    desk.fault("partial_fill", {"client_id": "part"}, fraction=0.5)
    legs = [{"slTriggerPx": desk.off("0.98"), "slOrdPx": "-1"}]
    number = desk.order(ordType="limit", px=desk.off("1.001"), sz="2", clOrdId="part", attachAlgoOrds=legs)
    assert desk.row(number)["state"] == "partially_filled"
    assert desk.ok("GET", PENDING, ordType="conditional") == []
    desk.ok("POST", "trade/cancel-order", instId=BTC, ordId=number)
    assert desk.ok("GET", PENDING, ordType="conditional") == []
    assert (desk.row(number)["state"], desk.row(number)["accFillSz"]) == ("canceled", "1")


def test_attached_halves_are_a_pair() -> None:
    desk = Desk()
    leg = {"slTriggerPx": desk.off("0.98"), "slOrdPx": "-1", "tpTriggerPx": desk.off("1.02"), "tpOrdPx": "-1"}
    desk.order(attachAlgoOrds=[{**leg, "attachAlgoClOrdId": "both"}])
    (row,) = desk.ok("GET", PENDING, ordType="oco")
    assert (row["algoClOrdId"], row["slTriggerPx"], row["tpTriggerPx"]) == (
        "both",
        leg["slTriggerPx"],
        leg["tpTriggerPx"],
    )
    desk.move(desk.off("0.97"))
    assert (desk.algo_row(row["algoId"])["actualSide"], desk.look("state")["orders"]) == ("sl", [])


def test_an_attached_pair_ends_also_while_the_order_of_one_half_rests() -> None:
    desk = Desk()
    leg = {
        "slTriggerPx": desk.off("0.98"),
        "slOrdPx": "-1",
        "tpTriggerPx": desk.off("1.02"),
        "tpOrdPx": desk.off("1.04"),
    }
    desk.order(attachAlgoOrds=[leg])
    (row,) = desk.ok("GET", PENDING, ordType="oco")
    desk.move(desk.off("1.025"))
    fired = desk.algo_row(row["algoId"])
    assert (fired["state"], fired["actualSide"], fired["actualPx"]) == ("effective", "tp", leg["tpOrdPx"])
    assert [order["id"] for order in desk.look("state")["orders"]] == [fired["ordId"]]


def test_attached_legs_are_amended_before_the_fill() -> None:
    desk = Desk()
    price = desk.off("0.99")
    legs = [{"attachAlgoClOrdId": "sl1", "slTriggerPx": desk.off("0.95"), "slOrdPx": "-1"}]
    number = desk.order(ordType="limit", px=price, attachAlgoOrds=legs)
    new = desk.off("0.96")
    change = [{"attachAlgoClOrdId": "sl1", "newSlTriggerPx": new}]
    desk.ok("POST", "trade/amend-order", instId=BTC, ordId=number, attachAlgoOrds=change)
    assert desk.row(number)["attachAlgoOrds"][0]["slTriggerPx"] == new
    unknown = [{"attachAlgoClOrdId": "nobody", "newSlTriggerPx": new}]
    assert code_of(desk.post("trade/amend-order", instId=BTC, ordId=number, attachAlgoOrds=unknown)) == "51527"
    assert code_of(desk.post("trade/amend-order", instId=BTC, ordId=number, newSlTriggerPx=new)) == "51538"
    desk.move(desk.off("0.985"))
    (row,) = desk.ok("GET", PENDING, ordType="conditional")
    assert row["slTriggerPx"] == new


@pytest.mark.parametrize(
    ("order", "half", "share", "code"),
    [
        ({"ordType": "limit", "px": "0.99"}, "tp", "0.98", "51046"),
        ({"ordType": "limit", "px": "0.99"}, "sl", "0.995", "51047"),
        ({"side": "sell", "ordType": "limit", "px": "1.01"}, "tp", "1.02", "51048"),
        ({"side": "sell", "ordType": "limit", "px": "1.01"}, "sl", "1.005", "51049"),
        ({}, "tp", "0.98", "51050"),
        ({}, "sl", "1.02", "51051"),
        ({"side": "sell"}, "tp", "1.02", "51052"),
        ({"side": "sell"}, "sl", "0.98", "51053"),
    ],
)
def test_attached_levels_on_the_wrong_side_are_refused(order: dict[str, str], half: str, share: str, code: str) -> None:
    desk = Desk()
    terms = {**order, "px": desk.off(order["px"])} if "px" in order else order
    leg = {f"{half}TriggerPx": desk.off(share), f"{half}OrdPx": "-1"}
    assert code_of(desk.place(**terms, attachAlgoOrds=[leg])) == code
    assert desk.look("state")["orders"] == desk.look("state")["positions"] == []


def test_orders_that_close_bring_no_stops() -> None:
    desk = Desk()
    desk.order()
    leg = [{"slTriggerPx": desk.off("1.02"), "slOrdPx": "-1"}]
    assert code_of(desk.place(side="sell", reduceOnly=True, attachAlgoOrds=leg)) == "51100"
    hedge = Desk(position_mode=PositionMode.HEDGE)
    hedge.order(posSide="long")
    assert code_of(hedge.place(side="sell", posSide="long", attachAlgoOrds=leg)) == "51333"


def test_attached_and_placed_names_are_unique_among_waiting_ones() -> None:
    desk = Desk()
    desk.order()
    desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1", algoClOrdId="n1")
    assert code_of(desk.stop(slTriggerPx=desk.off("0.97"), slOrdPx="-1", algoClOrdId="n1")) == "51065"


def test_a_trigger_that_cannot_send_its_order_fails_with_the_reason() -> None:
    desk = Desk()
    number = desk.algo(
        ordType="trigger", side="buy", reduceOnly=None, triggerPx=desk.off("1.02"), orderPx="-1", sz="9000"
    )
    desk.move(desk.off("1.03"))
    row = desk.algo_row(number)
    assert (row["state"], row["failCode"]) == ("order_failed", "51008")
    assert [row["algoId"] for row in desk.ok("GET", HISTORY, ordType="trigger", state="order_failed")] == [number]


def test_kinds_are_asked_for_one_by_one() -> None:
    desk = Desk()
    assert desk.get(PENDING)["code"] == "50014"
    assert desk.get(PENDING, ordType="trigger,oco")["code"] == "51000"
    assert desk.get(HISTORY, ordType="oco")["code"] == "50014"
    assert desk.get("trade/order-algo", algoId="5")["code"] == "51603"


def test_stops_close_hedged_positions_by_their_side() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    desk.order(posSide="long")
    desk.order(side="sell", posSide="short")
    number = desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1", posSide="long", sz=None, closeFraction="1")
    assert (
        code_of(
            desk.stop(
                side="buy", posSide="long", slTriggerPx=desk.off("1.02"), slOrdPx="-1", sz=None, closeFraction="1"
            )
        )
        == "51331"
    )
    desk.move(desk.off("0.97"))
    assert desk.algo_row(number)["state"] == "effective"
    assert desk.position()["posSide"] == "short"
