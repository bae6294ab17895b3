"""The signal server without a socket: what is sent when, from a script, in the polled or the pushed form.

A `SignalFeed` is one listening server, a `Session` one connection to it. Times are milliseconds since listening.
Whoever drives a session calls `due` when `next_ms` has come and `receive` for each text frame, and does what they say.
In process, under a clock that jumps, it is a signal server as good as the one behind a socket.

Script, one JSON object a line, in any order: `{"at_ms", "signals": [{…}]}`, `{"at_ms", "raw": "…"}` (a frame sent as it
is), `{"at_ms", "close": 1006}` (1006 drops the connection without a closing handshake), `{"at_ms", "silence_ms"}` (what
falls due meanwhile, answers and heartbeats included, is kept back until the silence ends).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

HANDSHAKE_MS: Final = 5_000
HEARTBEAT_MS: Final = 30_000
_TIME_FIELDS: Final = ("timestamp", "created_at")
_ACTIONS: Final = ("signals", "raw", "close", "silence_ms")


class Form(StrEnum):
    POLLED = "polled"
    PUSHED = "pushed"


class ScriptError(ValueError):
    """A line of the script cannot be used; the text names it."""


class Line(Struct, frozen=True, kw_only=True):
    """One thing that happens `at_ms`; exactly one of the others is set."""

    at_ms: int
    signals: tuple[Mapping[str, Any], ...] | None = None
    raw: str | None = None
    close: int | None = None
    silence_ms: int | None = None


class Send(Struct, frozen=True):
    """One text frame."""

    text: str


class Close(Struct, frozen=True):
    """The end of the connection; 1006 is not a code to send but the absence of a closing handshake."""

    code: int


Action = Send | Close


def parse_script(text: str) -> tuple[Line, ...]:
    """The lines in order of time. Raises ScriptError."""
    lines = [_line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return tuple(sorted(lines, key=lambda line: line.at_ms))


def candle_open(now: datetime) -> datetime:
    """Open of the 15-minute candle whose signals a client expects at `now` (PRODUCT: minutes 0-15, 16-30, …)."""
    quarter = max(0, now.minute - 1) // 15
    hour = now.replace(minute=0, second=0, microsecond=0)
    return hour + timedelta(minutes=15 * (quarter - 1))


class SignalFeed:
    """The server side that all connections share. `utc_now` fills `"$now"` and `"$candle"` when a frame is sent."""

    def __init__(
        self,
        script: tuple[Line, ...],
        form: Form,
        *,
        token: str | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.script = script
        self.form = form
        self.token = token
        self.told: set[int] = set()
        """Raw lines somebody has received: one that came due unheard goes to the first who logs in, once."""
        self._utc_now = utc_now

    def connect(self, now_ms: int) -> Session:
        """A new connection; its first frames come from `due`."""
        return Session(self, now_ms)

    def filled(self, signal: Mapping[str, Any]) -> dict[str, Any]:
        """`signal` with its placeholders replaced by the time of sending."""
        now = self._utc_now().astimezone(UTC)
        values = {"$now": now.isoformat(timespec="milliseconds"), "$candle": candle_open(now).isoformat()}
        copy = dict(signal)
        for name in _TIME_FIELDS:
            if isinstance(copy.get(name), str):
                copy[name] = values.get(copy[name], copy[name])
        return copy

    def due_signals(self, now_ms: int) -> list[tuple[Mapping[str, Any], ...]]:
        """The signal lines that came due until now, oldest first."""
        return [line.signals for line in self.script if line.signals is not None and line.at_ms <= now_ms]

    def silent_until(self, now_ms: int) -> int | None:
        """The end of the silence that holds now."""
        ends = [
            line.at_ms + line.silence_ms
            for line in self.script
            if line.silence_ms is not None and line.at_ms <= now_ms < line.at_ms + line.silence_ms
        ]
        return max(ends, default=None)


@dataclass(slots=True)
class Session:
    """One connection: the handshake, then lines as they fall due, answers and heartbeats."""

    feed: SignalFeed
    connected_ms: int
    logged_in: bool = False
    closed: bool = False
    _greeted: bool = False
    _refused: bool = False
    _position: int = 0
    _heartbeat_ms: int = 0
    _kept_back: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._position = sum(1 for line in self.feed.script if line.at_ms <= self.connected_ms)

    def next_ms(self, now_ms: int) -> int | None:
        """When `due` has something to do next; None = not before a frame arrives."""
        times = [line.at_ms for line in self.feed.script[self._position : self._position + 1]]
        if not self._greeted:
            times.append(self.connected_ms)
        elif not self.logged_in:
            times.append(self.connected_ms + HANDSHAKE_MS)
        elif self.feed.form is Form.PUSHED:
            times.append(self._heartbeat_ms)
        silence = self.feed.silent_until(now_ms)
        return silence if silence is not None else min(times, default=None)

    def due(self, now_ms: int) -> list[Action]:
        """What is to be done now."""
        actions: list[Action] = []
        if not self._greeted:
            self._greeted = True
            actions.append(_frame("auth_required"))
        elif not self.logged_in and not self._refused and now_ms >= self.connected_ms + HANDSHAKE_MS:
            self._refused = True
            actions += [_frame("auth_failed", message="authentication timeout"), Close(1008)]
        while self._position < len(self.feed.script) and self.feed.script[self._position].at_ms <= now_ms:
            actions += self._line(self._position)
            self._position += 1
        if self.logged_in and self.feed.form is Form.PUSHED and now_ms >= self._heartbeat_ms:
            self._heartbeat_ms = now_ms + HEARTBEAT_MS
            actions.append(_frame("heartbeat", **self.feed.filled({"timestamp": "$now"})))
        return self._unless_silent(actions, now_ms)

    def receive(self, text: str, now_ms: int) -> list[Action]:
        """The answer to one frame of the client."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            return self._unless_silent([_frame("error", message="not a JSON object")], now_ms)
        kind = message.get("type")
        actions = self._answer(kind, now_ms) if self.logged_in else self._log_in(kind, message.get("token"), now_ms)
        return self._unless_silent(actions, now_ms)

    def _log_in(self, kind: object, token: object, now_ms: int) -> list[Action]:
        if kind != "auth" or (self.feed.token is not None and token != self.feed.token):
            return [_frame("auth_failed", message="invalid token"), Close(1008)]
        self.logged_in = True
        self._heartbeat_ms = now_ms + HEARTBEAT_MS
        self._position = sum(1 for line in self.feed.script if line.at_ms <= now_ms)
        actions: list[Action] = [_frame("auth_success")]
        if self.feed.form is Form.PUSHED:
            signals = [self.feed.filled(signal) for line in self.feed.due_signals(now_ms) for signal in line]
            actions.append(_frame("signals_snapshot", count=len(signals), data=signals))
        for index in range(self._position):
            if index not in self.feed.told:
                actions += self._raw(index)
        return actions

    def _answer(self, kind: object, now_ms: int) -> list[Action]:
        due = self.feed.due_signals(now_ms)
        match kind:
            case "ping":
                return [_frame("pong", **self.feed.filled({"timestamp": "$now"}))]
            case "get_stats":
                return [_frame("stats", data={"signals": sum(map(len, due)), "uptime_seconds": now_ms // 1000})]
            case "get_signals" if self.feed.form is Form.POLLED:
                signals = [self.feed.filled(signal) for signal in (due[-1] if due else ())]
                return [_frame("signals", count=len(signals), data=signals)]
            case _:
                return [_frame("error", message=f"unknown message type: {kind}")]

    def _line(self, index: int) -> list[Action]:
        line = self.feed.script[index]
        if line.close is not None:
            return [Close(line.close)]
        if not self.logged_in:
            return []
        if line.signals is not None and self.feed.form is Form.PUSHED:
            return [_frame("signal", **self.feed.filled(signal)) for signal in line.signals]
        return self._raw(index)

    def _raw(self, index: int) -> list[Action]:
        raw = self.feed.script[index].raw
        if raw is None:
            return []
        self.feed.told.add(index)
        return [Send(raw)]

    def _unless_silent(self, actions: list[Action], now_ms: int) -> list[Action]:
        self._kept_back += actions
        if self.feed.silent_until(now_ms) is not None:
            return []
        actions, self._kept_back = self._kept_back, []
        self.closed = any(isinstance(action, Close) for action in actions)
        return actions


def _frame(kind: str, **fields: Any) -> Send:
    return Send(json.dumps({**fields, "type": kind}, separators=(",", ":")))


def _line(number: int, text: str) -> Line:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ScriptError(f"line {number}: not JSON: {error}") from None
    if not isinstance(content, dict) or len(content) != 2 or "at_ms" not in content:
        raise ScriptError(f"line {number}: needs at_ms and one of {', '.join(_ACTIONS)}")
    (action,) = content.keys() - {"at_ms"}
    value = content[action]
    if type(content["at_ms"]) is not int:
        raise ScriptError(f"line {number}: at_ms must be whole milliseconds")
    at_ms = content["at_ms"]
    match action:
        case "signals" if isinstance(value, list) and all(isinstance(signal, dict) for signal in value):
            return Line(at_ms=at_ms, signals=tuple(value))
        case "raw" if isinstance(value, str):
            return Line(at_ms=at_ms, raw=value)
        case "close" if type(value) is int:
            return Line(at_ms=at_ms, close=value)
        case "silence_ms" if type(value) is int:
            return Line(at_ms=at_ms, silence_ms=value)
        case _:
            raise ScriptError(f"line {number}: {action} is unknown or has a value of the wrong type")
