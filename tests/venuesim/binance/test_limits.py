"""Weights, order counts, 429 and the ban that follows ignoring it."""

from __future__ import annotations

import pytest

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.limits import FIRST_BAN_MS, MINUTE_MS, PATIENCE, Limits, request_weight
from tools.venuesim.binance.params import Params

NOW = 28_000_000 * MINUTE_MS


@pytest.mark.parametrize(
    ("method", "path", "params", "weight"),
    [
        ("POST", "/fapi/v1/order", {}, 0),
        ("PUT", "/fapi/v1/order", {}, 0),
        ("GET", "/fapi/v1/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("GET", "/fapi/v1/openOrders", {}, 40),
        ("GET", "/fapi/v1/openAlgoOrders", {}, 40),
        ("GET", "/fapi/v1/depth", {"limit": "50"}, 2),
        ("GET", "/fapi/v1/depth", {"limit": "1000"}, 20),
        ("GET", "/fapi/v1/klines", {"limit": "99"}, 1),
        ("GET", "/fapi/v1/klines", {"limit": "100"}, 2),
        ("GET", "/fapi/v1/klines", {"limit": "1000"}, 5),
        ("GET", "/fapi/v1/klines", {"limit": "1500"}, 10),
        ("GET", "/fapi/v3/account", {}, 5),
        ("GET", "/fapi/v1/exchangeInfo", {}, 1),
    ],
)
def test_weights_are_those_of_the_venue(method: str, path: str, params: dict[str, str], weight: int) -> None:
    assert request_weight(method, path, Params(params)) == weight


def test_weight_runs_over_the_calendar_minute_and_starts_anew() -> None:
    limits = Limits()
    limits.rest.charge(NOW + 59_000, 2_000)
    assert limits.weight_headers(NOW + 59_500) == {"x-mbx-used-weight-1m": "2000"}
    assert limits.weight_headers(NOW + 60_000) == {"x-mbx-used-weight-1m": "0"}


def test_going_on_after_429_ends_in_a_ban_that_grows() -> None:
    limits = Limits()
    limits.rest.charge(NOW, 2_400)
    for _ in range(PATIENCE):
        with pytest.raises(VenueError) as refused:
            limits.rest.charge(NOW, 1)
        assert (refused.value.status, refused.value.code) == (429, -1003)
    with pytest.raises(VenueError) as banned:
        limits.rest.charge(NOW, 1)
    assert (banned.value.status, banned.value.code) == (418, -1003)
    assert f"banned until {NOW + FIRST_BAN_MS}." in banned.value.msg
    with pytest.raises(VenueError):
        limits.rest.charge(NOW + FIRST_BAN_MS - 1, 1)
    limits.rest.charge(NOW + FIRST_BAN_MS, 1)


def test_the_301st_order_in_ten_seconds_is_refused_and_not_counted() -> None:
    limits = Limits()
    for _ in range(300):
        limits.charge_orders(NOW)
    with pytest.raises(VenueError) as refused:
        limits.charge_orders(NOW)
    assert (refused.value.status, refused.value.code) == (429, -1015)
    assert limits.order_headers(NOW) == {"x-mbx-order-count-10s": "300", "x-mbx-order-count-1m": "300"}
    limits.charge_orders(NOW + 10_000)
