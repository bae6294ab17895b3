"""What an answer means for the order behind it: the venue's own codes by table, and the outcome policy over them."""

import json
from pathlib import Path

import pytest

from core.domain.order import OrderStatus
from core.domain.reports import OrderStatusReport
from core.domain.signal import Side
from core.engine.ports import About, Accepted, Condition, Departure, NotFound, Outcome, Rejected, Unknown
from core.errors import Ambiguous, RateLimited, Refused, StartRefused, Unreachable, VenueError
from core.transport import HttpResponse
from core.venues.bybit.codes import ABOUT, CODES, ERRORS, is_wrong_mode, worded
from core.venues.errors import Meaning
from tests.venues.binance_rig import answer
from tests.venues.bybit.desk import Desk, a_desk, a_stop, accepted, an_intent, settled, with_stop

CREATE, STOP = "/v5/order/create", "/v5/position/trading-stop"


def told(code: int, text: str = "said the venue", *, status: int = 200, **headers: str) -> HttpResponse:
    body = {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": 1_790_000_000_000}
    return answer(status, body, **headers)


async def entry_answered(desk: Desk, *answers: HttpResponse | VenueError) -> Outcome:
    desk.tap.put("POST", CREATE, *answers)
    return await desk.client.submit(Departure(intent=an_intent()))


def by_meaning(*meanings: Meaning) -> list[str]:
    return sorted(code for code, meaning in CODES.items() if meaning in meanings)


@pytest.mark.parametrize("code", by_meaning(Meaning.REFUSED, Meaning.RESTRICTED, Meaning.AUTH))
async def test_a_definite_no_is_a_rejection_with_the_venues_code(code: str) -> None:
    async with a_desk(streaming=False) as desk:
        outcome = await entry_answered(desk, told(int(code)))
        said = "; ".join(filter(None, ("said the venue", ERRORS.remedies.get(code))))
        assert outcome == Rejected(code=code, detail=said, about=ABOUT.get(code, About.OTHER))
        assert len(desk.tap.asked) == 1, "a refusal is never sent again"


@pytest.mark.parametrize("code", [*by_meaning(Meaning.UNKNOWN), "31337"])
async def test_what_is_not_a_definite_no_leaves_an_order_unknown(code: str) -> None:
    async with a_desk(streaming=False) as desk:
        assert isinstance(await entry_answered(desk, told(int(code))), Unknown)
        assert len(desk.tap.asked) == 1


@pytest.mark.parametrize(
    "broken",
    [
        answer(502, "<html>Bad Gateway</html>"),
        answer(504, ""),
        answer(429, "too busy"),
        answer(200, "{"),
        answer(200, []),
        answer(200, {}),
        answer(200, {"retCode": 0, "retMsg": "OK", "result": None}),
        Ambiguous("bybit", "the connection ended before the answer"),
    ],
    ids=["502", "504", "429", "half", "list", "no code", "no result", "lost"],
)
async def test_an_answer_that_tells_nothing_leaves_an_order_unknown(broken: HttpResponse | VenueError) -> None:
    async with a_desk(streaming=False) as desk:
        assert isinstance(await entry_answered(desk, broken), Unknown)


@pytest.mark.parametrize("code", by_meaning(Meaning.DONE))
async def test_no_need_to_change_is_success(code: str) -> None:
    async with a_desk(streaming=False) as desk:
        assert await entry_answered(desk, told(int(code), "not modified")) == Accepted(reports=())


async def test_every_documented_code_is_in_the_table(shared: Path) -> None:
    path = shared / "venues" / "fixtures" / "bybit_linear" / "error_codes.json"
    documented = {str(row["code"]) for row in json.loads(path.read_text("utf-8")) if row["section"] == "UTA"}
    assert documented - {"0"} <= set(CODES)
    assert set(ABOUT) <= set(CODES)


async def test_a_wrong_time_is_measured_anew_and_sent_once_more() -> None:
    async with a_desk(streaming=False) as desk:
        outcome = await entry_answered(desk, told(10002, "invalid request, please check your server timestamp"))
        assert outcome == Accepted(reports=())
        assert [asked.path for asked in desk.tap.asked] == [CREATE, *["/v5/market/time"] * 3, CREATE]
        desk.tap.put("POST", CREATE, told(10002), told(10002))
        again = await desk.client.submit(Departure(intent=an_intent(name="two")))
        assert isinstance(again, Rejected)


@pytest.mark.failure("ORD-03")
async def test_an_id_that_is_there_already_is_looked_up_and_found() -> None:
    async with a_desk() as desk:
        entry = an_intent()
        accepted(await desk.send(entry))
        assert isinstance(await desk.client.submit(Departure(intent=entry)), Unknown)
        found = await desk.client.query_order(entry)
        assert isinstance(found, OrderStatusReport)
        assert (found.status, found.filled) == (OrderStatus.FILLED, entry.quantity)
        (position,) = await desk.client.positions()
        assert position.quantity == entry.quantity


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("can not set tp/sl/ts for zero position", About.NOTHING_TO_REDUCE),
        (
            "StopLoss:800000000 set for Buy position should lower than base_price:790000000??LastPrice",
            About.WOULD_TRIGGER,
        ),
        ("Qty invalid", About.STALE_RULES),
        ("The number of contracts exceeds minimum limit allowed", About.STALE_RULES),
        ("position idx not match position mode", About.OTHER),
        ("something else", About.OTHER),
    ],
)
def test_a_parameter_error_is_about_what_its_words_say(text: str, about: About) -> None:
    rejected = Rejected(code="10001", detail=text)
    assert worded(rejected).about is about
    assert is_wrong_mode(rejected) == text.startswith("position idx")
    assert worded(Rejected(code="110007", detail=text)).about is About.OTHER


