"""The command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from msgspec import Struct

from tools.venuesim.exchange.model import PositionMode
from tools.venuesim.exchange.path import load_bars
from tools.venuesim.exchange.state import Replay
from tools.venuesim.faults import FaultError, load
from tools.venuesim.kernel import SimulationSettings
from tools.venuesim.venues import MODULES

DESCRIPTION = "A venue on this machine: it speaks the venue's real protocol on a loopback port, with invented money."
EPILOG = """\
Prints one JSON line {"venue", "url", "ws"} when it listens and runs until SIGTERM. API key "sim",
secret "sim", and where the venue wants one the passphrase "sim".
Look at and steer it under URL/_sim: GET state, requests, protection, fault; POST price, account, clock, fault.
"""


class Arguments(Struct, frozen=True, kw_only=True):
    venue: str
    port: int
    settings: SimulationSettings
    log: Path | None
    tls: tuple[str, str] | None


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Exits with a message for values that make no sense, files that cannot be read and faults that cannot be."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        settings = SimulationSettings(
            seed=options.seed,
            latency_ms=options.latency_ms,
            jitter_ms=options.jitter_ms,
            balance=options.balance,
            symbols=options.symbols,
            tick_hz=options.tick_hz,
            speed=options.speed,
            position_mode=PositionMode(options.position_mode),
            replays=replays(options.market),
            faults=load(options.faults) if options.faults else (),
        )
    except (OSError, ValueError, FaultError) as error:
        parser.error(str(error))
    tls = None if options.tls is None else (options.tls[0], options.tls[1])
    return Arguments(venue=options.venue, port=options.port, settings=settings, log=options.log, tls=tls)


def replays(market: str) -> dict[str, Replay]:
    """``synthetic`` or ``SYMBOL=FILE.csv[,...]``. Raises ValueError, OSError."""
    if market == "synthetic":
        return {}
    found: dict[str, Replay] = {}
    for part in market.split(","):
        symbol, equals, name = part.partition("=")
        if not (symbol and equals and name):
            raise ValueError(f"--market: {part!r} is not SYMBOL=FILE.csv")
        bars, seconds = load_bars(Path(name))
        found[symbol] = Replay(bars=bars, bar_seconds=seconds)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.venuesim",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--venue", required=True, choices=tuple(MODULES), help="whose protocol to speak")
    add("--port", type=_port, default=0, metavar="N", help="port on 127.0.0.1 (default 0: a free one)")
    add("--seed", type=int, default=1, metavar="N", help="fixes prices, jitter and ids (default 1)")
    add(
        "--latency-ms", type=_not_negative, default=0.0, metavar="D",
        help="answer D ms after a request arrives, matching it half-way; stream frames leave D/2 late (default 0)",
    )  # fmt: skip
    add("--jitter-ms", type=_not_negative, default=0.0, metavar="D", help="up to D ms more on each leg (default 0)")
    add(
        "--balance", type=_money, default=Decimal(10_000), metavar="M",
        help="wallet in USDT and in USDC, each (default 10000)",
    )  # fmt: skip
    add(
        "--market", default="synthetic", metavar="WHAT",
        help="synthetic, or SYMBOL=FILE.csv[,...] to replay candles (timestamp,open,high,low,close,volume) from now on",
    )  # fmt: skip
    add("--symbols", type=_count, default=40, metavar="N", help="how many instruments (default 40)")
    add("--tick-hz", type=_positive, default=2.0, metavar="H", help="price steps per second (default 2)")
    add("--speed", type=_positive, default=1.0, metavar="X", help="how fast prices move; time stays real (default 1)")
    add("--position-mode", choices=[mode.value for mode in PositionMode], default="oneway", help="default oneway")
    add("--faults", type=Path, metavar="FILE.toml", help="[[fault]] tables to arm at the start")
    add("--log", type=Path, metavar="FILE.jsonl", help="append every request, as /_sim/requests shows it")
    add("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https and wss with this certificate")
    return parser


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"not a number: {text}")
    return value


def _positive(text: str) -> float:
    value = _float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _not_negative(text: str) -> float:
    value = _float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError("must be a port number")
    return value


def _money(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"not an amount: {text}") from error
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value
