"""What the daemon shows of itself on a port of this host, built from settings; nothing where no port is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.assembly import Engine
from core.config import Settings
from core.domain.alerts import AlertKind
from core.engine.ports import Level, Notifier
from core.engine.queries import Queries
from core.engine.wave_processor import WaveProcessor
from core.listener import Answerer, HttpListener, ListenerAddress
from core.redaction import Redactor
from core.status.health import HealthLimits
from core.status.overview import Overview
from core.wiring.telling import Telling

if TYPE_CHECKING:
    from core.settings.servers import StatusSettings, WebhookSettings


def overview(engine: Engine, queries: Queries) -> Overview:
    """What health is judged by, for everybody who asks."""
    settings: Settings = engine.settings
    return Overview(
        status=queries.status,
        limits=HealthLimits(
            deadline_seconds=settings.protection.protection_deadline_ms / 1000,
            streams_seconds=float(settings.process.watchdog_stream_seconds),
            clock_error_ms=settings.risk.max_clock_error_ms,
        ),
        folders=(settings.process.data_dir, settings.process.log_dir),
        clock=engine.clock,
    )


def status_server(engine: Engine, look: Overview, waves: WaveProcessor, telling: Telling) -> HttpListener | None:
    """None where STATUS_PORT is not set."""
    status = engine.settings.status
    if status.port is None:
        return None
    # Imported here: prometheus-client costs 20 ms and 2 MiB, which a daemon without a page need not have.
    from core.status.metrics import Metrics, WaveStages
    from core.status.page import StatusPage

    stages = WaveStages()
    waves.on_report(stages.on_report)
    lasted = "time without a stop by the venue's stamps, of each stretch that has ended, milliseconds"
    metrics = Metrics(
        picture=look.look,
        stages=stages,
        histograms={"unprotected_milliseconds": (lasted, engine.protection.protections.lasted)},
        alerts=lambda: {(kind.value, level.value): count for (kind, level), count in telling.alerts.counts.items()},
        channels=lambda: {feed.name: feed.statistics() for feed in telling.feeds},
        listener_refusals=lambda: server.refused_connections,
    )
    page = StatusPage(
        picture=look.look,
        metrics=metrics,
        token="" if status.token is None else status.token.get_secret_value(),
        mask=Redactor(engine.settings.secret_values()).text,
    )
    server = listener("status page", status, page.answer, engine.notifier)
    return server


def listener(
    name: str, settings: StatusSettings | WebhookSettings, answer: Answerer, notifier: Notifier, *, max_body: int = 0
) -> HttpListener:
    """People hear once that it cannot listen, and that it does again; trading goes on."""
    on_trouble, on_listening = _told(name, notifier)
    return HttpListener(
        name,
        ListenerAddress(
            host=settings.host, port=settings.port or 0, certificate=settings.tls_cert, key=settings.tls_key
        ),
        answer,
        max_body=max_body,
        on_trouble=on_trouble,
        on_listening=on_listening,
    )


def _told(name: str, notifier: Notifier) -> tuple[Callable[[str], None], Callable[[ListenerAddress], None]]:
    troubled = False

    def on_trouble(why: str) -> None:
        nonlocal troubled
        troubled = True
        text = f"the {name} {why}; trading goes on, and it is tried again"
        notifier.notify(Level.WARNING, text, kind=AlertKind.TASK, begins=name)

    def on_listening(address: ListenerAddress) -> None:
        nonlocal troubled
        if troubled:
            troubled = False
            notifier.notify(Level.INFO, f"the {name} listens on {address.url} now", kind=AlertKind.TASK, ends=name)

    return on_trouble, on_listening