async def test_a_limit_on_one_endpoint_silences_that_endpoint_until_the_venue_says() -> None:
    async with a_desk(streaming=False) as desk:
        reset = desk.clock.now_ms() + 3_000
        limited = told(10006, "Too many visits!", x_bapi_limit_reset_timestamp=str(reset))
        outcome = await entry_answered(desk, limited)
        assert isinstance(outcome, Rejected)
        assert outcome.about is About.UNREACHED
        asked = len(desk.tap.asked)
        await desk.client.positions()
        assert len(desk.tap.asked) == asked + 2, "other endpoints go on"
        assert desk.health == []
        accepted(await desk.client.submit(Departure(intent=an_intent(name="later"))))
        assert desk.clock.now_ms() >= reset


async def test_a_ban_of_the_address_silences_everything_for_ten_minutes() -> None:
    async with a_desk(streaming=False) as desk:
        started = desk.clock.now_ms()
        outcome = await entry_answered(desk, answer(403, "access too frequent"))
        assert isinstance(outcome, Rejected)
        assert [health.condition for health in desk.health] == [Condition.LIMITED]
        assert desk.health[0].until_ms == started + 600_000
        with pytest.raises(RateLimited):
            await desk.client.positions()


@pytest.mark.parametrize(
    "ban", [answer(403, "too frequent", x_bapi_limit_reset_timestamp="1790000000999"), None], ids=["403", "10018"]
)
async def test_no_endpoints_own_reset_cuts_a_ban_of_the_address_short(ban: HttpResponse | None) -> None:
    async with a_desk(streaming=False) as desk:
        started = desk.clock.now_ms()
        reset = str(started + 900)
        await entry_answered(desk, ban or told(10018, "ip ban", x_bapi_limit_reset_timestamp=reset))
        assert desk.health[0].until_ms == started + 600_000


