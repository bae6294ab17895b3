"""The same wave with ccxt as it comes: its asynchronous class, its default limiter, only the base URLs changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.effort import Effort
from tools.bench.processes import Simulator, simulator

STOP_DISTANCE = 0.98
NOTIONAL = 500.0
"""Plain numbers, because ccxt's are."""


async def ccxt_waves(effort: Effort, size: int) -> list[float]:
    """Milliseconds from the first call to the last acknowledged stop, one per wave; markets loaded before."""
    async with (
        simulator(latency_ms=effort.latency_ms, symbols=max(40, size * effort.ccxt_waves)) as venue,
        ccxt_as_it_comes(venue) as (client, symbols, price),
    ):
        lasted = []
        for wave in range(effort.ccxt_waves):
            await asyncio.sleep(1.0)  # its limiter is idle between waves, as it would be
            chosen = symbols[wave * size : (wave + 1) * size]
            started = time.monotonic()
            await asyncio.gather(*(trade(client, symbol, price[symbol]) for symbol in chosen))
            lasted.append((time.monotonic() - started) * 1000)
        return lasted


@asynccontextmanager
async def ccxt_as_it_comes(
    venue: Simulator, options: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Any, list[str], dict[str, float]]]:
    """A client with its markets loaded, its USDT swaps, and their last prices."""
    client = point(_client_class()({"apiKey": "sim", "secret": "sim", **(options or {})}), venue)
    try:
        markets = await client.load_markets()
        symbols = [s for s, m in markets.items() if m["swap"] and m["active"] and m["settle"] == "USDT"]
        tickers = await client.fetch_tickers()
        yield client, symbols, {symbol: tickers[symbol]["last"] for symbol in symbols}
    finally:
        await client.close()


async def trade(client: Any, symbol: str, price: float) -> None:
    """A market entry, and its stop when that was answered."""
    amount = float(client.amount_to_precision(symbol, NOTIONAL / price))
    await client.create_order(symbol, "market", "buy", amount)
    stop = {"stopLossPrice": price * STOP_DISTANCE, "reduceOnly": True}
    await client.create_order(symbol, "market", "sell", amount, None, stop)


def point(client: Any, venue: Simulator) -> Any:
    """`client` with scheme and host of every base URL replaced, and nothing else."""
    for name, url in client.urls["api"].items():
        if isinstance(url, str):
            client.urls["api"][name] = f"{venue.url}/{url.split('/', 3)[3]}"
    return client


def _client_class() -> Any:
    import ccxt.async_support  # imports every exchange; only where it is compared

    return ccxt.async_support.binanceusdm
