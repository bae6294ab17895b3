"""No secret comes out anywhere (SEC-05): every secret setting is a canary, every layer is made to fail, and every
output there is is searched. The list of secrets is the settings' own: a new one is covered the day it is declared."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import sys
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from core.config import PROJECT_ROOT, Settings, load_settings, show_config
from core.errors import ConfigError
from core.redaction import Redactor
from core.settings.fields import entries
from tests.builders_config import NO_COOLDOWNS
from tests.fakes.bot_api import LoopbackBotApi, bot_api
from tests.scenarios.worlds import LoopbackWorld, a_signal
from tools import (
    check_orders,
    doctor,
    emergency_flat,
    export,
    incident_bundle,
    monitor_bot,
    quick_check,
    verify_audit,
    why,
)
from tools.bot_account import BotAccount
from tools.signal_feed import Form, SignalFeed, parse_script
from tools.signal_server import serving
from tools.venuesim.binance import signing as binance
from tools.venuesim.bybit import signing as bybit
from tools.venuesim.okx import signing as okx

pytestmark = pytest.mark.may_block(reason="tools run in this process")

MARK = "cAnArY"
"""Letters only: however a secret is quoted or escaped, this part of it is written the same."""
CHAT = 42
SECRETS = {entry.env: entry for entry in entries(Settings) if entry.secret}
CANARIES = {
    name: f"{MARK}{number:02d}x\"&\\<+/=%'y"
    if name != "TELEGRAM_TOKEN"
    else f"7000000001:{MARK}-{number:02d}-of-the-bot"
    for number, name in enumerate(SECRETS)
}
SIGNED = re.compile(r"signature=[0-9a-fA-F]{8}|/ws/[A-Za-z0-9]{40}")
VENUES = {"binance": binance, "bybit": bybit, "okx": okx}


@dataclass(slots=True)
class Outputs:
    """What was shown, by where; `search` tells in which of it a secret stands."""

    shown: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, what: str | bytes) -> None:
        self.shown.append((where, what.decode("utf-8", "backslashreplace") if isinstance(what, bytes) else what))

    def files(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.add(str(path.relative_to(folder)), path.read_bytes())

    def search(self) -> list[str]:
        found = []
        for where, text in self.shown:
            for mark in (re.compile(MARK), SIGNED):
                found += [f"{where}: …{text[max(0, m.start() - 80) : m.end() + 40]}…" for m in mark.finditer(text)][:3]
        return found


def _echo(venue: str) -> str:
    """A venue that says in its refusal what it was sent: keys, secrets and a signed address."""
    mine = " ".join(text for name, text in CANARIES.items() if name.startswith(venue.upper()))
    said = f"refused {mine} at https://api.example/x?timestamp=1&signature=deadbeefdeadbeef"
    answers = {
        "binance": {"code": -4131, "msg": said},
        "bybit": {"retCode": 10001, "retMsg": said, "result": {}, "time": 1},
        "okx": {"code": "51000", "msg": said, "data": []},
    }
    return json.dumps(answers[venue])


@asynccontextmanager
async def _hook(outputs: Outputs) -> AsyncIterator[str]:
    """Where alerts are posted. It answers with what it got, and that it does not like it."""

    async def take(request: web.Request) -> web.Response:
        body = await request.text()
        outputs.add("alert posted", f"{dict(request.headers)} {body}")
        return web.Response(status=500, text=f"{CANARIES['ALERT_WEBHOOK_SECRET']} {body}")

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


def _environment(world: LoopbackWorld, folder: Path, telegram: str, hook: str) -> dict[str, str]:
    urls = {f"{venue.upper()}_URL": url for venue, url in world.urls.items()}
    assert world._signals is not None
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **urls,
        **CANARIES,
        **NO_COOLDOWNS,
        "TELEGRAM_API_URL": telegram,
        "TELEGRAM_CHAT_ID": str(CHAT),
        "ALERT_WEBHOOK_URL": hook,
        "SIGNAL_WS_URL": world._signals,
        "STATUS_PORT": str(_free_port()),
        "WEBHOOK_PORT": str(_free_port()),
        "DATA_DIR": str(folder / "data"),
        "LOG_DIR": str(folder / "logs"),
        "LOG_LEVEL": "DEBUG",
        "STRATEGY": "none",
        "LEVERAGE": "20",
        "MAX_POSITIONS": "10",
        "MAX_EXPOSURE_USD": "10000",
    }


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _play(world: LoopbackWorld, signals: Sequence[Mapping[str, Any]]) -> None:
    """The world's own signal server wants a token of its own."""
    token = CANARIES["SIGNAL_WS_TOKEN"]
    lines = [{"at_ms": 0, "signals": list(signals)}]
    lines += [{"at_ms": 0, "signals": [a_signal("XRPUSDT", id=token, exchange="binance"), {"id": token}]}]
    lines += [
        {"at_ms": 0, "raw": raw} for raw in (json.dumps({"type": "error", "message": token}), token, "\x00" + token)
    ]
    script = parse_script("\n".join(json.dumps(line) for line in lines))
    feed = SignalFeed(script, Form.PUSHED, token=token)
    world._signals = await world._stack.enter_async_context(serving(feed))


