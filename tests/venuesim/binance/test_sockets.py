"""Control frames, routes, market streams, and the venue's rules about a connection."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.binance.bench import Bench
from tools.venuesim.exchange.model import PositionMode, SymbolStatus
from tools.venuesim.wire import Lane, Response

SECOND_MS = 1_000


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _subscribe(*names: str, number: Any = 1) -> str:
    return json.dumps({"method": "SUBSCRIBE", "params": list(names), "id": number})


def test_control_frames_answer_as_documented(bench: Bench, shared: Path) -> None:
    frames = json.loads((shared / "venues/fixtures/binance_usdm/stream_control_frames.doc.json").read_text())
    session, sent = bench.open("/market/ws")
    for name in ("subscribe", "unsubscribe", "list", "set_property", "get_property"):
        session.receive(json.dumps(frames[name]))
    session.receive(json.dumps({**frames["subscribe"], "method": "SUBSCRIBEX"}))
    subscribed, unsubscribed, listed, _, got, error = sent.replies
    assert subscribed == frames["ack"]
    assert unsubscribed == {"result": None, "id": 312}
    assert listed == frames["list_ack"]
    assert got == frames["get_property_ack"]
    assert error == frames["error"]


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"method":"SUBSCRIBE","params":[1],"id":1}'])
def test_malformed_frames_are_answered_with_an_error(bench: Bench, text: str) -> None:
    session, sent = bench.open("/market/ws")
    session.receive(text)
    assert "error" in sent.replies[0]
    assert session.describe(text) is not None


def test_ids_come_back_as_sent(bench: Bench) -> None:
    session, sent = bench.open("/public/ws/0")
    for number in (7, "b0a1", None):
        session.receive(_subscribe("btcusdt@bookTicker", number=number))
    assert [reply["id"] for reply in sent.replies] == [7, "b0a1", None]


@pytest.mark.parametrize(
    ("path", "stream", "speaks"),
    [
        ("/public/ws/0", "btcusdt@bookTicker", True),
        ("/public/ws/0", "btcusdt@markPrice@1s", False),
        ("/market/ws/0", "btcusdt@markPrice@1s", True),
        ("/market/ws/0", "btcusdt@bookTicker", False),
        ("/ws", "btcusdt@bookTicker", True),
        ("/ws", "btcusdt@markPrice@1s", False),
        ("/ws", "btcusdt@kline_1m", False),
        ("/public/ws", "nosuchusdt@bookTicker", False),
        ("/market/ws", "btcusdt@invented", False),
    ],
)
def test_a_stream_speaks_on_its_own_route_only_though_every_name_is_acknowledged(
    bench: Bench, path: str, stream: str, *, speaks: bool
) -> None:
    session, sent = bench.open(path)
    session.receive(_subscribe(stream))
    bench.run(2 * SECOND_MS)
    assert sent.replies == [{"result": None, "id": 1}]
    assert bool(sent.frames) is speaks


def test_a_combined_socket_wraps_and_a_raw_one_does_not(bench: Bench) -> None:
    wrapped = bench.open("/public/stream", "streams=btcusdt@bookTicker/ethusdt@bookTicker")[1]
    raw = bench.open("/public/ws/btcusdt@bookTicker")[1]
    bench.run(SECOND_MS)
    assert {frame["stream"] for frame in wrapped.frames} == {  # type: ignore[call-overload]
        "btcusdt@bookTicker",
        "ethusdt@bookTicker",
    }
    assert raw.frames[0]["e"] == "bookTicker"  # type: ignore[call-overload]


def test_mark_price_comes_every_second_on_the_second(bench: Bench) -> None:
    bench.run(250)
    fast = bench.open("/market/ws/btcusdt@markPrice@1s")[1]
    slow = bench.open("/market/ws/btcusdt@markPrice")[1]
    bench.run(6 * SECOND_MS)
    assert [row["E"] % SECOND_MS for row in fast.of("markPriceUpdate")] == [0] * 6
    assert len(slow.of("markPriceUpdate")) == 2


def test_a_set_mark_price_reaches_the_stream(bench: Bench) -> None:
    sent = bench.open("/market/ws/btcusdt@markPrice@1s")[1]
    bench.exchange.set_price("BTCUSDT", Decimal(70_000), Decimal(71_000), hold_ms=60_000)
    bench.run(SECOND_MS)
    row = sent.of("markPriceUpdate")[0]
    assert abs(Decimal(row["p"]) - 71_000) < 100
    assert Decimal(row["i"]) == 70_000


def test_arrays_hold_every_symbol(bench: Bench) -> None:
    sent = bench.open("/market/ws/!markPrice@arr@1s")[1]
    bench.run(SECOND_MS)
    first = sent.frames[0]
    assert isinstance(first, list)
    names = {row["s"] for row in first}
    assert names == {instrument.symbol for instrument in bench.exchange.instruments()}


def test_book_changes_chain_from_a_snapshot(bench: Bench) -> None:
    sent = bench.open("/public/ws/btcusdt@depth@100ms")[1]
    bench.run(SECOND_MS)
    snapshot = bench.public("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    bench.run(5 * SECOND_MS)
    rows = [row for row in sent.of("depthUpdate") if row["u"] >= snapshot["lastUpdateId"]]
    assert rows[0]["U"] <= snapshot["lastUpdateId"] <= rows[0]["u"]
    assert all(after["pu"] == before["u"] for before, after in pairwise(rows))
    book = {side: dict(map(tuple, snapshot[side])) for side in ("bids", "asks")}
    for row in rows:
        for side, changes in (("bids", row["b"]), ("asks", row["a"])):
            book[side].update(dict(changes))
    now = bench.public("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    left = {side: {price: qty for price, qty in levels.items() if Decimal(qty)} for side, levels in book.items()}
    assert left == {side: dict(map(tuple, now[side])) for side in ("bids", "asks")}


def test_a_kline_is_told_closed_before_the_next_one_begins(bench: Bench) -> None:
    sent = bench.open("/market/ws/btcusdt@kline_1m")[1]
    bench.run(61 * SECOND_MS)
    rows = [row["k"] for row in sent.of("kline")]
    closed = [number for number, row in enumerate(rows) if row["x"]]
    assert len(closed) == 1
    before, after = rows[closed[0]], rows[closed[0] + 1]
    assert after["t"] == before["T"] + 1
    kline = bench.public("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=2)[0]
    assert kline[1:6] == [before[key] for key in "ohlcv"]


def test_an_unwatched_symbol_costs_nothing_again(bench: Bench) -> None:
    session, sent = bench.open("/public/ws")
    session.receive(_subscribe("btcusdt@bookTicker"))
    bench.run(SECOND_MS)
    session.receive(json.dumps({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 2}))
    before = len(sent.frames)
    bench.run(2 * SECOND_MS)
    assert len(sent.frames) == before
    session.receive(_subscribe("btcusdt@bookTicker"))
    session.closed()
    bench.run(2 * SECOND_MS)
    assert len(sent.frames) == before


def test_the_server_pings_every_three_minutes_and_ends_after_a_day(bench: Bench) -> None:
    sent = bench.open("/market/ws")[1]
    bench.leap(10 * 60 * SECOND_MS)
    assert sent.pings == 3
    bench.leap(24 * 3_600 * SECOND_MS)
    assert sent.closed is not None


def test_an_eleventh_command_within_a_second_ends_the_connection(bench: Bench) -> None:
    session, sent = bench.open("/market/ws")
    for number in range(10):
        session.receive(_subscribe(f"s{number}@bookTicker"))
    assert sent.closed is None
    session.receive(_subscribe("late@bookTicker"))
    assert sent.closed == (1008, "Too many requests")


def test_a_path_that_is_no_socket_is_refused(bench: Bench) -> None:
    answer = bench.facade.open_stream("/fapi/v1/ping", "", {}, bench.open("/ws")[1])
    assert isinstance(answer, Response)
    assert answer.status == 404


def test_commands_are_logged_as_session(bench: Bench) -> None:
    session, _ = bench.open("/market/ws")
    info = session.describe(_subscribe("btcusdt@kline_1m"))
    assert info is not None
    assert (info.lane, info.op) == (Lane.SESSION, "SUBSCRIBE")


def test_best_prices_of_every_changed_symbol_come_every_five_seconds(bench: Bench) -> None:
    sent = bench.open("/public/ws/!bookTicker")[1]
    bench.run(11 * SECOND_MS)
    rows = sent.of("bookTicker")
    names = {instrument.symbol for instrument in bench.exchange.instruments()}
    assert {row["s"] for row in rows} == names
    assert [row["s"] for row in rows].count("BTCUSDT") == 2


def test_a_liquidation_is_told_to_everybody_once_a_second_and_the_largest_only() -> None:
    bench = Bench(balance="1000", mode=PositionMode.HEDGE)
    every, one = (
        bench.open("/market/ws/!forceOrder@arr")[1],
        bench.open("/market/stream", "streams=btcusdt@forceOrder")[1],
    )
    other = bench.open("/market/ws/ethusdt@forceOrder")[1]
    bench.order(quantity="0.010", positionSide="LONG")
    bench.order(quantity="0.020", side="SELL", positionSide="SHORT")
    bench.exchange.liquidate("BTCUSDT")
    assert every.frames == []
    bench.run(SECOND_MS)
    (row,) = every.of("forceOrder")
    assert (row["o"]["S"], row["o"]["q"], row["o"]["X"], row["o"]["f"]) == ("BUY", "0.02", "FILLED", "IOC")
    assert one.of("forceOrder") == [row]
    assert other.frames == []


def test_a_contract_that_changes_is_told_with_brackets_only_when_they_did(bench: Bench) -> None:
    session, sent = bench.open("/market/ws/!contractInfo")
    bench.exchange.operator.set_status("ETHUSDT", SymbolStatus.HALTED)
    (row,) = sent.of("contractInfo")
    assert (row["s"], row["cs"], "bks" in row) == ("ETHUSDT", "TRADING_HALT", False)
    session.closed()
    bench.exchange.operator.set_status("ETHUSDT", SymbolStatus.TRADING)
    assert len(sent.frames) == 1
