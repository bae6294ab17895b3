"""The façade inside the simulation: latency, faults and jumps of the clock, in the venue's own words."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.venuesim.binance.bench import START_MS, order_params, stop_params
from tools.venuesim.binance import signing
from tools.venuesim.binance.facade import VENUE
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response


class Desk:
    """A simulation whose clock the test moves, with one private stream."""

    def __init__(self, **settings: Any) -> None:
        self.now = float(START_MS)
        self.simulation = Simulation(VENUE, SimulationSettings(symbols=20, **settings), START_MS)
        self.frames: list[tuple[float, Any]] = []
        self.answers: list[tuple[float, Response | Dropped]] = []
        key = json.loads(self._answered("POST", "/fapi/v1/listenKey", "").body)["listenKey"]
        self.open("/private/ws", f"listenKey={key}")
        self.begun = self.now

    def open(self, path: str, query: str) -> None:
        socket = self.simulation.connect(path, query, {}, self._take)
        assert not isinstance(socket, Response)

    def run(self, milliseconds: float) -> None:
        target = self.now + milliseconds
        while (due := self.simulation.next_due()) is not None and due <= target:
            self.now = max(self.now, due)
            self.simulation.run_until(self.now)
        self.now = target
        self.simulation.run_until(target)

    def submit(self, method: str, path: str, params: dict[str, Any]) -> None:
        text = urlencode({"timestamp": self.simulation.now_ms(), **params})
        self._submit(method, path, f"{text}&signature={signing.signature('sim', text)}")

    def ask(self, method: str, path: str, **params: Any) -> Any:
        """Sends and waits; the JSON of the answer."""
        self.submit(method, path, params)
        self.run(2_000)
        answer = self.answers[-1][1]
        assert isinstance(answer, Response)
        return json.loads(answer.body)

    @property
    def events(self) -> list[str]:
        return [payload["e"] for _, payload in self.frames]

    def _answered(self, method: str, path: str, query: str) -> Response:
        self._submit(method, path, query)
        self.run(2_000)
        answer = self.answers.pop()[1]
        assert isinstance(answer, Response)
        return answer

    def _submit(self, method: str, path: str, query: str) -> None:
        request = Request(method=method, path=path, query=query, headers={"x-mbx-apikey": "sim"})
        self.simulation.submit(request, lambda result: self.answers.append((self.now, result)))

    def _take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.TEXT:
            self.frames.append((self.now, json.loads(frame.data)))


def test_an_order_is_answered_a_round_trip_later_and_its_events_come_with_it() -> None:
    desk = Desk(latency_ms=200)
    desk.submit("POST", "/fapi/v1/order", order_params())
    desk.run(1_000)
    assert [when - desk.begun for when, _ in desk.frames] == [200] * 4
    assert desk.answers[0][0] - desk.begun == 200
    assert {payload["E"] for _, payload in desk.frames} == {int(desk.begun) + 100}


def test_a_lost_answer_leaves_the_order_executed_and_findable() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "drop_response", "match": {"path": "/fapi/v1/order", "method": "POST"}})
    desk.submit("POST", "/fapi/v1/order", order_params(newClientOrderId="lost"))
    desk.run(1_000)
    assert isinstance(desk.answers[-1][1], Dropped)
    found = desk.ask("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="lost")
    assert found["status"] == "FILLED"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, "New order rejected."),
        (-2019, "Margin is insufficient."),
        (-4164, "Order's notional must be no smaller than 50.0 (unless you choose reduce only)"),
    ],
)
def test_an_injected_refusal_reads_like_the_venues(code: int | None, text: str) -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "reject_order", "code": code})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params())
    assert answer == {"code": code or -2010, "msg": text}
    assert desk.ask("POST", "/fapi/v1/order", **order_params())["status"] == "FILLED"


def test_an_injected_partial_fill_ends_a_market_order_expired() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "partial_fill", "fraction": 0.5})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params())
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.005")
    last = desk.frames[-1][1]["o"]
    assert (last["x"], last["X"], last["er"]) == ("EXPIRED", "EXPIRED", "9")


def test_a_stop_refused_at_its_trigger_is_told_rejected() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "reject_stop", "phase": "after"})
    desk.ask("POST", "/fapi/v1/order", **order_params())
    desk.ask("POST", "/fapi/v1/algoOrder", **stop_params())
    desk.simulation.engine.set_price("BTCUSDT", desk.simulation.engine.quote("BTCUSDT").last * 9 // 10, hold_ms=1e9)
    desk.run(1_000)
    told = [payload["o"] for _, payload in desk.frames if payload["e"] == "ALGO_UPDATE"]
    assert [row["X"] for row in told] == ["NEW", "TRIGGERING", "REJECTED"]
    assert told[-1]["rm"]


def test_limits_and_keys_obey_faults() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "rate_limit", "duration_ms": 3_000})
    assert desk.ask("GET", "/fapi/v1/openOrders")["code"] == -1003
    desk.run(2_000)
    assert desk.ask("GET", "/fapi/v1/openOrders") == []
    desk.simulation.arm({"kind": "listen_key_expired"})
    desk.run(1)
    assert desk.events[-1] == "listenKeyExpired"


def test_an_unknown_outcome_after_execution_is_status_503() -> None:
    desk = Desk()
    desk.simulation.arm({"kind": "timeout_after_execution", "match": {"path": "/fapi/v1/order"}})
    answer = desk.ask("POST", "/fapi/v1/order", **order_params(newClientOrderId="maybe"))
    assert answer["msg"].startswith("Unknown error")
    assert desk.ask("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="maybe")["status"] == "FILLED"


def test_a_jump_of_an_hour_ends_the_key_and_skips_old_frames() -> None:
    desk = Desk()
    desk.open("/market/ws", "streams=btcusdt@markPrice@1s")
    desk.simulation.advance(3_700_000)
    desk.run(3_000)
    assert desk.events.count("listenKeyExpired") == 1
    assert 3 <= desk.events.count("markPriceUpdate") <= 70
