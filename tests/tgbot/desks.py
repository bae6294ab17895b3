"""A desk without a daemon: figures as they might be, commands that only note who gave them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.domain.candle import Candle
from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.money import Price
from core.domain.order import OrderStatus
from core.domain.position import Position
from core.domain.reports import FillReport
from core.domain.risk import TradingState
from core.domain.signal import Side
from core.domain.standing import Standing
from core.domain.symbols import same_symbol
from core.engine.command_answers import Cancelled, Changed, Closed
from core.engine.operator_desk import ConfigLine, HealthWord, LogLine, OperatorDesk
from core.engine.past import Account, PastTrade, PastWave
from core.engine.performance import Performance, performance
from core.engine.queries import OrderRow, PositionRow, RiskRow, StatusReport, VenueRow
from core.engine.risk_figures import BalanceRow, RiskFigures

BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))
ETH = InstrumentId(VenueName.OKX, Symbol("ETH/USDT:USDT"))
VENUE = VenueRow(
    venue=VenueName.BINANCE,
    connected=True,
    connected_s=3700.0,
    reconnects=1,
    key_swaps=0,
    reconciled_s=12.5,
    off_because=None,
    headroom={"order": 0.9, "read": 0.75},
)
POSITION = PositionRow(
    instrument=BTC,
    side="long",
    quantity=Decimal("0.010"),
    entry_price=Decimal(200_000) / Decimal(3),
    mark=Decimal("66700.1"),
    unrealized=Decimal("0.3343"),
    stop=Decimal("65333.3"),
    unprotected_ms=260,
    age_s=65,
    protected_s=64,
)
SHORT = replace(
    POSITION,
    instrument=ETH,
    side="short",
    quantity=Decimal("0.5"),
    entry_price=Decimal(2000),
    mark=Decimal(2020),
    unrealized=Decimal(-10),
    stop=Decimal(2040),
)
ORDER = OrderRow(
    client_order_id="bwncxyxupzmbksrvy7gw6zvmwjv7pimf",
    venue_order_id="77",
    instrument=BTC,
    leg="stop",
    side="sell",
    type="stop_market",
    status="accepted",
    quantity=Decimal("0.01"),
    filled=Decimal(0),
    level=Decimal("65333.3"),
    age_s=64,
)


def a_status(**changes: object) -> StatusReport:
    status = StatusReport(
        build="0.1.0",
        uptime_s=90_061,
        trading_state="active",
        reason="",
        venues=(VENUE,),
        positions=(POSITION,),
        balances={"binance USDT": Decimal("10000.50000000")},
        waves=3,
        refusals={"expired": 1, "max_positions": 2},
        unresolved_orders=0,
        risk=RiskRow(
            day_result=Decimal("-3.2"),
            day_loss_limit=Decimal(100),
            streak=1,
            streak_limit=3,
            drawdown_percent=Decimal("0.4"),
            drawdown_limit_percent=Decimal(10),
            reached=(),
            denials={},
            balances=(),
            equity=Decimal("10000.5"),
        ),
    )
    return replace(status, **changes)


def a_risk(**changes: object) -> RiskFigures:
    limits = dict.fromkeys(
        ("MAX_DAILY_LOSS", "SL_STREAK_LIMIT", "MAX_DRAWDOWN_PERCENT", "MAX_POSITIONS", "MAX_EXPOSURE_USD"), "10"
    )
    figures = RiskFigures(
        state="active",
        reason="",
        author="breakwater",
        venue_states={},
        day_result=Decimal("-3.2"),
        day_open=Decimal("0.33"),
        day_closed=Decimal("-3.5"),
        day_funding=Decimal("-0.03"),
        day_counted_loss=Decimal("3.2"),
        streak=1,
        equity=Decimal("10000.5"),
        equity_peak=Decimal(10040),
        drawdown_percent=Decimal("0.4"),
        positions=1,
        exposure=Decimal("666.7"),
        entries_last_minute=0,
        reached={},
        pauses={},
        shortages={},
        cooling={},
        clock_error_ms={"binance": 0},
        balances=(BalanceRow(venue="binance", asset="USDT", wallet=Decimal("10000.5"), free=None, age_s=2.0),),
        limits={**limits, "MAX_ENTRIES_PER_MINUTE": "0"},
        denials={"max_positions": 2},
    )
    return replace(figures, **changes)


class FakeQueries:
    def __init__(self) -> None:
        self.fails = False
        self.report = a_status()
        self.figures = a_risk()
        self.working: tuple[OrderRow, ...] = (ORDER,)

    def status(self) -> StatusReport:
        if self.fails:
            raise RuntimeError("no picture")
        return self.report

    def risk(self) -> RiskFigures:
        return self.figures

    def positions(self) -> tuple[PositionRow, ...]:
        return self.report.positions

    def orders(self) -> tuple[OrderRow, ...]:
        return self.working


@dataclass
class FakeCommands:
    """Notes every order with its author. `gate`: closing waits for it."""

    queries: FakeQueries
    done: list[tuple[str, ...]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    venues: frozenset[VenueName] = frozenset({VenueName.BINANCE, VenueName.OKX})

    async def pause(self, author: str, venue: VenueName | None = None) -> Changed:
        self.done.append(("pause", author))
        return self._changed(TradingState.REDUCING, "paused", author, venue)

    async def reduce(self, author: str, venue: VenueName | None = None) -> Changed:
        self.done.append(("reduce", author))
        return self._changed(TradingState.REDUCING, "reducing only", author, venue)

    async def panic(self, author: str, venue: VenueName | None = None) -> Changed:
        self.done.append(("panic", author))
        closed = tuple(await self.close(None, venue, author))
        return replace(self._changed(TradingState.HALTED, "panic", author, venue), closed=closed)

    def resume(self, author: str, venue: VenueName | None = None) -> Changed:
        self.done.append(("resume", author))
        return self._changed(TradingState.ACTIVE, "resumed", author, venue)

    async def close(self, symbol: str | None, venue: VenueName | None, author: str) -> list[Closed]:
        self.done.append(("close", author, str(symbol)))
        if self.gate is not None:
            await self.gate.wait()
        rows = [row for row in self.queries.positions() if symbol is None or same_symbol(symbol, row.instrument.symbol)]
        self.queries.report = replace(self.queries.report, positions=())
        return [
            Closed(
                instrument=row.instrument,
                quantity=row.quantity,
                flat=True,
                realized=Decimal("-1.25"),
                left=0,
                detail="",
            )
            for row in rows
        ]

    async def cancel(self, order_id: str, author: str, venue: VenueName | None = None) -> Cancelled:
        self.done.append(("cancel", author, order_id))
        return Cancelled(
            instrument=BTC,
            client_order_id=order_id,
            venue_order_id="77",
            ours=True,
            status=OrderStatus.CANCELED,
            detail="",
        )

    def matching(self, symbol: str | None, venue: VenueName | None) -> list[Any]:
        side = {"long": Side.BUY, "short": Side.SELL}
        return [
            _Held(row.instrument, side[row.side])
            for row in self.queries.positions()
            if (symbol is None or same_symbol(symbol, row.instrument.symbol)) and venue in (None, row.instrument.venue)
        ]

    def _changed(self, state: TradingState, reason: str, author: str, venue: VenueName | None) -> Changed:
        return Changed(venue=venue, standing=Standing(state=state, reason=reason, author=author))


@dataclass
class _Held:
    instrument: InstrumentId
    side: Side


class FakePast:
    def __init__(self) -> None:
        self.told_waves: list[PastWave] = []
        self.told_trades: list[PastTrade] = []
        self.closed: list[Position] = []
        self.accounts: dict[str, Account] = {}
        self.made: list[FillReport] = []

    async def waves(self, count: int) -> Sequence[PastWave]:
        return self.told_waves[:count]

    async def account(self, symbol: str, venue: VenueName | None = None) -> Account:
        return self.accounts.get(symbol, Account(wave=None, said=f"no wave had a signal for {symbol}"))

    async def trades(self, count: int) -> Sequence[PastTrade]:
        return self.told_trades[:count]

    async def performance(self, since_ms: int, until_ms: int) -> Performance:
        return performance(self.closed, since_ms, until_ms)

    async def results(self, since_ms: int, until_ms: int, most: int) -> Sequence[tuple[int, Decimal]]:
        return [(since_ms, Decimal(5)), (until_ms, Decimal(-3))]

    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        return self.made

    async def refusals(self, since_ms: int) -> Mapping[str, int]:
        return {"expired": 4}


class FakeAudit:
    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        self.records.append((kind, data))


class FakeDesk:
    """`desk` is what the bot gets; the rest are its parts."""

    def __init__(self) -> None:
        self.queries = FakeQueries()
        self.commands = FakeCommands(self.queries)
        self.past = FakePast()
        self.audit = FakeAudit()
        self.notices: list[str] = []
        self.is_ready = self.is_opened = True
        self.log: list[LogLine] = []
        parts: Any = self.queries
        commands: Any = self.commands
        notifier: Any = self
        self.desk = OperatorDesk(
            queries=parts,
            commands=commands,
            past=self.past,
            logs=self._logs,
            candles=_candles,
            instruments=lambda spelling: [BTC] if "BTC" in spelling else [],
            config=lambda: [
                ConfigLine(group="Limits", name="MAX_POSITIONS", value="6", source=".env", effective=True),
                ConfigLine(group="Telegram", name="TELEGRAM_TOKEN", value="***", source=".env", effective=True),
                ConfigLine(group="Stops", name="STOP_LOSS_PERCENT", value="2", source="default", effective=True),
            ],
            health=lambda: HealthWord(level="ok", reasons=()),
            opened=lambda: self.is_opened,
            ready=lambda: self.is_ready,
            notifier=notifier,
            audit=self.audit,
        )

    async def _logs(self, count: int, least: str) -> Sequence[LogLine]:
        return self.log[-count:]

    def notify(self, level: object, text: str, **_: object) -> None:
        self.notices.append(text)


async def _candles(instrument: InstrumentId, timeframe: str, limit: int) -> Sequence[Candle]:
    one = Price(Decimal(1))
    return [Candle(at * 900_000, one, one, one, one, Decimal(1), Decimal(1)) for at in range(limit)]


async def no_picture(data: Mapping[str, object]) -> bytes:
    """Draws nothing, quickly."""
    del data
    return b"\x89PNG\r\n\x1a\n"
