"""Puts the Binance adapter together. Importing this loads ccxt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from core.venues.binance import facts
from core.venues.binance.client import BinanceClient
from core.venues.binance.market_feed import BinanceMarketFeed
from core.venues.binance.user_feed import BinanceUserFeed
from core.venues.ccxt_loading import exchange_class
from core.venues.client import PortedExchange, Seam, VenueClock
from core.venues.connection import VenueAccess, VenueConnection
from core.venues.market_stream import MarketStreams
from core.venues.reconnecting import Backoff, system_jitter
from core.venues.request_budget import RequestBudget
from core.venues.symbols import SymbolTable
from core.venues.user_stream import UserDataStreamManager

if TYPE_CHECKING:
    from core.clock import Clock
    from core.engine.ports import ReportSink, StreamState
    from core.transport import Transport


def connect_binance(
    access: VenueAccess,
    *,
    clock: Clock,
    transport: Transport,
    sink: ReportSink,
    on_connected: Callable[[], Awaitable[None]],
    on_state: Callable[[StreamState], None],
    jitter: Callable[[], float] = system_jitter,
) -> VenueConnection:
    """Connects nothing yet. Raises ValueError for an unusable base URL."""
    hosts = facts.hosts_of(access.base_url, testnet=access.testnet)
    symbols, venue_clock = SymbolTable(), VenueClock(clock)
    seam = Seam(
        http=transport.http,
        budget=RequestBudget(access.name, facts.LIMITS, clock, venue_ms=venue_clock.now_ms),
        clock=venue_clock,
        errors=facts.ERRORS,
        charge_of=facts.charge_of,
    )
    ccxt = ported_binance(access, hosts, seam)
    return VenueConnection(
        client=BinanceClient(ccxt, symbols, clock, venue_clock),
        user_stream=UserDataStreamManager(
            BinanceUserFeed(ccxt, hosts.stream, symbols),
            transport.socket,
            clock,
            sink,
            on_connected=on_connected,
            on_state=on_state,
            backoff=Backoff(jitter),
        ),
        market=MarketStreams(
            BinanceMarketFeed(hosts.stream, symbols), transport.socket, clock, backoff=lambda: Backoff(jitter)
        ),
    )


def ported_binance(access: VenueAccess, hosts: facts.Hosts, seam: Seam) -> Any:
    """ccxt's binanceusdm over our seam, asking the futures host and nothing else."""
    ported = type("BinanceUsdm", (PortedExchange, exchange_class("binanceusdm")), {})
    exchange = ported(
        {
            "apiKey": access.key,
            "secret": access.secret,
            "number": str,  # prices stay text until our parser makes Decimals of them
            "has": {"fetchCurrencies": False},  # it would ask a spot host
            "options": {"recvWindow": facts.RECV_WINDOW_MS, "fetchMarkets": {"types": ["linear"]}},
        }
    )
    exchange.seam = seam
    roots = {"": "v1", "V2": "v2", "V3": "v3"}
    exchange.urls["api"] = {
        f"fapi{side}{suffix}": f"{hosts.rest}/fapi/{version}"
        for side in ("Public", "Private")
        for suffix, version in roots.items()
    } | {"fapiData": f"{hosts.rest}/futures/data"}
    return exchange
