"""What the settings say, as the rules that the domain and the engine decide by."""

from __future__ import annotations

from decimal import Decimal

from core.config import Settings
from core.domain.aging import HOUR_MS, AgedRules
from core.domain.cooldown import CooldownRules
from core.domain.exits import ExitRules
from core.domain.ids import Asset
from core.domain.instrument import Instrument
from core.domain.liquidity import Filter, LiquidityRules, OnMissing
from core.domain.money import HUNDRED, Notional
from core.domain.order import OrderType
from core.domain.prices import AgeLimits, PriceKind
from core.domain.profit_steps import ProfitStep
from core.domain.risk import RiskLimits
from core.domain.risk_book import ResultRules
from core.domain.screening import ScreeningRules, enterable
from core.domain.sizing import SizingRule
from core.domain.stop_distance import StopRules
from core.domain.symbol_lists import SymbolLists
from core.domain.trailing import TrailingMode, TrailingRules
from core.domain.universe import UniverseRules
from core.engine.entry import EntryRules
from core.engine.exit_actions import ExitPolicy
from core.engine.ports import MarginMode, VenueTraits
from core.engine.price_chain import ChainRules
from core.engine.reconciler import ExternalPositions
from core.engine.wave_processor import WaveRules

ENTRY_PRICE_MAX_AGE_SECONDS = 3.0
RULES_MAX_AGE_SECONDS = 3 * 3600.0
"""Trading rules that could not be loaded anew for so long are not traded on (VAL-20)."""


def margin_mode(settings: Settings) -> MarginMode | None:
    """None = as the account has it."""
    return None if settings.sizing.margin_mode == "keep" else MarginMode(settings.sizing.margin_mode)


def risk_limits(settings: Settings) -> RiskLimits:
    return RiskLimits(
        max_positions=settings.risk.max_positions,
        max_exposure=Notional(settings.risk.max_exposure_usd),
        reserve=Notional(settings.risk.minimum_active_balance_usd),
        leverage=settings.sizing.leverage,
        max_positions_per_venue=settings.risk.max_positions_per_venue,
        max_coin_exposure=Notional(settings.risk.max_exposure_per_symbol_usd),
        max_entries_per_minute=settings.risk.max_entries_per_minute,
        max_clock_error_ms=settings.risk.max_clock_error_ms,
        errors_in_a_row=settings.risk.venue_errors_limit,
    )


def result_rules(settings: Settings) -> ResultRules:
    risk = settings.risk
    return ResultRules(
        max_daily_loss=risk.max_daily_loss,
        streak_limit=risk.sl_streak_limit,
        max_drawdown_percent=risk.max_drawdown_percent,
        cooldowns=CooldownRules(
            after_loss=risk.cooldown_after_loss_seconds,
            after_win=risk.cooldown_after_win_seconds,
            same_side=risk.cooldown_same_side_seconds,
            opposite_side=risk.cooldown_opposite_side_seconds,
            after_external=risk.cooldown_after_external_seconds,
        ),
    )


def wave_rules(settings: Settings) -> WaveRules:
    wave = settings.wave
    return WaveRules(
        max_trades=wave.max_trades_per_wave,
        max_trades_total=wave.max_trades_per_wave_total,
        max_positions=settings.risk.max_positions,
        timeout=wave.timeout_seconds,
    )


def exit_rules(settings: Settings) -> ExitRules:
    """What applies to a position whose signal asked for nothing."""
    exits = settings.exits
    steps = exits.take_profit_steps
    if exits.take_profit_percent:
        steps = (ProfitStep(percent=exits.take_profit_percent, share=HUNDRED),)
    return ExitRules(
        critical_percent=exits.critical_loss_percent,
        critical_confirm_ms=exits.critical_confirm_ms,
        time_limit_ms=int(exits.time_limit_hours * HOUR_MS),
        trailing=None if TrailingMode(settings.trailing.mode) is TrailingMode.OFF else trailing_rules(settings),
        steps=steps,
        breakeven_percent=exits.breakeven_activation_percent,
        fee_percent=settings.protection.taker_fee_percent,
        giveback_from_percent=exits.giveback_from_percent,
        giveback_percent=exits.giveback_percent,
        aged=_aged_rules(settings),
        funding_window_ms=exits.funding_window_minutes * 60_000,
        funding_percent=exits.funding_percent,
        confirm_ms=exits.confirm_ms,
        least_holding_ms=exits.least_holding_seconds * 1000,
    )


def exit_policy(settings: Settings) -> ExitPolicy:
    """How exits act, beside the rules of each position."""
    return ExitPolicy(
        rules=exit_rules(settings),
        moves=trailing_rules(settings),
        kind=PriceKind(settings.exits.price),
        limit_profits=settings.exits.tp_order_style == "TAKE_PROFIT",
        manages_external=manages_external(settings),
    )


def manages_external(settings: Settings) -> bool:
    return ExternalPositions(settings.protection.external_positions) is ExternalPositions.MANAGE


def trails_natively(settings: Settings) -> bool:
    return TrailingMode(settings.trailing.mode) is TrailingMode.NATIVE


def most_positions(settings: Settings, traits: VenueTraits) -> int | None:
    """How many positions a venue has conditional orders for: the stop of each, and its trailing order."""
    if traits.most_stops is None or not (trails_natively(settings) and traits.native_trailing):
        return traits.most_stops
    return traits.most_stops // 2


