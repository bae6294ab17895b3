"""Wallet, positions, settings and histories over REST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, Desk
from tools.venuesim.exchange.model import PositionMode

ONE = {"category": "linear", "symbol": BTC}
LEVERAGE = "/v5/position/set-leverage"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def near(desk: Desk, share: str) -> str:
    return f"{desk.price() * Decimal(share):.1f}0"


def code(desk: Desk, method: str, path: str, **params: Any) -> int:
    desk.submit(method, path, params)
    return int(desk._last()["retCode"])


def position(desk: Desk, index: int = 0, symbol: str = BTC) -> dict[str, Any]:
    rows = desk.ok("GET", "/v5/position/list", category="linear", symbol=symbol)["list"]
    return next(dict(row) for row in rows if row["positionIdx"] == index)


def wallet(desk: Desk) -> dict[str, Any]:
    (row,) = desk.ok("GET", "/v5/account/wallet-balance", accountType="UNIFIED")["list"]
    return dict(row)


def coin(desk: Desk, name: str = "USDT") -> dict[str, Any]:
    return next(dict(row) for row in wallet(desk)["coin"] if row["coin"] == name)


def test_the_wallet_counts_both_coins_and_one_pool_of_free_margin() -> None:
    desk = Desk()
    assert wallet(desk)["totalAvailableBalance"] == "20000"
    desk.order(qty="0.100")
    row = wallet(desk)
    held = position(desk)
    assert Decimal(row["totalInitialMargin"]) == Decimal(held["positionIM"])
    assert Decimal(row["totalAvailableBalance"]) == Decimal(row["totalMarginBalance"]) - Decimal(held["positionIM"])
    assert coin(desk)["availableToWithdraw"] == ""
    only = desk.ok("GET", "/v5/account/wallet-balance", accountType="UNIFIED", coin="USDC")["list"][0]["coin"]
    assert [entry["coin"] for entry in only] == ["USDC"]
    assert code(desk, "GET", "/v5/account/wallet-balance", accountType="CONTRACT") == 10001


def test_a_named_contract_has_a_row_also_when_flat() -> None:
    desk = Desk()
    row = position(desk)
    assert (row["side"], row["size"], row["avgPrice"], row["seq"], row["liqPrice"]) == ("", "0", "0", -1, "")
    assert desk.ok("GET", "/v5/position/list", category="linear", settleCoin="USDT")["list"] == []
    assert code(desk, "GET", "/v5/position/list", category="linear") == 10001
    assert desk.ok("GET", "/v5/position/list", category="inverse", settleCoin="BTC")["list"] == []


def test_results_of_a_holding_begin_anew_with_each_one() -> None:
    desk = Desk()
    desk.order(qty="0.020")
    paid = Decimal(coin(desk)["cumRealisedPnl"])
    assert paid < 0
    assert Decimal(position(desk)["curRealisedPnl"]) == paid
    desk.order(side="Sell", qty="0.010")
    assert Decimal(position(desk)["curRealisedPnl"]) == Decimal(coin(desk)["cumRealisedPnl"])
    desk.order(side="Sell", qty="0.030")
    row = position(desk)
    assert (row["side"], row["size"]) == ("Sell", "0.020")
    fills = desk.ok("GET", "/v5/execution/list", **ONE)["list"]
    turned = [fill for fill in fills if fill["orderId"] == fills[0]["orderId"]]
    fees = sum((Decimal(fill["execFee"]) for fill in turned), Decimal(0))
    # Two thirds of the order that turned the position round opened the new one.
    assert abs(Decimal(row["curRealisedPnl"]) + fees * 2 / 3) < Decimal("0.001")
    assert Decimal(row["cumRealisedPnl"]) == Decimal(coin(desk)["cumRealisedPnl"])


def test_leverage_is_set_once_and_within_the_tiers() -> None:
    desk = Desk()
    assert desk.ok("POST", LEVERAGE, **ONE, buyLeverage="10", sellLeverage="10") == {}
    assert position(desk)["leverage"] == "10"
    assert code(desk, "POST", LEVERAGE, **ONE, buyLeverage="10", sellLeverage="10") == 110043
    assert code(desk, "POST", LEVERAGE, **ONE, buyLeverage="10", sellLeverage="11") == 10001
    assert code(desk, "POST", LEVERAGE, **ONE, buyLeverage="101", sellLeverage="101") == 110013
    assert code(desk, "POST", LEVERAGE, **ONE, buyLeverage="0", sellLeverage="0") == 10001
    (row,) = desk.ok("GET", "/v5/position/symbol-info", **ONE)["list"]
    assert row == {"symbol": BTC, "leverage": "10", "side": "", "positionIdx": 0}


def test_the_position_mode_changes_only_while_nothing_is_open() -> None:
    desk = Desk()
    switch = {"category": "linear", "coin": "USDT"}
    assert code(desk, "POST", "/v5/position/switch-mode", **switch, mode=0) == 110025
    desk.order(orderType="Limit", price=near(desk, "0.995"))
    assert code(desk, "POST", "/v5/position/switch-mode", **switch, mode=3) == 110028
    desk.ok("POST", "/v5/order/cancel-all", **ONE)
    desk.order()
    assert code(desk, "POST", "/v5/position/switch-mode", **switch, mode=3) == 110024
    desk.order(side="Sell")
    assert code(desk, "POST", "/v5/position/switch-mode", **switch, mode=3) == 0
    rows = desk.ok("GET", "/v5/position/list", **ONE)["list"]
    assert [row["positionIdx"] for row in rows] == [1, 2]
    assert code(desk, "POST", "/v5/position/switch-mode", category="linear", symbol="BTCPERP", mode=0) == 110029
    assert code(desk, "POST", "/v5/position/switch-mode", **switch, mode=1) == 10001


def test_the_margin_mode_is_the_accounts() -> None:
    desk = Desk()
    mode = "/v5/account/set-margin-mode"
    assert code(desk, "POST", mode, setMarginMode="REGULAR_MARGIN") == 110026
    assert code(desk, "POST", mode, setMarginMode="NONE") == 10001
    desk.order()
    refused = desk.post(mode, setMarginMode="ISOLATED_MARGIN")
    assert refused["retCode"] == 3400045
    assert refused["result"]["reasons"][0]["reasonMsg"]
    desk.order(side="Sell")
    assert desk.ok("POST", mode, setMarginMode="ISOLATED_MARGIN") == {"reasons": []}
    assert desk.ok("GET", "/v5/account/info")["marginMode"] == "ISOLATED_MARGIN"
    assert wallet(desk)["totalAvailableBalance"] == ""
    assert desk.ok("POST", mode, setMarginMode="REGULAR_MARGIN") == {"reasons": []}
    row = wallet(desk)
    assert Decimal(row["totalAvailableBalance"]) == Decimal(row["totalMarginBalance"])


def test_margin_moves_only_into_isolated_positions() -> None:
    desk = Desk()
    add = {**ONE, "positionIdx": 0, "margin": "10"}
    assert code(desk, "POST", "/v5/position/add-margin", **add) == 110076
    desk.ok("POST", "/v5/account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")
    assert code(desk, "POST", "/v5/position/add-margin", **add) == 110033
    desk.order()
    before = Decimal(position(desk)["positionBalance"])
    answer = desk.ok("POST", "/v5/position/add-margin", **add)
    assert Decimal(answer["positionBalance"]) == before + 10
    assert code(desk, "POST", "/v5/position/add-margin", **{**add, "margin": "20000"}) == 110014
    assert code(desk, "POST", "/v5/position/add-margin", **{**add, "margin": "-500"}) == 110078
    desk.ok("POST", "/v5/position/set-auto-add-margin", **ONE, positionIdx=0, autoAddMargin=1)
    assert position(desk)["autoAddMargin"] == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v5/position/switch-isolated", 100028),
        ("/v5/position/set-risk-limit", 100028),
        ("/v5/position/confirm-pending-mmr", 110082),
    ],
)
def test_calls_that_have_nothing_to_do_here_say_so(path: str, expected: int) -> None:
    assert code(Desk(), "POST", path, **ONE) == expected


def test_histories_end_with_what_they_keep() -> None:
    desk = Desk()
    desk.order(orderLinkId="filled")
    desk.order(orderType="Limit", price=near(desk, "0.995"), orderLinkId="cancelled")
    desk.order(orderType="Limit", price=near(desk, "0.6"), orderLinkId="open")
    desk.ok("POST", "/v5/order/cancel", **ONE, orderLinkId="cancelled")

    def names(**more: Any) -> list[str]:
        return [row["orderLinkId"] for row in desk.ok("GET", "/v5/order/history", **ONE, **more)["list"]]

    assert names() == ["cancelled", "filled"]
    assert names(orderStatus="Filled") == ["filled"]
    assert names(orderLinkId="open") == []
    assert names(baseCoin="ETH") == []
    now = desk.simulation.now_ms()
    assert code(desk, "GET", "/v5/order/history", **ONE, startTime=now - 8 * DAY_MS, endTime=now) == 10001
    desk.simulation.advance(2 * DAY_MS)
    assert names() == ["filled"]
    assert names(orderLinkId="cancelled") == []
    closed = desk.ok("GET", "/v5/order/realtime", **ONE, openOnly=1)["list"]
    assert [row["orderLinkId"] for row in closed] == ["cancelled", "filled"]


def test_lists_come_in_pages() -> None:
    desk = Desk()
    for number in range(5):
        desk.order(qty="0.001", orderLinkId=f"n{number}")
        desk.run(1)
    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        result = desk.ok("GET", "/v5/execution/list", **ONE, limit=2, cursor=cursor)
        assert len(result["list"]) == expected
        seen += [row["orderLinkId"] for row in result["list"]]
        cursor = result["nextPageCursor"]
    assert (seen, cursor) == (["n4", "n3", "n2", "n1", "n0"], "")
    assert code(desk, "GET", "/v5/execution/list", **ONE, limit=101) == 10001


def test_a_close_is_one_row_of_closed_profits() -> None:
    desk = Desk()
    desk.order(qty="0.020")
    entry = Decimal(position(desk)["avgPrice"])
    desk.order(side="Sell", qty="0.020", reduceOnly=True, orderLinkId="close")
    (row,) = desk.ok("GET", "/v5/position/closed-pnl", **ONE)["list"]
    assert (row["side"], row["closedSize"], row["qty"]) == ("Sell", "0.020", "0.020")
    assert abs(Decimal(row["avgEntryPrice"]) - entry) < Decimal("0.000001")
    fills = desk.ok("GET", "/v5/execution/list", **ONE, orderLinkId="close")["list"]
    fees = sum(Decimal(fill["execFee"]) for fill in fills)
    profit = Decimal(row["cumExitValue"]) - Decimal(row["cumEntryValue"])
    assert abs(Decimal(row["closedPnl"]) - (profit - fees)) < Decimal("0.0000001")
    assert row["fillCount"] == str(len(fills))


def test_funding_is_an_execution_and_a_settlement() -> None:
    desk = Desk()
    desk.order()
    desk.run(9 * HOUR_MS)
    funding = desk.ok("GET", "/v5/execution/list", **ONE, execType="Funding")["list"][0]
    assert (funding["execQty"], funding["side"], funding["orderLinkId"]) == ("0.010", "Buy", "")
    assert Decimal(funding["execFee"]) > 0
    log = desk.ok("GET", "/v5/account/transaction-log", accountType="UNIFIED", type="SETTLEMENT")["list"]
    assert Decimal(log[0]["funding"]) == -Decimal(funding["execFee"])
    assert Decimal(position(desk)["curRealisedPnl"]) == Decimal(coin(desk)["cumRealisedPnl"])


def test_the_transaction_log_adds_up_to_the_wallet() -> None:
    desk = Desk()
    desk.order(qty="0.020")
    desk.order(side="Sell", qty="0.010")
    log = desk.ok("GET", "/v5/account/transaction-log", accountType="UNIFIED", currency="USDT")["list"]
    assert [row["type"] for row in log] == ["TRADE", "TRADE", "TRANSFER_IN"]
    assert sum(Decimal(row["change"]) for row in log) == Decimal(coin(desk)["walletBalance"])
    assert log[0]["cashBalance"] == coin(desk)["walletBalance"]
    assert Decimal(log[0]["change"]) == Decimal(log[0]["cashFlow"]) - Decimal(log[0]["fee"])


def test_every_position_of_hedge_mode_pays_its_own_funding() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    desk.order(positionIdx=1, qty="0.030")
    desk.order(side="Sell", positionIdx=2, qty="0.010")
    before = {index: Decimal(position(desk, index)["curRealisedPnl"]) for index in (1, 2)}
    desk.run(9 * HOUR_MS)
    after = {index: Decimal(position(desk, index)["curRealisedPnl"]) for index in (1, 2)}
    assert after[1] < before[1]
    assert after[2] > before[2]


def test_fee_rates_and_dead_mans_switch_are_told() -> None:
    desk = Desk()
    (row,) = desk.ok("GET", "/v5/account/fee-rate", **ONE)["list"]
    assert row == {"symbol": BTC, "takerFeeRate": "0.00055", "makerFeeRate": "0.0002"}
    assert desk.ok("GET", "/v5/account/query-dcp-info")["dcpInfos"] == []
    switch = "/v5/order/disconnected-cancel-all"
    assert code(desk, "POST", switch, product="DERIVATIVES", timeWindow=2) == 10001
    desk.ok("POST", switch, product="DERIVATIVES", timeWindow=40)
    (info,) = desk.ok("GET", "/v5/account/query-dcp-info")["dcpInfos"]
    assert info["timeWindow"] == "40"
    assert desk.ok("GET", "/v5/account/info")["dcpStatus"] == "ON"


def test_usdc_contracts_stay_one_way_in_hedge_mode() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    desk.order(symbol="BTCPERP", stopLoss="60000")
    assert position(desk, symbol="BTCPERP")["stopLoss"] == "60000.00"
    order = {"category": "linear", "symbol": "BTCPERP", "side": "Buy", "orderType": "Market", "qty": "0.010"}
    assert code(desk, "POST", "/v5/order/create", **order, positionIdx=1) == 10001
    assert code(desk, "POST", "/v5/position/switch-mode", category="linear", coin="USDT", mode=0) == 0
    desk.order(symbol="BTCPERP", side="Sell", reduceOnly=True)
    assert position(desk, symbol="BTCPERP")["size"] == "0"


def test_the_dead_mans_switch_cancels_when_the_last_connection_stays_away() -> None:
    desk = Desk()
    desk.ok("POST", "/v5/order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=10)
    desk.order(orderType="Limit", price=near(desk, "0.6"), orderLinkId="rest")
    desk.order(side="Sell", triggerPrice=near(desk, "0.5"), triggerDirection=2, orderLinkId="stop")

    def lose(*topics: str) -> None:
        wire = desk.private_stream(*topics)
        assert wire.socket is not None
        wire.socket.gone()

    def left() -> list[str]:
        return [row["client_id"] for row in desk.look("state")["orders"]]

    lose("order")
    desk.run(10_000)
    assert left() == ["rest", "stop"]
    lose("dcp.future")
    desk.run(9_999)
    back = desk.private_stream("dcp.future")
    desk.run(10_000)
    assert left() == ["rest", "stop"]
    assert back.socket is not None
    back.socket.gone()
    desk.run(9_999)
    assert left() == ["rest", "stop"]
    desk.run(1)
    assert left() == ["stop"]
