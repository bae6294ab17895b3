"""The owner of the account, with a program of their own beside the daemon: signed requests, foreign client ids."""

from __future__ import annotations

import hmac
import json
from typing import Any
from urllib.parse import urlencode

from core.clock import Clock
from core.transport import Http
from tests.fakes.sim_transport import Line, SimHttp
from tests.scenarios.worlds import SimulatedWorld


class Owner:
    """`url` is the venue's root; time stamps come from `clock`, which must be the venue's."""

    def __init__(self, http: Http, url: str, clock: Clock) -> None:
        self._http, self._url, self._clock = http, url, clock
        self._orders = 0

    async def call(self, method: str, path: str, **params: str) -> Any:
        """The decoded answer; a refusal is an AssertionError."""
        query = urlencode({**params, "timestamp": str(self._clock.now_ms())})
        signature = hmac.new(b"sim", query.encode(), "sha256").hexdigest()
        url = f"{self._url}{path}?{query}&signature={signature}"
        answer = await self._http.request(method, url, {"X-MBX-APIKEY": "sim"})
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    async def trade(self, symbol: str, side: str, quantity: str, **params: str) -> None:
        """A market order under a client id of a phone's shape."""
        self._orders += 1
        own = {"type": "MARKET", "newClientOrderId": f"android_{self._orders}"}
        await self.call("POST", "/fapi/v1/order", symbol=symbol, side=side, quantity=quantity, **{**own, **params})


def the_owner(world: SimulatedWorld) -> Owner:
    """With a line of their own to the simulated venue."""
    return Owner(SimHttp(Line(world.venue)), world.url, world.clock)
