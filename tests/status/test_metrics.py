"""What `/metrics` tells: every figure read when asked, in a format that Prometheus' own parser reads."""

from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families

from core.alerts.feed import FeedStatistics
from core.domain.ids import Asset, VenueName, WaveId
from core.domain.wave import StageTimes, WaveReport
from core.engine.histogram import Histogram
from core.engine.money_ledger import MoneyRow
from core.engine.queries import ExitRow, RiskRow, StatusReport
from core.engine.risk_figures import BalanceRow
from core.engine.vitals import LagRow, QueueRow, TaskRow
from core.status.health import HealthLimits, judge
from core.status.metrics import STAGES, Metrics, WaveStages
from tests.status.reports import position_row, report, venue_down, venue_row

RISK = RiskRow(
    day_result=Decimal("-12.5"),
    day_loss_limit=Decimal(100),
    streak=2,
    streak_limit=3,
    drawdown_percent=Decimal("0.4"),
    drawdown_limit_percent=Decimal(0),
    reached=("the streak",),
    denials={"max_positions": 4},
    balances=(BalanceRow(venue="binance", asset="USDT", wallet=Decimal("987.5"), free=Decimal(900), age_s=2.0),),
    equity=Decimal("1000.25"),
    exposure=Decimal(30_000),
)
EXITS = ExitRow(
    analyses=1204, trailing_checks=1204, stops_moved=3, moves_refused=1, waited_for_price=0, closes={"trailing": 2}
)
MONEY = (
    MoneyRow(venue=VenueName.BINANCE, asset=Asset("USDT"), residual=Decimal("0.0001"), read_s=30.0),
    MoneyRow(venue=VenueName.BYBIT, asset=Asset("USDT"), residual=None),
)
FULL = report(
    venues=(
        venue_row(reconnects=2, key_swaps=1, headroom={"entry": 0.75, "protection": 1.0}),
        venue_down(VenueName.BYBIT, 12.0),
    ),
    positions=(position_row(), position_row(stop=None, naked_s=1.5, unrealized=Decimal(-20))),
    refusals={"spread_too_wide": 7},
    signals={"server": 9},
    waves=4,
    unresolved_orders=1,
    risk=RISK,
    exits=EXITS,
    money=MONEY,
    prices={"websocket": 2},
)


