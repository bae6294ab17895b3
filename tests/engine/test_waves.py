"""A wave: marked before any await, judged venue by venue, never over its limits, every leg accounted for."""

import asyncio
from decimal import Decimal

import pytest

from core.domain.ids import InstrumentId, Leg, VenueName
from core.domain.order import OrderIntent, OrderStatus, OrderType
from core.domain.signal import Side, Signal
from core.domain.verdict import Reason
from core.domain.wave import LegState, WaveReport
from core.engine.ports import Outcome
from core.engine.records import SignalMark, WaveMark
from core.engine.wave_processor import LEGS_KEPT
from core.errors import Unreachable
from tests.builders import BTC, ETH, NOW_MS, a_signal, an_instrument, an_instrument_id, risk_limits, sizing_rule
from tests.engine.bench import BINANCE, Bench, a_bench, wave_rules

COINS = [an_instrument_id(f"C{n:02}/USDT:USDT") for n in range(70)]
LISTED = [an_instrument(coin) for coin in COINS]
BYBIT_COINS = [an_instrument_id(f"C{n:02}/USDT:USDT", VenueName.BYBIT) for n in range(5)]


def signals(count: int) -> list[Signal]:
    """Scores rise with the number, so the best come last."""
    return [a_signal(f"s{n:02}", instrument=COINS[n], score=n) for n in range(count)]


def reasons(report: WaveReport) -> list[Reason | None]:
    return [leg.denied.reason if leg.denied else None for leg in report.legs]


def states(report: WaveReport) -> list[LegState]:
    return [leg.state for leg in report.legs]


async def test_a_signal_becomes_a_protected_position_and_its_leg_says_so() -> None:
    async with a_bench(latency=0.1) as bench:
        report = await bench.wave(a_signal())
        (leg,) = report.legs
        assert (leg.state, leg.fill_price, leg.stop_price, leg.unprotected_ms) == (LegState.PROTECTED, 100, 98, 100)
        assert report.settled
        assert report.stages.protected == pytest.approx(200)


async def test_a_signal_may_bring_its_own_stop_distance() -> None:
    async with a_bench() as bench:
        report = await bench.wave(a_signal(stop_loss_percent=5))
        assert [leg.stop_price for leg in report.legs] == [95]


@pytest.mark.failure("SIG-01", "INV-11")
async def test_the_same_wave_twice_at_once_gives_one_set_of_orders() -> None:
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        batch = bench.batch(*signals(5))
        bench.waves.handle(batch)
        bench.waves.handle(batch)
        await bench.until(lambda: len(bench.waves.reports) == 2)
        second, first = bench.waves.reports
        assert states(first) == [LegState.PROTECTED] * 5
        assert reasons(second) == [Reason.ALREADY_SEEN] * 5
        assert len(bench.venue.only(Leg.ENTRY)) == 5


@pytest.mark.failure("SIG-01", "INV-11")
async def test_a_wave_repeated_while_the_first_is_under_way_leaves_the_first_alone() -> None:
    """The repeat used to make the first wave forget its entries, so that it promoted others into taken slots."""
    async with a_bench(instruments=LISTED, latency=0.25) as bench:
        bench.waves.handle(bench.batch(*signals(8)))
        await bench.settle(0.1)
        bench.waves.handle(bench.batch(*signals(8)))
        await bench.until(lambda: len(bench.waves.reports) == 2)
        assert states(bench.waves.reports[1]).count(LegState.PROTECTED) == 5
        assert len(bench.venue.only(Leg.ENTRY)) == 5


async def test_signals_are_marked_before_anything_is_awaited() -> None:
    async with a_bench() as bench:
        bench.waves.handle(bench.batch(a_signal()))
        assert ("test", "s1") in bench.waves._seen
        await bench.until(lambda: bool(bench.waves.reports))


async def test_a_signal_handled_before_the_restart_is_not_handled_again() -> None:
    async with a_bench(seen=frozenset({("test", "s1")})) as bench:
        report = await bench.wave(a_signal())
        assert reasons(report) == [Reason.ALREADY_SEEN]
        assert bench.venue.sent == []


@pytest.mark.failure("SIG-02")
@pytest.mark.parametrize("tells", [True, False])
async def test_sixty_eight_signals_and_a_limit_of_five_open_exactly_five(tells: bool) -> None:
    async with a_bench(instruments=LISTED, limits=risk_limits(max_positions=50), latency=0.1) as bench:
        if not tells:  # an answer that returns nothing must not free its slot
            bench.venue.always(Leg.ENTRY, bench.venue.accept_silently)
        report = await bench.wave(*signals(68))
        assert len(bench.venue.only(Leg.ENTRY)) == 5
        if tells:
            assert states(report).count(LegState.PROTECTED) == 5
            assert reasons(report).count(Reason.WAVE_LIMIT) == 63


