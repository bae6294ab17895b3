"""The table of contracts: rows as the venue lists them, and invented ones to reach any count."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

_DATA = Path(__file__).resolve().parent.parent / "data" / "bybit_instruments.json"
_LAUNCH = "1700000000000"
_INVENTED_LEVERAGE = "50.00"

# What a tier's ceiling is in multiples of the first, by the leverage it still allows.
_TIER_LEVERAGES = (150, 125, 100, 75, 60, 50, 40, 30, 25, 20, 15, 10, 5, 4, 3, 2, 1)
_BASE_CEILING = {"BTC": 2_000_000, "ETH": 900_000, "SOL": 500_000, "XRP": 300_000}
_OTHER_CEILING = 200_000
_CEILING_STEPS = (1, 2, 3, 4, 6, 8, 10, 14, 20, 28, 40, 60, 80, 100, 120, 150, 200)


class Listing(Struct, frozen=True):
    """One contract: its row as the venue prints it, and where its market starts."""

    row: dict[str, Any]
    reference: Decimal
    generated: bool


class Tier(Struct, frozen=True):
    """One row of the risk limits: a ceiling of position value and what it demands, as fractions."""

    ceiling: int
    leverage: int
    initial: Decimal
    maintenance: Decimal
    deduction: Decimal


@cache
def listings(count: int, seed: int) -> tuple[Listing, ...]:
    """``count`` contracts: those of the venue's answers first, then invented ones. The same for the same seed."""
    data = _load()
    prices = {symbol: Decimal(price) for symbol, price in data["referencePrices"].items()}
    known = [Listing(_whole(row), prices[row["symbol"]], generated=False) for row in data["captured"]]
    known += [Listing(_whole(row), prices[row["symbol"]], generated=True) for row in data["placeholders"]]
    named = [_named(row) for row in data["generated"]]
    found = [*known, *named][:count]
    return (*found, *_numbered(count - len(found), seed))


def tiers(base: str, max_leverage: int) -> tuple[Tier, ...]:
    """Risk limits that begin with the contract's highest leverage. Invented; the maintenance rate is half the initial.

    The deduction makes the margin continuous where one tier follows the other.
    """
    unit = _BASE_CEILING.get(base, _OTHER_CEILING)
    rows: list[Tier] = []
    deduction, before, floor = Decimal(0), Decimal(0), 0
    allowed = [max_leverage, *(step for step in _TIER_LEVERAGES if step < max_leverage)]
    for leverage, factor in zip(allowed, _CEILING_STEPS, strict=False):
        initial = (1 / Decimal(leverage)).quantize(Decimal("0.0001"))
        maintenance = initial / 2
        deduction += floor * (maintenance - before) if rows else 0
        rows.append(Tier(unit * factor, leverage, initial, maintenance, deduction))
        before, floor = maintenance, unit * factor
    return tuple(rows)


@cache
def _load() -> Any:
    return json.loads(_DATA.read_text(encoding="utf-8"))


def _named(row: dict[str, str]) -> Listing:
    whole = _invented(row["base"], row["quote"], row["tickSize"], row["qtyStep"])
    return Listing(whole, Decimal(row["referencePrice"]), generated=True)


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """With the newer fields that the older captures lack."""
    return {"symbolId": _symbol_id(row["symbol"]), "symbolType": "", **row}


def _symbol_id(symbol: str) -> int:
    return random.Random(symbol).randint(1, 999)


def _numbered(count: int, seed: int) -> list[Listing]:
    rng = random.Random(f"symbols-{seed}")
    rows = []
    for number in range(1, count + 1):
        price = Decimal(rng.randint(1000, 9999)).scaleb(rng.randint(-7, -1))
        tick = Decimal(1).scaleb(-max(1, 4 - price.adjusted()))
        step = Decimal(1).scaleb(-max(0, price.adjusted() + 1))
        quote = "USDC" if number % 10 == 0 else "USDT"
        rows.append(Listing(_invented(f"SIM{number:04d}", quote, f"{tick:f}", f"{step:f}"), price, generated=True))
    return rows


def _invented(base: str, quote: str, tick: str, step: str) -> dict[str, Any]:
    """A contract that no answer of the venue was at hand for, in the venue's field set."""
    symbol = f"{base}PERP" if quote == "USDC" else f"{base}{quote}"
    unit, lot = Decimal(tick), Decimal(step)
    return {
        "symbol": symbol,
        "symbolId": _symbol_id(symbol),
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": quote,
        "launchTime": _LAUNCH,
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(unit.as_tuple().exponent))),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": _INVENTED_LEVERAGE, "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": f"{unit * 19_999_998:f}", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": f"{lot * 2_000_000:f}",
            "minOrderQty": step,
            "qtyStep": step,
            "postOnlyMaxOrderQty": f"{lot * 2_000_000:f}",
            "maxMktOrderQty": f"{lot * 400_000:f}",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 240,
        "settleCoin": quote,
        "copyTrading": "none",
        "upperFundingRate": "0.01",
        "lowerFundingRate": "-0.01",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.1"},
        "displayName": "",
        "symbolType": "",
    }
