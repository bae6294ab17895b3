"""Positions as the venue prints them."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.bybit.errors import Row
from tools.venuesim.bybit.market_frames import fixed, short
from tools.venuesim.bybit.order_rows import average
from tools.venuesim.bybit.record import AccountRecord
from tools.venuesim.bybit.symbol_table import ONE_WAY_ASSETS, SymbolTable
from tools.venuesim.bybit.words import POSITION_IDX
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    ZERO,
    Conditional,
    ConditionalType,
    PositionMode,
    PositionSide,
    PositionView,
)

MONEY = Decimal("1E-8")
_STOPS = (ConditionalType.STOP, ConditionalType.STOP_LIMIT)
_TARGETS = (ConditionalType.TAKE_PROFIT, ConditionalType.TAKE_PROFIT_LIMIT)
# Return on margin up to which each rank reaches; the highest rank is closed out first.
_ADL_RANKS = (Decimal("-0.1"), ZERO, Decimal("0.1"), Decimal("0.5"))


def money(value: Decimal) -> str:
    """An amount: at most eight decimals."""
    return short(value.quantize(MONEY))


class PositionRows:
    """Rows of one account's positions, valued at the moment."""

    def __init__(self, exchange: Exchange, record: AccountRecord, table: SymbolTable) -> None:
        self._exchange = exchange
        self._record = record
        self._table = table
        self.auto_add: set[tuple[str, PositionSide]] = set()
        """Isolated positions that take margin from the wallet by themselves."""

    def sides(self, symbol: str) -> tuple[PositionSide, ...]:
        """The rows a symbol has in its mode."""
        hedge = self._exchange.position_mode is PositionMode.HEDGE
        if hedge and self._exchange.instrument(symbol).settle not in ONE_WAY_ASSETS:
            return PositionSide.LONG, PositionSide.SHORT
        return (PositionSide.BOTH,)

    def listed(self, symbol: str, side: PositionSide) -> Row:
        """A row of position/list."""
        view = self._exchange.position_view(symbol, side)
        nothing = fixed(ZERO, self._exchange.instrument(symbol).tick)
        liquidation = view.liquidation_price if view.position.qty else None
        return self._row(view, nothing) | {
            "avgPrice": average(view.position.entry),
            "liqPrice": self._price(symbol, liquidation, ""),
            "bustPrice": "",
            "openTime": self._record.holding(symbol, side).opened_ms,
        }

    def pushed(self, symbol: str, side: PositionSide) -> Row:
        """A row of the position topic."""
        view = self._exchange.position_view(symbol, side)
        liquidation = view.liquidation_price if view.position.qty else None
        row = {"category": "linear", **self._row(view, "0")}
        return row | {
            "entryPrice": average(view.position.entry),
            "liqPrice": self._price(symbol, liquidation, "0"),
            "bustPrice": "",
            "openTime": self._record.holding(symbol, side).opened_ms,
        }

    def _row(self, view: PositionView, nothing: str) -> Row:
        """What both forms share. Margins are at the mark price, the value at the entry price."""
        position = view.position
        symbol = position.symbol
        instrument = self._exchange.instrument(symbol)
        holding = self._record.holding(symbol, position.position_side)
        value = abs(position.qty) * position.entry
        risk, ceiling = self._table.risk_id(instrument, abs(view.notional))
        initial, maintenance = money(view.initial_margin), money(view.maintenance)
        stops = self._stops(symbol, position.position_side)
        return {
            "positionIdx": POSITION_IDX[position.position_side],
            "riskId": risk,
            "riskLimitValue": short(ceiling),
            "symbol": symbol,
            "side": "" if not position.qty else "Buy" if position.qty > 0 else "Sell",
            "size": fixed(abs(position.qty), instrument.step) if position.qty else "0",
            "positionValue": short(value) if value else "0",
            "tradeMode": 0,
            "positionStatus": "Normal",
            "autoAddMargin": int((symbol, position.position_side) in self.auto_add),
            "adlRankIndicator": _adl_rank(view),
            "leverage": str(position.leverage),
            "breakEvenPrice": average(position.break_even),
            "positionBalance": money(position.isolated_wallet or view.initial_margin),
            "markPrice": fixed(view.mark, instrument.tick),
            "positionIM": initial,
            "positionIMByMp": initial,
            "positionMM": maintenance,
            "positionMMByMp": maintenance,
            "tpslMode": "Full",
            "takeProfit": self._level(stops, _TARGETS, nothing),
            "stopLoss": self._level(stops, _STOPS, nothing),
            "trailingStop": self._distance(stops, nothing),
            "unrealisedPnl": money(view.unrealized),
            "curRealisedPnl": money(holding.current),
            "cumRealisedPnl": money(holding.total),
            "sessionAvgPrice": "",
            "seq": holding.sequence,
            "isReduceOnly": False,
            "mmrSysUpdatedTime": "",
            "leverageSysUpdatedTime": "",
            "createdTime": str(holding.created_ms),
            "updatedTime": str(max(holding.updated_ms, position.updated_ms)),
        }

    def _stops(self, symbol: str, side: PositionSide) -> list[Conditional]:
        """Those of the whole position; partial ones are orders of their own."""
        return [
            row
            for row in self._exchange.open_conditionals(symbol)
            if row.attached and row.position_side is side and row.whole_position
        ]

    def _level(self, stops: list[Conditional], kinds: tuple[ConditionalType, ...], nothing: str) -> str:
        row = next((row for row in stops if row.type in kinds), None)
        return nothing if row is None else self._price(row.symbol, row.trigger_price, nothing)

    def _distance(self, stops: list[Conditional], nothing: str) -> str:
        row = next((row for row in stops if row.type is ConditionalType.TRAILING), None)
        return nothing if row is None else self._price(row.symbol, row.callback_distance, nothing)

    def _price(self, symbol: str, value: Decimal | None, nothing: str) -> str:
        tick = self._exchange.instrument(symbol).tick
        return nothing if value is None else fixed(value.quantize(tick), tick)


def _adl_rank(view: PositionView) -> int:
    """0 when flat, else 1 to 5 by the return on margin."""
    if not view.position.qty or not view.initial_margin:
        return 0
    earned = view.unrealized / view.initial_margin
    return 1 + sum(earned > rank for rank in _ADL_RANKS)
