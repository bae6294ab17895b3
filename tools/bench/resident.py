"""One program at rest, for as long as it is asked: `python -m tools.bench.resident ours|ccxt|nothing --at VENUE=URL …`.

It keeps its sockets up, receives what the venue sends, and tells as one JSON line what that took: CPU, frames, and,
with `--lag`, how late its event loop was. `nothing` is an event loop with only the probe: what this machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from core.prompt_loop import PromptLoop
from core.transport import Socket, Transport, real_transport
from tools.bench.entries import listed
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import Simulator
from tools.bench.venues import VENUES

PROBE_SECONDS = 0.005
BAD_NETWORK: tuple[Mapping[str, object], ...] = (
    {"kind": "latency", "delay_ms": 5_000},
    {"kind": "drop_response", "fraction": 0.3, "seed": 1},
)
RELOAD_LIMIT_SECONDS = 30.0

Reload = Callable[[], Awaitable[object]]


class _CountedSocket:
    """A socket of ours whose frames are counted."""

    def __init__(self, inner: Socket, frames: Counter[str]) -> None:
        self._inner, self._frames = inner, frames
        self.send, self.ping, self.close = inner.send, inner.ping, inner.close

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        await self._inner.open(url, headers)
        self._frames["sockets"] += 1

    async def receive(self) -> bytes:
        frame = await self._inner.receive()
        self._frames["frames"] += 1
        return frame


@asynccontextmanager
async def _ours(
    venues: Sequence[Simulator], symbols: int, frames: Counter[str], *, watched: bool = False
) -> AsyncIterator[Reload]:
    """The daemon, its filters warm, wanting the touch of so many symbols in real time; or, `watched`, every price of
    theirs, as if each had a position."""

    def transport(name: str) -> Transport:
        real = real_transport(name)
        return Transport(http=real.http, socket=lambda: _CountedSocket(real.socket(), frames))

    with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
        async with inner_daemon(Path(folder), venues, transport=transport) as engine:
            await warm(engine)
            for venue, share in zip(venues, _shares(symbols, len(venues)), strict=True):
                name = venue.facts.name
                chosen = listed(engine, name, share)
                if watched:
                    for instrument in chosen:
                        engine.data.watch(instrument)
                else:
                    engine.markets[name].want([instrument.symbol for instrument in chosen])

            async def reload() -> None:
                await asyncio.gather(*(engine.upkeep.renew(venue.facts.name) for venue in venues))

            yield reload


@asynccontextmanager
async def _ccxt(venues: Sequence[Simulator], symbols: int, frames: Counter[str]) -> AsyncIterator[Reload]:
    """ccxt.pro with the same streams, as far as it has them: touches, marks, and the account's own."""
    import ccxt.pro  # imports every exchange; only where it is compared

    from tools.bench.ccxt_waves import made

    clients = [made(ccxt.pro, venue) for venue in venues]
    tasks: list[asyncio.Future[None]] = []
    try:
        for client, share in zip(clients, _shares(symbols, len(clients)), strict=True):
            _count(client, frames)
            markets = await client.load_markets()
            swaps = [s for s, m in markets.items() if m["swap"] and m["active"] and m["settle"] == "USDT"]
            watches: list[Callable[[], Awaitable[object]]] = [partial(client.watch_bids_asks, swaps[:share])]
            if client.has.get("watchMarkPrices"):
                every = None if client.id.startswith("binance") else swaps  # Binance tells all marks at once
                watches.append(partial(client.watch_mark_prices, every))
            tasks += [asyncio.ensure_future(_again(watch)) for watch in (*watches, client.watch_orders)]

        async def reload() -> None:
            await asyncio.gather(*(client.load_markets(reload=True) for client in clients))

        yield reload
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in clients))


def _count(client: Any, frames: Counter[str]) -> None:
    handle = client.handle_message

    def counted(socket: Any, message: Any) -> None:
        frames["frames"] += 1
        handle(socket, message)

    client.handle_message = counted


