"""The channels: at which address each is found, what it is asked for by, and how often it may speak."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from tools.venuesim.okx.bars import INTERVALS
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import SWAP

KINDS = ("SPOT", "MARGIN", SWAP, "FUTURES", "OPTION")
ANY = "ANY"
CANDLES = ("candle", "mark-price-candle", "index-candle")
BOOKS = {"books": 400, "books5": 5, "bbo-tbt": 1}
PAGED = frozenset({"account", "positions"})
"""Their pushes say what made them, and come in pages."""
_BOOKS_OF_THE_RICH = {"books-l2-tbt": 60029, "books50-l2-tbt": 60030}


class Place(StrEnum):
    """The last part of a socket's address."""

    PUBLIC = "public"
    PRIVATE = "private"
    BUSINESS = "business"


class By(StrEnum):
    """What a channel is asked for by."""

    INSTRUMENT = "instId"
    INDEX = "index"
    """An instId too, but that of an index."""
    KIND = "instType"
    COIN = "ccy"
    NOTHING = ""


class Channel(Struct, frozen=True):
    name: str
    place: Place
    by: By
    pace_ms: int = 0
    """Least time between two pushes, of channels about markets."""
    login: bool = False
    refusal: int | None = None
    """The code that keeps an account of this fee tier out."""


def _table() -> dict[str, Channel]:
    public, private, business = Place.PUBLIC, Place.PRIVATE, Place.BUSINESS
    rows = [
        Channel("tickers", public, By.INSTRUMENT, 100),
        Channel("trades", public, By.INSTRUMENT),
        Channel("trades-all", business, By.INSTRUMENT),
        Channel("mark-price", public, By.INSTRUMENT, 200),
        Channel("price-limit", public, By.INSTRUMENT, 200),
        Channel("open-interest", public, By.INSTRUMENT, 3_000),
        Channel("funding-rate", public, By.INSTRUMENT, 60_000),
        Channel("index-tickers", public, By.INDEX, 100),
        Channel("bbo-tbt", public, By.INSTRUMENT, 10),
        Channel("books5", public, By.INSTRUMENT, 100),
        Channel("books", public, By.INSTRUMENT, 100),
        *(Channel(name, public, By.INSTRUMENT, refusal=code) for name, code in _BOOKS_OF_THE_RICH.items()),
        Channel("instruments", public, By.KIND),
        Channel("liquidation-orders", public, By.KIND),
        Channel("adl-warning", public, By.KIND),
        Channel("status", public, By.NOTHING),
        Channel("account", private, By.COIN, login=True),
        Channel("positions", private, By.KIND, login=True),
        Channel("balance_and_position", private, By.NOTHING, login=True),
        Channel("orders", private, By.KIND, login=True),
        Channel("fills", private, By.NOTHING, login=True, refusal=64003),
        Channel("liquidation-warning", private, By.KIND, login=True),
        Channel("account-greeks", private, By.COIN, login=True),
        Channel("orders-algo", business, By.KIND, login=True),
        Channel("algo-advance", business, By.KIND, login=True),
    ]
    rows += [
        Channel(f"{kind}{interval}", business, By.INDEX if kind == "index-candle" else By.INSTRUMENT, 1_000)
        for kind in CANDLES
        for interval in INTERVALS
    ]
    return {row.name: row for row in rows}


CHANNELS = _table()
Argument = Mapping[str, str]
"""One argument of a subscription, as it is repeated in everything that follows."""


class Topic(Struct, frozen=True):
    """A channel and what of it was asked for."""

    channel: Channel
    argument: Argument
    symbol: str | None = None
    """The contract it is about, where it is about one."""

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """The same for the same argument."""
        return tuple(sorted(self.argument.items()))

    @property
    def has_contracts(self) -> bool:
        """False where other kinds of instruments were asked for, of which there are none."""
        return self.argument.get("instType", SWAP) in (SWAP, ANY)


def parse(argument: object, place: Place, table: SymbolTable) -> Topic:
    """Raises ``VenueError`` for what does not exist, is found elsewhere, or is not for this account."""
    if not isinstance(argument, dict):
        raise VenueError(60013)
    given = {name: str(value) for name, value in argument.items() if name != "extraParams" and value not in (None, "")}
    channel = CHANNELS.get(given.get("channel", ""))
    if channel is None:
        raise _no_such(given)
    if channel.place is not place:
        if channel.place is Place.BUSINESS:
            raise VenueError(64001)
        raise VenueError(64002) if place is Place.BUSINESS else _no_such(given)
    if channel.refusal is not None:
        raise VenueError(channel.refusal)
    return Topic(channel, given, _symbol(channel, given, table))


def _symbol(channel: Channel, given: Argument, table: SymbolTable) -> str | None:
    name = given.get("instId")
    match channel.by:
        case By.INSTRUMENT:
            if name is None or not table.knows(name):
                raise _no_such(given)
            return name
        case By.INDEX:
            symbol = None if name is None else table.of_family(name)
            if symbol is None:
                raise _no_such(given)
            return symbol
        case By.KIND:
            kind = given.get("instType")
            if kind not in KINDS and not (kind == ANY and channel.login):
                raise _no_such(given)
            if "uly" in given:
                raise VenueError(64000)
            if kind == SWAP and name is not None and not table.knows(name):
                raise _no_such(given)
            return None
        case _:
            return None


def _no_such(given: Argument) -> VenueError:
    return VenueError(60018, ",".join(f"{name}:{value}" for name, value in given.items()))
