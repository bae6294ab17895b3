"""In dry run nothing goes to any host but the simulators it started, and configured keys are not used (CFG-10)."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from core import dry_run
from core.config import load_settings
from core.dry_run import VENUES
from core.engine.commands import Commands
from core.lifecycle.outcome import ExitStatus
from core.status.control import ControlServer
from core.transport import Http, HttpResponse, Socket, Transport
from tests.scenarios.worlds import AFTER_CRASHES, Daemon, SimulatedWorld, a_signal

pytestmark = pytest.mark.may_block("simulation runs storage inline")

LIVE = {"KEY": "live-key-of-the-owner", "SECRET": "live-secret-of-the-owner"}
MINUTES = 20


class _Watched:
    """Every request and socket on its way out: host and the key it carries."""

    def __init__(self) -> None:
        self.hosts: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.told: list[str] = []

    def note(self, url: str, headers: Mapping[str, str] | None, body: bytes | None = None) -> None:
        self.hosts[urlsplit(url).netloc] += 1
        if key := (headers or {}).get("X-MBX-APIKEY"):
            self.keys[key] += 1
        self.told.append(f"{url} {headers} {body!r}")


class _Http:
    def __init__(self, inner: Http, watched: _Watched) -> None:
        self._inner, self._watched = inner, watched

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        self._watched.note(url, headers, body)
        return await self._inner.request(method, url, headers, body)

    async def close(self) -> None:
        await self._inner.close()


def _sockets(make: Callable[[], Socket], watched: _Watched) -> Callable[[], Socket]:
    def made() -> Socket:
        socket = make()
        enter = socket.open

        async def open_it(url: str, headers: Mapping[str, str] | None = None) -> None:
            watched.note(url, headers)
            await enter(url, headers)

        socket.open = open_it  # type: ignore[method-assign]
        return socket

    return made


@pytest.mark.failure("CFG-10")
async def test_a_long_dry_run_with_a_panic_at_its_end_never_leaves_the_simulators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Commands] = []

    class Control(ControlServer):
        def __init__(self, *, commands: Commands, **parts: object) -> None:
            heard.append(commands)
            super().__init__(commands=commands, **parts)  # type: ignore[arg-type]

    monkeypatch.setattr("core.orchestrator.ControlServer", Control)
    async with SimulatedWorld(tmp_path, VENUES, tick_hz=0.2) as world:

        @asynccontextmanager
        async def simulator(_venue: str, _folder: Path) -> AsyncIterator[None]:
            yield None

        async def ready(venue: str, _process: None) -> str:
            return world.urls[venue]

        monkeypatch.setattr(dry_run, "_simulator", simulator)
        monkeypatch.setattr(dry_run, "_ready_url", ready)
        await world.play(
            *(
                {"at_ms": 60_000 * n, "signals": [a_signal("BTCUSDT", id=f"{n}{v}", exchange=v) for v in VENUES]}
                for n in range(1, MINUTES, 5)
            )
        )
        given = {
            "BINANCE_API_KEY": LIVE["KEY"],
            "BINANCE_API_SECRET": LIVE["SECRET"],
            "BINANCE_URL": "https://live.example",
            "BYBIT_API_KEY": LIVE["KEY"],
            "BYBIT_API_SECRET": LIVE["SECRET"],
            "SIGNAL_WS_URL": "ws://127.0.0.1:1",
            "SIGNAL_WS_TOKEN": "t",
            "DATA_DIR": tmp_path / "data",
            "LOG_DIR": tmp_path / "logs",
            "STRATEGY": "trend_atr",
            "LEVERAGE": 20,
            **AFTER_CRASHES,
        }
        settings = load_settings({name: str(value) for name, value in given.items()}, None, to_trade=False)
        watched = _Watched()
        async with dry_run.dry_run(settings) as run:
            host, line = world._host(lambda *_: None)

            def transport(name: str) -> Transport:
                made = host.transport(name)
                return Transport(http=_Http(made.http, watched), socket=_sockets(made.socket, watched))

            daemon = Daemon(run.settings, replace(host, transport=transport), line)
            daemon.begin()
            await daemon.ready()
            await asyncio.sleep(60 * MINUTES)
            assert daemon.waves
            (commands,) = heard
            await commands.panic("owner")
            assert (await daemon.stop()).status in {ExitStatus.DONE, ExitStatus.OPERATOR_NEEDED}
        assert set(watched.hosts) == {urlsplit(url).netloc for url in world.urls.values()}
        assert set(watched.keys) == {"sim"}
        everything = "\n".join(watched.told)
        assert not [secret for secret in (*LIVE.values(), "live.example") if secret in everything]
        assert [await world.held(venue) for venue in VENUES] == [{}] * len(VENUES)


def test_the_venues_of_a_dry_run_do_not_hear_the_terminals_ctrl_c(tmp_path: Path) -> None:
    """It goes to the foreground group: the venues would be gone before the daemon has settled with them."""

    async def alone() -> bool:
        async with dry_run._simulator("binance", tmp_path) as process:
            return os.getsid(process.pid) == process.pid

    assert asyncio.run(alone())


TOLD_AND_ASKED = {
    "TELEGRAM_TOKEN": "7000000001:of-the-live-daemon-and-of-nobody-else",
    "TELEGRAM_CHAT_ID": "42",
    "ALERT_WEBHOOK_URL": "https://live.example/hook",
    "ALERT_WEBHOOK_SECRET": "a-secret-of-the-live-daemon",
    "WEBHOOK_PORT": "9200",
    "WEBHOOK_TOKEN": "a-token-of-the-live-daemon",
}


@pytest.mark.failure("CFG-10")
@pytest.mark.parametrize("here", [False, True], ids=["elsewhere", "on this host"])
async def test_who_hears_of_the_live_daemon_and_orders_it_has_nothing_to_do_with_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, here: bool
) -> None:
    """Both would poll one bot, and every other /panic go to the simulators. One on this host is there to be tried."""

    @asynccontextmanager
    async def simulator(_venue: str, _folder: Path) -> AsyncIterator[None]:
        yield None

    async def ready(_venue: str, _process: None) -> str:
        return "http://127.0.0.1:1"

    monkeypatch.setattr(dry_run, "_simulator", simulator)
    monkeypatch.setattr(dry_run, "_ready_url", ready)
    given = {**TOLD_AND_ASKED, "DATA_DIR": str(tmp_path / "a" / "data"), "LOG_DIR": str(tmp_path / "logs")}
    if here:
        given |= {"TELEGRAM_API_URL": "http://127.0.0.1:2", "ALERT_WEBHOOK_URL": "http://127.0.0.1:3/hook"}
    settings = load_settings(given, None, to_trade=False)
    async with dry_run.dry_run(settings) as run:
        used = run.settings
    assert (used.telegram.token is not None, used.telegram.chat_id is not None) == (here, here)
    assert (used.alerts.webhook_url is not None, used.alerts.webhook_secret is not None) == (here, here)
    assert used.webhook.port == 0, "any free one"
    assert used.process.log_dir == tmp_path / "logs" / "dry-run"
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "data", used.process.data_dir)}
    assert modes == {0o700}