def trailing_rules(settings: Settings) -> TrailingRules:
    trailing = settings.trailing
    return TrailingRules(
        activation_percent=trailing.activation_percent,
        callback_percent=trailing.callback_percent,
        interval_ms=trailing.min_update_interval_seconds * 1000,
        least_step_percent=trailing.least_step_percent,
        forced_step_percent=trailing.forced_step_percent,
    )


def _aged_rules(settings: Settings) -> AgedRules:
    aged = settings.aged
    return AgedRules(
        from_hours=aged.max_position_age_hours,
        grace_hours=aged.grace_period_hours,
        step_percent=aged.loss_step_percent,
        acceleration=aged.acceleration_factor,
        most_percent=aged.max_loss_percent,
    )


def age_limits(settings: Settings) -> AgeLimits:
    """Before a symbol's own pace widens them."""
    prices = settings.prices
    return AgeLimits(
        entry=int(ENTRY_PRICE_MAX_AGE_SECONDS * 1000),
        exit=prices.exit_max_age_ms,
        critical=prices.critical_max_age_ms,
        monitoring=prices.monitoring_max_age_ms,
    )


def chain_rules(settings: Settings) -> ChainRules:
    prices = settings.prices
    return ChainRules(
        limits=age_limits(settings),
        widest_factor=prices.widest_factor,
        jump_percent=prices.jump_percent,
        kind=PriceKind(settings.exits.price),
    )


def sizing_rule(settings: Settings) -> SizingRule:
    return SizingRule(
        target=Notional(settings.sizing.position_size_usd),
        minimum=Notional(settings.sizing.min_position_size_usdt),
        tolerance_percent=settings.sizing.position_size_tolerance_percent,
    )


def entry_rules(settings: Settings) -> EntryRules:
    screening = ScreeningRules(
        quotes=frozenset(Asset(quote) for quote in settings.trading.quote_coins),
        min_score=settings.signals.min_score,
        allow_shorts=settings.trading.allow_shorts,
        lists=symbol_lists(settings),
        signal_ttl=settings.signals.ttl_seconds,
        entry_max_age=ENTRY_PRICE_MAX_AGE_SECONDS,
        leverage=settings.sizing.leverage,
        divergence_warn=settings.signals.price_divergence_warn_percent,
        divergence_refuse=settings.signals.price_divergence_refuse_percent,
        rules_max_age=RULES_MAX_AGE_SECONDS,
        liquidity=_liquidity_rules(settings),
        stop=_stop_rules(settings),
    )
    return EntryRules(
        type=OrderType(settings.entry.entry_order_type),
        max_slippage_percent=settings.entry.entry_max_slippage_percent,
        stop_loss_percent=settings.protection.stop_loss_percent,
        sizing=sizing_rule(settings),
        screening=screening,
    )


def _stop_rules(settings: Settings) -> StopRules:
    protection = settings.protection
    return StopRules(
        default=protection.stop_loss_percent,
        noise=protection.min_stop_distance_percent,
        fee=protection.taker_fee_percent,
        cap=protection.max_stop_distance_percent,
        buffer=protection.liquidation_buffer_percent,
        leverage=settings.sizing.leverage,
    )


def _liquidity_rules(settings: Settings) -> LiquidityRules:
    signals = settings.signals

    def rule(name: str, limit: Decimal, missing: str, choice: str) -> Filter:
        return Filter(setting=name, limit=limit, missing_setting=missing, on_missing=OnMissing(choice))

    return LiquidityRules(
        open_interest=rule(
            "SIGNAL_MIN_OPEN_INTEREST_USDT",
            signals.min_open_interest_usdt,
            "SIGNAL_OPEN_INTEREST_ON_MISSING",
            signals.open_interest_on_missing,
        ),
        volume_1h=rule(
            "SIGNAL_MIN_VOLUME_1H_USDT",
            signals.min_volume_1h_usdt,
            "SIGNAL_VOLUME_1H_ON_MISSING",
            signals.volume_1h_on_missing,
        ),
        move_5min=rule(
            "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT",
            signals.max_price_change_5min_percent,
            "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING",
            signals.price_change_5min_on_missing,
        ),
        spread=rule("MAX_SPREAD_PERCENT", signals.max_spread_percent, "SPREAD_ON_MISSING", signals.spread_on_missing),
        max_age=float(signals.screen_max_age_seconds),
    )


def may_be_entered(settings: Settings, instrument: Instrument) -> bool:
    """Whether anything is ever read or subscribed for entering it (VAL-17)."""
    return enterable(instrument, settings.trading.quote_coins, symbol_lists(settings))


def symbol_lists(settings: Settings) -> SymbolLists:
    signals = settings.signals
    return SymbolLists(allow=frozenset(signals.allowlist_symbols), stop=frozenset(signals.stoplist_symbols))


def universe_rules(settings: Settings, count: int) -> UniverseRules:
    strategy = settings.strategy
    return UniverseRules(
        count=count,
        least_turnover=strategy.universe_min_day_volume_usdt,
        most_spread_percent=strategy.universe_max_spread_percent,
        least_age_days=strategy.universe_min_age_days,
        least_balance=settings.risk.minimum_active_balance_usd,
    )
