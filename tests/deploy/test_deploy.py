"""The service's files and what installs them: nothing of the operator's is overwritten, nothing is open to others."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from core.config import PROJECT_ROOT
from core.lifecycle.outcome import ExitStatus

DEPLOY = PROJECT_ROOT / "deploy"
UNITS = ("breakwater.service", "breakwater-failed.service")


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """deploy/install.py, with few files to copy and packages of its own."""
    spec = importlib.util.spec_from_file_location("deploy_install", DEPLOY / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "deploy_install", module)
    spec.loader.exec_module(module)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "packages" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "a_library.py").write_text("answer = 42\n")
    monkeypatch.setattr(module, "PROGRAM", ("deploy", "main.py", "requirements.txt", ".env.example"))
    monkeypatch.setattr(module, "_environment", lambda: (Path(sys.executable).resolve(), packages))
    return module


def run(installer: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["install.py", *arguments])
    return int(installer.main())


def keys(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / unit).read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_restarts_what_a_restart_can_mend_and_nothing_else() -> None:
    unit = keys("breakwater.service")
    never = {int(ExitStatus.CONFIGURATION), int(ExitStatus.PREFLIGHT_REFUSED)}
    assert {int(status) for status in unit["RestartPreventExitStatus"][0].split()} == never
    assert unit["Restart"] == ["on-failure"]
    assert unit["Type"] == ["notify"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["OnFailure"] == ["breakwater-failed.service"]
    assert int(unit["TimeoutStopSec"][0]) > 10, "a stop takes up to ten seconds"


@pytest.mark.parametrize("name", UNITS)
def test_the_units_give_the_program_no_more_than_it_needs(name: str) -> None:
    unit = keys(name)
    assert unit["User"] == ["breakwater"]
    assert unit["UMask"] == ["0077"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == [""]
    for switch in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute"):
        assert unit[switch] == ["yes"]
    assert unit["LoadCredential"] == ["breakwater:/etc/breakwater/credentials"]
    assert int(unit["MemoryMax"][0].removesuffix("M")) <= 448, "a host of 512 MB runs more than the daemon"
    assert not re.search(r"(?i)(key|secret|token|passphrase)=\S", (DEPLOY / name).read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this host")
def test_systemd_takes_the_units_as_they_are(tmp_path: Path) -> None:
    here = f"{PROJECT_ROOT}/.venv/bin/python"
    for name in UNITS:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        text = re.sub(
            r"^ExecStart=\S+", f"ExecStart={here if Path(here).exists() else sys.executable}", text, flags=re.MULTILINE
        )
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNITS[0])], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_release_is_installed_beside_the_others_and_settings_are_kept(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    to_stage = ("--destdir", str(stage), "--prefix", "/srv/bw")
    assert run(installer, monkeypatch, *to_stage) == 0
    settings = stage / "etc" / "breakwater" / "breakwater.env"
    settings.write_text("LEVERAGE=2\n")
    (stage / "etc" / "breakwater" / "credentials" / "binance_api_key").write_text("k")
    monkeypatch.setattr(installer, "build_id", lambda: "9.9.9+later")
    assert run(installer, monkeypatch, *to_stage) == 0
    assert settings.read_text() == "LEVERAGE=2\n"
    releases = stage / "srv" / "bw" / "releases"
    assert len(list(releases.iterdir())) == 2
    current = stage / "srv" / "bw" / "current"
    assert str(current.readlink()) == "releases/9.9.9+later"
    assert (current / "main.py").exists()
    assert list((current / ".venv").glob("lib/python3.*/site-packages/a_library.py"))
    unit = (stage / "etc" / "systemd" / "system" / "breakwater.service").read_text()
    assert "/srv/bw/current/.venv/bin/python" in unit
    assert "/opt/breakwater" not in unit
    assert (stage / "etc" / "breakwater" / "credentials").stat().st_mode & 0o777 == 0o750
    assert settings.stat().st_mode & 0o777 == 0o600
    run(installer, monkeypatch, *to_stage, "--uninstall")
    assert not (stage / "srv" / "bw").exists()
    assert settings.read_text() == "LEVERAGE=2\n"


def test_what_root_makes_can_be_entered_by_the_service_whatever_roots_mask(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o077)
    try:
        assert run(installer, monkeypatch, "--destdir", str(tmp_path / "stage")) == 0
    finally:
        os.umask(before)
    prefix = tmp_path / "stage" / "opt" / "breakwater"
    assert {path.stat().st_mode & 0o555 for path in (prefix, prefix / "releases")} == {0o555}


def test_a_release_that_cannot_be_made_whole_leaves_those_that_are_there(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    to_stage = ("--destdir", str(stage), "--prefix", "/srv/bw")
    assert run(installer, monkeypatch, *to_stage) == 0
    current = stage / "srv" / "bw" / "current"
    was = current.readlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installer, "build_id", lambda: "9.9.9+later")
    monkeypatch.setattr(installer, "_copy_environment", full)
    assert run(installer, monkeypatch, *to_stage) == 2
    assert current.readlink() == was
    assert [path.name for path in (stage / "srv" / "bw" / "releases").iterdir()] == [was.name]


def test_the_same_build_again_is_left_as_it_is_unless_it_cannot_be_started(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = tmp_path / "stage"
    to_stage = ("--destdir", str(stage), "--prefix", "/srv/bw")
    assert run(installer, monkeypatch, *to_stage) == 0
    release = (stage / "srv" / "bw" / "current").resolve()
    as_it_was = release.stat().st_ino
    assert run(installer, monkeypatch, *to_stage) == 0
    assert release.stat().st_ino == as_it_was
    assert f"keep {release}" in capsys.readouterr().out
    for path in (release / ".venv" / "bin").glob("python*"):
        path.unlink()
    assert run(installer, monkeypatch, *to_stage) == 0
    assert (release / ".venv" / "bin" / "python").exists()
    assert [path.name for path in release.parent.iterdir()] == [release.name]
    activate = (release / ".venv" / "bin" / "activate").read_text()
    assert f"/srv/bw/releases/{release.name}/.venv" in activate
    assert str(stage) not in activate


def test_first_settings_set_nothing_so_that_defaults_reach_the_host(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(installer, monkeypatch, "--destdir", str(tmp_path / "stage")) == 0
    text = (tmp_path / "stage" / "etc" / "breakwater" / "breakwater.env").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []
    assert "#LEVERAGE=" in text


def test_a_dry_run_tells_every_step_and_does_none(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(installer, monkeypatch, "--dry-run", "--destdir", str(tmp_path / "stage")) == 0
    assert "nothing was done" in capsys.readouterr().out
    assert not (tmp_path / "stage").exists()


@pytest.mark.parametrize("prefix", ["/", "/opt", "relative/folder", "/opt/../etc/x"])
def test_a_prefix_that_would_take_more_with_it_is_refused(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    assert run(installer, monkeypatch, "--destdir", str(tmp_path), "--prefix", prefix, "--uninstall") == 2


def test_taking_it_away_takes_nothing_of_others_with_it(
    installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    of_others = stage / "usr" / "local" / "lib" / "node"
    of_others.parent.mkdir(parents=True)
    of_others.write_text("somebody else's program")
    to_stage = ("--destdir", str(stage), "--prefix", "/usr/local")
    assert run(installer, monkeypatch, *to_stage) == 0
    assert run(installer, monkeypatch, *to_stage, "--uninstall") == 0
    assert of_others.read_text() == "somebody else's program"
    assert not (stage / "usr" / "local" / "releases").exists()
    assert not (stage / "usr" / "local" / "current").is_symlink()


@pytest.mark.failure("SEC-06")
@pytest.mark.parametrize("name", ["../evil", "/bin/sh", "venuesim/server", "..", "no_such_tool", "why.py"])
def test_the_command_takes_names_of_tools_and_no_paths(tmp_path: Path, name: str) -> None:
    text = (DEPLOY / "breakwater").read_text(encoding="utf-8").replace("/opt/breakwater/current", str(PROJECT_ROOT))
    (tmp_path / "breakwater").write_text(text)
    done = subprocess.run(
        ["sh", str(tmp_path / "breakwater"), name], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 2
    assert "no tool" in done.stderr or "not the name of a tool" in done.stderr


def test_a_file_is_looked_for_and_written_where_the_caller_is(tmp_path: Path) -> None:
    """The interpreter is one of a release, the tool reads and writes files it is given by their names alone."""
    me = subprocess.run(["id", "-un"], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home / "tools", home / ".venv" / "bin", here):
        folder.mkdir(parents=True)
    (home / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (home / "tools" / "hand_over.py").write_text(
        "import os, shutil, sys\nshutil.copy(*sys.argv[1:])\nprint(os.environ['DATA_DIR'])\n"
    )
    (here / "candles.csv").write_text("timestamp,open,high,low,close,volume\n")
    text = (DEPLOY / "breakwater").read_text(encoding="utf-8").replace("/opt/breakwater/current", str(home))
    (tmp_path / "breakwater").write_text(text.replace("user=breakwater", f"user={me}"))
    command = ["sh", str(tmp_path / "breakwater"), "hand_over", "candles.csv", "trades.csv"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "/var/lib/breakwater/data\n"), done.stderr
    assert (here / "trades.csv").exists()


def test_the_image_runs_without_root_compiler_or_unpinned_parts() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"FROM python:\d+\.\d+\.\d+-slim-\w+( AS \w+)?", x) for x in lines if x.startswith("FROM"))
    assert "--require-hashes" in text
    assert "--only-binary :all:" in text
    assert "apt-get" not in text
    assert lines.index("USER 10001:10001") < next(n for n, x in enumerate(lines) if x.startswith("ENTRYPOINT"))
    assert "HEALTHCHECK" in text
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (PROJECT_ROOT / source).exists(), source
    assert (PROJECT_ROOT / ".dockerignore").read_text().splitlines()[1] == "*", "nothing gets in that is not named"
