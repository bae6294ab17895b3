"""What of a configuration that cannot be used as a whole makes sense by itself: the accounts, by keys and addresses
alone, and any other settings, each alone.

For what must work when nothing else does. A mistake in some limit, a strange name or the mode of a file must not
stand between the operator and a flat account; each venue whose own names make sense can be used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct
from pydantic import ValidationError

from core.config import PROJECT_ROOT, Settings, load_settings
from core.domain.ids import VenueName
from core.errors import ConfigError
from core.settings.dotenv import parse_dotenv
from core.settings.fields import entries
from core.settings.loading import OLD_NAMES
from core.settings.secret_files import CREDENTIALS_PREFIX, CREDENTIALS_VARIABLE
from core.venues import VenueAccess
from core.wiring.accounts import accesses

_FOLDERS = ("DATA_DIR", "LOG_DIR")


class KeysAlone(Struct, frozen=True, kw_only=True):
    """`problems` say which venue could not be understood, and why. `secrets` are to be kept out of every output."""

    accesses: tuple[VenueAccess, ...]
    data_dir: Path
    log_dir: Path
    secrets: tuple[str, ...]
    problems: tuple[str, ...]


def keys_alone(env: Mapping[str, str], env_file: Path | None) -> KeysAlone:
    """Environment over file. Raises nothing: what cannot be read is a problem told."""
    given = _given(env, env_file)
    found: list[VenueAccess] = []
    problems: list[str] = []
    for venue in VenueName:
        names = _names(venue)
        mine = {name: text for name, text in given.items() if name in names}
        if not any(name in mine for name in (f"{venue.upper()}_API_KEY", f"{venue.upper()}_API_KEY_FILE")):
            continue
        try:
            settings = load_settings(mine, None)
        except ConfigError as error:
            problems.append(f"{venue}: {error}")
            continue
        found += [access for access in accesses(settings) if access.name is venue]
    folders, _ = settings_alone(_FOLDERS, env, env_file)
    return KeysAlone(
        accesses=tuple(found),
        data_dir=folders.process.data_dir,
        log_dir=folders.process.log_dir,
        secrets=tuple(
            given[entry.env]
            for entry in entries(Settings)
            if (entry.secret or entry.setting.private) and entry.env in given
        ),
        problems=tuple(problems),
    )


def settings_alone(
    names: Collection[str], env: Mapping[str, str], env_file: Path | None
) -> tuple[Settings, tuple[str, ...]]:
    """Of these settings those that can be used, each judged by itself and all others at their defaults; and what is
    wrong with the rest. Raises nothing."""
    given = _given(env, env_file)
    usable: dict[str, dict[str, str]] = {}
    problems: list[str] = []
    for entry in (entry for entry in entries(Settings) if entry.env in names):
        group, leaf = entry.path
        if (text := given.get(entry.env)) is None:
            if entry.file_env in given:
                problems.append(f"{entry.file_env} names a file that cannot be read or is empty")
            continue
        try:
            Settings.model_validate({group: {leaf: text}})
        except ValidationError:
            problems.append(f"{entry.env} cannot be used; allowed: {entry.setting.allowed.replace('`', '')}")
        else:
            usable.setdefault(group, {})[leaf] = text
    return Settings.model_validate(usable), tuple(problems)


def _names(venue: VenueName) -> frozenset[str]:
    mine = [entry for entry in entries(Settings) if entry.path[0] == venue.value]
    return frozenset((*(entry.env for entry in mine), *(entry.file_env for entry in mine if entry.secret)))


def _given(env: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """Names that count, with the last text of each; of a secret in a file what is in it, where that can be read."""
    texts = _credentials(env)
    for name, text in (*_assigned(env_file), *env.items()):
        known = OLD_NAMES.get(name, name)
        if text:
            base = known.removesuffix("_FILE")
            texts.pop(base, None)
            texts.pop(f"{base}_FILE", None)
            texts[known] = text
    folder = PROJECT_ROOT if env_file is None else env_file.parent
    for entry in (entry for entry in entries(Settings) if entry.secret and entry.file_env in texts):
        path = (folder / Path(texts[entry.file_env]).expanduser()).absolute()
        if inside := _content(path):
            texts[entry.env] = inside
            del texts[entry.file_env]
        else:
            texts[entry.file_env] = str(path)
    return texts


def _assigned(env_file: Path | None) -> list[tuple[str, str]]:
    try:
        raw = b"" if env_file is None else env_file.read_bytes()
    except OSError:
        return []
    # A letter of another encoding, in some comment, must not cost every line.
    readable = raw.decode("utf-8-sig", "replace").encode()
    return [(one.key, one.value) for one in parse_dotenv(readable, "")[0]]


def _credentials(env: Mapping[str, str]) -> dict[str, str]:
    """What a service manager has handed over, by the names of the settings; the weakest source."""
    if not (folder := env.get(CREDENTIALS_VARIABLE)):
        return {}
    found: dict[str, str] = {}
    for name in (entry.env for entry in entries(Settings) if entry.secret):
        for file in (name.lower(), CREDENTIALS_PREFIX + name.lower()):
            if text := _content(Path(folder) / file):
                found[name] = text
    return found


def _content(path: Path) -> str:
    """Without white space around it; "" where nothing can be read. Its mode is not asked for."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
