"""Which instruments are looked at."""

from decimal import Decimal

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.engine.ports import MarketReads
from core.errors import Unreachable
from core.signals.universe import MostTraded, NamedInstruments
from tests.builders import BTC, ETH
from tests.fakes.fake_reads import FakeReads
from tests.fakes.virtual_loop import VirtualClock

BINANCE, BYBIT = VenueName.BINANCE, VenueName.BYBIT
COINS = ("AAA", "BBB", "CCC", "DDD")


def some_reads(*turnover: int) -> FakeReads:
    reads = FakeReads(VirtualClock())
    reads.turnover_a_minute = {Symbol(coin): Decimal(amount) for coin, amount in zip(COINS, turnover, strict=True)}
    return reads


def names(universe: MostTraded) -> list[str]:
    return [f"{instrument.venue} {instrument.symbol}" for instrument in universe.instruments]


async def test_the_most_traded_eligible_ones_of_each_venue_are_chosen() -> None:
    reads: dict[VenueName, MarketReads] = {BINANCE: some_reads(1, 4, 2, 3), BYBIT: some_reads(5, 5, 0, 9)}
    universe = MostTraded(2, lambda: reads, lambda i: i != InstrumentId(BINANCE, Symbol("BBB")))
    await universe.refresh()
    assert names(universe) == ["binance DDD", "binance CCC", "bybit DDD", "bybit AAA"]


async def test_what_is_not_traded_at_all_is_not_chosen() -> None:
    universe = MostTraded(4, lambda: {BINANCE: some_reads(0, 1, 0, 2)}, lambda _: True)
    await universe.refresh()
    assert names(universe) == ["binance DDD", "binance BBB"]


async def test_a_venue_that_does_not_answer_keeps_its_choice() -> None:
    first, second = some_reads(1, 2, 3, 4), some_reads(4, 3, 2, 1)
    universe = MostTraded(1, lambda: {BINANCE: first, BYBIT: second}, lambda _: True)
    await universe.refresh()
    first.error, second.turnover_a_minute = Unreachable("binance", "away"), {Symbol("BBB"): Decimal(1)}
    await universe.refresh()
    assert names(universe) == ["binance DDD", "bybit BBB"]
    first.error = None
    first.latency = 3_600.0
    first.turnover_a_minute = {Symbol("AAA"): Decimal(1)}
    await universe.refresh()
    assert names(universe) == ["binance DDD", "bybit BBB"]


async def test_named_instruments_follow_what_is_listed() -> None:
    listed = [BTC]
    universe = NamedInstruments(lambda: list(listed))
    assert universe.instruments == [BTC]
    listed.append(ETH)
    await universe.refresh()
    assert universe.instruments == [BTC, ETH]
