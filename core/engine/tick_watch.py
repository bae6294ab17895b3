"""Which symbols have fallen silent under a socket that lives, and when each is asked for again (MKT-05)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

SILENT_SECONDS = 30.0
ALERT_SECONDS = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 320.0

_K = TypeVar("_K")


@dataclass(slots=True)
class _Silence:
    """`again` monotonic seconds of the next try."""

    again: float
    pause: float = _FIRST_PAUSE
    told: bool = False


class TickWatch(Generic[_K]):
    """One symbol's silence never touches another: each has its own tries, 2, 4, 8 s apart and on in doubling steps."""

    def __init__(self) -> None:
        self._silent: dict[_K, _Silence] = {}
        self.ended: list[_K] = []
        """Silences that people were told of and that are over; whoever tells that empties it."""

    def due(self, key: _K, age: float | None, limit: float, now: float) -> bool:
        """Whether it is to be asked for now. `age` seconds since its last tick, None = never had one; `limit` is how
        long its silence is nothing."""
        silence = self._silent.get(key)
        if age is not None and age <= limit:
            if silence is not None:
                del self._silent[key]
                if silence.told:
                    self.ended.append(key)
            return False
        if silence is None:
            silence = self._silent[key] = _Silence(again=now if age is not None else now + limit)
        if now < silence.again:
            return False
        silence.again = now + silence.pause
        silence.pause = min(2 * silence.pause, _LONGEST_PAUSE)
        return True

    def alarming(self, key: _K, age: float | None) -> bool:
        """Whether people are to be told of it now; once per silence."""
        silence = self._silent.get(key)
        if silence is None or silence.told or age is None or age < ALERT_SECONDS:
            return False
        silence.told = True
        return True

    def keep(self, keys: Iterable[_K]) -> None:
        """Forget all others."""
        for gone in self._silent.keys() - set(keys):
            del self._silent[gone]
