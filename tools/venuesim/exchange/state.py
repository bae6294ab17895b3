"""What the parts of the engine share: markets, stores, the ledger, time, and the batch of events being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from tools.venuesim.exchange.events import Event, Listener
from tools.venuesim.exchange.ledger import FeeCoin, Ledger
from tools.venuesim.exchange.market import Market, MarketSettings
from tools.venuesim.exchange.model import (
    CLOSING,
    ZERO,
    ClientIdScope,
    Conditional,
    ConditionalRequest,
    Fill,
    Instrument,
    Order,
    OrderRequest,
    Policy,
    Position,
    PositionMode,
    PositionSide,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.exchange.path import Bar
from tools.venuesim.exchange.stores import ConditionalStore, OrderStore


class Timer(Protocol):
    def cancel(self) -> None: ...


class Time(Protocol):
    """Where the engine's time comes from."""

    def now_ms(self) -> int:
        """The venue's clock, for stamps."""
        ...

    def market_ms(self) -> float:
        """Undisturbed time, for the price path."""
        ...

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> Timer: ...


class FillPlan(Struct, frozen=True, kw_only=True):
    """How a fault wants an order to be filled."""

    fraction: Decimal
    """The part of the order's quantity filled at a time, rounded down to the step but never to nothing."""
    again_ms: float | None
    """When the next part follows; None = no more, the rest expires or rests unfilled."""


class Gate(Protocol):
    """Where faults reach into the engine. The first three raise ``Refused(INJECTED)``."""

    def order(self, request: OrderRequest) -> None: ...

    def conditional(self, request: ConditionalRequest) -> None: ...

    def trigger(self, row: Conditional) -> None: ...

    def fill_plan(self, order: Order) -> FillPlan | None: ...


class OpenGate:
    """No faults."""

    def order(self, request: OrderRequest) -> None: ...

    def conditional(self, request: ConditionalRequest) -> None: ...

    def trigger(self, row: Conditional) -> None: ...

    def fill_plan(self, order: Order) -> FillPlan | None:  # noqa: ARG002 - the port's signature
        return None


class Replay(Struct, frozen=True, kw_only=True):
    """A price file for one symbol."""

    bars: Sequence[Bar]
    bar_seconds: float


class EngineSettings(Struct, frozen=True, kw_only=True):
    policy: Policy
    market: MarketSettings
    balances: Mapping[str, Decimal]
    position_mode: PositionMode = PositionMode.ONE_WAY
    replays: Mapping[str, Replay] | None = None
    markets: Mapping[str, Market] | None = None
    """Ready-made ones by symbol, instead of those that are made on first use."""


