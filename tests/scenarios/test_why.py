"""`tools/why.py` over the journal of a daemon that is running, and of one that is not any more."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.worlds import World, a_signal
from tools import why

pytestmark = pytest.mark.may_block(reason="the tool is a program of its own; here it runs in the test's loop")
UNREADABLE = {"id": "odd", "pair_symbol": "ADAUSDT", "direction": "SIDEWAYS", "total_score": 70, "timestamp": "$now"}
SHOWN = ("expiry", "score", "position", "price", "spread", "size", "positions", "exposure", "balance")


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()  # the daemon's log
    assert why.main([*arguments, "--json"]) == why.TOLD
    return json.loads(capsys.readouterr().out)


async def _after_a_wave(world: World) -> Path:
    signals = [a_signal("BTCUSDT"), a_signal("ETHUSDT", score=10, id="weak"), UNREADABLE]
    await world.play({"at_ms": 4_000, "signals": signals})
    async with world.running(MIN_SIGNAL_SCORE=50) as daemon:
        await daemon.wave()
        await world.tell("price", symbol="BTCUSDT", price=str(50_000))
        await world.until(lambda: _flat(world))
    return daemon.data_dir


async def _flat(world: World) -> bool:
    return not await world.held()


async def test_an_accepted_signal_is_told_with_its_gates_its_orders_and_its_end(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await _after_a_wave(world)
    told = _told(capsys, "btc/usdt", "--data-dir", str(data))
    (signal,) = told["signals"]
    assert signal["verdict"] == "accepted"
    gates = {gate["gate"]: gate for gate in signal["gates"]}
    assert set(SHOWN) <= set(gates), gates.keys()
    assert {gate["verdict"] for gate in signal["gates"]} == {"passed"}
    assert gates["score"]["value"] == "80"
    assert gates["score"]["limit"] == "MIN_SIGNAL_SCORE=50"
    assert [(order["leg"], order["status"]) for order in signal["orders"]] == [("entry", "filled"), ("stop", "filled")]
    assert signal["position"]["open"] is False
    assert told["stages_ms"]["protected"] is not None
    assert told["counts"] == {"signals": 2, "protected": 1, "refused": 1, "unusable": 1}


async def test_a_refused_signal_is_told_with_the_gate_that_refused_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await _after_a_wave(world)
    (signal,) = _told(capsys, "ETHUSDT", "--data-dir", str(data))["signals"]
    refusing = [gate for gate in signal["gates"] if gate["verdict"] != "passed"]
    assert [(gate["gate"], gate["value"], gate["limit"]) for gate in refusing] == [
        ("score", "10", "MIN_SIGNAL_SCORE=50")
    ]
    assert signal["verdict"] == refusing[0]["verdict"] == "score_too_low"
    assert signal["orders"] == []


async def test_a_signal_that_could_not_be_read_is_told_as_such(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await _after_a_wave(world)
    told = _told(capsys, "ADAUSDT", "--data-dir", str(data))
    assert told["signals"] == []
    assert [(one["id"], one["symbol"]) for one in told["unusable"]] == [("odd", "ADAUSDT")]
    assert told["unusable"][0]["detail"]


async def test_it_reads_beside_the_running_daemon(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT")]})
    async with world.running() as daemon:
        await daemon.wave()
        (signal,) = _told(capsys, "BTCUSDT", "--data-dir", str(daemon.data_dir))["signals"]
    assert signal["position"]["open"]
    assert [order["protects"] for order in signal["orders"]] == [False, True]


async def test_the_table_fits_a_narrow_console(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await _after_a_wave(world)
    monkeypatch.setenv("COLUMNS", "72")
    capsys.readouterr()
    assert why.main(["ETHUSDT", "--data-dir", str(data)]) == why.TOLD
    said = capsys.readouterr().out
    assert "score_too_low" in said.replace("\n", "")
    assert max(map(len, said.splitlines())) <= 72


async def test_a_symbol_that_was_in_no_wave_is_answered_with_the_last_waves(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await _after_a_wave(world)
    assert why.main(["SOLUSDT", "--data-dir", str(data)]) == why.NOTHING
    said = capsys.readouterr().err
    assert "no wave had a signal for SOLUSDT" in said
    assert "server-" in said


async def test_a_wave_without_the_symbol_and_a_wave_that_is_none_are_told_apart(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    data = await _after_a_wave(world)
    wave = _told(capsys, "BTCUSDT", "--data-dir", str(data))["wave"]
    assert why.main(["SOLUSDT", "--wave", wave, "--data-dir", str(data)]) == why.NOTHING
    assert "it had BTC/USDT:USDT, ETH/USDT:USDT" in capsys.readouterr().err
    assert why.main(["SOLUSDT", "--wave", "nonsense", "--data-dir", str(data)]) == why.NOTHING
    assert "there is no wave nonsense" in capsys.readouterr().err


def test_without_a_journal_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert why.main(["BTCUSDT", "--data-dir", str(tmp_path)]) == why.USAGE
    assert "there is no journal" in capsys.readouterr().err
