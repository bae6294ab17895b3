"""Where the replay looks; what it finds there is tested with the daemon's own runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import replay
from tools.verify_audit import COULD_NOT_RUN

pytestmark = pytest.mark.may_block("the replay reads files")


def _folders(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert replay.main(["--json", *arguments]) == COULD_NOT_RUN
    return [json.loads(line)["folder"] for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_DIR", raising=False)


def test_it_looks_where_the_daemon_of_these_settings_keeps_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file = tmp_path / "breakwater.env"
    env_file.write_text(f"DATA_DIR={tmp_path / 'data'}\n")
    dry_run = tmp_path / "data" / "dry-run" / "2026-11-21T07-34-01.838588Z"
    dry_run.mkdir(parents=True)
    settings = ("--env-file", str(env_file))
    assert _folders(capsys, *settings) == [str(tmp_path / "data")]
    assert _folders(capsys, *settings, "--dry-run") == [str(dry_run)]
    assert _folders(capsys, "--data-dir", str(tmp_path / "a"), str(tmp_path / "b")) == [
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    ]


def test_settings_that_cannot_be_used_are_said_and_stand_in_no_named_folders_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file = tmp_path / "breakwater.env"
    env_file.write_text("LEVERAGE=nonsense\n")
    assert replay.main(["--env-file", str(env_file)]) == COULD_NOT_RUN
    assert "LEVERAGE=nonsense" in capsys.readouterr().err
    assert _folders(capsys, "--env-file", str(env_file), "--data-dir", str(tmp_path)) == [str(tmp_path)]
