"""Public REST: what everybody can ask, and what clients ask when they start."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.venuesim.bybit.desk import BTC, START_MS, Desk

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def result(desk: Desk, path: str, **params: Any) -> Any:
    answer = desk.public(f"/v5/market/{path}", **params)
    assert (answer["retCode"], answer["retExtInfo"], answer["time"]) == (0, {}, desk.simulation.now_ms())
    return answer["result"]


def test_time_is_told_in_seconds_and_nanoseconds() -> None:
    told = result(Desk(), "time")
    assert told == {"timeSecond": str(START_MS // 1_000), "timeNano": f"{START_MS}000000"}


@pytest.mark.parametrize("category", ["spot", "inverse", "option"])
def test_other_categories_are_empty_lists_of_their_own(category: str) -> None:
    desk = Desk()
    listed = result(desk, "instruments-info", category=category, limit=1000)
    assert listed == {"category": category, "list": [], "nextPageCursor": ""}
    assert result(desk, "tickers", category=category) == {"category": category, "list": []}
    assert result(desk, "risk-limit", category=category)["list"] == []


def test_instruments_come_in_pages_by_cursor() -> None:
    desk = Desk(symbols=25)
    names, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        page = result(desk, "instruments-info", category="linear", limit=10, cursor=cursor)
        names += [row["symbol"] for row in page["list"]]
        cursor, pages = page["nextPageCursor"], pages + 1
    assert pages == 3
    assert names == [row["symbol"] for row in result(desk, "instruments-info", category="linear")["list"]]
    assert len(set(names)) == 25


def test_instruments_are_filtered_by_symbol_base_and_status() -> None:
    desk = Desk()
    assert [row["symbol"] for row in result(desk, "instruments-info", category="linear", symbol=BTC)["list"]] == [BTC]
    by_base = result(desk, "instruments-info", category="linear", baseCoin="BTC")["list"]
    assert {row["baseCoin"] for row in by_base} == {"BTC"}
    assert result(desk, "instruments-info", category="linear", status="PreLaunch")["list"] == []


def test_tickers_hold_all_symbols_on_one_page() -> None:
    desk = Desk(symbols=40)
    rows = result(desk, "tickers", category="linear")["list"]
    assert len(rows) == 40
    for row in rows:
        assert Decimal(row["bid1Price"]) <= Decimal(row["lastPrice"]) <= Decimal(row["ask1Price"])
        assert Decimal(row["lowPrice24h"]) <= Decimal(row["lastPrice"]) <= Decimal(row["highPrice24h"])


def test_the_price_an_hour_ago_is_that_of_the_candle_of_then() -> None:
    desk = Desk()
    ticker = result(desk, "tickers", category="linear", symbol=BTC)["list"][0]
    candles = result(desk, "kline", category="linear", symbol=BTC, interval="1", limit=60)["list"]
    assert Decimal(ticker["prevPrice1h"]) == Decimal(candles[-1][1])


@pytest.mark.parametrize("limit", [1, 5])
def test_the_book_has_as_many_levels_as_asked(limit: int) -> None:
    book = result(Desk(), "orderbook", category="linear", symbol=BTC, limit=limit)
    assert (len(book["b"]), len(book["a"])) == (limit, limit)
    bids, asks = [Decimal(row[0]) for row in book["b"]], [Decimal(row[0]) for row in book["a"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)


def test_candles_come_newest_first_and_can_be_bounded() -> None:
    desk = Desk()
    ask = {"category": "linear", "symbol": BTC, "interval": "5"}
    rows = result(desk, "kline", **ask, limit=10)["list"]
    times = [int(row[0]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert len(rows) == 10
    assert all(len(row) == 7 for row in rows)
    bounded = result(desk, "kline", **ask, start=times[7], end=times[3])["list"]
    assert bounded == rows[3:8]


@pytest.mark.parametrize("path", ["mark-price-kline", "index-price-kline", "premium-index-price-kline"])
def test_candles_of_other_prices_have_no_volume(path: str) -> None:
    rows = result(Desk(), path, category="linear", symbol=BTC, interval="1", limit=3)["list"]
    assert [len(row) for row in rows] == [5, 5, 5]


@pytest.mark.parametrize("interval", ["D", "W", "M"])
def test_long_candles_hold_the_day_so_far(interval: str) -> None:
    desk = Desk()
    ask = {"category": "linear", "symbol": BTC}
    newest = result(desk, "kline", **ask, interval=interval)["list"][0]
    assert int(newest[0]) <= START_MS
    assert newest[4] == result(desk, "kline", **ask, interval="1", limit=1)["list"][0][4]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    desk = Desk()
    ask = {"category": "linear", "symbol": BTC}
    # 2026-09-21 is a Monday; the simulation starts on that day.
    assert int(result(desk, "kline", **ask, interval="W")["list"][0][0]) == 1_789_948_800_000
    assert int(result(desk, "kline", **ask, interval="M")["list"][0][0]) == 1_788_220_800_000


def test_an_interval_that_is_not_offered_is_refused() -> None:
    answer = Desk().public("/v5/market/kline", category="linear", symbol=BTC, interval="7")
    assert answer["retCode"] == 10001


def test_recent_trades_come_newest_first() -> None:
    desk = Desk()
    desk.run(10_000)
    rows = result(desk, "recent-trade", category="linear", symbol=BTC, limit=5)["list"]
    times = [int(row["time"]) for row in rows]
    assert (len(rows), times) == (5, sorted(times, reverse=True))


def test_funding_history_comes_newest_first_at_the_interval() -> None:
    desk = Desk()
    rows = result(desk, "funding/history", category="linear", symbol=BTC, limit=3)["list"]
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert times[0] <= START_MS
    assert [a - b for a, b in itertools.pairwise(times)] == [8 * HOUR_MS, 8 * HOUR_MS]


def test_open_interest_is_told_at_each_interval() -> None:
    rows = result(Desk(), "open-interest", category="linear", symbol=BTC, intervalTime="5min", limit=2)["list"]
    assert int(rows[0]["timestamp"]) - int(rows[1]["timestamp"]) == 5 * MINUTE_MS
    assert Decimal(rows[0]["openInterest"]) > 0


def test_risk_tiers_come_fifteen_symbols_a_page() -> None:
    desk = Desk(symbols=20)
    first = result(desk, "risk-limit", category="linear")
    second = result(desk, "risk-limit", category="linear", cursor=first["nextPageCursor"])
    sizes = [len({row["symbol"] for row in page["list"]}) for page in (first, second)]
    assert (sizes, second["nextPageCursor"]) == ([15, 5], "")
    tiers = result(desk, "risk-limit", category="linear", symbol=BTC)["list"]
    assert [row["isLowestRisk"] for row in tiers] == [1] + [0] * (len(tiers) - 1)
    assert Decimal(tiers[0]["initialMargin"]) == 1 / Decimal(tiers[0]["maxLeverage"])


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("tickers", {"category": "linear", "symbol": "NOSUCH"}),
        ("orderbook", {"category": "linear"}),
        ("kline", {"category": "spot", "symbol": BTC, "interval": "1"}),
        ("instruments-info", {}),
        ("instruments-info", {"category": "linear", "cursor": "x"}),
        ("price-limit", {"symbol": "NOSUCH"}),
        ("open-interest", {"category": "linear", "symbol": BTC}),
    ],
)
def test_what_cannot_be_asked_is_a_parameter_error(path: str, params: dict[str, str]) -> None:
    assert Desk().public(f"/v5/market/{path}", **params)["retCode"] == 10001


def test_the_coins_of_the_wallet_are_known_to_those_with_a_key_only() -> None:
    desk = Desk()
    rows = desk.ok("GET", "/v5/asset/coin/query-info")["rows"]
    assert {"USDT", "USDC"} <= {row["coin"] for row in rows}
    assert desk.public("/v5/asset/coin/query-info")["retCode"] != 0


def test_nothing_is_ever_delivered_and_the_system_is_well() -> None:
    desk = Desk()
    assert result(desk, "delivery-price", category="linear")["list"] == []
    assert desk.public("/v5/system/status")["result"] == {"list": []}
