"""What every ccxt-backed venue client shares: ccxt over our transport and throttle, and the outcome policy of commands.

`PortedExchange` stands in front of a ccxt class: ccxt builds and signs requests, everything else (connection, throttle,
clock, reading and judging the answer) is ours. `CommandPolicy` turns what a command met into Accepted, Rejected or
Unknown.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct, field

from core.engine.ports import About, Accepted, Outcome, Rejected, Unknown
from core.errors import Ambiguous, MalformedPayload, RateLimited, Refused, Unreachable, VenueError
from core.redaction import Redactor
from core.venues.errors import ENDPOINT
from core.venues.payload import UNREADABLE
from core.venues.request_budget import Lane, only_tightening, ranked

if TYPE_CHECKING:
    from core.clock import Clock
    from core.domain.reports import Report
    from core.transport import Http, HttpResponse
    from core.venues.departures import Withholding
    from core.venues.errors import ErrorTable
    from core.venues.health import HealthMonitor
    from core.venues.request_budget import Charge, RequestBudget, Ticket
    from core.venues.venue_clock import VenueClock

_T = TypeVar("_T")

_JSON = msgspec.json.Decoder(float_hook=Decimal)
LONG_ANSWER_BYTES = 64 * 1024
"""A longer answer takes more than half a millisecond to decode."""
PROTECTIVE_RESENDS = (0.1, 0.4, 1.0)
"""Pauses in seconds before a closing or protecting order is sent again, with the same id, after the venue was certainly
not reached or certainly did nothing. Entries are not: their moment has passed."""
LONGEST_PAUSE_SECONDS = 12.0
"""A protecting order waits this long for a rate limit to pass before it is given back as not sent."""


def _no_headers(_method: str, _path: str) -> Mapping[str, str]:
    return {}


class Seam(Struct, frozen=True, kw_only=True):
    """Everything a ported exchange needs instead of ccxt's own session, throttle and clock."""

    http: Http
    budget: RequestBudget
    clock: VenueClock
    errors: ErrorTable
    charge_of: Callable[[str, str, Any, float], Charge]
    """(method, path, params, ccxt's cost) -> what the request costs. Params are a dict, or a list where the venue takes
    one."""
    fault_in: Callable[[object], tuple[str, str] | None]
    """Of the decoded body of any answer: the venue's raw code as text, and its words; None where it tells of no error.
    A request of several orders of which some failed is no error: its rows tell."""
    health: HealthMonitor
    withholding: Withholding
    """Asked in the step in which a request leaves."""
    headers_of: Callable[[str, str], Mapping[str, str]] = _no_headers
    """(method, path) -> headers beside those of signing, asked when the request leaves (OKX: expTime)."""
    redactor: Redactor = field(default_factory=Redactor)
    """Knows this account's secrets: a venue that repeats one in its answer does not get it into our records."""
    workers: Executor | None = None
    """Where long parsing is done; None = on the loop."""

    async def off_loop(self, work: Callable[[], _T]) -> _T:
        """Run what takes milliseconds where it does not hold up the loop."""
        if self.workers is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self.workers, work)

    async def payload(self, answer: HttpResponse, charge: Charge) -> Any:
        """The decoded body of a success; raises VenueError for everything else."""
        try:
            if len(answer.body) < LONG_ANSWER_BYTES:
                data = _JSON.decode(self.redactor.raw(answer.body))
            else:
                data = await self.off_loop(partial(_JSON.decode, answer.body))
        except UNREADABLE:
            raise self._error(answer, charge, "", _beginning(answer)) from None
        fault = self.fault_in(data)
        if fault is not None:
            raise self._error(answer, charge, *fault)
        if answer.status >= 400:
            raise self._error(answer, charge, "", _beginning(answer))
        return data

    def _error(self, answer: HttpResponse, charge: Charge, code: str, text: str) -> VenueError:
        error = self.errors.error(
            answer.status,
            code,
            self.redactor.text(text),
            venue_ms=self.clock.now_ms(),
            offset_ms=self.clock.offset_ms,
            headers=answer.headers,
        )
        if isinstance(error, RateLimited):
            self.pause(error, charge)
        return error

    def pause(self, error: RateLimited, charge: Charge) -> None:
        """What a limit's answer is about is silent from now on; also for a limit told by one row of several."""
        if error.bucket is None:
            self.budget.block_until(error.retry_at_ms)
            return
        error.bucket = bucket_of(error.bucket, charge)
        self.budget.block(error.bucket, error.retry_at_ms)


