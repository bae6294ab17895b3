"""A signal after it was parsed and bounded at the edge; everything in it can be trusted to be well formed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field

from core.domain.ids import InstrumentId, SignalId
from core.domain.money import Price


class Side(StrEnum):
    """Direction of an order. A long is opened by BUY and closed by SELL."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


LEAST_MINUTES, MOST_MINUTES = Decimal(1), Decimal(600_000)
"""Of a time limit: less would close what was just opened, more is beyond what TIME_LIMIT_HOURS allows."""


class SignalParameters(Struct, frozen=True, kw_only=True):
    """What a signal may ask for itself; None = the configured default. Percent of the fill price.

    `trailing_distance_percent` is the callback: how far the trailing stop stays behind the best price.
    `time_limit_minutes` from the fill on; the configured limit still holds where it ends earlier.
    """

    stop_loss_percent: Decimal | None = None
    trailing_activation_percent: Decimal | None = None
    trailing_distance_percent: Decimal | None = None
    take_profit_percent: Decimal | None = None
    time_limit_minutes: Decimal | None = None
    max_trades: int | None = None


class Signal(Struct, frozen=True, kw_only=True):
    """Once-only by `id` within `source`, also across restarts (PRODUCT §2 W).

    `price` is what its maker saw, None when it does not say. `features` are the maker's own figures (patterns, rsi, …)
    as text: they decide nothing here and go into the execution row.
    """

    id: SignalId
    source: str
    instrument: InstrumentId
    side: Side
    score: Decimal
    event_time_ms: int
    expires_at_ms: int
    parameters: SignalParameters = SignalParameters()
    price: Price | None = None
    features: Mapping[str, str] = field(default_factory=dict)


class Unusable(Struct, frozen=True, kw_only=True):
    """A signal that could not become one: the reason code, the sentence, and what could be read of it."""

    id: SignalId
    source: str
    code: str
    detail: str
    symbol: str
