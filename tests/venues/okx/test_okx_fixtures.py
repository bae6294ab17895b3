"""Every payload captured from the venue, or given in its documents, parses into what it says."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.order import OrderStatus
from core.domain.reports import (
    BalanceReport,
    FillReport,
    LeverageReport,
    MarginCallReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    Report,
    Source,
    WalletCause,
)
from core.domain.signal import Side
from core.errors import MalformedPayload
from core.venues.okx import codes
from core.venues.okx.contracts import Contract
from core.venues.okx.margin import MarginBook
from core.venues.okx.parse import algo_report, order_report, position_report, trade_report
from core.venues.okx.payloads import (
    AccountRow,
    Ack,
    AlgoRow,
    Answer,
    ConfigRow,
    LeverageRow,
    MarkRow,
    OpenInterestRow,
    OrderRow,
    PositionRow,
    TickerRow,
    TierRow,
    TimeRow,
    TradeRow,
)
from core.venues.okx.user_feed import UserFrames
from core.venues.okx.wallet import balance_reports
from core.venues.payload import shaped
from core.venues.private_session import Notice, Pictured
from tests.venues.okx.builders import every_contract

S = OrderStatus


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "okx_swap"


def _load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def _rows(folder: Path, name: str, shape: Any) -> list[Any]:
    document = _load(folder, name)
    assert codes.fault_in(document) is None
    return shaped(document, Answer[shape], name).data


def _contract(inst_id: str) -> Contract:
    contract = every_contract().contract(inst_id)
    assert contract is not None
    return contract


@pytest.mark.parametrize(
    "name",
    [
        "order_details", "order_details_captured_swap", "orders_history", "orders_history_captured", "orders_pending",
        "orders_pending_tp_sl",
    ],
)  # fmt: skip
def test_orders_parse(fixtures: Path, name: str) -> None:
    for row, told in zip(_rows(fixtures, name, OrderRow), _load(fixtures, name)["data"], strict=True):
        contract = _contract(row.instId)
        report = order_report(row, contract, Source.REST)
        assert report.venue_order_id == told["ordId"]
        assert report.client_order_id == (told["algoClOrdId"] or told["clOrdId"])
        assert report.quantity == Decimal(told["sz"]) * contract.size
        assert report.filled == Decimal(told["accFillSz"] or 0) * contract.size
        assert report.average_price == (Decimal(told["avgPx"]) if told["avgPx"] not in {"", "0"} else None)
        assert report.side.value == told["side"]
        assert report.venue_time_ms == int(told["uTime"])
        assert not report.conditional


@pytest.mark.parametrize(
    "name",
    [
        "algo_order_details", "orders_algo_pending", "orders_algo_pending_oco", "orders_algo_pending_close_fraction",
        "orders_algo_history",
    ],
)  # fmt: skip
def test_algo_orders_parse_and_never_count_as_filled(fixtures: Path, name: str) -> None:
    for row in _rows(fixtures, name, AlgoRow):
        contract = _contract(row.instId)
        report = algo_report(row, contract, Source.REST)
        assert report.conditional
        assert report.filled == 0
        assert report.quantity == (Decimal(row.sz) * contract.size if row.sz else 0)
        assert report.trigger_price == (Decimal(row.slTriggerPx or row.triggerPx or 0) or None)


@pytest.mark.parametrize("name", ["fills", "fills_history"])
def test_own_trades_parse_with_the_fee_as_a_cost(fixtures: Path, name: str) -> None:
    for row in _rows(fixtures, name, TradeRow):
        fill = trade_report(row, _contract(row.instId), Source.REST)
        assert fill.fee == -Decimal(row.fee) > 0
        assert (fill.trade_id, fill.venue_order_id, fill.fee_asset) == (row.tradeId, row.ordId, row.feeCcy)
        assert fill.price == Decimal(row.fillPx)


@pytest.mark.parametrize(
    ("name", "quantity", "side", "isolated"),
    [
        ("positions_captured_subset", 5, PositionSide.BOTH, False),
        ("positions_naut", "0.005", PositionSide.LONG, True),
    ],
)
def test_positions_parse_in_base_units(
    fixtures: Path, name: str, quantity: Any, side: PositionSide, isolated: bool
) -> None:
    (row,) = _rows(fixtures, name, PositionRow)
    report = position_report(row, _contract(row.instId), Source.REST)
    assert (report.quantity, report.position_side, report.isolated) == (Decimal(quantity), side, isolated)
    assert report.entry_price == Decimal(row.avgPx)
    assert report.unrealized == Decimal(row.upl)


def test_a_short_position_is_negative_in_both_position_modes(fixtures: Path) -> None:
    row = _load(fixtures, "positions_captured_subset")["data"][0]
    net = position_report(shaped(row | {"pos": "-5"}, PositionRow, "net"), _contract(row["instId"]), Source.REST)
    short = shaped(row | {"posSide": "short"}, PositionRow, "short")
    assert net.quantity == position_report(short, _contract(row["instId"]), Source.REST).quantity == -5


def test_single_currency_account_tells_what_is_free_of_each_coin(fixtures: Path) -> None:
    (row,) = _rows(fixtures, "account_balance_captured", AccountRow)
    usdt, usdc = balance_reports(row, Source.REST, complete=True)
    assert (usdt.asset, usdt.wallet, usdt.available) == ("USDT", Decimal("94.42612990333333"), usdt.wallet)
    assert (usdc.asset, usdc.wallet, usdc.available) == ("USDC", 0, 0), "an absent coin is one there is none of"


def test_multi_currency_account_has_no_more_free_than_it_says_as_a_whole(fixtures: Path) -> None:
    (row,) = _rows(fixtures, "account_balance", AccountRow)
    usdt = balance_reports(row, Source.REST, complete=True)[0]
    assert (usdt.wallet, usdt.available) == (Decimal("4850.435693622894"), Decimal("4834.3170936228935"))
    tight = shaped(_load(fixtures, "account_balance")["data"][0] | {"availEq": "12.5"}, AccountRow, "tight")
    assert balance_reports(tight, Source.REST, complete=True)[0].available == Decimal("12.5")


def test_a_coin_without_figures_is_empty_and_costs_the_others_nothing(fixtures: Path) -> None:
    document = _load(fixtures, "account_balance_captured")["data"][0]
    odd = {"ccy": "BTC", "cashBal": "", "uTime": "", "availEq": "", "availBal": ""}
    row = shaped(document | {"details": [*document["details"], odd], "uTime": "1744499648556"}, AccountRow, "odd")
    told = {str(report.asset): report for report in balance_reports(row, Source.REST, complete=True)}
    assert told["USDT"].wallet == Decimal("94.42612990333333")
    assert (told["BTC"].wallet, told["BTC"].available, told["BTC"].venue_time_ms) == (0, None, 1744499648556)


def test_a_push_of_the_account_says_nothing_of_coins_it_does_not_name(fixtures: Path) -> None:
    row = _load(fixtures, "ws_account_captured")["data"][0]
    reports = balance_reports(shaped(row, AccountRow, "push"), Source.STREAM, complete=False)
    assert {str(report.asset) for report in reports} == {"USDT", "BTC", "ETH"}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, Ack) for name in ("place_order", "batch_orders", "amend_algos", "cancel_algos", "cancel_order")),
        *((name, Ack) for name in ("cancel_algos_naut", "order_algo")),
        *((name, ConfigRow) for name in ("account_config", "account_config_jk")),
        *((name, LeverageRow) for name in ("get_leverage", "set_leverage")),
        ("position_tiers", TierRow),
        ("time", TimeRow),
        ("tickers", TickerRow),
        ("mark_price", MarkRow),
        ("open_interest", OpenInterestRow),
    ],
)
def test_other_answers_have_the_shapes_we_read(fixtures: Path, name: str, shape: Any) -> None:
    assert _rows(fixtures, name, shape)


# --- the private stream -----------------------------------------------------------------------------------------------


def _frames() -> UserFrames:
    return UserFrames(every_contract(), MarginBook())


def _told(frames: UserFrames, document: Mapping[str, Any]) -> list[Report]:
    told = frames.decode(json.dumps(document, separators=(",", ":")).encode())
    assert told is not None
    if isinstance(told, Notice):
        assert isinstance(told, Pictured)
        told = told.reports
    return list(told)


def _pushes(folder: Path, name: str) -> list[Mapping[str, Any]]:
    document = _load(folder, name)
    return [step["push"] for step in document if "push" in step] if isinstance(document, list) else [document]


PUSHES = {
    "ws_orders": [FillReport, OrderStatusReport],
    "ws_orders_adl": [FillReport, OrderStatusReport],
    "ws_orders_liquidation": [FillReport, OrderStatusReport],
    "ws_orders_session": [FillReport, OrderStatusReport],
    "ws_orders_trigger": [FillReport, OrderStatusReport],
    "ws_orders_optimal_limit_ioc": [FillReport, OrderStatusReport],
    "ws_orders_doc": None,
    "ws_orders_algo": [OrderStatusReport] * 5,
    "ws_orders_algo_session": [OrderStatusReport],
    "ws_orders_algo_doc": [OrderStatusReport],
    "ws_positions_session": [PositionReport, LeverageReport],
    "ws_balance_and_position_session": [BalanceReport, PositionReport],
    "ws_balance_and_position_captured": [BalanceReport, PositionReport],
    "ws_account": None,
    "ws_account_captured": [BalanceReport] * 3,
    "ws_liquidation_warning_session": [],
}


@pytest.mark.parametrize(("name", "kinds"), PUSHES.items(), ids=PUSHES)
def test_every_push_of_the_venue_is_understood(fixtures: Path, name: str, kinds: list[type] | None) -> None:
    (push,) = _pushes(fixtures, name)
    told = _told(_frames(), push)
    assert told if kinds is None else [type(report) for report in told] == kinds


def test_a_fill_of_the_stream_is_in_base_units_with_its_fee_as_a_cost(fixtures: Path) -> None:
    fill, status = _told(_frames(), _load(fixtures, "ws_orders"))
    assert isinstance(fill, FillReport)
    assert isinstance(status, OrderStatusReport)
    assert (fill.quantity, fill.price, fill.fee) == (Decimal("0.0003"), Decimal("103698.9"), Decimal("0.021776769"))
    assert (fill.trade_id, fill.maker, fill.position_side) == ("1518905529", True, PositionSide.LONG)
    assert (status.status, status.filled, status.quantity) == (S.FILLED, fill.quantity, fill.quantity)


def test_a_later_fill_costs_its_own_fee_and_not_the_orders_sum(fixtures: Path) -> None:
    push = _load(fixtures, "ws_orders")
    row = push["data"][0] | {"accFillSz": "0.02", "fillSz": "0.01", "fee": "-0.02", "state": "partially_filled"}
    without, _ = _told(_frames(), push | {"data": [row]})
    told, _ = _told(_frames(), push | {"data": [row | {"fillFee": "-0.01", "fillPnl": "3"}]})
    assert isinstance(without, FillReport)
    assert isinstance(told, FillReport)
    assert (without.fee, told.fee, told.realized) == (0, Decimal("0.01"), 3)


def test_an_order_that_only_went_live_or_was_amended_tells_no_trade_twice(fixtures: Path) -> None:
    push = _load(fixtures, "ws_orders")
    live = push["data"][0] | {
        "accFillSz": "0",
        "fillSz": "0",
        "tradeId": "",
        "avgPx": "",
        "state": "live",
        "fillPx": "",
    }
    (status,) = _told(_frames(), push | {"data": [live]})
    assert isinstance(status, OrderStatusReport)
    assert (status.status, status.filled, status.average_price) == (S.ACCEPTED, 0, None)
    again = [r for _ in range(2) for r in _told(_frames(), push) if isinstance(r, FillReport)]
    assert again[0].trade_id == again[1].trade_id


@pytest.mark.parametrize(
    ("name", "origin"), [("ws_orders_liquidation", Origin.LIQUIDATION), ("ws_orders_adl", Origin.ADL)]
)
def test_what_the_venue_did_by_itself_is_told_by_its_category(fixtures: Path, name: str, origin: Origin) -> None:
    fill, _ = _told(_frames(), _load(fixtures, name))
    assert isinstance(fill, FillReport)
    assert fill.origin is origin


def test_the_child_of_a_stop_speaks_under_its_stops_id(fixtures: Path) -> None:
    push = _load(fixtures, "ws_orders_trigger")
    child = push["data"][0] | {"algoClOrdId": "bwstop", "algoId": "706620792746729474"}
    fill, status = _told(_frames(), push | {"data": [child]})
    assert isinstance(fill, FillReport)
    assert isinstance(status, OrderStatusReport)
    assert fill.client_order_id == status.client_order_id == "bwstop"
    assert (status.conditional, status.reduce_only) == (False, True)


def test_a_stop_that_fired_points_to_its_child_and_one_that_failed_is_rejected(fixtures: Path) -> None:
    push = _load(fixtures, "ws_orders_algo_session")[-1]["push"]
    row = push["data"][0] | {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "slTriggerPx": "90000"}
    told = [
        _told(_frames(), push | {"data": [row | change]})[0]
        for change in (
            {"state": "effective", "ordId": "77", "ordIdList": ["77"], "actualSide": "sl"},
            {"state": "order_failed", "failCode": "51008"},
            {"state": "canceled"},
        )
    ]
    fired, failed, gone = (report for report in told if isinstance(report, OrderStatusReport))
    assert (fired.status, fired.venue_order_id, fired.trigger_price) == (S.TRIGGERED, "77", 90000)
    assert (failed.status, failed.detail) == (S.REJECTED, "fail code 51008")
    assert gone.status is S.CANCELED


@pytest.mark.parametrize(
    ("source", "status"), [("1", S.CANCELED), ("14", S.EXPIRED), ("31", S.EXPIRED), ("3", S.CANCELED)]
)
def test_who_ended_an_order_decides_whether_it_was_cancelled_or_expired(
    fixtures: Path, source: str, status: OrderStatus
) -> None:
    push = _load(fixtures, "ws_orders")
    row = push["data"][0] | {"state": "canceled", "cancelSource": source, "fillSz": "0", "tradeId": ""}
    (report,) = _told(_frames(), push | {"data": [row | {"accFillSz": row["sz"]}]})
    assert isinstance(report, OrderStatusReport)
    assert report.status is status


def test_the_end_of_an_unfilled_entry_is_the_end_of_the_stop_that_travelled_with_it(fixtures: Path) -> None:
    """ABSENT, not CANCELED: should the venue place it all the same, its own rows outrank this."""
    push = _load(fixtures, "ws_orders")
    attached = {"attachAlgoClOrdId": "bwstop", "attachAlgoId": "9", "slTriggerPx": "99000", "slOrdPx": "-1"}
    row = push["data"][0] | {"sz": "0.05", "attachAlgoOrds": [attached], "fillSz": "0", "tradeId": ""}
    going = _told(_frames(), push | {"data": [row | {"state": "partially_filled"}]})
    ended = _told(_frames(), push | {"data": [row | {"state": "canceled", "cancelSource": "14"}]})
    assert len(going) == 1
    entry, stop = ended
    assert isinstance(entry, OrderStatusReport)
    assert isinstance(stop, OrderStatusReport)
    assert (entry.status, entry.filled) == (S.EXPIRED, Decimal("0.0003"))
    assert (stop.client_order_id, stop.status, stop.conditional, stop.side) == ("bwstop", S.ABSENT, True, Side.SELL)
    complete = row | {"state": "filled", "accFillSz": "0.05"}
    assert len(_told(_frames(), push | {"data": [complete]})) == 1


def test_a_wallet_names_its_cause_and_what_moved_since_the_last_word(fixtures: Path) -> None:
    frames, push = _frames(), _load(fixtures, "ws_balance_and_position_captured")

    def wallet(event: str, cash: str) -> BalanceReport:
        row = push["data"][0] | {"eventType": event, "posData": []}
        row["balData"] = [{"ccy": "USDT", "cashBal": cash, "uTime": "1699789825443"}]
        (report,) = _told(frames, push | {"data": [row]})
        assert isinstance(report, BalanceReport)
        return report

    assert wallet("funding_fee", "101").change is None, "nothing to compare with yet"
    assert wallet("snapshot", "100").change is None
    funding, trade, moved = wallet("funding_fee", "99.5"), wallet("filled", "120"), wallet("transferred", "20")
    assert (funding.cause, funding.change) == (WalletCause.FUNDING, Decimal("-0.5"))
    assert (trade.cause, trade.change) == (WalletCause.TRADE, None)
    assert (moved.cause, moved.change, moved.wallet) == (WalletCause.TRANSFER, -100, 20)
    assert wallet("something_new", "21").cause is WalletCause.OTHER


def test_a_position_that_became_flat_is_told_as_zero(fixtures: Path) -> None:
    push = _load(fixtures, "ws_positions_session")[-1]["push"]
    row = push["data"][0] | {"instId": "BTC-USDT-SWAP", "pos": "0", "posSide": "net", "avgPx": ""}
    report = _told(_frames(), push | {"data": [row]})[0]
    assert isinstance(report, PositionReport)
    assert (report.quantity, report.entry_price, report.position_side) == (0, None, PositionSide.BOTH)


def test_a_liquidation_warning_tells_what_the_position_needs(fixtures: Path) -> None:
    frames = _frames()
    position = _load(fixtures, "ws_positions_session")[-1]["push"]
    _told(frames, position | {"data": [position["data"][0] | {"instId": "BTC-USDT-SWAP"}]})
    warning = _load(fixtures, "ws_liquidation_warning_session")[-1]["push"]
    (report,) = _told(frames, warning | {"data": [warning["data"][0] | {"instId": "BTC-USDT-SWAP"}]})
    assert isinstance(report, MarginCallReport)
    assert report.maintenance_margin == Decimal(position["data"][0]["mmr"])


def test_a_second_position_in_the_other_margin_mode_is_not_taken_for_the_first(fixtures: Path) -> None:
    frames, push = _frames(), _load(fixtures, "ws_positions_session")[-1]["push"]
    row = push["data"][0] | {"instId": "BTC-USDT-SWAP", "posSide": "net", "lever": ""}
    assert len(_told(frames, push | {"data": [row | {"mgnMode": "cross", "pos": "5"}]})) == 1
    assert _told(frames, push | {"data": [row | {"mgnMode": "isolated", "pos": "7"}]}) == []
    assert _told(frames, push | {"data": [row | {"mgnMode": "isolated", "pos": "0"}]}) == []
    (flat,) = _told(frames, push | {"data": [row | {"mgnMode": "cross", "pos": "0"}]})
    assert isinstance(flat, PositionReport)


def test_what_does_not_parse_is_set_aside_and_named(fixtures: Path) -> None:
    push = _load(fixtures, "ws_orders")
    for change in ({"state": "mended"}, {"sz": "NaN"}, {"side": "up"}, {"uTime": ""}, {"fillPx": "0"}):
        with pytest.raises(MalformedPayload, match="okx order"):
            _told(_frames(), push | {"data": [push["data"][0] | change]})
