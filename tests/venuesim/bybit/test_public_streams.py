"""The public socket: acknowledgements, snapshots and changes, closes."""

from __future__ import annotations

import itertools
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, START_MS, Desk

MINUTE_MS = 60_000


def test_the_acknowledgement_comes_before_the_snapshot_and_echoes_the_request_id_as_it_came() -> None:
    wire = Desk().public_stream()
    wire.say({"op": "subscribe", "req_id": 7, "args": [f"tickers.{BTC}"]})
    ack, snapshot = wire.all
    assert (ack["success"], ack["op"], ack["req_id"]) == (True, "subscribe", 7)
    assert (snapshot["topic"], snapshot["type"]) == (f"tickers.{BTC}", "snapshot")


def test_ticker_changes_carry_changed_fields_only_and_add_up_to_the_ticker() -> None:
    desk = Desk()
    wire = desk.public_stream(f"tickers.{BTC}")
    desk.run(5_000)
    first, *changes = wire.of(f"tickers.{BTC}")
    known = dict(first["data"])
    assert changes
    for frame in changes:
        assert frame["type"] == "delta"
        news = {key: value for key, value in frame["data"].items() if key != "symbol"}
        assert all(known[key] != value for key, value in news.items())
        known |= news
    listed = desk.public("/v5/market/tickers", category="linear", symbol=BTC)["result"]["list"][0]
    assert known["tickDirection"] in ("PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick")
    # The slow fields are looked at once a second, the prices with every step.
    for key in ("lastPrice", "markPrice", "indexPrice", "bid1Price", "bid1Size", "ask1Price", "ask1Size"):
        assert known[key] == listed[key]
    assert known.keys() - {"tickDirection"} <= listed.keys()


