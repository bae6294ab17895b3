"""One table says where requests go, per environment; nothing of ccxt's own table is left in use (CFG-09)."""

import pytest

from core.domain.ids import VenueName
from core.engine.ports import VenueClient
from core.errors import Unreachable, VenueError
from core.transport import HttpResponse, Transport
from core.venues import VenueAccess, connect_venue
from core.venues.binance import facts
from core.venues.bybit import facts as bybit
from core.venues.okx import facts as okx
from tests.fakes.virtual_loop import VirtualClock


class Recorder:
    """Refuses everything and remembers where it was to go."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request(self, method: str, url: str, headers: object, body: bytes | None = None) -> HttpResponse:
        del headers, body
        self.asked.append(f"{method} {url}")
        raise Unreachable("binance", "recorded")

    async def close(self) -> None: ...


async def _nobody(reports: object) -> None:
    del reports


async def _nothing() -> None: ...


def _client(http: Recorder, venue: VenueName = VenueName.BINANCE, **where: object) -> VenueClient:
    access = VenueAccess(name=venue, key="k", secret="s", passphrase="p", **where)  # type: ignore[arg-type]
    transport = Transport(http=http, socket=lambda: pytest.fail("no socket is opened"))
    return connect_venue(access, clock=VirtualClock(), transport=transport, sink=_nobody, on_connected=_nothing).client


LOCAL = "http://127.0.0.1:9"


@pytest.mark.failure("CFG-09")
@pytest.mark.parametrize(
    ("venue", "where", "roots"),
    [
        (VenueName.BINANCE, {}, (facts.PRODUCTION.rest, facts.PRODUCTION.wallet)),
        (VenueName.BINANCE, {"testnet": True}, (facts.TESTNET.rest,)),
        (VenueName.BYBIT, {}, (bybit.PRODUCTION.rest,)),
        (VenueName.BYBIT, {"testnet": True}, (bybit.TESTNET.rest,)),
        (VenueName.OKX, {}, (okx.hosts_of(None, testnet=False).rest,)),
        (VenueName.OKX, {"testnet": True}, (okx.hosts_of(None, testnet=True).rest,)),
        *((venue, {"base_url": LOCAL, "testnet": True}, (LOCAL,)) for venue in VenueName),
    ],
)
async def test_every_request_goes_to_the_hosts_of_its_environment(
    venue: VenueName, where: dict[str, object], roots: tuple[str, ...]
) -> None:
    http = Recorder()
    client = _client(http, venue, **where)
    calls = (client.measure_clock, client.load_instruments, client.balances, client.account_settings, client.key_rights)
    for call in calls:
        try:
            await call()
        except VenueError:
            continue
    assert len(http.asked) >= len(calls) - 1
    assert [asked for asked in http.asked if not asked.partition(" ")[2].startswith(roots)] == []


@pytest.mark.failure("CFG-09")
def test_environments_do_not_share_a_host() -> None:
    production, testnet = facts.hosts_of(None, testnet=False), facts.hosts_of(None, testnet=True)
    assert {production.rest, production.stream, production.wallet}.isdisjoint({testnet.rest, testnet.stream})
    assert testnet.wallet == "", "the test environment does not tell rights, and production is not asked instead"
