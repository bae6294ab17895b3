"""The signal server link against a peer that misbehaves in every way it can, in the pushed form."""

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.engine.ports import Level
from core.signals.collecting import MOST_SIGNALS
from core.signals.server import SignalForm
from tests.fakes.fake_socket import GONE, Frame
from tests.fakes.virtual_loop import VirtualLoop
from tests.signals.links import HEARTBEAT, LOGIN, Link, linked, scripted
from tests.signals.links import pushed as signal

REFUSAL: list[tuple[float, Frame]] = [(0, {"type": "auth_required"}), (0, {"type": "auth_failed"})]


async def test_it_logs_in_with_the_token_and_sends_nothing_else() -> None:
    async with linked(scripted([*LOGIN, (30, HEARTBEAT)])) as link:
        await asyncio.sleep(60)
        (socket,) = link.sockets
        assert socket.sent == [{"type": "auth", "token": "secret"}]
        assert (socket.url, socket.pings) == ("wss://signals.test/ws", 0)
        assert link.source.connected


async def test_signals_that_arrive_together_are_one_wave_and_later_ones_another() -> None:
    frames = [(0.0, signal(1)), (0.03, signal(2)), (0.01, signal(3)), (0.2, signal(4))]
    async with linked(scripted([*LOGIN, *frames])) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1", "s2", "s3"], ["s4"]]
        assert link.waves[0].received == link.opened[0]


@pytest.mark.failure("SIG-03")
async def test_a_burst_that_is_still_coming_in_is_heard_out_and_a_trickle_is_not() -> None:
    """500 frames that a busy host reads over 80 ms are one wave; signals without end are still cut into waves."""
    burst = [(0.0, signal(0)), *((0.002, signal(n)) for n in range(1, 40))]
    async with linked(scripted([*LOGIN, *burst, (0.2, signal(99))])) as link:
        await asyncio.sleep(1)
        assert [len(ids) for ids in link.ids()] == [40, 1]
    endless = [(0.002, signal(n)) for n in range(400)]
    async with linked(scripted([*LOGIN, *endless])) as link:
        await asyncio.sleep(2)
        sizes = [len(ids) for ids in link.ids()]
        assert sum(sizes) == 400
        assert max(sizes) <= 0.25 / 0.002 + 5, "five times the collecting time at most"
    apart = [(0.006, signal(n)) for n in range(20)]
    async with linked(scripted([*LOGIN, *apart])) as link:
        await asyncio.sleep(1)
        assert len(link.ids()) > 1


async def test_the_snapshot_is_one_wave_of_its_own() -> None:
    snapshot = {"type": "signals_snapshot", "data": [signal(1), signal(2), "rubbish"]}
    async with linked(scripted([*LOGIN, (0, snapshot), (0, {"type": "signals_snapshot", "data": []})])) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1", "s2"]]
        assert [unusable.code for unusable in link.waves[0].unusable] == ["malformed"]


async def test_a_signal_that_cannot_be_used_travels_with_its_wave_and_its_reason() -> None:
    async with linked(scripted([*LOGIN, (0, signal(1)), (0, signal(2, direction=None))])) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1"]]
        assert [unusable.code for unusable in link.waves[0].unusable] == ["side_missing"]


@pytest.mark.failure("SIG-12")
async def test_heartbeats_keep_an_hour_without_signals_connected_and_silence_ends_it_after_90_seconds() -> None:
    beats = [(30.0, HEARTBEAT)] * 120
    async with linked(scripted([*LOGIN, *beats])) as link:
        await asyncio.sleep(3_600)
        assert len(link.sockets) == 1
        assert link.source.counts["reconnects"] == 0
        await asyncio.sleep(89)
        assert [socket.closed for socket in link.sockets] == [False]
        await asyncio.sleep(8)
        assert [socket.closed for socket in link.sockets] == [True, False]


@pytest.mark.failure("SIG-13")
@pytest.mark.parametrize("step", [0, 1])
async def test_a_server_that_is_silent_in_the_handshake_is_left_after_five_seconds(step: int) -> None:
    async with linked(scripted(LOGIN[:step])) as link:
        await asyncio.sleep(11)
        assert link.opened[1] - link.opened[0] == pytest.approx(10)  # 5 s for the step, 5 s back-off
        assert link.source.connected


