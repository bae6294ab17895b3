"""From any spelling of a swap to the one symbol it means at one venue. What may mean two is refused, never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.domain.ids import Symbol
from core.domain.instrument import Instrument

_SEPARATORS = str.maketrans("", "", "/-_ ")
_SETTLEMENT = ":"
_SUFFIX = "-SWAP"
LONGEST = 64
COIN_QUOTES = ("USDT", "USDC")


class SymbolAmbiguous(ValueError):
    """A spelling that fits several listed swaps (VAL-04)."""

    def __init__(self, spelling: str, candidates: Iterable[Symbol]) -> None:
        self.candidates = tuple(sorted(candidates))
        super().__init__(f"{spelling} may be {' or '.join(self.candidates)}")


def compact(spelling: str) -> str:
    """What all spellings of one swap have in common: `BTCUSDT` of `btc/usdt`, `BTC-USDT-SWAP`, `BTC/USDT:USDT`."""
    return spelling.strip().upper().partition(_SETTLEMENT)[0].removesuffix(_SUFFIX).translate(_SEPARATORS)


def same_symbol(spelling: str, symbol: str) -> bool:
    """Whether a person may mean `symbol`."""
    return compact(spelling) == compact(symbol)


def spellings(said: str) -> tuple[str, ...]:
    """What a person may mean, likeliest first: a coin alone is traded against one of `COIN_QUOTES`."""
    return (said, *(f"{said}{quote}" for quote in COIN_QUOTES))


class SymbolIndex:
    """The swaps one venue lists, by every way to spell them. Made anew when the venue's list is."""

    def __init__(self, instruments: Mapping[Symbol, Instrument]) -> None:
        self._listed = instruments
        self._spelt: dict[str, set[Symbol]] = {}
        for symbol, instrument in instruments.items():
            for key in {compact(symbol), compact(instrument.venue_symbol)}:
                self._spelt.setdefault(key, set()).add(symbol)

    def find(self, spelling: str) -> Symbol | None:
        """None where the venue lists no such linear swap. Raises SymbolAmbiguous.

        A settlement that is spelt out must be the right one: `BTC/USDT:USDC` is no spelling of `BTC/USDT:USDT`.
        """
        exact = Symbol(spelling)
        if exact in self._listed:
            return exact
        if len(spelling) > LONGEST:
            return None
        found = self._spelt.get(compact(spelling), set())
        if _SETTLEMENT in spelling:
            settled = _SETTLEMENT + spelling.strip().upper().rpartition(_SETTLEMENT)[2]
            found = {symbol for symbol in found if symbol.upper().endswith(settled)}
        if len(found) > 1:
            raise SymbolAmbiguous(spelling, found)
        return next(iter(found), None)

    def near(self, spelling: str) -> Symbol | None:
        """A listed swap of the same coin in other units, for people: `PEPE/USDT:USDT` for `1000PEPEUSDT`. A unit of the
        one is a thousand of the other, so the one never stands for the other."""
        key = compact(spelling)
        wanted = _unit(key)
        others = (
            symbol
            for other, symbols in self._spelt.items()
            if other != key and _unit(other) == wanted
            for symbol in sorted(symbols)
        )
        return next(others, None)


def _unit(key: str) -> str:
    """Without the power of ten in front: `PEPEUSDT` of `1000PEPEUSDT`; a coin's own digits stay (`1INCHUSDT`)."""
    digits = len(key) - len(key.lstrip("0123456789"))
    number = key[:digits]
    thousands = number.startswith("1") and len(number) > 1 and set(number[1:]) == {"0"}
    return key[digits:] if thousands else key
