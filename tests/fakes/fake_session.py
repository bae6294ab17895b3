"""A private socket that is live as soon as it is open, as Binance's is: its URL says everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.domain.reports import Report
from core.venues.private_session import Notice


class UrlSession:
    name = "url"
    topics: Sequence[str] = ()
    pictured: frozenset[str] = frozenset()
    ping = None

    def __init__(self, url: str, decode: Callable[[bytes], Sequence[Report] | None]) -> None:
        self.url, self._decode = url, decode

    def login(self) -> str | None:
        return None

    def subscription(self) -> Sequence[str]:
        return ()

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        return self._decode(frame)
