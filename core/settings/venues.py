"""Access to the venues, and which of them are traded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.settings.fields import Frozen, Setting, lower
from core.settings.values import (
    Secret,
    Switch,
    is_loopback,
    parse_http_base,
    parse_upper,
    parse_venues,
)

VenueName = Literal["binance", "bybit", "okx"]
Environment = Literal["live", "testnet", "local"]


class VenueSettings(Frozen):
    """Access to one venue. Without a key the venue does not exist for the daemon."""

    api_key: Annotated[Secret | None, Setting("API_KEY", "API key", "the key as the venue shows it", identity=True)] = (
        None
    )
    api_secret: Annotated[
        Secret | None, Setting("API_SECRET", "API secret", "the secret as the venue showed it", identity=True)
    ] = None
    testnet: Annotated[
        Switch, Setting("TESTNET", "use the venue's test environment", "`true` or `false`", identity=True)
    ] = False
    url: Annotated[
        Annotated[str, BeforeValidator(parse_http_base)] | None,
        Setting(
            "URL",
            "REST address instead of the venue's own, e.g. the simulator's; WebSocket addresses follow from it",
            "https://host[:port]; http:// on loopback only",
        ),
    ] = None

    @property
    def configured(self) -> bool:
        return self.api_key is not None

    @property
    def environment(self) -> Environment:
        """Where orders would go: a loopback address is `local`, whatever `testnet` says."""
        if self.url is not None and is_loopback(self.url.split("://", 1)[1].rsplit(":", 1)[0].strip("[]")):
            return "local"
        return "testnet" if self.testnet else "live"


class OkxSettings(VenueSettings):
    """OKX asks for a third credential."""

    passphrase: Annotated[
        Secret | None, Setting("PASSPHRASE", "passphrase of the API key", "as chosen at OKX", identity=True)
    ] = None


class TradingSettings(Frozen):
    """What may be traded at all."""

    exchanges: Annotated[
        Annotated[tuple[VenueName, ...], BeforeValidator(parse_venues)],
        Setting(
            "EXCHANGES",
            "venues to trade; empty = every venue that has a key",
            "comma list of `binance`, `bybit`, `okx`",
        ),
    ] = ()
    default_exchange: Annotated[
        Annotated[VenueName, lower] | None,
        Setting(
            "DEFAULT_EXCHANGE",
            "venue of a signal that names none; empty = the only configured one",
            "`binance`, `bybit` or `okx`",
        ),
    ] = None
    quote_coins: Annotated[
        Annotated[tuple[Literal["USDT", "USDC"], ...], BeforeValidator(parse_upper), Field(min_length=1)],
        Setting(
            "QUOTE_COIN",
            "quote coins to trade; signals in another are refused `quote_not_enabled`",
            "`USDT`, `USDC` or both",
        ),
    ] = ("USDT",)
    trading_enabled: Annotated[Switch, Setting("TRADING_ENABLED", "false = open nothing new", "`true` or `false`")] = (
        True
    )
    allow_shorts: Annotated[Switch, Setting("ALLOW_SHORTS", "false = refuse sell signals", "`true` or `false`")] = True
    allow_mixed_environments: Annotated[
        Switch,
        Setting(
            "ALLOW_MIXED_ENVIRONMENTS",
            "allow venues of different environments (live, testnet, loopback) side by side",
            "`true` or `false`",
        ),
    ] = False
    allow_withdrawal_keys: Annotated[
        Switch,
        Setting(
            "ALLOW_WITHDRAWAL_KEYS",
            "trade with a key that may withdraw, too; without it such a venue is not used",
            "`true` or `false`; nothing here needs that right",
        ),
    ] = False
