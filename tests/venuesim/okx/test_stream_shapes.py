"""Every fixture of a channel or a public question has the keys and types of what the façade really sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.shapes import differences
from tests.venuesim.okx.scenario import collect

# Why a path may differ: path -> reason. A path covers everything below it.
Allowed = dict[str, str]
Case = tuple[str, str, Allowed]


def each(place: str, reason: str, *names: str) -> Allowed:
    return {f"{place}.{name}": reason for name in names}


ROWS, HELD = ".data[]", ".data[].posData[]"
YOUNG = "younger than this example"
LEFT_OUT = "left out by the authors of this test file; in the venue's documents"
TABLE = "not in this example, in the document's table of fields"
UID = {".arg.uid": LEFT_OUT}
ONE_CONTRACT = {".arg.instId": "subscribed for one contract only"}
PAGES = each("", LEFT_OUT, "eventType", "curPage", "lastPage")
STAMP = each(ROWS, YOUNG, "ts")
LEGS = each(ROWS, "the example came without stops", "attachAlgoOrds[]")
FILL_INDEX = each(ROWS, YOUNG, "fillIdxPx")
BOOK_NUMBER = each(ROWS, YOUNG, "seqId")
FUNDING = ("formulaType", "impactValue", "interestRate")
INSTRUMENT_2025 = ("contTdSwTime", "maxPlatOILmt", "posLmtAmt", "posLmtPct", "preMktSwTime", "tradeQuoteCcyList")
INSTRUMENT_2026 = ("groupId", "instCategory", "instIdCode", "upcChg")
HELD_2025 = each(HELD, YOUNG, "nonSettleAvgPx", "settledPnl")
ORDER_EDITED = UID | each(
    ROWS, LEFT_OUT, "amendResult", "amendSource", "code", "fillFee", "fillFeeCcy", "fillFwdPx", "fillIdxPx",
    "fillMarkPx", "fillMarkVol", "fillNotionalUsd", "fillPnl", "fillPxUsd", "fillPxVol", "lastPx", "msg",
    "notionalUsd", "reqId", "tradeQuoteCcy",
)  # fmt: skip
ALGO_EDITED = UID | each(
    ROWS, LEFT_OUT, "actualSide", "amendPxOnTriggerType", "amendResult", "attachAlgoOrds", "ccy", "closeFraction",
    "failCode", "last", "linkedOrd", "ordIdList", "quickMgnType", "reqId", "slOrdPx", "slTriggerPx",
    "slTriggerPxType", "tgtCcy", "tpOrdPx", "tpTriggerPx", "tpTriggerPxType",
)  # fmt: skip
CASES: list[Case] = [
    ("candles", "candles", {}),
    ("funding_rate", "funding-rate", each(ROWS, YOUNG, *FUNDING, "nextFundingRate")),
    ("funding_rate_history", "funding-rate-history", each(ROWS, LEFT_OUT, "formulaType", "method")),
    ("instruments_doc", "instruments", each(ROWS, YOUNG, *INSTRUMENT_2025, *INSTRUMENT_2026, "ruleType")),
    ("instruments_swap", "instruments", {}),
    ("instruments_swap_placeholders", "instruments", {}),
    ("mark_price", "mark-price", {}),
    ("open_interest", "open-interest", each(ROWS, YOUNG, "oiUsd")),
    ("order_book", "books", BOOK_NUMBER),
    ("order_book_naut", "books", BOOK_NUMBER),
    ("position_tiers", "position-tiers", {}),
    ("price_limit", "price-limit", {}),
    ("tickers", "tickers", {}),
    ("time", "time", {}),
    ("trades", "trades", each(ROWS, YOUNG, "source")),
    ("ws_account", "account", {}),
    ("ws_account_captured", "account snapshot", UID | PAGES),
    (
        "ws_algo_advance_doc",
        "algo-advance",
        ONE_CONTRACT | each(ROWS, TABLE, "ordId", "slTriggerPxType", "tgtCcy", "tpTriggerPxType", "triggerPxType"),
    ),
    ("ws_balance_and_position_captured", "balance_and_position", UID | HELD_2025),
    (
        "ws_balance_and_position_session",
        "balance_and_position",
        HELD_2025 | each(HELD, LEFT_OUT, "baseBal", "quoteBal"),
    ),
    ("ws_bbo_tbt", "stream bbo-tbt", {}),
    ("ws_books5", "stream books5", {}),
    ("ws_books_snapshot", "stream books", {}),
    ("ws_books_update", "stream books again", {}),
    ("ws_candle", "stream candle", {}),
    ("ws_channel_conn_count", "count", {}),
    ("ws_channel_conn_count_error", "count", {}),
    ("ws_funding_rate_session", "stream funding-rate", each(ROWS, YOUNG, *FUNDING)),
    (
        "ws_instruments",
        "stream instruments",
        each(ROWS, YOUNG, *INSTRUMENT_2025, *INSTRUMENT_2026, "auctionEndTime", "futureSettlement", "openType"),
    ),
    ("ws_liquidation_warning_session", "liquidation-warning", UID),
    ("ws_login_error", "login error", {}),
    ("ws_login_ok", "login ok", {}),
    ("ws_mark_price_session", "stream mark-price", {}),
    ("ws_op_amend_order_failure", "op amend refused", STAMP),
    ("ws_op_amend_order_ok", "op amend", STAMP),
    ("ws_op_batch_orders_all_failed", "op batch refused", STAMP),
    ("ws_op_batch_orders_ok", "op batch", STAMP),
    ("ws_op_batch_orders_partial", "op batch partial", STAMP),
    ("ws_op_cancel_order_failure", "op cancel refused", STAMP),
    ("ws_op_cancel_order_ok", "op cancel", STAMP),
    ("ws_op_format_error", "op malformed", {}),
    ("ws_op_order_failure", "op order refused", STAMP),
    ("ws_op_order_ok", "op order", STAMP),
    ("ws_orders", "orders filled market", ORDER_EDITED | LEGS),
    ("ws_orders_adl", "orders adl", ORDER_EDITED),
    ("ws_orders_algo", "orders-algo trigger", ALGO_EDITED),
    ("ws_orders_algo_doc", "orders-algo conditional", each(ROWS, YOUNG, "linkedOrd", "triggerPxType", "uTime")),
    ("ws_orders_algo_session", "orders-algo conditional", UID | each(ROWS, LEFT_OUT, "triggerPxType")),
    ("ws_orders_doc", "orders filled market", ONE_CONTRACT | LEGS | each(ROWS, YOUNG, "cancelSourceReason")),
    ("ws_orders_liquidation", "orders liquidate", ORDER_EDITED),
    ("ws_orders_optimal_limit_ioc", "orders filled optimal_limit_ioc", ORDER_EDITED),
    (
        "ws_orders_session",
        "orders filled market",
        UID | LEGS | FILL_INDEX | each(ROWS, YOUNG, "cancelSourceReason", "linkedAlgoOrd", "tradeQuoteCcy"),
    ),
    (
        "ws_orders_trigger",
        "orders by trigger",
        ORDER_EDITED | each(ROWS, LEFT_OUT, "algoClOrdId", "algoId", "attachAlgoClOrdId", "attachAlgoOrds"),
    ),
    (
        "ws_positions_session",
        "positions",
        UID
        | PAGES
        | each(ROWS, LEFT_OUT, "baseBal", "bePx", "hedgedPos", "nonSettleAvgPx", "quoteBal", "settledPnl")
        | each(ROWS, LEFT_OUT, "usdPx"),
    ),
    ("ws_price_limit_session", "stream price-limit", {}),
    ("ws_subscribe_ack", "ack", {}),
    ("ws_subscribe_error", "error", {}),
    ("ws_tickers", "stream tickers", {}),
    ("ws_tickers_session", "stream tickers", {}),
    ("ws_trades", "stream trades", each(ROWS, YOUNG, "seqId", "source")),
    ("ws_unsubscribe_ack", "unsubscribed", {}),
]

# Files that no payload of ours is compared with: file -> reason.
ELSEWHERE = {
    "cancel_algos_naut": "as cancel_algos: test_rest_shapes",
    "error_codes": "a list of codes and texts: test_error_codes",
    "positions_naut": "as positions, with fields dropped by its author",
    "positions_captured_subset": "fields dropped by its author",
    "ws_fills_session": "a channel for higher fee tiers, refused here: test_sockets",
    "ws_login_request": "a request: streams.Wire.log_in",
    "ws_notice_64008": "said by a fault: test_public_streams",
    "ws_op_amend_order_request_2025": "a request of a form that is no longer taken",
    "ws_op_batch_orders_request_2025": "a request of a form that is no longer taken",
    "ws_op_cancel_order_request_2025": "a request of a form that is no longer taken",
    "ws_op_order_request_2025": "a request of a form that is refused: test_order_commands",
    "ws_op_order_request_2026": "a request: test_order_commands",
    "ws_subscribe_request": "a request: test_sockets",
    "ws_unsubscribe_request": "a request: test_sockets",
}


@pytest.fixture(scope="module")
def sent() -> dict[str, Any]:
    return collect()


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "okx_swap"


def _theirs(fixtures: Path, file: str) -> Any:
    """The payload; of a recorded session the last frame."""
    found = json.loads((fixtures / f"{file}.json").read_text(encoding="utf-8"))
    return found[-1]["push"] if file.endswith("_session") else found


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[case[0] for case in CASES])
def test_payload_has_the_venues_keys_and_types(
    file: str, name: str, allowed: Allowed, sent: dict[str, Any], fixtures: Path
) -> None:
    assert differences(sent[name], _theirs(fixtures, file), frozenset(allowed)) == []


@pytest.mark.parametrize(("file", "name", "allowed"), CASES, ids=[case[0] for case in CASES])
def test_every_allowance_is_needed(
    file: str, name: str, allowed: Allowed, sent: dict[str, Any], fixtures: Path
) -> None:
    found = {line.split(":", 1)[0] for line in differences(sent[name], _theirs(fixtures, file), frozenset())}
    unused = [path for path in allowed if not any(line == path or line.startswith(path) for line in found)]
    assert unused == []


def test_every_fixture_file_is_accounted_for(fixtures: Path) -> None:
    rest = (Path(__file__).parent / "test_rest_shapes.py").read_text(encoding="utf-8")
    files = {path.name.removesuffix(".json") for path in fixtures.glob("*.json")}
    here = {case[0] for case in CASES} | ELSEWHERE.keys()
    assert {file for file in files - here if f'"{file}"' not in rest} == set()
    assert here <= files