def _signals() -> list[dict[str, Any]]:
    spelt = {"binance": "{}USDT", "bybit": "{}USDT", "okx": "{}-USDT-SWAP"}
    return [
        a_signal(spelt[venue].format(coin), id=f"{venue}-{coin}", exchange=venue, score=90 - n)
        for venue in VENUES
        for n, coin in enumerate(("BTC", "ETH"))
    ]


async def _break(world: LoopbackWorld) -> None:
    """Refusals that repeat what they were sent, in every layer a venue has."""
    orders = {"binance": "/fapi/v1/order", "bybit": "/v5/order/create*", "okx": "/api/v5/trade/*order*"}
    for venue, path in orders.items():
        echo = {"status": 400, "body": _echo(venue)}
        await world.fault("http_error", venue, match={"method": "POST", "path": path}, count=1, **echo)
    await world.fault("garbage_frame", "binance", count=1)


async def _break_reads(world: LoopbackWorld) -> None:
    """What is read from now on is refused as often as a read is repeated. Not at the start, which would wait for it."""
    reads = {"binance": "/fapi/v3/positionRisk", "bybit": "/v5/position/list", "okx": "/api/v5/account/positions"}
    for venue, path in reads.items():
        await world.fault("http_error", venue, match={"path": path}, count=1, status=400, body=_echo(venue))


async def _page(port: str, path: str, outputs: Outputs) -> str:
    headers = {"Authorization": f"Bearer {CANARIES['STATUS_TOKEN']}"}
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
        text = await answer.text()
    outputs.add(f"page {path}", text)
    return text


async def _post(port: str, outputs: Outputs) -> None:
    """Signals as a stranger posts them who has stolen one of two secrets, and as a friend does who mixes up fields."""
    token, key = CANARIES["WEBHOOK_TOKEN"], CANARIES["WEBHOOK_HMAC_KEY"]
    mixed_up = {**a_signal("BTCUSDT", id=token, exchange="binance"), "token": token, "symbol": token, "comment": key}
    bodies = [json.dumps(mixed_up), json.dumps({"id": key, "direction": token}), f'{{"token": "{token}', token]
    async with ClientSession() as session:
        for body in bodies:
            right = hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()
            for signed in (right, "0" * 64, key.encode().hex()):
                headers = {"X-Breakwater-Token": token, "X-Breakwater-Signature": f"sha256={signed}"}
                async with session.post(f"http://127.0.0.1:{port}/signals", data=body, headers=headers) as answer:
                    outputs.add(f"signal posted {answer.status}", f"{dict(answer.headers)} {await answer.text()}")


