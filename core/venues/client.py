"""What every ccxt-backed venue client shares: ccxt over our transport and throttle, and the outcome policy of commands.

`PortedExchange` stands in front of a ccxt class: ccxt builds and signs requests, everything else (connection, throttle,
clock, reading and judging the answer) is ours. `CommandPolicy` turns what a command met into Accepted, Rejected or
Unknown; `ReadPolicy` repeats reads that met a passing trouble.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec
import stamina
import structlog
from stamina.instrumentation import RetryDetails

from core.engine.ports import About, Accepted, Outcome, Rejected, Unknown
from core.errors import Ambiguous, MalformedPayload, RateLimited, Refused, Unreachable, VenueError
from core.venues.reconnecting import system_jitter
from core.venues.request_budget import Lane

if TYPE_CHECKING:
    from core.clock import Clock
    from core.domain.reports import Report
    from core.transport import Http, HttpResponse
    from core.venues.errors import ErrorTable
    from core.venues.health import HealthMonitor
    from core.venues.request_budget import Charge, RequestBudget, Ticket

_T = TypeVar("_T")
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")
_D = TypeVar("_D")

log = structlog.get_logger(__name__)

_JSON = msgspec.json.Decoder(float_hook=Decimal)
LONG_ANSWER_BYTES = 64 * 1024
"""A longer answer takes more than half a millisecond to decode."""
PROTECTIVE_RESENDS = (0.1, 0.4, 1.0)
"""Pauses in seconds before a closing or protecting order is sent again, with the same id, after the venue was certainly
not reached or certainly did nothing. Entries are not: their moment has passed."""
LONGEST_READ_PAUSE = 60.0
LONGEST_PAUSE_SECONDS = 12.0
"""A protecting order waits this long for a rate limit to pass before it is given back as not sent."""


class VenueClock:
    """The venue's time as far as we know it: the host clock plus the measured offset."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.offset_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Everything a ported exchange needs instead of ccxt's own session, throttle and clock."""

    http: Http
    budget: RequestBudget
    clock: VenueClock
    errors: ErrorTable
    charge_of: Callable[[str, str, Mapping[str, object], float], Charge]
    """(method, path, params, ccxt's cost) -> what the request costs."""
    health: HealthMonitor
    objections: dict[str, Callable[[], str | None]] = field(default_factory=dict)
    """By client order id: asked in the step in which that order leaves."""
    workers: Executor | None = None
    """Where long parsing is done; None = on the loop."""

    async def off_loop(self, work: Callable[[], _T]) -> _T:
        """Run what takes milliseconds where it does not hold up the loop."""
        if self.workers is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self.workers, work)

    async def payload(self, answer: HttpResponse) -> Any:
        """The decoded body of a success; raises VenueError for everything else."""
        try:
            if len(answer.body) < LONG_ANSWER_BYTES:
                data = _JSON.decode(answer.body)
            else:
                data = await self.off_loop(partial(_JSON.decode, answer.body))
        except (msgspec.DecodeError, RecursionError):  # the second from what is nested too deep
            text = answer.body[:400].decode("utf-8", "replace")
            raise self._error(answer, "", text) from None
        if answer.status < 400 and not _is_error(data):
            return data
        row = data if isinstance(data, dict) else {}
        code = row.get("code")
        raise self._error(answer, "" if code is None else str(code), str(row.get("msg", "")))

    def _error(self, answer: HttpResponse, code: str, text: str) -> VenueError:
        error = self.errors.error(
            answer.status,
            code,
            text,
            venue_ms=self.clock.now_ms(),
            offset_ms=self.clock.offset_ms,
            headers=answer.headers,
        )
        if isinstance(error, RateLimited):
            self.budget.block_until(error.retry_at_ms)
        return error


def _is_error(data: object) -> bool:
    """Some errors come with HTTP 200; a success may carry `code` too (200, as number or text) (ORD-07)."""
    code = data.get("code") if isinstance(data, dict) else None
    return isinstance(code, int | str) and str(code).startswith("-")


class Withheld(Refused):
    """We kept an order back after it had waited for its turn; nothing was sent."""


