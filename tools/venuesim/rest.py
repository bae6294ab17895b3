"""REST: a request's way in, its execution, and the answer's way out, with the faults on each stretch."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from msgspec.structs import replace

from tools.venuesim.delays import Delays
from tools.venuesim.faults import Fault, Occasion
from tools.venuesim.json_text import json_bytes
from tools.venuesim.request_log import Line, RequestLog
from tools.venuesim.wire import DROPPED, Dropped, Facade, Request, Response

Reply = Callable[[Response | Dropped], None]
REMEMBERED = 512
VOLATILE = frozenset({"timestamp", "signature", "recvWindow"})
LATENCY_MS = 1_000.0
EVENT_LEAD_MS = 100.0
TIMEOUT_MS = 0.0


class Floor(Protocol):
    """What the carriers need from the kernel."""

    current: Occasion | None
    """What is being executed, for faults inside the engine."""

    @property
    def facade(self) -> Facade: ...

    @property
    def log(self) -> RequestLog: ...

    def time_ms(self) -> float: ...

    def shell_ms(self) -> float:
        """The moment the shell stands at: when what is handed over now really leaves."""
        ...

    def after(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Later, or at once for 0."""
        ...

    def soon(self, action: Callable[[], None]) -> None:
        """At this same moment, but after what is going on now."""
        ...

    def fault(self, kind: str, occasion: Occasion) -> Fault | None: ...


@dataclass(slots=True, kw_only=True)
class Trip:
    """One request under way."""

    request: Request
    occasion: Occasion
    line: Line
    reply: Reply


class Rest:
    def __init__(self, floor: Floor, delays: Delays) -> None:
        self._floor = floor
        self._delays = delays
        self._answers: OrderedDict[str, Response] = OrderedDict()
        """The newest good answer to each question, for ``stale_rest``."""

    def submit(self, request: Request, reply: Reply) -> None:
        """Take a request in at this moment; ``reply`` is called once, now or later."""
        floor = self._floor
        info = floor.facade.describe(request)
        line = floor.log.open(floor.time_ms(), request.method, request.path, info)
        occasion = Occasion(method=request.method, path=request.path, symbol=info.symbol, client_ids=info.client_ids)
        trip = Trip(request=request, occasion=occasion, line=line, reply=reply)
        latency = floor.fault("latency", occasion)
        before, after = _split(latency)
        if (lost := floor.fault("drop_request", occasion)) is not None:
            floor.after(self._delays.leg() + before + (lost.delay_ms or 0), lambda: self._drop(trip))
            return
        floor.after(self._delays.leg() + before, lambda: self._execute(trip, after))

    def _execute(self, trip: Trip, extra_ms: float) -> None:
        floor, occasion = self._floor, trip.occasion
        refusal = floor.fault("maintenance", occasion)
        error = floor.fault("http_error", occasion)
        if refusal is None and error is not None and error.phase != "after":
            refusal = error
        if refusal is not None:
            self._send(trip, injected_error(floor.facade, trip.request, refusal), extra_ms + (refusal.delay_ms or 0))
            return
        response = self._answer(trip)
        if error is not None:
            response = injected_error(floor.facade, trip.request, error)
            extra_ms += error.delay_ms or 0
        if (unknown := floor.fault("timeout_after_execution", occasion)) is not None:
            response = injected_unknown(floor.facade, trip.request, unknown)
            extra_ms += TIMEOUT_MS if unknown.delay_ms is None else unknown.delay_ms
        if (late := floor.fault("event_before_reply", occasion)) is not None:
            extra_ms += EVENT_LEAD_MS if late.delay_ms is None else late.delay_ms
        if (lost := floor.fault("drop_response", occasion)) is not None:
            floor.after(self._delays.leg() + extra_ms + (lost.delay_ms or 0), lambda: self._drop(trip))
            return
        self._send(trip, response, extra_ms)

    def _answer(self, trip: Trip) -> Response:
        floor = self._floor
        stale = floor.fault("stale_rest", trip.occasion) if trip.request.method == "GET" else None
        key = question(trip.request)
        if stale is not None:
            remembered = self._answers.get(key) or floor.facade.not_yet(trip.request)
            if remembered is not None:
                return remembered
        floor.current = trip.occasion
        try:
            response = floor.facade.handle(trip.request)
        finally:
            floor.current = None
        if trip.request.method == "GET" and response.status == 200:
            self._remember(key, response)
            if floor.fault("empty_rest", trip.occasion) is not None:
                return replace(response, body=emptied(response.body))
        return response

    def _send(self, trip: Trip, response: Response, extra_ms: float) -> None:
        def deliver() -> None:
            self._floor.log.answer(trip.line, self._floor.shell_ms(), response.status, response.code)
            trip.reply(response)

        self._floor.after(self._delays.leg() + extra_ms, deliver)

    def _drop(self, trip: Trip) -> None:
        self._floor.log.lose(trip.line)
        trip.reply(DROPPED)

    def _remember(self, key: str, response: Response) -> None:
        self._answers[key] = response
        self._answers.move_to_end(key)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def injected_error(facade: Facade, request: Request, fault: Fault) -> Response:
    """What ``http_error`` or ``maintenance`` answers."""
    status = fault.status or 503
    if fault.body is not None:
        return Response(status=status, headers={"content-type": "application/json"}, body=_raw(fault.body))
    return facade.error(request, status=status, code=fault.code, message=None)


def injected_unknown(facade: Facade, request: Request, fault: Fault) -> Response:
    """What ``timeout_after_execution`` answers."""
    if fault.status is not None or fault.body is not None or fault.code is not None:
        return injected_error(facade, request, fault)
    return facade.unknown_outcome(request)


def question(request: Request) -> str:
    """What a GET asks, without what differs every time it is asked."""
    pairs = [pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] not in VOLATILE]
    return f"{request.path}?{sorted(pairs)}"


def emptied(body: bytes) -> bytes:
    """The same JSON with every list in it empty; anything else unchanged."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return body
    return json_bytes(_without_rows(document))


def _without_rows(value: Any) -> Any:
    if isinstance(value, list):
        return []
    if isinstance(value, dict):
        return {key: _without_rows(inner) for key, inner in value.items()}
    return value


def _split(latency: Fault | None) -> tuple[float, float]:
    """Extra ms on the way in and out; half and half unless a phase is given."""
    if latency is None:
        return 0.0, 0.0
    extra = LATENCY_MS if latency.delay_ms is None else latency.delay_ms
    if latency.phase is None:
        return extra / 2, extra / 2
    return (extra, 0.0) if latency.phase == "before" else (0.0, extra)


def _raw(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
