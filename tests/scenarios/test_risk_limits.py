"""Limits and orders of people, through the whole daemon and its control socket's own answers."""

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from core import orchestrator
from core.domain.wave import LegState
from core.status.control import ControlServer
from core.status.line import status_line
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import Owner, the_owner
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_signal, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")


@pytest.fixture
def said() -> LogLines:
    return LogLines()


@pytest.fixture
def owner(world: SimulatedWorld) -> Owner:
    return the_owner(world)


@dataclass
class Console:
    """The control socket of the newest daemon, without the socket."""

    servers: list[ControlServer] = field(default_factory=list)

    async def answer(self, command: str, **fields: Any) -> dict[str, Any]:
        return dict(json.loads(await self.servers[-1].answer(json.dumps({"command": command, **fields}).encode())))

    async def __call__(self, command: str, **fields: Any) -> Any:
        answer = await self.answer(command, **fields)
        assert answer["ok"], answer
        return answer["result"]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console()

    class Remembered(ControlServer):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**parts)
            console.servers.append(self)

    monkeypatch.setattr(orchestrator, "ControlServer", Remembered)
    return console


def reasons(report: Any) -> set[str]:
    return {leg.denied.reason.value for leg in report.legs if leg.denied is not None}


@pytest.mark.failure("RSK-08")
@pytest.mark.failure("RSK-10")
async def test_an_open_loss_stops_entries_and_a_crash_does_not_give_it_away(
    world: SimulatedWorld, said: LogLines, ask: Console
) -> None:
    await world.play(a_wave(PAIRS[:1]), *(a_wave(PAIRS[n : n + 1], at_ms=20_000 * n) for n in (1, 3)))
    limits: dict[str, Any] = {"MAX_DAILY_LOSS": "0.90", "STOP_LOSS_PERCENT": 5, "LEVERAGE": 1}
    async with world.running(**limits) as first:
        await first.wave()
        await world.fault("gap_price", match={"symbol": "BTCUSDT"}, fraction=-0.02)
        refused = await first.wave(2)
        assert reasons(refused) == {"day_loss"}
        assert first.status.trading_state == "reducing"
        figures = await ask("risk")
        assert Decimal(figures["day_result"]) <= Decimal("-0.90")
        assert "MAX_DAILY_LOSS=0.9" in figures["reached"]["day_loss"]
        assert figures["denials"] == {"day_loss": 1}
        await world.everything_holds()
        left = await first.kill()
    async with world.running(left, **limits) as second:
        assert second.status.trading_state == "reducing"
        assert "day_loss" in reasons(await second.wave()), "the server told its last signals again"
        await ask("resume", author="me")
        assert second.status.trading_state == "active"
    assert len([text for text in said.notices if "lost today" in text and not text.startswith("started")]) == 1


async def test_a_stop_that_fires_after_a_crash_soon_after_the_first_start_is_lost_once(
    world: SimulatedWorld, ask: Console
) -> None:
    """The wallet that the next run finds has paid for it already."""
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as first:
        await first.wave()
        await asyncio.sleep(1)
        left = await first.kill()
    await world.tell("price", symbol="BTCUSDT", price="60000")
    assert await world.held() == {}
    async with world.running(left):
        await asyncio.sleep(5)
        figures = await ask("risk")
        (wallet,) = [row["wallet"] for row in figures["balances"] if row["asset"] == "USDT"]
        assert Decimal(figures["day_result"]) < -10
        assert Decimal(figures["equity"]) == Decimal(wallet)
        assert Decimal(figures["equity_peak"]) > Decimal(wallet) + 10


async def test_the_status_tells_the_figures_in_one_line(world: SimulatedWorld, ask: Console) -> None:
    await world.play(a_wave(PAIRS[:2]))
    async with world.running(MAX_DRAWDOWN_PERCENT=20) as daemon:
        await daemon.wave()
        await asyncio.sleep(2)
        status = daemon.status
        assert status.risk is not None
        assert status.risk.day_result < 0, "the fees at least"
        assert [row.asset for row in status.risk.balances] == ["USDT", "USDC"]
        assert all(row.age_s < 60 for row in status.risk.balances)
        line = status_line(status)
        assert "\n" not in line
        assert " of 100, stops 0 of 3, drawdown 0% of 20% | " in line
        equity = Decimal((await ask("risk"))["equity"])
        wallet = Decimal((await world.ask("state"))["balances"]["USDT"]["wallet"])
        assert abs(equity - wallet) < 1, "the wallet of QUOTE_COIN and the open results"


