"""The table of contracts: rows as the venue lists them, and invented ones to reach any count."""

from __future__ import annotations

import json
import random
from decimal import ROUND_DOWN, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

_DATA = Path(__file__).resolve().parent.parent / "data" / "okx_instruments.json"
_LISTED_MS = "1700000000000"
_FIRST_INVENTED_CODE = 950_001
_FIRST_NUMBERED_CODE = 970_001
_INVENTED_LEVERAGE = "50"
_NUMBERED_USDC = 10

# What a tier's ceiling is in multiples of the first, by the leverage it still allows.
_TIER_LEVERAGES = (100, 75, 50, 40, 30, 25, 20, 15, 10, 8, 5, 4, 3, 2, 1)
_CEILING_STEPS = (1, 2, 3, 4, 6, 8, 12, 18, 30, 45, 70, 100, 140, 200, 300)
_FIRST_CEILING = {"BTC": 10_000_000, "ETH": 5_000_000, "SOL": 1_000_000, "XRP": 500_000, "DOGE": 500_000}
_OTHER_CEILING = 250_000
_MAINTENANCE_SHARE = Decimal("0.4")
"""Of the initial margin rate: 0.4 % at 100x, 0.8 % at 50x, as on the venue's BTC tiers."""


class Listing(Struct, frozen=True):
    """One contract: its row as the venue prints it, and where its market starts."""

    row: dict[str, Any]
    reference: Decimal
    generated: bool


class Tier(Struct, frozen=True):
    """One row of the position tiers: a ceiling in contracts and what it demands, as fractions."""

    ceiling: Decimal
    leverage: int
    initial: Decimal
    maintenance: Decimal


@cache
def listings(count: int, seed: int) -> tuple[Listing, ...]:
    """``count`` contracts: those of the venue's answers first, then invented ones. The same for the same seed."""
    data = _load()
    prices = {base: Decimal(price) for base, price in data["referencePrices"].items()}
    known = [Listing(_whole(row), prices[row["ctValCcy"]], generated=False) for row in data["captured"]]
    known += [Listing(_whole(row), prices[row["ctValCcy"]], generated=True) for row in data["placeholders"]]
    named = [_named(row, _FIRST_INVENTED_CODE + number) for number, row in enumerate(data["generated"])]
    found = [*known, *named][:count]
    return (*found, *_numbered(count - len(found), seed))


def tiers(row: dict[str, Any], reference: Decimal) -> tuple[Tier, ...]:
    """Position tiers that begin with the contract's highest leverage; invented.

    The venue's maintenance rate counts for the whole position, so a larger one falls into a higher rate altogether.
    """
    highest = int(row["lever"])
    contract = Decimal(row["ctVal"]) * reference
    unit = _round(_FIRST_CEILING.get(row["ctValCcy"], _OTHER_CEILING) / contract)
    allowed = [highest, *(leverage for leverage in _TIER_LEVERAGES if leverage < highest)]
    found = []
    for leverage, factor in zip(allowed, _CEILING_STEPS, strict=False):
        initial = (1 / Decimal(leverage)).quantize(Decimal("0.0001"))
        found.append(Tier(unit * factor, leverage, initial, initial * _MAINTENANCE_SHARE))
    return tuple(found)


def _round(value: Decimal) -> Decimal:
    """One leading digit, at least 1."""
    return max(value.quantize(Decimal(1).scaleb(value.adjusted()), ROUND_DOWN), Decimal(1))


@cache
def _load() -> Any:
    return json.loads(_DATA.read_text(encoding="utf-8"))


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """With the newer fields that the older captures lack."""
    return {"groupId": "1", "instCategory": "1", "upcChg": [], **row}


def _named(row: dict[str, str], code: int) -> Listing:
    whole = _invented(row["base"], row["quote"], code, row["ctVal"], row["lotSz"], row["tickSz"])
    return Listing(whole, Decimal(row["referencePrice"]), generated=True)


def _numbered(count: int, seed: int) -> list[Listing]:
    rng = random.Random(f"symbols-{seed}")
    rows = []
    for number in range(1, count + 1):
        price = Decimal(rng.randint(1000, 9999)).scaleb(rng.randint(-7, -1))
        tick = Decimal(1).scaleb(-max(1, 4 - price.adjusted()))
        contract = Decimal(1).scaleb(1 - price.adjusted())
        quote = "USDC" if number % _NUMBERED_USDC == 0 else "USDT"
        code = _FIRST_NUMBERED_CODE + number
        row = _invented(f"SIM{number:04d}", quote, code, f"{contract:f}", "0.1", f"{tick:f}")
        rows.append(Listing(row, price, generated=True))
    return rows


def _invented(base: str, quote: str, code: int, contract: str, lot: str, tick: str) -> dict[str, Any]:
    """A contract that no answer of the venue was at hand for, in the venue's field set."""
    family = f"{base}-{quote}"
    blank = dict.fromkeys(
        ("alias", "auctionEndTime", "baseCcy", "contTdSwTime", "expTime", "maxMktAmt", "maxPlatOILmt", "openType",
         "optType", "posLmtAmt", "posLmtPct", "preMktSwTime", "quoteCcy", "stk"),
        "",
    )  # fmt: skip
    return {
        **blank,
        "category": "1",
        "ctMult": "1",
        "ctType": "linear",
        "ctVal": contract,
        "ctValCcy": base,
        "futureSettlement": False,
        "groupId": "1",
        "instCategory": "1",
        "instFamily": family,
        "instId": f"{family}-SWAP",
        "instIdCode": code,
        "instType": "SWAP",
        "lever": _INVENTED_LEVERAGE,
        "listTime": _LISTED_MS,
        "lotSz": lot,
        "maxIcebergSz": "100000000.0000000000000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktSz": "10000",
        "maxStopSz": "10000",
        "maxTriggerSz": "100000000.0000000000000000",
        "maxTwapSz": "100000000.0000000000000000",
        "minSz": lot,
        "ruleType": "normal",
        "settleCcy": quote,
        "state": "live",
        "tickSz": tick,
        "tradeQuoteCcyList": [],
        "uly": family,
        "upcChg": [],
    }
