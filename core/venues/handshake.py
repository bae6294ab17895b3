"""How far one private socket has come: logged in, each topic acknowledged, the first pictures complete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import structlog

from core.errors import Unreachable
from core.venues.private_session import Leave, LoggedIn, LoginRefused, Notice, Pictured, Subscribed, SubscriptionRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.domain.ids import VenueName
    from core.transport import Socket
    from core.venues.login_gate import LoginGate
    from core.venues.private_session import PrivateSession

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds for a login, and again for all acknowledgements and first pictures."""


class Handshake:
    """`run` says hello; `hear` takes what the reader finds. `leave` is called when the venue asks us to go, `refused`
    when it will not let us in or not tell a topic."""

    def __init__(
        self,
        venue: VenueName,
        session: PrivateSession,
        socket: Socket,
        gate: LoginGate | None,
        leave: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        self._venue, self._session, self._socket, self._gate = venue, session, socket, gate
        self._leave, self._refused = leave, refused
        self._logged_in = asyncio.Event()
        self._unconfirmed = set(session.topics)
        self._without_picture = set(session.pictured)
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Returns when the socket tells everything it has to. Raises Unreachable."""
        login = self._session.login()
        if login is not None:
            await self._socket.send(login)
            await self._within(self._logged_in.wait(), lambda: "the login")
        for frame in self._session.subscription():
            await self._socket.send(frame)
        if self._session.topics:
            await self._within(self._ready.wait(), self._missing)

    async def hear(self, notice: Notice) -> None:
        """Raises VenueError when the connection is of no use."""
        match notice:
            case LoggedIn():
                if self._gate is not None:
                    self._gate.accepted()
                self._logged_in.set()
            case LoginRefused():
                self._refused()
                if self._gate is not None:
                    await self._gate.refused(notice.error)
                raise notice.error
            case Subscribed():
                self._unconfirmed.difference_update(notice.topics)
                self._check()
            case Pictured():
                self._without_picture.difference_update(notice.topics)
                self._check()
            case SubscriptionRefused():
                self._refused()
                what = f"the venue refuses to send {', '.join(notice.topics) or 'what was asked'}: {notice.words}"
                log.error("stream.subscription_refused", venue=self._venue, code=notice.code, what=what)
                raise Unreachable(self._venue, what, code=notice.code)
            case Leave():
                log.info("stream.asked_to_leave", venue=self._venue, socket=self._session.name, why=notice.why)
                self._leave()

    def _check(self) -> None:
        if not self._unconfirmed and not self._without_picture:
            self._ready.set()

    def _missing(self) -> str:
        parts = [f"acknowledgement of {', '.join(sorted(self._unconfirmed))}"] if self._unconfirmed else []
        if self._without_picture:
            parts.append(f"first picture of {', '.join(sorted(self._without_picture))}")
        return " and ".join(parts)

    async def _within(self, answer: Awaitable[object], what: Callable[[], str]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await answer
        except TimeoutError:
            why = f"{self._session.name} socket: {what()} did not come within {ANSWER_WITHIN:g} s"
            raise Unreachable(self._venue, why) from None