@pytest.mark.failure("RSK-01", "INV-14")
@pytest.mark.failure("RSK-02")
async def test_the_status_counts_refusals_by_reason_and_shows_each_balance_with_its_age(
    world: SimulatedWorld, said: LogLines, ask: Console
) -> None:
    await world.play(a_wave(PAIRS[:1]), a_wave(PAIRS[1:3], at_ms=12_000))
    await world.tell("account", asset="USDT", wallet="16")
    async with world.running(LEVERAGE=1) as daemon:
        for number in (1, 2):
            await daemon.wave(number)
        assert daemon.status.refusals == {"balance_too_low": 3}
        assert daemon.status.risk is not None
        assert daemon.status.risk.denials == {"balance_too_low": 3}
        assert len([text for text in said.notices if "balance too low" in text]) == 1
        (row,) = [row for row in daemon.status.risk.balances if row.asset == "USDT"]
        assert (row.wallet, row.free) == (16, 16)
        await world.fault("http_error", match={"path": "/fapi/v3/account"}, status=500, body="<html>", count=-1)
        await asyncio.sleep(100)
        (row,) = [row for row in daemon.status.risk.balances if row.asset == "USDT"]
        assert row.free is None, "too old to be used"
        assert f"binance USDT 16 ({int(row.age_s)}s old)" in status_line(daemon.status)
        assert (await ask("risk"))["shortages"]


@pytest.mark.failure("RSK-11")
async def test_panic_in_a_running_wave_leaves_nothing_open_and_nothing_resting(
    world: SimulatedWorld, ask: Console
) -> None:
    await world.play(a_wave(PAIRS), a_wave(PAIRS[::-1], at_ms=12_000) | {"signals": [a_signal("BTCUSDT", id="later")]})
    await world.fault("latency", match={"path": "/fapi/v1/order", "method": "POST"}, count=-1, delay_ms=700)
    async with world.running() as daemon:
        await world.until(lambda: under_way(world), seconds=30)
        answer = await ask("panic", author="me")
        assert (answer["state"], answer["unanswered"]) == ("halted", 0)
        entries = len(await world.sent("order"))
        assert all(row["flat"] for row in answer["closed"])
        await world.until(lambda: flat(world))
        assert reasons(await daemon.wave(2)) == {"not_active"}
        assert len(await world.sent("order")) == entries
        await world.everything_holds()
        data = daemon.data_dir
    async with world.running(data) as second:
        assert (second.status.trading_state, second.status.reason) == ("halted", "panic")


async def under_way(world: SimulatedWorld) -> bool:
    return len(await world.sent("order")) == len(PAIRS)


async def flat(world: SimulatedWorld) -> bool:
    return not await world.held() and not await world.resting_stops()


@pytest.mark.failure("RSK-12")
@pytest.mark.parametrize("code", [-4087, -4400, -4401])
async def test_a_restricted_account_gets_one_alert_and_no_more_entries_while_stops_and_closes_go_on(
    world: SimulatedWorld, said: LogLines, code: int, ask: Console
) -> None:
    waves = [a_wave(PAIRS[n : n + 1], at_ms=4_000 + 5_000 * n) for n in range(4)]
    await world.play(*waves)
    async with world.running() as daemon:
        await daemon.wave()
        await world.fault("reject_order", match={"symbol": "ETHUSDT"}, code=code)
        assert reasons(await daemon.wave(2)) == {"rejected_by_venue"}
        entries = len(await world.sent("order"))
        for number in (3, 4):
            assert reasons(await daemon.wave(number)) == {"account_restricted"}
        assert len(await world.sent("order")) == entries
        assert daemon.status.venues[0].paused is not None
        assert len([text for text in said.notices if "may only reduce" in text]) == 1
        (closed,) = await ask("close", symbol="BTCUSDT")
        assert closed["flat"]
        await world.everything_holds()


