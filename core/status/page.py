"""The status page: `/healthz`, `/metrics` and `/status`, read only, for whoever is allowed to ask.

- `/healthz`: 200 while the daemon is ok or degraded, 503 when it is unhealthy, with the reasons.
- `/metrics`: Prometheus' text format (`metrics.py`).
- `/status`: the picture that the control socket gives, and its health; decimals as text.

Nothing here orders anything: there is no other method than GET, and no request has a body.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from core.engine.queries import StatusReport
from core.listener import HttpAnswer, HttpRequest
from core.status.health import Health, health_facts
from core.status.json_text import json_text
from core.status.metrics import CONTENT_TYPE, Metrics

JSON: Final = "application/json"


class StatusPage(Struct, frozen=True, kw_only=True):
    """`token` "" = everybody on this host may ask. `mask` takes secrets out of text that others have written."""

    picture: Callable[[], tuple[StatusReport, Health]]
    metrics: Metrics
    token: str = ""
    mask: Callable[[str], str] = str

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """One request; nothing is awaited, and nothing but figures that exist is read."""
        if self.token:
            if not _bears(request, self.token):
                return _refused(401, "who asks must send the token", {"WWW-Authenticate": "Bearer"})
        elif not _meant_for_this_host(request):
            return _refused(403, "this page answers requests made to this host by its own name only")
        pages = {"/healthz": self._health, "/metrics": self._metrics, "/status": self._status}
        page = pages.get(request.path)
        if page is None:
            return _refused(404, f"there is {', '.join(pages)}")
        if request.method != "GET":
            return _refused(405, "this page can only be read", {"Allow": "GET"})
        return page()

    def _health(self) -> HttpAnswer:
        report, health = self.picture()
        told = {"build": report.build, "uptime_s": round(report.uptime_s, 1), **health_facts(health)}
        return self._json(told, 200 if health.healthy else 503)

    def _metrics(self) -> HttpAnswer:
        return HttpAnswer(status=200, parts=self.metrics.parts(), content_type=CONTENT_TYPE)

    def _status(self) -> HttpAnswer:
        report, health = self.picture()
        return self._json({**asdict(report), "health": health_facts(health)}, 200)

    def _json(self, told: dict[str, Any], status: int) -> HttpAnswer:
        text = self.mask(json_text(told))
        return HttpAnswer(status=status, body=text.encode() + b"\n", content_type=JSON)


def _bears(request: HttpRequest, token: str) -> bool:
    given = request.headers.get("authorization", "")
    scheme, _, text = given.partition(" ")
    told = text.strip().encode("utf-8", "surrogatepass")
    return scheme.lower() == "bearer" and hmac.compare_digest(told, token.encode())


def _meant_for_this_host(request: HttpRequest) -> bool:
    """A page of the web may send a browser on this host here under a name of its own (DNS rebinding)."""
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> HttpAnswer:
    body = json.dumps({"error": why}).encode() + b"\n"
    return HttpAnswer(status=status, body=body, content_type=JSON, headers=headers or {})
