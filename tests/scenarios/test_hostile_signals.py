"""A wave with everything a hostile or broken signal server may send, through the whole daemon; one signal is good."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.signals.frames import MAX_DEPTH, MAX_FRAME_BYTES
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import SimulatedWorld, World, a_signal

pytestmark = pytest.mark.may_block("simulation runs storage inline")

R = Reason
AT_MS = 4_000
GOOD = a_signal("BTCUSDT", id="good")
WHERE = ("ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT")
NAN, INFINITY, HUGE = float("nan"), float("inf"), 1e308

UNUSABLE: dict[str, tuple[Reason, dict[str, Any]]] = {
    "nan-score": (R.SCORE_INVALID, {"total_score": NAN}),
    "infinite-score": (R.SCORE_INVALID, {"total_score": -INFINITY}),
    "huge-score": (R.SCORE_INVALID, {"total_score": HUGE}),
    "nan-text-score": (R.SCORE_INVALID, {"total_score": "NaN"}),
    "score-of-a-kind": (R.SCORE_INVALID, {"total_score": {"is": 80}}),
    "no-score": (R.SCORE_INVALID, {"total_score": None}),
    "nan-price": (R.PRICE_INVALID, {"price": NAN}),
    "huge-price": (R.PRICE_INVALID, {"price": HUGE}),
    "negative-price": (R.PRICE_INVALID, {"price": -5}),
    "zero-price": (R.PRICE_INVALID, {"price": 0}),
    "list-price": (R.PRICE_INVALID, {"price": [1]}),
    "negative-stop": (R.PARAMETER_INVALID, {"stop_loss_filter": -2}),
    "huge-stop": (R.PARAMETER_INVALID, {"stop_loss_filter": HUGE}),
    "nan-stop": (R.PARAMETER_INVALID, {"stop_loss_filter": "nan"}),
    "negative-trades": (R.PARAMETER_INVALID, {"max_trades_filter": -1}),
    "half-a-trade": (R.PARAMETER_INVALID, {"max_trades_filter": 1.5}),
    "unknown-symbol": (R.SYMBOL_UNKNOWN, {"pair_symbol": "NOSUCHUSDT"}),
    "inverse-symbol": (R.SYMBOL_UNKNOWN, {"pair_symbol": "BTCUSD_PERP"}),
    "symbol-is-a-number": (R.MALFORMED, {"pair_symbol": 17}),
    "symbol-is-a-list": (R.MALFORMED, {"pair_symbol": ["ETHUSDT"]}),
    "long-symbol": (R.MALFORMED, {"pair_symbol": "A" * 1_000}),
    "control-in-symbol": (R.MALFORMED, {"pair_symbol": "ETH\x00USDT"}),
    "escape-in-symbol": (R.MALFORMED, {"pair_symbol": "\x1b[31mETHUSDT"}),
    "turned-symbol": (R.MALFORMED, {"pair_symbol": "\u202eETHUSDT"}),
    "side-is-a-number": (R.MALFORMED, {"direction": 1}),
    "no-side": (R.SIDE_MISSING, {"direction": "SIDEWAYS"}),
    "two-sides": (R.SIDE_CONFLICT, {"recommended_action": "SELL"}),
    "future": (R.TIME_INVALID, {"timestamp": "2099-01-01T00:00:00Z"}),
    "before-the-epoch": (R.TIME_INVALID, {"timestamp": "0001-01-01T00:00:00Z"}),
    "negative-time": (R.TIME_INVALID, {"timestamp": -1}),
    "huge-time": (R.TIME_INVALID, {"timestamp": HUGE}),
    "time-is-true": (R.TIME_INVALID, {"timestamp": True}),
    "unknown-venue": (R.VENUE_UNKNOWN, {"exchange": "mtgox"}),
    "venue-is-a-number": (R.VENUE_UNKNOWN, {"exchange_id": -3}),
}
REFUSED: dict[str, tuple[Reason, dict[str, Any]]] = {
    "ancient": (R.EXPIRED, {"timestamp": "2001-01-01T00:00:00Z"}),
    "negative-score": (R.SCORE_TOO_LOW, {"total_score": -80}),
    "bogus-price": (R.PRICE_DIVERGES, {"price": 118_782}),
    "stop-too-far": (R.STOP_TOO_FAR, {"stop_loss_filter": 99}),
    "venue-without-a-key": (R.VENUE_MISSING, {"exchange": "okx"}),
}
NAMELESS = ({"id": "bell\x07"}, {"id": "i" * 1_000}, {"id": {"a": 1}}, {"id": True})
"""Their ids are no ids, so they are told by another name."""
FRAMES = (
    "\x00\x01\x02",
    "{",
    "[1, 2]",
    '"signal"',
    "null",
    '{"type": "signal", "total_score": ' + "9" * 5_000 + "}",
    '{"type": "signal", "pair_symbol": ' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}",
    '{"type": "signal", "pair_symbol": ' + "[" * 100_000,
)
"""Refused as a whole: nothing in them can be told apart."""


def _raw(**fields: Any) -> dict[str, Any]:
    return {"at_ms": AT_MS, "raw": json.dumps({"type": "signal", **fields})}


def _script(now: str) -> list[dict[str, Any]]:
    """Every hostile signal and frame, the good one in the middle of them."""
    lines = []
    for number, (name, (_, changes)) in enumerate((UNUSABLE | REFUSED).items()):
        signal = {**a_signal(WHERE[number % len(WHERE)], id=name), "timestamp": now, **changes}
        lines.append(_raw(**signal))
    lines += [_raw(**{**a_signal("ETHUSDT"), "timestamp": now, **changes}) for changes in NAMELESS]
    lines += [{"at_ms": AT_MS, "raw": frame} for frame in FRAMES]
    good = _raw(**{**GOOD, "timestamp": now})
    middle = len(lines) // 2
    return [*lines[:middle], good, *lines[middle:], good]


def _codes(rows: Any) -> Mapping[str, str]:
    return {row.id: row.code for row in rows}


@pytest.mark.failure("SIG-14")
async def test_every_hostile_signal_is_refused_with_its_reason_and_the_good_one_is_protected(world: World) -> None:
    said = LogLines()
    now = datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).isoformat()
    await world.play(*_script(now), {"at_ms": 30_000, "signals": [GOOD, a_signal("ETHUSDT", id="afterwards")]})
    async with world.running(MIN_SIGNAL_SCORE=0) as daemon:
        report = await daemon.wave()
        by_id = {leg.signal.id: leg for leg in report.legs if leg.signal.id != "good"}
        first, replayed = (leg for leg in report.legs if leg.signal.id == "good")
        assert first.state is LegState.PROTECTED
        assert replayed.denied is not None
        assert replayed.denied.reason is R.ALREADY_SEEN
        told = {name: leg.denied.reason for name, leg in by_id.items() if leg.denied is not None}
        assert told == {name: reason for name, (reason, _) in REFUSED.items()}
        codes = _codes(report.unusable)
        assert {name: codes.get(name) for name in UNUSABLE} == {name: reason for name, (reason, _) in UNUSABLE.items()}
        others = [row for row in report.unusable if row.id not in UNUSABLE]
        assert [row.code for row in others] == [R.MALFORMED] * len(NAMELESS)
        assert all(row.id.isprintable() and row.symbol.isprintable() for row in report.unusable)
        assert len(said.of("signals.frame_refused")) == len(FRAMES)
        assert list(await world.held()) == ["BTCUSDT"]
        await world.everything_holds()
        later = await daemon.wave(2)
        again, fresh = later.legs
        assert again.denied is not None
        assert again.denied.reason is R.ALREADY_SEEN
        assert fresh.state is LegState.PROTECTED
        assert not said.of("signals.disconnected")
        await world.everything_holds()
    text = "".join(str(value) for line in said.lines for value in line.values() if isinstance(value, str))
    assert not {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.failure("SIG-15")
@pytest.mark.asyncio(loop_factories=["simulated", "loopback"])
async def test_a_frame_of_ten_megabytes_costs_neither_memory_nor_the_signals_around_it(world: World) -> None:
    """Over a socket it ends the connection before it is read; the reconnect brings the signals again, once."""
    monster = json.dumps({"type": "signal", **a_signal("ETHUSDT", id="monster"), "pad": "x" * (10 * MAX_FRAME_BYTES)})
    await world.play(
        {"at_ms": 2_000, "signals": [GOOD]},
        {"at_ms": 2_000, "raw": monster},
        {"at_ms": 2_500, "signals": [a_signal("SOLUSDT", id="afterwards")]},
    )
    async with world.running() as daemon:
        if isinstance(world, SimulatedWorld):
            await daemon.wave(2)
        else:
            await world.until(lambda: _holds(world, 2), seconds=30)
            await daemon.wave()
        assert sorted(await world.held()) == ["BTCUSDT", "SOLUSDT"]
        await world.until(lambda: _protected(world))
        await world.everything_holds()


async def _holds(world: World, count: int) -> bool:
    return len(await world.held()) == count


async def _protected(world: World) -> bool:
    return (await world.resting_stops()).keys() == (await world.held()).keys()
