"""What the account's channels tell, in which order, and to whom."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC
from tests.venuesim.okx.streams import PRIVATE, QUIET, SWAPS, StreamDesk, Wire
from tools.venuesim.exchange.model import PositionMode

ETH = "ETH-USDT-SWAP"
HOURS_8 = 8 * 3_600_000
FILLED = ["orders live", "orders filled", "balance_and_position filled"]


def attached(desk: StreamDesk, name: str = "sl1") -> list[dict[str, str]]:
    return [{"attachAlgoClOrdId": name, "slTriggerPx": desk.off("0.95"), "slOrdPx": "-1"}]


def told(desk: StreamDesk) -> list[str]:
    """The story since it was last asked for."""
    story = desk.story
    desk.heard.clear()
    return story


# sequences


def test_a_market_entry_is_told_from_live_to_the_stop_that_came_with_it() -> None:
    desk = StreamDesk()
    private, business = desk.everything()
    desk.order(clOrdId="entry1", attachAlgoOrds=attached(desk))
    assert told(desk) == [*FILLED, "positions net 1", "orders-algo live", "account USDT"]
    live, filled = private.rows("orders")
    stop = business.rows("orders-algo")[0]
    assert (live["fillSz"], live["tradeId"], live["accFillSz"]) == ("0", "", "0")
    assert (filled["fillSz"], filled["accFillSz"], filled["execType"]) == ("1", "1", "T")
    assert Decimal(filled["fillFee"]) < 0
    assert (stop["algoClOrdId"], live["ordId"]) == ("sl1", filled["ordId"])
    assert stop["algoId"] != filled["attachAlgoOrds"][0]["attachAlgoId"]


def test_an_attached_stop_stands_at_the_moment_of_the_fill() -> None:
    desk = StreamDesk()
    desk.everything()
    desk.order(attachAlgoOrds=attached(desk))
    desk.run(1_000)
    life = desk.look("protection")[0]
    assert (life["max_unprotected_ms"], life["naked_now_ms"]) == (0, 0)


def test_every_fill_of_a_sweep_is_a_push_of_its_own_and_money_is_told_once() -> None:
    desk = StreamDesk(balance=Decimal(1_000_000))
    private, _ = desk.everything()
    desk.order(sz="400")
    first, *fills = private.rows("orders")
    assert first["state"] == "live"
    assert [row["state"] for row in fills] == ["partially_filled"] * (len(fills) - 1) + ["filled"]
    assert len(private.of("orders")) == len(fills) + 1 > 3
    assert sum(Decimal(row["fillSz"]) for row in fills) == 400
    assert [row["accFillSz"] for row in fills][-1] == "400"
    numbers = [int(row["tradeId"]) for row in fills]
    assert numbers == sorted(set(numbers))
    (both,) = private.rows("balance_and_position")
    assert [row["tradeId"] for row in both["trades"]] == [row["tradeId"] for row in fills]
    assert Decimal(both["balData"][0]["cashBal"]) == 1_000_000 + sum(Decimal(row["fillFee"]) for row in fills)


def test_a_part_filled_order_that_is_cancelled_never_gets_its_stop() -> None:
    desk = StreamDesk()
    private, business = desk.everything()
    desk.fault("partial_fill", fraction=0.5)
    number = desk.order(ordType="limit", px=desk.off("1.001"), sz="2", attachAlgoOrds=attached(desk))
    assert told(desk)[:3] == ["orders live", "orders partially_filled", "balance_and_position filled"]
    desk.post("trade/cancel-order", instId=BTC, ordId=number)
    assert told(desk) == ["orders canceled", "account USDT"]
    last = private.rows("orders")[-1]
    assert (last["accFillSz"], last["cancelSource"]) == ("1", "1")
    assert business.rows("orders-algo") == []


def test_a_stop_that_fires_is_told_before_its_order_and_its_siblings_after_the_position() -> None:
    desk = StreamDesk()
    private, business = desk.everything()
    desk.order()
    stop = desk.algo(slTriggerPx=desk.off("0.95"), slOrdPx="-1", algoClOrdId="stop1", cxlOnClosePos=True)
    desk.algo(sz=None, closeFraction="1", tpTriggerPx=desk.off("1.05"), tpOrdPx="-1", algoClOrdId="goal1")
    told(desk)
    desk.move(desk.off("0.94"))
    assert told(desk) == [
        "orders-algo effective", *FILLED, "positions net 0", "orders-algo canceled", "account USDT",
    ]  # fmt: skip
    effective, canceled = business.rows("orders-algo")[-2:]
    child = private.rows("orders")[-1]
    assert (effective["algoId"], effective["ordId"], effective["actualSide"]) == (stop, child["ordId"], "sl")
    assert (child["source"], child["algoId"], child["reduceOnly"]) == ("7", stop, "true")
    assert canceled["algoClOrdId"] == "goal1"


def test_a_pair_that_fires_is_one_algo_order_that_becomes_effective() -> None:
    desk = StreamDesk()
    _, business = desk.everything()
    desk.order()
    desk.algo(ordType="oco", slTriggerPx=desk.off("0.95"), slOrdPx="-1", tpTriggerPx=desk.off("1.05"), tpOrdPx="-1")
    desk.move(desk.off("1.06"))
    rows = business.rows("orders-algo")
    assert [(row["state"], row["actualSide"]) for row in rows] == [("live", ""), ("effective", "tp")]
    assert {row["algoId"] for row in rows} == {rows[0]["algoId"]}


def test_a_trailing_stop_is_told_on_the_channel_of_the_advanced_kinds() -> None:
    desk = StreamDesk()
    private, business = desk.everything()
    desk.order()
    desk.algo(ordType="move_order_stop", callbackRatio="0.01")
    desk.move(desk.off("0.98"))
    assert [row["state"] for row in business.rows("algo-advance")] == ["live", "effective"]
    assert business.rows("orders-algo") == []
    assert private.rows("orders")[-1]["source"] == "25"


def test_an_amendment_is_told_with_its_request_and_result() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    number = desk.order(ordType="limit", px=desk.off("0.99"), sz="2")
    desk.post("trade/amend-order", instId=BTC, ordId=number, newSz="3", reqId="change1")
    row = private.rows("orders")[-1]
    assert (row["sz"], row["amendResult"], row["reqId"], row["state"]) == ("3", "0", "change1", "live")


def test_a_post_only_order_that_would_take_is_live_and_then_cancelled() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    assert desk.place(ordType="post_only", px=desk.off("1.01"))["code"] == "0"
    states = [(row["state"], row["cancelSource"]) for row in private.rows("orders")]
    assert states == [("live", ""), ("canceled", "31")]


def test_a_liquidation_is_told_by_its_reason_and_negative_trade_numbers() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.order()
    desk.order(ordType="limit", px=desk.off("0.99"))
    private.forget()
    told(desk)
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(10)
    assert told(desk) == [
        "orders canceled", "orders live", "orders filled", "balance_and_position liquidation", "positions net 0",
        "account USDT",
    ]  # fmt: skip
    canceled, _, filled = private.rows("orders")
    assert (canceled["cancelSource"], filled["category"]) == ("3", "full_liquidation")
    assert int(filled["tradeId"]) < 0
    assert private.rows("positions")[-1]["tradeId"] != filled["tradeId"]


def test_a_liquidation_may_be_told_without_its_order() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.order()
    private.forget()
    desk.fault("lose_event", {"event": "orders"}, count=-1)
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(10)
    assert private.rows("orders") == []
    assert private.rows("balance_and_position")[-1]["eventType"] == "liquidation"
    assert private.rows("positions")[-1]["pos"] == "0"


def test_deleveraging_is_told_by_its_reason() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.order(sz="4")
    told(desk)
    desk.fault("adl", {"symbol": BTC}, at_ms=0, fraction=0.5)
    desk.run(10)
    assert told(desk)[2:4] == ["balance_and_position adl", "positions net 2"]
    assert private.rows("orders")[-1]["category"] == "adl"


def test_funding_is_told_without_any_order() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.order()
    before = Decimal(private.rows("balance_and_position")[-1]["balData"][0]["cashBal"])
    told(desk)
    desk.sim("clock", advance_ms=HOURS_8)
    assert told(desk) == ["balance_and_position funding_fee", "account USDT"]
    paid = Decimal(private.rows("balance_and_position")[-1]["balData"][0]["cashBal"]) - before
    assert paid == -(
        desk.simulation.engine.funding_history(BTC)[-1].mark * Decimal("0.01") * Decimal("0.0001")
    ).quantize(Decimal("1E-8"))


def test_a_change_of_leverage_is_told_where_something_is_held() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.post("account/set-leverage", instId=BTC, lever="10", mgnMode="cross")
    assert told(desk) == []
    desk.order()
    told(desk)
    desk.post("account/set-leverage", instId=BTC, lever="5", mgnMode="cross")
    assert told(desk)[:2] == ["balance_and_position set_leverage", "positions net 1"]
    assert private.rows("positions")[-1]["lever"] == "5"


def test_a_transfer_is_told_by_its_reason() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.sim("account", asset="USDC", wallet="777")
    assert told(desk) == ["balance_and_position transferred", "account USDC"]
    assert private.rows("account")[-1]["details"][0]["cashBal"] == "777"


def test_a_position_near_its_end_is_warned_of() -> None:
    desk = StreamDesk(balance=Decimal(60))
    private, _ = desk.everything()
    desk.order()
    while not private.rows("liquidation-warning"):
        desk.move(desk.off("0.9995"))
    row = private.rows("liquidation-warning")[0]
    assert (row["instId"], row["pos"]) == (BTC, "1")
    assert Decimal(row["mgnRatio"]) < 2


def test_both_sides_of_a_hedged_contract_are_rows_of_their_own() -> None:
    desk = StreamDesk(position_mode=PositionMode.HEDGE)
    private, business = desk.everything()
    desk.order(posSide="long", attachAlgoOrds=attached(desk))
    desk.order(side="sell", posSide="short", sz="2")
    told(desk)
    desk.order(side="sell", posSide="long")
    assert told(desk) == [*FILLED, "positions long 0", "orders-algo canceled", "account USDT"]
    held = {(row["posSide"], row["pos"]) for row in private.rows("positions")}
    assert held == {("long", "1"), ("short", "2"), ("long", "0")}
    assert len({row["posId"] for row in private.rows("positions")}) == 2
    assert business.rows("orders-algo")[0]["posSide"] == "long"


def test_a_net_position_changes_its_sign() -> None:
    desk = StreamDesk()
    private, _ = desk.everything()
    desk.order()
    desk.order(side="sell", sz="3")
    assert [row["pos"] for row in private.rows("positions")] == ["1", "-2"]


# first messages, regular ones, pages


def first(desk: StreamDesk, channel: str, **named: Any) -> Wire:
    wire = desk.connect(PRIVATE)
    wire.log_in()
    wire.subscribe(channel, **named)
    return wire


def test_account_positions_and_balances_begin_with_a_snapshot_and_orders_do_not() -> None:
    desk = StreamDesk()
    desk.order()
    desk.order(ordType="limit", px=desk.off("0.99"))
    wire = desk.connect(PRIVATE)
    wire.log_in()
    for channel, named in (("account", {}), ("positions", SWAPS), ("balance_and_position", {}), ("orders", SWAPS)):
        wire.subscribe(channel, **named)
    account, positions, both = wire.pushed
    for frame in (account, positions):
        assert (frame["eventType"], frame["curPage"], frame["lastPage"]) == ("snapshot", 1, True)
    assert [row["pos"] for row in positions["data"]] == ["1"]
    assert both["data"][0]["eventType"] == "snapshot"
    assert [row["pos"] for row in both["data"][0]["posData"]] == ["1"]
    assert {row["ccy"] for row in both["data"][0]["balData"]} >= {"USDT", "USDC"}
    assert wire.of("orders") == []


def test_a_flat_accounts_positions_begin_with_an_empty_snapshot() -> None:
    (frame,) = first(StreamDesk(), "positions", **SWAPS).pushed
    assert (frame["data"], frame["lastPage"]) == ([], True)


def test_account_and_positions_are_told_every_five_seconds_as_snapshots() -> None:
    desk = StreamDesk()
    desk.order()
    account, positions = first(desk, "account"), first(desk, "positions", **SWAPS)
    desk.run(15_100)
    for wire in (account, positions):
        assert [frame["eventType"] for frame in wire.pushed] == ["snapshot"] * 4
    assert len({row["uTime"] for row in positions.rows("positions")}) == 1
    assert len({row["pTime"] for row in positions.rows("positions")}) == 4


def test_a_jump_of_the_clock_is_no_flood_of_regular_messages() -> None:
    desk = StreamDesk()
    wire = first(desk, "account")
    wire.forget()
    desk.sim("clock", advance_ms=HOURS_8)
    assert len(wire.pushed) <= 2
    desk.run(15_100)
    assert len(wire.pushed) >= 3


@pytest.mark.parametrize(("interval", "count"), [("0", 1), ("2000", 4), ("3000", 3), ("4000", 2)])
def test_the_interval_can_be_asked_for(interval: str, count: int) -> None:
    desk = StreamDesk()
    wire = first(desk, "account", extraParams=f'{{"updateInterval": "{interval}"}}')
    desk.run(6_500)
    assert len(wire.pushed) == count


def test_no_regular_messages_come_after_an_unsubscription() -> None:
    desk = StreamDesk()
    wire = first(desk, "account")
    wire.ask("unsubscribe", {"channel": "account"})
    wire.forget()
    desk.order()
    desk.run(20_000)
    assert wire.pushed == []


def test_flat_positions_are_told_once_and_not_again() -> None:
    desk = StreamDesk()
    desk.order()
    wire = first(desk, "positions", **SWAPS)
    desk.order(side="sell")
    wire.say("ping")
    desk.run(12_000)
    assert [[row["pos"] for row in frame["data"]] for frame in wire.of("positions")] == [["1"], ["0"]]


def test_many_positions_come_in_pages_of_which_the_last_says_so() -> None:
    desk = StreamDesk(symbols=60, balance=Decimal(1_000_000))
    for symbol in [row.symbol for row in desk.simulation.engine.instruments()]:
        desk.order(instId=symbol)
    wire = first(desk, "positions", **SWAPS)
    assert [(frame["curPage"], frame["lastPage"], len(frame["data"])) for frame in wire.pushed] == [
        (1, False, 50), (2, True, 10),
    ]  # fmt: skip


# filters


@pytest.mark.parametrize(
    ("named", "hears"),
    [
        ({"instType": "ANY"}, True),
        ({"instType": "SWAP"}, True),
        ({"instType": "SWAP", "instId": BTC}, True),
        ({"instType": "SWAP", "instId": ETH}, False),
        ({"instType": "SWAP", "instFamily": "BTC-USDT"}, True),
        ({"instType": "SWAP", "instFamily": "ETH-USDT"}, False),
        ({"instType": "SPOT"}, False),
        ({"instType": "FUTURES"}, False),
    ],
)
def test_a_subscription_hears_what_it_asked_for_under_its_own_argument(named: dict[str, str], *, hears: bool) -> None:
    desk = StreamDesk()
    wire = desk.connect(PRIVATE)
    wire.log_in()
    wire.subscribe("orders", **named)
    wire.subscribe("positions", **named, **QUIET)
    wire.forget()
    desk.order()
    assert (len(wire.rows("orders")), len(wire.rows("positions"))) == ((2, 1) if hears else (0, 0))
    for frame in wire.pushed:
        assert frame["arg"] == {"channel": frame["arg"]["channel"], **named, "uid": frame["arg"]["uid"]}


def test_two_arguments_of_one_channel_are_told_separately() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    wire.subscribe("orders", instType="ANY")
    desk.order()
    assert [frame["arg"]["instType"] for frame in wire.of("orders")] == ["SWAP", "ANY", "SWAP", "ANY"]


def test_the_account_can_be_asked_for_one_currency() -> None:
    desk = StreamDesk()
    wire = first(desk, "account", ccy="USDC", **QUIET)
    assert [row["ccy"] for row in wire.rows("account")[0]["details"]] == ["USDC"]
    wire.forget()
    desk.order()
    assert wire.pushed == []


def test_the_account_is_told_only_when_its_money_moved() -> None:
    desk = StreamDesk()
    desk.order()
    desk.everything()
    desk.order(side="sell", ordType="limit", px=desk.off("1.05"), reduceOnly=True)
    assert told(desk) == ["orders live"]
    desk.order(ordType="limit", px=desk.off("0.95"))
    assert told(desk) == ["orders live", "account USDT"]
    desk.algo(slTriggerPx=desk.off("0.95"), slOrdPx="-1")
    assert told(desk) == ["orders-algo live"]


def test_nobody_who_listened_before_is_told_of_a_second_subscription() -> None:
    desk = StreamDesk()
    early = desk.private("positions")
    desk.order()
    early.forget()
    first(desk, "positions", **SWAPS)
    assert early.pushed == []