def _shares(symbols: int, venues: int) -> list[int]:
    """So many of each venue that they are `symbols` in all."""
    return [symbols // venues + (number < symbols % venues) for number in range(venues)]


async def _again(watch: Callable[[], Awaitable[object]]) -> None:
    while True:
        await watch()


@asynccontextmanager
async def _nothing(_venues: Sequence[Simulator], _symbols: int, _frames: Counter[str]) -> AsyncIterator[Reload]:
    async def reload() -> None:
        return

    yield reload


_KINDS: Mapping[str, Any] = {"ours": _ours, "ccxt": _ccxt, "nothing": _nothing}


async def _rest(asked: argparse.Namespace) -> dict[str, Any]:
    frames: Counter[str] = Counter()
    late: list[float] = []
    kind = partial(_ours, watched=True) if asked.watched else _KINDS[asked.kind]
    async with kind(asked.at, asked.symbols, frames) as reload:
        if asked.bad_network:
            await asyncio.gather(*(asyncio.to_thread(_spoil, venue) for venue in asked.at))
        await asyncio.sleep(asked.rest)
        received, cpu, began = frames["frames"], time.process_time(), time.monotonic()
        probe = asyncio.ensure_future(_probe(late)) if asked.lag else None
        reloads = await _pass(asked.seconds, asked.reloads, reload)
        if probe is not None:
            probe.cancel()
        wall = time.monotonic() - began
        return {
            "wall_seconds": wall,
            "cpu_seconds": time.process_time() - cpu,
            "frames": frames["frames"] - received,
            "sockets": frames["sockets"],
            "reload_seconds": reloads,
            "resident_kib": _resident_kib(),
            **_lateness(late),
        }


async def _pass(seconds: float, reloads: int, reload: Reload) -> list[float]:
    """So many evenly spaced reloads of the markets in that time; how long each took."""
    took = []
    for _ in range(reloads):
        await asyncio.sleep(seconds / (reloads + 1))
        started = time.monotonic()
        async with asyncio.timeout(RELOAD_LIMIT_SECONDS):
            await reload()
        took.append(round(time.monotonic() - started, 3))
    await asyncio.sleep(seconds / (reloads + 1))
    return took


async def _probe(late: list[float]) -> None:
    """Milliseconds by which a short sleep was too long, again and again."""
    while True:
        due = time.monotonic() + PROBE_SECONDS  # the loop's own clock may count whole milliseconds
        await asyncio.sleep(PROBE_SECONDS)
        late.append(max(0.0, time.monotonic() - due) * 1000)


def _spoil(venue: Simulator) -> None:
    """Every answer takes five seconds, and three in ten are lost, from now on."""
    for fault in BAD_NETWORK:
        for method in ("GET", "POST", "PUT", "DELETE"):
            body = json.dumps({**fault, "count": -1, "match": {"method": method}}).encode()
            with urllib.request.urlopen(f"{venue.url}/_sim/fault", body, timeout=30):  # noqa: S310 - loopback, ours
                pass


def _resident_kib() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _lateness(late: list[float]) -> dict[str, float]:
    if not late:
        return {}
    late.sort()
    return {"p50_ms": late[len(late) // 2], "p999_ms": late[int(len(late) * 0.999)], "max_ms": late[-1]}


def _simulator(text: str) -> Simulator:
    name, _, url = text.partition("=")
    if name not in VENUES or not url:
        raise argparse.ArgumentTypeError(f"not VENUE=URL: {text}")
    return Simulator(url, VENUES[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(_KINDS))
    parser.add_argument(
        "--at",
        type=_simulator,
        action="append",
        required=True,
        metavar="VENUE=URL",
        help="a simulator; may be repeated",
    )
    parser.add_argument("--symbols", type=int, default=25, help="touches wanted in real time, of all venues (25)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--rest", type=float, default=3.0, help="seconds of streams before anything is counted (3)")
    parser.add_argument("--reloads", type=int, default=0, help="reloads of the markets meanwhile (0)")
    parser.add_argument("--watched", action="store_true", help="as if there were a position in each of the symbols")
    parser.add_argument("--bad-network", action="store_true", help="answers take 5 s and three in ten are lost")
    parser.add_argument("--lag", action="store_true", help="measure how late the event loop is")
    asked = parser.parse_args()
    with asyncio.Runner(loop_factory=PromptLoop) as runner:
        print(json.dumps(runner.run(_rest(asked))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
