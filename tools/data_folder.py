"""Where a daemon's files are, for tools that only read them: the DATA_DIR the daemon would use, or the one named."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from core.config import default_env_file, load_settings

DRY_RUNS = "dry-run"


def add_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """`--data-dir`, `--dry-run` and `--env-file`; with `several` the first takes any number of folders."""
    where = parser.add_mutually_exclusive_group()
    if several:
        what = "look in these data folders instead of DATA_DIR"
        where.add_argument("--data-dir", "--data", nargs="+", type=Path, metavar="PATH", help=what)
    else:
        where.add_argument("--data-dir", type=Path, metavar="PATH", help="look in this data folder instead of DATA_DIR")
    where.add_argument("--dry-run", action="store_true", help="look at the newest dry run")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")


def folder_of(asked: argparse.Namespace) -> Path:
    """The folder that `add_arguments` asked for. Raises ConfigError for settings that cannot be used."""
    if asked.data_dir is not None:
        return Path(asked.data_dir)
    settings = load_settings(os.environ, asked.env_file or default_env_file(), to_trade=False)
    folder = settings.process.data_dir
    return _newest(folder / DRY_RUNS) if asked.dry_run else folder


def folders_of(asked: argparse.Namespace) -> list[Path]:
    """Those that `add_arguments` asked for with `several`. Raises ConfigError for settings that cannot be used."""
    return [folder_of(asked)] if asked.data_dir is None else list(asked.data_dir)


def _newest(runs: Path) -> Path:
    """Their names are the moments of their start."""
    found = sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    return found[-1] if found else runs
