"""Socket paths and stream names: what a connection asked for, and which route really pushes it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from msgspec import Struct

_LISTEN_KEY = re.compile(r"^[A-Za-z0-9]{64}$")
_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("public", "bookTicker", re.compile(r"^(?P<symbol>[a-z0-9_]+)@bookTicker$")),
    ("public", "bookTicker", re.compile(r"^!bookTicker$")),
    ("public", "partialDepth", re.compile(r"^(?P<symbol>[a-z0-9_]+)@depth(?P<detail>5|10|20)(@(100|250|500)ms)?$")),
    ("public", "depth", re.compile(r"^(?P<symbol>[a-z0-9_]+)@depth(@(100|250|500)ms)?$")),
    # Not documented, but it works on this route and ccxt uses it.
    ("public", "trade", re.compile(r"^(?P<symbol>[a-z0-9_]+)@trade$")),
    ("market", "aggTrade", re.compile(r"^(?P<symbol>[a-z0-9_]+)@aggTrade$")),
    ("market", "markPrice", re.compile(r"^(?P<symbol>[a-z0-9_]+)@markPrice(@(?P<detail>1s|3s))?$")),
    ("market", "markPriceArray", re.compile(r"^!markPrice@arr(@(?P<detail>1s|3s))?$")),
    ("market", "kline", re.compile(r"^(?P<symbol>[a-z0-9_]+)@kline_(?P<detail>\d+[mhdwM])$")),
    ("market", "miniTicker", re.compile(r"^(?P<symbol>[a-z0-9_]+)@miniTicker$")),
    ("market", "miniTickerArray", re.compile(r"^!miniTicker@arr$")),
    ("market", "ticker", re.compile(r"^(?P<symbol>[a-z0-9_]+)@ticker$")),
    ("market", "forceOrder", re.compile(r"^(?P<symbol>[a-z0-9_]+)@forceOrder$")),
    ("market", "forceOrder", re.compile(r"^!forceOrder@arr$")),
    ("market", "contractInfo", re.compile(r"^!contractInfo$")),
    ("market", "tickerArray", re.compile(r"^!ticker@arr$")),
)


class Stream(Struct, frozen=True):
    """One market stream. `symbol` is None for all-symbol streams; `detail` is an interval, depth or pace."""

    name: str
    route: str
    kind: str
    symbol: str | None
    detail: str | None


class SocketTarget(Struct, frozen=True):
    """What the path of a connection says. `route` is public, market, private, api, or legacy (no route given)."""

    route: str
    combined: bool
    names: tuple[str, ...]
    listen_keys: tuple[str, ...]
    events: frozenset[str] | None


def parse_stream(name: str) -> Stream | None:
    """The stream a name stands for; None for names the venue acknowledges but never pushes."""
    for route, kind, pattern in _PATTERNS:
        match = pattern.match(name)
        if match:
            groups = match.groupdict()
            symbol = groups.get("symbol")
            return Stream(name, route, kind, symbol.upper() if symbol else None, groups.get("detail"))
    return None


def is_listen_key(name: str) -> bool:
    """Whether a name has the form of a listenKey."""
    return _LISTEN_KEY.match(name) is not None


def pushes(target_route: str, stream_route: str) -> bool:
    """Wrong-route subscriptions are silent; a path without a route pushes only public streams since 2026-04-23."""
    return target_route == stream_route or (target_route == "legacy" and stream_route == "public")


def parse_target(path: str, query: str) -> SocketTarget | None:
    """Reads every path form clients use; None for a path that is no socket of this venue."""
    parts = [unquote(part) for part in path.split("/") if part]
    if parts[:1] == ["ws-fapi"]:
        return SocketTarget("api", combined=False, names=(), listen_keys=(), events=None)
    route = "legacy"
    if parts and parts[0] in ("public", "market", "private"):
        route = parts.pop(0)
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    combined = parts.pop(0) == "stream"
    names = list(parts)
    keys: list[str] = []
    events: set[str] = set()
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == "streams":
            names += [name for name in unquote(value).split("/") if name]
        elif key == "listenKey" and value:
            keys.append(value)
        elif key == "events":
            events.update(event for event in unquote(value).split("/") if event)
    keys += [name for name in names if is_listen_key(name)]
    # A bare number at the end is ccxt's own connection number, not a stream.
    streams = tuple(name for name in names if not is_listen_key(name) and not name.isdecimal())
    return SocketTarget(route, combined, streams, tuple(keys), frozenset(events) or None)