async def _picture(bot: LoopbackBotApi, asked: str, outputs: Outputs) -> None:
    """What stands in a picture's file; what is drawn in it is made of the symbol and of figures alone."""
    known = set(bot.account.files)
    bot.say(asked)
    async with asyncio.timeout(40):
        while not (new := bot.account.files.keys() - known):  # noqa: ASYNC110 - the account tells nobody
            await asyncio.sleep(0.2)
    outputs.add(f"picture {asked}", bot.account.files[new.pop()])


async def _control(path: Path, outputs: Outputs, **request: Any) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)
    writer.write(json.dumps(request).encode() + b"\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    outputs.add(f"control {request}", line)
    return dict(json.loads(line))


async def _traded(path: Path) -> bool:
    return await asyncio.to_thread(path.exists) and bool(
        (await _control(path, Outputs(), command="status"))["result"]["waves"]
    )


@pytest.mark.failure("SEC-05")
@pytest.mark.asyncio(loop_factories=["loopback"])
@pytest.mark.timeout(120)
async def test_no_secret_comes_out_of_a_daemon_whose_every_layer_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for venue, module in VENUES.items():
        monkeypatch.setattr(module, "API_KEY", CANARIES[f"{venue.upper()}_API_KEY"])
        monkeypatch.setattr(module, "API_SECRET", CANARIES[f"{venue.upper()}_API_SECRET"])
    monkeypatch.setattr(okx, "PASSPHRASE", CANARIES["OKX_PASSPHRASE"])
    outputs = Outputs()
    account = BotAccount(CANARIES["TELEGRAM_TOKEN"], {CHAT})
    async with LoopbackWorld(tmp_path, list(VENUES)) as world, bot_api(account) as bot, _hook(outputs) as hook:
        await _play(world, _signals())
        env = _environment(world, tmp_path, bot.url, hook)
        await _break(world)
        await _live(world, bot, env, outputs)
        monkeypatch.setattr(os, "environ", env)
        await asyncio.to_thread(_ask_tools, tmp_path, outputs, capsys)
    outputs.files(tmp_path / "logs")
    outputs.files(tmp_path / "data")
    places = {where for where, _ in outputs.shown}
    assert {"daemon", "breakwater.log", "journal.db", "audit.log", "doctor", "page /status", "alert posted"} <= places
    assert {"picture /chart ETHUSDT", "picture /equity", "signal posted 400", "signal posted 401"} <= places
    text = next(text for where, text in outputs.shown if where == "breakwater.log")
    assert "***" in text, "something was there to be masked"
    assert outputs.search() == [], "\n".join(outputs.search())


async def _live(world: LoopbackWorld, bot: LoopbackBotApi, env: Mapping[str, str], outputs: Outputs) -> None:
    """One life of the daemon as a program."""
    data, port = Path(env["DATA_DIR"]), env["STATUS_PORT"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROJECT_ROOT / "main.py"), cwd=data.parent, env=dict(env), stdout=pipe, stderr=pipe
    )
    told = asyncio.ensure_future(process.communicate())
    try:
        async with asyncio.timeout(60):
            while not await _traded(data / "control.sock"):
                assert not told.done(), told.result()
                await asyncio.sleep(0.2)
            for text in ("/status", "/config", "/logs 50", "/why BTCUSDT", "/positions", "/health"):
                bot.say(text)
            for path in ("/status", "/healthz", "/metrics"):
                await _page(port, path, outputs)
            await _picture(bot, "/chart ETHUSDT", outputs)
            await _post(env["WEBHOOK_PORT"], outputs)
            for command in ("status", "risk", "health", "nonsense"):
                await _control(data / "control.sock", outputs, command=command)
            await _break_reads(world)
            await _control(data / "control.sock", outputs, command="panic", author="canary")
            await _picture(bot, "/equity", outputs)
            await world.fault("revoke_key", "bybit", count=-1)
            await _page(port, "/status", outputs)
            process.terminate()
            out, err = await told
    finally:
        if not told.done():
            process.kill()
            await told
    outputs.add("daemon", out + err)
    outputs.add("telegram", json.dumps(await bot.sent(1), default=str))


