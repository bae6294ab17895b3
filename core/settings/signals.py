"""Signals, waves and the strategy."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.settings.fields import Frozen, Setting, lower
from core.settings.values import (
    Count,
    Money,
    Percent,
    Secret,
    parse_minutes,
    parse_socket_url,
    parse_symbol_choice,
    parse_symbols,
)

OnMissingChoice = Annotated[Literal["refuse", "pass"], lower]


class SignalSettings(Frozen):
    """Where signals come from and which of them are worth a look. 0 switches a filter off."""

    ws_url: Annotated[
        Annotated[str, BeforeValidator(parse_socket_url)] | None,
        Setting("SIGNAL_WS_URL", "address of the signal server", "wss://…; ws:// on loopback only"),
    ] = None
    ws_token: Annotated[
        Secret | None, Setting("SIGNAL_WS_TOKEN", "token of the signal server", "text without spaces")
    ] = None
    form: Annotated[
        Annotated[Literal["auto", "pushed", "polled"], lower],
        Setting(
            "SIGNAL_FORM",
            "form of the signal server's protocol; `auto` takes it for polled when nothing is pushed within a second "
            "of the login",
            "auto, pushed, polled",
        ),
    ] = "auto"
    ttl_seconds: Annotated[
        Count,
        Field(ge=1, le=86_400),
        Setting("SIGNAL_TTL_SECONDS", "age at which a signal is refused, seconds", "1 to 86400"),
    ] = 600
    min_score: Annotated[
        Money, Field(ge=-1_000_000, le=1_000_000), Setting("MIN_SIGNAL_SCORE", "least score of a signal", "any number")
    ] = Decimal(0)
    min_open_interest_usdt: Annotated[
        Money,
        Field(ge=0),
        Setting(
            "SIGNAL_MIN_OPEN_INTEREST_USDT",
            "least open interest of the symbol, quote units",
            "0 (off) or more",
        ),
    ] = Decimal(1_000_000)
    min_volume_1h_usdt: Annotated[
        Money,
        Field(ge=0),
        Setting(
            "SIGNAL_MIN_VOLUME_1H_USDT",
            "least volume of the last hour, quote units",
            "0 (off) or more",
        ),
    ] = Decimal(50_000)
    max_price_change_5min_percent: Annotated[
        Percent,
        Field(ge=0, le=1000),
        Setting(
            "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT",
            "largest move of five minutes against the entry side, percent",
            "0 (off) to 1000",
        ),
    ] = Decimal(4)
    max_spread_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "MAX_SPREAD_PERCENT",
            "largest spread at entry, percent of the mid price",
            "0 (off) to 100",
        ),
    ] = Decimal("0.5")
    open_interest_on_missing: Annotated[
        OnMissingChoice,
        Setting(
            "SIGNAL_OPEN_INTEREST_ON_MISSING",
            "what the filter does when the open interest is not known",
            "`refuse` or `pass`",
        ),
    ] = "refuse"
    volume_1h_on_missing: Annotated[
        OnMissingChoice,
        Setting(
            "SIGNAL_VOLUME_1H_ON_MISSING",
            "what the filter does when the volume of the last hour is not known",
            "`refuse` or `pass`",
        ),
    ] = "refuse"
    price_change_5min_on_missing: Annotated[
        OnMissingChoice,
        Setting(
            "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING",
            "what the filter does when the price of five minutes ago is not known",
            "`refuse` or `pass`",
        ),
    ] = "refuse"
    spread_on_missing: Annotated[
        OnMissingChoice,
        Setting(
            "SPREAD_ON_MISSING",
            "what the filter does when the spread is not known",
            "`refuse` or `pass`",
        ),
    ] = "refuse"
    price_divergence_warn_percent: Annotated[
        Percent,
        Field(ge=0, le=1000),
        Setting(
            "PRICE_DIVERGENCE_WARN_PERCENT",
            "distance between the entry price and the mark that is noted with the entry, percent",
            "0 (off) to 1000",
        ),
    ] = Decimal(1)
    price_divergence_refuse_percent: Annotated[
        Percent,
        Field(gt=0, le=1000),
        Setting(
            "PRICE_DIVERGENCE_REFUSE_PERCENT",
            "distance between the entry price and the mark beyond which an entry is refused, percent",
            "above 0, up to 1000",
        ),
    ] = Decimal(5)
    stoplist_symbols: Annotated[
        Annotated[tuple[str, ...], BeforeValidator(parse_symbols)],
        Setting("STOPLIST_SYMBOLS", "symbols never entered", "comma list such as `BTCUSDT,ETH/USDC:USDC`"),
    ] = ()
    allowlist_symbols: Annotated[
        Annotated[tuple[str, ...], BeforeValidator(parse_symbols)],
        Setting(
            "ALLOWLIST_SYMBOLS",
            "the only symbols entered, less those of STOPLIST_SYMBOLS; empty = all",
            "comma list such as `BTCUSDT,ETH/USDC:USDC`",
        ),
    ] = ()
    screen_max_age_seconds: Annotated[
        Count,
        Field(ge=1, le=86_400),
        Setting(
            "SCREEN_MAX_AGE_SECONDS",
            "age at which the filters' background data is no longer used, seconds",
            "1 to 86400",
        ),
    ] = 300


class WaveSettings(Frozen):
    """How a wave is collected and worked off."""

    check_minutes: Annotated[
        Annotated[tuple[int, ...], BeforeValidator(parse_minutes)],
        Setting(
            "WAVE_CHECK_MINUTES",
            "minutes of the hour at which a polled server is asked",
            "comma list of 0 to 59, or `*`",
        ),
    ] = (6, 20, 35, 50)
    check_interval_seconds: Annotated[
        Count,
        Field(ge=1, le=60),
        Setting(
            "WAVE_CHECK_INTERVAL_SECONDS",
            "time between two questions of one check, seconds",
            "1 to 60",
        ),
    ] = 1
    check_duration_seconds: Annotated[
        Count,
        Field(ge=1, le=900),
        Setting("WAVE_CHECK_DURATION_SECONDS", "length of one check at most, seconds", "1 to 900"),
    ] = 120
    collect_ms: Annotated[
        Count,
        Field(ge=0, le=10_000),
        Setting(
            "WAVE_COLLECT_MS",
            "a pushed wave is what arrives so soon after its first signal, milliseconds; a burst is heard out",
            "0 to 10000",
        ),
    ] = 50
    timeout_seconds: Annotated[
        Count,
        Field(ge=1, le=900),
        Setting("WAVE_TIMEOUT_SECONDS", "time after which a wave opens nothing more, seconds", "1 to 900"),
    ] = 60
    prefetch_timeout_ms: Annotated[
        Count,
        Field(ge=100, le=60_000),
        Setting(
            "PREFETCH_TIMEOUT_MS",
            "time a venue has to tell positions and balances, milliseconds; its signals are refused after it",
            "100 to 60000",
        ),
    ] = 5000
    max_trades_per_wave: Annotated[
        Count,
        Field(ge=1, le=1000),
        Setting("MAX_TRADES_PER_WAVE", "entries of one wave per venue at most", "1 to 1000"),
    ] = 5
    max_trades_per_wave_total: Annotated[
        Count,
        Field(ge=0, le=1000),
        Setting(
            "MAX_TRADES_PER_WAVE_TOTAL", "entries of one wave over all venues at most; 0 = no such limit", "0 to 1000"
        ),
    ] = 0


class StrategySettings(Frozen):
    """The strategy that makes signals here: used when neither a signal server nor the webhook is set, or beside
    them when STRATEGY is set.

    It trades at DEFAULT_EXCHANGE, or at every venue where that is not set. `top N` is N symbols of each venue and quote
    coin in which more than MINIMUM_ACTIVE_BALANCE_USD lies, by the UNIVERSE_ rules and both symbol lists.
    """

    name: Annotated[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")],
        Setting(
            "STRATEGY",
            "module in strategies/ that makes signals where nobody else does (SIGNAL_WS_URL, WEBHOOK_PORT); "
            "set explicitly, also beside them",
            "a module name, or `none`",
        ),
    ] = "scalping_v1"
    timeframe: Annotated[
        Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d"],
        Setting("STRATEGY_TIMEFRAME", "candles the strategy sees", "1m 3m 5m 15m 30m 1h 2h 4h 1d"),
    ] = "1m"
    symbols: Annotated[
        Annotated[str, BeforeValidator(parse_symbol_choice)],
        Setting(
            "STRATEGY_SYMBOLS",
            "symbols it scans; `top N` is by 24 h volume, per venue and quote coin, chosen anew every hour",
            "`top 1` to `top 200`, or a comma list",
        ),
    ] = "top 20"
    universe_min_day_volume_usdt: Annotated[
        Money,
        Field(ge=0),
        Setting(
            "UNIVERSE_MIN_DAY_VOLUME_USDT",
            "least 24 h volume of a symbol chosen by `top N`, in its quote coin",
            "0 (off) or more",
        ),
    ] = Decimal(1_000_000)
    universe_max_spread_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "UNIVERSE_MAX_SPREAD_PERCENT",
            "widest spread of a symbol chosen by `top N`, percent of the middle; without a book it is not chosen",
            "0 (off) to 100",
        ),
    ] = Decimal("0.2")
    universe_min_age_days: Annotated[
        Count,
        Field(ge=0, le=3650),
        Setting(
            "UNIVERSE_MIN_AGE_DAYS",
            "how long a symbol chosen by `top N` must have been listed, days; one of unknown age is not chosen",
            "0 (off) to 3650",
        ),
    ] = 0
    min_score: Annotated[
        Money,
        Field(ge=Decimal("0.25"), le=1),
        Setting(
            "STRATEGY_MIN_SCORE",
            "least score at which a strategy signals; at 0.50 scalping_v1 needs at least two indicators that agree",
            "0.25 to 1",
        ),
    ] = Decimal("0.50")
