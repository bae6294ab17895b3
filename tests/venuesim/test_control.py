"""The fixed control interface, as scripts outside the project use it."""

import json
from typing import Any

import pytest

from tests.venuesim.builders import BTC, ETH, START_MS
from tests.venuesim.rig import Rig


def test_the_state_has_exactly_the_fixed_fields() -> None:
    rig = Rig()
    rig.order(client_id="a")
    rig.stop(900, client_id="s")
    rig.order(price="990", client_id="l")
    state = rig.get("state")
    assert set(state) == {"time", "balances", "positions", "orders", "fills"}
    assert state["time"] == START_MS
    assert set(state["balances"]["USDT"]) == {"wallet", "available"}
    (position,) = state["positions"]
    assert position == {
        "symbol": BTC, "side": "long", "qty": "0.1", "entry": "1000.1", "mark": "1000", "leverage": 20,
    }  # fmt: skip
    order, stop = state["orders"]
    assert order == {
        "id": order["id"], "client_id": "l", "symbol": BTC, "side": "buy", "type": "limit", "qty": "0.1",
        "filled": "0", "price": "990", "stop_price": None, "reduce_only": False, "close_position": False,
        "status": "new",
    }  # fmt: skip
    assert stop == {
        "id": stop["id"], "client_id": "s", "symbol": BTC, "side": "sell", "type": "stop", "qty": "0.1",
        "filled": "0", "price": None, "stop_price": "900", "reduce_only": True, "close_position": False,
        "status": "untriggered",
    }  # fmt: skip
    (fill,) = state["fills"]
    assert fill == {
        "id": fill["id"], "order_id": fill["order_id"], "client_id": "a", "symbol": BTC, "side": "buy",
        "qty": "0.1", "price": "1000.1", "fee": "0.050005", "fee_asset": "USDT", "realized": "0", "maker": False,
        "time": START_MS,
    }  # fmt: skip


def test_ended_orders_are_shown_only_when_asked_for() -> None:
    rig = Rig()
    rig.order(client_id="a")
    assert rig.get("state")["orders"] == []
    (row,) = rig.get("state?all=1")["orders"]
    assert (row["client_id"], row["status"], row["price"]) == ("a", "filled", None)


def test_setting_a_price_answers_after_the_triggers_ran() -> None:
    rig = Rig()
    rig.order()
    rig.stop(900)
    state = rig.post("price", symbol=BTC, price="899")
    assert state["positions"] == []
    assert state["orders"] == []


def test_a_mark_of_its_own_can_be_set() -> None:
    rig = Rig()
    rig.order()
    assert rig.post("price", symbol=BTC, price="1000", mark="1010")["positions"][0]["mark"] == "1010"


def test_the_account_can_be_changed_as_from_outside_with_events() -> None:
    rig = Rig()
    client = rig.client()
    state = rig.post("account", asset="USDT", wallet="500.5", leverage=5, margin_mode="isolated", position_mode="hedge")
    assert state["balances"]["USDT"]["wallet"] == "500.5"
    assert rig.simulation.engine.config(ETH).leverage == 5
    assert {"AccountChanged", "LeverageChanged", "MarginModeChanged", "PositionModeChanged"} <= set(client.texts)
    state = rig.post("account", position={"symbol": BTC, "qty": "-0.2", "entry": "990"})
    assert [(row["side"], row["qty"], row["entry"]) for row in state["positions"]] == [("short", "0.2", "990")]
    rig.post("account", permissions=["read"])
    assert rig.simulation.engine.permissions == {"read"}


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("price", {"symbol": BTC}, "price must be a number"),
        ("price", {"symbol": "NOPE", "price": 1}, "unknown_symbol"),
        ("price", {"symbol": BTC, "price": "-1"}, "price must be positive"),
        ("price", {"symbol": BTC, "price": 1, "prize": 2}, "unknown key 'prize'"),
        ("account", {"asset": "XYZ", "wallet": 1}, "unknown asset 'XYZ'"),
        ("account", {"position_mode": "both"}, "position_mode must be one of oneway, hedge"),
        ("clock", {}, "advance_ms must be a number"),
        ("fault", {"kind": "nonsense"}, "unknown kind 'nonsense'"),
        ("fault", {"kind": "latency", "delay": 1}, "unknown key 'delay'"),
        ("fault", {"kind": "latency", "match": {"url": "x"}}, "unknown match key 'url'"),
        ("fault", {"kind": "latency", "delay_ms": "soon"}, "delay_ms must be a number"),
        ("fault", {"kind": "latency", "phase": "during"}, "phase must be before or after"),
        ("fault", {"kind": "halt_symbol"}, "needs match.symbol"),
        ("fault", {"kind": "revoke_key"}, "revoke_key is not implemented for this venue"),
    ],
)
def test_what_makes_no_sense_is_a_400_that_names_it_and_changes_nothing(
    name: str, body: dict[str, Any], text: str
) -> None:
    rig = Rig()
    before = rig.get("state?all=1")
    assert text in rig.refuses(name, **body)
    assert rig.get("state?all=1") == before
    assert rig.get("fault") == []


def test_unknown_paths_methods_and_bodies_are_told_apart() -> None:
    control = Rig().control
    assert control.handle("GET", "/_sim/nothing", "", b"").status == 404
    assert control.handle("GET", "/_sim/price", "", b"").status == 405
    assert control.handle("POST", "/_sim/price", "", b"{").status == 400
    assert control.handle("POST", "/_sim/price", "", b"[]").status == 400
    assert control.handle("GET", "/_sim/requests", "since=x", b"").status == 400


def test_numbers_are_texts_and_absent_is_null() -> None:
    rig = Rig()
    rig.stop(900)

    def walk(value: object) -> None:
        assert not isinstance(value, float)
        assert value != ""
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(rig.get("state?all=1"))


def test_faults_are_listed_with_their_hits_and_can_be_deleted() -> None:
    rig = Rig()
    first = rig.fault("http_error", {"path": "/time"}, count=-1, status=502)
    second = rig.fault("latency", delay_ms=5)
    rig.call("GET", "/time")
    rig.pass_ms(10)
    rig.call("GET", "/time")
    rows = {row["id"]: row for row in rig.get("fault")}
    assert (rows[first]["hits"], rows[second]["hits"]) == (2, 1)
    assert rig.delete(f"fault?id={first}") == {"deleted": 1}
    assert rig.call("GET", "/time").status == 200
    assert rig.delete("fault") == {"deleted": 1}
    assert rig.get("fault") == []


def test_the_control_interface_is_neither_logged_nor_delayed() -> None:
    rig = Rig(latency_ms=1000)
    rig.fault("drop_request", count=-1)
    assert rig.get("state")["time"] == START_MS
    assert rig.get("requests") == []
    assert json.loads(rig.control.handle("GET", "/_sim/fault", "", b"").body)[0]["hits"] == 0
