"""How long the journal's writer needs for one write when it holds very many rows, and while old ones are taken away.

A journal is filled by SQL alone (some 200,000 rows a second), half of it older than the retention. Then single intents
are written as the daemon writes them: first alone, then with a step of the retention before each. The same is done with
a journal of a thousand rows, in the same place, because a disk's own sync is in every figure. The time is that of the
writer, from taking a group up to its commit; what waits behind a step waits no longer than the step and its own write.

`python -m tests.campaigns.journal_size --rows 25000000` (about 8 GB) prints the figures; exit status 1 when a step held
the writer for more than 50 ms, or a write at the full size took more than 10 ms longer than at the small one.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from core.domain.ids import ClientOrderId, PositionId
from core.domain.order import Order, OrderStatus
from core.engine.records import HistoryOver, OrderRecord
from core.storage.database import Database
from tests.storage.records import NOW, an_intent

DAY_MS = 86_400_000
WRITES = 300
LONGEST_STEP_MS, LONGEST_WRITE_MS = 50.0, 10.0
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_WAVES = f"""
INSERT INTO waves (wave_id, source, received_ms, finished_ms)
{_NUMBERS} SELECT 'w' || i, 's', :from + i * :every, :from + i * :every FROM n WHERE i % 6 = 0"""
_SIGNALS = f"""
INSERT INTO signals (source, signal_id, wave_id, venue, symbol, side, score, code, detail, reason_values, time_ms)
{_NUMBERS} SELECT 's', 's' || i, 'w' || (i - i % 6), 'binance', 'BTC/USDT:USDT', 'buy', '80', 'max_positions',
'the limit is reached', '{{}}', :from + i * :every FROM n"""
_POSITIONS = f"""
INSERT INTO positions (position_id, venue, symbol, side, quantity, entry_quantity, entry_cost, stop_loss_percent,
opened_ms, signal_id, realized, fees, exit_quantity, exit_cost, closed_ms, time_ms)
{_NUMBERS} SELECT 'p' || i, 'binance', 'BTC/USDT:USDT', 'buy', '0', '1', '100', '2', :from + i * :every, 's' || i, '1',
'0.1', '1', '101', :from + i * :every, :from + i * :every FROM n WHERE i % 2 = 0"""
_ORDERS = f"""
INSERT INTO orders (client_order_id, venue, symbol, leg, attempt, signal_id, position_id, wave_id, side, type, quantity,
reduce_only, trigger_reference, intent_ms, status, ended, venue_order_id, filled, cost, reported_filled, trade_ids,
venue_time_ms, detail, updated_ms)
{_NUMBERS} SELECT 'bw' || printf('%030d', i), 'binance', 'BTC/USDT:USDT', 'entry', 0, 's' || i, 'p' || (i - i % 2),
'w' || (i - i % 6), 'buy', 'market', '1', 0, 'MARK_PRICE', :from + i * :every, 'filled', 1, 'v' || i, '1', '100', '1',
'["1"]', :from + i * :every, '', :from + i * :every FROM n"""
_FILLS = f"""
INSERT INTO fills (venue, symbol, trade_id, client_order_id, venue_order_id, side, quantity, price, fee, fee_asset,
realized, maker, venue_time_ms, source, time_ms)
{_NUMBERS} SELECT 'binance', 'BTC/USDT:USDT', 't' || i, 'bw' || printf('%030d', i), 'v' || i, 'buy', '1', '100', '0.05',
'USDT', '0', 0, :from + i * :every, 'stream', :from + i * :every FROM n"""
PER_TRADE = 1 / 6 + 1 + 1 / 2 + 1 + 1
"""Rows for each order: a sixth of a wave, a signal, half a position, the order and its trade."""


class Times(Struct, frozen=True):
    """Milliseconds of one kind of write, sorted."""

    name: str
    values: Sequence[float]

    @property
    def middle(self) -> float:
        return self.values[len(self.values) // 2]

    @property
    def longest(self) -> float:
        return self.values[-1]

    def __str__(self) -> str:
        p99 = self.values[len(self.values) * 99 // 100]
        return f"{self.name:<44} median {self.middle:6.2f}  p99 {p99:6.2f}  longest {self.longest:6.2f} ms"


def filled(path: Path, rows: int) -> Database:
    """A journal of so many rows, half of them more than a hundred days old."""
    database = Database(path, lambda: NOW)
    database.open()
    count = max(1, round(rows / PER_TRADE))
    bound = {"count": count, "from": NOW - 200 * DAY_MS, "every": max(1, 200 * DAY_MS // count)}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for sql in (_WAVES, _SIGNALS, _POSITIONS, _ORDERS, _FILLS):
            connection.execute(sql, bound)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


def _timed(name: str, work: Callable[[int], None]) -> Times:
    taken = []
    for number in range(WRITES):
        begun = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - begun) * 1_000)
    return Times(name, sorted(taken))


def measured(database: Database, said: str) -> tuple[Times, Times]:
    """Writes alone, then steps of the retention."""

    def write(number: int) -> None:
        intent = replace(an_intent(10**9 + number), position_id=PositionId(f"new-{number}"))
        order = Order(intent=replace(intent, client_order_id=ClientOrderId(f"{said}-{number}")))
        database.write([[OrderRecord(order=replace(order, status=OrderStatus.ACCEPTED), time_ms=NOW)]], durable=True)
        database.checkpoint_if_due()

    def step(_number: int) -> None:
        database.write([[HistoryOver(before_ms=NOW - 100 * DAY_MS)]], durable=True)

    return _timed(f"a durable write, {said}", write), _timed(f"a step of the retention, {said}", step)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="journal_size", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="how many (2000000)")
    parser.add_argument("--folder", type=Path, help="where the journals are made (a temporary folder)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        small = filled(Path(folder) / "small.db", 1_000)
        few, _ = measured(small, "1,000 rows")
        small.close()
        begun = time.perf_counter()
        large = filled(Path(folder) / "large.db", asked.rows)
        size = (Path(folder) / "large.db").stat().st_size / 2**20
        print(f"{asked.rows:,} rows, {size:,.0f} MiB, made in {time.perf_counter() - begun:.0f} s", flush=True)
        many, steps = measured(large, f"{asked.rows:,} rows")
        large.close()
    print("\n".join(map(str, (few, many, steps))))
    slow = many.middle - few.middle > LONGEST_WRITE_MS or steps.longest > LONGEST_STEP_MS
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
