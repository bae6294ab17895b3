"""Leverage is told by the venue or confirmed by it; a symbol without either is not traded (VAL-10)."""

import asyncio

from core.domain.ids import VenueName
from core.errors import Refused
from tests.builders import BTC, ETH, a_position
from tests.engine.bench import BINANCE, a_bench
from tests.scenarios.log_lines import LogLines


async def test_leverage_that_is_right_already_is_not_set() -> None:
    async with a_bench() as bench:
        await bench.leverage.confirm(BTC)
        assert bench.venue.leverages == []


async def test_leverage_that_differs_is_set_once_however_many_ask() -> None:
    async with a_bench(leverage_known=False, latency=0.1) as bench:
        bench.leverage.learn(BINANCE, {BTC.symbol: 20})
        await asyncio.gather(*(bench.leverage.confirm(BTC) for _ in range(5)))
        assert bench.venue.leverages == [(BTC.symbol, 10)]
        assert bench.leverage.confirmed(BTC) == 10


async def test_a_refused_or_silent_change_leaves_the_symbol_unconfirmed() -> None:
    async with a_bench(leverage_known=False) as bench:
        bench.venue.error = Refused(VenueName.BINANCE, "no", code="-4028")
        await bench.leverage.confirm(BTC)
        assert bench.leverage.confirmed(BTC) is None
        assert "no (code -4028)" in bench.leverage.trouble(BTC)
        bench.venue.error = None
        bench.venue.set_leverage_seconds[ETH.symbol] = 1_000
        started = bench.clock.monotonic()
        await bench.leverage.confirm_all([BTC, ETH])
        assert bench.leverage.confirmed(BTC) == 10
        assert bench.leverage.trouble(BTC) == ""
        assert bench.leverage.confirmed(ETH) is None
        assert bench.clock.monotonic() - started < 5


async def test_the_leverage_of_an_open_position_is_never_touched() -> None:
    async with a_bench(leverage_known=False) as bench:
        bench.orders.restore([], [a_position()])
        await bench.leverage.confirm(BTC)
        assert bench.venue.leverages == []


async def test_symbols_that_fail_for_one_reason_are_one_line_of_the_log() -> None:
    said = LogLines()
    async with a_bench(leverage_known=False) as bench:
        bench.venue.error = Refused(VenueName.BINANCE, "no", code="-4028")
        await bench.leverage.confirm_all([BTC, ETH])
    (line,) = said.of("leverage.not_set")
    assert (line["venue"], line["symbols"]) == (BINANCE, 2)
