"""An answer lost on its way is no error storm while the stream tells what became of the orders (RSK-07)."""

from core.domain.ids import Leg
from core.domain.verdict import Reason
from tests.builders import a_signal, an_instrument, an_instrument_id, risk_limits
from tests.engine.bench import BINANCE, a_bench, wave_rules

COINS = [an_instrument_id(f"C{n:02}/USDT:USDT") for n in range(20)]
LISTED = [an_instrument(coin) for coin in COINS]
LIMITS = risk_limits(max_positions=50)


async def test_entries_whose_answers_were_lost_but_whose_fills_were_told_pause_nothing() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=20), limits=LIMITS) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.lose_answer)
        await bench.wave(*(a_signal(f"a{n}", instrument=COINS[n]) for n in range(10)))
        assert bench.risk.pauses.gate(BINANCE).passed
        assert len(bench.state.positions()) == 10
        await bench.wave(*(a_signal(f"b{n}", instrument=COINS[10 + n]) for n in range(6)))
        assert len(bench.state.positions()) == 16


async def test_entries_nobody_tells_anything_of_do_pause_their_venue() -> None:
    async with a_bench(instruments=LISTED, waves=wave_rules(max_trades=20), limits=LIMITS) as bench:
        bench.venue.always(Leg.ENTRY, bench.venue.lose_request)
        await bench.wave(*(a_signal(f"a{n}", instrument=COINS[n]) for n in range(6)))
        gate = bench.risk.pauses.gate(BINANCE)
        assert gate.denied is not None
        assert gate.denied.reason is Reason.VENUE_ERRORS
