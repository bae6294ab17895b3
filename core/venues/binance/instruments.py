"""ccxt's markets (with Binance's own row in `info`) -> instruments. Only linear perpetuals (VAL-04)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument, LotRule
from core.domain.money import Notional, Price, Quantity, decimal_of


def instruments_of(
    markets: Iterable[Mapping[str, Any]], max_leverage: Mapping[str, int]
) -> tuple[list[Instrument], dict[str, str]]:
    """The instruments, and for each perpetual that cannot be one its venue symbol and why: without rules no orders."""
    usable: list[Instrument] = []
    unusable: dict[str, str] = {}
    for market in markets:
        if not (market.get("swap") and market.get("linear")):
            continue
        venue_symbol = str(market["id"])
        try:
            usable.append(_instrument(market, max_leverage.get(venue_symbol, 1)))
        except (KeyError, ValueError) as error:
            unusable[venue_symbol] = f"missing {error}" if isinstance(error, KeyError) else str(error)
    return usable, unusable


def _instrument(market: Mapping[str, Any], max_leverage: int) -> Instrument:
    info = market["info"]
    filters = {row["filterType"]: row for row in info["filters"]}
    tick = decimal_of(filters["PRICE_FILTER"]["tickSize"], "tickSize")
    if tick <= 0:
        raise ValueError("tickSize: not positive")
    return Instrument(
        id=InstrumentId(VenueName.BINANCE, Symbol(market["symbol"])),
        venue_symbol=str(market["id"]),
        quote=Asset(market["quote"]),
        tick=Price(tick),
        lot=_lot(filters["LOT_SIZE"]),
        market_lot=_lot(filters["MARKET_LOT_SIZE"]),
        min_notional=Notional(decimal_of(filters["MIN_NOTIONAL"]["notional"], "notional")),
        # TradFi perpetuals (stocks, metals) need an agreement and have sessions.
        tradable=info["status"] == "TRADING" and info["contractType"] == "PERPETUAL",
        max_leverage=max_leverage,
    )


def _lot(row: Mapping[str, Any]) -> LotRule:
    step = decimal_of(row["stepSize"], "stepSize")
    if step <= 0:
        raise ValueError("stepSize: not positive")
    return LotRule(
        minimum=Quantity(decimal_of(row["minQty"], "minQty")),
        maximum=Quantity(decimal_of(row["maxQty"], "maxQty")),
        step=Quantity(step),
    )
