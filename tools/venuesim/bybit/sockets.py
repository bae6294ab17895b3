"""Which socket stands behind which address."""

from __future__ import annotations

from tools.venuesim.bybit.connection import idle_limit_ms
from tools.venuesim.bybit.market_streams import MarketStreams
from tools.venuesim.bybit.private_socket import PrivateSocket, UserStreams
from tools.venuesim.bybit.public_socket import PublicSocket
from tools.venuesim.bybit.trade_socket import Endpoints, TradeSocket
from tools.venuesim.wire import Host, Outbox, Response, StreamSession

PUBLIC = {f"/v5/public/{name}": name for name in ("linear", "inverse", "spot", "option", "misc/status")}


class Sockets:
    """Opens them, and ends those that are logged in when their key is taken away."""

    def __init__(self, host: Host, markets: MarketStreams, users: UserStreams, endpoints: Endpoints) -> None:
        self._host = host
        self._markets = markets
        self._users = users
        self._endpoints = endpoints
        self._names = host.rng("bybit/connections")
        self._trading: list[TradeSocket] = []

    def open(self, path: str, query: str, outbox: Outbox) -> StreamSession | Response:
        """404 for an address that is no socket of this venue."""
        category = PUBLIC.get(path.rstrip("/"))
        if category is not None:
            return PublicSocket(self._host, outbox, self._markets, category, self._names)
        limit_ms = idle_limit_ms(query)
        match path.rstrip("/"):
            case "/v5/private":
                return PrivateSocket(self._host, outbox, self._users, self._endpoints, limit_ms, self._names)
            case "/v5/trade":
                return self._open_trade(outbox, limit_ms)
            case _:
                return Response(status=404)

    def revoke(self) -> None:
        """The key is no longer valid: sessions that were logged in with it end."""
        self._users.revoke()
        for socket in list(self._trading):
            socket.revoke()

    def _open_trade(self, outbox: Outbox, limit_ms: int) -> TradeSocket:
        socket = TradeSocket(self._host, outbox, self._endpoints, limit_ms, self._names, self._trading.remove)
        self._trading.append(socket)
        return socket
