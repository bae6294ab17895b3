"""What can be asked and ordered: every command once, with who may, what it says of itself, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct

from core.clock import Clock
from core.domain.ids import VenueName
from core.domain.symbols import LONGEST, spellings
from core.engine.operator_desk import OperatorDesk
from tgbot.page import Page
from tgbot.roles import Role

MOST_ARGUMENTS: Final = 4
LONGEST_ARGUMENT: Final = 64


class Misused(ValueError):
    """What was written cannot be obeyed; the text says why, for whoever wrote it."""


class Picture(Struct, frozen=True, kw_only=True):
    png: bytes
    caption: str


class Deed(Struct, frozen=True, kw_only=True):
    """Something that changes the world. With `question` it is done after a press on `label` only; without, at once.
    `doing` is shown while it runs, with what `left` says then."""

    doing: str
    run: Callable[[], Awaitable[Page]]
    left: Callable[[], str] = lambda: ""
    question: Page | None = None
    label: str = "Confirm"


Answer = Page | Picture | Deed
Draw = Callable[[Mapping[str, object]], Awaitable[bytes]]
"""Makes a PNG of a picture's data. Raises PictureFailed."""


class Ask(Struct, frozen=True, kw_only=True):
    """One question of one user. `arguments` are as they were written."""

    desk: OperatorDesk
    clock: Clock
    draw: Draw
    user_id: int
    role: Role
    arguments: tuple[str, ...]

    @property
    def author(self) -> str:
        """As the audit log names who gave an order."""
        return f"telegram:{self.user_id}"

    def spellings(self) -> tuple[str, ...]:
        """What the first argument may mean as a symbol, likeliest first. Raises Misused."""
        if not self.arguments:
            raise Misused("which symbol? e.g. BTCUSDT, or BTC")
        symbol = self.arguments[0]
        if len(symbol) > LONGEST:
            raise Misused("that is no symbol")
        return spellings(symbol)

    def number(self, default: int, most: int) -> int:
        """The one argument, a count from 1 to `most`. Raises Misused."""
        if not self.arguments:
            return default
        text = self.arguments[0]
        if len(self.arguments) > 1 or not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
            raise Misused(f"give one number from 1 to {most}")
        return int(text)

    def none(self) -> None:
        """Raises Misused where something was given."""
        if self.arguments:
            raise Misused("takes nothing")

    def venue(self, at: int) -> VenueName | None:
        """The argument at that place, None where there is none. Raises Misused for a venue that is not traded here."""
        if len(self.arguments) > at + 1:
            raise Misused("too much was given")
        if len(self.arguments) <= at:
            return None
        known = self.desk.commands.venues
        if (name := self.arguments[at].lower()) not in known:
            raise Misused(f"{self.arguments[at]} is not traded here; it is {', '.join(sorted(known))}")
        return VenueName(name)


class Command(Struct, frozen=True, kw_only=True):
    """`usage` is what may follow the name. `refreshes`: its answer can be renewed in place. `early`: it is obeyed while
    the daemon still starts, too, though it changes something."""

    name: str
    told: str
    answer: Callable[[Ask], Awaitable[Answer]]
    role: Role = Role.VIEWER
    usage: str = ""
    refreshes: bool = False
    section: str = "Look"
    early: bool = False

    @property
    def heading(self) -> str:
        return f"/{self.name}" + (f" {self.usage}" if self.usage else "")


class Registry:
    """In the order given, which is that of /help and of the phone's menu."""

    def __init__(self, commands: Iterable[Command], aliases: Mapping[str, str]) -> None:
        self._commands = {command.name: command for command in commands}
        self._aliases = dict(aliases)

    def find(self, name: str) -> Command | None:
        return self._commands.get(self._aliases.get(name, name))

    def allowed(self, role: Role) -> list[Command]:
        return [command for command in self._commands.values() if command.role <= role]

    @property
    def commands(self) -> list[Command]:
        return list(self._commands.values())


def parsed(text: str, bot_name: str | None) -> tuple[str, tuple[str, ...]] | None:
    """Name and arguments of `/name@bot argument …`; None for what is no command, or one for another bot."""
    words = text.split()
    if not words or not words[0].startswith("/") or len(words) > MOST_ARGUMENTS + 1:
        return None
    name, at, bot = words[0][1:].partition("@")
    if not name or (at and bot.lower() != (bot_name or "").lower()):
        return None
    if any(len(word) > LONGEST_ARGUMENT for word in words):
        return None
    return name.lower(), tuple(words[1:])
