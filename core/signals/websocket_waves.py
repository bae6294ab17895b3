"""The pushed form of the signal server: log in, one snapshot, then `signal` frames; a wave is what arrives together.

Liveness is judged by a watchdog around the reader, never inside it (SIG-12): the server's heartbeat comes every 30 s,
and 90 s without any frame end the connection. In this form the client sends no WebSocket pings.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from core.clock import Clock
from core.domain.signal import Signal, Unusable
from core.engine.ports import SignalBatch
from core.errors import BreakwaterError, MalformedPayload, Unreachable
from core.signals.parsing import SignalReader, decode_frame
from core.transport import Socket

log = structlog.get_logger(__name__)

STEP_SECONDS = 5.0
SILENCE_SECONDS = 90.0
BACKOFF_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
REFUSED_SECONDS = 60.0
"""After a refused token: asking faster would only hammer (SIG-13)."""


class LoginRefused(BreakwaterError):
    """The signal server does not take our token; the operator fixes SIGNAL_WS_TOKEN."""


class PushedWaves:
    """One connection at a time, for ever; `emit` gets every wave exactly as it was collected."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        socket: Callable[[], Socket],
        reader: SignalReader,
        collect_seconds: float,
        clock: Clock,
    ) -> None:
        self._url = url
        self._token = token
        self._socket = socket
        self._reader = reader
        self._collect = collect_seconds
        self._clock = clock
        self._emit: Callable[[SignalBatch], None] = _unheard
        self._open: _Collection | None = None
        self._closing: asyncio.TimerHandle | None = None
        self.counts: Counter[str] = Counter()
        self.connected = False

    async def run(self, emit: Callable[[SignalBatch], None], expect: Callable[[], None] = lambda: None) -> None:
        del expect  # when the next pushed wave is due nobody knows
        self._emit = emit
        failures = 0
        while True:
            try:
                await self._session()
                failures = 0
            except LoginRefused as error:
                log.error("signals.login_refused", error=str(error), retry_s=REFUSED_SECONDS)  # noqa: TRY400 - no news in a trace
                await asyncio.sleep(REFUSED_SECONDS)
                continue
            except (BreakwaterError, TimeoutError) as error:
                failures = 1 if self.connected else failures + 1
                log.warning("signals.disconnected", error=str(error) or "no answer in time")
            finally:
                self.connected = False
            self.counts["reconnects"] += 1
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1])

    async def _session(self) -> None:
        socket = self._socket()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await socket.open(self._url)
            await self._log_in(socket)
            self.connected = True
            log.info("signals.connected", url=self._url)
            await self._read(socket)
        finally:
            await socket.close()
            self._close_wave()

    async def _log_in(self, socket: Socket) -> None:
        await self._expect(socket, "auth_required")
        await socket.send(json.dumps({"type": "auth", "token": self._token}))
        await self._expect(socket, "auth_success")

    async def _expect(self, socket: Socket, kind: str) -> None:
        async with asyncio.timeout(STEP_SECONDS):
            frame = decode_frame(await socket.receive())
        if frame.get("type") == "auth_failed":
            raise LoginRefused("the signal server refused the token")
        if frame.get("type") != kind:
            raise MalformedPayload("signal server", f"expected {kind}")

    async def _read(self, socket: Socket) -> None:
        """Until the connection ends; 90 s without a frame end it. Raises Unreachable, TimeoutError."""
        async with asyncio.timeout(SILENCE_SECONDS) as watchdog:
            while True:
                data = await socket.receive()
                watchdog.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
                try:
                    self._on_frame(decode_frame(data))
                except MalformedPayload as error:
                    self.counts["malformed_frames"] += 1
                    log.warning("signals.frame_refused", error=str(error))

    def _on_frame(self, frame: Mapping[str, Any]) -> None:
        match frame.get("type"):
            case "signal":
                self._collect_one(frame)
            case "signals_snapshot":
                self._snapshot(frame.get("data"))
            case "heartbeat" | "pong" | "stats":
                pass
            case other:
                self.counts["unknown_frames"] += 1
                log.info("signals.unknown_frame", type=str(other)[:32])

    def _collect_one(self, frame: Mapping[str, Any]) -> None:
        if self._open is None:
            self._open = _Collection(self._clock)
            self._closing = asyncio.get_running_loop().call_later(self._collect, self._close_wave)
        self._open.add(self._reader.read(frame, self._clock.now_ms()))

    def _snapshot(self, data: object) -> None:
        if not isinstance(data, list):
            raise MalformedPayload("signals_snapshot", "data is not a list")
        if data:
            collection = _Collection(self._clock)
            for raw in data:
                collection.add(self._reader.read(raw, self._clock.now_ms()))
            self._emit(collection.batch(self._reader.source))

    def _close_wave(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._open is not None:
            wave, self._open = self._open, None
            self._emit(wave.batch(self._reader.source))


class _Collection:
    """Signals that arrive together, from the first one on."""

    def __init__(self, clock: Clock) -> None:
        self._received = clock.monotonic()
        self._received_ms = clock.now_ms()
        self._signals: list[Signal] = []
        self._unusable: list[Unusable] = []

    def add(self, read: Signal | Unusable) -> None:
        if isinstance(read, Signal):
            self._signals.append(read)
        else:
            self._unusable.append(read)

    def batch(self, source: str) -> SignalBatch:
        return SignalBatch(
            source=source,
            received=self._received,
            received_ms=self._received_ms,
            signals=tuple(self._signals),
            unusable=tuple(self._unusable),
        )


def _unheard(batch: SignalBatch) -> None:
    raise Unreachable("signals", f"a wave of {len(batch.signals)} arrived before anybody listened")
