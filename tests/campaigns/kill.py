"""Kill the daemon with SIGKILL at a random moment of its waves, start it again, and ask the venue what it sees.

One run: a simulator with latency, a signal server that pushes waves, the live form of the daemon. It is killed at a
moment drawn from the seed (mostly inside a wave), started again, and after five seconds the venue's own record, the
journal and the audit log must agree: no entry sent twice, every position under a stop of its quantity, no stop without
a position, the journal's positions the venue's. `python -m tests.campaigns.kill --runs 50` prints the count.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.campaigns.processes import Process, ask, running, wait_for_line
from tools.verify_audit import check

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "TRXUSDT", "DOTUSDT", "1000PEPEUSDT")
WAVES = 3
FIRST_WAVE_MS = 2_500
BETWEEN_WAVES_MS = 700
SETTLED_SECONDS = 5.0
LATENCY_MS = 60


def run(seed: int, folder: Path) -> list[str]:
    """What is wrong after one kill and restart; empty = nothing. Raises when the daemon does not come up again."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    script = folder / "waves.jsonl"
    script.write_text(_script(chance), encoding="utf-8")
    venue = ["-m", "tools.venuesim", "--venue", "binance", "--latency-ms", str(LATENCY_MS), "--seed", str(seed)]
    server = ["-m", "tools.signal_server", "--script", str(script), "--form", "pushed", "--token", "t"]
    with running(venue, folder / "venue.err") as simulator:
        url = simulator.ready_line()["url"]
        with running(server, folder / "signals.err") as signals:
            env = _environment(folder, url, signals.ready_line()["url"])
            log = folder / "daemon.err"
            moment = time.monotonic() + _moment(chance)
            first = Process(["main.py"], log, env)
            time.sleep(max(0.0, moment - time.monotonic()))
            first.kill()
            seen = log.stat().st_size
            print(f"seed {seed}: killed with {_so_far(url)}", flush=True)
            with running(["main.py"], log, env) as second:
                wait_for_line(log, " ready ", seen)
                time.sleep(SETTLED_SECONDS)
                naked = [row for row in ask(f"{url}/_sim/protection") if Decimal(str(row["naked_now_ms"])) > 0]
                status = second.stop()
            return [
                *(f"{row['symbol']} naked for {row['naked_now_ms']} ms" for row in naked),
                *([] if status == 0 else [f"the restarted daemon ended with {status}"]),
                *_judge(folder, url),
            ]


def _moment(chance: random.Random) -> float:
    """Seconds after the signal server listens: mostly inside a wave (its 50 ms of collecting, then four half trips for
    entries and stops), else anywhere between the start of the daemon and its rest."""
    if chance.random() < 0.2:
        return chance.uniform(0.3, (FIRST_WAVE_MS + WAVES * BETWEEN_WAVES_MS) / 1000 + 0.5)
    wave = chance.randrange(WAVES)
    return (FIRST_WAVE_MS + wave * BETWEEN_WAVES_MS) / 1000 + chance.uniform(0.03, 0.30)


def _so_far(url: str) -> str:
    """What the venue had seen at the moment of the kill, so that a campaign shows where its kills fell."""
    requests = ask(f"{url}/_sim/requests?since=0")
    entries = sum(1 for r in requests if r["lane"] == "order")
    stops = sum(1 for r in requests if r["lane"] == "stop")
    unanswered = sum(1 for r in requests if r["lane"] in ("order", "stop") and r["answered"] is None)
    return f"{entries} entries and {stops} stops sent, {unanswered} of them unanswered"


def _judge(folder: Path, url: str) -> list[str]:
    state = ask(f"{url}/_sim/state?all=1")
    resting = ask(f"{url}/_sim/state")["orders"]
    wrong = []
    sent = Counter(r["client_id"] for r in ask(f"{url}/_sim/requests?since=0") if r["lane"] in ("order", "stop"))
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
    booked = _journal_positions(folder / "data" / "journal.db")
    if booked != held:
        wrong.append(f"the journal holds {booked}, the venue {held}")
    audit = check(folder / "data")
    return wrong if audit.clean else [*wrong, audit.sentence()]


def _journal_positions(path: Path) -> dict[str, Decimal]:
    """Open positions by venue symbol, signed."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT symbol, side, quantity FROM positions").fetchall()
    connection.close()
    return {_venue_symbol(symbol): _signed(side, quantity) for symbol, side, quantity in rows if Decimal(quantity)}


def _venue_symbol(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")


def _signed(side: str, quantity: str) -> Decimal:
    return abs(Decimal(quantity)) * (1 if side in ("long", "buy") else -1)


def _script(chance: random.Random) -> str:
    symbols = list(SYMBOLS)
    chance.shuffle(symbols)
    lines = []
    for wave in range(WAVES):
        signals = [_signal(symbol, chance) for symbol in symbols[wave * 3 : wave * 3 + 3]]
        lines.append(json.dumps({"at_ms": FIRST_WAVE_MS + wave * BETWEEN_WAVES_MS, "signals": signals}))
    return "\n".join(lines) + "\n"


def _signal(symbol: str, chance: random.Random) -> dict[str, Any]:
    direction = chance.choice(("LONG", "SHORT"))
    identity = f"kill-{symbol}"
    return {"id": identity, "pair_symbol": symbol, "direction": direction, "total_score": 50, "timestamp": "$now"}


def _environment(folder: Path, url: str, signals: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "BINANCE_URL": url,
        "BINANCE_API_KEY": "sim",
        "BINANCE_API_SECRET": "sim",
        "SIGNAL_WS_URL": signals,
        "SIGNAL_WS_TOKEN": "t",
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "MAX_POSITIONS": "20",
        "MAX_EXPOSURE_USD": "5000",
        "LEVERAGE": "20",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="kill", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=50, help="how many seeds (50)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="breakwater-kill-"))
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        seeds = range(asked.seed, asked.seed + asked.runs)
        for seed, wrong in zip(seeds, pool.map(lambda s: run(s, root / str(s)), seeds), strict=True):
            failed += bool(wrong)
            print(f"seed {seed}: {'; '.join(wrong) or 'the venue, the journal and the audit agree'}", flush=True)
    print(f"{asked.runs} kills, {failed} with something wrong" + (f"; see {root}" if failed else ""))
    if not failed:
        shutil.rmtree(root)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
