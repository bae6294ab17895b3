"""What venues send, fed to our adapters: market frames, private frames, and the bodies of answers.

The seeds are what the simulator says while a position is opened, protected and closed, and beside them the payloads
captured from the real venues, where these are laid out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.domain.ids import VenueName, VenueOrderId
from core.domain.order import Order, OrderStatus
from core.engine.ports import Departure
from core.errors import MalformedPayload, StartRefused, Unreachable, VenueError
from core.transport import Http, HttpResponse, Socket, Transport
from core.venues import VenueAccess, VenueConnection, connect_venue
from core.venues.market_stream import MarketStream
from core.venues.private_session import KeyExpiredError
from core.venues.user_stream import UserDataStreamManager
from tests.campaigns.fuzz_judge import ROOT, Open, Parser
from tests.fakes.fake_socket import FakeSocket
from tests.fakes.sim_transport import Line
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.rigs import VenueRig, a_venue_rig, settled

FOLDERS = {VenueName.BINANCE: "binance_usdm", VenueName.BYBIT: "bybit_linear", VenueName.OKX: "okx_swap"}
FIXTURES = ROOT.parent / "shared" / "venues" / "fixtures"
_PRIVATE = ("private", "business")
_STATUSES = (200, 200, 200, 200, 400, 401, 403, 418, 429, 500, 503, 599, 0)
_FRESH_AFTER = 500
"""Inputs; then the client is made anew, so that rules which an answer has spoilt do not hide what comes after."""

Read = Callable[[VenueConnection, VenueRig], Awaitable[object]]


def _an_order(rig: VenueRig, name: str) -> Order:
    intent = rig.stop(level="50000", name=name)
    return Order(intent=intent, status=OrderStatus.ACCEPTED, venue_order_id=VenueOrderId("1"))


READS: Mapping[str, Read] = {
    "open": lambda c, r: c.client.open(),
    "rules": lambda c, r: c.client.load_instruments(),
    "clock": lambda c, r: c.client.measure_clock(),
    "positions": lambda c, r: c.client.positions(),
    "balances": lambda c, r: c.client.balances(),
    "status": lambda c, r: c.client.mass_status(),
    "account": lambda c, r: c.client.account_settings(),
    "rights": lambda c, r: c.client.key_rights(),
    "fills": lambda c, r: c.client.fills(r.btc, r.clock.now_ms() - 60_000),
    "income": lambda c, r: c.client.income(r.clock.now_ms() - 60_000),
    "entry": lambda c, r: c.client.submit(r.departing(r.entry(name="more"), level="50000")),
    "stop": lambda c, r: c.client.submit(Departure(intent=r.stop(level="50000", name="more"))),
    "entries": lambda c, r: c.client.submit_together([r.departing(r.entry(name=n), level="50000") for n in "ab"]),
    "cancel": lambda c, r: c.client.cancel(_an_order(r, "more")),
    "of entry": lambda c, r: c.client.query_order(r.entry()),
    "of stop": lambda c, r: c.client.query_order(r.stop(level="50000")),
    "whose": lambda c, r: c.client.client_id_of(r.btc, VenueOrderId("1")),
    "leverage": lambda c, r: c.client.set_leverage(r.btc.symbol, 7),
    "candles": lambda c, r: c.reads.candles(r.btc.symbol, "1m", 5),
    "interest": lambda c, r: c.reads.open_interest(r.btc.symbol),
    "turnover": lambda c, r: c.reads.day_turnover(),
    "touches": lambda c, r: c.reads.touches(),
    "prices": lambda c, r: c.reads.prices(),
    "funding": lambda c, r: c.reads.funding(r.btc.symbol),
}


@dataclass
class Recording:
    """What one venue said: answers by what was asked for by which read, and the frames of both kinds of streams."""

    answers: dict[tuple[str, str], dict[str, HttpResponse]] = field(default_factory=dict)
    """(method, path) -> by read, the last answer."""
    market: dict[bytes, None] = field(default_factory=dict)
    private: dict[bytes, None] = field(default_factory=dict)


class _HttpTap:
    def __init__(self, inner: Http, recording: Recording) -> None:
        self._inner, self._recording = inner, recording
        self.read = "open"

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        answer = await self._inner.request(method, url, headers, body)
        self._recording.answers.setdefault((method, urlsplit(url).path), {})[self.read] = answer
        return answer

    async def close(self) -> None:
        await self._inner.close()


class _SocketTap:
    def __init__(self, inner: Socket, recording: Recording) -> None:
        self._inner, self._recording = inner, recording
        self._frames: dict[bytes, None] = {}
        self.send, self.ping, self.close = inner.send, inner.ping, inner.close

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        private = any(word in url for word in _PRIVATE)
        self._frames = self._recording.private if private else self._recording.market
        await self._inner.open(url, headers)

    async def receive(self) -> bytes:
        frame = await self._inner.receive()
        if len(self._frames) < 60:
            self._frames[frame] = None
        return frame


async def record(name: VenueName) -> Recording:
    """A position opened, protected, closed by hand; everything read once while it is there."""
    recording = Recording()
    async with a_venue_rig(name, streaming=False, opened=False) as rig:
        transport = Line(rig.venue).transport()
        tap = _HttpTap(transport.http, recording)
        connection = _connected(
            name, rig, Transport(http=tap, socket=lambda: _SocketTap(transport.socket(), recording)), rig.venue.url
        )
        await connection.client.open()
        streams = [asyncio.create_task(connection.user_stream.run()), asyncio.create_task(connection.market.run())]
        connection.market.want([rig.btc.symbol])
        await connection.user_stream.wait_live()
        await connection.client.submit(rig.departing(rig.entry()))
        await connection.client.submit(Departure(intent=rig.stop()))
        await settled(1)
        for read, ask in READS.items():
            tap.read = read
            try:
                await ask(connection, rig)
            except VenueError:
                continue  # what it was told is recorded all the same
            await settled()
        tap.read = "close"
        await connection.client.submit(rig.departing(rig.close()))
        await settled(1)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await connection.client.close()
    return recording


def _connected(name: VenueName, rig: VenueRig, transport: Transport, url: str) -> VenueConnection:
    async def sink(reports: Sequence[object]) -> None: ...

    async def reconciled() -> None: ...

    return connect_venue(
        VenueAccess(name=name, key="sim", secret="sim", passphrase="sim", base_url=url, trades=True),
        clock=rig.clock,
        transport=transport,
        sink=sink,
        on_connected=reconciled,
    )


# --- captured payloads ------------------------------------------------------------------------------------------------


@cache
def captured(name: VenueName) -> Mapping[str, bytes]:
    """By file name without ending; empty where the reference material is not laid out."""
    folder = FIXTURES / FOLDERS[name]
    if not folder.is_dir():
        return {}
    return {path.name.split(".")[0]: _compact(path) for path in sorted(folder.glob("*.json"))}


def _compact(path: Path) -> bytes:
    return json.dumps(json.loads(path.read_bytes()), separators=(",", ":")).encode()


def _frames(name: VenueName) -> Iterator[bytes]:
    """Of the captured streams; sessions and documents hold several."""
    for stem, text in captured(name).items():
        if stem.startswith(("stream_", "uds_", "ws_")):
            yield from (json.dumps(frame, separators=(",", ":")).encode() for frame in _inside(json.loads(text)))


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if value.keys() & {"e", "topic", "arg", "event", "op"}:
            yield value
        else:
            for item in value.values():
                yield from _inside(item)
    elif isinstance(value, list):
        if value and isinstance(value[0], dict) and "e" in value[0]:
            yield value
        for item in value:
            yield from _inside(item)


def _bodies(name: VenueName, path: str) -> Iterator[bytes]:
    """Captured answers of this endpoint, by the file's name."""
    here = _plain(path)
    for stem, text in captured(name).items():
        words = stem.removeprefix("rest_").split("_")
        if any(here.endswith(_plain("".join(words[:count]))) for count in range(len(words), 0, -1)):
            yield text


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _missing(name: VenueName) -> str:
    return "" if captured(name) else "without captured payloads: ../shared is not laid out"


