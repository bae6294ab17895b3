"""Remove caches, and on request logs and archives; move stray tests into tests/. Without --apply it only says what.

Never touches `data/`, where the journal and the audit live, nor `.git`, virtual environments and `node_modules`.
Exit status: 0 done, 1 when something could not be removed or moved, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent
NEVER = {".git", ".venv", "venv", "env", "node_modules", "data"}
CACHE_FOLDERS = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "htmlcov", ".benchmarks"}
CACHE_FILES = re.compile(r"(\.py[co]|~|\.orig|\.rej)$|^\.coverage(\..+)?$|^\.DS_Store$")
LOG_FILES = re.compile(r"\.log(\.\d+)?$|\.jsonl(\.\d+)?$")
ARCHIVES = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst)|7z|bak)$")
TEST_FILE = re.compile(r"^test_.*\.py$|_test\.py$")


class Step(Struct, frozen=True):
    """One thing to do; `target` is None for a removal. `size` in bytes is what a removal gives back."""

    path: Path
    kind: str
    size: int = 0
    target: Path | None = None


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(item.lstat().st_size for item in path.rglob("*") if item.is_symlink() or item.is_file())


def plan(root: Path, *, logs: bool = False, archives: bool = False, move_tests: bool = False) -> Iterator[Step]:
    """What would be done below `root`, in a stable order. Links are looked at as links and never followed."""
    for folder, names, files in os.walk(root):
        here = Path(folder)
        top = here == root
        for name in sorted(set(names) & CACHE_FOLDERS):
            yield Step(here / name, "cache", _size(here / name))
        if top and archives and "archives" in names and not (here / "archives").is_symlink():
            yield Step(here / "archives", "archive", _size(here / "archives"))
        skipped = NEVER | CACHE_FOLDERS | ({"archives"} if top else set())
        names[:] = sorted(name for name in names if name not in skipped and not _is_environment(here / name))
        for name in sorted(files):
            path = here / name
            in_logs = "logs" in path.relative_to(root).parts[:-1]
            if CACHE_FILES.search(name):
                yield Step(path, "cache", _size(path))
            elif logs and in_logs and LOG_FILES.search(name):
                yield Step(path, "log", _size(path))
            elif archives and top and ARCHIVES.search(name):
                yield Step(path, "archive", _size(path))
            elif move_tests and TEST_FILE.search(name) and path.relative_to(root).parts[0] != "tests":
                yield Step(path, "stray test", target=root / "tests" / name)


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").exists()


def carry_out(step: Step) -> str | None:
    """Do it; return None, or why it could not be done. A test is never moved over another one."""
    try:
        if step.target is not None:
            if step.target.exists():
                return f"{step.target} exists already"
            step.target.parent.mkdir(exist_ok=True)
            step.path.rename(step.target)
        elif step.path.is_dir() and not step.path.is_symlink():
            shutil.rmtree(step.path)
        else:
            step.path.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def readable(size: int) -> str:
    """`size` in bytes as text with a unit, e.g. `1.4 MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only say what would be done (the default)")
    how.add_argument("--apply", action="store_true", help="do it")
    parser.add_argument("--logs", action="store_true", help="log files below logs/ too")
    parser.add_argument("--archives", action="store_true", help="the archives/ folder and archive files at the top too")
    parser.add_argument("--move-tests", action="store_true", help="move test files from elsewhere into tests/")
    parser.add_argument("--json", action="store_true", help="print the steps as JSON")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to tidy (default: this one)")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    steps = list(plan(root, logs=options.logs, archives=options.archives, move_tests=options.move_tests))
    failures = {step.path: reason for step in steps if options.apply and (reason := carry_out(step)) is not None}
    if options.json:
        print(json.dumps(_report(root, steps, failures, applied=options.apply), indent=2))
    else:
        _print(root, steps, failures, applied=options.apply)
    return 1 if failures else 0


def _reclaimed(steps: list[Step], failures: dict[Path, str]) -> int:
    return sum(step.size for step in steps if step.path not in failures)


def _report(root: Path, steps: list[Step], failures: dict[Path, str], *, applied: bool) -> dict[str, object]:
    rows = [
        {
            "path": step.path.relative_to(root).as_posix(),
            "kind": step.kind,
            "bytes": step.size,
            "target": step.target.relative_to(root).as_posix() if step.target else None,
            "failed": failures.get(step.path),
        }
        for step in steps
    ]
    return {"applied": applied, "bytes": _reclaimed(steps, failures), "steps": rows}


def _print(root: Path, steps: list[Step], failures: dict[Path, str], *, applied: bool) -> None:
    for step in steps:
        outcome = f"to {step.target.relative_to(root)}" if step.target else readable(step.size)
        if step.path in failures:
            outcome = f"could not: {failures[step.path]}"
        print(f"{step.kind:<10} {step.path.relative_to(root)}  {outcome}")
    reclaimed = readable(_reclaimed(steps, failures))
    print(f"{'reclaimed' if applied else 'would reclaim'} {reclaimed} in {len(steps)} step(s)")
    if steps and not applied:
        print("nothing was changed; add --apply to do it")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
