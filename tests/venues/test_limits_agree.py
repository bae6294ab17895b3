"""No endpoint is asked more often, or counted more loosely, than its venue allows by the simulator's own table."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.venues.bybit import limits as bybit
from core.venues.okx import limits as okx
from tests.venuesim.bybit.desk import Desk as BybitDesk
from tests.venuesim.okx.desk import Desk as OkxDesk
from tools.venuesim.bybit.routing import Security
from tools.venuesim.okx.routing import Scope

OURS: Mapping[str, Any] = {limit.bucket: limit for limit in okx.LIMITS}
BYBIT: Mapping[str, Any] = {limit.bucket: limit for limit in bybit.LIMITS}


@pytest.fixture(scope="module")
def okx_routes() -> Mapping[tuple[str, str], Any]:
    return OkxDesk().simulation.facade._routes  # type: ignore[no-any-return, attr-defined]


@pytest.fixture(scope="module")
def bybit_routes() -> Mapping[tuple[str, str], Any]:
    return BybitDesk().simulation.facade._routes  # type: ignore[no-any-return, attr-defined]


def test_okx_is_asked_within_each_endpoints_limit(okx_routes: Mapping[tuple[str, str], Any]) -> None:
    row = {"instId": "BTC-USDT-SWAP", "side": "buy"}
    known = 0
    for (method, path), route in okx_routes.items():
        name = path.removeprefix("/api/v5/")
        params: Any = [row, row] if name.endswith(("batch-orders", "cancel-algos")) else row
        bucket = okx.charge_of(method, name, params, 0).endpoint
        limit = OURS.get(bucket.partition(":")[0])
        if limit is None:
            continue
        known += 1
        assert limit.capacity * route.per_ms <= route.calls * limit.window_ms, name
        assert limit.capacity <= route.calls, f"{name}: a burst is counted over {route.per_ms} ms"
        assert ":" not in bucket or route.scope is Scope.INSTRUMENT, f"{name} is counted over all instruments"
    assert known > 20


def test_bybit_is_asked_within_each_endpoints_limit(bybit_routes: Mapping[tuple[str, str], Any]) -> None:
    known = 0
    for (method, path), route in bybit_routes.items():
        name = path.removeprefix("/")
        charge = bybit.charge_of(method, name, {"request": [{}]}, 0)
        if route.security is Security.NONE:
            assert charge.costs == {bybit.ADDRESS: 1}, name
            continue
        limit = BYBIT.get(charge.endpoint)
        if charge.endpoint == bybit.ADDRESS or limit is None:
            continue
        known += 1
        assert limit.capacity * 1_000 <= route.per_second * limit.window_ms, name
    assert known > 10
