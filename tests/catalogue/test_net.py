"""The network and the limits of the venues (NET): what is asked, how often, and what it means for positions."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import VenueName
from core.domain.order import OrderType
from core.domain.signal import Side
from core.engine.account_watch import AccountWatch
from core.engine.outages import Outages
from core.engine.ports import Accepted, Condition, Departure, Level, Rejected, StreamState, VenueHealth
from core.engine.risk_guard import STREAM
from core.errors import RateLimited, Refused, Unreachable, VenueError
from core.transport import HttpResponse
from core.venues.binance import facts
from core.venues.binance.market_feed import MarkRoute, TouchRoute
from core.venues.errors import Meaning
from core.venues.health import LONGEST_PAUSE
from core.venues.market_stream import MarketStream, Tick
from core.venues.private_session import PrivateSession
from core.venues.reconnecting import Backoff
from core.venues.request_budget import RAMP_MS, Charge, Lane, RequestBudget
from core.venues.symbols import SymbolTable
from core.venues.user_stream import UserDataStreamManager
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.engine.test_upkeep import an_upkeep
from tests.fakes.fake_session import UrlSession
from tests.fakes.fake_socket import FakeSocket
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.worlds import PAIRS, SimulatedWorld, a_wave
from tests.venues.binance_rig import Rig, a_rig, an_order_intent, answer

pytestmark = pytest.mark.may_block("simulation runs storage inline")

ORDER, ALGO, POSITIONS, TIME = "/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v3/positionRisk", "/fapi/v1/time"
STOP = an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger="70000")
ENTRY = Charge(lane=Lane.ENTRY, costs={"orders": 1}, promises={"orders": 1})
PROTECT = Charge(lane=Lane.PROTECTION, costs={"orders": 1})
NOT_NOW = answer(503, {"code": -1016, "msg": "This service is no longer available."})


async def _quietly(call: Callable[[], Coroutine[Any, Any, object]]) -> VenueError | None:
    try:
        await call()
    except VenueError as error:
        return error
    return None


# --- NET-01 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("NET-01")
@pytest.mark.parametrize("ahead_ms", [-5_000, 5_000])
async def test_with_the_clock_five_seconds_off_the_next_order_goes_through_once(ahead_ms: int) -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="clock_skew", delay_ms=ahead_ms)
        assert isinstance(await rig.client.submit(Departure(intent=an_order_intent())), Accepted)
        orders = rig.tap.of("POST", ORDER)
        assert len(orders) == (2 if ahead_ms < 0 else 1), "one refused for its stamp, or none: it is inside the window"
        assert all("recvWindow=10000" in order.signed_text for order in orders)
        assert len({order.params["newClientOrderId"] for order in orders}) == 1
        assert len((await rig.venue.ask("state?all=1"))["fills"]) == 1
        rig.tap.asked.clear()
        await rig.client.submit(Departure(intent=an_order_intent(name="two")))
        assert len(rig.tap.asked) == 1, "one resync was enough"


@pytest.mark.failure("NET-01")
async def test_every_venues_clock_is_measured_every_ten_minutes() -> None:
    async with a_bench() as bench, an_upkeep(bench):
        await asyncio.sleep(3_601)
        assert Counter(bench.venue.reads)["clock"] == 6


# --- NET-02 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("NET-02")
@pytest.mark.parametrize("status", [429, 418])
async def test_during_a_ban_no_request_at_all_goes_out(status: int) -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="rate_limit", status=status, duration_ms=150_000)
        assert isinstance(await _quietly(rig.client.positions), RateLimited)
        before = len(rig.tap.asked)
        until = rig.health[-1].until_ms
        assert until is not None
        assert until - rig.clock.now_ms() == pytest.approx(150_000, abs=2_000)
        tasks = [
            asyncio.create_task(_quietly(call))
            for call in (
                rig.client.positions,
                rig.client.mass_status,
                rig.client.measure_clock,
                lambda: rig.client.submit(Departure(intent=STOP)),
                lambda: rig.client.submit(Departure(intent=an_order_intent())),
                lambda: rig.client.warm(5),
            )
        ]
        await asyncio.sleep((until - rig.clock.now_ms()) / 1000 - 0.5)
        assert len(rig.tap.asked) == before
        assert [health.condition for health in rig.health] == [Condition.LIMITED]
        await asyncio.sleep(1)
        await rig.client.positions()
        assert [health.condition for health in rig.health] == [Condition.LIMITED, Condition.UP]
        await asyncio.wait(tasks)


@pytest.mark.failure("NET-02")
async def test_after_a_ban_entries_come_back_little_by_little_and_stops_at_once() -> None:
    clock = VirtualClock()
    budget = RequestBudget("binance", facts.LIMITS, clock)
    ends = clock.now_ms() + 30_000
    budget.block_until(ends)
    left: list[int] = []

    async def entry() -> None:
        await budget.acquire(ENTRY)
        left.append(clock.now_ms() - ends)

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(entry()) for _ in range(400)]
        await asyncio.sleep(30.1)
        first = len(left)
        assert 0 < first < 300 * 0.3 / 2, "an entry takes room for its stop as well"
        await budget.acquire(PROTECT)
        assert clock.now_ms() - ends < 200
        await asyncio.sleep(RAMP_MS / 1000)
        assert len(left) > 2 * first
        for task in waiting:
            task.cancel()


@pytest.mark.failure("NET-02")
@pytest.mark.failure("NET-11")
async def test_an_outage_is_told_once_with_its_end_and_status_says_where_positions_rest() -> None:
    async with a_bench() as bench:
        asked: list[VenueName] = []
        outages = _outages(bench, asked)
        until = bench.clock.now_ms() + 120_000
        limited = VenueHealth(condition=Condition.LIMITED, detail="banned", until_ms=until)
        for extended in (0, 30_000):
            outages.on_health(BINANCE, replace(limited, until_ms=until + extended))
        (critical,) = bench.notifier.critical()
        assert "it limits our requests until" in critical
        reason = bench.risk.venue_off_reason(BINANCE)
        assert reason is not None
        assert "rest on their stops at the venue" in reason
        outages.on_health(BINANCE, VenueHealth(condition=Condition.UP))
        assert bench.risk.venue_off_reason(BINANCE) is None
        assert [level for level, _ in bench.notifier.messages] == [Level.CRITICAL, Level.INFO]
        assert asked == [BINANCE], "reconciled on return"


async def test_what_else_keeps_a_venue_off_outlives_its_outage() -> None:
    async with a_bench() as bench:
        outages = _outages(bench, [])
        bench.risk.set_venue(BINANCE, "the position mode was changed", by="account-watch")
        outages.on_health(BINANCE, VenueHealth(condition=Condition.DOWN, detail="gone"))
        outages.on_health(BINANCE, VenueHealth(condition=Condition.UP))
        assert bench.risk.venue_off_reason(BINANCE) == "the position mode was changed"


async def test_an_account_that_is_in_order_says_nothing_of_a_venue_that_does_not_serve() -> None:
    async with a_bench() as bench:
        bench.risk.set_venue(BINANCE, "its private stream has not come up since the start", by=STREAM)
        watch = AccountWatch(
            clients={BINANCE: bench.venue}, risk=bench.risk, leverage=bench.leverage, notifier=bench.notifier
        )
        await watch.look(BINANCE)
        assert "private stream" in (bench.risk.venue_off_reason(BINANCE) or "")
        assert not bench.notifier.messages


# --- NET-03, NET-04 -------------------------------------------------------------------------------------------------


@pytest.mark.failure("NET-04")
async def test_the_venues_published_limits_are_the_ones_kept() -> None:
    async with a_rig(opened=False) as rig:
        told = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6_000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 20},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 1},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": "many"},
        ]
        limits = {limit.name: limit.capacity for limit in facts.limits_told(told)}
        assert limits == {
            "x-mbx-used-weight-1m": 6_000,
            "x-mbx-order-count-10s": 20,
            "x-mbx-order-count-1d": 200_000,
        }
        rules = await _exchange_info(rig)
        rig.tap.put("GET", "/fapi/v1/exchangeInfo", answer(200, rules | {"rateLimits": told}))
        await rig.client.open()
        budget = rig.client._ccxt.seam.budget
        for _ in range(9):  # 20 orders less a reserve, each entry with room for its stop
            await budget.acquire(ENTRY)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(budget.acquire(ENTRY), 0.05)


@pytest.mark.failure("NET-04")
async def test_what_others_on_this_address_use_is_counted_from_the_replies() -> None:
    clock = VirtualClock()
    budget = RequestBudget("binance", facts.LIMITS, clock)
    ticket = await budget.acquire(Charge(lane=Lane.DATA, costs={"weight": 5}))
    budget.settle(ticket, {"x-mbx-used-weight-1m": "2030"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(budget.acquire(Charge(lane=Lane.DATA, costs={"weight": 40})), 0.05)
    assert budget.figures().used["x-mbx-used-weight-1m"] == 2_030


# --- NET-05, NET-07 -------------------------------------------------------------------------------------------------

PERMANENT = sorted(c for c, m in facts.CODES.items() if m in (Meaning.REFUSED, Meaning.RESTRICTED, Meaning.AUTH))


@pytest.mark.failure("NET-05")
async def test_a_permanent_refusal_is_sent_once_whatever_its_code() -> None:
    async with a_rig() as rig:
        for number, code in enumerate(PERMANENT):
            rig.tap.put("POST", ORDER, answer(400, {"code": int(code), "msg": "no"}))
            rig.tap.asked.clear()
            assert isinstance(
                await rig.client.submit(Departure(intent=an_order_intent(name=f"order{number}"))), Rejected
            ), code
            assert len([a for a in rig.tap.asked if a.method == "POST"]) == 1, code
            assert rig.client._ccxt.seam.health.counts[f"POST order {code}"] == 1
        rig.tap.put("GET", POSITIONS, *[answer(400, {"code": -1102, "msg": "no"})] * 5)
        rig.tap.asked.clear()
        assert isinstance(await _quietly(rig.client.positions), Refused)
        assert len(rig.tap.asked) == 1


@pytest.mark.failure("NET-05")
async def test_a_passing_trouble_is_asked_again_at_most_five_times_a_second_or_more_apart() -> None:
    async with a_rig() as rig:
        times: list[float] = []
        request = rig.tap.request

        async def timed(*arguments: Any) -> HttpResponse:
            times.append(rig.clock.monotonic())
            return await request(*arguments)

        rig.tap.request = timed  # type: ignore[assignment, method-assign]
        rig.tap.put("GET", POSITIONS, *[Unreachable("binance", "cannot connect")] * 20)
        assert isinstance(await _quietly(rig.client.positions), Unreachable)
        assert 2 <= len(times) <= 5
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert all(1 <= pause <= 60 for pause in pauses)
        assert pauses == sorted(pauses)


@pytest.mark.failure("NET-07")
async def test_a_refused_key_is_not_tried_again_and_the_alert_has_the_address() -> None:
    async with a_rig() as rig, a_bench() as bench:
        outages = _outages(bench, [])
        said = "Invalid API-key, IP, or permissions for action, request ip: 203.0.113.7"
        rig.tap.put("GET", POSITIONS, *[answer(401, {"code": -2015, "msg": said})] * 100)
        rig.tap.put("POST", "/fapi/v1/listenKey", *[answer(401, {"code": -2015, "msg": said})] * 100)
        stream = asyncio.create_task(rig.connection.user_stream.run())
        for _ in range(120):
            error = await _quietly(rig.client.positions)
            assert isinstance(error, Refused)
            assert error.code == "-2015"
            await asyncio.sleep(30)
        stream.cancel()
        await asyncio.wait([stream])
        signed = [asked for asked in rig.tap.asked if "signature" in asked.query or "listenKey" in asked.path]
        assert len(signed) <= 1 + 3_600 / 300, "one look at times whether the operator has mended it"
        assert [health.condition for health in rig.health] == [Condition.KEY_REFUSED]
        outages.on_health(BINANCE, rig.health[0])
        (alert,) = bench.notifier.critical()
        assert "203.0.113.7" in alert
        assert "list of addresses" in alert
        assert bench.risk.venue_off_reason(BINANCE) is not None
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Accepted), "what protects is always tried"


# --- NET-11, NET-12, NET-13 -----------------------------------------------------------------------------------------


async def test_maintenance_is_noticed_and_asked_about_at_growing_intervals() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="maintenance", duration_ms=1_800_000, code=-1016)
        for _ in range(1_900):
            await _quietly(rig.client.positions)
            await asyncio.sleep(1)
        assert [health.condition for health in rig.health] == [Condition.MAINTENANCE, Condition.UP]
        during = [row for row in await rig.venue.ask("requests?since=0") if row["status"] == 503]
        assert len(during) < 12 + 1_800 / (LONGEST_PAUSE / 2)
        gaps = [later["received"] - earlier["received"] for earlier, later in pairwise(during[3:])]
        assert max(gaps) <= LONGEST_PAUSE * 1000 + 2_000
        assert gaps[0] < gaps[3] < gaps[6]


async def test_a_busy_venue_or_one_lost_answer_is_no_outage() -> None:
    async with a_rig() as rig:
        for trouble in (answer(503, {"code": -1008, "msg": "busy"}), Unreachable("binance", "reset"), NOT_NOW):
            rig.tap.put("GET", POSITIONS, trouble)
            await rig.client.positions()
        assert rig.health == []


@pytest.mark.failure("NET-09")
@pytest.mark.parametrize(
    "unread", [answer(200, "<html></html>"), answer(200, ""), answer(502, "<html>"), Unreachable("binance", "refused")]
)
async def test_a_venue_that_only_fails_is_down_until_it_answers(unread: HttpResponse | VenueError) -> None:
    async with a_rig() as rig:
        rig.tap.put("GET", POSITIONS, *[unread] * 8)
        for _ in range(90):
            await _quietly(rig.client.positions)
            await asyncio.sleep(1)
        assert [health.condition for health in rig.health] == [Condition.DOWN, Condition.UP]


@pytest.mark.failure("NET-11")
async def test_maintenance_stops_entries_keeps_stops_and_ends_with_a_reconciliation(world: SimulatedWorld) -> None:
    await world.play(a_wave(PAIRS[:2]), a_wave(PAIRS[2:4], at_ms=120_000), a_wave(PAIRS[4:6], at_ms=600_000))
    async with world.running() as daemon:
        await daemon.wave()
        assert len(daemon.held()) == 2
        await world.fault("maintenance", duration_ms=400_000, code=-1016)
        report = await daemon.wave(2, seconds=300)
        assert {leg.state for leg in report.legs} == {"refused"}
        assert len(await world.resting_stops()) == 2
        row = next(row for row in daemon.status.venues)
        assert row.off_because is not None
        assert "maintenance" in row.off_because
        refused = [r for r in await world.ask("requests?since=0") if r["status"] == 503]
        await world.until(_served(world, daemon), seconds=600)
        assert len([r for r in await world.ask("requests?since=0") if r["status"] == 503]) - len(refused) < 40
        await daemon.wave(3, seconds=600)
        assert len(daemon.held()) == 4
        await world.everything_holds()


@pytest.mark.failure("NET-11")
async def test_a_start_in_maintenance_waits_until_the_venue_serves(world: SimulatedWorld) -> None:
    await world.fault("maintenance", duration_ms=300_000, code=-1016)
    started = world.clock.monotonic()
    daemon = world.daemon()
    daemon.begin()
    async with asyncio.timeout(600):
        while "status-line" not in daemon.orchestrator._tasks:  # noqa: ASYNC110 - virtual time: a poll costs nothing
            await asyncio.sleep(0.1)
    assert 300 <= world.clock.monotonic() - started < 400
    assert daemon.status.trading_state == "active"
    await daemon.stop()
    assert len([r for r in await world.ask("requests?since=0") if r["status"] == 503]) < 40


async def test_a_stop_while_the_start_waits_ends_it(world: SimulatedWorld) -> None:
    await world.fault("maintenance", count=-1, code=-1016)
    daemon = world.daemon()
    daemon.begin()
    await asyncio.sleep(30)
    outcome = await asyncio.wait_for(daemon.stop(), 10)
    assert outcome.said == "stopped"


@pytest.mark.failure("NET-12")
@pytest.mark.parametrize(
    "body", ["<html>maintenance</html>", "", '{"orderId": 12', "[" * 5_000, '"' + "x" * 200_000 + '"']
)
@pytest.mark.parametrize("status", [200, 403, 502])
async def test_an_unreadable_reply_is_a_classified_error_and_an_order_is_looked_up(status: int, body: str) -> None:
    async with a_rig() as rig:
        rig.tap.put("POST", ORDER, answer(status, body))
        rig.tap.put("GET", POSITIONS, *[answer(status, body)] * 9)
        assert type(await rig.client.submit(Departure(intent=an_order_intent()))).__name__ == "Unknown"
        assert isinstance(await _quietly(rig.client.positions), Unreachable)


@pytest.mark.failure("NET-13")
async def test_an_hour_without_a_venue_stays_far_below_its_connection_limit() -> None:
    """Three sockets, each with pauses from 5 s doubling to 60 s and a share of chance in them."""
    clock, tries = VirtualClock(), list[float]()

    class Refusing(FakeSocket):
        async def open(self, url: str, headers: Any = None) -> None:
            tries.append(clock.monotonic())
            raise Unreachable("binance", "refused")

    market = MarketStream(
        BINANCE,
        [MarkRoute("ws://x", SymbolTable()), TouchRoute("ws://x", SymbolTable(), _no_touches)],
        lambda: Refusing([]),
        clock,
        backoff=Backoff,
    )
    private = UserDataStreamManager(_Feed(), lambda: Refusing([]), clock, _deaf, on_connected=_nothing)
    tasks = [asyncio.create_task(market.run()), asyncio.create_task(private.run())]
    await asyncio.sleep(3_600)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert private.state is StreamState.DOWN
    worst = max(sum(1 for t in tries if at <= t < at + 300) for at in tries)
    assert worst <= 3 * 16
    assert len(tries) <= 3 * 3_600 / 30
    assert len(set(tries[9:])) == len(tries[9:]), "they do not come all at once"


def _served(world: SimulatedWorld, daemon: Any) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def served() -> bool:
        return all(row.off_because is None and row.connected for row in daemon.status.venues)

    return served


class _Feed:
    venue = BINANCE
    keep_alive_seconds = 1_500.0
    connection_seconds = 1e9
    gate = None

    async def sessions(self) -> Sequence[PrivateSession]:
        return (UrlSession("ws://x/private", self.decode),)

    async def keep_alive(self) -> None: ...

    def decode(self, frame: bytes) -> Sequence[Any] | None:
        return None


async def _deaf(reports: Sequence[Any]) -> None: ...


async def _nothing() -> None: ...


async def _no_touches() -> Sequence[Tick]:
    return ()


async def _exchange_info(rig: Rig) -> dict[str, Any]:
    body = (await rig.tap._inner.request("GET", f"{rig.venue.url}/fapi/v1/exchangeInfo", {})).body
    rules: dict[str, Any] = json.loads(body)
    return rules


def _outages(bench: Bench, asked: list[VenueName]) -> Outages:
    return Outages(
        clients=dict(bench.venues),
        risk=bench.risk,
        reconcile=asked.append,
        notifier=bench.notifier,
        clock=bench.clock,
    )