async def test_a_venue_alone_can_be_paused_and_the_others_do_not_care(world: SimulatedWorld, ask: Console) -> None:
    await world.play(a_wave(PAIRS[:1]), a_wave(PAIRS[1:2], at_ms=10_000))
    async with world.running() as daemon:
        answer = await ask("pause", venue="binance", author="me")
        assert (answer["venue"], answer["state"]) == ("binance", "reducing")
        assert reasons(await daemon.wave()) == {"not_active"}
        assert daemon.status.trading_state == "active"
        assert daemon.status.venues[0].off_because == "reducing: paused"
        await ask("resume", venue="binance")
        assert (await daemon.wave(2)).legs[0].state is LegState.PROTECTED


# --- one order -------------------------------------------------------------------------------------------------------


async def test_the_stop_of_a_position_is_not_cancelled_and_a_foreign_order_is(
    world: SimulatedWorld, owner: Owner, ask: Console
) -> None:
    await world.play(a_wave(PAIRS[:1]))
    async with world.running() as daemon:
        await daemon.wave()
        await owner.call(
            "POST", "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC",
            quantity="0.100", price="1000.00", newClientOrderId="android_7",
        )  # fmt: skip
        state = await world.ask("state")
        stop = next(row for row in state["orders"] if row["symbol"] == "BTCUSDT")
        foreign = next(row for row in state["orders"] if row["symbol"] == "ETHUSDT")
        for name in (stop["client_id"], stop["id"]):
            refused = await ask.answer("cancel", id=str(name))
            assert not refused["ok"]
            assert "close the position instead" in refused["error"]
        unknown = await ask.answer("cancel", id="12345")
        assert unknown["error"] == "no resting order has the id '12345'"
        answer = await ask("cancel", id=str(foreign["id"]))
        assert (answer["cancelled"], answer["ours"], answer["client_order_id"]) == (True, False, "android_7")
        assert [row["symbol"] for row in (await world.ask("state"))["orders"]] == ["BTCUSDT"]
        await world.everything_holds()


# --- the owner's hand ------------------------------------------------------------------------------------------------


@pytest.mark.failure("REC-12")
@pytest.mark.parametrize("seen", [True, False], ids=["told by the stream", "found by reconciliation"])
@pytest.mark.parametrize("hand", ["closes", "halves", "doubles", "opens"])
async def test_what_the_owner_does_by_hand_is_followed_and_not_worked_against(
    world: SimulatedWorld, owner: Owner, said: LogLines, hand: str, *, seen: bool
) -> None:
    again = {"at_ms": 160_000, "signals": [a_signal("BTCUSDT", id="again"), a_signal("SOLUSDT", id="other")]}
    late = {"at_ms": 1_300_000, "signals": [a_signal("BTCUSDT", id="later", direction="SHORT")]}
    await world.play(a_wave(PAIRS[:2]), again, late)
    sizes: dict[str, Any] = {"POSITION_SIZE_USD": 200, "MIN_POSITION_SIZE_USDT": 10}
    async with world.running(**sizes, COOLDOWN_AFTER_EXTERNAL_SECONDS=900) as daemon:
        await daemon.wave()
        held = (await world.held())["BTCUSDT"]
        assert held >= Decimal("0.002")
        if not seen:
            for event in ("ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"):
                await world.fault("lose_event", match={"event": event}, count=-1)
        sent = len(await world.sent("order"))
        half = str((held / 2).quantize(Decimal("0.001")))
        match hand:
            case "closes":
                await owner.trade("BTCUSDT", "SELL", str(held), reduceOnly="true")
            case "halves":
                await owner.trade("BTCUSDT", "SELL", half, reduceOnly="true")
            case "doubles":
                await owner.trade("BTCUSDT", "BUY", str(held))
            case _:
                await owner.trade("XRPUSDT", "SELL", "100")
        await asyncio.sleep(120)
        await world.forgive()
        assert daemon.held() == await world.held()
        await world.everything_holds(several_rounds=True)
        assert len(await world.sent("order")) == sent + 1, "the owner's own order, and none against it"
        report = await daemon.wave(2)
        first, second = report.legs
        assert first.denied is not None
        expected = {"closes": "cooldown"}.get(hand, "duplicate_position")
        assert first.denied.reason.value == expected
        assert second.state is LegState.PROTECTED
        if hand == "closes":
            assert (await daemon.wave(3, seconds=1_300)).legs[0].state is LegState.PROTECTED, "15 minutes are over"
        assert [text for text in said.notices if "BTC" in text or "XRP" in text], "it is said"
