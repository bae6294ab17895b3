"""What waits for one channel: bounded, merged into few messages, in order, nothing critical lost. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from core.alerts.wording import MAX_UNITS, sanitized, units
from core.engine.ports import Level
from core.engine.records import AlertRecord

CAPACITY: Final = 500
"""Waiting alerts that are not critical; beyond it the oldest are only counted (TEL-02)."""
MOST_CRITICAL: Final = 10_000
"""A bound for memory alone: three hours of one a second. Beyond it the oldest critical ones are only counted, too."""
LISTED: Final = 20
"""More waiting alerts than this that are not critical become one summary with the newest few (TEL-03)."""
NEWEST: Final = 5
GROUP_SECONDS: Final = 1.0
"""What is not critical waits so long for company, so that a wave with its entries is one message."""
LATE_MS: Final = 60_000
"""An alert told later than this says when it was."""
SEVERAL: Final = "several"

_MARKS: Final = {Level.INFO: "", Level.WARNING: "⚠️ ", Level.CRITICAL: "🔴 "}
_LOUDNESS: Final = (Level.INFO, Level.WARNING, Level.CRITICAL)


class Waiting(Struct, frozen=True):
    """`times` equal ones in a row, the newest of which has the number `last`."""

    alert: AlertRecord
    silent: bool
    times: int
    last: int


class Message(Struct, frozen=True, kw_only=True):
    """What a channel sends at once. `id`: the number of the newest alert in it, so that one number never stands for two
    messages. `summarised`: what is not critical up to there was counted in this message or an earlier one (0 = none).
    """

    id: int
    time_ms: int
    level: Level
    kind: str
    """"several" where there is more than one."""
    text: str
    silent: bool
    summarised: int
    alerts: int

    def heading(self, now_ms: int) -> str:
        """When it was, for a message that was fresh when it was made and waited since to be taken; "" = not needed."""
        when = f"[{_stamp(self.time_ms)}]"
        late = now_ms - self.time_ms > LATE_MS and when not in self.text.partition("\n")[0]
        return f"{when}\n" if late else ""


@dataclass(slots=True)
class AlertQueue:
    """Every operation is constant-time but `take`, which costs what it takes. `mixed`: a message may hold alerts of
    several kinds and levels; without it, a row of one kind and level."""

    mixed: bool = True
    limit: int = MAX_UNITS
    capacity: int = CAPACITY
    dropped_total: int = 0
    """Alerts that will never be told one by one, since the start."""
    _critical: deque[Waiting] = field(default_factory=deque)
    _others: deque[Waiting] = field(default_factory=deque)
    _dropped: Counter[str] = field(default_factory=Counter)
    _summarised: int = 0
    _newest: deque[Waiting] | None = None
    """Where the newest alert went: a row ends where something else came between."""

    def __len__(self) -> int:
        return len(self._critical) + len(self._others)

    @property
    def urgent(self) -> bool:
        """Something critical waits, which waits for no company."""
        return bool(self._critical)

    def put(self, alert: AlertRecord, *, silent: bool = False) -> None:
        """Alerts come in the order of their numbers. Equal ones in a row become one with a count."""
        critical = alert.level == Level.CRITICAL
        line = self._critical if critical else self._others
        last = line[-1] if line and line is self._newest else None
        self._newest = line
        if last is not None and (last.alert.kind, last.alert.text) == (alert.kind, alert.text):
            line[-1] = Waiting(last.alert, last.silent and silent, last.times + 1, alert.seq)
        else:
            line.append(Waiting(alert, silent, 1, alert.seq))
        if len(line) > (MOST_CRITICAL if critical else self.capacity):
            self._drop(line.popleft())

    def take(self, now_ms: int) -> Message | None:
        """The next message, None when nothing waits. What it holds no longer waits."""
        if len(self._others) > LISTED:
            while len(self._others) > NEWEST:
                self._drop(self._others.popleft())
        chosen = self._chosen(now_ms)
        if not chosen:
            return None
        lines = [_line(one, now_ms) for one in _together(chosen)]
        if self._dropped:
            lines.insert(0, self._summary())
            self._dropped.clear()
        kinds = {one.alert.kind for one in chosen}
        return Message(
            id=max(one.last for one in chosen),
            time_ms=chosen[0].alert.time_ms,
            level=max((Level(one.alert.level) for one in chosen), key=_LOUDNESS.index),
            kind=kinds.pop() if len(kinds) == 1 else SEVERAL,
            text="\n".join(lines),
            silent=all(one.silent for one in chosen),
            summarised=self._summarised,
            alerts=sum(one.times for one in chosen),
        )

    def _chosen(self, now_ms: int) -> Sequence[Waiting]:
        """The oldest that fit into one message, one at least: what is longer the channel splits."""
        chosen: list[Waiting] = []
        room = self.limit - (units(self._summary()) + 1 if self._dropped else 0)
        while line := self._next_line():
            one = line[0]
            alike = not chosen or (one.alert.kind, one.alert.level) == (chosen[0].alert.kind, chosen[0].alert.level)
            room -= units(_line(one, now_ms)) + 1
            if chosen and (room < 0 or not (self.mixed or alike)):
                break
            chosen.append(line.popleft())
        return chosen

    def _next_line(self) -> deque[Waiting] | None:
        lines = [line for line in (self._critical, self._others) if line]
        return min(lines, key=lambda line: line[0].alert.seq, default=None)

    def _drop(self, one: Waiting) -> None:
        self._dropped[one.alert.kind] += one.times
        self.dropped_total += one.times
        if one.alert.level != Level.CRITICAL:
            self._summarised = one.last

    def _summary(self) -> str:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(self._dropped.items(), key=lambda row: -row[1]))
        return f"… {self._dropped.total()} earlier messages are only in the log ({told})"


def _together(chosen: Iterable[Waiting]) -> Iterable[Waiting]:
    """Equal ones of one message as one line with a count, where the first of them stood."""
    found: dict[tuple[str, str], Waiting] = {}
    for one in chosen:
        key = (one.alert.kind, one.alert.text)
        known = found.get(key)
        found[key] = one if known is None else replace(known, times=known.times + one.times)
    return found.values()


def _line(one: Waiting, now_ms: int) -> str:
    alert = one.alert
    again = f" (×{one.times})" if one.times > 1 else ""
    when = f"[{_stamp(alert.time_ms)}] " if now_ms - alert.time_ms > LATE_MS else ""
    return f"{_MARKS[Level(alert.level)]}{when}{sanitized(alert.text)}{again}"


def _stamp(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%m-%d %H:%M:%S} UTC"
