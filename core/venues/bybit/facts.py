"""Bybit as data: hosts, times, sizes of pages, words. Its error codes are in `codes.py`, its limits in `limits.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from core.domain.reports import Origin
from core.engine.ports import Attach, VenueTraits


class Hosts(Struct, frozen=True, kw_only=True):
    """Roots without a slash at the end."""

    rest: str
    stream: str


PRODUCTION = Hosts(rest="https://api.bybit.com", stream="wss://stream.bybit.com")
TESTNET = Hosts(rest="https://api-testnet.bybit.com", stream="wss://stream-testnet.bybit.com")
_SITE = re.compile(r"^api(?=(-testnet)?\.(bybit|bytick|manepa))")
"""The venue's sites of all countries: `api.` where `stream.` has the sockets (§1)."""
PUBLIC_PATH, PRIVATE_PATH = "/v5/public/linear", "/v5/private"


def hosts_of(base_url: str | None, *, testnet: bool) -> Hosts:
    """A root that is none of the venue's sites serves REST and sockets alike; ws follows http and wss follows https."""
    if base_url is None:
        return TESTNET if testnet else PRODUCTION
    root = base_url.rstrip("/")
    scheme, _, rest = root.partition("://")
    if scheme not in {"http", "https"} or not rest:
        raise ValueError("a venue's base URL starts with http:// or https:// and names a host")
    host = _SITE.sub("stream", rest, count=1) if _SITE.match(rest) else rest
    return Hosts(rest=root, stream=f"{'wss' if scheme == 'https' else 'ws'}://{host}")


TRAITS = VenueTraits(
    attach=Attach.FIRST_FILL,
    whole_position_stops=True,
    amends_stops=True,
    entries_per_request=10,
    margin_of_account=True,
    native_trailing=True,
)
"""A batch may hold 20 orders, but each counts, and an account of the lowest tier may place ten in a second: of more in
one request the last would be refused."""
CATEGORY = "linear"
COINS = ("USDT", "USDC")
"""What the swaps we trade are margined in; each is asked for on its own."""
NOT_CRYPTO = frozenset({"stock", "xstocks", "commodity", "forex", "index", "metal"})
"""Kinds of contracts (`symbolType`) that follow other markets."""
NO_HEDGE_COIN = "USDC"
"""Contracts of this coin know no hedge mode."""

RECV_WINDOW_MS = 10_000
AUTH_AHEAD_MS = 10_000
"""A login is signed for a moment in the future; so far ahead that a slow connection does not outlast it."""
PING_SECONDS = 20.0
SILENCE_SECONDS = 29.0
"""The longest a dead connection goes unnoticed: a ping, and nothing in return until then (UDS-07)."""
QUIET_SECONDS = 10.0
"""A symbol of which neither price, nor size, nor turnover has changed for longer counts as not told."""
CONFIRM_SECONDS = 10.0
"""A channel begins with what is; one that has said nothing for so long is asked for anew."""
CONNECTION_SECONDS = 23 * 3600.0

ORDERS_PAGE, POSITIONS_PAGE, FILLS_PAGE, INSTRUMENTS_PAGE = 50, 200, 100, 1000
MOST_CANDLES = 1000
MOST_PAGES = 200
"""A list that does not end by then is no list: its cursors go round."""
FIRST_TIERS_SECONDS = 2.0
"""How long the start waits for risk limits."""
HISTORY_MS = 7 * 24 * 3600 * 1000 - 1
"""The longest window `execution/list` and `order/history` answer for."""
TOPICS = ("order", "execution", "position", "wallet")
MOST_TOPIC_CHARACTERS = 20_000
"""The venue takes 21,000 on one public connection."""

INTERVALS: Mapping[str, str] = {
    "1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "1d": "D",
}  # fmt: skip

FILLS = frozenset({"Trade", "AdlTrade", "BustTrade", "Delivery", "Settle", "BlockTrade", "MovePosition"})
"""Execution types that change a position. `Funding` rows carry the position's size and are no trades."""
FUNDING = "Funding"
ORIGINS: Mapping[str, Origin] = {
    "BustTrade": Origin.LIQUIDATION,
    "CreateByLiq": Origin.LIQUIDATION,
    "CreateByTakeOver_PassThrough": Origin.LIQUIDATION,
    "AdlTrade": Origin.ADL,
    "CreateByAdl_PassThrough": Origin.ADL,
    "Delivery": Origin.SETTLEMENT,
    "Settle": Origin.SETTLEMENT,
    "CreateBySettle": Origin.SETTLEMENT,
}
"""By an execution's `execType` or `createType`."""

STOP_LOSS = "StopLoss"
"""`stopOrderType` of the stop of a position as a whole; that of a part is `PartialStopLoss`."""
TRAILING_STOP = "TrailingStop"
"""The same of its trailing stop, which is always for the whole of it."""
BY_USER = frozenset({"CancelByUser", "CancelByAdmin"})
REASONS: Mapping[str, str] = {
    "EC_NoImmediateQtyToFill": "the rest of an immediate-or-cancel order",
    "EC_NoEnoughQtyToFill": "fill-or-kill could not be filled",
    "EC_PostOnlyWillTakeLiquidity": "post-only would have taken",
    "EC_ReachMaxTradeNum": "too many matches at once",
    "EC_ReachMarketPriceLimit": "market order: no more liquidity within the bound",
    "EC_ReachRiskPriceLimit": "its price is out of the venue's band",
    "EC_InvalidSymbolStatus": "the symbol is not trading",
    "CancelByReduceOnly": "reduce-only: nothing left to reduce",
    "CancelByTpSlTsClear": "its position is gone",
    "CancelByPrepareLiq": "liquidation",
    "CancelAllBeforeLiq": "liquidation",
    "CancelByPrepareAdl": "auto-deleveraging",
    "CancelAllBeforeAdl": "auto-deleveraging",
    "CancelBySettle": "settled",
    "CancelByCannotAffordOrderCost": "margin was missing when its turn came",
    "CancelByMmp": "market maker protection",
    "CancelBySmp": "self-trade prevention",
}
"""What `rejectReason` and `cancelType` mean; others are told in the venue's own word."""
ON_REQUEST = "EC_PerCancelRequest"
NO_REASON = frozenset({"", "UNKNOWN", "EC_NoError", ON_REQUEST, *BY_USER})
POSITION_GONE = "CancelByTpSlTsClear"
