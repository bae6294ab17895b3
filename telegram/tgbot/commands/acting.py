"""What changes something. What lets go of money or takes risk on again is asked about first; what only stops entries is
done at once. Every answer is the venue's own word, read after the deed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from core.domain.ids import InstrumentId, VenueName
from core.domain.money import ZERO
from core.domain.order import OrderStatus
from core.domain.risk import TradingState
from core.engine.command_answers import Cancelled, Changed, Closed
from core.engine.queries import OrderRow, PositionRow
from core.engine.risk_figures import RiskFigures
from tgbot.commands.state import mark, open_result, profit
from tgbot.confirmations import EXPIRE_S
from tgbot.keyboards import instead
from tgbot.page import Line, Page, Part, bold, page, table
from tgbot.registry import Ask, Command, Deed, Misused
from tgbot.roles import Role
from tgbot.tables import columns, money, named, pair, percent, price, quantity

_ASKED: Final = f"Press within {EXPIRE_S:g} s."


async def pause(ask: Ask) -> Deed:
    return _stop(ask, ask.desk.commands.pause, "Pausing")


async def reduce(ask: Ask) -> Deed:
    return _stop(ask, ask.desk.commands.reduce, "Reducing only")


def _stop(ask: Ask, command: Callable[[str, VenueName | None], Awaitable[Changed]], doing: str) -> Deed:
    venue = ask.venue(0)

    async def run() -> Page:
        changed = await command(ask.author, venue)
        return _changed(changed, "No entry leaves any more; stops and exits go on.")

    return Deed(doing=f"{doing}{_at(venue)}", run=run)


async def resume(ask: Ask) -> Deed:
    venue = ask.venue(0)
    told = ask.desk.queries.risk()
    held = [mark(told.state, told.reason) if told.state != "active" else "🟢 ACTIVE already"]
    held += [f"• {what}" for what in told.reached.values()]
    held += [f"• {name}: {what}" for name, what in (*told.venue_states.items(), *told.pauses.items())]
    if told.reached:
        held.append("What was lost is accepted: these limits count anew from here.")

    async def run() -> Page:
        if meanwhile := _stopped_since(told, ask.desk.queries.risk()):
            raise ValueError(f"not done, meanwhile something else stops entries: {meanwhile}; ask again")
        return _changed(ask.desk.commands.resume(ask.author, venue), "Entries are taken again.")

    question = page(bold(f"Resume trading{_at(venue)}?"), *held, _ASKED)
    return Deed(doing=f"Resuming{_at(venue)}", run=run, question=question, label="Resume")


async def close(ask: Ask) -> Deed:
    spellings, venue = ask.spellings(), ask.venue(1)
    for symbol in spellings:
        if rows := _held(ask, symbol, venue):
            return _closing(ask, rows, symbol, venue)
    raise Misused(f"no open position in {spellings[0]}{_at(venue)}")


async def closeall(ask: Ask) -> Deed | Page:
    venue = ask.venue(0)
    rows = _held(ask, None, venue)
    return _closing(ask, rows, None, venue) if rows else page(f"No open positions{_at(venue)}.")


def _closing(ask: Ask, rows: Sequence[PositionRow], symbol: str | None, venue: VenueName | None) -> Deed:
    async def run() -> Page:
        if symbol is not None and (others := _held_now(ask, symbol, venue) - shown):
            opened = ", ".join(sorted(str(instrument) for instrument, _ in others))
            raise ValueError(f"nothing was closed, meanwhile {opened} was opened; ask again")
        return _closed_page(await ask.desk.commands.close(symbol, venue, ask.author))

    shown = {(row.instrument, row.side == "long") for row in rows}
    what = named(rows[0].instrument) if len(rows) == 1 else f"{len(rows)} positions"
    return Deed(
        doing=f"Closing {what}",
        run=run,
        left=partial(_left, ask, symbol, venue),
        question=page(bold(f"Close {what} at market?"), *_preview(rows), _ASKED),
        label=f"Close {what}",
    )


async def panic(ask: Ask) -> Deed:
    venue = ask.venue(0)
    rows = _held(ask, None, venue)

    async def run() -> Page:
        changed = await ask.desk.commands.panic(ask.author, venue)
        told = [_changed(changed, "Nothing is entered until an owner resumes; this holds after a restart, too.")]
        if changed.closed:
            told.append(_closed_page(changed.closed))
        return Page(tuple(line for one in told for line in one.lines))

    told = _preview(rows) if rows else ["Nothing is open."]
    return Deed(
        doing=f"PANIC{_at(venue)}",
        run=run,
        left=partial(_left, ask, None, venue),
        question=page(
            bold(f"🔴 PANIC{_at(venue)}: halt trading and close everything at market?"),
            *told,
            "No entries until an owner resumes, also after a restart.",
            _ASKED,
        ),
        label="PANIC",
    )


async def cancel(ask: Ask) -> Deed:
    if not ask.arguments:
        raise Misused("which order? /orders names them")
    order_id, venue = ask.arguments[0], ask.venue(1)
    known = next(
        (row for row in ask.desk.queries.orders() if order_id in (row.client_order_id, row.venue_order_id)), None
    )
    shown = [table(_order(known))] if known else ["No open order of ours has this id; the venues are searched for it."]

    async def run() -> Page:
        return _cancelled(await ask.desk.commands.cancel(order_id, ask.author, venue))

    question = page(bold("Cancel this order?"), *shown, order_id, _ASKED)
    return Deed(doing="Cancelling", run=run, question=question, label="Cancel it")


# what is asked about


def _held(ask: Ask, symbol: str | None, venue: VenueName | None) -> list[PositionRow]:
    """As the command would choose them."""
    keys = _held_now(ask, symbol, venue)
    return [row for row in ask.desk.queries.positions() if (row.instrument, row.side == "long") in keys]


def _held_now(ask: Ask, symbol: str | None, venue: VenueName | None) -> set[tuple[InstrumentId, bool]]:
    """Instrument, and whether it is long."""
    return {(one.instrument, one.side.sign > 0) for one in ask.desk.commands.matching(symbol, venue)}


def _stopped_since(asked: RiskFigures, now: RiskFigures) -> str:
    """What was not shown in the question and would be ended with the rest; "" = nothing."""
    if now.state != TradingState.ACTIVE and (now.state, now.reason) != (asked.state, asked.reason):
        return f"{now.state}: {now.reason}"
    new = [what for limit, what in now.reached.items() if limit not in asked.reached]
    new += [f"{name}: {what}" for name, what in now.venue_states.items() if asked.venue_states.get(name) != what]
    new += [f"{name}: {what}" for name, what in now.pauses.items() if name not in asked.pauses]
    return "; ".join(new)


def _left(ask: Ask, symbol: str | None, venue: VenueName | None) -> str:
    count = len(ask.desk.commands.matching(symbol, venue))
    return f"{count} still open" if count else "flat by our books; asking the venues"


def _preview(rows: Sequence[PositionRow]) -> list[Part]:
    lines = [
        [
            named(row.instrument),
            row.side[:1].upper(),
            quantity(row.quantity),
            money(row.unrealized, signed=True),
            percent(profit(row)),
        ]
        for row in rows
    ]
    table_lines = columns(lines, "<<>>>", head=("position", "", "size", "result", "%"))
    if len(rows) > 1:
        table_lines += ["", pair("together", money(open_result(rows), signed=True))]
    return [table(table_lines)]


def _order(row: OrderRow) -> list[str]:
    at = "" if row.level is None else f" @ {price(row.level)}"
    return [
        pair(f"{named(row.instrument)} {row.leg}", row.status),
        f"{row.side} {quantity(row.quantity)}{at}",
    ]


def _at(venue: VenueName | None) -> str:
    return "" if venue is None else f" at {venue.value}"


# what came of it


def _changed(changed: Changed, meaning: str) -> Page:
    standing = changed.standing
    lines: list[str | Line] = [bold(mark(standing.state.value, standing.reason) + _at(changed.venue)), meaning]
    if changed.unanswered:
        lines.append(
            f"⚠️ {changed.unanswered} entries had left before and are not answered yet; if they fill, they are "
            + ("closed." if standing.flatten else "protected.")
        )
    lines.append(f"by {standing.author}")
    return page(*lines).with_buttons(instead("Status", "status"))


def _closed_page(told: Sequence[Closed]) -> Page:
    """Per position what the venue confirmed (TEL-05)."""
    if not told:
        return page("Nothing was open.")
    flat = sum(1 for one in told if one.flat)
    sign = "✅" if flat == len(told) else "🔴"
    lines = [line for one in told for line in _closed(one)]
    total = sum((one.realized for one in told), ZERO)
    if len(told) > 1:
        lines += ["", pair("together, after fees", money(total, signed=True))]
    return page(bold(f"{sign} {flat} of {len(told)} flat by the venue's word"), table(lines)).with_buttons(
        instead("Positions", "positions")
    )


def _closed(one: Closed) -> list[str]:
    state = "flat" if one.flat else "NOT FLAT"
    lines = [pair(f"{named(one.instrument)} {state}", money(one.realized, signed=True) if one.flat else "")]
    if one.left:
        lines.append(f"  {one.left} orders still rest there")
    if one.detail:
        lines.append(f"  {one.detail}")
    return lines


def _cancelled(told: Cancelled) -> Page:
    gone = told.status is OrderStatus.CANCELED
    state = "unknown" if told.status is None else told.status.value
    whose = "" if told.ours else " (not sent by this daemon)"
    parts: list[Part] = [bold(f"{'✅' if gone else '⚠️'} {named(told.instrument)}: {state}{whose}")]
    return page(*parts, *([told.detail] if told.detail else []), told.client_order_id)


COMMANDS: Final = (
    Command(name="pause", told="no new entries", answer=pause, usage="[venue]", role=Role.OPERATOR, section="Act"),
    Command(
        name="reduce",
        told="only let go of positions",
        answer=reduce,
        usage="[venue]",
        role=Role.OPERATOR,
        section="Act",
    ),
    Command(name="resume", told="trade again", answer=resume, usage="[venue]", role=Role.OWNER, section="Act"),
    Command(
        name="close",
        told="close one position",
        answer=close,
        usage="SYMBOL [venue]",
        role=Role.OPERATOR,
        section="Act",
    ),
    Command(
        name="closeall", told="close all positions", answer=closeall, usage="[venue]", role=Role.OPERATOR, section="Act"
    ),
    Command(
        name="panic",
        told="halt and close everything",
        answer=panic,
        usage="[venue]",
        role=Role.OPERATOR,
        section="Act",
        early=True,
    ),
    Command(
        name="cancel", told="take one order back", answer=cancel, usage="ID [venue]", role=Role.OPERATOR, section="Act"
    ),
)
