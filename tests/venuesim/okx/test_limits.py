"""How often somebody may ask."""

from __future__ import annotations

import json

from tests.venuesim.okx.desk import BTC, Desk
from tools.venuesim.okx.limits import ORDERS_PER_TWO_SECONDS

ORDER = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "58000", "sz": "1"}


def test_a_window_is_full_and_then_rolls_on() -> None:
    desk = Desk()
    answers = [desk.submit("GET", "/api/v5/account/config", {}) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert json.loads(answers[-1].body)["code"] == "50011"
    desk.run(1_999)
    assert desk.get("account/config")["code"] == "50011"
    desk.run(1)
    assert desk.get("account/config")["code"] == "0"


def test_orders_are_counted_for_each_contract() -> None:
    desk = Desk()
    assert all(desk.place(ordType="limit", px=desk.off("0.9"), sz="0.01")["code"] == "0" for _ in range(60))
    assert desk.place()["code"] == "50011"
    assert desk.place(instId="ETH-USDT-SWAP")["code"] == "0"
    assert desk.post("trade/cancel-order", instId=BTC, ordId="1")["code"] != "50011"


def test_an_array_of_one_counts_as_a_single_order() -> None:
    desk = Desk()
    for _ in range(60):
        desk.place(ordType="limit", px=desk.off("0.9"), sz="0.01")
    assert desk.many("trade/batch-orders", [ORDER])["code"] == "50011"
    assert desk.many("trade/batch-orders", [ORDER] * 2)["code"] != "50011"


def test_elements_of_arrays_are_counted_one_by_one() -> None:
    desk = Desk()
    answers = [desk.many("trade/batch-orders", [ORDER] * 20)["code"] for _ in range(16)]
    assert answers.index("50011") == 15


def test_the_account_has_a_limit_over_all_contracts() -> None:
    desk = Desk()
    names = [row.symbol for row in desk.simulation.engine.instruments()]
    codes = []
    for name in names[: ORDERS_PER_TWO_SECONDS // 200 + 1]:
        codes += [
            desk.many("trade/batch-orders", [{**ORDER, "instId": name, "sz": "0"}] * 20)["code"] for _ in range(10)
        ]
    assert codes.index("50061") == ORDERS_PER_TWO_SECONDS // 20


def test_an_injected_limit_answers_with_either_status() -> None:
    desk = Desk()
    desk.fault("rate_limit", duration_ms=3_000)
    busy = desk.submit("GET", "/api/v5/account/config", {})
    assert (busy.status, busy.code) == (429, "50011")
    desk.run(3_000)
    assert desk.get("account/config")["code"] == "0"
    desk.fault("rate_limit", status=200, duration_ms=3_000)
    busy = desk.submit("GET", "/api/v5/account/config", {})
    assert (busy.status, busy.code) == (200, "50011")
