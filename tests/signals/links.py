"""A signal server's peer in a test: scripted connections, what they were told, and the waves that came of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from core.domain.ids import VenueName
from core.engine.ports import SignalBatch
from core.errors import Unreachable
from core.signals.backoff import Backoff
from core.signals.polled import CheckPlan
from core.signals.server import ServerAddress, SignalForm, SignalServer
from core.transport import Socket
from tests.fakes.fake_notifier import FakeNotifier
from tests.fakes.fake_socket import FakeSocket, Frame
from tests.fakes.virtual_loop import VirtualClock
from tests.signals.test_parsing import PLAIN, a_reader

LOGIN: list[tuple[float, Frame]] = [(0, {"type": "auth_required"}), (0, {"type": "auth_success"})]
HEARTBEAT = {"type": "heartbeat"}
PLAN = CheckPlan(minutes=(6, 20, 35, 50), interval_seconds=1, duration_seconds=120)


class SetClock(VirtualClock):
    """The loop's time, with UTC set to a moment of the test's choice at the beginning; `step` sets it again."""

    def __init__(self, utc: str | None = None) -> None:
        self._offset = 0
        if utc is not None:
            self._offset = ms(utc) - self.now_ms()

    def step(self, seconds: float) -> None:
        self._offset += round(seconds * 1000)

    def exact_ms(self) -> float:
        return super().exact_ms() + self._offset


def ms(utc: str) -> int:
    return round(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000)


def pushed(number: int, **changes: Any) -> dict[str, Any]:
    return {"type": "signal", **PLAIN, "id": f"s{number}", **changes}


@dataclass
class Link:
    """`sockets` in the order they were asked for, `opened` when; `expected` UTC ms of each announcement."""

    source: SignalServer
    clock: SetClock
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    sockets: list[Any] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    waves: list[SignalBatch] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)

    def ids(self) -> list[list[str]]:
        return [[signal.id for signal in wave.signals] for wave in self.waves]

    def refused(self) -> list[tuple[str, str]]:
        return [(unusable.id, unusable.code) for wave in self.waves for unusable in wave.unusable]


@asynccontextmanager
async def linked(
    make: Callable[[SetClock], Socket],
    *,
    form: SignalForm = SignalForm.PUSHED,
    plan: CheckPlan = PLAN,
    utc: str | None = None,
    newest_candle_ms: int = 0,
    jitter: float = 0.0,
    venues: tuple[VenueName, ...] = (VenueName.BINANCE,),
) -> AsyncIterator[Link]:
    clock = SetClock(utc)

    def socket() -> Socket:
        link.opened.append(clock.monotonic())
        link.sockets.append(make(clock))
        return link.sockets[-1]  # type: ignore[no-any-return]

    notifier = FakeNotifier()
    noted: list[int] = []
    source = SignalServer(
        address=ServerAddress(url="wss://signals.test/ws", token="secret"),
        form=form,
        socket=socket,
        reader=a_reader(venues),
        collect_seconds=0.05,
        plan=plan,
        clock=clock,
        notifier=notifier,
        newest_candle_ms=newest_candle_ms,
        note=noted.append,
        backoff=Backoff(lambda: jitter),
    )
    link = Link(source=source, clock=clock, notifier=notifier, noted=noted)
    task = asyncio.ensure_future(source.run(link.waves.append, lambda: link.expected.append(clock.now_ms())))
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def scripted(*scripts: Iterable[tuple[float, Frame]], refuses: int = 0) -> Callable[[SetClock], Socket]:
    """One script per connection; after the last one the server logs in and stays silent. The first `refuses`
    connections are refused."""
    waiting = [list(script) for script in scripts]
    made = 0

    def make(_: SetClock) -> Socket:
        nonlocal made
        made += 1
        turned_away = made <= refuses
        return FakeSocket(waiting.pop(0) if waiting and not turned_away else LOGIN, refuses=turned_away)

    return make


class PolledPeer:
    """core.transport.Socket to a polled server whose signals a test changes as it goes. `asked` UTC ms per question."""

    def __init__(self, clock: SetClock, signals: Callable[[], Any], *, pongs: bool = True) -> None:
        self._clock = clock
        self._signals = signals
        self._pongs = pongs
        self._frames: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self.asked: list[int] = []
        self.pings = 0
        self.closed = False

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.tell({"type": "auth_required"})

    async def send(self, text: str) -> None:
        match json.loads(text)["type"]:
            case "auth":
                self.tell({"type": "auth_success"})
            case "ping":
                self.pings += 1
                if self._pongs:
                    self.tell({"type": "pong"})
            case "get_signals":
                self.asked.append(self._clock.now_ms())
                data = self._signals()
                self.tell({"type": "signals", "count": len(data), "data": data})

    def tell(self, frame: Mapping[str, Any]) -> None:
        self._frames.put_nowait(frame)

    def drop(self) -> None:
        """The connection ends."""
        self._frames.put_nowait(None)

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame is None:
            raise Unreachable("signals", "connection closed (1006)")
        return json.dumps(frame, default=str).encode()

    async def ping(self) -> None:
        raise AssertionError("the client sends no WebSocket pings")

    async def close(self) -> None:
        self.closed = True