async def test_the_best_scores_win_whatever_the_order_of_arrival() -> None:
    async with a_bench(instruments=LISTED) as bench:
        report = await bench.wave(*signals(9))
        opened = [leg.signal.id for leg in report.legs if leg.state is LegState.PROTECTED]
        assert opened == ["s04", "s05", "s06", "s07", "s08"]


async def test_a_definite_refusal_promotes_the_next_best() -> None:
    async with a_bench(instruments=LISTED, latency=0.05) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-2019"), bench.venue.reject("-2019"))
        report = await bench.wave(*signals(7))
        assert states(report).count(LegState.PROTECTED) == 5
        assert reasons(report).count(Reason.REJECTED) == 2
        assert len(bench.venue.only(Leg.ENTRY)) == 7


async def test_an_entry_that_filled_nothing_promotes_the_next_best_and_is_not_repeated() -> None:
    async with a_bench(instruments=LISTED) as bench:

        async def empty_book(intent: OrderIntent) -> Outcome:
            order = bench.venue._register(intent, OrderStatus.EXPIRED)
            await bench.venue.end(order, OrderStatus.EXPIRED)
            return await bench.venue.lose_request(intent)

        bench.venue.script(Leg.ENTRY, empty_book)
        report = await bench.wave(*signals(6))
        assert states(report).count(LegState.PROTECTED) == 5
        assert reasons(report).count(Reason.NOT_FILLED) == 1


async def test_an_unknown_outcome_keeps_its_slot_until_the_wave_ends() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=1, timeout=4)) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        report = await bench.wave(*signals(3))
        assert len(bench.venue.only(Leg.ENTRY)) == 1
        assert states(report)[2] is LegState.UNKNOWN
        assert not report.settled


async def test_an_order_proven_absent_frees_its_slot() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=1)) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.lose_request)
        report = await bench.wave(*signals(2))
        assert reasons(report) == [None, Reason.NOT_FILLED]
        assert states(report)[0] is LegState.PROTECTED


async def test_a_cap_over_all_venues_holds() -> None:
    listed = LISTED + [an_instrument(coin) for coin in BYBIT_COINS]
    rules = wave_rules(max_trades=3, max_trades_total=4)
    async with a_bench(instruments=listed, waves=rules) as bench:
        both = [*signals(5), *(a_signal(f"b{n}", instrument=coin, score=n) for n, coin in enumerate(BYBIT_COINS))]
        await bench.wave(*both)
        assert sum(len(venue.only(Leg.ENTRY)) for venue in bench.venues.values()) == 4


async def test_a_signal_may_ask_for_a_limit_of_its_own() -> None:
    async with a_bench(instruments=LISTED) as bench:
        asked = [a_signal(f"s{n}", instrument=COINS[n], max_trades=2) for n in range(5)]
        report = await bench.wave(*asked)
        assert states(report).count(LegState.PROTECTED) == 2


@pytest.mark.failure("SIG-04", "INV-8")
async def test_each_signal_is_judged_by_its_own_venue_and_by_no_other() -> None:
    coin, twin = COINS[0], BYBIT_COINS[0]
    async with a_bench(instruments=[an_instrument(coin), an_instrument(twin)]) as bench:
        await bench.wave(a_signal("a", instrument=coin))
        bybit = bench.venues[VenueName.BYBIT]
        assert (bybit.sent, bybit.reads) == ([], [])
        sent = len(bench.venue.sent)
        bench.venue.reads.clear()
        report = await bench.wave(a_signal("b", instrument=twin))
        assert states(report) == [LegState.PROTECTED]  # open on one venue, free on the other
        assert len(bench.venue.sent) == sent
        assert bench.venue.reads == []
        assert len(bench.venues[VenueName.BYBIT].only(Leg.ENTRY)) == 1


async def test_a_venue_whose_prefetch_fails_costs_only_its_own_signals() -> None:
    coin, twin = COINS[0], BYBIT_COINS[0]
    async with a_bench(instruments=[an_instrument(coin), an_instrument(twin)]) as bench:
        bench.prefetcher._confirmed.clear()
        bench.venue.error = Unreachable(BINANCE, "no route")
        report = await bench.wave(a_signal("a", instrument=coin), a_signal("b", instrument=twin))
        assert reasons(report) == [Reason.PREFETCH_FAILED, None]
        assert states(report)[1] is LegState.PROTECTED


async def test_two_signals_on_one_symbol_give_one_order() -> None:
    async with a_bench() as bench:
        report = await bench.wave(a_signal("a", score=1), a_signal("b", score=2))
        assert states(report)[1] is LegState.PROTECTED
        assert reasons(report)[0] is Reason.PENDING_ORDER
        assert len(bench.venue.only(Leg.ENTRY)) == 1


