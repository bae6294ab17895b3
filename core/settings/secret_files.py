"""Secrets from files: those an `X_FILE` names, and the credentials a service manager hands over (SEC-04)."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePath

from core.settings.fields import Entry
from core.settings.reading import Given, Reading

CONTAINER_SECRETS = PurePath("/run/secrets")
"""Container runtimes mount secrets here with a mode of their own, inside a namespace nobody else shares."""
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIALS_PREFIX = "breakwater_"
"""What `LoadCredential=breakwater:FOLDER` puts before each file's name; a credential may also go without it."""
_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOR_OTHERS = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""Of a credential: the service manager lets the service read root's file by its group or by an access list, which shows
in the group's bits too."""


def read_secret_files(reading: Reading, files: Mapping[str, Entry], folder: Path) -> None:
    """Replace each `X_FILE` by the content of the file it names; a relative name counts from `folder`."""
    for name, entry in files.items():
        given = reading.values.pop(name, None)
        if given is None:
            continue
        path = (folder / Path(given.text).expanduser()).absolute()
        shared = 0 if path.is_relative_to(CONTAINER_SECRETS) else _BY_OTHERS
        text = _content(reading, name, path, given.source, shared)
        if text is not None:
            reading.values[entry.env] = Given(text, f"{name}, {given.source}", name)


def read_credentials(reading: Reading, env: Mapping[str, str], secrets: Mapping[str, Entry]) -> None:
    """Take every secret that lies in `$CREDENTIALS_DIRECTORY` under its name in lower case.

    `secrets` are the settings that are one, by name. A secret that is given elsewhere too is refused, and so is a file
    that is named nearly like one: with a slip of the pen in its name a key would be missing without a word. Files of
    other names belong to somebody else.
    """
    told = env.get(CREDENTIALS_VARIABLE, "")
    if not told:
        return
    try:
        paths = sorted(path for path in Path(told).iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        what = f"names a folder that cannot be read ({error.strerror})"
        reading.problem(CREDENTIALS_VARIABLE, what, "correct its rights, or unset it", source="environment")
        return
    for path in paths:
        name = path.name.removeprefix(CREDENTIALS_PREFIX).upper()
        if name in secrets:
            _take(reading, name, path)
        elif near := difflib.get_close_matches(name, list(secrets), n=1, cutoff=0.75):
            meant = near[0].lower()
            reading.problem(path.name, "is no secret of ours", f"did you mean {meant}?", source=CREDENTIALS_VARIABLE)


def _take(reading: Reading, name: str, path: Path) -> None:
    present = reading.values.get(name)
    if present is not None:
        reading.problem(name, f"is set too ({present.source})", "keep one of them", source=f"credential {path.name}")
        return
    source = f"credential {path.name}"
    shared = 0 if path.is_relative_to(CONTAINER_SECRETS) else _FOR_OTHERS
    text = _content(reading, name, path, source, shared)
    if text is not None:
        reading.values[name] = Given(text, source, name)


def _content(reading: Reading, name: str, path: Path, source: str, forbidden: int) -> str | None:
    """The text without white space around it, None when it was refused and reported; `forbidden` are mode bits."""
    try:
        text, mode = path.read_text(encoding="utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        what = f"names a file that cannot be read ({why})"
        reading.problem(name, what, "correct the path or its rights", source=source)
        return None
    if mode & forbidden and os.name == "posix":
        what = f"names a file that others may read (mode {stat.S_IMODE(mode):04o})"
        reading.problem(name, what, f"run: chmod 600 {path}", source=source)
        return None
    if not text:
        reading.problem(name, "names an empty file", "write the secret into it", source=source)
        return None
    return text
