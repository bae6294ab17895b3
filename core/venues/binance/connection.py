"""Puts Binance's client and streams together over one symbol table, one budget and one clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from core.engine.ports import ReportSink, StreamState, VenueHealth
from core.redaction import Redactor
from core.venues import VenueAccess, VenueConnection
from core.venues.binance import facts
from core.venues.binance.client import BinanceClient
from core.venues.binance.market_feed import MarkRoute, TouchRoute, TradeRoute
from core.venues.binance.market_reads import BinanceMarketReads
from core.venues.binance.user_feed import BinanceUserFeed
from core.venues.ccxt_loading import exchange_class
from core.venues.client import PortedExchange, Seam
from core.venues.departures import Withholding
from core.venues.health import HealthMonitor
from core.venues.market_stream import MarketStream, PublicRoute
from core.venues.request_budget import RequestBudget
from core.venues.symbols import SymbolTable
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
    symbols, venue_clock = SymbolTable(), VenueClock(clock)
    seam = Seam(
        http=transport.http,
        budget=RequestBudget(access.name, facts.LIMITS, clock, venue_ms=venue_clock.now_ms),
        clock=venue_clock,
        errors=facts.ERRORS,
        charge_of=facts.charge_of,
        fault_in=facts.fault_in,
        health=HealthMonitor(facts.ERRORS, clock, on_health),
        withholding=Withholding("newClientOrderId"),
        redactor=Redactor((access.key, access.secret, access.passphrase)),
        workers=workers,
    )
    ccxt = _ported(access, hosts, seam)
    feed = BinanceUserFeed(ccxt, hosts.stream, symbols)
    client = BinanceClient(ccxt, symbols, clock, venue_clock, tells_rights=bool(hosts.wallet))
    reads = BinanceMarketReads(ccxt, symbols, venue_clock, client.measure_clock)
    routes: list[PublicRoute] = [MarkRoute(hosts.stream, symbols), TouchRoute(hosts.stream, symbols, reads.touch_ticks)]
    if access.trades:
        routes.append(TradeRoute(hosts.stream, symbols))
    return VenueConnection(
        client=client,
        headroom=seam.budget.headroom,
        waiting=seam.budget.waiting,
        reads=reads,
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
        market=MarketStream(access.name, routes, transport.socket, clock),
    )


def _ported(access: VenueAccess, hosts: facts.Hosts, seam: Seam) -> Any:
    """ccxt's binanceusdm behind our seam. Its addresses are set from `hosts`; nothing outside /fapi is ever asked, but
    what the key may do."""
    base = exchange_class("binanceusdm")
    ported = type("PortedBinance", (PortedExchange, base), {"seam": seam})
    exchange = ported(
        {
            "apiKey": access.key,
            "secret": access.secret,
            "enableRateLimit": False,
            "options": {
                "defaultType": "swap",
                "fetchCurrencies": False,
                "fetchMarkets": {"types": ["linear"]},
                "recvWindow": facts.RECV_WINDOW_MS,
                "warnOnFetchOpenOrdersWithoutSymbol": False,
            },
        }
    )
    exchange.number = str
    for name, url in dict(exchange.urls["api"]).items():
        if isinstance(url, str) and name.startswith("fapi"):
            version = url.rstrip("/").rpartition("/")[2]
            root = f"{hosts.rest}/futures/data" if name == "fapiData" else f"{hosts.rest}/fapi/{version}"
            exchange.urls["api"][name] = root
    exchange.urls["api"]["sapi"] = f"{hosts.wallet}/sapi/v1"
    return exchange
