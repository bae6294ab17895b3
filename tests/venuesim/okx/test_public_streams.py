"""Public channels: what a newcomer gets, what follows, how often, and that books and candles add up."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from itertools import count, pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from tests.venuesim.okx.desk import BTC, START_MS
from tests.venuesim.okx.streams import BUSINESS, PUBLIC, SWAPS, StreamDesk, Wire
from tools.venuesim.exchange.model import Depth
from tools.venuesim.okx.market_rows import checksum

ETH = "ETH-USDT-SWAP"
DAY_MS = 24 * 3_600_000


def messages(wire: Wire, channel: str) -> list[Any]:
    return [frame["data"][0] for frame in wire.of(channel)]


@pytest.mark.parametrize(
    "channel",
    ["tickers", "mark-price", "price-limit", "open-interest", "funding-rate", "bbo-tbt", "books5", "books"],
)
def test_state_comes_at_once_under_the_subscriptions_argument(channel: str) -> None:
    (frame,) = StreamDesk().public(channel, instId=BTC).pushed
    assert frame["arg"] == {"channel": channel, "instId": BTC}
    assert len(frame["data"]) == 1


def test_tickers_are_whole_rows_every_time_and_the_same_as_over_rest() -> None:
    desk = StreamDesk(tick_hz=20)
    wire = desk.public("tickers", instId=BTC)
    desk.run(3_000)
    rows = messages(wire, "tickers")
    assert {tuple(row) for row in rows} == {tuple(desk.one("GET", "market/ticker", instId=BTC))}
    assert "markPx" not in rows[0]
    times = [int(row["ts"]) for row in rows[1:]]
    assert all(later - earlier >= 100 for earlier, later in pairwise(times))
    assert len(rows) > 20


def test_mark_price_comes_faster_when_it_moves_than_when_it_does_not() -> None:
    desk = StreamDesk(tick_hz=20)
    wire = desk.public("mark-price", instId=BTC)
    desk.run(1_000)
    assert len(messages(wire, "mark-price")) <= 1 + 1_000 // 200 + 1
    desk.move("64000")
    desk.run(500)
    wire.forget()
    desk.run(20_000)
    assert len(messages(wire, "mark-price")) == 2


def test_funding_and_open_interest_come_at_their_own_pace() -> None:
    desk = StreamDesk()
    wire = desk.public("funding-rate", "open-interest", instId=BTC)
    desk.run(121_000)
    assert 2 <= len(messages(wire, "funding-rate")) <= 4
    assert len(messages(wire, "open-interest")) > 30


def test_trades_are_told_one_by_one_with_the_takers_side() -> None:
    desk = StreamDesk()
    wire = desk.public("trades", instId=BTC)
    business = desk.public("trades-all", place=BUSINESS, instId=BTC)
    desk.run(3_000)
    rows = messages(wire, "trades")
    by_number = {row["tradeId"]: row for row in desk.ok("GET", "market/trades", instId=BTC)}
    assert len(rows) == len({row["tradeId"] for row in rows}) == 6
    for row in rows:
        assert by_number[row["tradeId"]]["side"] == row["side"]
    assert [row["tradeId"] for row in messages(business, "trades-all")] == [row["tradeId"] for row in rows]
    assert {row["count"] for row in rows} == {"1"}


def test_sizes_are_contracts() -> None:
    desk = StreamDesk()
    wire = desk.public("tickers", "books5", "trades", instId=BTC)
    desk.run(1_000)
    quote, trade = desk.simulation.engine.quote(BTC), desk.simulation.engine.trades(BTC)[-1]
    assert Decimal(messages(wire, "tickers")[-1]["askSz"]) == quote.ask_qty * 100
    assert Decimal(messages(wire, "books5")[-1]["asks"][0][1]) == quote.ask_qty * 100
    assert Decimal(messages(wire, "trades")[-1]["sz"]) == trade.qty * 100


# books


def apply(book: dict[str, dict[str, str]], row: dict[str, Any]) -> None:
    for side in ("bids", "asks"):
        for price, size, *_ in row[side]:
            if size == "0":
                del book[side][price]
            else:
                book[side][price] = size


def best_first(levels: dict[str, str], *, bids: bool) -> list[list[str]]:
    return [[price, levels[price]] for price in sorted(levels, key=Decimal, reverse=bids)]


def test_a_book_kept_from_its_changes_equals_the_one_over_rest_and_its_checksums_fit() -> None:
    desk = StreamDesk()
    wire = desk.public("books", instId=BTC)
    desk.run(10_000)
    first, *changes = wire.of("books")
    assert first["action"] == "snapshot"
    assert first["data"][0]["prevSeqId"] == -1
    book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    number = -1
    for frame in (first, *changes):
        row = frame["data"][0]
        assert row["prevSeqId"] == number
        number = row["seqId"]
        apply(book, row)
        bids, asks = best_first(book["bids"], bids=True), best_first(book["asks"], bids=False)
        assert row["checksum"] == checksum(bids, asks)
    assert {frame["action"] for frame in changes} == {"update"}
    rest = desk.one("GET", "market/books", instId=BTC, sz="400")
    assert [row[:2] for row in rest["bids"]] == best_first(book["bids"], bids=True)
    assert [row[:2] for row in rest["asks"]] == best_first(book["asks"], bids=False)
    assert rest["seqId"] == number


def test_the_checksum_takes_price_and_size_of_bids_and_asks_by_turns() -> None:
    bids, asks = [["3366.1", "7", "0", "3"], ["3366", "6", "3", "4"]], [["3366.8", "9", "10", "3"]]
    value = zlib.crc32(b"3366.1:7:3366.8:9:3366:6")
    assert checksum(bids, asks) % 2**32 == value
    assert -(2**31) <= checksum(bids, asks) < 2**31
    many = [[str(price), "1", "0", "1"] for price in range(26)]
    assert checksum(many, []) == checksum(many[:25], [])


def test_a_book_begun_from_rest_can_follow_the_changes() -> None:
    desk = StreamDesk()
    wire = desk.public("books", instId=BTC)
    desk.run(2_100)
    rest = desk.one("GET", "market/books", instId=BTC, sz="400")
    book = {side: {row[0]: row[1] for row in rest[side]} for side in ("bids", "asks")}
    wire.forget()
    desk.run(5_000)
    rows = [row for row in messages(wire, "books") if row["seqId"] > rest["seqId"]]
    assert rows[0]["prevSeqId"] <= rest["seqId"]
    for row in rows:
        apply(book, row)
    again = desk.one("GET", "market/books", instId=BTC, sz="400")
    assert {row[0]: row[1] for row in again["asks"]} == book["asks"]


def test_a_newcomer_joins_the_chain_where_it_is() -> None:
    desk = StreamDesk()
    early = desk.public("books", instId=BTC)
    desk.run(3_050)
    late = desk.public("books", instId=BTC)
    early.forget()
    snapshot = messages(late, "books")[0]
    desk.run(1_000)
    assert messages(early, "books")[0]["prevSeqId"] == snapshot["seqId"]
    assert messages(late, "books")[1:] == messages(early, "books")


def test_a_lost_change_shows_as_a_gap_in_the_numbers() -> None:
    desk = StreamDesk()
    wire = desk.public("books", instId=BTC)
    desk.fault("lose_event", {"event": "books"}, after=1)
    desk.run(3_000)
    rows = messages(wire, "books")
    assert sum(later["prevSeqId"] != earlier["seqId"] for earlier, later in pairwise(rows)) == 1


def test_a_book_at_rest_repeats_its_number_after_a_minute() -> None:
    desk = StreamDesk()
    desk.move("64000")
    wire = desk.public("books", instId=BTC)
    still = desk.simulation.engine.depth(BTC)
    numbers = count(still.update_id)

    def depth(symbol: str) -> Depth:
        return replace(still, update_id=next(numbers))

    desk.simulation.engine.depth = depth  # type: ignore[method-assign]
    for part in range(6):
        if part == 3:
            wire.forget()
        wire.say("ping")
        desk.run(20_500)
    (row,) = messages(wire, "books")
    assert (row["asks"], row["bids"]) == ([], [])
    assert row["seqId"] == row["prevSeqId"]


@pytest.mark.parametrize(("channel", "levels"), [("bbo-tbt", 1), ("books5", 5)])
def test_the_best_levels_are_always_whole(channel: str, levels: int) -> None:
    desk = StreamDesk()
    wire = desk.public(channel, instId=BTC)
    desk.run(3_000)
    rows = messages(wire, channel)
    assert len(rows) > 3
    assert {len(row[side]) for row in rows for side in ("bids", "asks")} == {levels}
    assert "action" not in wire.of(channel)[0]
    assert ("instId" in rows[0]) is (channel == "books5")


# candles


def test_a_candle_is_closed_before_the_next_one_begins() -> None:
    desk = StreamDesk()
    wire = desk.public("candle1m", place=BUSINESS, instId=BTC)
    desk.run(125_000)
    rows = messages(wire, "candle1m")
    closed = [row for row in rows if row[8] == "1"]
    assert [int(row[0]) for row in closed] == sorted({int(row[0]) for row in closed})
    assert len(closed) == 2
    for row, following in pairwise(rows):
        assert int(following[0]) in (int(row[0]), int(row[0]) + 60_000)
        assert following[0] == row[0] or row[8] == "1"
    assert desk.get("market/candles", instId=BTC, limit=2)["data"][1] == closed[-1]


def test_candles_come_at_most_every_second() -> None:
    desk = StreamDesk(tick_hz=20)
    wire = desk.public("candle1m", "mark-price-candle1m", place=BUSINESS, instId=BTC)
    desk.run(5_000)
    assert len(messages(wire, "candle1m")) <= 7
    assert {len(row) for row in messages(wire, "mark-price-candle1m")} == {6}


def test_index_channels_are_named_by_the_index() -> None:
    desk = StreamDesk()
    public = desk.public("index-tickers", instId="BTC-USDT")
    business = desk.public("index-candle5m", place=BUSINESS, instId="BTC-USDT")
    assert messages(public, "index-tickers")[0]["instId"] == "BTC-USDT"
    assert len(messages(business, "index-candle5m")[0]) == 6


# events of all markets


def test_a_changed_contract_is_told_as_a_whole_row() -> None:
    desk = StreamDesk()
    wire = desk.public("instruments", **SWAPS)
    spot = desk.public("instruments", instType="SPOT")
    assert wire.pushed == []
    desk.fault("halt_symbol", {"symbol": BTC}, at_ms=0, duration_ms=5_000)
    desk.run(6_000)
    assert [(row["instId"], row["state"]) for row in wire.rows("instruments")] == [(BTC, "suspend"), (BTC, "live")]
    assert wire.rows("instruments")[0]["instIdCode"] == 10459
    assert spot.pushed == []


def test_liquidations_are_told_to_everybody() -> None:
    desk = StreamDesk()
    wire = desk.public("liquidation-orders", **SWAPS)
    others = desk.public("liquidation-orders", **SWAPS, instFamily="ETH-USDT")
    desk.order()
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(10)
    (row,) = wire.rows("liquidation-orders")
    detail = row["details"][0]
    assert (row["instId"], detail["posSide"], detail["side"], detail["sz"]) == (BTC, "long", "sell", "1")
    assert others.pushed == []


def test_quiet_channels_are_only_acknowledged() -> None:
    desk = StreamDesk()
    wire = desk.connect(PUBLIC)
    assert wire.subscribe("status")["event"] == "subscribe"
    assert wire.subscribe("adl-warning", **SWAPS)["event"] == "subscribe"
    desk.run(5_000)
    assert wire.pushed == []


# faults on frames


@pytest.mark.parametrize(
    ("kind", "texts"),
    [("duplicate_event", 2), ("lose_event", 0), ("garbage_frame", 2), ("huge_frame", 2), ("delay_event", 0)],
)
def test_frames_can_be_doubled_lost_delayed_and_spoilt(kind: str, texts: int) -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    desk.fault(kind, {"event": "orders", "client_id": "mine1"}, delay_ms=1_000 if kind == "delay_event" else None)
    desk.order(ordType="limit", px=desk.off("0.9"), clOrdId="mine1")
    assert len(wire.texts) == texts
    desk.run(1_000)
    assert wire.texts[-1:] == ([] if kind == "lose_event" else wire.texts[-1:])
    if kind != "lose_event":
        assert json.loads(wire.texts[-1])["data"][0]["clOrdId"] == "mine1"


def test_frames_can_overtake_each_other() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    desk.fault("reorder_events", {"event": "orders"})
    desk.order()
    assert [row["state"] for row in wire.rows("orders")] == ["filled", "live"]


@pytest.mark.parametrize("kind", ["disconnect_stream", "half_open_stream"])
def test_one_address_can_be_cut_or_fall_silent(kind: str) -> None:
    desk = StreamDesk()
    private, public = desk.private("orders"), desk.public("tickers", instId=BTC)
    desk.fault(kind, {"stream": "/ws/v5/private"}, at_ms=0)
    desk.run(10)
    public.forget()
    desk.order()
    desk.run(1_000)
    assert private.pushed == []
    assert (private.closed is None) is (kind == "half_open_stream")
    assert public.pushed


def test_a_service_upgrade_is_announced_before_it_ends_the_connection() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    notice = {"event": "notice", "code": "64008", "msg": "The connection will soon be closed for a service upgrade."}
    desk.fault("disconnect_stream", {"stream": "/ws/v5/private"}, at_ms=0, body=notice, delay_ms=20_000, code=1001)
    desk.run(10)
    assert wire.all == [notice]
    desk.order()
    assert wire.rows("orders")
    desk.run(19_000)
    assert wire.closed is None
    desk.run(1_000)
    assert wire.closed == 1001


def test_there_is_no_listen_key_to_expire() -> None:
    desk = StreamDesk()
    wire = desk.private("orders")
    response = desk.control.handle("POST", "/_sim/fault", "", b'{"kind": "listen_key_expired", "at_ms": 0}')
    assert response.status == 400
    assert wire.closed is None


def test_a_skewed_clock_shows_in_every_frame() -> None:
    desk = StreamDesk()
    desk.fault("clock_skew", delay_ms=5_000, at_ms=0)
    desk.run(0)
    (frame,) = desk.public("tickers", instId=ETH).pushed
    assert int(frame["data"][0]["ts"]) == START_MS + 5_000
