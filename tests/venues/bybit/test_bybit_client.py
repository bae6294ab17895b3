"""The client against the simulator: orders alone and together, what is held, what is free, how the account is set."""

import asyncio
from decimal import Decimal
from functools import partial

import pytest
from msgspec.structs import replace

from core.domain.ids import VenueOrderId
from core.domain.instrument import Instrument
from core.domain.order import OrderStatus, OrderType
from core.domain.reports import FillReport, OrderStatusReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Attach, Departure, MarginMode, NotFound, Rejected, Unknown
from core.errors import Refused, Unreachable
from core.venues.bybit.facts import TRAITS
from tests.venues.binance_rig import answer
from tests.venues.bybit.desk import (
    BTC,
    ETH,
    Desk,
    a_desk,
    a_stop,
    accepted,
    an_intent,
    another_desk,
    settled,
    with_stop,
)

S = OrderStatus
BATCH = "/v5/order/create-batch"


def closing(side: Side = Side.SELL, name: str = "close") -> Departure:
    return Departure(intent=replace(an_intent(side=side, name=name), reduce_only=True))


def test_the_engine_is_told_what_stops_are_like_here() -> None:
    told = (TRAITS.attach, TRAITS.whole_position_stops, TRAITS.amends_stops, TRAITS.entries_per_request)
    assert told == (Attach.FIRST_FILL, True, True, 10)


# --- orders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hedge", [False, True], ids=["one-way", "hedge"])
@pytest.mark.parametrize("side", list(Side))
async def test_a_position_is_opened_and_closed(hedge: bool, side: Side) -> None:
    async with a_desk(hedge=hedge) as desk:
        entry = an_intent(side=side)
        assert accepted(await desk.send(entry)) == (), "an answer without a status is no status"
        assert desk.order(entry).status is S.FILLED
        (fill,) = desk.fills(entry)
        (position,) = await desk.client.positions()
        assert position.quantity == entry.quantity * side.sign
        expected = PositionSide.BOTH if not hedge else PositionSide.LONG if side is Side.BUY else PositionSide.SHORT
        assert position.position_side is fill.position_side is expected
        close = closing(side.opposite)
        accepted(await desk.send(close))
        assert await desk.client.positions() == []
        (closed,) = desk.fills(close.intent)
        assert closed.position_side is expected
        assert closed.fee > 0


async def test_usdc_contracts_are_one_way_in_a_hedged_account() -> None:
    async with a_desk(hedge=True, symbols=14) as desk:
        usdc = next(i for i in desk.client.instruments.values() if i.quote == "USDC" and i.tradable)
        entry = an_intent(instrument=usdc.id, size=str(usdc.lot.minimum * 100))
        accepted(await desk.send(entry))
        assert desk.body("order/create")["positionIdx"] == 0
        (fill,) = desk.fills(entry)
        assert (fill.position_side, fill.fee_asset) == (PositionSide.BOTH, "USDC")
        assert [p.instrument for p in await desk.client.positions()] == [usdc.id]


async def test_an_order_that_is_cut_off_ends_with_what_it_traded() -> None:
    async with a_desk() as desk:
        entry = an_intent(OrderType.LIMIT_IOC, size="0.010", limit=desk.level("100.5"))
        await desk.venue.tell("fault", kind="partial_fill", fraction=0.4)
        departure = with_stop(entry, desk.level("90"))
        accepted(await desk.send(departure))
        order = desk.order(entry)
        assert (order.status, order.reported_filled) == (S.EXPIRED, Decimal("0.004"))
        assert sum(fill.quantity for fill in desk.fills(entry)) == Decimal("0.004")
        assert departure.stop is not None
        assert desk.statuses(departure.stop)[-1] is S.ACCEPTED, "what was bought is protected"


