"""What a replay came to: its trades, what they cost, and how the account fared meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from core.domain.events import Event, OrderChanged, PositionChanged, ReducedElsewhere
from core.domain.ids import InstrumentId, Leg, PositionId, SignalId
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO
from core.domain.order import Order, OrderStatus
from core.domain.position import Position
from core.domain.protection import stop_price
from core.domain.reports import FillReport
from core.domain.signal import Side
from core.domain.trailing import better
from core.domain.wave import LegState, WaveReport
from core.engine.ports import SignalBatch

STOP, MOVED_STOP, STILL_OPEN = "stop", "moved stop", "still open"


class Fill(Struct, frozen=True, kw_only=True):
    """One execution. `slippage` quote coin, positive = worse than the price it was decided or triggered at."""

    time_ms: int
    side: Side
    price: Decimal
    quantity: Decimal
    slippage: Decimal
    entry: bool


class StopLevel(NamedTuple):
    """From `time_ms` (UTC) on the stop rested there."""

    time_ms: int
    price: Decimal


class Trade(Struct, frozen=True, kw_only=True):
    """One position from its first fill to its last. Money in quote coin; `net` is after fees and funding (positive =
    received). `exit_price` of one that is still open is the last close."""

    side: Side
    opened_ms: int
    closed_ms: int
    entry_price: Decimal
    exit_price: Decimal
    quantity: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    reason: str
    detail: str
    score: Decimal | None
    fills: tuple[Fill, ...]
    stops: tuple[StopLevel, ...]

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees + self.funding

    @property
    def percent(self) -> Decimal:
        """Of what the entry was worth."""
        return self.net / (self.entry_price * self.quantity) * HUNDRED

    @property
    def still_open(self) -> bool:
        return self.reason == STILL_OPEN


@dataclass(slots=True)
class _Open:
    position: Position
    fills: list[Fill] = field(default_factory=list)
    stops: list[StopLevel] = field(default_factory=list)
    score: Decimal | None = None
    reason: str = ""
    detail: str = ""


class Recorder:
    """Listens to the engine and writes down what happens; it decides nothing."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._open: dict[PositionId, _Open] = {}
        self.trades: list[Trade] = []
        self.refusals: Counter[str] = Counter()
        self.signals = 0
        self.entered = 0
        self._scores: dict[tuple[InstrumentId, SignalId], Decimal] = {}
        self.changed = False
        """Whether something was filled since this was last set to False."""

    def on_trade(self, fill: FillReport, order: Order, known: Position | None, position: Position) -> None:
        """OrderManager.on_trade."""
        del known
        self.changed = True
        row = self._open.setdefault(position.id, _Open(position))
        intent = order.intent
        wanted = order.trigger_price if intent.leg is Leg.STOP else intent.decision_price
        lost = ZERO if wanted is None else (fill.price - wanted) * fill.quantity * fill.side.sign
        entry = intent.leg is Leg.ENTRY
        if entry:
            row.score = self._scores.pop((intent.instrument, intent.signal_id), row.score)
        row.fills.append(
            Fill(
                time_ms=fill.venue_time_ms,
                side=fill.side,
                price=fill.price,
                quantity=fill.quantity,
                slippage=lost,
                entry=entry,
            )
        )
        if not entry:
            row.reason, row.detail = _why(order, position, self._instrument)

    def on_events(self, events: Sequence[Event]) -> None:
        """OrderManager.listen."""
        for event in events:
            if isinstance(event, ReducedElsewhere):
                self.changed = True
                if (row := self._open.get(event.position.id)) is not None:
                    row.reason, row.detail = event.origin.value, ""
            elif isinstance(event, PositionChanged):
                self._follow(event.position)
            elif isinstance(event, OrderChanged):
                self._note_stop(event.order)

    def on_signals(self, batch: SignalBatch) -> None:
        """What the strategy gave, before anything is decided."""
        self._scores = {(signal.instrument, signal.id): signal.score for signal in batch.signals}

    def on_report(self, report: WaveReport) -> None:
        """WaveProcessor.on_report."""
        self.signals += len(report.legs) + len(report.unusable)
        for unusable in report.unusable:
            self.refusals[unusable.code] += 1
        for leg in report.legs:
            if leg.denied is not None:
                self.refusals[leg.denied.reason.value] += 1
            elif leg.state is not LegState.REFUSED:
                self.entered += 1

    def finish(self, last: Decimal, now_ms: int) -> None:
        """What is still open is valued at the last close."""
        for row in self._open.values():
            position = row.position
            row.reason, row.detail = STILL_OPEN, "the candles ended"
            gross = position.realized + position.unrealized(last)
            self._add(row, position, gross, last, now_ms)
        self._open.clear()

    def pay(self, time_ms: int, amount: Decimal) -> None:
        """Funding: it belongs to the trade that was open then."""
        for index, trade in enumerate(self.trades):
            if trade.opened_ms <= time_ms <= trade.closed_ms:
                self.trades[index] = replace(trade, funding=trade.funding + amount)
                return

    def _note_stop(self, order: Order) -> None:
        row = self._open.get(order.intent.position_id)
        if row is None or order.intent.leg is not Leg.STOP or order.status is not OrderStatus.ACCEPTED:
            return
        level = order.trigger_price
        if level is not None and (not row.stops or row.stops[-1].price != level):
            row.stops.append(StopLevel(order.venue_time_ms, level))

    def _follow(self, position: Position) -> None:
        row = self._open.get(position.id)
        if row is None:
            return
        row.position = position
        if not position.open:
            del self._open[position.id]
            left = position.exit_cost / position.exit_quantity if position.exit_quantity else position.entry_price
            self._add(row, position, position.realized, left, position.closed_ms or 0)

    def _add(self, row: _Open, position: Position, gross: Decimal, left: Decimal, closed_ms: int) -> None:
        self.trades.append(
            Trade(
                side=position.side,
                opened_ms=position.opened_ms,
                closed_ms=closed_ms,
                entry_price=position.entry_price,
                exit_price=left,
                quantity=position.entry_quantity,
                gross=gross,
                fees=position.fees,
                funding=ZERO,
                slippage=sum((fill.slippage for fill in row.fills), ZERO),
                reason=row.reason,
                detail=row.detail,
                score=row.score,
                fills=tuple(row.fills),
                stops=tuple(row.stops),
            )
        )


