"""The private socket: login, subscriptions, and what the account's topics tell in which order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import ALL_TOPICS, BTC, START_MS, Desk, Wire
from tools.venuesim.exchange.model import PositionMode

HOUR_MS = 3_600_000


def stop(desk: Desk, share: str = "0.95") -> str:
    """A price below the market (or above, for shares over one) on the tick grid, as the venue prints it."""
    return f"{desk.price() * Decimal(share):.1f}0"


# login and subscriptions


def test_login_takes_the_expiry_as_text_and_as_number_and_acknowledges_in_the_private_form() -> None:
    desk = Desk()
    for expires in (START_MS + 5_000, str(START_MS + 5_000)):
        answer = desk.connect("/v5/private").log_in(expires=expires)
        assert answer == {"success": True, "ret_msg": "", "op": "auth", "conn_id": answer["conn_id"]}


@pytest.mark.parametrize(
    "wrong", [{"key": "other"}, {"secret": "other"}, {"expires": START_MS - 1}, {"expires": "soon"}]
)
def test_a_wrong_login_is_refused_and_ends_the_connection(wrong: dict[str, Any]) -> None:
    desk = Desk()
    wire = desk.connect("/v5/private")
    answer = wire.log_in(**wrong)
    assert (answer["success"], answer["op"]) == (False, "auth")
    assert answer["ret_msg"]
    desk.run(1)
    assert wire.closed is not None


def test_nothing_can_be_subscribed_before_login() -> None:
    desk = Desk()
    wire = desk.connect("/v5/private")
    assert not wire.ask("subscribe", "order")["success"]
    desk.order()
    assert wire.pushed == []


@pytest.mark.parametrize("args", [(), ("orders",), ("order", "execution.linear")])
def test_a_subscription_that_cannot_be_subscribes_nothing(args: tuple[str, ...]) -> None:
    desk = Desk()
    wire = desk.connect("/v5/private")
    wire.log_in()
    answer = wire.ask("subscribe", *args, req_id="r")
    assert (answer["success"], answer["req_id"]) == (False, "r")
    desk.order()
    assert wire.pushed == []


def test_a_topic_is_subscribed_once() -> None:
    wire = Desk().private_stream()
    assert wire.ask("subscribe", "order")["ret_msg"] == "error:handler already subscribed,topic:order"


def test_frames_come_under_the_form_of_the_topic_that_was_asked_for() -> None:
    desk = Desk()
    wire = desk.private_stream("order.linear", "execution.linear", "position.linear", "execution.fast.linear")
    others = desk.private_stream("order.inverse")
    desk.order()
    assert {frame["topic"] for frame in wire.pushed} == {
        "order.linear", "execution.linear", "position.linear", "execution.fast.linear",
    }  # fmt: skip
    assert others.pushed == []


def test_no_topic_has_a_snapshot() -> None:
    desk = Desk()
    desk.order()
    assert desk.private_stream().pushed == []


def test_a_topic_that_was_left_is_silent() -> None:
    desk = Desk()
    wire = desk.private_stream()
    assert wire.ask("unsubscribe", "position", "wallet")["success"]
    desk.order()
    assert {frame["topic"] for frame in wire.pushed} == {"order", "execution"}


def test_ping_is_answered_with_the_time_and_is_no_request() -> None:
    desk = Desk()
    wire = desk.private_stream()
    answer = wire.say({"op": "ping", "req_id": "1"})
    assert answer == {"req_id": "1", "op": "pong", "args": [str(START_MS)], "conn_id": answer["conn_id"]}
    assert [row["path"] for row in desk.look("requests") if row["method"] == "WS"] == ["auth", "subscribe"]


def test_messages_have_ids_of_their_own_and_fast_executions_have_none() -> None:
    desk = Desk()
    wire = desk.private_stream("order", "execution", "execution.fast", "position", "wallet")
    desk.order()
    numbers = [frame["id"] for frame in wire.pushed if frame["topic"] != "execution.fast"]
    assert len(set(numbers)) == len(numbers) == 4
    (fast,) = wire.of("execution.fast")
    assert "id" not in fast


def test_a_fast_execution_names_no_order_that_rested() -> None:
    desk = Desk()
    price = stop(desk, "0.999")
    desk.order(orderLinkId="taker")
    desk.order(orderType="Limit", price=price, orderLinkId="maker")
    wire = desk.private_stream("execution", "execution.fast")
    desk.order(orderLinkId="taker-2")
    desk.move(Decimal(price) * Decimal("0.999"))
    told = [[row["orderLinkId"] for row in wire.rows(topic)] for topic in ("execution", "execution.fast")]
    assert told == [["taker-2", "maker"], ["taker-2", ""]]
    assert [row["execId"] for row in wire.rows("execution")] == [row["execId"] for row in wire.rows("execution.fast")]


# sequences


def test_a_market_entry_is_told_filled_only_and_the_wallet_last() -> None:
    desk = Desk()
    wire = desk.private_stream()
    placed = desk.order(orderLinkId="entry-1")
    assert wire.story == ["order:Filled", "execution:Trade", "position:Buy0.010", "wallet:USDT"]
    order, execution = wire.rows("order")[0], wire.rows("execution")[0]
    assert order["orderId"] == execution["orderId"] == placed["orderId"]
    assert order["orderLinkId"] == execution["orderLinkId"] == "entry-1"
    assert (order["cumExecQty"], execution["execQty"], execution["leavesQty"]) == ("0.010", "0.010", "0.000")


def test_the_attached_stop_comes_in_the_same_moment_as_the_fill() -> None:
    desk = Desk()
    wire = desk.private_stream()
    level = stop(desk)
    desk.order(stopLoss=level, slTriggerBy="MarkPrice", orderLinkId="entry-1")
    assert wire.story == [
        "order:Filled", "execution:Trade", "position:Buy0.010", "order:Untriggered", "wallet:USDT",
    ]  # fmt: skip
    assert len(set(wire.times)) == 1
    assert wire.rows("position")[0]["stopLoss"] == level
    child = wire.rows("order")[1]
    assert (child["stopOrderType"], child["createType"]) == ("StopLoss", "CreateByStopLoss")
    assert (child["orderLinkId"], child["parentOrderLinkId"]) == ("", "entry-1")
    assert (child["reduceOnly"], child["closeOnTrigger"], child["triggerPrice"]) == (True, True, level)
    assert [row["max_unprotected_ms"] for row in desk.look("protection")] == [0]


def test_a_resting_limit_order_is_told_new_then_filled() -> None:
    desk = Desk()
    wire = desk.private_stream()
    price = stop(desk, "0.999")
    desk.order(orderType="Limit", price=price, orderLinkId="rest-1")
    assert wire.story == ["order:New", "position:0", "wallet:USDT"]
    wire.forget()
    desk.move(Decimal(price) * Decimal("0.999"))
    assert wire.story == ["order:Filled", "execution:Trade", "position:Buy0.010", "wallet:USDT"]
    assert wire.rows("execution")[0]["isMaker"] is True


def test_a_cancelled_order_frees_its_margin_in_the_wallet() -> None:
    desk = Desk()
    wire = desk.private_stream()
    placed = desk.order(orderType="Limit", price=stop(desk))
    wire.forget()
    desk.ok("POST", "/v5/order/cancel", category="linear", symbol=BTC, orderId=placed["orderId"])
    assert [word.split(":")[0] for word in wire.story] == ["order", "position", "wallet"]
    row = wire.rows("order")[0]
    assert (row["orderStatus"], row["cancelType"]) == ("Cancelled", "CancelByUser")


def test_a_part_filled_order_ends_cancelled_with_what_it_filled() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.fault("partial_fill", {"symbol": BTC}, fraction=0.5)
    desk.order(orderType="Limit", timeInForce="IOC", price=stop(desk, "1.001"))
    last = wire.rows("order")[-1]
    assert (last["orderStatus"], last["cumExecQty"]) == ("Cancelled", "0.005")
    assert last["rejectReason"] == "EC_NoImmediateQtyToFill"
    assert [row["execQty"] for row in wire.rows("execution")] == ["0.005"]


def test_a_post_only_order_that_would_take_is_acknowledged_and_then_cancelled() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.order(orderType="Limit", timeInForce="PostOnly", price=stop(desk, "1.001"))
    last = wire.rows("order")[-1]
    assert (last["orderStatus"], last["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert wire.of("execution") == []


def test_the_fills_of_one_order_come_in_one_message_with_one_sequence() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.order(qty="2.000")
    (frame,) = wire.of("execution")
    assert len(frame["data"]) > 1
    assert len({row["seq"] for row in frame["data"]}) == 1
    assert [row["leavesQty"] for row in frame["data"]][-1] == "0.000"
    assert len(wire.of("order")) == 1


def test_a_stop_is_told_triggered_then_filled_and_clears_its_sibling() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.order(stopLoss=stop(desk), takeProfit=stop(desk, "1.05"))
    untriggered = {row["stopOrderType"]: row["orderId"] for row in wire.rows("order")[1:]}
    wire.forget()
    desk.move(Decimal(stop(desk, "0.94")))
    assert wire.story == [
        "order:Triggered", "order:Filled", "execution:Trade", "position:0", "order:Deactivated", "wallet:USDT",
    ]  # fmt: skip
    triggered, filled, cleared = wire.rows("order")
    assert triggered["orderId"] == filled["orderId"] == untriggered["StopLoss"]
    assert (filled["orderType"], filled["createType"]) == ("Market", "CreateByStopLoss")
    assert (cleared["orderId"], cleared["cancelType"]) == (untriggered["TakeProfit"], "CancelByTpSlTsClear")
    (execution,) = wire.rows("execution")
    assert (execution["stopOrderType"], execution["closedSize"]) == ("StopLoss", "0.010")
    assert Decimal(execution["execPnl"]) < 0
    flat = wire.rows("position")[-1]
    assert (flat["side"], flat["size"], flat["stopLoss"]) == ("", "0", "0")


def test_a_conditional_order_is_told_untriggered_and_moves_no_money() -> None:
    desk = Desk()
    desk.order()
    wire = desk.private_stream()
    desk.order(side="Sell", triggerPrice=stop(desk), triggerDirection=2, reduceOnly=True, orderLinkId="stop-1")
    assert wire.story == ["order:Untriggered", "position:Buy0.010"]
    assert (wire.rows("order")[0]["stopOrderType"], wire.rows("order")[0]["orderLinkId"]) == ("Stop", "stop-1")


def test_an_amended_order_is_told_with_its_new_values() -> None:
    desk = Desk()
    placed = desk.order(orderType="Limit", price=stop(desk))
    wire = desk.private_stream()
    desk.ok("POST", "/v5/order/amend", category="linear", symbol=BTC, orderId=placed["orderId"], qty="0.020")
    row = wire.rows("order")[0]
    assert (row["orderStatus"], row["qty"]) == ("New", "0.020")
    assert wire.story[-1] == "wallet:USDT"


def test_a_stop_set_on_the_position_is_told_by_position_and_order() -> None:
    desk = Desk()
    desk.order()
    wire = desk.private_stream()
    level = stop(desk)
    ask = {"category": "linear", "symbol": BTC, "tpslMode": "Full", "positionIdx": 0}
    desk.ok("POST", "/v5/position/trading-stop", stopLoss=level, **ask)
    assert sorted(wire.story) == ["order:Untriggered", "position:Buy0.010"]
    assert wire.rows("position")[0]["stopLoss"] == level
    wire.forget()
    desk.ok("POST", "/v5/position/trading-stop", stopLoss="0", **ask)
    assert wire.rows("order")[0]["orderStatus"] == "Deactivated"
    assert wire.rows("position")[0]["stopLoss"] == "0"


def test_leverage_is_told_by_the_position() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.ok("POST", "/v5/position/set-leverage", category="linear", symbol=BTC, buyLeverage="5", sellLeverage="5")
    assert [row["leverage"] for row in wire.rows("position")] == ["5"]
    assert wire.of("order") == []


def test_hedge_mode_tells_only_the_row_that_was_touched() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    wire = desk.private_stream()
    desk.order(positionIdx=1)
    desk.order(side="Sell", positionIdx=2)
    assert [(row["positionIdx"], row["side"], row["size"]) for row in wire.rows("position")] == [
        (1, "Buy", "0.010"),
        (2, "Sell", "0.010"),
    ]


def test_funding_is_an_execution_of_its_own_kind_and_no_order() -> None:
    desk = Desk()
    desk.order()
    # Just before the end of the interval: a private socket on which nothing passes is cut after ten minutes.
    desk.run(-START_MS % (8 * HOUR_MS) - 1_000)
    wire = desk.private_stream()
    desk.run(2_000)
    (row,) = wire.rows("execution")
    assert (row["execType"], row["execQty"], row["symbol"]) == ("Funding", "0.010", BTC)
    assert Decimal(row["execFee"]) > 0
    assert wire.of("order") == []
    assert wire.story == ["execution:Funding", "position:Buy0.010", "wallet:USDT"]


def test_a_liquidation_marks_the_position_first_and_names_no_client_id() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.order()
    desk.order(orderType="Limit", price=stop(desk), orderLinkId="rest-1")
    wire.forget()
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(100)
    first, *_, last = wire.rows("position")
    assert (first["positionStatus"], first["side"], first["size"]) == ("Liq", "Buy", "0.010")
    assert (last["positionStatus"], last["side"], last["size"]) == ("Normal", "", "0")
    cancelled, liquidation = wire.rows("order")
    assert (cancelled["orderLinkId"], cancelled["cancelType"]) == ("rest-1", "CancelByPrepareLiq")
    assert (liquidation["createType"], liquidation["orderLinkId"], liquidation["orderStatus"]) == (
        "CreateByLiq", "", "Filled",
    )  # fmt: skip
    (execution,) = wire.rows("execution")
    assert (execution["execType"], execution["createType"]) == ("BustTrade", "CreateByLiq")
    assert wire.story[-1] == "wallet:USDT"


def test_auto_deleveraging_closes_a_part_by_a_trade_of_its_own_kind() -> None:
    desk = Desk()
    desk.order()
    wire = desk.private_stream()
    desk.fault("adl", {"symbol": BTC}, at_ms=0, fraction=0.5)
    desk.run(100)
    (execution,) = wire.rows("execution")
    assert (execution["execType"], execution["createType"]) == ("AdlTrade", "CreateByAdl_PassThrough")
    assert wire.rows("position")[-1]["size"] == "0.005"


def test_a_deposit_is_told_by_the_wallet_alone() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.sim("account", asset="USDC", wallet="20000")
    assert wire.story == ["wallet:USDC"]
    assert wire.rows("wallet")[0]["coin"][0]["walletBalance"] == "20000"


def test_price_moves_tell_nothing() -> None:
    desk = Desk()
    desk.order()
    wire = desk.private_stream()
    desk.run(30_000)
    assert wire.pushed == []


# faults


def frames_of(wire: Wire, kind: str) -> int:
    return len(wire.of(kind))


@pytest.mark.parametrize(("kind", "count"), [("duplicate_event", 2), ("lose_event", 0)])
def test_events_can_be_doubled_and_lost_by_topic(kind: str, count: int) -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.fault(kind, {"event": "execution"})
    desk.order()
    desk.run(1)
    assert {topic: frames_of(wire, topic) for topic in ALL_TOPICS} == {
        "order": 1, "execution": count, "position": 1, "wallet": 1,
    }  # fmt: skip


def test_events_can_be_matched_by_client_id() -> None:
    desk = Desk()
    wire = desk.private_stream("order")
    desk.fault("lose_event", {"event": "order", "client_id": "second"}, count=-1)
    desk.order(orderLinkId="first")
    desk.order(orderLinkId="second")
    assert [row["orderLinkId"] for row in wire.rows("order")] == ["first"]


def test_a_revoked_key_ends_its_sessions() -> None:
    desk = Desk()
    private, trading = desk.private_stream(), desk.trading_stream()
    public = desk.public_stream(f"tickers.{BTC}")
    desk.fault("revoke_key", at_ms=0)
    desk.run(10)
    assert (private.closed is None, trading.closed is None, public.closed is None) == (False, False, True)
    assert not desk.connect("/v5/private").log_in()["success"]


def test_a_socket_can_be_cut_and_another_takes_over_without_a_replay() -> None:
    desk = Desk()
    wire = desk.private_stream()
    desk.fault("disconnect_stream", {"stream": "/v5/private"})
    desk.run(1)
    assert wire.closed == 1006
    desk.order()
    assert wire.pushed == []
    assert desk.private_stream().pushed == []
