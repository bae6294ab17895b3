"""What must hold whatever a client does, the market does, and in whatever order."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.venuesim.builders import BTC, ETH, Desk, a_stop, an_order, d
from tools.venuesim.exchange.model import (
    ZERO,
    AmendConditional,
    AmendRequest,
    Attachment,
    AttachRule,
    ClientIdScope,
    ConditionalType,
    HedgeReduceOnly,
    MarginMode,
    Policy,
    PositionMode,
    PositionSide,
    PositionStop,
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
    st.tuples(st.just("entry"), symbols, sides, quantities, st.booleans()),
    st.tuples(st.just("position stop"), symbols, prices),
    st.tuples(st.just("move stop"), symbols, prices),
)
POLICIES = (
    Policy(),
    Policy(
        attach=AttachRule.FIRST_FILL,
        truncate_reduce_only=True,
        hedge_reduce_only=HedgeReduceOnly.APPLIED,
        client_ids_unique_forever=True,
        client_id_scope=ClientIdScope.EVERYTHING,
        names_orders=False,
        refuse_unfillable=False,
        one_close_position_per_direction=False,
    ),
    Policy(
        attach=AttachRule.COMPLETE_FILL,
        truncate_reduce_only=True,
        hedge_reduce_only=HedgeReduceOnly.IGNORED,
        client_id_scope=ClientIdScope.ACCOUNT,
        names_orders=False,
        refuse_unfillable=False,
        child_keeps_client_id=False,
        amended_down_ends_filled=True,
    ),
)
"""The rules of each of the three venues."""


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
        case _:
            carry_out_stop(desk, step, position_side)


def carry_out_stop(desk: Desk, step: tuple[Any, ...], position_side: PositionSide) -> None:
    """Stops that come with entries, belong to positions, or change."""
    engine = desk.engine
    match step:
        case ("entry", symbol, side, qty, whole):
            price, away = engine.quote(symbol).last.quantize(Decimal("0.1")), 50 * side.sign
            legs = (
                Attachment(
                    kind=ConditionalType.STOP, trigger_price=price - away, whole_position=whole,
                    pair=None if whole else "a",
                ),
                Attachment(
                    kind=ConditionalType.TAKE_PROFIT, trigger_price=price + away, whole_position=whole,
                    pair=None if whole else "a",
                ),
            )  # fmt: skip
            engine.place(an_order(side, qty, symbol=symbol, position_side=position_side, attached=legs))
        case ("position stop", symbol, price):
            engine.set_position_stop(
                PositionStop(symbol=symbol, position_side=position_side, kind=ConditionalType.STOP, trigger_price=price)
            )
        case ("move stop", symbol, price):
            for row in engine.open_conditionals(symbol)[:1]:
                engine.amend_conditional(AmendConditional(symbol=symbol, conditional_id=row.id, trigger_price=price))


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
    whole = set()
    for stop in engine.open_conditionals():
        if stop.attached:
            assert engine.position(stop.symbol, stop.position_side).qty * stop.side.sign < 0
        if stop.whole_position:
            kind = (stop.symbol, stop.position_side, stop.type)
            assert kind not in whole
            whole.add(kind)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(steps, max_size=25),
    st.sampled_from(MarginMode),
    st.sampled_from(PositionSide),
    st.integers(0, 3).map(lambda power: d(10) ** (power + 1)),
    st.sampled_from(POLICIES),
)
def test_quantities_wallets_and_positions_add_up(
    script: list[tuple[Any, ...]], margin: MarginMode, position_side: PositionSide, balance: Decimal, policy: Policy
) -> None:
    hedge = position_side is not PositionSide.BOTH
    mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
    desk = Desk(mode=mode, balance=balance, policy=policy)
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
    desks = [Desk(seed=seed, policy=POLICIES[1]), Desk(seed=seed, policy=POLICIES[1])]
    for desk in desks:
        for step in script:
            try:
                carry_out(desk, step, PositionSide.BOTH)
            except Refused:
                pass  # Both are refused the same.
    assert desks[0].batches == desks[1].batches
    assert desks[0].engine.quote(BTC) == desks[1].engine.quote(BTC)