def _why(order: Order, position: Position, instrument: Instrument) -> tuple[str, str]:
    """The rule that closed, and its sentence. A stop that was moved stands tighter than the fill price put it."""
    if order.intent.leg is Leg.STOP:
        level = order.trigger_price
        moved = level is not None and better(position.side, level, stop_price(position, instrument))
        return (MOVED_STOP if moved else STOP), ""
    if order.intent.leg is Leg.TRAIL:
        return "trailing", "the venue's own trailing order"
    reason, _, detail = order.intent.reason.partition(": ")
    return (reason, detail) if detail else (order.intent.leg.value, order.intent.reason)


class EquityPoint(Struct, frozen=True):
    """The account at the end of a candle, UTC ms; `lowest` values an open position at the candle's worst price."""

    time_ms: int
    equity: float
    lowest: float


class Figures(Struct, frozen=True, kw_only=True):
    """The headline. Money in quote coin; `profit_factor` None without a loss, `win_rate` None without a trade; shares
    in percent. Trades that are still open count in the money only."""

    balance: Decimal
    final: Decimal
    net: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    trades: int
    wins: int
    win_rate: Decimal | None
    profit_factor: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    drawdown: Decimal
    drawdown_percent: Decimal
    exposure_percent: Decimal
    held_minutes: Decimal | None

    @property
    def return_percent(self) -> Decimal:
        return self.net / self.balance * HUNDRED


def figures(trades: Sequence[Trade], equity: Sequence[EquityPoint], balance: Decimal, span_ms: int) -> Figures:
    """`span_ms` is the length of all candles together."""
    done = [trade for trade in trades if not trade.still_open]
    won = [trade.net for trade in done if trade.net > ZERO]
    lost = [trade.net for trade in done if trade.net <= ZERO]
    gained, given = _total(won), -_total(lost)
    net = _total(trade.net for trade in trades)
    held = sum(trade.closed_ms - trade.opened_ms for trade in trades)
    drawdown, share = _drawdown(equity, float(balance))
    return Figures(
        balance=balance,
        final=balance + net,
        net=net,
        gross=_total(trade.gross for trade in trades),
        fees=_total(trade.fees for trade in trades),
        funding=_total(trade.funding for trade in trades),
        slippage=_total(trade.slippage for trade in trades),
        trades=len(done),
        wins=len(won),
        win_rate=Decimal(len(won)) / len(done) * HUNDRED if done else None,
        profit_factor=gained / given if given else None,
        average_win=gained / len(won) if won else None,
        average_loss=-given / len(lost) if lost else None,
        drawdown=drawdown,
        drawdown_percent=share,
        exposure_percent=Decimal(min(held, span_ms)) / span_ms * HUNDRED,
        held_minutes=Decimal(held) / len(trades) / 60_000 if trades else None,
    )


def _total(values: Iterable[Decimal]) -> Decimal:
    return sum(values, ZERO)


def _drawdown(equity: Sequence[EquityPoint], balance: float) -> tuple[Decimal, Decimal]:
    """The deepest fall from a peak, in money and in percent of that peak."""
    peak, deepest, share = balance, 0.0, 0.0
    for point in equity:
        fall = peak - point.lowest
        deepest = max(deepest, fall)
        share = max(share, fall / peak)
        peak = max(peak, point.equity)
    return Decimal(f"{deepest:.8f}"), Decimal(f"{share * 100:.6f}")
