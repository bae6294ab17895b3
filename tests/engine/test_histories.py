"""The seeded part of the generated histories; `make histories` runs ten thousand of them."""

import logging
from random import Random

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaigns.histories import KINDS, run

TELLING = {
    "a stop denied by a venue that lags is not gone": (28, 32, 51, 88),
    "a leftover stop goes although the other direction is held": (134, 303, 363),
    "an earlier position's stop goes although a later one is held": (28, 900, 1041),
    "what hid behind an order in doubt is looked at when it is decided": (390, 432, 551),
    "a trade of the owner's hand does not keep an order in doubt": (2, 21, 35),
}
"""Seeds that end otherwise when the line of the engine that sees to it is taken out."""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.sampled_from(list(KINDS)))
def test_any_history_told_in_any_way_ends_in_the_venues_state(seed: int, kind: str) -> None:
    wrong, _ = run(Random(seed), kind)
    assert not wrong


@settings(max_examples=80, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.sampled_from(list(KINDS)))
def test_any_history_with_deaths_in_between_ends_in_the_venues_state(seed: int, kind: str) -> None:
    wrong, _ = run(Random(seed), kind, dies=True)
    assert not wrong


@pytest.mark.parametrize(("kind", "seed"), [("apart", 107), ("apart", 142), ("position", 131), ("attached", 233)])
def test_no_id_is_used_twice_over_a_death(kind: str, seed: int) -> None:
    """A position that opens anew after it, at the same price or from an entry's late trades, has stops of new ids."""
    wrong, _ = run(Random(seed), kind, dies=True)
    assert not wrong


@pytest.mark.parametrize("seed", [27, 41])
def test_a_stop_of_a_whole_position_that_grew_elsewhere_is_booked_as_it_filled(seed: int) -> None:
    wrong, _ = run(Random(seed), "position")
    assert not wrong


@pytest.mark.parametrize("what", TELLING)
def test_a_history_that_tells_ends_in_the_venues_state(what: str) -> None:
    for seed in TELLING[what]:
        wrong, _ = run(Random(seed))
        assert not wrong, seed


def test_the_histories_hold_every_kind_of_event() -> None:
    """A generator that never liquidates or never loses a reading would prove nothing about it."""
    seen = sum((run(Random(seed))[1] for seed in range(30)), start=run(Random(30))[1])
    wanted = {"enter", "fire", "by_hand", "close", "cancel_by_hand", "money", "reconcile", "weather_turns"}
    assert wanted | {"liquidation", "auto-deleveraging", "failed_reading"} <= set(seen)
