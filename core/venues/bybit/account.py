"""Which account it is, and what has to be known to read its rows and is learned from them."""

from __future__ import annotations

from msgspec import Struct

from core.venues.bybit.modes import PositionModes
from core.venues.bybit.position_stops import PositionStops
from core.venues.bybit.wallet import Wallets
from core.venues.symbols import SymbolTable


class Credentials(Struct, frozen=True, kw_only=True):
    key: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class Account(Struct, frozen=True, kw_only=True):
    """One for the client and the stream together."""

    symbols: SymbolTable
    modes: PositionModes
    stops: PositionStops
    wallets: Wallets


def fresh_account() -> Account:
    """Of which nothing is known yet."""
    modes = PositionModes()
    return Account(symbols=SymbolTable(), modes=modes, stops=PositionStops(modes), wallets=Wallets())
