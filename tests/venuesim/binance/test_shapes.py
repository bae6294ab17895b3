"""Every fixture of an endpoint or stream that exists here has the keys and types of what the façade really sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.scenario import collect
from tests.venuesim.binance.shapes import differences

# Why a path may differ: path -> reason. A path covers everything below it.
MOVED_TRAILING = {
    ".activatePrice": "documents still show a trailing stop, which is an algo order since 2025-12",
    ".priceRate": "as above",
}
OLD_TRAILING = {f"[]{path}": reason for path, reason in MOVED_TRAILING.items()}
TRAILING_ONLY = {
    ".activatePrice": "only on trailing stops; the live capture of a plain stop lacks it",
    ".callbackRate": "as above",
}
DOC_ICEBERG = {
    ".icebergQuantity": 'the document prints the text "null", live answers a real null',
}
DOC_BRACKET_KEYS = {
    **{f"[].{key}": "absent from live answers" for key in ("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice")},
    "[].icebergQuantity": 'the document prints the text "null", live answers a real null',
}
NEWER_ST = {".st": "field of 2026-06, younger than this capture"}
NEWER_ST_PS = {**NEWER_ST, ".ps": "as above"}
AFTER_TRIGGER = {
    "[].actualQty": "allAlgoOrders has it only after the trigger, openAlgoOrders always: the document is of neither",
    "[].actualType": "as above",
}
ENVELOPE = {".o.AP": "trailing stops only, before 2025-12", ".o.cr": "as above"}
HAND_WRITTEN = {
    ".o.W": "not a field of the venue: hand-written by its authors",
    ".o.V": "null in the hand-written file",
    ".o.sp": "null in the hand-written file",
    ".o.pm": "missing from the hand-written file",
    ".o.er": "missing from the hand-written file",
    **ENVELOPE,
}
PAIR_2026 = {
    "[].pair": "field of 2026-08, younger than the document",
    "[].cumBase": "as above",
    "[].priceProtect": "missing from the document",
    "[].priceMatch": "as above",
    "[].selfTradePreventionMode": "as above",
    "[].goodTillDate": "as above",
}
TRADE_2026 = {f"[].{key}": "field of 2026-08" for key in ("pair", "baseQty", "marginAsset")}
ALGO_IA = {".o.ia": "field of 2026-08, younger than this capture"}

WS_TRAILING = {f".result{path}": reason for path, reason in MOVED_TRAILING.items()}

Case = tuple[str, str, dict[str, str]]
CASES: list[Case] = [
    ("rest_accountConfig.doc", "accountConfig", {}),
    (
        "rest_account_v2.doc",
        "account_v2",
        {
            ".positions[].breakEvenPrice": "missing from the document, in the live row",
            ".positions[].notional": "as above",
            ".positions[].isolatedWallet": "as above",
        },
    ),
    ("rest_account_v2_position_row.recorded", "account_v2.positions[0]", {}),
    ("rest_account_v3.doc", "account_v3", {}),
    ("rest_aggTrades.doc", "aggTrades", {}),
    ("rest_aggTrades.recorded", "aggTrades", {}),
    ("rest_algoOpenOrders_delete.doc", "algoOpenOrders_delete", {}),
    ("rest_algoOrder_delete.doc", "algo_delete", {}),
    ("rest_algoOrder_delete.recorded", "algo_delete", {}),
    (
        "rest_algoOrder_get.doc",
        "algo_get",
        DOC_ICEBERG | {".isActivated": "live allAlgoOrders has it, the document of this endpoint does not yet"},
    ),
    ("rest_algoOrder_post.doc", "algo_post_trailing", DOC_ICEBERG),
    ("rest_algoOrder_post.recorded", "algo_post", {}),
    (
        "rest_allAlgoOrders_get.doc",
        "allAlgoOrders",
        DOC_BRACKET_KEYS
        | AFTER_TRIGGER
        | {
            "[].isActivated": "in live answers since 2026-08",
            "[].activatePrice": "this list holds a trailing stop, the document does not",
            "[].callbackRate": "as above",
        },
    ),
    (
        "rest_allAlgoOrders_get_finished_and_canceled.recorded",
        "allAlgoOrders",
        {
            "[].activatePrice": "this list holds a trailing stop, the capture does not",
            "[].callbackRate": "as above",
        },
    ),
    ("rest_allOpenOrders_delete.doc", "allOpenOrders_delete", {}),
    ("rest_allOrders_get.doc", "allOrders", OLD_TRAILING | {"[].pair": "field of 2026-08", "[].cumBase": "as above"}),
    ("rest_allOrders_get.recorded", "allOrders", {}),
    ("rest_apiTradingStatus.doc", "apiTradingStatus", {".indicators": "nothing is locked here"}),
    ("rest_balance_v3.doc", "balance_v3", {}),
    ("rest_bookTicker.recorded", "ticker/bookTicker", {}),
    ("rest_commissionRate.doc", "commissionRate", {}),
    ("rest_countdownCancelAll.doc", "countdownCancelAll", {}),
    ("rest_depth.doc", "depth", {}),
    ("rest_depth.recorded", "depth", {}),
    ("rest_exchangeInfo.recorded", "exchangeInfo", {}),
    ("rest_exchangeInfo_simulator_subset.composed", "exchangeInfo", {}),
    ("rest_feeBurn.doc", "feeBurn", {}),
    ("rest_forceOrders.doc", "forceOrders", PAIR_2026),
    ("rest_fundingInfo.recorded", "fundingInfo", {}),
    ("rest_fundingRate.recorded", "fundingRate", {}),
    ("rest_income.doc", "income", {}),
    ("rest_klines.recorded", "klines", {}),
    ("rest_leverageBracket.recorded", "leverageBracket", {}),
    ("rest_leverage_post.doc", "leverage_post", {}),
    ("rest_listenKey_post.doc", "listenKey_post", {}),
    ("rest_listenKey_put.doc", "listenKey_put", {}),
    ("rest_marginType_post.doc", "marginType_post", {}),
    ("rest_multiAssetsMargin.doc", "multiAssetsMargin", {}),
    (
        "rest_openAlgoOrders_get.doc",
        "openAlgoOrders",
        DOC_BRACKET_KEYS
        | {
            "[].actualPrice": "absent from live openAlgoOrders",
            "[].tpOrderType": "as above",
            "[].actualQty": "in live openAlgoOrders, not in the document",
            "[].isActivated": "as above",
            "[].activatePrice": "this list holds a trailing stop, the document does not",
            "[].callbackRate": "as above",
        },
    ),
    (
        "rest_openAlgoOrders_get.recorded",
        "openAlgoOrders",
        {
            "[].activatePrice": "this list holds a trailing stop, the capture does not",
            "[].callbackRate": "as above",
        },
    ),
    ("rest_openInterest.doc", "openInterest", {}),
    ("rest_openInterest.recorded", "openInterest", {}),
    ("rest_openOrder_get.doc", "openOrder", MOVED_TRAILING),
    ("rest_openOrders_get.doc", "openOrders", OLD_TRAILING),
    ("rest_orderAmendment.doc", "orderAmendment", {}),
    ("rest_order_delete.doc", "order_delete", MOVED_TRAILING),
    ("rest_order_get.doc", "order_get_market", MOVED_TRAILING),
    ("rest_order_get_market.recorded", "order_get_market", {}),
    ("rest_order_post.doc", "order_post_limit", {}),
    ("rest_order_post_RESULT_market.recorded", "order_post_market", {}),
    ("rest_order_put.doc", "order_put", {}),
    ("rest_positionMarginHistory.doc", "positionMargin/history", {}),
    ("rest_positionMargin_post.doc", "positionMargin_post", {}),
    ("rest_positionRisk_v2.doc", "positionRisk_v2", {}),
    ("rest_positionRisk_v3.doc", "positionRisk_v3", {}),
    ("rest_positionSideDual.doc", "positionSide/dual", {}),
    ("rest_premiumIndex.recorded", "premiumIndex", {}),
    ("rest_rateLimit_order.doc", "rateLimit/order", {}),
    ("rest_symbolAdlRisk.doc", "symbolAdlRisk", {}),
    ("rest_symbolConfig.doc", "symbolConfig", {}),
    ("rest_ticker24hr.doc", "ticker/24hr", {}),
    ("rest_ticker24hr.recorded", "ticker/24hr", {}),
    ("rest_tickerPrice_v2.doc", "v2/ticker/price", {}),
    ("rest_tickerPrice_v2.recorded", "v2/ticker/price", {}),
    ("rest_time.recorded", "time", {}),
    ("rest_trades.doc", "trades", {}),
    ("rest_userTrades.doc", "userTrades", TRADE_2026),
    ("rest_userTrades.recorded", "userTrades", {}),
    ("stream_24hrMiniTicker_arr.doc", "stream:24hrMiniTicker[]", {}),
    ("stream_24hrTicker.doc", "stream:24hrTicker", {}),
    ("stream_24hrTicker_arr.doc", "stream:24hrTicker[]", {}),
    ("stream_aggTrade.doc", "stream:aggTrade", {}),
    ("stream_aggTrade.recorded", "stream:aggTrade", NEWER_ST),
    ("stream_bookTicker.doc", "stream:bookTicker", {}),
    ("stream_bookTicker.recorded", "stream:bookTicker", NEWER_ST_PS),
    ("stream_bookTicker_combined.recorded", "stream:bookTicker wrapped", {}),
    ("stream_contractInfo.doc", "stream:contractInfo", {}),
    ("stream_depth5.recorded", "stream:depth5", NEWER_ST_PS),
    ("stream_depthUpdate.doc", "stream:depthUpdate", {}),
    ("stream_forceOrder.doc", "stream:forceOrder", {}),
    ("stream_kline.doc", "stream:kline", {}),
    ("stream_kline.recorded", "stream:kline", {}),
    ("stream_markPrice.doc", "stream:markPriceUpdate", {}),
    ("stream_markPrice_arr.doc", "stream:markPriceUpdate[]", {}),
    (
        "stream_markPrice_combined.recorded",
        "stream:markPriceUpdate wrapped",
        {".data.st": "field of 2026-06, younger than this capture", ".data.ap": "field of 2026-03"},
    ),
    ("stream_trade.recorded", "stream:trade", {}),
    ("uds_ACCOUNT_CONFIG_UPDATE_leverage.doc", "ACCOUNT_CONFIG_UPDATE:ac", {}),
    ("uds_ACCOUNT_CONFIG_UPDATE_multiassets.doc", "ACCOUNT_CONFIG_UPDATE:ai", {}),
    ("uds_ACCOUNT_UPDATE.doc", "ACCOUNT_UPDATE", {".a.P[].ma": "live since 2026, not in the document"}),
    ("uds_ACCOUNT_UPDATE_order.recorded", "ACCOUNT_UPDATE", {}),
    (
        "uds_ALGO_UPDATE_canceled.doc",
        "ALGO_UPDATE:CANCELED",
        ALGO_IA
        | {
            ".o.rm": "live frames have it only when REJECTED or EXPIRED",
            **{f".o.{key}": "absent from the live capture of the same event" for key in ("ap", "aq", "act")},
        },
    ),
    ("uds_ALGO_UPDATE_canceled.recorded", "ALGO_UPDATE:CANCELED", {}),
    ("uds_ALGO_UPDATE_finished.recorded", "ALGO_UPDATE:FINISHED", ALGO_IA),
    ("uds_ALGO_UPDATE_finished_canceled.derived", "ALGO_UPDATE:FINISHED", ALGO_IA),
    ("uds_ALGO_UPDATE_new.recorded", "ALGO_UPDATE:NEW", {}),
    ("uds_ALGO_UPDATE_triggered.recorded", "ALGO_UPDATE:TRIGGERED", ALGO_IA),
    ("uds_ALGO_UPDATE_triggering.recorded", "ALGO_UPDATE:TRIGGERING", ALGO_IA),
    ("uds_MARGIN_CALL.doc", "MARGIN_CALL", {}),
    ("uds_ORDER_TRADE_UPDATE_adl.derived", "ORDER_TRADE_UPDATE:CALCULATED", HAND_WRITTEN),
    ("uds_ORDER_TRADE_UPDATE_liquidation.derived", "ORDER_TRADE_UPDATE:CALCULATED", HAND_WRITTEN),
    ("uds_ORDER_TRADE_UPDATE_settlement.derived", "ORDER_TRADE_UPDATE:CALCULATED", HAND_WRITTEN),
    (
        "uds_ORDER_TRADE_UPDATE_canceled.recorded",
        "ORDER_TRADE_UPDATE:CANCELED",
        {".o.er": "younger than this capture"},
    ),
    ("uds_ORDER_TRADE_UPDATE_filled.recorded", "ORDER_TRADE_UPDATE:TRADE", {}),
    (
        "uds_ORDER_TRADE_UPDATE_new.doc",
        "ORDER_TRADE_UPDATE:NEW",
        ENVELOPE | {f".o.{key}": "missing from the document, in live frames" for key in ("pm", "gtd", "er")},
    ),
    ("uds_ORDER_TRADE_UPDATE_new.recorded", "ORDER_TRADE_UPDATE:NEW", {}),
    ("uds_ORDER_TRADE_UPDATE_new_limit_hedge.recorded", "ORDER_TRADE_UPDATE:NEW", {}),
    ("uds_TRADE_LITE.recorded", "TRADE_LITE", {}),
    ("uds_listenKeyExpired.doc", "listenKeyExpired", {}),
    (
        "wsapi_algoOrder_place.doc",
        "ws:algoOrder.place",
        {".result.icebergQuantity": 'the document prints the text "null", live answers a real null'},
    ),
    ("wsapi_algoOrder_cancel.doc", "ws:algoOrder.cancel", {}),
    ("wsapi_order_cancel.doc", "ws:order.cancel", WS_TRAILING),
    ("wsapi_order_modify.doc", "ws:order.modify", {".result.pair": "in the REST answer, not in this document"}),
    ("wsapi_order_place.doc", "ws:order.place", {}),
    (
        "wsapi_order_status.doc",
        "ws:order.status",
        WS_TRAILING | {".rateLimits": "every other document of this socket has them"},
    ),
    ("wsapi_ticker_book.doc", "ws:ticker.book", {}),
    ("wsapi_ticker_price.doc", "ws:ticker.price", {}),
    ("wsapi_userDataStream_ping.doc", "ws:userDataStream.ping", {}),
    ("wsapi_userDataStream_start.doc", "ws:userDataStream.start", {}),
    ("wsapi_userDataStream_stop.doc", "ws:userDataStream.stop", {}),
    ("wsapi_v2_account_balance.doc", "ws:v2/account.balance", {}),
    ("wsapi_v2_account_position.doc", "ws:v2/account.position", {}),
    (
        "wsapi_v2_account_status.doc",
        "ws:v2/account.status",
        {".result.assets[].marginAvailable": "in v2 over REST; its v3, which this method answers, has not got it"},
    ),
]

# Files that no single payload of ours is compared with: file -> reason.
ELSEWHERE = {
    "ccxt_4.5.90_requests.recorded": "requests, not answers: driven by the contract tests",
    "rest_error_-1121.recorded": "test_errors",
    "rest_error_-2014.recorded": "test_errors",
    "rest_errors.doc": "test_errors",
    "rest_errors.recorded": "test_errors",
    "rest_exchangeInfo_symbols_2023.derived": "an ingredient of the composed file",
    "rest_leverageBracket_2024-10.derived": "an ingredient of the bracket table",
    "stream_control_frames.doc": "test_sockets",
    "uds_ACCOUNT_UPDATE_bnfcr.recorded": "an asset this account has not got",
    "uds_CONDITIONAL_ORDER_TRIGGER_REJECT.doc": "replaced by ALGO_UPDATE REJECTED on 2025-12-15",
    "uds_sequence_market_open_close.recorded": "test_user_stream",
    "wsapi_errors.doc": "a list of composed errors: test_ws_api",
    "uds_sequence_market_usdt_fee.recorded": "test_user_stream",
}


@pytest.fixture(scope="module")
def sent() -> dict[str, Any]:
    return collect()


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "binance_usdm"


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[f"{case[0]}" for case in CASES])
def test_payload_has_the_venues_keys_and_types(
    file: str, name: str, allowed: dict[str, str], sent: dict[str, Any], fixtures: Path
) -> None:
    theirs = json.loads((fixtures / f"{file}.json").read_text())
    assert differences(_pick(sent, name), theirs, frozenset(allowed)) == []


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[f"{case[0]}" for case in CASES])
def test_every_allowance_is_needed(
    file: str, name: str, allowed: dict[str, str], sent: dict[str, Any], fixtures: Path
) -> None:
    theirs = json.loads((fixtures / f"{file}.json").read_text())
    found = {line.split(":", 1)[0] for line in differences(_pick(sent, name), theirs, frozenset())}
    unused = [path for path in allowed if not any(line == path or line.startswith(path) for line in found)]
    assert unused == []


def test_every_fixture_file_is_accounted_for(fixtures: Path) -> None:
    files = {path.name.removesuffix(".json") for path in fixtures.glob("*.json")}
    assert files == {case[0] for case in CASES} | ELSEWHERE.keys()


def _pick(sent: dict[str, Any], name: str) -> Any:
    if name == "account_v2.positions[0]":
        return sent["account_v2"]["positions"][0]
    return sent[name]
