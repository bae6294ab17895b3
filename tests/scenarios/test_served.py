"""What the daemon serves on its ports, in the whole daemon against the simulator: the status page and the webhook."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from core.domain.verdict import Reason
from core.engine.commands import Commands
from core.listener import Answerer, HttpAnswer, HttpRequest, ListenerAddress
from core.status.control import ControlServer
from core.status.health import HealthLimits, judge
from core.wiring import serving
from tests.scenarios.worlds import World, a_wave

pytestmark = pytest.mark.may_block(reason="storage is inline")

TOKEN = "correct-horse-battery"
SERVED: dict[str, Any] = {"STATUS_PORT": 0, "WEBHOOK_PORT": 0, "WEBHOOK_TOKEN": TOKEN}


class Ports:
    """What listens, by name; asked without a socket."""

    def __init__(self) -> None:
        self.answerers: dict[str, Answerer] = {}
        self.addresses: dict[str, ListenerAddress] = {}

    def listener(self, name: str, address: ListenerAddress, answer: Answerer, **_: object) -> "_Listening":
        return _Listening(self, name, address, answer)

    def get(self, path: str, **headers: str) -> HttpAnswer:
        request = HttpRequest(method="GET", path=path, headers={"host": "127.0.0.1", **headers})
        return self.answerers["status page"](request)

    def post(self, body: Any, token: str = TOKEN) -> tuple[int, Any]:
        headers = {"x-breakwater-token": token}
        request = HttpRequest(method="POST", path="/signals", headers=headers, body=json.dumps(body).encode())
        answer = self.answerers["webhook"](request)
        return answer.status, json.loads(answer.body)

    def figure(self, name: str) -> float:
        """One sample of /metrics."""
        lines = b"".join(self.get("/metrics").parts).decode().splitlines()
        (line,) = (line for line in lines if line.startswith(f"breakwater_{name} "))
        return float(line.split()[-1])


class _Listening:
    refused_connections = 0

    def __init__(self, ports: Ports, name: str, address: ListenerAddress, answer: Answerer) -> None:
        self._ports, self._name, self._address, self._answer = ports, name, address, answer

    async def run(self) -> None:
        self._ports.answerers[self._name], self._ports.addresses[self._name] = self._answer, self._address
        try:
            await asyncio.Event().wait()
        finally:
            del self._ports.answerers[self._name]


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    made = Ports()
    monkeypatch.setattr(serving, "HttpListener", made.listener)
    return made


def an_alert(world: World, ticker: str = "BINANCE:BTCUSDT.P", action: str = "buy", **fields: Any) -> dict[str, Any]:
    """As TradingView sends it, of this moment."""
    now = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC)
    return {"ticker": ticker, "action": action, "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"), **fields}


async def test_an_alert_of_tradingview_becomes_a_protected_position(world: World, ports: Ports) -> None:
    async with world.running(**SERVED) as daemon:
        await asyncio.sleep(4.0)
        status, told = ports.post(an_alert(world))
        report = await daemon.wave()
        assert (status, told["accepted"]) == (202, [report.legs[0].signal.id])
        assert report.source == "webhook"
        await world.until(lambda: _all_covered(daemon))
        assert set(await world.held()) == {"BTCUSDT"}
        assert (await world.held())["BTCUSDT"] > 0
        await world.everything_holds()


async def test_alerts_that_come_together_are_one_wave_and_a_repeated_one_opens_nothing(
    world: World, ports: Ports
) -> None:
    async with world.running(**SERVED) as daemon:
        await asyncio.sleep(4.0)
        first, second = an_alert(world, score=80), an_alert(world, "ETHUSDT.P", "sell", score=90)
        assert [ports.post(alert)[0] for alert in (first, second, first)] == [202, 202, 200]
        report = await daemon.wave()
        assert [leg.instrument.symbol.partition("/")[0] for leg in report.legs] == ["BTC", "ETH"]
        await world.until(lambda: _all_covered(daemon))
        held = await world.held()
        assert (held["BTCUSDT"] > 0, held["ETHUSDT"] < 0) == (True, True)
        assert await _positions_of(await daemon.kill(), world, ports, first, second) == held
        await world.everything_holds()


async def _positions_of(data: Any, world: World, ports: Ports, *alerts: Any) -> dict[str, Decimal]:
    """After the same alerts came once more, to the daemon that was started after a kill."""
    async with world.running(data, **SERVED):
        await asyncio.sleep(4.0)
        assert [ports.post(alert)[0] for alert in alerts] == [200, 200]
        await asyncio.sleep(2.0)
        return await world.held()


async def test_an_alert_that_cannot_be_used_is_refused_with_its_reason_and_told_of_afterwards(
    world: World, ports: Ports
) -> None:
    async with world.running(**SERVED) as daemon:
        await asyncio.sleep(4.0)
        status, told = ports.post(an_alert(world, "BINANCE:NOSUCHCOIN.P"))
        assert (status, told["refused"][0]["code"]) == (400, Reason.SYMBOL_UNKNOWN)
        report = await daemon.wave()
        assert [unusable.code for unusable in report.unusable] == [Reason.SYMBOL_UNKNOWN]
        assert ports.post(an_alert(world), token="wrong")[0] == 401
        assert daemon.status.refusals == {Reason.SYMBOL_UNKNOWN.value: 1}
        assert not await world.sent("order")


@pytest.mark.failure("SEC-08")
async def test_ports_are_of_this_host_alone_unless_set_otherwise_and_then_ask_for_the_token(
    world: World, ports: Ports
) -> None:
    async with world.running(**SERVED, STATUS_TOKEN=TOKEN):
        await asyncio.sleep(1.0)
        assert {address.host for address in ports.addresses.values()} == {"127.0.0.1"}
        assert ports.get("/status").status == 401
        assert ports.get("/status", authorization=f"Bearer {TOKEN}").status == 200
    assert not ports.answerers  # and nothing listens after the end


async def test_the_page_tells_of_a_wave_and_of_what_it_opened(world: World, ports: Ports) -> None:
    await world.play(a_wave(("BTCUSDT", "ETHUSDT")))
    async with world.running(STATUS_PORT=0) as daemon:
        assert ports.get("/healthz").status == 200
        await daemon.wave()
        await world.until(lambda: _all_covered(daemon))
        assert ports.figure("waves_total") == 1
        assert ports.figure('wave_stage_milliseconds_count{stage="protected"}') == 1
        assert ports.figure("unprotected_milliseconds_count") == 2
        assert ports.figure("positions_without_stop") == 0
        assert 150 < ports.figure("exposure_quote") < 220
        assert ports.figure('private_stream_up{venue="binance"}') == 1
        assert 0 < ports.figure('request_budget_free_ratio{lane="entry",venue="binance"}') <= 1
        told = json.loads(ports.get("/status").body)
        assert len(told["positions"]) == 2
        assert told["health"]["health"] == "ok"


async def test_tools_learn_health_and_open_orders_over_the_control_socket(world: World, ports: Ports) -> None:
    await world.play(a_wave(("BTCUSDT",)))
    async with world.running() as daemon:
        await daemon.wave()
        await world.until(lambda: _all_covered(daemon))
        queries = daemon.orchestrator.queries
        assert queries is not None
        health = judge(queries.status(), HealthLimits(deadline_seconds=3.0))
        server = ControlServer(folder=Path(), queries=queries, commands=Mock(spec=Commands), health=lambda: health)
        told, orders = [json.loads(await server.answer(_asked(command))) for command in ("health", "orders")]
        assert told == {"ok": True, "result": {"health": "ok", "reasons": [], "findings": []}}
        assert [(row["leg"], row["type"], row["status"]) for row in orders["result"]] == [
            ("stop", "stop_market", "accepted")
        ]
        assert not ports.answerers


def _asked(command: str) -> bytes:
    return json.dumps({"command": command}).encode()


async def test_health_says_when_the_only_stream_is_cut_and_when_it_is_back(world: World, ports: Ports) -> None:
    async with world.running(STATUS_PORT=0):
        await world.tell("price", symbol="BTCUSDT", price="60000")
        await world.fault("disconnect_stream", count=-1)
        health = [(0, "")]
        await world.until(lambda: _health(ports, health, "unhealthy"), seconds=120)
        assert health[-1][0] == 503
        assert "no private stream is up" in health[-1][1]
        assert any(status == 200 and "degraded" in text for status, text in health)
        await world.forgive()
        await world.until(lambda: _health(ports, health, '"ok"'), seconds=120)


async def _health(ports: Ports, seen: list[tuple[int, str]], word: str) -> bool:
    answer = ports.get("/healthz")
    seen.append((answer.status, answer.body.decode()))
    return word in seen[-1][1]


async def _all_covered(daemon: Any) -> bool:
    rows = daemon.status.positions
    return bool(rows) and all(row.stop is not None for row in rows)
