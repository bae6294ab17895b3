"""Orders to the daemon from a shell: the author goes along, panic is asked about, and what is left open is a status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import StartRefused
from tools import control
from tools.daemon_link import NoDaemon

STANDING = {"venue": None, "state": "halted", "reason": "panic", "author": "me", "unanswered": 1}
CLOSED = {"venue": "okx", "symbol": "BTC/USDT:USDT", "quantity": "1", "flat": True, "realized": "2", "detail": ""}


class Link:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, command: str, **fields: Any) -> Any:
        self.asked.append((command, fields))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Any, *arguments: str) -> tuple[int, Link]:
    link = Link(answer)

    @contextmanager
    def daemon(_folder: Path, _seconds: float) -> Iterator[Link]:
        yield link

    monkeypatch.setattr(control, "daemon", daemon)
    monkeypatch.setattr(sys, "argv", ["control.py", *arguments, "--data-dir", str(tmp_path)])
    return control.main(), link


def test_an_order_goes_out_with_its_author_and_venue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, link = run(monkeypatch, tmp_path, STANDING, "pause", "--venue", "okx")
    assert status == control.DONE
    ((command, fields),) = link.asked
    assert (command, fields["venue"]) == ("pause", "okx")
    assert fields["author"].startswith("shell:")


def test_a_panic_that_nobody_agreed_to_does_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, link = run(monkeypatch, tmp_path, STANDING, "panic")
    assert (status, link.asked) == (control.USAGE, [])


def test_what_a_panic_left_open_is_named_and_a_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {**CLOSED, "venue": "bybit", "flat": False, "detail": "no answer"}
    status, _ = run(monkeypatch, tmp_path, {**STANDING, "closed": [CLOSED, left]}, "panic", "--yes")
    assert status == control.LEFT
    said = capsys.readouterr().out
    assert "HALTED: panic" in said
    assert "1 entries had left before" in said
    assert "okx BTC/USDT:USDT 1: flat, result 2" in said
    assert "NOT flat: no answer" in said


@pytest.mark.parametrize(
    ("error", "status"),
    [(NoDaemon("no daemon is running there", stuck=False), control.NO_DAEMON), (StartRefused("no"), control.LEFT)],
)
def test_no_daemon_and_a_refusal_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, status: int
) -> None:
    assert run(monkeypatch, tmp_path, error, "resume")[0] == status


def test_only_cancel_takes_an_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wrong in (("cancel",), ("pause", "an-id")):
        with pytest.raises(SystemExit):
            run(monkeypatch, tmp_path, STANDING, *wrong)
    assert run(monkeypatch, tmp_path, {}, "cancel", "an-id")[1].asked[0][1]["id"] == "an-id"
