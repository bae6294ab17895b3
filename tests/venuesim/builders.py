"""Exchange objects with every field defaulted, and an engine under a clock the test moves."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from tools.venuesim.exchange.engine import MatchingEngine
from tools.venuesim.exchange.events import Event
from tools.venuesim.exchange.market import MarketSettings
from tools.venuesim.exchange.model import (
    Bracket,
    Conditional,
    ConditionalRequest,
    ConditionalType,
    Instrument,
    Order,
    OrderRequest,
    OrderType,
    Policy,
    PositionMode,
    Reference,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.exchange.state import EngineSettings, OpenGate
from tools.venuesim.timers import Timed, Timers

START_MS = 1_700_000_000_000
BTC = "BTCUSDT"
ETH = "ETHUSDT"


def d(value: object) -> Decimal:
    return Decimal(str(value))


def an_instrument(symbol: str = BTC, **changes: Any) -> Instrument:
    return replace(
        Instrument(
            symbol=symbol,
            base=symbol.removesuffix("USDT").removesuffix("USDC"),
            quote=symbol[-4:],
            settle=symbol[-4:],
            tick=d("0.1"),
            min_price=d(1),
            max_price=d(1_000_000),
            step=d("0.001"),
            min_qty=d("0.001"),
            max_qty=d(1000),
            market_step=d("0.001"),
            market_min_qty=d("0.001"),
            market_max_qty=d(100),
            min_notional=d(5),
            band_up=d("1.05"),
            band_down=d("0.95"),
            brackets=(
                Bracket(leverage=100, floor=d(0), cap=d(50_000), rate=d("0.005"), cum=d(0)),
                Bracket(leverage=20, floor=d(50_000), cap=d(1_000_000), rate=d("0.01"), cum=d(250)),
            ),
            reference=d(1000),
        ),
        **changes,
    )


class ManualTime:
    """The engine's time; nothing happens until the test says so."""

    def __init__(self) -> None:
        self.now = float(START_MS)
        self.timers = Timers()

    def now_ms(self) -> int:
        return int(self.now)

    def market_ms(self) -> float:
        return self.now

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> Timed:
        return self.timers.add(self.now + delay_ms, action)

    def pass_ms(self, delta: float) -> None:
        target = self.now + delta
        while (timed := self.timers.pop_due(target)) is not None:
            self.now = timed.due_ms
            timed.action()
        self.now = target


class Desk:
    """An engine, its clock and everything it ever told."""

    def __init__(self, *instruments: Instrument, policy: Policy | None = None, **settings: Any) -> None:
        self.time = ManualTime()
        self.batches: list[tuple[Event, ...]] = []
        mode = settings.pop("mode", PositionMode.ONE_WAY)
        self.engine = MatchingEngine(
            instruments or (an_instrument(BTC), an_instrument(ETH)),
            EngineSettings(
                policy=policy or Policy(),
                market=MarketSettings(seed=settings.pop("seed", 1), start_ms=START_MS),
                balances={"USDT": d(settings.pop("balance", 10_000)), "USDC": d(0)},
                position_mode=mode,
            ),
            self.time,
        )
        self.engine.connect(self.batches.append, OpenGate())

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def forget(self) -> None:
        self.batches.clear()

    def price(self, value: object, mark: object = None, symbol: str = BTC) -> None:
        """Put the market here and keep it."""
        self.engine.set_price(symbol, d(value), None if mark is None else d(mark), hold_ms=1e12)

    def buy(self, qty: object = "0.1", **changes: Any) -> Order:
        return self.engine.place(an_order(Side.BUY, qty, **changes))

    def sell(self, qty: object = "0.1", **changes: Any) -> Order:
        return self.engine.place(an_order(Side.SELL, qty, **changes))

    def stop(self, trigger: object = 900, qty: object = "0.1", **changes: Any) -> Conditional:
        return self.engine.place_conditional(a_stop(trigger, qty, **changes))

    def tick(self, delta_ms: float = 500) -> None:
        self.time.pass_ms(delta_ms)
        self.engine.tick()


def an_order(side: Side = Side.BUY, qty: object = "0.1", **changes: Any) -> OrderRequest:
    price = changes.pop("price", None)
    return replace(
        OrderRequest(
            symbol=BTC,
            side=side,
            type=OrderType.MARKET if price is None else OrderType.LIMIT,
            qty=d(qty),
            price=None if price is None else d(price),
        ),
        **changes,
    )


def a_stop(trigger: object = 900, qty: object = "0.1", **changes: Any) -> ConditionalRequest:
    return replace(
        ConditionalRequest(
            symbol=BTC,
            side=Side.SELL,
            type=ConditionalType.STOP,
            qty=None if qty is None else d(qty),
            trigger_price=None if trigger is None else d(trigger),
            reference=Reference.MARK,
            reduce_only=qty is not None and "position_side" not in changes,
        ),
        **changes,
    )


def refusal(action: Callable[..., object], *args: Any, **kwargs: Any) -> Refusal:
    """Why the exchange refuses this."""
    with pytest.raises(Refused) as caught:
        action(*args, **kwargs)
    return caught.value.reason
