"""What the daemon is, has and does at this moment."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from core.domain.money import ZERO
from core.domain.risk import BALANCE_WARN_SECONDS
from core.engine.queries import OrderRow
from tgbot.commands.state import mark, positions_table, status_page
from tgbot.commands.state import positions as positions_page
from tgbot.page import Page, Part, bold, code, page, table
from tgbot.registry import Ask, Command, Misused
from tgbot.roles import Role
from tgbot.tables import WIDTH, columns, duration, fitted, money, named, pair, percent, price, quantity, wrapped

ORDERS_SHOWN: Final = 40
CLOSES_TOLD: Final = 5
LOG_LINES: Final = 15
MOST_LOG_LINES: Final = 100
_LOG_MARKS: Final = {"warning": "⚠️", "error": "🔴", "critical": "🔴"}
_LOG_LEVELS: Final = {"warnings": "warning", "warning": "warning", "errors": "error", "error": "error"}
_HEALTH_MARKS: Final = {"ok": "🟢", "degraded": "🟡", "unhealthy": "🔴"}


async def status(ask: Ask) -> Page:
    ask.none()
    return status_page(ask.desk.queries.status())


async def positions(ask: Ask) -> Page:
    if ask.arguments not in {(), ("table",)}:
        raise Misused("takes nothing, or the word table")
    rows = ask.desk.queries.positions()
    if not rows:
        return page("No open positions.")
    return positions_table(rows) if ask.arguments else positions_page(rows, ask.role)


async def balance(ask: Ask) -> Page:
    ask.none()
    status, figures = ask.desk.queries.status(), ask.desk.queries.risk()
    if not figures.balances:
        return page("No balance has been read yet.")
    rows = [
        [
            f"{row.venue} {row.asset}",
            money(row.wallet),
            money(row.free),
            duration(row.age_s) + ("!" if row.age_s >= BALANCE_WARN_SECONDS else ""),
        ]
        for row in figures.balances
    ]
    odd = [row for row in status.money if row.residual is not None and not row.balanced]
    notes = [f"⚠️ {money(row.residual, signed=True)} {row.asset} at {row.venue.value} is not explained" for row in odd]
    notes += [f"⚠️ {where}: entries wait {until}" for where, until in figures.shortages.items()]
    lines = columns(rows, "<>>>", head=("wallet", "coins", "free", "age"))
    total = pair("equity", f"{money(figures.equity)}  (peak {money(figures.equity_peak)})")
    return page(bold("Balance"), table([*lines, "", total]), *notes)


async def orders(ask: Ask) -> Page:
    ask.none()
    rows = ask.desk.queries.orders()
    if not rows:
        return page("No orders rest or are under way.")
    parts: list[Part] = [bold(f"{len(rows)} order{'s' if len(rows) > 1 else ''} rest or are under way")]
    for row in rows[:ORDERS_SHOWN]:
        parts += [table(_order(row)), code(row.client_order_id)]
    if len(rows) > ORDERS_SHOWN:
        parts.append(f"… and {len(rows) - ORDERS_SHOWN} more")
    return page(*parts, "/cancel ID takes one back.")


def _order(row: OrderRow) -> list[str]:
    at = "" if row.level is None else f" @ {price(row.level)}"
    filled = f", {quantity(row.filled)} filled" if row.filled else ""
    return [
        pair(f"{named(row.instrument)} {row.leg}", row.status),
        pair(f"{row.side} {quantity(row.quantity)}{at}{filled}", duration(row.age_s) if row.age_s is not None else ""),
    ]


async def risk(ask: Ask) -> Page:
    ask.none()
    told = ask.desk.queries.risk()
    limits = told.limits
    drawdown = f"{percent(told.drawdown_percent, signed=False)} of {_limit(limits['MAX_DRAWDOWN_PERCENT'], '%')}"
    rows = [
        ["day result", money(told.day_result, signed=True)],
        ["  closed", money(told.day_closed, signed=True)],
        ["  open", money(told.day_open, signed=True)],
        ["  funding", money(told.day_funding, signed=True)],
        ["counted loss", f"{money(told.day_counted_loss)} of {_limit(limits['MAX_DAILY_LOSS'])}"],
        ["stops in a row", f"{told.streak} of {_limit(limits['SL_STREAK_LIMIT'])}"],
        ["drawdown", drawdown],
        ["equity", f"{money(told.equity)} of {money(told.equity_peak)}"],
        ["positions", f"{told.positions} of {_limit(limits['MAX_POSITIONS'])}"],
        ["exposure", f"{money(told.exposure)} of {_limit(limits['MAX_EXPOSURE_USD'])}"],
        ["entries, minute", f"{told.entries_last_minute} of {_limit(limits['MAX_ENTRIES_PER_MINUTE'])}"],
    ]
    held = [*told.reached.values()]
    held += [f"{venue}: {what}" for venue, what in (*told.venue_states.items(), *told.pauses.items())]
    held += [f"{where}: entries wait {what}" for where, what in told.shortages.items()]
    parts: list[Part] = [bold(mark(told.state, told.reason)), table([pair(left, right) for left, right in rows])]
    if held:
        parts += [bold("What holds entries back"), *(f"• {what}" for what in held)]
    if told.cooling:
        newest = list(told.cooling.items())[-CLOSES_TOLD:]
        lines = [line for key, last in reversed(newest) for line in (key, f"  {last}")]
        more = len(told.cooling) - len(newest)
        parts += [bold("Last closes"), table(fitted(line, WIDTH) for line in lines)]
        parts += [f"and of {more} more symbols"] if more else []
    if told.denials:
        parts += [bold("Denied since the start"), table(pair(name, str(n)) for name, n in told.denials.items())]
    return page(*parts)


def _limit(text: str, unit: str = "") -> str:
    return "no limit" if Decimal(text) == ZERO else f"{text}{unit}"


async def signals(ask: Ask) -> Page:
    ask.none()
    told = ask.desk.queries.status()
    refused = sorted(told.refusals.items(), key=lambda row: (-row[1], row[0]))
    parts: list[Part] = [bold(f"Since the start {duration(told.uptime_s)} ago")]
    rows = [("waves", str(told.waves))]
    rows += [(f"heard, {source}", str(count)) for source, count in sorted(told.signals.items())]
    rows += [("refused", str(sum(told.refusals.values())))]
    parts.append(table([pair(left, right) for left, right in rows]))
    if refused:
        parts += [bold("Refused for"), table(pair(reason, str(count)) for reason, count in refused)]
    day = await ask.desk.past.refusals(ask.clock.now_ms() - 86_400_000)
    if day:
        parts += [bold("Last 24 hours, by the journal"), table(pair(reason, str(n)) for reason, n in day.items())]
    return page(*parts, "/why SYMBOL tells of one, /waves of the last waves.")


async def health(ask: Ask) -> Page:
    ask.none()
    word = ask.desk.health()
    told = ask.desk.queries.status()
    rows = [pair(row.venue.value, "live" if row.connected else f"down {duration(row.down_s)}") for row in told.venues]
    stops = sum(1 for row in told.positions if row.stop is not None)
    rows += [
        pair("positions with a stop", f"{stops} of {len(told.positions)}"),
        pair("orders with unknown outcome", str(told.unresolved_orders)),
        pair("journal", "written" if told.journal_writable else "CANNOT BE WRITTEN"),
        pair("loop late at most", f"{told.lag.max_ms:.0f} ms"),
        pair("tasks", f"{sum(1 for row in told.tasks if row.running)} of {len(told.tasks)} run"),
        *(pair(f"  {row.name}", f"{row.restarts} restarts") for row in told.tasks if row.restarts),
        *(pair(f"  queue {row.name}", f"{row.depth} of {row.bound}") for row in told.queues if row.depth),
        pair("up", duration(told.uptime_s)),
    ]
    said = [f"• {reason}" for reason in word.reasons] or ["Nothing is wrong."]
    return page(bold(f"{_HEALTH_MARKS.get(word.level, '')} {word.level.upper()}"), *said, table(rows))


async def version(ask: Ask) -> Page:
    ask.none()
    told = ask.desk.queries.status()
    return page(f"Breakwater {told.build}, up {duration(told.uptime_s)}")


async def config(ask: Ask) -> Page:
    if len(ask.arguments) > 1:
        raise Misused("give one word of the names, or all")
    word = ask.arguments[0].upper() if ask.arguments else ""
    every = ask.desk.config()
    if not word:
        shown = [line for line in every if line.source != "default"]
        title = f"{len(shown)} settings that are not defaults"
    else:
        shown = [line for line in every if word == "ALL" or word in line.name]
        title = f"{len(shown)} settings" + ("" if word == "ALL" else f" with {word}")
    parts: list[Part] = [bold(title)]
    group = ""
    for line in shown:
        if line.group != group:
            group = line.group
            parts.append(bold(group))
        value = f"={line.value or '-'}" + ("" if line.effective else " (not yet effective)")
        whole = line.name + value
        parts.append(table([whole] if len(whole) <= WIDTH else [line.name, *wrapped(value, "  ")]))
    if not word:
        parts.append("/config all shows every one, /config TRAILING those of a name. Secrets are masked.")
    return page(*parts)


async def logs(ask: Ask) -> Page:
    count, least = LOG_LINES, "info"
    for word in ask.arguments:
        if word.lower() in _LOG_LEVELS:
            least = _LOG_LEVELS[word.lower()]
        elif word.isascii() and word.isdecimal() and 1 <= int(word) <= MOST_LOG_LINES:
            count = int(word)
        else:
            raise Misused(f"give a number from 1 to {MOST_LOG_LINES}, and warnings or errors")
    lines = await ask.desk.logs(count, least)
    if not lines:
        return page("The log has no such lines.")
    parts: list[Part] = []
    for line in lines:
        head = f"{line.time[11:19]} {_LOG_MARKS.get(line.level, '')}{line.event}"
        parts.append(table([head, *wrapped(fitted(line.detail, 240), "  ")]))
    return page(bold(f"Last {len(lines)} lines, UTC"), *parts)


COMMANDS: Final = (
    Command(name="status", told="state, venues, positions, day", answer=status, refreshes=True),
    Command(name="positions", told="each with stop and result", answer=positions, usage="[table]", refreshes=True),
    Command(name="balance", told="wallets and what is free", answer=balance, refreshes=True),
    Command(name="orders", told="what rests at the venues", answer=orders, refreshes=True),
)
DEEPER: Final = (
    Command(name="risk", told="limits and how near they are", answer=risk, refreshes=True, section="Why"),
    Command(name="signals", told="heard and refused", answer=signals, refreshes=True, section="Why"),
    Command(name="health", told="is everything as it should be", answer=health, refreshes=True, section="Daemon"),
    Command(
        name="config",
        told="settings, secrets masked",
        answer=config,
        usage="[NAME|all]",
        role=Role.OPERATOR,
        section="Daemon",
    ),
    Command(
        name="logs",
        told="newest lines of the log",
        answer=logs,
        usage="[n] [warnings]",
        role=Role.OPERATOR,
        section="Daemon",
    ),
    Command(name="version", told="which build runs", answer=version, section="Daemon"),
)
