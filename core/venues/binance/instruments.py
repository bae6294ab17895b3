"""exchangeInfo and leverage brackets, read by ccxt market by market -> instruments. Only linear perpetuals (VAL-04)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Bracket, Instrument, LotRule, PriceBand
from core.domain.money import FINEST_PLACES, Notional, Price, Quantity, decimal_of
from core.errors import MalformedPayload
from core.venues.binance.payloads import BracketRow
from core.venues.payload import ceiling_in, shaped

GONE = "NOT_LISTED"
"""Our word for the status of what the venue has ceased to list, or lists with rules nobody can read."""


class Listing(Struct, frozen=True, kw_only=True):
    """`unusable`: for each perpetual that cannot be traded its venue symbol and why: without rules no orders."""

    usable: tuple[Instrument, ...]
    unusable: Mapping[str, str]


def listing(
    rules: object,
    bracket_rows: object,
    parse_market: Callable[[Any], Mapping[str, Any] | None],
    known: Mapping[Symbol, Instrument],
) -> Listing:
    """What the venue lists, from its own two answers. `known` is what it listed before: what is unchanged stays the
    same object, what is missing stays with its last rules and not tradable, so that a position in it can be closed and
    its stop cancelled (VAL-21).

    Raises MalformedPayload when an answer has another shape, or no perpetual in it.
    """
    rows = rules.get("symbols") if isinstance(rules, Mapping) else None
    if not isinstance(rows, list):
        raise MalformedPayload("binance exchangeInfo", "no list of symbols in it")
    try:
        brackets = brackets_of(shaped(bracket_rows, list[BracketRow], "binance leverageBracket"))
    except ValueError as error:
        raise MalformedPayload("binance leverageBracket", str(error)) from None
    markets, unread = _markets(rows, parse_market)
    usable, unusable = instruments_of(markets, brackets)
    if not usable:
        raise MalformedPayload("binance exchangeInfo", "no linear perpetual in it")
    listed = {i.id.symbol for i in usable}
    gone = (replace(i, tradable=False, status=GONE) for symbol, i in known.items() if symbol not in listed)
    return Listing(usable=(*(_same(known.get(i.id.symbol), i) for i in usable), *gone), unusable={**unread, **unusable})


def _markets(
    rows: list[Any], parse_market: Callable[[Any], Mapping[str, Any] | None]
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    markets: list[Mapping[str, Any]] = []
    unread: dict[str, str] = {}
    for row in rows:
        try:
            if _endless(row):
                raise ValueError("a precision no price has")
            if (market := parse_market(row)) is not None:
                markets.append(market)
        except Exception as error:  # swallow: told as unusable; one odd row must not cost the other markets
            name = row.get("symbol") if isinstance(row, dict) else None
            unread[str(name)] = f"ccxt cannot read it: {type(error).__name__}"
    return markets, unread


def _endless(row: Any) -> bool:
    """ccxt counts up to a precision, place by place."""
    told = [value for name, value in row.items() if name.endswith(("Precision", "Scale"))]
    return not all(isinstance(value, int) and value <= FINEST_PLACES for value in told)


def instruments_of(
    markets: Iterable[Mapping[str, Any]], brackets: Mapping[str, tuple[Bracket, ...]]
) -> tuple[list[Instrument], dict[str, str]]:
    """The instruments, and for each perpetual that cannot be one its venue symbol and why: without rules no orders."""
    usable: list[Instrument] = []
    unusable: dict[str, str] = {}
    for market in markets:
        if not (market.get("swap") and market.get("linear")):
            continue
        venue_symbol = str(market["id"])
        try:
            usable.append(_instrument(market, brackets.get(venue_symbol, ())))
        except (KeyError, ValueError) as error:
            unusable[venue_symbol] = f"missing {error}" if isinstance(error, KeyError) else str(error)
    return usable, unusable


def brackets_of(rows: Sequence[BracketRow]) -> dict[str, tuple[Bracket, ...]]:
    """Per venue symbol, smallest notional first. Raises ValueError for a leverage or a cap that cannot be."""
    return {row.symbol: _brackets(row) for row in rows}


def _brackets(row: BracketRow) -> tuple[Bracket, ...]:
    told = [
        Bracket(most_notional=Notional(ceiling_in(str(b.notionalCap), "notionalCap")), max_leverage=b.initialLeverage)
        for b in row.brackets
    ]
    if any(b.max_leverage < 1 for b in told):
        raise ValueError(f"{row.symbol}: a leverage bracket without room")
    return tuple(sorted(told, key=lambda bracket: bracket.most_notional))


def _instrument(market: Mapping[str, Any], brackets: tuple[Bracket, ...]) -> Instrument:
    info = market["info"]
    filters = {row["filterType"]: row for row in info["filters"]}
    tick = decimal_of(filters["PRICE_FILTER"]["tickSize"], "tickSize")
    if tick <= 0:
        raise ValueError("tickSize: not positive")
    stops = "STOP_MARKET" in info["orderTypes"]
    return Instrument(
        id=InstrumentId(VenueName.BINANCE, Symbol(market["symbol"])),
        venue_symbol=str(market["id"]),
        quote=Asset(market["quote"]),
        tick=Price(tick),
        lot=_lot(filters["LOT_SIZE"]),
        market_lot=_lot(filters["MARKET_LOT_SIZE"]),
        min_notional=Notional(decimal_of(filters["MIN_NOTIONAL"]["notional"], "notional")),
        # TradFi perpetuals (stocks, metals) need an agreement and have sessions.
        tradable=info["status"] == "TRADING" and info["contractType"] == "PERPETUAL" and stops,
        max_leverage=max((bracket.max_leverage for bracket in brackets), default=1),
        status=str(info["status"]),
        brackets=brackets,
        band=_band(filters.get("PERCENT_PRICE")),
        stops=stops,
        listed_ms=int(info["onboardDate"]) if info.get("onboardDate") else None,
    )


def _lot(row: Mapping[str, Any]) -> LotRule:
    step = decimal_of(row["stepSize"], "stepSize")
    if step <= 0:
        raise ValueError("stepSize: not positive")
    return LotRule(
        minimum=Quantity(decimal_of(row["minQty"], "minQty")),
        maximum=Quantity(ceiling_in(row["maxQty"], "maxQty")),
        step=Quantity(step),
    )


def _band(row: Mapping[str, Any] | None) -> PriceBand | None:
    if row is None:
        return None
    up, down = decimal_of(row["multiplierUp"], "multiplierUp"), decimal_of(row["multiplierDown"], "multiplierDown")
    if not 0 < down <= 1 <= up:
        raise ValueError("PERCENT_PRICE: the band does not hold the price itself")
    return PriceBand(up=up, down=down)


def _same(old: Instrument | None, new: Instrument) -> Instrument:
    return old if old is not None and old == new else new
