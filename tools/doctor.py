"""Is everything in order? Configuration, keys and their rights, clocks, disk, names, TLS, versions, file modes, lock,
journal, audit log, Telegram, status page and service: one line each, with what to do about it.

Sends no order and no message, takes no lock and changes nothing but a probe file in the folders the daemon writes to.
Every question is asked by itself and given up after a few seconds, so that it works without a network too. Exit status:
0 nothing failed (there may be warnings), 4 something failed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import to_builtins

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec import Struct

from core.build import build_id
from core.config import Settings, default_env_file, load_settings
from core.errors import ConfigError
from core.redaction import Redactor
from core.storage.journal import FILE_NAME
from core.venues import VenueAccess
from core.wiring.accounts import accesses
from tools import doctor_host, doctor_network
from tools.checkup import Finding, Grade, Question, answers, fail, warn
from tools.keys_alone import keys_alone

SOUND, USAGE, FAILED = 0, 2, 4
AUDIT_SECONDS = 30.0
_COLOURS = {Grade.OK: "32", Grade.WARN: "33", Grade.FAIL: "1;31"}


class Case(Struct, frozen=True, kw_only=True):
    """What is looked at. `settings` None: they cannot be used, and `problems` say why."""

    settings: Settings | None
    problems: tuple[str, ...]
    accesses: tuple[VenueAccess, ...]
    data_dir: Path
    log_dir: Path
    env_file: Path | None
    secrets: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    case = case_of(os.environ, asked.env_file or default_env_file())
    redactor = Redactor(case.secrets)
    found = [
        Finding(about=one.about, grade=one.grade, what=redactor.text(one.what))
        for one in answers(list(questions(case, offline=asked.offline)))
    ]
    if asked.json:
        print(json.dumps([to_builtins(one) for one in found], indent=2, ensure_ascii=False))
    else:
        _show(found, colour=sys.stdout.isatty())
    sys.stdout.flush()
    return FAILED if any(one.grade is Grade.FAIL for one in found) else SOUND


def case_of(env: Mapping[str, str], env_file: Path | None) -> Case:
    """By the configuration, or by the keys alone where that has mistakes."""
    try:
        settings = load_settings(env, env_file, to_trade=False)
    except ConfigError as error:
        alone = keys_alone(env, env_file)
        return Case(
            settings=None,
            problems=tuple(str(problem) for problem in error.problems),
            accesses=alone.accesses,
            data_dir=alone.data_dir,
            log_dir=alone.log_dir,
            env_file=env_file,
            secrets=alone.secrets,
        )
    return Case(
        settings=settings,
        problems=(),
        accesses=tuple(accesses(settings)),
        data_dir=settings.process.data_dir,
        log_dir=settings.process.log_dir,
        env_file=env_file,
        secrets=settings.secret_values(),
    )


def questions(case: Case, *, offline: bool) -> Iterator[Question]:
    """In the order they are shown."""
    data, logs = case.data_dir, case.log_dir
    yield Question(about="configuration", ask=partial(_configuration, case))
    yield Question(about="kill file", ask=partial(doctor_host.kill_file, data))
    files = doctor_host.secret_files(os.environ, case.env_file)
    files |= {"journal": data / FILE_NAME, "audit log": data / "audit.log", "log": logs / "breakwater.log"}
    folders = {"DATA_DIR": data, "LOG_DIR": logs}
    yield Question(about="file modes", ask=partial(doctor_host.file_modes, files, folders))
    yield Question(about="host", ask=partial(doctor_host.host, folders))
    yield Question(about="host clock", ask=doctor_host.clock)
    yield Question(about="versions", ask=doctor_host.versions)
    yield Question(about="daemon", ask=partial(doctor_host.lock, data, build_id()))
    yield Question(about="journal", ask=partial(doctor_host.journal, data), seconds=AUDIT_SECONDS)
    yield Question(about="audit log", ask=partial(doctor_host.audit, data), seconds=AUDIT_SECONDS)
    yield Question(about="service", ask=doctor_host.service)
    if case.settings is not None:
        runs = doctor_host.lock_holder(data / "lock") is not None
        page = partial(doctor_network.status_page, case.settings, daemon_runs=runs)
        yield Question(about="status page", ask=page, seconds=7.0)
    if not offline:
        yield from _over_the_network(case)


def _over_the_network(case: Case) -> Iterator[Question]:
    for access in case.accesses:
        about = f"{access.name} network"
        reach = partial(doctor_network.reached, about, doctor_network.roots_of(access))
        yield Question(about=about, ask=reach, seconds=15.0)
    if case.settings is None:
        return
    ask = partial(doctor_network.venues, case.accesses, case.settings)
    yield Question(about="venues", ask=ask, seconds=doctor_network.VENUE_SECONDS + 10.0)
    if (url := case.settings.signals.ws_url) is not None:
        yield Question(about="signal server", ask=partial(doctor_network.reached, "signal server", [url]), seconds=12.0)
    yield Question(about="telegram", ask=partial(doctor_network.telegram, case.settings), seconds=12.0)


def _configuration(case: Case) -> Iterator[Finding]:
    for problem in case.problems:
        yield fail("configuration", problem)
    if case.settings is None:
        return
    if not case.accesses:
        yield warn("configuration", "no venue has a key: nothing but a dry run (main.py --dry-run) can be started")
    yield from doctor_host.risky_values(case.settings)


def _show(found: Sequence[Finding], *, colour: bool) -> None:
    width = max((len(one.about) for one in found), default=0)
    for one in found:
        grade = f"\x1b[{_COLOURS[one.grade]}m{one.grade:4}\x1b[0m" if colour else f"{one.grade:4}"
        print(f"{grade}  {one.about:{width}}  {one.what}")
    failed, warned = (sum(one.grade is grade for one in found) for grade in (Grade.FAIL, Grade.WARN))
    print(f"{len(found)} answers: {failed} failed, {warned} warnings")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="doctor.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--offline", action="store_true", help="ask nothing over the network")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
