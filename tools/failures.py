"""Which entries of docs/FAILURES.md a test proves: the ids there against the `failure` marks of the tests.

The marks are read from the source (`@pytest.mark.failure("ORD-07")`), nothing is imported or run. An id that waits for
something not yet built stands in tests/failures_deferred.toml under what it waits for.

Exit status: 0 consistent; 1 an id with neither a test nor a deferral, a mark without an id, a deferred id that has a
test, an unknown deferred id; 2 could not run.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent
ID_LINE = re.compile(r"^- ([A-Z]+-[0-9]+) ", re.MULTILINE)
SECTION = re.compile(r"^## ([A-Z]+): (.*?)(?: \(\d+\))?$", re.MULTILINE)


class Mark(Struct, frozen=True):
    """One id named by a test file; `text` is None where the argument is not a plain string."""

    text: str | None
    place: str


class Coverage(Struct, frozen=True, kw_only=True):
    """The whole comparison; every list is sorted as in the catalogue."""

    ids: tuple[str, ...]
    titles: Mapping[str, str]
    proven: Mapping[str, tuple[str, ...]]
    deferred: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]

    @property
    def open(self) -> tuple[str, ...]:
        """Ids with neither a test nor a deferral."""
        waiting = {entry for entries in self.deferred.values() for entry in entries}
        return tuple(entry for entry in self.ids if entry not in self.proven and entry not in waiting)


def catalogue_ids(text: str) -> tuple[str, ...]:
    return tuple(ID_LINE.findall(text))


def marks_in(source: str, name: str) -> Iterator[Mark]:
    """Every call of `….mark.failure(…)` in one file, wherever it stands: decorator, `pytestmark` or `pytest.param`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr="failure"), args=arguments):
                for argument in arguments:
                    plain = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                    text = str(argument.value) if isinstance(argument, ast.Constant) and plain else None
                    yield Mark(text, f"{name}:{node.lineno}")


def compare(catalogue: str, marks: Iterable[Mark], deferred: Mapping[str, Iterable[str]]) -> Coverage:
    """Put ids, marks and deferrals beside each other; pure."""
    ids = catalogue_ids(catalogue)
    known = set(ids)
    proven: dict[str, list[str]] = {}
    problems = [f"docs/FAILURES.md: {entry} stands there twice" for entry in sorted(known) if ids.count(entry) > 1]
    for mark in marks:
        if mark.text is None:
            problems.append(f"{mark.place}: the id of a failure mark must be a plain string")
        elif mark.text not in known:
            problems.append(f"{mark.place}: {mark.text} is not an id of docs/FAILURES.md")
        else:
            proven.setdefault(mark.text, []).append(mark.place)
    seen: set[str] = set()
    for subject, entries in deferred.items():
        for entry in entries:
            place = f"tests/failures_deferred.toml: {entry} ({subject})"
            if entry not in known:
                problems.append(f"{place} is not an id of docs/FAILURES.md")
            if entry in proven:
                problems.append(f"{place} has a test now ({proven[entry][0]}); take it out (--prune does)")
            if entry in seen:
                problems.append(f"{place} is deferred twice")
            seen.add(entry)
    return Coverage(
        ids=ids,
        titles=dict(SECTION.findall(catalogue)),
        proven={entry: tuple(places) for entry, places in proven.items()},
        deferred={subject: tuple(entries) for subject, entries in deferred.items()},
        problems=tuple(problems),
    )


def read_coverage(root: Path) -> Coverage:
    """Read catalogue, tests and deferrals below `root`.

    Raises:
        OSError, SyntaxError, tomllib.TOMLDecodeError: one of them cannot be read.
    """
    catalogue = (root / "docs" / "FAILURES.md").read_text(encoding="utf-8")
    deferred_path = root / "tests" / "failures_deferred.toml"
    deferred = tomllib.loads(deferred_path.read_text(encoding="utf-8")) if deferred_path.exists() else {}
    files = sorted((root / "tests").rglob("*.py"))
    marks = [mark for path in files for mark in marks_in(path.read_text("utf-8"), path.relative_to(root).as_posix())]
    return compare(catalogue, marks, deferred.get("waiting_for", {}))


def deferred_text(deferred: Mapping[str, Iterable[str]]) -> str:
    """The text of tests/failures_deferred.toml; subjects without an id are left out."""
    lines = [
        "# Entries of docs/FAILURES.md whose test waits for something not yet built, by what it waits for.",
        "# `make failures` complains about one that has a test; `python -m tools.failures --prune` takes it out.",
        "",
        "[waiting_for]",
    ]
    for subject, entries in deferred.items():
        listed = list(entries)
        if listed:
            rows = [listed[start : start + 10] for start in range(0, len(listed), 10)]
            body = "\n".join("    " + " ".join(f'"{entry}",' for entry in row) for row in rows)
            lines.append(f'"{subject}" = [\n{body}\n]')
    return "\n".join(lines) + "\n"


def prune(root: Path, coverage: Coverage) -> int:
    """Take the entries that have a test out of the deferrals; return how many there were."""
    kept = {
        subject: [entry for entry in entries if entry not in coverage.proven]
        for subject, entries in coverage.deferred.items()
    }
    (root / "tests" / "failures_deferred.toml").write_text(deferred_text(kept), encoding="utf-8")
    return sum(map(len, coverage.deferred.values())) - sum(map(len, kept.values()))


def report_lines(coverage: Coverage) -> Iterator[str]:
    """The listing for people: a line per section, then what is missing and why."""
    for section, title in coverage.titles.items():
        ids = [entry for entry in coverage.ids if entry.startswith(section + "-")]
        done = sum(entry in coverage.proven for entry in ids)
        yield f"{section:<4} {done:>3} of {len(ids):>3}  {title}"
    yield f"all  {len(coverage.proven):>3} of {len(coverage.ids):>3}"
    if coverage.open:
        yield f"\nwithout a test ({len(coverage.open)}):"
        yield from _wrapped(coverage.open)
    for subject, entries in coverage.deferred.items():
        yield f"\nwaiting for {subject} ({len(entries)}):"
        yield from _wrapped(entries)
    if coverage.problems:
        yield "\nproblems:"
        yield from (f"  {problem}" for problem in coverage.problems)


def _wrapped(entries: Iterable[str]) -> Iterator[str]:
    listed = list(entries)
    return ("  " + " ".join(listed[start : start + 12]) for start in range(0, len(listed), 12))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="failures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.add_argument("--prune", action="store_true", help="take ids that have a test out of the deferrals")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to look at (default: this one)")
    options = parser.parse_args(arguments)
    try:
        coverage = read_coverage(options.root)
    except (OSError, SyntaxError, tomllib.TOMLDecodeError) as error:
        print(f"failures: {error}", file=sys.stderr)
        return 2
    if options.prune:
        print(f"taken out of the deferrals: {prune(options.root, coverage)}", file=sys.stderr)
        coverage = read_coverage(options.root)
    if options.json:
        print(
            json.dumps(
                {
                    "proven": coverage.proven,
                    "open": coverage.open,
                    "deferred": coverage.deferred,
                    "problems": coverage.problems,
                },
                indent=2,
            )
        )
    else:
        print("\n".join(report_lines(coverage)))
    return 1 if coverage.problems or coverage.open else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
