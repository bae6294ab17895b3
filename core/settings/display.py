"""How the configuration is shown: a table for people, a `.env` that loads back, or JSON. Secrets stay masked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal

from pydantic import SecretStr

from core.settings.dotenv import render_assignment
from core.settings.fields import Entry, entries
from core.settings.problems import MASK
from core.settings.tree import Settings
from core.settings.values import address_root, to_text

Format = Literal["table", "env", "json"]


def show_config(settings: Settings, format: Format = "table") -> str:  # noqa: A002 - named as the option
    """Every setting with its value and origin; what is accepted but not yet effective is marked as such."""
    match format:
        case "env":
            return "\n".join(_env_lines(settings)) + "\n"
        case "json":
            return json.dumps(_json_rows(settings), indent=2, ensure_ascii=False) + "\n"
        case "table":
            return "\n".join(_table_lines(settings)) + "\n"


def key_fingerprint(key: SecretStr) -> str:
    """Eight hex digits that tell two keys apart and give neither away."""
    return sha256(key.get_secret_value().encode()).hexdigest()[:8]


def venue_lines(settings: Settings) -> Iterator[str]:
    """One line per venue to trade: where its orders go and which key signs them (CFG-03)."""
    for name, venue in settings.venues.items():
        key = f"key {key_fingerprint(venue.api_key)}" if venue.api_key is not None else "no key"
        where = f" at {venue.url}" if venue.url else ""
        yield f"{name}: {venue.environment}{where}, {key}"


def value_of(settings: Settings, entry: Entry) -> object:
    return getattr(getattr(settings, entry.path[0]), entry.path[1])


def shown_value(settings: Settings, entry: Entry) -> str:
    """The value as text, `***` where it is a secret that is set, "" where nothing is set."""
    value = value_of(settings, entry)
    text = MASK if isinstance(value, SecretStr) else to_text(value)
    if entry.setting.private and text and text != (root := address_root(text)):
        return f"{root}/{MASK}"
    return text


def _env_lines(settings: Settings) -> Iterator[str]:
    title = ""
    for entry in entries(Settings):
        if entry.group.title != title:
            title = entry.group.title
            yield f"# {title}"
        shown, text = shown_value(settings, entry), to_text(value_of(settings, entry))
        if shown != text:
            yield f"# {entry.env}={shown} (kept out)"
        else:
            yield f"# {entry.env}=" if entry.secret else render_assignment(entry.env, text)


def _json_rows(settings: Settings) -> dict[str, dict[str, str | bool | None]]:
    return {
        entry.env: {
            "value": shown_value(settings, entry) or None,
            "source": settings.sources.get(entry.env, "default"),
            "effective": entry.effective,
        }
        for entry in entries(Settings)
    }


def _table_lines(settings: Settings) -> Iterator[str]:
    rows = [
        (entry, shown_value(settings, entry) or "-", settings.sources.get(entry.env, "default"))
        for entry in entries(Settings)
    ]
    names = max(len(entry.env) for entry, _, _ in rows)
    values = min(48, max(len(value) for _, value, _ in rows))
    yield from venue_lines(settings)
    title = ""
    for entry, value, source in rows:
        if entry.group.title != title:
            title = entry.group.title
            yield ""
            yield title
        note = "" if entry.effective else "  (not yet effective)"
        yield f"  {entry.env:<{names}}  {value:<{values}}  {source}{note}"
