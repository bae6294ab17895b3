"""Request weights and order counts: fixed calendar windows, headers, 429 and the ban that follows ignoring it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.params import Params

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
WEIGHT_PER_MINUTE = 2_400
ORDERS_PER_MINUTE = 1_200
ORDERS_PER_TEN_SECONDS = 300
FIRST_BAN_MS = 120_000
LONGEST_BAN_MS = 3 * 86_400_000
# The documents only say "repeatedly": this many requests sent into a 429 are answered by a ban.
PATIENCE = 20

_FIXED: dict[tuple[str, str], int] = {
    ("POST", "/fapi/v1/order"): 0,
    ("PUT", "/fapi/v1/order"): 0,
    ("POST", "/fapi/v1/algoOrder"): 0,
    ("POST", "/fapi/v1/batchOrders"): 5,
    ("GET", "/fapi/v1/allOrders"): 5,
    ("GET", "/fapi/v1/allAlgoOrders"): 5,
    ("GET", "/fapi/v1/userTrades"): 5,
    ("GET", "/fapi/v1/income"): 30,
    ("GET", "/fapi/v2/account"): 5,
    ("GET", "/fapi/v3/account"): 5,
    ("GET", "/fapi/v2/balance"): 5,
    ("GET", "/fapi/v3/balance"): 5,
    ("GET", "/fapi/v2/positionRisk"): 5,
    ("GET", "/fapi/v3/positionRisk"): 5,
    ("GET", "/fapi/v1/accountConfig"): 5,
    ("GET", "/fapi/v1/symbolConfig"): 5,
    ("GET", "/fapi/v1/commissionRate"): 20,
    ("GET", "/fapi/v1/positionSide/dual"): 30,
    ("GET", "/fapi/v1/multiAssetsMargin"): 30,
    ("GET", "/fapi/v1/feeBurn"): 30,
    ("GET", "/fapi/v1/adlQuantile"): 5,
    ("GET", "/fapi/v1/historicalTrades"): 200,
    ("GET", "/fapi/v1/rpiDepth"): 20,
    ("POST", "/fapi/v1/order/test"): 0,
    ("POST", "/fapi/v1/countdownCancelAll"): 10,
    ("PUT", "/fapi/v1/batchOrders"): 5,
    ("GET", "/fapi/v1/trades"): 5,
    ("GET", "/fapi/v1/aggTrades"): 20,
    ("GET", "/fapi/v1/fundingRate"): 0,
    ("GET", "/fapi/v1/fundingInfo"): 0,
}
# (with symbol, without)
_BY_SYMBOL: dict[tuple[str, str], tuple[int, int]] = {
    ("GET", "/fapi/v1/openOrders"): (1, 40),
    ("GET", "/fapi/v1/openAlgoOrders"): (1, 40),
    ("GET", "/fapi/v1/premiumIndex"): (1, 10),
    ("GET", "/fapi/v1/ticker/24hr"): (1, 40),
    ("GET", "/fapi/v1/ticker/price"): (1, 2),
    ("GET", "/fapi/v2/ticker/price"): (1, 2),
    ("GET", "/fapi/v1/ticker/bookTicker"): (2, 5),
    ("GET", "/fapi/v1/apiTradingStatus"): (1, 10),
    ("GET", "/fapi/v1/forceOrders"): (20, 50),
}
# Upper limit -> weight, in the venue's own steps.
_DEPTH = ((50, 2), (100, 5), (500, 10))
_KLINES = ((99, 1), (499, 2), (1_000, 5))
KLINES = frozenset(
    f"/fapi/v1/{name}"
    for name in ("klines", "continuousKlines", "indexPriceKlines", "markPriceKlines", "premiumIndexKlines")
)
# Neither answers with a weight header: they have a pool of their own.
UNWEIGHED = frozenset({"/fapi/v1/fundingRate", "/fapi/v1/fundingInfo"})


def request_weight(method: str, path: str, params: Params) -> int:
    """Weight of one request on the per-minute pool of its address."""
    key = (method, path)
    if key in _BY_SYMBOL:
        return _BY_SYMBOL[key]["symbol" not in params]
    if key == ("GET", "/fapi/v1/depth"):
        return _stepped(params.text("limit"), 500, _DEPTH, 20)
    if path in KLINES:
        return _stepped(params.text("limit"), 500, _KLINES, 10)
    return _FIXED.get(key, 1)


def _stepped(limit: str | None, default: int, steps: tuple[tuple[int, int], ...], beyond: int) -> int:
    count = int(limit) if limit and limit.isdecimal() else default
    return next((weight for top, weight in steps if count <= top), beyond)


@dataclass(slots=True)
class Window:
    """A counter that starts anew with every calendar-aligned interval, as the venue's headers show."""

    length_ms: int
    limit: int
    start_ms: int = 0
    used: int = 0

    def roll(self, now_ms: int) -> None:
        """Starts a new interval when `now_ms` lies beyond the running one."""
        start = now_ms - now_ms % self.length_ms
        if start != self.start_ms:
            self.start_ms, self.used = start, 0

    def room(self, cost: int) -> bool:
        """Whether `cost` more still fits."""
        return self.used + cost <= self.limit


