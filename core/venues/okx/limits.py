"""What OKX counts of our requests, and what each request costs (§4, §7).

Nearly every endpoint has a counter of its own over two seconds, per user (private) or address (public); those that
place, move or cancel have one per instrument. New and amended orders of an account count together besides. No header
tells what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.venues.rate_counters import Limit
from core.venues.request_budget import Charge, Lane

_WINDOW_MS = 2_000
_ENDPOINTS: Mapping[tuple[str, str], tuple[Lane, int]] = {
    # (method, path): (lane, requests in two seconds). Looking up our own orders and positions ranks with cancels: it
    # decides about protection.
    ("GET", "trade/order"): (Lane.CANCEL, 60),
    ("GET", "trade/order-algo"): (Lane.CANCEL, 20),
    ("GET", "trade/orders-pending"): (Lane.CANCEL, 60),
    ("GET", "trade/orders-algo-pending"): (Lane.CANCEL, 20),
    ("GET", "trade/orders-history"): (Lane.CANCEL, 40),
    ("GET", "trade/fills"): (Lane.CANCEL, 60),
    ("GET", "trade/fills-history"): (Lane.CANCEL, 10),
    ("GET", "account/positions"): (Lane.CANCEL, 10),
    ("GET", "account/balance"): (Lane.CANCEL, 10),
    ("GET", "account/config"): (Lane.CANCEL, 5),
    ("GET", "account/bills"): (Lane.DATA, 5),  # in one second, which ten in two would break in a burst
    ("GET", "account/bills-archive"): (Lane.DATA, 5),
    ("GET", "account/leverage-info"): (Lane.DATA, 20),
    ("POST", "account/set-leverage"): (Lane.ENTRY, 20),
    ("GET", "public/time"): (Lane.PROTECTION, 10),
    ("GET", "public/instruments"): (Lane.DATA, 20),
    ("GET", "public/position-tiers"): (Lane.DATA, 10),
    ("GET", "public/mark-price"): (Lane.DATA, 10),
    ("GET", "public/open-interest"): (Lane.DATA, 20),
    ("GET", "public/funding-rate"): (Lane.DATA, 10),
    ("GET", "market/tickers"): (Lane.DATA, 20),
    ("GET", "market/index-tickers"): (Lane.DATA, 20),
    ("GET", "market/candles"): (Lane.DATA, 40),
    ("GET", "market/history-candles"): (Lane.DATA, 20),
    ("GET", "market/trades"): (Lane.DATA, 100),
}
_COMMANDS: Mapping[str, tuple[Lane, int]] = {
    # Per instrument; None of them says by itself whether it opens or closes.
    "trade/cancel-order": (Lane.CANCEL, 60),
    "trade/order-algo": (Lane.PROTECTION, 20),
    "trade/amend-algos": (Lane.PROTECTION, 20),
}
_CANCEL_STOPS = "trade/cancel-algos"
"""Stops of all instruments count together."""
PLACE, PLACE_MANY, ACCOUNT = "trade/order", "trade/batch-orders", "orders"


def _limit(bucket: str, capacity: int) -> Limit:
    return Limit(bucket=bucket, window_ms=_WINDOW_MS, capacity=capacity, rolling=True)


LIMITS = (
    *(_limit(f"{method} {path}", capacity) for (method, path), (_, capacity) in _ENDPOINTS.items()),
    *(_limit(f"POST {path}", capacity) for path, (_, capacity) in _COMMANDS.items()),
    _limit(f"POST {_CANCEL_STOPS}", 20),
    _limit(f"POST {PLACE}", 60),
    _limit(f"POST {PLACE_MANY}", 300),
    _limit(ACCOUNT, 1_000),
)


def charge_of(method: str, path: str, params: Mapping[str, Any] | list[Mapping[str, Any]], ccxt_cost: float) -> Charge:
    """What a request costs and which lane it takes. What the tables do not know is data without a limit we know of."""
    del ccxt_cost
    rows = params if isinstance(params, list) else [params]
    if method == "POST" and path in {PLACE, PLACE_MANY}:
        return _placing(rows)
    if method == "POST" and path == _CANCEL_STOPS:
        return Charge(lane=Lane.CANCEL, costs={f"POST {path}": len(rows)}, commands=True)
    if method == "POST" and path in _COMMANDS:
        lane = _COMMANDS[path][0]
        return Charge(lane=lane, costs=_by_instrument(path, rows), commands=True)
    known = _ENDPOINTS.get((method, path))
    if known is None:
        return Charge(lane=Lane.DATA, costs={f"{method} {path}": 1})
    return Charge(lane=known[0], costs={f"{method} {path}": 1})


def _placing(rows: Sequence[Mapping[str, Any]]) -> Charge:
    """A batch of one counts as a single order. Stops travel along, so an entry promises none."""
    lane = Lane.CLOSE if all(is_closing(row) for row in rows) else Lane.ENTRY
    path = PLACE if len(rows) == 1 else PLACE_MANY
    return Charge(lane=lane, costs={**_by_instrument(path, rows), ACCOUNT: len(rows)}, commands=True)


def _by_instrument(path: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in rows:
        bucket = f"POST {path}:{row.get('instId', '')}"
        counted[bucket] = counted.get(bucket, 0) + 1
    return counted


def is_closing(row: Mapping[str, Any]) -> bool:
    """Whether an order can only reduce: marked so, or against its own side in long/short mode."""
    return bool(row.get("reduceOnly")) or (row.get("posSide"), row.get("side")) in {("long", "sell"), ("short", "buy")}
