"""Installs Breakwater as a systemd service, one folder a release, or takes it away again. Standard library only.

  PREFIX/releases/BUILD   the program with its own .venv        /etc/breakwater   settings and credentials
  PREFIX/current          the release in use                    /usr/local/bin/breakwater, /etc/systemd/system/…

Settings, credentials, journal, audit and logs are never overwritten and never removed. Exit status: 0 done, 2 cannot be
done as asked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.build import build_id

PROGRAM = (
    "core",
    "strategies",
    "telegram",
    "tools",
    "docs",
    "deploy",
    "main.py",
    "requirements.txt",
    "README.md",
    ".env.example",
)
UNITS = ("breakwater.service", "breakwater-failed.service")
USER = "breakwater"
PREFIX = PurePosixPath("/opt/breakwater")
SETTINGS = PurePosixPath("/etc/breakwater")
SYSTEMD = PurePosixPath("/etc/systemd/system")
COMMAND = PurePosixPath("/usr/local/bin/breakwater")
KEPT = (PurePosixPath("/var/lib/breakwater"), PurePosixPath("/var/log/breakwater"))
"""Journal and audit, and logs."""
CLOSED = ("/root", "/home", "/run/user")
"""Where `ProtectHome=yes` lets the service see nothing."""
NEXT = """
Next:
  1. settings   sudoedit {settings}/breakwater.env
  2. secrets    each in a file of its own, named like its setting in lower case, for example:
                sudo sh -c 'umask 027; cat > {settings}/credentials/binance_api_key'   (paste, Enter, Ctrl-D)
                sudo chgrp {user} {settings}/credentials/*
  3. try        sudo breakwater main --check
  4. start      sudo systemctl enable --now breakwater
"""


class CannotInstall(Exception):
    """Said to whoever asked, with what to do."""


@dataclass(slots=True)
class Steps:
    """What is to be done, told before it is done; with `dry` told only."""

    dry: bool
    count: int = 0

    def do(self, what: str, action: Callable[[], object]) -> None:
        print(f"  {what}", flush=True)
        self.count += 1
        if not self.dry:
            action()


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`destdir` stands before every path that is written (packages, tests); what the files say is without it."""

    prefix: PurePosixPath
    destdir: Path

    def at(self, path: PurePosixPath) -> Path:
        return self.destdir / path.relative_to("/")

    @property
    def staged(self) -> bool:
        return self.destdir != Path("/")

    def release(self, build: str) -> PurePosixPath:
        return self.prefix / "releases" / build

    @property
    def current(self) -> PurePosixPath:
        return self.prefix / "current"


def main() -> int:
    arguments = _arguments()
    places = Places(prefix=PurePosixPath(arguments.prefix), destdir=arguments.destdir.absolute())
    steps = Steps(dry=arguments.dry_run)
    os.umask(0o022)  # the service's user must be able to enter what root makes, whatever root's own mask
    try:
        _may(places, steps)
        if arguments.uninstall:
            uninstall(places, steps)
        else:
            install(places, steps)
    except (CannotInstall, OSError, subprocess.CalledProcessError) as error:
        print(f"not done: {error}", file=sys.stderr)
        return 2
    if steps.dry:
        print(f"{steps.count} steps; nothing was done (--dry-run)")
    return 0


def install(places: Places, steps: Steps) -> None:
    """A release beside those that are there, made current; the running daemon is not touched."""
    build = build_id()
    target = places.at(places.release(build))
    print(f"Breakwater {build}:")
    interpreter, packages = _environment()
    if not places.staged:
        _make_user(steps)
    if _is_whole(target):
        print(f"  keep {target}, which is this build")
    else:
        _make_release(places, steps, build, interpreter, packages)
    current = places.at(places.current)
    steps.do(f"point {current} to it", lambda: _point(current, PurePosixPath("releases") / build))
    _settings(places, steps)
    for folder in (places.at(path) for path in KEPT):
        if not folder.exists():
            steps.do(f"make {folder}, for {USER} only", partial(_own, folder, places))
    for unit in UNITS:
        _text(places, steps, ROOT / "deploy" / unit, SYSTEMD / unit, 0o644)
    _text(places, steps, ROOT / "deploy" / "breakwater", COMMAND, 0o755)
    if not places.staged:
        steps.do("systemctl daemon-reload", lambda: _systemctl("daemon-reload"))
    print(NEXT.format(settings=SETTINGS, user=USER) if not _used(places) else _upgraded(places))


def _is_whole(release: Path) -> bool:
    """Whether it can be started; a copy that was broken off cannot, nor one whose interpreter the host has no more."""
    return (release / "main.py").exists() and (release / ".venv" / "bin" / "python").exists()


def _make_release(places: Places, steps: Steps, build: str, interpreter: Path, packages: Path) -> None:
    """Whole or not at all: a daemon may run from a folder of this name, and would start from what is in it."""
    release = places.release(build)
    target = places.at(release)
    new = target.with_name(f".{build}.new")

    def finish() -> None:
        _name_in_scripts(new / ".venv", release / ".venv")
        old = target.with_name(f".{build}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    try:
        steps.do(f"copy the program to {new}", lambda: _copy_program(new))
        steps.do(f"make {new / '.venv'} with {interpreter}", lambda: _copy_environment(new, interpreter, packages))
        steps.do(f"rename it to {target}", finish)
    except BaseException:
        if not steps.dry:
            shutil.rmtree(new, ignore_errors=True)
        raise


def _name_in_scripts(made: Path, there: PurePosixPath) -> None:
    """An environment that is moved works as before, but for what a shell reads in it."""
    for script in made.glob("bin/[aA]ctivate*"):
        script.write_text(script.read_text("utf-8").replace(str(made), str(there)), "utf-8")


def uninstall(places: Places, steps: Steps) -> None:
    """The service and the program; what a person wrote or the daemon recorded stays, and is named."""
    if not places.staged:
        steps.do(f"systemctl disable --now {UNITS[0]}", lambda: _systemctl("disable", "--now", UNITS[0]))
    for path in (*(SYSTEMD / unit for unit in UNITS), COMMAND):
        there = places.at(path)
        if there.exists():
            steps.do(f"remove {there}", there.unlink)
    _remove_program(places, steps)
    if not places.staged:
        steps.do("systemctl daemon-reload", lambda: _systemctl("daemon-reload"))
    print(f"Left as they are: {SETTINGS} (settings and secrets), /var/lib/breakwater (journal and audit),")
    print(f"/var/log/breakwater, the user {USER}. Positions and their stops are at the venues, as they were.")


def _remove_program(places: Places, steps: Steps) -> None:
    """What was put below the prefix; a prefix that others use too, such as /usr/local, stays with what is theirs."""
    current, releases = places.at(places.current), places.at(places.prefix / "releases")
    if current.is_symlink():
        steps.do(f"remove {current}", current.unlink)
    if releases.is_dir():
        steps.do(f"remove {releases}", lambda: shutil.rmtree(releases))
    prefix = places.at(places.prefix)
    if prefix.is_dir() and {path.name for path in prefix.iterdir()} <= {current.name, releases.name}:
        steps.do(f"remove {prefix}, which is empty then", prefix.rmdir)


def _may(places: Places, steps: Steps) -> None:
    if not places.prefix.is_absolute() or ".." in places.prefix.parts or len(places.prefix.parts) < 3:
        raise CannotInstall(f"--prefix {places.prefix} is not an absolute folder of at least two parts")
    if places.staged or steps.dry:
        return
    if os.geteuid() != 0:
        raise CannotInstall("this writes to /opt and /etc; run it with sudo, or look first: --dry-run")
    if shutil.which("systemctl") is None:
        raise CannotInstall("there is no systemctl here; see deploy/Containerfile, or run main.py by what you have")
    if not Path("/run/systemd/system").exists():
        raise CannotInstall("systemd does not run here; --destdir FOLDER writes the files for another host")


def _environment() -> tuple[Path, Path]:
    """The interpreter behind the project's .venv, and its packages."""
    config = ROOT / ".venv" / "pyvenv.cfg"
    if not config.exists():
        raise CannotInstall("there is no .venv yet; run `make setup` first, as yourself")
    interpreter = (ROOT / ".venv" / "bin" / "python").resolve()
    if str(interpreter).startswith(CLOSED):
        raise CannotInstall(
            f"the .venv uses {interpreter}, which a service may not read; "
            "remove .venv and run `make setup PYTHON=/usr/bin/python3`"
        )
    found = sorted((ROOT / ".venv" / "lib").glob("python3.*/site-packages"))
    if len(found) != 1:
        raise CannotInstall("the .venv has no packages; remove it and run `make setup`")
    return interpreter, found[0]


