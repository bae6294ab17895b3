"""Client order ids: valid on every venue, recomputable, distinct."""

import re
from itertools import product

import pytest

from core.domain.ids import ID_PREFIX, Leg, VenueName, client_order_id, is_ours
from tests.builders import an_instrument_id

ANY_VENUE = re.compile(r"[A-Za-z0-9]{1,32}")


@pytest.mark.failure("ORD-04")
@pytest.mark.parametrize("signal", ["1", "ü\x00\x1f", "x" * 10_000, ""])
def test_an_id_fits_every_venue_whatever_it_is_made_of(signal: str) -> None:
    made = client_order_id("account", signal, Leg.ENTRY, 0)
    assert ANY_VENUE.fullmatch(made)
    assert len(made) == 32
    assert made == made.lower()
    assert is_ours(made)


@pytest.mark.failure("ORD-04")
def test_the_same_intent_has_the_same_id_on_every_host_and_after_a_restart() -> None:
    # The text is fixed here: were it ever to change, a restart could not find the orders of the version before.
    assert client_order_id("binance/a", "s1", Leg.ENTRY, 0) == "bwradij75xsc6cgqrjjyoqswbxoiznb4"


@pytest.mark.parametrize(
    "other", [("b", "s", Leg.ENTRY, 0), ("a", "t", Leg.ENTRY, 0), ("a", "s", Leg.STOP, 0), ("a", "s", Leg.ENTRY, 1)]
)
def test_each_part_of_the_intent_matters(other: tuple[str, str, Leg, int]) -> None:
    assert client_order_id("a", "s", Leg.ENTRY, 0) != client_order_id(*other)


def test_parts_cannot_run_into_each_other() -> None:
    assert client_order_id("ab", "c", Leg.ENTRY, 0) != client_order_id("a", "bc", Leg.ENTRY, 0)


@pytest.mark.failure("ORD-04")
def test_different_intents_have_different_ids() -> None:
    many = list(product(("a", "b"), range(100_000 // len(Leg) + 1), Leg))
    assert len(many) >= 200_000
    assert len({client_order_id(account, str(signal), leg, 0) for account, signal, leg in many}) == len(many)


@pytest.mark.parametrize("foreign", ["", "bw", "web_" + "a" * 28, "x" * 32, ID_PREFIX + "-" * 30, ID_PREFIX + "a" * 31])
def test_foreign_ids_are_not_taken_for_ours(foreign: str) -> None:
    assert not is_ours(foreign)


def test_instruments_of_two_venues_never_meet() -> None:
    assert an_instrument_id() != an_instrument_id(venue=VenueName.BYBIT)
    assert str(an_instrument_id()) == "binance:BTC/USDT:USDT"
