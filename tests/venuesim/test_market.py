"""The public market: it looks like one, passes the entry filters, and does not depend on who looks."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.venuesim.builders import BTC, START_MS, Desk, an_instrument, d
from tools.venuesim.exchange.history import MINUTE_MS
from tools.venuesim.exchange.market import Market, MarketSettings
from tools.venuesim.exchange.model import Side
from tools.venuesim.exchange.path import load_bars

HOUR_MS = 60 * MINUTE_MS


def a_market(seed: int = 1, **changes: Any) -> Market:
    return Market(an_instrument(**changes), MarketSettings(seed=seed, start_ms=START_MS))


def test_it_starts_with_500_closed_candles_without_gaps() -> None:
    candles = a_market().candles(MINUTE_MS, START_MS)
    closed = [row for row in candles if row.closed]
    assert len(closed) >= 500
    assert [row.open_ms for row in candles] == [candles[0].open_ms + n * MINUTE_MS for n in range(len(candles))]
    assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in candles)
    assert candles[-1].open_ms <= START_MS <= candles[-1].close_ms


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("reference", "tick"), [("60000", "0.1"), ("0.04", "0.0001"), ("0.00001", "0.0000001")])
def test_a_fresh_market_passes_the_entry_filters(seed: int, reference: str, tick: str) -> None:
    market = (
        a_market(seed, reference=d(reference), tick=d(tick), step=d(1), min_price=d(tick), market_step=d(1))
        if d(reference) < 1
        else a_market(seed, reference=d(reference), tick=d(tick))
    )
    quote = market.quote(START_MS)
    hour = [row for row in market.candles(MINUTE_MS, START_MS) if row.open_ms >= START_MS - HOUR_MS]
    then = market.candles(MINUTE_MS, START_MS)[-6].open
    assert market.open_interest() * quote.last >= 1_000_000
    assert sum(row.quote_volume for row in hour) >= 50_000
    assert abs(quote.last / then - 1) <= d("0.04")
    assert (quote.ask - quote.bid) / quote.bid <= d("0.015") if d(reference) < d("0.001") else d("0.005")
    assert quote.bid < quote.ask


def test_prices_do_not_depend_on_how_often_somebody_looks() -> None:
    busy, lazy = a_market(), a_market()
    for number in range(1, 200):
        busy.advance(START_MS + number * 500)
        busy.quote(START_MS)
    lazy.advance(START_MS + 199 * 500)
    assert busy.quote(START_MS) == lazy.quote(START_MS)
    assert busy.candles(MINUTE_MS, START_MS + 99_500) == lazy.candles(MINUTE_MS, START_MS + 99_500)


def test_another_seed_is_another_market() -> None:
    assert a_market(1).quote(START_MS) != a_market(2).quote(START_MS)


def test_it_moves_but_not_wildly() -> None:
    market = a_market()
    seen = set()
    for number in range(1, 600):
        market.advance(START_MS + number * 500)
        seen.add(market.last)
    assert len(seen) > 50
    assert max(seen) / min(seen) < d("1.05")


def test_a_day_nobody_looked_is_caught_up_with_candles_for_every_minute() -> None:
    market = a_market()
    market.advance(START_MS + 25 * HOUR_MS)
    candles = market.candles(MINUTE_MS, START_MS + 25 * HOUR_MS)
    assert all(later.open_ms - earlier.open_ms == MINUTE_MS for earlier, later in pairwise(candles))
    assert candles[-1].close_ms >= START_MS + 25 * HOUR_MS - MINUTE_MS


def test_a_set_price_holds_and_then_the_path_goes_on_from_it() -> None:
    market = a_market()
    market.set_price(d("500"), None, START_MS, hold_ms=10_000)
    market.advance(START_MS + 9_000)
    assert (market.last, market.mark, market.index) == (d(500), d(500), d(500))
    assert market.best(Side.SELL) <= d(500) <= market.best(Side.BUY)
    market.advance(START_MS + 60_000)
    assert market.last != d(500)
    assert abs(market.last / 500 - 1) < d("0.03")


def test_a_mark_of_its_own_stays_apart_while_the_price_is_held() -> None:
    market = a_market()
    market.set_price(d("500"), d("510"), START_MS, hold_ms=10_000)
    market.advance(START_MS + 5_000)
    assert (market.last, market.mark) == (d(500), d(510))


def test_longer_candles_are_made_of_the_minutes() -> None:
    market = a_market()
    minutes = market.candles(MINUTE_MS, START_MS)
    fives = market.candles(5 * MINUTE_MS, START_MS)
    assert sum(row.volume for row in fives) == sum(row.volume for row in minutes)
    assert max(row.high for row in fives) == max(row.high for row in minutes)
    assert all(row.open_ms % (5 * MINUTE_MS) == 0 for row in fives)


def test_a_file_is_replayed_from_now_with_its_first_500_rows_as_history(tmp_path: Path) -> None:
    rows = ["timestamp,open,high,low,close,volume"]
    rows += [
        f"2022-01-01 {n // 60:02}:{n % 60:02}:00.000000,{1000 + n},{1002 + n},{999 + n},{1001 + n},5"
        for n in range(600)
    ]
    file = tmp_path / "prices.csv"
    file.write_text("\n".join(rows) + "\n")
    bars, seconds = load_bars(file)
    assert (len(bars), seconds) == (600, 60)
    market = Market(an_instrument(), MarketSettings(seed=1, start_ms=START_MS), bars, seconds)
    history = [row for row in market.candles(MINUTE_MS, START_MS) if row.closed]
    assert (history[0].open, history[0].high, history[-1].close) == (d(1000), d(1002), d(1500))
    assert market.last == d(1500)
    market.advance(START_MS + 10 * MINUTE_MS)
    assert market.last == d(1510)
    market.advance(START_MS + 150 * MINUTE_MS)
    assert abs(market.last / 1600 - 1) < d("0.05")


@pytest.mark.parametrize("row", ["x,1,2,1,1,1", "2022-01-01,1,2,-1,1,1", "2022-01-01,1,nan,1,1,1"])
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(f"timestamp,open,high,low,close,volume\n2022-01-01,1,1,1,1,1\n{row}\n")
    with pytest.raises(ValueError, match=r"prices\.csv:3"):
        load_bars(file)


def test_the_real_file_of_the_reference_material_loads(shared: Path) -> None:
    bars, seconds = load_bars(shared / "data" / "btcusdt_perp_1m_2022-01-01_10.csv")
    assert seconds == 60
    assert len(bars) > 10_000


def test_only_symbols_of_interest_are_worked_on_at_a_tick() -> None:
    desk = Desk()
    desk.tick()
    assert not desk.batches
    desk.engine.watch(BTC)
    desk.tick()
    assert desk.names() == ["MarketTick"]
    desk.engine.unwatch(BTC)
    desk.forget()
    desk.tick()
    assert not desk.batches


@pytest.mark.parametrize("speed", [1.0, 3.0, 100.0])
@pytest.mark.parametrize("gaps", [(1,), (7, 1, 40), (2_000, 13)])
def test_trades_candles_and_marks_are_the_same_however_a_moment_was_reached(
    speed: float, gaps: tuple[int, ...]
) -> None:
    settings = MarketSettings(seed=1, start_ms=START_MS, speed=speed)
    busy, lazy = Market(an_instrument(), settings), Market(an_instrument(), settings)
    step = 0
    for gap in [*gaps * 40][: 40 if max(gaps) < 100 else 2]:
        step += gap
        busy.advance(START_MS + step * 500)
    now = START_MS + step * 500
    lazy.advance(now)
    assert busy.quote(START_MS) == lazy.quote(START_MS)
    assert busy.trades() == lazy.trades()
    assert busy.candles(MINUTE_MS, now) == lazy.candles(MINUTE_MS, now)
    assert busy.day_stats(now) == lazy.day_stats(now)


def test_trades_number_on_without_gaps_across_a_set_price() -> None:
    market = a_market()
    market.advance(START_MS + 20_250)
    market.set_price(d("500"), None, START_MS + 20_250, hold_ms=3_000)
    market.advance(START_MS + 60_000)
    trades = market.trades()
    assert [row.id for row in trades] == list(range(trades[0].id, trades[0].id + len(trades)))
    assert all(earlier.time_ms <= later.time_ms for earlier, later in pairwise(trades))
    assert [row.price for row in trades if START_MS + 20_250 <= row.time_ms < START_MS + 23_250] == [d(500)] * 7
    assert market.last_trade() == trades[-1]
    assert market.trades(3) == trades[-3:]
    assert market.last_trade().price == market.last


def test_the_day_sums_up_the_candles() -> None:
    market = a_market()
    now = START_MS + 5 * MINUTE_MS
    market.advance(now)
    day, candles = market.day_stats(now), market.candles(MINUTE_MS, now)
    assert (day.open, day.high) == (candles[0].open, max(row.high for row in candles))
    assert (day.low, day.last) == (min(row.low for row in candles), candles[-1].close)
    assert day.volume == sum(row.volume for row in candles)
    assert day.trades == sum(row.trades for row in candles)
    assert abs(day.quote_volume / sum(row.quote_volume for row in candles) - 1) < d("0.001")


def test_a_coarser_tick_moves_book_and_candles_onto_its_grid() -> None:
    market = a_market()
    market.advance(START_MS + 10_000)
    before = market.last
    market.regrid(an_instrument(tick=d(5), step=d("0.5")))
    depth = market.depth(START_MS)
    assert abs(market.last - before) <= d("2.5")
    assert all(level.price % 5 == 0 and level.qty % d("0.5") == 0 for level in (*depth.bids, *depth.asks))
    market.advance(START_MS + 120_000)
    assert market.last % 5 == 0
    assert market.mark % 5 == 0
    assert all(row.close % 5 == 0 for row in market.candles(MINUTE_MS, START_MS + 120_000))
