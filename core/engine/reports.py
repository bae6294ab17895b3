"""The daily and the weekly report: what a stretch of whole UTC days came to, as values and as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct, field

from core.domain.day import MS_PER_DAY
from core.domain.money import plain
from core.engine.performance import ClosedTrade, Performance

REASONS_TOLD = 6
"""Of what signals were refused for; the rest is added up."""


class Report(Struct, frozen=True, kw_only=True):
    """`result` is the change of the day's account: realised, open at the mark, fees and funding (MAX_DAILY_LOSS counts
    the same); None = this daemon did not see all of these days. `uptime_s` seconds of them in which it ran.
    `residuals`: what of each wallet's change nothing explains, as text. `audit_seq`, `audit_hash`: the newest record of
    the audit log, which outside this host is proof of all before it."""

    performance: Performance
    result: Decimal | None = None
    funding: Decimal | None = None
    open_positions: int = 0
    waves: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    uptime_s: int | None = None
    longest_unprotected_ms: int | None = None
    residuals: tuple[str, ...] = ()
    audit_seq: int = 0
    audit_hash: str = ""


def report_text(report: Report) -> str:
    """Several lines, the most important first; every figure that is not known is left out or said to be unknown."""
    told = report.performance
    lines = [f"{_span(told)}: {_signed(told.result)} from {_count(told.trades, 'closed trade')}"]
    if report.result is not None:
        lines.append(f"account {_signed(report.result)} with what is open and funding ({report.open_positions} open)")
    if told.trades:
        lines.append(_won(told))
    funding = "unknown" if report.funding is None else _signed(report.funding)
    lines.append(f"fees {plain(round(told.fees, 2))}, funding {funding}")
    lines += [f"{name}: {_trade(trade)}" for name, trade in (("best", told.best), ("worst", told.worst)) if trade]
    lines.append(f"signals refused: {_refusals(report.refusals)}")
    lines.append(_health(report))
    lines.append("unexplained: " + ("; ".join(report.residuals) or "0"))
    if report.audit_hash:
        lines.append(f"audit {report.audit_seq}: {report.audit_hash}")
    return "\n".join(lines)


def _span(told: Performance) -> str:
    first, last = _date(told.since_ms), _date(told.until_ms - 1)
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d}"


def _won(told: Performance) -> str:
    rate = f" ({told.win_rate_percent:.0f} %)" if told.win_rate_percent is not None else ""
    factor = "" if told.profit_factor is None else f", profit factor {plain(round(told.profit_factor, 2))}"
    return f"won {told.won}, lost {told.lost}{rate}{factor}"


def _trade(trade: ClosedTrade) -> str:
    return f"{trade.instrument} {trade.side} {_signed(trade.result)} ({_signed(trade.percent)} %)"


def _refusals(refusals: Mapping[str, int]) -> str:
    if not refusals:
        return "none"
    most = sorted(refusals.items(), key=lambda row: (-row[1], row[0]))
    told = [f"{count} {reason}" for reason, count in most[:REASONS_TOLD]]
    if rest := sum(count for _, count in most[REASONS_TOLD:]):
        told.append(f"{rest} other")
    return ", ".join(told)


def _health(report: Report) -> str:
    days = (report.performance.until_ms - report.performance.since_ms) / MS_PER_DAY
    parts = [_count(report.waves, "wave")]
    if report.uptime_s is not None:
        parts.append(f"up {min(100.0, report.uptime_s / (864 * days)):.1f} %")
    naked = report.longest_unprotected_ms
    parts.append("longest without a stop " + ("unknown" if naked is None else f"{naked} ms"))
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _signed(amount: Decimal) -> str:
    rounded = round(amount, 2)
    return f"{'+' if rounded > 0 else ''}{plain(rounded)}"
