"""The fields of a raw signal, one function each. A field is read exactly or refused with a reason, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

from core.domain.money import HUNDRED, ZERO, Price, decimal_of, plain
from core.domain.signal import LEAST_MINUTES, MOST_MINUTES, Side, SignalParameters
from core.domain.verdict import Reason

MAX_TEXT = 64
LARGEST_SCORE = Decimal(1_000_000)
"""Either way; what MIN_SIGNAL_SCORE allows. Servers count to some hundreds."""
LARGEST_PRICE = Decimal(10) ** 9
"""Quote coin per base unit; nothing listed costs a thousandth of it."""
MOST_TRADES = 100_000
_SIDES = {"BUY": Side.BUY, "LONG": Side.BUY, "SELL": Side.SELL, "SHORT": Side.SELL}
_EPOCH_MS_FROM = 100_000_000_000
"""An epoch below this is in seconds (it would be the year 1973 in ms)."""
_FEATURES = (
    "patterns", "rsi", "volume_zscore", "oi_delta_pct", "strategy", "trading_pair_id", "score_week", "score_month",
)  # fmt: skip
_MOST_IN_LIST = 16


class FieldRefused(Exception):
    """This field makes the signal unusable."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def refuse(reason: Reason, detail: str) -> NoReturn:
    raise FieldRefused(reason, detail)


def text_of(raw: Mapping[str, Any], name: str) -> str:
    """A short printable text without blanks around it."""
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        refuse(Reason.MALFORMED, f"{name}: must be a short printable text")
    return value.strip()


def side_of(raw: Mapping[str, Any]) -> Side:
    """From `direction` or `recommended_action`; both, if both are there, must mean the same."""
    told = [text_of(raw, name).upper() for name in ("direction", "recommended_action") if raw.get(name) is not None]
    sides = {_SIDES.get(word) for word in told}
    if len(sides) > 1 and None not in sides:
        refuse(Reason.SIDE_CONFLICT, "direction and recommended_action disagree")
    side = sides.pop() if sides and None not in sides else None
    if side is None:
        refuse(Reason.SIDE_MISSING, "direction must be LONG or SHORT, recommended_action BUY or SELL")
    return side


def time_of(raw: Mapping[str, Any], name: str) -> int:
    """UTC ms from ISO text (T or space, Z or offset; without one it is UTC) or from an epoch in s or ms."""
    value = raw.get(name)
    if isinstance(value, str) and len(value) <= MAX_TEXT and not _is_number(value):
        try:
            moment = datetime.fromisoformat(value.strip())
            time_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            refuse(Reason.TIME_INVALID, f"{name}: not a time")
    else:
        number = _number(value, name, Reason.TIME_INVALID)
        time_ms = int(number if number >= _EPOCH_MS_FROM else number * 1000)
    if time_ms <= 0:
        refuse(Reason.TIME_INVALID, f"{name}: not a time")
    return time_ms


def score_of(raw: Mapping[str, Any]) -> Decimal:
    """`total_score`, else week + month."""
    names = ("total_score",) if raw.get("total_score") is not None else ("score_week", "score_month")
    parts = [_number(raw[name], name, Reason.SCORE_INVALID) for name in names if raw.get(name) is not None]
    if not parts:
        refuse(Reason.SCORE_INVALID, "total_score: missing, and score_week and score_month as well")
    score = sum(parts, ZERO)
    if abs(score) > LARGEST_SCORE:
        refuse(Reason.SCORE_INVALID, f"{'+'.join(names)}: beyond {plain(LARGEST_SCORE)}")
    return score


def price_of(raw: Mapping[str, Any]) -> Price | None:
    """What the signal's maker saw, `price` or `entry_price`; None when it promises none."""
    told = {
        name: _number(raw[name], name, Reason.PRICE_INVALID)
        for name in ("price", "entry_price")
        if raw.get(name) is not None
    }
    for name, price in told.items():
        if not ZERO < price <= LARGEST_PRICE:
            refuse(Reason.PRICE_INVALID, f"{name}: must be above 0 and at most {plain(LARGEST_PRICE)}")
    if len(set(told.values())) > 1:
        refuse(Reason.PRICE_INVALID, "price and entry_price disagree")
    return Price(next(iter(told.values()))) if told else None


def parameters_of(raw: Mapping[str, Any]) -> SignalParameters:
    trades = raw.get("max_trades_filter")
    if trades is not None and (
        isinstance(trades, bool) or not isinstance(trades, int) or not 0 <= trades <= MOST_TRADES
    ):
        refuse(Reason.PARAMETER_INVALID, f"max_trades_filter: must be a whole number from 0 to {MOST_TRADES}")
    return SignalParameters(
        stop_loss_percent=_percent(raw, "stop_loss_filter"),
        trailing_activation_percent=_percent(raw, "trailing_activation_filter"),
        trailing_distance_percent=_percent(raw, "trailing_distance_filter"),
        take_profit_percent=_percent(raw, "take_profit_filter"),
        time_limit_minutes=_minutes(raw, "time_limit_minutes"),
        max_trades=trades,
    )


def features_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """The maker's own figures as short printable text. They decide nothing, so a bad one is left out."""
    found = {name: _feature(raw[name]) for name in _FEATURES if raw.get(name) is not None}
    return {name: text for name, text in found.items() if text}


def shown(value: object) -> str:
    """Foreign text for people: short and printable (SEC-09)."""
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"  # not worth writing out a megabyte to show 64 characters
    if isinstance(value, int) and not -(LARGEST_SCORE**3) < value < LARGEST_SCORE**3:
        return "a huge number"
    return "".join(c if c.isprintable() else "?" for c in str(value)[:MAX_TEXT])


def _percent(raw: Mapping[str, Any], name: str) -> Decimal | None:
    if raw.get(name) is None:
        return None
    percent = _number(raw[name], name, Reason.PARAMETER_INVALID)
    if not ZERO < percent < HUNDRED:
        refuse(Reason.PARAMETER_INVALID, f"{name}: must be above 0 and below 100 percent")
    return percent


def _minutes(raw: Mapping[str, Any], name: str) -> Decimal | None:
    if raw.get(name) is None:
        return None
    minutes = _number(raw[name], name, Reason.PARAMETER_INVALID)
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        refuse(Reason.PARAMETER_INVALID, f"{name}: must be from {LEAST_MINUTES} to {MOST_MINUTES} minutes")
    return minutes


def _number(value: object, name: str, reason: Reason) -> Decimal:
    try:
        return decimal_of(value, name)
    except ValueError as error:
        raise FieldRefused(reason, str(error)) from None


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()


def _feature(value: object) -> str:
    if isinstance(value, list):
        words = [_feature(item) for item in value[:_MOST_IN_LIST] if not isinstance(item, list)]
        return ",".join(word for word in words if word)[: 2 * MAX_TEXT]
    if isinstance(value, str):
        return value.strip() if len(value) <= MAX_TEXT and value.isprintable() else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return plain(decimal_of(value, "feature"))
    except ValueError:
        return ""
