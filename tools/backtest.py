"""Replay recorded candles through the daemon's own strategy, risk, order and exit code, and say what it came to.

The same code that trades decides here, in virtual time, with the simulator's exchange as the venue. The file has the
columns timestamp,open,high,low,close,volume; timestamps are ISO 8601 or seconds or milliseconds since the epoch, UTC.
Settings are the daemon's (environment and .env), but for venues, symbols and Telegram; --set changes single ones.

Exit status: 0 done, 2 something that was given cannot be used; it is named in one sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from io import StringIO
from pathlib import Path
from signal import SIGINT, signal
from textwrap import fill
from types import FrameType

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from core.domain.ids import VenueName
from core.errors import ConfigError
from core.logs import configure_logging
from tools.candle_replay.candles import BadInput
from tools.candle_replay.document import DECISIONS, FILLS, PATH, STOPS, UNTRIED, Result, document
from tools.candle_replay.page import page
from tools.candle_replay.request import NORMAL_COSTS, Request, prepare
from tools.candle_replay.session import replay
from tools.candle_replay.table import show
from tools.candle_replay.tape import Costs

DONE, UNUSABLE, STOPPED = 0, 2, 130
HELP_WIDTH = 78
QUIET_BELOW = 5_000
"""So few candles are done before a progress bar could be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        result = run(_request(asked), progress=not asked.json and sys.stderr.isatty())
        if asked.report is not None:
            _write(asked.report, page(result))
    except BadInput as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return STOPPED
    if asked.json:
        print(json.dumps(document(result), indent=2, ensure_ascii=False))
    else:
        show(Console(), result)
        if asked.report is not None:
            print(f"The report is in {asked.report}")
    return DONE


def run(request: Request, *, progress: bool = False) -> Result:
    """Replay what was asked for. Raises BadInput and ConfigError."""
    prepared = prepare(request)
    with (
        _quiet(),
        _bar(len(prepared.recording.candles), shown=progress) as on_progress,
        _stopped_between_candles(on_progress) as on_candles,
    ):
        outcome = replay(prepared.settings, prepared.account, prepared.recording, on_candles)
    return Result(request=request, prepared=prepared, outcome=outcome)


@contextmanager
def _quiet() -> Iterator[None]:
    """The engine's log lines are about moments that never were."""
    with configure_logging(None, "CRITICAL", console=StringIO()):
        yield


@contextmanager
def _stopped_between_candles(on_progress: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Ctrl-C anywhere else would cut through whatever the engine is at. A second one does not wait."""
    asked = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal(SIGINT, before)

    def on_candles(done: int) -> None:
        on_progress(done)
        if asked:
            raise KeyboardInterrupt

    before = signal(SIGINT, note)
    try:
        yield on_candles
    finally:
        signal(SIGINT, before)


@contextmanager
def _bar(candles: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown or candles < QUIET_BELOW:
        yield lambda _done: None
        return
    columns = TextColumn("replaying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("candles", total=candles)
        yield lambda done: progress.update(task, completed=done)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}.") from error


def _request(asked: argparse.Namespace) -> Request:
    return Request(
        strategy=asked.strategy,
        data=asked.data,
        symbol=asked.symbol,
        venue=VenueName(asked.venue),
        timeframe=asked.timeframe,
        begin=asked.begin,
        end=asked.end,
        balance=asked.balance,
        latency_ms=float(asked.latency_ms),
        costs=Costs(spread=asked.spread_percent, slippage=asked.slippage_percent),
        funding_percent=asked.funding_percent_8h,
        env_file=asked.env_file,
        changes=tuple(asked.set),
    )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="backtest",
        description=fill(__doc__.split("\n\n", maxsplit=1)[0], HELP_WIDTH),
        epilog="\n\n".join(_paragraphs()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--strategy", required=True, help="its name, e.g. scalping_v1 or trend_atr; none = prices only")
    add("--data", required=True, type=Path, metavar="FILE.csv", help="the candles")
    add("--symbol", default="BTC/USDT:USDT", help="which instrument they are of (%(default)s)")
    add("--venue", default="binance", choices=[v.value for v in VenueName], help="whose rules hold (%(default)s)")
    add("--timeframe", help="join the file's candles to longer ones, e.g. 5m; default: as they are")
    add("--from", dest="begin", metavar="TIME", help="first candle, ISO 8601, UTC")
    add("--to", dest="end", metavar="TIME", help="the first candle that is left out")
    add("--balance", type=_above_zero, default=Decimal(10_000), help="quote coin at the start (%(default)s)")
    add("--latency-ms", type=_not_negative, default=Decimal(50), help="one way, to and from the venue (%(default)s)")
    add("--spread-percent", type=_percent, default=NORMAL_COSTS.spread, help="between bid and ask (%(default)s)")
    add("--slippage-percent", type=_percent, default=NORMAL_COSTS.slippage, help="of what takes (%(default)s)")
    add("--funding-percent-8h", type=_any_percent, default=Decimal("0.01"), help="longs pay shorts (%(default)s)")
    add("--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="a setting; may be repeated")
    add("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    add("--report", type=Path, metavar="OUT.html", help="write a page with charts and all trades")
    add("--json", action="store_true", help="print everything as JSON")
    return parser.parse_args(arguments)


def _paragraphs() -> Iterator[str]:
    yield "What is assumed:"
    for text in (PATH, DECISIONS, FILLS, STOPS, UNTRIED, *__doc__.split("\n\n")[1:]):
        yield fill(" ".join(text.split()), HELP_WIDTH)


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None
    if not value.is_finite():
        raise argparse.ArgumentTypeError(f"{text} is not a number")
    return value


def _above_zero(text: str) -> Decimal:
    if (value := _number(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _not_negative(text: str) -> Decimal:
    if (value := _number(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _percent(text: str) -> Decimal:
    if not 0 <= (value := _number(text)) < 5:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 5 percent")
    return value


def _any_percent(text: str) -> Decimal:
    if not -5 <= (value := _number(text)) <= 5:
        raise argparse.ArgumentTypeError(f"{text} is not between -5 and 5 percent")
    return value


def _setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
