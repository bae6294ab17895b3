"""How long a stream waits before it connects again (NET-13)."""

from core.venues.reconnecting import HEALTHY_AFTER, LONGEST_PAUSE, SHORTEST_PAUSE, Backoff


def test_the_first_try_after_a_healthy_connection_comes_within_a_second() -> None:
    assert Backoff(lambda: 1.0).connection_ended(HEALTHY_AFTER) < 1


def test_failures_in_a_row_wait_from_five_seconds_doubling_to_sixty() -> None:
    backoff = Backoff(lambda: 1.0)
    pauses = [backoff.connection_ended(0) for _ in range(7)]
    assert pauses[1:] == [SHORTEST_PAUSE, 10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE]


def test_jitter_takes_at_most_half_of_a_pause() -> None:
    backoff = Backoff(lambda: 0.0)
    pauses = [backoff.connection_ended(0) for _ in range(3)]
    assert pauses[1:] == [SHORTEST_PAUSE / 2, SHORTEST_PAUSE]


def test_a_healthy_connection_starts_the_pauses_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.connection_ended(0)
    assert backoff.connection_ended(HEALTHY_AFTER) < 1


def test_an_outage_of_days_still_gives_a_pause() -> None:
    backoff = Backoff(lambda: 1.0)
    pauses = [backoff.connection_ended(0) for _ in range(5_000)]
    assert pauses[-1] == LONGEST_PAUSE
