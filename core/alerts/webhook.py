"""The second channel: each message posted as signed JSON to an address of the operator's choice."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from core.alerts.feed import Feed
from core.alerts.grouping import Message
from core.clock import Clock
from core.errors import VenueError
from core.transport import Http, HttpResponse

PACE_SECONDS: Final = 1.0
"""Between two messages, as in Telegram: a burst ends as summaries here as well."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 300.0
ASIDE_AGAIN_SECONDS: Final = 3600.0
"""Between two words to people that messages are refused: each of them may be refused as well."""
_AGAIN: Final = frozenset({408, 425, 429})
"""Of the answers that blame the request, those that another attempt may change."""
_OK: Final = range(200, 300)
_BLAMED: Final = range(400, 500)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where to and as whom. `instance` names this host, `build` the program."""

    url: str = field(repr=False)  # some services put their key into the path
    secret: str = field(repr=False)
    build: str
    instance: str


class WebhookChannel:
    """Delivers one message after the other, with growing pauses while the other side does not take it.

    The receiver knows a repetition by `id`, which is also the header `Idempotency-Key`: an answer that is lost leads to
    one. An answer 4xx other than 408, 425 and 429 will not change: the message is set aside and `aside` is told why,
    at most once an hour.
    """

    def __init__(self, hook: Hook, *, feed: Feed, http: Http, clock: Clock, aside: Callable[[str], None]) -> None:
        self._hook = hook
        self._feed = feed
        self._http = http
        self._clock = clock
        self._aside = aside
        self._aside_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._feed.ready()
            if (message := self._feed.take()) is None:
                continue
            await self._deliver(message)
            await asyncio.sleep(PACE_SECONDS)

    async def close(self) -> None:
        await self._http.close()

    async def _deliver(self, message: Message) -> None:
        body, pause = body_of(message, self._hook), FIRST_PAUSE_SECONDS
        while True:
            wait = pause
            try:
                answer = await self._http.request("POST", self._hook.url, self._headers(message, body), body)
            except VenueError as error:  # unreachable, or nobody knows whether it came through
                self._feed.fails(type(error).__name__)
            else:
                if answer.status in _OK:
                    self._feed.done(message)
                    return
                if answer.status in _BLAMED and answer.status not in _AGAIN:
                    self._feed.refused(message, f"HTTP {answer.status}")
                    self._say_aside(answer.status)
                    return
                self._feed.fails(f"HTTP {answer.status}")
                wait = max(pause, _retry_after(answer))
            await asyncio.sleep(min(wait, LONGEST_PAUSE_SECONDS))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _say_aside(self, status: int) -> None:
        if self._clock.monotonic() - self._aside_at >= ASIDE_AGAIN_SECONDS:
            self._aside_at = self._clock.monotonic()
            self._aside(f"HTTP {status}")

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        """Signed anew for each attempt: a receiver may refuse an old time stamp."""
        stamp = str(self._clock.now_ms() // 1000)
        return {
            "Content-Type": "application/json",
            "User-Agent": "breakwater",
            "Idempotency-Key": str(message.id),
            "X-Breakwater-Timestamp": stamp,
            "X-Breakwater-Signature": signature(self._hook.secret, stamp, body),
        }


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the time stamp (seconds since the epoch), a dot and the body."""
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def body_of(message: Message, hook: Hook) -> bytes:
    """UTF-8 JSON. `time` is when the first alert in it was made; `alerts` how many it tells of."""
    told: Mapping[str, object] = {
        "id": message.id,
        "time": datetime.fromtimestamp(message.time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "level": message.level.value,
        "kind": message.kind,
        "text": message.text,
        "alerts": message.alerts,
        "build": hook.build,
        "instance": hook.instance,
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _retry_after(answer: HttpResponse) -> float:
    """Seconds; a date, or anything else, counts as nothing."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
