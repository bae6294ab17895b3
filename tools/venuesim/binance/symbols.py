"""The symbol table: exchangeInfo rows and leverage brackets from captures, and invented ones to reach any count."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

_DATA = Path(__file__).resolve().parent.parent / "data"
_ONBOARD_MS = 1_700_000_000_000
_PERPETUAL_DELIVERY_MS = 4_133_404_800_000

# Tiers of a middling symbol (2024 capture of a mid-cap contract, rounded): leverage, notional cap, maintenance ratio.
_TIERS = (
    (75, 10_000, "0.01"),
    (50, 50_000, "0.015"),
    (25, 400_000, "0.02"),
    (20, 1_000_000, "0.025"),
    (10, 4_000_000, "0.05"),
    (5, 8_000_000, "0.1"),
    (4, 10_000_000, "0.125"),
    (2, 20_000_000, "0.25"),
    (1, 40_000_000, "0.5"),
)


@cache
def _load(name: str) -> Any:
    return json.loads((_DATA / name).read_text())


def exchange_info_head() -> dict[str, Any]:
    """Everything of exchangeInfo but `serverTime` and `symbols`, with the rate limits really enforced."""
    info = _load("binance_exchange_info.json")
    return {key: info[key] for key in ("timezone", "futuresType", "rateLimits", "exchangeFilters", "assets")}


@cache
def captured_symbols() -> frozenset[str]:
    """The symbols that stand for real ones; every other one is generated."""
    return frozenset(row["symbol"] for row in _load("binance_exchange_info.json")["symbols"])


def named_count() -> int:
    """How many generated symbols have a name of their own; the rest are numbered."""
    return len(_load("binance_generated_symbols.json"))


@cache
def rows(count: int, seed: int) -> tuple[dict[str, Any], ...]:
    """`count` exchangeInfo rows: the captured symbols first, then generated ones. Deterministic by `seed`."""
    captured = _load("binance_exchange_info.json")["symbols"]
    invented = (_generated(base, quote, price) for base, quote, price in _invented(count - len(captured), seed))
    return (*captured, *invented)[:count]


@cache
def reference_prices(count: int, seed: int) -> dict[str, Decimal]:
    """Where each symbol's price path starts, in quote units."""
    info = _load("binance_exchange_info.json")
    known = {symbol: Decimal(price) for symbol, price in info["referencePrices"].items()}
    return known | {base + quote: price for base, quote, price in _invented(count - len(info["symbols"]), seed)}


def _invented(count: int, seed: int) -> list[tuple[str, str, Decimal]]:
    """Base, quote and reference price of `count` generated symbols: well-known names first, then numbered ones."""
    named = _load("binance_generated_symbols.json")
    table = [(entry["base"], entry["quote"], Decimal(entry["referencePrice"])) for entry in named[: max(count, 0)]]
    randomness = random.Random(f"symbols-{seed}")
    for number in range(1, count - len(table) + 1):
        price = Decimal(randomness.randint(1000, 9999)).scaleb(randomness.randint(-7, -1))
        table.append((f"SIM{number:04d}", "USDC" if number % 10 == 0 else "USDT", price))
    return table


@cache
def bracket_rows(symbol: str) -> tuple[dict[str, Any], ...]:
    """The leverage brackets of a symbol; numbers are JSON numbers, as on the wire."""
    for entry in _load("binance_leverage_brackets.json"):
        if entry["symbol"] == symbol:
            return tuple(entry["brackets"])
    tiers, floor, cum, before = [], 0, Decimal(0), Decimal(0)
    for number, (leverage, cap, ratio_text) in enumerate(_TIERS, start=1):
        ratio = Decimal(ratio_text)
        cum += floor * (ratio - before)
        tiers.append(
            {
                "bracket": number,
                "initialLeverage": leverage,
                "notionalCap": cap,
                "notionalFloor": floor,
                "maintMarginRatio": float(ratio),
                "cum": float(cum),
            }
        )
        floor, before = cap, ratio
    return tuple(tiers)


def row_filter(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """One of the seven filters of a row; their order within the list is not fixed."""
    return next(entry for entry in row["filters"] if entry["filterType"] == kind)


def _generated(base: str, quote: str, price: Decimal) -> dict[str, Any]:
    """An invented row in the venue's field set: tick near 1/10000 of the price, one step worth at most about 1 unit."""
    digits = max(1, 4 - price.adjusted())
    tick = Decimal(1).scaleb(-digits)
    step_digits = max(0, price.adjusted() + 1)
    step = Decimal(1).scaleb(-step_digits)
    most = Decimal(5_000_000).scaleb(-price.adjusted()).quantize(Decimal(1))
    lot = {"minQty": str(step), "stepSize": str(step)}
    symbol = base + quote
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_DELIVERY_MS,
        "onboardDate": _ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        "pricePrecision": digits + 1,
        "quantityPrecision": step_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["Layer-1"],
        "triggerProtect": "0.1000",
        "liquidationFee": "0.015000",
        "marketTakeBound": "0.10",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": f"{tick:.{digits + 1}f}",
                "maxPrice": str((price * 1000).quantize(Decimal(1)) + 1),
                "tickSize": f"{tick:.{digits + 1}f}",
            },
            {"filterType": "LOT_SIZE", **lot, "maxQty": f"{most:f}"},
            {"filterType": "MARKET_LOT_SIZE", **lot, "maxQty": f"{max(most / 5, Decimal(1)):.0f}"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.1500",
                "multiplierDown": "0.8500",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }
