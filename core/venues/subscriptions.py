"""The channels of one public connection: kept equal to a desired set, and what the venue answers to asking for them.

A venue may refuse one channel of a request (a symbol that was delisted a second ago). Then the others of that request
are asked for again, in halves until it is known which one it was: a refused symbol costs no other its prices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from core.errors import Unreachable

if TYPE_CHECKING:
    from core.transport import Socket

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds in which a request to subscribe has to be answered, where the venue answers at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
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
class Subscriptions:
    """One connection's. `changed` is set by whoever changes what `desired` gives. `name` for logs."""

    name: str
    rules: Channels
    desired: Callable[[], Iterable[str]]
    changed: asyncio.Event
    refused: dict[str, str] = field(default_factory=dict)
    """Channels the venue does not give on this connection, with its words."""
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _again: list[list[str]] = field(default_factory=list)
    _subscribed: set[str] = field(default_factory=set)
    _number: int = 0

    async def run(self, socket: Socket) -> None:
        """Until cancelled. Raises Unreachable when the socket ended or a request stays unanswered (INV-10)."""
        while True:
            self.changed.clear()
            for frame in self._due():
                await socket.send(frame)
            try:
                async with asyncio.timeout(self._patience()):
                    await self.changed.wait()
            except TimeoutError:
                if self._patience() != 0:
                    continue  # answered meanwhile
                asked = next(iter(self._asked.values())).channels
                why = f"no answer to asking for {asked[0]} and {len(asked) - 1} more within {ANSWER_WITHIN:g} s"
                raise Unreachable(self.name, why) from None

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
        log.warning("market.channel_refused", socket=self.name, channel=channel, why=words[:200])

    def _due(self) -> Iterator[str]:
        desired = dict.fromkeys(self.desired())
        for gone in self.refused.keys() - desired.keys():
            del self.refused[gone]  # wanted again one day, it is asked for again
        again, self._again = self._again, []
        for channels in again:
            yield from self._ask([channel for channel in channels if channel in desired])
        yield from self._ask([c for c in desired if c not in self._subscribed and c not in self.refused])
        for batch in self._batches(sorted(self._subscribed - desired.keys())):
            self._number += 1
            self._subscribed.difference_update(batch)
            yield self.rules.cancellation(batch, self._number)

    def _ask(self, channels: Sequence[str]) -> Iterator[str]:
        for batch in self._batches(channels):
            self._number += 1
            self._subscribed.update(batch)
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

    def _patience(self) -> float | None:
        if not self._asked:
            return None
        oldest = min(asked.at for asked in self._asked.values())
        return max(oldest + ANSWER_WITHIN - asyncio.get_running_loop().time(), 0)
