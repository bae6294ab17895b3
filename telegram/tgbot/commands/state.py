"""The daemon's state and its positions as pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from core.domain.money import HUNDRED, ZERO, plain
from core.domain.risk import TradingState
from core.engine.queries import PositionRow, RiskRow, StatusReport, VenueRow
from tgbot.keyboards import instead
from tgbot.page import Button, Page, Part, bold, page, table
from tgbot.roles import Role
from tgbot.tables import columns, duration, fitted, money, named, pair, percent, price, quantity

REFUSALS_TOLD: Final = 3
CLOSE_BUTTONS: Final = 6
"""Positions that get a button each; more are closed by their name."""
_MARKS: Final = {"active": "🟢", "reducing": "🟡", "halted": "🔴"}


def mark(state: str, reason: str) -> str:
    """`🟡 REDUCING: paused`."""
    because = f": {reason}" if reason and state != "active" else ""
    return f"{_MARKS.get(state, '')} {state.upper()}{because}"


def status_page(status: StatusReport) -> Page:
    """The most important first."""
    warnings = list(_warnings(status))
    return page(
        bold(mark(status.trading_state, status.reason)),
        *warnings,
        table(_venues(status.venues, status.trading_state)),
        table(["", *_figures(status), "", *_build(status)]),
    )


def _warnings(status: StatusReport) -> Iterator[str]:
    for venue in status.venues:
        yield from _venue_warnings(venue)
    bare = [row for row in status.positions if row.stop is None and not row.dust]
    if bare:
        yield f"🔴 WITHOUT A STOP: {', '.join(named(row.instrument) for row in bare)}"
    if status.unresolved_orders:
        yield f"⚠️ {status.unresolved_orders} orders with unknown outcome, being looked up"
    if not status.journal_writable:
        yield "🔴 the journal cannot be written: no entries"
    for money_row in status.money:
        if money_row.residual is not None and not money_row.balanced:
            odd = f"{money(money_row.residual, signed=True)} {money_row.asset}"
            yield f"⚠️ {money_row.venue.value}: {odd} is not explained"


def _venue_warnings(row: VenueRow) -> Iterator[str]:
    if row.off_because:
        yield f"⚠️ {row.venue.value}: no entries, {row.off_because}"
    if row.paused:
        yield f"⚠️ {row.venue.value}: entries pause, {row.paused}"
    if row.may_withdraw:
        yield f"⚠️ {row.venue.value}: the API key may withdraw"


def _venues(rows: Sequence[VenueRow], state: str) -> list[str]:
    """One column a venue."""
    if not rows:
        return ["no venue is used"]
    lines = [
        ["", *(row.venue.value for row in rows)],
        ["stream", *(duration(row.connected_s) if row.connected else "DOWN" for row in rows)],
        ["entries", *(_entries(row, state) for row in rows)],
        ["reconcile", *("never" if row.reconciled_s is None else duration(row.reconciled_s) for row in rows)],
        ["clock", *("?" if row.clock_error_ms is None else f"{row.clock_error_ms}ms" for row in rows)],
        ["budget", *(_budget(row) for row in rows)],
        ["reconnect", *(str(row.reconnects) for row in rows)],
    ]
    if any(row.key_swaps for row in rows):
        lines.append(["key swaps", *(str(row.key_swaps) for row in rows)])
    return columns(lines, "<" + ">" * len(rows))


def _budget(row: VenueRow) -> str:
    """What is left of the request limits, of the lane that has least."""
    return f"{min(row.headroom.values()) * 100:.0f}%" if row.headroom else "?"


def _figures(status: StatusReport) -> Iterator[str]:
    rows = status.positions
    stops = sum(1 for row in rows if row.stop is not None)
    dust = sum(1 for row in rows if row.dust)
    yield pair("positions", f"{len(rows)}, stops {stops}" + (f", dust {dust}" if dust else ""))
    if rows:
        yield pair("open result", money(open_result(rows), signed=True))
    if status.risk is not None:
        yield from _risk(status.risk)
    yield pair("waves", str(status.waves))
    if status.refusals:
        most = sorted(status.refusals.items(), key=lambda item: (-item[1], item[0]))
        yield pair("refused", str(sum(status.refusals.values())))
        yield from (pair(f"  {reason}", str(count)) for reason, count in most[:REFUSALS_TOLD])
    if status.prices:
        yield pair("prices", fitted(", ".join(f"{count} {source}" for source, count in status.prices.items()), 30))


def _risk(risk: RiskRow) -> Iterator[str]:
    limit = f" of {plain(risk.day_loss_limit)}" if risk.day_loss_limit else ""
    yield pair("day", f"{money(risk.day_result, signed=True)}{limit}")
    if risk.streak_limit:
        yield pair("stops in a row", f"{risk.streak} of {risk.streak_limit}")
    allowed = f" of {plain(risk.drawdown_limit_percent)}%" if risk.drawdown_limit_percent else ""
    yield pair("drawdown", percent(risk.drawdown_percent, signed=False) + allowed)
    yield pair("equity", money(risk.equity))


def _build(status: StatusReport) -> list[str]:
    return [pair(status.build, f"up {duration(status.uptime_s)}")]


def open_result(rows: Sequence[PositionRow]) -> Decimal | None:
    """Together; None where the price of one is not known."""
    results = [row.unrealized for row in rows]
    return None if None in results else sum((one for one in results if one is not None), ZERO)


def positions(rows: Sequence[PositionRow], role: Role) -> Page:
    """One block each; who may close gets buttons for it."""
    total = money(open_result(rows), signed=True)
    parts: list[Part] = [bold(f"{len(rows)} position{'s' if len(rows) > 1 else ''}, open result {total}")]
    for row in rows:
        parts += [bold(f"{_arrow(row)} {named(row.instrument)} {row.side}"), table(_card(row))]
    buttons: list[tuple[Button, ...]] = [instead("▤ Table", "positions table")]
    if role >= Role.OPERATOR and len(rows) <= CLOSE_BUTTONS:
        closes = [b for row in rows for b in _close_button(row)]
        buttons += [tuple(closes[at : at + 3]) for at in range(0, len(closes), 3)]
    return page(*parts).with_buttons(*buttons)


def _close_button(row: PositionRow) -> tuple[Button, ...]:
    venue, symbol = row.instrument
    return instead(f"Close {named(row.instrument)}", f"close {symbol} {venue.value}")


def _arrow(row: PositionRow) -> str:
    return "🟢" if (row.unrealized or ZERO) >= ZERO else "🔻"


def _card(row: PositionRow) -> list[str]:
    lines = [
        pair(f"{quantity(row.quantity)} @ {price(row.entry_price)}", f"now {price(row.mark)}"),
        pair("result", f"{money(row.unrealized, signed=True)}  {percent(profit(row))}"),
    ]
    if row.stop is None:
        lines.append(pair("stop", "none: dust" if row.dust else "NONE" + _naked(row)))
    else:
        lines.append(pair(f"stop {price(row.stop)}", f"{percent(distance(row), signed=False)} away"))
        lines.append(pair("protected for", duration(row.protected_s)))
    return [*lines, pair("age", duration(row.age_s))]


def _naked(row: PositionRow) -> str:
    return "" if row.naked_s is None else f" for {duration(row.naked_s)}"


def positions_table(rows: Sequence[PositionRow]) -> Page:
    """One line each."""
    lines = [
        [
            named(row.instrument),
            row.side[:1].upper(),
            money(row.unrealized, signed=True),
            percent(profit(row)),
            "dust" if row.dust else "NONE" if row.stop is None else percent(distance(row), signed=False),
        ]
        for row in rows
    ]
    head = ("position", "", "result", "%", "stop")
    total = pair("together", money(open_result(rows), signed=True))
    return page(table([*columns(lines, "<<>>>", head=head), "", total]), "stop: how far the price is from it")


def profit(row: PositionRow) -> Decimal | None:
    """Percent of the entry price."""
    if row.mark is None or not row.entry_price:
        return None
    sign = 1 if row.side == "long" else -1
    return (row.mark / row.entry_price - 1) * HUNDRED * sign


def distance(row: PositionRow) -> Decimal | None:
    """Percent of the price that the price may still go against it."""
    if row.stop is None or not row.mark:
        return None
    sign = 1 if row.side == "long" else -1
    return (row.mark - row.stop) / row.mark * HUNDRED * sign


def _entries(row: VenueRow, state: str) -> str:
    if state != TradingState.ACTIVE:
        return "no"
    return "off" if row.off_because else "paused" if row.paused else "on"
