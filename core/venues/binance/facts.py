"""Binance USD-M as data: hosts, limits, costs and codes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from core.engine.ports import About, VenueTraits
from core.venues.errors import ErrorTable, Meaning, Silence
from core.venues.rate_counters import Limit
from core.venues.request_budget import TIGHTENINGS, Charge, Lane


class Hosts(Struct, frozen=True, kw_only=True):
    """Roots without a slash at the end. `wallet` tells what a key may do; "" = this environment has none."""

    rest: str
    stream: str
    wallet: str = ""


PRODUCTION = Hosts(
    rest="https://fapi.binance.com", stream="wss://fstream.binance.com", wallet="https://api.binance.com"
)
TESTNET = Hosts(rest="https://demo-fapi.binance.com", stream="wss://demo-fstream.binance.com")


def hosts_of(base_url: str | None, *, testnet: bool) -> Hosts:
    """An overridden root serves REST and sockets alike; ws follows http and wss follows https."""
    if base_url is None:
        return TESTNET if testnet else PRODUCTION
    root = base_url.rstrip("/")
    scheme, _, rest = root.partition("://")
    if scheme not in {"http", "https"} or not rest:
        raise ValueError("a venue's base URL starts with http:// or https:// and names a host")
    return Hosts(rest=root, stream=f"{'wss' if scheme == 'https' else 'ws'}://{rest}", wallet=root)


WEIGHT, ORDERS = "weight", "orders"
LIMITS = (
    Limit(bucket=WEIGHT, used_header="x-mbx-used-weight-1m", window_ms=60_000, capacity=2_400),
    Limit(bucket=ORDERS, used_header="x-mbx-order-count-10s", window_ms=10_000, capacity=300),
    Limit(bucket=ORDERS, used_header="x-mbx-order-count-1m", window_ms=60_000, capacity=1_200),
    Limit(bucket=TIGHTENINGS, window_ms=10_000, capacity=150, rolling=True),
)
"""The last is our own: half of the orders."""

_LETTERS = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}
_UNIT_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_KINDS = {"REQUEST_WEIGHT": (WEIGHT, "x-mbx-used-weight-"), "ORDERS": (ORDERS, "x-mbx-order-count-")}
_MOST = 1_000_000_000


def limits_told(rows: object) -> list[Limit]:
    """`rateLimits` of exchangeInfo; rows we do not understand are left out, our own figures stand for them (NET-04)."""
    told = []
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping):
            continue
        kind, unit, number, capacity = (row.get(k) for k in ("rateLimitType", "interval", "intervalNum", "limit"))
        known, unit_ms = _KINDS.get(str(kind)), _UNIT_MS.get(str(unit))
        if known is None or unit_ms is None:
            continue
        if isinstance(number, int) and isinstance(capacity, int) and 0 < number < _MOST and 0 < capacity < _MOST:
            (bucket, header), window_ms = known, number * unit_ms
            header = f"{header}{number}{_LETTERS[str(unit)]}"
            told.append(Limit(bucket=bucket, used_header=header, window_ms=window_ms, capacity=capacity))
    return told


TRAITS = VenueTraits(most_stops=200, native_trailing=True)
"""Conditional orders are of the account, not of the symbol, and cannot be amended (-4045 beyond that many)."""
CALLBACK_PERCENT = (Decimal("0.1"), Decimal(10))
"""Least and most a trailing order may let the price fall back."""
RECV_WINDOW_MS = 10_000
LISTEN_KEY_SECONDS = 25 * 60.0
"""A key lives 60 minutes; renewed well before the half of it is over twice (UDS-03)."""
CONNECTION_SECONDS = 23 * 3600.0
"""The venue drops a socket after 24 hours."""
ORDER_HISTORY_MS = 7 * 24 * 3600 * 1000
"""The longest window `userTrades` answers for."""

_ENTRY = Charge(lane=Lane.ENTRY, costs={ORDERS: 1}, promises={ORDERS: 1}, commands=True)
_PROTECT = Charge(lane=Lane.PROTECTION, costs={ORDERS: 1}, commands=True)
_CLOSE = Charge(lane=Lane.CLOSE, costs={ORDERS: 1}, commands=True)
_CHARGES: Mapping[tuple[str, str], tuple[Lane, int, int]] = {
    # (method, path): (lane, weight with symbol, weight without)
    ("DELETE", "order"): (Lane.CANCEL, 1, 1),
    ("DELETE", "algoOrder"): (Lane.CANCEL, 1, 1),
    ("GET", "order"): (Lane.CANCEL, 1, 1),
    ("GET", "algoOrder"): (Lane.CANCEL, 1, 1),
    ("GET", "allAlgoOrders"): (Lane.CANCEL, 5, 5),
    ("GET", "openAlgoOrders"): (Lane.CANCEL, 1, 40),
    ("GET", "openOrders"): (Lane.CANCEL, 1, 40),
    ("GET", "userTrades"): (Lane.CANCEL, 5, 5),
    ("GET", "positionRisk"): (Lane.CANCEL, 5, 5),
    ("GET", "income"): (Lane.DATA, 30, 30),
    ("GET", "account"): (Lane.CANCEL, 5, 5),
    ("GET", "accountConfig"): (Lane.DATA, 5, 5),
    ("GET", "symbolConfig"): (Lane.DATA, 5, 5),
    ("GET", "leverageBracket"): (Lane.DATA, 1, 1),
    ("GET", "ticker/bookTicker"): (Lane.DATA, 2, 5),
    ("POST", "leverage"): (Lane.ENTRY, 1, 1),
    ("POST", "marginType"): (Lane.ENTRY, 1, 1),
    ("GET", "premiumIndex"): (Lane.DATA, 1, 10),
    ("GET", "ticker/price"): (Lane.DATA, 1, 2),
    ("POST", "listenKey"): (Lane.PROTECTION, 1, 1),
    ("PUT", "listenKey"): (Lane.PROTECTION, 1, 1),
    ("GET", "time"): (Lane.PROTECTION, 1, 1),
}


def charge_of(method: str, path: str, params: Mapping[str, object], ccxt_cost: float) -> Charge:
    """What a request costs and which lane it takes. Looking up our own orders and positions ranks with cancels: it
    decides about protection. What the table does not know is data, at the cost ccxt has for it."""
    if method == "POST" and path == "algoOrder":
        return _PROTECT
    if method == "POST" and path == "order":
        return _CLOSE if is_closing(params) else _ENTRY
    known = _CHARGES.get((method, path))
    if known is None:
        return Charge(lane=Lane.DATA, costs={WEIGHT: max(1, round(ccxt_cost))})
    lane, with_symbol, without = known
    return Charge(
        lane=lane, costs={WEIGHT: with_symbol if "symbol" in params else without}, commands=method == "DELETE"
    )


def is_closing(params: Mapping[str, object]) -> bool:
    """Whether an order can only reduce: marked so, or against its own side in hedge mode."""
    if params.get("reduceOnly") == "true":
        return True
    return (params.get("positionSide"), params.get("side")) in {("LONG", "SELL"), ("SHORT", "BUY")}


def _table(meanings: Mapping[Meaning, str]) -> dict[str, Meaning]:
    return {code: meaning for meaning, codes in meanings.items() for code in codes.split()}


CODES = _table(
    {
        Meaning.DONE: "-4046 -4059 -4171 -5027",
        Meaning.UNAVAILABLE: "-1008 -1112",
        Meaning.MAINTENANCE: "-1016",
        Meaning.LIMITED: "-1003 -1015",
        Meaning.CLOCK: "-1021 -5028",
        Meaning.AUTH: "-1002 -1011 -1022 -1099 -1109 -2014 -2015 -2017",
        Meaning.RESTRICTED: "-4087 -4088 -4109 -4192 -4400 -4401",
        # -4116 says that the id is already there: our own earlier send arrived, so ask what became of it (ORD-03).
        Meaning.UNKNOWN: "-1000 -1001 -1006 -1007 -4083 -4116 -4117",
        Meaning.REFUSED: (
            "-1010 -1013 -1014 -1020 -1023 -1100 -1101 -1102 -1103 -1104 -1105 -1106 -1108 -1110 -1111 -1113 -1114 "
            "-1115 -1116 -1117 -1118 -1119 -1120 -1121 -1122 -1125 -1126 -1127 -1128 -1130 -1136 "
            "-2007 -2010 -2011 -2012 -2013 -2016 -2018 -2019 -2020 -2021 -2022 -2023 -2024 -2025 -2026 -2027 -2028 "
            "-4001 -4002 -4003 -4004 -4005 -4006 -4007 -4013 -4014 -4015 -4016 -4021 -4023 -4024 -4028 -4032 -4044 "
            "-4045 -4047 -4048 -4049 -4050 -4051 -4052 -4053 -4054 -4055 -4060 -4061 -4062 -4067 -4068 -4082 -4105 "
            "-4106 -4107 -4118 -4120 -4130 -4131 -4135 -4137 -4138 -4140 -4141 -4142 -4161 -4164 -4165 -4167 -4168 "
            "-4169 -4170 -4172 -4183 -4184 -4189 -4202 -4203 -4204 -4205 -4206 -4207 -4208 -4209 -4210 -4211 -4402 "
            "-4403 -4531 -5021 -5022 -5024 -5025 -5026 -5029 -5037 -5038 -5039 -5040 -5041 -5043 -5047"
        ),
    }
)
ERRORS = ErrorTable(
    venue="binance",
    codes=CODES,
    silences={"-1015": Silence(ms=10_000, calendar=True), "": Silence(ms=60_000, calendar=True)},
    statuses={418: Meaning.LIMITED, 429: Meaning.LIMITED},
    maintenance_pages=((503, "Service Unavailable"),),
    doubtful=frozenset({"-2015"}),
    remedies={
        "-4168": "switch the account to single-asset mode (futures preferences, asset mode), or set MARGIN_MODE=keep"
    },
)


def fault_in(body: object) -> tuple[str, str] | None:
    """Code and words of an error. A success may carry a `code` too: 200, as number or text (ORD-07); words alone are
    what a gateway says (503 "Service Unavailable.")."""
    if not isinstance(body, Mapping):
        return None
    code, words = body.get("code"), str(body.get("msg", ""))
    if code is None:
        return ("", words) if words else None
    return (str(code), words) if isinstance(code, int | str) and str(code).startswith("-") else None


NO_SUCH_ORDER = "-2013"
UNKNOWN_ORDER = "-2011"
NO_SUCH_LISTEN_KEY = "-1125"
WRONG_POSITION_SIDE = "-4061"
ABOUT: Mapping[str, About] = {
    code: about
    for about, codes in {
        About.WOULD_TRIGGER: "-2021 -4135 -4142",
        About.NOTHING_TO_REDUCE: "-2022",
        About.INSUFFICIENT_MARGIN: "-2018 -2019",
        About.POSITION_LIMIT: "-2027 -2028",
        About.ACCOUNT_RESTRICTED: "-2015 -4087 -4088 -4400 -4401",
        About.STALE_RULES: "-1013 -1111 -4003 -4004 -4005 -4013 -4014 -4023 -4164",
        About.NOT_TRADING: "-4140 -4141 -1121",
        About.PRICE_BAND: "-4016 -4024 -4131",
    }.items()
    for code in codes.split()
}
"""What a refusal changes for us; codes that are missing change nothing."""

EXPIRY_REASONS: Mapping[str, str] = {
    "1": "self-trade prevention",
    "2": "the rest of an immediate-or-cancel order",
    "3": "immediate-or-cancel and self-trade prevention",
    "4": "reduce-only: nothing left to reduce",
    "5": "liquidation",
    "6": "its position is gone",
    "7": "delisted",
    "8": "its stop order expired after triggering",
    "9": "market order: no more liquidity within the bound",
    "10": "fill-or-kill could not be filled",
    "11": "post-only would have taken",
}
