"""WebSockets: commands in, frames out, in order, with the faults on each side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from tools.venuesim.delays import Delays
from tools.venuesim.faults import Fault, Occasion
from tools.venuesim.request_log import Line
from tools.venuesim.rest import EVENT_LEAD_MS, LATENCY_MS, Floor, injected_error, injected_unknown
from tools.venuesim.wire import Frame, FrameKind, Lane, Request, RequestInfo, Response, StreamSession

Deliver = Callable[[Frame], None]
GARBAGE = '\x00{"e":not json'
HUGE_BYTES = 4 * 1024 * 1024
DELAY_MS = 1_000.0
ABNORMAL = 1006
"""Close code of a connection that was cut: the shell ends it without a close frame."""


class Socket:
    """One open connection. The shell calls ``receive``, ``ping`` and ``gone``; the façade sees the rest as Outbox."""

    def __init__(self, floor: Floor, delays: Delays, path: str, deliver: Deliver) -> None:
        self.path = path
        self.half_open = False
        self.is_open = True
        self.session: StreamSession | None = None
        self._floor = floor
        self._delays = delays
        self._deliver = deliver
        self._line: Line | None = None
        self._drop_reply = self._mute_reply = False
        self._late_ms = 0.0
        """How much later the reply under way leaves."""
        self._last_in = self._last_out = 0.0
        self._kept: Frame | None = None
        """Waits to be overtaken (``reorder_events``)."""

    # from the shell

    def receive(self, text: str) -> None:
        if self.half_open or not self.is_open or self.session is None:
            return
        floor = self._floor
        info = self.session.describe(text)
        occasion = Occasion(method="WS", stream=self.path)
        line: Line | None = None
        delay = self._delays.leg()
        if info is not None:
            op = info.op or "unknown"
            line = floor.log.open(floor.time_ms(), "WS", op, info)
            occasion = Occasion(method="WS", path=op, symbol=info.symbol, client_ids=info.client_ids, stream=self.path)
            if (latency := floor.fault("latency", occasion)) is not None:
                delay += LATENCY_MS if latency.delay_ms is None else latency.delay_ms
            if floor.fault("drop_request", occasion) is not None:
                floor.log.lose(line)
                return
        due = self._last_in = max(self._last_in, floor.time_ms() + delay)
        floor.after(due - floor.time_ms(), lambda: self._execute(text, occasion, info, line))

    def ping(self, data: bytes = b"") -> None:
        """The client asks whether we live. (As Outbox: ``ping_client``.)"""
        if self.half_open or not self.is_open:
            return
        due = self._last_in = max(self._last_in, self._floor.time_ms() + self._delays.leg())
        self._floor.after(due - self._floor.time_ms(), lambda: self._out(Frame(kind=FrameKind.PONG, data=data)))

    def gone(self) -> None:
        """The client has left."""
        if self.is_open:
            self.is_open = False
            self._end()

    # from the façade

    def send(
        self, payload: str | bytes, *, event: str, symbol: str | None = None, client_id: str | None = None
    ) -> None:
        if not self.is_open:
            return
        frame = _frame(payload)
        ids = (client_id,) if client_id is not None else ()
        occasion = Occasion(stream=self.path, event=event, symbol=symbol, client_ids=ids)
        if self._cut_by(occasion):
            return
        fault = self._floor.fault
        if fault("lose_event", occasion) is not None:
            return
        if fault("garbage_frame", occasion) is not None:
            self._out(_frame(GARBAGE))
        if fault("huge_frame", occasion) is not None:
            self._out(_frame('"' + "x" * HUGE_BYTES + '"'))
        if (late := fault("delay_event", occasion)) is not None:
            self._out_late(frame, DELAY_MS if late.delay_ms is None else late.delay_ms)
        elif (turned := fault("reorder_events", occasion)) is not None and self._kept is None:
            self._keep(frame, turned)
        else:
            self._out(frame)
            self._release()
        if (twice := fault("duplicate_event", occasion)) is not None:
            self._out_late(frame, twice.delay_ms or 0.0)

    def reply(self, payload: str | bytes, *, code: int | str | None = None, status: int | None = None) -> None:
        if self._mute_reply:
            return
        line, self._line = self._line, None
        if self._drop_reply:
            self._drop_reply = False
            if line is not None:
                self._floor.log.lose(line)
            return
        answered = None
        if line is not None:
            answered = self._answered(line, status, code)
        if self._late_ms:
            self._out_late(_frame(payload), self._late_ms, answered)
        else:
            self._out(_frame(payload), answered)

    def ping_client(self, data: bytes = b"") -> None:
        self._out(Frame(kind=FrameKind.PING, data=data))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._out(Frame(kind=FrameKind.CLOSE, data=reason.encode(), close_code=code))
        self._end()

    # from the kernel

    def cut(self, code: int = ABNORMAL) -> None:
        """End the connection now. The façade, which may be in the middle of sending, hears of it right after."""
        if self.is_open:
            self._deliver(Frame(kind=FrameKind.CLOSE, close_code=code))
            self.is_open = False
            self._floor.soon(self._end)

    def end_by(self, fault: Fault) -> None:
        """Cut it, or say the fault's body first (a notice) and cut it when its delay is over."""
        code = fault.code if isinstance(fault.code, int) else ABNORMAL
        if fault.body is not None:
            self._out(_frame(fault.body if isinstance(fault.body, str) else json.dumps(fault.body)))
        self._floor.after(fault.delay_ms or 0.0, lambda: self.cut(code))

    def stall(self) -> None:
        """Leave the connection open and dead: nothing passes in either direction any more."""
        self.half_open = True

    def _execute(self, text: str, occasion: Occasion, info: RequestInfo | None, line: Line | None) -> None:
        if self.session is None or not self.is_open:
            return
        self._line, self._late_ms = line, 0.0
        self._drop_reply = line is not None and self._floor.fault("drop_response", occasion) is not None
        self._floor.current = occasion
        try:
            # What only opens and closes subscriptions has no status that could be an error.
            if info is None or info.lane is Lane.SESSION:
                self.session.receive(text)
            else:
                self._carry_out(self.session, text, occasion)
        finally:
            self._floor.current = None
            self._line, self._late_ms, self._mute_reply = None, 0.0, False

    def _carry_out(self, session: StreamSession, text: str, occasion: Occasion) -> None:
        """A command under the faults that REST requests have too."""
        floor = self._floor
        request = Request(method="WS", path=occasion.path or "")
        refusal = floor.fault("maintenance", occasion)
        error = floor.fault("http_error", occasion)
        if refusal is None and error is not None and error.phase != "after":
            refusal = error
        if refusal is not None:
            self._late_ms = refusal.delay_ms or 0.0
            session.refuse(text, injected_error(floor.facade, request, refusal))
            return
        unknown = floor.fault("timeout_after_execution", occasion)
        if (late := floor.fault("event_before_reply", occasion)) is not None:
            self._late_ms = EVENT_LEAD_MS if late.delay_ms is None else late.delay_ms
        self._mute_reply = error is not None or unknown is not None
        session.receive(text)
        self._mute_reply = False
        if unknown is not None:
            self._late_ms += unknown.delay_ms or 0.0
            session.refuse(text, injected_unknown(floor.facade, request, unknown))
        elif error is not None:
            self._late_ms += error.delay_ms or 0.0
            session.refuse(text, injected_error(floor.facade, request, error))

    def _cut_by(self, occasion: Occasion) -> bool:
        """Faults on the socket that wait for a frame."""
        if (fault := self._floor.fault("disconnect_stream", occasion)) is not None:
            self.end_by(fault)
            return not self.is_open
        if self._floor.fault("half_open_stream", occasion) is not None:
            self.stall()
            return True
        return False

    def _answered(self, line: Line, status: int | None, code: int | str | None) -> Callable[[], None]:
        return lambda: self._floor.log.answer(line, self._floor.shell_ms(), status, code)

    def _out(self, frame: Frame, sent: Callable[[], None] | None = None) -> None:
        """Leave in order: jitter never lets a frame overtake another of its connection."""
        now = self._floor.time_ms()
        due = self._last_out = max(self._last_out, now + self._delays.leg())
        self._floor.after(due - now, lambda: self._hand_over(frame, sent))

    def _out_late(self, frame: Frame, delay_ms: float, sent: Callable[[], None] | None = None) -> None:
        """Leave on its own, others may overtake."""
        self._floor.after(self._delays.leg() + delay_ms, lambda: self._hand_over(frame, sent))

    def _hand_over(self, frame: Frame, sent: Callable[[], None] | None) -> None:
        if not self.is_open or self.half_open:
            return
        if sent is not None:
            sent()
        self._deliver(frame)
        if frame.kind is FrameKind.CLOSE:
            self.is_open = False

    def _keep(self, frame: Frame, fault: Fault) -> None:
        self._kept = frame
        self._floor.after(DELAY_MS if fault.delay_ms is None else fault.delay_ms, self._release)

    def _release(self) -> None:
        frame, self._kept = self._kept, None
        if frame is not None:
            self._out(frame)

    def _end(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.closed()


def _frame(payload: str | bytes) -> Frame:
    if isinstance(payload, str):
        return Frame(kind=FrameKind.TEXT, data=payload.encode())
    return Frame(kind=FrameKind.BINARY, data=payload)


class SocketDesk:
    """All open connections."""

    def __init__(self, floor: Floor, delays: Delays) -> None:
        self._floor = floor
        self._delays = delays
        self._sockets: list[Socket] = []

    def connect(self, path: str, query: str, headers: Mapping[str, str], deliver: Deliver) -> Socket | Response:
        floor = self._floor
        occasion = Occasion(stream=f"{path}?{query}" if query else path)
        if floor.fault("disconnect_stream", occasion) is not None or (
            floor.fault("maintenance", Occasion(method="GET", path=path, stream=path)) is not None
        ):
            return Response(status=503)
        self._sockets = [row for row in self._sockets if row.is_open]
        socket = Socket(floor, self._delays, occasion.stream or path, deliver)
        session = floor.facade.open_stream(path, query, headers, ClientSide(socket))
        if isinstance(session, Response):
            return session
        socket.session = session
        self._sockets.append(socket)
        if floor.fault("half_open_stream", occasion) is not None:
            socket.stall()
        return socket

    def handshake(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        deliver: Deliver,
        answer: Callable[[Socket | Response], None],
    ) -> None:
        """``connect`` half the latency from now, answered another half later."""

        def arrived() -> None:
            opened = self.connect(path, query, headers, deliver)
            floor.after(self._delays.leg(), lambda: answer(opened))

        floor = self._floor
        floor.after(self._delays.leg(), arrived)

    def strike(self, fault: Fault) -> None:
        """Let a socket fault that waits for no frame act on the connections of the moment."""
        if "event" in fault.match or "symbol" in fault.match or "client_id" in fault.match:
            return
        for socket in self._sockets:
            if not socket.is_open or not fault.fits(Occasion(stream=socket.path)) or not fault.strikes():
                continue
            if fault.kind == "half_open_stream":
                socket.stall()
            else:
                socket.end_by(fault)


class ClientSide:
    """A socket as the façade may use it (``wire.Outbox``)."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def send(
        self, payload: str | bytes, *, event: str, symbol: str | None = None, client_id: str | None = None
    ) -> None:
        self._socket.send(payload, event=event, symbol=symbol, client_id=client_id)

    def reply(self, payload: str | bytes, *, code: int | str | None = None, status: int | None = None) -> None:
        self._socket.reply(payload, code=code, status=status)

    def ping(self, data: bytes = b"") -> None:
        self._socket.ping_client(data)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._socket.close(code, reason)