def samples(told: StatusReport, **histograms: Histogram) -> dict[str, float]:
    """By name and labels, as Prometheus would store them."""
    health = judge(told, HealthLimits(deadline_seconds=3.0))
    named = {name: (name, histogram) for name, histogram in histograms.items()}
    stages = WaveStages()
    stages.on_report(a_wave(prefetched=0.4, allocated=30.0))
    metrics = Metrics(
        picture=lambda: (told, health),
        stages=stages,
        histograms=named,
        alerts=lambda: {("wave", "info"): 3},
        channels=lambda: {"telegram": FeedStatistics(sent=5, refused=1, dropped=2, waiting=4, failing="refused")},
    )
    text = b"".join(metrics.parts()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def a_wave(**stages: float) -> WaveReport:
    return WaveReport(
        wave_id=WaveId("w"), source="server", received_ms=0, legs=(), unusable=(), stages=StageTimes(**stages)
    )


def test_the_figures_of_the_picture_are_told() -> None:
    found = samples(FULL)
    assert found["breakwater_private_stream_up{venue=binance}"] == 1
    assert found["breakwater_private_stream_up{venue=bybit}"] == 0
    assert found["breakwater_private_stream_down_seconds{venue=bybit}"] == 12
    assert "breakwater_private_stream_age_seconds{venue=bybit}" not in found  # no age rather than a wrong one
    assert found["breakwater_private_stream_reconnects_total{venue=binance}"] == 2
    assert found["breakwater_private_stream_key_swaps_total{venue=binance}"] == 1
    assert found["breakwater_request_budget_free_ratio{lane=entry,venue=binance}"] == 0.75
    assert found["breakwater_positions{side=long,venue=binance}"] == 2
    assert found["breakwater_positions_without_stop"] == 1
    assert found["breakwater_longest_without_stop_seconds"] == 1.5
    assert found["breakwater_unrealized_quote"] == 30
    assert found["breakwater_equity_quote"] == 1000.25
    assert found["breakwater_exposure_quote"] == 30_000
    assert found["breakwater_day_result_quote"] == -12.5
    assert found["breakwater_refusals_total{reason=spread_too_wide}"] == 7
    assert found["breakwater_denials_total{reason=max_positions}"] == 4
    assert found["breakwater_unresolved_orders"] == 1
    assert found["breakwater_ledger_residual{asset=USDT,venue=binance}"] == 0.0001
    assert "breakwater_ledger_residual{asset=USDT,venue=bybit}" not in found  # not read is not zero
    assert found["breakwater_closes_total{rule=trailing}"] == 2


def test_a_state_is_one_of_a_set() -> None:
    found = samples(report(trading_state="reducing"))
    states = {name: value for name, value in found.items() if name.startswith("breakwater_trading_state")}
    assert states == {
        "breakwater_trading_state{state=active}": 0,
        "breakwater_trading_state{state=reducing}": 1,
        "breakwater_trading_state{state=halted}": 0,
    }
    assert found["breakwater_health{level=ok}"] == 1


def test_stages_of_waves_are_cumulative_histograms_of_what_was_reached() -> None:
    found = samples(FULL)
    assert found["breakwater_wave_stage_milliseconds_bucket{le=25,stage=allocated}"] == 0
    assert found["breakwater_wave_stage_milliseconds_bucket{le=50,stage=allocated}"] == 1
    assert found["breakwater_wave_stage_milliseconds_bucket{le=+Inf,stage=allocated}"] == 1
    assert found["breakwater_wave_stage_milliseconds_sum{stage=allocated}"] == 30
    assert found["breakwater_wave_stage_milliseconds_count{stage=protected}"] == 0
    counted = {name for name in found if name.startswith("breakwater_wave_stage_milliseconds_count")}
    assert counted == {f"breakwater_wave_stage_milliseconds_count{{stage={stage}}}" for stage in STAGES}


def test_time_without_a_stop_is_counted_in_its_bucket() -> None:
    lasted = Histogram((10, 100))
    for milliseconds in (-3, 10, 11, 5_000):
        lasted.observe(milliseconds)
    found = samples(report(), unprotected_milliseconds=lasted)
    assert found["breakwater_unprotected_milliseconds_bucket{le=10}"] == 2
    assert found["breakwater_unprotected_milliseconds_bucket{le=100}"] == 3
    assert found["breakwater_unprotected_milliseconds_count"] == 4
    assert found["breakwater_unprotected_milliseconds_sum"] == 5_021


def test_nothing_of_the_process_wide_registry_is_told() -> None:
    assert all(name.startswith("breakwater_") for name in samples(FULL))


def test_the_loop_the_tasks_and_the_queues_are_told() -> None:
    told = report(
        lag=LagRow(now_ms=4.0, buckets={0.001: 90, 0.25: 9, float("inf"): 1}, sum_s=1.5),
        tasks=(TaskRow(name="waves", running=False, running_s=0.0, progress_s=2.0, restarts=3, failures=4),),
        queues=(QueueRow(name="reports", depth=5, bound=1_000),),
    )
    found = samples(told)
    assert found["breakwater_loop_lag_milliseconds_bucket{le=250}"] == 99
    assert found["breakwater_loop_lag_milliseconds_count"] == 100
    assert found["breakwater_loop_lag_milliseconds_sum"] == 1_500
    assert found["breakwater_task_up{task=waves}"] == 0
    assert found["breakwater_task_restarts_total{task=waves}"] == 3
    assert found["breakwater_queue_depth{queue=reports}"] == 5


def test_what_people_were_told_and_what_waits_is_told() -> None:
    found = samples(report())
    assert found["breakwater_alerts_total{kind=wave,level=info}"] == 3
    assert found["breakwater_alerts_sent_total{channel=telegram}"] == 5
    assert found["breakwater_alerts_waiting{channel=telegram}"] == 4
    assert found["breakwater_alert_channel_up{channel=telegram}"] == 0
