"""A signal server that plays a script, in the polled or the pushed form, for demos, tests and dry runs.

Prints {"url": "ws://…"} when it listens and runs until SIGTERM or SIGINT. Script lines (JSON, one a line; at_ms counts
from listening):
  {"at_ms": 0, "signals": [{"id": 1, "pair_symbol": "BTCUSDT", "direction": "LONG", "timestamp": "$now", …}]}
  {"at_ms": 900, "raw": "a frame sent as it is"}   {"at_ms": 1000, "close": 1006}   {"at_ms": 2000, "silence_ms": 500}
"$now" and "$candle" in timestamp and created_at are filled in when sent. Exit status: 0 ended by a signal, 2 unusable
script or arguments.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.signal_feed import Action, Close, Form, ScriptError, SignalFeed, parse_script

MAX_CLIENT_FRAME = 1024 * 1024
DROPPED = 1006


@asynccontextmanager
async def serving(feed: SignalFeed, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Listens while the block runs and gives the URL. Raises ValueError for a host that is not loopback, OSError for a
    port in use."""
    if host != "localhost" and not ip_address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address: this server has no encryption and a public script")
    started = time.monotonic()

    async def play(connection: ServerConnection) -> None:
        await _play(connection, feed, started)

    # No pings of the library's own: in the pushed form liveness is the heartbeat, in the polled form the client's ping.
    async with serve(
        play, host, port, ping_interval=None, compression=None, max_size=MAX_CLIENT_FRAME, close_timeout=1
    ) as server:
        bound_host, bound_port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://[{bound_host}]:{bound_port}" if ":" in bound_host else f"ws://{bound_host}:{bound_port}"


async def _play(connection: ServerConnection, feed: SignalFeed, started: float) -> None:
    def now_ms() -> int:
        return int((time.monotonic() - started) * 1000)

    session = feed.connect(now_ms())
    try:
        await _perform(connection, session.due(now_ms()))
        while not session.closed:
            due = session.next_ms(now_ms())
            try:
                async with asyncio.timeout(None if due is None else max(0.001, (due - now_ms()) / 1000)):
                    message = await connection.recv()
            except TimeoutError:
                await _perform(connection, session.due(now_ms()))
            else:
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                await _perform(connection, session.receive(text, now_ms()))
    except ConnectionClosed:
        return  # the client has gone; what it has not heard stays for the next one


async def _perform(connection: ServerConnection, actions: Iterable[Action]) -> None:
    for action in actions:
        if not isinstance(action, Close):
            await connection.send(action.text)
        elif action.code == DROPPED:
            connection.transport.abort()
        else:
            await connection.close(action.code)


async def _run(feed: SignalFeed, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(feed, host, port) as url:
        print(json.dumps({"url": url}), flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback only")
    parser.add_argument("--script", type=Path, required=True, help="JSON lines, see above")
    parser.add_argument("--form", type=Form, choices=list(Form), default=Form.PUSHED, metavar="polled|pushed")
    parser.add_argument("--token", help="the token a client must give (default: any is taken)")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the ready line is JSON anyway")
    options = parser.parse_args(arguments)
    try:
        script = parse_script(options.script.read_text("utf-8"))
        asyncio.run(_run(SignalFeed(script, options.form, token=options.token), options.host, options.port))
    except (ScriptError, OSError, ValueError) as error:
        print(f"signal_server: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
