"""Which candle is expected when: for every minute, over hour, midnight and year ends, and for every plan of checks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.candle_clock import CANDLE_MS, MINUTE_MS, candle_of, expected_candle, last_check, next_check
from tools.signal_feed import candle_open

moments = st.integers(0, 4_102_444_800_000)  # until 2100
minute_sets = st.sets(st.integers(0, 59), min_size=1)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.failure("SIG-06")
@pytest.mark.parametrize("minute", range(60))
def test_every_minute_of_an_hour_expects_its_candle(minute: int) -> None:
    """PRODUCT §2 W, written out as it stands there."""
    if minute <= 15:
        candle = "2026-09-21T13:45"
    elif minute <= 30:
        candle = "2026-09-21T14:00"
    elif minute <= 45:
        candle = "2026-09-21T14:15"
    else:
        candle = "2026-09-21T14:30"
    for second in ("00.000", "59.999"):
        assert expected_candle(ms(f"2026-09-21T14:{minute:02}:{second}")) == ms(candle)


@pytest.mark.failure("SIG-06")
@pytest.mark.parametrize(
    ("now", "candle"),
    [
        ("2026-09-21T00:00:00", "2026-09-20T23:45"),
        ("2026-09-21T00:15:59", "2026-09-20T23:45"),
        ("2026-09-21T00:16:00", "2026-09-21T00:00"),
        ("2026-12-31T23:59:59", "2026-12-31T23:30"),
        ("2027-01-01T00:06:00", "2026-12-31T23:45"),
        ("2028-02-29T00:06:00", "2028-02-28T23:45"),
        ("2028-03-01T00:06:00", "2028-02-29T23:45"),
    ],
)
def test_hours_days_and_years_end_without_a_gap(now: str, candle: str) -> None:
    assert expected_candle(ms(now)) == ms(candle)


@given(moments)
def test_the_expected_candle_has_closed_and_lies_less_than_three_candles_back(now: int) -> None:
    behind = now - expected_candle(now)
    assert CANDLE_MS <= behind < 2 * CANDLE_MS + MINUTE_MS
    assert expected_candle(now) % CANDLE_MS == 0


@given(moments)
def test_an_independent_server_expects_the_same_candle(now: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)
    assert expected_candle(now) == round(candle_open(moment.replace(microsecond=0)).timestamp() * 1000)


@given(moments, st.integers(0, CANDLE_MS - 1))
def test_every_moment_of_a_candle_belongs_to_it(now: int, later: int) -> None:
    opened = candle_of(now)
    assert opened <= now < opened + CANDLE_MS
    assert candle_of(opened + later) == opened


@given(moments, minute_sets)
def test_checks_begin_at_their_minutes_and_none_is_left_out(now: int, minutes: set[int]) -> None:
    before, after = last_check(now, minutes), next_check(now, minutes)
    assert before <= now < after
    for start in (before, after):
        assert start % MINUTE_MS == 0
        assert start // MINUTE_MS % 60 in minutes
    assert not [m for m in range(before // MINUTE_MS + 1, after // MINUTE_MS) if m % 60 in minutes]