@pytest.mark.parametrize("depth", ["50", "200", "1000"])
def test_book_changes_add_up_to_the_book_under_consecutive_numbers(depth: str) -> None:
    desk = Desk()
    wire = desk.public_stream(f"orderbook.{depth}.{BTC}")
    desk.run(5_000)
    first, *changes = wire.of(f"orderbook.{depth}.{BTC}")
    assert first["type"] == "snapshot"
    book = {side: dict(first["data"][side]) for side in ("a", "b")}
    for frame in changes:
        assert frame["type"] == "delta"
        for side in ("a", "b"):
            for price, size in frame["data"][side]:
                if size == "0":
                    del book[side][price]
                else:
                    book[side][price] = size
    numbers = [frame["data"]["u"] for frame in (first, *changes)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    rest = desk.public("/v5/market/orderbook", category="linear", symbol=BTC, limit=200)["result"]
    assert {side: sorted(book[side].items()) for side in ("a", "b")} == {
        side: sorted((price, size) for price, size in rest[side]) for side in ("a", "b")
    }
    assert rest["u"] == numbers[-1]


def test_a_second_listener_starts_from_the_book_as_last_told() -> None:
    desk = Desk()
    early = desk.public_stream(f"orderbook.50.{BTC}")
    desk.run(2_000)
    late = desk.public_stream(f"orderbook.50.{BTC}")
    snapshot = late.of(f"orderbook.50.{BTC}")[0]["data"]
    assert snapshot["u"] == early.of(f"orderbook.50.{BTC}")[-1]["data"]["u"]
    desk.run(1_000)
    assert early.texts[-1] == late.texts[-1]


def test_the_best_prices_are_always_whole_and_put_the_time_first() -> None:
    desk = Desk()
    wire = desk.public_stream(f"orderbook.1.{BTC}")
    desk.run(2_000)
    frames = wire.of(f"orderbook.1.{BTC}")
    assert len(frames) > 2
    for frame in frames:
        assert (frame["type"], len(frame["data"]["b"]), len(frame["data"]["a"])) == ("snapshot", 1, 1)
        assert list(frame)[:3] == ["topic", "ts", "type"]


def test_a_topic_speaks_no_faster_than_its_pace() -> None:
    desk = Desk(tick_hz=50)
    wire = desk.public_stream(f"tickers.{BTC}", f"orderbook.1000.{BTC}", f"publicTrade.{BTC}")
    desk.run(2_000)
    assert len(wire.of(f"tickers.{BTC}")) <= 1 + 20
    assert len(wire.of(f"orderbook.1000.{BTC}")) <= 1 + 10
    assert len(wire.of(f"publicTrade.{BTC}")) == 100


def test_a_closed_candle_is_told_once_and_confirmed() -> None:
    desk = Desk()
    wire = desk.public_stream(f"kline.1.{BTC}")
    desk.run(2 * MINUTE_MS)
    rows = wire.rows(f"kline.1.{BTC}")
    confirmed = [row for row in rows if row["confirm"]]
    assert len(confirmed) == 2
    assert confirmed[1]["start"] == confirmed[0]["start"] + MINUTE_MS
    listed = desk.public("/v5/market/kline", category="linear", symbol=BTC, interval="1", limit=2)["result"]["list"]
    newest_closed = confirmed[-1]
    assert listed[1][:5] == [
        str(newest_closed["start"]), *(newest_closed[name] for name in ("open", "high", "low", "close")),
    ]  # fmt: skip


@pytest.mark.parametrize(("side", "told"), [("Buy", "Buy"), ("Sell", "Sell")])
def test_a_liquidation_is_told_with_the_side_of_the_position(side: str, told: str) -> None:
    desk = Desk()
    wire = desk.public_stream(f"allLiquidation.{BTC}")
    desk.order(side=side)
    desk.fault("liquidate", {"symbol": BTC}, at_ms=0)
    desk.run(100)
    (row,) = wire.rows(f"allLiquidation.{BTC}")
    assert (row["s"], row["S"], row["v"]) == (BTC, told, "0.010")


def test_the_price_band_is_the_one_rest_tells() -> None:
    desk = Desk()
    wire = desk.public_stream(f"priceLimit.{BTC}")
    desk.run(1_000)
    told = wire.of(f"priceLimit.{BTC}")[-1]["data"]
    rest = desk.public("/v5/market/price-limit", category="linear", symbol=BTC)["result"]
    assert told == {key: rest[key] for key in ("symbol", "buyLmt", "sellLmt")}
    assert Decimal(told["sellLmt"]) < desk.price() < Decimal(told["buyLmt"])


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ("tickers.NOSUCH", "Invalid symbol :[tickers.NOSUCH]"),
        ("kline.7.BTCUSDT", "Invalid topic: kline.7.BTCUSDT"),
        ("orderbook.500.BTCUSDT", "Invalid topic: orderbook.500.BTCUSDT"),
        ("nothing", "Invalid topic: nothing"),
    ],
)
def test_one_bad_topic_voids_the_whole_request(topic: str, problem: str) -> None:
    desk = Desk()
    wire = desk.public_stream()
    answer = wire.ask("subscribe", f"tickers.{BTC}", topic, req_id="a")
    assert (answer["success"], answer["ret_msg"], answer["req_id"]) == (False, problem, "a")
    desk.run(1_000)
    assert wire.pushed == []


def test_a_topic_is_subscribed_once_and_may_come_back_after_it_was_left() -> None:
    desk = Desk()
    wire = desk.public_stream(f"tickers.{BTC}")
    assert wire.ask("subscribe", f"tickers.{BTC}")["ret_msg"] == f"error:handler already subscribed,topic:tickers.{BTC}"
    assert wire.ask("unsubscribe", f"tickers.{BTC}")["success"]
    wire.forget()
    desk.run(1_000)
    assert wire.pushed == []
    assert wire.ask("subscribe", f"tickers.{BTC}")["success"]
    assert wire.of(f"tickers.{BTC}")[0]["type"] == "snapshot"


