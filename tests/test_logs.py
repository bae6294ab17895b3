"""Logging is readable, complete, free of secrets, and never in the way of trading."""

import io
import json
import logging
import os
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from core import logs
from core.log_files import Retention, RotatedFile
from core.logs import configure_logging

CANARY = "canary+5up3r/53cr3t"


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "breakwater.log").read_text("utf-8").splitlines()]


def test_one_record_is_a_readable_line_and_a_json_line_with_its_context(tmp_path: Path) -> None:
    console = io.StringIO()
    with configure_logging(tmp_path, console=console, now_ms=lambda: 1_700_000_000_123):
        structlog.contextvars.bind_contextvars(wave="w1", client_order_id="abc")
        structlog.get_logger().info("risk.denied", code="MAX_EXPOSURE", limit=Decimal("1000.50"))
    line = "2023-11-14T22:13:20.123+00:00 info     risk.denied"
    assert console.getvalue() == f"{line} code=MAX_EXPOSURE limit=1000.50 client_order_id=abc wave=w1\n"
    assert records(tmp_path) == [
        {
            "time": "2023-11-14T22:13:20.123+00:00",
            "level": "info",
            "event": "risk.denied",
            "wave": "w1",
            "client_order_id": "abc",
            "code": "MAX_EXPOSURE",
            "limit": "1000.50",
        }
    ]


def test_a_level_below_the_wanted_one_is_not_written(tmp_path: Path) -> None:
    with configure_logging(tmp_path, "WARNING", console=io.StringIO()):
        structlog.get_logger().info("quiet")
        structlog.get_logger().warning("heard")
    assert [record["event"] for record in records(tmp_path)] == ["heard"]


def test_a_traceback_goes_whole_to_the_file_and_as_one_line_to_the_console(tmp_path: Path) -> None:
    console = io.StringIO()
    with configure_logging(tmp_path, console=console):
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            structlog.get_logger().exception("broke")
    assert console.getvalue().count("\n") == 1
    assert 'error="ValueError: first\\nsecond"' in console.getvalue()
    record = records(tmp_path)[0]
    assert record["level"] == "error"
    assert "test_logs.py" in str(record["exception"])


class Leaky:
    def __str__(self) -> str:
        return f"Leaky({CANARY})"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"more": f"x{CANARY}y"}, id="text"),
        pytest.param({"url": f"https://h/p?a=1&signature={CANARY}"}, id="url"),
        pytest.param({"url": "https://h/p?x=canary%2B5up3r%2F53cr3t"}, id="quoted url"),
        pytest.param({"field": SecretStr(CANARY)}, id="secret type"),
        pytest.param({"headers": {"X": [CANARY, {"y": CANARY}]}}, id="nested"),
        pytest.param({CANARY: 1}, id="name"),
        pytest.param({"exc_info": RuntimeError(CANARY)}, id="exception"),
        pytest.param({"thing": Leaky()}, id="object"),
        pytest.param({"event": CANARY}, id="event"),
    ],
)
def test_a_secret_is_masked_wherever_it_hides(tmp_path: Path, values: dict[str, object]) -> None:
    console = io.StringIO()
    with configure_logging(tmp_path, console=console, secrets=[CANARY]):
        structlog.get_logger().info(**{"event": "seen", **values})
        logging.getLogger("httpx").warning("GET %s", CANARY)
    written = console.getvalue() + (tmp_path / "breakwater.log").read_text("utf-8")
    assert written.count("***") >= 4
    assert "53cr3t" not in written


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?symbol=X&signature=deadbeef00&timestamp=1",
        '{"listenKey": "deadbeef00"}',
        "X-MBX-APIKEY: deadbeef00",
        "https://api.telegram.org/bot123456:deadbeef00/sendMessage",
        "wss://host/ws/" + "deadbeef00" * 6,
        "token=deadbeef00;",
        "Authorization: Bearer deadbeef00",
    ],
)
def test_a_value_in_a_secret_place_is_masked_without_knowing_it(tmp_path: Path, text: str) -> None:
    with configure_logging(tmp_path, console=io.StringIO()):
        structlog.get_logger().info("seen", text=text)
    assert "deadbeef00" not in (tmp_path / "breakwater.log").read_text("utf-8")


def test_an_order_id_or_a_symbol_is_not_mistaken_for_a_secret(tmp_path: Path) -> None:
    with configure_logging(tmp_path, console=io.StringIO(), secrets=["sim"]):
        structlog.get_logger().info("simulated", text="simulator token count 5", client_order_id="simabc")
    assert records(tmp_path)[0]["text"] == "simulator token count 5"


