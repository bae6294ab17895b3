"""What a venue allows for one instrument: steps, limits, status. Rounding happens here and takes a direction."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from core.domain.ids import Asset, InstrumentId
from core.domain.money import ZERO, Notional, Price, Quantity


class LotRule(Struct, frozen=True, kw_only=True):
    """Quantity limits of one order type, base units."""

    minimum: Quantity
    maximum: Quantity
    step: Quantity


class Bracket(Struct, frozen=True, kw_only=True):
    """Up to this position notional (quote coin) the venue grants at most this leverage (VAL-05)."""

    most_notional: Notional
    max_leverage: int


BAND_MARGIN = Decimal("0.001")
"""The mark moves while an order travels: a limit price keeps this share away from the edge of the band."""


class PriceBand(Struct, frozen=True, kw_only=True):
    """How far from the mark the venue takes a limit price: factors, e.g. 1.05 and 0.95 (VAL-08)."""

    up: Decimal
    down: Decimal


class Instrument(Struct, frozen=True, kw_only=True):
    """One linear perpetual. `tradable` is the venue's status word already judged (only TRADING is), `status` that word.

    `stops`: whether the venue takes stop orders there, without which it is never tradable.
    `brackets` smallest notional first; empty = the venue has not told them. `listed_ms` when trading in it began, UTC;
    None = the venue does not say.
    """

    id: InstrumentId
    venue_symbol: str
    quote: Asset
    tick: Price
    lot: LotRule
    market_lot: LotRule
    min_notional: Notional
    tradable: bool
    max_leverage: int
    status: str = ""
    brackets: tuple[Bracket, ...] = ()
    band: PriceBand | None = None
    stops: bool = True
    listed_ms: int | None = None

    def most_notional(self, leverage: int) -> Notional | None:
        """The largest position the venue allows at `leverage`, quote coin; None when it has not told its brackets."""
        allowed = [bracket.most_notional for bracket in self.brackets if bracket.max_leverage >= leverage]
        if not self.brackets:
            return None
        return max(allowed, default=Notional(Decimal(0)))

    def buy_price_in_band(self, price: Decimal, mark: Decimal) -> Price:
        """At most `price`, on the tick, and a little inside what the venue takes from a buyer at this mark (VAL-08)."""
        most = price if self.band is None else min(price, mark * self.band.up * (1 - BAND_MARGIN))
        return self.round_price_down(most)

    def sell_price_in_band(self, price: Decimal, mark: Decimal) -> Price:
        """At least `price`, on the tick, and a little inside what the venue takes from a seller at this mark."""
        least = price if self.band is None else max(price, mark * self.band.down * (1 + BAND_MARGIN))
        return self.round_price_up(least)

    def market_parts(self, quantity: Quantity) -> list[Quantity]:
        """The whole of it as orders no larger than the venue takes at market."""
        most = self.market_lot.maximum
        whole = int(quantity // most) if most > ZERO else 0
        rest = Quantity(quantity - whole * most)
        return [*([most] * whole), *([rest] if rest else [])]

    def round_quantity(self, quantity: Decimal, rule: LotRule) -> Quantity:
        """Down to the step: never more than was asked for."""
        return Quantity((quantity / rule.step).to_integral_value(ROUND_FLOOR) * rule.step)

    def round_price_down(self, price: Decimal) -> Price:
        return Price((price / self.tick).to_integral_value(ROUND_FLOOR) * self.tick)

    def round_price_up(self, price: Decimal) -> Price:
        return Price((price / self.tick).to_integral_value(ROUND_CEILING) * self.tick)
