"""Fees in BNB, shared collateral, isolated margin, funding, liquidation and ADL, in account and stream."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.binance.bench import Bench, Sent
from tests.venuesim.binance.desk import Desk
from tools.venuesim.exchange.model import PositionMode

d = Decimal
HOUR_MS = 3_600_000


@pytest.fixture
def bench() -> Bench:
    return Bench()


def accounts(sent: Sent, reason: str) -> list[dict[str, Any]]:
    return [row["a"] for row in sent.of("ACCOUNT_UPDATE") if row["a"]["m"] == reason]


def test_fees_are_paid_in_bnb_at_a_discount_while_the_wallet_lasts(bench: Bench) -> None:
    bench.exchange.operator.set_wallet("BNB", d("0.01"))
    bench.ok("POST", "/fapi/v1/feeBurn", feeBurn="true")
    assert bench.ok("GET", "/fapi/v1/feeBurn") == {"feeBurn": True}
    sent = bench.user_stream()
    order = bench.order()
    trade = bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")[0]
    bnb = bench.exchange.worth("BNB")
    assert trade["commissionAsset"] == "BNB"
    assert abs(d(trade["commission"]) - d(trade["quoteQty"]) * d("0.00045") / bnb) < d("0.0000001")
    filled = sent.of("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (filled["N"], d(filled["n"])) == ("BNB", d(trade["commission"]))
    changed = accounts(sent, "ORDER")[0]
    assert [row["a"] for row in changed["B"]] == ["USDT", "BNB"]
    assert d(changed["B"][0]["wb"]) == 10_000
    # The break-even price counts the fee at the rate of the quote asset all the same.
    position = changed["P"][0]
    assert abs(d(position["bep"]) / d(position["ep"]) - d("1.0005")) < d("0.0000001")
    bench.order(side="SELL", quantity="2.5")
    assert bench.ok("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")[-1]["commissionAsset"] == "USDT"
    assert order["status"] == "FILLED"


def test_multi_assets_mode_lends_one_wallet_to_the_other(bench: Bench) -> None:
    bench.exchange.operator.set_wallet("USDT", d(100))
    assert bench.refused_order(quantity="0.100") == -2019
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    bench.order(quantity="0.100")
    account = bench.ok("GET", "/fapi/v3/account")
    assert d(account["totalWalletBalance"]) == sum(d(row["walletBalance"]) for row in account["assets"])
    assert d(account["availableBalance"]) == d(account["assets"][0]["availableBalance"])
    assert 9_000 < d(account["availableBalance"]) < 10_100
    assert bench.ok("GET", "/fapi/v1/accountConfig")["multiAssetsMargin"] is True
    assert bench.ok("GET", "/fapi/v2/account")["multiAssetsMargin"] is True


def test_multi_assets_mode_liquidates_only_when_the_pool_is_spent(bench: Bench) -> None:
    bench.exchange.operator.set_wallet("USDT", d(1_000))
    bench.ok("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    bench.order(quantity="0.200")
    bench.move(bench.price() * 90 // 100)
    assert len(bench.exchange.positions()) == 1
    bench.move(bench.price() * 30 // 100)
    assert len(bench.exchange.positions()) == 0


def test_an_isolated_position_answers_for_itself(bench: Bench) -> None:
    bench.ok("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.order(quantity="0.100")
    sent = bench.user_stream()
    bench.ok("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount="50", type=1)
    (moved,) = accounts(sent, "MARGIN_TRANSFER")
    assert (moved["P"][0]["mt"], len(moved["B"])) == ("isolated", 1)
    (risk,) = bench.ok("GET", "/fapi/v3/positionRisk")
    assert d(risk["isolatedWallet"]) == d(moved["P"][0]["iw"])
    balance = bench.ok("GET", "/fapi/v3/balance")[0]
    assert d(balance["crossWalletBalance"]) == d(balance["balance"]) - d(risk["isolatedWallet"])
    liquidation = d(risk["liquidationPrice"])
    bench.move(f"{liquidation * d('1.001'):.1f}")
    assert len(bench.exchange.positions()) == 1
    bench.move(f"{liquidation * d('0.999'):.1f}")
    assert len(bench.exchange.positions()) == 0
    left = d(bench.ok("GET", "/fapi/v3/balance")[0]["balance"])
    assert abs(left - d(balance["crossWalletBalance"])) < 1


def test_hedge_mode_keeps_both_directions_apart() -> None:
    bench = Bench(mode=PositionMode.HEDGE)
    bench.order(positionSide="LONG")
    bench.order(positionSide="SHORT", side="SELL", quantity="0.020")
    rows = {row["positionSide"]: row for row in bench.ok("GET", "/fapi/v3/positionRisk")}
    assert {side: row["positionAmt"] for side, row in rows.items()} == {"LONG": "0.010", "SHORT": "-0.020"}
    every = bench.ok("GET", "/fapi/v2/positionRisk", symbol="ETHUSDT")
    assert [row["positionSide"] for row in every] == ["LONG", "SHORT"]
    (ranks,) = bench.ok("GET", "/fapi/v1/adlQuantile")
    assert ranks["adlQuantile"].keys() == {"LONG", "SHORT", "HEDGE"}
    stop = bench.stop(positionSide="LONG", reduceOnly=None)
    assert (stop["positionSide"], stop["reduceOnly"]) == ("LONG", False)
    bench.move("69000")
    assert [row["positionSide"] for row in bench.ok("GET", "/fapi/v3/positionRisk")] == ["SHORT"]


@pytest.mark.parametrize(("margin_type", "rows"), [("CROSSED", 0), ("ISOLATED", 1)])
def test_funding_is_paid_at_eight_hours_and_told_with_its_symbol(margin_type: str, rows: int) -> None:
    desk = Desk()
    if margin_type == "ISOLATED":
        desk.ask("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    desk.ask("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
    due = desk.ask("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT")["nextFundingTime"]
    assert due % (8 * HOUR_MS) == 0
    desk.simulation.advance(due - desk.simulation.now_ms() - 30 * 60_000)
    desk.run(1_000)
    desk.reconnect()
    assert not [row for row in desk.ask("GET", "/fapi/v1/income") if row["incomeType"] == "FUNDING_FEE"]
    desk.simulation.advance(30 * 60_000)
    desk.run(1_000)
    (told,) = [row for _, row in desk.frames if row["e"] == "ACCOUNT_UPDATE" and row["a"]["m"] == "FUNDING_FEE"]
    assert (told["a"]["S"], len(told["a"]["B"]), len(told["a"]["P"])) == ("BTCUSDT", 1, rows)
    (paid,) = [row for row in desk.ask("GET", "/fapi/v1/income") if row["incomeType"] == "FUNDING_FEE"]
    assert (d(paid["income"]) < 0, paid["symbol"]) == (True, "BTCUSDT")
    newest = desk.ask("GET", "/fapi/v1/fundingRate", symbol="BTCUSDT")[-1]
    assert newest["fundingTime"] == due


def test_a_liquidation_is_announced_cancels_orders_and_is_settled_in_the_venues_order() -> None:
    bench = Bench(balance="1000")
    bench.order(quantity="0.200")
    bench.order(side="SELL", type="LIMIT", timeInForce="GTC", price="79000", newClientOrderId="mine")
    limit = d(bench.ok("GET", "/fapi/v3/positionRisk")[0]["liquidationPrice"])
    sent = bench.user_stream()
    bench.move(f"{limit * d('1.0005'):.1f}")
    bench.move(f"{limit * d('0.999'):.1f}")
    assert sent.types == [
        "MARGIN_CALL",
        "ORDER_TRADE_UPDATE:CANCELED",
        "ORDER_TRADE_UPDATE:NEW",
        "ORDER_TRADE_UPDATE:FILLED",
        "ACCOUNT_UPDATE",
        "ACCOUNT_UPDATE",
    ]
    cancelled, begun, taken = (row["o"] for row in sent.of("ORDER_TRADE_UPDATE"))
    assert (cancelled["c"], cancelled["er"]) == ("mine", "5")
    assert begun["c"].startswith("autoclose-")
    assert (taken["c"], taken["x"], taken["X"]) == (begun["c"], "CALCULATED", "FILLED")
    assert [row["a"]["m"] for row in sent.of("ACCOUNT_UPDATE")] == ["ORDER", "INSURANCE_CLEAR"]
    (forced,) = bench.ok("GET", "/fapi/v1/forceOrders", autoCloseType="LIQUIDATION")
    assert (forced["clientOrderId"], forced["status"]) == (begun["c"], "FILLED")
    assert bench.ok("GET", "/fapi/v1/forceOrders", autoCloseType="ADL") == []
    assert bench.ok("GET", "/fapi/v3/positionRisk") == []


def test_a_margin_call_comes_once_each_time_the_margin_runs_short() -> None:
    bench = Bench(balance="1000")
    bench.order(quantity="0.200")
    entry, limit = bench.price(), d(bench.ok("GET", "/fapi/v3/positionRisk")[0]["liquidationPrice"])
    sent = bench.user_stream()
    for price in (limit * d("1.0005"), limit * d("1.0004"), entry, limit * d("1.0005")):
        bench.move(f"{price:.1f}")
    calls = sent.of("MARGIN_CALL")
    assert len(calls) == 2
    assert (calls[0]["p"][0]["mt"], d(calls[0]["cw"])) == ("CROSSED", bench.exchange.balance("USDT").cross_wallet)


def test_a_deleveraged_position_is_told_as_calculated_with_its_mark(bench: Bench) -> None:
    bench.order()
    sent = bench.user_stream()
    bench.exchange.deleverage("BTCUSDT", d("0.5"))
    row = sent.of("ORDER_TRADE_UPDATE")[-1]["o"]
    assert (row["c"], row["x"], row["z"], row["S"]) == ("adl_autoclose", "CALCULATED", "0.005", "SELL")
    assert sent.of("TRADE_LITE") == []
    (forced,) = bench.ok("GET", "/fapi/v1/forceOrders", autoCloseType="ADL")
    assert forced["executedQty"] == "0.005"
    assert bench.ok("GET", "/fapi/v1/adlQuantile")[0]["adlQuantile"].keys() == {"LONG", "SHORT", "BOTH"}


def test_a_delisting_settles_what_is_held(bench: Bench) -> None:
    bench.order()
    sent = bench.user_stream()
    bench.exchange.settle("BTCUSDT")
    assert sent.of("ORDER_TRADE_UPDATE")[-1]["o"]["c"].startswith("settlement_autoclose-")
    assert bench.ok("GET", "/fapi/v3/positionRisk") == []
    assert bench.ok("GET", "/fapi/v1/forceOrders") == []