async def test_a_symbol_with_a_position_is_not_entered_again() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal("a"))
        report = await bench.wave(a_signal("b"))
        assert reasons(report) == [Reason.DUPLICATE_POSITION]


@pytest.mark.failure("SIG-07")
async def test_expiry_is_looked_at_again_just_before_sending() -> None:
    async with a_bench(leverage_known=False) as bench:
        bench.venue.set_leverage_seconds[ETH.symbol] = 1.0  # the wave is decided together, so this one waits too
        report = await bench.wave(a_signal("a", expires_at_ms=NOW_MS + 500), a_signal("b", instrument=ETH))
        assert reasons(report) == [Reason.EXPIRED, None]
        assert len(bench.venue.only(Leg.ENTRY)) == 1


async def test_six_cold_symbols_are_prepared_side_by_side() -> None:
    async with a_bench(instruments=LISTED[:6], leverage_known=False, latency=0.25) as bench:
        report = await bench.wave(*signals(6))
        assert report.stages.validated == pytest.approx(250)


@pytest.mark.failure("SIG-05")
async def test_a_look_up_that_never_answers_costs_only_its_own_signal() -> None:
    async with a_bench(instruments=LISTED[:6], leverage_known=False, latency=1.0) as bench:
        report = await bench.wave(*signals(6))
        assert report.stages.validated is not None
        assert report.stages.validated <= 1_600
        assert states(report).count(LegState.PROTECTED) == 5
    async with a_bench(instruments=LISTED[:6], leverage_known=False, latency=1.0) as bench:
        bench.venue.set_leverage_seconds[COINS[0].symbol] = 10_000
        report = await bench.wave(*signals(6))
        assert reasons(report)[0] is Reason.LEVERAGE_UNCONFIRMED
        assert states(report)[1:] == [LegState.PROTECTED] * 5


async def test_leverage_that_cannot_be_confirmed_refuses_the_entry() -> None:
    async with a_bench(leverage_known=False) as bench:
        bench.venue.error = Unreachable(BINANCE, "no route")
        report = await bench.wave(a_signal())
        assert reasons(report) == [Reason.LEVERAGE_UNCONFIRMED]


async def test_an_unlisted_symbol_is_refused_without_a_request() -> None:
    async with a_bench() as bench:
        report = await bench.wave(a_signal(instrument=an_instrument_id("NOPE/USDT:USDT")))
        assert reasons(report) == [Reason.SYMBOL_UNKNOWN]
        assert bench.venue.leverages == []


async def test_an_old_price_refuses_an_entry() -> None:
    async with a_bench() as bench:
        bench.market.age = 6
        assert reasons(await bench.wave(a_signal())) == [Reason.STALE_PRICE]
        bench.market.default = None
        assert reasons(await bench.wave(a_signal("s2"))) == [Reason.NO_PRICE]


async def test_without_a_journal_nothing_is_sent_and_nothing_stays_reserved() -> None:
    async with a_bench(instruments=LISTED) as bench:
        bench.journal.seconds = 0.5
        asyncio.get_running_loop().call_later(0.1, setattr, bench.journal, "broken", True)
        report = await bench.wave(*signals(2))
        assert set(reasons(report)) == {Reason.JOURNAL_UNWRITABLE}
        assert bench.venue.sent == []
        assert not any(bench.risk.reserved(coin) for coin in COINS)


async def test_the_intents_of_a_wave_are_one_commit_before_the_first_order() -> None:
    async with a_bench(instruments=LISTED) as bench:
        await bench.wave(*signals(5))
        assert [who for who, _ in bench.diary[:10]] == ["journal"] * 5 + ["wire"] * 5


async def test_a_wave_that_runs_out_of_time_tells_how_everything_stands() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(timeout=2)) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.hang)
        report = await bench.wave(*signals(6))
        assert states(report).count(LegState.UNKNOWN) == 5
        assert reasons(report).count(Reason.WAVE_TIMEOUT) == 1
        assert sum(bench.risk.reserved(coin) for coin in COINS) == 5


async def test_a_wave_out_of_time_while_the_journal_writes_sends_nothing_and_frees_the_symbols() -> None:
    async with a_bench(waves=wave_rules(timeout=2)) as bench:
        bench.journal.seconds = 10
        report = await bench.wave(a_signal())
        assert reasons(report) == [Reason.WAVE_TIMEOUT]
        bench.journal.seconds = 0
        await bench.settle(20)
        assert bench.venue.sent == []
        assert states(await bench.wave(a_signal("s2"))) == [LegState.PROTECTED]


