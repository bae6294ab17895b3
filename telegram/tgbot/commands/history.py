"""What was earned, traded and decided, from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from core.domain.day import MS_PER_DAY
from core.domain.gate import Gate
from core.domain.ids import Leg
from core.domain.money import HUNDRED, ZERO, plain
from core.engine.past import Account, PastOrder, PastTrade, PastWave, Story
from core.engine.performance import ClosedTrade, Performance, last_days
from tgbot.keyboards import instead
from tgbot.page import Page, Part, bold, page, table
from tgbot.registry import Ask, Command
from tgbot.tables import (
    WIDTH,
    coin,
    columns,
    duration,
    fitted,
    moment,
    money,
    named,
    pair,
    percent,
    price,
    quantity,
    wrapped,
)

MOST_DAYS: Final = 90
MOST_ROWS: Final = 50
PERFORMANCE_DAYS: Final = 30
COINS_TOLD: Final = 5
REASONS_TOLD: Final = 5
EVERYTHING: Final = "all"
_SIDES: Final = {"buy": "long", "sell": "short"}
_LEGS: Final = {Leg.ENTRY.value: "in", Leg.STOP.value: "stop", Leg.CLOSE.value: "out"}


async def pnl(ask: Ask) -> Page:
    days = ask.number(7, MOST_DAYS)
    told = await _performance(ask, days)
    if not told.trades:
        return page(f"Nothing was closed in {_days(days)}.", await _open(ask))
    rows = [[_date(one.day), str(one.trades), money(one.result, signed=True)] for one in reversed(told.days)]
    lines = columns([*rows, ["together", str(told.trades), money(told.result, signed=True)]], "<>>", head=_PNL_HEAD)
    note = "After fees, without funding; days are UTC."
    return page(bold(f"Result of {_days(days)}"), table(lines), await _open(ask), note)


_PNL_HEAD: Final = ("day", "closed", "result")


async def daily(ask: Ask) -> Page:
    ask.none()
    return await _report(ask, 1, "Today")


async def weekly(ask: Ask) -> Page:
    ask.none()
    return await _report(ask, 7, "Seven days")


async def _report(ask: Ask, days: int, title: str) -> Page:
    told = await _performance(ask, days)
    since, _ = last_days(ask.clock.now_ms(), days)
    refused = await ask.desk.past.refusals(since)
    risk = ask.desk.queries.risk()
    rows = [pair("closed trades", str(told.trades)), *_result_rows(told)]
    if days == 1:
        rest = risk.day_closed - told.result
        rows += [pair("open fees, other trades", money(rest, signed=True))] if round(rest, 2) else []
        rows += [
            pair("funding", money(risk.day_funding, signed=True)),
            pair("open at the mark", money(risk.day_open, signed=True)),
            pair("DAY, all of it", money(risk.day_result, signed=True)),
        ]
    parts: list[Part] = [bold(f"{title}, since {_stamp(since)} UTC"), table(rows)]
    if told.best is not None and told.worst is not None:
        only = told.best is told.worst
        parts.append(table([*_trade("best", told.best), *([] if only else _trade("worst", told.worst))]))
    if refused:
        parts += [bold(f"Refused {sum(refused.values())}"), table(_most(refused))]
    return page(*parts)


async def overall(ask: Ask) -> Page:
    days = ask.number(PERFORMANCE_DAYS, MOST_DAYS)
    told = await _performance(ask, days)
    if not told.trades:
        return page(f"Nothing was closed in {_days(days)}.")
    rows = [
        pair("closed trades", str(told.trades)),
        *_result_rows(told),
        pair("profit factor", "-" if told.profit_factor is None else plain(round(told.profit_factor, 2))),
        pair("average win", money(told.average_win, signed=True) if told.average_win is not None else "-"),
        pair("average loss", money(told.average_loss, signed=True) if told.average_loss is not None else "-"),
        pair("deepest fall", money(told.drawdown)),
        pair("losses in a row", str(told.losses_in_a_row)),
        pair("held on average", duration(told.held_seconds)),
    ]
    parts: list[Part] = [bold(f"Performance of {_days(days)}"), table(rows)]
    venues = [pair(venue.value, money(result, signed=True)) for venue, result in told.by_venue.items()]
    coins = list(told.by_instrument.items())
    shown = coins if len(coins) <= 2 * COINS_TOLD else [*coins[:COINS_TOLD], *coins[-COINS_TOLD:]]
    lines = [pair(named(instrument), money(result, signed=True)) for instrument, result in shown]
    return page(*parts, bold("By venue"), table(venues), bold("Best and worst coins"), table(lines))


async def trades(ask: Ask) -> Page:
    count = ask.number(10, MOST_ROWS)
    rows = await ask.desk.past.trades(count)
    if not rows:
        return page("Nothing was traded yet.")
    now = ask.clock.now_ms()
    lines = [line for row in rows for line in trade_lines(row, now)]
    told = [] if all(row.result is None for row in rows) else ["Results are before fees; /pnl has them after."]
    return page(bold(f"Last {len(rows)} trades, newest first, UTC"), table(lines), *told)


def trade_lines(row: PastTrade, now_ms: int) -> list[str]:
    """Two lines from what was filled; whatever is not known is a question mark (TEL-01). The result is before fees:
    those of the entry are no part of this trade."""
    leg = "other" if row.leg is None else _LEGS.get(row.leg, row.leg)
    result = "" if row.result is None else f" {money(row.result, signed=True)}"
    return [
        pair(f"{moment(row.time_ms, now_ms)} {fitted(named(row.instrument), 16)}", leg + result),
        pair(f"  {row.side} {quantity(row.quantity)} @ {price(row.price)}", f"fee {money(row.fees)}"),
        *_slip(row),
    ]


def _slip(row: PastTrade) -> list[str]:
    """How much worse than decided."""
    if not row.decided or row.price is None:
        return []
    worse = (row.price / row.decided - 1) * HUNDRED * (1 if row.side == "buy" else -1)
    return [pair(f"  decided {price(row.decided)}", f"slip {percent(worse)}")] if round(worse, 2) else []


async def waves(ask: Ask) -> Page:
    rows = await ask.desk.past.waves(ask.number(5, MOST_ROWS))
    if not rows:
        return page("No wave has come yet.")
    now = ask.clock.now_ms()
    parts: list[Part] = [bold(f"Last {len(rows)} waves, newest first, UTC")]
    for row in rows:
        parts.append(table(_wave(row, now)))
        parts.append("")
    return page(*parts[:-1])


def _wave(row: PastWave, now_ms: int) -> list[str]:
    done = "under way or cut off" if row.finished_ms is None else f"{(row.finished_ms - row.received_ms) / 1000:.1f} s"
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row.counts.items() if name != "signals")
    signals = row.counts.get("signals")
    head = pair(f"{moment(row.received_ms, now_ms)} {row.source}", done)
    told = f"{signals} signals" + (f": {counts}" if counts else "") if signals is not None else counts
    stages = [f"{name} {value:.0f}" for name, value in row.stages.items() if value is not None]
    timed = wrapped(f"ms: {', '.join(stages)}", "  ") if stages else []
    return [head, *wrapped(told, "  "), *timed]


async def why(ask: Ask) -> Page:
    spellings = ask.spellings()
    words = [word.lower() for word in ask.arguments[1:]]
    everything = EVERYTHING in words
    narrowed = replace(ask, arguments=(ask.arguments[0], *(word for word in words if word != EVERYTHING)))
    venue = narrowed.venue(1)
    accounts = [await ask.desk.past.account(symbol, venue) for symbol in spellings]
    told = next((one for one in accounts if one.found), accounts[0])
    if told.wave is None or not told.found:
        return page(f"{told.said[:1].upper()}{told.said[1:]}.")
    shown = _account_page(told, told.wave, ask.clock.now_ms(), everything=everything)
    if everything or not any(story.signal.gates for story in told.stories):
        return shown
    return shown.with_buttons(instead("All gates", " ".join(("why", *ask.arguments, EVERYTHING))))


def _account_page(told: Account, wave: PastWave, now_ms: int, *, everything: bool) -> Page:
    parts: list[Part] = [bold(f"Wave of {moment(wave.received_ms, now_ms)} UTC from {wave.source}")]
    if wave.finished_ms is None:
        parts.append("Not finished: it is under way, or its daemon ended in it; its gates are told at the end.")
    for story in told.stories:
        parts += _story(story, everything=everything)
    for one in told.unread:
        parts += [bold(f"❌ {one['symbol']}: {one['code']}"), one["detail"]]
    return page(*parts)


def _story(story: Story, *, everything: bool) -> list[Part]:
    """Of the gates those that refused or say something, unless all are wanted."""
    signal = story.signal
    sign = "❌" if signal.code else "✅"
    title = f"{sign} {coin(signal.symbol)} {signal.venue} {_SIDES.get(signal.side, signal.side)}, score {signal.score}"
    parts: list[Part] = [bold(title), f"{signal.code}: {signal.detail}" if signal.code else "accepted"]
    shown = [gate for gate in signal.gates if everything or gate.denied is not None or gate.note]
    passed = sum(1 for gate in signal.gates if gate.denied is None)
    if signal.gates:
        count = [] if everything else [pair("gates passed", f"{passed} of {len(signal.gates)}")]
        parts.append(table([*(line for gate in shown for line in _gate(gate)), *count]))
    lines = [line for one in story.orders for line in _order(one)]
    if (held := story.position) is not None:
        lines.append(
            pair("position", f"open, {quantity(held.quantity)}")
            if held.open
            else pair("closed", money(held.realized - held.fees, signed=True))
        )
    return [*parts, table(lines)] if lines else parts


def _gate(gate: Gate) -> list[str]:
    """Name and value, then the limit where the gate refused or says something."""
    sign = "+" if gate.denied is None else "-"
    lines = [pair(f"{sign} {gate.name}", fitted(gate.value, max(4, WIDTH - len(gate.name) - 3)))]
    if gate.denied is not None and gate.limit:
        lines += wrapped(f"limit {gate.limit}", "    ")
    return [*lines, *wrapped(gate.note, "    ")] if gate.note else lines


def _order(one: PastOrder) -> list[str]:
    order, intent = one.order, one.order.intent
    at = f" @ {price(order.average_price)}" if order.average_price is not None else ""
    level = f" at {price(order.trigger_price)}" if order.trigger_price is not None else ""
    lines = [
        pair(f"{moment(one.intent_ms, one.intent_ms)} {intent.leg.value}{level}", order.status.value),
        f"  {intent.side.value} {quantity(order.filled or order.quantity)}{at}",
    ]
    slip = one.execution.get("slippage_percent")
    took = one.execution.get("latency_ms")
    learned = [f"slip {slip}%" if slip else "", f"{took} ms" if took else ""]
    told = [text for text in (", ".join(filter(None, learned)), intent.reason, order.detail) if text]
    return [*lines, *(line for text in told for line in wrapped(text, "  "))]


async def _performance(ask: Ask, days: int) -> Performance:
    since, until = last_days(ask.clock.now_ms(), days)
    return await ask.desk.past.performance(since, until)


async def _open(ask: Ask) -> str:
    rows = ask.desk.queries.positions()
    known = [row.unrealized for row in rows if row.unrealized is not None]
    if not rows:
        return "Nothing is open."
    missing = "" if len(known) == len(rows) else f", {len(rows) - len(known)} without a price"
    return f"Open now: {money(sum(known, ZERO), signed=True)} in {len(rows)}{missing}."


def _result_rows(told: Performance) -> list[str]:
    rows = [pair("result after fees", money(told.result, signed=True)), pair("fees", money(told.fees))]
    if told.trades:
        rate = "" if told.win_rate_percent is None else f" ({told.win_rate_percent:.0f}%)"
        rows.append(pair("won, lost", f"{told.won}, {told.lost}{rate}"))
    return rows


def _trade(word: str, one: ClosedTrade) -> list[str]:
    said = f"{money(one.result, signed=True)} {percent(one.percent)}"
    return [pair(f"{word} {fitted(named(one.instrument), 14)}", said)]


def _most(counts: Mapping[str, int]) -> Sequence[str]:
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    lines = [pair(reason, str(count)) for reason, count in rows[:REASONS_TOLD]]
    rest = sum(count for _, count in rows[REASONS_TOLD:])
    return [*lines, pair("others", str(rest))] if rest else lines


def _days(days: int) -> str:
    return "today" if days == 1 else f"{days} days"


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC):%a %m-%d}"


def _stamp(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%m-%d %H:%M}"


COMMANDS: Final = (
    Command(name="pnl", told="result by day", answer=pnl, usage="[days]", refreshes=True, section="Results"),
    Command(name="daily", told="today so far", answer=daily, refreshes=True, section="Results"),
    Command(name="weekly", told="the last seven days", answer=weekly, section="Results"),
    Command(name="performance", told="win rate, factor, falls", answer=overall, usage="[days]", section="Results"),
    Command(name="trades", told="last fills with their result", answer=trades, usage="[n]", section="Results"),
    Command(name="waves", told="last waves of signals", answer=waves, usage="[n]", section="Why"),
    Command(name="why", told="why it traded, or did not", answer=why, usage="SYMBOL [venue] [all]", section="Why"),
)
