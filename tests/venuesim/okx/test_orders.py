"""Orders over REST: sizes in contracts, answers per item, states and the reasons of their ends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.venuesim.okx.desk import BTC, Desk, code_of
from tools.venuesim.exchange.model import PositionMode


def test_sizes_are_contracts_outside_and_base_units_inside() -> None:
    desk = Desk()
    row = desk.row(desk.order(sz="2.5"))
    assert (row["sz"], row["accFillSz"], row["state"]) == ("2.5", "2.5", "filled")
    assert desk.position()["pos"] == "2.5"
    (held,) = desk.look("state")["positions"]
    assert Decimal(held["qty"]) == Decimal("0.025")


def test_fees_are_negative_and_summed_over_the_order() -> None:
    desk = Desk()
    row = desk.row(desk.order(sz="1"))
    (fill,) = desk.ok("GET", "trade/fills", instType="SWAP")
    cost = Decimal(fill["fillPx"]) * Decimal("0.01") * Decimal("0.0005")
    assert Decimal(row["fee"]) == Decimal(fill["fee"]) == -cost
    assert (fill["execType"], fill["feeRate"], fill["tradeId"]) == ("T", "-0.0005", row["tradeId"])
    assert (row["fillSz"], row["fillPx"]) == ("1", fill["fillPx"])


def test_short_positions_are_negative_in_net_mode_only() -> None:
    net, hedge = Desk(), Desk()
    net.order(side="sell")
    assert (net.position()["pos"], net.position()["posSide"], net.position()["availPos"]) == ("-1", "net", "")
    hedge.ok("POST", "account/set-position-mode", posMode="long_short_mode")
    hedge.order(side="sell", posSide="short")
    assert (hedge.position()["pos"], hedge.position()["posSide"], hedge.position()["availPos"]) == ("1", "short", "1")


def test_an_accepted_order_is_answered_with_both_names_and_microseconds() -> None:
    desk = Desk()
    answer = desk.place(clOrdId="mine1", tag="t1", ordType="limit", px=desk.off("0.9"))
    (item,) = answer["data"]
    assert (item["clOrdId"], item["tag"], item["sCode"], item["sMsg"]) == ("mine1", "t1", "0", "")
    assert len(answer["inTime"]) == len(answer["outTime"]) == len(item["ts"]) + 3
    row = desk.one("GET", "trade/order", instId=BTC, clOrdId="mine1")
    assert (row["ordId"], row["state"], row["px"]) == (item["ordId"], "live", desk.off("0.9"))


def test_empty_texts_are_absent_and_numbers_may_be_numbers() -> None:
    desk = Desk()
    blank = dict.fromkeys(("ccy", "clOrdId", "tag", "px", "posSide", "reduceOnly", "tgtCcy", "stpMode"), "")
    assert desk.row(desk.order(**blank, sz=1))["clOrdId"] == ""


def test_a_batch_speaks_of_each_item() -> None:
    desk = Desk()
    usual = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": desk.off("0.9")}
    good, bad = {**usual, "sz": "1"}, {**usual, "sz": "0.001"}
    both = desk.many("trade/batch-orders", [good, bad])
    assert (both["code"], [row["sCode"] for row in both["data"]]) == ("2", ["0", "51020"])
    none = desk.many("trade/batch-orders", [bad])
    assert (none["code"], none["msg"]) == ("1", "All operations failed")
    assert desk.many("trade/batch-orders", [good] * 2)["code"] == "0"
    assert len(desk.ok("GET", "trade/orders-pending")) == 3
    assert desk.many("trade/batch-orders", [good] * 21)["code"] == "51111"


@pytest.mark.parametrize(
    ("order", "source"),
    [
        ({"ordType": "post_only", "px": "1.01"}, "31"),
        ({"ordType": "ioc", "px": "0.99"}, "14"),
        ({"ordType": "fok", "px": "0.99"}, "13"),
    ],
)
def test_orders_that_cannot_be_are_accepted_and_then_canceled(order: dict[str, str], source: str) -> None:
    desk = Desk()
    row = desk.row(desk.order(**{**order, "px": desk.off(order["px"])}))
    assert (row["state"], row["cancelSource"], row["accFillSz"]) == ("canceled", source, "0")


def test_cancelling_ends_an_order_once() -> None:
    desk = Desk()
    number = desk.order(ordType="limit", px=desk.off("0.9"))
    assert desk.post("trade/cancel-order", instId=BTC, ordId=number)["code"] == "0"
    assert (desk.row(number)["state"], desk.row(number)["cancelSource"]) == ("canceled", "1")
    assert code_of(desk.post("trade/cancel-order", instId=BTC, ordId=number)) == "51400"
    filled = desk.order()
    answer = desk.many("trade/cancel-batch-orders", [{"instId": BTC, "ordId": filled}, {"instId": BTC, "ordId": "7"}])
    assert (answer["code"], [row["sCode"] for row in answer["data"]]) == ("1", ["51400", "51400"])


def test_an_amendment_counts_the_whole_size_and_keeps_the_number() -> None:
    desk = Desk()
    number = desk.order(ordType="limit", px=desk.off("0.9"), sz="2", clOrdId="a1")
    answer = desk.one(
        "POST", "trade/amend-order", instId=BTC, clOrdId="a1", newSz="3", newPx=desk.off("0.91"), reqId="r1"
    )
    assert (answer["ordId"], answer["reqId"]) == (number, "r1")
    assert (desk.row(number)["sz"], desk.row(number)["px"]) == ("3", desk.off("0.91"))
    again = desk.post("trade/amend-order", instId=BTC, ordId=number, newSz="3")
    assert again["code"] == "0"
    assert code_of(desk.post("trade/amend-order", instId=BTC, ordId=number)) == "51500"
    assert code_of(desk.post("trade/amend-order", instId=BTC, ordId=desk.order(), newSz="3")) == "51503"


def test_an_order_amended_to_what_it_has_filled_is_filled() -> None:
    desk = Desk()
    desk.fault("partial_fill", {"client_id": "part"}, fraction=0.5)
    number = desk.order(ordType="limit", px=desk.off("1.001"), sz="2", clOrdId="part")
    assert (desk.row(number)["state"], desk.row(number)["accFillSz"]) == ("partially_filled", "1")
    assert desk.post("trade/amend-order", instId=BTC, ordId=number, newSz="1")["code"] == "0"
    assert desk.row(number)["state"] == "filled"


def test_names_are_unique_among_pending_orders_only() -> None:
    desk = Desk()
    number = desk.order(ordType="limit", px=desk.off("0.9"), clOrdId="same")
    assert code_of(desk.place(clOrdId="same")) == "51016"
    assert code_of(desk.place(clOrdId="same", instId="ETH-USDT-SWAP")) == "51016"
    desk.post("trade/cancel-order", instId=BTC, ordId=number)
    newest = desk.order(clOrdId="same")
    assert desk.one("GET", "trade/order", instId=BTC, clOrdId="same")["ordId"] == newest


def test_a_late_order_is_not_carried_out() -> None:
    desk = Desk()
    body = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}
    late = desk.submit("POST", "/api/v5/trade/order", body, {"exptime": str(desk.simulation.now_ms() - 1)})
    assert late.code == "50037"
    assert desk.submit("POST", "/api/v5/trade/order", body, {"exptime": "soon"}).code == "50036"
    assert desk.ok("GET", "account/positions") == []
    intime = desk.submit("POST", "/api/v5/trade/order", body, {"exptime": str(desk.simulation.now_ms() + 1)})
    assert intime.code == "0"


def test_reduce_only_orders_are_cut_down_to_the_position() -> None:
    desk = Desk()
    desk.order(sz="2")
    number = desk.order(side="sell", sz="5", reduceOnly=True)
    assert desk.ok("GET", "account/positions") == []
    assert (desk.row(number)["accFillSz"], desk.row(number)["reduceOnly"]) == ("2", "true")


def test_a_reduce_only_order_gets_what_others_leave() -> None:
    desk = Desk()
    desk.order(sz="3")
    usual = {"side": "sell", "ordType": "limit", "px": desk.off("1.1"), "reduceOnly": True}
    desk.order(**usual, sz="2")
    assert desk.row(desk.order(**usual, sz="5"))["sz"] == "1"


def test_reduce_only_in_the_wrong_direction_has_a_code_of_its_own() -> None:
    desk = Desk()
    assert code_of(desk.place(reduceOnly=True)) == "51169"
    desk.order()
    assert code_of(desk.place(reduceOnly="true")) == "51170"


def test_reduce_only_is_ignored_in_hedge_mode() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    desk.order(posSide="long", reduceOnly=True)
    assert desk.position()["posSide"] == "long"
    assert code_of(desk.place()) == code_of(desk.place(posSide="net")) == "51000"


def test_closing_a_position_needs_a_free_way() -> None:
    desk = Desk()
    assert code_of(desk.post("trade/close-position", instId=BTC, mgnMode="cross")) == "51023"
    desk.order(sz="3")
    desk.order(side="sell", ordType="limit", px=desk.off("1.1"), reduceOnly=True)
    assert desk.post("trade/close-position", instId=BTC, mgnMode="cross")["code"] == "51115"
    row = desk.one("POST", "trade/close-position", instId=BTC, mgnMode="cross", autoCxl=True, clOrdId="bye")
    assert row == {"clOrdId": "bye", "instId": BTC, "posSide": "net", "tag": ""}
    assert desk.ok("GET", "account/positions") == desk.ok("GET", "trade/orders-pending") == []


def test_the_countdown_cancels_orders_and_leaves_algo_orders() -> None:
    desk = Desk()
    desk.order()
    stop = desk.algo(slTriggerPx=desk.off("0.97"), slOrdPx="-1")
    number = desk.order(ordType="limit", px=desk.off("0.9"))
    assert desk.post("trade/cancel-all-after", timeOut="5")["code"] == "51000"
    desk.run(1_000)
    desk.ok("POST", "trade/cancel-all-after", timeOut="10")
    desk.run(9_000)
    again = desk.one("POST", "trade/cancel-all-after", timeOut="10")
    assert int(again["triggerTime"]) - int(again["ts"]) == 10_000
    desk.run(9_999)
    assert desk.row(number)["state"] == "live"
    desk.run(1)
    assert (desk.row(number)["state"], desk.row(number)["cancelSource"]) == ("canceled", "20")
    assert desk.algo_row(stop)["state"] == "live"


def test_a_countdown_of_zero_is_no_countdown() -> None:
    desk = Desk()
    number = desk.order(ordType="limit", px=desk.off("0.9"))
    desk.ok("POST", "trade/cancel-all-after", timeOut="10")
    desk.run(1_000)
    assert desk.one("POST", "trade/cancel-all-after", timeOut="0")["triggerTime"] == "0"
    desk.run(20_000)
    assert desk.row(number)["state"] == "live"
