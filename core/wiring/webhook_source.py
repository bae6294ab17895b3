"""The webhook as a source of signals, built from settings."""

from __future__ import annotations

from collections.abc import Iterable

from core.assembly import Engine
from core.config import Settings
from core.domain.ids import SignalId
from core.listener import Answerer
from core.signals.webhook import MAX_BODY, SignalWebhook, WebhookRules
from core.wiring.server_source import signal_reader
from core.wiring.serving import listener

WEBHOOK = "webhook"


def webhook_source(engine: Engine, seen: Iterable[tuple[str, str]]) -> SignalWebhook | None:
    """None where WEBHOOK_PORT is not set. `seen`: (source, id) of signals handled in earlier runs."""
    settings: Settings = engine.settings
    webhook = settings.webhook
    if webhook.port is None:
        return None

    async def listen(answer: Answerer) -> None:
        await listener("webhook", webhook, answer, engine.notifier, max_body=MAX_BODY).run()

    return SignalWebhook(
        reader=signal_reader(engine, WEBHOOK),
        rules=WebhookRules(
            token="" if webhook.token is None else webhook.token.get_secret_value(),
            hmac_key="" if webhook.hmac_key is None else webhook.hmac_key.get_secret_value(),
            per_minute=webhook.per_minute,
            score=webhook.score,
        ),
        listen=listen,
        collect_seconds=settings.wave.collect_ms / 1000,
        clock=engine.clock,
        seen=[SignalId(signal) for source, signal in seen if source == WEBHOOK],
    )
