"""Puts Bybit's client and streams together over one symbol table, one budget and one clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from core.engine.ports import ReportSink, StreamState, VenueHealth
from core.redaction import Redactor
from core.venues import VenueAccess, VenueConnection
from core.venues.bybit import facts
from core.venues.bybit.account import Credentials, fresh_account
from core.venues.bybit.client import BybitClient
from core.venues.bybit.codes import ERRORS, fault_in
from core.venues.bybit.limits import LIMITS, charge_of
from core.venues.bybit.market_feed import TickerRoute
from core.venues.bybit.market_reads import BybitMarketReads
from core.venues.bybit.user_feed import BybitUserFeed, UserFrames
from core.venues.ccxt_loading import exchange_class
from core.venues.client import PortedExchange, Seam
from core.venues.departures import Withholding
from core.venues.health import HealthMonitor
from core.venues.login_gate import LoginGate
from core.venues.market_stream import MarketStream
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
    account, venue_clock = fresh_account(), VenueClock(clock)
    health = HealthMonitor(ERRORS, clock, on_health)
    seam = Seam(
        http=transport.http,
        budget=RequestBudget(access.name, LIMITS, clock, venue_ms=venue_clock.now_ms),
        clock=venue_clock,
        errors=ERRORS,
        charge_of=charge_of,
        fault_in=fault_in,
        health=health,
        withholding=Withholding("orderLinkId", rows_field="request"),
        redactor=Redactor((access.key, access.secret, access.passphrase)),
        workers=workers,
    )
    ccxt = _ported(access, hosts, seam)
    client = BybitClient(ccxt, account, clock, venue_clock, reads_tiers=not access.only_closes)
    feed = BybitUserFeed(
        hosts.stream,
        Credentials(key=access.key, secret=access.secret),
        UserFrames(account),
        venue_clock,
        LoginGate(ERRORS, health, client.measure_clock),
    )
    return VenueConnection(
        client=client,
        headroom=seam.budget.headroom,
        waiting=seam.budget.waiting,
        reads=BybitMarketReads(ccxt, account.symbols, venue_clock, client.measure_clock),
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
        market=MarketStream(access.name, [TickerRoute(hosts.stream, account.symbols)], transport.socket, clock),
    )


class _AsSent(PortedExchange):
    """ccxt's own signing names a broker in every order, and signs queries before they are quoted."""

    def sign(self, path: str, api: Any, method: str, params: Any) -> dict[str, Any]:
        signed = super().sign(path, api, method, params)
        return signed | {"headers": {k: v for k, v in (signed["headers"] or {}).items() if k != "Referer"}}

    @staticmethod
    def rawencode(params: Mapping[str, Any], *_: object) -> str:
        """A cursor is quoted already, as the venue told it; sorted or not is all the same to it."""
        return "&".join(
            f"{name}={value if name == 'cursor' else quote(str(value), safe='')}" for name, value in params.items()
        )


def _ported(access: VenueAccess, hosts: facts.Hosts, seam: Seam) -> Any:
    """ccxt's bybit behind our seam. Its addresses are set from `hosts`; nothing outside /v5 is ever asked."""
    ported = type("PortedBybit", (_AsSent, exchange_class("bybit")), {"seam": seam})
    exchange = ported(
        {
            "apiKey": access.key,
            "secret": access.secret,
            "enableRateLimit": False,
            "options": {"recvWindow": facts.RECV_WINDOW_MS},
        }
    )
    for name in ("public", "private"):
        exchange.urls["api"][name] = hosts.rest
    return exchange
