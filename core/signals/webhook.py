"""Signals that are posted: `POST /signals`, one more source beside the signal server and the strategies.

Only who knows the token is heard, nobody more often than allowed, and everything goes through the same parser and
bounds as any other signal. What arrives within WAVE_COLLECT_MS is one wave. A signal that was posted before is answered
as such and does nothing; after a restart the journal knows it. The answer says what was taken, not what became of it:
that is in the wave's report, and `tools.why` tells it.

Answers: 202 taken, 200 seen before, 400 naming the field, 401, 404, 405, 413 too long, 429 too often.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.ids import SignalId
from core.domain.money import plain
from core.domain.signal import Signal, Unusable
from core.engine.ports import SignalBatch
from core.errors import MalformedPayload
from core.listener import HttpAnswer, HttpRequest
from core.redaction import Redactor
from core.signals.alert_message import in_our_form, symbol_told, taken_apart
from core.signals.fields import FieldRefused, shown
from core.signals.frames import decode_frame
from core.signals.parsing import SignalReader
from core.signals.pushed import PushedWaves

log = structlog.get_logger(__name__)

PATH: Final = "/signals"
TOKEN_HEADER: Final = "x-breakwater-token"  # noqa: S105 - the name of a header
SIGNATURE_HEADER: Final = "x-breakwater-signature"
MAX_BODY = 64 * 1024
MINUTE = 60.0
SEEN_REMEMBERED = 10_000
JSON: Final = "application/json"


class WebhookRules(Struct, frozen=True, kw_only=True):
    """`hmac_key` "" = messages need no signature. `score` is that of a signal that names none."""

    token: str
    hmac_key: str = ""
    per_minute: int = 120
    score: Decimal = Decimal(0)


class SignalWebhook:
    """Implements ports.SignalSource. `listen` serves requests with the answers it is given until it is cancelled."""

    def __init__(
        self,
        *,
        reader: SignalReader,
        rules: WebhookRules,
        listen: Callable[[Callable[[HttpRequest], HttpAnswer]], Awaitable[None]],
        collect_seconds: float,
        clock: Clock,
        seen: Iterable[SignalId] = (),
    ) -> None:
        """`seen`: what this source handled before this start."""
        self._reader = reader
        self._rules = rules
        # Who writes the token into another field as well gets neither an answer nor a journal with it.
        self._redactor = Redactor((rules.token, rules.hmac_key))
        self._listen = listen
        self._collect_seconds = collect_seconds
        self._clock = clock
        self._seen = dict.fromkeys(seen)
        self._times: deque[float] = deque(maxlen=rules.per_minute)
        self._waves: PushedWaves | None = None
        self._told_refused = float("-inf")
        self.counts: Counter[str] = Counter()

    async def run(self, emit: Callable[[SignalBatch], None], expect: Callable[[], None]) -> None:
        """Until cancelled. When a message will come nobody knows."""
        del expect
        self._waves = PushedWaves(
            reader=self._reader,
            collect_seconds=self._collect_seconds,
            clock=self._clock,
            counts=self.counts,
            emit=emit,
        )
        try:
            await self._listen(self.answer)
        finally:
            self._waves.close_wave()
            self._waves = None

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """One request; nothing is awaited."""
        if request.path != PATH:
            return _told(404, {"error": f"there is only {PATH}"})
        if request.method != "POST":
            return _told(405, {"error": "signals are posted"}, {"Allow": "POST"})
        if len(request.body) > MAX_BODY:
            return _told(413, {"error": f"a message may have {MAX_BODY} bytes"})
        try:
            posted = taken_apart(decode_frame(request.body))
            clean = self._redactor.raw(request.body)
            signals = posted.signals if clean is request.body else taken_apart(decode_frame(clean)).signals
        except MalformedPayload as error:
            # Without a header only the message could have named the token: who is not known is told nothing.
            known = self._named_token(request.headers.get(TOKEN_HEADER)) and self._signed(request)
            return _told(400, {"error": str(error)}) if known else self._unknown()
        if not (self._named_token(request.headers.get(TOKEN_HEADER, posted.token)) and self._signed(request)):
            return self._unknown()
        if (wait := self._too_often()) > 0:
            self.counts["too_often"] += 1
            allowed = f"{self._rules.per_minute} messages a minute are taken (WEBHOOK_PER_MINUTE)"
            return _told(429, {"error": allowed}, {"Retry-After": str(wait)})
        return self._take(signals)

    # who

    def _named_token(self, given: str | None) -> bool:
        """In a time that does not depend on how much of it is right."""
        return given is not None and hmac.compare_digest(_bytes(given), _bytes(self._rules.token))

    def _signed(self, request: HttpRequest) -> bool:
        if not self._rules.hmac_key:
            return True
        wanted = hmac.new(_bytes(self._rules.hmac_key), request.body, hashlib.sha256).hexdigest()
        given = request.headers.get(SIGNATURE_HEADER, "").removeprefix("sha256=").strip().lower()
        return hmac.compare_digest(_bytes(given), _bytes(wanted))

    def _unknown(self) -> HttpAnswer:
        self.counts["unknown_sender"] += 1
        now = self._clock.monotonic()
        if now - self._told_refused >= MINUTE:
            self._told_refused = now
            log.warning("webhook.unknown_sender", since_start=self.counts["unknown_sender"])
        return _told(401, {"error": "unknown sender"})

    def _too_often(self) -> int:
        """0 = it may go; else the seconds after which another one may."""
        now = self._clock.monotonic()
        if len(self._times) == self._rules.per_minute and now - self._times[0] < MINUTE:
            return int(self._times[0] + MINUTE - now) + 1
        self._times.append(now)
        return 0

    # what

    def _take(self, signals: Sequence[Any]) -> HttpAnswer:
        if self._waves is None:
            return _told(503, {"error": "signals are not taken now"}, {"Retry-After": "5"})
        accepted: list[str] = []
        seen: list[str] = []
        refused: list[dict[str, str]] = []
        for raw in signals:
            read = self._read(raw)
            if isinstance(read, Unusable):
                refused.append({"id": read.id, "code": read.code, "detail": read.detail})
            elif read.id in self._seen:
                seen.append(read.id)
                continue
            else:
                self._remember(read.id)
                accepted.append(read.id)
            self._waves.add(read)
        log.info("webhook.posted", accepted=accepted, seen=len(seen), refused=[one["code"] for one in refused])
        told = {"accepted": accepted, "seen_before": seen, "refused": refused}
        return _told(202 if accepted else 400 if refused else 200, told)

    def _read(self, raw: Any) -> Signal | Unusable:
        now_ms = self._clock.now_ms()
        try:
            return self._reader.read(in_our_form(raw, plain(self._rules.score)), now_ms)
        except FieldRefused as why:
            return Unusable(
                id=SignalId(shown(raw.get("id", "?"))),
                source=self._reader.source,
                code=why.reason.value,
                detail=why.detail,
                symbol=symbol_told(raw),
            )

    def _remember(self, signal: SignalId) -> None:
        self._seen[signal] = None
        while len(self._seen) > SEEN_REMEMBERED:
            del self._seen[next(iter(self._seen))]


def _bytes(text: str) -> bytes:
    """Of whatever a stranger sends, also what is no text in any encoding."""
    return text.encode("utf-8", "surrogatepass")


def _told(status: int, facts: dict[str, Any], headers: dict[str, str] | None = None) -> HttpAnswer:
    body = json.dumps(facts).encode() + b"\n"
    return HttpAnswer(status=status, body=body, content_type=JSON, headers=headers or {})
