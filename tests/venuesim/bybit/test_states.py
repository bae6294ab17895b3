"""Codes that come from a state rather than from a parameter: full books, contracts and positions in trouble."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.venuesim.bybit.desk import BTC, Desk

ONE = {"category": "linear", "symbol": BTC}
ORDER = {**ONE, "side": "Buy", "orderType": "Market", "qty": "0.010"}
CREATE = "/v5/order/create"


@pytest.mark.parametrize(
    ("status", "code"), [("halted", 110066), ("settling", 110063), ("closed", 110074), ("pending", 110074)]
)
def test_a_contract_that_does_not_trade_says_why(status: str, code: int) -> None:
    desk = Desk()
    desk.fault("halt_symbol", {"symbol": BTC}, body=status)
    desk.run(1)
    assert desk.post(CREATE, **ORDER)["retCode"] == code


def test_a_position_being_liquidated_takes_no_orders() -> None:
    desk = Desk()
    desk.order()
    desk.fault("liquidate", {"symbol": BTC}, duration_ms=5_000)
    desk.run(1)
    assert desk.post(CREATE, **ORDER)["retCode"] == 110005
    desk.run(5_000)
    assert desk.post(CREATE, **ORDER)["retCode"] == 0


def test_a_contract_has_room_for_five_hundred_orders() -> None:
    desk = Desk(balance=10_000_000)
    price = f"{desk.price() * 9 / 10:.1f}"
    row = {"symbol": BTC, "side": "Buy", "orderType": "Limit", "qty": "0.001", "price": price}
    for _ in range(50):
        answer = desk.post("/v5/order/create-batch", category="linear", request=[row] * 10)
        assert {outcome["code"] for outcome in answer["retExtInfo"]["list"]} == {0}
        desk.run(1_000)
    assert desk.post(CREATE, **ONE, **{k: v for k, v in row.items() if k != "symbol"})["retCode"] == 110020


def test_a_market_order_ends_unfilled_where_the_market_ran_away_from_its_mark() -> None:
    desk = Desk()
    last = desk.price()
    desk.sim("price", symbol=BTC, price=f"{last * 12 / 10:.1f}", mark=str(last), hold_ms=10**9)
    desk.order(orderLinkId="far")
    (row,) = desk.ok("GET", "/v5/order/realtime", **ONE, orderLinkId="far")["list"]
    assert (row["orderStatus"], row["cumExecQty"], row["rejectReason"]) == (
        "Cancelled", "0.000", "EC_NoImmediateQtyToFill",
    )  # fmt: skip
    assert Decimal(row["price"]) < last * Decimal("1.06")
