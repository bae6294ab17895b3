"""What must be true of a chaos run, from the venues' side; what is not is said in a sentence.

Which invariant is judged where, each by the venues' own events and records unless said otherwise:

- no two entries for one intent, filled never exceeds intended, nothing sent twice or unknown to the journal:
  `_requests`
- every position covered by a reduce-only stop except within the deadline, else flattened: `_cover` along the way,
  `_stops` in the end (one stop of exactly the position's quantity, and no other)
- no reduce-only or close order opens, enlarges or turns a position: `_steps`
- no orphan stop older than the sweep period: `_left_behind`; stops never loosen: `_loosened`
- no entry while HALTED, paused, reducing or while the KILL file exists: chaos_limits.while_stopped
- no entry over a limit (positions, per venue, exposure, per coin, per minute, stops in a row, the day's loss):
  chaos_limits.over_limits
- after a panic was answered nothing of ours is held there: chaos_run asks the venue in that moment
- journal state equals venue state, and so do the daemon's answers; no order is unknown, no wave unfinished: `_end`
- ledger residual zero, by a reading made in the end: chaos_audit.unexplained
- the audit chain verifies, and replays to the positions of the venues, to the money they booked, and to the journal's
  positions, results and verdicts: chaos_audit.replayed
- every signal that was told has an order or a reason, and no error is logged that is not expected: `_told`
- nothing secret in log, journal, audit or answers: chaos_audit.told_secrets
- nothing ends, raises or is left running that should not: chaos_run
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from core.domain.ids import is_ours
from tests.campaigns.chaos_audit import replayed, told_secrets, turned_back, unexplained
from tests.campaigns.chaos_books import Books, at_venue, books_of
from tests.campaigns.chaos_excuses import (
    DEADLINE_SECONDS,
    FLATTENED_SECONDS,
    SWEEP_SECONDS,
    excuses,
    given_up,
    longest_uncovered,
    strangers,
)
from tests.campaigns.chaos_limits import Sent, entries_sent, over_limits, while_stopped
from tests.campaigns.chaos_plan import COINS
from tests.campaigns.chaos_plan import symbol as symbol_at
from tests.campaigns.chaos_record import Record
from tests.campaigns.chaos_run import Game
from tests.campaigns.chaos_witness import Life, Witness
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.worlds import Daemon, SimulatedWorld
from tools.bench.venues import refused
from tools.venuesim.exchange.model import ConditionalType

SETTLED_SECONDS = 5.0
QUIET_SECONDS = 3.0
"""Since the last trade, so that what it means has been heard when books are compared."""
Rows = Sequence[Mapping[str, Any]]
EXPECTED = frozenset(
    {
        "filter.refuses_everything",
        "stream.not_live",
        "notice",
        "risk.limit_reached",
        "risk.venue_paused",
        "venue.outage",
        "orders.inconsistent",
    }
)

OF_A_FULL_DISK = frozenset({"journal.unwritable", "journal.not_closed", "audit.unwritable", "audit.not_closed"})


class Judge:
    """Called in calm weather with the daemon up; says what is wrong into the record."""

    def __init__(self) -> None:
        self.worst_ms = 0.0
        self._wrong: list[str] = []

    async def __call__(self, game: Game, world: SimulatedWorld) -> None:
        record, daemon = game.record, game.alive
        self._wrong = record.wrong
        self._wrong += record.endings
        if daemon is None or "status-line" not in daemon.orchestrator._tasks:
            self._wrong.append("no daemon is ready two minutes after the last fault")
            return
        away = given_up(record, daemon)
        self._wrong += await unexplained(record, daemon, away)
        self._wrong += [f"the task {row.name} failed: {row.why}" for row in daemon.status.tasks if row.failures]
        await self._quiet(record)
        books, strange = books_of(daemon.data_dir), set[tuple[str, str]]()
        sent = list[Sent]()
        for venue in world.names:
            witness = record.witnesses[venue]
            there = strangers(record, venue) | ({symbol_at(venue, coin) for coin in COINS} if venue in away else set())
            strange |= {(venue, symbol) for symbol in there}
            rows = await world.ask("requests?since=0", venue)
            sent += entries_sent(venue, rows, books.legs, _offset_ms())
            await self._requests(world, venue, rows, record, books)
            self._steps(venue, witness, books)
            self._cover(venue, await world.ask("protection", venue), record, there)
            self._loosened(venue, witness, record)
            self._left_behind(venue, witness, record)
        self._wrong += while_stopped(record, sent)
        income = {venue: world.venues[venue].simulation.engine.income() for venue in world.names}
        self._wrong += over_limits(record, sent, books.legs, income, _offset_ms())
        true = self._end(world, daemon, books, strange, away)
        self._told(record, daemon, books)
        self._wrong += replayed(record, daemon.data_dir, world, true, strange)
        self._wrong += told_secrets(record, daemon.data_dir)

    async def _quiet(self, record: Record) -> None:
        """Until nobody has traded for some seconds; a market that never rests is judged as it is."""
        for _ in range(20):
            now_ms = VirtualClock().exact_ms()
            steps = [witness.steps[-1].time_ms for witness in record.witnesses.values() if witness.steps]
            if now_ms - max(steps, default=0.0) > QUIET_SECONDS * 1_000:
                return
            await asyncio.sleep(1.0)

    # along the way

    async def _requests(self, world: SimulatedWorld, venue: str, rows: Rows, record: Record, books: Books) -> None:
        orders = (await world.ask("state?all=1", venue))["orders"]
        reducing = {order["client_id"] for order in orders if order["reduce_only"]}
        posts = _posts([row for row in rows if not _unwritten(row, record, reducing)])
        legs = books.legs
        self._wrong += [f"{venue}: {legs.get(name)} {name} was sent again" for name in posts if _again(posts[name])]
        self._wrong += [f"{venue}: {n} was sent and is in no journal" for n in posts if is_ours(n) and n not in legs]
        entries = [o for o in orders if not o["reduce_only"] and o["client_id"] and is_ours(o["client_id"])]
        filled = [o for o in entries if Decimal(o["filled"])]
        by_signal = Counter(books.signals_of.get(o["client_id"], o["client_id"]) for o in filled)
        self._wrong += [f"{venue}: {n} was entered {times} times" for n, times in by_signal.items() if times > 1]
        for order in filled:
            wanted = books.wanted.get(order["client_id"])
            if wanted is not None and Decimal(order["filled"]) > wanted:
                self._wrong.append(f"{venue}: {order['client_id']} filled {order['filled']} of {wanted}")

    def _steps(self, venue: str, witness: Witness, books: Books) -> None:
        for step in witness.steps:
            leg = books.legs.get(step.client_id, "")
            reduces = step.only_reduces or (is_ours(step.client_id) and leg not in ("entry", ""))
            grew, turned = abs(step.after) > abs(step.before), step.before * step.after < 0
            if reduces and (grew or turned):
                self._wrong.append(f"{venue} {step.symbol}: {leg} {step.client_id} made {step.before} {step.after}")

    def _cover(self, venue: str, protection: Sequence[Mapping[str, Any]], record: Record, strange: set[str]) -> None:
        offset = _offset_ms()
        known = list(excuses(record, venue))
        for row in protection:
            if row["symbol"] in strange:
                continue
            for gap in row["intervals"]:
                since = (gap["from"] - offset) / 1_000
                until = record.end_s if gap["to"] is None else (gap["to"] - offset) / 1_000
                bare = longest_uncovered(since, until, known)
                self.worst_ms = max(self.worst_ms, bare * 1_000)
                if bare > DEADLINE_SECONDS + FLATTENED_SECONDS:
                    self._wrong.append(
                        f"{venue} {row['symbol']}: {gap['uncovered_qty']} without a stop from {since:.2f} s to "
                        f"{until:.2f} s, {bare:.2f} s of it without an excuse"
                    )

    def _loosened(self, venue: str, witness: Witness, record: Record) -> None:
        for life in witness.lives:
            if not is_ours(life.opened_by):
                continue
            settled = _settled(life)
            for a, b in pairwise(settled):
                since = (a.time_ms, b.time_ms)
                touched = any(since[0] <= moment <= since[1] for moment in life.foreign_ms)
                if (b.level - a.level) * life.side < 0 and b.held <= a.held and not touched and not a.provisional:
                    what = f"{'long' if life.side > 0 else 'short'} stop went from {a.level} to {b.level}"
                    self._wrong.append(f"{venue} {life.symbol}: {what}")

    def _left_behind(self, venue: str, witness: Witness, record: Record) -> None:
        offset = _offset_ms()
        known = list(excuses(record, venue))
        for left in witness.left:
            since = (left.since - offset) / 1_000
            until = record.end_s if left.until is None else (left.until - offset) / 1_000
            if longest_uncovered(since, until, known) > SWEEP_SECONDS:
                self._wrong.append(f"{venue} {left.symbol}: {left.client_id} rested {until - since:.0f} s for nothing")

    # in the end

    def _end(
        self,
        world: SimulatedWorld,
        daemon: Daemon,
        books: Books,
        strangers: set[tuple[str, str]],
        away: set[str],
    ) -> Mapping[tuple[str, str, str], Decimal]:
        """What the venues hold, those symbols left out that are no business of ours."""
        status = daemon.status
        if status.unresolved_orders:
            self._wrong.append(f"{status.unresolved_orders} orders are still unknown")
        self._wrong += [f"{row.venue}: the private stream is not live" for row in status.venues if not row.connected]
        if late := set(world.names) - {row.venue.value for row in status.venues} - away:
            self._wrong.append(f"not traded any more: {', '.join(sorted(late))}")
        blind = "none" if away else "websocket"
        if other := {source: n for source, n in status.prices.items() if source not in ("websocket", blind)}:
            self._wrong.append(f"prices do not come from sockets: {other}")
        ours = {
            (row.instrument.venue.value, at_venue(row.instrument.venue, row.instrument.symbol), row.side): row.quantity
            for row in status.positions
        }
        journal = {
            (venue, at_venue(venue, symbol), "long" if side in ("buy", "long") else "short"): quantity
            for (venue, symbol, side), quantity in books.open.items()
        }
        resting = set[str]()
        true = dict[tuple[str, str, str], Decimal]()
        for venue in world.names:
            world.venues[venue].catch_up()
            engine = world.venues[venue].simulation.engine
            held = {(venue, row.symbol, "long" if row.qty > 0 else "short"): abs(row.qty) for row in engine.positions()}
            true |= {key: quantity for key, quantity in held.items() if (venue, key[1]) not in strangers}
            self._stops(venue, engine, held, strangers)
            resting |= {row.client_id for row in engine.open_conditionals() if row.client_id and is_ours(row.client_id)}
            resting |= {row.client_id for row in engine.open_orders() if row.client_id and is_ours(row.client_id)}
        ours = {key: quantity for key, quantity in ours.items() if (key[0], key[1]) not in strangers}
        journal = {key: quantity for key, quantity in journal.items() if (key[0], key[1]) not in strangers}
        if ours != true:
            self._wrong.append(f"we hold {_said(ours)}; the venues say {_said(true)}")
        if journal != true:
            self._wrong.append(f"the journal holds {_said(journal)}; the venues say {_said(true)}")
        if forgotten := resting - books.working:
            self._wrong.append(f"rests and is over by the journal: {sorted(forgotten)}")
        if books.unfinished:
            self._wrong.append(f"waves without an end: {sorted(books.unfinished)}")
        return true

    def _stops(
        self, venue: str, engine: Any, held: Mapping[tuple[str, str, str], Decimal], strangers: set[tuple[str, str]]
    ) -> None:
        stops = dict[tuple[str, str, str], list[Decimal]]()
        for row in engine.open_conditionals():
            if not row.type.is_stop_loss or row.type is ConditionalType.TRAILING:
                continue
            side = "long" if row.side.name == "SELL" else "short"
            covered = row.qty if row.qty is not None else abs(engine.position(row.symbol, row.position_side).qty)
            stops.setdefault((venue, row.symbol, side), []).append(covered)
        stops = {key: quantities for key, quantities in stops.items() if (venue, key[1]) not in strangers}
        wanted = {key: [quantity] for key, quantity in held.items() if (venue, key[1]) not in strangers}
        if stops != wanted:
            self._wrong.append(f"{venue}: stops rest for {stops or 'nothing'}; positions are {_said(held)}")

    def _told(self, record: Record, daemon: Daemon, books: Books) -> None:
        """Every signal that was refused has a reason, and every other one an order."""
        ordered = {signal for name, signal in books.signals_of.items() if books.legs[name] == "entry"}
        asked = {str(signal["id"]) for wave in record.plan.waves for signal in wave["signals"]}
        self._wrong += [
            f"signal {signal_id} was told and is not in the journal" for signal_id in asked - books.told.keys()
        ]
        for signal_id, code in books.told.items():
            if not code and signal_id not in ordered:
                self._wrong.append(f"signal {signal_id} has neither an order nor a reason")
        for trouble in record.troubles:
            if trouble.event == "money.unexplained":
                (venue,) = (venue for venue in record.plan.venues if f"venue={venue}" in trouble.text)
                if turned_back(record, daemon, venue):
                    continue
            expected = EXPECTED | (OF_A_FULL_DISK if record.disk else frozenset())
            expected |= {"orders.id_not_in_journal"} if record.unwritten else frozenset()
            if trouble.number not in record.killed and trouble.event not in expected:
                self._wrong.append(f"log: {trouble.event} {trouble.text[:300]}")


def _posts(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """By client id, what was sent under it."""
    posts = dict[str, list[Mapping[str, Any]]]()
    for row in rows:
        if row["lane"] in ("order", "stop") and row["method"] in ("POST", "WS"):
            for name in row["client_ids"]:
                posts.setdefault(name, []).append(row)
    return posts


def _unwritten(row: Mapping[str, Any], record: Record, reducing: set[str]) -> bool:
    """Sent while no journal could take it, by a run that ended so: only what protects leaves then, and the next run may
    send the same stop under the same name, which the venue refuses as a second one."""
    at_s = (row["received"] - _offset_ms()) / 1_000
    only_reduces = row["lane"] == "stop" or reducing.issuperset(row["client_ids"])
    return only_reduces and any(window.since <= at_s <= window.until for window in record.unwritten)


def _again(sent: Rows) -> bool:
    """Whether it was sent once more before, or although, the venue had not refused it."""
    return any(
        not refused(before) or before["answered"] is None or before["answered"] > after["received"]
        for before, after in pairwise(sent)
    )


def _settled(life: Life) -> list[Any]:
    """From the level behind its fill onwards: a stop that came with its entry is moved there."""
    early = [stand for stand in life.stands if stand.time_ms <= life.opened + SETTLED_SECONDS * 1_000]
    return [*early[-1:], *life.stands[len(early) :]]


def _offset_ms() -> float:
    """UTC of the run's start."""
    return VirtualClock().exact_ms() - VirtualClock().monotonic() * 1_000 + 1_000_000


def _said(held: Mapping[tuple[str, str, str], Decimal]) -> str:
    return ", ".join(f"{' '.join(key)} {quantity}" for key, quantity in sorted(held.items())) or "nothing"
