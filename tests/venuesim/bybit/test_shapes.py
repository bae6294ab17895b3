"""Every fixture of an endpoint or topic that exists here has the keys and types of what the façade really sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.shapes import differences
from tests.venuesim.bybit.scenario import collect

# Why a path may differ: path -> reason. A path covers everything below it.
Allowed = dict[str, str]


def each(place: str, reason: str, *names: str) -> Allowed:
    return {f"{place}.{name}": reason for name in names}


ROWS, PUSHED, COINS = ".result.list[]", ".data[]", ".data[].coin[]"
EDITED = "left out by the authors of this test file; in the venue's documents"
YOUNG = "younger than this document"
CUT_ENVELOPE = each("", "the document shows less than the usual envelope", "retExtInfo", "time")
ORDER_2026 = ("parentOrderLinkId", "extraFees", "rpiTakerAccess", "rpiMatchedQty", "slippageTolerance")
ORDER_2026_TYPE = (*ORDER_2026, "slippageToleranceType")
STATIC = ("breakEvenPrice", "isReduceOnly", "leverageSysUpdatedTime", "mmrSysUpdatedTime", "seq")
NULLS = each(ROWS, "nulls of this test file; the venue's documents show texts", "avgPrice", "blockTradeId", "orderIv")
ORDERS_EDITED = (
    NULLS | each(ROWS, EDITED, "createType", "cumFeeDetail", *ORDER_2026_TYPE) | {".result.category": EDITED}
)
PUSHED_EDITED = each(PUSHED, EDITED, "closedPnl", "cumFeeDetail", "isLeverage", *ORDER_2026_TYPE)
NO_RIGHTS = "rights this key has not got"
RIGHTS = ("BitCard", "ByXPost", "Earn", "Exchange", "FiatBitPay", "FiatConvertBroker", "FiatP2P", "Spot", "Wallet")
RPI_NAMES = ("displayName", "isPublicRpi", "myRpiPermission")
PRE_MARKET = "one row of the file is a contract before its launch, which this exchange has not got"
BY_MARKET = ("accountIMRateByMp", "accountMMRateByMp", "totalInitialMarginByMp", "totalMaintenanceMarginByMp")


def fees(place: str, *coins: str) -> Allowed:
    return each(f"{place}.cumFeeDetail", "keys are coins; fees here are paid in USDT", *coins)


Case = tuple[str, str, Allowed]
CASES: list[Case] = [
    ("account_info", "account/info", CUT_ENVELOPE),
    ("closed_pnl", "position/closed-pnl", {}),
    ("dcp_info", "account/query-dcp-info", {".result.dcpInfos[]": "the document's account has it armed"}),
    ("disconnected_cancel_all", "disconnected-cancel-all", {".result": "as in account_info", **CUT_ENVELOPE}),
    ("execution_list", "execution/list", each(ROWS, YOUNG, "createType")),
    ("execution_list_naut", "execution/list", each(ROWS, EDITED, "extraFees")),
    ("fee_rate", "fee-rate", {}),
    ("fee_rate_naut", "fee-rate", each(ROWS, "of options only", "baseCoin")),
    ("funding_history", "funding/history", {}),
    ("instruments_info", "instruments-info", each(ROWS, PRE_MARKET, "preListingInfo")),
    ("instruments_info_account", "account/instruments-info", {}),
    ("instruments_info_doc_usdt_perp", "instruments-info", each(ROWS, YOUNG, *RPI_NAMES)),
    (
        "instruments_info_symbol_type",
        "instruments-info",
        each(ROWS, EDITED, *RPI_NAMES, "copyTrading", "isPreListing", "preListingInfo", "riskParameters")
        | each(ROWS, EDITED, "lotSizeFilter.maxMktOrderQty", "lowerFundingRate", "upperFundingRate"),
    ),
    ("kline", "kline", {}),
    ("mark_price_kline", "mark-price-kline", {}),
    ("order_amend", "order/amend", {}),
    ("order_amend_batch", "order/amend-batch", {}),
    ("order_cancel", "order/cancel", {}),
    ("order_cancel_all", "order/cancel-all", {}),
    ("order_cancel_batch", "order/cancel-batch", {}),
    ("order_create", "order/create", {}),
    ("order_create_batch", "order/create-batch", {}),
    (
        "order_history",
        "order/history",
        each(ROWS, YOUNG, "createType", "parentOrderLinkId") | fees(ROWS, "MNT", "USDT"),
    ),
    ("order_history_naut", "order/history", ORDERS_EDITED),
    ("order_pre_check", "order/pre-check", {}),
    ("order_price_limit", "price-limit", {}),
    ("order_realtime", "order/realtime", each(ROWS, YOUNG, "createType", *ORDER_2026_TYPE) | fees(ROWS, "MNT")),
    (
        "order_realtime_tp_sl",
        "order/realtime stops",
        ORDERS_EDITED,
    ),
    ("orderbook", "orderbook", {}),
    (
        "position_list",
        "position/list",
        each(ROWS, "the document spells it both ways", "mmrSysUpdateTime", "mmrSysUpdatedTime")
        | each(ROWS, YOUNG, "openTime"),
    ),
    (
        "position_list_open_time",
        "position/list",
        each(ROWS, EDITED, *STATIC, "positionIMByMp", "positionMMByMp", "sessionAvgPrice"),
    ),
    ("position_symbol_info", "position/symbol-info", {}),
    (
        "recent_trade",
        "recent-trade",
        each(ROWS, YOUNG, "isRPITrade", "seq") | {".retExtInfo": EDITED},
    ),
    ("risk_limit_inverse", "risk-limit", {".result.nextPageCursor": "linear symbols come in pages"}),
    ("set_leverage", "set-leverage", {}),
    ("set_margin_mode_error", "set-margin-mode refused", CUT_ENVELOPE),
    ("switch_mode", "switch-mode", {}),
    ("tickers_inverse", "tickers", {}),
    ("time", "time", {}),
    ("trading_stop", "trading-stop", {}),
    ("transaction_log", "transaction-log", {}),
    (
        "user_query_api",
        "user/query-api",
        {f".result.permissions.{name}[]": NO_RIGHTS for name in RIGHTS} | {".result.permissions.FiatBybitPay": YOUNG},
    ),
    (
        "user_query_api_captured",
        "user/query-api",
        {f".result.permissions.{name}[]": NO_RIGHTS for name in (*RIGHTS, "FiatBybitPay")},
    ),
    ("wallet_balance", "wallet-balance", {}),
    ("wallet_balance_naut", "wallet-balance", each(ROWS, EDITED, *BY_MARKET, "coin[].spotHedgingQty")),
    ("ws_all_liquidation", "stream allLiquidation", {}),
    ("ws_auth_failure", "trade auth failure", {".success": "this test file mixes both sockets' forms"}),
    ("ws_auth_private_ok", "private auth", {}),
    ("ws_execution", "execution", each(PUSHED, "a tax of some countries", "extraFees")),
    (
        "ws_execution_adl",
        "execution adl",
        each(PUSHED, EDITED, "createType", "execPnl", "extraFees", "feeCurrency", "marketUnit"),
    ),
    ("ws_execution_fast", "execution.fast", {}),
    ("ws_kline", "stream kline.5", {}),
    (
        "ws_order",
        "order Filled",
        each(PUSHED, "not in this example, in the document's table of fields", "createType", "isLeverage")
        | each(PUSHED, YOUNG, "extraFees", "parentOrderLinkId", "slippageTolerance", "slippageToleranceType")
        | fees(PUSHED, "MNT", "USDT"),
    ),
    ("ws_order_filled", "order Filled", PUSHED_EDITED),
    ("ws_order_stop_loss", "order Untriggered StopLoss", PUSHED_EDITED),
    ("ws_order_stop_market", "order Untriggered Stop", PUSHED_EDITED),
    ("ws_order_take_profit", "order Untriggered TakeProfit", PUSHED_EDITED),
    ("ws_orderbook_delta", "stream orderbook.50 again", {}),
    ("ws_orderbook_snapshot", "stream orderbook.50", {}),
    ("ws_pong_private", "private pong", {}),
    ("ws_pong_public_linear", "public pong", {}),
    ("ws_position", "position flat", each(PUSHED, YOUNG, "openTime")),
    ("ws_position_captured", "position", each(PUSHED, "not in this capture", "breakEvenPrice", "openTime")),
    ("ws_position_open_time", "position row", each("", EDITED, *STATIC)),
    ("ws_position_short", "position", each(PUSHED, "not in this capture", "breakEvenPrice", "openTime")),
    ("ws_price_limit", "stream priceLimit", {}),
    ("ws_public_trade", "stream publicTrade", each(PUSHED, YOUNG, "RPI")),
    ("ws_subscribe_ack_private", "private ack", {}),
    ("ws_subscribe_ack_public_linear", "public ack", {}),
    ("ws_subscribe_failure", "public failure", {".req_id": "the public acknowledgement's form"}),
    (
        "ws_tickers_delta_captured",
        "stream tickers again",
        each(".data", "changes hold what changed", "ask1Price", "ask1Size", "indexPrice", "lastPrice", "markPrice"),
    ),
    ("ws_tickers_snapshot", "stream tickers", {}),
    (
        "ws_tickers_snapshot_naut",
        "stream tickers",
        each(".data", YOUNG, "curPreListingPhase", "fundingCap", "preOpenPrice", "preQty"),
    ),
    ("ws_trade_auth_ok", "trade auth", {}),
    ("ws_trade_create_batch_response", "order.create-batch", {}),
    ("ws_trade_order_create_response", "order.create", {}),
    ("ws_trade_order_response_naut", "order.create", each("", EDITED, "header", "retExtInfo")),
    ("ws_trade_pong", "trade pong", {}),
    ("ws_wallet", "wallet", {}),
    (
        "ws_wallet_small_order",
        "wallet",
        each(PUSHED, EDITED, *BY_MARKET, "accountType")
        | each(PUSHED, "spelt otherwise in this test file", "totalPerpUPL", "totalPerpUpl")
        | each(COINS, EDITED, "bonus", "collateralSwitch", "cumRealisedPnl", "locked", "marginCollateral")
        | each(COINS, EDITED, "spotHedgingQty", "unrealisedPnl", "usdValue"),
    ),
]

# Files that no single payload of ours is compared with: file -> reason.
ELSEWHERE = {
    "error_codes": "a list of codes and texts",
    "error_examples": "composed messages, judged by the tests of errors",
    "instruments_info_doc_2": "a contract before its launch, which this exchange has not got",
    "instruments_info_placeholders": "an ingredient of the table of instruments",
    "order_partially_filled_rejected": "a state only spot orders can have",
    "ws_adl_alert": "there is no insurance pool to tell of",
    "ws_auth_request": "a request: test_private_stream",
    "ws_execution_fast_envelope_id": "an envelope without rows",
    "ws_order_partially_filled_rejected": "a spot order",
    "ws_subscribe_request": "a request: test_public_streams",
    "ws_tickers_snapshot_futures": "a dated contract",
    "ws_trade_auth_request": "a request: test_trading_socket",
    "ws_trade_create_batch_request": "a request: test_trading_socket",
    "ws_trade_order_create_request": "a request: test_trading_socket",
    "ws_trade_ping": "a request: test_trading_socket",
    "ws_unsubscribe_request": "a request: test_public_streams",
}


@pytest.fixture(scope="module")
def sent() -> dict[str, Any]:
    return collect()


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "bybit_linear"


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[case[0] for case in CASES])
def test_payload_has_the_venues_keys_and_types(
    file: str, name: str, allowed: Allowed, sent: dict[str, Any], fixtures: Path
) -> None:
    theirs = json.loads((fixtures / f"{file}.json").read_text())
    assert differences(sent[name], theirs, frozenset(allowed)) == []


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[case[0] for case in CASES])
def test_every_allowance_is_needed(
    file: str, name: str, allowed: Allowed, sent: dict[str, Any], fixtures: Path
) -> None:
    theirs = json.loads((fixtures / f"{file}.json").read_text())
    found = {line.split(":", 1)[0] for line in differences(sent[name], theirs, frozenset())}
    unused = [path for path in allowed if not any(line == path or line.startswith(path) for line in found)]
    assert unused == []


def test_every_fixture_file_is_accounted_for(fixtures: Path) -> None:
    files = {path.name.removesuffix(".json") for path in fixtures.glob("*.json")}
    assert files == {case[0] for case in CASES} | ELSEWHERE.keys()