def test_arguments_are_limited_to_21000_characters_per_connection() -> None:
    wire = Desk(symbols=1).public_stream()
    answer = wire.ask("subscribe", *(f"tickers.{'X' * 990}{n:02}" for n in range(22)))
    assert answer["ret_msg"] == "args length exceeds 21000"


@pytest.mark.parametrize("category", ["inverse", "spot", "option"])
def test_other_categories_know_no_symbol(category: str) -> None:
    wire = Desk().connect(f"/v5/public/{category}")
    assert wire.ask("subscribe", f"tickers.{BTC}")["ret_msg"] == f"Invalid symbol :[tickers.{BTC}]"


def test_the_state_of_the_system_can_be_subscribed_on_its_own_socket() -> None:
    desk = Desk()
    assert desk.connect("/v5/public/misc/status").ask("subscribe", "system.status")["success"]
    assert not desk.connect("/v5/public/misc/status").ask("subscribe", f"tickers.{BTC}")["success"]


@pytest.mark.parametrize("frame", ["not json", "[1]", '{"op":"dance"}', '{"op":"subscribe","args":"tickers"}'])
def test_what_is_no_command_is_answered_without_harm(frame: str) -> None:
    wire = Desk().public_stream()
    assert not wire.say(frame)["success"]
    assert wire.ask("subscribe", f"tickers.{BTC}")["success"]


def test_ping_is_answered_in_the_public_form_and_is_no_request() -> None:
    desk = Desk()
    wire = desk.public_stream()
    answer = wire.say({"op": "ping", "req_id": "p"})
    assert answer == {"success": True, "ret_msg": "pong", "conn_id": answer["conn_id"], "req_id": "p", "op": "ping"}
    assert [row["path"] for row in desk.look("requests") if row["method"] == "WS"] == []


@pytest.mark.parametrize("path", ["/v5/public/linear", "/v5/private", "/v5/trade"])
def test_a_silent_connection_is_cut_after_ten_minutes(path: str) -> None:
    desk = Desk()
    silent, alive = desk.connect(path), desk.connect(path)
    for _ in range(10):
        desk.run(MINUTE_MS)
        alive.say({"op": "ping"})
    desk.run(1_000)
    assert (silent.closed, alive.closed) == (1000, None)


def test_the_limit_of_silence_can_be_chosen_on_the_private_socket() -> None:
    desk = Desk()
    wire, wrong = desk.connect("/v5/private", "max_active_time=1m"), desk.connect("/v5/private", "max_active_time=5s")
    desk.run(59_000)
    assert wire.closed is None
    desk.run(2_000)
    assert (wire.closed, wrong.closed) == (1000, None)


def test_a_symbol_is_watched_only_while_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    engine, watched = desk.simulation.engine, Counter[str]()
    for name, step in (("watch", 1), ("unwatch", -1)):
        monkeypatch.setattr(engine, name, lambda symbol, step=step: watched.update({symbol: step}))
    wire, other = desk.public_stream(f"tickers.{BTC}", f"orderbook.50.{BTC}"), desk.public_stream(f"tickers.{BTC}")
    assert wire.socket is not None
    wire.socket.gone()
    assert watched[BTC] == 1
    other.ask("unsubscribe", f"tickers.{BTC}")
    assert watched[BTC] == 0


def test_no_other_address_is_a_socket() -> None:
    desk = Desk()
    with pytest.raises(AssertionError, match="404"):
        desk.connect("/v5/elsewhere")


def test_trades_say_how_their_price_moved() -> None:
    desk = Desk()
    wire = desk.public_stream(f"publicTrade.{BTC}")
    desk.run(20_000)
    rows: list[dict[str, Any]] = wire.rows(f"publicTrade.{BTC}")
    assert [row["seq"] for row in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + len(rows)))
    for before, row in itertools.pairwise(rows):
        change = Decimal(row["p"]) - Decimal(before["p"])
        expected = {1: "PlusTick", -1: "MinusTick", 0: "Zero"}[(change > 0) - (change < 0)]
        assert row["L"].startswith(expected)
    assert rows[0]["T"] > START_MS
