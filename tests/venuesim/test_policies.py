"""Rules in which venues differ, each under the policy that asks for it."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.venuesim.builders import BTC, ETH, Desk, d, refusal
from tests.venuesim.plain_facade import VENUE
from tests.venuesim.rig import Rig
from tools.venuesim.exchange.events import MarginModeChanged
from tools.venuesim.exchange.model import (
    AmendRequest,
    ClientIdScope,
    HedgeReduceOnly,
    MarginMode,
    OrderStatus,
    Origin,
    Policy,
    PositionMode,
    PositionSide,
    Refusal,
)


def a_desk(mode: PositionMode = PositionMode.ONE_WAY, **policy: Any) -> Desk:
    desk = Desk(policy=Policy(**policy), mode=mode)
    desk.price(1000)
    desk.price(1000, symbol=ETH)
    return desk


def test_a_reduce_only_order_is_cut_down_to_the_position() -> None:
    desk = a_desk(truncate_reduce_only=True)
    desk.buy("0.1")
    order = desk.sell("0.5", reduce_only=True)
    assert (order.qty, order.status) == (d("0.1"), OrderStatus.FILLED)
    assert refusal(desk.sell, "0.5", reduce_only=True) is Refusal.REDUCE_ONLY_REJECTED


def test_a_resting_reduce_only_order_is_cut_down_to_what_others_leave() -> None:
    desk = a_desk(truncate_reduce_only=True)
    desk.buy("0.3")
    desk.sell("0.2", price=1020, reduce_only=True)
    assert desk.sell("0.2", price=1030, reduce_only=True).qty == d("0.1")
    assert refusal(desk.sell, "0.2", price=1030, reduce_only=True) is Refusal.REDUCE_ONLY_REJECTED
    assert desk.sell("0.9", reduce_only=True).filled == d("0.3")


def test_client_ids_used_once_for_ever_name_orders_of_either_kind() -> None:
    desk = a_desk(client_ids_unique_forever=True, client_id_scope=ClientIdScope.EVERYTHING)
    desk.buy("0.1", client_id="a")
    assert refusal(desk.buy, "0.1", client_id="a") is Refusal.DUPLICATE_CLIENT_ID
    assert refusal(desk.buy, "0.1", client_id="a", symbol=ETH) is Refusal.DUPLICATE_CLIENT_ID
    assert refusal(desk.stop, 900, client_id="a") is Refusal.DUPLICATE_CLIENT_ID
    desk.stop(900, client_id="b")
    assert refusal(desk.buy, "0.1", client_id="b") is Refusal.DUPLICATE_CLIENT_ID


def test_client_ids_unique_among_pending_orders_may_come_again_and_each_kind_has_its_own() -> None:
    desk = a_desk(client_id_scope=ClientIdScope.ACCOUNT)
    desk.buy("0.1", price=990, client_id="a")
    assert refusal(desk.buy, "0.1", client_id="a", symbol=ETH) is Refusal.DUPLICATE_CLIENT_ID
    desk.stop(900, client_id="a")
    desk.engine.cancel(BTC, client_id="a")
    desk.buy("0.1", client_id="a", symbol=ETH)


def test_a_child_under_its_conditional_orders_name_is_no_duplicate() -> None:
    desk = a_desk(client_ids_unique_forever=True, client_id_scope=ClientIdScope.EVERYTHING)
    desk.buy("0.1")
    desk.stop(950, client_id="s")
    desk.price(949)
    assert not desk.engine.positions()


def test_orders_without_a_client_id_stay_without_one_where_the_venue_gives_none() -> None:
    desk = a_desk(names_orders=False, liquidation_client_id="")
    assert desk.buy("0.1").client_id == ""
    assert desk.stop(900).client_id == ""
    assert refusal(desk.engine.order, BTC, client_id="") is Refusal.UNKNOWN_ORDER
    assert refusal(desk.engine.conditional, client_id="") is Refusal.UNKNOWN_CONDITIONAL
    desk.engine.liquidate(BTC)
    last = desk.engine.orders()[-1]
    assert (last.origin, last.client_id) == (Origin.LIQUIDATION, "")


def test_conditional_orders_are_limited_per_symbol() -> None:
    desk = a_desk(max_conditionals=None, max_conditionals_per_symbol=2, max_attached_per_symbol=1)
    desk.stop(900)
    desk.stop(910)
    assert refusal(desk.stop, 920) is Refusal.MAX_CONDITIONALS
    desk.stop(900, symbol=ETH)
    desk.stop(900, attached=True)
    assert refusal(desk.stop, 910, attached=True) is Refusal.MAX_ATTACHED


def test_several_stops_may_close_the_whole_position_where_the_venue_lets_them() -> None:
    desk = a_desk(one_close_position_per_direction=False)
    desk.stop(900, qty=None, close_position=True)
    desk.stop(910, qty=None, close_position=True)
    assert len(desk.engine.open_conditionals()) == 2


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        (HedgeReduceOnly.REFUSED, Refusal.REDUCE_ONLY_IN_HEDGE),
        (HedgeReduceOnly.APPLIED, Refusal.REDUCE_ONLY_REJECTED),
        (HedgeReduceOnly.IGNORED, None),
    ],
)
def test_reduce_only_in_hedge_mode(rule: HedgeReduceOnly, outcome: Refusal | None) -> None:
    desk = a_desk(PositionMode.HEDGE, hedge_reduce_only=rule)
    desk.buy("0.1", position_side=PositionSide.LONG)
    opens = {"position_side": PositionSide.LONG, "reduce_only": True}
    if outcome is not None:
        assert refusal(desk.buy, "0.1", **opens) is outcome
    else:
        assert desk.buy("0.1", **opens).filled == d("0.1")
    if rule is not HedgeReduceOnly.REFUSED:
        assert desk.sell("0.1", **opens).filled == d("0.1")
        desk.stop(900, position_side=PositionSide.LONG, reduce_only=True)


def test_a_clamped_price_is_brought_back_to_the_band() -> None:
    desk = a_desk()
    assert refusal(desk.buy, "0.1", price=1100) is Refusal.PRICE_BAND_HIGH
    assert desk.buy("0.1", price=1100, clamp_price=True).price == d(1050)
    assert desk.sell("0.1", price=900, clamp_price=True).price == d(950)
    resting = desk.buy("0.1", price=900)
    after = desk.engine.amend(AmendRequest(symbol=BTC, order_id=resting.id, price=d(1100), clamp_price=True))
    assert after.price == d(1050)


def test_the_margin_mode_of_the_first_order_is_taken_on_in_silence() -> None:
    desk = a_desk()
    desk.buy("0.1", price=990, margin_mode=MarginMode.ISOLATED)
    assert desk.engine.config(BTC).margin_mode is MarginMode.ISOLATED
    assert "MarginModeChanged" not in desk.names()
    assert refusal(desk.buy, "0.1", margin_mode=MarginMode.CROSS) is Refusal.MARGIN_MODE_MISMATCH
    desk.engine.cancel_all(BTC)
    assert desk.buy("0.1", margin_mode=MarginMode.CROSS).filled == d("0.1")
    assert refusal(desk.buy, "0.1", margin_mode=MarginMode.ISOLATED) is Refusal.MARGIN_MODE_MISMATCH


def test_the_margin_mode_of_all_symbols_changes_at_once() -> None:
    desk = a_desk()
    desk.engine.set_margin_mode(None, MarginMode.ISOLATED)
    assert desk.batches[-1] == tuple(MarginModeChanged(symbol=name, mode=MarginMode.ISOLATED) for name in (BTC, ETH))
    assert refusal(desk.engine.set_margin_mode, None, MarginMode.ISOLATED) is Refusal.MODE_UNCHANGED
    desk.buy("0.1", symbol=ETH)
    assert refusal(desk.engine.set_margin_mode, None, MarginMode.CROSS) is Refusal.MODE_HAS_POSITION


@pytest.mark.parametrize(("of_account", "other"), [(True, MarginMode.ISOLATED), (False, MarginMode.CROSS)])
def test_an_accounts_one_margin_mode_is_steered_for_every_symbol(of_account: bool, other: MarginMode) -> None:
    rig = Rig()
    rig.simulation.venue = replace(VENUE, policy=Policy(margin_mode_of_account=of_account))
    position = {"symbol": BTC, "qty": "0.1", "entry": "1000"}
    rig.post("account", margin_mode="isolated", position=position)
    assert rig.simulation.engine.config(BTC).margin_mode is MarginMode.ISOLATED
    assert rig.simulation.engine.config(ETH).margin_mode is other