@pytest.mark.failure("SEC-09")
@pytest.mark.parametrize("evil", ["\n2026 critical forged", "\r", "\x1b[31m", "\u2028", "\x85", "\u202e", "\x00"])
def test_crafted_text_stays_on_its_line_with_control_characters_escaped(tmp_path: Path, evil: str) -> None:
    console = io.StringIO()
    with configure_logging(tmp_path, console=console):
        structlog.get_logger().warning("signal.refused" + evil, symbol=f"BTC{evil}USDT")
    for written in (console.getvalue(), (tmp_path / "breakwater.log").read_text("utf-8")):
        assert len(written.splitlines()) == 1
        assert evil not in written
    assert records(tmp_path)[0]["symbol"] == f"BTC{evil}USDT"


def test_library_chatter_below_warning_is_left_out(tmp_path: Path) -> None:
    with configure_logging(tmp_path, "DEBUG", console=io.StringIO()):
        logging.getLogger("httpx").info("GET https://api.telegram.org/bot1:abc/getMe")
        logging.getLogger("ccxt").debug("x")
        logging.getLogger("websockets").warning("%d apples", 2)
    assert [(record["logger"], record["text"]) for record in records(tmp_path)] == [("websockets", "2 apples")]


def test_a_failing_disk_reaches_stderr_counts_and_recovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = io.StringIO()
    tried, broken = threading.Semaphore(0), threading.Event()
    broken.set()
    write = RotatedFile.write

    def failing(self: RotatedFile, line: str) -> None:
        try:
            if broken.is_set():
                raise OSError(28, "No space left on device")
            write(self, line)
        finally:
            tried.release()

    monkeypatch.setattr(RotatedFile, "write", failing)
    with configure_logging(tmp_path, console=console) as health:
        log = structlog.get_logger()
        log.info("one")
        log.info("two")
        assert tried.acquire(timeout=5)
        assert tried.acquire(timeout=5)
        broken.clear()
        log.info("three")
    assert (health.file_failures, health.file_ok) == (2, True)
    error = capsys.readouterr().err
    assert error.count("log.file_failed") == 1
    assert '"event": "two"' in error
    assert "log.file_recovered" in console.getvalue()
    assert [record["event"] for record in records(tmp_path)] == ["three"]


def test_a_full_queue_drops_counts_and_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_SIZE", 2)
    entered, gate = threading.Event(), threading.Event()

    class SlowConsole(io.StringIO):
        def write(self, text: str) -> int:
            entered.set()
            gate.wait(5)
            return super().write(text)

    with configure_logging(tmp_path, console=SlowConsole()) as health:
        log = structlog.get_logger()
        log.info("first")
        entered.wait(5)
        for number in range(5):
            log.info("more", number=number)
        assert health.dropped == 3
        gate.set()
    assert {"event": "log.dropped", "total": 3}.items() <= records(tmp_path)[1].items()


def test_a_value_that_cannot_be_shown_costs_one_record_only(tmp_path: Path) -> None:
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with configure_logging(tmp_path, console=io.StringIO()) as health:
        structlog.get_logger().info("rude", value=Rude())
        structlog.get_logger().info("polite")
    assert [record["event"] for record in records(tmp_path)] == ["log.unrenderable", "polite"]
    assert health.unrenderable == 1


def test_a_closed_console_leaves_the_file_complete(tmp_path: Path) -> None:
    console = io.StringIO()
    with configure_logging(tmp_path, console=console):
        console.close()
        structlog.get_logger().info("still here")
    assert [record["event"] for record in records(tmp_path)] == ["still here"]


def test_the_file_rotates_by_size_and_is_private(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "new" / "x.log", Retention(max_bytes=20, keep=2))
    for number in range(5):
        file.write(f"line {number} 0123456789")
    file.close()
    kept = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert kept == ["x.log", "x.log.1", "x.log.2"]
    assert (tmp_path / "new" / "x.log").read_text() == "line 4 0123456789\n"
    assert (tmp_path / "new" / "x.log").stat().st_mode & 0o777 == 0o600


def test_without_a_folder_the_console_has_the_traceback(tmp_path: Path) -> None:
    console = io.StringIO()
    with configure_logging(None, console=console):
        structlog.get_logger().error("broke", exc_info=ValueError("x"))
    assert "Traceback" in console.getvalue() or "exception=" in console.getvalue()
    assert console.getvalue().count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_log_files_beyond_their_number_or_age_are_deleted_and_nothing_else_is(tmp_path: Path) -> None:
    for name, days in (("x.log.1", 1), ("x.log.2", 40), ("x.log.7", 1), ("x.log.notes", 400), ("y.log.1", 400)):
        (tmp_path / name).write_text("old\n")
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    file = RotatedFile(tmp_path / "x.log", Retention(keep=5, days=30))
    file.write("new")
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.notes", "y.log.1"]


def test_log_files_of_any_age_are_kept_where_no_age_is_set(tmp_path: Path) -> None:
    (tmp_path / "x.log.1").write_text("old\n")
    os.utime(tmp_path / "x.log.1", (0, 0))
    file = RotatedFile(tmp_path / "x.log", Retention(days=0))
    file.write("new")
    file.close()
    assert (tmp_path / "x.log.1").exists()
