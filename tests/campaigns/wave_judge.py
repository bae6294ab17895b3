"""What must be true of waves, judged by the venue's own record and the journal; what is not is said in a sentence."""

from __future__ import annotations

import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tools.bench.venues import refused
from tools.verify_audit import check

FLAT_MIB = 8.0
"""Resident memory may differ by so much between two moments at rest: the allocator's own coming and going."""
LEAST_SAMPLES = 10

Rows = Sequence[Mapping[str, Any]]


def open_and_protected(symbols: Iterable[str], state: Mapping[str, Any], protection: Rows) -> list[str]:
    """At one venue: every position is of this wave, each under stops of exactly its own quantity, none naked now."""
    held = {row["symbol"]: abs(Decimal(row["qty"])) for row in state["positions"]}
    stops: Counter[str] = Counter()
    for order in state["orders"]:
        if order["type"] == "stop":
            stops[order["symbol"]] += Decimal(order["qty"])  # type: ignore[assignment]
    strangers = sorted(held.keys() - set(symbols))
    wrong = [f"{symbol} is open and no signal of this wave asked for it" for symbol in strangers]
    wrong += [
        f"{symbol}: a position of {quantity} under stops for {stops[symbol]}"
        for symbol, quantity in held.items()
        if stops[symbol] != quantity
    ]
    naked = [row for row in protection if row["closed"] is None and Decimal(str(row["naked_now_ms"])) > 0]
    return [*wrong, *(f"{row['symbol']} has been naked for {row['naked_now_ms']} ms" for row in naked)]


def none_twice(orders: Rows, requests: Rows, asked: Mapping[str, int]) -> list[str]:
    """No id sent twice, none executed twice, no symbol entered more often than signals asked for it.

    `orders` is everything the venue ever had, `requests` its log, `asked` the signals per symbol.
    """
    sent = Counter(name for row in requests if row["lane"] == "order" for name in row["client_ids"])
    executed = [row for row in orders if not row["reduce_only"] and row["type"] == "market" and Decimal(row["filled"])]
    by_id = Counter(row["client_id"] for row in executed)
    by_symbol = Counter(row["symbol"] for row in executed)
    return [
        *(f"order {name} was sent {times} times" for name, times in sent.items() if times > 1),
        *(f"order {name} was executed {times} times" for name, times in by_id.items() if times > 1),
        *(
            f"{symbol} was entered {times} times for {asked.get(symbol, 0)} signals"
            for symbol, times in by_symbol.items()
            if times > asked.get(symbol, 0)
        ),
    ]


def refusals(requests: Rows) -> Counter[str]:
    """What the venue refused, by lane and code."""
    return Counter(f"{row['lane']} {row['status']} {row['code']}" for row in requests if refused(row))


def verdicts(journal: Path) -> dict[str, tuple[str, str]]:
    """Of every signal its venue and the reason it was refused with, "" where it was not."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT signal_id, venue, code FROM signals").fetchall()
    connection.close()
    return {str(signal_id): (str(venue), str(code)) for signal_id, venue, code in rows}


def denied_without_reason(journal: Path, allowed: Mapping[str, int]) -> list[str]:
    """Signals of a wave (by its prefix of the signal id) beyond those that were allowed, and have no reason."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT signal_id, code FROM signals").fetchall()
    connection.close()
    silent = Counter(str(signal_id).partition(":")[0] for signal_id, code in rows if not code)
    return [
        f"{wave}: {count} signals stand without a refusal, {allowed[wave]} entries were made"
        for wave, count in silent.items()
        if count > allowed.get(wave, 0)
    ]


def growth_mib(resident: Sequence[float]) -> float | None:
    """From the median of the first half to that of the second; None where there are too few samples to tell."""
    if len(resident) < LEAST_SAMPLES:
        return None
    half = len(resident) // 2
    return round(statistics.median(resident[half:]) - statistics.median(resident[:half]), 1)


def books(folder: Path) -> list[str]:
    """The audit log's own check."""
    audit = check(folder)
    return [] if audit.clean else [audit.sentence()]
