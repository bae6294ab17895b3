"""Take each protection out of a copy of the code, one at a time, and see whether a test notices (OPS-07).

A removal is one small change of text (tests/campaigns/removal_list.py): a call that is left out, a check that always
passes. In a copy of the project it is made, the test that it names is run, and it is taken back. First all these tests
are run without any change, so that what fails afterwards fails for what was removed.

Exit status: 0 every removal is noticed, 1 one is not, 2 a test could not be run or fails without a change.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.removal_list import REMOVALS, Removal

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("core", "telegram", "strategies", "tools", "tests", "main.py", "pyproject.toml", "pytest.ini")
_SKIPPED = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
PASSED, FAILED = 0, 1
"""Exit statuses of pytest; any other is about the run itself."""
_FIRST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def copied(root: Path, to: Path) -> None:
    """What the tests need of the project."""
    for part in PARTS:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, to / part, ignore=_SKIPPED)
        elif source.exists():
            shutil.copy(source, to / part)


def changed(removal: Removal, root: Path) -> dict[Path, tuple[str, str]]:
    """Each file that it changes: the text before and after. Raises ValueError when one of its texts is not there
    exactly once."""
    files: dict[Path, tuple[str, str]] = {}
    for edit in removal.edits:
        path = root / edit.path
        before, now = files.get(path) or (path.read_text(encoding="utf-8"),) * 2
        if (found := now.count(edit.text)) != 1:
            raise ValueError(f"{removal.name}: a text of it stands {found} times in {edit.path}")
        files[path] = (before, now.replace(edit.text, edit.becomes))
    return files


@contextmanager
def removed(removal: Removal, root: Path) -> Iterator[None]:
    """The change is there inside the block."""
    files = changed(removal, root)
    for path, (_, after) in files.items():
        path.write_text(after, encoding="utf-8")
    try:
        yield
    finally:
        for path, (before, _) in files.items():
            path.write_text(before, encoding="utf-8")


def run(tests: Iterable[str], root: Path) -> tuple[int, str]:
    """The exit status of pytest in this copy, and what it said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout", "60", "--assert=plain", "--tb=line"]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--no-header", *tests],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout[-4_000:] + done.stderr[-2_000:]


def noticed(removal: Removal, root: Path, tests: Sequence[str] = ()) -> tuple[str, str]:
    """The verdict of one, and which test failed, if one did."""
    try:
        with removed(removal, root):
            status, said = run(tests or [removal.test], root)
    except ValueError as error:
        return "could not be made", str(error)
    first = _FIRST.search(said)
    if status == FAILED:
        return "noticed", "" if first is None else first.group(1)
    if status == PASSED:
        return "NOT noticed", ""
    return f"could not be run (pytest {status})", said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="removals", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", help="this one; may be repeated (all)", metavar="NAME")
    parser.add_argument("--tests", action="append", default=[], help="instead of the test each names", metavar="PATH")
    parser.add_argument("--list", action="store_true", help="print them and run nothing")
    parser.add_argument("--no-control", action="store_true", help="do not run the tests without a change first")
    asked = parser.parse_args(arguments)
    chosen = [removal for removal in REMOVALS if not asked.only or removal.name in asked.only]
    if not chosen:
        parser.error(f"unknown; it is one of {', '.join(removal.name for removal in REMOVALS)}")
    if asked.list:
        print("\n".join(f"{r.name}: {r.path}\n    {r.test}" for r in chosen))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root, begun = Path(folder), time.monotonic()
        copied(ROOT, root)
        if not asked.no_control:
            status, said = run(sorted({removal.test for removal in chosen}), root)
            if status != PASSED:
                print(f"without any change:\n{said}")
                return 2
        verdicts = [_judged(removal, root, asked.tests) for removal in chosen]
    count = sum(verdict == "noticed" for verdict in verdicts)
    print(f"{len(chosen)} removals in {time.monotonic() - begun:.0f} s, {count} noticed")
    if any(verdict.startswith("could not") for verdict in verdicts):
        return 2
    return 0 if count == len(chosen) else 1


def _judged(removal: Removal, root: Path, tests: Sequence[str]) -> str:
    verdict, said = noticed(removal, root, tests)
    print(f"{verdict:<12} {removal.name:<28} {said}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
