"""Kill the daemon with SIGKILL at a random moment of its waves, start it again, and ask the venues what they see.

One run: a simulator with latency for each venue, a signal server that pushes waves over them, the live form of the
daemon. It is killed at a moment drawn from the seed (mostly inside a wave), started again, and after five seconds each
venue's own record, the journal and the audit log must agree: no entry sent twice, every position under a stop of its
quantity, no stop without a position, the journal's positions the venue's. `python -m tests.campaigns.kill --runs 50`
prints the count.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.builders_config import NO_COOLDOWNS
from tests.campaigns.crash_process import CRASH_AT
from tests.campaigns.processes import Process, ask, running, wait_for_line
from tools.bench.venues import VENUES, VenueFacts
from tools.verify_audit import check

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "TRX", "DOT", "LINK")
"""Every venue lists them all."""
WAVES, SIGNALS = 3, 3
FIRST_WAVE_MS = 2_500
BETWEEN_WAVES_MS = 700
SETTLED_SECONDS = 5.0
LATENCY_MS = 60
DIES_WITHIN_SECONDS = 12.0
"""A moment that does not come in the waves is the last one of them."""


def run(seed: int, folder: Path, venues: Sequence[str] = tuple(VENUES), crash_at: str | None = None) -> list[str]:
    """What is wrong after one kill and restart; empty = nothing. Raises when the daemon does not come up again.

    `crash_at`: the daemon kills itself at that moment (`tests/campaigns/crash_process.py`) instead.
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    script = folder / "waves.jsonl"
    script.write_text(_script(chance, venues), encoding="utf-8")
    server = ["-m", "tools.signal_server", "--script", str(script), "--form", "pushed", "--token", "t"]
    with ExitStack() as stack:
        urls = {}
        for name in venues:
            command = ["-m", "tools.venuesim", "--venue", name, "--latency-ms", str(LATENCY_MS), "--seed", str(seed)]
            urls[name] = stack.enter_context(running(command, folder / f"{name}.err")).ready_line()["url"]
        signals = stack.enter_context(running(server, folder / "signals.err"))
        env = _environment(folder, urls, signals.ready_line()["url"])
        log = folder / "daemon.err"
        moment = time.monotonic() + _moment(chance)
        if crash_at is None:
            first = Process(["main.py"], log, env)
            time.sleep(max(0.0, moment - time.monotonic()))
        else:
            first = Process(["-m", "tests.campaigns.crash_process"], log, env | {CRASH_AT: crash_at})
            with suppress(subprocess.TimeoutExpired):
                first.child.wait(DIES_WITHIN_SECONDS)
        first.kill()
        if crash_at is not None and first.child.returncode != -signal.SIGKILL:
            return [f"the daemon ended with {first.child.returncode} before {crash_at}"]
        seen = log.stat().st_size
        print(f"seed {seed}: killed with {'; '.join(_so_far(name, url) for name, url in urls.items())}", flush=True)
        with running(["main.py"], log, env) as second:
            wait_for_line(log, " ready ", seen)
            time.sleep(SETTLED_SECONDS)
            naked = [what for name, url in urls.items() for what in _naked(name, url)]
            status = second.stop()
        audit = check(folder / "data")
        return [
            *naked,
            *([] if status == 0 else [f"the restarted daemon ended with {status}"]),
            *(what for name, url in urls.items() for what in _judge(VENUES[name], folder, url)),
            *([] if audit.clean else [audit.sentence()]),
        ]


def _naked(name: str, url: str) -> list[str]:
    rows = ask(f"{url}/_sim/protection")
    return [
        f"{name} {row['symbol']} naked for {row['naked_now_ms']} ms"
        for row in rows
        if Decimal(str(row["naked_now_ms"])) > 0
    ]


def _moment(chance: random.Random) -> float:
    """Seconds after the signal server listens: mostly inside a wave (its 50 ms of collecting, then four half trips for
    entries and stops), else anywhere between the start of the daemon and its rest."""
    if chance.random() < 0.2:
        return chance.uniform(0.3, (FIRST_WAVE_MS + WAVES * BETWEEN_WAVES_MS) / 1000 + 0.5)
    wave = chance.randrange(WAVES)
    return (FIRST_WAVE_MS + wave * BETWEEN_WAVES_MS) / 1000 + chance.uniform(0.03, 0.30)


def _so_far(name: str, url: str) -> str:
    """What the venue had seen at the moment of the kill, so that a campaign shows where its kills fell."""
    requests = ask(f"{url}/_sim/requests?since=0")
    entries = sum(1 for r in requests if r["lane"] == "order")
    stops = sum(1 for r in requests if r["lane"] == "stop")
    unanswered = sum(1 for r in requests if r["lane"] in ("order", "stop") and r["answered"] is None)
    return f"{name}: {entries} requests for entries and {stops} for stops, {unanswered} of them unanswered"


