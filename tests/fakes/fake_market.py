"""Live prices a test sets; fresh unless it says otherwise."""

import asyncio
from collections.abc import Sequence

from core.domain.ids import Symbol
from core.engine.ports import Quote
from tests.builders import Number, a_quote


class FakeMarket:
    """`default` is every symbol's mark; None = no price at all."""

    def __init__(self, default: Number | None = 100) -> None:
        self.default = default
        self.marks: dict[Symbol, Number | None] = {}
        self.age = 0.0

    unasked = True

    def quote(self, symbol: Symbol) -> Quote | None:
        mark = self.marks.get(symbol, self.default)
        if mark is None:
            return None
        return a_quote(mark, bid=mark, ask=mark, received=asyncio.get_running_loop().time() - self.age)

    def want(self, symbols: Sequence[Symbol]) -> None: ...

    def drop(self, symbols: Sequence[Symbol]) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()
