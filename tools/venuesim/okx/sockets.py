"""Which socket stands behind which address, and how many may be opened at a time."""

from __future__ import annotations

from collections import deque

from tools.venuesim.okx.channels import Place
from tools.venuesim.okx.errors import page
from tools.venuesim.okx.market_streams import MarketStreams
from tools.venuesim.okx.order_commands import Endpoints
from tools.venuesim.okx.private_streams import UserStreams
from tools.venuesim.okx.session import Session, Surroundings
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.wire import Host, Outbox, Response, StreamSession

ADDRESSES = {f"/ws/v5/{place}": place for place in Place}
CONNECTIONS_PER_SECOND = 3
_SECOND_MS = 1_000


class Sockets:
    """Opens them, and ends those that are logged in when their key is taken away."""

    def __init__(
        self, host: Host, table: SymbolTable, markets: MarketStreams, users: UserStreams, endpoints: Endpoints
    ) -> None:
        self._host = host
        names = host.rng("okx/connections")
        self._surroundings = Surroundings(table=table, markets=markets, users=users, endpoints=endpoints, names=names)
        self._opened: deque[int] = deque()
        self._sessions: list[Session] = []

    def open(self, path: str, query: str, outbox: Outbox) -> StreamSession | Response:  # noqa: ARG002 - the seam's signature
        """404 for an address that is no socket of this venue, 429 for the fourth within a second."""
        place = ADDRESSES.get(path.rstrip("/"))
        if place is None:
            return page(404, "Not Found")
        now_ms = self._host.now_ms()
        while self._opened and not now_ms - _SECOND_MS < self._opened[0] <= now_ms:
            self._opened.popleft()
        if len(self._opened) >= CONNECTIONS_PER_SECOND:
            return page(429, "Too Many Requests")
        self._opened.append(now_ms)
        session = Session(self._host, outbox, place, self._surroundings, self._sessions.remove)
        self._sessions.append(session)
        return session

    def revoke(self) -> None:
        """The key is no longer valid: sessions that were logged in with it end."""
        for session in list(self._sessions):
            session.revoke()
