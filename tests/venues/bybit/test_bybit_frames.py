"""Every frame of the private stream that was captured, or is documented, becomes what it says."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.order import OrderStatus
from core.domain.reports import (
    BalanceReport,
    FillReport,
    LeverageReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    Source,
    WalletCause,
)
from core.domain.signal import Side
from core.errors import MalformedPayload
from core.venues.bybit.modes import PositionModes
from core.venues.bybit.parse import fill_report, order_reports, position_report
from core.venues.bybit.payloads import (
    ExecutionRow,
    Head,
    OrderRow,
    Page,
    PositionRow,
    WalletRow,
)
from core.venues.bybit.position_stops import PositionStops
from core.venues.bybit.user_feed import UserFrames
from core.venues.bybit.wallet import Wallets
from tests.venues.bybit.desk import BTC, ETH, a_stop
from tests.venues.bybit.frames import an_account, load, one, pushed, result

S = OrderStatus


# --- orders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "order_realtime",
        "order_realtime_tp_sl",
        "order_history",
        "order_history_naut",
        "order_partially_filled_rejected",
    ],
)
def test_rows_of_orders_parse(fixtures: Path, name: str) -> None:
    rows = result(fixtures, name, Page[OrderRow]).rows
    assert rows
    for row in rows:
        report = order_reports(row, BTC, Source.REST, PositionStops(PositionModes()))[0]
        assert report.quantity >= report.filled >= 0
        assert report.venue_order_id == row.orderId
        assert report.venue_time_ms > 1_500_000_000_000


def test_a_pushed_fill_is_told_with_its_sum_and_average(fixtures: Path) -> None:
    report = one(pushed(fixtures, "ws_order_filled"), OrderStatusReport)
    assert (report.status, report.side, report.conditional) == (S.FILLED, Side.BUY, False)
    assert report.quantity == report.filled > 0
    assert report.average_price is not None


def test_an_average_that_is_not_told_is_value_by_quantity(fixtures: Path) -> None:
    told: dict[str, Any] = {
        "avgPrice": "",
        "cumExecQty": "0.050",
        "cumExecValue": "1500.0",
        "orderStatus": "PartiallyFilled",
    }
    report = one(pushed(fixtures, "ws_order_filled", **told), OrderStatusReport)
    assert (report.status, report.filled, report.average_price) == (
        S.PARTIALLY_FILLED,
        Decimal("0.050"),
        Decimal(30000),
    )


def test_a_spot_pair_of_the_same_name_is_no_swap(fixtures: Path) -> None:
    assert pushed(fixtures, "ws_order_partially_filled_rejected") == ()
    assert pushed(fixtures, "ws_order") == ()


def test_what_was_traded_before_a_rejection_stays_traded(fixtures: Path) -> None:
    report = one(pushed(fixtures, "ws_order_partially_filled_rejected", category="linear"), OrderStatusReport)
    assert (report.status, report.filled) == (S.EXPIRED, Decimal("50.0"))


@pytest.mark.parametrize(
    ("told", "status", "detail"),
    [
        ({"cancelType": "CancelByUser", "rejectReason": "EC_PerCancelRequest"}, S.CANCELED, ""),
        ({"cancelType": "UNKNOWN", "rejectReason": "EC_PerCancelRequest"}, S.CANCELED, ""),
        (
            {"cancelType": "UNKNOWN", "rejectReason": "EC_NoImmediateQtyToFill"},
            S.EXPIRED,
            "the rest of an immediate-or-cancel order",
        ),
        (
            {"cancelType": "UNKNOWN", "rejectReason": "EC_PostOnlyWillTakeLiquidity"},
            S.EXPIRED,
            "post-only would have taken",
        ),
        ({"cancelType": "CancelByReduceOnly"}, S.EXPIRED, "reduce-only: nothing left to reduce"),
        ({"cancelType": "CancelByPrepareLiq"}, S.EXPIRED, "liquidation"),
        ({"cancelType": "CancelBySomethingNew"}, S.EXPIRED, "CancelBySomethingNew"),
    ],
)
def test_a_cancelled_order_says_how_much_it_traded_and_why_it_ended(
    fixtures: Path, told: dict[str, Any], status: OrderStatus, detail: str
) -> None:
    plain = {"orderStatus": "Cancelled", "cumExecQty": "0.040", "rejectReason": "EC_NoError", "stopOrderType": ""}
    row = plain | told
    report = one(pushed(fixtures, "ws_order_filled", **row), OrderStatusReport)
    assert (report.status, report.filled, report.detail) == (status, Decimal("0.040"), detail)


def test_a_second_end_after_the_fill_changes_nothing(fixtures: Path) -> None:
    told: dict[str, Any] = {"cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}
    report = one(pushed(fixtures, "ws_order_filled", **told), OrderStatusReport)
    assert (report.status, report.detail) == (S.FILLED, "")


@pytest.mark.parametrize("name", ["ws_order_stop_loss", "ws_order_stop_market", "ws_order_take_profit"])
def test_orders_that_wait_are_conditional(fixtures: Path, name: str) -> None:
    report = one(pushed(fixtures, name), OrderStatusReport)
    assert (report.status, report.conditional, report.filled) == (S.ACCEPTED, True, 0)
    assert report.trigger_price is not None
    assert report.reduce_only == (name != "ws_order_stop_market")


def test_a_nameless_stop_loss_of_the_position_is_the_stop_that_is_expected_there(fixtures: Path) -> None:
    account = an_account()
    account.stops.expect(a_stop("48000"), 1_672_364_262_000)
    report = one(pushed(fixtures, "ws_order_stop_loss", account, orderLinkId=""), OrderStatusReport)
    assert report.client_order_id == a_stop("48000").client_order_id
    assert account.stops.name_of("test-stop-loss-001") == report.client_order_id


def test_a_stop_loss_of_a_part_is_nobodys_of_ours(fixtures: Path) -> None:
    account = an_account()
    account.stops.expect(a_stop("48000"), 1_672_364_262_000)
    for kind in ("PartialStopLoss", "StopLoss"):
        told: dict[str, Any] = {"orderLinkId": "", "tpslMode": "Partial", "stopOrderType": kind}
        assert one(pushed(fixtures, "ws_order_stop_loss", account, **told), OrderStatusReport).client_order_id == ""


def test_a_stop_that_works_in_the_book_has_fired(fixtures: Path) -> None:
    report = one(pushed(fixtures, "ws_order_stop_loss", orderStatus="New"), OrderStatusReport)
    assert (report.status, report.conditional) == (S.TRIGGERED, False)


@pytest.mark.parametrize(
    "told",
    [
        {"orderStatus": "Dreaming"},
        {"qty": "NaN"},
        {"side": "buy"},
        {"updatedTime": ""},
        {"cumExecQty": "-1"},
        {"qty": 1},
    ],
)
def test_an_order_that_cannot_be_is_set_aside(fixtures: Path, told: dict[str, Any]) -> None:
    with pytest.raises(MalformedPayload):
        pushed(fixtures, "ws_order_filled", **told)


# --- executions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["execution_list", "execution_list_naut"])
def test_rows_of_executions_parse(fixtures: Path, name: str) -> None:
    for row in result(fixtures, name, Page[ExecutionRow]).rows:
        report = fill_report(row, ETH, Source.REST, PositionStops(PositionModes()), PositionModes())
        assert report.quantity > 0
        assert report.price > 0
        assert report.fee_asset == (row.feeCurrency or "USDT")


def test_a_trade_tells_its_fee_with_the_tax_on_it(fixtures: Path) -> None:
    fill = one(pushed(fixtures, "ws_execution"), FillReport)
    assert fill == FillReport(
        instrument=BTC,
        client_order_id=fill.client_order_id,
        venue_order_id=fill.venue_order_id,
        trade_id=fill.trade_id,
        side=Side.SELL,
        quantity=fill.quantity,
        price=fill.price,
        fee=Decimal("26.3725275") + Decimal("0.006403779"),
        fee_asset=fill.fee_asset,
        realized=Decimal("0.05"),
        maker=False,
        venue_time_ms=1_746_270_400_353,
        source=Source.STREAM,
    )
    assert (fill.quantity, fill.price, fill.fee_asset) == (Decimal("0.5"), Decimal("95900.1"), "USDT")
    assert (fill.client_order_id, fill.trade_id) == ("", "0ab1bdf7-4219-438b-b30a-32ec863018f7")


def test_a_trade_of_a_stop_of_ours_is_told_under_our_name(fixtures: Path) -> None:
    account = an_account()
    account.stops.expect(a_stop("48000"), 1_672_364_262_000)
    pushed(fixtures, "ws_order_stop_loss", account, orderLinkId="", orderId="9aac161b-8ed6-450d-9cab-c5cc67c21784")
    fill = one(pushed(fixtures, "ws_execution", account), FillReport)
    assert fill.client_order_id == a_stop("48000").client_order_id


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({"execType": "Trade", "createType": "CreateByUser"}, Origin.ORDER),
        ({"execType": "BustTrade", "createType": ""}, Origin.LIQUIDATION),
        ({"execType": "Trade", "createType": "CreateByLiq"}, Origin.LIQUIDATION),
        ({"execType": "Trade", "createType": "CreateByTakeOver_PassThrough"}, Origin.LIQUIDATION),
        ({"execType": "Trade", "createType": "CreateByAdl_PassThrough"}, Origin.ADL),
        ({"execType": "Settle", "createType": ""}, Origin.SETTLEMENT),
    ],
)
def test_whose_order_a_trade_came_from_is_told(fixtures: Path, told: dict[str, Any], origin: Origin) -> None:
    assert one(pushed(fixtures, "ws_execution", **told), FillReport).origin is origin


def test_an_auto_deleveraging_is_told_as_one(fixtures: Path) -> None:
    fill = one(pushed(fixtures, "ws_execution_adl"), FillReport)
    assert (fill.origin, fill.fee, fill.side) == (Origin.ADL, 0, Side.SELL)


@pytest.mark.parametrize(
    ("side", "closed", "of"),
    [
        ("Sell", "0.5", PositionSide.LONG),
        ("Buy", "0.5", PositionSide.SHORT),
        ("Buy", "0", PositionSide.LONG),
        ("Sell", "", PositionSide.SHORT),
    ],
)
def test_in_hedge_mode_what_a_trade_closed_tells_whose_it_was(
    fixtures: Path, side: str, closed: str, of: PositionSide
) -> None:
    told = pushed(fixtures, "ws_execution", an_account(hedge=True), side=side, closedSize=closed)
    assert one(told, FillReport).position_side is of


def test_funding_is_money_and_no_trade(fixtures: Path) -> None:
    account = an_account()
    account.wallets.read([], 1_746_270_000_000)
    told: dict[str, Any] = {"execType": "Funding", "execFee": "1.25", "extraFees": ""}
    (funded,) = pushed(fixtures, "ws_execution", account, **told)
    assert isinstance(funded, BalanceReport)
    assert (funded.cause, funded.change, funded.wallet) == (WalletCause.FUNDING, Decimal("-1.25"), Decimal("-1.25"))
    assert pushed(fixtures, "ws_execution", account, **told) == (), "told twice while connections overlap"


def test_a_trade_without_a_price_is_set_aside(fixtures: Path) -> None:
    bad: list[dict[str, Any]] = [{"execPrice": "0"}, {"execQty": ""}, {"execTime": "soon"}]
    for told in bad:
        with pytest.raises(MalformedPayload):
            pushed(fixtures, "ws_execution", **told)


# --- positions and wallets ------------------------------------------------------------------------------------------


def test_a_captured_position_is_signed_by_its_side(fixtures: Path) -> None:
    reports = pushed(fixtures, "ws_position_captured")
    position = one(reports, PositionReport)
    assert (position.instrument, position.position_side) == (ETH, PositionSide.BOTH)
    assert (position.quantity, position.entry_price) == (Decimal("-0.01"), Decimal("3641.075"))
    assert (position.mark_price, position.unrealized) == (Decimal("3641.33"), Decimal("-0.00255"))
    assert one(reports, LeverageReport).leverage == 30


def test_a_flat_row_tells_by_its_index_which_side_is_flat(fixtures: Path) -> None:
    position = one(pushed(fixtures, "ws_position", an_account(hedge=True)), PositionReport)
    assert (position.position_side, position.quantity, position.entry_price) == (PositionSide.SHORT, 0, None)


def test_a_short_is_negative(fixtures: Path) -> None:
    assert one(pushed(fixtures, "ws_position_short"), PositionReport).quantity == Decimal("-0.01")


def test_a_side_against_its_index_is_set_aside(fixtures: Path) -> None:
    with pytest.raises(MalformedPayload):
        pushed(fixtures, "ws_position_captured", positionIdx=1)


def test_a_leverage_is_told_when_it_changes(fixtures: Path) -> None:
    frames = UserFrames(an_account())
    document = load(fixtures, "ws_position_captured")
    told = []
    for leverage in ("30", "30", "25"):
        document["data"][0]["leverage"] = leverage
        reports = frames.decode(json.dumps(document).encode())
        assert isinstance(reports, tuple)
        told.append([report.leverage for report in reports if isinstance(report, LeverageReport)])
    assert told == [[30], [], [25]]


@pytest.mark.parametrize("name", ["position_list", "position_list_open_time"])
def test_rows_of_positions_parse(fixtures: Path, name: str) -> None:
    for row in result(fixtures, name, Page[PositionRow]).rows:
        report = position_report(row, BTC, Source.REST)
        assert abs(report.quantity) == Decimal(row.size)
        assert report.entry_price == Decimal(row.avgPrice)


def test_a_pushed_position_with_its_opening_time_parses(fixtures: Path) -> None:
    row = msgspec.convert(load(fixtures, "ws_position_open_time"), PositionRow)
    assert position_report(row, BTC, Source.STREAM).quantity == Decimal("0.1")


def test_a_wallet_push_tells_the_coins_that_changed(fixtures: Path) -> None:
    (coin,) = pushed(fixtures, "ws_wallet")
    assert isinstance(coin, BalanceReport)
    assert (coin.asset, coin.wallet, coin.available) == ("BTC", Decimal("0.00102964"), Decimal("0.00102964"))
    assert coin.venue_time_ms == 1_700_034_722_104


def test_what_the_account_may_not_use_no_coin_may(fixtures: Path) -> None:
    coin = one(pushed(fixtures, "ws_wallet_small_order"), BalanceReport)
    assert (coin.wallet, coin.available) == (Decimal("51333.82543837"), 0)


@pytest.mark.parametrize("name", ["wallet_balance", "wallet_balance_naut"])
def test_a_reading_of_the_wallet_tells_both_quote_coins(fixtures: Path, name: str) -> None:
    told = {b.asset: b for b in Wallets().read(result(fixtures, name, Page[WalletRow]).rows, 1)}
    assert {"USDT", "USDC"} <= {str(asset) for asset in told}
    assert all(balance.available is not None and balance.available >= 0 for balance in told.values())


def test_a_coin_without_figures_is_empty_and_costs_the_others_nothing(fixtures: Path) -> None:
    document = load(fixtures, "ws_wallet")
    document["data"][0]["coin"].append({"coin": "USDC", "walletBalance": "", "equity": "", "totalPositionIM": ""})
    told = UserFrames(an_account()).decode(json.dumps(document, default=str).encode())
    assert not isinstance(told, Head | None)
    balances = [report for report in told if isinstance(report, BalanceReport)]
    assert [(b.asset, b.wallet, b.available) for b in balances][1:] == [("USDC", 0, 0)]
    assert balances[0].wallet > 0


def test_a_coin_has_no_more_than_the_account_has(fixtures: Path) -> None:
    told = {str(b.asset): b for b in Wallets().read(result(fixtures, "wallet_balance_naut", Page[WalletRow]).rows, 1)}
    assert told["USDT"].wallet == Decimal("1000.50")
    assert told["USDT"].available == Decimal("3.00326056")
    assert told["USDC"].wallet == told["USDC"].available == 0
