"""The listenKey endpoints and the announcement of its end."""

from __future__ import annotations

from tools.venuesim.binance.listen_keys import ListenKeys
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.sockets import UserStreams
from tools.venuesim.binance.user_frames import UserFrames
from tools.venuesim.wire import Host, Lane, Timer


class SessionEndpoints:
    """Handlers for /fapi/v1/listenKey; they need the API key but no signature."""

    def __init__(self, host: Host, keys: ListenKeys, users: UserStreams, frames: UserFrames) -> None:
        self._host = host
        self._keys = keys
        self._users = users
        self._frames = frames
        self._timer: Timer | None = None

    def routes(self) -> Routes:
        """This part of the API."""
        path = "/fapi/v1/listenKey"
        return {
            ("POST", path): Route(self.create, Lane.SESSION, Security.KEY),
            ("PUT", path): Route(self.extend, Lane.SESSION, Security.KEY),
            ("DELETE", path): Route(self.close, Lane.SESSION, Security.KEY),
        }

    def create(self, _: Params) -> object:
        """POST: the active key, extended, or a new one."""
        key = self._keys.create(self._host.now_ms())
        self._wait_for_end()
        return {"listenKey": key}

    def extend(self, _: Params) -> object:
        """PUT: another 60 minutes; parameters are not needed."""
        key = self._keys.extend(self._host.now_ms())
        self._wait_for_end()
        return {"listenKey": key}

    def close(self, _: Params) -> object:
        """DELETE: the stream ends for everyone who shares the key."""
        self._keys.close(self._host.now_ms())
        return {}

    def check(self) -> None:
        """Announces the key's end when its time is over; cheap enough for every request."""
        key = self._keys.overdue(self._host.now_ms())
        if key is not None:
            self._announce(key)

    def expire_now(self) -> None:
        """Ends the active key, if there is one, as if its hour were over."""
        if self._keys.active(self._host.now_ms()):
            self._announce(self._keys.close(self._host.now_ms()))

    def _announce(self, key: str) -> None:
        self._users.end(key, self._frames.expired_key(key, self._host.now_ms()))

    def _wait_for_end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        expires_ms = self._keys.expires_ms
        if expires_ms is not None:
            self._timer = self._host.call_later(expires_ms - self._host.now_ms(), self.check)
