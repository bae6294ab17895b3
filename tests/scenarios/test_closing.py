"""The owner's close beside the daemon: there is one close path, whoever asks and however many at once (TEL-08)."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.config import PROJECT_ROOT
from core.storage.history import reading
from core.wiring.accounts import account_keys
from tests.scenarios.test_operating import _program
from tests.scenarios.worlds import World, a_wave
from tools import close_position
from tools.daemon_link import daemon as daemon_of

pytestmark = [
    pytest.mark.may_block(reason="a loopback daemon loads its settings and writes its files in this process"),
    pytest.mark.asyncio(loop_factories=["loopback"]),
]


_HOLD = """
import sys, time
from pathlib import Path
from core.storage.instance_lock import instance_locks
with instance_locks(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    time.sleep(60)
"""


def _close(data: Path, symbol: str) -> Any:
    with daemon_of(data, 30.0) as link:
        return link.ask("close", symbol=symbol, venue=None, author="test")


async def _closing_orders(world: World) -> list[dict[str, Any]]:
    orders = (await world.ask("state?all=1"))["orders"]
    return [o for o in orders if o["reduce_only"] and o["type"] == "market" and Decimal(o["filled"]) > 0]


@pytest.mark.failure("TEL-08")
async def test_tool_and_daemon_closing_together_end_flat_with_one_booking(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("latency", match={"method": "POST", "path": "/fapi/v1/order"}, delay_ms=300, count=-1)
        asked = [asyncio.to_thread(_close, daemon.data_dir, "BTCUSDT") for _ in range(2)]
        (program, *answers) = await asyncio.gather(
            _program(world, daemon.data_dir, "close_position.py", "BTC", "--yes", "--json"), *asked
        )
        assert program[0] == close_position.FLAT, program
        assert all(row["flat"] for rows in answers for row in rows)
        await world.until(lambda: _no_orders(world))
        assert await world.held() == {}
        (close,) = await _closing_orders(world)
        wallet = Decimal((await world.ask("state"))["balances"]["USDT"]["wallet"])
    with reading(daemon.data_dir / "journal.db") as history:
        assert history.open_positions() == []
        booked = [tuple(row) for row in history._read("SELECT realized, fees, exit_quantity FROM positions")]
    ((realized, fees, quantity),) = booked
    assert Decimal(quantity) == Decimal(close["filled"]), "booked once"
    assert wallet == Decimal(10_000) + Decimal(realized) - Decimal(fees)


async def _no_orders(world: World) -> bool:
    return not (await world.ask("state"))["orders"]


@pytest.mark.failure("TEL-08")
async def test_without_the_lock_and_without_a_daemon_to_ask_nothing_is_closed(world: World) -> None:
    await world.play(a_wave(["BTCUSDT"], at_ms=500))
    async with world.running() as daemon:
        await daemon.wave()
    data = daemon.data_dir
    settings = world.settings(data)
    sent = await world.sent("order", "cancel")
    environment = {"HOME": str(data.parent)}
    command = ["-c", _HOLD, str(data), *account_keys(settings)]
    holder = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=PROJECT_ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        status, _, err = await _program(world, data, "close_position.py", "BTCUSDT", "--yes")
        assert status != close_position.FLAT
        assert "another Breakwater" in err
        assert await world.sent("order", "cancel") == sent
    finally:
        holder.kill()
        await holder.wait()
    status, _, _ = await _program(world, data, "close_position.py", "BTCUSDT", "--yes")
    assert status == close_position.FLAT
    assert await world.held() == {}
    assert (await world.ask("state"))["orders"] == []
