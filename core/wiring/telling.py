"""What tells people, built from settings: the alerts and the channels that carry them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final

from core.alerts.alerts import Alerts
from core.alerts.feed import Feed
from core.alerts.reporter import Figures, Reporter
from core.alerts.watches import Disks, FaultWatch
from core.alerts.webhook import Hook, WebhookChannel
from core.assembly import Engine
from core.build import build_id
from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.engine.records import JournalState
from core.engine.risk_guard import STREAM
from core.redaction import Redactor
from core.settings.alerts import noises
from core.storage.audit_files import read_head
from core.storage.journal import FILE_NAME
from core.storage.past import JournalPast
from core.storage.writer import InlineExecutor
from core.supervision.tasks import Work
from core.transport import Transport

TELEGRAM: Final = "telegram"
WEBHOOK: Final = "webhook"


class Telling:
    """Made before anything of the run is told. `telegram`: there is a messenger that takes its feed."""

    def __init__(
        self, engine: Engine, held: JournalState, *, transport: Callable[[str], Transport], telegram: bool
    ) -> None:
        settings = engine.settings
        self._engine = engine
        self._values = held.values
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

    def watch(self, start: Callable[[str, Work], None], waves: Callable[[], int]) -> None:
        """What looks by itself for something to tell, once the daemon is ready. `waves`: how many were finished."""
        engine, settings = self._engine, self._engine.settings
        data_dir, log_dir = settings.process.data_dir, settings.process.log_dir
        faults = FaultWatch(
            streams=engine.streams,
            serves=engine.outages.serves,
            explained=lambda venue: engine.risk.venue_off_reason(venue, STREAM) is not None,
            clock_error_ms=engine.risk.clocks.error_ms,
            most_clock_error_ms=engine.risk.limits.max_clock_error_ms,
            disks=Disks(
                folders={"DATA_DIR": data_dir, "LOG_DIR": log_dir},
                least_free=settings.alerts.min_free_mb * 1024**2,
                worker=engine.workers,
            ),
            notifier=engine.notifier,
            clock=engine.clock,
        )
        figures = Figures(
            day_over=lambda: engine.risk.ledger.day_over,
            longest_unprotected=engine.protection.protections.take_longest,
            waves=waves,
            open_positions=lambda: len(engine.orders.state.positions()),
            money=engine.money.rows,
        )
        worker = engine.workers or InlineExecutor()
        reporter = Reporter(
            past=JournalPast(data_dir / FILE_NAME, worker),
            figures=figures,
            audit_head=partial(_audit_head, data_dir, worker),
            journal=engine.journal,
            clock=engine.clock,
            notifier=engine.notifier,
            values=self._values,
        )
        start("faults", faults.run)
        start("reports", reporter.run)

    def say_started(self) -> None:
        engine = self._engine
        standing, held = engine.risk.standing, len(engine.orders.state.positions())
        where = ", ".join(sorted(engine.clients))
        text = f"started: {build_id()} on {where}, {held} positions, {standing.state.value.upper()}: {standing.reason}"
        engine.notifier.notify(Level.INFO, text, kind=AlertKind.START)

    def say_stopping(self) -> None:
        engine = self._engine
        held = len(engine.orders.state.positions())
        text = f"stopped, {held} positions left under their stops" if held else "stopped, no position is open"
        engine.notifier.notify(Level.INFO, text, kind=AlertKind.STOP)

    async def drain(self, timeout_s: float) -> bool:
        """Waits until nothing waits to be told, at most so long; what is left is told by the next run."""
        return all(await asyncio.gather(*(feed.drain(timeout_s) for feed in self.feeds)))

    async def close(self) -> None:
        if self._webhook is not None:
            await self._webhook.close()


async def _audit_head(folder: Path, worker: Executor) -> tuple[int, str]:
    """As written last; a moment behind is never wrong."""
    head = await asyncio.get_running_loop().run_in_executor(worker, read_head, folder)
    return (0, "") if head is None else (head.seq, head.hash)


def _say_aside(engine: Engine, why: str) -> None:
    text = f"the webhook refuses messages for good ({why}): they are only in the log; check ALERT_WEBHOOK_URL"
    engine.notifier.notify(Level.WARNING, text, kind=AlertKind.TELEGRAM)
