"""`/metrics`: the daemon's figures in Prometheus' text format.

Everything is read from figures that exist when somebody asks; only histograms are counted as things happen, and these
belong to whoever sees them happen. Nothing of the library's own process-wide registry is told. Labels come from small
fixed sets: venues, lanes, reasons, stages, coins that are held; never a symbol's price, an order or foreign text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from core.domain.risk import TradingState
from core.domain.wave import StageTimes, WaveReport
from core.engine.histogram import Histogram
from core.engine.queries import PositionRow, RiskRow, StatusReport, VenueRow
from core.engine.vitals import LagRow
from core.status.health import Health, HealthLevel

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "breakwater_"
STAGES: Final = StageTimes.__struct_fields__
"""Of a wave, in the order they are reached."""

Row = tuple[tuple[str, ...], float | Decimal | int]
"""The values of the labels, and the figure."""


class WaveStages:
    """Milliseconds from the first frame of each wave to each of its stages."""

    def __init__(self) -> None:
        self.histograms = {stage: Histogram() for stage in STAGES}

    def on_report(self, report: WaveReport) -> None:
        """WaveProcessor.on_report."""
        for stage, histogram in self.histograms.items():
            if (reached := getattr(report.stages, stage)) is not None:
                histogram.observe(reached)


class ChannelFigures(Protocol):
    """Of a way to people, since the start; `failing`: why the newest attempt failed, else ""."""

    @property
    def sent(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def failing(self) -> str: ...


class _Family(CollectorRegistry):
    """A registry of one family: the library writes the text of a registry."""

    def __init__(self, family: Metric) -> None:
        super().__init__(auto_describe=False)
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


class Metrics:
    """`picture` is asked once for each scrape."""

    def __init__(
        self,
        *,
        picture: Callable[[], tuple[StatusReport, Health]],
        stages: WaveStages,
        histograms: Mapping[str, tuple[str, Histogram]],
        alerts: Callable[[], Mapping[tuple[str, str], int]] = dict,
        channels: Callable[[], Mapping[str, ChannelFigures]] = dict,
        listener_refusals: Callable[[], int] = lambda: 0,
    ) -> None:
        """`histograms` by name: what it says, and the figures, in milliseconds. `alerts` by kind and level, `channels`
        by name."""
        self._picture = picture
        self._stages = stages
        self._histograms = histograms
        self._alerts = alerts
        self._channels = channels
        self._listener_refusals = listener_refusals

    def parts(self) -> Iterator[bytes]:
        """The text, family by family, of one picture taken now: all of it at once takes some milliseconds."""
        for family in self.collect():
            yield generate_latest(_Family(family))

    def collect(self) -> Iterator[Metric]:
        report, health = self._picture()
        yield from _process(report, health)
        yield from _venues(report.venues)
        yield from _positions(report.positions)
        if report.risk is not None:
            yield from _risk(report.risk)
        yield from _waves(report)
        yield from _exits(report)
        yield from _money(report)
        yield from _loop(report.lag)
        yield from _tasks(report)
        yield _counter("alerts", "messages for people", ["kind", "level"], self._alerts().items())
        yield from _channels(self._channels())
        yield _counter(
            "listener_refused_connections",
            "connections to our ports refused, too many at a time",
            [],
            [((), self._listener_refusals())],
        )
        yield _histogram(
            "wave_stage_milliseconds",
            "time from the first frame of a wave to each stage, milliseconds",
            {(stage,): histogram for stage, histogram in self._stages.histograms.items()},
            ["stage"],
        )
        for name, (meaning, histogram) in self._histograms.items():
            yield _histogram(name, meaning, {(): histogram}, [])


def _process(report: StatusReport, health: Health) -> Iterator[Metric]:
    yield _gauge("build_info", "the build that runs; always 1", ["build"], [((report.build,), 1)])
    yield _gauge("uptime_seconds", "time since the start", [], [((), report.uptime_s)])
    yield _states("health", "1 for the level that holds", "level", HealthLevel, health.level)
    found = Counter((finding.about, finding.level.value) for finding in health.findings)
    yield _gauge("health_findings", "what is said against it", ["about", "level"], found.items())
    yield _states("trading_state", "1 for the state that holds everywhere", "state", TradingState, report.trading_state)
    yield _gauge("journal_writable", "1 while the journal can be written", [], [((), int(report.journal_writable))])
    yield _counter("halts", "times trading was halted because something had broken", [], [((), report.halts)])
    yield _gauge("unresolved_orders", "orders whose outcome is not known", [], [((), report.unresolved_orders)])


def _venues(rows: Iterable[VenueRow]) -> Iterator[Metric]:
    told = [((row.venue.value,), row) for row in rows]

    def gauge(name: str, meaning: str, figure: Callable[[VenueRow], float | None]) -> Metric:
        found = [(labels, value) for labels, row in told if (value := figure(row)) is not None]
        return _gauge(name, meaning, ["venue"], found)

    yield gauge("private_stream_up", "1 while the private stream is live", lambda row: int(row.connected))
    yield gauge("private_stream_age_seconds", "time since it went live", lambda row: row.connected_s)
    yield gauge("private_stream_down_seconds", "time it is down; 0 while it is live", lambda row: row.down_s or 0.0)
    yield gauge("reconciled_age_seconds", "time since the last reconciliation", lambda row: row.reconciled_s)
    yield gauge(
        "entries_allowed",
        "1 while nothing about the venue itself holds entries back",
        lambda row: int(row.off_because is None and row.paused is None),
    )
    yield gauge("clock_error_milliseconds", "jump of our clock since its was measured", lambda row: row.clock_error_ms)
    reconnects = [(labels, row.reconnects) for labels, row in told]
    yield _counter("private_stream_reconnects", "connections after the first", ["venue"], reconnects)
    swaps = [(labels, row.key_swaps) for labels, row in told]
    yield _counter("private_stream_key_swaps", "stream keys that went stale and were replaced", ["venue"], swaps)
    yield _gauge(
        "request_budget_free_ratio",
        "part of what a lane may send now, in the fullest window of the venue; 0 while it demands silence",
        ["venue", "lane"],
        [((*labels, lane), free) for labels, row in told for lane, free in row.headroom.items()],
    )


def _positions(rows: tuple[PositionRow, ...]) -> Iterator[Metric]:
    held = Counter((row.instrument.venue.value, row.side) for row in rows)
    yield _gauge("positions", "open positions", ["venue", "side"], held.items())
    naked = [row for row in rows if row.stop is None and not row.dust]
    yield _gauge("positions_without_stop", "open positions without a confirmed stop now", [], [((), len(naked))])
    longest = max((row.naked_s or 0.0 for row in rows), default=0.0)
    yield _gauge("longest_without_stop_seconds", "of positions that have none now", [], [((), longest)])
    unrealized = sum((row.unrealized for row in rows if row.unrealized is not None), Decimal(0))
    yield _gauge("unrealized_quote", "unrealised result of all positions, quote coin", [], [((), unrealized)])


def _risk(row: RiskRow) -> Iterator[Metric]:
    figures: tuple[tuple[str, str, Decimal | int], ...] = (
        ("equity_quote", "wallets and unrealised results, quote coin", row.equity),
        ("exposure_quote", "sum of what all positions are worth, quote coin", row.exposure),
        ("day_result_quote", "result of the UTC day, quote coin", row.day_result),
        ("day_loss_limit_quote", "MAX_DAILY_LOSS; 0 = off", row.day_loss_limit),
        ("stop_streak", "losing stops in a row", row.streak),
        ("stop_streak_limit", "SL_STREAK_LIMIT; 0 = off", row.streak_limit),
        ("drawdown_percent", "below the highest equity, percent of it", row.drawdown_percent),
        ("limits_reached", "limits that hold entries back now", len(row.reached)),
    )
    for name, meaning, value in figures:
        yield _gauge(name, meaning, [], [((), value)])
    balances = [((one.venue, one.asset), one) for one in row.balances]
    yield _gauge("wallet_balance", "balance of a coin", ["venue", "asset"], [(at, one.wallet) for at, one in balances])
    ages = [(at, one.age_s) for at, one in balances]
    yield _gauge("wallet_age_seconds", "time since it was last told", ["venue", "asset"], ages)
    yield _counter("denials", "entries we denied, by limit", ["reason"], _by_one(row.denials))


def _waves(report: StatusReport) -> Iterator[Metric]:
    yield _counter("waves", "waves finished", [], [((), report.waves)])
    yield _counter("signals", "signals heard", ["source"], _by_one(report.signals))
    yield _counter("refusals", "signals refused, by reason", ["reason"], _by_one(report.refusals))


def _exits(report: StatusReport) -> Iterator[Metric]:
    yield _gauge(
        "priced_positions", "held instruments by the source of their price", ["source"], _by_one(report.prices)
    )
    if (row := report.exits) is not None:
        yield _counter("exit_analyses", "positions judged", [], [((), row.analyses)])
        yield _counter("stops_moved", "stops that were tightened", [], [((), row.stops_moved)])
        yield _counter("stop_moves_refused", "moves of a stop that were refused", [], [((), row.moves_refused)])
        yield _counter("closes", "positions closed, by the rule that closed", ["rule"], _by_one(row.closes))


def _money(report: StatusReport) -> Iterator[Metric]:
    read = [((row.venue.value, row.asset), row) for row in report.money if row.residual is not None]
    yield _gauge(
        "ledger_residual",
        "part of a wallet's change that nothing explains, in its coin",
        ["venue", "asset"],
        [(labels, row.residual) for labels, row in read if row.residual is not None],
    )
    ages = [(labels, row.read_s) for labels, row in read if row.read_s is not None]
    yield _gauge("ledger_age_seconds", "time since a wallet was last judged", ["venue", "asset"], ages)


def _loop(lag: LagRow) -> Iterator[Metric]:
    yield _gauge("loop_lag_now_milliseconds", "longest delay of a turn within seconds", [], [((), lag.now_ms)])
    yield _gauge("loop_lag_max_milliseconds", "longest delay of the last minute", [], [((), lag.max_ms)])
    yield _gauge(
        "loop_lag_p99_milliseconds", "of 100 turns of the last minute the second latest", [], [((), lag.p99_ms)]
    )
    yield _counter("loop_late_turns", "turns later than the limit", [], [((), lag.late)])
    bounds = sorted(lag.buckets)
    turns = Histogram([1000 * bound for bound in bounds[:-1]])
    if bounds:
        turns.counts, turns.total = [lag.buckets[bound] for bound in bounds], 1000 * lag.sum_s
    yield _histogram("loop_lag_milliseconds", "delay of the event loop's turns, milliseconds", {(): turns}, [])


def _tasks(report: StatusReport) -> Iterator[Metric]:
    rows = report.tasks
    yield _gauge("task_up", "1 while a task runs", ["task"], [((row.name,), int(row.running)) for row in rows])
    yield _counter(
        "task_restarts", "times a task was started again", ["task"], [((row.name,), row.restarts) for row in rows]
    )
    yield _counter(
        "task_failures", "failures of it or within it", ["task"], [((row.name,), row.failures) for row in rows]
    )
    queues = report.queues
    yield _gauge("queue_depth", "what waits in a queue", ["queue"], [((row.name,), row.depth) for row in queues])
    yield _gauge("queue_bound", "the most it holds", ["queue"], [((row.name,), row.bound) for row in queues])
    yield _counter("queue_dropped", "thrown away when full", ["queue"], [((row.name,), row.dropped) for row in queues])


def _channels(channels: Mapping[str, ChannelFigures]) -> Iterator[Metric]:
    told = [((name,), figures) for name, figures in channels.items()]
    label = ["channel"]
    yield _gauge(
        "alert_channel_up", "0 while messages do not get through", label, [(at, int(not f.failing)) for at, f in told]
    )
    yield _gauge("alerts_waiting", "messages that wait to be told", label, [(at, f.waiting) for at, f in told])
    yield _counter("alerts_sent", "messages people were told", label, [(at, f.sent) for at, f in told])
    yield _counter("alerts_refused", "messages a channel would not take", label, [(at, f.refused) for at, f in told])
    yield _counter("alerts_dropped", "only counted in a summary", label, [(at, f.dropped) for at, f in told])


def _by_one(values: Mapping[str, int]) -> list[Row]:
    return [((name,), count) for name, count in values.items()]


def _states(name: str, meaning: str, label: str, states: Iterable[str], now: str) -> Metric:
    return _gauge(name, meaning, [label], [((str(state),), int(state == now)) for state in states])


def _gauge(name: str, meaning: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, figure in rows:
        family.add_metric(values, float(figure))
    return family


def _counter(name: str, meaning: str, labels: list[str], rows: Iterable[Row]) -> Metric:
    """Its name ends in `_total`, which the library adds."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, figure in rows:
        family.add_metric(values, float(figure))
    return family


def _histogram(name: str, meaning: str, rows: Mapping[tuple[str, ...], Histogram], labels: list[str]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, histogram in rows.items():
        family.add_metric(values, _buckets(histogram), histogram.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as the format wants them."""
    running = 0
    found: list[tuple[str, float]] = []
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        running += count
        found.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(running)))
    return found
