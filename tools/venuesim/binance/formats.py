"""Number texts as the venue prints them: padded in REST answers, stripped in stream events."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

_EIGHT = Decimal("0.00000001")


def padded(value: Decimal, digits: int) -> str:
    """Fixed number of decimals: padded("4.9", 3) -> "4.900"."""
    return f"{value:.{digits}f}"


def stripped(value: Decimal) -> str:
    """No trailing zeros and no exponent: "4.90" -> "4.9", "0E-8" -> "0"."""
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(value: Decimal) -> str:
    """Like `stripped` but with at least one decimal, as openAlgoOrders prints: "0.0", "1.1837"."""
    text = stripped(value)
    return text if "." in text else f"{text}.0"


def money(value: Decimal) -> str:
    """Amounts of an asset: eight decimals, rounded half even."""
    return f"{value.quantize(_EIGHT, ROUND_HALF_EVEN):f}"


def money_stripped(value: Decimal) -> str:
    """Amounts in stream events: at most eight decimals, trailing zeros removed."""
    return stripped(value.quantize(_EIGHT, ROUND_HALF_EVEN))


def floor8(value: Decimal) -> Decimal:
    """Cut to eight decimals, the venue's way of never promising more balance than there is."""
    return value.quantize(_EIGHT, ROUND_DOWN)


def zero_or_money(value: Decimal) -> str:
    """Eight decimals, but a plain "0" where there is nothing: the format of margins in position rows."""
    return money(value) if value else "0"
