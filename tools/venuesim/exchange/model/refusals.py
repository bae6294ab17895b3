"""Why commands are refused."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a command was refused. A façade maps each to the venue's code and text."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    SYMBOL_NOT_TRADING = "symbol_not_trading"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_CONDITIONAL = "unknown_conditional"
    CONDITIONAL_TRIGGERING = "conditional_triggering"
    CLIENT_ID_INVALID = "client_id_invalid"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    QTY_MISSING = "qty_missing"
    QTY_NOT_POSITIVE = "qty_not_positive"
    QTY_MIN = "qty_min"
    QTY_MAX = "qty_max"
    QTY_STEP = "qty_step"
    PRICE_MISSING = "price_missing"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_MIN = "price_min"
    PRICE_MAX = "price_max"
    PRICE_TICK = "price_tick"
    TRIGGER_PRICE_MISSING = "trigger_price_missing"
    TRIGGER_PRICE_MIN = "trigger_price_min"
    TRIGGER_PRICE_MAX = "trigger_price_max"
    TRIGGER_PRICE_TICK = "trigger_price_tick"
    PRICE_BAND_HIGH = "price_band_high"
    PRICE_BAND_LOW = "price_band_low"
    CONDITIONAL_PRICE_HIGH = "conditional_price_high"
    """A stop-limit price too far above its own trigger."""
    CONDITIONAL_PRICE_LOW = "conditional_price_low"
    MIN_NOTIONAL = "min_notional"
    MARKET_BOUND = "market_bound"
    CALLBACK_RATE = "callback_rate"
    ACTIVATION_PRICE = "activation_price"
    POSITION_SIDE_MISMATCH = "position_side_mismatch"
    REDUCE_ONLY_REJECTED = "reduce_only_rejected"
    REDUCE_ONLY_IN_HEDGE = "reduce_only_in_hedge"
    CLOSE_POSITION_EXISTS = "close_position_exists"
    CLOSE_POSITION_WITH_QTY = "close_position_with_qty"
    CLOSE_POSITION_WITH_REDUCE_ONLY = "close_position_with_reduce_only"
    CLOSE_POSITION_OPENS = "close_position_opens"
    WOULD_TRIGGER = "would_trigger"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    FOK_NOT_FILLABLE = "fok_not_fillable"
    MAX_ORDERS = "max_orders"
    MAX_CONDITIONALS = "max_conditionals"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    MAX_POSITION_AT_LEVERAGE = "max_position_at_leverage"
    LEVERAGE_INVALID = "leverage_invalid"
    LEVERAGE_TOO_HIGH_FOR_POSITION = "leverage_too_high_for_position"
    LEVERAGE_REDUCTION_ISOLATED = "leverage_reduction_isolated"
    LEVERAGE_MARGIN = "leverage_margin"
    """A lower leverage would tie up more margin than there is."""
    MODE_UNCHANGED = "mode_unchanged"
    MODE_HAS_ORDERS = "mode_has_orders"
    MODE_HAS_POSITION = "mode_has_position"
    MODE_MULTI_ASSETS = "mode_multi_assets"
    """Isolated margin and shared collateral exclude each other."""
    MODE_NEGATIVE_BALANCE = "mode_negative_balance"
    MARGIN_CHANGE_CROSS = "margin_change_cross"
    MARGIN_CHANGE_NO_POSITION = "margin_change_no_position"
    MARGIN_CHANGE_EXCESSIVE = "margin_change_excessive"
    NOTHING_TO_AMEND = "nothing_to_amend"
    AMEND_NOT_LIMIT = "amend_not_limit"
    AMENDED_TOO_OFTEN = "amended_too_often"
    GOOD_TILL_DATE = "good_till_date"
    LIQUIDATING = "liquidating"
    NO_PERMISSION = "no_permission"
    INJECTED = "injected"
    """A fault refused it; ``Refused.code`` holds the venue's code."""


class Refused(Exception):
    """A command the exchange did not carry out. Nothing changed."""

    def __init__(self, reason: Refusal, detail: str = "", *, code: int | str | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
        self.code = code
        """The venue's own code, only when a fault prescribed it."""
