"""Both sides of the transport seam: a world has a venue, a signal server, a clock, and daemons that live in it."""

from __future__ import annotations

import asyncio
import json
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from core.clock import Clock, SystemClock
from core.config import Settings, load_settings
from core.domain.position import Position
from core.domain.wave import WaveReport
from core.engine.queries import StatusReport
from core.lifecycle.outcome import ExitStatus, Outcome
from core.orchestrator import Host, Orchestrator
from core.storage.writer import InlineExecutor, WriterThread
from core.transport import AiohttpHttp, Transport, WebsocketsSocket
from tests.builders_config import NO_COOLDOWNS
from tests.fakes.sim_transport import SYMBOLS, Line, SimulatedFeed, SimulatedVenue, Tamper, Watch
from tests.fakes.virtual_loop import VirtualClock
from tools.signal_feed import Form, SignalFeed, parse_script
from tools.signal_server import serving
from tools.venuesim.exchange.model import SymbolStatus
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.server import Driver, Server, wall_ms
from tools.venuesim.venues import load

PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT")
_READY = "status-line"
"""The last of the daemon's tasks to start before signals are taken."""


def a_signal(pair: str = "BTCUSDT", *, direction: str = "LONG", score: int = 80, **fields: Any) -> dict[str, Any]:
    named = {"id": f"{pair.lower()}-{score}", "pair_symbol": pair, "direction": direction, "total_score": score}
    return named | {"timestamp": "$now"} | fields


def a_wave(pairs: Iterable[str] = PAIRS, *, at_ms: int = 4_000) -> dict[str, Any]:
    """Longs and shorts in turn, best score first."""
    sides = ("LONG", "SHORT")
    signals = [a_signal(pair, direction=sides[i % 2], score=90 - i) for i, pair in enumerate(pairs)]
    return {"at_ms": at_ms, "signals": signals}


AFTER_CRASHES: Final[Mapping[str, Any]] = {
    "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT": 0,
    "SL_STREAK_LIMIT": 1000,
    "MAX_DAILY_LOSS": 1_000_000,
    **NO_COOLDOWNS,
}
"""Settings under which a daemon goes on entering after a test has crashed the market under its stops."""


class Daemon:
    """One process's worth of daemon: booted, asked, stopped or killed."""

    def __init__(self, settings: Settings, host: Host, lines: Mapping[str, Line]) -> None:
        self.orchestrator = Orchestrator(settings, host)
        self.data_dir = settings.process.data_dir
        self._lines = lines
        self._task: asyncio.Task[Outcome] | None = None
        self.may_fail = False
        """Whether a test breaks its tasks; in all others one that failed and was started again is a fault."""

    def tamper(self, change: Tamper, venue: str = "binance") -> None:
        """From now on the venue's answers to this daemon are what `change` makes of them."""
        self._lines[venue].tamper = change

    def begin(self) -> None:
        """Start it without waiting for anything."""
        self._task = asyncio.create_task(self.orchestrator.run(), name="daemon")

    async def ready(self) -> None:
        async with asyncio.timeout(60):
            while _READY not in self.orchestrator._tasks:
                assert self._task is not None
                if self._task.done():
                    raise AssertionError(f"the daemon ended: {await self._task}")
                await asyncio.sleep(0.01)

    @property
    def status(self) -> StatusReport:
        assert self.orchestrator.queries is not None
        return self.orchestrator.queries.status()

    def off_because(self, venue: str = "binance") -> str | None:
        """Why one venue takes no entries, if it takes none."""
        (row,) = (row for row in self.status.venues if row.venue == venue)
        return row.off_because

    @property
    def waves(self) -> list[WaveReport]:
        """Finished ones, oldest first."""
        assert self.orchestrator.queries is not None
        return list(self.orchestrator.queries._waves.reports)

    @property
    def positions(self) -> dict[str, Position]:
        """Our own book, by unified symbol."""
        assert self.orchestrator.queries is not None
        return {p.instrument.symbol: p for p in self.orchestrator.queries._orders.state.positions()}

    def held(self) -> dict[str, Decimal]:
        """Our own book: signed quantity by venue symbol."""
        names = self.orchestrator.symbols
        rows = self.status.positions
        return {names[str(r.instrument)]: r.quantity * (1 if r.side == "long" else -1) for r in rows}

    async def wave(self, number: int = 1, seconds: float = 90.0) -> WaveReport:
        """The report of the so-manyth wave since this start."""
        assert self.orchestrator.queries is not None
        processor = self.orchestrator.queries._waves
        reported = asyncio.Event()
        processor.on_report(lambda _: reported.set())
        async with asyncio.timeout(seconds):
            while processor.finished < number:
                reported.clear()
                await reported.wait()
        return self.waves[number - 1 - processor.finished]

    async def stop(self) -> Outcome:
        """As SIGTERM does."""
        assert self._task is not None
        self.orchestrator.stop.set()
        return await self._task

    async def kill(self) -> Path:
        """As SIGKILL does: the venue hears nothing more, and what was on disk at this moment is all there is.

        The answer is a copy of the data folder to start again from.
        """
        return await self.bury(self.strike())

    def strike(self) -> Path:
        """The moment of the kill; may be called from inside the daemon's own steps. `bury` what is left."""
        assert self._lines
        for line in self._lines.values():
            line.cut()
        return Path(shutil.copytree(self.data_dir, f"{self.data_dir}-left", ignore=_sockets))

    async def bury(self, left: Path) -> Path:
        assert self._task is not None
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.5)
        return left


