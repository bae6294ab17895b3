"""From environment and `.env` to the tree: everything is read, judged and reported together, or nothing is used.

Precedence: environment over `.env` over default. An empty value is the same as none, in either place. A secret may also
lie in a file of its own.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace
from pydantic import ValidationError

from core.errors import ConfigError
from core.settings.checks import problems_of
from core.settings.dotenv import Assignment, parse_dotenv
from core.settings.fields import Entry, entries
from core.settings.problems import MASK, Problem, printable
from core.settings.reading import Given, Reading
from core.settings.secret_files import read_credentials, read_secret_files
from core.settings.tree import Settings
from core.settings.values import PROJECT_ROOT, to_text

OWN_PREFIXES = ("BINANCE_", "BYBIT_", "OKX_", "SIGNAL_", "WAVE_", "TRAILING_", "AGED_")
"""Names in the environment that can only be meant for us; others there belong to somebody else."""

OLD_NAMES: Mapping[str, str] = {
    "COOLDOWN_AFTER_EXTERNAL_MINUTES": "COOLDOWN_AFTER_EXTERNAL_SECONDS",
    "COOLDOWN_AFTER_LOSS_MINUTES": "COOLDOWN_AFTER_LOSS_SECONDS",
    "COOLDOWN_AFTER_WIN_MINUTES": "COOLDOWN_AFTER_WIN_SECONDS",
    "COOLDOWN_OPPOSITE_SIDE_MINUTES": "COOLDOWN_OPPOSITE_SIDE_SECONDS",
    "MAX_TRADES_PER_15MIN": "MAX_TRADES_PER_WAVE",
    "MIN_POSITION_SIZE_USD": "MIN_POSITION_SIZE_USDT",
    "TELEGRAM_BOT_TOKEN": "TELEGRAM_TOKEN",
}

ENV_FILE_VARIABLE = "BREAKWATER_ENV_FILE"
"""Names the settings file for the daemon and every tool alike; `--env-file` wins over it."""
SECONDS_PER_MINUTE = 60
LONGEST_WHOLE = 100
"""Digits; far more than any setting allows, and less than Python refuses to read."""


def _index() -> dict[str, Entry]:
    return {entry.env: entry for entry in entries(Settings)}


def _file_names(index: Mapping[str, Entry]) -> dict[str, Entry]:
    return {entry.file_env: entry for entry in index.values() if entry.secret}


def load_settings(env: Mapping[str, str], env_file: Path | None, *, to_trade: bool = True) -> Settings:
    """Read the configuration from `env` and, unless None, from `env_file`.

    `to_trade=False` leaves out the checks that the configured venues can be traded (dry run, `--show-config`).

    Raises:
        ConfigError: with *every* problem found, each naming variable, value (masked if secret), origin and fix.
    """
    reading = Reading()
    from_file = _read_file(env_file, reading) if env_file is not None else {}
    from_env = _read_environment(env, reading)
    _merge(from_file, from_env, reading)
    index = _index()
    read_secret_files(reading, _file_names(index), env_file.parent if env_file is not None else PROJECT_ROOT)
    read_credentials(reading, env, {name: entry for name, entry in index.items() if entry.secret})
    return _finish(reading, to_trade=to_trade)


def derive_settings(settings: Settings, changes: Mapping[str, str | None], *, source: str = "derived") -> Settings:
    """`settings` with some names of the environment set to other texts (None = its default), checked like any other.

    Raises:
        ConfigError: the result makes no sense.
    """
    reading = Reading(warnings=list(settings.warnings))
    index = _index()
    for name in changes:
        if name not in index:
            raise KeyError(f"{name} is not a setting")
    for name, entry in index.items():
        if name in changes:
            given = changes[name]
            if given is not None:
                reading.values[name] = Given(given, source, name)
        elif name in settings.sources:
            value = getattr(getattr(settings, entry.path[0]), entry.path[1])
            reading.values[name] = Given(to_text(value), settings.sources[name], name)
    return _finish(reading, to_trade=False)


def default_env_file() -> Path | None:
    """The file `BREAKWATER_ENV_FILE` names, else the project's `.env`; None where there is none."""
    if named := os.environ.get(ENV_FILE_VARIABLE):
        return Path(named)
    path = PROJECT_ROOT / ".env"
    return path if path.exists() else None


def _read_file(path: Path, reading: Reading) -> dict[str, Given]:
    try:
        raw, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        reading.problem(
            path.name, f"cannot be read ({error.strerror})", "name a readable file with --env-file, or none"
        )
        return {}
    assignments, problems = parse_dotenv(raw, path.name)
    reading.problems.extend(problems)
    _refuse_repeated(assignments, path.name, reading)
    index = _index()
    files = _file_names(index)
    found: dict[str, Given] = {}
    for assignment in assignments:
        source = f"{path.name} line {assignment.line}"
        name = OLD_NAMES.get(assignment.key, assignment.key)
        if name not in index and name not in files:
            _unknown(assignment.key, source, [*index, *files], reading)
        elif assignment.value:
            _take(Given(assignment.value, source, assignment.key), found, reading)
    has_secret = any(name in index and index[name].secret for name in found)
    if has_secret and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        reading.problem(
            path.name,
            f"holds secrets and may be read by others (mode {stat.S_IMODE(mode):04o})",
            f"run: chmod 600 {path}",
        )
    return found


