"""A venue's breaker: errors in a row, growing waits, one trial at a time, and the way back."""

import pytest

from core.domain.breaker import Breaker, PauseCause
from core.domain.ids import ClientOrderId
from core.domain.verdict import Reason

NOW = 1_000_000
ERRORS_IN_A_ROW = 5
CALM = Breaker(errors_limit=ERRORS_IN_A_ROW)
A, B, TRIAL = ClientOrderId("a"), ClientOrderId("b"), ClientOrderId("t")


def failed(times: int, breaker: Breaker | None = None) -> Breaker:
    breaker = breaker or CALM
    for _ in range(times):
        breaker = breaker.failed(PauseCause.ERRORS, "no route", A, NOW)
    return breaker


def reason(breaker: Breaker, now_ms: int = NOW) -> Reason | None:
    denied = breaker.gate(now_ms).denied
    return None if denied is None else denied.reason


def test_five_errors_in_a_row_pause_and_four_do_not() -> None:
    assert reason(failed(ERRORS_IN_A_ROW - 1)) is None
    assert reason(failed(ERRORS_IN_A_ROW)) is Reason.VENUE_ERRORS


@pytest.mark.parametrize("answer", ["succeeded", "judged"])
def test_an_answer_between_them_begins_the_count_anew(answer: str) -> None:
    answered = getattr(failed(ERRORS_IN_A_ROW - 1), answer)(A)
    assert reason(failed(ERRORS_IN_A_ROW - 1, answered)) is None


@pytest.mark.parametrize(
    ("cause", "expected"),
    [(PauseCause.MARGIN, Reason.MARGIN_PAUSE), (PauseCause.RESTRICTED, Reason.ACCOUNT_RESTRICTED)],
)
def test_one_refusal_for_margin_or_restriction_is_enough(cause: PauseCause, expected: Reason) -> None:
    assert reason(CALM.failed(cause, "-2019", A, NOW)) is expected


@pytest.mark.parametrize("cause", PauseCause)
def test_each_failed_trial_doubles_the_wait_up_to_a_bound(cause: PauseCause) -> None:
    breaker, now, waits = CALM, NOW, []
    for _ in range(ERRORS_IN_A_ROW):
        breaker = breaker.failed(cause, "x", A, now)
    for _ in range(10):
        assert breaker.pause is not None
        waits.append(breaker.pause.retry_at_ms - now)
        now = breaker.pause.retry_at_ms
        assert reason(breaker, now - 1) is not None
        assert reason(breaker, now) is None
        breaker = breaker.tried(TRIAL, now).failed(cause, "x", TRIAL, now)
    assert waits[1] == 2 * waits[0]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] <= 3_600_000


def test_one_trial_at_a_time_and_its_success_ends_the_pause() -> None:
    paused = failed(ERRORS_IN_A_ROW)
    assert paused.pause is not None
    due = paused.pause.retry_at_ms
    trying = paused.tried(TRIAL, due)
    assert reason(trying, due) is Reason.VENUE_ERRORS
    assert trying.succeeded(B).pause == trying.pause, "an entry that had left before proves nothing"
    assert trying.succeeded(TRIAL) == CALM


def test_a_trial_refused_for_its_own_sake_shows_that_the_venue_answers() -> None:
    paused = failed(ERRORS_IN_A_ROW)
    assert paused.pause is not None
    assert paused.tried(TRIAL, paused.pause.retry_at_ms).judged(TRIAL) == CALM


def test_such_a_refusal_says_nothing_of_the_margin() -> None:
    paused = CALM.failed(PauseCause.MARGIN, "-2019", A, NOW)
    assert paused.pause is not None
    trying = paused.tried(TRIAL, paused.pause.retry_at_ms).judged(TRIAL)
    assert trying.pause is not None
    assert trying.pause.trial is None
    assert reason(trying, trying.pause.retry_at_ms) is None


def test_a_trial_that_is_never_answered_is_followed_by_another() -> None:
    paused = failed(ERRORS_IN_A_ROW)
    assert paused.pause is not None
    trying = paused.tried(TRIAL, paused.pause.retry_at_ms)
    assert trying.pause is not None
    assert reason(trying, trying.pause.retry_at_ms) is None


def test_late_answers_to_entries_of_the_same_burst_do_not_lengthen_the_pause() -> None:
    assert failed(ERRORS_IN_A_ROW + 5).pause == failed(ERRORS_IN_A_ROW).pause


def test_a_limit_of_zero_never_pauses_for_errors() -> None:
    assert reason(failed(100, Breaker(errors_limit=0))) is None
