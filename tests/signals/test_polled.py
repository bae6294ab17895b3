"""A polled server is asked at the right minutes, and each candle has one wave, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from core.clock import iso_utc
from core.signals import polled as polled_waves
from core.signals.collecting import read_all
from core.signals.polled import CheckPlan
from core.signals.server import SignalForm
from tests.signals.links import PLAN, Link, PolledPeer, linked, ms

EVERY_MINUTE = replace(PLAN, minutes=tuple(range(60)))
ONCE = replace(PLAN, at_once=True)
CANDLE = "2026-09-21T13:45:00"
NEXT = "2026-09-21T14:00:00"


def row(identity: str, candle: str = CANDLE, **changes: Any) -> dict[str, Any]:
    """A polled signal, made six minutes after its candle closed."""
    made = iso_utc(ms(candle) + 21 * 60_000)
    fields = {"id": identity, "pair_symbol": "BTCUSDT", "recommended_action": "BUY", "score_week": 60, "exchange_id": 1}
    return fields | {"score_month": 40, "timestamp": candle, "created_at": made} | changes


@dataclass
class Table:
    """What the server has to answer now; its connections so far."""

    link: Link
    rows: list[Any] = field(default_factory=list)

    @property
    def peer(self) -> PolledPeer:
        peer = self.link.sockets[-1]
        assert isinstance(peer, PolledPeer)
        return peer

    def asked(self) -> list[str]:
        """Time of day of every question, over all connections."""
        return [iso_utc(at)[11:19] for peer in self.link.sockets for at in peer.asked]


@asynccontextmanager
async def polled(
    utc: str = "2026-09-21T14:04:00",
    *rows: Any,
    plan: CheckPlan = PLAN,
    form: SignalForm = SignalForm.POLLED,
    pongs: bool = True,
    newest: str | None = None,
) -> AsyncIterator[Table]:
    offered: list[Any] = list(rows)
    newest_ms = 0 if newest is None else ms(newest)
    async with linked(
        lambda clock: PolledPeer(clock, lambda: offered, pongs=pongs),
        form=form, plan=plan, utc=utc, newest_candle_ms=newest_ms,
    ) as link:  # fmt: skip
        yield Table(link, offered)


async def test_it_is_asked_once_at_the_start_and_then_each_second_from_the_check_minute_on() -> None:
    async with polled() as table:
        await asyncio.sleep(122.5)
        assert table.asked() == ["14:04:00", "14:06:00", "14:06:01", "14:06:02"]


async def test_a_check_ends_with_its_wave() -> None:
    async with polled() as table:
        await asyncio.sleep(121.5)
        table.rows += [row("a"), row("b", pair_symbol="ETHUSDT")]
        await asyncio.sleep(600)
        assert table.asked() == ["14:04:00", "14:06:00", "14:06:01", "14:06:02"]
        assert table.link.ids() == [["a", "b"]]
        assert table.link.noted == [ms(CANDLE)]


async def test_a_check_without_a_wave_ends_after_its_time() -> None:
    async with polled() as table:
        await asyncio.sleep(900)
        assert len(table.asked()) == 1 + 120
        assert table.asked()[-1] == "14:07:59"


@pytest.mark.parametrize(("interval", "duration", "questions"), [(1, 120, 120), (60, 120, 2), (5, 12, 3), (60, 1, 1)])
async def test_interval_and_duration_are_those_of_the_plan(interval: int, duration: int, questions: int) -> None:
    plan = CheckPlan(minutes=(6,), interval_seconds=interval, duration_seconds=duration)
    async with polled("2026-09-21T14:03:00", plan=plan) as table:
        await asyncio.sleep(1_000)
        assert len(table.asked()) == 1 + questions


async def test_a_due_check_is_announced_five_seconds_before_and_one_whose_wave_is_known_is_not() -> None:
    async with polled() as table:
        await asyncio.sleep(130)
        announced = [iso_utc(at)[11:19] for at in table.link.expected]
        assert announced == ["14:04:00", "14:05:55"]
    async with polled(plan=EVERY_MINUTE, newest=CANDLE) as table:
        await asyncio.sleep(130)
        assert [iso_utc(at)[11:19] for at in table.link.expected] == ["14:04:00"]


async def test_a_check_is_announced_once_although_the_clock_is_set_back_a_little() -> None:
    async with polled() as table:
        await asyncio.sleep(117)
        table.link.clock.step(-2)
        await asyncio.sleep(10)
        assert [iso_utc(at)[11:19] for at in table.link.expected] == ["14:04:00", "14:05:55"]
        assert table.asked()[1] == "14:06:00"


async def test_an_answer_that_repeats_the_one_before_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read_all(*arguments)

    monkeypatch.setattr(polled_waves, "read_all", counted)
    async with polled("2026-09-21T14:06:00", row("other", "2026-09-21T13:30:00")) as table:
        await asyncio.sleep(60)
        assert len(table.asked()) > 50
        assert reads == 1


@pytest.mark.failure("SIG-06")
@pytest.mark.parametrize(
    ("utc", "candle"),
    [
        ("2026-09-21T14:05:58", "2026-09-21T13:45:00"),
        ("2026-09-21T14:19:58", "2026-09-21T14:00:00"),
        ("2026-09-21T14:34:58", "2026-09-21T14:15:00"),
        ("2026-09-21T14:49:58", "2026-09-21T14:30:00"),
        ("2026-09-21T23:49:58", "2026-09-21T23:30:00"),
        ("2026-09-22T00:05:58", "2026-09-21T23:45:00"),
        ("2027-01-01T00:05:58", "2026-12-31T23:45:00"),
    ],
)
@pytest.mark.parametrize("newest", [None, "2026-09-21T13:30:00"], ids=["fresh", "restarted"])
async def test_each_check_finds_the_wave_of_its_candle(utc: str, candle: str, newest: str | None) -> None:
    async with polled(utc, newest=newest) as table:
        await asyncio.sleep(1.5)
        table.rows.append(row("a", candle))
        await asyncio.sleep(1.5)
        assert table.link.ids() == [["a"]]


@pytest.mark.failure("SIG-06")
async def test_the_waves_around_a_midnight_are_found_candle_by_candle() -> None:
    """Signals of every candle appear four minutes after its close; the expected one is computed at each question."""
    async with polled("2026-12-31T21:00:00") as table:
        first = ms("2026-12-31T21:00:00")
        for number in range(24):
            candle = iso_utc(first + number * 900_000)[:19]
            await asyncio.sleep((first + number * 900_000 + 19 * 60_000 - table.link.clock.now_ms()) / 1000)
            table.rows[:] = [row(f"s{number}", candle)]
        await asyncio.sleep(900)
        assert table.link.ids() == [[f"s{number}"] for number in range(24)]


@pytest.mark.failure("SIG-06")
async def test_a_wave_of_the_future_is_forgotten_when_the_clock_was_wrong() -> None:
    """A candle noted while the clock ran hours ahead must not shut out the waves until that hour really comes."""
    async with polled("2026-09-21T14:05:58", row("a"), newest="2026-09-21T19:45:00") as table:
        await asyncio.sleep(5)
        assert table.link.ids() == [["a"]]
        assert table.link.noted == [ms(CANDLE)]


async def test_a_clock_that_is_set_meanwhile_is_followed() -> None:
    async with polled("2026-09-21T14:10:00") as table:
        await asyncio.sleep(10)
        table.link.clock.step(9 * 60 + 45)  # 14:19:55
        await asyncio.sleep(40)
        assert table.asked()[1] >= "14:20:00"
        assert len(table.asked()) > 5


@pytest.mark.failure("SIG-07")
@pytest.mark.parametrize("form", [SignalForm.POLLED, SignalForm.AUTO])
async def test_signals_present_at_the_start_do_not_wait_for_the_next_check_minute(form: SignalForm) -> None:
    async with polled("2026-09-21T14:09:00", row("a"), form=form) as table:
        await asyncio.sleep(1.5)
        assert table.link.ids() == [["a"]]
        assert table.link.waves[0].signals[0].expires_at_ms == ms("2026-09-21T14:06:00") + 600_000


async def test_once_looks_at_once_and_goes_on_until_there_is_a_wave_whatever_the_minutes() -> None:
    async with polled("2026-09-21T14:09:30", plan=ONCE) as table:
        await asyncio.sleep(100.5)
        assert len(table.asked()) in {101, 102}
        table.rows.append(row("a"))
        await asyncio.sleep(1.5)
        assert table.link.ids() == [["a"]]


@pytest.mark.failure("SIG-16")
async def test_what_comes_after_the_wave_of_its_candle_is_refused_once() -> None:
    async with polled("2026-09-21T14:06:00", row("a"), plan=EVERY_MINUTE) as table:
        await asyncio.sleep(10)
        table.rows.append(row("late"))
        await asyncio.sleep(300)
        assert table.link.ids() == [["a"], []]
        assert table.link.refused() == [("late", "wave_closed")]
        assert table.link.source.counts == {"wave_closed": 1}


@pytest.mark.failure("SIG-16")
async def test_an_older_candle_than_the_newest_handled_is_refused_also_beside_a_new_wave() -> None:
    async with polled("2026-09-21T14:06:00", row("a")) as table:
        await asyncio.sleep(10)
        table.rows[:] = [row("a"), row("older", "2026-09-21T13:30:00"), row("late"), row("new", NEXT)]
        await asyncio.sleep(900)
        assert table.link.ids() == [["a"], ["new"]]
        assert table.link.refused() == [("older", "wave_closed"), ("late", "wave_closed")]
        assert "older than the newest" in table.link.waves[1].unusable[0].detail
        assert table.link.noted == [ms(CANDLE), ms(NEXT)]


@pytest.mark.failure("SIG-16")
async def test_the_wave_of_a_candle_that_was_handled_before_the_restart_is_not_handled_again() -> None:
    async with polled("2026-09-21T14:06:00", row("a"), row("b"), plan=ONCE, newest=CANDLE) as table:
        await asyncio.sleep(60)
        assert table.link.ids() == [[]]
        assert table.link.refused() == [("a", "wave_closed"), ("b", "wave_closed")]
        assert table.link.noted == []


async def test_the_candle_is_noted_before_its_wave_is_handed_over() -> None:
    async with polled("2026-09-21T14:06:00", row("a")) as table:
        order: list[str] = []
        table.link.source._note = lambda _: order.append("noted")
        await asyncio.sleep(0)
        table.link.source._polled._note = lambda _: order.append("noted")
        table.link.source._polled._emit = lambda _: order.append("emitted")
        await asyncio.sleep(1)
        assert order == ["noted", "emitted"]


@pytest.mark.failure("SIG-16")
async def test_a_thousand_answers_with_the_same_signals_are_one_wave() -> None:
    async with polled("2026-09-21T14:06:00", row("a"), row("b"), plan=EVERY_MINUTE) as table:
        for number in range(1_000):
            await asyncio.sleep(0.01)
            rows = [row("a"), row("b")] if number % 2 else [row("b"), row("a")]
            table.peer.tell({"type": "signals", "data": rows})
        await asyncio.sleep(1)
        assert table.link.ids() == [["a", "b"]]
        assert table.link.refused() == []


@pytest.mark.parametrize("candle", ["2026-09-21T13:30:00", "2026-09-21T14:00:00"])
async def test_signals_of_another_candle_than_the_expected_are_not_the_wave(candle: str) -> None:
    async with polled("2026-09-21T14:06:00", row("other", candle, created_at="2026-09-21T14:05:00")) as table:
        await asyncio.sleep(30)
        table.rows.append(row("a"))
        await asyncio.sleep(30)
        assert table.link.ids()[0] == ["a"]
        assert table.link.source.counts["other_candle"] == 1


async def test_an_id_that_stands_twice_in_an_answer_is_used_once() -> None:
    async with polled("2026-09-21T14:06:00", row("a"), row("a", recommended_action="SELL"), row("b")) as table:
        await asyncio.sleep(5)
        assert table.link.ids() == [["a", "b"]]
        assert table.link.refused() == [("a", "already_seen")]


@pytest.mark.failure("SIG-14")
async def test_signals_that_cannot_be_used_are_told_once_and_travel_with_the_wave() -> None:
    bad = [row("x", score_week=float("nan")), "rubbish", row("y", exchange_id=7)]
    async with polled("2026-09-21T14:06:00", *bad) as table:
        await asyncio.sleep(30)
        told = [("x", "score_invalid"), ("?", "malformed"), ("y", "venue_unknown")]
        assert table.link.refused() == told
        table.rows += [row("a"), row("z", recommended_action="HOLD")]
        await asyncio.sleep(30)
        assert table.link.ids() == [[], ["a"]]
        assert table.link.refused() == [*told, ("z", "side_missing")]
        assert table.link.source.counts == {"score_invalid": 1, "malformed": 1, "venue_unknown": 1, "side_missing": 1}


@pytest.mark.failure("SIG-12")
async def test_pongs_keep_an_hour_without_signals_connected() -> None:
    async with polled("2026-09-21T14:16:00", plan=replace(PLAN, minutes=(15,))) as table:
        await asyncio.sleep(3_500)
        assert len(table.link.sockets) == 1
        assert table.peer.pings == 116


@pytest.mark.failure("SIG-12")
async def test_ninety_seconds_without_a_pong_end_the_connection() -> None:
    async with polled("2026-09-21T14:16:00", plan=replace(PLAN, minutes=(10,)), pongs=False) as table:
        await asyncio.sleep(89)
        assert [peer.closed for peer in table.link.sockets] == [False]
        await asyncio.sleep(8)
        assert [peer.closed for peer in table.link.sockets] == [True, False]


async def test_a_connection_that_comes_back_inside_a_check_is_asked_at_once_and_outside_it_is_not() -> None:
    async with polled("2026-09-21T14:06:00") as table:
        await asyncio.sleep(10.5)
        table.peer.drop()
        await asyncio.sleep(6)
        assert iso_utc(table.peer.asked[0])[11:19] == "14:06:15"
        await asyncio.sleep(300)
        table.peer.drop()
        await asyncio.sleep(60)
        assert (len(table.link.sockets), table.peer.asked) == (3, [])


async def test_a_silent_server_is_taken_for_polled_after_a_second_and_known_as_such_from_then_on() -> None:
    async with polled("2026-09-21T14:06:00", form=SignalForm.AUTO) as table:
        await asyncio.sleep(10.5)
        assert table.link.source.form is SignalForm.POLLED
        assert table.asked()[0] == "14:06:01"
        table.peer.drop()
        await asyncio.sleep(6)
        assert iso_utc(table.peer.asked[0])[11:19] == "14:06:15"


@pytest.mark.parametrize("data", [None, {"a": 1}, "text", 5])
async def test_an_answer_without_a_list_is_counted_and_the_next_one_used(data: Any) -> None:
    async with polled("2026-09-21T14:06:00") as table:
        await asyncio.sleep(5)
        table.peer.tell({"type": "signals", "data": data})
        table.rows.append(row("a"))
        await asyncio.sleep(5)
        assert table.link.ids() == [["a"]]
        assert table.link.source.counts == {"malformed_frames": 1}
