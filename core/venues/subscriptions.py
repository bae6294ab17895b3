"""The channels of one public connection: kept equal to a desired set, and what the venue answers to asking for them.

A venue may refuse one channel of a request (a symbol that was delisted a second ago). Then the others of that request
are asked for again, in halves until it is known which one it was: a refused symbol costs no other its prices.

An acknowledgement is no proof: a channel counts once it has told something. One that stays silent is cancelled and
asked for anew, at growing intervals; the connection stays (MKT-01, MKT-05). This happens beside the reader, which only
notes what it has heard (MKT-03).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec import Struct

from core.errors import Unreachable

if TYPE_CHECKING:
    from core.transport import Socket

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds in which a request to subscribe has to be answered, where the venue answers at all."""
LONGEST_PATIENCE = 320.0
"""Seconds: however often a channel was asked for in vain, it is asked for again after so long."""
FRAMES_A_SECOND = 8
"""Venues take ten a second from one connection, pings among them."""


class Answered(Struct, frozen=True, kw_only=True):
    """What the venue says to a request of ours. With `number` it is about that whole request; a refusal may name the
    channels it is about, then only the others are asked for again. Without it, it is about the named channels alone. A
    channel that "is already subscribed" counts as accepted."""

    number: int | None = None
    channels: tuple[str, ...] = ()
    refused: bool = False
    words: str = ""


class Channels(Protocol):
    """How one venue's socket is asked for channels."""

    @property
    def batch(self) -> int:
        """The most channels one request may name."""
        ...

    @property
    def batch_bytes(self) -> int | None:
        """The most characters their names may have together; None = no limit."""
        ...

    @property
    def acknowledges(self) -> bool:
        """Whether requests are answered by frames that `decode` gives as `Answered`."""
        ...

    def confirmed_within(self, channel: str) -> float:
        """Seconds in which it has told something once it was asked for, or is asked for anew; 0 = it may be silent."""
        ...

    def subscription(self, channels: Sequence[str], number: int) -> str:
        """The frame that subscribes them."""
        ...

    def cancellation(self, channels: Sequence[str], number: int) -> str:
        """The frame that ends their subscription."""
        ...


@dataclass(slots=True)
class _Asked:
    channels: list[str]
    at: float


@dataclass(slots=True)
class _Unheard:
    """Asked for and silent so far; asked for anew at `due`, after `patience` seconds."""

    due: float
    patience: float