async def test_a_post_only_order_rests_and_is_cancelled() -> None:
    async with a_desk() as desk:
        probe = an_intent(OrderType.POST_ONLY, limit=desk.level("99.5"))
        accepted(await desk.send(probe))
        assert desk.statuses(probe) == [S.ACCEPTED]
        found = await desk.client.query_order(probe)
        assert isinstance(found, OrderStatusReport)
        assert found.status is S.ACCEPTED
        accepted(await desk.client.cancel(desk.order(probe)))
        await settled()
        assert desk.order(probe).status is S.CANCELED
        gone = await desk.client.query_order(probe)
        assert isinstance(gone, OrderStatusReport)
        assert gone.status is S.CANCELED


async def test_the_word_of_the_stream_may_come_before_the_answer() -> None:
    async with a_desk(latency_ms=50) as desk:
        await desk.venue.tell("fault", kind="event_before_reply", count=-1)
        departure = with_stop(an_intent(), desk.level("90"))
        accepted(await desk.send(departure))
        assert departure.stop is not None
        assert desk.order(departure.intent).status is S.FILLED
        assert desk.statuses(departure.stop) == [S.ACCEPTED]


async def test_a_close_without_a_position_finds_nothing_to_reduce() -> None:
    async with a_desk() as desk:
        outcome = await desk.send(closing())
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.about) == ("110017", About.NOTHING_TO_REDUCE)


async def test_an_entry_that_is_objected_to_when_it_leaves_is_never_sent() -> None:
    async with a_desk() as desk:
        departure = with_stop(an_intent(), desk.level("90"), objection=lambda: "paused")
        outcome = await desk.send(departure)
        assert outcome == Rejected(code="", detail="paused", about=About.WITHHELD)
        assert desk.tap.asked == []
        assert departure.stop is not None
        assert await desk.client.query_order(departure.stop) is NotFound.NOT_FOUND


# --- together -------------------------------------------------------------------------------------------------------


def several(desk: Desk, count: int, **objected: str) -> list[Departure]:
    """Named n0, n1, …; `objected`: by name what is said against them when they leave."""
    return [
        with_stop(
            an_intent(name=f"n{n}", instrument=BTC if n % 2 else ETH, size="0.05"),
            desk.level("90", "BTCUSDT" if n % 2 else "ETHUSDT"),
            objection=partial(objected.get, f"n{n}"),
        )
        for n in range(count)
    ]


async def test_entries_that_leave_together_are_judged_each_by_its_own_row() -> None:
    async with a_desk() as desk:
        departures = several(desk, 2)
        departures.insert(1, with_stop(an_intent(size="100000", name="too much"), desk.level("90")))
        outcomes = await desk.client.submit_together(departures)
        await settled()
        assert len(desk.tap.asked) == 1
        assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted]
        for departure in (departures[0], departures[2]):
            assert departure.stop is not None
            assert desk.statuses(departure.stop) == [S.ACCEPTED]


async def test_those_objected_to_are_left_out_and_the_others_keep_their_own_answers() -> None:
    async with a_desk() as desk:
        departures = several(desk, 4, n0="too late", n2="too late")
        outcomes = await desk.client.submit_together(departures)
        withheld = Rejected(code="", detail="too late", about=About.WITHHELD)
        assert [outcomes[0], outcomes[2]] == [withheld, withheld]
        assert [type(outcomes[n]) for n in (1, 3)] == [Accepted, Accepted]
        sent = [row["orderLinkId"] for row in desk.body("order/create-batch")["request"]]
        assert sent == [departures[n].intent.client_order_id for n in (1, 3)]


async def test_when_all_are_objected_to_nothing_is_sent() -> None:
    async with a_desk() as desk:
        departures = several(desk, 2, n0="no", n1="no")
        outcomes = await desk.client.submit_together(departures)
        assert {outcome.about for outcome in outcomes if isinstance(outcome, Rejected)} == {About.WITHHELD}
        assert desk.tap.asked == []


async def test_without_an_answer_all_of_them_are_unknown_and_keep_their_stops() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("fault", kind="drop_response", match={"path": BATCH})
        departures = several(desk, 2)
        outcomes = await desk.client.submit_together(departures)
        await settled()
        assert [type(outcome) for outcome in outcomes] == [Unknown, Unknown]
        assert [desk.statuses(d.stop)[-1] for d in departures if d.stop is not None] == [S.ACCEPTED, S.ACCEPTED]


