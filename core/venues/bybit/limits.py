"""What Bybit counts: each endpoint by the account in a rolling second, everything by the address in five."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.venues.rate_counters import Limit
from core.venues.request_budget import TIGHTENINGS, Charge, Lane

ADDRESS = "address"
_LEFT, _CAPACITY = "x-bapi-limit-status", "x-bapi-limit"


def _per_second(bucket: str, capacity: int) -> Limit:
    return Limit(
        bucket=bucket,
        window_ms=1_000,
        capacity=capacity,
        rolling=True,
        left_header=_LEFT,
        capacity_header=_CAPACITY,
    )


_PRIVATE: Mapping[tuple[str, str], tuple[Lane, int, bool]] = {
    # (method, path): (lane, requests per second of the lowest tier, whether it places, moves or cancels orders)
    ("POST", "order/create"): (Lane.ENTRY, 10, True),
    ("POST", "order/create-batch"): (Lane.ENTRY, 10, True),
    ("POST", "order/cancel"): (Lane.CANCEL, 10, True),
    ("POST", "position/trading-stop"): (Lane.PROTECTION, 10, True),
    ("POST", "position/set-leverage"): (Lane.ENTRY, 10, False),
    ("GET", "order/realtime"): (Lane.CANCEL, 50, False),
    ("GET", "order/history"): (Lane.CANCEL, 50, False),
    ("GET", "execution/list"): (Lane.CANCEL, 50, False),
    ("GET", "position/list"): (Lane.CANCEL, 50, False),
    ("GET", "position/symbol-info"): (Lane.DATA, 10, False),
    ("GET", "account/wallet-balance"): (Lane.CANCEL, 50, False),
    ("GET", "account/info"): (Lane.DATA, 50, False),
    ("GET", "account/transaction-log"): (Lane.DATA, 25, False),
    ("GET", "user/query-api"): (Lane.DATA, 10, False),
}
LIMITS = (
    Limit(bucket=ADDRESS, window_ms=5_000, capacity=600, rolling=True),
    *(_per_second(path, capacity) for (_, path), (_, capacity, _) in _PRIVATE.items()),
    Limit(bucket=TIGHTENINGS, window_ms=1_000, capacity=5, rolling=True),
)
"""Capacities of the lowest tier; the headers of every private answer tell the account's own. The last is our own: half
of `position/trading-stop`, which sets stops too."""


def charge_of(method: str, path: str, params: Any, ccxt_cost: float) -> Charge:
    """What a request costs and which lane it takes. Looking up our own orders and positions ranks with cancels: it
    decides about protection. What the table does not know is public data, counted by the address alone."""
    del ccxt_cost
    endpoint = path.removeprefix("v5/")
    if endpoint == "market/time":
        return Charge(lane=Lane.PROTECTION, costs={ADDRESS: 1})
    known = _PRIVATE.get((method, endpoint))
    if known is None:
        return Charge(lane=Lane.DATA, costs={ADDRESS: 1})
    lane, _, commands = known
    orders = len(params["request"]) if endpoint == "order/create-batch" else 1
    if endpoint == "order/create" and is_closing(params):
        lane = Lane.CLOSE
    return Charge(lane=lane, costs={endpoint: orders, ADDRESS: 1}, commands=commands)


def is_closing(params: Mapping[str, Any]) -> bool:
    """Whether an order can only reduce."""
    return params.get("reduceOnly") is True
