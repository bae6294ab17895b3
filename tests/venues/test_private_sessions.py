"""Private streams that log in and subscribe, over scripted sockets: live only when everything is confirmed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from core.domain.ids import VenueName
from core.domain.reports import Report
from core.engine.ports import Condition, StreamState, VenueHealth
from core.errors import Refused, Unreachable, VenueError
from core.venues.errors import ErrorTable, Meaning, Silence
from core.venues.health import KEY_LOOK_SECONDS, HealthMonitor
from core.venues.login_gate import LoginGate
from core.venues.private_session import (
    Leave,
    LoggedIn,
    LoginRefused,
    Notice,
    Pictured,
    PrivateSession,
    Subscribed,
    SubscriptionRefused,
)
from core.venues.reconnecting import Backoff, TextPing
from core.venues.user_stream import UserDataStreamManager
from tests.builders import a_balance_report
from tests.fakes.virtual_loop import VirtualClock

ERRORS = ErrorTable(
    venue="okx",
    codes={"60005": Meaning.AUTH, "60006": Meaning.CLOCK, "60014": Meaning.UNAVAILABLE},
    silences={"": Silence(ms=1_000)},
)
PING = TextPing(text=lambda: "ping", every=10, within=15)


class Peer:
    """One socket's other end. By default it answers everything rightly, at once; `answers` replaces what it says to a
    frame, None = nothing. Frames are words: what they mean is `Session.decode`."""

    def __init__(self, **answers: Sequence[str] | None) -> None:
        self.answers = answers
        self.sent: list[tuple[float, str]] = []
        self.closed = False
        self._frames: asyncio.Queue[str] = asyncio.Queue()

    async def open(self, url: str, headers: object = None) -> None:
        del url, headers
        if "open" in self.answers:
            raise Unreachable("okx", "cannot connect")

    def say(self, frame: str) -> None:
        self._frames.put_nowait(frame)

    def drop(self) -> None:
        self.say("gone")

    async def send(self, text: str) -> None:
        self.sent.append((asyncio.get_running_loop().time(), text))
        verb, _, rest = text.partition(" ")
        usual = {"login": ["in"], "subscribe": [f"ok {rest}", *([f"picture {rest}"] if rest == "wallet" else [])]}
        for frame in self.answers.get(verb, usual.get(verb, [f"answer-{verb}"])) or ():
            self.say(frame)

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame == "gone":
            raise Unreachable("okx", "connection closed (1006)")
        return frame.encode()

    async def ping(self) -> None:
        raise AssertionError("the protocol's pings do not count here")

    async def close(self) -> None:
        self.closed = True

    def texts(self) -> list[str]:
        return [text for _, text in self.sent]


class Session:
    ping = PING

    def __init__(self, name: str, topics: Sequence[str]) -> None:
        self.name, self.topics, self.url = name, topics, f"ws://{name}"
        self.pictured = frozenset({"wallet"} & set(topics))

    def login(self) -> str:
        return "login now"

    def subscription(self) -> Sequence[str]:
        return [f"subscribe {topic}" for topic in self.topics]

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        verb, _, rest = frame.decode().partition(" ")
        match verb:
            case "in":
                return LoggedIn()
            case "refuse-login":
                return LoginRefused(ERRORS.error(200, rest, "no", venue_ms=0))
            case "ok":
                return Subscribed((rest,))
            case "refuse":
                return SubscriptionRefused((rest,), "60018", "wrong channel")
            case "picture":
                return Pictured((rest,), (a_balance_report(wallet="7"),))
            case "leave":
                return Leave("upgrade")
            case "report":
                return (a_balance_report(wallet=rest),)
        return ()


class Stage:
    """`peers` in the order the sockets are opened; then ones that answer rightly. Two sockets a connection."""

    venue = VenueName.OKX
    keep_alive_seconds = None
    connection_seconds = 1e9

    def __init__(self, *peers: Peer) -> None:
        self.clock = VirtualClock()
        self.health: list[VenueHealth] = []
        self.resyncs = 0
        self.monitor = HealthMonitor(ERRORS, self.clock, self.health.append, jitter=lambda: 1.0)
        self.gate = LoginGate(ERRORS, self.monitor, self._resync)
        self.peers: list[Peer] = []
        self.states: list[StreamState] = []
        self.told: list[str] = []
        self.reconciled = 0
        self.reconcile: Callable[[], None] = lambda: None
        self._scripted = list(peers)
        self.stream = UserDataStreamManager(
            self,
            self._socket,
            self.clock,
            self._sink,
            on_connected=self._reconcile,
            on_state=self.states.append,
            backoff=Backoff(jitter=lambda: 0.5),
        )

    async def sessions(self) -> Sequence[PrivateSession]:
        return (Session("private", ("orders", "wallet")), Session("business", ("algos",)))

    async def keep_alive(self) -> None: ...

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stream.run(), name="stream")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert all(peer.closed for peer in self.peers), "a socket was left open"

    def live(self) -> bool:
        return self.stream.state is StreamState.LIVE

    @property
    def ended(self) -> list[str]:
        return list(self.stream.statistics.ended)

    def _socket(self) -> Peer:
        peer = self._scripted.pop(0) if self._scripted else Peer()
        self.peers.append(peer)
        return peer

    async def _sink(self, reports: Sequence[Report]) -> None:
        self.told += [str(getattr(report, "wallet", "?")) for report in reports]

    async def _reconcile(self) -> None:
        self.reconciled += 1
        self.reconcile()

    async def _resync(self) -> None:
        self.resyncs += 1
        if self.resyncs == 1:
            raise Unreachable("okx", "no answer")


async def test_the_stream_is_live_when_both_sockets_are_logged_in_subscribed_and_pictured() -> None:
    stage = Stage()
    async with stage.running():
        await asyncio.sleep(1)
        assert stage.live()
        assert stage.reconciled == 1
        assert [peer.texts() for peer in stage.peers] == [
            ["login now", "subscribe orders", "subscribe wallet"],
            ["login now", "subscribe algos"],
        ]
        assert stage.told == ["7"], "a picture's reports are told too"


LACKING: dict[str, tuple[str, dict[str, Sequence[str] | None], str]] = {
    "login": ("private", {"login": None}, "private socket: the login did not come"),
    "ack": ("private", {"subscribe": None}, "acknowledgement of orders, wallet and first picture of wallet did not"),
    "picture": ("private", {"subscribe": ["ok orders", "ok wallet"]}, "private socket: first picture of wallet did"),
    "other": ("business", {"subscribe": None}, "business socket: acknowledgement of algos did not come within 10 s"),
    "wrong": ("business", {"subscribe": ["ok something"]}, "acknowledgement of algos did not come"),
}


@pytest.mark.parametrize("lacking", sorted(LACKING))
async def test_what_is_not_confirmed_never_becomes_live_and_is_named(lacking: str) -> None:
    where, answers, why = LACKING[lacking]
    peer = Peer(**answers)
    stage = Stage(*([peer] if where == "private" else [Peer(), peer]))
    async with stage.running():
        await asyncio.sleep(9.9)
        assert not stage.live()
        assert stage.reconciled == 0
        await asyncio.sleep(1)
        assert stage.live(), "the next connection is whole"
        assert len(stage.ended) == 1
        assert why in stage.ended[0]
        assert len(stage.peers) == 4


async def test_a_refused_subscription_is_named_and_the_stream_stays_down() -> None:
    stage = Stage(Peer(), Peer(subscribe=["refuse algos"]))
    async with stage.running():
        await asyncio.sleep(0.05)
        assert not stage.live()
        assert stage.ended == ["the venue refuses to send algos: wrong channel"]
        assert stage.reconciled == 0


@pytest.mark.failure("NET-07")
async def test_a_refused_key_stops_the_venue_and_is_not_tried_again_for_ten_minutes() -> None:
    stage = Stage(*(Peer(login=["refuse-login 60005"]) for _ in range(6)))
    async with stage.running():
        await asyncio.sleep(KEY_LOOK_SECONDS - 5)
        assert [health.condition for health in stage.health] == [Condition.KEY_REFUSED]
        assert stage.health[0].code == "60005"
        assert sum(len(peer.sent) for peer in stage.peers) <= 2, "one login a socket, and no more"
        assert not stage.live()


async def test_a_key_that_is_taken_again_brings_the_venue_back() -> None:
    stage = Stage(Peer(login=["refuse-login 60005"]), Peer())
    async with stage.running():
        await asyncio.sleep(KEY_LOOK_SECONDS + 120)
        assert stage.live()
        assert [health.condition for health in stage.health] == [Condition.KEY_REFUSED, Condition.UP]


async def test_a_login_that_came_too_late_measures_the_clock_and_is_no_refusal_of_the_key() -> None:
    stage = Stage(Peer(login=["refuse-login 60006"]), Peer(), Peer(login=["refuse-login 60006"]))
    async with stage.running():
        await asyncio.sleep(30)
        assert stage.resyncs == 2, "also when the first measurement failed"
        assert stage.health == []
        assert stage.live()


async def test_passing_trouble_at_the_login_is_tried_again() -> None:
    stage = Stage(Peer(login=["refuse-login 60014"]))
    async with stage.running():
        await asyncio.sleep(1)
        assert stage.live()
        assert stage.health == []


@pytest.mark.parametrize("which", [0, 1])
async def test_one_socket_that_ends_takes_the_other_with_it_and_both_are_put_up_anew(which: int) -> None:
    stage = Stage()
    async with stage.running():
        await asyncio.sleep(100)
        stage.peers[which].drop()
        await asyncio.sleep(1)
        assert [peer.closed for peer in stage.peers] == [True, True, False, False]
        assert stage.states == [StreamState.LIVE, StreamState.DOWN, StreamState.LIVE]
        assert stage.reconciled == 2
        assert stage.stream.reconnect_count == 1


@pytest.mark.parametrize("which", [0, 1])
async def test_a_socket_that_cannot_be_opened_leaves_none_open(which: int) -> None:
    peers = [Peer(), Peer()]
    peers[which].answers["open"] = None
    stage = Stage(*peers)
    async with stage.running():
        await asyncio.sleep(1)
        assert [peer.closed for peer in stage.peers] == [True, True, False, False]
        assert stage.live()


async def test_a_gap_in_only_one_topic_is_resumed_like_any_other() -> None:
    """Frames of the new connection flow while it is reconciled."""
    stage = Stage()

    def speak() -> None:
        stage.peers[-2].say("report 42")

    stage.reconcile = speak
    async with stage.running():
        await asyncio.sleep(1)
        assert stage.told == ["7", "42"]


async def test_when_the_venue_asks_us_to_leave_the_successor_is_live_before_the_old_one_goes() -> None:
    stage = Stage()
    async with stage.running():
        await asyncio.sleep(100)
        stage.peers[1].say("leave")
        await asyncio.sleep(1)
        assert [peer.closed for peer in stage.peers] == [True, True, False, False]
        assert stage.states == [StreamState.LIVE], "never down"
        assert stage.stream.reconnect_count == 0
        assert stage.stream.statistics.hand_overs == 1


async def test_a_venue_that_always_asks_us_to_leave_is_not_flooded() -> None:
    stage = Stage(
        *(Peer(subscribe=["ok orders", "ok wallet", "picture wallet", "ok algos", "leave"]) for _ in range(90))
    )
    async with stage.running():
        await asyncio.sleep(60)
        assert len(stage.peers) <= 30
        assert stage.states == [StreamState.LIVE]


async def test_pings_are_the_venues_own_words_and_any_frame_answers_them() -> None:
    stage = Stage()
    async with stage.running():
        await asyncio.sleep(3_600)
        assert stage.live()
        assert len(stage.peers) == 2
        for peer in stage.peers:
            times = [at for at, text in peer.sent if text == "ping"]
            assert max(b - a for a, b in pairwise(times)) < 30
            assert len(times) >= 300


@pytest.mark.failure("UDS-07")
async def test_a_socket_that_answers_no_ping_is_replaced_within_thirty_seconds() -> None:
    stage = Stage(Peer(), Peer(ping=None))
    async with stage.running():
        await asyncio.sleep(30)
        assert len(stage.peers) == 4
        assert stage.live()
        assert stage.ended == ["nothing came within 15 s of a ping"]


async def test_the_gate_lets_everything_pass_while_the_key_is_good() -> None:
    stage = Stage()
    stage.gate.admit()
    stage.gate.accepted()
    await stage.gate.refused(Unreachable("okx", "busy", code="60014"))
    assert stage.health == []
    error: VenueError = ERRORS.error(200, "60005", "no", venue_ms=0)
    await stage.gate.refused(error)
    with pytest.raises(Refused):
        stage.gate.admit()
