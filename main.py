"""Breakwater. Arguments -> Settings -> Orchestrator -> exit status; the only place that names the Telegram bot."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent
# `telegram/` is a source root without __init__.py: python-telegram-bot keeps its name, and `tgbot` is found in it.
sys.path.insert(1, str(PROJECT_ROOT / "telegram"))

from rich.console import Console  # noqa: E402 - after the path above

from core.alerts.messenger import MakeMessenger  # noqa: E402
from core.build import build_id  # noqa: E402
from core.clock import Clock, SystemClock  # noqa: E402
from core.config import Settings, default_env_file, load_settings, show_config, venue_lines  # noqa: E402
from core.dry_run import DryRun, dry_run, log_folder  # noqa: E402
from core.errors import BreakwaterError, ConfigError, StartRefused  # noqa: E402
from core.lifecycle.host import examine_host  # noqa: E402
from core.lifecycle.outcome import ExitStatus, Outcome  # noqa: E402
from core.lifecycle.preflight import Grade  # noqa: E402
from core.lifecycle.summary import disagreements, show_preflight, show_waves  # noqa: E402
from core.log_files import Retention  # noqa: E402
from core.logs import LogHealth, configure_logging  # noqa: E402
from core.orchestrator import Host, Orchestrator  # noqa: E402
from core.redaction import Redactor  # noqa: E402
from core.storage.instance_lock import instance_locks  # noqa: E402
from core.storage.writer import WriterThread  # noqa: E402
from core.supervision.collector import Collector  # noqa: E402
from core.supervision.loop_watch import LoopWatch  # noqa: E402
from core.supervision.service_notify import NotifySocket  # noqa: E402
from core.transport import real_transport  # noqa: E402
from core.wiring.accounts import account_keys  # noqa: E402

INTERRUPTED = 130
"""As a shell says it of SIGINT."""
PIPED_WIDTH = 100
"""Columns of tables that no terminal limits."""


def main() -> int:
    """Run the daemon as the arguments say; the answer is the exit status of DESIGN §5."""
    arguments = _arguments()
    if os.name == "nt":
        print("Breakwater runs on Linux, and on macOS for dry runs; Windows is not supported.", file=sys.stderr)
        return ExitStatus.CONFIGURATION
    to_trade = not (arguments.dry_run or arguments.show_config)
    try:
        settings = load_settings(os.environ, arguments.env_file or default_env_file(), to_trade=to_trade)
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return ExitStatus.CONFIGURATION
    if arguments.show_config:
        print(show_config(settings, arguments.format))
        return ExitStatus.DONE
    with configure_logging(
        log_folder(settings) if arguments.dry_run else settings.process.log_dir,
        settings.process.log_level,
        secrets=settings.secret_values(),
        retention=_retention(settings),
    ) as health:
        return _run(settings, arguments, health)


def _retention(settings: Settings) -> Retention:
    process = settings.process
    return Retention(max_bytes=process.log_file_mb * 1_000_000, keep=process.log_files, days=process.log_retention_days)


def _run(settings: Settings, arguments: argparse.Namespace, health: LogHealth) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            run = _dry if arguments.dry_run else _live
            outcome = runner.run(_orderly(run(settings, arguments, console, health)))
    except (KeyboardInterrupt, asyncio.CancelledError):  # swallow: the daemon does not listen for it yet
        print("stopped before it had begun", file=sys.stderr)
        return INTERRUPTED
    except ConfigError as error:  # what only the venues could show, e.g. a symbol none of them lists
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return ExitStatus.CONFIGURATION
    except StartRefused as error:
        print(str(error), file=sys.stderr)
        return ExitStatus.PREFLIGHT_REFUSED
    except BreakwaterError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return ExitStatus.FAILED
    if arguments.once or outcome.status is not ExitStatus.DONE:
        print(outcome.said, file=sys.stderr if outcome.status else sys.stdout)
    return outcome.status


async def _orderly(run: Awaitable[Outcome]) -> Outcome:
    """The simulators of a dry run must not outlive a SIGTERM that comes before the daemon listens for it."""
    _cancel_on(signal.SIGTERM)
    return await run


async def _live(settings: Settings, arguments: argparse.Namespace, console: Console, health: LogHealth) -> Outcome:
    outcome, _ = await _trade(settings, arguments, console, health, None)
    return outcome


async def _dry(settings: Settings, arguments: argparse.Namespace, console: Console, health: LogHealth) -> Outcome:
    async with dry_run(settings) as dry:
        if settings.telegram.token is not None and dry.settings.telegram.token is None:
            console.print("the Telegram bot is the live daemon's: a dry run leaves it alone; see tools/bot_chat.py")
        outcome, symbols = await _trade(dry.settings, arguments, console, health, dry)
        if arguments.once and not arguments.check and outcome.status is ExitStatus.DONE:
            for difference in disagreements(outcome.reports, symbols, await dry.records()):
                console.print(f"[red]the venue disagrees:[/] {difference}")
                outcome.status, outcome.said = ExitStatus.FAILED, "the venue's own record differs from ours"
        return outcome


async def _trade(
    settings: Settings, arguments: argparse.Namespace, console: Console, health: LogHealth, dry: DryRun | None
) -> tuple[Outcome, dict[str, str]]:
    with instance_locks(settings.process.data_dir, account_keys(settings)):
        folders = {"DATA_DIR": settings.process.data_dir, "LOG_DIR": settings.process.log_dir}
        host = examine_host(folders, SystemClock().now_ms())
        if unfit := [check.what for check in host if check.grade is Grade.OFF]:
            raise StartRefused("this host is not fit: " + "; ".join(unfit))
        for line in venue_lines(settings):
            console.print(line, highlight=False)
        orchestrator = Orchestrator(settings, _host(settings, health))
        forget = _stop_on_signals(orchestrator)
        try:
            if arguments.check:
                outcome = await orchestrator.check()
                show_preflight(console, host, outcome.preflights)
            else:
                outcome = await orchestrator.run(once=arguments.once)
                records = None if dry is None else await dry.records()
                show_waves(console, outcome.reports, orchestrator.symbols, records)
        except asyncio.CancelledError:
            if not orchestrator.stop.is_set():
                raise
            outcome = orchestrator.outcome  # a second signal: what is left is in it, and the exit status says so
        finally:
            forget()
        return outcome, orchestrator.symbols


def _host(settings: Settings, health: LogHealth) -> Host:
    clock = SystemClock()
    return Host(
        clock=clock,
        transport=real_transport,
        executor=lambda: WriterThread("storage"),
        messenger=_messenger(settings, clock),
        service=NotifySocket(os.environ),
        loop_watch=LoopWatch(),
        collector=Collector(),
        log=health,
    )


def _messenger(settings: Settings, clock: Clock) -> MakeMessenger | None:
    telegram = settings.telegram
    if telegram.token is None or telegram.chat_id is None:
        return None
    from tgbot.bot import TelegramAccount, TelegramBot  # only where it is used: the library is slow to import
    from tgbot.drawing import Drawing
    from tgbot.roles import Roster

    roster = Roster(
        chat_id=telegram.chat_id, owners=telegram.owners, operators=telegram.operators, viewers=telegram.viewers
    )
    account = TelegramAccount(
        token=telegram.token.get_secret_value(),
        roster=roster,
        api_url=telegram.api_url,
        mask=Redactor(settings.secret_values()).text,
    )
    draw = Drawing(settings.process.data_dir / "drawing")
    return partial(TelegramBot, account=account, clock=clock, draw=draw)


def _stop_on_signals(orchestrator: Orchestrator) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def ask() -> None:
        if orchestrator.stop.is_set() and task is not None:
            task.cancel()  # a second signal forces the exit; stops stay on the venue
        orchestrator.stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)

    def forget() -> None:
        _cancel_on(signal.SIGINT, signal.SIGTERM)

    return forget


def _cancel_on(*numbers: signal.Signals) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in numbers:
        loop.add_signal_handler(number, lambda: None if task is None else task.cancel())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one (DESIGN §6)."""
    try:
        from core.prompt_loop import PromptLoop
    except ImportError:
        return None
    return PromptLoop


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Trades waves of signals on crypto perpetual futures; every position has its stop at the venue.",
        epilog="Exit status: 0 done, 1 failed, 2 configuration or usage, 3 pre-flight refused, 4 operator needed.",
    )
    parser.add_argument("--dry-run", action="store_true", help="trade on local simulators instead of real venues")
    parser.add_argument("--once", action="store_true", help="handle one wave, print it, leave positions and stops, end")
    parser.add_argument("--check", action="store_true", help="pre-flight only: can each venue be traded?")
    parser.add_argument(
        "--show-config", action="store_true", help="print every setting with its source, secrets masked"
    )
    parser.add_argument("--format", choices=("table", "env", "json"), default="table", help="of --show-config")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    parser.add_argument("--version", action="version", version=f"breakwater {build_id()}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
