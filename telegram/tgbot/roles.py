"""Who may what: by the chat and by the user, on commands and on buttons alike (TEL-04)."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from msgspec import Struct


class Role(IntEnum):
    """Each may what those before it may. An operator makes things safer; only an owner takes risk on again."""

    VIEWER = 1
    OPERATOR = 2
    OWNER = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Roster(Struct, frozen=True, kw_only=True):
    """`chat_id` is the one chat that is served. With nobody listed the user of a private chat is its owner (chat and
    user have the same number there), and in a group nobody is anything."""

    chat_id: int
    owners: Collection[int] = ()
    operators: Collection[int] = ()
    viewers: Collection[int] = ()

    def role(self, chat_id: int | None, user_id: int | None) -> Role | None:
        """None = a stranger."""
        if chat_id != self.chat_id or user_id is None:
            return None
        if not self.lists_anybody:
            return Role.OWNER if user_id == chat_id > 0 else None
        for role, users in ((Role.OWNER, self.owners), (Role.OPERATOR, self.operators), (Role.VIEWER, self.viewers)):
            if user_id in users:
                return role
        return None

    @property
    def lists_anybody(self) -> bool:
        return bool(self.owners or self.operators or self.viewers)

    @property
    def admits_nobody(self) -> bool:
        """Also where others are listed than the one user who can write in a private chat."""
        if self.chat_id > 0:
            return self.role(self.chat_id, self.chat_id) is None
        return not self.lists_anybody
