"""What a request of ours costs at Binance and which lane it takes."""

from typing import Any

import pytest

from core.venues.binance.facts import charge_of
from core.venues.request_budget import Lane


@pytest.mark.parametrize(
    ("params", "lane"),
    [
        ({"side": "BUY"}, Lane.ENTRY),
        ({"side": "SELL", "reduceOnly": "true"}, Lane.CLOSE),
        ({"side": "BUY", "positionSide": "LONG"}, Lane.ENTRY),
        ({"side": "SELL", "positionSide": "LONG"}, Lane.CLOSE),
        ({"side": "SELL", "positionSide": "SHORT"}, Lane.ENTRY),
        ({"side": "BUY", "positionSide": "SHORT"}, Lane.CLOSE),
    ],
)
def test_an_order_that_can_only_close_takes_the_lane_of_protection(params: dict[str, Any], lane: Lane) -> None:
    charge = charge_of("POST", "order", params, 0)
    assert (charge.lane, charge.costs, charge.commands) == (lane, {"orders": 1}, True)


def test_an_entry_promises_the_order_of_its_stop() -> None:
    assert charge_of("POST", "order", {"side": "BUY"}, 0).promises == {"orders": 1}
    stop = charge_of("POST", "algoOrder", {"side": "SELL"}, 0)
    assert (stop.lane, stop.costs, stop.promises) == (Lane.PROTECTION, {"orders": 1}, {})


@pytest.mark.parametrize(
    ("path", "with_symbol", "without"),
    [("openOrders", 1, 40), ("openAlgoOrders", 1, 40), ("positionRisk", 5, 5), ("account", 5, 5), ("userTrades", 5, 5)],
)
def test_look_ups_that_decide_about_protection_go_with_cancels_at_their_weight(
    path: str, with_symbol: int, without: int
) -> None:
    for params, weight in (({"symbol": "BTCUSDT"}, with_symbol), ({}, without)):
        charge = charge_of("GET", path, params, 1)
        assert (charge.lane, charge.costs, charge.commands) == (Lane.CANCEL, {"weight": weight}, False)


def test_what_the_table_does_not_know_is_data_at_the_librarys_cost() -> None:
    charge = charge_of("GET", "klines", {}, 7.6)
    assert (charge.lane, charge.costs) == (Lane.DATA, {"weight": 8})
    assert charge_of("GET", "klines", {}, 0).costs == {"weight": 1}
