"""Equity and its peak. Both move together when money is transferred, so that only results make a drawdown."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from core.domain.money import HUNDRED, ZERO


class Equity(Struct, frozen=True, kw_only=True):
    """Quote coin, all venues: wallets and open results."""

    now: Decimal = ZERO
    peak: Decimal = ZERO

    @property
    def drawdown_percent(self) -> Decimal:
        """Below the peak, percent of the peak; leverage has no say in it (RSK-06)."""
        return (self.peak - self.now) / self.peak * HUNDRED if self.peak > ZERO else ZERO

    def earned(self, result: Decimal) -> Equity:
        """Profit (or loss, negative) of trading, fees and funding included."""
        return Equity(now=self.now + result, peak=max(self.peak, self.now + result))

    def transferred(self, amount: Decimal) -> Equity:
        """Deposited (or withdrawn, negative), or found on a venue that was not counted before."""
        return Equity(now=self.now + amount, peak=self.peak + amount)

    def measured(self, equity: Decimal) -> Equity:
        """What the venues tell now. A difference to ours was told by nobody as a result, so it moves the peak, too."""
        return self.transferred(equity - self.now)

    def begun_anew(self) -> Equity:
        return replace(self, peak=self.now)
