"""``python -m tools.venuesim``: one venue on a loopback port until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.venuesim.arguments import Arguments, parse
from tools.venuesim.exchange.model import Refused
from tools.venuesim.faults import FaultError
from tools.venuesim.kernel import Simulation
from tools.venuesim.server import Driver, Server, tls_context, wall_ms
from tools.venuesim.venues import VenueMissing, load


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 after SIGTERM or SIGINT, 2 when it could not start."""
    arguments = parse(argv)
    with ExitStack() as stack:
        try:
            write = None if arguments.log is None else stack.enter_context(_lines_to(arguments.log))
            tls = tls_context(*arguments.tls) if arguments.tls else None
            start_ms = wall_ms()
            simulation = Simulation(load(arguments.venue), arguments.settings, start_ms, write)
        except (OSError, ssl.SSLError, VenueMissing, FaultError, Refused) as error:
            print(f"venuesim: {error}", file=sys.stderr)
            return 2
        return asyncio.run(_serve(arguments, simulation, start_ms, tls))


@contextmanager
def _lines_to(path: Path) -> Iterator[Callable[[str], None]]:
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield lambda line: print(line, file=file)


async def _serve(arguments: Arguments, simulation: Simulation, start_ms: float, tls: ssl.SSLContext | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(Driver(simulation, start_ms), tls)
    try:
        port = await server.start(arguments.port)
    except OSError as error:
        print(f"venuesim: {error}", file=sys.stderr)
        await server.stop()
        return 2
    secure = "s" if tls else ""
    address = f"127.0.0.1:{port}"
    ready = {"venue": arguments.venue, "url": f"http{secure}://{address}", "ws": f"ws{secure}://{address}"}
    print(json.dumps(ready, separators=(",", ":")), flush=True)
    await stop.wait()
    await server.stop()
    simulation.log.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
