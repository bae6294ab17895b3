"""What must be true some seconds after a death and a new start; what is not is said in a sentence.

The venue's own record is the measure, and the journal, the audit log and the daemon's own picture must agree with it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from core.domain.order import UNACKNOWLEDGED
from core.domain.risk import TradingState
from core.engine.queries import StatusReport
from tests.campaigns.crash_points import AUDIT
from tests.scenarios.worlds import Daemon, World
from tools.bench.venues import VENUES
from tools.verify_audit import check

ZERO = Decimal(0)
CENT = Decimal("0.01")
CENT_SHARE = Decimal("0.000001")
"""Profit at an average entry may be rounded in its last places, at the venue as with us."""


class Record(NamedTuple):
    """What one venue has: everything it ever had of orders, every request, how each position was covered."""

    state: dict[str, Any]
    resting: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    protection: list[dict[str, Any]]

    @property
    def held(self) -> dict[str, Decimal]:
        return {p["symbol"]: Decimal(p["qty"]) * (1 if p["side"] == "long" else -1) for p in self.state["positions"]}


async def read(world: World) -> Record:
    return Record(
        state=await world.ask("state?all=1"),
        resting=(await world.ask("state"))["orders"],
        requests=await world.ask("requests?since=0"),
        protection=await world.ask("protection"),
    )


def at_the_venue(record: Record) -> list[str]:
    """Nothing sent or entered twice, every position under one stop of its size, nothing else left resting but one
    trailing order of the same size beside it, where the venue trails."""
    posts = [r for r in record.requests if r["lane"] in ("order", "stop") and r["method"] != "GET"]
    sent = Counter(name for r in posts for name in r["client_ids"] if name)
    entered = Counter(
        o["symbol"]
        for o in record.state["orders"]
        if not o["reduce_only"] and o["type"] in ("market", "limit") and Decimal(o["filled"]) > 0
    )
    held, stops, trails, wrong = record.held, dict[str, list[Decimal]](), dict[str, list[Decimal]](), []
    for order in record.resting:
        if order["type"] == "stop" and order["reduce_only"]:
            stops.setdefault(order["symbol"], []).append(Decimal(order["qty"]))
        elif order["type"] == "trailing" and order["reduce_only"]:
            trails.setdefault(order["symbol"], []).append(Decimal(order["qty"]))
        else:
            wrong.append(f"{order['symbol']}: a {order['type']} order is left resting")
    for symbol in sorted(held.keys() | stops.keys()):
        size, covering = abs(held.get(symbol, ZERO)), stops.get(symbol, [])
        if covering != [size]:
            wrong.append(f"{symbol}: a position of {size} under stops for {_listed(covering)}")
    for symbol, sizes in trails.items():
        if sizes != [abs(held.get(symbol, ZERO))]:
            wrong.append(f"{symbol}: a position of {held.get(symbol, 0)} beside trailing orders for {_listed(sizes)}")
    return [
        *(f"order {name} was sent {times} times" for name, times in sent.items() if times > 1),
        *(f"{symbol} was entered {times} times" for symbol, times in entered.items() if times > 1),
        *wrong,
        *(f"{r['symbol']} naked for {r['naked_now_ms']} ms" for r in record.protection if r["naked_now_ms"]),
    ]


def in_the_daemon(record: Record, daemon: Daemon, status: StatusReport) -> list[str]:
    """It holds what the venue holds, knows the fate of every order, and trades again."""
    wrong = []
    if daemon.held() != record.held:
        wrong.append(f"the daemon holds {_said(daemon.held())}, the venue {_said(record.held)}")
    if status.unresolved_orders:
        wrong.append(f"{status.unresolved_orders} orders are unresolved")
    if status.trading_state != TradingState.ACTIVE.value:
        wrong.append(f"the daemon is {status.trading_state}: {status.reason}")
    wrong += [
        f"{row.residual} {row.asset} of the wallet are explained by nothing"
        for row in status.money
        if row.residual is not None and abs(row.residual) > CENT
    ]
    return wrong


def in_the_journal(record: Record, venue: str, path: Path) -> list[str]:
    """Positions, trades and money are the venue's; no order is undecided, no wave open, no signal without a verdict."""
    facts = VENUES[venue]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        held = {
            facts.spelt(symbol): Decimal(quantity) * (1 if side in ("long", "buy") else -1)
            for symbol, side, quantity in rows("SELECT symbol, side, quantity FROM positions WHERE closed_ms IS NULL")
            if Decimal(quantity)
        }
        traded = {key: Decimal(quantity) for key, quantity in rows("SELECT trade_id, quantity FROM fills")}
        money = sum((Decimal(a) - Decimal(b) for a, b in rows("SELECT realized, fees FROM positions")), ZERO)
        undecided = [key for key, status in rows("SELECT client_order_id, status FROM orders WHERE ended = 0")
                     if status in {s.value for s in UNACKNOWLEDGED}]  # fmt: skip
        resting = "SELECT symbol FROM orders WHERE ended = 0 AND leg IN ('stop', 'trail')"
        stops = sorted(facts.spelt(symbol) for (symbol,) in rows(resting))
        waves = rows("SELECT wave_id FROM waves WHERE finished_ms IS NULL")
        signals = rows("SELECT signal_id, code FROM signals WHERE code = '' AND gates = '[]' AND detail = ''")
        aside = rows("SELECT kind, error FROM set_aside")
    wrong = []
    if held != record.held:
        wrong.append(f"the journal holds {_said(held)}, the venue {_said(record.held)}")
    if stops != sorted(order["symbol"] for order in record.resting):
        wrong.append(f"the journal has stops of {stops}, the venue of {[o['symbol'] for o in record.resting]}")
    wrong += _trades(record, traded)
    wrong += _money(record, money)
    wrong += [f"order {key} is undecided in the journal" for key in undecided]
    wrong += [f"wave {key} was never finished" for (key,) in waves]
    wrong += [f"signal {key} has no verdict" for key, _ in signals]
    wrong += [f"a {kind} was set aside: {error}" for kind, error in aside]
    return wrong