class World(ABC):
    """`ask` and `tell` go to a venue's control interface: of `venue`, the first one unless it is named."""

    clock: Clock
    urls: dict[str, str]
    """By venue."""

    def __init__(self, folder: Path, venues: Sequence[str]) -> None:
        self.names = tuple(venues)
        self._folder = folder
        self._daemons: list[Daemon] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        return self.urls[self.names[0]]

    @abstractmethod
    async def ask(self, name: str, venue: str | None = None) -> Any: ...

    @abstractmethod
    async def tell(self, name: str, venue: str | None = None, /, **body: Any) -> Any: ...

    @abstractmethod
    async def play(self, *lines: Mapping[str, Any]) -> None:
        """A signal server with this script, counting from now."""

    @abstractmethod
    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]: ...

    @property
    @abstractmethod
    def _signals_url(self) -> str | None: ...

    # the venue's own word

    async def fault(
        self, kind: str, venue: str | None = None, /, *, match: Mapping[str, str] | None = None, **keys: Any
    ) -> int:
        return int((await self.tell("fault", venue, kind=kind, match=dict(match or {}), **keys))["id"])

    @abstractmethod
    async def forgive(self) -> None:
        """Disarm every fault."""

    async def held(self, venue: str | None = None) -> dict[str, Decimal]:
        """Signed quantity by venue symbol."""
        rows = (await self.ask("state", venue))["positions"]
        return {r["symbol"]: Decimal(r["qty"]) * (1 if r["side"] == "long" else -1) for r in rows}

    async def resting_stops(self, venue: str | None = None) -> dict[str, list[Decimal]]:
        """Quantities of resting stops by venue symbol."""
        stops: dict[str, list[Decimal]] = {}
        for order in (await self.ask("state", venue))["orders"]:
            assert order["type"] == "stop"
            assert order["reduce_only"], order
            stops.setdefault(order["symbol"], []).append(Decimal(order["qty"]))
        return stops

    async def sent(self, *lanes: str, venue: str | None = None) -> list[dict[str, Any]]:
        """Requests of these lanes, e.g. order, stop, cancel."""
        rows = await self.ask("requests?since=0", venue)
        return [row for row in rows if row["lane"] in lanes and row["method"] != "GET"]

    async def longest_naked_ms(self, venue: str | None = None) -> float:
        return max((row["max_unprotected_ms"] for row in await self.ask("protection", venue)), default=0.0)

    async def everything_holds(self, *, several_rounds: bool = False) -> None:
        """`venue_holds` for every venue of this world."""
        for venue in self.names:
            await self.venue_holds(venue, several_rounds=several_rounds)

    async def venue_holds(self, venue: str, *, several_rounds: bool = False) -> None:
        """What must be true whenever things have calmed down: the promise of the program, by the venue's own record.

        `several_rounds`: positions were closed meanwhile, so a symbol may have been entered more than once.
        """
        rows = [row for row in await self.sent("order", "stop", venue=venue) if row["method"] == "POST"]
        posts = Counter(name for row in rows for name in row["client_ids"])
        assert not {key: n for key, n in posts.items() if n > 1}, "an order was sent twice"
        state = await self.ask("state?all=1", venue)
        entered = Counter(o["symbol"] for o in state["orders"] if _opened(o))
        assert several_rounds or not {key: n for key, n in entered.items() if n > 1}, "a symbol was entered twice"
        stops = await self.resting_stops(venue)
        held = {symbol: [abs(quantity)] for symbol, quantity in (await self.held(venue)).items()}
        assert stops == held, "every position has one stop of its own quantity, and there is no other stop"
        naked = [row for row in await self.ask("protection", venue) if row["naked_now_ms"]]
        assert not naked

    # daemons

    def settings(self, data: Path | None = None, **env: Any) -> Settings:
        access = {
            f"{venue.upper()}_{what}": value
            for venue in self.names
            for what, value in (("URL", self.urls[venue]), ("API_KEY", "sim"), ("API_SECRET", "sim"))
        }
        given = {
            **access,
            **({"OKX_PASSPHRASE": "sim"} if "okx" in self.names else {}),
            "DATA_DIR": data or self._folder / f"data-{len(self._daemons)}",
            "LOG_DIR": self._folder / "logs",
            "MAX_POSITIONS": 20,
            "MAX_TRADES_PER_WAVE": 20,
            "MAX_EXPOSURE_USD": 10_000,
            "LEVERAGE": 20,
            "STRATEGY": "none",
            **NO_COOLDOWNS,
            **({"SIGNAL_WS_URL": self._signals_url, "SIGNAL_WS_TOKEN": "t"} if self._signals_url else {}),
            **env,
        }
        return load_settings({name: str(value) for name, value in given.items()}, None)

    def daemon(self, data: Path | None = None, *, watch: Watch = lambda *_: None, **env: Any) -> Daemon:
        """Not begun yet; `data` is the data folder of an earlier one."""
        settings = self.settings(data, **env)
        daemon = Daemon(settings, *self._host(watch))
        self._daemons.append(daemon)
        return daemon

    @asynccontextmanager
    async def running(
        self, data: Path | None = None, *, watch: Watch = lambda *_: None, **env: Any
    ) -> AsyncIterator[Daemon]:
        """A ready daemon; stopped on leaving, unless the test stopped or killed it, and it must then say DONE."""
        daemon = self.daemon(data, watch=watch, **env)
        daemon.begin()
        try:
            await daemon.ready()
            yield daemon
        except BaseException:
            await daemon.bury(daemon.data_dir)
            raise
        assert daemon._task is not None
        failed = [f"{row.name}: {row.why}" for row in daemon.orchestrator._tasks.rows() if row.failures]
        assert daemon.may_fail or not failed, failed
        if not daemon._task.done():
            outcome = await daemon.stop()
            assert outcome.status is ExitStatus.DONE, outcome

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
        """Asks ever less often: what takes longer than a second is noticed a tenth of that later at most."""
        now = asyncio.get_running_loop().time
        begun = now()
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - the venue tells nobody that its state changed
                await asyncio.sleep(min(0.5, max(0.05, (now() - begun) / 10)))


