"""The journal's schema, as the steps that made it. A released step is never changed; a new one is added."""

from __future__ import annotations

import sqlite3
from typing import Final

from core.errors import StartRefused

_V1: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE waves (
    wave_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    finished_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX waves_unfinished ON waves (wave_id) WHERE finished_ms IS NULL;

CREATE TABLE signals (
    source TEXT NOT NULL,
    signal_id TEXT NOT NULL,
    wave_id TEXT NOT NULL,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    score TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    reason_values TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (source, signal_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX signals_by_time ON signals (time_ms);
CREATE INDEX signals_by_symbol ON signals (symbol, time_ms);

CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    leg TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    signal_id TEXT NOT NULL,
    position_id TEXT NOT NULL,
    wave_id TEXT NOT NULL,
    side TEXT NOT NULL,
    type TEXT NOT NULL,
    quantity TEXT NOT NULL,
    reduce_only INTEGER NOT NULL,
    price TEXT,
    trigger_price TEXT,
    trigger_reference TEXT NOT NULL,
    decision_price TEXT,
    stop_loss_percent TEXT,
    intent_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    ended INTEGER NOT NULL,
    venue_order_id TEXT,
    filled TEXT NOT NULL,
    cost TEXT NOT NULL,
    reported_filled TEXT NOT NULL,
    trade_ids TEXT NOT NULL,
    venue_time_ms INTEGER NOT NULL,
    detail TEXT NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_working ON orders (client_order_id) WHERE ended = 0;
CREATE INDEX orders_by_position ON orders (position_id);

CREATE TABLE fills (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    venue_order_id TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity TEXT NOT NULL,
    price TEXT NOT NULL,
    fee TEXT NOT NULL,
    fee_asset TEXT NOT NULL,
    realized TEXT NOT NULL,
    maker INTEGER NOT NULL,
    venue_time_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (venue, symbol, trade_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fills_by_order ON fills (client_order_id);

CREATE TABLE positions (
    position_id TEXT PRIMARY KEY,
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity TEXT NOT NULL,
    entry_quantity TEXT NOT NULL,
    entry_cost TEXT NOT NULL,
    stop_loss_percent TEXT NOT NULL,
    opened_ms INTEGER NOT NULL,
    signal_id TEXT NOT NULL,
    realized TEXT NOT NULL,
    fees TEXT NOT NULL,
    exit_quantity TEXT NOT NULL,
    exit_cost TEXT NOT NULL,
    closed_ms INTEGER,
    time_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX positions_open ON positions (position_id) WHERE closed_ms IS NULL;

CREATE TABLE state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    time_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    client_order_id TEXT PRIMARY KEY,
    execution_values TEXT NOT NULL,
    time_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    error TEXT NOT NULL,
    time_ms INTEGER NOT NULL
) STRICT;
"""

_V2: Final = """
ALTER TABLE signals ADD COLUMN gates TEXT NOT NULL DEFAULT '[]';
CREATE INDEX signals_by_wave ON signals (wave_id);

ALTER TABLE waves ADD COLUMN stages TEXT NOT NULL DEFAULT '{}';
ALTER TABLE waves ADD COLUMN counts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE waves ADD COLUMN unusable TEXT NOT NULL DEFAULT '[]';
CREATE INDEX waves_by_time ON waves (received_ms);

ALTER TABLE orders ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE INDEX orders_by_wave ON orders (wave_id) WHERE wave_id != '';
"""
"""Why: the gates of each signal, the stages and counts of each wave, what a reducing order was sent for."""

_V3: Final = """
ALTER TABLE orders ADD COLUMN trailing_activation_percent TEXT;
ALTER TABLE orders ADD COLUMN trailing_callback_percent TEXT;
ALTER TABLE positions ADD COLUMN trailing_activation_percent TEXT;
ALTER TABLE positions ADD COLUMN trailing_callback_percent TEXT;
"""
"""What a signal asked for its position is kept with it (SIG-11)."""

_V4: Final = """
ALTER TABLE orders ADD COLUMN attached_to TEXT;
ALTER TABLE orders ADD COLUMN whole_position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN level TEXT;
ALTER TABLE orders ADD COLUMN size TEXT;
"""
"""Stops that travel with their entry, and what an amendment made of a stop."""

_V5: Final = """
ALTER TABLE orders ADD COLUMN take_profit_percent TEXT;
ALTER TABLE orders ADD COLUMN time_limit_minutes TEXT;
ALTER TABLE positions ADD COLUMN take_profit_percent TEXT;
ALTER TABLE positions ADD COLUMN time_limit_minutes TEXT;

CREATE TABLE exits (
    position_id TEXT PRIMARY KEY,
    side TEXT NOT NULL,
    entry_price TEXT NOT NULL,
    entry_quantity TEXT NOT NULL,
    peak TEXT,
    trailing INTEGER NOT NULL,
    level TEXT,
    time_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""What the exits of a position remember (TRL-02), and two more things a signal may ask for."""

_V6: Final = """
CREATE TABLE alerts (
    seq INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    level TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
"""
"""Messages to people, so that an outage of Telegram or a restart loses none."""

_V7: Final = """
CREATE INDEX orders_by_time ON orders (intent_ms);
CREATE INDEX positions_closed ON positions (closed_ms) WHERE closed_ms IS NOT NULL;
"""
"""What is old is found without looking at what is not (JRN-02)."""

STEPS: Final = (_V1, _V2, _V3, _V4, _V5, _V6, _V7)
"""Step n takes a journal of version n to n + 1."""

VERSION: Final = len(STEPS)


def migrate(connection: sqlite3.Connection) -> int:
    """Brings the schema to `VERSION`, one transaction a step, and answers the version found.

    Raises StartRefused for a journal of a newer program: what we do not know we must not write into.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise StartRefused(
            f"the journal has schema version {found}, this program knows {VERSION}: start the newer program, "
            "or move journal.db away"
        )
    for version, step in enumerate(STEPS[found:], start=found + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {version};\nCOMMIT;")
    return found
