"""What happens to an account or a market from outside: the control interface's hand, past the client's checks."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tools.venuesim.exchange import margin
from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    LeverageChanged,
    MarginModeChanged,
    PositionModeChanged,
    SymbolChanged,
)
from tools.venuesim.exchange.matcher import Matcher
from tools.venuesim.exchange.model import (
    IncomeType,
    Instrument,
    MarginMode,
    PositionMode,
    PositionSide,
    SymbolStatus,
)
from tools.venuesim.exchange.state import State


class Operator:
    def __init__(self, state: State, matcher: Matcher) -> None:
        self._state = state
        self._matcher = matcher

    def set_wallet(self, asset: str, amount: Decimal) -> None:
        """Deposit or withdraw the difference."""
        state = self._state
        change = amount - state.ledger.wallet(asset)
        state.ledger.book(asset, change, IncomeType.TRANSFER, state.time.now_ms())
        with state.batch():
            state.emit(
                AccountChanged(
                    reason=AccountReason.DEPOSIT if change >= 0 else AccountReason.WITHDRAW,
                    balances=(margin.balance(state, asset),),
                    positions=(),
                    change=change,
                )
            )

    def set_position(self, symbol: str, qty: Decimal, entry: Decimal) -> None:
        """Put a signed position; in hedge mode its sign picks the row."""
        state = self._state
        instrument = state.instrument(symbol)
        side = PositionSide.BOTH
        if state.mode(symbol) is PositionMode.HEDGE:
            side = PositionSide.LONG if qty >= 0 else PositionSide.SHORT
        now = state.time.now_ms()
        row = replace(state.position(symbol, side), qty=qty, entry=entry, opened_ms=now, updated_ms=now)
        with state.batch():
            state.ledger.set_position(instrument, row)
            state.emit(
                AccountChanged(
                    reason=AccountReason.ADJUSTMENT,
                    balances=(margin.balance(state, instrument.settle),),
                    positions=(state.position(symbol, side),),
                    symbol=symbol,
                )
            )
            self._matcher.fit_reduce_only(symbol)
            self._matcher.on_position_change(symbol)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        self._state.instrument(symbol)
        with self._state.batch():
            self._state.ledger.set_leverage(symbol, leverage)
            self._state.emit(LeverageChanged(symbol=symbol, leverage=leverage))

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        self._state.instrument(symbol)
        with self._state.batch():
            self._state.ledger.set_margin_mode(symbol, mode)
            self._state.emit(MarginModeChanged(symbol=symbol, mode=mode))

    def set_position_mode(self, mode: PositionMode) -> None:
        with self._state.batch():
            self._state.ledger.mode = mode
            self._state.emit(PositionModeChanged(mode=mode))

    def set_status(self, symbol: str, status: SymbolStatus) -> None:
        self.change_instrument(replace(self._state.instrument(symbol), status=status))

    def change_instrument(self, instrument: Instrument) -> None:
        before = self._state.instrument(instrument.symbol)
        with self._state.batch():
            self._state.replace_instrument(instrument)
            brackets = before.brackets != instrument.brackets
            self._state.emit(SymbolChanged(symbol=instrument.symbol, status=instrument.status, brackets=brackets))
