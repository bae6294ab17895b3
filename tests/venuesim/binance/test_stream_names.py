"""Every path form clients connect with, and which stream a route really pushes."""

from __future__ import annotations

import pytest

from tools.venuesim.binance.stream_names import SocketTarget, parse_stream, parse_target, pushes

KEY = "k" * 64


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/public/ws/0", "", SocketTarget("public", False, (), (), None)),
        ("/market/ws/a@aggTrade/b@aggTrade", "", SocketTarget("market", False, ("a@aggTrade", "b@aggTrade"), (), None)),
        ("/market/stream", "streams=a/b", SocketTarget("market", True, ("a", "b"), (), None)),
        (f"/private/ws/{KEY}", "", SocketTarget("private", False, (), (KEY,), None)),
        ("/private/ws", f"listenKey={KEY}", SocketTarget("private", False, (), (KEY,), None)),
        ("/private/ws/", f"listenKey={KEY}", SocketTarget("private", False, (), (KEY,), None)),
        (
            "/private/stream",
            f"listenKey={KEY}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE",
            SocketTarget("private", True, (), (KEY,), frozenset({"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"})),
        ),
        (f"/ws/{KEY}", "", SocketTarget("legacy", False, (), (KEY,), None)),
        ("/ws/btcusdt@bookTicker/", "", SocketTarget("legacy", False, ("btcusdt@bookTicker",), (), None)),
        ("/stream", f"streams={KEY}", SocketTarget("legacy", True, (), (KEY,), None)),
        ("/ws-fapi/v1", "", SocketTarget("api", False, (), (), None)),
        ("/somewhere", "", None),
    ],
)
def test_path_forms_are_understood(path: str, query: str, target: SocketTarget | None) -> None:
    assert parse_target(path, query) == target


@pytest.mark.parametrize(
    ("name", "route", "kind", "symbol", "detail"),
    [
        ("btcusdt@bookTicker", "public", "bookTicker", "BTCUSDT", None),
        ("!bookTicker", "public", "bookTicker", None, None),
        ("btcusdt@depth5@100ms", "public", "partialDepth", "BTCUSDT", "5"),
        ("btcusdt@depth@100ms", "public", "depth", "BTCUSDT", None),
        ("btcusdt@markPrice@1s", "market", "markPrice", "BTCUSDT", "1s"),
        ("!markPrice@arr@1s", "market", "markPriceArray", None, "1s"),
        ("btcusdt@kline_1m", "market", "kline", "BTCUSDT", "1m"),
    ],
)
def test_stream_names_are_understood(name: str, route: str, kind: str, symbol: str | None, detail: str | None) -> None:
    stream = parse_stream(name)
    assert stream is not None
    assert (stream.route, stream.kind, stream.symbol, stream.detail) == (route, kind, symbol, detail)


def test_unknown_names_are_no_stream() -> None:
    assert parse_stream("btcusdt@nothing") is None


def test_a_path_without_route_pushes_public_streams_only() -> None:
    assert pushes("legacy", "public")
    assert not pushes("legacy", "market")
    assert not pushes("public", "market")
    assert pushes("market", "market")