async def test_an_address_the_venue_does_not_have_is_a_definite_no_and_no_outage() -> None:
    async with a_desk(opened=False) as desk:
        desk.tap.put("GET", "/v5/position/symbol-info", answer(404, "404 page not found"))
        await desk.client.open()
        assert desk.tap.of("GET", "/v5/position/list"), "the mode is read from a position's own row"


async def test_a_stop_that_meets_a_settlement_is_sent_again_when_it_is_over() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent()))
        desk.tap.put("POST", STOP, told(110063, "Settlement in progress!"))
        accepted(await desk.send(a_stop(desk.level("90"))))
        assert len(desk.bodies("position/trading-stop")) == 2


async def test_a_closing_order_is_sent_again_after_a_short_limit() -> None:
    async with a_desk() as desk:
        accepted(await desk.send(an_intent()))
        desk.tap.put("POST", STOP, told(10006))
        stop = a_stop(desk.level("90"))
        accepted(await desk.send(stop))
        assert len(desk.bodies("position/trading-stop")) == 2
        assert desk.statuses(stop) == [OrderStatus.ACCEPTED]


@pytest.mark.parametrize(("code", "said"), [(10003, "refuses the API key"), (10028, "no unified trading account")])
async def test_an_account_that_cannot_be_used_stops_the_start_with_the_reason(code: int, said: str) -> None:
    async with a_desk(opened=False) as desk:
        desk.tap.put("GET", "/v5/position/symbol-info", told(code))
        with pytest.raises(StartRefused, match=said):
            await desk.client.open()


async def test_a_wrong_secret_stops_the_start() -> None:
    async with a_desk(opened=False, secret="wrong") as desk:
        with pytest.raises(StartRefused, match="10004"):
            await desk.client.open()


async def test_an_unreadable_list_is_no_empty_list() -> None:
    async with a_desk(streaming=False) as desk:
        desk.client._reads._attempts = 1
        for path in ("order/realtime", "position/list", "account/wallet-balance"):
            desk.tap.put("GET", f"/v5/{path}", answer(200, {"retCode": 0, "retMsg": "OK", "result": {"rows": []}}))
            with pytest.raises(Unreachable):
                await desk.client.mass_status()


async def test_a_list_whose_pages_go_round_is_given_up() -> None:
    async with a_desk(streaming=False) as desk:
        page = {"category": "linear", "list": [{"symbol": "X", "riskLimitValue": "1", "maxLeverage": "1"}]}
        body = {"retCode": 0, "retMsg": "OK", "result": {**page, "nextPageCursor": "x"}, "time": 1}
        desk.tap.put("GET", "/v5/market/risk-limit", *[answer(200, body)] * 250)
        with pytest.raises(Unreachable, match="pages"):
            await desk.client.load_instruments()


def test_a_code_nobody_knows_is_ambiguous() -> None:
    assert isinstance(ERRORS.error(200, "77777", "", venue_ms=0), Ambiguous)
    assert isinstance(ERRORS.error(200, "10001", "", venue_ms=0), Refused)


async def test_a_cancel_of_what_is_gone_is_refused_and_the_look_up_tells_why() -> None:
    async with a_desk() as desk:
        entry = an_intent()
        accepted(await desk.send(entry))
        outcome = await desk.client.cancel(desk.order(entry))
        assert isinstance(outcome, Rejected)
        assert outcome.code == "110001"
        found = await desk.client.query_order(entry)
        assert found is not NotFound.NOT_FOUND


async def test_an_entry_whose_answer_is_lost_keeps_its_stop() -> None:
    async with a_desk() as desk:
        departure = with_stop(an_intent(side=Side.SELL), desk.level("110"))
        await desk.venue.tell("fault", kind="drop_response", match={"path": CREATE})
        assert isinstance(await desk.send(departure), Unknown)
        await settled()
        assert desk.statuses(departure.intent)[-1] is OrderStatus.FILLED
        assert departure.stop is not None
        assert desk.statuses(departure.stop) == [OrderStatus.ACCEPTED]
