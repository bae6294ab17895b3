"""How often a symbol's price is told, and what its age may therefore be."""

import pytest

from core.domain.pace import learned, widened


def _after(*gaps: int) -> int:
    interval = 0
    for gap in gaps:
        interval = learned(interval, gap)
    return interval


def test_the_first_gap_is_the_interval_and_equal_ones_keep_it() -> None:
    assert _after(1_000) == 1_000
    assert _after(*[1_000] * 50) == 1_000


def test_a_symbol_that_slows_down_is_known_to_within_a_few_ticks_and_one_that_speeds_up_later() -> None:
    assert _after(*[100] * 10, *[4_000] * 4) > 3_500
    assert 100 <= _after(*[4_000] * 4, *[100] * 100) < 200


def test_ticks_in_bursts_do_not_make_the_silence_between_them_look_like_death() -> None:
    interval = _after(*([5] * 20 + [4_000]) * 10)
    assert widened(5_000, interval, 3) >= 5_000
    assert interval >= 2_000


@pytest.mark.parametrize(
    ("interval", "limit"), [(0, 5_000), (100, 5_000), (2_500, 5_000), (2_501, 5_002), (6_000, 12_000), (60_000, 15_000)]
)
@pytest.mark.failure("MKT-06")
def test_a_limit_is_twice_the_symbols_own_interval_within_what_is_configured_and_its_factor(
    interval: int, limit: int
) -> None:
    assert widened(5_000, interval, 3) == limit
