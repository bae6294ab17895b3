"""The verification tool from outside: exit status, what it names, and both ways of running it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.domain.audit import GENESIS, seal


def a_log(folder: Path, records: int = 3) -> Path:
    prev, text = GENESIS, ""
    for seq in range(1, records + 1):
        sealed = seal(prev, seq, "2026-09-19T12:00:00.123Z", "test", {"n": seq})
        prev, text = sealed.hash, text + sealed.line + "\n"
    path = folder / "audit.log"
    path.write_text(text)
    return path


def run(root: Path, *arguments: str, by_path: bool = False) -> "subprocess.CompletedProcess[str]":
    program = ["tools/verify_audit.py"] if by_path else ["-m", "tools.verify_audit"]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("by_path", [False, True])
def test_a_clean_log_is_0(project_root: Path, tmp_path: Path, by_path: bool) -> None:
    done = run(project_root, str(a_log(tmp_path)), by_path=by_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("clean: 3 records")


def test_a_broken_log_is_1_and_the_file_and_line_are_named(project_root: Path, tmp_path: Path) -> None:
    path = a_log(tmp_path)
    path.write_text(path.read_text().replace('"n":2', '"n":5'))
    done = run(project_root, str(tmp_path), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["file"], found["line"]) == (1, "audit.log", 2)


def test_a_torn_last_line_is_1(project_root: Path, tmp_path: Path) -> None:
    path = a_log(tmp_path)
    path.write_text(path.read_text()[:-1])
    done = run(project_root, str(tmp_path))
    assert done.returncode == 1
    assert "audit.log, line 3" in done.stdout


@pytest.mark.parametrize("arguments", [["/nonexistent"], ["--no-such-option"], [__file__]])
def test_what_cannot_be_checked_is_2(project_root: Path, arguments: list[str]) -> None:
    assert run(project_root, *arguments).returncode == 2


def test_a_folder_without_a_log_is_2(project_root: Path, tmp_path: Path) -> None:
    assert run(project_root, str(tmp_path), "--json").returncode == 2
