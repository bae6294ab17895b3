"""What is healthy, degraded or unhealthy (OPS-04)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Asset, VenueName
from core.engine.money_ledger import MoneyRow
from core.engine.queries import StatusReport
from core.engine.vitals import LagRow, TaskRow
from core.status.health import Health, HealthLevel, HealthLimits, judge
from tests.status.reports import position_row, report, venue_down, venue_row

LIMITS = HealthLimits(deadline_seconds=3.0)
OK, DEGRADED, UNHEALTHY = HealthLevel


def judged(told: StatusReport) -> Health:
    return judge(told, LIMITS)


def ended(*names: str) -> tuple[TaskRow, ...]:
    return tuple(TaskRow(name=name, running=False, running_s=0.0, progress_s=1.0, why="a fault") for name in names)


def test_a_daemon_that_trades_is_ok_and_says_nothing() -> None:
    running = TaskRow(name="orders", running=True, running_s=9.0, progress_s=500.0)
    told = report(positions=(position_row(),), lag=LagRow(now_ms=3.0), tasks=(running,))
    health = judge(told, LIMITS, 10 * 1024**3)
    assert (health.level, health.reasons, health.healthy) == (OK, (), True)


def test_a_late_loop_is_degraded_and_one_that_stood_still_is_unhealthy() -> None:
    assert judged(report(lag=LagRow(now_ms=249.0))).level is OK
    assert judged(report(lag=LagRow(now_ms=251.0))).level is DEGRADED
    assert judged(report(lag=LagRow(now_ms=10_000.0))).level is UNHEALTHY


def test_without_protection_the_daemon_is_nothing_and_without_telegram_it_still_trades() -> None:
    assert judged(report(tasks=ended("telegram"))).level is DEGRADED
    health = judged(report(tasks=ended("telegram", "protection")))
    assert health.level is UNHEALTHY
    assert "protection" in health.reasons[0]  # the worst is said first
    assert not health.healthy


def test_a_position_past_its_deadline_is_unhealthy_once_it_is_clear_that_nothing_comes() -> None:
    naked = position_row(stop=None, naked_s=2.9)
    assert judged(report(positions=(naked,))).level is OK
    assert judged(report(positions=(replace(naked, naked_s=4.0),))).level is DEGRADED
    assert judged(report(positions=(replace(naked, naked_s=33.1),))).level is UNHEALTHY


def test_a_naked_position_at_a_venue_that_is_gone_is_not_cured_by_starting_anew() -> None:
    naked = position_row(stop=None, naked_s=900.0)
    venues = (venue_down(VenueName.BINANCE, 900.0), venue_row(VenueName.BYBIT))
    assert judged(report(positions=(naked,), venues=venues)).level is DEGRADED


def test_one_stream_down_is_degraded_and_all_of_them_for_a_minute_is_unhealthy() -> None:
    one = (venue_down(VenueName.BINANCE, 500.0), venue_row(VenueName.BYBIT))
    assert judged(report(venues=one)).level is DEGRADED
    both = (venue_down(VenueName.BINANCE, 500.0), venue_down(VenueName.BYBIT, 59.0))
    assert judged(report(venues=both)).level is DEGRADED
    both = (venue_down(VenueName.BINANCE, 500.0), venue_down(VenueName.BYBIT, 60.0))
    health = judged(report(venues=both))
    assert health.level is UNHEALTHY
    assert health.reasons[0].startswith("no private stream is up, for 60 s now")


def test_what_has_been_so_since_the_start_is_not_cured_by_starting_anew() -> None:
    """Else a venue in maintenance, or a symbol that takes no order, has the daemon started every other minute."""
    both = (venue_down(VenueName.BINANCE, 3_600.0), venue_down(VenueName.BYBIT, 3_600.0))
    assert judged(report(venues=both, uptime_s=3_599.0)).level is DEGRADED
    assert judged(report(venues=both, uptime_s=3_605.0)).level is UNHEALTHY
    naked = position_row(stop=None, naked_s=600.0)
    assert judged(report(positions=(naked,), uptime_s=602.0)).level is DEGRADED
    assert judged(report(positions=(naked,), uptime_s=700.0)).level is UNHEALTHY


@pytest.mark.parametrize(
    ("told", "about"),
    [
        (report(journal_writable=False), "journal"),
        (report(trading_state="halted", reason="the KILL file exists"), "halted"),
        (report(venues=(venue_row(off_because="it is in maintenance"),)), "venue"),
        (report(venues=(venue_row(paused="errors"),)), "venue"),
        (report(venues=(venue_row(clock_error_ms=None),)), "clock"),
        (report(venues=(venue_row(clock_error_ms=-3_600_000),)), "clock"),
        (
            report(money=(MoneyRow(venue=VenueName.OKX, asset=Asset("USDT"), residual=Decimal(3), balanced=False),)),
            "money",
        ),
    ],
)
def test_what_people_must_know_is_degraded_and_no_cause_to_start_anew(told: StatusReport, about: str) -> None:
    health = judged(told)
    assert [(finding.level, finding.about) for finding in health.findings] == [(DEGRADED, about)]
    assert health.healthy


def test_a_pause_or_a_limit_that_did_its_work_is_no_trouble() -> None:
    assert judged(report(trading_state="reducing", reason="MAX_DAILY_LOSS")).level is OK


def test_a_disk_that_fills_is_said_before_it_is_full() -> None:
    assert judge(report(), LIMITS, 1024**3 - 1).level is DEGRADED
    assert judge(report(), LIMITS, 1024**3).level is OK
