"""Every spelling of a swap means one listed swap or none; what may mean two is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.symbols import SymbolAmbiguous, SymbolIndex, same_symbol
from tests.builders import an_instrument

BTC, BTC_USDC = Symbol("BTC/USDT:USDT"), Symbol("BTC/USDC:USDC")
PEPE_1000, PEPE = Symbol("1000PEPE/USDT:USDT"), Symbol("PEPE/USDT:USDT")


def listed(**names: str) -> dict[Symbol, Instrument]:
    """Venue symbol by unified symbol."""
    return {
        Symbol(symbol): replace(
            an_instrument(InstrumentId(VenueName.BYBIT, Symbol(symbol))),
            venue_symbol=venue_symbol,
            quote=Asset(symbol.rpartition(":")[2]),
        )
        for symbol, venue_symbol in names.items()
    }


BYBIT = listed(**{BTC: "BTCUSDT", BTC_USDC: "BTCPERP", PEPE_1000: "1000PEPEUSDT", "1INCH/USDT:USDT": "1INCHUSDT"})
OKX = listed(**{BTC: "BTC-USDT-SWAP", BTC_USDC: "BTC-USDC-SWAP", PEPE: "PEPE-USDT-SWAP"})


@pytest.mark.failure("VAL-03")
@pytest.mark.parametrize(
    "spelling",
    ["BTCUSDT", "btcusdt", "BTC/USDT", "BTC/USDT:USDT", "btc/usdt:usdt", "BTC-USDT-SWAP", "BTC-USDT", "BTC_USDT"],
)
def test_one_swap_is_found_under_every_spelling_on_every_venue(spelling: str) -> None:
    assert SymbolIndex(BYBIT).find(spelling) == BTC
    assert SymbolIndex(OKX).find(spelling) == BTC


def test_the_quote_coin_decides_which_of_two_swaps_is_meant() -> None:
    for index in (SymbolIndex(BYBIT), SymbolIndex(OKX)):
        assert index.find("BTCUSDC") == BTC_USDC
        assert index.find("BTC/USDC:USDC") == BTC_USDC
    assert SymbolIndex(BYBIT).find("BTCPERP") == BTC_USDC, "the venue's own name"
    assert SymbolIndex(OKX).find("BTCPERP") is None, "another venue's name is no name here"


@pytest.mark.parametrize(
    "spelling", ["", "BTC", "BTCUSD", "BTC/USD:BTC", "BTC/USDT:USDC", "BTC/USDT:BTC", "XBTUSDT", "B" * 5000]
)
def test_what_is_not_listed_is_not_guessed(spelling: str) -> None:
    assert SymbolIndex(BYBIT).find(spelling) is None


def test_a_coin_in_other_units_is_named_and_never_taken() -> None:
    assert SymbolIndex(OKX).find("1000PEPEUSDT") is None
    assert SymbolIndex(OKX).near("1000PEPEUSDT") == PEPE
    assert SymbolIndex(BYBIT).find("PEPEUSDT") is None
    assert SymbolIndex(BYBIT).near("PEPE-USDT-SWAP") == PEPE_1000
    assert SymbolIndex(BYBIT).near("INCHUSDT") is None, "the 1 of 1INCH is no unit"
    assert SymbolIndex(OKX).near("BTC/USDT:USDC") is None, "the same unit, settled in something else"


@pytest.mark.failure("VAL-04", "INV-8")
def test_a_spelling_that_fits_two_swaps_is_refused_with_both() -> None:
    index = SymbolIndex(listed(**{"A-B/USDT:USDT": "A-BUSDT", "AB/USDT:USDT": "ABUSDT"}))
    with pytest.raises(SymbolAmbiguous, match="ABUSDT may be A-B/USDT:USDT or AB/USDT:USDT"):
        index.find("ABUSDT")
    assert index.find("AB/USDT:USDT") == Symbol("AB/USDT:USDT"), "the unified form is never ambiguous"


@given(st.text(max_size=40))
def test_nothing_but_a_listed_swap_is_ever_found(spelling: str) -> None:
    found = SymbolIndex(BYBIT).find(spelling)
    assert found is None or (
        found in BYBIT and (same_symbol(spelling, found) or same_symbol(spelling, BYBIT[found].venue_symbol))
    )