@dataclass(slots=True)
class Pool:
    """Request weight of one address on one entrance: REST and the trading socket have one each."""

    weight: Window = field(default_factory=lambda: Window(MINUTE_MS, WEIGHT_PER_MINUTE))
    banned_until_ms: int = 0
    refused_until_ms: int = 0
    """Set from outside: everything before it is answered 429."""
    _ban_ms: int = FIRST_BAN_MS
    _ignored: int = 0

    def charge(self, now_ms: int, cost: int) -> None:
        """Books a request. 429 (-1003) beyond the pool; 418 while banned, which going on after 429 leads to."""
        if now_ms < self.banned_until_ms:
            raise self._banned()
        if now_ms < self.refused_until_ms:
            raise VenueError(-1003, self.weight.limit)
        before = self.weight.start_ms
        self.weight.roll(now_ms)
        if before != self.weight.start_ms:
            self._ignored = 0
        if self.weight.room(cost):
            self.weight.used += cost
            return
        self._ignored += 1
        if self._ignored > PATIENCE:
            self.banned_until_ms = now_ms + self._ban_ms
            self._ban_ms = min(self._ban_ms * 2, LONGEST_BAN_MS)
            self._ignored = 0
            raise self._banned()
        raise VenueError(-1003, self.weight.limit)

    def used(self, now_ms: int) -> int:
        """The running total of the minute."""
        self.weight.roll(now_ms)
        return self.weight.used

    def retry_after_s(self, now_ms: int) -> int:
        """Whole seconds until requests are answered again."""
        blocked_ms = max(self.banned_until_ms, self.refused_until_ms)
        until = blocked_ms if blocked_ms > now_ms else self.weight.start_ms + MINUTE_MS
        return max(1, -(-(until - now_ms) // 1_000))

    def _banned(self) -> VenueError:
        text = (
            f"Way too much request weight used; IP banned until {self.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return VenueError(-1003, text=text, status=418)


@dataclass(slots=True)
class Limits:
    """All counters of one address and account. Times are venue time in ms."""

    rest: Pool = field(default_factory=Pool)
    socket: Pool = field(default_factory=Pool)
    orders_minute: Window = field(default_factory=lambda: Window(MINUTE_MS, ORDERS_PER_MINUTE))
    orders_ten_seconds: Window = field(default_factory=lambda: Window(TEN_SECONDS_MS, ORDERS_PER_TEN_SECONDS))

    def refuse_until(self, until_ms: int, *, banned: bool) -> None:
        """Everything is answered 429, or 418 when banned, whatever was used."""
        for pool in (self.rest, self.socket):
            if banned:
                pool.banned_until_ms = until_ms
            else:
                pool.refused_until_ms = until_ms

    def charge_orders(self, now_ms: int, ten_seconds: int = 1, minute: int = 1) -> None:
        """Books an order on both counters; 429 (-1015) naming the counter that is full."""
        self.orders_minute.roll(now_ms)
        self.orders_ten_seconds.roll(now_ms)
        if not self.orders_ten_seconds.room(ten_seconds):
            raise VenueError(-1015, self.orders_ten_seconds.limit, "10 SECOND")
        if not self.orders_minute.room(minute):
            raise VenueError(-1015, self.orders_minute.limit, "MINUTE")
        self.orders_ten_seconds.used += ten_seconds
        self.orders_minute.used += minute

    def weight_headers(self, now_ms: int) -> dict[str, str]:
        """The running total of the minute, which every weighed answer carries."""
        return {"x-mbx-used-weight-1m": str(self.rest.used(now_ms))}

    def order_headers(self, now_ms: int) -> dict[str, str]:
        """The running order totals, which answers to accepted orders carry."""
        ten_seconds, minute = self.orders_used(now_ms)
        return {"x-mbx-order-count-10s": str(ten_seconds), "x-mbx-order-count-1m": str(minute)}

    def orders_used(self, now_ms: int) -> tuple[int, int]:
        """Running totals of 10 seconds and of the minute."""
        self.orders_minute.roll(now_ms)
        self.orders_ten_seconds.roll(now_ms)
        return self.orders_ten_seconds.used, self.orders_minute.used
