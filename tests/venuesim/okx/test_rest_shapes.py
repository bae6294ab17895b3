"""Answers to signed requests against payloads of the venue: the same keys, the same JSON types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.shapes import differences
from tests.venuesim.okx.desk import BTC, Desk
from tools.venuesim.exchange.model import PositionMode

FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "venues" / "fixtures" / "okx_swap"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the venue's payloads are not at hand")

# Fields that the documented examples, all of them older, lack.
_SINCE_2025 = {".data[].tradeQuoteCcy"}
# Spread over several captures: each shows the fields of its own day.
_BALANCE = {
    ".data[].availEq", ".data[].notionalUsdForBorrow", ".data[].notionalUsdForFutures",
    ".data[].notionalUsdForOption", ".data[].notionalUsdForSwap",
    *(f".data[].details[].{name}" for name in (
        "accAvgPx", "coinUsdPrice", "colBorrAutoConversion", "collateralEnabled", "collateralRestrict", "openAvgPx",
        "smtSyncEq", "spotBal", "spotCopyTradingEq", "spotUpl", "spotUplRatio", "totalPnl", "totalPnlRatio",
    )),
}  # fmt: skip
_POSITION = {f".data[].{name}" for name in (
    "hedgedPos", "nonSettleAvgPx", "settledPnl", "baseBal", "quoteBal", "pTime",
)}  # fmt: skip
_CONFIG = {f".data[].{name}" for name in (
    "enableSpotBorrow", "feeType", "liquidationGear", "settleCcy", "settleCcyList", "spotBorrowAutoRepay", "stgyType",
    "type",
)}  # fmt: skip
_BILL = {".data[].earnAmt", ".data[].earnApr"}
_FEES = {".data[].feeGroup", ".data[].ruleType", ".data[].fiat"}
_HISTORY = {".data[].nonSettleAvgPx", ".data[].settledPnl"}
# The older list of pending algo orders, and the two kept by a client, which dropped what it does not read.
_ALGO = {f".data[].{name}" for name in (
    "chaseType", "chaseVal", "isTradeBorrowMode", "linkedOrd", "maxChaseType", "maxChaseVal", "tradeQuoteCcy", "uTime",
)}  # fmt: skip
_SHORT_ALGO = _ALGO | {f".data[].{name}" for name in (
    "activePx", "actualSide", "amendPxOnTriggerType", "attachAlgoOrds", "callbackRatio", "callbackSpread", "ccy",
    "closeFraction", "failCode", "last", "lever", "moveTriggerPx", "ordIdList", "ordPx", "pxLimit", "pxSpread",
    "pxVar", "quickMgnType", "szLimit", "tgtCcy", "timeInterval", "triggerPx", "triggerPxType", "tpOrdPx",
    "tpTriggerPx", "tpTriggerPxType",
)}  # fmt: skip
_LEG = {f".data[].attachAlgoOrds[].{name}" for name in (
    "amendPxOnTriggerType", "failCode", "failReason", "sz", "tpOrdKind",
)}  # fmt: skip


def _given(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def _traded() -> Desk:
    """An account with a bit of everything."""
    desk = Desk()
    legs = [
        {"attachAlgoClOrdId": "sl1", "slTriggerPx": desk.off("0.8"), "slOrdPx": "-1"},
        {"attachAlgoClOrdId": "tp1", "tpTriggerPx": desk.off("1.2"), "tpOrdPx": "-1"},
    ]
    desk.order(sz="2")
    desk.order(side="sell", reduceOnly=True)
    desk.order(ordType="limit", px=desk.off("0.9"), clOrdId="open1", attachAlgoOrds=legs)
    desk.algo(slTriggerPx=desk.off("0.95"), slOrdPx="-1", sz=None, closeFraction="1", algoClOrdId="whole1")
    return desk


def _filled(desk: Desk) -> str:
    return str(desk.ok("GET", "trade/fills")[0]["ordId"])


@pytest.mark.parametrize(
    ("name", "path", "params", "allowed"),
    [
        ("account_balance", "account/balance", {}, _BALANCE),
        ("account_balance_captured", "account/balance", {}, _BALANCE),
        ("account_bills", "account/bills", {"type": "2"}, _BILL),
        (
            "account_config",
            "account/config",
            {},
            {".data[].feeType", ".data[].settleCcy", ".data[].settleCcyList", ".data[].stgyType"},
        ),
        ("account_config_jk", "account/config", {}, _CONFIG),
        ("account_rate_limit", "trade/account-rate-limit", {}, set()),
        ("fills", "trade/fills", {"instType": "SWAP"}, set()),
        ("fills_history", "trade/fills-history", {"instType": "SWAP"}, set()),
        ("get_leverage", "account/leverage-info", {"instId": BTC, "mgnMode": "cross"}, {".data[].ccy"}),
        ("max_avail_size", "account/max-avail-size", {"instId": BTC, "tdMode": "cross"}, set()),
        ("max_size", "account/max-size", {"instId": BTC, "tdMode": "cross"}, set()),
        ("orders_algo_pending", "trade/orders-algo-pending", {"ordType": "conditional"}, _ALGO),
        (
            "orders_algo_pending_close_fraction",
            "trade/orders-algo-pending",
            {"ordType": "conditional"},
            _SHORT_ALGO,
        ),
        ("orders_history", "trade/orders-history", {"instType": "SWAP"}, _SINCE_2025),
        ("orders_history_captured", "trade/orders-history", {"instType": "SWAP"}, _SINCE_2025),
        ("orders_pending", "trade/orders-pending", {}, {".data[].attachAlgoOrds"}),
        ("orders_pending_tp_sl", "trade/orders-pending", {}, _LEG | _SINCE_2025),
        ("positions", "account/positions", {}, _POSITION),
        ("positions_history_captured", "account/positions-history", {}, _HISTORY),
        ("trade_fee_doc", "account/trade-fee", {"instType": "SWAP"}, _FEES | {".data[].uly"}),
        ("trade_fee", "account/trade-fee", {"instType": "SWAP"}, _FEES),
    ],
)
def test_answers_to_questions(name: str, path: str, params: dict[str, str], allowed: set[str]) -> None:
    assert differences(_traded().get(path, **params), _given(name), frozenset(allowed)) == []


def test_one_order() -> None:
    desk = _traded()
    ours = desk.get("trade/order", instId=BTC, ordId=_filled(desk))
    for name in ("order_details", "order_details_captured_swap"):
        assert differences(ours, _given(name), frozenset(_SINCE_2025)) == []


def test_one_algo_order() -> None:
    ours = _traded().get("trade/order-algo", algoClOrdId="whole1")
    assert differences(ours, _given("algo_order_details"), frozenset()) == []


def test_ended_algo_orders() -> None:
    desk = _traded()
    number = desk.algo_row(desk.ok("GET", "trade/orders-algo-pending", ordType="conditional")[0]["algoId"])["algoId"]
    desk.many("trade/cancel-algos", [{"instId": BTC, "algoId": number}])
    ours = desk.get("trade/orders-algo-history", ordType="conditional", state="canceled")
    assert differences(ours, _given("orders_algo_history"), frozenset(_ALGO)) == []


def test_a_pair() -> None:
    desk = _traded()
    legs = {"slTriggerPx": desk.off("0.9"), "slOrdPx": "-1", "tpTriggerPx": desk.off("1.1"), "tpOrdPx": "-1"}
    desk.algo(ordType="oco", **legs)
    ours = desk.get("trade/orders-algo-pending", ordType="oco")
    assert differences(ours, _given("orders_algo_pending_oco"), frozenset(_SHORT_ALGO)) == []


def test_answers_to_commands() -> None:
    desk = _traded()
    usual = {"instId": BTC, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": desk.off("0.9"), "sz": "1"}
    by_name = {"instId": BTC, "clOrdId": "open1"}
    change = {**by_name, "newSz": "2", "reqId": "r1"}
    stop = {"slTriggerPx": desk.off("0.9"), "slOrdPx": "-1"}
    answers = {
        "place_order": desk.place(**usual),
        "batch_orders": desk.many("trade/batch-orders", [usual, usual]),
        "amend_order": desk.post("trade/amend-order", **change),
        "amend_batch_orders": desk.many("trade/amend-batch-orders", [change, change]),
        "cancel_order": desk.post("trade/cancel-order", **by_name),
        "cancel_batch_orders": desk.many("trade/cancel-batch-orders", [{"instId": BTC, "ordId": desk.order(**usual)}]),
        "order_algo": desk.stop(**stop, algoClOrdId="c1"),
        "amend_algos": desk.post("trade/amend-algos", instId=BTC, algoClOrdId="c1", newSlTriggerPx=desk.off("0.89")),
        "cancel_algos": desk.many("trade/cancel-algos", [{"instId": BTC, "algoClOrdId": "c1"}]),
        "cancel_all_after": desk.post("trade/cancel-all-after", timeOut="60"),
        "set_isolated_mode": desk.post("account/set-isolated-mode", isoMode="automatic", type="CONTRACTS"),
        "close_position": desk.post("trade/close-position", instId=BTC, mgnMode="cross"),
    }
    desk.many("trade/cancel-algos", [{"instId": BTC, "algoClOrdId": "whole1"}])
    for row in desk.ok("GET", "trade/orders-pending"):
        desk.post("trade/cancel-order", instId=BTC, ordId=row["ordId"])
    answers["set_leverage"] = desk.post("account/set-leverage", instId=BTC, lever="30", mgnMode="cross")
    answers["set_position_mode"] = desk.post("account/set-position-mode", posMode="long_short_mode")
    found = {name: differences(ours, _given(name), frozenset({".data[].ts"})) for name, ours in answers.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_refused_algo_orders_have_their_own_rows() -> None:
    desk = Desk(position_mode=PositionMode.HEDGE)
    ours = desk.stop(slTriggerPx="1", slOrdPx="-1", algoClOrdId="r1")
    assert ours["code"] == "1"
    theirs = _given("order_algo_rejected")
    assert differences(ours, theirs, frozenset({".data[].tag"})) == []
