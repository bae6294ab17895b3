"""The newest lines of the log, as people without a shell get them."""

import json
from pathlib import Path

import pytest

from core.log_reading import last_lines
from core.redaction import Redactor

SECRET = "CANARY-secret-of-somebody"


def _log(folder: Path, count: int) -> Path:
    path = folder / "breakwater.log"
    levels = ("debug", "info", "warning", "error")
    rows = [
        {"time": f"2026-11-21T00:00:{n % 60:02}.000+00:00", "level": levels[n % 4], "event": f"e{n}", "text": "x" * 200}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("count", [1, 3, 2_000])
def test_the_newest_lines_come_oldest_first_over_any_size_of_file(tmp_path: Path, count: int) -> None:
    told = last_lines(_log(tmp_path, count), 5, "debug", Redactor())
    assert [line.event for line in told] == [f"e{n}" for n in range(max(0, count - 5), count)]


def test_only_lines_of_the_level_and_worse_are_told(tmp_path: Path) -> None:
    told = last_lines(_log(tmp_path, 40), 4, "warning", Redactor())
    assert {line.level for line in told} == {"warning", "error"}
    assert len(told) == 4


def test_what_is_no_line_of_ours_is_left_out_and_secrets_are_masked(tmp_path: Path) -> None:
    path = _log(tmp_path, 1)
    with path.open("a", encoding="utf-8") as file:
        file.write('not json\n[1, 2]\n{"level": "odd", "event": "?"}\n\n' + "[" * 5_000 + "\n")
        line = {"level": "error", "event": "e", "text": f"{SECRET} token=abcdef", "exception": "long"}
        file.write(json.dumps(line) + "\n" + '{"level": "error", "event": "half')
    told = last_lines(path, 10, "info", Redactor([SECRET]))
    assert [line.event for line in told] == ["e"]
    assert SECRET not in told[0].detail
    assert "abcdef" not in told[0].detail
    assert "exception" not in told[0].detail


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log", 5, "info", Redactor()) == []
