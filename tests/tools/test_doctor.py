"""The doctor's answers: each by itself, in time, with what to do; and none of them changes anything."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.builders_config import some_settings
from tests.storage.records import a_journal
from tools import doctor, doctor_host, doctor_network
from tools.checkup import Finding, Grade, Question, answers, ok


def _one(found: list[Finding] | Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


# asking


def test_a_question_without_an_answer_costs_its_own_answer_only() -> None:
    held = threading.Event()

    def never() -> Iterator[Finding]:
        held.wait(30)
        yield ok("never", "")

    def broken() -> Iterator[Finding]:
        yield from ()
        raise OSError("no such disk")

    found = answers(
        [
            Question(about="never", ask=never, seconds=0.2),
            Question(about="broken", ask=broken),
            Question(about="fine", ask=lambda: [ok("fine", "all of it")]),
        ]
    )
    held.set()
    assert [(one.about, one.grade) for one in found] == [
        ("never", Grade.FAIL),
        ("broken", Grade.FAIL),
        ("fine", Grade.OK),
    ]
    assert "no answer within 0.2 s" in found[0].what
    assert "no such disk" in found[1].what


def test_the_folders_are_those_of_the_daemon_though_the_configuration_cannot_be_used(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"LEVERAGE=nonsense\nLOG_DIR={tmp_path / 'elsewhere'}\n", "utf-8")
    env_file.chmod(0o600)
    case = doctor.case_of({"DATA_DIR": str(tmp_path / "data")}, env_file)
    assert case.settings is None
    assert (case.data_dir, case.log_dir) == (tmp_path / "data", tmp_path / "elsewhere")


# the host


def test_risky_values_are_said_and_harmless_ones_are_not() -> None:
    calm = some_settings(TELEGRAM_TOKEN="7000000001:CANARY-token-of-the-test-bot", TELEGRAM_CHAT_ID="1")
    assert _one(doctor_host.risky_values(calm)).grade is Grade.OK
    risky = some_settings(LEVERAGE="50", MAX_EXPOSURE_USD="150", TRADING_ENABLED="false", STOP_LOSS_PERCENT="1")
    said = " ".join(one.what for one in doctor_host.risky_values(risky))
    for what in ("LEVERAGE=50", "allows 1 positions", "TRADING_ENABLED", "TELEGRAM_TOKEN"):
        assert what in said


def test_a_file_with_secrets_that_others_may_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    secret, fine = tmp_path / "secret", tmp_path / "fine"
    for path, mode in ((secret, 0o640), (fine, 0o600)):
        path.write_text("x", "utf-8")
        path.chmod(mode)
    tmp_path.chmod(0o700)
    found = _one(doctor_host.file_modes({"A": secret, "B": fine, "C": tmp_path / "absent"}, {"DATA_DIR": tmp_path}))
    assert found.grade is Grade.FAIL
    assert f"run: chmod 600 {secret}" in found.what
    assert _one(doctor_host.file_modes({"B": fine}, {"DATA_DIR": tmp_path})).grade is Grade.OK
    tmp_path.chmod(0o755)
    assert "chmod 700" in _one(doctor_host.file_modes({"B": fine}, {"DATA_DIR": tmp_path})).what


def test_secrets_in_files_are_found_by_the_names_of_the_settings(tmp_path: Path) -> None:
    env = {"BINANCE_API_SECRET_FILE": str(tmp_path / "s"), "SSL_CERT_FILE": "/etc/ssl/cert.pem"}
    env["OKX_API_KEY_FILE"] = "/run/secrets/okx"
    assert doctor_host.secret_files(env, tmp_path / ".env") == {
        "BINANCE_API_SECRET_FILE": tmp_path / "s",
        ".env": tmp_path / ".env",
    }


def test_libraries_are_compared_with_what_is_pinned() -> None:
    pins = doctor_host.pinned_versions(
        "aiohttp==3.1.0 \\\n    --hash=sha256:00\nnumpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=x\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\nwinonly==1.0 ; sys_platform == 'win32' \\\n    # via x\n"
    )
    assert pins == {"aiohttp": {"3.1.0": False}, "numpy": {"2.4.6": True, "2.5.5": True}, "winonly": {"1.0": True}}
    assert "instead of 3.1.0" in doctor_host._differs("aiohttp", pins["aiohttp"])
    assert doctor_host._differs("winonly", pins["winonly"]) == ""
    assert doctor_host._differs("no-such-library", {"1": False}) == "no-such-library is not installed"
    assert "libraries" in {one.about for one in doctor_host.versions()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def test_a_daemon_that_holds_the_lock_and_serves_nobody_is_not_to_be_killed_for_it(tmp_path: Path) -> None:
    """It may be waiting for its venues; another end makes the next start wait longer."""
    assert _one(doctor_host.lock(tmp_path, "1")).grade is Grade.OK
    with _locked(tmp_path / "lock"):
        found = _one(doctor_host.lock(tmp_path, "1"))
        assert doctor_host.lock_holder(tmp_path / "lock") == os.getpid()
    assert found.grade is Grade.WARN
    assert f"process {os.getpid()}" in found.what
    assert "kill" not in found.what
    assert doctor_host.lock_holder(tmp_path / "lock") is None


def test_a_daemon_that_holds_the_lock_and_hangs_is_named_by_its_process(tmp_path: Path) -> None:
    with _locked(tmp_path / "lock"), socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "control.sock"))
        hung.listen()
        found = _one(doctor_host.lock(tmp_path, "1"))
    assert found.grade is Grade.FAIL
    assert f"kill {os.getpid()}" in found.what


def test_the_journal_is_sound_damaged_or_not_there(tmp_path: Path) -> None:
    assert "none yet" in _one(doctor_host.journal(tmp_path)).what
    asyncio.run(_a_journal(tmp_path))
    assert _one(doctor_host.journal(tmp_path)).what.startswith("sound, schema")
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    assert "newer program" in _one(doctor_host.journal(tmp_path)).what
    path.write_bytes(b"no database at all, but long enough to be looked at" * 40)
    assert _one(doctor_host.journal(tmp_path)).grade is Grade.FAIL
    path.rename(tmp_path / "journal.db.broken-1")
    found = list(doctor_host.journal(tmp_path))
    assert [one.grade for one in found] == [Grade.WARN, Grade.OK]


async def _a_journal(folder: Path) -> None:
    await (await a_journal(folder)).close()


def test_the_kill_file_and_a_broken_audit_log_are_said(tmp_path: Path) -> None:
    assert list(doctor_host.kill_file(tmp_path)) == []
    (tmp_path / "KILL").touch()
    assert "delete it to trade" in _one(doctor_host.kill_file(tmp_path)).what
    assert _one(doctor_host.audit(tmp_path)).what == "none yet"
    (tmp_path / "audit.log").write_text('{"seq": 1}\n', "utf-8")
    assert _one(doctor_host.audit(tmp_path)).grade is Grade.FAIL


# the network


def test_a_name_nobody_knows_and_a_port_nobody_listens_on_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", unknown)
        named = _one(doctor_network.reached("x", ["https://no-such-host.invalid", "wss://no-such-host.invalid:443"]))
    assert "cannot be resolved" in named.what
    refused = _one(doctor_network.reached("x", ["http://127.0.0.1:1"]))
    assert "cannot be reached" in refused.what
    assert {named.grade, refused.grade} == {Grade.FAIL}


def test_the_token_of_telegram_is_in_no_answer_about_it() -> None:
    token = "7000000001:CANARY-token-of-the-test-bot"
    settings = some_settings(TELEGRAM_TOKEN=token, TELEGRAM_CHAT_ID="1", TELEGRAM_API_URL="http://127.0.0.1:1")
    found = _one(doctor_network.telegram(settings))
    assert found.grade is Grade.FAIL
    assert token not in found.what
    assert "cannot be reached" in found.what


# the program


def test_it_works_without_a_network_and_says_each_mistake_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {
        "PATH": "",
        "DATA_DIR": str(tmp_path),
        "LOG_DIR": str(tmp_path / "logs"),
        "MAX_POSITIONS": "many",
        "WAVE_X": "1",
    }
    monkeypatch.setattr(os, "environ", env)
    nothing = tmp_path / "none.env"
    nothing.touch(0o600)
    assert doctor.main(["--offline", "--json", "--env-file", str(nothing)]) == doctor.FAILED
    found = json.loads(capsys.readouterr().out)
    said = [one["what"] for one in found if one["about"] == "configuration"]
    assert [text.split(":")[0].split("=")[0].split(" ")[0] for text in said] == ["WAVE_X", "MAX_POSITIONS"]
    assert {"python", "libraries", "daemon", "journal", "audit log", "service"} <= {one["about"] for one in found}
    env |= {"MAX_POSITIONS": "3"}
    del env["WAVE_X"]
    tmp_path.chmod(0o700)
    assert doctor.main(["--offline", "--env-file", str(nothing)]) == doctor.SOUND
    assert "0 failed" in capsys.readouterr().out
    assert not (tmp_path / "lock").exists()
