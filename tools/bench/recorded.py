"""Private stream frames of a whole position life as a venue sends them: the daemon trades one position at the
simulator, its frames are written down, and other lives are made of them by giving them ids, names and times of their
own."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from core.assembly import Engine
from core.domain.ids import ClientOrderId, InstrumentId, Leg, PositionId, SignalId, Symbol, client_order_id
from core.domain.instrument import Instrument
from core.domain.order import OrderIntent
from core.domain.position import PositionKey
from core.transport import Socket, Transport, real_transport
from tools.bench.entries import decided, listed, protected
from tools.bench.frames import ACCOUNT, Life
from tools.bench.inner_daemon import inner_daemon, warm
from tools.bench.processes import BenchError, simulator
from tools.bench.venues import VenueFacts

SETTLED_SECONDS = 1.0
"""A stop is moved to its final level, and what is told late arrives."""
END_SECONDS = 15.0
BETWEEN_LIVES_MS = 10_000
_TIME = re.compile(r"(?<![\d.])1\d{12}(?![\d.])")


class Recording(Struct, frozen=True, kw_only=True):
    """One life as it came: the frames of all private sockets in the order they arrived, and the intents.

    `contract_size`: base units in what the venue counts in.
    """

    facts: VenueFacts
    venue_symbol: str
    instrument: Instrument
    intents: tuple[OrderIntent, ...]
    frames: tuple[str, ...]
    contract_size: Decimal

    def lives(self, names: Sequence[str], count: int, first: int = 0) -> list[Life]:
        """`count` lives, numbered from `first`, one after another over instruments of those invented `names`."""
        return [self._life(names[number % len(names)], number) for number in range(first, first + count)]

    def instruments(self, names: Sequence[str]) -> list[Instrument]:
        """Of those invented names, with the rules of the one that was recorded."""
        return [replace(self.instrument, id=self._id(name), venue_symbol=self._venue_symbol(name)) for name in names]

    def _id(self, name: str) -> InstrumentId:
        return InstrumentId(self.facts.name, Symbol(f"{name}/USDT:USDT"))

    def _venue_symbol(self, name: str) -> str:
        base = self.instrument.id.symbol.partition("/")[0]
        return self.venue_symbol.replace(base, name, 1)

    def _life(self, name: str, number: int) -> Life:
        ids = {
            intent.client_order_id: client_order_id(ACCOUNT, f"{number}/{place}", intent.leg, 0)
            for place, intent in enumerate(self.intents)
        }
        intents = tuple(self._intent(intent, name, number, ids) for intent in self.intents)
        keys = "|".join(self.facts.frame_ids)
        named = re.compile(rf'"({keys})":"([^"]+)"')
        frames = []
        for text in self.frames:
            told = _TIME.sub(lambda found: str(int(found[0]) + number * BETWEEN_LIVES_MS), text)
            told = named.sub(rf'"\1":"\g<2>{number:07d}"', told.replace(self.venue_symbol, self._venue_symbol(name)))
            for old, new in ids.items():
                told = told.replace(old, new)
            frames.append(told.encode("ascii"))
        return Life(intents=intents, frames=tuple(frames))

    def _intent(
        self, intent: OrderIntent, name: str, number: int, ids: Mapping[ClientOrderId, ClientOrderId]
    ) -> OrderIntent:
        attached = None if intent.attached_to is None else ids[intent.attached_to]
        return replace(
            intent,
            client_order_id=ids[intent.client_order_id],
            instrument=self._id(name),
            signal_id=SignalId(str(number)),
            position_id=PositionId(ids[ClientOrderId(intent.position_id)]),
            attached_to=attached,
        )


async def recorded(facts: VenueFacts) -> Recording:
    """One position of the venue's first instrument, opened, protected and closed. Raises BenchError."""
    tape: list[str] = []
    async with simulator(facts, latency_ms=5, symbols=40) as venue:
        with tempfile.TemporaryDirectory(prefix="breakwater-bench-") as folder:
            async with inner_daemon(Path(folder), [venue], transport=_taped(facts, tape)) as engine:
                await warm(engine)
                (instrument,) = listed(engine, facts.name, 1)
                tape.clear()
                intents = await _lived(engine, instrument)
                return Recording(
                    facts=facts,
                    venue_symbol=engine.instruments[instrument].venue_symbol,
                    instrument=engine.instruments[instrument],
                    intents=intents,
                    frames=tuple(tape),
                    contract_size=await venue.contract_size(engine.instruments[instrument].venue_symbol),
                )


async def _lived(engine: Engine, instrument: InstrumentId) -> tuple[OrderIntent, ...]:
    candidates = await decided(engine, [instrument])
    await engine.desk.send(candidates)
    await protected(engine, candidates)
    await asyncio.sleep(SETTLED_SECONDS)
    (position,) = engine.orders.state.positions_on(instrument)
    await engine.closer.flatten(PositionKey(instrument, position.side), "bench", leg=Leg.CLOSE)
    try:
        async with asyncio.timeout(END_SECONDS):
            while engine.orders.state.live_orders(instrument):  # noqa: ASYNC110 - a recording is not in a hurry
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise BenchError(f"{instrument} was closed and has live orders {END_SECONDS:g} s later") from None
    await asyncio.sleep(SETTLED_SECONDS)
    return tuple(order.intent for order in engine.orders.state.orders_of(position.id))


def _taped(facts: VenueFacts, tape: list[str]) -> Callable[[str], Transport]:
    def transport(name: str) -> Transport:
        real = real_transport(name)
        return Transport(http=real.http, socket=lambda: _TapedSocket(real.socket(), facts, tape))

    return transport


class _TapedSocket:
    """Writes down what a private socket receives."""

    def __init__(self, inner: Socket, facts: VenueFacts, tape: list[str]) -> None:
        self._inner, self._facts, self._tape = inner, facts, tape
        self._private = False
        self.send, self.ping, self.close = inner.send, inner.ping, inner.close

    async def open(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._private = any(path in url for path in self._facts.private_paths)
        await self._inner.open(url, headers)

    async def receive(self) -> bytes:
        frame = await self._inner.receive()
        if self._private and self._facts.is_push(frame):
            self._tape.append(frame.decode("utf-8"))
        return frame
