"""The monitor's screen: what fits, what is never left out, and what it says while nobody answers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.builders_config import some_settings
from tools import doctor_network, monitor_bot, monitor_screen
from tools.checkup import Grade
from tools.monitor_source import Places, look

NOW = "2026-11-21T17:00:42+00:00"


def a_position(symbol: str = "BTC/USDT:USDT", **changes: Any) -> dict[str, Any]:
    row = {
        "venue": "binance", "symbol": symbol, "side": "long", "quantity": "0.001", "entry_price": "77442.9",
        "mark": "77312", "unrealized": "-0.1309", "stop": "75894.1", "stop_distance_percent": "1.83", "dust": False,
        "age_s": 162, "protected_s": 161.5, "naked_s": None,
    }  # fmt: skip
    return row | changes


def a_venue(**changes: Any) -> dict[str, Any]:
    row = {
        "venue": "binance", "connected": True, "connected_s": 12.0, "reconnects": 0, "reconciled_s": 11.0,
        "off_because": None, "paused": None, "down_s": None,
    }  # fmt: skip
    return row | changes


def some_facts(**changes: Any) -> dict[str, Any]:
    facts = {
        "time": NOW, "running": True, "source": "control socket", "silent": "", "state": "active",
        "reason": "every position is verified protected", "uptime_s": 12, "build": "1", "installed_build": "1",
        "health": {"health": "ok", "reasons": []}, "venues": [a_venue()], "positions": [a_position()],
        "risk": {
            "day_result": "-0.36", "day_loss_limit": "100", "streak": 0, "streak_limit": 3, "drawdown_percent": "0",
            "equity": "29999.64", "exposure": "547.1",
        },
        "held_back": [], "tasks": [], "refusals_24h": {"expired": 3},
        "last_waves": [
            {"wave": "w", "received_ms": 1, "finished": True, "counts": {"protected": 6}, "protected_ms": 9}
        ],
        "log": [{"time": NOW, "level": "info", "event": f"event-{n}"} for n in range(40)],
    }  # fmt: skip
    return facts | changes


def _screen(facts: Mapping[str, Any], width: int = 80, height: int = 24) -> list[str]:
    return [line.plain for line in monitor_screen.lines(facts, width, height)]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (200, 60)])
def test_it_fits_whatever_there_is_to_say(width: int, height: int) -> None:
    crowd = [a_position(f"COIN{n}/USDC:USDC", quantity="123456789.123") for n in range(50)]
    facts = some_facts(
        positions=crowd, venues=[a_venue(off_because="because " * 30)] * 3, held_back=["a limit " * 20] * 2
    )
    shown = _screen(facts, width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width


def test_every_column_of_a_position_has_room_in_eighty() -> None:
    row = next(line for line in _screen(some_facts()) if line.startswith("binance BTC"))
    assert row.split() == ["binance", "BTC", "long", "77442.9", "77312", "-0.13", "75894.1", "1.83%", "2.7m", "2.7m"]


def test_a_position_without_a_stop_is_shown_however_many_there_are() -> None:
    crowd = [a_position(f"C{n}/USDT:USDT") for n in range(40)]
    crowd.append(a_position("BAD/USDT:USDT", stop=None, stop_distance_percent=None, protected_s=None))
    shown = _screen(some_facts(positions=crowd))
    assert any("BAD" in line and "NONE" in line for line in shown)
    assert any(re.fullmatch(r"… \d+ more", line) for line in shown)


def test_what_stops_entries_and_what_is_not_well_is_said() -> None:
    health = {"health": "degraded", "reasons": ["okx: its private stream is down"]}
    venue = a_venue(connected=False, connected_s=None, down_s=75.0, off_because="paused")
    task = {"name": "late/okx", "running": False, "why": "OSError", "failures": 2, "again_in_s": 4.0}
    shown = "\n".join(
        _screen(some_facts(state="halted", reason="panic", health=health, venues=[venue], tasks=[task], build="0"))
    )
    for what in (
        "HALTED panic",
        "its private stream is down",
        "DOWN 1.2m",
        "no entries: paused",
        "late/okx",
        "restart it",
    ):
        assert what in shown


def test_crafted_text_moves_no_cursor_and_takes_no_second_line() -> None:
    evil = "\x1b[2J\x1b]0;title\x07\nACTIVE forged [bold]"
    record = {"time": NOW, "level": "info", "event": evil, "why": evil}
    shown = _screen(some_facts(log=[record], reason=evil), height=40)
    assert "\x1b" not in "".join(shown)
    assert not [line for line in shown if line.startswith("ACTIVE forged")]


# gathering


def test_without_a_daemon_it_says_since_when_and_is_not_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "breakwater.log").write_text(f"{json.dumps({'time': NOW, 'event': 'stopped'})}\nno record\n", "utf-8")
    facts = look(Places(data_dir=tmp_path, log_dir=logs))
    assert (facts["running"], facts["last_seen"]) == (False, NOW)
    assert [record["event"] for record in facts["log"]] == ["stopped"]
    assert "NOT RUNNING since 2026-11-21 17:00:42 UTC" in _screen(facts)[0]
    assert not monitor_bot.is_well(facts)
    assert monitor_bot.main(["--once", "--json", "--data-dir", str(tmp_path)]) == monitor_bot.NOT_WELL
    assert json.loads(capsys.readouterr().out)["running"] is False


STATUS: Mapping[str, Any] = {
    "build": "1", "uptime_s": 5.0, "trading_state": "active", "reason": "fine", "venues": [], "balances": {},
    "unresolved_orders": 0, "waves": 0, "refusals": {}, "signals": {}, "tasks": [],
    "risk": {
        "reached": [], "shortages": [], "day_result": "0", "day_loss_limit": "0", "streak": 0, "streak_limit": 0,
        "drawdown_percent": "0",
    },
    "health": {"health": "ok", "reasons": []},
    "positions": [
        {
            "instrument": ["okx", "BTC/USDT:USDT"], "side": "short", "quantity": "0.0015", "entry_price": "64146.5",
            "mark": "64181", "unrealized": "-0.05", "stop": "65429", "unprotected_ms": 0, "age_s": 9.0, "dust": False,
            "naked_s": None, "protected_s": 8.5,
        }
    ],
}  # fmt: skip


@contextmanager
def _page(answer: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization')}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/status", asked
        finally:
            server.shutdown()
            thread.join()


def test_the_status_page_is_asked_first_and_with_its_token(tmp_path: Path) -> None:
    with _page(STATUS) as (url, asked):
        facts = look(Places(data_dir=tmp_path, log_dir=None, page=url, token="of-mine"))
    assert asked == ["/status Bearer of-mine"]
    assert (facts["source"], facts["running"]) == ("status page", True)
    (position,) = facts["positions"]
    assert (position["stop"], position["protected_s"], position["stop_distance_percent"]) == ("65429", 8.5, "1.94")
    assert monitor_bot.is_well(facts)
    assert any(line.startswith("okx BTC") for line in _screen(facts))


def test_a_proxy_of_the_shell_sees_neither_question_nor_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _page(STATUS) as (url, asked), _page({}) as (proxy, seen):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        assert look(Places(data_dir=tmp_path, log_dir=None, page=url, token="of-mine"))["running"]
        port = url.rpartition(":")[2].removesuffix("/status")
        settings = some_settings(STATUS_PORT=port, STATUS_TOKEN="a-token-of-enough-length")
        (found,) = doctor_network.status_page(settings, daemon_runs=True)
        telegram = f"http://127.0.0.1:{port}"
        told = {"TELEGRAM_TOKEN": "7000000001:of-the-bot", "TELEGRAM_CHAT_ID": "1", "TELEGRAM_API_URL": telegram}
        list(doctor_network.telegram(some_settings(**told)))
    assert found.grade is Grade.OK
    assert seen == []
    assert [line.partition(" ")[0] for line in asked] == ["/status", "/healthz", "/bot7000000001:of-the-bot/getMe"]


def test_another_program_on_that_port_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    with _page({"hello": "world"}) as (url, _):
        facts = look(Places(data_dir=tmp_path, log_dir=None, page=url))
    assert not facts["running"]
    assert "another program" in facts["silent"]


def test_json_without_once_and_an_interval_of_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor_bot.main(["--json", "--data-dir", "."]) == monitor_bot.USAGE
    with pytest.raises(SystemExit):
        monitor_bot.main(["--interval", "0"])
    assert "between 0.2" in capsys.readouterr().err