async def test_an_answer_that_tells_of_fewer_orders_leaves_all_unknown() -> None:
    async with a_desk(streaming=False) as desk:
        body = {"retCode": 0, "retMsg": "OK", "result": {"list": []}, "retExtInfo": {"list": [{"code": 0}]}, "time": 1}
        desk.tap.put("POST", BATCH, answer(200, body))
        outcomes = await desk.client.submit_together(several(desk, 2))
        assert [type(outcome) for outcome in outcomes] == [Unknown, Unknown]


async def test_a_row_beyond_the_limit_was_not_reached_and_pauses_the_endpoint() -> None:
    async with a_desk(streaming=False) as desk:
        verdicts = [{"code": 0, "msg": "OK"}, {"code": 10006, "msg": "Too many visits!"}]
        rows = [{"orderId": "a", "orderLinkId": "x"}, {"orderId": "", "orderLinkId": ""}]
        body = {"retCode": 0, "retMsg": "OK", "result": {"list": rows}, "retExtInfo": {"list": verdicts}, "time": 1}
        desk.tap.put("POST", BATCH, answer(200, body))
        first, second = await desk.client.submit_together(several(desk, 2))
        assert isinstance(first, Accepted)
        assert isinstance(second, Rejected)
        assert second.about is About.UNREACHED
        before = desk.clock.monotonic()
        await desk.client.submit_together(several(desk, 4)[2:])
        assert desk.clock.monotonic() - before >= 1.0


async def test_no_more_entries_leave_in_a_second_than_the_venue_takes() -> None:
    async with a_desk() as desk:
        started = desk.clock.monotonic()
        first = await desk.client.submit_together([Departure(intent=an_intent(name=f"a{n}")) for n in range(9)])
        second = await desk.client.submit_together([Departure(intent=an_intent(name=f"b{n}")) for n in range(9)])
        assert {type(outcome) for outcome in (*first, *second)} == {Accepted}
        assert desk.clock.monotonic() - started >= 1.0


async def test_closes_and_stops_that_leave_together_go_each_by_itself() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent(size="0.05", name="btc")))
        accepted(await desk.send(an_intent(size="0.05", name="eth", instrument=ETH)))
        stop = Departure(intent=a_stop(desk.level("90"), name="btc"))
        close = Departure(
            intent=replace(an_intent(side=Side.SELL, name="x", size="0.05", instrument=ETH), reduce_only=True)
        )
        outcomes = await desk.client.submit_together([stop, close])
        await settled()
        assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted]
        assert desk.tap.of("POST", BATCH) == []
        assert desk.statuses(stop.intent) == [S.ACCEPTED]
        assert desk.order(close.intent).status is S.FILLED


# --- pictures -------------------------------------------------------------------------------------------------------


def worth(instrument: Instrument, level: str) -> Decimal:
    """A little more than twenty dollars of it."""
    step = instrument.lot.step
    return (Decimal(20) / Decimal(level) / step + 1).to_integral_value() * step


async def test_the_picture_has_every_page_of_every_list() -> None:
    async with a_desk(symbols=60) as desk:
        names = [i for i in desk.client.instruments.values() if i.quote == "USDT" and i.tradable][:30]
        for number, instrument in enumerate(names):
            for turn in range(2):
                level = desk.level("99.5", instrument.venue_symbol)
                rests = an_intent(
                    OrderType.POST_ONLY,
                    limit=level,
                    name=f"{number}/{turn}",
                    instrument=instrument.id,
                    size=str(
                        (Decimal(20) / Decimal(level) / instrument.lot.step + 1).to_integral_value()
                        * instrument.lot.step
                    ),
                )
                accepted(await desk.client.submit(Departure(intent=rests)))
        desk.tap.asked.clear()
        status = await desk.client.mass_status()
        assert len({report.client_order_id for report in status.orders}) == 60
        asked = [a for a in desk.asked("order/realtime") if "settleCoin=USDT" in a.query]
        assert len(asked) == 2, "fifty a page"
        assert {str(balance.asset) for balance in status.balances} >= {"USDT", "USDC"}


