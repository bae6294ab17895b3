"""How unmodified ccxt is pointed at each venue's simulator, and what it spells differently from venue to venue.

Scheme and host of base URLs are replaced and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import ccxt.async_support
import ccxt.pro

from tests.contract.simulator import Venue

BTC = "BTC/USDT:USDT"
ETH_USDC = "ETH/USDC:USDC"
TRIGGER: Mapping[str, Any] = {"trigger": True}


class Point(Protocol):
    def __call__(self, urls: Any, venue: Venue) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """One venue as ccxt sees it; amounts in ccxt's unit, which on OKX is the contract."""

    name: str
    point: Point
    venue_symbol: str
    """What the venue calls ``BTC``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    password: str | None = None
    lot: float = 0.02
    """An amount worth about 1,500 USDT that can be halved."""
    base: float = 0.02
    """The same in base units."""
    stop_is: str = "stopLossPrice"
    """The parameter that makes an order the stop-loss of a position."""
    stop_params: Mapping[str, Any] = field(default_factory=dict)
    waiting: Mapping[str, Any] = field(default_factory=lambda: TRIGGER)
    """What asks for the orders that wait for a trigger."""
    attaches: bool = True
    """An entry can bring its stop."""
    moves_stop: str | None = "market"
    """The order type that ``edit_order`` wants for a waiting stop; None: it cannot be amended."""
    moved_is: str = "triggerPrice"
    move_params: Mapping[str, Any] = field(default_factory=dict)
    answers_in_full: bool = False
    """A placed order comes back with status and fill; otherwise only with its id."""
    fetch_params: Mapping[str, Any] = field(default_factory=dict)
    account_margin_mode: bool = False
    long_stop: Mapping[str, Any] = field(default_factory=dict)
    """What makes a stop that of the long side in hedge mode."""
    trailing: Mapping[str, Any] = field(default_factory=dict)
    """The parameters of a trailing stop about 1 % away."""
    subscriptions: int = 0
    """How many commands the private channels of orders, fills, positions and the balance take, logins included."""

    def client(self, venue: Venue) -> Any:
        """For REST."""
        return self._pointed(ccxt.async_support, venue)

    def watcher(self, venue: Venue) -> Any:
        """For REST and sockets."""
        return self._pointed(ccxt.pro, venue)

    def _pointed(self, module: Any, venue: Venue) -> Any:
        # Its pace and its patience at the end are for the real venue; waiting for them would be most of a test.
        config: dict[str, Any] = {"enableRateLimit": False, "timeout_on_exit": 0, "options": dict(self.options)}
        config |= {"apiKey": "sim", "secret": "sim", "password": self.password}
        client = getattr(module, self.name)(config)
        self.point(client.urls["api"], venue)
        return client


def _binance(urls: Any, venue: Venue) -> None:
    for name, url in urls.items():
        if isinstance(url, str):
            urls[name] = f"{venue.url}/{url.split('/', 3)[3]}"
    if "ws" in urls:
        urls["ws"]["linear"] = f"{venue.ws}/ws"
        urls["ws"]["ws-api"]["linear"] = f"{venue.ws}/ws-fapi/v1"


def _bybit(urls: Any, venue: Venue) -> None:
    urls["public"] = urls["private"] = venue.url
    if "ws" in urls:
        urls["ws"]["public"]["linear"] = f"{venue.ws}/v5/public/linear"
        urls["ws"]["private"]["contract"] = f"{venue.ws}/v5/private"
        urls["ws"]["private"]["trade"] = f"{venue.ws}/v5/trade"


def _okx(urls: Any, venue: Venue) -> None:
    urls["rest"] = venue.url
    if "ws" in urls:
        urls["ws"] = f"{venue.ws}/ws/v5"


BINANCE = Spelling(
    name="binanceusdm",
    point=_binance,
    venue_symbol="BTCUSDT",
    stop_is="triggerPrice",
    stop_params={"reduceOnly": True, "workingType": "MARK_PRICE"},
    attaches=False,
    moves_stop=None,
    long_stop={"positionSide": "LONG", "reduceOnly": None},
    trailing={"trailingPercent": "1", "reduceOnly": True},
    answers_in_full=True,
)
BYBIT = Spelling(
    name="bybit",
    point=_bybit,
    venue_symbol="BTCUSDT",
    options={"fetchMarkets": {"types": ["linear"]}},
    stop_params={"triggerBy": "MarkPrice"},
    fetch_params={"acknowledged": True},
    account_margin_mode=True,
    long_stop={"positionIdx": 1},
    trailing={"trailingAmount": "700", "tpslMode": "Full", "positionIdx": 0},
    subscriptions=5,
)
OKX = Spelling(
    name="okx",
    point=_okx,
    venue_symbol="BTC-USDT-SWAP",
    password="sim",
    options={"defaultType": "swap", "fetchMarkets": {"types": ["swap"]}},
    lot=2.0,
    stop_params={"reduceOnly": True},
    waiting={"trigger": True, "ordType": "conditional"},
    long_stop={"posSide": "long"},
    trailing={"trailingPercent": "1", "reduceOnly": True},
    moves_stop="conditional",
    moved_is="newSlTriggerPx",
    move_params={"newSlOrdPx": "-1"},
    subscriptions=4,
)
SPELLINGS = (BINANCE, BYBIT, OKX)