def bucket_of(named: str, charge: Charge) -> str:
    """The bucket of a request that a limit is about: its endpoint's own, or the one of that name or family."""
    if named == ENDPOINT:
        return charge.endpoint
    return next((bucket for bucket in charge.costs if bucket.partition(":")[0] == named), named)


def _beginning(answer: HttpResponse) -> str:
    return answer.body[:400].decode("utf-8", "replace")


class Withheld(Refused):
    """We kept an order back after it had waited for its turn; nothing was sent."""


_NEVER_ESCAPED = frozenset({str, int})
_NOTHING_TO_ESCAPE = re.compile(r"[\w.~-]*=[\w.~-]*(?:&[\w.~-]*=[\w.~-]*)*", re.ASCII)


class PortedExchange:
    """Mixin in front of a ccxt class. `request` is the one method through which ccxt sends anything."""

    seam: Seam

    if TYPE_CHECKING:

        def sign(self, path: str, api: Any, method: str, params: Any) -> dict[str, Any]: ...
        def calculate_rate_limiter_cost(
            self, api: Any, method: str, path: str, params: Any, config: dict[str, Any]
        ) -> float: ...

    def urlencode(self, params: Mapping[str, Any], *more: Any) -> str:
        """What ccxt signs. Its own way looks at every character for what must be escaped, a third of the time to sign
        an order; there is nothing in an order's parameters."""
        if not more and {type(value) for value in params.values()} <= _NEVER_ESCAPED:
            text = "&".join([f"{name}={value}" for name, value in params.items()])
            if text.count("=") == len(params) and _NOTHING_TO_ESCAPE.fullmatch(text):
                return text
        return super().urlencode(params, *more)  # type: ignore[misc, no-any-return]  # ccxt's class comes behind

    def hmac(self, request: bytes, secret: bytes, algorithm: Any, digest: str = "hex") -> Any:
        """In one call of the library; ccxt's own goes through a dozen."""
        if digest == "hex":
            return hmac.digest(secret, request, algorithm).hex()
        return super().hmac(request, secret, algorithm, digest)  # type: ignore[misc]  # as above

    def milliseconds(self) -> int:
        """ccxt stamps and signs with this: the venue's clock, not the host's (NET-01)."""
        return self.seam.clock.now_ms()

    async def request(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Any = None,
        config: dict[str, Any] | None = None,
    ) -> Any:
        """Throttle, sign, send, judge. Signed last, so that waiting does not age the time stamp. Raises VenueError,
        Withheld when there is an objection to every order in it."""
        params = {} if params is None else params
        ccxt_cost = self.calculate_rate_limiter_cost(api, method, path, params, config or {})
        charge = ranked(self.seam.charge_of(method, path, params, ccxt_cost))
        health, signed = self.seam.health, "private" in str(api).lower()
        health.admit(signed=signed, protective=charge.commands and charge.lane <= Lane.CANCEL)
        ticket = await self.seam.budget.acquire(charge)
        leaving = self.seam.withholding.leave(params) if charge.commands else params
        if leaving is None:
            self.seam.budget.give_back(ticket)
            raise Withheld(self.seam.errors.venue, self.seam.withholding.why(params))
        try:
            payload = await self._sent(ticket, path, api, method, leaving)
        except VenueError as error:
            health.counts[f"{method} {path} {error.code or type(error).__name__}"] += 1
            health.failed(error, signed=signed, reading=not charge.commands)
            raise
        health.succeeded(signed=signed)
        return payload

    async def _sent(self, ticket: Ticket, path: str, api: Any, method: str, params: Any) -> Any:
        seam = self.seam
        headers: Mapping[str, str] | None = None
        try:
            signed = self.sign(path, api, method, params)
            body = signed["body"]
            answer = await seam.http.request(
                signed["method"],
                signed["url"],
                {**(signed["headers"] or {}), **seam.headers_of(method, path)},
                body.encode() if body else None,
            )
            headers = answer.headers
        finally:
            seam.budget.settle(ticket, headers)
        return await seam.payload(answer, ticket.charge)


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

    async def run(
        self, send: Callable[[], Awaitable[tuple[Report, ...]]], *, protective: bool, tightening: bool = False
    ) -> Outcome:
        """`send` always sends the same id; it is called again only after the venue certainly did not execute it.
        `tightening`: it only improves a stop that rests. Such a command ranks below what protects, and is not sent
        again: the next price decides anew."""
        pauses = iter(PROTECTIVE_RESENDS if protective and not tightening else ())
        may_resync = True
        while True:
            try:
                with only_tightening(applies=tightening):
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
