"""The exchange itself: one object that answers ``interface.Exchange`` and moves when it is told the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from tools.venuesim.exchange import margin
from tools.venuesim.exchange.admission import Admission
from tools.venuesim.exchange.attachments import Attachments
from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    AssetsModeChanged,
    LeverageChanged,
    Listener,
    MarginModeChanged,
    MarketTick,
    PositionModeChanged,
)
from tools.venuesim.exchange.liquidator import HOUR_MS, Liquidator
from tools.venuesim.exchange.market import Market
from tools.venuesim.exchange.matcher import Matcher
from tools.venuesim.exchange.model import (
    AmendConditional,
    AmendRequest,
    Balance,
    Candle,
    Conditional,
    ConditionalRequest,
    DayStats,
    Depth,
    Fill,
    Funding,
    FundingRecord,
    Income,
    Instrument,
    MarginMode,
    Order,
    OrderRequest,
    Position,
    PositionMode,
    PositionSide,
    PositionStop,
    PositionView,
    PublicTrade,
    Quote,
    Refusal,
    Refused,
    SymbolConfig,
)
from tools.venuesim.exchange.operator import Operator
from tools.venuesim.exchange.position_stops import PositionStops
from tools.venuesim.exchange.state import EngineSettings, Gate, State, Time
from tools.venuesim.exchange.triggers import Triggers

FUNDING_RECORDS = 100


class MatchingEngine:
    """Implements ``interface.Exchange``. ``tick`` must be called at the market's pace, ``pay_funding`` hourly."""

    def __init__(self, instruments: Sequence[Instrument], settings: EngineSettings, time: Time) -> None:
        self._state = State(instruments, settings, time)
        admission = Admission(self._state)
        self._matcher = Matcher(self._state, admission)
        self._triggers = Triggers(self._state, self._matcher)
        self._stops = PositionStops(self._state, self._triggers)
        self._liquidator = Liquidator(self._state, self._matcher)
        admission.attach = Attachments(self._state, self._triggers, self._stops)
        self._matcher.on_ended = self._triggers.child_ended
        self._matcher.on_position_change = self._triggers.position_changed
        self._watched: Counter[str] = Counter()
        self.operator = Operator(self._state, self._matcher)
        self.permissions = frozenset({"read", "trade"})

    def connect(self, listener: Listener, gate: Gate) -> None:
        """Say who hears the events and where faults reach in."""
        self._state.listener = listener
        self._state.gate = gate

    # time

    def tick(self) -> None:
        """Catch up every symbol somebody has an interest in, and check margins."""
        for symbol in self._active():
            self._look(symbol)
        self._liquidator.check()

    def set_price(self, symbol: str, price: Decimal, mark: Decimal | None = None, hold_ms: float = 0) -> None:
        """Move the market; everything it triggers has happened when this returns."""
        market = self._look(symbol)
        market.set_price(price, mark, self._state.time.market_ms(), hold_ms)
        self._moved(symbol, market)
        self._liquidator.check()

    def pay_funding(self, hour_ms: int) -> None:
        self._liquidator.pay_funding(hour_ms)

    def liquidate(self, symbol: str, hold_ms: float = 0) -> None:
        """Take the symbol's positions over whatever their margin; for ``hold_ms`` it takes no orders."""
        for row in self._state.ledger.rows(symbol):
            if row.qty:
                self._liquidator.liquidate(row, hold_ms)

    def deleverage(self, symbol: str, fraction: Decimal) -> None:
        for row in self._state.ledger.rows(symbol):
            if row.qty:
                self._liquidator.deleverage(row, fraction)

    def settle(self, symbol: str) -> None:
        self._liquidator.settle(symbol)

    # orders

    def place(self, request: OrderRequest) -> Order:
        self._look(request.symbol)
        return self._matcher.place(request)

    def check(self, request: OrderRequest) -> None:
        self._look(request.symbol)
        self._matcher.check(request)

    def amend(self, request: AmendRequest) -> Order:
        self._look(request.symbol)
        return self._matcher.amend(request)

    def cancel(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> Order:
        self._look(symbol)
        return self._matcher.cancel(symbol, order_id, client_id)

    def cancel_all(self, symbol: str | None = None) -> Sequence[Order]:
        self._known(symbol)
        return self._matcher.cancel_all(symbol)

    def order(self, symbol: str, *, order_id: int | None = None, client_id: str | None = None) -> Order:
        self._look(symbol)
        return self._state.orders.find(symbol, order_id, client_id)

    def open_orders(self, symbol: str | None = None) -> Sequence[Order]:
        self._known(symbol)
        return self._state.orders.open(symbol)

    def orders(self, symbol: str | None = None) -> Sequence[Order]:
        self._known(symbol)
        return self._state.orders.all(symbol)

    # conditional orders

    def place_conditional(self, request: ConditionalRequest) -> Conditional:
        self._look(request.symbol)
        return self._triggers.place(request)

    def place_pair(self, first: ConditionalRequest, second: ConditionalRequest) -> tuple[Conditional, Conditional]:
        self._look(first.symbol)
        return self._triggers.place_pair(first, second)

    def amend_conditional(self, request: AmendConditional) -> Conditional:
        self._look(request.symbol)
        return self._stops.amend(request)

    def set_position_stop(self, request: PositionStop) -> Conditional:
        self._look(request.symbol)
        return self._stops.set(request)

    def cancel_conditional(
        self, *, conditional_id: int | None = None, client_id: str | None = None, symbol: str | None = None
    ) -> Conditional:
        self._known(symbol)
        return self._triggers.cancel(conditional_id, client_id, symbol)

    def cancel_all_conditionals(self, symbol: str | None = None) -> Sequence[Conditional]:
        self._known(symbol)
        return self._triggers.cancel_all(symbol)

    def conditional(
        self, *, conditional_id: int | None = None, client_id: str | None = None, symbol: str | None = None
    ) -> Conditional:
        return self._state.conditionals.find(conditional_id, client_id, symbol)

    def open_conditionals(self, symbol: str | None = None) -> Sequence[Conditional]:
        self._known(symbol)
        return self._state.conditionals.resting(symbol)

    def conditionals(self, symbol: str | None = None) -> Sequence[Conditional]:
        self._known(symbol)
        return self._state.conditionals.all(symbol)

    # account

    def fills(self, symbol: str | None = None) -> Sequence[Fill]:
        self._known(symbol)
        return [fill for fill in self._state.fills if symbol is None or fill.symbol == symbol]

    def income(self) -> Sequence[Income]:
        return tuple(self._state.ledger.income)

    def assets(self) -> Sequence[str]:
        return self._state.ledger.assets()

    def accepts(self, asset: str) -> bool:
        """Whether the account can hold it."""
        return asset in self._state.ledger.assets() or asset == self._state.policy.fee_coin

    def balance(self, asset: str) -> Balance:
        self._look_at_all()
        return margin.balance(self._state, asset)

    def worth(self, asset: str) -> Decimal:
        return self._state.worth(asset)

    def positions(self) -> Sequence[Position]:
        return self._state.ledger.open()

    def position(self, symbol: str, side: PositionSide) -> Position:
        return self._state.position(symbol, side)

    def position_view(self, symbol: str, side: PositionSide) -> PositionView:
        self._look(symbol)
        return margin.view(self._state, self._state.position(symbol, side))

    def config(self, symbol: str) -> SymbolConfig:
        instrument = self._state.instrument(symbol)
        leverage = self._state.ledger.leverage(symbol, instrument)
        return SymbolConfig(
            symbol=symbol,
            leverage=leverage,
            margin_mode=self._state.ledger.margin_mode(symbol),
            max_notional=instrument.position_cap(leverage),
        )

    @property
    def position_mode(self) -> PositionMode:
        return self._state.ledger.mode

    def set_leverage(self, symbol: str, leverage: int) -> SymbolConfig:
        state = self._state
        instrument = state.instrument(symbol)
        if not 1 <= leverage <= instrument.max_leverage:
            raise Refused(Refusal.LEVERAGE_INVALID, f"1..{instrument.max_leverage}")
        mark = self._look(symbol).mark
        for row in state.ledger.rows(symbol):
            if abs(row.qty) * mark > instrument.position_cap(leverage):
                raise Refused(Refusal.LEVERAGE_TOO_HIGH_FOR_POSITION)
            if row.qty and row.margin_mode is MarginMode.ISOLATED and leverage < row.leverage:
                raise Refused(Refusal.LEVERAGE_REDUCTION_ISOLATED)
        self._check_leverage_margin(symbol, leverage)
        with state.batch():
            state.ledger.set_leverage(symbol, leverage)
            state.emit(LeverageChanged(symbol=symbol, leverage=leverage))
        return self.config(symbol)

    def set_margin_mode(self, symbol: str | None, mode: MarginMode) -> None:
        state = self._state
        self._known(symbol)
        names = tuple(state.instruments) if symbol is None else (symbol,)
        changing = [name for name in names if state.ledger.margin_mode(name) is not mode]
        if not changing:
            raise Refused(Refusal.MODE_UNCHANGED)
        if mode is MarginMode.ISOLATED and state.ledger.multi_assets:
            raise Refused(Refusal.MODE_MULTI_ASSETS)
        if state.orders.open(symbol) or state.conditionals.resting(symbol):
            raise Refused(Refusal.MODE_HAS_ORDERS)
        if any(row.qty for name in changing for row in state.ledger.rows(name)):
            raise Refused(Refusal.MODE_HAS_POSITION)
        with state.batch():
            for name in changing:
                state.ledger.set_margin_mode(name, mode)
                state.emit(MarginModeChanged(symbol=name, mode=mode))

    def set_position_mode(self, mode: PositionMode) -> None:
        state = self._state
        if state.ledger.mode is mode:
            raise Refused(Refusal.MODE_UNCHANGED)
        names = {row.symbol for row in state.orders.open()} | {row.symbol for row in state.conditionals.resting()}
        if any(map(state.follows_mode, names)):
            raise Refused(Refusal.MODE_HAS_ORDERS)
        if any(state.follows_mode(row.symbol) for row in state.ledger.open()):
            raise Refused(Refusal.MODE_HAS_POSITION)
        with state.batch():
            state.ledger.mode = mode
            state.emit(PositionModeChanged(mode=mode))

    @property
    def multi_assets(self) -> bool:
        return self._state.ledger.multi_assets

    def set_multi_assets(self, *, enabled: bool) -> None:
        state = self._state
        if state.ledger.multi_assets is enabled:
            raise Refused(Refusal.MODE_UNCHANGED)
        if state.orders.open():
            raise Refused(Refusal.MODE_HAS_ORDERS)
        if enabled and any(state.ledger.margin_mode(symbol) is MarginMode.ISOLATED for symbol in state.instruments):
            raise Refused(Refusal.MODE_MULTI_ASSETS)
        if any(state.ledger.wallet(asset) < 0 for asset in state.ledger.assets()):
            raise Refused(Refusal.MODE_NEGATIVE_BALANCE)
        if not enabled and any(margin.free(state, asset) < 0 for asset in state.ledger.assets()):
            raise Refused(Refusal.INSUFFICIENT_MARGIN)
        with state.batch():
            state.ledger.multi_assets = enabled
            state.emit(AssetsModeChanged(multi_assets=enabled))

    @property
    def fee_in_coin(self) -> bool:
        return self._state.ledger.fee_in_coin

    def set_fee_in_coin(self, *, enabled: bool) -> None:
        self._state.ledger.fee_in_coin = enabled

    def add_margin(self, symbol: str, side: PositionSide, amount: Decimal) -> None:
        state = self._state
        row = state.position(symbol, side)
        if row.margin_mode is not MarginMode.ISOLATED:
            raise Refused(Refusal.MARGIN_CHANGE_CROSS)
        if not row.qty:
            raise Refused(Refusal.MARGIN_CHANGE_NO_POSITION)
        asset = state.instrument(symbol).settle
        view = self.position_view(symbol, side)
        spare = row.isolated_wallet + min(view.unrealized, Decimal(0)) - view.initial_margin
        if amount > self.balance(asset).available or -amount > spare:
            raise Refused(Refusal.MARGIN_CHANGE_EXCESSIVE)
        with state.batch():
            after = state.ledger.move_margin(row, amount, state.time.now_ms())
            state.emit(
                AccountChanged(
                    reason=AccountReason.MARGIN_TRANSFER,
                    balances=(margin.balance(state, asset),),
                    positions=(after,),
                    symbol=symbol,
                )
            )

    # market

    def instruments(self) -> Sequence[Instrument]:
        return tuple(self._state.instruments.values())

    def instrument(self, symbol: str) -> Instrument:
        return self._state.instrument(symbol)

    def quote(self, symbol: str) -> Quote:
        return self._look(symbol).quote(self._state.time.now_ms())

    def depth(self, symbol: str) -> Depth:
        return self._look(symbol).depth(self._state.time.now_ms())

    def trades(self, symbol: str, limit: int | None = None) -> Sequence[PublicTrade]:
        return self._look(symbol).trades(limit)

    def candles(self, symbol: str, interval_ms: int, limit: int | None = None) -> Sequence[Candle]:
        return self._look(symbol).candles(interval_ms, self._state.time.market_ms(), limit)

    def open_at(self, symbol: str, time_ms: int) -> Decimal:
        return self._look(symbol).open_at(time_ms, self._state.time.market_ms())

    def day_stats(self, symbol: str) -> DayStats:
        return self._look(symbol).day_stats(int(self._state.time.market_ms()))

    def open_interest(self, symbol: str) -> Decimal:
        return self._look(symbol).open_interest()

    def funding(self, symbol: str) -> Funding:
        instrument = self._state.instrument(symbol)
        interval = instrument.funding_hours * HOUR_MS
        now = self._state.time.now_ms()
        return Funding(
            rate=instrument.funding_rate,
            next_ms=now - now % interval + interval,
            interval_hours=instrument.funding_hours,
        )

    def funding_history(self, symbol: str | None = None) -> Sequence[FundingRecord]:
        """The last records, oldest first: what was paid, and before the simulator's life what would have been."""
        now = self._state.time.now_ms()
        records: list[FundingRecord] = []
        for instrument in self._state.instruments.values():
            if symbol is not None and instrument.symbol != symbol:
                continue
            interval = instrument.funding_hours * HOUR_MS
            mark = self._look(instrument.symbol).mark
            newest = now - now % interval
            records += [
                FundingRecord(
                    symbol=instrument.symbol,
                    rate=instrument.funding_rate,
                    mark=mark,
                    time_ms=newest - number * interval,
                )
                for number in range(FUNDING_RECORDS if symbol is not None else 1)
            ]
        rows = {(row.symbol, row.time_ms): row for row in records}
        for row in self._liquidator.funding_paid:
            if (row.symbol, row.time_ms) in rows:
                rows[row.symbol, row.time_ms] = row
        return sorted(rows.values(), key=lambda row: row.time_ms)

    def watch(self, symbol: str) -> None:
        self._look(symbol)
        self._watched[symbol] += 1

    def unwatch(self, symbol: str) -> None:
        self._watched[symbol] -= 1
        if self._watched[symbol] <= 0:
            del self._watched[symbol]

    # inside

    def _check_leverage_margin(self, symbol: str, leverage: int) -> None:
        """What cross positions and orders tie up grows when leverage falls."""
        state = self._state
        settle = state.instrument(symbol).settle
        added = Decimal(0)
        for row in state.ledger.rows(symbol):
            view = margin.view(state, row)
            tied = view.order_margin + (view.initial_margin if row.margin_mode is MarginMode.CROSS else 0)
            added += tied * row.leverage / leverage - tied
        if added > 0 and added > margin.balance(state, settle).available:
            raise Refused(Refusal.LEVERAGE_MARGIN)

    def _active(self) -> list[str]:
        state = self._state
        names = {
            *self._watched,
            *state.orders.symbols(),
            *state.conditionals.symbols(),
            *state.ledger.open_symbols(),
        }
        return sorted(names)

    def _known(self, symbol: str | None) -> None:
        if symbol is not None:
            self._state.instrument(symbol)

    def _look_at_all(self) -> None:
        for symbol in self._active():
            self._look(symbol)

    def _look(self, symbol: str) -> Market:
        """The symbol's market at this moment, whatever its move caused included."""
        market = self._state.market(symbol)
        if market.advance(self._state.time.market_ms()):
            self._moved(symbol, market)
        return market

    def _moved(self, symbol: str, market: Market) -> None:
        if symbol in self._watched:
            with self._state.batch():
                quote = market.quote(self._state.time.now_ms())
                self._state.emit(MarketTick(quote=quote, trade=market.last_trade()))
        self._triggers.check(symbol)
        self._matcher.match_resting(symbol)
