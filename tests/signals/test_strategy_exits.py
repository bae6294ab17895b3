"""What a strategy wants closed: asked before its entries, about its own positions only, as one complete set."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, SignalId, Symbol
from core.domain.money import Quantity
from core.domain.position import Position, PositionKey
from core.domain.signal import Side, Signal
from strategies.base import ExitAdvice, View
from tests.builders import BTC, ETH, NOW_MS, a_position
from tests.signals.test_strategy_scan import Rig, longs, silence

SOL = BTC._replace(symbol=Symbol("SOL/USDT:USDT"))


def own(instrument: InstrumentId, **fields: object) -> Position:
    """A position that the strategy's signal opened, as `Rig` tells them."""
    return replace(a_position(instrument), signal_id=SignalId("told"), **fields)


def let_all_go(view: View) -> list[ExitAdvice]:
    return [ExitAdvice(instrument=p.instrument, side=p.side, reason="enough") for p in view.own]


async def test_exits_are_asked_for_before_entries_and_handed_out_as_one_complete_set() -> None:
    asked: list[str] = []

    def exits(view: View) -> list[ExitAdvice]:
        asked.append("exits")
        return let_all_go(view) if len(asked) == 1 else []

    def entries(view: View) -> list[Signal]:
        asked.append("entries")
        return []

    rig = Rig(entries, exits)
    rig.state.put_position(own(BTC))
    async with rig.running():
        await rig.closes(2)
    assert asked == ["exits", "entries"] * 2
    assert rig.advice == [{PositionKey(BTC, Side.BUY): "enough"}, {}]
    assert rig.scan.counts["exits"] == 1
    assert rig.batches == []


async def test_advice_about_anything_but_its_own_position_is_left_out_and_counted_and_opens_nothing() -> None:
    def exits(view: View) -> list[ExitAdvice]:
        sides = [(BTC, Side.BUY), (BTC, Side.SELL), (ETH, Side.BUY), (SOL, Side.SELL)]
        return [ExitAdvice(instrument=i, side=side, reason="away with it") for i, side in sides]

    rig = Rig(silence, exits)
    rig.state.put_position(own(BTC))
    rig.state.put_position(a_position(ETH))
    async with rig.running():
        await rig.closes(1)
    assert [p.instrument for p in rig.strategy.views[0].positions] == [BTC, ETH]
    assert [p.instrument for p in rig.strategy.views[0].own] == [BTC]
    assert rig.advice == [{PositionKey(BTC, Side.BUY): "away with it"}]
    assert rig.scan.counts["exits_of_nothing"] == 3
    assert rig.batches == []


@pytest.mark.parametrize(("reason", "shown"), [("", "no reason given"), ("a\nb\x1b", "a b"), ("x" * 999, "x" * 200)])
async def test_an_advice_is_one_printable_sentence(reason: str, shown: str) -> None:
    rig = Rig(silence, lambda view: [replace(one, reason=reason) for one in let_all_go(view)])
    rig.state.put_position(own(BTC))
    async with rig.running():
        await rig.closes(1)
    assert list(rig.advice[0].values()) == [shown]


async def test_failing_entries_cost_no_exit_and_failing_exits_withdraw_what_was_advised() -> None:
    calls: list[int] = []

    def exits(view: View) -> list[ExitAdvice]:
        calls.append(view.open_ms)
        if len(calls) == 2:
            raise ValueError("no exits now")
        return let_all_go(view)

    def entries(view: View) -> list[Signal]:
        raise ValueError("no entries ever")

    rig = Rig(entries, exits)
    rig.state.put_position(own(BTC))
    async with rig.running():
        await rig.closes(3)
    assert [list(advice.values()) for advice in rig.advice] == [["enough"], [], ["enough"]]
    assert rig.scan.counts["failures"] == 3


@pytest.mark.parametrize("listed_first", [True, False], ids=["dropped out while held", "held over a restart"])
async def test_what_its_own_position_is_in_stays_in_sight_until_it_is_closed(*, listed_first: bool) -> None:
    rig = Rig(longs, let_all_go)
    rig.listed = [BTC, ETH] if listed_first else [BTC]
    rig.state.put_position(own(ETH))
    async with rig.running():
        await rig.closes(1)
        rig.listed = [BTC]
        await rig.closes(62)
        assert PositionKey(ETH, Side.BUY) in rig.advice[-1]
        rig.state.put_position(own(ETH, quantity=Quantity(Decimal(0)), closed_ms=NOW_MS))
        await rig.closes(63)
    assert all(ETH in view.candles for view in rig.strategy.views[:62])
    assert list(rig.strategy.views[62].candles) == [BTC]
    assert [s.instrument for s in rig.batches[-1].signals] == [BTC], "nothing is opened where it looks only to close"