async def test_fills_are_asked_for_week_by_week_and_funding_is_none_of_them() -> None:
    async with a_desk() as desk:
        entry = an_intent(size="0.010")
        accepted(await desk.send(entry))
        await asyncio.sleep(8 * 3600)
        accepted(await desk.send(closing()))
        now = desk.client._venue_clock.now_ms()
        desk.tap.asked.clear()
        fills = await desk.client.fills(BTC, now - 15 * 24 * 3600 * 1000)
        assert [fill.client_order_id for fill in fills] == [entry.client_order_id, closing().intent.client_order_id]
        assert len(desk.asked("execution/list")) == 3
        assert [fill.trade_id for fill in fills] == [fill.trade_id for fill in desk.of(FillReport)]


async def test_an_order_the_lists_do_not_have_yet_is_told_by_its_trades() -> None:
    async with a_desk() as desk:
        entry = an_intent()
        accepted(await desk.send(entry))
        nothing = {"retCode": 0, "retMsg": "OK", "result": {"list": [], "nextPageCursor": ""}, "time": 1}
        for path in ("order/realtime", "order/history"):
            desk.tap.put("GET", f"/v5/{path}", answer(200, nothing))
        found = await desk.client.query_order(entry)
        assert isinstance(found, OrderStatusReport)
        assert (found.status, found.filled) == (S.FILLED, entry.quantity)


async def test_an_order_nobody_sent_is_not_found() -> None:
    async with a_desk() as desk:
        assert await desk.client.query_order(an_intent(name="never")) is NotFound.NOT_FOUND


async def test_somebody_elses_order_is_told_without_a_name() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent()))
        (fill,) = desk.of(FillReport)
        assert await desk.client.client_id_of(BTC, fill.venue_order_id) == fill.client_order_id
        assert await desk.client.client_id_of(BTC, VenueOrderId("none")) is NotFound.NOT_FOUND


# --- account --------------------------------------------------------------------------------------------------------


async def test_a_coin_may_use_what_is_its_own() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("account", asset="USDT", wallet="0")
        free = {str(b.asset): b.available for b in await desk.client.balances()}
        assert free["USDT"] == 0
        assert free["USDC"] == Decimal(10_000)
        await desk.venue.tell("account", asset="USDT", wallet="1000")
        accepted(await desk.send(an_intent(size="0.010")))
        (usdt,) = [b for b in await desk.client.balances() if b.asset == "USDT"]
        assert usdt.available is not None
        assert usdt.available < usdt.wallet


async def test_in_isolated_margin_the_totals_are_empty_and_the_coins_tell() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("account", asset="USDT", margin_mode="isolated")
        accepted(await desk.send(an_intent(size="0.010")))
        (usdt,) = [b for b in await desk.client.balances() if b.asset == "USDT"]
        assert usdt.available is not None
        assert Decimal(0) < usdt.available < usdt.wallet
        settings = await desk.client.account_settings()
        assert settings.margin[BTC.symbol] is MarginMode.ISOLATED


@pytest.mark.parametrize("hedge", [False, True])
async def test_the_account_is_read_in_three_requests(hedge: bool) -> None:
    async with a_desk(hedge=hedge) as desk:
        settings = await desk.client.account_settings()
        assert len(desk.tap.asked) == 3
        assert (settings.hedge_mode, settings.can_trade, settings.multi_assets) == (hedge, True, False)
        assert set(settings.leverage) == set(desk.client.instruments)
        assert settings.leverage[BTC.symbol] == 20
        assert settings.margin[BTC.symbol] is MarginMode.CROSS


async def test_two_sides_of_different_leverage_are_no_known_leverage() -> None:
    async with a_desk(hedge=True) as desk:
        rows = [{"symbol": "BTCUSDT", "leverage": leverage, "positionIdx": n} for n, leverage in ((1, "5"), (2, "7"))]
        rows.append({"symbol": "ETHUSDT", "leverage": "12.5", "positionIdx": 1})
        body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows}, "time": 1}
        desk.tap.put("GET", "/v5/position/symbol-info", answer(200, body))
        assert (await desk.client.account_settings()).leverage == {ETH.symbol: 13}


