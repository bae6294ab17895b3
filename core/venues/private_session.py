"""One private socket's conversation: what is sent, and what the answers mean. Each venue implements it; the manager
(`user_stream`) opens the sockets, waits for the answers and decides when the stream is live.

Venues differ in how many sockets there are, whether one logs in, what is subscribed, what confirms it and how silence
is found out. All of that is here as data and as frames in and out; nothing here waits or sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from core.errors import BreakwaterError

if TYPE_CHECKING:
    from core.domain.ids import VenueName
    from core.domain.reports import Report
    from core.errors import VenueError
    from core.venues.login_gate import LoginGate
    from core.venues.reconnecting import TextPing


class KeyExpiredError(BreakwaterError):
    """The venue ended the session behind the stream; a new key is needed, the socket is useless."""


class Notice(Struct, frozen=True):
    """What a frame says of the conversation itself."""


class LoggedIn(Notice, frozen=True):
    pass


class LoginRefused(Notice, frozen=True):
    """`error` by the venue's own table: a refused key (AUTH) stops the venue until the operator acts, a wrong time
    (CLOCK) is measured anew, everything else is passing trouble."""

    error: VenueError


class Subscribed(Notice, frozen=True):
    """The venue acknowledged these topics."""

    topics: tuple[str, ...]


class SubscriptionRefused(Notice, frozen=True):
    topics: tuple[str, ...]
    code: str
    words: str


class Pictured(Notice, frozen=True):
    """The last part of these topics' first picture; `reports` are what it says."""

    topics: tuple[str, ...]
    reports: Sequence[Report]


class Leave(Notice, frozen=True):
    """The venue is about to end this connection: bring up another one while it lasts."""

    why: str


class PrivateSession(Protocol):
    """Made anew for every connection, so it may remember what it sent on it."""

    @property
    def name(self) -> str:
        """For logs and task names, e.g. `business`."""
        ...

    @property
    def url(self) -> str:
        """May be a secret."""
        ...

    @property
    def topics(self) -> Sequence[str]:
        """What has to be subscribed on this socket, in names of our own; empty where the URL is the subscription."""
        ...

    @property
    def pictured(self) -> frozenset[str]:
        """Those topics whose first picture has to come before they count as confirmed."""
        ...

    @property
    def ping(self) -> TextPing | None:
        """None = the protocol's own pings."""
        ...

    def login(self) -> str | None:
        """The frame that logs in, stamped now; None where nothing has to be said."""
        ...

    def subscription(self) -> Sequence[str]:
        """The frames that subscribe all topics."""
        ...

    def decode(self, frame: bytes) -> Sequence[Report] | Notice | None:
        """Reports of one frame, in order, or a notice; () for a frame that says nothing new (a pong), None for one this
        version does not know.

        Raises MalformedPayload, and KeyExpiredError for the venue's own word of it.
        """
        ...


class PrivateFeed(Protocol):
    """What is different from venue to venue."""

    @property
    def venue(self) -> VenueName: ...

    @property
    def connection_seconds(self) -> float:
        """How long a connection may live before it is replaced on our own terms."""
        ...

    @property
    def keep_alive_seconds(self) -> float | None:
        """Between two calls of `keep_alive`; None where nothing has to be kept alive by request."""
        ...

    @property
    def gate(self) -> LoginGate | None:
        """Whom logins are asked of and told to; None where sockets do not log in."""
        ...

    async def sessions(self) -> Sequence[PrivateSession]:
        """The sockets of one connection, which live and end together. Obtains or renews whatever opens them. Raises
        VenueError."""
        ...

    async def keep_alive(self) -> None:
        """Raises KeyExpiredError when the session is gone, VenueError when the venue could not be asked."""
        ...
