"""Records and journals for the tests of storage; every value differs from its default."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from core.domain.exits import ExitState
from core.domain.gate import passed, refused
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
from core.domain.verdict import Reason
from core.engine.records import SignalMark
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor

NOW = 1_789_000_000_000
BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))


GATES = (
    passed("expiry", "12 s left", "10 min", note="nearly over"),
    refused("exposure", Reason.MAX_EXPOSURE, "exposure would be 1100", value=1100, limit="1000", MAX_EXPOSURE_USD=1000),
)


def an_intent(number: int = 1, **changes: object) -> OrderIntent:
    intent = OrderIntent(
        client_order_id=ClientOrderId(f"bw{number:030d}"),
        instrument=BTC,
        leg=Leg.ENTRY,
        attempt=0,
        signal_id=SignalId("s-1"),
        position_id=PositionId("p-1"),
        side=Side.BUY,
        type=OrderType.LIMIT_IOC,
        quantity=Quantity(Decimal("0.010")),
        reduce_only=False,
        price=Price(Decimal("60000.10")),
        trigger_price=Price(Decimal("1E-7")),
        trigger_reference=TriggerReference.CONTRACT_PRICE,
        decision_price=Price(Decimal("60000.1")),
        stop_loss_percent=Decimal("2.50"),
        trailing_activation_percent=Decimal("1.50"),
        trailing_callback_percent=Decimal("0.5"),
        take_profit_percent=Decimal("4.50"),
        time_limit_minutes=Decimal("90.5"),
        attached_to=ClientOrderId("bw-entry"),
        whole_position=True,
        wave_id="w-1",
        reason="ordered by the owner",
    )
    return replace(intent, **changes)


def an_order(number: int = 1, **changes: object) -> Order:
    order = Order(
        intent=an_intent(number),
        status=OrderStatus.PARTIALLY_FILLED,
        venue_order_id=VenueOrderId("283194212"),
        filled=Quantity(Decimal("0.004")),
        cost=Decimal("240.000400"),
        reported_filled=Quantity(Decimal("0.006")),
        trade_ids=frozenset({TradeId("2"), TradeId("10")}),
        venue_time_ms=NOW,
        detail="it's; DROP TABLE orders; -- \x00 ☃",
        level=Price(Decimal("59000.1")),
        size=Quantity(Decimal("0.4")),
    )
    return replace(order, **changes)


def a_position(**changes: object) -> Position:
    position = Position(
        id=PositionId("p-1"),
        instrument=BTC,
        side=Side.SELL,
        quantity=Quantity(Decimal("0.004")),
        entry_quantity=Quantity(Decimal("0.010")),
        entry_cost=Decimal("600.0010"),
        stop_loss_percent=Decimal(2),
        trailing_activation_percent=Decimal("1.50"),
        trailing_callback_percent=Decimal("0.5"),
        take_profit_percent=Decimal("4.50"),
        time_limit_minutes=Decimal("90.5"),
        opened_ms=NOW,
        signal_id=SignalId("s-1"),
        realized=Decimal("-1.20"),
        fees=Decimal("0.24"),
        exit_quantity=Quantity(Decimal("0.006")),
        exit_cost=Decimal("361.2"),
    )
    return replace(position, **changes)


def an_exit_state(**changes: object) -> ExitState:
    state = ExitState(
        position_id=PositionId("p-1"),
        side=Side.SELL,
        entry_price=Price(Decimal("60000.10")),
        entry_quantity=Quantity(Decimal("0.010")),
        peak=Price(Decimal("58800.5")),
        trailing=True,
        level=Price(Decimal("59100.0")),
    )
    return replace(state, **changes)


def a_fill(trade: str = "t-1") -> FillReport:
    return FillReport(
        instrument=BTC,
        client_order_id=ClientOrderId("bw1"),
        venue_order_id=VenueOrderId("7"),
        trade_id=TradeId(trade),
        side=Side.BUY,
        quantity=Quantity(Decimal("0.004")),
        price=Price(Decimal("60000.1")),
        fee=Decimal("0.096"),
        fee_asset=Asset("USDT"),
        realized=Decimal("0E-8"),
        maker=True,
        venue_time_ms=NOW,
        source=Source.STREAM,
    )


def a_signal(**changes: object) -> SignalMark:
    mark = SignalMark(
        source="ws",
        signal_id="s-1",
        wave_id="w-1",
        venue="binance",
        symbol=BTC.symbol,
        side="buy",
        score="81.5",
        code="max_exposure",
        detail="exposure would be 1100",
        time_ms=NOW,
        values={"MAX_EXPOSURE_USD": "1000"},
        gates=GATES,
    )
    return replace(mark, **changes)


async def a_journal(folder: Path, **kwargs: int) -> SqliteJournal:
    opened = SqliteJournal(folder / "journal.db", InlineExecutor(), lambda: NOW, **kwargs)
    await opened.open()
    return opened


def table(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        return list(connection.execute(sql))
