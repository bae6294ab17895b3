"""What the private stream tells, in which order, and how long a listenKey lives."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.bench import Bench, Fault
from tools.venuesim.exchange.model import PositionMode

LIMIT = {"type": "LIMIT", "timeInForce": "GTC"}
MINUTE_MS = 60_000


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_market_open_and_close_tell_the_captured_sequence(bench: Bench, shared: Path) -> None:
    file = shared / "venues/fixtures/binance_usdm/uds_sequence_market_open_close.recorded.json"
    captured = [_summary(frame) for frame in json.loads(file.read_text())]
    sent = bench.user_stream()
    bench.order()
    bench.order(side="SELL", reduceOnly="true")
    assert [_summary(frame) for frame in sent.frames] == captured


def test_all_frames_of_one_fill_share_one_time_and_trade_id(bench: Bench) -> None:
    sent = bench.user_stream()
    bench.order()
    assert {frame[key] for frame in sent.frames for key in ("T", "E")} == {bench.now_ms()}  # type: ignore[call-overload]
    lite, traded = sent.of("TRADE_LITE")[0], sent.of("ORDER_TRADE_UPDATE")[1]["o"]
    assert (lite["t"], lite["L"], lite["l"]) == (traded["t"], f"{Decimal(traded['L']):.2f}", "0.010")


def test_each_level_of_the_book_is_a_trade_of_its_own(bench: Bench) -> None:
    bench = Bench(balance="10000000")
    sent = bench.user_stream()
    answer = bench.order(quantity="3.000")
    trades = [row["o"] for row in sent.of("ORDER_TRADE_UPDATE") if row["o"]["x"] == "TRADE"]
    assert len(trades) > 1
    assert [row["X"] for row in trades] == ["PARTIALLY_FILLED"] * (len(trades) - 1) + ["FILLED"]
    assert sum(Decimal(row["l"]) for row in trades) == Decimal(answer["executedQty"]) == Decimal(3)
    assert len(sent.of("ACCOUNT_UPDATE")) == len(sent.of("TRADE_LITE")) == len(trades)
    assert sent.types[:4] == [
        "TRADE_LITE",
        "ORDER_TRADE_UPDATE:NEW",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE:PARTIALLY_FILLED",
    ]


def test_a_resting_order_and_its_cancel_touch_no_account(bench: Bench) -> None:
    sent = bench.user_stream()
    order = bench.order(price="74000", newClientOrderId="rest", **LIMIT)
    bench.ok("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=order["orderId"])
    assert sent.types == ["ORDER_TRADE_UPDATE:NEW", "ORDER_TRADE_UPDATE:CANCELED"]
    assert [row["o"]["b"] for row in sent.of("ORDER_TRADE_UPDATE")] == ["740", "0"]
    assert sent.events[0] == ("ORDER_TRADE_UPDATE", "BTCUSDT", "rest")


def test_an_ioc_remainder_is_new_then_expired(bench: Bench) -> None:
    sent = bench.user_stream()
    bench.order(price="74000", type="LIMIT", timeInForce="IOC")
    last = sent.of("ORDER_TRADE_UPDATE")[-1]["o"]
    assert sent.types == ["ORDER_TRADE_UPDATE:NEW", "ORDER_TRADE_UPDATE:EXPIRED"]
    assert (last["x"], last["er"]) == ("EXPIRED", "2")


def test_a_stop_goes_from_new_to_finished_around_its_child(bench: Bench) -> None:
    bench.order()
    sent = bench.user_stream()
    algo = bench.stop(clientAlgoId="guard")
    bench.move("69000")
    assert sent.types == [
        "ALGO_UPDATE:NEW",
        "ALGO_UPDATE:TRIGGERING",
        "TRADE_LITE",
        "ORDER_TRADE_UPDATE:NEW",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE:FILLED",
        "ALGO_UPDATE:TRIGGERED",
        "ALGO_UPDATE:FINISHED",
    ]
    child = sent.of("ORDER_TRADE_UPDATE")[0]["o"]
    assert (child["c"], child["o"], child["ot"], child["R"]) == ("guard", "MARKET", "MARKET", True)
    triggering, triggered, finished = [row["o"] for row in sent.of("ALGO_UPDATE")][1:]
    assert (triggering["ai"], "aq" in triggering) == ("", False)
    assert (triggered["ai"], triggered["aq"]) == (str(child["i"]), "0")
    assert (finished["aq"], finished["aid"]) == ("0.01", algo["algoId"])
    # From the trigger on it is an ordinary order, and the algo order cannot be cancelled any more.
    assert bench.code("DELETE", "/fapi/v1/algoOrder", algoId=algo["algoId"]) == -2011
    assert bench.ok("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="guard")["status"] == "FILLED"
    assert bench.ok("GET", "/fapi/v1/openAlgoOrders") == []


def test_a_trigger_with_nothing_to_close_is_rejected_with_a_reason(bench: Bench) -> None:
    bench.order()
    bench.stop()
    bench.order(side="SELL", reduceOnly="true")
    sent = bench.user_stream()
    bench.move("69000")
    assert sent.types == ["ALGO_UPDATE:TRIGGERING", "ALGO_UPDATE:REJECTED"]
    assert sent.of("ALGO_UPDATE")[-1]["o"]["rm"] == "Reduce Only reject"


def test_a_close_position_stop_ends_with_its_position(bench: Bench) -> None:
    bench.order()
    bench.stop(closePosition="true", quantity=None, reduceOnly=None)
    sent = bench.user_stream()
    bench.order(side="SELL", reduceOnly="true")
    assert sent.types[-1] == "ALGO_UPDATE:EXPIRED"


def test_a_trailing_stop_announces_its_activation(bench: Bench) -> None:
    bench.order()
    sent = bench.user_stream()
    above = f"{bench.price() * Decimal('1.01'):.1f}"
    bench.stop(type="TRAILING_STOP_MARKET", triggerPrice=None, callbackRate="1", activatePrice=above)
    bench.move(bench.price() * Decimal("1.02"))
    bench.move(bench.price() * Decimal("0.98"))
    flags = [row["o"]["ia"] for row in sent.of("ALGO_UPDATE")]
    assert sent.types[:2] == ["ALGO_UPDATE:NEW", "ALGO_UPDATE:NEW"]
    assert flags[:2] == [False, True]
    assert sent.types[-1] == "ALGO_UPDATE:FINISHED"


def test_settings_are_told(bench: Bench) -> None:
    sent = bench.user_stream()
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="false")
    bench.ok("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=5)
    bench.ok("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    assets, _, leverage, margin = sent.frames
    assert isinstance(leverage, dict)
    assert isinstance(margin, dict)
    assert isinstance(assets, dict)
    assert leverage["ac"] == {"s": "BTCUSDT", "l": 5}
    assert (margin["a"]["m"], margin["a"]["P"][0]["mt"]) == ("MARGIN_TYPE_CHANGE", "isolated")
    assert assets["ai"] == {"j": True}


def test_hedge_mode_tells_the_row_that_changed() -> None:
    bench = Bench(mode=PositionMode.HEDGE)
    sent = bench.user_stream()
    bench.order(positionSide="LONG")
    bench.order(side="SELL", positionSide="SHORT")
    rows = [row["a"]["P"] for row in sent.of("ACCOUNT_UPDATE")]
    assert [[(row["ps"], row["pa"]) for row in changed] for changed in rows] == [
        [("LONG", "0.01")],
        [("SHORT", "-0.01")],
    ]


def test_a_repeated_post_answers_the_same_listen_key(bench: Bench) -> None:
    keys = [json.loads(bench.raw("POST", "/fapi/v1/listenKey").body)["listenKey"] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 64


def test_an_expired_key_is_announced_then_silent_and_cannot_be_extended(bench: Bench) -> None:
    sent = bench.user_stream()
    bench.leap(61 * MINUTE_MS)
    bench.order()
    assert sent.types == ["listenKeyExpired"]
    refused = bench.raw("PUT", "/fapi/v1/listenKey")
    assert (refused.status, refused.code) == (400, -1125)
    renewed = bench.user_stream()
    bench.order()
    assert renewed.types[0] == "TRADE_LITE"
    assert len(sent.frames) == 1


def test_a_put_keeps_the_key_alive(bench: Bench) -> None:
    sent = bench.user_stream()
    for _ in range(3):
        bench.leap(30 * MINUTE_MS)
        assert bench.raw("PUT", "/fapi/v1/listenKey").status == 200
    bench.order()
    assert "listenKeyExpired" not in sent.types
    assert sent.of("TRADE_LITE")


def test_deleting_the_key_silences_everyone_who_shares_it(bench: Bench) -> None:
    first, second = bench.user_stream(), bench.user_stream()
    assert bench.raw("DELETE", "/fapi/v1/listenKey").body == b"{}"
    bench.order()
    assert first.frames == second.frames == []


def test_an_injected_expiry_is_announced(bench: Bench) -> None:
    sent = bench.user_stream()
    assert bench.facade.inject(Fault("listen_key_expired"))
    assert sent.types == ["listenKeyExpired"]


@pytest.mark.parametrize(
    "path", ["/private/ws/{key}", "/private/stream?listenKey={key}", "/private/ws/?listenKey={key}"]
)
def test_every_private_path_form_hears_the_account(bench: Bench, path: str) -> None:
    sent = _connected(bench, path)
    bench.order()
    assert sent.of("TRADE_LITE")


@pytest.mark.parametrize("path", ["/ws/{key}", "/stream?streams={key}", "/public/ws/{key}", "/ws?listenKey={key}"])
def test_private_streams_on_other_routes_are_silent(bench: Bench, path: str) -> None:
    sent = _connected(bench, path)
    bench.order()
    assert sent.frames == []


def test_a_key_can_be_subscribed_on_a_combined_socket(bench: Bench) -> None:
    key = json.loads(bench.raw("POST", "/fapi/v1/listenKey").body)["listenKey"]
    session, sent = bench.open("/private/stream")
    session.receive(json.dumps({"method": "SUBSCRIBE", "params": [key], "id": "a1"}))
    bench.order()
    assert sent.replies == [{"result": None, "id": "a1"}]
    assert isinstance(sent.frames[0], dict)
    assert sent.frames[0]["stream"] == key


def test_the_events_filter_of_the_path_is_kept(bench: Bench) -> None:
    sent = _connected(bench, "/private/ws?listenKey={key}&events=ACCOUNT_UPDATE")
    bench.order()
    assert sent.types == ["ACCOUNT_UPDATE"]


def _connected(bench: Bench, form: str) -> Any:
    key = json.loads(bench.raw("POST", "/fapi/v1/listenKey").body)["listenKey"]
    path, _, query = form.format(key=key).partition("?")
    return bench.open(path, query)[1]


def _summary(frame: Any) -> tuple[Any, ...]:
    """Event type, then what an observer pairs frames by: execution, state, quantities and the position."""
    order, account = frame.get("o", {}), frame.get("a", {})
    positions = [(row["pa"] == "0", row["ps"]) for row in account.get("P", [])] if account else []
    return (frame["e"], order.get("x"), order.get("X"), order.get("S"), order.get("R"), positions)


def test_an_own_order_in_the_way_expires_in_match_unless_the_mode_says_otherwise(bench: Bench) -> None:
    asks = bench.public("/fapi/v1/depth", symbol="BTCUSDT", limit=5)["asks"]
    bench.order(side="SELL", type="LIMIT", timeInForce="GTC", price=asks[2][0], newClientOrderId="maker")
    sent = bench.user_stream()
    qty = str(sum(Decimal(level[1]) for level in asks[:3]) + Decimal("0.001"))
    taker = bench.order(type="LIMIT", timeInForce="IOC", price=asks[4][0], quantity=qty)
    assert taker["status"] == "FILLED"
    gone = next(row["o"] for row in sent.of("ORDER_TRADE_UPDATE") if row["o"]["c"] == "maker")
    assert (gone["x"], gone["X"], gone["er"], gone["V"]) == ("EXPIRED", "EXPIRED_IN_MATCH", "1", "EXPIRE_MAKER")
    found = bench.ok("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="maker")
    assert found["status"] == "EXPIRED_IN_MATCH"
