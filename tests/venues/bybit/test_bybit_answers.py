"""Every answer that was captured, or is documented, is read as what it says; and the streams' own conversation."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core.errors import MalformedPayload, Refused
from core.venues.bybit.account import Credentials
from core.venues.bybit.codes import fault_in
from core.venues.bybit.instruments import brackets_of, listing
from core.venues.bybit.market_feed import TickerRoute
from core.venues.bybit.payloads import (
    AccountInfo,
    Ack,
    Answer,
    BatchAnswer,
    CandleRows,
    CoinRow,
    KeyRow,
    Page,
    SymbolRow,
    TickerRow,
    TierRow,
    TimeRow,
)
from core.venues.bybit.user_feed import BybitSession, UserFrames
from core.venues.bybit.wallet import available
from core.venues.market_stream import Tick
from core.venues.payload import shaped
from core.venues.private_session import LoggedIn, LoginRefused, Subscribed, SubscriptionRefused
from core.venues.subscriptions import Answered
from core.venues.venue_clock import VenueClock
from tests.builders import an_instrument
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.bybit.desk import BTC, ETH
from tests.venues.bybit.frames import EverySymbol, an_account, load, result

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
        brackets_of([replace_tier(row, "900", "0.5")])


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
        ("Your api key has expired.", "33004"),
        ("Request timestamp expired", "10002"),
        ("Params Error", "10002"),
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


def test_a_refusal_without_a_number_answers_the_request_that_named_its_channel() -> None:
    frames = route()
    frames.subscription(["tickers.A", "tickers.B"], 7)
    frames.subscription(["tickers.C"], 8)
    refusal = {"success": False, "ret_msg": "Invalid symbol :[tickers.B]", "conn_id": "x", "op": "subscribe"}
    told = frames.decode(json.dumps(refusal).encode())
    words = "Invalid symbol :[tickers.B]"
    assert told == Answered(number=7, channels=("tickers.B",), refused=True, words=words)
    frames.connected()
    assert frames.decode(json.dumps(refusal).encode()) is None, "of an earlier connection's requests nothing is known"


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


# --- wallets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account_usd", "figures", "free"),
    [
        ("5000", {}, "900"),
        ("300", {}, "300"),
        ("0", {}, "0"),
        ("5000", {"equity": "50"}, "0"),
        ("5000", {"equity": ""}, "890"),
        ("5000", {"totalPositionIM": "", "totalOrderIM": ""}, "1000"),
        ("", {}, "865"),
        ("", {"bonus": ""}, "890"),
        ("", {"totalPositionIM": ""}, None),
        ("", {"totalOrderIM": ""}, None),
    ],
)
def test_what_is_free_is_what_the_venue_says(account_usd: str, figures: dict[str, str], free: str | None) -> None:
    """In cross margin a coin's own equity, never beyond the account's; in isolated margin what is neither tied nor
    lent; without the figures it is unknown, never the gross one."""
    base = {"walletBalance": "1000", "equity": "1010", "locked": "10", "bonus": "25"}
    row = CoinRow(coin="USDT", **(base | {"totalPositionIM": "70", "totalOrderIM": "30"} | figures))
    assert available(row, account_usd) == (None if free is None else Decimal(free))
