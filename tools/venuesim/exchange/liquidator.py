"""The exchange's own hand in an account: liquidation, auto-deleveraging, settlement, funding."""

from __future__ import annotations

from decimal import Decimal

from tools.venuesim.exchange import margin
from tools.venuesim.exchange.events import AccountChanged, AccountReason
from tools.venuesim.exchange.matcher import Matcher, Parentage
from tools.venuesim.exchange.model import (
    ZERO,
    FundingRecord,
    IncomeType,
    Instrument,
    MarginMode,
    OrderRequest,
    OrderType,
    Origin,
    Position,
    PositionSide,
    Side,
    TimeInForce,
)
from tools.venuesim.exchange.state import State

HOUR_MS = 3_600_000


class Liquidator:
    def __init__(self, state: State, matcher: Matcher) -> None:
        self._state = state
        self._matcher = matcher
        self._count = 0
        self.funding_paid: list[FundingRecord] = []

    def check(self) -> None:
        """Liquidate what its margin no longer carries, the worst position first."""
        assets = {self._state.instruments[symbol].settle for symbol in self._state.ledger.open_symbols()}
        for asset in sorted(assets):
            while (row := self._failing(asset)) is not None:
                self.liquidate(row)

    def liquidate(self, row: Position) -> None:
        """Cancel the symbol's orders, take the position over at the mark price, settle with the insurance fund."""
        state = self._state
        instrument = state.instrument(row.symbol)
        asset = instrument.settle
        mark = state.mark(row.symbol)
        with state.batch():
            self._matcher.cancel_all(row.symbol)
            floor = state.ledger.cross_wallet(asset, state.instruments) if _is_isolated(row) else ZERO
            self._take_over(row, abs(row.qty), mark, Origin.LIQUIDATION, state.policy.liquidation_client_id)
            left = state.ledger.cross_wallet(asset, state.instruments) - floor
            fee = abs(row.qty) * mark * instrument.liquidation_fee
            self._settle_with_insurance(instrument, -left if left < 0 else -min(left, fee))

    def deleverage(self, row: Position, fraction: Decimal) -> None:
        """Close a part of a position at the mark price, as the counterpart of somebody's bankruptcy."""
        step = self._state.instrument(row.symbol).step
        qty = max(step, abs(row.qty) * fraction // step * step)
        mark = self._state.mark(row.symbol)
        self._take_over(row, min(qty, abs(row.qty)), mark, Origin.ADL, self._state.policy.adl_client_id)

    def settle(self, symbol: str) -> None:
        """Close every position of a symbol at the mark price, as at a delisting."""
        state = self._state
        with state.batch():
            self._matcher.cancel_all(symbol)
            for row in state.ledger.rows(symbol):
                if row.qty:
                    template = state.policy.settlement_client_id
                    self._take_over(row, abs(row.qty), state.mark(symbol), Origin.SETTLEMENT, template)

    def pay_funding(self, hour_ms: int) -> None:
        """Funding of every symbol whose interval ends at this full hour (UTC): qty * mark * rate, longs pay."""
        state = self._state
        for row in state.ledger.open():
            instrument = state.instrument(row.symbol)
            if hour_ms % (instrument.funding_hours * HOUR_MS):
                continue
            mark = state.mark(row.symbol)
            amount = -(row.qty * mark * instrument.funding_rate).quantize(Decimal("0.00000001"))
            now = state.time.now_ms()
            with state.batch():
                state.ledger.book(instrument.settle, amount, IncomeType.FUNDING_FEE, now, symbol=row.symbol)
                after = state.ledger.move_margin(row, amount, now) if _is_isolated(row) else None
                self._tell(AccountReason.FUNDING_FEE, instrument, () if after is None else (after,))
            self.funding_paid.append(
                FundingRecord(symbol=row.symbol, rate=instrument.funding_rate, mark=mark, time_ms=hour_ms)
            )

    def _failing(self, asset: str) -> Position | None:
        state = self._state
        rows = [row for row in state.ledger.open() if state.instruments[row.symbol].settle == asset]
        views = [margin.view(state, row) for row in rows]
        for view in views:
            if _is_isolated(view.position) and view.position.isolated_wallet + view.unrealized <= view.maintenance:
                return view.position
        cross = [view for view in views if not _is_isolated(view.position)]
        pool = state.ledger.cross_wallet(asset, state.instruments) + sum((view.unrealized for view in cross), ZERO)
        if cross and pool <= sum((view.maintenance for view in cross), ZERO):
            return min(cross, key=lambda view: view.unrealized).position
        return None

    def _take_over(self, row: Position, qty: Decimal, price: Decimal, origin: Origin, template: str) -> None:
        self._count += 1
        state = self._state
        state.liquidating.add(row.symbol)
        try:
            self._matcher.fill_outright(
                OrderRequest(
                    symbol=row.symbol,
                    side=Side.SELL if row.qty > 0 else Side.BUY,
                    type=OrderType.LIMIT,
                    qty=qty,
                    price=price,
                    position_side=row.position_side,
                    tif=TimeInForce.IOC,
                    reduce_only=row.position_side is PositionSide.BOTH,
                    client_id=template.format(state.time.now_ms() + self._count),
                ),
                Parentage(origin=origin, at_price=price),
            )
        finally:
            state.liquidating.discard(row.symbol)

    def _settle_with_insurance(self, instrument: Instrument, amount: Decimal) -> None:
        if not amount:
            return
        state = self._state
        now = state.time.now_ms()
        amount = amount.quantize(Decimal("0.00000001"))
        state.ledger.book(instrument.settle, amount, IncomeType.INSURANCE_CLEAR, now, symbol=instrument.symbol)
        self._tell(AccountReason.INSURANCE_CLEAR, instrument, ())

    def _tell(self, reason: AccountReason, instrument: Instrument, rows: tuple[Position, ...]) -> None:
        self._state.emit(
            AccountChanged(
                reason=reason,
                balances=(margin.balance(self._state, instrument.settle),),
                positions=rows,
                symbol=instrument.symbol,
            )
        )


def _is_isolated(row: Position) -> bool:
    return row.margin_mode is MarginMode.ISOLATED
