"""What the files of a chaos run say in the end: the audit log replayed, money explained, nothing secret anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from core.domain.ids import VenueName
from core.errors import VenueError
from tests.builders import NOW_MS
from tests.campaigns.chaos_books import at_venue
from tests.campaigns.chaos_borrowed import EVERY_SECRET
from tests.campaigns.chaos_record import Record
from tests.scenarios.worlds import Daemon, SimulatedWorld
from tools.rebuild import Rebuild
from tools.replay import replay
from tools.venuesim.exchange.model import IncomeType

CENT = Decimal("0.01")
_KEYLIKE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[g-zG-Z])[A-Za-z0-9]{60,}(?![A-Za-z0-9])")
Held = Mapping[tuple[str, str, str], Decimal]
"""By venue, its symbol, long or short."""


def replayed(
    record: Record, folder: Path, world: SimulatedWorld, true: Held, strangers: set[tuple[str, str]]
) -> Iterator[str]:
    """The log alone makes the positions that the venues hold, and the money they booked where all trades are ours.

    Journal and log are compared by the tool itself. What a killed run could not write is a gap and no difference.
    """
    try:
        told = replay(folder)
    except (OSError, ValueError) as error:
        yield f"the audit cannot be replayed: {error!r}"
        return
    if not told.chain.clean:
        yield f"the audit is {told.chain.sentence()}"
        return
    yield from (f"replay: {difference}" for difference in told.differences)
    held = dict[tuple[str, str, str], Decimal]()
    for position in told.rebuilt.positions.values():
        venue, _, unified = position.instrument.partition(":")
        name = at_venue(venue, unified)
        if position.quantity and (venue, name) not in strangers:
            held[venue, name, position.side] = position.quantity
    if held != true:
        yield f"the replay holds {_said(held)}; the venues say {_said(true)}"
    if not told.gaps and not record.killed:
        yield from _money(record, told.rebuilt, world)


def _money(record: Record, rebuilt: Rebuild, world: SimulatedWorld) -> Iterator[str]:
    """What positions realised and what they cost, against the venues' own books."""
    sums = rebuilt.results()
    for venue in world.names:
        others = any(window.venue == venue for window in record.own_hand)
        if others or any(position.taken_over for position in rebuilt.positions.values()):
            continue
        rows = [row for row in world.venues[venue].simulation.engine.income() if row.asset == "USDT"]
        for name, kind in (("realized", IncomeType.REALIZED_PNL), ("fees", IncomeType.COMMISSION)):
            true = sum((row.amount for row in rows if row.type is kind), Decimal(0))
            ours = sums.get((venue, "USDT"), {}).get(name, Decimal(0))
            if abs(true - ours) > CENT:
                yield f"{venue}: the replay makes {name} {ours}, the venue booked {true}"


def turned_back(record: Record, daemon: Daemon, venue: str) -> bool:
    """Whether the venue's clock went back over the moment at which the ledger was opened: trades made after it say that
    they were made before. No venue does that; the simulator does to show what a wrong clock of ours does to requests.
    """
    assert daemon.orchestrator.queries is not None
    ledger = daemon.orchestrator.queries._money.ledgers.get(VenueName(venue))
    if ledger is None:
        return False
    opened_s = (ledger.since_ms - NOW_MS) / 1_000
    for happening in record.plan.happenings:
        details = happening.details
        if happening.venue == venue and details.get("kind") == "clock_skew" and details["delay_ms"] < 0:
            back_s, lasts_s = -details["delay_ms"] / 1_000, details["duration_ms"] / 1_000
            if happening.at_s - back_s <= opened_s <= happening.at_s + lasts_s + back_s:
                return True
    return False


async def unexplained(record: Record, daemon: Daemon, given_up: set[str]) -> list[str]:
    """Wallets of which a reading made now leaves something over."""
    assert daemon.orchestrator.queries is not None
    money, wrong = daemon.orchestrator.queries._money, list[str]()
    for row in daemon.status.venues:
        if row.venue.value in given_up:
            continue
        try:
            if not await money.look(VenueName(row.venue)):
                wrong.append(f"{row.venue}: its wallets cannot be judged in calm weather")
        except VenueError as error:
            wrong.append(f"{row.venue}: its money cannot be read in calm weather: {error}")
    left_out = given_up | {venue for venue in record.plan.venues if turned_back(record, daemon, venue)}
    rows = [row for row in money.rows() if row.venue.value not in left_out]
    wrong += [f"{row.venue} {row.asset}: {row.residual} is explained by nothing" for row in rows if not row.balanced]
    return wrong


def told_secrets(record: Record, folder: Path) -> Iterator[str]:
    """Keys and tokens in what the daemon wrote, logged or answered."""
    outputs = {"the log": "\n".join(record.log), "an answer to people": "\n".join(record.answers)}
    outputs |= {path.name: path.read_bytes().decode("latin-1") for path in folder.iterdir() if path.is_file()}
    for name, text in outputs.items():
        yield from (f"{name} tells a secret: {secret[:6]}…" for secret in EVERY_SECRET if secret in text)
        if not name.startswith("journal") and (found := _KEYLIKE.search(text)) is not None:
            yield f"{name} tells what looks like a key: {found[0][:8]}…"


def _said(held: Held) -> str:
    return ", ".join(f"{' '.join(key)} {quantity}" for key, quantity in sorted(held.items())) or "nothing"
