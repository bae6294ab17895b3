"""The account over REST: balances, positions, modes, leverage, books, fees, and what the risk engine does to them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, Desk, code_of
from tools.venuesim.exchange.model import PositionMode

HOUR_MS = 3_600_000


def _money(desk: Desk, asset: str = "USDT") -> dict[str, Any]:
    (row,) = desk.ok("GET", "account/balance", ccy=asset)
    (coin,) = row["details"]
    assert coin["ccy"] == asset
    return dict(coin)


def test_equity_is_cash_and_profit_and_margin_is_not_free() -> None:
    desk = Desk()
    desk.order(sz="100")
    desk.move(desk.off("1.01"))
    coin = _money(desk)
    position = desk.position()
    assert Decimal(coin["eq"]) == Decimal(coin["cashBal"]) + Decimal(position["upl"])
    assert Decimal(coin["upl"]) == Decimal(position["upl"]) > 0
    assert Decimal(coin["imr"]) == Decimal(position["imr"])
    assert Decimal(coin["availEq"]) == Decimal(coin["eq"]) - Decimal(coin["imr"])


def test_all_currencies_are_listed_unless_one_is_asked_for() -> None:
    (row,) = Desk().ok("GET", "account/balance")
    assert [coin["ccy"] for coin in row["details"]] == ["USDT", "USDC"]
    assert row["totalEq"] == "20000"


def test_usdc_contracts_settle_in_usdc() -> None:
    desk = Desk()
    desk.order(instId="BTC-USDC-SWAP", sz="10")
    assert desk.position("BTC-USDC-SWAP")["ccy"] == "USDC"
    assert Decimal(_money(desk, "USDC")["cashBal"]) < 10_000 == Decimal(_money(desk)["cashBal"])


def test_the_margin_mode_comes_with_the_order() -> None:
    desk = Desk()
    desk.order(sz="10", tdMode="isolated")
    row = desk.position()
    assert (row["mgnMode"], row["imr"]) == ("isolated", "")
    assert Decimal(row["margin"]) > 0
    assert Decimal(row["liqPx"]) < Decimal(row["avgPx"])
    assert Decimal(_money(desk)["isoEq"]) == Decimal(row["margin"]) + Decimal(row["upl"])
    assert code_of(desk.place(tdMode="cross")) == "51000"


def test_margin_moves_into_isolated_positions_only() -> None:
    desk = Desk()
    assert desk.post("account/position/margin-balance", instId=BTC, type="add", amt="5")["code"] == "51043"
    desk.order(sz="10", tdMode="isolated")
    before = Decimal(desk.position()["margin"])
    desk.ok("POST", "account/position/margin-balance", instId=BTC, posSide="net", type="add", amt="5")
    assert Decimal(desk.position()["margin"]) == before + 5
    too_much = desk.post("account/position/margin-balance", instId=BTC, posSide="net", type="reduce", amt="900")
    assert too_much["code"] == "59301"


def test_a_position_tells_its_results_and_keeps_its_number() -> None:
    desk = Desk()
    desk.order(sz="2")
    first = desk.position()
    desk.move(desk.off("1.01"))
    desk.order(side="sell", sz="1", reduceOnly=True)
    row = desk.position()
    fills = desk.ok("GET", "trade/fills")
    assert Decimal(row["pnl"]) == sum(Decimal(fill["fillPnl"]) for fill in fills) > 0
    assert Decimal(row["fee"]) == sum(Decimal(fill["fee"]) for fill in fills) < 0
    assert Decimal(row["realizedPnl"]) == Decimal(row["pnl"]) + Decimal(row["fee"])
    assert (row["tradeId"], fills[0]["subType"], fills[1]["subType"]) == (fills[0]["tradeId"], "5", "3")
    (partly,) = desk.ok("GET", "account/positions-history")
    assert (partly["type"], partly["closeTotalPos"], partly["openMaxPos"]) == ("1", "1", "2")
    desk.run(1_000)
    desk.order(side="sell", sz="1", reduceOnly=True)
    (ended,) = desk.ok("GET", "account/positions-history")
    assert (ended["type"], ended["posId"], ended["direction"]) == ("2", first["posId"], "long")
    desk.order(sz="1")
    again = desk.position()
    assert again["posId"] == first["posId"]
    assert again["cTime"] > first["cTime"]
    assert again["pnl"] == "0"


def test_leverage_is_read_back_and_refused_beyond_its_range() -> None:
    desk = Desk()
    row = desk.one("POST", "account/set-leverage", instId=BTC, lever=7, mgnMode="cross")
    assert (row["lever"], row["posSide"]) == ("7", "net")
    assert desk.one("GET", "account/leverage-info", instId=BTC, mgnMode="cross")["lever"] == "7"
    desk.order()
    assert desk.position()["lever"] == "7"
    assert desk.post("account/set-leverage", instId=BTC, lever="101", mgnMode="cross")["code"] == "59102"
    assert desk.post("account/set-leverage", instId=BTC, lever="0", mgnMode="cross")["code"] == "59105"


def test_leverage_is_not_raised_beyond_the_tier_of_the_position() -> None:
    desk = Desk(balance=10**8)
    desk.sim("account", position={"symbol": BTC, "qty": "200", "entry": str(desk.price())})
    assert desk.position()["pos"] == "20000"
    assert desk.post("account/set-leverage", instId=BTC, lever="100", mgnMode="cross")["code"] == "51004"


def test_leverage_waits_until_nothing_else_does() -> None:
    desk = Desk()
    number = desk.order(ordType="limit", px=desk.off("0.9"))
    change = {"instId": BTC, "lever": "5", "mgnMode": "cross"}
    assert desk.post("account/set-leverage", **change)["code"] == "59107"
    assert desk.post("account/set-leverage", **{**change, "lever": "20"})["code"] == "0"
    desk.post("trade/cancel-order", instId=BTC, ordId=number)
    algo = desk.algo(slTriggerPx=desk.off("0.9"), slOrdPx="-1")
    assert desk.post("account/set-leverage", **change)["code"] == "59669"
    desk.many("trade/cancel-algos", [{"instId": BTC, "algoId": algo}])
    assert desk.post("account/set-leverage", **change)["code"] == "0"


def test_isolated_hedged_leverage_has_two_sides() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    rows = desk.ok("GET", "account/leverage-info", instId=BTC, mgnMode="isolated")
    assert [row["posSide"] for row in rows] == ["long", "short"]
    assert desk.post("account/set-leverage", instId=BTC, lever="5", mgnMode="isolated")["code"] == "51000"
    change = {"instId": BTC, "lever": "5", "mgnMode": "isolated", "posSide": "short"}
    assert desk.one("POST", "account/set-leverage", **change)["posSide"] == "short"


def test_the_position_mode_is_that_of_the_account_and_needs_it_empty() -> None:
    desk = Desk()
    assert desk.one("GET", "account/config")["posMode"] == "net_mode"
    desk.ok("POST", "account/set-position-mode", posMode="net_mode")
    number = desk.order(ordType="limit", px=desk.off("0.9"))
    assert desk.post("account/set-position-mode", posMode="long_short_mode")["code"] == "59000"
    desk.post("trade/cancel-order", instId=BTC, ordId=number)
    desk.ok("POST", "account/set-position-mode", posMode="long_short_mode")
    assert desk.one("GET", "account/config")["posMode"] == "long_short_mode"
    desk.order(posSide="long")
    assert desk.post("account/set-position-mode", posMode="net_mode")["code"] == "59000"


def test_the_books_add_up_to_the_wallet() -> None:
    desk = Desk()
    desk.order(sz="3")
    desk.move(desk.off("1.01"))
    desk.order(side="sell", sz="3", reduceOnly=True)
    bills = desk.ok("GET", "account/bills", ccy="USDT")
    assert bills[0]["bal"] == _money(desk)["cashBal"]
    assert sum(Decimal(row["balChg"]) for row in bills) == Decimal(bills[0]["bal"])
    assert [row["type"] for row in bills] == ["2", "2", "1"]
    assert Decimal(bills[0]["balChg"]) == Decimal(bills[0]["pnl"]) + Decimal(bills[0]["fee"])
    older = desk.ok("GET", "account/bills", ccy="USDT", after=bills[0]["billId"], limit="1")
    assert [row["billId"] for row in older] == [bills[1]["billId"]]
    fill = desk.ok("GET", "trade/fills-history", instType="SWAP")[0]
    assert fill["billId"] == bills[0]["billId"]


def test_funding_is_booked_and_belongs_to_the_position() -> None:
    desk = Desk()
    desk.order(sz="10")
    desk.run(8 * HOUR_MS)
    (bill,) = desk.ok("GET", "account/bills", type="8")
    assert bill["subType"] == "173"
    assert Decimal(bill["balChg"]) < 0
    assert desk.position()["fundingFee"] == bill["balChg"]


def test_a_liquidated_position_leaves_marked_orders_and_a_penalty() -> None:
    desk = Desk()
    desk.order(sz="10")
    resting = desk.order(ordType="limit", px=desk.off("0.9"))
    desk.fault("liquidate", {"symbol": BTC})
    assert desk.ok("GET", "account/positions") == []
    assert desk.row(resting)["cancelSource"] == "3"
    ended = desk.ok("GET", "trade/fills")[0]
    order = desk.row(ended["ordId"])
    assert (order["category"], order["clOrdId"], order["state"]) == ("full_liquidation", "", "filled")
    assert int(ended["tradeId"]) < 0
    assert ended["subType"] == "104"
    (history,) = desk.ok("GET", "account/positions-history")
    assert history["type"] == "3"
    assert Decimal(history["liqPenalty"]) < 0
    assert {row["type"] for row in desk.ok("GET", "account/bills", instType="SWAP")} == {"2", "5"}


def test_a_deleveraged_position_is_marked_too() -> None:
    desk = Desk()
    opened = desk.row(desk.order(sz="10"))
    desk.fault("adl", {"symbol": BTC}, fraction=0.5)
    assert desk.position()["pos"] == "5"
    ended = desk.ok("GET", "trade/fills")[0]
    assert desk.row(ended["ordId"])["category"] == "adl"
    assert int(ended["tradeId"]) < 0
    assert desk.position()["tradeId"] == opened["tradeId"]


def test_fee_rates_are_negative_for_what_one_pays() -> None:
    row = Desk().one("GET", "account/trade-fee", instType="SWAP")
    assert (row["takerU"], row["makerU"], row["takerUSDC"]) == ("-0.0005", "-0.0002", "-0.0005")


def test_sizes_follow_from_the_free_margin() -> None:
    desk = Desk()
    row = desk.one("GET", "account/max-size", instId=BTC, tdMode="cross")
    most = 10_000 * 20 / desk.price() / Decimal("0.01")
    assert 0 <= most - Decimal(row["maxBuy"]) < Decimal("0.01")
    assert desk.one("GET", "account/max-avail-size", instId=BTC, tdMode="cross")["availBuy"] == "10000"


@pytest.mark.parametrize("path", ["orders-history", "orders-history-archive", "fills-history"])
def test_histories_want_the_type_of_instrument(path: str) -> None:
    assert Desk().get(f"trade/{path}")["code"] == "50014"


def test_orders_without_fills_are_forgotten_after_two_hours() -> None:
    desk = Desk()
    gone = desk.order(ordType="limit", px=desk.off("0.9"))
    desk.post("trade/cancel-order", instId=BTC, ordId=gone)
    filled = desk.order()

    def known() -> list[str]:
        return [row["ordId"] for row in desk.ok("GET", "trade/orders-history", instType="SWAP")]

    assert known() == [filled, gone]
    desk.sim("clock", advance_ms=2 * HOUR_MS + 60_000)
    desk.now = desk.simulation.time_ms()
    assert known() == [filled]
    assert desk.get("trade/order", instId=BTC, ordId=gone)["code"] == "51603"
    assert desk.get("trade/order", instId=BTC, ordId=filled)["code"] == "0"


def test_lists_are_paged_by_the_number_of_the_last_row() -> None:
    desk = Desk()
    numbers = [desk.order(ordType="limit", px=desk.off("0.9")) for _ in range(5)]
    first = desk.ok("GET", "trade/orders-pending", limit="2")
    assert [row["ordId"] for row in first] == numbers[:2:-1]
    second = desk.ok("GET", "trade/orders-pending", limit="2", after=first[-1]["ordId"])
    assert [row["ordId"] for row in second] == numbers[2:0:-1]
    newer = desk.ok("GET", "trade/orders-pending", limit="2", before=numbers[1])
    assert [row["ordId"] for row in newer] == [numbers[3], numbers[2]]
