"""A host clock that was ahead for a while and is set right must not leave waits behind that last as long as it was."""

from decimal import Decimal

import pytest

from core.domain.breaker import Breaker, PauseCause
from core.domain.cooldown import CloseKind, CooldownRules, LastClose
from core.domain.day import MS_PER_DAY, DayAccount, day_of, end_of
from core.domain.gate import first_refusal
from core.domain.ids import ClientOrderId, PositionId
from core.domain.position import PositionKey
from core.domain.risk_book import ResultRules, RiskBook
from core.domain.signal import Side
from core.domain.verdict import Reason
from tests.builders import BTC, NOW_MS

YEAR_MS = 365 * MS_PER_DAY
P = PositionId("p")
COOLDOWNS = CooldownRules(after_loss=1800)
RULES = ResultRules(max_daily_loss=Decimal(100), streak_limit=3, cooldowns=COOLDOWNS)
TRIAL = ClientOrderId("t")


def reason(book: RiskBook, now_ms: int) -> Reason | None:
    denied = first_refusal(book.gates(BTC, Side.BUY, RULES, now_ms))
    return None if denied is None else denied.reason


def test_a_close_stamped_in_the_future_cools_down_for_its_time_and_no_longer() -> None:
    close = LastClose(side=Side.BUY, kind=CloseKind.LOSS, at_ms=NOW_MS + YEAR_MS)
    book = RiskBook(day=DayAccount(day=day_of(NOW_MS)), closes={PositionKey(BTC, Side.BUY): close}).judged(
        RULES, NOW_MS
    )
    assert reason(book, NOW_MS) is Reason.COOLDOWN
    assert reason(book.judged(RULES, NOW_MS + 30 * 60_000 - 1), NOW_MS + 30 * 60_000 - 1) is Reason.COOLDOWN
    assert reason(book.judged(RULES, NOW_MS + 30 * 60_000), NOW_MS + 30 * 60_000) is None


def test_a_close_of_this_very_millisecond_changes_nothing() -> None:
    close = LastClose(side=Side.BUY, kind=CloseKind.LOSS, at_ms=NOW_MS)
    book = RiskBook(day=DayAccount(day=day_of(NOW_MS)), closes={PositionKey(BTC, Side.BUY): close})
    assert book.judged(RULES, NOW_MS) is book


def test_a_day_far_in_the_future_becomes_today_with_its_loss_and_ends_at_midnight() -> None:
    ahead = NOW_MS + YEAR_MS
    lost = DayAccount(day=day_of(ahead)).opened(P).valued(P, Decimal(-100))
    book = RiskBook(day=lost, streak=2).judged(RULES, ahead)
    back = book.judged(RULES, NOW_MS)
    assert (back.day.day, back.day.result, back.streak) == (day_of(NOW_MS), -100, 2)
    assert reason(back, NOW_MS) is Reason.DAY_LOSS
    midnight = end_of(day_of(NOW_MS))
    assert reason(back.judged(RULES, midnight - 1), midnight - 1) is Reason.DAY_LOSS
    tomorrow = back.judged(RULES, midnight)
    assert reason(tomorrow, midnight) is None
    assert (tomorrow.day.day, tomorrow.day.result, tomorrow.streak) == (day_of(midnight), 0, 0)


def test_a_clock_that_is_set_back_over_midnight_does_not_begin_the_day_twice() -> None:
    today = day_of(NOW_MS)
    book = RiskBook(day=DayAccount(day=today + 1).opened(P).valued(P, Decimal(-50)), streak=1)
    before_midnight = book.judged(RULES, end_of(today) - 1)
    assert before_midnight.day.day == today + 1
    assert before_midnight.judged(RULES, end_of(today)).day.result == -50


@pytest.mark.parametrize("cause", PauseCause)
def test_a_pause_begun_in_the_future_is_tried_at_once_when_the_clock_is_right_again(cause: PauseCause) -> None:
    breaker = Breaker(errors_limit=1).failed(cause, "x", TRIAL, NOW_MS + YEAR_MS)
    assert breaker.gate(NOW_MS).passed
    tried = breaker.tried(TRIAL, NOW_MS)
    assert not tried.gate(NOW_MS).passed
