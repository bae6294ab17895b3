"""Every refusal is a code, a sentence and the values that led to it (INV-14, VAL-11)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field


class Reason(StrEnum):
    """Why a signal did not become an order. The text is stable: it is journaled, counted and searched for."""

    MALFORMED = "malformed"
    TIME_INVALID = "time_invalid"
    SCORE_INVALID = "score_invalid"
    PRICE_INVALID = "price_invalid"
    PARAMETER_INVALID = "parameter_invalid"
    SIDE_MISSING = "side_missing"
    SIDE_CONFLICT = "side_conflict"
    VENUE_UNKNOWN = "venue_unknown"
    VENUE_MISSING = "venue_missing"
    VENUE_OFF = "venue_off"
    VENUE_CONFLICT = "venue_conflict"
    SYMBOL_UNKNOWN = "symbol_unknown"
    SYMBOL_AMBIGUOUS = "symbol_ambiguous"
    SYMBOL_NOT_TRADING = "symbol_not_trading"
    QUOTE_NOT_ENABLED = "quote_not_enabled"
    STOPLISTED = "stoplisted"
    NOT_ALLOWLISTED = "not_allowlisted"
    SHORTS_OFF = "shorts_off"
    EXPIRED = "expired"
    ALREADY_SEEN = "already_seen"
    SCORE_TOO_LOW = "score_too_low"
    PREFETCH_FAILED = "prefetch_failed"
    DUPLICATE_POSITION = "duplicate_position"
    PENDING_ORDER = "pending_order"
    NO_PRICE = "no_price"
    STALE_PRICE = "stale_price"
    PRICE_DIVERGES = "price_diverges"
    OPEN_INTEREST_TOO_LOW = "open_interest_too_low"
    OPEN_INTEREST_MISSING = "open_interest_missing"
    VOLUME_TOO_LOW = "volume_too_low"
    VOLUME_MISSING = "volume_missing"
    MOVED_AGAINST = "moved_against"
    PRICE_CHANGE_MISSING = "price_change_missing"
    SPREAD_TOO_WIDE = "spread_too_wide"
    SPREAD_MISSING = "spread_missing"
    VENUE_ERROR = "venue_error"
    RULES_STALE = "rules_stale"
    STREAM_DOWN = "stream_down"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    STOP_TOO_NEAR = "stop_too_near"
    STOP_TOO_FAR = "stop_too_far"
    STOP_BEYOND_LIQUIDATION = "stop_beyond_liquidation"
    LEVERAGE_UNCONFIRMED = "leverage_unconfirmed"
    BRACKET_FULL = "bracket_full"
    WAVE_CLOSED = "wave_closed"
    WAVE_TOO_LARGE = "wave_too_large"
    WAVE_LIMIT = "wave_limit"
    MAX_POSITIONS = "max_positions"
    MAX_EXPOSURE = "max_exposure"
    MAX_POSITIONS_ON_VENUE = "max_positions_on_venue"
    MAX_SYMBOL_EXPOSURE = "max_symbol_exposure"
    ENTRY_RATE = "entry_rate"
    DAY_LOSS = "day_loss"
    STOP_STREAK = "stop_streak"
    DRAWDOWN = "drawdown"
    COOLDOWN = "cooldown"
    VENUE_ERRORS = "venue_errors"
    MARGIN_PAUSE = "margin_pause"
    ACCOUNT_RESTRICTED = "account_restricted"
    CLOCK_UNSURE = "clock_unsure"
    BALANCE_UNKNOWN = "balance_unknown"
    BALANCE_TOO_LOW = "balance_too_low"
    NOT_ACTIVE = "not_active"
    JOURNAL_UNWRITABLE = "journal_unwritable"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    REJECTED = "rejected_by_venue"
    NOT_FILLED = "not_filled"
    WAVE_TIMEOUT = "wave_timeout"
    INTERRUPTED = "interrupted"
    INTERNAL_ERROR = "internal_error"


class Denied(Struct, frozen=True, kw_only=True):
    """We refused, before the wire. `values` names the setting and the numbers compared, as text."""

    reason: Reason
    detail: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