def _make_user(steps: Steps) -> None:
    known = subprocess.run(["id", "-u", USER], capture_output=True, check=False).returncode == 0
    if not known:
        command = ["useradd", "--system", "--user-group", "--home-dir", "/var/lib/breakwater", "--no-create-home"]
        command += ["--shell", "/usr/sbin/nologin", USER]
        steps.do(" ".join(command), lambda: subprocess.run(command, check=True))


def _copy_program(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # of an installation that was broken off
    target.mkdir(parents=True, mode=0o755)
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PROGRAM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=skipped, symlinks=True)
        else:
            shutil.copy2(source, target / name)
    _open(target)


def _copy_environment(target: Path, interpreter: Path, packages: Path) -> None:
    """A new environment with copies of the packages: nothing is downloaded, and nothing runs as root but a copy."""
    made = target / ".venv"
    subprocess.run([str(interpreter), "-m", "venv", "--without-pip", str(made)], check=True)
    (there,) = made.glob("lib/python3.*/site-packages")
    if there.parent.name != packages.parent.name:
        raise CannotInstall(f"{interpreter} makes {there.parent.name}, the .venv has {packages.parent.name}")
    shutil.copytree(packages, there, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    compiled = [str(made / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", str(target)]
    subprocess.run(compiled, check=False, capture_output=True)  # what does not compile is a template, never imported
    _open(made)


def _open(folder: Path) -> None:
    """Readable for everybody and writable for nobody but root, whatever the umask of who copied was."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)


def _point(link: Path, target: PurePosixPath) -> None:
    """In one step, so that there is always a current release."""
    new = link.with_name(link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _settings(places: Places, steps: Steps) -> None:
    folder = places.at(SETTINGS)
    for path in (folder, folder / "credentials"):
        if not path.exists():
            steps.do(f"make {path}, for root and {USER} only", partial(_private, path, places))
    file = folder / "breakwater.env"
    if file.exists():
        print(f"  keep {file} as it is")
        return
    steps.do(f"write {file} from .env.example", lambda: _first_settings(file, places))


def _private(folder: Path, places: Places) -> None:
    folder.mkdir(parents=True, mode=0o750)
    folder.chmod(0o750)
    _give(folder, places)


def _own(folder: Path, places: Places) -> None:
    folder.mkdir(parents=True, mode=0o700)
    if not places.staged:
        shutil.chown(folder, USER, USER)


def _first_settings(file: Path, places: Places) -> None:
    """Every setting with its default, switched off by a mark, so that defaults of later releases reach this host."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    head = ["# Settings of the service. Secrets belong into credentials/, one file each; see docs/OPERATIONS.md.", ""]
    body = [line if not line or line.startswith("#") else f"#{line}" for line in lines[2:]]
    file.touch(mode=0o600)
    file.write_text("\n".join([*head, *body]) + "\n", encoding="utf-8")
    file.chmod(0o600)
    if not places.staged:
        shutil.chown(file, USER, USER)  # it must read it; the unit lets it write nothing in /etc


def _give(path: Path, places: Places) -> None:
    if not places.staged:
        shutil.chown(path, "root", USER)


def _text(places: Places, steps: Steps, source: Path, path: PurePosixPath, mode: int) -> None:
    target = places.at(path)

    def write() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8").replace(str(PREFIX), str(places.prefix)), encoding="utf-8")
        target.chmod(mode)

    steps.do(f"write {target}", write)


def _used(places: Places) -> bool:
    """Whether secrets are there, which a person put there: then this was an upgrade."""
    credentials = places.at(SETTINGS) / "credentials"
    try:
        return any(credentials.iterdir())
    except OSError:
        return False


def _upgraded(places: Places) -> str:
    others = sorted(
        path.name for path in places.at(places.prefix / "releases").glob("[!.]*") if path.name != build_id()
    )
    kept = f"\nEarlier releases, to go back to or to remove: {', '.join(others)}" if others else ""
    return f"\nNext: sudo breakwater main --show-config, then sudo systemctl restart breakwater{kept}\n"


def _systemctl(*words: str) -> None:
    subprocess.run(["systemctl", *words], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Install Breakwater as a systemd service, or take it away again.")
    parser.add_argument("--prefix", default=str(PREFIX), help=f"folder of the releases (default {PREFIX})")
    parser.add_argument(
        "--destdir", type=Path, default=Path("/"), help="write below this folder; no user, no systemctl"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--uninstall", action="store_true", help="remove service and program; settings and data stay")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