class SimulatedWorld(World):
    """In process on the jumping loop: one seed, no socket, storage inline."""

    def __init__(self, folder: Path, venues: Sequence[str] = ("binance",), **settings: Any) -> None:
        super().__init__(folder, venues)
        self.clock = VirtualClock()
        self.venues = {name: SimulatedVenue(name, **settings) for name in venues}
        self.urls = {name: venue.url for name, venue in self.venues.items()}
        self._feed: SimulatedFeed | None = None
        for venue in self.venues.values():
            self._stack.callback(venue.stop)

    @property
    def venue(self) -> SimulatedVenue:
        return self.venues[self.names[0]]

    def pairs(self, quote: str) -> list[str]:
        """Every symbol that can be traded."""
        rows = self.venue.simulation.engine.instruments()
        return [row.symbol for row in rows if row.quote == quote and row.status is SymbolStatus.TRADING]

    async def ask(self, name: str, venue: str | None = None) -> Any:
        return await self.venues[venue or self.names[0]].ask(name)

    async def tell(self, name: str, venue: str | None = None, /, **body: Any) -> Any:
        return await self.venues[venue or self.names[0]].tell(name, **body)

    async def forgive(self) -> None:
        for venue in self.venues.values():
            venue.simulation.faults.remove()

    async def play(self, *lines: Mapping[str, Any]) -> None:
        self._feed = SimulatedFeed(lines, token="t")

    @property
    def _signals_url(self) -> str | None:
        return None if self._feed is None else "ws://127.0.0.1:1"

    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]:
        lines = {name: Line(venue, watch) for name, venue in self.venues.items()}
        feed = self._feed

        def transport(name: str) -> Transport:
            if name == "signals" and feed is not None:
                return feed.transport()
            return lines.get(name, lines[self.names[0]]).transport()

        executor: Callable[[], Executor] = InlineExecutor
        return Host(clock=self.clock, transport=transport, executor=executor), lines


