"""Live prices as a test wants them, all live at once."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from core.domain.ids import Symbol
from core.engine.ports import Quote
from tests.builders import Number, a_quote
from tests.fakes.virtual_loop import VirtualClock


class FakeMarket:
    """`default` is every symbol's mark; None = no price at all. `ages` (and `age` for the rest) in virtual seconds;
    `lasts` are trades, `touches` (bid, ask) where they differ from the mark."""

    def __init__(self, default: Number | None = 100) -> None:
        self.default = default
        self.marks: dict[Symbol, Number | None] = {}
        self.lasts: dict[Symbol, Number] = {}
        self.touches: dict[Symbol, tuple[Number, Number] | None] = {}
        self.age = 0.0
        self.received: dict[Symbol, float] = {}
        """When a symbol was last told, for those that are not live at any time."""
        self.refreshed: list[Symbol] = []
        self._wanted: dict[Symbol, bool] = {}
        self._listeners: list[Callable[[Symbol], None]] = []

    unasked = True

    @property
    def wanted(self) -> Collection[Symbol]:
        return self._wanted.keys()

    def quote(self, symbol: Symbol) -> Quote | None:
        mark = self.marks.get(symbol, self.default)
        if mark is None:
            return None
        received = self.received.get(symbol, asyncio.get_running_loop().time() - self.age)
        bid, ask = self.touches.get(symbol, (mark, mark)) or (None, None)
        told = a_quote(mark, bid=bid, ask=ask, received=received, last=self.lasts.get(symbol))
        return replace(
            told, venue_time_ms=round(VirtualClock().now_ms() - (VirtualClock().monotonic() - received) * 1000)
        )

    def want(self, symbols: Sequence[Symbol]) -> None:
        self._wanted.update(dict.fromkeys(symbols, True))

    def hold(self, symbols: Sequence[Symbol]) -> None:
        for symbol in symbols:
            self._wanted.setdefault(symbol, False)

    def release(self, symbols: Sequence[Symbol]) -> None:
        self.drop([symbol for symbol in symbols if self._wanted.get(symbol) is False])

    def drop(self, symbols: Sequence[Symbol]) -> None:
        for symbol in symbols:
            self._wanted.pop(symbol, None)

    def on_tick(self, listener: Callable[[Symbol], None]) -> None:
        self._listeners.append(listener)

    def refresh(self, symbols: Sequence[Symbol]) -> None:
        self.refreshed += symbols

    def tick(self, symbol: Symbol, mark: Number) -> None:
        """A price comes now, and ages from now on."""
        self.marks[symbol] = mark
        self.received[symbol] = asyncio.get_running_loop().time()
        for listener in self._listeners:
            listener(symbol)

    async def run(self) -> None:
        await asyncio.Event().wait()
