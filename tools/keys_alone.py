"""How to reach the accounts when the configuration as a whole cannot be used: from keys and addresses alone.

For what must work when nothing else does. A mistake in some limit, a strange name or the mode of the file must not
stand between the operator and a flat account; each venue whose own names make sense can be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.config import PROJECT_ROOT, Settings, load_settings
from core.domain.ids import VenueName
from core.errors import ConfigError
from core.settings.dotenv import parse_dotenv
from core.settings.fields import entries
from core.settings.secret_files import CREDENTIALS_VARIABLE
from core.venues import VenueAccess
from core.wiring.accounts import accesses

_ALWAYS = ("DATA_DIR",)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAlone:
    """`problems` say which venue could not be understood, and why. `secrets` are to be kept out of every output."""

    accesses: tuple[VenueAccess, ...]
    data_dir: Path
    secrets: tuple[str, ...]
    problems: tuple[str, ...]


def keys_alone(env: Mapping[str, str], env_file: Path | None) -> KeysAlone:
    """Environment over file. Raises nothing: what cannot be read is a problem told."""
    given = _given(env, env_file)
    found: list[VenueAccess] = []
    secrets: list[str] = []
    problems: list[str] = []
    data_dir = PROJECT_ROOT / "data"
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
        secrets += settings.secret_values()
        data_dir = settings.process.data_dir
    return KeysAlone(accesses=tuple(found), data_dir=data_dir, secrets=tuple(secrets), problems=tuple(problems))


def _names(venue: VenueName) -> frozenset[str]:
    mine = [entry for entry in entries(Settings) if entry.path[0] == venue.value]
    return frozenset((*_ALWAYS, *(entry.env for entry in mine), *(entry.file_env for entry in mine if entry.secret)))


def _given(env: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """Names that count, with the last text of each; a file of a secret is looked for beside the `.env`."""
    texts = _credentials(env)
    if env_file is not None:
        try:
            assignments, _ = parse_dotenv(env_file.read_bytes(), env_file.name)
        except OSError:
            assignments = []
        for one in assignments:
            texts.pop(one.key.removesuffix("_FILE"), None)
            beside = one.key.endswith("_FILE") and one.value
            texts[one.key] = str(env_file.parent / one.value) if beside else one.value
    for name, text in env.items():
        if text:
            texts[name] = text
            texts.pop(f"{name}_FILE", None)
            if name.endswith("_FILE"):
                texts.pop(name.removesuffix("_FILE"), None)
    return {name: text for name, text in texts.items() if text}


def _credentials(env: Mapping[str, str]) -> dict[str, str]:
    """What a service manager has handed over, by the names of the settings; the weakest source."""
    if not (folder := env.get(CREDENTIALS_VARIABLE)):
        return {}
    found: dict[str, str] = {}
    for name in (entry.env for entry in entries(Settings) if entry.secret):
        try:
            found[name] = (Path(folder) / name.lower()).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return found
