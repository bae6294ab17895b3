"""A closed candle of one instrument, as strategies and filters see it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec import Struct

from core.domain.money import Price

TIMEFRAME_MS: Final[dict[str, int]] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
"""Length of each timeframe `STRATEGY_TIMEFRAME` may name; all are aligned to the UTC epoch."""


class Candle(Struct, frozen=True):
    """`open_ms` UTC ms. `volume` base units, `turnover` quote coin. Only a candle whose time is over becomes one."""

    open_ms: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Decimal
    turnover: Decimal
