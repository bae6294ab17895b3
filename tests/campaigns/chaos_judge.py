"""What must be true of a chaos run, from the venues' side; what is not is said in a sentence."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.domain.ids import is_ours
from tests.campaigns.chaos_faults import HARMLESS
from tests.campaigns.chaos_plan import BANNED_SECONDS, CALM_SECONDS, COINS
from tests.campaigns.chaos_plan import symbol as symbol_at
from tests.campaigns.chaos_record import Record, Window
from tests.campaigns.chaos_run import KEYS, PASSPHRASE, SECRETS, TOKEN, Game
from tests.campaigns.chaos_witness import Life, Witness
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.worlds import Daemon, SimulatedWorld
from tools.bench.venues import refused
from tools.venuesim.exchange.model import ConditionalType
from tools.verify_audit import check

DEADLINE_SECONDS = 3.0
FLATTENED_SECONDS = 2.0
"""After the deadline, for the close to be filled."""
RECOVERY_SECONDS = 30.0
"""After a fault ended, or a start: a venue that did not serve is asked again at growing intervals."""
FOREIGN_SECONDS = 12.0
"""For taking over what somebody else opened: two readings, and a pause of five seconds after the last one."""
UNSEEN_SECONDS = 60.0
"""What somebody did behind our back while frames were lost is found by the next reading."""
SWEEP_SECONDS = 110.0
"""Two readings that agree, 45 s apart."""
SETTLED_SECONDS = 5.0
Rows = Sequence[Mapping[str, Any]]
_KEYLIKE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[g-zG-Z])[A-Za-z0-9]{60,}(?![A-Za-z0-9])")
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


@dataclass(slots=True)
class Books:
    """What the last journal of a run holds."""

    legs: dict[str, str] = field(default_factory=dict)
    signals_of: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, Decimal] = field(default_factory=dict)
    working: set[str] = field(default_factory=set)
    open: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)


def books_of(folder: Path) -> Books:
    books = Books()
    with closing(sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True)) as journal:
        for row in journal.execute("SELECT client_order_id, leg, signal_id, quantity, ended FROM orders"):
            client_id, leg, signal_id, quantity, ended = row
            books.legs[client_id] = leg
            books.signals_of[client_id] = signal_id
            books.wanted[client_id] = Decimal(quantity)
            if not ended:
                books.working.add(client_id)
        for row in journal.execute("SELECT venue, symbol, side, quantity FROM positions WHERE closed_ms IS NULL"):
            venue, symbol, side, quantity = row
            if Decimal(quantity):
                books.open[venue, symbol, side] = Decimal(quantity)
        for signal_id, wave_id, code in journal.execute("SELECT signal_id, wave_id, code FROM signals"):
            books.told[signal_id] = code
            del wave_id
        books.unfinished = {row[0] for row in journal.execute("SELECT wave_id FROM waves WHERE finished_ms IS NULL")}
    return books


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
        books = books_of(daemon.data_dir)
        strangers = set[tuple[str, str]]()
        given_up = _given_up(record, daemon)
        for venue in world.names:
            witness = record.witnesses[venue]
            strange = _strangers(record, venue, witness)
            if venue in given_up:
                strange |= {symbol_at(venue, coin) for coin in COINS}
            strangers |= {(venue, symbol) for symbol in strange}
            await self._requests(world, venue, record, books)
            self._steps(venue, witness, books)
            self._cover(venue, await world.ask("protection", venue), record, strange)
            self._loosened(venue, witness, record)
            self._left_behind(venue, witness, record)
            self._limits(venue, witness, record)
        self._end(world, daemon, books, strangers, given_up)
        self._told(record, books)
        self._files(record)

    # along the way

    async def _requests(self, world: SimulatedWorld, venue: str, record: Record, books: Books) -> None:
        rows = await world.ask("requests?since=0", venue)
        orders = (await world.ask("state?all=1", venue))["orders"]
        posts = _posts(rows)
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
        start_ms = VirtualClock().exact_ms() - VirtualClock().monotonic() * 1_000 + 1_000_000
        for row in rows:
            if not any(legs.get(name) == "entry" for name in row["client_ids"]) or row["method"] == "GET":
                continue
            sent_s = (row["received"] - start_ms) / 1_000
            for window in record.no_entries:
                if window.venue in ("", venue) and window.since + 0.001 < sent_s < window.until:
                    self._wrong.append(f"{venue}: an entry left {sent_s:.3f} s in, after {window.why} was answered")

    def _steps(self, venue: str, witness: Witness, books: Books) -> None:
        for step in witness.steps:
            leg = books.legs.get(step.client_id, "")
            reduces = step.only_reduces or (is_ours(step.client_id) and leg not in ("entry", ""))
            grew, turned = abs(step.after) > abs(step.before), step.before * step.after < 0
            if reduces and (grew or turned):
                self._wrong.append(f"{venue} {step.symbol}: {leg} {step.client_id} made {step.before} {step.after}")

    def _cover(self, venue: str, protection: Sequence[Mapping[str, Any]], record: Record, strange: set[str]) -> None:
        offset = VirtualClock().exact_ms() - VirtualClock().monotonic() * 1_000 + 1_000_000
        excuses = list(_excuses(record, venue))
        for row in protection:
            if row["symbol"] in strange:
                continue
            for gap in row["intervals"]:
                since = (gap["from"] - offset) / 1_000
                until = record.end_s if gap["to"] is None else (gap["to"] - offset) / 1_000
                bare = longest_uncovered(since, until, excuses)
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
        offset = VirtualClock().exact_ms() - VirtualClock().monotonic() * 1_000 + 1_000_000
        excuses = list(_excuses(record, venue))
        for left in witness.left:
            since = (left.since - offset) / 1_000
            until = record.end_s if left.until is None else (left.until - offset) / 1_000
            if longest_uncovered(since, until, excuses) > SWEEP_SECONDS:
                self._wrong.append(f"{venue} {left.symbol}: {left.client_id} rested {until - since:.0f} s for nothing")

    def _limits(self, venue: str, witness: Witness, record: Record) -> None:
        most = int(record.plan.settings["MAX_POSITIONS"])
        worst = max((count for _, count in witness.open_at_once), default=0)
        if worst > most:
            self._wrong.append(f"{venue}: {worst} positions of ours at once, {most} are allowed")

    # in the end

    def _end(
        self,
        world: SimulatedWorld,
        daemon: Daemon,
        books: Books,
        strangers: set[tuple[str, str]],
        given_up: set[str],
    ) -> None:
        status = daemon.status
        if status.unresolved_orders:
            self._wrong.append(f"{status.unresolved_orders} orders are still unknown")
        self._wrong += [f"{row.venue}: the private stream is not live" for row in status.venues if not row.connected]
        if late := set(world.names) - {row.venue.value for row in status.venues} - given_up:
            self._wrong.append(f"not traded any more: {', '.join(sorted(late))}")
        blind = "none" if given_up else "websocket"
        if other := {source: n for source, n in status.prices.items() if source not in ("websocket", blind)}:
            self._wrong.append(f"prices do not come from sockets: {other}")
        ours = {
            (row.instrument.venue.value, _at_venue(row.instrument.venue, row.instrument.symbol), row.side): row.quantity
            for row in status.positions
        }
        journal = {
            (venue, _at_venue(venue, symbol), "long" if side in ("buy", "long") else "short"): quantity
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

    def _told(self, record: Record, books: Books) -> None:
        """Every signal that was refused has a reason, and every other one an order."""
        ordered = {signal for name, signal in books.signals_of.items() if books.legs[name] == "entry"}
        for signal_id, code in books.told.items():
            if not code and signal_id not in ordered:
                self._wrong.append(f"signal {signal_id} has neither an order nor a reason")
        for trouble in record.troubles:
            if trouble.number not in record.killed and trouble.event not in EXPECTED:
                self._wrong.append(f"log: {trouble.event} {trouble.text[:300]}")

    def _files(self, record: Record) -> None:
        for folder in record.folders[-1:]:
            audit = check(folder)
            if not audit.clean:
                self._wrong.append(f"the audit is {audit.sentence()}")
        secrets = [TOKEN, PASSPHRASE, *KEYS.values(), *SECRETS.values()]
        outputs = {"the log": "\n".join(record.log)}
        for folder in record.folders[-1:]:
            outputs |= {path.name: path.read_bytes().decode("latin-1") for path in folder.iterdir() if path.is_file()}
        for name, text in outputs.items():
            self._wrong += [f"{name} tells a secret: {secret[:6]}…" for secret in secrets if secret in text]
            if not name.startswith("journal") and (found := _KEYLIKE.search(text)) is not None:
                self._wrong.append(f"{name} tells what looks like a key: {found[0][:8]}…")


def _posts(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """By client id, what was sent under it."""
    posts = dict[str, list[Mapping[str, Any]]]()
    for row in rows:
        if row["lane"] in ("order", "stop") and row["method"] in ("POST", "WS"):
            for name in row["client_ids"]:
                posts.setdefault(name, []).append(row)
    return posts


def _again(sent: Rows) -> bool:
    """Whether it was sent once more before, or although, the venue had not refused it."""
    return any(
        not refused(before) or before["answered"] is None or before["answered"] > after["received"]
        for before, after in pairwise(sent)
    )


def longest_uncovered(since: float, until: float, excuses: Iterable[Window]) -> float:
    """The longest stretch of [since, until] that no window covers, seconds."""
    longest, at = 0.0, since
    for window in sorted(excuses):
        if window.until <= at or window.since >= until:
            continue
        longest = max(longest, window.since - at)
        at = max(at, window.until)
    return max(longest, until - at)


def _excuses(record: Record, venue: str) -> Iterator[Window]:
    """When a position may stand bare: the process is down, or the venue does not do what it should."""
    for window in record.down:
        yield Window(window.since, window.until + RECOVERY_SECONDS)
    faulty = [window for window in record.faulty if window.venue == venue and window.why not in HARMLESS]
    for window in faulty:
        banned = window.why in ("revoke_key", "rate_limit") and record.plan.calm_s > CALM_SECONDS
        yield Window(window.since, window.until + (BANNED_SECONDS if banned else RECOVERY_SECONDS))
    for window in record.own_hand:
        if window.venue == venue:
            unseen = any(w.since < window.since < w.until + UNSEEN_SECONDS for w in faulty)
            yield Window(window.since, window.since + (UNSEEN_SECONDS if unseen else FOREIGN_SECONDS))


def _settled(life: Life) -> list[Any]:
    """From the level behind its fill onwards: a stop that came with its entry is moved there."""
    early = [stand for stand in life.stands if stand.time_ms <= life.opened + SETTLED_SECONDS * 1_000]
    return [*early[-1:], *life.stands[len(early) :]]


def _given_up(record: Record, daemon: Daemon) -> set[str]:
    """Venues whose key was refused at the newest start: they are off until the next one, and people are told."""
    begun = [window.since for window in record.down if window.why == "start"]
    refused_then = {
        window.venue
        for window in record.faulty
        if window.why == "revoke_key" and begun and window.since <= begun[-1] <= window.until
    }
    return refused_then - {row.venue.value for row in daemon.status.venues}


def _strangers(record: Record, venue: str, witness: Witness) -> set[str]:
    """Symbols the owner touched where what others open is left alone."""
    if record.plan.settings["EXTERNAL_POSITIONS"] != "ignore":
        return set()
    return {window.why for window in record.own_hand if window.venue == venue}


def _at_venue(venue: str, unified: str) -> str:
    return symbol_at(venue, unified.partition("/")[0])


def _said(held: Mapping[tuple[str, str, str], Decimal]) -> str:
    return ", ".join(f"{' '.join(key)} {quantity}" for key, quantity in sorted(held.items())) or "nothing"
