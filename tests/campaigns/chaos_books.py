"""What the last journal of a chaos run holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tests.campaigns.chaos_plan import symbol


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


def at_venue(venue: str, unified: str) -> str:
    """`BTC/USDT:USDT` as that venue writes it."""
    return symbol(venue, unified.partition("/")[0])
