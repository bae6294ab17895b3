"""Status as text for a phone. Plain text: no markup to break, whatever a symbol is called."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from core.domain.money import plain
from core.engine.queries import ExitRow, PositionRow, StatusReport, VenueRow

COMMANDS: Final = {"status": "trading state, venues and positions", "help": "what can be asked"}
HELP: Final = "\n".join(f"/{name}: {told}" for name, told in COMMANDS.items())


def status_text(status: StatusReport) -> str:
    """Several lines, the most important first."""
    because = f" ({status.reason})" if status.reason else ""
    lines = [f"{status.trading_state.upper()}{because}", f"Breakwater {status.build}, up {duration(status.uptime_s)}"]
    lines += [_venue(row) for row in status.venues]
    lines.append("")
    lines += [_position(row) for row in status.positions] or ["No open positions"]
    if status.unresolved_orders:
        lines.append(f"⚠️ {status.unresolved_orders} orders with unknown outcome, being looked up")
    if status.balances:
        lines += ["", *(f"{asset}: {plain(amount)}" for asset, amount in sorted(status.balances.items()))]
    if (money := _money(status)) is not None:
        lines.append(money)
    lines.append(f"Waves: {status.waves}" + _refusals(status.refusals))
    if status.signals:
        lines.append("Signals: " + ", ".join(f"{count} {source}" for source, count in sorted(status.signals.items())))
    if status.prices:
        lines.append("Prices: " + ", ".join(f"{count} {source}" for source, count in status.prices.items()))
    if status.exits is not None and status.exits.analyses:
        lines.append(_exits(status.exits))
    return "\n".join(lines)


def _exits(exits: ExitRow) -> str:
    closed = ", ".join(f"{count} {rule}" for rule, count in exits.closes.items())
    looked = f"{exits.analyses} analyses, {exits.trailing_checks} trailing checks"
    return f"Exits: {looked}, {exits.stops_moved} stops moved" + (f"; closed: {closed}" if closed else "")


def duration(seconds: float) -> str:
    """The two largest units: 3d 4h, 4h 5m, 5m 6s, 6s."""
    whole = max(0, int(seconds))
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return " ".join(f"{count}{unit}" for count, unit in parts[:2])


def _money(status: StatusReport) -> str | None:
    """What of the wallets' changes nothing explains; None before anything was asked."""
    if not status.money:
        return None
    unread = sorted({row.venue.value for row in status.money if row.residual is None})
    odd = [row for row in status.money if row.residual is not None and not row.balanced]
    told = [f"⚠️ {plain(row.residual or Decimal(0))} {row.asset} at {row.venue.value}" for row in odd]
    told += [f"not read yet at {venue}" for venue in unread]
    return "Unexplained: " + (", ".join(told) or "0")


def _venue(row: VenueRow) -> str:
    if row.off_because:
        return f"{row.venue.value}: OFF, {row.off_because}"
    link = "WS down" if row.connected_s is None else f"WS connected {duration(row.connected_s)}"
    checked = "never reconciled" if row.reconciled_s is None else f"reconciled {duration(row.reconciled_s)} ago"
    return f"{row.venue.value}: {link}, {row.reconnects} reconnects, {checked}"


def _position(row: PositionRow) -> str:
    result = "unknown" if row.unrealized is None else _signed(row.unrealized)
    missing = "dust, less than one order" if row.dust else "⚠️ NO STOP"
    stop = missing if row.stop is None else f"stop {plain(row.stop)}"
    venue, symbol = row.instrument
    return (
        f"{venue.value} {symbol} {row.side} {plain(row.quantity)} @ {_price(row.entry_price)}, {stop}, "
        f"result {result}, {duration(row.age_s)}"
    )


def _price(price: Decimal) -> str:
    """At most ten significant digits: an average of several fills may have thirty."""
    return plain(Decimal(f"{price:.10g}"))


def _signed(amount: Decimal) -> str:
    rounded = round(amount, 2)
    return f"{'+' if rounded > 0 else ''}{plain(rounded)}"


def _refusals(refusals: Mapping[str, int]) -> str:
    if not refusals:
        return ""
    most = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))
    return ", refused: " + ", ".join(f"{reason} {count}" for reason, count in most)
