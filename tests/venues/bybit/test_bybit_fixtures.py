"""Every payload captured from the venue, or given in its documents, parses into what it says."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import (
    BalanceReport,
    FillReport,
    LeverageReport,
    OrderStatusReport,
    Origin,
    PositionReport,
    PositionSide,
    Report,
    Source,
    WalletCause,
)
from core.domain.signal import Side
from core.errors import MalformedPayload, Refused
from core.venues.bybit.account import Account, Credentials
from core.venues.bybit.codes import fault_in
from core.venues.bybit.instruments import brackets_of, listing
from core.venues.bybit.market_feed import TickerRoute
from core.venues.bybit.modes import PositionModes
from core.venues.bybit.parse import fill_report, order_reports, position_report
from core.venues.bybit.payloads import (
    AccountInfo,
    Ack,
    Answer,
    BatchAnswer,
    CandleRows,
    ExecutionRow,
    Head,
    KeyRow,
    OrderRow,
    Page,
    PositionRow,
    SymbolRow,
    TickerRow,
    TierRow,
    TimeRow,
    WalletRow,
)
from core.venues.bybit.position_stops import PositionStops
from core.venues.bybit.user_feed import BybitSession, UserFrames
from core.venues.bybit.wallet import Wallets
from core.venues.market_stream import Tick
from core.venues.payload import shaped
from core.venues.private_session import LoggedIn, LoginRefused, Subscribed, SubscriptionRefused
from core.venues.subscriptions import Answered
from core.venues.symbols import SymbolTable
from core.venues.venue_clock import VenueClock
from tests.builders import an_instrument
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.bybit.desk import BTC, ETH, a_stop

_T = TypeVar("_T")
S = OrderStatus


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "bybit_linear"


class EverySymbol(SymbolTable):
    """Knows whatever is asked for, so that no capture is skipped."""

    def unified(self, venue_symbol: str) -> InstrumentId | None:
        base = venue_symbol.removesuffix("USDT")
        return InstrumentId(VenueName.BYBIT, Symbol(f"{base}/USDT:USDT"))


def an_account(*, hedge: bool = False) -> Account:
    modes = PositionModes()
    modes.learn(hedge=hedge)
    return Account(symbols=EverySymbol(), modes=modes, stops=PositionStops(modes), wallets=Wallets())


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"), parse_float=Decimal)


def result(folder: Path, name: str, shape: type[_T]) -> _T:
    return shaped(load(folder, name), Answer[shape], name).result  # type: ignore[valid-type]


def pushed(folder: Path, name: str, of: Account | None = None, **changes: Any) -> Sequence[Report]:
    """What the private stream makes of a frame, with fields of its rows changed."""
    document = load(folder, name)
    document["data"] = [row | changes for row in document["data"]]
    reports = UserFrames(of or an_account()).decode(json.dumps(document, default=str).encode())
    assert not isinstance(reports, Head | None), reports
    return reports


def one(reports: Sequence[Report], kind: type[_T]) -> _T:
    (report,) = (report for report in reports if isinstance(report, kind))
    return report


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
    told: dict[str, Any] = {"orderLinkId": "", "tpslMode": "Partial", "stopOrderType": "PartialStopLoss"}
    assert one(pushed(fixtures, "ws_order_stop_loss", account, **told), OrderStatusReport).client_order_id == ""


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
    for told in ({"execPrice": "0"}, {"execQty": ""}, {"execTime": "soon"}):
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


def test_a_coin_has_no_more_than_the_account_has(fixtures: Path) -> None:
    told = {str(b.asset): b for b in Wallets().read(result(fixtures, "wallet_balance_naut", Page[WalletRow]).rows, 1)}
    assert told["USDT"].wallet == Decimal("1000.50")
    assert told["USDT"].available == Decimal("3.00326056")
    assert told["USDC"].wallet == told["USDC"].available == 0


# --- answers and rules ----------------------------------------------------------------------------------------------


def test_answers_parse(fixtures: Path) -> None:
    assert result(fixtures, "order_create", Ack).orderLinkId == "spot-test-postonly"
    assert result(fixtures, "order_cancel", Ack).orderId
    assert result(fixtures, "account_info", AccountInfo).marginMode == "REGULAR_MARGIN"
    assert int(result(fixtures, "time", TimeRow).timeNano) // 1_000_000 == 1_688_639_403_423
    batch = shaped(load(fixtures, "order_create_batch"), BatchAnswer, "batch")
    assert [verdict.code for verdict in batch.retExtInfo.rows] == [0, 0]
    assert {
        (row.leverage, row.positionIdx) for row in result(fixtures, "position_symbol_info", Page[SymbolRow]).rows
    } == {
        ("10", 1),
        ("10", 2),
    }
    assert shaped(load(fixtures, "trading_stop"), Answer[dict[str, Any]], "x").time == 1_672_283_125_359
    assert len(result(fixtures, "kline", CandleRows).rows[0]) == 7
    assert result(fixtures, "tickers_inverse", Page[TickerRow]).rows[0].markPrice == "114898.43"


@pytest.mark.parametrize("name", ["user_query_api", "user_query_api_captured"])
def test_what_a_key_may_do_parses(fixtures: Path, name: str) -> None:
    key = result(fixtures, name, KeyRow)
    assert key.permissions["ContractTrade"]
    assert key.ips


@pytest.mark.parametrize(
    "name",
    [
        "instruments_info", "instruments_info_account", "instruments_info_doc_usdt_perp",
        "instruments_info_symbol_type", "instruments_info_placeholders",
    ],
)  # fmt: skip
def test_rules_of_contracts_parse(fixtures: Path, name: str) -> None:
    rows = load(fixtures, name)["result"]["list"]
    wanted = {row["symbol"] for row in rows if row["contractType"] == "LinearPerpetual"}
    listed = listing(rows, {}, {})
    assert not listed.unusable
    assert {i.venue_symbol for i in listed.usable} == wanted
    assert all(i.tick > 0 and i.lot.step > 0 and i.market_lot.maximum <= i.lot.maximum for i in listed.usable)


def test_the_rules_of_bitcoin_are_those_of_the_venue(fixtures: Path) -> None:
    listed = listing(load(fixtures, "instruments_info_doc_usdt_perp")["result"]["list"], {}, {})
    (btc,) = listed.usable
    assert btc.id == BTC
    assert (btc.tick, btc.lot.step, btc.lot.maximum) == (Decimal("0.10"), Decimal("0.001"), Decimal(1190))
    assert (btc.market_lot.maximum, btc.min_notional, btc.max_leverage) == (Decimal(500), Decimal(5), 100)
    assert btc.band is not None
    assert (btc.band.up, btc.band.down) == (Decimal("1.01"), Decimal("0.99"))
    assert (btc.tradable, btc.status, btc.listed_ms) == (True, "Trading", 1_585_526_400_000)


def test_a_contract_before_its_listing_is_not_traded(fixtures: Path) -> None:
    document = load(fixtures, "instruments_info_doc_2")
    rows = document["result"]["list"] if "result" in document else [document]
    assert [(i.venue_symbol, i.tradable) for i in listing(rows, {}, {}).usable] == [("BIOUSDT", False)]


def test_what_ceases_to_be_listed_keeps_its_rules_and_is_not_traded(fixtures: Path) -> None:
    rows = load(fixtures, "instruments_info_doc_usdt_perp")["result"]["list"]
    gone = replace(an_instrument(ETH), tradable=True)
    before = {i.id.symbol: i for i in listing(rows, {}, {}).usable} | {ETH.symbol: gone}
    after = {i.id: i for i in listing(rows, {}, before).usable}
    assert after[BTC] is before[BTC.symbol]
    assert after[ETH] == replace(gone, tradable=False, status="NOT_LISTED")


def test_a_stock_is_not_traded(fixtures: Path) -> None:
    (stock,) = listing(load(fixtures, "instruments_info_symbol_type")["result"]["list"], {}, {}).usable
    assert (stock.venue_symbol, stock.status, stock.tradable) == ("TSLAUSDT", "Trading", False)


def test_one_odd_row_costs_no_other_contract(fixtures: Path) -> None:
    rows = load(fixtures, "instruments_info")["result"]["list"]
    rows[0] = {**rows[0], "priceFilter": {"tickSize": "zero"}}
    listed = listing(rows, {}, {})
    assert set(listed.unusable) == {rows[0]["symbol"]}
    assert rows[1]["symbol"] in {i.venue_symbol for i in listed.usable}


def test_risk_limits_become_brackets_smallest_first(fixtures: Path) -> None:
    (row,) = result(fixtures, "risk_limit_inverse", Page[TierRow]).rows
    larger = replace_tier(row, "900", "50.00")
    (smallest, largest) = brackets_of([larger, row])["BTCUSD"]
    assert (smallest.most_notional, smallest.max_leverage) == (Decimal(150), 100)
    assert (largest.most_notional, largest.max_leverage) == (Decimal(900), 50)
    with pytest.raises(ValueError, match="without room"):
        brackets_of([replace_tier(row, "0", "50")])


def replace_tier(row: TierRow, most: str, leverage: str) -> TierRow:
    return TierRow(symbol=row.symbol, riskLimitValue=most, maxLeverage=leverage)


def test_every_documented_error_is_told_by_its_code(fixtures: Path) -> None:
    examples = [row for row in load(fixtures, "error_examples") if "body" in row]
    assert {fault[0] for row in examples if (fault := fault_in(row["body"]))} == {
        "110007", "110072", "110043", "110001", "110017", "10006", "10002", "10004", "34040",
    }  # fmt: skip
    assert fault_in({"retCode": 0, "retMsg": "OK"}) is fault_in({"retCode": "0"}) is fault_in([]) is None


# --- conversation ---------------------------------------------------------------------------------------------------


def session() -> BybitSession:
    clock = VenueClock(VirtualClock())
    return BybitSession("ws://x", Credentials(key="k", secret="s"), UserFrames(an_account()), clock)


async def test_a_login_is_judged_by_its_answer(fixtures: Path) -> None:
    good = json.dumps(load(fixtures, "ws_auth_private_ok")).encode()
    assert session().decode(good) == LoggedIn()
    bad = session().decode(json.dumps(load(fixtures, "ws_auth_failure")).encode())
    assert isinstance(bad, LoginRefused)
    assert isinstance(bad.error, Refused)
    assert bad.error.code == "10003"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Params Error. API key is invalid.", "10003"),
        ("error sign! origin_string", "10004"),
        ("Request timestamp expired", "10002"),
        ("busy", ""),
    ],
)
async def test_a_login_refused_in_words_only_is_told_by_them(words: str, code: str) -> None:
    told = session().decode(json.dumps({"success": False, "ret_msg": words, "op": "auth", "conn_id": "x"}).encode())
    assert isinstance(told, LoginRefused)
    assert told.error.code == code


async def test_acknowledgements_are_told_apart_by_the_request_they_answer(fixtures: Path) -> None:
    ack = load(fixtures, "ws_subscribe_ack_private")
    assert session().decode(json.dumps({**ack, "req_id": "order"}).encode()) == Subscribed(("order",))
    again = {"success": False, "ret_msg": "error:handler already subscribed,topic:order", "op": "subscribe"}
    assert session().decode(json.dumps({**again, "req_id": "order"}).encode()) == Subscribed(("order",))
    refused = session().decode(json.dumps({**load(fixtures, "ws_subscribe_failure"), "req_id": "wallet"}).encode())
    assert isinstance(refused, SubscriptionRefused)
    assert refused.topics == ("wallet",)
    assert session().decode(json.dumps(load(fixtures, "ws_pong_private")).encode()) == ()


# --- public stream --------------------------------------------------------------------------------------------------


def route() -> TickerRoute:
    return TickerRoute("ws://x", EverySymbol())


def heard(frames: TickerRoute, document: Any) -> Sequence[Tick]:
    told = frames.decode(json.dumps(document).encode())
    assert not isinstance(told, Answered | None), told
    return told


@pytest.mark.parametrize("name", ["ws_tickers_snapshot", "ws_tickers_snapshot_naut"])
def test_a_snapshot_tells_mark_and_touch(fixtures: Path, name: str) -> None:
    document = load(fixtures, name)
    (tick,) = heard(route(), document)
    assert tick.mark == Decimal(document["data"]["markPrice"])
    assert (tick.bid, tick.ask) == (Decimal(document["data"]["bid1Price"]), Decimal(document["data"]["ask1Price"]))
    assert tick.venue_time_ms == document["ts"]


def test_a_captured_one_sided_change_leaves_the_rest_as_it_was(fixtures: Path) -> None:
    frames = route()
    delta = load(fixtures, "ws_tickers_delta_captured")
    assert heard(frames, delta) == (), "a change of nothing"
    heard(frames, load(fixtures, "ws_tickers_snapshot"))
    (tick,) = heard(frames, delta)
    assert (tick.mark, tick.bid, tick.ask) == (Decimal("66666.60"), Decimal("79114.50"), Decimal("66666.70"))
    frames.connected()
    assert heard(frames, delta) == (), "of an earlier connection nothing is known"


def test_an_empty_side_of_the_book_is_no_price(fixtures: Path) -> None:
    frames = route()
    heard(frames, load(fixtures, "ws_tickers_snapshot"))
    (tick,) = heard(
        frames, {**load(fixtures, "ws_tickers_delta_captured"), "data": {"symbol": "BTCUSDT", "bid1Price": ""}}
    )
    assert (tick.bid, tick.ask) == (None, Decimal("66666.70"))


def test_public_answers_are_told_by_their_number(fixtures: Path) -> None:
    ack = {**load(fixtures, "ws_subscribe_ack_public_linear"), "req_id": "7"}
    assert route().decode(json.dumps(ack).encode()) == Answered(number=7)
    words = "Invalid symbol :[tickers.X9USDT]"
    told = route().decode(json.dumps({**ack, "success": False, "ret_msg": words}).encode())
    assert told == Answered(number=7, channels=("tickers.X9USDT",), refused=True, words=words)
    assert route().decode(json.dumps(load(fixtures, "ws_pong_public_linear")).encode()) is None


def test_a_garbled_frame_is_set_aside() -> None:
    for frame in (
        b"{",
        b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","markPrice":"-1"},"ts":1}',
    ):
        with pytest.raises(MalformedPayload):
            route().decode(frame)
