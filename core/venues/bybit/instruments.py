"""instruments-info and risk-limit -> instruments. Only linear perpetuals in USDT and USDC (VAL-04)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Bracket, Instrument, LotRule, PriceBand
from core.domain.money import ZERO, Notional, Price, Quantity, decimal_of
from core.errors import MalformedPayload
from core.venues.bybit.facts import COINS, NOT_CRYPTO
from core.venues.bybit.payloads import InstrumentRow, RiskParameters, TierRow
from core.venues.payload import ceiling_in, shaped, whole_in

GONE = "NOT_LISTED"
"""Our word for the status of what the venue has ceased to list, or lists with rules nobody can read."""
TRADING = "Trading"
PERPETUAL = "LinearPerpetual"


class Listing(Struct, frozen=True, kw_only=True):
    """`unusable`: for each perpetual that cannot be traded its venue symbol and why: without rules no orders."""

    usable: tuple[Instrument, ...]
    unusable: Mapping[str, str]


def listing(
    rows: Iterable[Any], tiers: Mapping[str, tuple[Bracket, ...]], known: Mapping[Symbol, Instrument]
) -> Listing:
    """What the venue lists. `rows` are those of instruments-info, decoded; `known` is what it listed before: what is
    unchanged stays the same object, what is missing stays with its last rules and not tradable, so that a position in
    it can be closed and its stop cancelled (VAL-21). Raises MalformedPayload when no perpetual is among them."""
    usable: dict[Symbol, Instrument] = {}
    unusable: dict[str, str] = {}
    for row in rows:
        name = str(row.get("symbol")) if isinstance(row, Mapping) else "?"
        if not isinstance(row, Mapping) or row.get("contractType") != PERPETUAL or row.get("settleCoin") not in COINS:
            continue
        try:
            told = shaped(row, InstrumentRow, "bybit instruments-info")
            instrument = _instrument(told, tiers.get(told.symbol, ()))
        except (MalformedPayload, ValueError) as error:
            unusable[name] = str(error)
            continue
        old = known.get(instrument.id.symbol)
        usable[instrument.id.symbol] = old if old is not None and old == instrument else instrument
    if not usable:
        raise MalformedPayload("bybit instruments-info", "no linear perpetual in it")
    gone = (replace(i, tradable=False, status=GONE) for symbol, i in known.items() if symbol not in usable)
    return Listing(usable=(*usable.values(), *gone), unusable=unusable)


def brackets_of(rows: Iterable[TierRow]) -> dict[str, tuple[Bracket, ...]]:
    """Per venue symbol, smallest notional first. Raises ValueError for a leverage or a ceiling that cannot be."""
    tiers: defaultdict[str, list[Bracket]] = defaultdict(list)
    for row in rows:
        most, leverage = ceiling_in(row.riskLimitValue, "riskLimitValue"), _whole(row.maxLeverage)
        if leverage < 1:
            raise ValueError(f"{row.symbol}: a risk limit without room")
        tiers[row.symbol].append(Bracket(most_notional=Notional(most), max_leverage=leverage))
    return {symbol: tuple(sorted(found, key=lambda tier: tier.most_notional)) for symbol, found in tiers.items()}


def _instrument(row: InstrumentRow, brackets: tuple[Bracket, ...]) -> Instrument:
    tick, lot = decimal_of(row.priceFilter.tickSize, "tickSize"), row.lotSizeFilter
    if tick <= 0:
        raise ValueError("tickSize: not positive")
    symbol = Symbol(f"{row.baseCoin}/{row.quoteCoin}:{row.settleCoin}")
    return Instrument(
        id=InstrumentId(VenueName.BYBIT, symbol),
        venue_symbol=row.symbol,
        quote=Asset(row.quoteCoin),
        tick=Price(tick),
        lot=_lot(row, lot.maxOrderQty),
        market_lot=_lot(row, lot.maxMktOrderQty or lot.maxOrderQty),
        min_notional=Notional(decimal_of(lot.minNotionalValue, "minNotionalValue") if lot.minNotionalValue else ZERO),
        # Before the listing there are auctions, which take no stops; stocks and metals need an agreement and have
        # sessions.
        tradable=row.status == TRADING and not row.isPreListing and row.symbolType not in NOT_CRYPTO,
        max_leverage=max(1, _whole(row.leverageFilter.maxLeverage)),
        status=row.status,
        brackets=brackets,
        band=_band(row.riskParameters),
        listed_ms=whole_in(row.launchTime) or None,
    )


def _lot(row: InstrumentRow, most: str) -> LotRule:
    """Market orders, and what a stop becomes, have a smaller ceiling of their own."""
    step = decimal_of(row.lotSizeFilter.qtyStep, "qtyStep")
    if step <= 0:
        raise ValueError("qtyStep: not positive")
    return LotRule(
        minimum=Quantity(decimal_of(row.lotSizeFilter.minOrderQty, "minOrderQty")),
        maximum=Quantity(ceiling_in(most, "maximum quantity")),
        step=Quantity(step),
    )


def _band(risk: RiskParameters) -> PriceBand | None:
    """A limit price beyond it is moved to it in silence (§5.6); ours is cut off there before it is sent."""
    if not risk.priceLimitRatioX:
        return None
    ratio = decimal_of(risk.priceLimitRatioX, "priceLimitRatioX")
    if not 0 < ratio < 1:
        raise ValueError("priceLimitRatioX: the band does not hold the price itself")
    return PriceBand(up=1 + ratio, down=1 - ratio)


def _whole(text: str) -> int:
    return int(decimal_of(text, "maxLeverage").to_integral_value(ROUND_FLOOR))
