"""OKX as data: hosts, times, words. Its error codes are in `codes.py`, its request limits in `limits.py`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from core.domain.reports import Origin
from core.engine.ports import Attach, VenueTraits


class Hosts(Struct, frozen=True, kw_only=True):
    """Roots without a slash at the end. `simulated`: the demo environment is the same host with a header."""

    rest: str
    stream: str
    simulated: bool = False


PRODUCTION = Hosts(rest="https://www.okx.com", stream="wss://ws.okx.com:8443")
DEMO = Hosts(rest="https://www.okx.com", stream="wss://wspap.okx.com:8443", simulated=True)
_SITES: Mapping[str, tuple[str, str]] = {
    "https://www.okx.com": ("wss://ws.okx.com:8443", "wss://wspap.okx.com:8443"),
    "https://openapi.okx.com": ("wss://ws.okx.com:8443", "wss://wspap.okx.com:8443"),
    "https://eea.okx.com": ("wss://wseea.okx.com:8443", "wss://wseeapap.okx.com:8443"),
    "https://us.okx.com": ("wss://wsus.okx.com:8443", "wss://wsuspap.okx.com:8443"),
}
"""The venue's own sites by their REST root: where their sockets are, and those of their demo environment (§1). A key of
one is unknown at the others."""


def hosts_of(base_url: str | None, *, testnet: bool) -> Hosts:
    """A root that is none of the venue's sites serves REST and sockets alike; ws follows http and wss follows https."""
    if base_url is None:
        return DEMO if testnet else PRODUCTION
    root = base_url.rstrip("/")
    if (site := _SITES.get(root)) is not None:
        return Hosts(rest=root, stream=site[testnet], simulated=testnet)
    scheme, _, rest = root.partition("://")
    if scheme not in {"http", "https"} or not rest:
        raise ValueError("a venue's base URL starts with http:// or https:// and names a host")
    return Hosts(rest=root, stream=f"{'wss' if scheme == 'https' else 'ws'}://{rest}")


TRAITS = VenueTraits(
    attach=Attach.COMPLETE_FILL,
    amends_stops=True,
    entries_per_request=20,
    stops_end_with_position=True,
    native_trailing=True,
)
CALLBACK_PERCENT = (Decimal("0.1"), Decimal(100))
"""Least and most a trailing order may let the price fall back (51311)."""
COINS = ("USDT", "USDC")
"""What the swaps we trade are margined in; an account tells of no coin it has none of."""

COINS_ONLY = frozenset({"", "1"})
"""`instCategory` of what is no stock, metal or currency; "" where the venue does not say."""

EXPIRY_MS = 5_000
"""An order that reaches the matching engine later than this after it was stamped is not executed (`expTime`), so that
what was denied after this time is certainly not under way any more. Below the time after which an order is believed
absent, and above what a slow connection takes."""
PAGE = 100
LEVERAGES_PER_REQUEST = 20
FAMILIES_PER_REQUEST = 5
RECENT_FILLS_MS = 3 * 24 * 3600 * 1000 - 3600 * 1000
"""`trade/fills` has three days; an hour less, because its days end by the venue's clock."""

PING_SECONDS = 18.0
SILENCE_SECONDS = 30.0
"""The venue closes a socket (4004) that has not been written to for so long."""
QUIET_SECONDS = 11.0
"""Prices that do not change are not told; the mark is told again after ten seconds in any case (§10)."""
CONFIRM_SECONDS = 10.0
"""A channel begins with what is; one that has said nothing for so long is asked for anew."""
CONNECTION_SECONDS = 23 * 3600.0

PUBLIC_PATH, PRIVATE_PATH, BUSINESS_PATH = "/ws/v5/public", "/ws/v5/private", "/ws/v5/business"
RECONNECT_NOTICE = "64008"

POSITION_MODES: Mapping[str, bool] = {"net_mode": False, "long_short_mode": True}
"""True = long and short side by side."""
SPOT_LEVEL, PORTFOLIO_LEVEL = "1", "4"
LEVELS: Mapping[str, str] = {
    "1": "spot mode",
    "2": "futures mode",
    "3": "multi-currency margin",
    "4": "portfolio margin",
}

BARS: Mapping[str, str] = {
    "1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m",
    "1h": "1H", "2h": "2H", "4h": "4H", "6h": "6Hutc", "8h": "8Hutc", "12h": "12Hutc", "1d": "1Dutc",
}  # fmt: skip
"""Bars from six hours on end by Hong Kong's clock unless `utc` is asked for."""

EXPIRED_BY = frozenset({"13", "14", "15", "21", "22", "23", "31", "32"})
"""Cancel sources that are a condition of the order and nobody's wish."""
CANCEL_SOURCES: Mapping[str, str] = {
    "0": "cancelled by the venue",
    "1": "",
    "2": "reduce-only: not enough margin for it",
    "3": "liquidation",
    "6": "auto-deleveraging",
    "7": "delisted",
    "9": "insufficient balance after funding",
    "10": "expired",
    "13": "fill-or-kill could not be filled",
    "14": "the rest of an immediate-or-cancel order",
    "15": "its price is out of the venue's band",
    "17": "its position was closed at market",
    "20": "cancel-all-after",
    "21": "its position is gone",
    "22": "reduce-only: better orders reduce already",
    "23": "reduce-only: better orders reduce already",
    "27": "the counterparties' prices were too far apart",
    "31": "post-only would have taken",
    "32": "self-trade prevention",
    "33": "too many matches at once",
}
"""What they mean; a source that is missing is told by its number."""

ORIGINS: Mapping[str, Origin] = {
    "full_liquidation": Origin.LIQUIDATION,
    "partial_liquidation": Origin.LIQUIDATION,
    "adl": Origin.ADL,
    "delivery": Origin.SETTLEMENT,
}
"""An order's `category`."""
ORIGINS_OF_TRADES: Mapping[str, Origin] = {
    **dict.fromkeys(("100", "101", "102", "103", "104", "105", "106", "107"), Origin.LIQUIDATION),
    **dict.fromkeys(("125", "126", "127", "128"), Origin.ADL),
    **dict.fromkeys(("112", "113"), Origin.SETTLEMENT),
}
"""A trade's `subType`."""