def in_the_audit(folder: Path, before: bytes) -> list[str]:
    """The chain is whole, and what was in it at the moment of death is its beginning still; a torn last line is cut."""
    found = check(folder)
    wrong = [] if found.clean else [found.sentence()]
    whole = before[: before.rfind(b"\n") + 1]
    if not (folder / AUDIT).read_bytes().startswith(whole):
        wrong.append("the audit log does not begin with what it held at the moment of death")
    return wrong


def _trades(record: Record, traded: dict[str, Decimal]) -> list[str]:
    told = {str(fill["id"]): Decimal(fill["qty"]) for fill in record.state["fills"]}
    return [
        f"of trade {key} the venue has {told.get(key, 0)}, the journal {traded.get(key, 0)}"
        for key in sorted(told.keys() | traded.keys())
        if told.get(key) != traded.get(key)
    ]


def _money(record: Record, booked: Decimal) -> list[str]:
    """What the positions made is what the wallet changed by: every trade and every fee is booked once."""
    fills = record.state["fills"]
    made = sum((Decimal(f["realized"] or 0) - Decimal(f["fee"] or 0) for f in fills), ZERO)
    turnover = sum((Decimal(f["qty"]) * Decimal(f["price"]) for f in fills), ZERO)
    if abs(made - booked) <= turnover * CENT_SHARE:
        return []
    return [f"the venue's trades made {made}, the journal's positions {booked}"]


def _listed(sizes: list[Decimal]) -> str:
    return ", ".join(map(str, sizes)) or "nothing"


def _said(held: dict[str, Decimal]) -> str:
    return ", ".join(f"{symbol} {quantity}" for symbol, quantity in sorted(held.items())) or "nothing"
