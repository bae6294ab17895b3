"""One façade's view of its contracts: the venue's rows joined with the engine's live instruments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tools.venuesim.bybit import symbols
from tools.venuesim.bybit.market_frames import short
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Bracket, Instrument, SymbolStatus

STATUS = {
    SymbolStatus.TRADING: "Trading",
    SymbolStatus.PENDING: "PreLaunch",
    SymbolStatus.HALTED: "Trading",
    SymbolStatus.SETTLING: "Delivering",
    SymbolStatus.CLOSED: "Closed",
}
"""A halted contract keeps its status on this venue; only its orders are refused."""
ONE_WAY_ASSETS = frozenset({"USDC"})
"""Contracts settled in these know no hedge mode."""
MAKER_FEE = Decimal("0.0002")
TAKER_FEE = Decimal("0.00055")
_MINUTES_PER_HOUR = 60
_MARKET_BOUND = Decimal("0.05")
_MANY = 100_000


def instruments(count: int, seed: int) -> list[Instrument]:
    """``count`` instruments for the engine."""
    return [_instrument(listing) for listing in symbols.listings(count, seed)]


def _instrument(listing: symbols.Listing) -> Instrument:
    row = listing.row
    price, lot, risk = row["priceFilter"], row["lotSizeFilter"], row["riskParameters"]
    band, wide = Decimal(risk["priceLimitRatioX"]), Decimal(risk["priceLimitRatioY"])
    step, least = Decimal(lot["qtyStep"]), Decimal(lot["minOrderQty"])
    leverage = int(Decimal(row["leverageFilter"]["maxLeverage"]))
    return Instrument(
        symbol=row["symbol"],
        base=row["baseCoin"],
        quote=row["quoteCoin"],
        settle=row["settleCoin"],
        tick=Decimal(price["tickSize"]),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        step=step,
        min_qty=least,
        max_qty=Decimal(lot["maxOrderQty"]),
        market_step=step,
        market_min_qty=least,
        market_max_qty=Decimal(lot["maxMktOrderQty"]),
        min_notional=Decimal(lot["minNotionalValue"]),
        band_up=1 + band,
        band_down=1 - band,
        brackets=_brackets(row["baseCoin"], leverage),
        reference=listing.reference,
        market_bound=max(wide, _MARKET_BOUND),
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        funding_hours=int(row["fundingInterval"]) // _MINUTES_PER_HOUR,
        generated=listing.generated,
        extras={"upperFundingRate": row["upperFundingRate"]},
    )


def _brackets(base: str, leverage: int) -> tuple[Bracket, ...]:
    rows, floor = [], Decimal(0)
    for tier in symbols.tiers(base, leverage):
        ceiling = Decimal(tier.ceiling)
        rows.append(
            Bracket(leverage=tier.leverage, floor=floor, cap=ceiling, rate=tier.maintenance, cum=tier.deduction)
        )
        floor = ceiling
    return tuple(rows)


class SymbolTable:
    """Rows with the status and the filters that the engine really applies."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        count = len(exchange.instruments())
        self._rows = {listing.row["symbol"]: listing.row for listing in symbols.listings(count, seed)}
        self._live: dict[str, tuple[Instrument, dict[str, Any]]] = {}

    def wire_row(self, symbol: str) -> dict[str, Any]:
        """One row of instruments-info."""
        instrument = self._exchange.instrument(symbol)
        known = self._live.get(symbol)
        if known is None or known[0] is not instrument:
            known = self._live[symbol] = (instrument, _live_row(self._rows[symbol], instrument))
        return known[1]

    def risk_id(self, instrument: Instrument, value: Decimal) -> tuple[int, Decimal]:
        """Number and ceiling of the tier a position of this value falls into."""
        number, row = next(
            ((index, row) for index, row in enumerate(instrument.brackets) if value < row.cap),
            (len(instrument.brackets) - 1, instrument.brackets[-1]),
        )
        return self._first_risk_id(instrument) + number, row.cap

    def risk_rows(self, instrument: Instrument) -> list[dict[str, Any]]:
        """The rows of risk-limit: fractions, the lowest tier first."""
        first = self._first_risk_id(instrument)
        return [
            {
                "id": first + number,
                "symbol": instrument.symbol,
                "riskLimitValue": short(row.cap),
                "maintenanceMargin": short(row.rate),
                "initialMargin": short(row.rate * 2),
                "isLowestRisk": int(number == 0),
                "maxLeverage": f"{row.leverage}.00",
                "mmDeduction": short(row.cum) if row.cum else "",
            }
            for number, row in enumerate(instrument.brackets)
        ]

    def _first_risk_id(self, instrument: Instrument) -> int:
        row = self._rows[instrument.symbol]
        return 1 if instrument.symbol == "BTCUSDT" else int(row["symbolId"]) * 100 % _MANY + 1


def _live_row(row: dict[str, Any], instrument: Instrument) -> dict[str, Any]:
    price, lot = row["priceFilter"], row["lotSizeFilter"]
    return {
        **row,
        "status": STATUS[instrument.status],
        "priceFilter": _live(
            price, tickSize=instrument.tick, minPrice=instrument.min_price, maxPrice=instrument.max_price
        ),
        "lotSizeFilter": _live(
            lot,
            qtyStep=instrument.step,
            minOrderQty=instrument.min_qty,
            maxOrderQty=instrument.max_qty,
            maxMktOrderQty=instrument.market_max_qty,
            minNotionalValue=instrument.min_notional,
        ),
    }


def _live(texts: dict[str, str], **values: Decimal) -> dict[str, str]:
    """The texts as they are, but where the engine's number has become another."""
    changed = {name: short(value) for name, value in values.items() if Decimal(texts[name]) != value}
    return {**texts, **changed}