def _judge(facts: VenueFacts, folder: Path, url: str) -> list[str]:
    state = ask(f"{url}/_sim/state?all=1")
    resting = ask(f"{url}/_sim/state")["orders"]
    wrong = []
    requests = ask(f"{url}/_sim/requests?since=0")
    sent = Counter(name for r in requests if r["lane"] in ("order", "stop") for name in r["client_ids"])
    wrong += [f"client id {client_id} was sent {n} times" for client_id, n in sent.items() if client_id and n > 1]
    entries = Counter(
        o["symbol"] for o in state["orders"] if not o["reduce_only"] and o["type"] == "market" and o["filled"] != "0"
    )
    wrong += [f"{symbol} was entered {n} times" for symbol, n in entries.items() if n > 1]
    held = {p["symbol"]: _signed(p["side"], p["qty"]) for p in state["positions"]}
    stops = dict.fromkeys(held, Decimal(0))
    for order in resting:
        if order["type"] == "stop":
            stops[order["symbol"]] = stops.get(order["symbol"], Decimal(0)) + Decimal(order["qty"])
    for symbol, quantity in stops.items():
        if quantity != abs(held.get(symbol, Decimal(0))):
            wrong.append(f"{symbol}: stops for {quantity}, position {held.get(symbol, 0)}")
    booked = _journal_positions(facts, folder / "data" / "journal.db")
    if booked != held:
        wrong.append(f"the journal holds {booked}, the venue {held}")
    return [f"{facts.name} {what}" for what in wrong]


def _journal_positions(facts: VenueFacts, path: Path) -> dict[str, Decimal]:
    """Open positions of one venue by its own symbol, signed."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        query = "SELECT symbol, side, quantity FROM positions WHERE venue = ?"
        rows = connection.execute(query, (facts.name.value,)).fetchall()
    connection.close()
    return {facts.spelt(symbol): _signed(side, quantity) for symbol, side, quantity in rows if Decimal(quantity)}


def _signed(side: str, quantity: str) -> Decimal:
    return abs(Decimal(quantity)) * (1 if side in ("long", "buy") else -1)


def _script(chance: random.Random, venues: Sequence[str]) -> str:
    """Three signals a wave at each venue."""
    dealt = {}
    for name in venues:
        coins = list(COINS)
        chance.shuffle(coins)
        dealt[name] = coins
    lines = []
    for wave in range(WAVES):
        part = slice(wave * SIGNALS, (wave + 1) * SIGNALS)
        signals = [_signal(name, coin, chance) for name, coins in dealt.items() for coin in coins[part]]
        lines.append(json.dumps({"at_ms": FIRST_WAVE_MS + wave * BETWEEN_WAVES_MS, "signals": signals}))
    return "\n".join(lines) + "\n"


def _signal(venue: str, coin: str, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"kill-{venue}-{coin}",
        "exchange": venue,
        "pair_symbol": f"{coin}USDT",
        "direction": chance.choice(("LONG", "SHORT")),
        "total_score": 50,
        "timestamp": "$now",
    }


def _environment(folder: Path, urls: Mapping[str, str], signals: str) -> dict[str, str]:
    own = {
        "HOME": str(folder),
        "SIGNAL_WS_URL": signals,
        "SIGNAL_WS_TOKEN": "t",
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "MAX_POSITIONS": "40",
        "MAX_EXPOSURE_USD": "10000",
        "LEVERAGE": "20",
        **NO_COOLDOWNS,
    }
    for name, url in urls.items():
        own |= VENUES[name].settings(url)
    return own


def main() -> int:
    parser = argparse.ArgumentParser(prog="kill", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=50, help="how many seeds (50)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--venues", default=",".join(VENUES), help=f"comma list ({','.join(VENUES)})")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    asked = parser.parse_args()
    venues = asked.venues.split(",")
    if unknown := [name for name in venues if name not in VENUES]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(VENUES)}")
    root = Path(tempfile.mkdtemp(prefix="breakwater-kill-"))
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        seeds = range(asked.seed, asked.seed + asked.runs)
        for seed, wrong in zip(seeds, pool.map(lambda s: run(s, root / str(s), venues), seeds), strict=True):
            failed += bool(wrong)
            print(f"seed {seed}: {'; '.join(wrong) or 'the venues, the journal and the audit agree'}", flush=True)
    print(f"{asked.runs} kills, {failed} with something wrong" + (f"; see {root}" if failed else ""))
    if not failed:
        shutil.rmtree(root)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
