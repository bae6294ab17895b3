"""Records as rows and rows as domain objects: every statement the daemon uses, and nothing but `history` knows a column
besides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from msgspec import Struct

from core.domain.exits import ExitState
from core.domain.gate import Gate
from core.domain.ids import (
    Asset,
    ClientOrderId,
    InstrumentId,
    Leg,
    PositionId,
    SignalId,
    Symbol,
    TradeId,
    VenueName,
    VenueOrderId,
)
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType, TriggerReference
from core.domain.position import Position
from core.domain.reports import FillReport, Source
from core.domain.signal import Side
from core.domain.verdict import Denied, Reason
from core.engine.records import (
    AlertRecord,
    AlertsOver,
    ExecutionRecord,
    ExitRecord,
    FillRecord,
    HistoryOver,
    IntentRecord,
    OrderRecord,
    PositionRecord,
    Record,
    SignalMark,
    StateRecord,
    WaveMark,
)
from core.storage import alert_rows, retention_rows

_T = TypeVar("_T")

Value = str | int | None
Row = tuple[Any, ...]


class Statement(Struct, frozen=True):
    """One write: SQL and the values bound to it. `otherwise` runs when the first changed no row, `then` in any case."""

    sql: str
    values: tuple[Value, ...]
    otherwise: Statement | None = None
    then: Statement | None = None


_INTENT_COLUMNS: Final[tuple[str, ...]] = (
    "client_order_id", "venue", "symbol", "leg", "attempt", "signal_id", "position_id", "wave_id", "side", "type",
    "quantity", "reduce_only", "price", "trigger_price", "trigger_reference", "decision_price", "stop_loss_percent",
    "reason", "trailing_activation_percent", "trailing_callback_percent", "attached_to", "whole_position",
    "take_profit_percent", "time_limit_minutes",
)  # fmt: skip
_STATUS_COLUMNS: Final[tuple[str, ...]] = (
    "status", "ended", "venue_order_id", "filled", "cost", "reported_filled", "trade_ids", "venue_time_ms", "detail",
    "level", "size",
)  # fmt: skip
_POSITION_COLUMNS: Final[tuple[str, ...]] = (
    "position_id", "venue", "symbol", "side", "quantity", "entry_quantity", "entry_cost", "stop_loss_percent",
    "opened_ms", "signal_id", "realized", "fees", "exit_quantity", "exit_cost", "closed_ms",
    "trailing_activation_percent", "trailing_callback_percent", "take_profit_percent", "time_limit_minutes",
)  # fmt: skip
_EXIT_COLUMNS: Final = (
    "position_id", "side", "entry_price", "entry_quantity", "peak", "trailing", "level", "time_ms",
)  # fmt: skip
_FILL_COLUMNS: Final = (
    "venue", "symbol", "trade_id", "client_order_id", "venue_order_id", "side", "quantity", "price", "fee", "fee_asset",
    "realized", "maker", "venue_time_ms", "source", "time_ms",
)  # fmt: skip
_SIGNAL_COLUMNS: Final = (
    "source", "signal_id", "wave_id", "venue", "symbol", "side", "score", "code", "detail", "reason_values", "gates",
    "time_ms",
)  # fmt: skip


def _insert(table: str, columns: tuple[str, ...], conflict: str) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) {conflict}"


def _overwrite(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


_WAVE: Final = _insert(
    "waves",
    ("wave_id", "source", "received_ms", "finished_ms", "stages", "counts", "unusable"),
    "ON CONFLICT (wave_id) DO UPDATE SET finished_ms = excluded.finished_ms, stages = excluded.stages, "
    "counts = excluded.counts, unusable = excluded.unusable WHERE excluded.finished_ms IS NOT NULL",
)
# A signal met again in a later wave keeps its first verdict: the replay is refused, the history is not rewritten.
_SIGNAL: Final = _insert(
    "signals",
    _SIGNAL_COLUMNS,
    f"ON CONFLICT (source, signal_id) DO UPDATE SET {_overwrite(_SIGNAL_COLUMNS[3:])} "
    "WHERE excluded.wave_id = signals.wave_id",
)
# The id is a function of the intent: an intent that is there already is the same one, with a life of its own by now.
_ORDER: Final = _insert(
    "orders",
    (*_INTENT_COLUMNS, "intent_ms", *_STATUS_COLUMNS, "updated_ms"),
    "ON CONFLICT (client_order_id) DO NOTHING",
)
_ORDER_STATUS: Final = (
    f"UPDATE orders SET {', '.join(f'{column} = ?' for column in _STATUS_COLUMNS)}, updated_ms = ? "
    "WHERE client_order_id = ?"
)
_FILL: Final = _insert("fills", _FILL_COLUMNS, "ON CONFLICT (venue, symbol, trade_id) DO NOTHING")
_POSITION: Final = _insert(
    "positions",
    (*_POSITION_COLUMNS, "time_ms"),
    f"ON CONFLICT (position_id) DO UPDATE SET {_overwrite((*_POSITION_COLUMNS[1:], 'time_ms'))}",
)
_STATE: Final = _insert(
    "state", ("key", "value", "time_ms"), f"ON CONFLICT (key) DO UPDATE SET {_overwrite(('value', 'time_ms'))}"
)
_EXECUTION: Final = _insert(
    "executions",
    ("client_order_id", "execution_values", "time_ms"),
    f"ON CONFLICT (client_order_id) DO UPDATE SET {_overwrite(('execution_values', 'time_ms'))}",
)
_EXIT: Final = _insert(
    "exits", _EXIT_COLUMNS, f"ON CONFLICT (position_id) DO UPDATE SET {_overwrite(_EXIT_COLUMNS[1:])}"
)
_EXIT_OVER: Final = "DELETE FROM exits WHERE position_id = ?"
SET_ASIDE: Final = _insert("set_aside", ("kind", "content", "error", "time_ms"), "")
PROBE: Final = _insert("meta", ("key", "value"), "ON CONFLICT (key) DO UPDATE SET value = excluded.value")

ORDER_SELECT: Final = ", ".join((*_INTENT_COLUMNS, *_STATUS_COLUMNS))
KNOWN_ORDERS: Final = (
    f"SELECT {ORDER_SELECT} FROM orders WHERE client_order_id IN ("
    "SELECT client_order_id FROM orders WHERE ended = 0 UNION ALL "
    "SELECT client_order_id FROM orders WHERE ended = 1 AND position_id IN ("
    "SELECT position_id FROM positions WHERE closed_ms IS NULL UNION SELECT position_id FROM orders WHERE ended = 0"
    ")) ORDER BY intent_ms, attempt, client_order_id"
)
"""What a start needs, oldest first, because the newest stop of a position is the one that counts: what the venue has
more to tell of, every order of an open position, and those of one that an order under way may open again, so that no
number of theirs is used twice."""
ENDED_ORDERS: Final = "SELECT client_order_id FROM orders WHERE ended = 1 AND updated_ms >= ?"
POSITION_SELECT: Final = ", ".join(_POSITION_COLUMNS)
OPEN_POSITIONS: Final = f"SELECT {POSITION_SELECT} FROM positions WHERE closed_ms IS NULL"
SEEN_SIGNALS: Final = "SELECT source, signal_id FROM signals WHERE time_ms >= ?"
UNFINISHED_WAVES: Final = "SELECT wave_id FROM waves WHERE finished_ms IS NULL ORDER BY received_ms, wave_id"
UNDECIDED_SIGNALS: Final = (
    "SELECT s.source, s.signal_id, s.wave_id, s.venue, s.symbol, s.side, s.score, s.time_ms, "
    "o.client_order_id, o.filled "
    "FROM waves w JOIN signals s ON s.wave_id = w.wave_id LEFT JOIN orders o ON o.client_order_id = ("
    "SELECT client_order_id FROM orders WHERE wave_id = s.wave_id AND signal_id = s.signal_id AND leg = 'entry' "
    "ORDER BY attempt DESC LIMIT 1) "
    "WHERE w.finished_ms IS NULL AND s.code = '' AND s.detail = '' ORDER BY w.received_ms, s.signal_id"
)
"""An accepted signal has an empty code as well, but is told in the commit that finishes its wave."""
STATE_VALUES: Final = "SELECT key, value FROM state"
EXIT_STATES: Final = (
    f"SELECT {', '.join(_EXIT_COLUMNS[:-1])} FROM exits "
    "WHERE position_id IN (SELECT position_id FROM positions WHERE closed_ms IS NULL)"
)

FILL_SELECT: Final = ", ".join(_FILL_COLUMNS[:-1])
# No index by time: a start may look through all trades once, which writes would pay for each time.
NEW_FILLS: Final = (
    f"SELECT {FILL_SELECT} FROM fills WHERE time_ms >= (SELECT min(time_ms) FROM state WHERE key LIKE 'money/%') "
    "AND client_order_id IN (SELECT client_order_id FROM orders)"
)

WRITES: Final = (
    _WAVE, _SIGNAL, _ORDER, _ORDER_STATUS, _FILL, _POSITION, _STATE, _EXECUTION, _EXIT, _EXIT_OVER, SET_ASIDE, PROBE,
    *alert_rows.WRITES, *retention_rows.WRITES,
)  # fmt: skip
READS: Final = (
    KNOWN_ORDERS, OPEN_POSITIONS, SEEN_SIGNALS, UNFINISHED_WAVES, UNDECIDED_SIGNALS, STATE_VALUES, EXIT_STATES,
    NEW_FILLS, ENDED_ORDERS, *alert_rows.READS,
)  # fmt: skip


def statement_of(record: Record) -> Statement:  # noqa: C901 - one case for each kind of record
    """How `record` is written. Raises TypeError or ValueError when it cannot be (the caller sets it aside)."""
    match record:
        case OrderRecord():
            return _order_statement(record)
        case FillRecord():
            return _fill_statement(record)
        case IntentRecord(intent=intent, time_ms=time_ms):
            return _intent_statement(Order(intent=intent), time_ms)
        case PositionRecord(position=position, time_ms=time_ms):
            over = None if position.closed_ms is None else Statement(_EXIT_OVER, (position.id,))
            return Statement(_POSITION, (*_position_values(position), time_ms), then=over)
        case SignalMark():
            return _signal_statement(record)
        case WaveMark():
            return _wave_statement(record)
        case StateRecord():
            return Statement(_STATE, (record.key, record.value, record.time_ms))
        case ExecutionRecord():
            return Statement(_EXECUTION, (record.client_order_id, _flat(record.values), record.time_ms))
        case ExitRecord(state=state, time_ms=time_ms):
            return Statement(_EXIT, (*_exit_values(state), time_ms))
        case AlertRecord() | AlertsOver():
            return Statement(*alert_rows.written(record))
        case HistoryOver():
            return _in_a_row(retention_rows.written(record))


def _in_a_row(steps: Sequence[tuple[str, tuple[int, ...]]]) -> Statement:
    (sql, values), *rest = steps
    return Statement(sql, values, then=_in_a_row(rest) if rest else None)


def order_of(row: Row) -> Order:
    """An order from a row of `KNOWN_ORDERS`. Raises ValueError for cells that are none of ours, as all readers here."""
    cells: dict[str, Any] = dict(zip((*_INTENT_COLUMNS, *_STATUS_COLUMNS), row, strict=True))
    intent = OrderIntent(
        client_order_id=ClientOrderId(cells["client_order_id"]),
        instrument=_instrument(cells),
        leg=Leg(cells["leg"]),
        attempt=cells["attempt"],
        signal_id=SignalId(cells["signal_id"]),
        position_id=PositionId(cells["position_id"]),
        side=Side(cells["side"]),
        type=OrderType(cells["type"]),
        quantity=Quantity(_number(cells["quantity"])),
        reduce_only=bool(cells["reduce_only"]),
        price=_price(cells["price"]),
        trigger_price=_price(cells["trigger_price"]),
        trigger_reference=TriggerReference(cells["trigger_reference"]),
        decision_price=_price(cells["decision_price"]),
        stop_loss_percent=_decimal(cells["stop_loss_percent"]),
        trailing_activation_percent=_decimal(cells["trailing_activation_percent"]),
        trailing_callback_percent=_decimal(cells["trailing_callback_percent"]),
        take_profit_percent=_decimal(cells["take_profit_percent"]),
        time_limit_minutes=_decimal(cells["time_limit_minutes"]),
        wave_id=cells["wave_id"],
        reason=cells["reason"],
        attached_to=None if cells["attached_to"] is None else ClientOrderId(cells["attached_to"]),
        whole_position=bool(cells["whole_position"]),
    )
    return Order(
        intent=intent,
        status=OrderStatus(cells["status"]),
        venue_order_id=None if cells["venue_order_id"] is None else VenueOrderId(cells["venue_order_id"]),
        filled=Quantity(_number(cells["filled"])),
        cost=_number(cells["cost"]),
        reported_filled=Quantity(_number(cells["reported_filled"])),
        trade_ids=frozenset(TradeId(trade_id) for trade_id in json_of(cells["trade_ids"], list)),
        venue_time_ms=cells["venue_time_ms"],
        detail=cells["detail"],
        level=_price(cells["level"]),
        size=None if cells["size"] is None else Quantity(_number(cells["size"])),
    )


def position_of(row: Row) -> Position:
    """A position from a row of `OPEN_POSITIONS`."""
    cells: dict[str, Any] = dict(zip(_POSITION_COLUMNS, row, strict=True))
    return Position(
        id=PositionId(cells["position_id"]),
        instrument=_instrument(cells),
        side=Side(cells["side"]),
        quantity=Quantity(_number(cells["quantity"])),
        entry_quantity=Quantity(_number(cells["entry_quantity"])),
        entry_cost=_number(cells["entry_cost"]),
        stop_loss_percent=_number(cells["stop_loss_percent"]),
        opened_ms=cells["opened_ms"],
        trailing_activation_percent=_decimal(cells["trailing_activation_percent"]),
        trailing_callback_percent=_decimal(cells["trailing_callback_percent"]),
        take_profit_percent=_decimal(cells["take_profit_percent"]),
        time_limit_minutes=_decimal(cells["time_limit_minutes"]),
        signal_id=SignalId(cells["signal_id"]),
        realized=_number(cells["realized"]),
        fees=_number(cells["fees"]),
        exit_quantity=Quantity(_number(cells["exit_quantity"])),
        exit_cost=_number(cells["exit_cost"]),
        closed_ms=cells["closed_ms"],
    )


def fill_of(row: Row) -> FillReport:
    """A trade from a row of `FILL_SELECT`."""
    cells: dict[str, Any] = dict(zip(_FILL_COLUMNS, row, strict=False))
    return FillReport(
        instrument=_instrument(cells),
        client_order_id=ClientOrderId(cells["client_order_id"]),
        venue_order_id=VenueOrderId(cells["venue_order_id"]),
        trade_id=TradeId(cells["trade_id"]),
        side=Side(cells["side"]),
        quantity=Quantity(_number(cells["quantity"])),
        price=Price(_number(cells["price"])),
        fee=_number(cells["fee"]),
        fee_asset=Asset(cells["fee_asset"]),
        realized=_number(cells["realized"]),
        maker=bool(cells["maker"]),
        venue_time_ms=cells["venue_time_ms"],
        source=Source(cells["source"]),
    )


def undecided_of(row: Row) -> SignalMark:
    """A signal from a row of `UNDECIDED_SIGNALS`."""
    *mark, time_ms, entry, bought = row
    source, signal_id, wave_id, venue, symbol, side, score = map(str, mark)
    return SignalMark(
        source=source,
        signal_id=signal_id,
        wave_id=wave_id,
        venue=venue,
        symbol=symbol,
        side=side,
        score=score,
        code="",
        detail="",
        time_ms=time_ms,
        values={} if entry is None else {"entry": entry, "bought": bought},
    )


def exit_state_of(row: Row) -> ExitState:
    """What a position's exits remembered, from a row of `EXIT_STATES`."""
    cells: dict[str, Any] = dict(zip(_EXIT_COLUMNS, row, strict=False))
    return ExitState(
        position_id=PositionId(cells["position_id"]),
        side=Side(cells["side"]),
        entry_price=Price(_number(cells["entry_price"])),
        entry_quantity=Quantity(_number(cells["entry_quantity"])),
        peak=_price(cells["peak"]),
        trailing=bool(cells["trailing"]),
        level=_price(cells["level"]),
    )