class State:
    """See the module. Only the engine's own parts touch it."""

    def __init__(self, instruments: Sequence[Instrument], settings: EngineSettings, time: Time) -> None:
        self.policy = settings.policy
        self.time = time
        self.gate: Gate = OpenGate()
        self.listener: Listener = _nobody
        self.instruments: dict[str, Instrument] = {row.symbol: row for row in instruments}
        self.orders = OrderStore(settings.policy.first_order_id)
        self.conditionals = ConditionalStore(settings.policy.first_conditional_id)
        self.ledger = Ledger(dict(settings.balances), settings.position_mode, time.now_ms())
        self.fills: list[Fill] = []
        self.liquidating: set[str] = set()
        self.replays = dict(settings.replays or {})
        self._market_settings = settings.market
        self._markets: dict[str, Market] = dict(settings.markets or {})
        self._next_trade_id = settings.policy.first_trade_id
        self._batch: list[Event] = []
        self._depth = 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Everything emitted inside goes to the listener as one tuple, when the outermost batch ends."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._batch:
                events, self._batch = tuple(self._batch), []
                self.listener(events)

    def emit(self, event: Event) -> None:
        self._batch.append(event)

    def instrument(self, symbol: str) -> Instrument:
        instrument = self.instruments.get(symbol)
        if instrument is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, symbol)
        return instrument

    def market(self, symbol: str) -> Market:
        """The symbol's market, made on first use. It has not caught up with the time."""
        market = self._markets.get(symbol)
        if market is None:
            instrument = self.instrument(symbol)
            replay = self.replays.get(symbol)
            market = Market(
                instrument,
                self._market_settings,
                replay.bars if replay else (),
                replay.bar_seconds if replay else 60.0,
            )
            self._markets[symbol] = market
        return market

    def replace_instrument(self, instrument: Instrument) -> None:
        self.instruments[instrument.symbol] = instrument
        if instrument.symbol in self._markets:
            self._markets[instrument.symbol].regrid(instrument)

    def next_trade_id(self) -> int:
        self._next_trade_id += 1
        return self._next_trade_id - 1

    def settle_assets(self) -> set[str]:
        """Those of the symbols with positions or orders."""
        names = {*self.ledger.open_symbols(), *self.orders.symbols()}
        return {self.instruments[name].settle for name in names}

    def worth(self, asset: str) -> Decimal:
        """USD for one unit: one, but for the fee coin."""
        if asset != self.policy.fee_coin:
            return Decimal(1)
        known = self.policy.fee_coin_market in self.instruments
        return self.mark(self.policy.fee_coin_market) if known else self.policy.fee_coin_price

    def fee_coin(self) -> FeeCoin | None:
        """What pays the fees instead of the settle asset; None unless the account asked for it."""
        policy = self.policy
        if policy.fee_coin is None or not self.ledger.fee_in_coin:
            return None
        return FeeCoin(asset=policy.fee_coin, price=self.worth(policy.fee_coin), discount=policy.fee_coin_discount)

    def client_id_taken(self, symbol: str, client_id: str, *, conditional: bool) -> bool:
        """Whether a new order (or conditional order) may not carry it; ``Policy.client_id_scope`` says among what."""
        scope, for_ever = self.policy.client_id_scope, self.policy.client_ids_unique_forever
        order = self.orders.by_client_id(symbol if scope is ClientIdScope.SYMBOL else None, client_id)
        row = self.conditionals.by_client_id(client_id)
        by_order = order is not None and (order.status.is_open or for_ever)
        by_row = row is not None and (row.status.is_resting or for_ever)
        if scope is ClientIdScope.EVERYTHING:
            return by_order or by_row
        if not conditional:
            return by_order
        # The child of a triggered one may carry the id on.
        carried = scope is ClientIdScope.SYMBOL and order is not None and order.status.is_open
        return by_row or carried

    def made_up_name(self, number: int) -> str:
        """The client id of an order that was given none."""
        return f"sim{number}" if self.policy.names_orders else ""

    def mode(self, symbol: str) -> PositionMode:
        """The account's position mode, except for symbols that know only one."""
        return self.ledger.mode if self.follows_mode(symbol) else PositionMode.ONE_WAY

    def follows_mode(self, symbol: str) -> bool:
        """Whether the account's position mode is this symbol's."""
        return self.instrument(symbol).settle not in self.policy.one_way_assets

    def mark(self, symbol: str) -> Decimal:
        return self.market(symbol).mark

    def position(self, symbol: str, side: PositionSide) -> Position:
        return self.ledger.position(self.instrument(symbol), side)

    def closable(self, symbol: str, side: Side, position_side: PositionSide) -> Decimal:
        """How much an order of this side could close."""
        qty = self.position(symbol, position_side).qty
        return abs(qty) if qty * side.sign < 0 else ZERO


def closes_only(side: Side, position_side: PositionSide, *, reduce_only: bool) -> bool:
    """Whether an order may only reduce: by its mark, or by its position side in hedge mode."""
    return reduce_only or (position_side, side) in CLOSING


def _nobody(events: tuple[Event, ...]) -> None:
    """No listener yet."""
