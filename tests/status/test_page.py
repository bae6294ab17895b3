"""Who may ask the status page for what (SEC-08), and what it answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.domain.ids import VenueName
from core.engine.queries import StatusReport
from core.listener import HttpAnswer, HttpRequest
from core.status.health import HealthLimits, judge
from core.status.metrics import Metrics, WaveStages
from core.status.page import StatusPage
from tests.status.reports import position_row, report, venue_down

TOKEN = "correct-horse-battery"
HERE = {"host": "127.0.0.1:9100"}


def page(told: StatusReport, *, token: str = "", mask: Callable[[str], str] = str) -> StatusPage:
    health = judge(told, HealthLimits(deadline_seconds=3.0))
    metrics = Metrics(picture=lambda: (told, health), stages=WaveStages(), histograms={})
    return StatusPage(picture=lambda: (told, health), metrics=metrics, token=token, mask=mask)


def get(path: str, told: StatusReport | None = None, *, token: str = "", **headers: str) -> HttpAnswer:
    request = HttpRequest(method="GET", path=path, headers={**HERE, **headers})
    return page(told or report(), token=token).answer(request)


def shown(answer: HttpAnswer) -> Any:
    return json.loads(answer.body)


def test_health_is_200_until_starting_anew_could_help() -> None:
    assert get("/healthz").status == 200
    degraded = get("/healthz", report(trading_state="halted", reason="panic"))
    assert (degraded.status, shown(degraded)["health"], shown(degraded)["reasons"]) == (
        200,
        "degraded",
        ["halted: panic"],
    )
    down = get("/healthz", report(venues=(venue_down(VenueName.OKX, 61.0),)))
    assert (down.status, shown(down)["health"]) == (503, "unhealthy")
    assert "no private stream is up" in shown(down)["reasons"][0]


def test_status_is_the_whole_picture_with_exact_decimals() -> None:
    told = shown(get("/status", report(positions=(position_row(),))))
    assert told["positions"][0]["quantity"] == "0.5"
    assert told["trading_state"] == "active"
    assert told["health"]["health"] == "ok"


def test_metrics_say_what_they_are() -> None:
    answer = get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert b"breakwater_uptime_seconds 100.0" in b"".join(answer.parts)


def test_nothing_can_be_ordered_here() -> None:
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        answer = page(report()).answer(HttpRequest(method=method, path="/status", headers=HERE))
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert get("/panic").status == 404
    assert get("/../etc/passwd").status == 404


@pytest.mark.parametrize("given", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer café"])
def test_with_a_token_nobody_reads_anything_without_it(given: str) -> None:
    for path in ("/healthz", "/metrics", "/status", "/nowhere"):
        answer = get(path, token=TOKEN, authorization=given)
        assert answer.status == 401
        assert TOKEN.encode() not in answer.body
        assert b"active" not in answer.body


def test_with_its_token_everything_is_read_from_anywhere() -> None:
    assert get("/status", token=TOKEN, authorization=f"bearer {TOKEN}", host="status.example.net").status == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:9100", "", "127.0.0.1.example", "10.0.0.7:9100"]
)
def test_without_a_token_a_web_page_of_another_name_reads_nothing(host: str) -> None:
    assert get("/status", host=host).status == 403


@pytest.mark.parametrize("host", ["localhost:9100", "127.0.0.1", "[::1]:9100", "[::1]"])
def test_this_host_may_be_asked_by_its_own_names(host: str) -> None:
    assert get("/status", host=host).status == 200


def test_what_others_wrote_is_shown_without_secrets() -> None:
    told = report(trading_state="halted", reason="key abcdef123456 refused")
    answer = page(told, mask=lambda text: text.replace("abcdef123456", "***")).answer(
        HttpRequest(method="GET", path="/status", headers=HERE)
    )
    assert b"abcdef123456" not in answer.body
