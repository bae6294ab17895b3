"""The OKX client against the simulated venue, in virtual time: what each command does there, and what it says of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import Leg, Symbol
from core.domain.order import Order, OrderStatus, OrderType, apply_status
from core.domain.reports import OrderStatusReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Departure, MarginMode, NotFound, Outcome, Rejected, Unknown
from core.errors import Ambiguous, StartRefused, Unreachable, VenueError
from tests.builders import price, quantity
from tests.venues.binance_rig import answer
from tests.venues.okx.intents import BTC, ETH, an_order_intent, with_stop
from tests.venues.okx.rig import API, Rig, a_rig, sent

S = OrderStatus
ORDER, BATCH, ALGO = API + "trade/order", API + "trade/batch-orders", API + "trade/order-algo"
USDT_BTC = Symbol("BTC/USDT:USDT")


def report_of(outcome: Outcome) -> OrderStatusReport:
    assert isinstance(outcome, Accepted), outcome
    (report,) = outcome.reports
    assert isinstance(report, OrderStatusReport)
    return report


def rejected(outcome: Outcome) -> Rejected:
    assert isinstance(outcome, Rejected), outcome
    return outcome


async def an_open_position(rig: Rig, side: Side = Side.BUY, size: str = "0.002", name: str = "one") -> None:
    report_of(await rig.client.submit(Departure(intent=an_order_intent(side=side, size=size, name=name))))


def a_stop(rig: Rig, percent: int = 90, *, side: Side = Side.SELL, size: str = "0.002", name: str = "one") -> Any:
    return an_order_intent(OrderType.STOP_MARKET, side=side, size=size, trigger=rig.level(percent), name=name)


async def held(rig: Rig) -> dict[PositionSide, Decimal]:
    return {row.position_side: row.quantity for row in await rig.client.positions()}


# --- entries and their stops ------------------------------------------------------------------------------------------


async def test_an_entry_filled_in_one_match_is_protected_in_the_same_moment() -> None:
    async with a_rig() as rig:
        departure = with_stop(an_order_intent(), rig.level(90))
        assert report_of(await rig.client.submit(departure)).status is S.ACCEPTED
        assert departure.stop is not None
        entry, stop = [await rig.client.query_order(intent) for intent in (departure.intent, departure.stop)]
        assert isinstance(entry, OrderStatusReport)
        assert isinstance(stop, OrderStatusReport)
        assert (entry.status, entry.filled) == (S.FILLED, Decimal("0.002"))
        assert (stop.status, stop.conditional, stop.reduce_only) == (S.ACCEPTED, True, True)
        assert stop.trigger_price == departure.stop.trigger_price
        (life,) = await rig.venue.ask("protection")
        assert (life["max_unprotected_ms"], life["naked_now_ms"]) == (0, 0)


async def test_a_partly_filled_entry_has_no_stop_and_takes_one_of_its_own() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="partial_fill", fraction=0.5)
        departure = with_stop(an_order_intent(size="0.004"), rig.level(90))
        report_of(await rig.client.submit(departure))
        entry = await rig.client.query_order(departure.intent)
        assert isinstance(entry, OrderStatusReport)
        assert entry.filled == Decimal("0.002")
        assert departure.stop is not None
        assert await rig.client.query_order(departure.stop) is NotFound.NOT_FOUND
        report_of(await rig.client.submit(Departure(intent=a_stop(rig, name="own"))))
        (life,) = await rig.venue.ask("protection")
        assert life["naked_now_ms"] == 0


async def test_a_resting_stop_is_moved_in_place() -> None:
    async with a_rig() as rig:
        departure = with_stop(an_order_intent(), rig.level(90))
        report_of(await rig.client.submit(departure))
        assert departure.stop is not None
        order = Order(intent=departure.stop, status=S.ACCEPTED)
        level = price(rig.level(92))
        moved = report_of(await rig.client.amend_stop(order, trigger_price=level, quantity=quantity("0.001")))
        told = await rig.client.query_order(departure.stop)
        assert isinstance(told, OrderStatusReport)
        for report in (moved, told):
            assert (report.trigger_price, report.quantity, report.status) == (level, Decimal("0.001"), S.ACCEPTED)
            assert report.conditional
        through = await rig.client.amend_stop(order, trigger_price=price(rig.level(110)), quantity=order.quantity)
        assert rejected(through).about is About.WOULD_TRIGGER


async def test_a_move_the_venue_took_and_then_could_not_make_leaves_the_stop_where_it_is() -> None:
    """The answer says only that it was taken; a failed one is told by the stream, with the row as it was (§5.5)."""
    async with a_rig() as rig:
        departure = with_stop(an_order_intent(), rig.level(90))
        assert departure.stop is not None
        await rig.during(rig.client.submit(departure))
        (told,) = [
            r
            for r in rig.reports
            if isinstance(r, OrderStatusReport) and r.client_order_id == departure.stop.client_order_id
        ]
        order = apply_status(Order(intent=departure.stop, status=S.IN_FLIGHT), told)
        assert isinstance(order, Order)
        moved = report_of(
            await rig.client.amend_stop(order, trigger_price=price(rig.level(92)), quantity=order.quantity)
        )
        order = apply_status(order, moved)
        assert isinstance(order, Order)
        assert order.trigger_price == price(rig.level(92))
        failed = apply_status(order, told)
        assert isinstance(failed, Order)
        assert failed.trigger_price == price(rig.level(90))


async def test_a_stop_goes_with_its_position() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        stop = a_stop(rig)
        report_of(await rig.client.submit(Departure(intent=stop)))
        close = an_order_intent(side=Side.SELL, leg=Leg.FLATTEN)
        report_of(await rig.client.submit(Departure(intent=close)))
        gone = await rig.client.query_order(stop)
        assert isinstance(gone, OrderStatusReport)
        assert gone.status is S.CANCELED
        assert (await rig.client.mass_status()).orders == ()


async def test_a_stop_that_fired_is_found_as_what_it_became() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        stop = a_stop(rig)
        report_of(await rig.client.submit(Departure(intent=stop)))
        await rig.venue.tell("price", symbol="BTC-USDT-SWAP", price=rig.level(89))
        found = await rig.client.query_order(stop)
        assert isinstance(found, OrderStatusReport)
        assert (found.status, found.filled, found.conditional) == (S.FILLED, Decimal("0.002"), False)
        assert found.client_order_id == stop.client_order_id
        assert await held(rig) == {}
        (fill, *_) = reversed(await rig.client.fills(BTC, rig.clock.now_ms() - 1000))
        assert fill.venue_order_id == found.venue_order_id


async def test_long_and_short_stand_side_by_side_each_with_its_stop() -> None:
    async with a_rig(hedge=True) as rig:
        assert (await rig.client.account_settings()).hedge_mode
        await an_open_position(rig, Side.BUY, "0.002", "long")
        await an_open_position(rig, Side.SELL, "0.003", "short")
        assert await held(rig) == {PositionSide.LONG: Decimal("0.002"), PositionSide.SHORT: Decimal("-0.003")}
        for stop in (a_stop(rig, 90, name="a"), a_stop(rig, 110, side=Side.BUY, size="0.003", name="b")):
            assert report_of(await rig.client.submit(Departure(intent=stop))).reduce_only
        listed = (await rig.client.mass_status()).orders
        assert {(row.side, row.reduce_only) for row in listed} == {(Side.SELL, True), (Side.BUY, True)}
        report_of(await rig.client.submit(Departure(intent=an_order_intent(side=Side.SELL, leg=Leg.CLOSE))))
        assert await held(rig) == {PositionSide.SHORT: Decimal("-0.003")}


async def test_protection_goes_out_in_the_mode_the_account_was_switched_to() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("account", asset="USDT", position_mode="hedge")
        assert rejected(await rig.client.submit(Departure(intent=an_order_intent()))).code == "51000"
        await rig.venue.tell(
            "account", asset="USDT", position={"symbol": "BTC-USDT-SWAP", "qty": "0.002", "entry": rig.level(100)}
        )
        assert report_of(await rig.client.submit(Departure(intent=a_stop(rig)))).status is S.ACCEPTED
        assert rejected(await rig.client.submit(Departure(intent=an_order_intent(name="two")))).code == "51000"


# --- what is lost on the way ------------------------------------------------------------------------------------------


async def test_an_entry_whose_answer_is_lost_is_asked_for_and_never_sent_again() -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="drop_response", match={"path": ORDER, "method": "POST"})
        departure = with_stop(an_order_intent(), rig.level(90))
        assert isinstance(await rig.client.submit(departure), Unknown)
        found = await rig.client.query_order(departure.intent)
        assert isinstance(found, OrderStatusReport)
        assert found.status is S.FILLED
        assert len(rig.tap.of("POST", ORDER)) == 1
        assert await held(rig) == {PositionSide.BOTH: Decimal("0.002")}


@pytest.mark.parametrize("fault", [{"kind": "drop_request"}, {"kind": "http_error", "status": 500, "body": "<html>"}])
async def test_a_request_that_never_arrived_is_unknown_until_the_venue_denies_it(fault: dict[str, Any]) -> None:
    async with a_rig() as rig:
        await rig.venue.tell("fault", match={"path": ORDER, "method": "POST"}, **fault)
        intent = an_order_intent()
        assert isinstance(await rig.client.submit(Departure(intent=intent)), Unknown)
        assert await rig.client.query_order(intent) is NotFound.NOT_FOUND
        assert len(rig.tap.of("POST", ORDER)) == 1


async def test_an_order_that_arrives_late_is_certainly_not_executed() -> None:
    """Its id is free again once it ended, so a second one would open a second position: the expiry rules that out."""
    async with a_rig() as rig:
        await rig.venue.tell("fault", kind="latency", delay_ms=24_000, match={"path": ORDER, "method": "POST"})
        intent = an_order_intent()
        assert isinstance(await rig.client.submit(Departure(intent=intent)), Unknown)
        (asked,) = rig.tap.of("POST", ORDER)
        assert int(asked.headers["expTime"]) == rig.clock.now_ms() - 10_000 + 5_000
        await asyncio.sleep(20)
        assert await rig.client.query_order(intent) is NotFound.NOT_FOUND
        assert (await rig.state())["fills"] == []


async def test_what_the_look_up_by_id_has_forgotten_is_found_in_the_history() -> None:
    async with a_rig() as rig:
        intent = an_order_intent()
        report_of(await rig.client.submit(Departure(intent=intent)))
        absent = {"code": "51603", "msg": "Order does not exist.", "data": []}
        rig.tap.put("GET", ORDER, answer(200, absent))
        found = await rig.client.query_order(intent)
        assert isinstance(found, OrderStatusReport)
        assert (found.status, found.client_order_id) == (S.FILLED, intent.client_order_id)


async def test_an_id_that_is_at_work_opens_no_second_order() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        stop = a_stop(rig)
        report_of(await rig.client.submit(Departure(intent=stop)))
        assert isinstance(await rig.client.submit(Departure(intent=stop)), Unknown), "look it up: the first arrived"
        assert len((await rig.client.mass_status()).orders) == 1


# --- several at once --------------------------------------------------------------------------------------------------


async def test_entries_leave_in_one_request_and_each_is_judged_by_its_own_row() -> None:
    async with a_rig() as rig:
        good, other = an_order_intent(name="good"), an_order_intent(name="other", instrument=ETH, size="0.01")
        large = an_order_intent(name="large", size="5000000")
        outcomes = await rig.client.submit_together(
            [with_stop(good, rig.level(90)), Departure(intent=large), Departure(intent=other)]
        )
        assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted]
        assert rejected(outcomes[1]).code == "51101"
        (asked,) = rig.tap.of("POST", BATCH)
        assert [row["instId"] for row in sent(asked)] == ["BTC-USDT-SWAP", "BTC-USDT-SWAP", "ETH-USDT-SWAP"]
        assert not rig.tap.of("POST", ORDER)
        assert len((await rig.client.mass_status()).orders) == 1, "the stop came along"


async def test_where_all_rows_fail_each_has_its_own_reason() -> None:
    async with a_rig() as rig:
        large = [Departure(intent=an_order_intent(name=f"n{n}", size="5000000")) for n in range(2)]
        outcomes = await rig.client.submit_together(large)
        assert [rejected(outcome).code for outcome in outcomes] == ["51101", "51101"]


async def test_what_is_objected_to_is_left_out_of_the_request() -> None:
    async with a_rig() as rig:
        some = [Departure(intent=an_order_intent(name="go")), Departure(intent=an_order_intent(name="too"))]
        late = Departure(intent=an_order_intent(name="late"), objection=lambda: "its moment has passed")
        outcomes = await rig.client.submit_together([some[0], late, some[1]])
        assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted]
        assert (rejected(outcomes[1]).about, rejected(outcomes[1]).detail) == (About.WITHHELD, "its moment has passed")
        (asked,) = rig.tap.of("POST", BATCH)
        assert len(sent(asked)) == 2
        none = await rig.client.submit_together([late, replace(late, intent=an_order_intent(name="late too"))])
        assert [rejected(outcome).about for outcome in none] == [About.WITHHELD] * 2
        assert len(rig.tap.of("POST", BATCH)) == 1


async def test_without_an_answer_every_order_of_a_request_is_unknown_and_a_missing_row_too() -> None:
    async with a_rig() as rig:
        pair = [Departure(intent=an_order_intent(name="a")), Departure(intent=an_order_intent(name="b"))]
        rig.tap.put("POST", BATCH, Ambiguous("okx", "the connection ended"))
        assert [type(outcome) for outcome in await rig.client.submit_together(pair)] == [Unknown, Unknown]
        row = {"clOrdId": str(pair[0].intent.client_order_id), "ordId": "1", "sCode": "0", "sMsg": "", "tag": ""}
        other = row | {"clOrdId": "somebodyelses"}
        rig.tap.put("POST", BATCH, answer(200, {"code": "0", "msg": "", "data": [row, other]}))
        assert [type(outcome) for outcome in await rig.client.submit_together(pair)] == [Accepted, Unknown]


async def test_closes_and_stops_among_others_go_by_themselves() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        rig.tap.asked.clear()
        together = [
            Departure(intent=an_order_intent(name="x")),
            Departure(intent=a_stop(rig, name="s")),
            Departure(intent=an_order_intent(name="y")),
        ]
        outcomes = await rig.client.submit_together(together)
        assert [report_of(outcome).client_order_id for outcome in outcomes] == [
            d.intent.client_order_id for d in together
        ]
        assert [len(rig.tap.of("POST", path)) for path in (BATCH, ALGO, ORDER)] == [1, 1, 0]


# --- the account ------------------------------------------------------------------------------------------------------


async def test_a_refused_key_says_which_settings_to_look_at() -> None:
    async with a_rig(opened=False, secret="other") as rig, a_rig(opened=False, passphrase="other") as another:
        for client in (rig.client, another.client):
            with pytest.raises(StartRefused, match="OKX_PASSPHRASE"):
                await client.open()


async def test_a_spot_account_says_what_to_change() -> None:
    async with a_rig(opened=False) as rig:
        row = {"acctLv": "1", "posMode": "net_mode", "perm": "read_only,trade", "ip": ""}
        rig.tap.put("GET", API + "account/config", answer(200, {"code": "0", "msg": "", "data": [row]}))
        with pytest.raises(StartRefused, match="futures mode"):
            await rig.client.open()


@pytest.mark.parametrize("level", ["2", "3", "4"])
async def test_other_account_levels_are_traded_with(level: str) -> None:
    async with a_rig(opened=False) as rig:
        row = {"acctLv": level, "posMode": "net_mode", "perm": "read_only,trade,withdraw", "ip": "10.0.0.1"}
        document = answer(200, {"code": "0", "msg": "", "data": [row]})
        rig.tap.put("GET", API + "account/config", document, document, document)
        await rig.client.open()
        settings, rights = await rig.client.account_settings(), await rig.client.key_rights()
        assert (settings.can_trade, settings.hedge_mode, settings.multi_assets) == (True, False, False)
        assert rights is not None
        assert (rights.trade, rights.withdraw, rights.bound_to_addresses) == (True, True, True)
        await an_open_position(rig)
        report_of(await rig.client.submit(Departure(intent=a_stop(rig))))
        (asked,) = rig.tap.of("POST", ALGO)
        assert ("cxlOnClosePos" in sent(asked)) is (level != "4")


async def test_leverages_are_read_in_bulk_and_one_odd_list_costs_only_itself() -> None:
    async with a_rig(symbols=40) as rig:
        refusal = answer(200, {"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []})
        rig.tap.put("GET", API + "account/leverage-info", refusal)
        leverages = (await rig.client.account_settings()).leverage
        tradable = sum(instrument.tradable for instrument in rig.client.instruments.values())
        asked = rig.tap.of("GET", API + "account/leverage-info")
        assert len(asked) == -(-tradable // 20)
        assert len(leverages) == tradable - 20
        assert set(leverages.values()) == {20}


async def test_a_margin_mode_is_said_with_each_order_and_brings_the_leverage_along() -> None:
    async with a_rig() as rig:
        await rig.client.account_settings()
        await rig.client.set_leverage(USDT_BTC, 7)
        await rig.client.set_margin_mode(USDT_BTC, MarginMode.ISOLATED)
        set_to = [sent(asked) for asked in rig.tap.of("POST", API + "account/set-leverage")]
        swap = {"instId": "BTC-USDT-SWAP", "lever": "7"}
        assert set_to == [swap | {"mgnMode": "cross"}, swap | {"mgnMode": "isolated"}]
        settings = await rig.client.account_settings()
        assert (settings.leverage[USDT_BTC], settings.margin[USDT_BTC]) == (7, MarginMode.ISOLATED)
        in_mode = [sent(asked) for asked in rig.tap.of("GET", API + "account/leverage-info")][-3:]
        assert {"instId": "BTC-USDT-SWAP", "mgnMode": "isolated"} in in_mode
        await an_open_position(rig)
        (row,) = await rig.client.positions()
        assert row.isolated
        await rig.client.set_margin_mode(USDT_BTC, MarginMode.CROSS)
        close = an_order_intent(side=Side.SELL, leg=Leg.FLATTEN, name="close")
        report_of(await rig.client.submit(Departure(intent=close)))
        assert [sent(asked)["tdMode"] for asked in rig.tap.of("POST", ORDER)] == ["isolated", "isolated"]
        assert await held(rig) == {}


async def test_a_mass_status_is_whole_or_none() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        report_of(await rig.client.submit(Departure(intent=a_stop(rig))))
        whole = await rig.client.mass_status()
        assert [(row.instrument, row.quantity) for row in whole.positions] == [(BTC, Decimal("0.002"))]
        assert {str(row.asset) for row in whole.balances} >= {"USDT", "USDC"}
        assert len(whole.orders) == 1
        for path in ("trade/orders-algo-pending", "trade/orders-pending", "account/positions", "account/balance"):
            rig.tap.put("GET", API + path, *[Unreachable("okx", "no")] * 9)
            with pytest.raises(VenueError):
                await rig.client.mass_status()


async def test_trades_are_complete_over_pages_and_oldest_first() -> None:
    async with a_rig() as rig:
        since = rig.clock.now_ms()
        for number in range(105):
            side = Side.BUY if number % 2 == 0 else Side.SELL
            await an_open_position(rig, side, "0.001", f"number {number}")
        fills = await rig.client.fills(BTC, since)
        assert len(fills) == len({fill.trade_id for fill in fills}) == 105
        assert all(fill.fee > 0 for fill in fills)
        assert [fill.side for fill in fills[:2]] == [Side.BUY, Side.SELL]
        assert len(rig.tap.of("GET", API + "trade/fills")) == 2
        assert await rig.client.fills(BTC, rig.clock.now_ms() + 1000) == []


async def test_cancelling_twice_is_a_definite_no_the_second_time() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        stop = a_stop(rig)
        report_of(await rig.client.submit(Departure(intent=stop)))
        order = Order(intent=stop, status=S.ACCEPTED)
        assert report_of(await rig.client.cancel(order)).status is S.CANCELED
        assert rejected(await rig.client.cancel(order)).code == "51400"
        probe = an_order_intent(OrderType.POST_ONLY, limit=rig.level(97), leg=Leg.PROBE)
        report_of(await rig.client.submit(Departure(intent=probe)))
        told = report_of(await rig.client.cancel(Order(intent=probe, status=S.ACCEPTED)))
        assert (told.status, told.conditional) == (S.CANCELED, False)
        again = await rig.client.query_order(probe)
        assert isinstance(again, OrderStatusReport)
        assert again.status is S.CANCELED


async def test_tiers_of_what_is_traded_come_with_the_next_rules() -> None:
    async with a_rig() as rig:
        assert rig.client.instruments[USDT_BTC].brackets == ()
        await an_open_position(rig)
        await rig.client.load_instruments()
        instruments = rig.client.instruments
        brackets = instruments[USDT_BTC].brackets
        assert brackets[0].max_leverage == instruments[USDT_BTC].max_leverage
        assert [b.most_notional for b in brackets] == sorted(b.most_notional for b in brackets)
        assert instruments[Symbol("ETH/USDT:USDT")].brackets == ()
