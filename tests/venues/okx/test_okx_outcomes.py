"""What the venue's answers make of orders: refused, unknown, repeated, or held back by a limit (ORD-02, NET-02)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.domain.order import OrderStatus, OrderType
from core.domain.reports import OrderStatusReport
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Departure, Outcome, Rejected, Unknown
from tests.venues.binance_rig import answer
from tests.venues.okx.intents import BTC, ETH, an_order_intent
from tests.venues.okx.rig import API, Rig, a_rig

S = OrderStatus
ORDER, ALGO = API + "trade/order", API + "trade/order-algo"


def report_of(outcome: Outcome) -> OrderStatusReport:
    assert isinstance(outcome, Accepted), outcome
    (report,) = outcome.reports
    assert isinstance(report, OrderStatusReport)
    return report


def rejected(outcome: Outcome) -> Rejected:
    assert isinstance(outcome, Rejected), outcome
    return outcome


async def an_open_position(rig: Rig, name: str = "one") -> None:
    report_of(await rig.client.submit(Departure(intent=an_order_intent(name=name))))


def a_stop(rig: Rig, name: str = "one") -> Any:
    return an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger=rig.level(90), name=name)


REFUSALS = [
    ("51008", About.INSUFFICIENT_MARGIN),
    ("51004", About.POSITION_LIMIT),
    ("51006", About.PRICE_BAND),
    ("51121", About.STALE_RULES),
    ("51020", About.STALE_RULES),
    ("51169", About.NOTHING_TO_REDUCE),
    ("51280", About.WOULD_TRIGGER),
    ("51027", About.NOT_TRADING),
    ("51010", About.ACCOUNT_RESTRICTED),
    ("51603", About.OTHER),
    ("50017", About.UNREACHED),
    ("50011", About.UNREACHED),
    ("50061", About.UNREACHED),
]


@pytest.mark.parametrize(("code", "about"), REFUSALS)
async def test_a_refused_entry_says_what_it_is_about(code: str, about: About) -> None:
    async with a_rig() as rig:
        row = {"clOrdId": "", "ordId": "", "tag": "", "sCode": code, "sMsg": "words"}
        rig.tap.put("POST", ORDER, answer(200, {"code": "1", "msg": "All operations failed", "data": [row]}))
        outcome = rejected(await rig.client.submit(Departure(intent=an_order_intent())))
        assert (outcome.code, outcome.about) == (code, about)
        assert outcome.detail.startswith("words")
        assert len(rig.tap.of("POST", ORDER)) == 1


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (200, {"code": code, "msg": "words", "data": []})
        for code in ("50001", "50004", "50013", "50026", "51054", "51149", "50042", "77777")
    ]
    + [
        (200, {"code": "1", "msg": "", "data": [{"sCode": code, "sMsg": "words"}]})
        for code in ("51016", "50071", "51065", "51068", "51412")
    ]
    + [(502, "<html>Bad Gateway</html>"), (200, "not json"), (200, {"code": "0", "data": []}), (200, [])],
)
async def test_what_does_not_tell_whether_it_was_executed_is_unknown(status: int, document: Any) -> None:
    async with a_rig() as rig:
        rig.tap.put("POST", ORDER, answer(status, document))
        assert isinstance(await rig.client.submit(Departure(intent=an_order_intent())), Unknown)
        assert len(rig.tap.of("POST", ORDER)) == 1


async def test_a_price_outside_the_band_is_said_to_be_one() -> None:
    async with a_rig() as rig:
        far = an_order_intent(OrderType.POST_ONLY, side=Side.SELL, limit=rig.level(50))
        assert rejected(await rig.client.submit(Departure(intent=far))).about is About.PRICE_BAND


async def test_protection_is_repeated_after_a_limit_and_nothing_else_waits_for_it() -> None:
    async with a_rig() as rig:
        await an_open_position(rig)
        started = rig.clock.monotonic()
        rig.tap.put("POST", ALGO, answer(429, {"code": "50011", "msg": "Too Many Requests", "data": []}))
        assert report_of(await rig.client.submit(Departure(intent=a_stop(rig)))).status is S.ACCEPTED
        assert 2 <= rig.clock.monotonic() - started < 3
        rig.tap.put("POST", ALGO, answer(429, {"code": "50011", "msg": "Too Many Requests", "data": []}))
        stop = asyncio.ensure_future(rig.client.submit(Departure(intent=a_stop(rig, name="more"))))
        await asyncio.sleep(0.1)
        before = rig.clock.monotonic()
        await an_open_position(rig, name="meanwhile")
        assert rig.clock.monotonic() - before < 0.1
        report_of(await stop)


async def test_as_many_orders_go_out_as_the_venue_takes_and_none_is_refused_for_their_number() -> None:
    async with a_rig(latency_ms=50) as rig:
        started = rig.clock.monotonic()
        wanted = [an_order_intent(name=f"n{n}", size="0.001", instrument=(BTC, ETH)[n % 2]) for n in range(240)]
        outcomes = await asyncio.gather(*(rig.client.submit(Departure(intent=intent)) for intent in wanted))
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert len(rig.tap.of("POST", ORDER)) == 240
        took = rig.clock.monotonic() - started
        assert 4 < took < 4.5, "57 of an instrument's 60 in two seconds are for entries"


async def test_a_wave_of_batches_fits_into_one_window() -> None:
    async with a_rig(latency_ms=50) as rig:
        started = rig.clock.monotonic()
        wanted = [Departure(intent=an_order_intent(name=f"n{n}", size="0.001")) for n in range(280)]
        groups = [wanted[at : at + 20] for at in range(0, 280, 20)]
        outcomes = await asyncio.gather(*(rig.client.submit_together(group) for group in groups))
        assert {type(outcome) for group in outcomes for outcome in group} == {Accepted}
        assert rig.clock.monotonic() - started < 0.2


async def test_a_clock_that_is_off_is_measured_and_the_order_sent_once_more() -> None:
    async with a_rig() as rig:
        rig.tap.put("POST", ORDER, answer(401, {"code": "50102", "msg": "Timestamp request expired.", "data": []}))
        assert report_of(await rig.client.submit(Departure(intent=an_order_intent()))).status is S.ACCEPTED
        assert len(rig.tap.of("GET", API + "public/time")) == 3
        rig.tap.put("POST", ORDER, *[answer(200, {"code": "50037", "msg": "Order expired.", "data": []})] * 2)
        assert rejected(await rig.client.submit(Departure(intent=an_order_intent(name="two")))).code == "50037"
