"""The periodic one-line status, for the log and for people."""

from __future__ import annotations

from core.domain.money import plain
from core.engine.queries import StatusReport


def status_line(status: StatusReport) -> str:
    """E.g. `active | binance WS connected 1h02m, reconciled 12s ago | 3 positions, 3 stops | 2 waves`."""
    parts = [status.trading_state if status.trading_state == "active" else f"{status.trading_state}: {status.reason}"]
    for venue in status.venues:
        stream = f"WS connected {span(venue.connected_s)}" if venue.connected_s is not None else "WS down"
        reconciled = "never reconciled" if venue.reconciled_s is None else f"reconciled {span(venue.reconciled_s)} ago"
        parts.append(f"{venue.venue} {stream}, {reconciled}")
    stops = sum(1 for position in status.positions if position.stop is not None)
    parts.append(f"{len(status.positions)} positions, {stops} stops")
    parts.append(f"{status.waves} waves, {sum(status.refusals.values())} signals refused")
    if status.unresolved_orders:
        parts.append(f"{status.unresolved_orders} orders unresolved")
    parts.append(", ".join(f"{name} {plain(round(value, 2))}" for name, value in status.balances.items()))
    parts.append(f"up {span(status.uptime_s)}")
    return " | ".join(part for part in parts if part)


def span(seconds: float) -> str:
    """`12s`, `4m05s`, `1h02m`, `3d04h`."""
    total = int(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3_600:
        return f"{total // 60}m{total % 60:02}s"
    if total < 86_400:
        return f"{total // 3_600}h{total % 3_600 // 60:02}m"
    return f"{total // 86_400}d{total % 86_400 // 3_600:02}h"
