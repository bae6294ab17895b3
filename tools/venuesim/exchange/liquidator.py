"""The exchange's own hand in an account: liquidation, auto-deleveraging, settlement, funding."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange import margin
from tools.venuesim.exchange.events import AccountChanged, AccountReason, MarginCalled
from tools.venuesim.exchange.matcher import Matcher, Parentage
from tools.venuesim.exchange.model import (
    ZERO,
    Expiry,
    FundingRecord,
    IncomeType,
    Instrument,
    MarginMode,
    OrderRequest,
    OrderType,
    Origin,
    Position,
    PositionSide,
    PositionView,
    Side,
    TimeInForce,
)
from tools.venuesim.exchange.state import State

HOUR_MS = 3_600_000


class _Pool(Struct, frozen=True):
    """Margin that stands or falls together: an isolated position, or everything that is cross."""

    key: str
    views: tuple[PositionView, ...]
    balance: Decimal
    maintenance: Decimal
    cross_wallet: Decimal | None = None

    @property
    def worst(self) -> Position:
        return min(self.views, key=lambda view: view.unrealized).position


class Liquidator:
    def __init__(self, state: State, matcher: Matcher) -> None:
        self._state = state
        self._matcher = matcher
        self._count = 0
        self._warned: set[str] = set()
        self.funding_paid: list[FundingRecord] = []

    def check(self) -> None:
        """Warn of margins that run short, and liquidate what they no longer carry, the worst position first."""
        pools = self._pools()
        for pool in pools:
            self._warn(pool)
        while (failing := next((pool for pool in pools if pool.balance <= pool.maintenance), None)) is not None:
            self.liquidate(failing.worst)
            pools = self._pools()

    def liquidate(self, row: Position, hold_ms: float = 0) -> None:
        """Cancel the symbol's orders, take the position over at the mark price, settle with the insurance fund.

        For ``hold_ms`` afterwards the symbol takes no orders: a liquidation that takes its time.
        """
        state = self._state
        instrument = state.instrument(row.symbol)
        asset = instrument.settle
        mark = state.mark(row.symbol)
        if hold_ms:
            state.liquidating.add(row.symbol)
            state.time.call_later(hold_ms, lambda: state.liquidating.discard(row.symbol))
        with state.batch():
            self._matcher.cancel_all(row.symbol, Expiry.LIQUIDATION)
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
            self._matcher.cancel_all(symbol, Expiry.SYMBOL_CLOSED)
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
                self._tell(AccountReason.FUNDING_FEE, instrument, () if after is None else (after,), change=amount)
            self.funding_paid.append(
                FundingRecord(symbol=row.symbol, rate=instrument.funding_rate, mark=mark, time_ms=hour_ms)
            )

    def _pools(self) -> list[_Pool]:
        state = self._state
        if not (held := state.ledger.open()):
            return []
        views = [margin.valued(state, row) for row in held]
        pools = [self._isolated(view) for view in views if _is_isolated(view.position)]
        cross = [view for view in views if not _is_isolated(view.position)]
        if not cross:
            return pools
        if state.ledger.multi_assets:
            balance, maintenance = margin.shared_pool(state)
            return [*pools, _Pool("*", tuple(cross), balance, maintenance, balance)]
        for asset in sorted({state.instruments[view.position.symbol].settle for view in cross}):
            of_asset = tuple(view for view in cross if state.instruments[view.position.symbol].settle == asset)
            wallet = state.ledger.cross_wallet(asset, state.instruments)
            balance = wallet + sum((view.unrealized for view in of_asset), ZERO)
            maintenance = sum((view.maintenance for view in of_asset), ZERO)
            pools.append(_Pool(asset, of_asset, balance, maintenance, wallet))
        return pools

    def _isolated(self, view: PositionView) -> _Pool:
        row = view.position
        balance = row.isolated_wallet + view.unrealized
        return _Pool(f"{row.symbol}/{row.position_side}", (view,), balance, view.maintenance)

    def _warn(self, pool: _Pool) -> None:
        """Once each time the ratio comes to the policy's mark; liquidation itself gives no warning."""
        near = pool.maintenance >= pool.balance * self._state.policy.margin_call_ratio
        if not near:
            self._warned.discard(pool.key)
        elif pool.key not in self._warned:
            self._warned.add(pool.key)
            with self._state.batch():
                self._state.emit(MarginCalled(cross_wallet=pool.cross_wallet, views=pool.views))

    def _take_over(self, row: Position, qty: Decimal, price: Decimal, origin: Origin, template: str) -> None:
        self._count += 1
        state = self._state
        held = row.symbol in state.liquidating
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
            if not held:
                state.liquidating.discard(row.symbol)

    def _settle_with_insurance(self, instrument: Instrument, amount: Decimal) -> None:
        if not amount:
            return
        state = self._state
        now = state.time.now_ms()
        amount = amount.quantize(Decimal("0.00000001"))
        state.ledger.book(instrument.settle, amount, IncomeType.INSURANCE_CLEAR, now, symbol=instrument.symbol)
        self._tell(AccountReason.INSURANCE_CLEAR, instrument, ())

    def _tell(
        self, reason: AccountReason, instrument: Instrument, rows: tuple[Position, ...], *, change: Decimal = ZERO
    ) -> None:
        """`change` is what moved that is neither profit nor fee."""
        self._state.emit(
            AccountChanged(
                reason=reason,
                balances=(margin.balance(self._state, instrument.settle),),
                positions=rows,
                symbol=instrument.symbol,
                change=change,
            )
        )


def _is_isolated(row: Position) -> bool:
    return row.margin_mode is MarginMode.ISOLATED
