"""The periodic one-line status, for the log and for people."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.money import plain
from core.domain.risk import BALANCE_WARN_SECONDS
from core.domain.spans import span
from core.engine.money_ledger import MoneyRow
from core.engine.queries import ExitRow, RiskRow, StatusReport


def status_line(status: StatusReport) -> str:
    """E.g. `active | binance WS connected 1h02m, reconciled 12s ago | 3 positions, 3 stops | 2 waves`."""
    parts = [status.trading_state if status.trading_state == "active" else f"{status.trading_state}: {status.reason}"]
    for venue in status.venues:
        stream = f"WS connected {span(venue.connected_s)}" if venue.connected_s is not None else "WS down"
        reconciled = "never reconciled" if venue.reconciled_s is None else f"reconciled {span(venue.reconciled_s)} ago"
        paused = "" if venue.paused is None else ", entries paused"
        key = ", KEY MAY WITHDRAW" if venue.may_withdraw else ""
        parts.append(f"{venue.venue} {stream}, {reconciled}{paused}{key}")
    stops = sum(1 for position in status.positions if position.stop is not None)
    dust = sum(1 for position in status.positions if position.dust)
    parts.append(f"{len(status.positions)} positions, {stops} stops" + (f", {dust} dust" if dust else ""))
    if status.prices:
        parts.append("prices: " + ", ".join(f"{count} {source}" for source, count in status.prices.items()))
    parts.append(_signals(status))
    if status.exits is not None and status.exits.analyses:
        parts.append(_exits(status.exits))
    if status.risk is not None:
        parts.append(_risk(status.risk))
    if status.unresolved_orders:
        parts.append(f"{status.unresolved_orders} orders unresolved")
    parts.append(_balances(status))
    if status.money:
        parts.append(money_told(status.money))
    parts.append(f"up {span(status.uptime_s)}")
    return " | ".join(part for part in parts if part)


def _signals(status: StatusReport) -> str:
    """E.g. `2 waves, heard 6 pushed, 1 signals refused`."""
    heard = " ".join(f"{count} {source}" for source, count in status.signals.items())
    refused = f"{sum(status.refusals.values())} signals refused"
    return f"{status.waves} waves" + (f", heard {heard}" if heard else "") + f", {refused}"


def _exits(exits: ExitRow) -> str:
    """E.g. `exits: 1204 analyses, 1204 trailing checks, 3 stops moved, 2 closed (trailing 2)`."""
    closed = ", ".join(f"{rule} {count}" for rule, count in exits.closes.items())
    done = f"{sum(exits.closes.values())} closed" + (f" ({closed})" if closed else "")
    looked = f"{exits.analyses} analyses, {exits.trailing_checks} trailing checks"
    return f"exits: {looked}, {exits.stops_moved} stops moved, {done}"


def _risk(risk: RiskRow) -> str:
    """E.g. `day -12.5 of 100, stops 1 of 3, drawdown 0.4%`."""
    day = f"day {plain(round(risk.day_result, 2))} of {plain(risk.day_loss_limit)}"
    limit = f" of {plain(risk.drawdown_limit_percent)}%" if risk.drawdown_limit_percent else ""
    down = f"drawdown {plain(round(risk.drawdown_percent, 1))}%{limit}"
    return f"{day}, stops {risk.streak} of {risk.streak_limit}, {down}"


def _balances(status: StatusReport) -> str:
    """With the age of those that are old enough to matter (RSK-02)."""
    rows = () if status.risk is None else status.risk.balances
    ages = {f"{row.venue} {row.asset}": row.age_s for row in rows}
    return ", ".join(
        f"{name} {plain(round(value, 2))}" + _old(ages.get(name, 0.0)) for name, value in status.balances.items()
    )


def money_told(rows: Sequence[MoneyRow]) -> str:
    """E.g. `unexplained 0 binance, not read yet okx`; coins at a venue that are all explained are one figure."""
    told: dict[str, None] = {}
    for row in rows:
        if row.residual is None:
            told[f"not read yet {row.venue}"] = None
        elif row.balanced:
            told[f"0 {row.venue}"] = None
        else:
            told[f"{plain(round(row.residual, 4))} {row.asset} {row.venue}"] = None
    return "unexplained " + ", ".join(told)


def _old(age_s: float) -> str:
    return f" ({int(age_s)}s old)" if age_s >= BALANCE_WARN_SECONDS else ""
