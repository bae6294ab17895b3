"""How long the reader of prices keeps the loop: what follows from one frame goes before the frames behind it."""

import asyncio
import json

import pytest

from core.domain.ids import Symbol
from core.engine.giving_way import FEW_IN_A_ROW, IN_A_ROW, TURNS, give_way
from tests.fakes.fake_socket import FakeSocket
from tests.venues.test_market_stream import BTC, PAIRS, Stage


def _mark(symbol: Symbol, price: int, ms: int) -> dict[str, object]:
    name = symbol.partition("/")[0] + "USDT"
    return {"e": "markPriceUpdate", "s": name, "p": str(price), "T": 5, "E": ms, "st": 1}


def _touch(ms: int) -> dict[str, object]:
    return {
        "e": "bookTicker",
        "s": "BTCUSDT",
        "b": "99",
        "B": "1",
        "a": "101",
        "A": "1",
        "T": ms,
        "E": ms,
        "u": ms,
        "st": 1,
    }


class Behind:
    """Begins at the first price what takes so many steps of its own; `told` counts prices until it was over."""

    def __init__(self, stage: Stage, steps: int) -> None:
        self.told, self.told_before = 0, 0
        self._steps = steps
        self._task: asyncio.Task[None] | None = None
        stage.stream.on_tick(self._on_tick)

    def _on_tick(self, symbol: Symbol) -> None:
        del symbol
        self.told += 1
        if self._task is None:
            give_way()
            self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        for _ in range(self._steps):
            await asyncio.sleep(0)
        self.told_before = self.told


async def test_what_follows_from_a_price_goes_before_the_frames_that_wait_behind_it() -> None:
    frames = [(0.0, json.dumps([_mark(BTC, 100 + n, n)]).encode()) for n in range(500)]
    stage = Stage(market=[FakeSocket(frames)])
    behind = Behind(stage, steps=TURNS - 2)
    async with stage.running():
        stage.stream.want([BTC])
        await asyncio.sleep(1)
    assert behind.told == 500
    assert behind.told_before == 1


async def test_what_is_decided_elsewhere_goes_before_every_reader() -> None:
    frames = [(0.0, json.dumps([_mark(BTC, 100, n)]).encode()) for n in range(500)]
    stage, told = Stage(market=[FakeSocket(frames)]), list[Symbol]()
    begun = asyncio.Event()
    stage.stream.on_tick(told.append)
    stage.stream.on_tick(lambda _symbol: begun.set())
    async with stage.running():
        stage.stream.want([BTC])
        await begun.wait()
        give_way()
        await asyncio.sleep(0)  # the step that was begun
        before = len(told)
        for _ in range(TURNS - 2):
            await asyncio.sleep(0)
        assert len(told) == before < 500
        await asyncio.sleep(1)
    assert len(told) == 500


@pytest.mark.parametrize("route", ["market", "public"])
async def test_while_nothing_is_decided_others_still_have_their_turn(route: str) -> None:
    """The most often where prices come that decide nothing, and hundreds of them at once (Binance: every 5 s)."""
    frame = {"market": lambda n: [_mark(BTC, 100, n)], "public": _touch}[route]
    frames = [(0.0, json.dumps(frame(n), separators=(",", ":")).encode()) for n in range(500)]
    stage, told, most = Stage(**{route: [FakeSocket(frames)]}), list[Symbol](), list[int]()
    stage.stream.on_tick(told.append)
    async with stage.running():
        stage.stream.want([BTC])
        while len(told) < 500:
            before = len(told)
            await asyncio.sleep(0)
            most.append(len(told) - before)
    assert max(most) == {"market": IN_A_ROW, "public": FEW_IN_A_ROW}[route]


async def test_a_frame_with_the_prices_of_all_symbols_is_taken_in_parts() -> None:
    frame = json.dumps([_mark(symbol, 100, 1) for symbol in PAIRS]).encode()
    stage = Stage(market=[FakeSocket([(0.5, frame)])])
    behind = Behind(stage, steps=3)
    async with stage.running():
        stage.stream.want(PAIRS)
        await asyncio.sleep(1)
    assert behind.told == len(PAIRS)
    assert behind.told_before <= 5
