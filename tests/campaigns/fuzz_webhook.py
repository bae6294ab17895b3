"""Bodies posted to the webhook, by somebody who knows the token and by somebody who hopes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.domain.ids import VenueName
from core.listener import HttpRequest
from core.signals.webhook import SignalWebhook, WebhookRules
from tests.campaigns.fuzz_judge import Open, Parser, Unsound
from tests.fakes.virtual_loop import VirtualClock
from tests.signals.test_parsing import PLAIN, a_reader
from tests.signals.test_webhook import ALERT

TOKEN = "correct-horse-battery"
KNOWN = {200, 202, 400, 413, 429}


@asynccontextmanager
async def _posted() -> AsyncIterator[Open]:
    """Every body has its answer; what says 202 and nothing else becomes a wave of sound signals."""
    waves: list[Any] = []
    webhook = SignalWebhook(
        reader=a_reader(venues=tuple(VenueName), default=VenueName.BINANCE),
        rules=WebhookRules(token=TOKEN, per_minute=6_000),
        listen=lambda _answer: asyncio.Event().wait(),  # type: ignore[arg-type, return-value]
        collect_seconds=0.05,
        clock=VirtualClock(),
    )
    running = asyncio.create_task(webhook.run(waves.append, lambda: None))
    await asyncio.sleep(0)

    async def feed(data: bytes) -> object:
        waves.clear()
        stranger = webhook.answer(HttpRequest(method="POST", path="/signals", headers={}, body=data))
        if stranger.status not in {401, 413} and TOKEN.encode() not in data:
            raise Unsound(f"somebody unknown was answered {stranger.status}")
        headers = {"x-breakwater-token": TOKEN}
        answer = webhook.answer(HttpRequest(method="POST", path="/signals", headers=headers, body=data))
        if answer.status not in KNOWN:
            raise Unsound(f"answered {answer.status}")
        told = json.loads(answer.body)
        await asyncio.sleep(0.5)
        if (answer.status == 202) != bool(told.get("accepted")):
            raise Unsound("what was said and what was taken differ")
        if stranger.status == 401 and len(told.get("accepted", ())) != sum(len(wave.signals) for wave in waves):
            raise Unsound("what was said and what was handed on differ")
        return waves

    seeds = [
        ALERT,
        PLAIN,
        {**ALERT, "token": TOKEN, "id": 7, "score": 12.5},
        {"signals": [ALERT, {**PLAIN, "id": "x"}], "secret": TOKEN},
    ]
    try:
        yield Open(feed=feed, seeds=[json.dumps(seed, separators=(",", ":")).encode() for seed in seeds])
    finally:
        running.cancel()


def webhook_parsers() -> list[Parser]:
    return [Parser(name="webhook", declared=(), opened=_posted)]