# --- parsers ----------------------------------------------------------------------------------------------------------


@dataclass
class Replay:
    """core.transport.Http of recorded answers, one of which is replaced."""

    recording: Recording
    read: str = "open"
    target: tuple[str, str] = ("", "")
    instead: HttpResponse | None = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        await asyncio.sleep(0)
        asked = (method, urlsplit(url).path)
        if self.instead is not None and asked == self.target:
            return self.instead
        told = self.recording.answers.get(asked)
        if told is None:
            raise Unreachable("fuzz", f"nothing was recorded for {asked}")
        return told.get(self.read) or next(iter(told.values()))

    async def close(self) -> None: ...


@dataclass
class Stage:
    """A client on recorded answers, and what its streams decode with."""

    rig: VenueRig
    http: Replay
    connection: VenueConnection

    async def decoders(self, *, private: bool) -> list[Callable[[bytes], object]]:
        if private:
            stream = self.connection.user_stream
            assert isinstance(stream, UserDataStreamManager)
            return [session.decode for session in await stream._feed.sessions()]
        market = self.connection.market
        assert isinstance(market, MarketStream)
        return [state.route.decode for state in market._routes]


async def _staged(name: VenueName, recording: Recording, url: str) -> Stage:
    http = Replay(recording)
    rig = VenueRig(name, False, None, None, None, VirtualClock())  # type: ignore[arg-type]  # only its intents are used
    transport = Transport(http=http, socket=lambda: FakeSocket([]))
    rig.connection = connection = _connected(name, rig, transport, url)
    await connection.client.open()
    return Stage(rig, http, connection)


