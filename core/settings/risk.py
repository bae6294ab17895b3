"""How large, how many, how far: sizes, limits, stops. Money is in the quote coin (USDT = USDC = 1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from core.settings.fields import Frozen, Setting, lower, upper
from core.settings.values import Count, Money, Percent


class SizingSettings(Frozen):
    """How large an entry is. Notional, not margin."""

    position_size_usd: Annotated[
        Money,
        Field(gt=0, le=10_000_000),
        Setting("POSITION_SIZE_USD", "notional of one entry, in the quote coin", "above 0"),
    ] = Decimal(100)
    min_position_size_usdt: Annotated[
        Money,
        Field(ge=0, le=10_000_000),
        Setting("MIN_POSITION_SIZE_USDT", "least notional worth opening, in the quote coin", "0 or more"),
    ] = Decimal(10)
    position_size_tolerance_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "POSITION_SIZE_TOLERANCE_PERCENT",
            "how far rounding to the venue's steps may move the notional, percent of POSITION_SIZE_USD",
            "0 to 100",
        ),
    ] = Decimal(10)
    leverage: Annotated[
        Count, Field(ge=1, le=125), Setting("LEVERAGE", "leverage set per symbol while no position is open", "1 to 125")
    ] = 1
    margin_mode: Annotated[
        Annotated[Literal["keep", "isolated", "cross"], lower],
        Setting(
            "MARGIN_MODE",
            "margin mode, set per symbol while no position is open; keep = as the account has it",
            "`keep`, `isolated` or `cross`",
        ),
    ] = "keep"


class RiskSettings(Frozen):
    """Limits over all venues together, in-flight orders included."""

    max_positions: Annotated[
        Count, Field(ge=1, le=1000), Setting("MAX_POSITIONS", "open positions at most, all venues", "1 to 1000")
    ] = 3
    max_exposure_usd: Annotated[
        Money,
        Field(gt=0, le=1_000_000_000),
        Setting("MAX_EXPOSURE_USD", "sum of absolute notional at most, all venues", "above 0"),
    ] = Decimal(1000)
    max_daily_loss: Annotated[
        Money,
        Field(gt=0, le=1_000_000_000),
        Setting(
            "MAX_DAILY_LOSS",
            "loss of a UTC day, realised and unrealised, in quote units, that stops entries until 00:00 UTC",
            "above 0 (a loss is written without a minus sign)",
        ),
    ] = Decimal(100)
    sl_streak_limit: Annotated[
        Count,
        Field(ge=1, le=1000),
        Setting(
            "SL_STREAK_LIMIT",
            "stops that lost one after another that stop entries until 00:00 UTC",
            "1 to 1000",
        ),
    ] = 3
    minimum_active_balance_usd: Annotated[
        Money,
        Field(ge=0, le=1_000_000_000),
        Setting("MINIMUM_ACTIVE_BALANCE_USD", "free balance that must remain after an entry, per venue", "0 or more"),
    ] = Decimal(10)
    max_drawdown_percent: Annotated[
        Percent,
        Field(ge=0, lt=100),
        Setting(
            "MAX_DRAWDOWN_PERCENT",
            "fall of the equity below its peak, percent of the peak, that stops entries until `resume`; 0 = off",
            "0 to below 100",
        ),
    ] = Decimal(0)
    max_exposure_per_symbol_usd: Annotated[
        Money,
        Field(ge=0, le=1_000_000_000),
        Setting(
            "MAX_EXPOSURE_PER_SYMBOL_USD",
            "sum of absolute notional at most in one coin, all venues and quote coins; 0 = off",
            "0 or more",
        ),
    ] = Decimal(0)
    max_positions_per_venue: Annotated[
        Count,
        Field(ge=0, le=1000),
        Setting("MAX_POSITIONS_PER_VENUE", "open positions at most on one venue; 0 = off", "0 to 1000"),
    ] = 0
    max_entries_per_minute: Annotated[
        Count,
        Field(ge=0, le=100_000),
        Setting("MAX_ENTRIES_PER_MINUTE", "entries approved within any 60 s at most; 0 = off", "0 to 100000"),
    ] = 0
    venue_errors_limit: Annotated[
        Count,
        Field(ge=0, le=1000),
        Setting(
            "VENUE_ERRORS_LIMIT",
            "entries in a row that a venue does not answer, or cannot take, that pause entries there; 0 = never",
            "0 to 1000",
        ),
    ] = 5
    max_clock_error_ms: Annotated[
        Count,
        Field(ge=100, le=60_000),
        Setting(
            "MAX_CLOCK_ERROR_MS",
            "jump of this host's clock since the venue's was measured, milliseconds, beyond which entries wait for a"
            " new measurement",
            "100 to 60000",
        ),
    ] = 1000
    cooldown_after_loss_seconds: Annotated[
        Count,
        Field(ge=0, le=604_800),
        Setting(
            "COOLDOWN_AFTER_LOSS_SECONDS",
            "wait before the next entry in a symbol, on either side, after a position closed there with a loss, whoever"
            " closed it, seconds; of all cooldowns that apply the longest counts; 0 = none",
            "0 to 604800",
        ),
    ] = 180
    cooldown_after_win_seconds: Annotated[
        Count,
        Field(ge=0, le=604_800),
        Setting("COOLDOWN_AFTER_WIN_SECONDS", "the same after a win, seconds; 0 = none", "0 to 604800"),
    ] = 0
    cooldown_same_side_seconds: Annotated[
        Count,
        Field(ge=0, le=604_800),
        Setting(
            "COOLDOWN_SAME_SIDE_SECONDS",
            "wait before the next entry in a symbol on the side of a position that was closed there, whatever it made,"
            " seconds; 0 = none",
            "0 to 604800",
        ),
    ] = 60
    cooldown_opposite_side_seconds: Annotated[
        Count,
        Field(ge=0, le=604_800),
        Setting("COOLDOWN_OPPOSITE_SIDE_SECONDS", "the same on the other side, seconds; 0 = none", "0 to 604800"),
    ] = 5
    cooldown_after_external_seconds: Annotated[
        Count,
        Field(ge=0, le=604_800),
        Setting(
            "COOLDOWN_AFTER_EXTERNAL_SECONDS",
            "wait before the next entry in a symbol whose position somebody else closed or changed, on either side,"
            " seconds; 0 = none",
            "0 to 604800",
        ),
    ] = 0


class EntrySettings(Frozen):
    """How an entry order is sent."""

    entry_order_type: Annotated[
        Annotated[Literal["market", "limit_ioc"], lower],
        Setting(
            "ENTRY_ORDER_TYPE",
            "market, or a limit at the slippage bound that is cancelled if not filled at once",
            "`market` or `limit_ioc`",
        ),
    ] = "market"
    entry_max_slippage_percent: Annotated[
        Percent,
        Field(gt=0, le=10),
        Setting(
            "ENTRY_MAX_SLIPPAGE_PERCENT",
            "bound of a limit_ioc entry against the best price, percent",
            "above 0, up to 10",
        ),
    ] = Decimal("0.15")


class ProtectionSettings(Frozen):
    """The stop every position has. Percent of the fill price."""

    stop_loss_percent: Annotated[
        Percent,
        Field(gt=0, lt=100),
        Setting("STOP_LOSS_PERCENT", "distance of the stop from the fill price, percent", "above 0, below 100"),
    ] = Decimal(2)
    min_stop_distance_percent: Annotated[
        Percent,
        Field(ge=0, lt=100),
        Setting(
            "MIN_STOP_DISTANCE_PERCENT",
            "least distance of a stop from the entry once spread and fees are taken off, percent",
            "0 to below 100",
        ),
    ] = Decimal("0.1")
    max_stop_distance_percent: Annotated[
        Percent,
        Field(gt=0, lt=100),
        Setting("MAX_STOP_DISTANCE_PERCENT", "greatest distance of a stop, percent", "above 0, below 100"),
    ] = Decimal(50)
    liquidation_buffer_percent: Annotated[
        Percent,
        Field(ge=0, lt=100),
        Setting(
            "LIQUIDATION_BUFFER_PERCENT",
            "least distance between a stop and the liquidation (100 / LEVERAGE away), percent of the entry price",
            "0 to below 100",
        ),
    ] = Decimal("0.5")
    taker_fee_percent: Annotated[
        Percent,
        Field(ge=0, le=5),
        Setting("TAKER_FEE_PERCENT", "fee of one trade that a stop must lie beyond, percent", "0 to 5"),
    ] = Decimal("0.05")
    working_type: Annotated[
        Annotated[Literal["MARK_PRICE", "CONTRACT_PRICE"], upper],
        Setting("WORKING_TYPE", "price that triggers stops", "`MARK_PRICE` or `CONTRACT_PRICE`"),
    ] = "MARK_PRICE"
    protection_deadline_ms: Annotated[
        Count,
        Field(ge=100, le=60_000),
        Setting(
            "PROTECTION_DEADLINE_MS",
            "longest time from a fill to its confirmed stop, milliseconds; after it the position is closed",
            "100 to 60000",
        ),
    ] = 3000
    unprotected_alert_ms: Annotated[
        Count,
        Field(ge=50, le=60_000),
        Setting(
            "UNPROTECTED_ALERT_MS",
            "time without a stop above which people are told, milliseconds; four times as long for the first stop of a"
            " position, which follows its fill",
            "50 to 60000",
        ),
    ] = 300
    external_positions: Annotated[
        Annotated[Literal["ignore", "protect", "manage"], lower],
        Setting(
            "EXTERNAL_POSITIONS",
            "positions opened elsewhere: leave them alone, give them a stop, or treat them like our own",
            "`ignore`, `protect` or `manage`",
        ),
    ] = "protect"
