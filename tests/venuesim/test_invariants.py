"""What must hold whatever a client does, the market does, and in whatever order."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.venuesim.builders import BTC, ETH, Desk, a_stop, an_order, d
from tools.venuesim.exchange.model import (
    ZERO,
    AmendRequest,
    MarginMode,
    PositionMode,
    PositionSide,
    Refused,
    Side,
    TimeInForce,
)

symbols = st.sampled_from([BTC, ETH])
sides = st.sampled_from(Side)
quantities = st.integers(1, 3000).map(lambda lots: Decimal(lots) / 1000)
prices = st.integers(8500, 11500).map(lambda ticks: Decimal(ticks) / 10)
steps = st.one_of(
    st.tuples(st.just("market"), symbols, sides, quantities, st.booleans()),
    st.tuples(st.just("limit"), symbols, sides, quantities, prices, st.sampled_from(TimeInForce), st.booleans()),
    st.tuples(st.just("stop"), symbols, sides, quantities, prices),
    st.tuples(st.just("price"), symbols, prices),
    st.tuples(st.just("amend"), symbols, quantities, prices),
    st.tuples(st.just("cancel"), symbols),
    st.tuples(st.just("time"), st.integers(1, 5000)),
    st.tuples(st.just("funding")),
)


def carry_out(desk: Desk, step: tuple[Any, ...], position_side: PositionSide) -> None:
    engine = desk.engine
    one_way = position_side is PositionSide.BOTH
    match step:
        case ("market", symbol, side, qty, reduce):
            order = an_order(side, qty, symbol=symbol, reduce_only=reduce and one_way, position_side=position_side)
            engine.place(order)
        case ("limit", symbol, side, qty, price, tif, reduce):
            engine.place(
                an_order(
                    side, qty, symbol=symbol, price=price, tif=tif, reduce_only=reduce and one_way,
                    position_side=position_side,
                )
            )  # fmt: skip
        case ("stop", symbol, side, qty, price):
            engine.place_conditional(
                a_stop(price, qty, symbol=symbol, side=side, position_side=position_side, reduce_only=one_way)
            )
        case ("price", symbol, price):
            desk.price(price, symbol=symbol)
        case ("amend", symbol, qty, price):
            for resting in engine.open_orders(symbol)[:1]:
                engine.amend(AmendRequest(symbol=symbol, order_id=resting.id, qty=qty, price=price))
        case ("cancel", symbol):
            engine.cancel_all(symbol)
        case ("time", delta):
            desk.tick(delta)
        case ("funding",):
            engine.pay_funding(8 * 3_600_000)


def check(desk: Desk) -> None:
    engine = desk.engine
    fills = engine.fills()
    for order in engine.orders():
        mine = [fill for fill in fills if fill.order_id == order.id]
        assert order.qty == order.filled + order.open_qty + order.ended_qty
        assert order.filled == sum((fill.qty for fill in mine), ZERO)
        assert order.quote_filled == sum((fill.qty * fill.price for fill in mine), ZERO)
        assert min(order.filled, order.open_qty, order.ended_qty) >= 0
    for asset in engine.assets():
        rows = [row.amount for row in engine.income() if row.asset == asset]
        assert engine.balance(asset).wallet == sum(rows, ZERO)
    booked = {fill.id: fill.realized - fill.fee for fill in fills}
    for row in engine.income():
        if row.trade_id is not None:
            booked[row.trade_id] -= row.amount
    assert set(booked.values()) <= {ZERO}
    held = {(row.symbol, row.position_side): row.qty for row in engine.positions()}
    signed: dict[tuple[str, PositionSide], Decimal] = {}
    for fill in fills:
        key = (fill.symbol, fill.position_side)
        signed[key] = signed.get(key, ZERO) + fill.qty * fill.side.sign
    assert held == {key: qty for key, qty in signed.items() if qty}
    assert len({fill.id for fill in fills}) == len(fills)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(steps, max_size=25),
    st.sampled_from(MarginMode),
    st.sampled_from(PositionSide),
    st.integers(0, 3).map(lambda power: d(10) ** (power + 1)),
)
def test_quantities_wallets_and_positions_add_up(
    script: list[tuple[Any, ...]], margin: MarginMode, position_side: PositionSide, balance: Decimal
) -> None:
    hedge = position_side is not PositionSide.BOTH
    desk = Desk(mode=PositionMode.HEDGE if hedge else PositionMode.ONE_WAY, balance=balance)
    for symbol in (BTC, ETH):
        desk.engine.operator.set_margin_mode(symbol, margin)
        desk.price(1000, symbol=symbol)
    for step in script:
        try:
            carry_out(desk, step, position_side)
        except Refused:
            pass  # A refusal is one of the outcomes; that it changed nothing shows in the sums.
        check(desk)


@settings(max_examples=10, deadline=None)
@given(st.lists(steps, max_size=15), st.integers(0, 5))
def test_the_same_seed_and_commands_give_the_same_events(script: list[tuple[Any, ...]], seed: int) -> None:
    desks = [Desk(seed=seed), Desk(seed=seed)]
    for desk in desks:
        for step in script:
            try:
                carry_out(desk, step, PositionSide.BOTH)
            except Refused:
                pass  # Both are refused the same.
    assert desks[0].batches == desks[1].batches
    assert desks[0].engine.quote(BTC) == desks[1].engine.quote(BTC)
