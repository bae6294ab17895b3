"""Puts OKX's client and streams together over one contract table, one budget and one clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from core.engine.ports import ReportSink, StreamState, VenueHealth
from core.redaction import Redactor
from core.venues import VenueAccess, VenueConnection
from core.venues.ccxt_loading import exchange_class
from core.venues.client import PortedExchange, Seam
from core.venues.departures import Withholding
from core.venues.health import HealthMonitor
from core.venues.login_gate import LoginGate
from core.venues.market_stream import MarketStream
from core.venues.okx import codes, facts, limits, signing
from core.venues.okx.client import OkxClient
from core.venues.okx.contracts import ContractTable
from core.venues.okx.margin import MarginBook
from core.venues.okx.market_feed import PriceRoute
from core.venues.okx.market_reads import OkxMarketReads
from core.venues.okx.user_feed import OkxUserFeed, UserFrames
from core.venues.request_budget import RequestBudget
from core.venues.user_stream import UserDataStreamManager
from core.venues.venue_clock import VenueClock

if TYPE_CHECKING:
    from core.clock import Clock
    from core.transport import Transport


def connect(  # noqa: PLR0913 - as connect_venue
    access: VenueAccess,
    *,
    clock: Clock,
    transport: Transport,
    sink: ReportSink,
    on_connected: Callable[[], Awaitable[None]],
    on_state: Callable[[StreamState], None],
    on_set_aside: Callable[[], None],
    on_health: Callable[[VenueHealth], None],
    on_refused: Callable[[str, int], None],
    workers: Executor | None,
) -> VenueConnection:
    """See `core.venues.connect_venue`."""
    hosts = facts.hosts_of(access.base_url, testnet=access.testnet)
    credentials = signing.Credentials(key=access.key, secret=access.secret, passphrase=access.passphrase)
    table, margin, venue_clock = ContractTable(), MarginBook(), VenueClock(clock)
    health = HealthMonitor(codes.ERRORS, clock, on_health)
    seam = Seam(
        http=transport.http,
        budget=RequestBudget(access.name, limits.LIMITS, clock, venue_ms=venue_clock.now_ms),
        clock=venue_clock,
        errors=codes.ERRORS,
        charge_of=limits.charge_of,
        fault_in=codes.fault_in,
        health=health,
        withholding=Withholding("clOrdId"),
        headers_of=_headers(hosts, venue_clock),
        redactor=Redactor((access.key, access.secret, access.passphrase)),
        workers=workers,
    )
    ccxt = _ported(hosts, credentials, seam)
    client = OkxClient(ccxt, table, margin, clock, venue_clock)
    gate = LoginGate(codes.ERRORS, health, client.measure_clock)
    feed = OkxUserFeed(hosts.stream, credentials, UserFrames(table, margin), venue_clock, gate)
    return VenueConnection(
        client=client,
        headroom=seam.budget.headroom,
        waiting=seam.budget.waiting,
        reads=OkxMarketReads(ccxt, table, venue_clock, client.measure_clock),
        user_stream=UserDataStreamManager(
            feed,
            transport.socket,
            clock,
            sink,
            on_connected=on_connected,
            on_state=on_state,
            on_set_aside=on_set_aside,
            on_refused=on_refused,
        ),
        market=MarketStream(access.name, [PriceRoute(hosts.stream, table)], transport.socket, clock),
    )


def _headers(hosts: facts.Hosts, clock: VenueClock) -> Callable[[str, str], Mapping[str, str]]:
    environment = {"x-simulated-trading": "1"} if hosts.simulated else {}

    def headers(method: str, path: str) -> Mapping[str, str]:
        if method != "POST" or path not in signing.EXPIRING:
            return environment
        return environment | {"expTime": str(clock.now_ms() + facts.EXPIRY_MS)}

    return headers


class _OwnSigning:
    """In front of ccxt's class: its own signing puts a broker's ids into orders."""

    seam: Seam
    hosts: facts.Hosts
    credentials: signing.Credentials

    def sign(self, path: str, api: Any, method: str, params: Any) -> dict[str, Any]:
        credentials = self.credentials if "private" in api else None
        signed = signing.request(path, method, params, credentials=credentials, now_ms=self.seam.clock.now_ms())
        return {
            "url": self.hosts.rest + signed.path,
            "method": method,
            "headers": signed.headers,
            "body": signed.body,
        }


def _ported(hosts: facts.Hosts, credentials: signing.Credentials, seam: Seam) -> Any:
    """ccxt's okx behind our seam; it names the endpoints and reads markets."""
    base = exchange_class("okx")
    parts = {"seam": seam, "hosts": hosts, "credentials": credentials}
    exchange = type("PortedOkx", (_OwnSigning, PortedExchange, base), parts)({"enableRateLimit": False})
    exchange.number = str
    return exchange
