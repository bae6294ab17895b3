"""What has been kept for long enough: every statement that takes rows out of the journal again.

A row goes only when nothing needs it any more: no order that is not over or belongs to an open position, no wave that
is not finished. Each step takes at most `MOST_REMOVED` rows of a kind, oldest first, along an index, so that a journal
of millions of rows holds no write up (JRN-02).
"""

from __future__ import annotations

from typing import Final

from core.engine.records import HistoryOver

MOST_REMOVED: Final = 25

_ORDERS_OVER: Final = (
    "SELECT o.client_order_id FROM orders o INDEXED BY orders_by_time WHERE o.intent_ms < ? AND o.ended = 1 "
    "AND NOT EXISTS (SELECT 1 FROM positions p WHERE p.position_id = o.position_id "
    f"AND (p.closed_ms IS NULL OR p.closed_ms >= ?)) ORDER BY o.intent_ms LIMIT {MOST_REMOVED}"
)
_FILLS: Final = f"DELETE FROM fills WHERE client_order_id IN ({_ORDERS_OVER})"
_EXECUTIONS: Final = f"DELETE FROM executions WHERE client_order_id IN ({_ORDERS_OVER})"
_ORDERS: Final = f"DELETE FROM orders WHERE client_order_id IN ({_ORDERS_OVER})"
_POSITIONS: Final = (
    "DELETE FROM positions WHERE position_id IN ("
    "SELECT position_id FROM positions INDEXED BY positions_closed WHERE closed_ms IS NOT NULL AND closed_ms < ? "
    f"ORDER BY closed_ms LIMIT {MOST_REMOVED})"
)
_SIGNALS: Final = (
    "DELETE FROM signals WHERE (source, signal_id) IN ("
    "SELECT source, signal_id FROM signals INDEXED BY signals_by_time WHERE time_ms < ? "
    f"ORDER BY time_ms LIMIT {MOST_REMOVED})"
)
_WAVES: Final = (
    "DELETE FROM waves WHERE wave_id IN ("
    "SELECT wave_id FROM waves INDEXED BY waves_by_time WHERE received_ms < ? AND finished_ms IS NOT NULL "
    f"ORDER BY received_ms LIMIT {MOST_REMOVED})"
)

WRITES: Final = (_FILLS, _EXECUTIONS, _ORDERS, _POSITIONS, _SIGNALS, _WAVES)
"""In this order: trades and executions are found by the orders they belong to."""


def written(record: HistoryOver) -> list[tuple[str, tuple[int, ...]]]:
    """The statements of one step and what is bound to them."""
    return [(sql, (record.before_ms,) * sql.count("?")) for sql in WRITES]