async def test_where_leverages_are_not_told_at_once_they_are_unknown_and_the_mode_is_read_elsewhere() -> None:
    async with a_desk(hedge=True) as desk:
        refused = {"retCode": 10017, "retMsg": "Route not found.", "result": {}, "time": 1}
        desk.tap.put("GET", "/v5/position/symbol-info", answer(200, refused))
        settings = await desk.client.account_settings()
        assert (settings.hedge_mode, settings.leverage) == (True, {})


async def test_a_leverage_that_is_as_wanted_counts_as_set() -> None:
    async with a_desk() as desk:
        await desk.client.set_leverage(BTC.symbol, 20)
        await desk.client.set_leverage(BTC.symbol, 5)
        assert (await desk.client.account_settings()).leverage[BTC.symbol] == 5
        with pytest.raises(Refused):
            await desk.client.set_leverage(BTC.symbol, 1000)


async def test_the_margin_mode_is_never_changed() -> None:
    async with a_desk() as desk:
        with pytest.raises(Refused, match="whole account"):
            await desk.client.set_margin_mode(BTC.symbol, MarginMode.ISOLATED)
        assert desk.tap.asked == []


async def test_what_the_key_may_do_is_told_or_cannot_be_asked() -> None:
    async with a_desk() as desk:
        rights = await desk.client.key_rights()
        assert rights is not None
        assert rights.trade
        read_only = {
            "readOnly": 1,
            "permissions": {"ContractTrade": ["Order"], "Wallet": ["Withdraw"]},
            "ips": ["1.2.3.4"],
        }
        desk.tap.put("GET", "/v5/user/query-api", answer(200, {"retCode": 0, "result": read_only, "time": 1}))
        told = await desk.client.key_rights()
        assert told is not None
        assert (told.trade, told.withdraw, told.bound_to_addresses) == (False, True, True)
        orders_only = {"readOnly": 0, "permissions": {"ContractTrade": ["Order"]}, "ips": ["*"]}
        desk.tap.put("GET", "/v5/user/query-api", answer(200, {"retCode": 0, "result": orders_only, "time": 1}))
        told = await desk.client.key_rights()
        assert told is not None
        assert not told.trade, "it could not set a stop"
        desk.tap.put("GET", "/v5/user/query-api", answer(200, {"retCode": 10017, "retMsg": "Route not found."}))
        assert await desk.client.key_rights() is None


async def test_a_mode_changed_behind_our_back_refuses_entries_and_lets_protection_go_out() -> None:
    async with a_desk() as desk:
        await desk.venue.tell("account", position_mode="hedge")
        outcome = await desk.send(an_intent())
        assert isinstance(outcome, Rejected)
        async with another_desk(desk.venue, streaming=False) as other:
            accepted(await other.client.submit(Departure(intent=an_intent(name="by hand"))))
        await settled()
        stop = a_stop(desk.level("90"), name="by hand")
        accepted(await desk.send(stop))
        assert desk.statuses(stop) == [S.ACCEPTED]
        close = closing()
        accepted(await desk.send(close))
        assert desk.order(close.intent).status is S.FILLED


async def test_an_outage_of_one_list_fails_the_whole_picture() -> None:
    async with a_desk() as desk:
        desk.client._reads._attempts = 1
        await desk.venue.tell("fault", kind="http_error", status=502, match={"path": "/v5/position/list"}, count=2)
        with pytest.raises(Unreachable):
            await desk.client.mass_status()
        await asyncio.sleep(0)
        assert (await desk.client.mass_status()).positions == ()


async def test_no_start_waits_for_forty_pages_of_risk_limits() -> None:
    async with a_desk(opened=False, streaming=False, symbols=560, latency_ms=250) as desk:
        started = desk.clock.now_ms()
        await desk.client.open()
        assert desk.clock.now_ms() - started < 4_000
        listed = desk.client.instruments.values()
        assert 0 < sum(bool(instrument.brackets) for instrument in listed) < len(listed)
        await desk.client.load_instruments()
        assert all(instrument.brackets for instrument in desk.client.instruments.values())