def _ask_tools(folder: Path, outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """Each as its user calls it, some of it against a venue that refuses the key."""
    data = ["--data-dir", str(folder / "data")]
    capsys.readouterr()
    calls: dict[str, tuple[Any, Sequence[str]]] = {
        "doctor": (doctor.main, ["--json"]),
        "export orders": (export.main, ["orders", *data]),
        "export positions": (export.main, ["positions", *data]),
        "export trades": (export.main, ["trades", "--format", "json", *data]),
        "why": (why.main, ["BTCUSDT", "--json", *data]),
        "quick_check": (quick_check.main, ["--json", *data]),
        "monitor": (monitor_bot.main, ["--once", "--json"]),
        "monitor screen": (monitor_bot.main, ["--once", "--svg", str(folder / "monitor.svg")]),
        "check_orders": (check_orders.main, ["--json"]),
        "emergency_flat": (emergency_flat.main, ["--yes", "--json", "--seconds", "3"]),
        "verify_audit": (verify_audit.main, [str(folder / "data")]),
        "incident_bundle": (incident_bundle.main, ["--out", str(folder / "bundle.tar.gz")]),
    }
    for name, (call, arguments) in calls.items():
        call(arguments)
        out, err = capsys.readouterr()
        outputs.add(name, out + err)
    outputs.add("monitor picture", (folder / "monitor.svg").read_bytes())
    with tarfile.open(folder / "bundle.tar.gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            outputs.add(f"bundle {member.name}", file.read())


@pytest.mark.failure("SEC-05")
def test_no_secret_is_shown_with_the_configuration_or_with_what_is_wrong_with_it(tmp_path: Path) -> None:
    outputs = Outputs()
    good = {**CANARIES, "TELEGRAM_CHAT_ID": str(CHAT), "WEBHOOK_PORT": "0", "STATUS_PORT": "0"}
    good |= {"SIGNAL_WS_URL": "ws://127.0.0.1:1", "ALERT_WEBHOOK_URL": "http://127.0.0.1:1"}
    settings = load_settings(good, None)
    for format_ in ("table", "env", "json"):
        outputs.add(f"show-config {format_}", show_config(settings, format_))
    outputs.add("repr", repr(settings) + str(settings) + repr(settings.model_dump()))
    path = tmp_path / ".env"
    for name, canary in CANARIES.items():
        for mistake in (f"{canary} {canary}", f"'{canary}", f"{canary}\n{canary}", "\x01" + canary):
            path.write_text(f"{name}={mistake}\n{name}={canary}\n", "utf-8")
            path.chmod(0o644)
            with pytest.raises(ConfigError) as refused:
                load_settings({**good, name: f"{canary} other"}, path)
            outputs.add(f"mistake in {name}", str(refused.value))
    assert outputs.search() == [], "\n".join(outputs.search())


@pytest.mark.failure("SEC-05")
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_however_it_is_written(name: str) -> None:
    """In URLs, in JSON, in a repr, in markup, one inside the other; and beside another one that begins alike."""
    from html import escape
    from urllib.parse import quote, quote_plus

    canary = CANARIES[name]
    written = [canary, quote(canary, safe=""), quote(canary), quote_plus(canary), json.dumps(canary), repr(canary)]
    written += [
        json.dumps({"text": json.dumps({"key": canary})}),
        escape(canary),
        repr({"url": f"https://x/?k={canary}"}),
    ]
    redactor = Redactor((*CANARIES.values(), MARK + "00"))
    assert [redactor.text(text) for text in written if MARK in redactor.text(text)] == []
