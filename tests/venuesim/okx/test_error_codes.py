"""Each code that a condition of the engine can cause, and those that only a fault can."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, Desk, code_of
from tools.venuesim.exchange.model import Refusal, Refused
from tools.venuesim.okx.errors import VenueError, status_of, text_of
from tools.venuesim.okx.refusals import Deed, Refusals


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"instId": "NO-USDT-SWAP"}, "51001"),
        ({"instId": None}, "50014"),
        ({"sz": None}, "50014"),
        ({"tdMode": None}, "50014"),
        ({"tdMode": "cash"}, "51000"),
        ({"side": "long"}, "51000"),
        ({"ordType": "limit"}, "50014"),
        ({"sz": "0"}, "51000"),
        ({"sz": "-1"}, "51000"),
        ({"sz": "many"}, "51000"),
        ({"sz": "0.001"}, "51020"),
        ({"sz": "0.015"}, "51121"),
        ({"sz": "12001"}, "51101"),
        ({"sz": "11000"}, "51008"),
        ({"posSide": "long"}, "51000"),
        ({"clOrdId": "with-hyphen"}, "51000"),
        ({"clOrdId": "x" * 33}, "51000"),
        ({"tag": "x" * 17}, "51000"),
        ({"reduceOnly": "perhaps"}, "51000"),
        ({"ordType": "limit", "px": "1000000"}, "51006"),
        ({"ordType": "limit", "px": "60000.05"}, "51000"),
        ({"side": "sell", "ordType": "limit", "px": "1000"}, "51006"),
    ],
)
def test_orders_that_cannot_be_placed(changed: dict[str, Any], code: str) -> None:
    desk = Desk()
    answer = desk.place(**changed)
    assert (answer["code"] in ("1", code), code_of(answer)) == (True, code)
    assert desk.look("state")["orders"] == desk.look("state")["positions"] == []


def test_a_missing_parameter_is_a_bad_request_and_a_wrong_one_an_item() -> None:
    desk = Desk()
    usual = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "market"}
    missing = desk.submit("POST", "/api/v5/trade/order", usual)
    assert (missing.status, json.loads(missing.body)["data"]) == (400, [])
    assert json.loads(missing.body)["msg"] == "Parameter sz can not be empty."
    wrong = desk.submit("POST", "/api/v5/trade/order", {**usual, "sz": "0"})
    assert (wrong.status, wrong.code) == (200, "51000")


def test_the_price_band_is_told_with_its_bounds() -> None:
    desk = Desk()
    (item,) = desk.place(ordType="limit", px="1000000")["data"]
    highest, lowest = (part.split(" ")[0] for part in item["sMsg"].split("price: ")[1:])
    assert float(lowest) < float(desk.price()) < float(highest)
    assert desk.place(ordType="limit", px=highest)["code"] == "0"


def test_a_price_beyond_the_band_is_brought_back_when_asked() -> None:
    desk = Desk()
    row = desk.row(desk.order(ordType="limit", px=desk.off("1.1"), pxAmendType="1"))
    assert row["state"] == "filled"
    assert float(row["px"]) < float(desk.off("1.1"))


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        ("halted", "51022", "suspend"),
        ("pending", "51021", "preopen"),
        ("settling", "51028", "suspend"),
        ("closed", "51027", "expired"),
    ],
)
def test_contracts_that_do_not_trade(status: str, code: str, shown: str) -> None:
    desk = Desk()
    desk.fault("halt_symbol", {"symbol": BTC}, body=status)
    assert code_of(desk.place()) == code
    assert desk.one("GET", "account/instruments", instType="SWAP", instId=BTC)["state"] == shown


def test_changed_steps_are_shown_in_contracts_and_applied() -> None:
    desk = Desk()
    desk.fault(
        "change_filters",
        {"symbol": BTC},
        body={"step": "0.01", "market_step": "0.01", "min_qty": "0.01", "market_min_qty": "0.01"},
    )
    row = desk.one("GET", "account/instruments", instType="SWAP", instId=BTC)
    assert (row["lotSz"], row["minSz"], row["ctVal"]) == ("1", "1", "0.01")
    assert code_of(desk.place(sz="1.5")) == "51121"


def test_a_frozen_position_takes_no_orders() -> None:
    desk = Desk()
    desk.order()
    desk.fault("liquidate", {"symbol": BTC}, duration_ms=5_000)
    assert code_of(desk.place()) == "50020"
    desk.run(5_001)
    assert desk.place()["code"] == "0"


def test_orders_beyond_the_tier_of_the_leverage_are_refused() -> None:
    desk = Desk(balance=10**9)
    desk.ok("POST", "account/set-leverage", instId=BTC, lever="100", mgnMode="cross")
    (item,) = desk.place(ordType="limit", px=desk.off("0.99"), sz="100000")["data"]
    assert item["sCode"] == "51004"
    assert BTC in item["sMsg"]


def test_pending_orders_are_counted_for_each_contract() -> None:
    desk = Desk(balance=10**7)
    orders = [{"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": desk.off("0.9"), "sz": "1"}]
    for _ in range(25):
        assert desk.many("trade/batch-orders", orders * 20)["code"] == "0"
        desk.run(500)
    (item,) = desk.many("trade/batch-orders", orders)["data"]
    assert item["sCode"] == "51102"


@pytest.mark.parametrize("code", ["51024", "54030", "51155"])
def test_any_code_can_be_prescribed_to_an_order(code: str) -> None:
    desk = Desk()
    desk.fault("reject_order", code=code)
    (item,) = desk.place()["data"]
    assert (item["sCode"], item["sMsg"], item["ordId"]) == (code, text_of(code), "")


def test_any_code_can_be_prescribed_to_a_stop() -> None:
    desk = Desk()
    desk.order()
    desk.fault("reject_stop", code="51299")
    assert code_of(desk.stop(slTriggerPx=desk.off("0.9"), slOrdPx="-1")) == "51299"


def test_a_stop_refused_at_its_trigger_has_failed_with_that_code() -> None:
    desk = Desk()
    desk.order()
    desk.fault("reject_stop", phase="after", code="51008")
    number = desk.algo(slTriggerPx=desk.off("0.98"), slOrdPx="-1")
    desk.move(desk.off("0.97"))
    assert desk.algo_row(number)["state"] == "order_failed"


@pytest.mark.parametrize("code", ["50004", "50013", "50026", "51054", "51149", "50001", "50061"])
def test_codes_about_the_whole_request_stand_over_the_answer(code: str) -> None:
    desk = Desk()
    desk.fault("http_error", {"path": "/api/v5/trade/order"}, code=code)
    body = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}
    answer = desk.submit("POST", "/api/v5/trade/order", body)
    assert (answer.status, json.loads(answer.body)["code"]) == (status_of(code), code)
    assert desk.ok("GET", "account/positions") == []


def test_codes_about_orders_are_those_of_the_items() -> None:
    desk = Desk()
    desk.fault("http_error", {"path": "*cancel*"}, code="51410")
    answer = desk.post("trade/cancel-order", instId=BTC, ordId="1")
    assert (answer["code"], answer["data"][0]["sCode"], answer["data"][0]["ordId"]) == ("1", "51410", "1")


def test_every_refusal_has_a_code() -> None:
    refusals = Refusals(Desk().simulation.engine)
    for reason in Refusal:
        for deed in Deed:
            error = refusals.error(Refused(reason, code="51000"), deed, BTC)
            assert isinstance(error, VenueError)
            assert error.text
            assert "{" not in error.text
