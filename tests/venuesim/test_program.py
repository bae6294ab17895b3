"""The simulator as a process: its ready line, its files, its end."""

import json
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tools.venuesim.arguments import parse, replays
from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.venues import VenueMissing, load

PROJECT = Path(__file__).resolve().parents[2]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-m", "tools.venuesim", "--venue", "binance", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def ask(url: str, context: ssl.SSLContext | None = None) -> object:
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return json.loads(answer.read())


def test_it_prints_one_ready_line_serves_and_ends_quietly_on_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with running("--log", str(log), "--symbols", "3") as (process, ready):
        assert set(ready) == {"venue", "url", "ws"}
        assert ready["venue"] == "binance"
        assert ready["url"].replace("http://", "ws://") == ready["ws"]
        assert isinstance(ask(ready["url"] + "/fapi/v1/time"), dict)
        assert isinstance(ask(ready["url"] + "/_sim/state"), dict)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
    (line,) = [json.loads(text) for text in log.read_text().splitlines()]
    assert (line["path"], line["status"]) == ("/fapi/v1/time", 200)


def test_it_speaks_tls_with_a_given_certificate(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [openssl, "req", "-x509", "-nodes", "-days", "2", *curve, *files, *subject], check=True, capture_output=True
    )
    with running("--tls", str(cert), str(key)) as (_, ready):
        assert ready["url"].startswith("https://")
        assert isinstance(ask(ready["url"] + "/_sim/state", ssl.create_default_context(cafile=str(cert))), dict)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tick-hz", "0"], "must be more than 0"),
        (["--balance", "x"], "not an amount"),
        (["--market", "BTCUSDT"], "is not SYMBOL=FILE.csv"),
        (["--market", "BTCUSDT=nowhere.csv"], "nowhere.csv"),
        (["--faults", "nowhere.toml"], "nowhere.toml"),
        (["--latency-ms", "-1"], "must not be negative"),
        (["--position-mode", "both"], "invalid choice"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--venue", "binance", *arguments])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_the_defaults_are_the_documented_ones() -> None:
    settings = parse(["--venue", "okx"]).settings
    assert (settings.seed, settings.latency_ms, settings.jitter_ms, settings.balance) == (1, 0.0, 0.0, Decimal(10_000))
    assert (settings.symbols, settings.speed, settings.position_mode) == (40, 1.0, PositionMode.ONE_WAY)
    assert replays("synthetic") == {}


def test_a_venue_without_a_facade_is_refused_by_name() -> None:
    with pytest.raises(VenueMissing, match="unknown venue 'kraken'"):
        load("kraken")
    assert load("binance").name == "binance"
