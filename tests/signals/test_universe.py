"""Which instruments are looked at: named ones, or those that rules choose per venue and quote coin."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.universe import DAY_MS, Offered, UniverseRules, choose
from core.engine.ports import MarketReads
from core.errors import Unreachable
from core.signals.universe import ByRules, NamedInstruments
from tests.builders import BTC, ETH, NOW_MS, an_instrument, price
from tests.fakes.fake_reads import FakeReads
from tests.fakes.virtual_loop import VirtualClock

BINANCE, BYBIT = VenueName.BINANCE, VenueName.BYBIT
COINS = ("AAA", "BBB", "CCC", "DDD")


def rules(**changes: Any) -> UniverseRules:
    fields: Mapping[str, Any] = {
        "count": 2,
        "least_turnover": Decimal(0),
        "most_spread_percent": Decimal(0),
        "least_age_days": 0,
        "least_balance": Decimal(10),
    }
    return UniverseRules(**{**fields, **changes})


def an_offer(name: str = "AAA", turnover: int | None = 5_000_000, **changes: Any) -> Offered:
    instrument = replace(an_instrument(InstrumentId(BINANCE, Symbol(name))), **changes)
    return Offered(
        instrument=instrument,
        turnover=None if turnover is None else Decimal(turnover),
        touch=(price("99.9"), price("100.1")),
    )


def coins(venue: VenueName, quote: str = "USDT") -> list[Instrument]:
    return [replace(an_instrument(InstrumentId(venue, Symbol(f"{c}{quote}"))), quote=Asset(quote)) for c in COINS]


def some_reads(*turnover: int, quote: str = "USDT") -> FakeReads:
    reads = FakeReads(VirtualClock())
    pairs = zip(COINS, turnover, strict=True)
    reads.turnover_a_minute = {Symbol(f"{coin}{quote}"): Decimal(amount) for coin, amount in pairs}
    return reads


def a_universe(
    reads: Mapping[VenueName, MarketReads],
    offered: Mapping[VenueName, list[Instrument]],
    balances: Mapping[tuple[VenueName, str], int] | None = None,
    **changes: Any,
) -> ByRules:
    def balance(venue: VenueName, asset: Asset) -> Decimal | None:
        told = 1_000 if balances is None else balances.get((venue, asset))
        return None if told is None else Decimal(told)

    return ByRules(
        rules(**changes), lambda: reads, offered=lambda venue: offered[venue], balance=balance, now_ms=lambda: NOW_MS
    )


def names(universe: ByRules) -> list[str]:
    return [f"{instrument.venue} {instrument.symbol}" for instrument in universe.instruments]


async def test_the_most_traded_of_each_venue_are_chosen() -> None:
    reads: dict[VenueName, MarketReads] = {BINANCE: some_reads(1, 4, 2, 3), BYBIT: some_reads(5, 5, 0, 9)}
    universe = a_universe(reads, {BINANCE: coins(BINANCE), BYBIT: coins(BYBIT)})
    await universe.refresh()
    assert names(universe) == ["binance BBBUSDT", "binance DDDUSDT", "bybit DDDUSDT", "bybit AAAUSDT"]


async def test_every_quote_coin_with_money_in_it_has_a_choice_of_its_own() -> None:
    reads = some_reads(1, 4, 2, 3)
    reads.turnover_a_minute |= some_reads(7, 1, 1, 8, quote="USDC").turnover_a_minute
    offered = {BINANCE: [*coins(BINANCE), *coins(BINANCE, "USDC")]}
    rich = a_universe({BINANCE: reads}, offered)
    await rich.refresh()
    assert names(rich) == ["binance BBBUSDT", "binance DDDUSDT", "binance DDDUSDC", "binance AAAUSDC"]
    poor = a_universe({BINANCE: reads}, offered, balances={(BINANCE, "USDT"): 10, (BINANCE, "USDC"): 11})
    await poor.refresh()
    assert names(poor) == ["binance DDDUSDC", "binance AAAUSDC"], "the balance must be above the minimum"


async def test_a_venue_without_money_is_asked_nothing() -> None:
    reads = some_reads(1, 4, 2, 3)
    universe = a_universe({BINANCE: reads}, {BINANCE: coins(BINANCE)}, balances={})
    await universe.refresh()
    assert names(universe) == []
    assert not reads.asked


async def test_a_venue_that_does_not_answer_keeps_its_choice() -> None:
    first, second = some_reads(1, 2, 3, 4), some_reads(4, 3, 2, 1)
    universe = a_universe({BINANCE: first, BYBIT: second}, {BINANCE: coins(BINANCE), BYBIT: coins(BYBIT)}, count=1)
    await universe.refresh()
    first.error, second.turnover_a_minute = Unreachable("binance", "away"), {Symbol("BBBUSDT"): Decimal(1)}
    await universe.refresh()
    assert names(universe) == ["binance DDDUSDT", "bybit BBBUSDT"]
    first.error = None
    first.latency = 3_600.0
    first.turnover_a_minute = {Symbol("AAAUSDT"): Decimal(1)}
    await universe.refresh()
    assert names(universe) == ["binance DDDUSDT", "bybit BBBUSDT"]


@pytest.mark.parametrize(
    ("offer", "changes", "why"),
    [
        (an_offer(tradable=False), {}, "not trading"),
        (an_offer(turnover=None), {}, "UNIVERSE_MIN_DAY_VOLUME_USDT"),
        (an_offer(turnover=0), {}, "UNIVERSE_MIN_DAY_VOLUME_USDT"),
        (an_offer(turnover=999_999), {"least_turnover": Decimal(1_000_000)}, "UNIVERSE_MIN_DAY_VOLUME_USDT"),
        (an_offer(), {"most_spread_percent": Decimal("0.1999")}, "UNIVERSE_MAX_SPREAD_PERCENT"),
        (replace(an_offer(), touch=None), {"most_spread_percent": Decimal(1)}, "UNIVERSE_MAX_SPREAD_PERCENT"),
        (an_offer(listed_ms=NOW_MS - 7 * DAY_MS + 1), {"least_age_days": 7}, "UNIVERSE_MIN_AGE_DAYS"),
        (an_offer(listed_ms=None), {"least_age_days": 1}, "UNIVERSE_MIN_AGE_DAYS"),
    ],
)
def test_each_rule_leaves_out_what_it_is_for_and_what_it_cannot_judge(
    offer: Offered, changes: dict[str, Any], why: str
) -> None:
    choice = choose([offer, an_offer("ZZZ", listed_ms=1)], rules(count=9, **changes), NOW_MS)
    assert choice.left_out[why] == (2 if why == "UNIVERSE_MAX_SPREAD_PERCENT" and offer.touch is not None else 1)


@pytest.mark.parametrize(
    "changes",
    [{"least_turnover": Decimal(5_000_000)}, {"most_spread_percent": Decimal("0.2")}, {"least_age_days": 7}],
)
def test_at_its_limit_each_rule_lets_in(changes: dict[str, Any]) -> None:
    offer = an_offer(listed_ms=NOW_MS - 7 * DAY_MS)
    assert choose([offer], rules(**changes), NOW_MS).chosen == (offer.instrument.id,)


async def test_named_instruments_follow_what_is_listed() -> None:
    listed = [BTC]
    universe = NamedInstruments(lambda: list(listed))
    assert universe.instruments == [BTC]
    listed.append(ETH)
    await universe.refresh()
    assert universe.instruments == [BTC, ETH]
