"""The same wave with ccxt as it comes: its asynchronous classes, their default limiters, only the base URLs changed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec import Struct

from tools.bench.effort import Effort
from tools.bench.processes import Simulator, simulators
from tools.bench.venues import VenueFacts

STOP_DISTANCE = 0.98
NOTIONAL = 500.0
"""Plain numbers, because ccxt's are."""


class Theirs(Struct, frozen=True, kw_only=True):
    """A client with its markets loaded, its USDT swaps, and their last prices."""

    facts: VenueFacts
    client: Any
    symbols: Sequence[str]
    price: Mapping[str, float]

    async def trade(self, symbol: str) -> None:
        """A market entry that brings its stop; where the venue has no such thing, the stop when it was answered."""
        price, amount = self.price[symbol], self.amount(symbol)
        if self.facts.attaches:
            attached = {"stopLoss": {"triggerPrice": price * STOP_DISTANCE}}
            await self.client.create_order(symbol, "market", "buy", amount, None, attached)
            return
        await self.client.create_order(symbol, "market", "buy", amount)
        await self.stop(symbol, amount)

    async def stop(self, symbol: str, amount: float, client_id: str | None = None) -> None:
        params: dict[str, Any] = {"stopLossPrice": self.price[symbol] * STOP_DISTANCE, "reduceOnly": True}
        params |= {} if client_id is None else {"clientOrderId": client_id}
        await self.client.create_order(symbol, "market", "sell", amount, None, params)

    def amount(self, symbol: str) -> float:
        """In the client's unit, which is the contract where the venue counts them."""
        one = self.client.market(symbol)["contractSize"] or 1
        return float(self.client.amount_to_precision(symbol, NOTIONAL / self.price[symbol] / one))


async def ccxt_waves(effort: Effort, venues: Sequence[VenueFacts], size: int) -> list[float]:
    """Milliseconds from the first call to the last acknowledged stop, one per wave; markets loaded before. Signals are
    dealt to the venues in turn. None at all when nobody is compared."""
    if not effort.compared:
        return []
    async with AsyncExitStack() as stack:
        enough = max(40, size * effort.ccxt_waves * 2)
        up = await stack.enter_async_context(simulators(venues, latency_ms=effort.latency_ms, symbols=enough))
        clients = [await stack.enter_async_context(ccxt_as_it_comes(venue)) for venue in up]
        turns = itertools.cycle([(one, iter(one.symbols)) for one in clients])
        lasted = []
        for _ in range(effort.ccxt_waves):
            await asyncio.sleep(1.0)  # its limiter is idle between waves, as it would be
            chosen = [(one, next(symbols)) for one, symbols in itertools.islice(turns, size)]
            started = time.monotonic()
            await asyncio.gather(*(one.trade(symbol) for one, symbol in chosen))
            lasted.append((time.monotonic() - started) * 1000)
        return lasted


@asynccontextmanager
async def ccxt_as_it_comes(venue: Simulator, options: Mapping[str, Any] | None = None) -> AsyncIterator[Theirs]:
    """Its markets loaded."""
    import ccxt.async_support  # imports every exchange; only where it is compared

    client = made(ccxt.async_support, venue, options)
    try:
        markets = await client.load_markets()
        symbols = [s for s, m in markets.items() if m["swap"] and m["active"] and m["settle"] == "USDT"]
        tickers = await client.fetch_tickers(symbols)
        price = {symbol: tickers[symbol]["last"] for symbol in symbols}
        yield Theirs(facts=venue.facts, client=client, symbols=symbols, price=price)
    finally:
        await client.close()


def made(module: Any, venue: Simulator, options: Mapping[str, Any] | None = None) -> Any:
    """The venue's class of `module` (ccxt.async_support or ccxt.pro), pointed at the simulator."""
    facts = venue.facts
    config = {"apiKey": "sim", "secret": "sim", **facts.ccxt_options, **(options or {})}
    client = getattr(module, facts.ccxt)(config)
    client.urls["api"] = _pointed(client.urls["api"], venue.url)
    return client


def _pointed(urls: Any, root: str) -> Any:
    """`urls` with scheme and host of every base URL replaced, and nothing else."""
    if isinstance(urls, dict):
        return {name: _pointed(url, root) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    scheme, _, rest = urls.partition("://")
    path = rest.partition("/")[2]
    own = root.replace("http", "ws", 1) if scheme.startswith("ws") else root
    return f"{own}/{path}" if path else own
