"""Buttons: what stays under the text field, and what hangs under a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, KeyboardButton, ReplyKeyboardMarkup

from tgbot.page import Button, Page
from tgbot.roles import Role

MOST_BYTES: Final = 64
"""Of what a button carries."""

REFRESH, COMMAND, YES, NO = "r", "c", "y", "n"
"""Renew this message; as if it were written; do what was asked about; do not."""

_LOOK: Final = (("/status", "/positions", "/pnl"), ("/balance", "/waves", "/risk"))
_ACT: Final = (("/pause", "/resume", "/panic"),)


def menu(role: Role) -> tuple[tuple[str, ...], ...]:
    """The keyboard that stays; who may only look gets nothing else."""
    return (*_LOOK, *_ACT) if role >= Role.OPERATOR else _LOOK


def again(command_line: str, label: str = "↻ Refresh") -> tuple[Button, ...]:
    """A row that renews the message; empty where the command is too long for a button."""
    return _row(label, REFRESH, command_line)


def instead(label: str, command_line: str) -> tuple[Button, ...]:
    """A row with a command to follow this one."""
    return _row(label, COMMAND, command_line)


def choice(token: str, label: str) -> tuple[Button, ...]:
    return (Button(f"✅ {label}", f"{YES}:{token}"), Button("✖ Leave it", f"{NO}:{token}"))


def _row(label: str, kind: str, command_line: str) -> tuple[Button, ...]:
    data = f"{kind}:{command_line}"
    return (Button(label, data),) if len(data.encode()) <= MOST_BYTES else ()


def pressed(data: object) -> tuple[str, str] | None:
    """Kind and content of what a button carried; None for a text that is none of ours."""
    if not isinstance(data, str) or len(data.encode("utf-8", "replace")) > MOST_BYTES:
        return None
    kind, colon, content = data.partition(":")
    return (kind, content) if colon and kind in {REFRESH, COMMAND, YES, NO} else None


def inline(page: Page) -> InlineKeyboardMarkup | None:
    rows = [row for row in page.buttons if row]
    if not rows:
        return None
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(one.label, callback_data=one.data) for one in row] for row in rows]
    )


def markup(page: Page) -> InlineKeyboardMarkup | ReplyKeyboardMarkup | None:
    """A message carries one of the two; its own buttons come first."""
    return inline(page) or (_reply(page.menu) if page.menu else None)


def _reply(rows: Iterable[Sequence[str]]) -> ReplyKeyboardMarkup:
    buttons = [[KeyboardButton(text) for text in row] for row in rows]
    return ReplyKeyboardMarkup(buttons, resize_keyboard=True, is_persistent=True)
