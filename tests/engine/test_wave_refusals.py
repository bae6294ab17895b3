"""What a refusal means for the rest of its wave: promotion, the end of a venue's batch, one repetition, or nothing."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, VenueName
from core.domain.instrument import Bracket
from core.domain.money import Notional
from core.domain.order import OrderIntent
from core.domain.signal import Signal
from core.domain.verdict import Reason
from core.domain.wave import Candidate, LegState, TurnedDown, WaveReport
from core.engine.ports import About, StreamState
from core.engine.records import SignalMark
from core.errors import Unreachable
from tests.builders import a_lot, a_signal, an_instrument, an_instrument_id
from tests.engine.bench import BINANCE, Bench, a_bench, wave_rules

COINS = [an_instrument_id(f"C{n:02}/USDT:USDT") for n in range(70)]
BYBIT_COINS = [an_instrument_id(f"C{n:02}/USDT:USDT", VenueName.BYBIT) for n in range(5)]
LISTED = [an_instrument(coin) for coin in COINS + BYBIT_COINS]


def signals(count: int) -> list[Signal]:
    return [a_signal(f"s{n:02}", instrument=COINS[n], score=100 - n) for n in range(count)]


def reasons(report: WaveReport) -> dict[str, Reason]:
    return {leg.signal.id: leg.denied.reason for leg in report.legs if leg.denied is not None}


def accepted(report: WaveReport) -> list[str]:
    return [leg.signal.id for leg in report.legs if leg.state is LegState.PROTECTED]


def entries(bench: Bench, venue: VenueName = BINANCE) -> list[OrderIntent]:
    return bench.venues[venue].only(Leg.ENTRY)


@pytest.mark.failure("SIG-10")
async def test_a_refusal_for_lack_of_margin_ends_the_batch_of_that_venue_and_of_no_other() -> None:
    bybit = [a_signal(f"y{n}", instrument=BYBIT_COINS[n], score=50 - n) for n in range(3)]
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=2)) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-2019", About.INSUFFICIENT_MARGIN))
        report = await bench.wave(*signals(5), *bybit)
        assert accepted(report) == ["s01", "y0", "y1"]
        assert reasons(report) == {
            "s00": Reason.INSUFFICIENT_MARGIN,
            "s02": Reason.INSUFFICIENT_MARGIN,
            "s03": Reason.INSUFFICIENT_MARGIN,
            "s04": Reason.INSUFFICIENT_MARGIN,
            "y2": Reason.WAVE_LIMIT,
        }
        assert len(entries(bench)) == 2


@pytest.mark.failure("VAL-05")
async def test_a_full_bracket_skips_its_symbol_and_the_next_signal_is_promoted() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=2)) as bench:
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-2027", About.POSITION_LIMIT))
        report = await bench.wave(*signals(4))
        assert accepted(report) == ["s01", "s02"]
        assert reasons(report)["s00"] is Reason.BRACKET_FULL
        sent = [intent.instrument for intent in entries(bench)]
        assert sent == COINS[:3], "nothing is sent again for the refused symbol"
        assert not bench.risk.reserved(COINS[0])
        assert not bench.state.live_orders(COINS[0])


@pytest.mark.failure("VAL-05")
async def test_a_size_beyond_the_bracket_is_refused_before_anything_is_sent() -> None:
    brackets = (
        Bracket(most_notional=Notional(Decimal(50)), max_leverage=125),
        Bracket(most_notional=Notional(Decimal(10_000)), max_leverage=5),
    )
    async with a_bench(instruments=[replace(an_instrument(COINS[0]), brackets=brackets)]) as bench:
        report = await bench.wave(a_signal("s", instrument=COINS[0]))
        (leg,) = report.legs
        assert leg.denied is not None
        assert leg.denied.reason is Reason.BRACKET_FULL
        assert leg.denied.values["most"] == "50"
        assert not bench.venue.sent
        assert not bench.risk.reserved(COINS[0])


@pytest.mark.failure("VAL-20")
async def test_an_entry_refused_by_rules_that_changed_is_sent_once_more_with_the_new_ones() -> None:
    coarse = a_lot(minimum="0.1", step="0.1")
    async with a_bench(instruments=LISTED) as bench:
        refuse = bench.venue.reject("-1111", About.STALE_RULES)
        bench.venue.script(Leg.ENTRY, refuse)

        def reload() -> None:
            bench.instruments[COINS[0]] = replace(an_instrument(COINS[0]), market_lot=coarse)

        bench.venue.on_load = reload
        bench.market.marks[COINS[0].symbol] = 30
        bench.reads[BINANCE].close = 30
        bench.venue.price = Decimal(30)
        report = await bench.wave(a_signal("s", instrument=COINS[0]))
        assert accepted(report) == ["s"]
        first, second = entries(bench)
        assert (first.quantity, second.quantity) == (Decimal("3.333"), Decimal("3.3"))
        assert first.client_order_id != second.client_order_id, "another order, never the old one again"
        assert (first.attempt, second.attempt) == (0, 1)


@pytest.mark.failure("VAL-20")
async def test_rules_that_keep_refusing_are_not_asked_a_third_time() -> None:
    async with a_bench(instruments=LISTED) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.reject("-1111", About.STALE_RULES))
        report = await bench.wave(*signals(1))
        assert reasons(report) == {"s00": Reason.REJECTED}
        assert len(entries(bench)) == 2


@pytest.mark.failure("SIG-03")
async def test_every_signal_is_filtered_before_the_best_are_taken_whatever_their_order_and_ties() -> None:
    """The best two of each group cannot be traded; ties are decided by id; the worst are never looked at for a slot."""
    halted = {COINS[0], COINS[1]}
    listed = [replace(i, tradable=i.id not in halted) for i in LISTED]
    wave = [a_signal(f"s{n:02}", instrument=COINS[n], score=100 - n // 2) for n in range(20)]
    for order in (wave, wave[::-1], wave[7:] + wave[:7]):
        async with a_bench(instruments=listed, waves=wave_rules(max_trades=5)) as bench:
            report = await bench.wave(*order)
            assert sorted(accepted(report)) == ["s02", "s03", "s04", "s05", "s06"]
            assert len(entries(bench)) == 5
            late = {reason for key, reason in reasons(report).items() if key > "s06"}
            assert late == {Reason.WAVE_LIMIT}


async def test_every_gate_of_every_signal_is_kept_with_its_value() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=1)) as bench:
        report = await bench.wave(*signals(2))
        taken, late = report.legs
        names = [gate.name for gate in taken.gates]
        assert len(names) == len(set(names))
        assert {"score", "open_interest", "spread", "size", "bracket", "positions", "balance"} <= set(names)
        assert all(gate.passed for gate in taken.gates)
        assert [gate.name for gate in late.gates if not gate.passed] == ["slot"]
        marks = [r for r in bench.journal.posted if isinstance(r, SignalMark) and r.gates]
        assert {mark.signal_id: mark.gates for mark in marks} == {"s00": taken.gates, "s01": late.gates}


async def test_a_venue_that_could_not_be_asked_is_the_one_gate_its_signals_saw() -> None:
    async with a_bench(instruments=LISTED) as bench:
        bench.streams[BINANCE].state = StreamState.DOWN
        bench.prefetcher._live[BINANCE] = bench.clock.monotonic()
        bench.venue.error = Unreachable("binance", "maintenance")
        report = await bench.wave(*signals(1))
        (leg,) = report.legs
        assert [gate.name for gate in leg.gates] == ["prefetch"]
        assert leg.denied is not None
        assert "maintenance" in leg.denied.detail


async def test_a_wave_that_is_due_finds_its_venues_asked_and_connections_warm() -> None:
    async with a_bench(instruments=LISTED, latency=0.1) as bench:
        bench.waves.expect()
        await bench.settle(1)
        assert bench.venue.warmed == [10]


async def test_a_repetition_that_cannot_be_judged_costs_its_own_signal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bench(instruments=LISTED) as bench:
        judge = bench.desk.validate

        def validate(signal: Signal, attempt: int = 0) -> Candidate | TurnedDown:
            if attempt:
                raise ArithmeticError("rules that cannot be")
            return judge(signal)

        monkeypatch.setattr(bench.desk, "validate", validate)
        bench.venue.script(Leg.ENTRY, bench.venue.reject("-1111", About.STALE_RULES))
        report = await bench.wave(*signals(3))
        assert accepted(report) == ["s01", "s02"]
        assert reasons(report) == {"s00": Reason.REJECTED}
