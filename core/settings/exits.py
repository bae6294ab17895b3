"""How positions are let go: trailing, take profit, breakeven, age, and how old a price may be for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, InstanceOf

from core.domain.profit_steps import ProfitStep
from core.settings.fields import Frozen, Setting, lower, upper
from core.settings.values import Count, Money, Percent, parse_steps

Steps = Annotated[tuple[InstanceOf[ProfitStep], ...], BeforeValidator(parse_steps)]


class TrailingSettings(Frozen):
    """The trailing stop. Percent of price."""

    mode: Annotated[
        Annotated[Literal["managed", "native", "off"], lower],
        Setting(
            "TRAILING_MODE",
            "who trails: the resting stop is moved by us, the venue's own trailing order beside it, or nobody",
            "`managed`, `native` or `off`",
        ),
    ] = "managed"
    activation_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting("TRAILING_ACTIVATION_PERCENT", "profit at which trailing begins, percent", "above 0, up to 100"),
    ] = Decimal("1.5")
    callback_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting(
            "TRAILING_CALLBACK_PERCENT",
            "distance of the trailing stop from the best price, percent",
            "above 0, up to 100",
        ),
    ] = Decimal("0.5")
    min_update_interval_seconds: Annotated[
        Count,
        Field(ge=0, le=3600),
        Setting(
            "TRAILING_MIN_UPDATE_INTERVAL_SECONDS",
            "least time between two moves of a stop, seconds, unless the second improves it by"
            " TRAILING_FORCED_STEP_PERCENT",
            "0 to 3600",
        ),
    ] = 30
    least_step_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "TRAILING_STEP_PERCENT", "least improvement worth a move of the stop, percent of its level", "0 to 100"
        ),
    ] = Decimal("0.1")
    forced_step_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting(
            "TRAILING_FORCED_STEP_PERCENT",
            "improvement that is worth a move whenever the last one was, percent of the level",
            "above 0, up to 100",
        ),
    ] = Decimal(1)


class ExitSettings(Frozen):
    """When a position is closed besides its stop. Percent of the fill price."""

    price: Annotated[
        Annotated[Literal["mark", "trades"], lower],
        Setting("EXIT_PRICE", "price that exits and trailing go by: the mark, or the last trade", "`mark` or `trades`"),
    ] = "mark"
    critical_loss_percent: Annotated[
        Percent,
        Field(ge=0, lt=100),
        Setting(
            "CRITICAL_LOSS_PERCENT",
            "how far beyond its stop the price may be before the position is closed at once, percent of the entry;"
            " 0 = off",
            "0 to below 100",
        ),
    ] = Decimal(1)
    critical_confirm_ms: Annotated[
        Count,
        Field(ge=0, le=60_000),
        Setting("CRITICAL_LOSS_CONFIRM_MS", "how long that must hold, milliseconds", "0 to 60000"),
    ] = 500
    time_limit_hours: Annotated[
        Money,
        Field(gt=0, le=10_000),
        Setting(
            "TIME_LIMIT_HOURS", "age at which a position is closed whatever its result, hours", "above 0, up to 10000"
        ),
    ] = Decimal(48)
    least_holding_seconds: Annotated[
        Count,
        Field(ge=0, le=86_400),
        Setting(
            "MIN_HOLDING_SECONDS",
            "how long a position is held before take profit, giveback, age, funding or a strategy close it, seconds;"
            " protective exits never wait",
            "0 to 86400",
        ),
    ] = 0
    take_profit_percent: Annotated[
        Percent,
        Field(ge=0, le=1000),
        Setting("TAKE_PROFIT_PERCENT", "profit at which all of a position is closed, percent; 0 = none", "0 to 1000"),
    ] = Decimal(0)
    take_profit_steps: Annotated[
        Steps,
        Setting(
            "TAKE_PROFIT_STEPS",
            "profit in percent and share to close there in percent, instead of TAKE_PROFIT_PERCENT, e.g. 1.5:50,3:50",
            "pairs in rising order, shares together at most 100",
        ),
    ] = ()
    tp_order_style: Annotated[
        Annotated[Literal["TAKE_PROFIT_MARKET", "TAKE_PROFIT"], upper],
        Setting(
            "TP_ORDER_STYLE",
            "take profit as a market order once it is reached, or as a limit at its level that becomes a market order"
            " when it is not filled in time",
            "`TAKE_PROFIT_MARKET` or `TAKE_PROFIT`",
        ),
    ] = "TAKE_PROFIT_MARKET"
    breakeven_activation_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "BREAKEVEN_ACTIVATION_PERCENT",
            "profit at which the stop is moved to where both fees are paid, percent; 0 = off",
            "0 to 100",
        ),
    ] = Decimal("0.5")
    giveback_from_percent: Annotated[
        Percent,
        Field(ge=0, le=1000),
        Setting("GIVEBACK_FROM_PERCENT", "profit from which giving it back is watched, percent; 0 = off", "0 to 1000"),
    ] = Decimal(0)
    giveback_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting(
            "GIVEBACK_PERCENT", "share of the best profit whose loss closes the position, percent", "above 0, up to 100"
        ),
    ] = Decimal(50)
    confirm_ms: Annotated[
        Count,
        Field(ge=0, le=60_000),
        Setting(
            "EXIT_CONFIRM_MS", "how long take profit and giveback must hold before they act, milliseconds", "0 to 60000"
        ),
    ] = 0
    funding_window_minutes: Annotated[
        Count,
        Field(ge=0, le=480),
        Setting(
            "FUNDING_EXIT_MINUTES",
            "minutes before a funding payment in which a position that would pay it is closed; 0 = off",
            "0 to 480",
        ),
    ] = 0
    funding_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting("FUNDING_EXIT_RATE_PERCENT", "funding rate from which that is done, percent", "above 0, up to 100"),
    ] = Decimal("0.1")


class PriceSettings(Frozen):
    """How old a price may be. Entries use the live stream only; exits fall back to the last candle, then to REST."""

    exit_max_age_ms: Annotated[
        Count,
        Field(ge=500, le=60_000),
        Setting("PRICE_MAX_AGE_EXIT_MS", "age up to which a price serves a normal exit, milliseconds", "500 to 60000"),
    ] = 5_000
    critical_max_age_ms: Annotated[
        Count,
        Field(ge=500, le=60_000),
        Setting(
            "PRICE_MAX_AGE_CRITICAL_MS",
            "the same for a critical exit, milliseconds; not below the normal one",
            "500 to 60000",
        ),
    ] = 10_000
    monitoring_max_age_ms: Annotated[
        Count,
        Field(ge=500, le=600_000),
        Setting("PRICE_MAX_AGE_MONITORING_MS", "the same for showing it to people, milliseconds", "500 to 600000"),
    ] = 15_000
    widest_factor: Annotated[
        Count,
        Field(ge=1, le=20),
        Setting(
            "PRICE_MAX_AGE_WIDEST_FACTOR",
            "how many times as old the price of a symbol may be whose own ticks come seldom",
            "1 to 20",
        ),
    ] = 3
    jump_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting(
            "PRICE_JUMP_PERCENT",
            "move from one tick to the next that is acted on only when a second source agrees, percent",
            "above 0, up to 100",
        ),
    ] = Decimal(5)


class AgedSettings(Frozen):
    """How a position that has grown old is let go."""

    max_position_age_hours: Annotated[
        Money,
        Field(gt=0, le=10_000),
        Setting("MAX_POSITION_AGE_HOURS", "age from which a position is to be closed, hours", "above 0"),
    ] = Decimal(3)
    grace_period_hours: Annotated[
        Money,
        Field(ge=0, le=10_000),
        Setting("AGED_GRACE_PERIOD_HOURS", "how long only breakeven is accepted, hours", "0 or more"),
    ] = Decimal(8)
    loss_step_percent: Annotated[
        Percent,
        Field(ge=0, le=100),
        Setting(
            "AGED_LOSS_STEP_PERCENT",
            "accepted loss grows by this each hour after, percent",
            "0 to 100",
        ),
    ] = Decimal("0.5")
    max_loss_percent: Annotated[
        Percent,
        Field(gt=0, le=100),
        Setting("AGED_MAX_LOSS_PERCENT", "accepted loss at most, percent", "above 0, up to 100"),
    ] = Decimal(10)
    acceleration_factor: Annotated[
        Money,
        Field(ge=1, le=100),
        Setting("AGED_ACCELERATION_FACTOR", "factor on the hourly step after ten hours", "1 to 100"),
    ] = Decimal("1.2")
