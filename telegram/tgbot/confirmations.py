"""What waits for a second press: shown to one user, done once, gone half a minute after it was shown (TEL-05). Pure;
nothing of it outlives the process, so that no button of an earlier run does anything."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from math import inf
from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

EXPIRE_S: Final = 30.0
MOST_WAITING: Final = 50

_Plan = TypeVar("_Plan")


class Refusal(StrEnum):
    """Why a press does nothing; for people."""

    GONE = "Expired; ask again"
    DONE = "Done already, once"
    NOT_YOURS = "Only who asked may confirm"


class _Waiting(Struct, Generic[_Plan], frozen=True):
    user_id: int
    until: float
    plan: _Plan


class Confirmations(Generic[_Plan]):
    """`now` is monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: OrderedDict[str, _Waiting[_Plan]] = OrderedDict()
        self._taken: OrderedDict[str, None] = OrderedDict()

    def ask(self, user_id: int, plan: _Plan) -> str:
        """The token that a button carries back; it cannot be guessed. The oldest one goes when too many wait. A flood
        may hold the question up: its time begins with `shown`, and until then a press counts."""
        token = secrets.token_urlsafe(9)
        self._waiting[token] = _Waiting(user_id, inf, plan)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        return token

    def shown(self, token: str) -> None:
        """The question stands there, or will never: it expires from now on."""
        if (found := self._waiting.get(token)) is not None:
            self._waiting[token] = replace(found, until=self._now() + EXPIRE_S)

    def take(self, token: str, user_id: int) -> _Plan | Refusal:
        """The plan, once; or why not. A press of somebody else's button takes nothing away."""
        if (found := self._waiting.get(token)) is None:
            return Refusal.DONE if token in self._taken else Refusal.GONE
        if self._now() >= found.until:
            del self._waiting[token]
            return Refusal.GONE
        if found.user_id != user_id:
            return Refusal.NOT_YOURS
        del self._waiting[token]
        self._taken[token] = None
        while len(self._taken) > MOST_WAITING:
            self._taken.popitem(last=False)
        return found.plan
