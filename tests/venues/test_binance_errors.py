"""What an answer means for the order behind it: our own table on raw codes, and the outcome policy over it."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.domain.order import OrderType
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, NotFound, Outcome, Rejected, Unknown
from core.errors import Ambiguous, RateLimited, Refused, StartRefused, Unreachable, VenueError
from core.transport import HttpResponse
from core.venues.binance import facts
from core.venues.errors import Meaning
from tests.venues.binance_rig import Rig, a_rig, an_order_intent, answer

ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
STOP = an_order_intent(OrderType.STOP_MARKET, side=Side.SELL, trigger="70000")
UNKNOWN = "Unknown error, please check your request or try again later."


def _error(status: int, code: Any, text: str = "said the venue") -> HttpResponse:
    return answer(status, {"code": code, "msg": text})


async def _entry_answered(rig: Rig, *answers: HttpResponse | VenueError) -> Outcome:
    rig.tap.put("POST", ORDER, *answers)
    return await rig.client.submit(Departure(intent=an_order_intent()))


@pytest.mark.parametrize("as_text", [False, True], ids=["number", "text"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", [-4046, -4059])
async def test_no_need_to_change_is_success(code: int, status: int, as_text: bool) -> None:
    async with a_rig() as rig:
        outcome = await _entry_answered(rig, _error(status, str(code) if as_text else code))
        assert isinstance(outcome, Accepted)


@pytest.mark.parametrize("as_text", [False, True], ids=["number", "text"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", [-2019, -1111, -4164, -2021, -2022, -1121])
async def test_a_definite_no_is_a_rejection_with_the_venues_code(code: int, status: int, as_text: bool) -> None:
    async with a_rig() as rig:
        outcome = await _entry_answered(rig, _error(status, str(code) if as_text else code))
        assert isinstance(outcome, Rejected)
        assert outcome.code == str(code)
        assert outcome.detail == "said the venue"
        assert outcome.would_trigger == (code == -2021)
        assert outcome.nothing_to_reduce == (code == -2022)
        assert len(rig.tap.asked) == 1, "a refusal is never sent again"


@pytest.mark.failure("ORD-17")
@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -4116, -31_337, "-31337", "", None])
async def test_what_is_not_a_definite_no_leaves_an_order_unknown(code: Any) -> None:
    """-4116 says our own earlier send arrived; a code nobody knows says nothing."""
    async with a_rig() as rig:
        assert isinstance(await _entry_answered(rig, _error(400, code)), Unknown)
        assert len(rig.tap.asked) == 1


@pytest.mark.parametrize(
    "unreadable",
    [
        answer(200, ""),
        answer(200, "<html>maintenance</html>"),
        answer(200, '{"orderId": 12'),
        answer(200, {"orderId": "twelve"}),
        answer(200, []),
        answer(200, {}),
        answer(502, "<html>Bad Gateway</html>"),
        answer(503, UNKNOWN),
        answer(503, {"msg": UNKNOWN}),
        answer(408, {"code": -1007, "msg": "Timeout"}),
        answer(504, ""),
        answer(500, {"code": -1001, "msg": "Internal error"}),
        answer(403, "<html>WAF</html>"),
        Ambiguous("binance", "TimeoutError"),
        answer(200, {"orderId": 1, "symbol": "BTCUSDT", "status": "WHAT", "clientOrderId": "x", "origQty": "1",
                     "executedQty": "0", "side": "BUY"}),
    ],
)  # fmt: skip
async def test_an_unreadable_answer_to_an_order_means_unknown(unreadable: HttpResponse | VenueError) -> None:
    async with a_rig() as rig:
        assert isinstance(await _entry_answered(rig, unreadable), Unknown)
        rig.tap.put("POST", ALGO, unreadable)
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Unknown)
        assert len(rig.tap.asked) == 2, "nothing whose fate is unknown is sent again"


NOT_DONE = [
    answer(503, "Service Unavailable."),
    _error(503, -1008),
    _error(503, -1016),
    Unreachable("binance", "cannot connect"),
]


@pytest.mark.parametrize("not_done", NOT_DONE)
async def test_an_entry_the_venue_did_not_take_is_over(not_done: HttpResponse | VenueError) -> None:
    async with a_rig() as rig:
        assert isinstance(await _entry_answered(rig, not_done), Rejected)
        assert len(rig.tap.asked) == 1


@pytest.mark.parametrize("not_done", NOT_DONE)
async def test_a_stop_the_venue_did_not_take_is_sent_again_under_its_id(not_done: HttpResponse | VenueError) -> None:
    async with a_rig() as rig:
        await rig.client.submit(Departure(intent=an_order_intent()))
        rig.tap.asked.clear()
        rig.tap.put("POST", ALGO, not_done, not_done)
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Accepted)
        assert [asked.params["clientAlgoId"] for asked in rig.tap.asked] == [str(STOP.client_order_id)] * 3


async def test_a_stop_that_is_never_taken_is_given_back_after_three_resends() -> None:
    async with a_rig() as rig:
        rig.tap.put("POST", ALGO, *[Unreachable("binance", "cannot connect")] * 10)
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Rejected)
        assert len(rig.tap.asked) == 4


async def test_a_stop_that_becomes_unclear_while_resent_is_unknown_and_not_sent_again() -> None:
    async with a_rig() as rig:
        rig.tap.put("POST", ALGO, Unreachable("binance", "cannot connect"), Ambiguous("binance", "reset"))
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Unknown)
        assert len(rig.tap.asked) == 2


@pytest.mark.parametrize("ahead_ms", [5_000, -5_000])
async def test_a_clock_that_went_wrong_costs_one_resync_and_no_duplicate(ahead_ms: int) -> None:
    """-1021 says nothing was executed; the offset is measured and the order sent once more, under the same id."""
    async with a_rig(tick_hz=0.1) as rig:
        await rig.venue.tell("fault", kind="clock_skew", delay_ms=ahead_ms * 3)
        assert isinstance(await rig.client.submit(Departure(intent=an_order_intent())), Accepted)
        sent = rig.tap.of("POST", ORDER)
        assert len(sent) == 2
        assert len({asked.params["newClientOrderId"] for asked in sent}) == 1
        assert len((await rig.venue.ask("state?all=1"))["orders"]) == 1


async def test_a_clock_that_stays_wrong_is_a_refusal_not_a_loop() -> None:
    async with a_rig() as rig:
        assert isinstance(await _entry_answered(rig, *[_error(400, -1021)] * 5), Rejected)
        assert len(rig.tap.of("POST", ORDER)) == 2


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [(429, -1003, {"retry_after": "20"}), (418, -1003, {"retry_after": "20"}), (429, None, {"retry_after": "20"})],
)
async def test_too_fast_stops_everything_until_the_venue_allows(status: int, code: Any, headers: Any) -> None:
    async with a_rig() as rig:
        refused = answer(status, {"code": code, "msg": "Too many requests"}, **headers)
        assert isinstance(await _entry_answered(rig, refused), Rejected)
        started = rig.clock.monotonic()
        await rig.client.positions()
        assert rig.clock.monotonic() - started >= 19.9


async def test_a_ban_without_retry_after_ends_when_its_text_says() -> None:
    async with a_rig() as rig:
        until = rig.clock.now_ms() + 45_000
        text = f"Way too many requests; IP(1.2.3.4) banned until {until}. Please use the websocket."
        await _entry_answered(rig, _error(418, -1003, text))
        started = rig.clock.monotonic()
        await rig.client.positions()
        assert 44.9 <= rig.clock.monotonic() - started < 46


async def test_too_many_orders_wait_for_the_next_ten_seconds() -> None:
    async with a_rig() as rig:
        await _entry_answered(rig, _error(429, -1015))
        assert rig.client._ccxt.seam.budget.blocked_until_ms - rig.clock.now_ms() <= 10_250


async def test_a_stop_outwaits_a_short_limit() -> None:
    async with a_rig() as rig:
        await rig.client.submit(Departure(intent=an_order_intent()))
        rig.tap.put("POST", ALGO, answer(429, {"code": -1015, "msg": "slow down"}, retry_after="3"))
        started = rig.clock.monotonic()
        assert isinstance(await rig.client.submit(Departure(intent=STOP)), Accepted)
        assert 2.9 <= rig.clock.monotonic() - started < 4


@pytest.mark.parametrize("code", [-2014, -2015, -1022])
async def test_a_key_the_venue_does_not_take_refuses_the_start_in_plain_words(code: int) -> None:
    async with a_rig(opened=False) as rig:
        rig.tap.put("GET", "/fapi/v1/accountConfig", _error(401, code))
        with pytest.raises(StartRefused, match="BINANCE_API_KEY"):
            await rig.client.open()
        assert len(rig.tap.of("GET", "/fapi/v1/accountConfig")) == 1, "a permanent refusal is not repeated"


@pytest.mark.parametrize("passing", [answer(502, "<html>"), answer(503, UNKNOWN), Ambiguous("binance", "reset")])
async def test_a_read_is_repeated_and_gives_up_as_unreachable(passing: HttpResponse | VenueError) -> None:
    async with a_rig() as rig:
        rig.tap.put("GET", "/fapi/v3/positionRisk", passing, passing)
        assert await rig.client.positions() == []
        assert len(rig.tap.asked) == 3
        rig.tap.put("GET", "/fapi/v3/positionRisk", *[passing] * 5)
        with pytest.raises(Unreachable):
            await rig.client.positions()
        assert len(rig.tap.asked) == 6


async def test_no_such_order_is_an_answer_and_an_outage_is_not() -> None:
    async with a_rig() as rig:
        assert await rig.client.query_order(an_order_intent()) is NotFound.NOT_FOUND
        assert await rig.client.query_order(STOP) is NotFound.NOT_FOUND
        rig.tap.put("GET", ORDER, *[answer(503, UNKNOWN)] * 5)
        with pytest.raises(VenueError):
            await rig.client.query_order(STOP)


def test_no_code_has_two_meanings() -> None:
    spellings = [code for code in facts.CODES if not code.startswith("-") or not code[1:].isdigit()]
    assert not spellings
    assert facts.CODES["-4116"] is Meaning.UNKNOWN
    assert facts.CODES.keys() >= facts.ABOUT.keys()


@pytest.mark.failure("ORD-17")
def test_every_documented_error_is_in_the_table(shared: Path) -> None:
    folder = shared / "venues" / "fixtures" / "binance_usdm"
    documented = json.loads((folder / "rest_errors.doc.json").read_text("utf-8"))
    recorded = json.loads((folder / "rest_errors.recorded.json").read_text("utf-8"))
    bodies = [(row["status"], row.get("body", row)) for row in (*documented, *recorded)]
    missing = {
        b["code"] for _, b in bodies if isinstance(b, dict) and "code" in b and str(b["code"]) not in facts.CODES
    }
    assert not missing


@pytest.mark.failure("ORD-17")
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "-2011", Refused),
        (400, "-9999", Ambiguous),
        (401, "-2015", Refused),
        (503, "-1008", Unreachable),
        (429, "-1003", RateLimited),
        (418, "", RateLimited),
        (429, "-2019", RateLimited),
        (503, "", Ambiguous),
    ],
)
def test_status_and_code_sort_into_the_tree(status: int, code: str, kind: type[VenueError]) -> None:
    error = facts.ERRORS.error(status, code, "text", venue_ms=1_000_000)
    assert type(error) is kind
    assert (error.code, error.status) == (code, status)


def test_a_venues_words_reach_a_log_as_one_short_printable_line() -> None:
    error = facts.ERRORS.error(400, "-2019", "no\r\nmargin\x1b[31m " + "x" * 500, venue_ms=0)
    assert error.what.startswith("no margin [31m xxx")
    assert len(error.what) == 200
    assert error.what.isprintable()
