"""The signal server as a source of waves, in either form of its protocol: connect, log in, listen, and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier, SignalBatch
from core.engine.task_group import TaskGroup
from core.errors import MalformedPayload, VenueError
from core.signals.backoff import Backoff
from core.signals.candle_book import CandleBook
from core.signals.connection import LoginRefused, ServerConnection
from core.signals.fields import shown
from core.signals.parsing import SignalReader
from core.signals.polled import CheckPlan, PolledWaves
from core.signals.pushed import PushedWaves
from core.transport import Socket

log = structlog.get_logger(__name__)

PROBE_SECONDS = 1.0
"""A pushed server sends its snapshot right after the login; one that says nothing for so long waits to be asked."""
REFUSED_SECONDS = 60.0
"""After a refused token: asking faster would only hammer (SIG-13)."""


class SignalForm(StrEnum):
    """Which form of the protocol the server speaks; AUTO listens first."""

    AUTO = "auto"
    PUSHED = "pushed"
    POLLED = "polled"


class ServerAddress(Struct, frozen=True, kw_only=True):
    url: str
    token: str


class SignalServer:
    """One connection at a time, for ever. `counts` holds what was refused or went wrong, by reason; `form` the form
    spoken now, AUTO while it is not known."""

    def __init__(
        self,
        *,
        address: ServerAddress,
        form: SignalForm,
        socket: Callable[[], Socket],
        reader: SignalReader,
        collect_seconds: float,
        plan: CheckPlan,
        clock: Clock,
        notifier: Notifier,
        newest_candle_ms: int = 0,
        note: Callable[[int], None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        """`newest_candle_ms` and `note` carry the newest handled candle of the polled form over a restart."""
        self._address = address
        self._wanted = form
        self._socket = socket
        self._reader = reader
        self._collect_seconds = collect_seconds
        self._plan = plan
        self._clock = clock
        self._notifier = notifier
        self._book = CandleBook(newest_candle_ms)
        self._note = note
        self._backoff = backoff or Backoff()
        self._alerted = False
        self._lived_since: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()
        self.form = form

    @property
    def connected(self) -> bool:
        return self._lived_since is not None

    async def run(self, emit: Callable[[SignalBatch], None], expect: Callable[[], None] = lambda: None) -> None:
        self._pushed = PushedWaves(
            reader=self._reader,
            collect_seconds=self._collect_seconds,
            clock=self._clock,
            counts=self.counts,
            emit=emit,
        )
        self._polled = PolledWaves(
            reader=self._reader,
            plan=self._plan,
            book=self._book,
            clock=self._clock,
            counts=self.counts,
            emit=emit,
            expect=expect,
            note=self._note,
        )
        while True:
            pause = await self._connection()
            self.counts["reconnects"] += 1
            await asyncio.sleep(pause)

    async def _connection(self) -> float:
        """One connection from beginning to end, and the seconds to wait before the next."""
        connection = ServerConnection(self._socket(), self._address.url, self.counts)
        lived = 0.0
        try:
            await connection.open(self._address.token)
            self._logged_in()
            await self._talk(connection)
        except LoginRefused as error:
            self._login_refused(error)
            return REFUSED_SECONDS
        except (VenueError, MalformedPayload, TimeoutError) as error:
            lived = 0.0 if self._lived_since is None else self._clock.monotonic() - self._lived_since
            log.warning("signals.disconnected", error=str(error) or "no answer in time", lived_s=round(lived))
        finally:
            self._lived_since = None
            await connection.close()
            self._pushed.close_wave()
        return self._backoff.after(lived)

    def _logged_in(self) -> None:
        self._lived_since = self._clock.monotonic()
        log.info("signals.connected", url=self._address.url, form=self.form.value)
        if self._alerted:
            self._alerted = False
            self._notifier.notify(Level.INFO, "the signal server takes the token again", kind=AlertKind.KEY)

    def _login_refused(self, error: LoginRefused) -> None:
        self.counts["login_refused"] += 1
        log.error("signals.login_refused", error=str(error), retry_s=REFUSED_SECONDS)
        if not self._alerted:
            self._alerted = True
            self._notifier.notify(
                Level.CRITICAL, f"{error}; no signals until SIGNAL_WS_TOKEN is right", kind=AlertKind.KEY
            )

    async def _talk(self, connection: ServerConnection) -> None:
        """Listen and, in the polled form, ask. Raises VenueError or TimeoutError when the connection ends."""
        ended: VenueError | TimeoutError | None = None
        async with TaskGroup() as tasks:
            self._asking = tasks.create_task(self._ask(connection), name="signals/ask")
            try:
                await connection.read(self._on_frame)
            except (VenueError, TimeoutError) as error:
                ended = error
            finally:
                self._asking.cancel()
        if ended is not None:
            raise ended

    async def _ask(self, connection: ServerConnection) -> None:
        """In the polled form, for as long as the connection lives; in the pushed form the client sends nothing."""
        if self._wanted is SignalForm.AUTO and self.form is not SignalForm.POLLED:
            self.form = SignalForm.AUTO
            await asyncio.sleep(PROBE_SECONDS)  # a pushed frame ends this task
            self._take_form(SignalForm.POLLED)
        if self.form is SignalForm.POLLED:
            async with TaskGroup() as tasks:
                tasks.create_task(self._polled.ask(connection.say), name="signals/checks")
                tasks.create_task(self._polled.stay_alive(connection.say), name="signals/pings")

    async def _on_frame(self, frame: Mapping[str, Any]) -> None:
        """Raises MalformedPayload."""
        match frame.get("type"):
            case "signal" if self._is_pushed():
                self._pushed.take(frame)
            case "signals_snapshot" if self._is_pushed():
                await self._pushed.take_snapshot(frame.get("data"))
            case "heartbeat":
                self._is_pushed()
            case "signals" if self.form is SignalForm.POLLED:
                await self._polled.take(frame)
            case "pong" | "stats":
                pass
            case "error":
                self.counts["error_frames"] += 1
                log.warning("signals.error_frame", message=shown(frame.get("message")))
            case "signal" | "signals_snapshot" | "signals" as other:
                self.counts["unexpected_frames"] += 1
                log.warning("signals.unexpected_frame", type=other, form=self.form.value)
            case other:
                self.counts["unknown_frames"] += 1
                log.info("signals.unknown_frame", type=shown(other))

    def _is_pushed(self) -> bool:
        """A frame of the pushed form came. In AUTO that settles it, also when the server was taken for a polled one."""
        if self._wanted is SignalForm.AUTO and self.form is not SignalForm.PUSHED:
            self._take_form(SignalForm.PUSHED)
            if self._asking is not None:
                self._asking.cancel()
        return self.form is SignalForm.PUSHED

    def _take_form(self, form: SignalForm) -> None:
        self.form = form
        log.info("signals.form", form=form.value)
