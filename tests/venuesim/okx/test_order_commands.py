"""Order commands over the private socket: codes instead of names, items, limits, expiry, injected errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC
from tests.venuesim.okx.streams import BUSINESS, PRIVATE, StreamDesk, Wire

CODE = 10459


def entry(**more: Any) -> dict[str, Any]:
    return {"instIdCode": CODE, "side": "buy", "tdMode": "cross", "ordType": "market", "sz": "1", **more}


def result(answer: dict[str, Any]) -> tuple[str, list[str]]:
    return answer["code"], [row["sCode"] for row in answer["data"]]


@pytest.fixture
def desk() -> StreamDesk:
    return StreamDesk()


@pytest.fixture
def wire(desk: StreamDesk) -> Wire:
    return desk.private()


def test_an_order_is_placed_by_the_contracts_code_and_answered_with_the_commands_id(
    desk: StreamDesk, wire: Wire
) -> None:
    answer = wire.ask("order", entry(clOrdId="mine1"), id="1512")
    assert (answer["id"], answer["op"], answer["msg"]) == ("1512", "order", "")
    assert result(answer) == ("0", ["0"])
    assert desk.row(answer["data"][0]["ordId"])["clOrdId"] == "mine1"
    assert answer["inTime"].endswith("000")


@pytest.mark.parametrize(
    ("arg", "code"), [({"instIdCode": None, "instId": BTC}, "50014"), ({"instIdCode": ""}, "50014")]
)
def test_a_contracts_name_alone_is_no_longer_taken(wire: Wire, arg: dict[str, Any], code: str) -> None:
    answer = wire.ask("order", entry(**arg))
    assert result(answer) == (code, [])
    assert "instIdCode" in answer["msg"]


def test_the_code_counts_and_not_the_name_next_to_it(desk: StreamDesk, wire: Wire) -> None:
    answer = wire.ask("order", entry(instId="ETH-USDT-SWAP"))
    assert desk.row(answer["data"][0]["ordId"])["instId"] == BTC


def test_an_unknown_code_is_an_unknown_contract(wire: Wire) -> None:
    assert result(wire.ask("order", entry(instIdCode=1))) == ("1", ["51001"])


def test_a_batch_answers_for_each_of_its_orders(desk: StreamDesk, wire: Wire) -> None:
    good, bad = entry(), entry(sz="0.001")
    assert result(wire.ask("batch-orders", good, good)) == ("0", ["0", "0"])
    code, items = result(wire.ask("batch-orders", good, bad))
    assert (code, items[0]) == ("2", "0")
    assert items[1] != "0"
    answer = wire.ask("batch-orders", bad, bad)
    assert (answer["code"], answer["msg"]) == ("1", "")
    assert desk.position()["pos"] == "3"


def test_orders_are_amended_and_cancelled_singly_and_together(desk: StreamDesk, wire: Wire) -> None:
    rest = {"ordType": "limit", "px": desk.off("0.9")}
    names = ("rest1", "rest2", "rest3")
    wire.ask("batch-orders", *(entry(**rest, clOrdId=name) for name in names))
    named = [{"instIdCode": CODE, "clOrdId": name} for name in names]
    assert result(wire.ask("amend-order", {**named[0], "newSz": "2", "reqId": "r1"})) == ("0", ["0"])
    assert wire.answers[-1]["data"][0]["reqId"] == "r1"
    assert result(wire.ask("batch-amend-orders", *({**row, "newSz": "3"} for row in named)))[0] == "0"
    assert {row["sz"] for row in desk.ok("GET", "trade/orders-pending")} == {"3"}
    assert result(wire.ask("cancel-order", named[0])) == ("0", ["0"])
    assert result(wire.ask("cancel-order", named[0])) == ("1", ["51400"])
    assert result(wire.ask("batch-cancel-orders", *named)) == ("2", ["51400", "0", "0"])
    assert desk.ok("GET", "trade/orders-pending") == []


@pytest.mark.parametrize("args", [[], ["order"], [entry(), entry()]])
def test_malformed_arguments_are_refused_as_a_whole(desk: StreamDesk, wire: Wire, args: list[object]) -> None:
    answer = wire.ask("order", *args, id="1512")
    assert (answer["id"], *result(answer)) == ("1512", "60013", [])
    assert desk.ok("GET", "account/positions") == []


def test_order_commands_need_a_login_and_the_private_address(desk: StreamDesk) -> None:
    answer = desk.connect(PRIVATE).ask("order", entry(), id="1")
    assert (answer["event"], answer["code"], answer["id"]) == ("error", "60011", "1")
    assert desk.private(place=BUSINESS).ask("order", entry())["code"] == "60028"
    assert desk.ok("GET", "account/positions") == []


def test_a_late_order_is_not_carried_out(desk: StreamDesk, wire: Wire) -> None:
    now_ms = desk.simulation.now_ms()
    assert result(wire.ask("order", entry(), expTime=str(now_ms - 1))) == ("50037", [])
    assert result(wire.ask("order", entry(), expTime=str(now_ms + 1))) == ("0", ["0"])
    assert desk.position()["pos"] == "1"


def test_a_revoked_key_places_nothing_on_an_open_socket(desk: StreamDesk, wire: Wire) -> None:
    desk.sim("account", asset="USDT", permissions=["read"])
    assert result(wire.ask("order", entry())) == ("50120", [])


def test_socket_and_rest_share_their_limits(desk: StreamDesk, wire: Wire) -> None:
    for _ in range(60):
        desk.place(ordType="limit", px=desk.off("0.9"))
    assert result(wire.ask("order", entry())) == ("50011", [])
    desk.run(2_000)
    assert result(wire.ask("order", entry())) == ("0", ["0"])


def test_a_socket_command_is_logged_with_its_lane_and_names(desk: StreamDesk, wire: Wire) -> None:
    wire.ask("batch-orders", entry(clOrdId="one"), entry(clOrdId="two", sz="0"))
    row = desk.look("requests?since=0")[-1]
    assert (row["method"], row["path"], row["lane"]) == ("WS", "batch-orders", "order")
    assert (row["client_ids"], row["code"]) == (["one", "two"], "2")


# injected


def test_an_injected_code_about_orders_is_that_of_the_item(desk: StreamDesk, wire: Wire) -> None:
    desk.fault("http_error", {"path": "order"}, code=51008)
    answer = wire.ask("order", entry(clOrdId="mine1"), id="7")
    assert (answer["id"], *result(answer)) == ("7", "1", ["51008"])
    assert answer["data"][0]["clOrdId"] == "mine1"
    assert desk.ok("GET", "account/positions") == []


def test_an_unknown_outcome_is_50004_and_the_order_exists(desk: StreamDesk, wire: Wire) -> None:
    desk.fault("timeout_after_execution", {"method": "WS"}, delay_ms=0)
    assert result(wire.ask("order", entry())) == ("50004", [])
    assert desk.position()["pos"] == "1"


@pytest.mark.parametrize(("kind", "held"), [("drop_request", 0), ("drop_response", 1)])
def test_lost_commands_are_told_from_lost_answers(desk: StreamDesk, wire: Wire, kind: str, held: int) -> None:
    desk.fault(kind, {"client_id": "lost"})
    wire.ask("order", entry(clOrdId="lost"))
    assert not [row for row in wire.all if row.get("op") == "order"]
    assert len(desk.ok("GET", "account/positions")) == held


def test_events_may_come_before_the_answer(desk: StreamDesk, wire: Wire) -> None:
    wire.subscribe("orders", instType="ANY")
    wire.forget()
    desk.fault("event_before_reply", {"client_id": "soon"}, delay_ms=50)
    wire.ask("order", entry(clOrdId="soon"))
    desk.run(100)
    assert ["op" in row for row in wire.all] == [False, False, True]


def test_maintenance_refuses_commands(desk: StreamDesk, wire: Wire) -> None:
    desk.fault("maintenance", duration_ms=1_000)
    assert result(wire.ask("order", entry())) == ("50001", [])


def test_an_injected_rejection_has_the_asked_for_code(desk: StreamDesk, wire: Wire) -> None:
    desk.fault("reject_order", code=51008)
    assert result(wire.ask("order", entry())) == ("1", ["51008"])