class PortedExchange:
    """Mixin in front of a ccxt class. `request` is the one method through which ccxt sends anything."""

    seam: Seam

    if TYPE_CHECKING:

        def sign(self, path: str, api: Any, method: str, params: dict[str, Any]) -> dict[str, Any]: ...
        def calculate_rate_limiter_cost(
            self, api: Any, method: str, path: str, params: dict[str, Any], config: dict[str, Any]
        ) -> float: ...

    def milliseconds(self) -> int:
        """ccxt stamps and signs with this: the venue's clock, not the host's (NET-01)."""
        return self.seam.clock.now_ms()

    async def request(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> Any:
        """Throttle, sign, send, judge. Signed last, so that waiting does not age the time stamp. Raises VenueError."""
        params = params or {}
        ccxt_cost = self.calculate_rate_limiter_cost(api, method, path, params, config or {})
        charge = self.seam.charge_of(method, path, params, ccxt_cost)
        health, signed = self.seam.health, "private" in str(api).lower()
        health.admit(signed=signed, protective=method == "DELETE" or (charge.lane <= Lane.CLOSE and charge.orders > 0))
        ticket = await self.seam.budget.acquire(charge)
        objection = self.seam.objections.get(str(params.get("newClientOrderId")))
        if objection is not None and (why := objection()) is not None:
            self.seam.budget.give_back(ticket)
            raise Withheld(self.seam.errors.venue, why)
        try:
            payload = await self._sent(ticket, path, api, method, params)
        except VenueError as error:
            health.counts[f"{method} {path} {error.code or type(error).__name__}"] += 1
            health.failed(error, signed=signed, reading=charge.orders == 0 and method != "DELETE")
            raise
        health.succeeded(signed=signed)
        return payload

    async def _sent(self, ticket: Ticket, path: str, api: Any, method: str, params: dict[str, Any]) -> Any:
        seam = self.seam
        headers: Mapping[str, str] | None = None
        try:
            signed = self.sign(path, api, method, params)
            body = signed["body"]
            answer = await seam.http.request(
                signed["method"], signed["url"], signed["headers"] or {}, body.encode() if body else None
            )
            headers = answer.headers
        finally:
            seam.budget.settle(ticket, headers)
        return await seam.payload(answer)


class CommandPolicy:
    """Runs one command to its outcome (DESIGN §3.1). `resync` measures the venue's clock anew."""

    def __init__(
        self,
        errors: ErrorTable,
        clock: Clock,
        resync: Callable[[], Awaitable[None]],
        *,
        about: Mapping[str, About],
    ) -> None:
        self._errors, self._clock, self._resync = errors, clock, resync
        self._about = about

    async def run(self, send: Callable[[], Awaitable[tuple[Report, ...]]], *, protective: bool) -> Outcome:
        """`send` always sends the same id; it is called again only after the venue certainly did not execute it."""
        pauses = iter(PROTECTIVE_RESENDS if protective else ())
        may_resync = True
        while True:
            try:
                return Accepted(reports=await send())
            except (Ambiguous, MalformedPayload) as error:
                return Unknown(cause=str(error))
            except Withheld as error:
                return Rejected(code="", detail=error.what, about=About.WITHHELD)
            except Refused as error:
                if self._errors.is_done(error):
                    return Accepted(reports=())
                if not (may_resync and self._errors.is_clock(error) and await self._resynced()):
                    return self._rejected(error)
                may_resync = False
            except (Unreachable, RateLimited) as error:
                pause = self._pause(error, next(pauses, None))
                if pause is None:
                    return self._rejected(error)
                await asyncio.sleep(pause)

    def _pause(self, error: VenueError, pause: float | None) -> float | None:
        if pause is None or not isinstance(error, RateLimited):
            return pause
        pause = max(pause, (error.retry_at_ms - self._clock.now_ms()) / 1000)
        return pause if pause <= LONGEST_PAUSE_SECONDS else None

    async def _resynced(self) -> bool:
        try:
            await self._resync()
        except VenueError:
            return False  # the command's own refusal is the better thing to report
        return True

    def _rejected(self, error: VenueError) -> Rejected:
        not_judged = isinstance(error, Unreachable | RateLimited)
        about = About.UNREACHED if not_judged else self._about.get(error.code, About.OTHER)
        return Rejected(code=error.code, detail=error.what, about=about)


class ReadPolicy:
    """Repeats a read that met a passing trouble; what it raises in the end is never Ambiguous: a read does nothing."""

    def __init__(
        self, errors: ErrorTable, resync: Callable[[], Awaitable[None]], *, attempts: int = 3, first_pause: float = 1.0
    ) -> None:
        """`first_pause` in seconds, up to twice that by chance, then doubling to a minute (NET-05). `attempts=1`
        switches repeating off."""
        self._errors, self._resync = errors, resync
        self._attempts, self._first_pause = attempts, first_pause
        # Its own hooks are looked for at the first retry: an import of half a second on the loop, in an outage.
        stamina.instrumentation.set_on_retry_hooks([_note_retry])

    async def run(self, read: Callable[[], Awaitable[_T]]) -> _T:
        try:
            # The chance is in the first pause: stamina's own cannot be seeded, and a simulation must repeat alike.
            async for attempt in stamina.retry_context(
                on=_is_passing,
                attempts=self._attempts,
                timeout=None,
                wait_initial=self._first_pause * (1 + system_jitter()),
                wait_max=LONGEST_READ_PAUSE,
                wait_jitter=0,
            ):
                with attempt:
                    return await self._in_time(read)
        except Ambiguous as error:
            raise Unreachable(error.venue, error.what, code=error.code, status=error.status) from error
        raise AssertionError("a retry context ends by returning or raising")

    async def _in_time(self, read: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await read()
        except Refused as error:
            if not self._errors.is_clock(error):
                raise
        await self._resync()
        return await read()


def _is_passing(error: Exception) -> bool:
    return isinstance(error, Unreachable | Ambiguous)


def _note_retry(details: RetryDetails) -> None:
    log.info("venue.read_again", why=str(details.caused_by), number=details.retry_num, wait_s=details.wait_for)


@overload
async def together(first: Awaitable[_A], second: Awaitable[_B], /) -> tuple[_A, _B]: ...
@overload
async def together(
    first: Awaitable[_A], second: Awaitable[_B], third: Awaitable[_C], fourth: Awaitable[_D], /
) -> tuple[_A, _B, _C, _D]: ...
async def together(*reads: Awaitable[Any]) -> tuple[Any, ...]:
    """All answers, in order. The first failure is raised as it is, and then none of the others goes on behind it."""

    async def answer(read: Awaitable[_T]) -> _T:
        return await read

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(read), name="venue-client/read") for read in reads]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    return tuple(task.result() for task in tasks)