_RECORDED: dict[VenueName, Recording] = {}


async def _recorded(name: VenueName) -> Recording:
    if name not in _RECORDED:
        _RECORDED[name] = await record(name)
    return _RECORDED[name]


@asynccontextmanager
async def _streams(name: VenueName, *, private: bool) -> AsyncIterator[Open]:
    recording = await _recorded(name)
    stage = await _staged(name, recording, _url(name))
    decoders = await stage.decoders(private=private)

    async def feed(data: bytes) -> object:
        """Every socket of the kind gets the frame; the first refusal is told when all have had it."""
        told: list[object] = []
        refused: MalformedPayload | KeyExpiredError | None = None
        for decode in decoders:
            try:
                told.append(decode(data))
            except (MalformedPayload, KeyExpiredError) as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return told

    frames = list(recording.private if private else recording.market)
    try:
        yield Open(feed=feed, seeds=[*frames, *_frames(name)], donors=frames, note=_missing(name))
    finally:
        await stage.connection.client.close()


@asynccontextmanager
async def _answers(name: VenueName) -> AsyncIterator[Open]:
    recording = await _recorded(name)
    stages = [await _staged(name, recording, _url(name))]
    fed = 0

    async def feed(data: bytes) -> object:
        nonlocal fed
        head, _, body = data.partition(b"\n")
        words = head.decode("latin-1").split("|")
        if len(words) != 4 or words[0] not in READS or not (words[3].isascii() and words[3].isdecimal()):
            return None  # the envelope is ours; what it holds is the venue's
        fed += 1
        if fed % _FRESH_AFTER == 0:
            await stages.pop().connection.client.close()
            stages.append(await _staged(name, recording, _url(name)))
        stage = stages[0]
        status = _STATUSES[int(words[3][:4]) % len(_STATUSES)]
        stage.http.read, stage.http.target = words[0], (words[1], words[2])
        stage.http.instead = HttpResponse(status=status, headers={"retry-after": "1"}, body=body)
        try:
            return await READS[words[0]](stage.connection, stage.rig)
        finally:
            stage.http.instead = None

    def envelope(read: str, asked: tuple[str, str], body: bytes) -> bytes:
        return f"{read}|{asked[0]}|{asked[1]}|0\n".encode() + body

    seeds = [
        envelope(read, asked, body)
        for asked, told in recording.answers.items()
        for read, answer in told.items()
        if read in READS and len(answer.body) < 60_000
        for body in (answer.body, *_bodies(name, asked[1]))
        if len(body) < 60_000
    ]
    refused = [seed.replace(b"|0\n", f"|{4 + number % 9}\n".encode(), 1) for number, seed in enumerate(seeds[::4])]
    donors = [*captured(name).values(), *(a.body for told in recording.answers.values() for a in told.values())]
    try:
        donors = [donor for donor in donors if len(donor) < 60_000]
        yield Open(feed=feed, seeds=[*seeds, *refused], donors=donors, headed=True, note=_missing(name))
    finally:
        for stage in stages:
            await stage.connection.client.close()


def _url(name: VenueName) -> str:
    return f"http://127.0.0.1:{list(VenueName).index(name) + 1}"


def venue_parsers() -> list[Parser]:
    parsers = []
    for name in VenueName:
        parsers += [
            Parser(
                name=f"{name} market",
                declared=(MalformedPayload,),
                opened=partial(_streams, name, private=False),
            ),
            Parser(
                name=f"{name} private",
                declared=(MalformedPayload, KeyExpiredError),
                opened=partial(_streams, name, private=True),
            ),
            Parser(name=f"{name} answers", declared=(VenueError, StartRefused), opened=partial(_answers, name)),
        ]
    return parsers
