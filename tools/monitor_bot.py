"""A live view of the daemon in the terminal: trading state, venues, positions with their stops, waves, refusals, log.

Asks the status page where STATUS_PORT names one, else the control socket; while no daemon answers it says since when,
shows what the journal has, and goes on asking, so that it may stay open over restarts. Looks only. Ctrl-C ends it. For
scripts: --once prints it once, --once --json as JSON. Exit status: 0 ended or shown, 2 usage or configuration, and with
--once 4 when no daemon runs or it is not well.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.live import Live
from rich.text import Text

from core.config import default_env_file, load_settings
from core.dry_run import RUNS, log_folder
from core.errors import ConfigError
from tools import data_folder, monitor_screen
from tools.monitor_source import Facts, Places, look, places_of

SHOWN, USAGE, NOT_WELL = 0, 2, 4
PIPED = (100, 60)
"""Columns and lines where no terminal limits them."""
PICTURE = (100, 26)
FONT_FROM_ELSEWHERE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""A picture that is looked at fetches nothing; any monospaced font will do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    try:
        places = _places(asked)
    except ConfigError as error:
        print(f"The configuration cannot be used:\n{error}", file=sys.stderr)
        return USAGE
    if (asked.json or asked.svg) and not asked.once:
        print("--json and --svg go with --once", file=sys.stderr)
        return USAGE
    try:
        if asked.once:
            return _once(places, as_json=asked.json, picture=asked.svg)
        _live(places, asked.interval, Console())
    except PermissionError as error:
        print(f"{error}; run it as the daemon's user", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        pass  # swallow: this is how it is ended
    return SHOWN


def _places(asked: argparse.Namespace) -> Places:
    """Raises ConfigError, but not for settings that another data folder makes unnecessary."""
    if asked.data_dir is None and not asked.dry_run:
        return places_of(load_settings(os.environ, asked.env_file or default_env_file(), to_trade=False))
    folder = data_folder.folder_of(asked)
    try:
        settings = load_settings(os.environ, asked.env_file or default_env_file(), to_trade=False)
        logs = log_folder(settings) if folder.parent.name == RUNS else settings.process.log_dir
    except ConfigError:
        logs = None
    return Places(data_dir=folder, log_dir=logs)


def _once(places: Places, *, as_json: bool, picture: Path | None) -> int:
    facts = look(places)
    if picture is not None:
        width, height = PICTURE
        console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        console.print(screen(facts, width, height))
        drawn = FONT_FROM_ELSEWHERE.sub("", console.export_svg(title="tools/monitor_bot.py"))
        picture.write_text(drawn, "utf-8")
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False)
        width = console.width if sys.stdout.isatty() else PIPED[0]
        Console(highlight=False, width=width).print(screen(facts, width, PIPED[1]))
    return SHOWN if is_well(facts) else NOT_WELL


def is_well(facts: Facts) -> bool:
    """Whether a daemon runs, can be started anew without harm, and every position has its stop."""
    naked = [row for row in facts["positions"] if row["stop"] is None and not row.get("dust")]
    return bool(facts["running"]) and facts.get("health", {}).get("health") != "unhealthy" and not naked


def _live(places: Places, interval: float, console: Console) -> None:
    """Until it is interrupted. The size is asked anew each time: a window may be made larger."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            begun = time.monotonic()
            facts = look(places)
            live.update(screen(facts, console.width, console.height), refresh=True)
            time.sleep(max(0.1, interval - (time.monotonic() - begun)))


def screen(facts: Facts, width: int, height: int) -> Text:
    joined = Text("\n").join(monitor_screen.lines(facts, width, height))
    joined.no_wrap = True
    return joined


def _interval(text: str) -> float:
    value = float(text)
    if not 0.2 <= value <= 3600:
        raise argparse.ArgumentTypeError("between 0.2 and 3600 seconds")
    return value


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="monitor_bot.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="show it once and end")
    parser.add_argument("--json", action="store_true", help="with --once: as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="with --once: also as a picture")
    parser.add_argument(
        "--interval", type=_interval, default=2.0, metavar="N", help="seconds between two looks (default 2)"
    )
    data_folder.add_arguments(parser)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
