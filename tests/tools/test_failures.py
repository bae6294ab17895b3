"""The listing of proven failures reads ids and marks from text, and says where they do not agree."""

import json
from pathlib import Path

import pytest

from tools.failures import catalogue_ids, compare, deferred_text, main, marks_in, read_coverage

CATALOGUE = """# Failure catalogue

## ORD: Order placement (2)

- ORD-01 first -> cause
  must: something. [INV-2]
- ORD-02 second -> cause
  must: see ORD-01.
- not an id

## CFG: Configuration (1)

- CFG-10 third -> cause
"""
MARK = '@pytest.mark.failure("{}")\ndef test_{}(): ...\n'


def a_project(folder: Path, tests: str, deferred: dict[str, list[str]]) -> Path:
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "tests" / "engine").mkdir(parents=True, exist_ok=True)
    (folder / "docs" / "FAILURES.md").write_text(CATALOGUE)
    (folder / "tests" / "engine" / "test_x.py").write_text("import pytest\n" + tests)
    (folder / "tests" / "failures_deferred.toml").write_text(deferred_text(deferred))
    return folder


def test_only_lines_that_define_an_id_count() -> None:
    assert catalogue_ids(CATALOGUE) == ("ORD-01", "ORD-02", "CFG-10")


@pytest.mark.parametrize(
    "source",
    [
        '@pytest.mark.failure("ORD-01")\nasync def test_a(): ...',
        'class TestX:\n    @pytest.mark.failure("ORD-01")\n    def test_a(self): ...',
        'pytestmark = [pytest.mark.failure("ORD-01")]',
        'pytest.param(1, marks=pytest.mark.failure("ORD-01"))',
    ],
)
def test_a_mark_is_found_wherever_it_stands(source: str) -> None:
    assert [mark.text for mark in marks_in(source, "t.py")] == ["ORD-01"]


def test_a_mark_with_several_ids_counts_for_each() -> None:
    coverage = compare(CATALOGUE, marks_in('x = pytest.mark.failure("ORD-01", "ORD-02")', "t.py"), {})
    assert set(coverage.proven) == {"ORD-01", "ORD-02"}
    assert coverage.open == ("CFG-10",)


def test_an_id_with_neither_a_test_nor_a_deferral_is_exit_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = a_project(tmp_path, MARK.format("ORD-01", "a"), {"the rest": ["CFG-10"]})
    out = _said(root, 1, capsys)
    assert "ORD    1 of   2  Order placement" in out
    assert "without a test (1):\n  ORD-02" in out
    assert "waiting for the rest (1):\n  CFG-10" in out
    root = a_project(tmp_path, MARK.format("ORD-01", "a"), {"the rest": ["CFG-10", "ORD-02"]})
    assert "without a test" not in _said(root, 0, capsys)


def _said(root: Path, status: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--root", str(root)]) == status
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("tests", "deferred", "said"),
    [
        (MARK.format("ORD-99", "a"), {}, "tests/engine/test_x.py:2: ORD-99 is not an id"),
        ("x = pytest.mark.failure(ORD)", {}, "must be a plain string"),
        (MARK.format("ORD-01", "a"), {"x": ["ORD-01"]}, "ORD-01 (x) has a test now"),
        ("", {"x": ["ORD-77"]}, "ORD-77 (x) is not an id"),
        ("", {"x": ["ORD-01"], "y": ["ORD-01"]}, "ORD-01 (y) is deferred twice"),
    ],
)
def test_disagreement_is_exit_status_1_and_says_where(
    tmp_path: Path, tests: str, deferred: dict[str, list[str]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(a_project(tmp_path, tests, deferred)), "--json"]) == 1
    assert any(said in problem for problem in json.loads(capsys.readouterr().out)["problems"])


def test_pruning_takes_proven_ids_out_of_the_deferrals(tmp_path: Path) -> None:
    root = a_project(tmp_path, MARK.format("ORD-01", "a"), {"x": ["ORD-01"], "y": ["ORD-02", "CFG-10"]})
    assert main(["--root", str(root), "--prune"]) == 0
    assert read_coverage(root).deferred == {"y": ("ORD-02", "CFG-10")}


def test_without_a_catalogue_the_exit_status_is_2(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path)]) == 2


def test_every_mark_of_this_project_names_an_entry(project_root: Path) -> None:
    problems = [problem for problem in read_coverage(project_root).problems if "has a test now" not in problem]
    assert problems == []


def test_the_catalogue_is_the_reference_taken_over_whole(project_root: Path, shared: Path) -> None:
    ours = (project_root / "docs" / "FAILURES.md").read_text("utf-8")
    assert catalogue_ids((shared / "failure_catalogue.md").read_text("utf-8")) == catalogue_ids(ours)


@pytest.mark.failure("OPS-07")
def test_no_entry_of_this_project_stands_there_without_a_test_or_what_it_waits_for(project_root: Path) -> None:
    assert read_coverage(project_root).open == ()
