"""The name of a build: another one wherever anything that trades, or reads what was traded, is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import build

PROGRAM = (
    "core/engine/a.py",
    "telegram/tgbot/a.py",
    "strategies/a.py",
    "tools/candle_replay/a.py",
    "main.py",
    "requirements.txt",
)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in PROGRAM:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    monkeypatch.setattr(build, "_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PROGRAM)
def test_a_changed_file_is_another_build(program: Path, name: str) -> None:
    before = build.build_id.__wrapped__()
    assert build.build_id.__wrapped__() == before
    (program / name).write_text("second")
    assert build.build_id.__wrapped__() != before


def test_what_no_program_reads_is_the_same_build(program: Path) -> None:
    before = build.build_id.__wrapped__()
    (program / "tests").mkdir()
    (program / "tests" / "test_a.py").write_text("")
    (program / "tools" / "__pycache__").mkdir()
    (program / "tools" / "__pycache__" / "a.pyc").write_text("")
    assert build.build_id.__wrapped__() == before