class LoopbackWorld(World):
    """Real sockets, real time, real threads; the simulator's and the signal server's loops are ours."""

    def __init__(self, folder: Path, venues: Sequence[str] = ("binance",), **settings: Any) -> None:
        super().__init__(folder, venues)
        self.clock = SystemClock()
        self._settings = SimulationSettings(**({"symbols": SYMBOLS} | settings))
        self._signals: str | None = None
        self._http = AiohttpHttp("control")

    async def __aenter__(self) -> Self:
        start = wall_ms()
        self.urls = {}
        for name in self.names:
            server = Server(Driver(Simulation(load(name), self._settings, start), start))
            self.urls[name] = f"http://127.0.0.1:{await server.start(0)}"
            self._stack.push_async_callback(server.stop)
        self._stack.push_async_callback(self._http.close)
        return self

    async def ask(self, name: str, venue: str | None = None) -> Any:
        root = self.urls[venue or self.names[0]]
        return json.loads((await self._http.request("GET", f"{root}/_sim/{name}", {})).body)

    async def tell(self, name: str, venue: str | None = None, /, **body: Any) -> Any:
        root = self.urls[venue or self.names[0]]
        answer = await self._http.request("POST", f"{root}/_sim/{name}", {}, json.dumps(body).encode())
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    async def forgive(self) -> None:
        for root in self.urls.values():
            await self._http.request("DELETE", f"{root}/_sim/fault", {})

    async def play(self, *lines: Mapping[str, Any]) -> None:
        script = parse_script("\n".join(json.dumps(line) for line in lines))
        feed = SignalFeed(script, Form.PUSHED, token="t")
        self._signals = await self._stack.enter_async_context(serving(feed))

    @property
    def _signals_url(self) -> str | None:
        return self._signals

    def _host(self, watch: Watch) -> tuple[Host, dict[str, Line]]:
        def transport(name: str) -> Transport:
            return Transport(http=AiohttpHttp(name), socket=lambda: WebsocketsSocket(name))

        return Host(clock=self.clock, transport=transport, executor=lambda: WriterThread("storage")), {}


def _opened(order: Mapping[str, Any]) -> bool:
    return not order["reduce_only"] and order["type"] == "market" and Decimal(order["filled"]) > 0


def _sockets(_folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock")]
