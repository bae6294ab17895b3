"""The transport seam's simulated side: the whole simulator in process, on the jumping loop's time.

`SimulatedVenue` is the venue, `Line` one process's connection to it (cut it and that process is dead to the venue),
`SimulatedFeed` a signal server without a socket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from core.errors import Ambiguous, Unreachable
from core.transport import ANSWER_SECONDS, HttpResponse, Transport
from core.transport import Socket as SocketPort
from tests.fakes.virtual_loop import VirtualClock
from tools.signal_feed import Action, Close, Form, Send, SignalFeed, parse_script
from tools.venuesim.control import PREFIX, Control
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.sockets import Socket as VenueSide
from tools.venuesim.venues import load
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response

Watch = Callable[[str, str], None]
"""Called with a moment of a request ("sending", then "answered" or "lost") and what it asks ("POST /fapi/v1/order")."""
Tamper = Callable[[str, Any], Any]
"""(what was asked, the document answered) -> the document that arrives instead."""


PORTS = {"binance": 1, "bybit": 2, "okx": 3}
"""Nothing listens there: they tell the venues of one daemon apart."""
SYMBOLS = 8
"""Listed unless a test asks for more: every symbol whose price moves costs time, and few tests need forty."""


class SimulatedVenue:
    """One venue; its clock is the loop's. `stop` ends its timers."""

    def __init__(self, name: str = "binance", **settings: Any) -> None:
        self._clock = VirtualClock()
        self.url = f"http://127.0.0.1:{PORTS[name]}"
        self.simulation = Simulation(load(name), SimulationSettings(**({"symbols": SYMBOLS} | settings)), self.now_ms())
        self._control = Control(self.simulation)
        self._wake: asyncio.TimerHandle | None = None
        self.arm()

    def now_ms(self) -> float:
        return self._clock.exact_ms()

    def catch_up(self) -> None:
        self.simulation.run_until(self.now_ms())

    def arm(self) -> None:
        """Wake when something is due next."""
        self.stop()
        due = self.simulation.next_due()
        if due is not None:
            delay = max(0.0, due - self.now_ms()) / 1000
            self._wake = asyncio.get_running_loop().call_later(delay, self._on_wake, due)

    def stop(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    async def ask(self, name: str) -> Any:
        """GET of the control interface, e.g. `state?all=1`."""
        path, _, query = name.partition("?")
        return self._answer("GET", path, query, b"")

    async def tell(self, name: str, **body: Any) -> Any:
        """POST to the control interface."""
        return self._answer("POST", name, "", json.dumps(body).encode())

    def _answer(self, method: str, name: str, query: str, body: bytes) -> Any:
        self.catch_up()
        answer = self._control.handle(method, PREFIX + name, query, body)
        self.arm()
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def _on_wake(self, due: float) -> None:
        # The wall clock's milliseconds are coarser than the loop's seconds: never wake a hair too early.
        self.simulation.run_until(max(due, self.now_ms()))
        self.arm()


class Line:
    """Everything one process has between itself and the venue."""

    def __init__(self, venue: SimulatedVenue, watch: Watch = lambda *_: None) -> None:
        self.venue = venue
        self.watch = watch
        self.tamper: Tamper | None = None
        self.cut_off = False
        self._sockets: list[SimSocket] = []

    def transport(self) -> Transport:
        return Transport(http=SimHttp(self), socket=self._socket)

    def cut(self) -> None:
        """The process is gone: its sockets end, and nothing it still tries arrives."""
        self.cut_off = True
        for socket in self._sockets:
            socket.drop()

    def _socket(self) -> SocketPort:
        socket = SimSocket(self)
        self._sockets.append(socket)
        return socket


class SimHttp:
    """core.transport.Http into the simulation."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        line, parts = self._line, urlsplit(url)
        if not line.cut_off:
            line.watch("sending", f"{method} {parts.path}")
        if line.cut_off:
            await asyncio.Event().wait()
        request = Request(
            method=method,
            path=parts.path,
            query=parts.query,
            headers={name.lower(): str(value) for name, value in headers.items()},
            body=body or b"",
        )
        answer = await self._submit(request)
        if not line.cut_off:
            line.watch("lost" if isinstance(answer, Dropped) else "answered", f"{method} {parts.path}")
        if line.cut_off:
            await asyncio.Event().wait()
        if isinstance(answer, Dropped):
            raise Ambiguous("simulated", "the connection ended before the answer")
        body = answer.body
        if line.tamper is not None:
            body = json.dumps(line.tamper(f"{method} {parts.path}", json.loads(body))).encode()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(status=answer.status, headers=headers, body=body)

    async def close(self) -> None: ...

    async def _submit(self, request: Request) -> Response | Dropped:
        answered: asyncio.Future[Response | Dropped] = asyncio.get_running_loop().create_future()

        def reply(answer: Response | Dropped) -> None:
            if not answered.done():
                answered.set_result(answer)

        venue = self._line.venue
        venue.catch_up()
        venue.simulation.submit(request, reply)
        venue.arm()
        await asyncio.sleep(0)  # a real request never has its answer in the same turn
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answered
        except TimeoutError:
            raise Ambiguous("simulated", "TimeoutError") from None


class SimSocket:
    """core.transport.Socket into the simulation."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._venue_side: VenueSide | None = None
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._pongs: list[asyncio.Future[None]] = []
        self._gone = ""

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts, venue = urlsplit(url), self._line.venue
        await asyncio.sleep(0)
        if self._line.cut_off:
            raise Unreachable("simulated", "there is no line to the venue")
        venue.catch_up()
        answer = venue.simulation.connect(parts.path, parts.query, headers or {}, self._deliver)
        venue.arm()
        if isinstance(answer, Response):
            raise Unreachable("simulated", "InvalidStatus")
        self._venue_side = answer

    async def send(self, text: str) -> None:
        side = self._live()
        self._line.venue.catch_up()
        side.receive(text)
        self._line.venue.arm()

    async def receive(self) -> bytes:
        self._live()
        frame = await self._frames.get()
        if frame.kind is FrameKind.CLOSE:
            self._end(f"connection closed ({frame.close_code})")
            self._live()
        return frame.data

    async def ping(self) -> None:
        side = self._live()
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._line.venue.catch_up()
        side.ping(b"")
        self._line.venue.arm()
        try:
            await pong
        finally:
            if pong in self._pongs:
                self._pongs.remove(pong)

    async def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Our end goes away; the venue hears of it, our reader too."""
        if self._venue_side is not None and not self._gone:
            self._line.venue.catch_up()
            self._venue_side.gone()
            self._line.venue.arm()
            self._frames.put_nowait(Frame(kind=FrameKind.CLOSE, close_code=1006))
        self._end("the socket was closed")

    def _deliver(self, frame: Frame) -> None:
        if frame.kind is FrameKind.PONG:
            if self._pongs:
                self._pongs.pop(0).set_result(None)
        elif frame.kind is not FrameKind.PING:  # the library answers pings by itself
            self._frames.put_nowait(frame)

    def _end(self, why: str) -> None:
        self._gone = self._gone or why
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(Unreachable("simulated", self._gone))
        self._pongs.clear()

    def _live(self) -> VenueSide:
        if self._venue_side is None or self._gone:
            raise Unreachable("simulated", self._gone or "the socket was never opened")
        return self._venue_side


class SimulatedFeed:
    """A signal server whose script counts from now; `socket` is one connection to it."""

    def __init__(
        self, lines: Sequence[Mapping[str, Any]], *, token: str | None = None, form: Form = Form.PUSHED
    ) -> None:
        script = parse_script("\n".join(json.dumps(line) for line in lines))
        self._clock = VirtualClock()
        self._feed = SignalFeed(script, form, token=token, utc_now=self._utc)
        self._started = self._clock.monotonic()

    def transport(self) -> Transport:
        return Transport(http=_NoHttp(), socket=self.socket)

    def socket(self) -> SocketPort:
        return FeedSocket(self._feed, self._now_ms)

    def _now_ms(self) -> int:
        # Rounded up: who slept until a millisecond has reached it.
        return round((self._clock.monotonic() - self._started) * 1000 + 0.49)

    def _utc(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


class FeedSocket:
    """core.transport.Socket to a `SignalFeed`."""

    def __init__(self, feed: SignalFeed, now_ms: Callable[[], int]) -> None:
        self._feed, self._now_ms = feed, now_ms
        self._actions: list[Action] = []
        self._heard = asyncio.Event()
        self._closed = False

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._session = self._feed.connect(self._now_ms())

    async def send(self, text: str) -> None:
        self._actions += self._session.receive(text, self._now_ms())
        self._heard.set()

    async def receive(self) -> bytes:
        while not self._actions:
            due = self._session.next_ms(self._now_ms())
            self._heard.clear()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, (due - self._now_ms()) / 1000)):
                    await self._heard.wait()
            except TimeoutError:
                self._actions += self._session.due(self._now_ms())
        action = self._actions.pop(0)
        if isinstance(action, Close) or self._closed:
            raise Unreachable("signals", f"connection closed ({action.code if isinstance(action, Close) else 1006})")
        assert isinstance(action, Send)
        return action.text.encode()

    async def ping(self) -> None: ...

    async def close(self) -> None:
        self._closed = True


class _NoHttp:
    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        raise Unreachable("signals", "a signal server answers no requests")

    async def close(self) -> None: ...
