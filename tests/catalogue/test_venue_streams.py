"""Private streams of every venue, as docs/FAILURES.md demands it (UDS-05, UDS-07, UDS-09, UDS-10, UDS-12)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.ports import StreamState
from core.venues import user_stream
from tests.fakes.sim_transport import SimSocket
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import SimulatedWorld, a_signal
from tests.venues.rigs import VENUES, a_venue_rig

pytestmark = pytest.mark.may_block("simulation runs storage inline")

BINANCE, BYBIT, OKX = VenueName.BINANCE, VenueName.BYBIT, VenueName.OKX
DAY_SECONDS = 24 * 3600
PRIVATE = {BINANCE: "listenKey", BYBIT: "private", OKX: "private"}
"""How the simulator calls the stream."""


def a_wave(venue: VenueName, *symbols: str, at_ms: int = 4_000) -> dict[str, Any]:
    signals = [a_signal(symbol, id=f"{venue}-{symbol}-{at_ms}", exchange=venue) for symbol in symbols]
    return {"at_ms": at_ms, "signals": signals}


# --- UDS-09 -----------------------------------------------------------------------------------------------------------


@pytest.mark.failure("UDS-09")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_day_of_silence_drops_no_socket(venue: VenueName) -> None:
    """The simulator drops whoever is idle as the venue does; the stream is replaced once, on our own terms."""
    async with a_venue_rig(venue, tick_hz=0.001) as rig:
        await asyncio.sleep(DAY_SECONDS)
        assert rig.connection.user_stream.state is StreamState.LIVE
        assert rig.connection.user_stream.reconnect_count == 0
        assert rig.states == [StreamState.LIVE]


@pytest.mark.failure("UDS-09")
@pytest.mark.parametrize("venue", [BYBIT, OKX])
async def test_a_client_that_says_nothing_would_be_dropped(venue: VenueName, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our pings the same hour does not pass: the simulator is as strict as the venue."""

    async def mute(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(user_stream, "watch_by_text", mute)
    async with a_venue_rig(venue, tick_hz=0.001) as rig:
        await asyncio.sleep(3600)
        assert rig.connection.user_stream.reconnect_count > 0


PINGS: dict[VenueName, Callable[[str], bool]] = {
    BYBIT: lambda text: text.startswith("{") and json.loads(text).get("op") == "ping",
    OKX: lambda text: text == "ping",
}


@pytest.mark.failure("UDS-09")
@pytest.mark.parametrize("venue", list(PINGS))
async def test_pings_are_the_venues_own_words_and_come_in_time(
    venue: VenueName, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[int, list[float]] = {}
    send = SimSocket.send

    async def listening(socket: SimSocket, text: str) -> None:
        if PINGS[venue](text):
            said.setdefault(id(socket), []).append(asyncio.get_running_loop().time())
        await send(socket, text)

    monkeypatch.setattr(SimSocket, "send", listening)
    async with a_venue_rig(venue, tick_hz=0.001) as rig:
        await asyncio.sleep(3600)
        assert rig.states == [StreamState.LIVE]
    assert len(said) == (2 if venue is OKX else 1), "every private socket by itself"
    for times in said.values():
        assert max(b - a for a, b in pairwise(times)) <= 25
        assert times[-1] - times[0] > 3500


# --- UDS-10 -----------------------------------------------------------------------------------------------------------


def refused_login(frame: Any) -> Any:
    """A no that is none of the key: too many logins at once."""
    if frame.get("event") == "login":
        return {"event": "error", "code": "60014", "msg": "Requests too frequent", "connId": "a"}
    if frame.get("op") == "auth":
        return {"success": False, "ret_msg": "server busy", "op": "auth", "conn_id": "a"}
    return frame


def refused_topic(frame: Any) -> Any:
    if frame.get("event") == "subscribe":
        return {"event": "error", "code": "60018", "msg": "Wrong URL or channel", "arg": frame["arg"], "connId": "a"}
    if frame.get("op") == "subscribe":
        return frame | {"success": False, "ret_msg": "error:handler not found,topic:order"}
    return frame


class Refusing:
    """While on, the private sockets' answers are what `change` makes of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, venue: VenueName, change: Callable[[Any], Any]) -> None:
        self.on = False
        self.logins: list[Any] = []
        opened, receive, send = SimSocket.open, SimSocket.receive, SimSocket.send
        private: set[int] = set()

        async def opening(socket: SimSocket, url: str, headers: Any = None) -> None:
            if any(part in url for part in ("/private", "/business")) and socket._line.venue.url.endswith(_PORT[venue]):
                private.add(id(socket))
            await opened(socket, url, headers)

        async def receiving(socket: SimSocket) -> bytes:
            frame = await receive(socket)
            if not self.on or id(socket) not in private or not frame.startswith(b"{"):
                return frame
            return json.dumps(change(json.loads(frame))).encode()

        async def sending(socket: SimSocket, text: str) -> None:
            if id(socket) in private and any(word in text for word in ('"login"', '"auth"')):
                self.logins.append(json.loads(text)["args"])
            await send(socket, text)

        monkeypatch.setattr(SimSocket, "open", opening)
        monkeypatch.setattr(SimSocket, "receive", receiving)
        monkeypatch.setattr(SimSocket, "send", sending)


_PORT = {BINANCE: ":1", BYBIT: ":2", OKX: ":3"}


@pytest.mark.failure("UDS-10")
@pytest.mark.parametrize("change", [refused_login, refused_topic])
@pytest.mark.parametrize("venue", [BYBIT, OKX])
async def test_a_stream_refused_mid_run_is_alerted_polled_and_pauses_entries_until_it_is_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: VenueName, change: Callable[[Any], Any]
) -> None:
    refusing = Refusing(monkeypatch, venue, change)
    async with SimulatedWorld(tmp_path, VENUES) as world:
        said = LogLines()
        await world.play(
            {"at_ms": 4_000, "signals": [s for v in VENUES for s in a_wave(v, "BTCUSDT")["signals"]]},
            {"at_ms": 30_000, "signals": [s for v in VENUES for s in a_wave(v, "ETHUSDT")["signals"]]},
            {"at_ms": 300_000, "signals": [s for v in VENUES for s in a_wave(v, "SOLUSDT")["signals"]]},
        )
        async with world.running() as daemon:
            await daemon.wave()
            refusing.on = True
            refusing.logins.clear()
            await world.fault("disconnect_stream", venue, match={"stream": PRIVATE[venue]}, count=1)
            report = await daemon.wave(2)
            (leg,) = [leg for leg in report.legs if leg.signal.instrument.venue is venue]
            assert leg.denied is not None
            assert leg.denied.reason is Reason.VENUE_OFF
            assert "its private stream was refused 3 times" in leg.denied.detail
            others = [leg.state for leg in report.legs if leg.signal.instrument.venue is not venue]
            assert others == [LegState.PROTECTED] * 2
            alerts = [text for text in said.notices if "its private stream was refused" in text]
            assert len(alerts) == 1
            assert len(refusing.logins) >= 3
            assert len({json.dumps(args) for args in refusing.logins}) == len({str(a) for a in refusing.logins}) >= 3
            (row,) = (await world.ask("state", venue))["positions"]  # what the stream cannot tell is read
            fall = str(round(Decimal(row["entry"]) * Decimal("0.9")))
            await world.tell("price", venue, symbol=row["symbol"], price=fall, hold_ms=60_000)
            await asyncio.sleep(20)
            assert not [p for p in daemon.status.positions if p.instrument.venue is venue]
            refusing.on = False
            report = await daemon.wave(3, seconds=300)
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await world.everything_holds()


@pytest.mark.failure("UDS-10")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_refused_key_pauses_its_venue_at_once_and_is_not_hammered(tmp_path: Path, venue: VenueName) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        said = LogLines()
        await world.play({"at_ms": 60_000, "signals": [s for v in VENUES for s in a_wave(v, "BTCUSDT")["signals"]]})
        async with world.running() as daemon:
            await world.fault("revoke_key", venue)
            report = await daemon.wave()
            for leg in report.legs:
                if leg.signal.instrument.venue is venue:
                    assert leg.denied is not None
                    assert leg.denied.reason in {Reason.VENUE_OFF, Reason.STREAM_DOWN, Reason.PREFETCH_FAILED}
                else:
                    assert leg.state is LegState.PROTECTED
            assert not await world.sent("order", venue=venue)
            assert len([text for text in said.notices if "it refuses the API key" in text]) == 1


# --- UDS-05, UDS-07, UDS-12 on every venue ----------------------------------------------------------------------------


@pytest.mark.failure("UDS-05")
@pytest.mark.parametrize("venue", VENUES)
async def test_what_a_gap_hid_is_booked_once(tmp_path: Path, venue: VenueName) -> None:
    """A stop fires while nobody listens, and what it did is told again after the reconnect."""
    async with SimulatedWorld(tmp_path, [venue]) as world:
        await world.play(a_wave(venue, "BTCUSDT", "ETHUSDT"))
        async with world.running() as daemon:
            await daemon.wave()
            await asyncio.sleep(2)
            for stream in ("listenKey", "private", "business"):
                await world.fault("lose_event", venue, match={"stream": stream}, count=-1, duration_ms=3_000)
            row = (await world.ask("state", venue))["positions"][0]
            fall = str(round(Decimal(row["entry"]) * Decimal("0.9")))
            await world.tell("price", venue, symbol=row["symbol"], price=fall, hold_ms=60_000)
            await asyncio.sleep(1)
            await world.fault("disconnect_stream", venue, match={"stream": PRIVATE[venue]}, count=1)
            await asyncio.sleep(30)
            assert len(daemon.status.positions) == 1
            assert daemon.held() == await world.held(venue)
            await world.everything_holds()


@pytest.mark.failure("UDS-07")
@pytest.mark.parametrize("venue", VENUES)
async def test_half_open_sockets_are_replaced_within_thirty_seconds(venue: VenueName) -> None:
    async with a_venue_rig(venue) as rig:
        await rig.venue.tell("fault", kind="half_open_stream", match={"stream": PRIVATE[venue]}, count=1)
        await asyncio.sleep(30)
        assert StreamState.DOWN in rig.states
        await asyncio.sleep(10)
        assert rig.connection.user_stream.state is StreamState.LIVE
        assert rig.connection.user_stream.reconnect_count == 1


@pytest.mark.failure("UDS-12")
@pytest.mark.parametrize("venue", VENUES)
async def test_entries_stop_while_the_stream_is_down_and_go_on_once_it_is_reconciled(
    tmp_path: Path, venue: VenueName
) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await world.play(
            {"at_ms": 60_000, "signals": [s for v in VENUES for s in a_wave(v, "BTCUSDT")["signals"]]},
            {"at_ms": 250_000, "signals": [s for v in VENUES for s in a_wave(v, "ETHUSDT")["signals"]]},
        )
        async with world.running() as daemon:
            await world.fault("disconnect_stream", venue, match={"stream": PRIVATE[venue]}, count=-1)
            report = await daemon.wave()
            for leg in report.legs:
                if leg.signal.instrument.venue is venue:
                    assert leg.denied is not None
                    assert leg.denied.reason is Reason.STREAM_DOWN
                else:
                    assert leg.state is LegState.PROTECTED
            await world.forgive()
            report = await daemon.wave(2, seconds=300)
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            await world.everything_holds()
