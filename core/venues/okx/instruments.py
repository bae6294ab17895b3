"""The venue's list of swaps, read by ccxt row by row -> instruments. Linear perpetuals only (VAL-04).

Sizes leave here in base units. Position tiers count contracts and are told per family; `with_tiers` makes notionals of
them at the mark of that moment, so a bracket is as old as the rules and moves with the price only when they are loaded
anew. The venue's own refusal (51004) is the last word where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Bracket, Instrument, LotRule
from core.domain.money import ZERO, Notional, Price, Quantity, decimal_of
from core.errors import MalformedPayload
from core.venues.okx.contracts import Contract, Listed
from core.venues.okx.facts import COINS_ONLY
from core.venues.okx.payloads import TierRow
from core.venues.payload import ceiling_in, whole_in

GONE = "NOT_LISTED"
"""Our word for the state of what the venue has ceased to list, or lists with rules nobody can read."""


class Listing(Struct, frozen=True, kw_only=True):
    """`unusable`: for each swap that cannot be traded its venue symbol and why: without rules no orders."""

    usable: tuple[Listed, ...]
    unusable: Mapping[str, str]


def listing(
    rows: object, parse_market: Callable[[Any], Mapping[str, Any] | None], known: Mapping[str, Listed]
) -> Listing:
    """What the venue lists. `known`, by venue symbol, is what it listed before: what is unchanged stays the same object
    and keeps its brackets, what is missing stays with its last rules and not tradable, so that a position in it can be
    closed and its stop cancelled (VAL-21).

    Raises MalformedPayload when the answer has another shape, or no linear swap in it.
    """
    data = rows.get("data") if isinstance(rows, Mapping) else None
    if not isinstance(data, list):
        raise MalformedPayload("okx instruments", "no list of instruments in it")
    usable: dict[str, Listed] = {}
    unusable: dict[str, str] = {}
    for row in data:
        name = str(row.get("instId")) if isinstance(row, dict) else str(row)[:40]
        try:
            listed = _listed(row, parse_market)
        except (KeyError, ValueError) as error:
            unusable[name] = f"missing {error}" if isinstance(error, KeyError) else str(error)
            continue
        if listed is not None:
            usable[name] = _same(known.get(name), listed)
    if not usable:
        raise MalformedPayload("okx instruments", "no linear swap in it")
    gone = tuple(
        replace(old, instrument=replace(old.instrument, tradable=False, status=GONE))
        for name, old in known.items()
        if name not in usable
    )
    return Listing(usable=(*usable.values(), *gone), unusable=unusable)


def with_tiers(listed: Iterable[Listed], tiers: Iterable[TierRow], marks: Mapping[str, Decimal]) -> list[Listed]:
    """The same with brackets where both tiers and a mark are told; a family without them keeps what it has. Raises
    MalformedPayload."""
    by_family: dict[str, list[TierRow]] = {}
    for tier in tiers:
        by_family.setdefault(tier.instFamily or tier.uly, []).append(tier)
    return [_bracketed(row, by_family.get(row.contract.family, ()), marks.get(row.contract.inst_id)) for row in listed]


def _bracketed(row: Listed, tiers: Sequence[TierRow], mark: Decimal | None) -> Listed:
    if not tiers or not mark:
        return row
    try:
        told = [
            Bracket(
                most_notional=Notional(ceiling_in(tier.maxSz, "maxSz") * row.contract.size * mark),
                max_leverage=int(decimal_of(tier.maxLever, "maxLever")),
            )
            for tier in tiers
        ]
    except ValueError as error:
        raise MalformedPayload("okx position-tiers", str(error)) from None
    brackets = tuple(sorted(told, key=lambda bracket: bracket.most_notional))
    return replace(row, instrument=replace(row.instrument, brackets=brackets))


def _listed(row: Any, parse_market: Callable[[Any], Mapping[str, Any] | None]) -> Listed | None:
    """None for what is no linear perpetual. Raises KeyError, ValueError."""
    market = _market(row, parse_market)
    if market is None or not (market.get("swap") and market.get("linear")):
        return None
    info = market["info"]
    size = _positive(info["ctVal"], "ctVal") * (_positive(info["ctMult"], "ctMult") if info.get("ctMult") else 1)
    code = info.get("instIdCode")
    contract = Contract(
        instrument=InstrumentId(VenueName.OKX, Symbol(market["symbol"])),
        inst_id=str(info["instId"]),
        size=size,
        code=code if isinstance(code, int) else None,
        family=str(info.get("instFamily") or info.get("uly") or ""),
    )
    return Listed(instrument=_instrument(market, info, contract), contract=contract)


def _market(row: Any, parse_market: Callable[[Any], Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    try:
        return parse_market(row)
    except Exception as error:
        # What ccxt raises for a row it cannot read is any exception there is; the row is told as unusable.
        raise ValueError(f"ccxt cannot read it: {type(error).__name__}") from error


def _instrument(market: Mapping[str, Any], info: Mapping[str, Any], contract: Contract) -> Instrument:
    state = str(info["state"])
    step = _positive(info["lotSz"], "lotSz") * contract.size
    least = _positive(info["minSz"], "minSz") * contract.size
    most = ceiling_in(info["maxLmtSz"], "maxLmtSz") * contract.size
    # A position must fit into one market order and one stop.
    told = [ceiling_in(info.get(name), name) * contract.size for name in ("maxMktSz", "maxStopSz")]
    return Instrument(
        id=contract.instrument,
        venue_symbol=contract.inst_id,
        quote=Asset(str(market["settle"])),
        tick=Price(_positive(info["tickSz"], "tickSz")),
        lot=LotRule(minimum=Quantity(least), maximum=Quantity(most), step=Quantity(step)),
        market_lot=LotRule(minimum=Quantity(least), maximum=Quantity(min([most, *told])), step=Quantity(step)),
        min_notional=Notional(ZERO),
        # Before its opening a swap trades by rules of its own; stocks and metals follow other markets' hours.
        tradable=state == "live"
        and info.get("ruleType", "normal") == "normal"
        and info.get("instCategory", "") in COINS_ONLY,
        max_leverage=int(decimal_of(info["lever"], "lever")) if info.get("lever") else 1,
        status=state,
        # Some begin with a phase of their own, which is not trading yet.
        listed_ms=_ms_or_none(info.get("contTdSwTime") or info.get("listTime")),
    )


def _ms_or_none(text: object) -> int | None:
    return whole_in(text) if isinstance(text, str) else None


def _positive(text: object, field: str) -> Decimal:
    value = decimal_of(text, field)
    if value <= 0:
        raise ValueError(f"{field}: not positive")
    return value


def _same(old: Listed | None, new: Listed) -> Listed:
    if old is None:
        return new
    kept = replace(new, instrument=replace(new.instrument, brackets=old.instrument.brackets))
    return old if kept == old else kept
