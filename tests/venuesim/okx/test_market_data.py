"""Public questions over REST, and the ones clients ask before they begin."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.venuesim.okx.desk import BTC, START_MS, Desk
from tools.venuesim.okx.bars import INTERVALS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def candles(desk: Desk, **named: Any) -> list[list[str]]:
    answer = desk.get("market/candles", instId=BTC, **named)
    assert answer["code"] == "0", answer
    rows: list[list[str]] = answer["data"]
    return rows


def unsigned(desk: Desk, path: str) -> Any:
    return desk.submit("GET", f"/api/v5/{path}", {}, dict.fromkeys(("ok-access-key", "ok-access-sign"), ""))


# contracts


@pytest.mark.parametrize("kind", ["SPOT", "MARGIN", "FUTURES", "OPTION"])
def test_other_kinds_of_instruments_are_empty_lists(kind: str) -> None:
    desk = Desk()
    for path in ("public/instruments", "market/tickers", "public/mark-price", "public/open-interest"):
        assert desk.ok("GET", path, instType=kind, instFamily="BTC-USD") == []


def test_every_contract_has_a_code_and_steps_in_contracts() -> None:
    rows = Desk(symbols=50).ok("GET", "public/instruments", instType="SWAP")
    assert len({row["instIdCode"] for row in rows}) == len(rows) == 50
    assert all(isinstance(row["instIdCode"], int) and row["ctType"] == "linear" for row in rows)
    assert {row["settleCcy"] for row in rows} == {"USDT", "USDC"}
    assert (rows[0]["instId"], rows[0]["ctVal"], rows[0]["lotSz"]) == (BTC, "0.01", "0.01")


@pytest.mark.parametrize(
    "named", [{"instId": BTC}, {"instFamily": "BTC-USDT"}, {"uly": "BTC-USDT"}], ids=["instId", "instFamily", "uly"]
)
def test_lists_can_be_asked_for_one_contract(named: dict[str, str]) -> None:
    desk = Desk()
    for path in ("public/instruments", "public/mark-price", "public/open-interest", "market/tickers"):
        assert desk.one("GET", path, instType="SWAP", **named)["instId"] == BTC


@pytest.mark.parametrize(
    ("path", "named", "code"),
    [
        ("public/instruments", {}, "50014"),
        ("public/instruments", {"instType": "SWAPS"}, "51000"),
        ("public/instruments", {"instType": "SWAP", "instId": "NOPE"}, "51001"),
        ("market/ticker", {}, "50014"),
        ("market/ticker", {"instId": "NOPE"}, "51001"),
        ("market/books", {"instId": BTC, "sz": "0"}, "51000"),
        ("market/candles", {"instId": BTC, "bar": "7m"}, "51000"),
        ("market/candles", {"instId": BTC, "limit": "0"}, "51000"),
        ("market/candles", {"instId": BTC, "after": "soon"}, "51000"),
        ("market/index-candles", {"instId": BTC}, "51001"),
        ("market/index-tickers", {}, "50014"),
        ("market/history-trades", {"instId": BTC, "type": "3"}, "51000"),
        ("public/position-tiers", {"instType": "SWAP", "tdMode": "cross"}, "50014"),
        ("public/position-tiers", {"instType": "SWAP", "tdMode": "cash", "instFamily": "BTC-USDT"}, "51000"),
        ("public/position-tiers", {"instType": "SWAP", "tdMode": "cross", "instFamily": "NO-USDT"}, "51000"),
        ("public/funding-rate", {"instId": "NOPE"}, "51001"),
    ],
)
def test_wrong_questions_have_their_codes(path: str, named: dict[str, str], code: str) -> None:
    answer = Desk().get(path, **named)
    assert (answer["code"], answer["data"]) == (code, [])


def test_a_halted_contract_is_listed_as_suspended() -> None:
    desk = Desk()
    desk.fault("halt_symbol", {"symbol": BTC}, at_ms=0)
    desk.run(0)
    rows = {row["instId"]: row["state"] for row in desk.ok("GET", "public/instruments", instType="SWAP")}
    assert (rows.pop(BTC), set(rows.values())) == ("suspend", {"live"})


def test_what_a_start_asks_is_there() -> None:
    desk = Desk()
    assert desk.one("GET", "public/time")["ts"] == str(START_MS)
    assert {row["ccy"] for row in desk.ok("GET", "asset/currencies")} >= {"USDT", "USDC"}
    assert desk.one("GET", "asset/currencies", ccy="USDC")["chain"] == "USDC-ERC20"
    assert desk.ok("GET", "system/status") == []
    assert "BTC-USDT" in desk.get("public/underlying", instType="SWAP")["data"][0]


def test_public_questions_need_no_key_and_the_wallets_coins_do() -> None:
    desk = Desk()
    assert unsigned(desk, "public/time").status == 200
    assert unsigned(desk, "asset/currencies").status == 401


def test_questions_are_counted() -> None:
    desk = Desk()
    codes = [desk.get("public/time")["code"] for _ in range(11)]
    assert codes == ["0"] * 10 + ["50011"]


# prices


def test_prices_lie_inside_their_limits() -> None:
    desk = Desk()
    limit, ticker = desk.one("GET", "public/price-limit", instId=BTC), desk.one("GET", "market/ticker", instId=BTC)
    assert Decimal(limit["sellLmt"]) < Decimal(ticker["bidPx"]) < Decimal(ticker["askPx"]) < Decimal(limit["buyLmt"])
    assert limit["enabled"] is True


def test_orders_outside_the_limits_are_refused_and_at_the_limit_taken() -> None:
    desk = Desk()
    highest = Decimal(desk.one("GET", "public/price-limit", instId=BTC)["buyLmt"])
    assert desk.place(ordType="limit", px=str(highest + Decimal("0.1")))["data"][0]["sCode"] == "51006"
    assert desk.place(ordType="limit", px=str(highest))["code"] == "0"


def test_volumes_are_told_in_contracts_and_in_coins() -> None:
    desk = Desk()
    ticker = desk.one("GET", "market/ticker", instId=BTC)
    assert Decimal(ticker["vol24h"]) == 100 * Decimal(ticker["volCcy24h"])
    interest = desk.one("GET", "public/open-interest", instType="SWAP", instId=BTC)
    assert Decimal(interest["oi"]) == 100 * Decimal(interest["oiCcy"])
    for row in candles(desk, limit=5):
        assert Decimal(row[5]) == 100 * Decimal(row[6])


@pytest.mark.parametrize("hours", [0, 3, 20, 30])
def test_a_ticker_says_where_both_days_opened_as_their_candles_do(hours: int) -> None:
    desk = Desk(symbols=2)
    desk.run(hours * HOUR_MS)
    ticker = desk.one("GET", "market/ticker", instId=BTC)
    for field, bar in (("sodUtc0", "1Dutc"), ("sodUtc8", "1D")):
        assert ticker[field] == candles(desk, bar=bar, limit="1")[0][1]


def test_funding_names_the_next_two_settlements() -> None:
    desk = Desk(symbols=60)
    rows = desk.ok("GET", "public/funding-rate", instId="ANY")
    assert len(rows) == 60
    spans = {int(row["nextFundingTime"]) - int(row["fundingTime"]) for row in rows}
    assert spans == {8 * HOUR_MS, 4 * HOUR_MS}
    assert all(START_MS < int(row["fundingTime"]) <= START_MS + 8 * HOUR_MS for row in rows)


def test_past_funding_comes_newest_first_and_by_time() -> None:
    desk = Desk()
    rows = desk.ok("GET", "public/funding-rate-history", instId=BTC, limit=5)
    times = [int(row["fundingTime"]) for row in rows]
    assert [earlier - later for earlier, later in pairwise(times)] == [8 * HOUR_MS] * 4
    older = desk.ok("GET", "public/funding-rate-history", instId=BTC, after=times[1], limit=1)
    assert int(older[0]["fundingTime"]) == times[2]
    newer = desk.ok("GET", "public/funding-rate-history", instId=BTC, before=times[2])
    assert [int(row["fundingTime"]) for row in newer] == times[:2]


def test_tiers_count_contracts_and_allow_less_leverage_the_larger_they_are() -> None:
    desk = Desk()
    named = {"instType": "SWAP", "tdMode": "cross", "instFamily": "BTC-USDT,ETH-USDT"}
    rows = desk.ok("GET", "public/position-tiers", **named)
    assert {row["instFamily"] for row in rows} == {"BTC-USDT", "ETH-USDT"}
    btc = [row for row in rows if row["instFamily"] == "BTC-USDT"]
    assert btc[0]["maxLever"] == desk.one("GET", "public/instruments", instType="SWAP", instId=BTC)["lever"]
    for lower, higher in pairwise(btc):
        assert lower["maxSz"] == higher["minSz"]
        assert Decimal(lower["maxLever"]) > Decimal(higher["maxLever"])
        assert Decimal(lower["mmr"]) < Decimal(higher["mmr"])


def test_books_are_as_deep_as_asked_for() -> None:
    desk = Desk()
    assert len(desk.one("GET", "market/books", instId=BTC)["asks"]) == 1
    row = desk.one("GET", "market/books", instId=BTC, sz="20")
    assert len(row["asks"]) == len(row["bids"]) == 20
    assert [Decimal(level[0]) for level in row["asks"]] == sorted(Decimal(level[0]) for level in row["asks"])
    assert isinstance(row["seqId"], int)


def test_trades_come_newest_first_and_in_pages() -> None:
    desk = Desk()
    desk.run(20_000)
    rows = desk.ok("GET", "market/trades", instId=BTC, limit=10)
    numbers = [int(row["tradeId"]) for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] - 10, -1))
    older = desk.ok("GET", "market/history-trades", instId=BTC, after=numbers[4], limit=3)
    assert [int(row["tradeId"]) for row in older] == numbers[5:8]
    by_time = desk.ok("GET", "market/history-trades", instId=BTC, type="2", after=rows[4]["ts"], limit=1)
    assert int(by_time[0]["ts"]) < int(rows[4]["ts"])


# candles


def test_candles_come_newest_first_with_the_running_one_unconfirmed() -> None:
    desk = Desk()
    rows = candles(desk, limit=300)
    assert [int(a[0]) - int(b[0]) for a, b in pairwise(rows)] == [60_000] * 299
    assert [row[8] for row in rows] == ["0"] + ["1"] * 299
    assert rows[0][4] == desk.one("GET", "market/ticker", instId=BTC)["last"]
    assert len(candles(desk)) == 100


def test_candles_between_two_times_leave_the_times_out() -> None:
    desk = Desk()
    times = [int(row[0]) for row in candles(desk, limit=10)]
    found = candles(desk, after=times[2], before=times[7])
    assert [int(row[0]) for row in found] == times[3:7]
    assert [int(row[0]) for row in candles(desk, before=times[5], limit=3)] == times[:3]


@pytest.mark.parametrize("bar", sorted(INTERVALS))
def test_candles_of_every_interval_begin_where_their_period_does(bar: str) -> None:
    desk = Desk()
    rows = candles(desk, bar=bar, limit=3)
    last = int(rows[0][0])
    shift = 0 if bar.endswith("utc") or (bar[-1] in "mH" and bar not in ("6H", "12H")) else 8 * HOUR_MS
    local = datetime.fromtimestamp((last + shift) / 1000, UTC)
    unit, count = bar.removesuffix("utc")[-1], int(bar.removesuffix("utc")[:-1])
    if unit == "M":
        assert (local.day, local.hour, (local.month - 1) % count) == (1, 0, 0)
    elif unit == "W":
        assert (local.weekday(), local.hour) == (0, 0)
    else:
        length = count * {"m": 60_000, "H": HOUR_MS, "D": DAY_MS}[unit]
        assert (last + shift) % length == 0
        assert START_MS - length < last <= START_MS
    assert last <= START_MS


def test_longer_candles_are_made_of_the_shorter_ones() -> None:
    desk = Desk()
    day = candles(desk, bar="6H", limit=1)[0]
    parts = [row for row in candles(desk, bar="30m", limit=300) if int(row[0]) >= int(day[0])]
    assert day[1] == parts[-1][1]
    assert Decimal(day[2]) == max(Decimal(row[2]) for row in parts)
    assert Decimal(day[5]) == sum(Decimal(row[5]) for row in parts)


def test_mark_and_index_candles_have_no_volume() -> None:
    desk = Desk()
    for path, name in (
        ("mark-price-candles", BTC),
        ("index-candles", "BTC-USDT"),
        ("history-index-candles", "BTC-USDT"),
    ):
        rows = desk.get(f"market/{path}", instId=name, limit=2)["data"]
        assert [len(row) for row in rows] == [6, 6]
