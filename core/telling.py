"""What tells people, built from settings: the alerts and the channels that carry them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from core.alerts.alerts import Alerts
from core.alerts.feed import Feed
from core.alerts.webhook import Hook, WebhookChannel
from core.assembly import Engine
from core.build import build_id
from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.engine.records import JournalState
from core.redaction import Redactor
from core.settings.alerts import noises
from core.supervision import Work
from core.transport import Transport

TELEGRAM: Final = "telegram"
WEBHOOK: Final = "webhook"


class Telling:
    """Made before anything of the run is told. `telegram`: there is a messenger that takes its feed."""

    def __init__(
        self, engine: Engine, held: JournalState, *, transport: Callable[[str], Transport], telegram: bool
    ) -> None:
        settings = engine.settings
        self.alerts = Alerts(
            journal=engine.journal,
            clock=engine.clock,
            noise=noises(settings.alerts.noise),
            held=held,
            redact=Redactor(settings.secret_values()).text,
        )
        self.feeds: list[Feed] = []
        if telegram:
            self.feeds.append(self.alerts.feed(TELEGRAM))
        self._webhook: WebhookChannel | None = None
        url, secret = settings.alerts.webhook_url, settings.alerts.webhook_secret
        if url is not None and secret is not None:
            hook = Hook(url=url, secret=secret.get_secret_value(), build=build_id(), instance=socket.gethostname())
            feed = self.alerts.feed(WEBHOOK, mixed=False)
            self.feeds.append(feed)
            self._webhook = WebhookChannel(
                hook,
                feed=feed,
                http=transport("alerts").http,
                clock=engine.clock,
                aside=partial(_say_aside, engine),
            )

    def telegram(self) -> Feed:
        """Of the messenger. Raises LookupError where there is none."""
        return next(feed for feed in self.feeds if feed.name == TELEGRAM)

    def start(self, start: Callable[[str, Work], None]) -> None:
        if self.feeds:
            start("alerts", self.alerts.run)
        if self._webhook is not None:
            start("alerts/webhook", self._webhook.run)

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits to be told, at most so long; what is left is told by the next run."""
        return all(await asyncio.gather(*(feed.drain(timeout_s) for feed in self.feeds)))

    async def close(self) -> None:
        if self._webhook is not None:
            await self._webhook.close()


def _say_aside(engine: Engine, why: str) -> None:
    text = f"the webhook refuses messages for good ({why}): they are only in the log; check ALERT_WEBHOOK_URL"
    engine.notifier.notify(Level.WARNING, text, kind=AlertKind.TELEGRAM, begins=WEBHOOK)