def json_of(text: str, kind: type[_T]) -> _T:
    """What a column of JSON holds. Raises ValueError for anything but one `kind`."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} belongs")  # noqa: TRY004 - a fact about data
    return value


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("not a number") from None


def _instrument(cells: Mapping[str, Any]) -> InstrumentId:
    return InstrumentId(VenueName(cells["venue"]), Symbol(cells["symbol"]))


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else _number(text)


def _price(text: str | None) -> Price | None:
    return None if text is None else Price(_number(text))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _flat(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), separators=(",", ":"), sort_keys=True)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _gate_facts(gate: Gate) -> dict[str, Any]:
    """Only what there is to say: a wave of 500 signals stores some 10,000 of these."""
    facts: dict[str, Any] = {"name": gate.name, "value": gate.value, "limit": gate.limit, "note": gate.note}
    facts = {key: value for key, value in facts.items() if value}
    if gate.denied is not None:
        denied = gate.denied
        facts["denied"] = {"reason": denied.reason.value, "detail": denied.detail, "values": dict(denied.values)}
    return facts


def gates_of(text: str) -> tuple[Gate, ...]:
    """The gates of one signal from the column `gates`. Raises ValueError for a text that is none of ours."""
    try:
        return tuple(_gate(facts) for facts in json_of(text, list))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"gates of another form ({error})") from None


def _gate(facts: Mapping[str, Any]) -> Gate:
    told = facts.get("denied")
    denied = (
        None if told is None else Denied(reason=Reason(told["reason"]), detail=told["detail"], values=told["values"])
    )
    return Gate(
        name=facts["name"],
        value=facts.get("value", ""),
        limit=facts.get("limit", ""),
        denied=denied,
        note=facts.get("note", ""),
    )


def _intent_values(intent: OrderIntent) -> tuple[Value, ...]:
    venue, symbol = intent.instrument
    return (
        intent.client_order_id, venue.value, symbol, intent.leg.value, intent.attempt, intent.signal_id,
        intent.position_id, intent.wave_id, intent.side.value, intent.type.value, str(intent.quantity),
        int(intent.reduce_only), _text(intent.price), _text(intent.trigger_price), intent.trigger_reference.value,
        _text(intent.decision_price), _text(intent.stop_loss_percent), intent.reason,
        _text(intent.trailing_activation_percent), _text(intent.trailing_callback_percent), intent.attached_to,
        int(intent.whole_position), _text(intent.take_profit_percent), _text(intent.time_limit_minutes),
    )  # fmt: skip


def _status_values(order: Order) -> tuple[Value, ...]:
    over = order.ended and not order.fills_missing  # else a start would not know whose the trades are
    return (
        order.status.value, int(over), order.venue_order_id, str(order.filled), str(order.cost),
        str(order.reported_filled), json.dumps(sorted(order.trade_ids)), order.venue_time_ms, order.detail,
        _text(order.level), _text(order.size),
    )  # fmt: skip


def _intent_statement(order: Order, time_ms: int) -> Statement:
    return Statement(_ORDER, (*_intent_values(order.intent), time_ms, *_status_values(order), time_ms))


def _order_statement(record: OrderRecord) -> Statement:
    """The intent of a row never changes, so only its status is written; the row itself where it is missing."""
    order, time_ms = record.order, record.time_ms
    return Statement(
        _ORDER_STATUS,
        (*_status_values(order), time_ms, order.client_order_id),
        otherwise=_intent_statement(order, time_ms),
    )


def _fill_statement(record: FillRecord) -> Statement:
    fill = record.fill
    venue, symbol = fill.instrument
    values = (
        venue.value, symbol, fill.trade_id, fill.client_order_id, fill.venue_order_id, fill.side.value,
        str(fill.quantity), str(fill.price), str(fill.fee), fill.fee_asset, str(fill.realized), int(fill.maker),
        fill.venue_time_ms, fill.source.value, record.time_ms,
    )  # fmt: skip
    return Statement(_FILL, values)


def _position_values(position: Position) -> tuple[Value, ...]:
    venue, symbol = position.instrument
    return (
        position.id, venue.value, symbol, position.side.value, str(position.quantity), str(position.entry_quantity),
        str(position.entry_cost), str(position.stop_loss_percent), position.opened_ms, position.signal_id,
        str(position.realized), str(position.fees), str(position.exit_quantity), str(position.exit_cost),
        position.closed_ms, _text(position.trailing_activation_percent), _text(position.trailing_callback_percent),
        _text(position.take_profit_percent), _text(position.time_limit_minutes),
    )  # fmt: skip


def _exit_values(state: ExitState) -> tuple[Value, ...]:
    return (
        state.position_id, state.side.value, str(state.entry_price), str(state.entry_quantity), _text(state.peak),
        int(state.trailing), _text(state.level),
    )  # fmt: skip


def _wave_statement(mark: WaveMark) -> Statement:
    unusable = [
        {"id": one.id, "symbol": one.symbol, "code": one.code, "detail": one.detail, "source": one.source}
        for one in mark.unusable
    ]
    counted = (_json(dict(mark.stages)), _json(dict(mark.counts)), _json(unusable))
    return Statement(_WAVE, (mark.wave_id, mark.source, mark.received_ms, mark.finished_ms, *counted))


def _signal_statement(mark: SignalMark) -> Statement:
    values = (
        mark.source, mark.signal_id, mark.wave_id, mark.venue, mark.symbol, mark.side, mark.score, mark.code,
        mark.detail, _flat(mark.values), _json([_gate_facts(gate) for gate in mark.gates]), mark.time_ms,
    )  # fmt: skip
    return Statement(_SIGNAL, values)
