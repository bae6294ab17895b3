"""TRAILING_MODE=native: the venue trails and closes, the fixed stop never misses, nothing is left on the book."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.worlds import SimulatedWorld, World, a_signal
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs storage inline")

NAMES = {
    "binance": ("BTCUSDT", "ETHUSDT"),
    "bybit": ("BTCUSDT", "ETHUSDT"),
    "okx": ("BTC-USDT-SWAP", "ETH-USDT-SWAP"),
}
NATIVE: dict[str, Any] = {
    "TRAILING_MODE": "native",
    "TRAILING_ACTIVATION_PERCENT": "1.5",
    "TRAILING_CALLBACK_PERCENT": "0.5",
}
VENUES = pytest.mark.parametrize("venue", list(NAMES))
MODES = pytest.mark.parametrize("mode", list(PositionMode), ids=str)


async def orders(world: World, symbol: str) -> list[dict[str, Any]]:
    return [row for row in (await world.ask("state"))["orders"] if row["symbol"] == symbol]


async def kinds(world: World, symbol: str) -> list[str]:
    rows = await orders(world, symbol)
    assert all(row["reduce_only"] for row in rows)
    return sorted(row["type"] for row in rows)


async def moved(world: World, symbol: str, start: Decimal, percent: str) -> None:
    level = (start * (100 + Decimal(percent)) / 100).quantize(Decimal("0.1"))
    await world.tell("price", symbol=symbol, price=str(level))


def entered(world: SimulatedWorld, symbol: str) -> Decimal:
    return max((p.entry for p in world.venue.simulation.engine.positions() if p.symbol == symbol and p.qty), key=abs)


@VENUES
@MODES
async def test_the_venue_trails_a_position_in_profit_and_closes_it(
    tmp_path: Path, venue: str, mode: PositionMode
) -> None:
    """Over a crash while it trails. The other position's stop fires, and takes its trailing order with it."""
    btc, eth = NAMES[venue]
    signals = [
        a_signal("BTCUSDT", exchange=venue),
        a_signal("ETHUSDT", direction="SHORT", score=70, exchange=venue),
    ]
    async with SimulatedWorld(tmp_path, (venue,), position_mode=mode, latency_ms=40) as world:
        await world.play({"at_ms": 4_000, "signals": signals})
        daemon = world.daemon(**NATIVE)
        daemon.begin()
        await daemon.ready()
        await daemon.wave()
        await asyncio.sleep(3)
        assert await kinds(world, btc) == await kinds(world, eth) == ["stop", "trailing"]
        before = await world.longest_naked_ms()
        bought, sold = entered(world, btc), entered(world, eth)
        await moved(world, btc, bought, "2")
        await asyncio.sleep(1)
        await moved(world, btc, bought, "3")
        await asyncio.sleep(1)
        assert await kinds(world, btc) == ["stop", "trailing"]
        left = await daemon.kill()
        async with world.running(left, **NATIVE) as later:
            await asyncio.sleep(20)
            assert await kinds(world, btc) == await kinds(world, eth) == ["stop", "trailing"], (
                "found again, not doubled"
            )
            await moved(world, eth, sold, "3")
            await world.until(lambda: _closed(world, eth))
            await moved(world, btc, bought, "2.3")
            await world.until(lambda: _closed(world, btc))
            await asyncio.sleep(15)
            assert not later.held()
            assert (await world.ask("state"))["orders"] == []
            assert await world.longest_naked_ms() == before, "only until the first stop was confirmed, if at all"
            fills = [row for row in (await world.ask("state?all=1"))["fills"] if row["symbol"] == btc]
            prices = [Decimal(row["price"]) for row in fills]
            assert max(prices) > bought * Decimal("1.02"), "closed by what trailed it, far above its stop"
            posts = [row for row in await world.sent("order", "stop") if row["method"] == "POST"]
            names = [name for row in posts for name in row["client_ids"]]
            assert len(names) == len(set(names)), "nothing was sent twice"


async def _closed(world: World, symbol: str) -> bool:
    return symbol not in await world.held()


@VENUES
async def test_what_belonged_to_positions_closed_at_the_stop_of_the_daemon_is_gone(tmp_path: Path, venue: str) -> None:
    async with SimulatedWorld(tmp_path, (venue,), latency_ms=40) as world:
        await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT", exchange=venue)]})
        async with world.running(**NATIVE, CLOSE_POSITIONS_ON_SHUTDOWN="true") as daemon:
            await daemon.wave()
            await asyncio.sleep(3)
            assert await kinds(world, NAMES[venue][0]) == ["stop", "trailing"]
        state = await world.ask("state")
        assert (state["positions"], state["orders"]) == ([], [])