@pytest.mark.failure("SIG-13")
async def test_back_off_doubles_from_5_to_60_seconds_and_starts_anew_after_a_healthy_connection() -> None:
    healthy: list[tuple[float, Frame]] = [*LOGIN, (30, HEARTBEAT), (31, GONE)]
    async with linked(scripted(healthy, refuses=7)) as link:
        await asyncio.sleep(400)
        gaps = [round(b - a) for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [5, 10, 20, 40, 60, 60, 60, 61 + 5]


@pytest.mark.failure("SIG-13")
async def test_a_server_that_comes_and_goes_is_backed_off_from_too() -> None:
    flapping: list[tuple[float, Frame]] = [*LOGIN, (1, GONE)]
    async with linked(scripted(*[flapping] * 5)) as link:
        await asyncio.sleep(200)
        gaps = [round(b - a) for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [6, 11, 21, 41, 61]


async def test_chance_lengthens_a_pause_by_a_tenth_at_most() -> None:
    async with linked(scripted(refuses=3), jitter=1.0) as link:
        await asyncio.sleep(60)
        gaps = [b - a for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [pytest.approx(5.5), pytest.approx(11), pytest.approx(22)]


@pytest.mark.failure("SIG-13")
async def test_a_refused_token_alerts_once_is_not_hammered_with_and_recovers_without_a_restart() -> None:
    async with linked(scripted(REFUSAL, REFUSAL, [*LOGIN, (0, signal(1)), (1, GONE)], REFUSAL)) as link:
        await asyncio.sleep(121)
        gaps = [round(b - a) for a, b in zip(link.opened, link.opened[1:], strict=False)]
        assert gaps == [60, 60]
        assert link.ids() == [["s1"]]
        assert len(link.notifier.critical()) == 1
        assert "SIGNAL_WS_TOKEN" in link.notifier.critical()[0]
        assert [level for level, _ in link.notifier.messages] == [Level.CRITICAL, Level.INFO]
        await asyncio.sleep(30)
        assert len(link.notifier.critical()) == 2, "a token that is refused after it was good is news again"


@pytest.mark.failure("SIG-15")
async def test_large_deep_and_broken_frames_are_refused_and_counted_and_the_next_signal_is_handled() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    large = json.dumps({"type": "signal", "x": "y" * 10_000_000}).encode()
    async with linked(
        scripted([*LOGIN, (0, deep), (0, large), (0, b"\xff"), (0, {"type": "news"}), (0, signal(1))])
    ) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1"]]
        assert link.source.counts == {"malformed_frames": 3, "unknown_frames": 1}
        assert len(link.sockets) == 1


async def test_a_wave_that_was_still_being_collected_when_the_link_broke_is_not_lost() -> None:
    async with linked(scripted([*LOGIN, (0, signal(1)), (0.01, GONE)])) as link:
        await asyncio.sleep(0.1)
        assert link.ids() == [["s1"]]


async def test_stopping_closes_the_connection() -> None:
    async with linked(scripted(LOGIN)) as link:
        await asyncio.sleep(1)
    assert link.sockets[0].closed


@pytest.fixture
def _frozen() -> Iterator[None]:
    """What was there before is out of the collector's sight, as in the daemon."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_frozen")
@pytest.mark.failure("SIG-15")
@pytest.mark.parametrize(
    "frame",
    [
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        json.dumps({"type": "signal", "x": "y" * 10_000_000}).encode(),
        json.dumps({"type": "signals_snapshot", "data": [{"id": n} for n in range(60_000)]}).encode(),
        json.dumps({"type": "signals_snapshot", "data": [[]] * 250_000}).encode(),
        b'{"type": "signals_snapshot", "data": [' + b",".join([b'{"id":[[[[1]]]]}'] * 60_000) + b"]}",
    ],
    ids=["deep", "10 MB", "60,000 signals", "250,000 lists", "nested ids"],
)
async def test_no_frame_stalls_the_loop(frame: bytes) -> None:
    """Measured in the process's own computing time, so that other load on the host does not count."""
    async with linked(scripted([*LOGIN, (1, frame), (60, HEARTBEAT), (1, signal(1))])) as link:
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(0.6)
        longest = 0.0
        for _ in range(3_000):
            before = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - before)
        assert link.source.counts, "the frame was handled meanwhile"
        await asyncio.sleep(62)
        assert link.ids()[-1] == ["s1"]
        assert longest < 0.5


async def test_a_snapshot_of_ten_thousand_signals_is_cut_to_the_best_and_the_rest_is_counted() -> None:
    many = [{**_short(n), "total_score": n % 5_000} for n in range(10_000)]
    frame = json.dumps({"type": "signals_snapshot", "data": many}, separators=(",", ":")).encode()
    assert len(frame) < 1024 * 1024
    async with linked(scripted([*LOGIN, (0, frame)])) as link:
        await asyncio.sleep(1)
        (wave,) = link.waves
        assert len(wave.signals) == MOST_SIGNALS
        assert min(s.score for s in wave.signals) == 4_500
        assert link.source.counts == {"wave_too_large": 10_000 - MOST_SIGNALS}


async def test_a_flood_of_pushed_signals_is_handed_over_in_waves_of_bounded_size() -> None:
    frames: list[tuple[float, Frame]] = [(0, signal(n)) for n in range(2 * MOST_SIGNALS + 5)]
    async with linked(scripted([*LOGIN, *frames])) as link:
        await asyncio.sleep(1)
        assert [len(wave.signals) for wave in link.waves] == [MOST_SIGNALS, MOST_SIGNALS, 5]


@pytest.mark.failure("SIG-14")
async def test_refusals_are_counted_by_reason_and_the_rest_of_the_wave_is_unaffected() -> None:
    bad = [
        signal(2, total_score=float("nan")), signal(3, price=-1), signal(4, exchange="nyse"), signal(5, price=0),
        signal(6, pair_symbol="NOPEUSDT"), signal(7, timestamp="2099-01-01T00:00:00Z"), signal(8, stop_loss_filter=0),
    ]  # fmt: skip
    async with linked(scripted([*LOGIN, (0, {"type": "signals_snapshot", "data": [*bad, signal(1)]})])) as link:
        await asyncio.sleep(1)
        assert link.ids() == [["s1"]]
        assert link.source.counts == {
            "score_invalid": 1, "price_invalid": 2, "venue_unknown": 1, "symbol_unknown": 1, "time_invalid": 1,
            "parameter_invalid": 1,
        }  # fmt: skip


async def test_an_error_frame_is_counted_and_nothing_else() -> None:
    async with linked(scripted([*LOGIN, (0, {"type": "error", "message": "a\nb"}), (0, signal(1))])) as link:
        await asyncio.sleep(1)
        assert (link.ids(), link.source.counts) == ([["s1"]], {"error_frames": 1})


@pytest.mark.parametrize("first", [HEARTBEAT, {"type": "signals_snapshot", "data": []}, signal(1)])
async def test_a_server_that_pushes_right_after_the_login_is_never_asked(first: dict[str, Any]) -> None:
    async with linked(scripted([*LOGIN, (0.5, first), (30, HEARTBEAT), (5, signal(2))]), form=SignalForm.AUTO) as link:
        await asyncio.sleep(60)
        assert link.source.form is SignalForm.PUSHED
        assert [sent["type"] for sent in link.sockets[0].sent] == ["auth"]
        assert ["s2"] in link.ids()


async def test_a_server_taken_for_polled_is_a_pushed_one_from_its_first_pushed_frame_on() -> None:
    frames = [(1.5, {"type": "error", "message": "unknown message type"}), (3, signal(1)), (60, HEARTBEAT)]
    async with linked(scripted([*LOGIN, *frames]), form=SignalForm.AUTO) as link:
        await asyncio.sleep(4)
        assert spoken(link) is SignalForm.POLLED
        sent = len(link.sockets[0].sent)
        await asyncio.sleep(100)
        assert spoken(link) is SignalForm.PUSHED
        assert (len(link.sockets[0].sent), link.ids()) == (sent, [["s1"]])


async def test_frames_of_the_other_form_are_refused_where_the_form_is_set() -> None:
    async with linked(scripted([*LOGIN, (0, {"type": "signals", "data": [signal(1)]})])) as link:
        await asyncio.sleep(1)
        assert (link.ids(), link.source.counts) == ([], {"unexpected_frames": 1})
    async with linked(scripted([*LOGIN, (0, signal(1))]), form=SignalForm.POLLED) as link:
        await asyncio.sleep(1)
        assert (link.ids(), link.source.counts) == ([], {"unexpected_frames": 1})


def spoken(link: Link) -> SignalForm:
    return link.source.form


def _short(number: int) -> dict[str, Any]:
    return {"id": number, "pair_symbol": "BTCUSDT", "direction": "LONG", "timestamp": 1789999200}
