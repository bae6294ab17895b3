"""The journal as people read it: what was decided, why, and what came of it. Opened read-only, beside a daemon or after
one; the statements here are the only ones besides those of `rows`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from core.domain.ids import ClientOrderId, InstrumentId, PositionId, VenueName
from core.domain.order import Order
from core.domain.position import Position
from core.domain.reports import FillReport
from core.domain.symbols import same_symbol
from core.engine.past import PastOrder, PastWave
from core.engine.records import SignalMark
from core.errors import JournalUnreadable
from core.storage import rows
from core.storage.migrations import VERSION

BUSY_SECONDS: Final = 2.0
WAVES_SEARCHED: Final = 500
"""How far back signals that could not be read are looked for; they are kept with their wave only."""

_WAVE_COLUMNS: Final = "wave_id, source, received_ms, finished_ms, stages, counts, unusable"
_SIGNAL_COLUMNS: Final = (
    "source, signal_id, wave_id, venue, symbol, side, score, code, detail, reason_values, gates, time_ms"
)
_LAST_WAVES: Final = f"SELECT {_WAVE_COLUMNS} FROM waves ORDER BY received_ms DESC, wave_id DESC LIMIT ?"
_WAVE: Final = f"SELECT {_WAVE_COLUMNS} FROM waves WHERE wave_id = ?"
_SIGNALS: Final = f"SELECT {_SIGNAL_COLUMNS} FROM signals WHERE wave_id = ? ORDER BY time_ms, source, signal_id"
_SYMBOLS: Final = "SELECT DISTINCT symbol FROM signals"
_NEWEST_OF: Final = "SELECT wave_id, time_ms FROM signals WHERE symbol = ? ORDER BY time_ms DESC"
_NEWEST_AT: Final = "SELECT wave_id, time_ms FROM signals WHERE symbol = ? AND venue = ? ORDER BY time_ms DESC"
_REFUSALS: Final = (
    "SELECT code, count(*) FROM signals WHERE time_ms >= ? AND code != '' GROUP BY code ORDER BY count(*) DESC, code"
)
_ENTRY: Final = f"SELECT intent_ms, {rows.ORDER_SELECT} FROM orders WHERE wave_id = ? AND signal_id = ? AND symbol = ?"
_OF_POSITION: Final = (
    f"SELECT intent_ms, {rows.ORDER_SELECT} FROM orders WHERE position_id = ? "
    "ORDER BY intent_ms, leg != 'entry', client_order_id"
)
_WORKING: Final = f"SELECT intent_ms, {rows.ORDER_SELECT} FROM orders WHERE ended = 0"
_POSITION: Final = f"SELECT {rows.POSITION_SELECT} FROM positions WHERE position_id = ?"
_EVERY_POSITION: Final = f"SELECT {rows.POSITION_SELECT} FROM positions ORDER BY opened_ms, position_id"
_EVERY_FILL: Final = f"SELECT {rows.FILL_SELECT} FROM fills ORDER BY time_ms, venue_time_ms, trade_id"
_LAST_FILLS: Final = f"SELECT {rows.FILL_SELECT} FROM fills ORDER BY venue_time_ms DESC, trade_id DESC LIMIT ?"
_FILLS_OF: Final = (
    f"SELECT {rows.FILL_SELECT} FROM fills WHERE venue = ? AND symbol = ? AND venue_time_ms >= ? "
    "ORDER BY venue_time_ms, trade_id"
)
_CLOSED: Final = f"SELECT {rows.POSITION_SELECT} FROM positions WHERE closed_ms >= ? ORDER BY closed_ms, position_id"
_ORDER: Final = f"SELECT intent_ms, {rows.ORDER_SELECT} FROM orders WHERE client_order_id = ?"
_ORDERS_SINCE: Final = (
    f"SELECT intent_ms, {rows.ORDER_SELECT} FROM orders WHERE intent_ms >= ? ORDER BY intent_ms, client_order_id"
)
_EVERY_WAVE: Final = f"SELECT {_WAVE_COLUMNS} FROM waves ORDER BY received_ms, wave_id"
_EXECUTION: Final = "SELECT execution_values FROM executions WHERE client_order_id = ?"


@contextmanager
def reading(path: Path) -> Iterator[History]:
    """The history in this journal. Raises JournalUnreadable when there is none, or none that we can read."""
    if not path.exists():
        raise JournalUnreadable(f"there is no journal at {path}: no daemon has run with this DATA_DIR yet")
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    except sqlite3.Error as error:
        raise JournalUnreadable(f"the journal {path} cannot be opened: {error}") from error
    try:
        connection.execute("BEGIN")  # one moment: what the daemon writes meanwhile is not half of an answer
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found != VERSION:
            older = "an older program; start the daemon once, it brings it up to date"
            newer = "a newer program; use that one's tools"
            raise JournalUnreadable(f"the journal was written by {older if found < VERSION else newer}")
        yield History(connection)
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise JournalUnreadable(f"the journal {path} cannot be read: {error}") from error
    finally:
        connection.close()


class History:
    """Every method may raise sqlite3.Error; `reading` makes a JournalUnreadable of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._read = connection.execute

    def last_waves(self, count: int) -> list[PastWave]:
        """Newest first."""
        return [_wave(row) for row in self._read(_LAST_WAVES, (count,))]

    def wave(self, wave_id: str) -> PastWave | None:
        row = self._read(_WAVE, (wave_id,)).fetchone()
        return None if row is None else _wave(row)

    def signals_of(self, wave_id: str) -> list[SignalMark]:
        return [_signal(row) for row in self._read(_SIGNALS, (wave_id,))]

    def last_wave_with(self, symbol: str, venue: VenueName | None) -> PastWave | None:
        """The newest wave with a signal for this symbol, in any spelling; one that could not be read counts too."""
        found: list[tuple[int, str]] = []
        for (known,) in self._read(_SYMBOLS):
            if same_symbol(symbol, known):
                asked = (_NEWEST_OF, (known,)) if venue is None else (_NEWEST_AT, (known, venue.value))
                if (row := self._read(*asked).fetchone()) is not None:
                    found.append((row[1], row[0]))
        newest = self.wave(max(found)[1]) if found else None
        if venue is None:
            for wave in self.last_waves(WAVES_SEARCHED):
                if newest is not None and wave.received_ms <= newest.received_ms:
                    break
                if any(same_symbol(symbol, str(one.get("symbol", ""))) for one in wave.unusable):
                    return wave
        return newest

    def refusals_since(self, time_ms: int) -> dict[str, int]:
        """How often each reason refused a signal, most often first."""
        return dict(self._read(_REFUSALS, (time_ms,)))

    def entry_of(self, signal: SignalMark) -> PastOrder | None:
        """The newest order this signal led to."""
        asked = (signal.wave_id, signal.signal_id, signal.symbol)
        told = [self._order(row) for row in self._read(_ENTRY, asked)]
        told = [one for one in told if one.order.instrument.venue == signal.venue]
        return max(told, key=lambda one: one.order.intent.attempt, default=None)

    def orders_of(self, position_id: PositionId) -> list[PastOrder]:
        """Oldest first."""
        return [self._order(row) for row in self._read(_OF_POSITION, (position_id,))]

    def working_orders(self) -> list[Order]:
        return [rows.order_of(row[1:]) for row in self._read(_WORKING)]

    def position(self, position_id: PositionId) -> Position | None:
        row = self._read(_POSITION, (position_id,)).fetchone()
        return None if row is None else rows.position_of(row)

    def open_positions(self) -> list[Position]:
        return [rows.position_of(row) for row in self._read(rows.OPEN_POSITIONS)]

    def closed_positions(self, since_ms: int) -> list[Position]:
        """Closed since then (venue UTC), oldest first."""
        return [rows.position_of(row) for row in self._read(_CLOSED, (since_ms,))]

    def orders_since(self, intent_ms: int) -> Iterator[PastOrder]:
        """Decided since then (our clock, UTC), oldest first; read as they are asked for."""
        for row in self._read(_ORDERS_SINCE, (intent_ms,)):
            yield self._order(row)

    def every_position(self) -> list[Position]:
        """Closed ones too, oldest first."""
        return [rows.position_of(row) for row in self._read(_EVERY_POSITION)]

    def every_fill(self) -> list[FillReport]:
        """Trades of ours, and those of others that shrank a position of ours; oldest first."""
        return [rows.fill_of(row) for row in self._read(_EVERY_FILL)]

    def last_fills(self, count: int) -> list[FillReport]:
        """Newest first."""
        return [rows.fill_of(row) for row in self._read(_LAST_FILLS, (count,))]

    def fills_of(self, instrument: InstrumentId, since_ms: int) -> list[FillReport]:
        """Since then (venue UTC), oldest first."""
        asked = (instrument.venue.value, instrument.symbol, since_ms)
        return [rows.fill_of(row) for row in self._read(_FILLS_OF, asked)]

    def order(self, client_order_id: ClientOrderId) -> PastOrder | None:
        row = self._read(_ORDER, (client_order_id,)).fetchone()
        return None if row is None else self._order(row)

    def every_wave(self) -> list[PastWave]:
        """Oldest first."""
        return [_wave(row) for row in self._read(_EVERY_WAVE)]

    def values(self) -> dict[str, str]:
        """Durable state by name; values are JSON texts."""
        return dict(self._read(rows.STATE_VALUES))

    def _order(self, row: tuple[Any, ...]) -> PastOrder:
        order = rows.order_of(row[1:])
        told = self._read(_EXECUTION, (order.client_order_id,)).fetchone()
        return PastOrder(intent_ms=row[0], order=order, execution={} if told is None else rows.json_of(told[0], dict))


def _wave(row: tuple[Any, ...]) -> PastWave:
    wave_id, source, received_ms, finished_ms, stages, counts, unusable = row
    return PastWave(
        wave_id=wave_id,
        source=source,
        received_ms=received_ms,
        finished_ms=finished_ms,
        stages=rows.json_of(stages, dict),
        counts=rows.json_of(counts, dict),
        unusable=[row for row in rows.json_of(unusable, list) if isinstance(row, dict)],
    )


def _signal(row: tuple[Any, ...]) -> SignalMark:
    source, signal_id, wave_id, venue, symbol, side, score, code, detail, values, gates, time_ms = row
    return SignalMark(
        source=source,
        signal_id=signal_id,
        wave_id=wave_id,
        venue=venue,
        symbol=symbol,
        side=side,
        score=score,
        code=code,
        detail=detail,
        values=rows.json_of(values, dict),
        gates=rows.gates_of(gates),
        time_ms=time_ms,
    )
