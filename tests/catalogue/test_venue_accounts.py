"""Codes, accounts and forced trades of every venue, as docs/FAILURES.md demands it (ORD-03, ORD-07, ORD-17, CFG-07,
CFG-08, POS-13, STP-09)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Leg, VenueName
from core.domain.order import UNACKNOWLEDGED, OrderStatus
from core.domain.reports import OrderStatusReport
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.ports import Accepted, Departure, MarginMode, NotFound, Unknown
from core.lifecycle.preflight import Grade
from core.transport import HttpResponse
from core.venues.binance import facts as binance
from core.venues.bybit import codes as bybit
from core.venues.okx import codes as okx
from tests.builders import an_intent
from tests.engine.bench import a_bench
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import SimulatedWorld, a_signal
from tests.venues.binance_rig import answer
from tests.venues.rigs import VENUES, VenueRig, a_venue_rig

pytestmark = pytest.mark.may_block("simulation runs storage inline")

BINANCE, BYBIT, OKX = VenueName.BINANCE, VenueName.BYBIT, VenueName.OKX
PRIVATE = {BINANCE: "listenKey", BYBIT: "private", OKX: "private"}
ORDER = {BINANCE: "/fapi/v1/order", BYBIT: "/v5/order/create", OKX: "/api/v5/trade/order"}
SETTING = {BINANCE: "/fapi/v1/marginType", BYBIT: "/v5/position/set-leverage"}
"""What may be as asked already."""


def a_wave_everywhere(symbol: str = "BTCUSDT", *, at_ms: int = 4_000) -> dict[str, Any]:
    return {"at_ms": at_ms, "signals": [a_signal(symbol, id=f"{v}-{symbol}", exchange=v) for v in VENUES]}


# --- ORD-07 -----------------------------------------------------------------------------------------------------------


def refusal(venue: VenueName, code: object, *, status: int = 200, words: str = "said the venue") -> HttpResponse:
    document: Mapping[VenueName, Any] = {
        BINANCE: {"code": code, "msg": words},
        BYBIT: {"retCode": code, "retMsg": words, "result": {}, "retExtInfo": {}, "time": 1_790_000_000_000},
        OKX: {"code": code, "msg": words, "data": []},
    }
    return answer(status, document[venue])


DONE = [(BINANCE, code) for code in (-4046, -4059)] + [(BYBIT, code) for code in (34040, 110043, 110025, 110026)]


@pytest.mark.failure("ORD-07")
@pytest.mark.parametrize("as_text", [False, True], ids=["number", "text"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("venue", "code"), DONE)
async def test_already_as_asked_is_a_success(venue: VenueName, code: int, status: int, *, as_text: bool) -> None:
    told = str(code) if as_text else code
    async with a_venue_rig(venue, streaming=False) as rig:
        rig.tap.put("POST", ORDER[venue], refusal(venue, told, status=status, words="not modified"))
        assert isinstance(await rig.client.submit(Departure(intent=rig.entry())), Accepted)
        rig.tap.put("POST", SETTING[venue], refusal(venue, told, status=status, words="not modified"))
        if venue is BINANCE:
            await rig.client.set_margin_mode(rig.btc.symbol, MarginMode.ISOLATED)
        else:
            await rig.client.set_leverage(rig.btc.symbol, 7)
        assert len(rig.tap.asked) == 2, "neither is asked again"


@pytest.mark.failure("ORD-07")
@pytest.mark.parametrize("as_text", [False, True], ids=["number", "text"])
@pytest.mark.parametrize("venue", VENUES)
async def test_a_success_is_one_however_its_code_is_written(venue: VenueName, *, as_text: bool) -> None:
    """ "error 0: OK" stopped a whole venue once."""
    field, plain = {BINANCE: ("code", 200), BYBIT: ("retCode", 0), OKX: ("code", 0)}[venue]
    async with a_venue_rig(venue, streaming=False) as rig:
        request = rig.tap._inner.request

        async def written(method: str, url: str, headers: Any, body: bytes | None = None) -> HttpResponse:
            told = await request(method, url, headers, body)
            document = json.loads(told.body)
            if isinstance(document, dict):
                document[field] = str(plain) if as_text else plain
            for row in document.get("data", []) if venue is OKX else []:
                if "sCode" in row:
                    row["sCode"] = "0"
            return HttpResponse(status=told.status, headers=told.headers, body=json.dumps(document).encode())

        rig.tap._inner.request = written  # type: ignore[method-assign]
        assert isinstance(await rig.client.submit(Departure(intent=rig.entry())), Accepted)
        await rig.client.set_leverage(rig.btc.symbol, 7)
        told = await rig.client.query_order(rig.entry())
        assert isinstance(told, OrderStatusReport)
        assert told.status is OrderStatus.FILLED


# --- ORD-03, ORD-17 ---------------------------------------------------------------------------------------------------

ALREADY = {BINANCE: (-4116,), BYBIT: (110072,), OKX: ("51016",)}
AMBIGUOUS = {BINANCE: (-1006, -1007), BYBIT: (10000, 10016), OKX: ("50004", "51149", "50001")}
UNHEARD_OF = {BINANCE: -31337, BYBIT: 31337, OKX: "77777"}


@pytest.mark.failure("ORD-03")
@pytest.mark.failure("ORD-17")
@pytest.mark.parametrize(
    ("venue", "code"),
    [(v, code) for v in VENUES for code in (*ALREADY[v], *AMBIGUOUS[v], UNHEARD_OF[v])],
)
async def test_what_is_no_definite_no_is_looked_up_and_never_sent_again(venue: VenueName, code: object) -> None:
    """The order was executed; what came back does not say so. The look-up finds what it became."""
    async with a_venue_rig(venue) as rig:
        entry = rig.entry()
        await rig.client.submit(Departure(intent=entry))
        rig.tap.put("POST", ORDER[venue], refusal(venue, code))
        assert isinstance(await rig.client.submit(Departure(intent=entry)), Unknown)
        told = await rig.client.query_order(entry)
        assert isinstance(told, OrderStatusReport)
        assert told.status is OrderStatus.FILLED
        assert await rig.held() == Decimal("0.002")


@pytest.mark.failure("ORD-03")
@pytest.mark.parametrize("venue", [BINANCE, OKX])
async def test_here_a_blind_resend_would_double_the_position(venue: VenueName) -> None:
    """These venues check ids among working orders only: the trap is real, so nothing but a look-up may follow."""
    async with a_venue_rig(venue) as rig:
        for _ in range(2):
            await rig.client.submit(Departure(intent=rig.entry()))
        assert await rig.held() == Decimal("0.004")


@pytest.mark.failure("ORD-03")
@pytest.mark.parametrize("venue", VENUES)
async def test_lost_answers_and_gateway_errors_double_nothing(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=50) as world:
        await world.play(a_wave_everywhere(), a_wave_everywhere("ETHUSDT", at_ms=60_000))
        async with world.running() as daemon:
            match = {"method": "POST", "path": ORDER[venue]}
            await world.fault("drop_response", venue, match=match, count=1)
            first = await daemon.wave()
            await world.fault("timeout_after_execution", venue, match=match, count=1)
            second = await daemon.wave(2, seconds=120)
            for report in (first, second):
                assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await asyncio.sleep(30)
            await world.everything_holds()


# --- CFG-07 -----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("CFG-07")
@pytest.mark.parametrize(("was", "now"), [("oneway", "hedge"), ("hedge", "oneway")])
@pytest.mark.parametrize("venue", VENUES)
async def test_a_position_mode_changed_behind_our_back_stops_its_venue_with_the_reason(
    tmp_path: Path, venue: VenueName, was: str, now: str
) -> None:
    words = {"oneway": "one-way", "hedge": "hedge"}
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await world.tell("account", venue, position_mode=was)
        said = LogLines()
        await world.play(a_wave_everywhere(at_ms=60_000))
        async with world.running() as daemon:
            await world.tell("account", venue, position_mode=now)
            await world.fault("disconnect_stream", venue, match={"stream": PRIVATE[venue]}, count=1)
            report = await daemon.wave()
            for leg in report.legs:
                if leg.signal.instrument.venue is venue:
                    assert leg.denied is not None
                    assert leg.denied.reason is Reason.VENUE_OFF
                    assert f"from {words[was]} to {words[now]}" in leg.denied.detail
                else:
                    assert leg.state is LegState.PROTECTED
            told = [text for text in said.notices if "position mode was changed" in text]
            assert len(told) == 1
            assert told[0].startswith(f"{venue}: no entries")
            assert not await world.sent("order", venue=venue)


# --- CFG-08 -----------------------------------------------------------------------------------------------------------


def multi_assets(asked: str, document: Any) -> Any:
    return document | {"multiAssetsMargin": True} if asked.endswith("/fapi/v1/accountConfig") else document


def not_unified(asked: str, document: Any) -> Any:
    if "/v5/position" not in asked and "/v5/account" not in asked:
        return document
    return {"retCode": 10028, "retMsg": "The API can only be accessed by unified account users.", "result": {}}


def spot_mode(asked: str, document: Any) -> Any:
    if asked.endswith("account/config"):
        document["data"][0]["acctLv"] = "1"
    return document


UNFIT: Mapping[VenueName, tuple[Any, str]] = {
    BINANCE: (multi_assets, "switch the account to single-asset mode"),
    BYBIT: (not_unified, "upgrade"),
    OKX: (spot_mode, "switch its account mode to futures mode"),
}


@pytest.mark.failure("CFG-08")
@pytest.mark.parametrize("venue", VENUES)
async def test_an_account_that_cannot_trade_here_is_told_what_to_change_and_costs_its_venue_only(
    tmp_path: Path, venue: VenueName
) -> None:
    change, remedy = UNFIT[venue]
    async with SimulatedWorld(tmp_path, VENUES) as world:
        daemon = world.daemon()
        daemon.tamper(change, venue)
        outcome = await daemon.orchestrator.check()
        grades = {found.venue: found.grade for found in outcome.preflights}
        assert grades.pop(venue) is Grade.OFF
        assert set(grades.values()) == {Grade.OK}
        (found,) = [found for found in outcome.preflights if found.venue is venue]
        said = "; ".join(check.what for check in found.checks if check.grade is Grade.OFF)
        assert remedy in said
        assert not await world.sent("order", venue=venue)


@pytest.mark.failure("CFG-08")
@pytest.mark.parametrize("venue", VENUES)
async def test_account_and_margin_mode_are_read_at_start_and_told(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        outcome = await world.daemon().orchestrator.check()
        (found,) = outcome.preflights
        told = {check.about: check.what for check in found.checks}
        assert "position mode one-way" in told["position mode"]
        assert any(mode in told["margin mode"] for mode in ("cross", "isolated"))


@pytest.mark.failure("CFG-08")
@pytest.mark.parametrize(
    ("table", "code", "remedy"),
    [
        (binance.ERRORS, "-4168", "single-asset mode"),
        (bybit.ERRORS, "10028", "unified trading account"),
        (okx.ERRORS, "51010", "futures mode"),
        (okx.ERRORS, "59000", "close every position"),
    ],
)
def test_refusals_of_a_setting_say_what_to_change(table: Any, code: str, remedy: str) -> None:
    error = table.error(200, code, "the venue's own words", venue_ms=0)
    assert "the venue's own words" in str(error)
    assert remedy in str(error)


# --- POS-13 -----------------------------------------------------------------------------------------------------------

WORDS = {"liquidate": "liquidation by the venue", "adl": "auto-deleveraging by the venue"}


@pytest.mark.failure("POS-13")
@pytest.mark.parametrize("mode", ["oneway", "hedge"])
@pytest.mark.parametrize("kind", list(WORDS))
@pytest.mark.parametrize("venue", VENUES)
async def test_a_position_taken_by_the_venue_is_booked_for_what_it_was_and_leaves_nothing(
    tmp_path: Path, venue: VenueName, kind: str, mode: str
) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await world.tell("account", venue, position_mode=mode)
        said = LogLines()
        await world.play(a_wave_everywhere(), a_wave_everywhere("ETHUSDT", at_ms=60_000))
        async with world.running() as daemon:
            await daemon.wave()
            (row,) = (await world.ask("state", venue))["positions"]
            await world.fault(kind, venue, match={"symbol": row["symbol"]})
            await asyncio.sleep(20)
            assert await world.held(venue) == {}
            assert not [p for p in daemon.status.positions if p.instrument.venue is venue]
            assert (await world.ask("state", venue))["orders"] == [], "leftovers are cancelled"
            assert len([text for text in said.notices if WORDS[kind] in text]) == 1
            report = await daemon.wave(2)
            (leg,) = [leg for leg in report.legs if leg.signal.instrument.venue is venue]
            assert (leg.state is LegState.PROTECTED) is (kind == "adl"), "a liquidation pauses entries there"
            others = [leg.state for leg in report.legs if leg.signal.instrument.venue is not venue]
            assert others == [LegState.PROTECTED] * 2
            await world.everything_holds(several_rounds=True)


@pytest.mark.failure("POS-13")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_position_that_was_shrunk_keeps_a_stop_of_what_is_left(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        said = LogLines()
        await world.play({"at_ms": 4_000, "signals": [a_signal("SOLUSDT", exchange=venue)]})
        async with world.running() as daemon:
            await daemon.wave()
            (symbol,) = before = await world.held(venue)
            await world.fault("adl", venue, match={"symbol": symbol}, fraction=0.4)
            await asyncio.sleep(20)
            left = await world.held(venue)
            assert 0 < left[symbol] < before[symbol]
            assert daemon.held() == left
            assert len([text for text in said.notices if WORDS["adl"] in text]) == 1
            await world.everything_holds()


# --- STP-09 -----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("STP-09")
async def test_a_hundred_guard_cycles_over_protected_positions_send_nothing(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        wave = [a_signal(s, id=f"{v}{s}", exchange=v) for v in VENUES for s in ("BTCUSDT", "ETHUSDT")]
        await world.play({"at_ms": 4_000, "signals": wave})
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(5)
            before = [await world.sent("order", "stop", "cancel", "amend", venue=venue) for venue in VENUES]
            queries = daemon.orchestrator.queries
            assert queries is not None
            for _ in range(100):
                for position in queries._orders.state.positions():
                    queries._protection.guard(position.key)
                await asyncio.sleep(0.5)
            assert [await world.sent("order", "stop", "cancel", "amend", venue=v) for v in VENUES] == before
            await world.everything_holds()


STORES = {
    BINANCE: {"/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders"},
    BYBIT: {"/v5/order/realtime"},
    OKX: {"/api/v5/trade/orders-pending", "/api/v5/trade/orders-algo-pending"},
}
"""Where a stop may rest; Bybit lists those of positions among its orders."""


async def stops_of(rig: VenueRig) -> set[str]:
    return {str(row.client_order_id) for row in (await rig.client.mass_status()).orders if row.conditional}


@pytest.mark.failure("STP-09")
@pytest.mark.parametrize("venue", VENUES)
async def test_stops_are_seen_in_every_store_and_cancelled_where_they_are(venue: VenueName) -> None:
    """One that came with its entry, and one that was sent by itself."""
    async with a_venue_rig(venue) as rig:
        departure = rig.departing(rig.entry())
        await rig.taken(departure)
        if departure.stop is not None:
            assert await stops_of(rig) == {str(departure.stop.client_order_id)}
            rig.note(departure.stop)
            assert isinstance(await rig.client.cancel(rig.order(departure.stop)), Accepted)
            assert await rig.resting() == []
        own = await rig.taken(rig.stop(name="own"))
        rig.tap.asked.clear()
        assert await stops_of(rig) == {str(own.client_order_id)}
        assert {asked.path for asked in rig.tap.asked} >= STORES[venue]
        assert isinstance(await rig.client.cancel(own), Accepted)
        assert await rig.resting() == []
        assert not isinstance(await rig.client.query_order(own.intent), NotFound)


@pytest.mark.failure("STP-09")
@pytest.mark.parametrize("answer_to", ["accept", "lost answer", "lost request"])
async def test_there_are_never_two_unconfirmed_stops_of_one_size(answer_to: str) -> None:
    """Of a position that has grown meanwhile the larger size is covered at once, whatever became of the smaller stop:
    covering comes before everything else, and both can only reduce."""
    async with a_bench(latency=0.05) as bench:
        ways = {
            "accept": bench.venue.behave,
            "lost answer": bench.venue.lose_answer,
            "lost request": bench.venue.lose_request,
        }
        bench.venue.script(Leg.STOP, *[ways[answer_to]] * 3)
        bench.venue.partial, bench.venue.pause = [Decimal(1)] * 3, 0.3
        await bench.enter(an_intent(amount=3))
        for _ in range(400):
            await bench.settle(0.02)
            new = [stop.quantity for stop in bench.sent_stops() if bench.order(stop).status in UNACKNOWLEDGED]
            assert len(new) == len(set(new))
        await bench.settle(20)
        assert sum(stop.intent.quantity for stop in bench.venue.working_stops()) == 3


@pytest.mark.failure("STP-09")
@pytest.mark.parametrize("venue", VENUES)
async def test_whether_a_venue_takes_stops_is_asked_at_the_start(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, [venue]) as world:
        outcome = await world.daemon().orchestrator.check()
        (found,) = outcome.preflights
        (told,) = [check.what for check in found.checks if check.about == "stop orders"]
        assert told == "every symbol takes stop orders"
