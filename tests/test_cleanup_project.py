"""Tidying removes what can be made again, only when told to, and never what cannot."""

import json
from pathlib import Path

import pytest

from cleanup_project import main, readable


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    for name in (
        "core/__pycache__/a.pyc",
        "core/orphan.pyc",
        ".mypy_cache/x.json",
        "logs/breakwater.log",
        "logs/breakwater.log.1",
        "archives/old.txt",
        "backup.zip",
        "test_stray.py",
        "core/b_test.py",
        "core/keep.py",
        "data/journal.db",
        "data/__pycache__/x.pyc",
        "data/audit.log",
        "data/backup.zip",
        ".git/__pycache__/x.pyc",
        ".venv/lib/__pycache__/x.pyc",
        "my-environment/pyvenv.cfg",
        "my-environment/__pycache__/x.pyc",
        "node_modules/__pycache__/x.pyc",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 100)
    return tmp_path


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["--logs", "--archives", "--move-tests"]])
def test_without_apply_nothing_changes(messy: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = files(messy)
    assert main(["--root", str(messy), *arguments]) == 0
    assert files(messy) == before
    assert "would reclaim" in capsys.readouterr().out


def test_caches_go_and_the_reclaimed_space_is_told(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(messy)
    assert main(["--root", str(messy), "--apply"]) == 0
    assert before - files(messy) == {"core/__pycache__/a.pyc", "core/orphan.pyc", ".mypy_cache/x.json"}
    assert "reclaimed 300 B in 3 step(s)" in capsys.readouterr().out


def test_logs_and_archives_go_on_request_but_never_data(messy: Path) -> None:
    kept = {name for name in files(messy) if name.startswith(("data/", ".git/", ".venv/", "my-env", "node_modules/"))}
    assert main(["--root", str(messy), "--apply", "--logs", "--archives"]) == 0
    left = files(messy)
    assert kept <= left
    assert not {"logs/breakwater.log", "logs/breakwater.log.1", "archives/old.txt", "backup.zip"} & left


def test_stray_tests_move_into_tests_and_never_over_another(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (messy / "tests").mkdir()
    (messy / "tests" / "b_test.py").write_text("mine")
    assert main(["--root", str(messy), "--apply", "--move-tests", "--json"]) == 1
    steps = {step["path"]: step for step in json.loads(capsys.readouterr().out)["steps"]}
    assert (messy / "tests" / "test_stray.py").exists()
    assert not (messy / "test_stray.py").exists()
    assert (messy / "tests" / "b_test.py").read_text() == "mine"
    assert "exists already" in steps["core/b_test.py"]["failed"]


def test_a_link_is_removed_as_a_link(tmp_path: Path) -> None:
    outside, project = tmp_path / "outside", tmp_path / "project"
    (outside / "precious").mkdir(parents=True)
    project.mkdir()
    (project / "__pycache__").symlink_to(outside)
    (project / "link").symlink_to(outside)
    assert main(["--root", str(project), "--apply"]) == 0
    assert (outside / "precious").exists()


def test_sizes_are_readable() -> None:
    assert [readable(size) for size in (0, 1023, 1536, 5 << 20)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]