@dataclass(slots=True)
class Subscriptions:
    """One connection's. `changed` is set by whoever changes what `desired` gives. `name` for logs."""

    name: str
    rules: Channels
    desired: Callable[[], Iterable[str]]
    changed: asyncio.Event
    refused: dict[str, str] = field(default_factory=dict)
    """Channels the venue does not give on this connection, with its words."""
    unheard: dict[str, _Unheard] = field(default_factory=dict)
    """Channels that have told nothing since they were asked for."""
    renewed: int = 0
    """How many channels were asked for anew because they were silent."""
    _renewing: dict[str, None] = field(default_factory=dict)
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _again: list[list[str]] = field(default_factory=list)
    _subscribed: set[str] = field(default_factory=set)
    _number: int = 0

    async def run(self, socket: Socket) -> None:
        """Until cancelled. Raises Unreachable when the socket ended or a request stays unanswered (INV-10)."""
        while True:
            self.changed.clear()
            for number, frame in enumerate(self._due(), start=1):
                await socket.send(frame)
                if number % FRAMES_A_SECOND == 0:
                    await asyncio.sleep(1.0)
            try:
                async with asyncio.timeout(self._pause()):
                    await self.changed.wait()
            except TimeoutError:
                if self._patience() != 0:
                    continue  # answered meanwhile, or a channel is silent
                asked = next(iter(self._asked.values())).channels
                why = f"no answer to asking for {asked[0]} and {len(asked) - 1} more within {ANSWER_WITHIN:g} s"
                raise Unreachable(self.name, why) from None

    def heard(self, channel: str) -> None:
        """It has told something. Called by the reader for each tick while anything is unheard."""
        self.unheard.pop(channel, None)

    def renew(self, channels: Iterable[str]) -> None:
        """Ask for these anew; one that was refused gets another try."""
        self._renewing.update(dict.fromkeys(channels))
        self.changed.set()

    def answered(self, answer: Answered) -> None:
        """Answers to what was never asked, or is answered already, change nothing."""
        if answer.number is not None:
            self._request_answered(answer, self._asked.pop(answer.number, None))
        else:
            for channel in answer.channels:
                self._channel_answered(channel, answer)
        if self._again:
            self.changed.set()

    def _request_answered(self, answer: Answered, asked: _Asked | None) -> None:
        if asked is None or not answer.refused:
            return
        named = [channel for channel in asked.channels if channel in answer.channels]
        if len(asked.channels) == 1:
            named = asked.channels
        for channel in named:
            self._refuse(channel, answer.words)
        rest = [channel for channel in asked.channels if channel not in named]
        if named:
            self._again += [rest] if rest else []
        else:
            middle = len(rest) // 2
            self._again += [rest[:middle], rest[middle:]]

    def _channel_answered(self, channel: str, answer: Answered) -> None:
        for number, asked in list(self._asked.items()):
            if channel in asked.channels:
                asked.channels.remove(channel)
                if not asked.channels:
                    del self._asked[number]
                if answer.refused:
                    self._refuse(channel, answer.words)
                return

    def _refuse(self, channel: str, words: str) -> None:
        self.refused[channel] = words
        self._subscribed.discard(channel)
        self.unheard.pop(channel, None)
        log.warning("market.channel_refused", socket=self.name, channel=channel, why=words[:200])

    def _due(self) -> Iterator[str]:
        desired = dict.fromkeys(self.desired())
        for gone in self.refused.keys() - desired.keys():
            del self.refused[gone]  # wanted again one day, it is asked for again
        for channel in [channel for channel in self.unheard if channel not in desired]:
            del self.unheard[channel]
        yield from self._renewals(desired)
        again, self._again = self._again, []
        for channels in again:
            yield from self._ask([channel for channel in channels if channel in desired])
        yield from self._ask([c for c in desired if c not in self._subscribed and c not in self.refused])
        for batch in self._batches(sorted(self._subscribed - desired.keys())):
            self._number += 1
            self._subscribed.difference_update(batch)
            yield self.rules.cancellation(batch, self._number)

    def _renewals(self, desired: dict[str, None]) -> Iterator[str]:
        """Cancelled first: asking for what the venue takes for subscribed would change nothing."""
        now = asyncio.get_running_loop().time()
        silent = [channel for channel, unheard in self.unheard.items() if unheard.due <= now]
        asked, self._renewing = self._renewing, {}
        for channel in asked:
            self.refused.pop(channel, None)
        due = [channel for channel in dict.fromkeys((*silent, *asked)) if channel in desired]
        if silent:
            log.info("market.channels_silent", socket=self.name, channels=len(silent), first=silent[0])
        self.renewed += len(due)
        for batch in self._batches([channel for channel in due if channel in self._subscribed]):
            self._number += 1
            self._subscribed.difference_update(batch)
            yield self.rules.cancellation(batch, self._number)
        yield from self._ask(due)

    def _ask(self, channels: Sequence[str]) -> Iterator[str]:
        now = asyncio.get_running_loop().time()
        for batch in self._batches(channels):
            self._number += 1
            self._subscribed.update(batch)
            for channel in batch:
                self._expect(channel, now)
            if self.rules.acknowledges:
                self._asked[self._number] = _Asked(list(batch), asyncio.get_running_loop().time())
            yield self.rules.subscription(batch, self._number)

    def _batches(self, channels: Sequence[str]) -> Iterator[Sequence[str]]:
        batch: list[str] = []
        size = 0
        for channel in channels:
            most = self.rules.batch_bytes
            if batch and (len(batch) >= self.rules.batch or (most is not None and size + len(channel) > most)):
                yield batch
                batch, size = [], 0
            batch.append(channel)
            size += len(channel)
        if batch:
            yield batch

    def _expect(self, channel: str, now: float) -> None:
        known = self.unheard.get(channel)
        first = self.rules.confirmed_within(channel)
        patience = first if known is None else min(2 * known.patience, LONGEST_PATIENCE)
        if patience:
            self.unheard[channel] = _Unheard(due=now + patience, patience=patience)

    def _pause(self) -> float | None:
        """Until something is due by itself; None = nothing ever."""
        patience = self._patience()
        if not self.unheard:
            return patience
        silent = max(min(unheard.due for unheard in self.unheard.values()) - asyncio.get_running_loop().time(), 0)
        return silent if patience is None else min(patience, silent)

    def _patience(self) -> float | None:
        if not self._asked:
            return None
        oldest = min(asked.at for asked in self._asked.values())
        return max(oldest + ANSWER_WITHIN - asyncio.get_running_loop().time(), 0)
