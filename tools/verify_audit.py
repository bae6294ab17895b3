"""Proves that an audit log is complete and unaltered, from its first record to its last.

Exit status: 0 clean, 1 broken (the file and its first bad line are named), 2 the check could not run.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import to_builtins

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec import Struct

from core.domain.audit import FIRST_SEQ, GENESIS, verify
from core.storage.audit_files import HEAD_NAME, LOG_NAME, read_head, rotated_files

CLEAN, BROKEN, COULD_NOT_RUN = 0, 1, 2


class Result(Struct, frozen=True, kw_only=True):
    """What the check found. `line` counts from 1 within `file`; both are None when clean."""

    clean: bool
    records: int
    files: int
    last_hash: str
    file: str | None = None
    line: int | None = None
    reason: str = ""

    def sentence(self) -> str:
        if self.clean:
            return f"clean: {self.records} records in {self.files} files, last hash {self.last_hash}"
        where = f"{self.file}, line {self.line}" if self.line is not None else str(self.file)
        return f"broken: {where}: {self.reason} ({self.records} good records before it)"


def check(folder: Path) -> Result:
    """Follows the chain through all files in `folder`. Raises OSError when one cannot be read."""
    while True:
        before = rotated_files(folder)
        result = _check_once(folder)
        if result.clean or rotated_files(folder) == before:
            return result  # else a running daemon has rotated under our eyes: what looked like a break may be none


def _check_once(folder: Path) -> Result:
    head = read_head(folder)  # before the files: a running daemon may add records meanwhile, never take any away
    current = folder / LOG_NAME
    files = [*rotated_files(folder), current]
    if not current.exists() and len(files) == 1:
        raise FileNotFoundError(f"no {LOG_NAME} in {folder}")
    prev, seq = GENESIS, FIRST_SEQ
    for number, path in enumerate(files, start=1):
        if path == current and not current.exists():
            break  # the daemon stopped between rotating and its next record
        verdict = verify(_lines(path), prev, seq)
        prev, seq = verdict.hash, verdict.seq + 1
        if not verdict.ok:
            return Result(
                clean=False,
                records=verdict.seq,
                files=number,
                last_hash=prev,
                file=path.name,
                line=verdict.first_bad_line,
                reason=verdict.reason,
            )
    good = Result(clean=True, records=seq - FIRST_SEQ, files=len(files), last_hash=prev)
    if head is not None and head.seq > good.records:
        return Result(
            clean=False,
            records=good.records,
            files=good.files,
            last_hash=prev,
            file=LOG_NAME,
            line=_count_lines(current) + 1,
            reason=f"records up to {head.seq} were written ({HEAD_NAME}) and are missing at the end",
        )
    return good


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Every record of the log in `folder`, oldest first, unproved. Raises OSError, and ValueError for a line that is no
    record."""
    for path in (*rotated_files(folder), folder / LOG_NAME):
        if path.exists():
            for line in _lines(path):
                record = json.loads(line)
                if not isinstance(record, dict) or not {"kind", "data", "time"} <= record.keys():
                    raise ValueError(f"{path.name}: a line is no record")
                yield record


def _lines(path: Path) -> Iterator[str]:
    """Lines by newline only, any byte allowed: what is not ASCII must reach the check, not stop it."""
    with path.open("rb") as file:
        for line in file:
            text = line.decode("latin-1")
            yield text.removesuffix("\n") if text.endswith("\n") else f"{text}\n(no end of line)"


def _count_lines(path: Path) -> int:
    return sum(1 for _ in _lines(path)) if path.exists() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=Path(os.environ.get("DATA_DIR") or Path(__file__).resolve().parent.parent / "data"),
        help="the data folder or its audit.log (default: $DATA_DIR, else data/)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    options = parser.parse_args(arguments)
    try:
        result = check(options.path if options.path.is_dir() else _folder_of(options.path))
    except OSError as error:
        print(json.dumps({"error": str(error)}) if options.json else f"could not run: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    print(json.dumps(to_builtins(result)) if options.json else result.sentence())
    return CLEAN if result.clean else BROKEN


def _folder_of(log: Path) -> Path:
    """The folder of `…/audit.log`; a single file of another name has no chain to follow."""
    if not log.exists():
        raise FileNotFoundError(f"no such file or folder: {log}")
    if log.name != LOG_NAME:
        raise OSError(f"{log} is neither a data folder nor an {LOG_NAME}")
    return log.parent


if __name__ == "__main__":
    sys.exit(main())
