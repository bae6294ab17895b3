"""The seam between the protocol façades and whatever carries bytes: no sockets, no clocks, no asyncio.

A façade turns requests into answers and engine events into frames. The kernel calls it at the moment a request
is matched, and carries answers and frames back with the configured latency and faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Protocol

from msgspec import Struct, field

from tools.venuesim.exchange.events import Event
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Conditional, Fill, Instrument, Order, Policy


class Lane(StrEnum):
    """What a request is for, by its endpoint."""

    ORDER = "order"
    STOP = "stop"
    CANCEL = "cancel"
    AMEND = "amend"
    QUERY = "query"
    ACCOUNT = "account"
    MARKET = "market"
    SESSION = "session"


class Request(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    query: str = ""
    """Raw, as it stood behind the question mark: signatures cover it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""


class Response(Struct, frozen=True, kw_only=True):
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    code: int | str | None = None
    """The venue's own code inside the body, for the request log."""


class Dropped(Struct, frozen=True):
    """No answer: the connection ends instead."""


DROPPED = Dropped()


class RequestInfo(Struct, frozen=True, kw_only=True):
    """What the request log and the faults need to know. Must not fail on malformed requests."""

    lane: Lane
    symbol: str | None = None
    client_ids: tuple[str, ...] = ()
    op: str | None = None
    """Socket commands: the operation's name, logged as path."""


class FrameKind(StrEnum):
    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"


class Frame(Struct, frozen=True, kw_only=True):
    kind: FrameKind
    data: bytes = b""
    """Payload, or the reason of a close."""
    close_code: int = 1000


class Outbox(Protocol):
    """One open socket, seen from the façade. Frames leave in the order they were given."""

    def send(
        self, payload: str | bytes, *, event: str, symbol: str | None = None, client_id: str | None = None
    ) -> None:
        """Push one frame; the names are what faults can match."""
        ...

    def reply(self, payload: str | bytes, *, code: int | str | None = None, status: int | None = None) -> None:
        """Answer the command being handled; closes its line in the request log."""
        ...

    def ping(self, data: bytes = b"") -> None: ...

    def close(self, code: int = 1000, reason: str = "") -> None: ...


class StreamSession(Protocol):
    def describe(self, text: str) -> RequestInfo | None:
        """None: not a command to be logged (a text heartbeat). Must not fail on garbage."""
        ...

    def receive(self, text: str) -> None:
        """One frame from the client, at the moment it is matched."""
        ...

    def refuse(self, text: str, error: Response) -> None:
        """Answer a command with an injected error (``Facade.error``), in the socket's own form."""
        ...

    def closed(self) -> None:
        """The socket is gone; nothing can be sent any more."""
        ...


class Facade(Protocol):
    def handle(self, request: Request) -> Response: ...

    def describe(self, request: Request) -> RequestInfo: ...

    def open_stream(
        self, path: str, query: str, headers: Mapping[str, str], outbox: Outbox
    ) -> StreamSession | Response:
        """A session, or the answer that refuses the handshake."""
        ...

    def error(self, request: Request, *, status: int, code: int | str | None, message: str | None) -> Response:
        """An error in the venue's form, for injected faults; None = what is usual for that status."""
        ...

    def unknown_outcome(self, request: Request) -> Response:
        """The venue's answer for "executed or not, we cannot tell"."""
        ...

    def not_yet(self, request: Request) -> Response | None:
        """The answer to a query of a copy that has not heard of anything lately; None = the usual answer."""
        ...

    def on_events(self, events: tuple[Event, ...]) -> None:
        """One batch of engine events, all of one moment."""
        ...

    def inject(self, fault: Injected) -> bool:
        """Carry out a fault only the protocol can (an expired listen key); False: this façade has not got it."""
        ...


class Injected(Protocol):
    """A fault as a façade sees it."""

    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> int | None: ...
    @property
    def code(self) -> int | str | None: ...
    @property
    def body(self) -> object: ...
    @property
    def delay_ms(self) -> float | None: ...
    @property
    def duration_ms(self) -> float | None: ...
    @property
    def fraction(self) -> float | None: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Host(Protocol):
    """What the kernel offers a façade."""

    @property
    def exchange(self) -> Exchange: ...

    @property
    def seed(self) -> int: ...

    def now_ms(self) -> int:
        """Protocol time: what the venue's clock shows, injected skew included."""
        ...

    def call_later(self, delay_ms: float, action: Callable[[], None]) -> Timer: ...

    def behind_ms(self) -> float:
        """How far this moment lies behind the shell's clock: large while a jump of the clock is being carried out."""
        ...

    def rng(self, name: str) -> Random:
        """A generator of its own for each name, fixed by the seed."""
        ...

    def take_fault(
        self, kind: str, *, symbol: str | None = None, client_id: str | None = None, path: str | None = None
    ) -> Injected | None:
        """The fault of that kind that applies here, its hit counted; None = carry on."""
        ...


def engine_number(row: Order | Conditional | Fill) -> str:
    """The name of an order or a fill where the venue uses the engine's own numbers."""
    return str(row.id)


class Venue(Struct, frozen=True, kw_only=True):
    """One row of the table of venues: a façade module exports it as ``VENUE``."""

    name: str
    policy: Policy
    instruments: Callable[[int, int], Sequence[Instrument]]
    """(count, seed) -> that many instruments, the documented ones first."""
    facade: Callable[[Host], Facade]
    order_id: Callable[[Order | Conditional], str] = engine_number
    """What the venue calls an order; the control interface says it too."""
    fill_id: Callable[[Fill], str] = engine_number