def _refuse_repeated(assignments: Iterable[Assignment], name: str, reading: Reading) -> None:
    first: dict[str, int] = {}
    for assignment in assignments:
        if assignment.key in first:
            reading.problem(
                assignment.key,
                f"is set twice, in line {first[assignment.key]} and in line {assignment.line}",
                "keep one of them",
                source=name,
            )
        first.setdefault(assignment.key, assignment.line)


def _read_environment(env: Mapping[str, str], reading: Reading) -> dict[str, Given]:
    index = _index()
    files = _file_names(index)
    found: dict[str, Given] = {}
    for key, text in env.items():
        name = OLD_NAMES.get(key, key)
        if name in index or name in files:
            if text:
                _take(Given(text, "environment", key), found, reading)
        elif key.startswith(OWN_PREFIXES):
            _unknown(key, "environment", [*index, *files], reading)
    return found


def _unknown(key: str, source: str, known: Iterable[str], reading: Reading) -> None:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.75)
    hint = (
        f"did you mean {near[0]}? Otherwise delete it" if near else "delete it; docs/CONFIGURATION.md lists all names"
    )
    reading.problem(key, "is not a setting", hint, source=source)


def _take(given: Given, found: dict[str, Given], reading: Reading) -> None:
    """Book one value under its present name; a second definition is refused and both places are named."""
    key = given.key
    name = OLD_NAMES.get(key, key)
    if key != name:
        given = _in_present_units(given, name)
        reading.warnings.append(f"{key} ({given.source}) is an old name; write {name}={given.text} in its place")
    base = name.removesuffix("_FILE") if name not in _index() else name
    for other in (base, base + "_FILE"):
        if other in found and found[other].key != key:  # the same key twice was reported with both its lines
            reading.problem(
                key,
                f"and {found[other].key} ({found[other].source}) set the same thing",
                "keep one of them",
                source=given.source,
            )
    found.setdefault(name, given)


def _in_present_units(given: Given, name: str) -> Given:
    """Whole minutes as seconds; anything else is left for the setting's own check."""
    if (
        given.key.endswith("_MINUTES")
        and name.endswith("_SECONDS")
        and given.text.isdecimal()
        and len(given.text) < LONGEST_WHOLE
    ):
        return replace(given, text=str(int(given.text) * SECONDS_PER_MINUTE))
    return given


def _merge(from_file: Mapping[str, Given], from_env: Mapping[str, Given], reading: Reading) -> None:
    index = _index()
    files = _file_names(index)
    reading.values.update(from_file)
    for name, given in from_env.items():
        entry = index[name] if name in index else files[name]
        for other in (entry.env, entry.file_env):
            present = from_file.get(other)
            if present is None:
                continue
            if entry.setting.identity and (other != name or present.text != given.text):
                reading.problem(
                    name,
                    f"differs from {other} ({present.source}); the one that wins may be the wrong account",
                    "keep one of them",
                    source=given.source,
                )
            reading.values.pop(other, None)
        reading.values[name] = given


def _finish(reading: Reading, *, to_trade: bool) -> Settings:
    settings, refused = _build(reading)
    for problem in problems_of(settings, to_trade=to_trade):
        # A value that was refused already is replaced by its default here: what follows from that is not worth telling.
        if problem.variable not in refused:
            reading.problems.append(problem)
    if reading.problems:
        raise ConfigError(reading.problems)
    index = _index()
    for name, given in reading.values.items():
        if not index[name].effective:
            reading.warnings.append(f"{name} ({given.source}) is accepted but not yet effective in this version")
    settings._sources = {name: given.source for name, given in reading.values.items()}  # noqa: SLF001 - its only maker
    settings._warnings = tuple(dict.fromkeys(reading.warnings))  # noqa: SLF001 - its only maker
    return settings


def _build(reading: Reading) -> tuple[Settings, set[str]]:
    """The tree from the values, those that do not fit replaced by their defaults and reported; and their names."""
    index = _index()
    by_path = {entry.path: entry for entry in index.values()}
    usable = dict(reading.values)
    refused: set[str] = set()
    try:
        return Settings.model_validate(_nested(usable, index)), refused
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            entry = by_path[str(detail["loc"][0]), str(detail["loc"][1])]
            if entry.env in refused:
                continue
            refused.add(entry.env)
            reading.problems.append(_misfit(entry, usable.pop(entry.env), detail["msg"]))
    return Settings.model_validate(_nested(usable, index)), refused


def _nested(values: Mapping[str, Given], index: Mapping[str, Entry]) -> dict[str, dict[str, str]]:
    tree: dict[str, dict[str, str]] = {}
    for name, given in values.items():
        group, leaf = index[name].path
        tree.setdefault(group, {})[leaf] = given.text
    return tree


def _misfit(entry: Entry, given: Given, message: str) -> Problem:
    what = message.removeprefix("Value error, ").replace("Input should be", "should be")
    return Problem(
        variable=entry.env,
        value=MASK if entry.secret or entry.setting.private else printable(given.text.split("?", 1)[0]),
        source=given.source,
        what=what[:1].lower() + what[1:],
        fix=f"allowed: {entry.setting.allowed.replace('`', '')}",
    )