async def test_one_signal_that_cannot_be_judged_and_broken_statistics_leave_the_others_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench(instruments=LISTED) as bench:
        confirm = bench.leverage.confirm

        async def broken(instrument: InstrumentId) -> None:
            if instrument == COINS[0]:
                raise KeyError(instrument)
            await confirm(instrument)

        def statistics(report: WaveReport) -> None:
            raise KeyError(report.wave_id)

        monkeypatch.setattr(bench.leverage, "confirm", broken)
        bench.waves.on_report(statistics)
        report = await bench.wave(*signals(3))
        assert reasons(report) == [Reason.INTERNAL_ERROR, None, None]
        assert states(report)[1:] == [LegState.PROTECTED] * 2
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-2019"))
        after = await bench.wave(a_signal("later", instrument=COINS[9]), a_signal("more", instrument=COINS[10]))
        assert sorted(states(after)) == [LegState.PROTECTED, LegState.REFUSED]


async def test_a_position_flattened_for_want_of_a_stop_is_reported_as_such() -> None:
    async with a_bench() as bench:
        bench.venue.always(Leg.STOP, bench.venue.reject())
        report = await bench.wave(a_signal())
        assert states(report) == [LegState.FLATTENED]


async def test_what_does_not_fit_the_limits_is_refused_by_the_risk_guard_with_its_setting() -> None:
    async with a_bench(instruments=LISTED, limits=risk_limits(max_positions=2)) as bench:
        report = await bench.wave(*signals(4))
        assert states(report).count(LegState.PROTECTED) == 2
        refused = [leg.denied for leg in report.legs if leg.denied]
        assert [denied.reason for denied in refused] == [Reason.MAX_POSITIONS] * 2
        assert "MAX_POSITIONS" in refused[0].values


@pytest.mark.failure("VAL-14")
async def test_fifty_signals_at_once_never_spend_the_same_money_twice() -> None:
    limits = risk_limits(max_positions=50, reserve=9_900, leverage=1)
    rules = wave_rules(max_trades=50)
    async with a_bench(instruments=LISTED, limits=limits, waves=rules, sizing=sizing_rule(30)) as bench:
        bench.waves.handle(bench.batch(*signals(25)))
        bench.waves.handle(bench.batch(*(a_signal(f"x{n}", instrument=COINS[n + 25]) for n in range(25))))
        await bench.until(lambda: len(bench.waves.reports) == 2)
        assert len(bench.venue.only(Leg.ENTRY)) == 3  # 100 USDT above the reserve, 30 each


async def test_every_verdict_is_journaled_counted_and_the_wave_is_closed() -> None:
    async with a_bench() as bench:
        await bench.wave(a_signal("a"), a_signal("b", instrument=ETH, expires_at_ms=NOW_MS))
        marks = [record for record in bench.journal.posted if isinstance(record, SignalMark) and record.code]
        assert [(mark.signal_id, mark.code) for mark in marks] == [("b", "expired")]
        waves = [record for record in bench.journal.posted if isinstance(record, WaveMark)]
        assert [wave.finished_ms is None for wave in waves] == [True, False]
        assert bench.waves.refusals == {"expired": 1}


async def test_a_limit_entry_pays_at_most_the_allowed_slippage() -> None:
    async with a_bench(order_type=OrderType.LIMIT_IOC) as bench:
        await bench.wave(a_signal("a", side=Side.BUY), a_signal("b", instrument=ETH, side=Side.SELL))
        prices = {intent.side: intent.price for intent in bench.venue.only(Leg.ENTRY)}
        assert prices == {Side.BUY: Decimal("100.1"), Side.SELL: Decimal("99.9")}


async def test_a_wave_that_comes_before_the_processor_runs_is_not_lost() -> None:
    async with a_bench() as bench:
        early = bench.batch(a_signal())
        bench.waves._tasks, tasks = None, bench.waves._tasks
        bench.waves.handle(early)
        bench.waves._tasks = tasks
        assert len(bench.waves.waiting) == 1


async def test_two_sources_may_use_the_same_signal_id() -> None:
    async with a_bench(latency=0.2) as bench:
        other = Bench.batch(bench, a_signal("1", instrument=ETH, source="other"))
        bench.waves.handle(bench.batch(a_signal("1", instrument=BTC)))
        bench.waves.handle(other)
        await bench.until(lambda: len(bench.waves.reports) == 2)
        assert [states(report) for report in bench.waves.reports] == [[LegState.PROTECTED]] * 2
        told = {leg.client_order_id: leg.instrument for report in bench.waves.reports for leg in report.legs}
        assert told == {order.client_order_id: order.instrument for order in bench.venue.only(Leg.ENTRY)}


async def test_reports_of_large_waves_are_not_kept_beyond_their_share_but_waves_are_counted() -> None:
    async with a_bench(instruments=LISTED) as bench:
        for number in range(6):
            await bench.wave(*(a_signal(f"w{number}-{n}", instrument=COINS[n]) for n in range(LEGS_KEPT // 4)))
        assert [len(report.legs) for report in bench.waves.reports] == [LEGS_KEPT // 4] * 4
        assert bench.waves.finished == 6
