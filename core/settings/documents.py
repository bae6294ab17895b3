"""`docs/CONFIGURATION.md` and `.env.example`, written from the settings so that neither can lie about them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from core.settings.dotenv import render_assignment
from core.settings.fields import Entry, entries
from core.settings.loading import OLD_NAMES, OWN_PREFIXES
from core.settings.tree import Settings
from core.settings.values import PROJECT_ROOT, to_text

INTRODUCTION = f"""# Configuration

Written by `python -m tools.settings_docs` from `core/settings/`; a test keeps it equal to the code.

Values come from the environment, else from `.env` in the project folder (or the file
that `--env-file PATH` or `BREAKWATER_ENV_FILE` names), else from the default:
**environment over `.env` over default**. An empty value is the same as none, in either place, so an empty list means
its default too. `python main.py --show-config` prints every value with its origin; `--format env` writes a file that
loads back to the same settings, without the secrets.

- Everything is checked before anything starts, and all problems are reported together: variable, value, origin, fix.
- In `.env`, an unknown name, a name set twice, a comment behind a value and a line that is not `KEY=value` are errors
  that name the line. Quotes around a value, Windows line ends and a byte order mark are understood. Nothing is expanded
  (`$HOME` stays as it is).
- In the environment, unknown names beginning with {", ".join(f"`{prefix}`" for prefix in OWN_PREFIXES)} are errors.
- A secret may be given as a file: `BINANCE_API_SECRET_FILE=secrets/binance` reads it from there (relative to `.env`).
  Each setting marked *secret* has such a variable. Giving both is an error.
- A service manager may hand secrets over as credentials: a file in `$CREDENTIALS_DIRECTORY` with a secret's name in
  lower case (`binance_api_secret`, or `breakwater_binance_api_secret`) is read; giving it elsewhere too is an error.
- A `.env` or secret file that other users may read is refused; `chmod 600` it. (Files under `/run/secrets`, where a
  container runtime puts them, are taken as they are, and a credential may be readable by its group.)
- Account settings (key, secret, passphrase, testnet) with different values in the environment and in `.env` are refused
  rather than one of them silently winning.
- Numbers are plain decimals (`0.5`); percents are percents (`2` is 2 %); times carry their unit in the name.
- *Not yet effective* settings are accepted and checked, and nothing reads them in this version; setting one is answered
  by a warning at start.
"""


def configuration_page() -> str:
    """The text of `docs/CONFIGURATION.md`."""
    parts = [INTRODUCTION]
    for group, members in groupby(entries(Settings), key=lambda entry: entry.group):
        parts.append(f"## {group.title}\n\n" + (f"{group.note}\n\n" if group.note else "") + _table(list(members)))
    old = "\n".join(f"| `{old}` | `{new}` |" for old, new in OLD_NAMES.items())
    parts.append(f"## Old names\n\nStill read, with a warning.\n\n| old | now |\n|---|---|\n{old}\n")
    return "\n".join(parts)


def env_example() -> str:
    """The text of `.env.example`: every setting with its default, ready to be copied to `.env`."""
    return "\n".join(_example_lines()) + "\n"


def default_text(entry: Entry) -> str:
    """The default as one would write it; folders relative to the project."""
    return to_text(entry.default)


def write_documents() -> list[str]:
    """Write both files; return the names of those that changed."""
    wanted = {"docs/CONFIGURATION.md": configuration_page(), ".env.example": env_example()}
    changed = []
    for name, text in wanted.items():
        path = PROJECT_ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def _table(members: list[Entry]) -> str:
    rows = ["| setting | default | meaning | allowed |", "|---|---|---|---|"]
    for entry in members:
        default = default_text(entry)
        shown = f"`{default}`" if default else "–"
        marks = ["secret"] if entry.secret else []
        marks += [] if entry.effective else ["not yet effective"]
        note = f" (*{', '.join(marks)}*)" if marks else ""
        rows.append(f"| `{entry.env}` | {shown} | {entry.setting.meaning}{note} | {entry.setting.allowed} |")
    return "\n".join(rows) + "\n"


def _example_lines() -> Iterator[str]:
    yield "# Copy to .env, chmod 600 .env, and set what differs. Every name is described in docs/CONFIGURATION.md."
    yield "# Comments stand on lines of their own; a comment behind a value is an error."
    for group, members in groupby(entries(Settings), key=lambda entry: entry.group):
        yield ""
        yield f"# {group.title}" + (f": {group.note}" if group.note else "")
        for entry in members:
            mark = "" if entry.effective else " Not yet effective."
            yield f"# {entry.setting.meaning[:1].upper()}{entry.setting.meaning[1:]}. {_plain(entry)}.{mark}"
            yield render_assignment(entry.env, default_text(entry))


def _plain(entry: Entry) -> str:
    allowed = entry.setting.allowed.replace("`", "")
    return allowed[:1].upper() + allowed[1:]
