"""A read that got nonsense raises what every caller in the engine handles, and nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from core.clock import SystemClock
from core.domain.ids import VenueName
from core.domain.reports import Report
from core.engine.ports import VenueClient
from core.errors import Unreachable
from core.transport import HttpResponse, Transport
from core.venues import VenueAccess, connect_venue
from core.venues.bybit.codes import ERRORS
from tests.builders import BTC
from tests.fakes.fake_socket import FakeSocket


class _Nonsense:
    """Answers every request with valid JSON of no meaning."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        return HttpResponse(status=200, headers={}, body=b'{"x":1}')

    async def close(self) -> None: ...


async def _sink(reports: Sequence[Report]) -> None: ...


async def _connected() -> None: ...


def _client() -> VenueClient:
    access = VenueAccess(name=VenueName.BINANCE, key="k", secret="s", base_url="http://127.0.0.1:1")
    transport = Transport(http=_Nonsense(), socket=lambda: FakeSocket([]))
    return connect_venue(access, clock=SystemClock(), transport=transport, sink=_sink, on_connected=_connected).client


READS: Mapping[str, Callable[[VenueClient], Awaitable[object]]] = {
    "open": lambda client: client.open(),
    "positions": lambda client: client.positions(),
    "balances": lambda client: client.balances(),
    "mass status": lambda client: client.mass_status(),
    "account settings": lambda client: client.account_settings(),
}


@pytest.mark.parametrize("read", READS)
async def test_an_answer_that_makes_no_sense_is_a_venue_error(read: str) -> None:
    with pytest.raises(Unreachable, match="unreadable answer"):
        await READS[read](_client())


async def test_instruments_stay_unknown_after_nonsense() -> None:
    client = _client()
    with pytest.raises(Unreachable):
        await client.open()
    assert BTC.symbol not in client.instruments


def test_a_web_page_is_told_by_its_words() -> None:
    page = "<html><head><title>503</title><style>body{color:red}</style></head><body>Service\nUnavailable</body></html>"
    error = ERRORS.error(503, "", page, venue_ms=0)
    assert str(error) == f"{ERRORS.venue}: a web page: 503 Service Unavailable (HTTP 503)"
