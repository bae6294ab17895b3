"""What must not change under a running daemon, and the venue's own warnings: entries stop, stops go on."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import pytest
from msgspec.structs import replace

from core.domain.events import AssetModeChanged, Event, MarginCalled, ReducedElsewhere
from core.domain.ids import Leg, Symbol, VenueName
from core.domain.money import Price, Quantity
from core.domain.reports import Origin
from core.domain.risk import TradingState
from core.engine.account_watch import AccountWatch
from core.engine.leverage import LeverageKeeper
from core.engine.ports import About, AccountSettings, Level, VenueClient
from core.errors import Unreachable, VenueError
from tests.builders import BTC, a_position, an_intent
from tests.engine.bench import BINANCE, Bench, a_bench

ONE_WAY = AccountSettings(hedge_mode=False, can_trade=True, multi_assets=False, leverage={})


class Account:
    """The settings a test sets, read as the venue's client reads them."""

    def __init__(self, bench: Bench) -> None:
        self.now: AccountSettings | VenueError = ONE_WAY
        clients: Mapping[VenueName, VenueClient] = {BINANCE: bench.venue}
        bench.venue.account_settings = self._read  # type: ignore[method-assign]
        self.leverage = LeverageKeeper(clients=clients, state=bench.state, leverage=10)
        self.watch = AccountWatch(clients=clients, risk=bench.risk, leverage=self.leverage, notifier=bench.notifier)
        self.watch.learn(BINANCE, ONE_WAY)

    async def _read(self) -> AccountSettings:
        if isinstance(self.now, VenueError):
            raise self.now
        return self.now


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(ONE_WAY, hedge_mode=True), "changed from one-way to hedge"),
        (replace(ONE_WAY, multi_assets=True), "multi-assets mode is on"),
        (replace(ONE_WAY, can_trade=False), "may not trade"),
    ],
)
async def test_an_account_that_is_another_one_now_takes_no_entries_and_says_why_once(
    settings: AccountSettings, said: str
) -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.now = settings
        for _ in range(3):
            await account.watch.look(BINANCE)
        assert said in (bench.risk.venue_off_reason(BINANCE) or "")
        (told,) = bench.notifier.critical()
        assert said in told
        assert bench.risk.standing.state is TradingState.ACTIVE  # stops and closes go on, other venues trade


async def test_entries_go_on_when_the_account_is_as_it_was() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.now = replace(ONE_WAY, hedge_mode=True)
        await account.watch.look(BINANCE)
        account.now = ONE_WAY
        await account.watch.look(BINANCE)
        assert bench.risk.venue_off_reason(BINANCE) is None
        assert bench.notifier.messages[-1][0] is Level.INFO


async def test_settings_that_cannot_be_read_conclude_nothing() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.now = Unreachable(BINANCE, "no route")
        with pytest.raises(VenueError):
            await account.watch.look(BINANCE)
        assert bench.risk.venue_off_reason(BINANCE) is None


async def test_every_look_learns_the_leverages_anew() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.now = replace(ONE_WAY, leverage={Symbol("BTC/USDT:USDT"): 3})
        await account.watch.look(BINANCE)
        assert account.leverage.confirmed(BTC) == 3


async def test_multi_assets_mode_switched_on_is_heard_from_the_stream() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.watch.on_events([AssetModeChanged(venue=BINANCE, multi_assets=False)])
        assert bench.risk.venue_off_reason(BINANCE) is None
        account.watch.on_events([AssetModeChanged(venue=BINANCE, multi_assets=True)])
        assert "multi-assets" in (bench.risk.venue_off_reason(BINANCE) or "")


def reduced(origin: Origin) -> Event:
    return ReducedElsewhere(
        position=a_position(), origin=origin, quantity=Quantity(a_position().quantity), price=_PRICE
    )


_PRICE = Price(a_position().entry_price)


@pytest.mark.parametrize(
    ("origin", "level", "state"),
    [
        (Origin.ORDER, Level.WARNING, TradingState.ACTIVE),
        (Origin.ADL, Level.CRITICAL, TradingState.ACTIVE),
        (Origin.SETTLEMENT, Level.CRITICAL, TradingState.ACTIVE),
        (Origin.LIQUIDATION, Level.CRITICAL, TradingState.REDUCING),
    ],
)
async def test_who_shrank_a_position_is_told_and_only_a_liquidation_pauses_entries(
    origin: Origin, level: Level, state: TradingState
) -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.watch.on_events([reduced(origin)])
        assert [told for told, _ in bench.notifier.messages] == [level]
        assert bench.risk.standing_of(BTC.venue).state is state


async def test_a_liquidation_does_not_loosen_a_halt() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        bench.risk.halt("an invariant broke")
        account.watch.on_events([reduced(Origin.LIQUIDATION)])
        assert bench.risk.standing.state is TradingState.HALTED


async def test_a_margin_call_is_passed_on_at_once() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.watch.on_events([MarginCalled(instrument=BTC, what="margin call: 12 is needed")])
        (told,) = bench.notifier.critical()
        assert "margin call: 12 is needed" in told


async def test_it_looks_every_minute_and_an_answer_that_fails_does_not_end_it() -> None:
    async with a_bench() as bench:
        account = Account(bench)
        account.now = Unreachable(BINANCE, "no route")
        running = asyncio.create_task(account.watch.run())
        await bench.settle(61)
        account.now = replace(ONE_WAY, hedge_mode=True)
        await bench.settle(60)
        assert "from one-way to hedge" in (bench.risk.venue_off_reason(BINANCE) or "")
        running.cancel()


@pytest.mark.parametrize(("about", "soon"), [(About.OTHER, True), (About.INSUFFICIENT_MARGIN, False)])
async def test_a_refusal_that_fits_no_case_has_the_account_read_at_once(about: About, soon: bool) -> None:
    """A mode changed behind our back shows first as entries that are refused; no event tells of it."""
    async with a_bench() as bench:
        account = Account(bench)
        account.now = replace(ONE_WAY, hedge_mode=True)
        bench.orders.on_outcome(account.watch.on_outcome)
        looking = asyncio.create_task(account.watch.run())
        bench.venue.script(Leg.ENTRY, bench.venue.reject("51000", about))
        await bench.enter(an_intent())
        await bench.settle(1)
        assert (bench.risk.venue_off_reason(BINANCE) is not None) is soon
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
