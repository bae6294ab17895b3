"""What leaves through the seam, and how answers are judged: a made-up venue, whose facts are data like any other's."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine.ports import Accepted, Condition, Departure, Rejected, Unknown, VenueHealth
from core.errors import Ambiguous, RateLimited, Refused, Unreachable, VenueError
from core.redaction import Redactor
from core.transport import HttpResponse
from core.venues.ccxt_loading import exchange_class
from core.venues.client import CommandPolicy, PortedExchange, Seam, Withheld
from core.venues.departures import Withholding
from core.venues.errors import ENDPOINT, ErrorTable, Meaning, Silence
from core.venues.health import HealthMonitor
from core.venues.rate_counters import Limit
from core.venues.request_budget import Charge, Lane, RequestBudget
from core.venues.venue_clock import VenueClock
from tests.fakes.virtual_loop import VirtualClock
from tests.venues.binance_rig import an_order_intent

ERRORS = ErrorTable(
    venue="venue",
    codes={"10006": Meaning.LIMITED, "50061": Meaning.LIMITED, "7": Meaning.REFUSED, "9": Meaning.UNKNOWN},
    silences={
        "10006": Silence(ms=1_000, bucket=ENDPOINT),
        "50061": Silence(ms=2_000, bucket="account"),
        "": Silence(ms=600_000),
    },
    statuses={403: Meaning.LIMITED},
    reset_header="x-reset",
    maintenance_pages=((503, "Service Unavailable"),),
)
LANES = {"order": Lane.ENTRY, "stop": Lane.PROTECTION, "cancel": Lane.CANCEL}


def charge_of(method: str, path: str, params: Any, cost: float) -> Charge:
    del cost
    rows = params if isinstance(params, list) else params.get("request", [params])
    if method == "GET":
        return Charge(lane=Lane.DATA, costs={"read": 1})
    return Charge(lane=LANES[path], costs={f"{path}:BTC": len(rows), "account": len(rows)}, commands=True)


def fault_in(body: object) -> tuple[str, str] | None:
    code = body.get("retCode") if isinstance(body, Mapping) else None
    return None if code in {None, 0} else (str(code), str(body.get("retMsg", "")) if isinstance(body, Mapping) else "")


LIMITS = tuple(
    Limit(bucket=bucket, window_ms=1_000, capacity=100, rolling=True)
    for bucket in ("order", "stop", "cancel", "read", "account")
)


class Wire:
    """Answers in turn, then plain success; keeps what was sent."""

    def __init__(self) -> None:
        self.answers: list[HttpResponse | VenueError] = []
        self.sent: list[tuple[str, str, Mapping[str, str], Any]] = []

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        self.sent.append((method, url, headers, json.loads(body or b"null")))
        answer = self.answers.pop(0) if self.answers else said({"retCode": 0})
        if isinstance(answer, VenueError):
            raise answer
        return answer

    async def close(self) -> None: ...


def said(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpResponse(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=text.encode())


class Plain:
    def sign(self, path: str, api: Any, method: str, params: Any) -> dict[str, Any]:
        del api
        body = json.dumps(params) if method == "POST" else None
        return {"method": method, "url": f"http://venue/{path}", "headers": {"sign": "x"}, "body": body}

    def calculate_rate_limiter_cost(self, *_: Any) -> float:
        return 1.0


SECRET = 'sec"ret-of-the-account'


class Stage:
    def __init__(self, *, rows_field: str = "request") -> None:
        self.clock, self.wire, self.told = VirtualClock(), Wire(), list[VenueHealth]()
        venue_clock = VenueClock(self.clock)
        venue_clock.offset_ms = 3_000
        self.seam = Seam(
            http=self.wire,
            budget=RequestBudget("venue", LIMITS, self.clock, venue_ms=venue_clock.now_ms),
            clock=venue_clock,
            errors=ERRORS,
            charge_of=charge_of,
            fault_in=fault_in,
            health=HealthMonitor(ERRORS, self.clock, self.told.append),
            withholding=Withholding("id", rows_field=rows_field),
            headers_of=lambda method, path: {"expires": path} if method == "POST" else {},
            redactor=Redactor([SECRET]),
        )
        self.ccxt = type("Ported", (PortedExchange, Plain), {"seam": self.seam})()

    async def ask(self, path: str = "order", params: Any = None, method: str = "POST", api: Any = ("private",)) -> Any:
        return await self.ccxt.request(path, list(api), method, {"id": "a"} if params is None else params)

    async def error(self, answer: HttpResponse, path: str = "order", method: str = "POST") -> VenueError:
        self.wire.answers.append(answer)
        with pytest.raises(VenueError) as raised:
            await self.ask(path, method=method)
        return raised.value


# --- judging ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (said({"retCode": 7, "retMsg": "no"}), Refused, "7"),
        (said({"retCode": 7, "retMsg": "no"}, 400), Refused, "7"),
        (said({"retCode": 9}), Ambiguous, "9"),
        (said({"retCode": 424_242}), Ambiguous, "424242"),
        (said({"retCode": 0}, 500), Ambiguous, ""),
        (said("<html>Bad gateway</html>", 502), Ambiguous, ""),
        (said("<html>fine</html>"), Ambiguous, ""),
        (said("Service Unavailable", 503), Unreachable, ""),
        (said("<html>access too frequent</html>", 403), RateLimited, ""),
        (said({"retCode": 10_006}), RateLimited, "10006"),
    ],
)
async def test_a_fault_is_what_the_facts_of_the_venue_say(
    answer: HttpResponse, kind: type[VenueError], code: str
) -> None:
    error = await Stage().error(answer)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.failure("SEC-05")
async def test_what_a_venue_repeats_of_our_secrets_gets_no_further() -> None:
    stage = Stage()
    stage.wire.answers.append(said({"retCode": 0, "list": [{"code": 7, "msg": f"bad key {SECRET}"}]}))
    assert await stage.ask() == {"retCode": 0, "list": [{"code": 7, "msg": "bad key ***"}]}
    fault = await stage.error(said({"retCode": 7, "retMsg": f"{SECRET} at https://x/?signature=0123456789"}))
    page = await stage.error(said(f"<html>{SECRET}</html>", 500))
    assert fault.what == "*** at https://x/?signature=***"
    assert SECRET not in str(page)


async def test_rows_of_an_answer_are_the_callers_to_judge() -> None:
    stage = Stage()
    rows = {"retCode": 0, "list": [{"code": 7}, {"code": 0}]}
    stage.wire.answers.append(said(rows))
    assert await stage.ask() == rows


# --- pauses ------------------------------------------------------------------------------------------


@pytest.mark.failure("NET-02")
async def test_a_limit_pauses_the_endpoint_until_the_stamp_the_venue_names_and_nothing_else() -> None:
    stage = Stage()
    reset = stage.seam.clock.now_ms() + 400
    error = await stage.error(said({"retCode": 10_006}, x_reset=str(reset)))
    assert isinstance(error, RateLimited)
    assert error.bucket == "order:BTC"
    started = stage.clock.monotonic()
    await stage.ask("stop")
    await stage.ask("cancel")
    await stage.ask("positions", {}, "GET")
    assert stage.clock.monotonic() == started, "what protects goes on while there is budget for it"
    await stage.ask("order")
    assert 0.4 <= stage.clock.monotonic() - started <= 0.43
    assert stage.told == [], "the venue serves"


async def test_a_limit_without_a_stamp_lasts_one_window() -> None:
    stage = Stage()
    await stage.error(said({"retCode": 10_006}))
    started = stage.clock.monotonic()
    await stage.ask("order")
    assert 1.0 <= stage.clock.monotonic() - started <= 1.01


@pytest.mark.parametrize("stamp", ["0", "17", "x", "-4", "99999999999999999"])
async def test_a_stamp_that_cannot_be_is_no_stamp(stamp: str) -> None:
    stage = Stage()
    await stage.error(said({"retCode": 10_006}, x_reset=stamp))
    started = stage.clock.monotonic()
    await stage.ask("order")
    assert 1.0 <= stage.clock.monotonic() - started <= 1.01


async def test_a_limit_on_the_account_pauses_new_orders_of_every_instrument() -> None:
    stage = Stage()
    error = await stage.error(said({"retCode": 50_061}))
    assert isinstance(error, RateLimited)
    assert error.bucket == "account"
    started = stage.clock.monotonic()
    await stage.ask("positions", {}, "GET")
    assert stage.clock.monotonic() == started
    await stage.ask("order", [{"id": "b"}])
    assert 2.0 <= stage.clock.monotonic() - started <= 2.01


@pytest.mark.failure("NET-02")
async def test_a_ban_of_the_address_silences_the_whole_venue_for_ten_minutes_and_is_told() -> None:
    stage = Stage()
    error = await stage.error(said("<html>access too frequent</html>", 403), method="GET")
    assert isinstance(error, RateLimited)
    assert (error.bucket, error.retry_at_ms) == (None, stage.clock.now_ms() + 600_000)
    assert [health.condition for health in stage.told] == [Condition.LIMITED]
    for path in ("order", "stop", "cancel"):
        with pytest.raises(RateLimited):
            await stage.ask(path)
    assert len(stage.wire.sent) == 1, "not one request during the ban"


async def test_a_stop_waits_for_its_own_bucket_and_goes_out_again_under_its_id() -> None:
    stage = Stage()
    stage.wire.answers.append(said({"retCode": 10_006}))

    async def resync() -> None: ...

    async def send() -> tuple[()]:
        await stage.ask("stop", {"id": "s"})
        return ()

    outcome = await CommandPolicy(ERRORS, stage.clock, resync, about={}).run(send, protective=True)
    assert isinstance(outcome, Accepted)
    assert [sent[3] for sent in stage.wire.sent] == [{"id": "s"}] * 2


async def test_an_order_whose_answer_is_garbage_is_unknown_and_a_limited_entry_is_not_sent_again() -> None:
    stage = Stage()

    async def resync() -> None: ...

    async def send() -> tuple[()]:
        await stage.ask()
        return ()

    policy = CommandPolicy(ERRORS, stage.clock, resync, about={})
    stage.wire.answers += [said("<html>", 502), said({"retCode": 10_006})]
    assert isinstance(await policy.run(send, protective=False), Unknown)
    assert isinstance(await policy.run(send, protective=False), Rejected)
    assert len(stage.wire.sent) == 2


# --- the last word ------------------------------------------------------------------------------------------


def departures(*objections: str | None) -> tuple[Departure, ...]:
    return tuple(
        Departure(intent=an_order_intent(name=str(number)), objection=lambda why=why: why)  # type: ignore[misc]
        for number, why in enumerate(objections)
    )


def rows_of(leaving: tuple[Departure, ...]) -> list[dict[str, str]]:
    return [{"id": str(departure.intent.client_order_id)} for departure in leaving]


@pytest.mark.parametrize("shape", ["list", "nested"])
async def test_a_row_that_is_objected_to_is_left_out_and_the_others_leave(shape: str) -> None:
    stage = Stage()
    leaving = departures(None, "paused", None)
    rows = rows_of(leaving)
    params = rows if shape == "list" else {"category": "linear", "request": rows}
    with stage.seam.withholding.leaving(leaving) as withheld:
        await stage.ask("order", params)
        assert dict(withheld) == {rows[1]["id"]: "paused"}
    sent = stage.wire.sent[0][3]
    assert sent == ([rows[0], rows[2]] if shape == "list" else {"category": "linear", "request": [rows[0], rows[2]]})
    assert (rows if shape == "list" else params["request"]) == rows_of(leaving), "the request asked for is untouched"  # type: ignore[call-overload]


@pytest.mark.parametrize("shape", ["list", "nested", "single"])
async def test_nothing_is_sent_when_every_order_is_objected_to_and_its_room_is_free_again(shape: str) -> None:
    stage = Stage()
    leaving = departures("paused") if shape == "single" else departures("paused", "paused")
    rows = rows_of(leaving)
    params = {"list": rows, "nested": {"request": rows}, "single": rows[0]}[shape]
    with stage.seam.withholding.leaving(leaving), pytest.raises(Withheld, match="paused"):
        await stage.ask("order", params)
    assert stage.wire.sent == []
    assert stage.seam.budget.figures().used["account/1000ms"] == 0


async def test_the_objection_is_asked_after_the_wait_for_room() -> None:
    stage = Stage()
    said_at: list[float] = []
    departure = Departure(
        intent=an_order_intent(),
        objection=lambda: said_at.append(stage.clock.monotonic()),
    )
    stage.seam.budget.block("order", stage.clock.now_ms() + 5_000)
    started = stage.clock.monotonic()
    with stage.seam.withholding.leaving((departure,)):
        await stage.ask("order", {"id": str(departure.intent.client_order_id)})
    assert said_at == [pytest.approx(started + 5, abs=0.01)]


async def test_an_order_withheld_once_may_leave_when_it_is_sent_again() -> None:
    stage = Stage()
    words: list[str | None] = ["paused", None]
    departure = Departure(intent=an_order_intent(), objection=lambda: words.pop(0))
    row = {"id": str(departure.intent.client_order_id)}
    with stage.seam.withholding.leaving((departure,)) as withheld:
        with pytest.raises(Withheld):
            await stage.ask("order", row)
        await stage.ask("order", row)
        assert dict(withheld) == {}
    with stage.seam.withholding.leaving((departure,)) as withheld:
        assert dict(withheld) == {}


async def test_headers_beside_those_of_signing_are_made_when_the_request_leaves() -> None:
    stage = Stage()
    await stage.ask("order")
    await stage.ask("positions", {}, "GET")
    assert [sent[2] for sent in stage.wire.sent] == [{"sign": "x", "expires": "order"}, {"sign": "x"}]


VALUES = st.one_of(st.text(alphabet="aZ09-_.~&= %+/:ß", max_size=4), st.integers(), st.booleans(), st.floats(0, 1))


@given(st.dictionaries(st.text(alphabet="aZ09_&= %", max_size=3), VALUES, max_size=4))
def test_parameters_become_the_text_that_ccxt_makes_of_them(params: dict[str, Any]) -> None:
    base = exchange_class("binanceusdm")
    ported: Any = type("Ported", (PortedExchange, base), {})
    assert ported.urlencode(ported.__new__(ported), params) == base.urlencode(params)


@given(st.binary(max_size=80), st.binary(min_size=1, max_size=80), st.sampled_from(["hex", "base64"]))
def test_signatures_are_those_that_ccxt_makes(request: bytes, secret: bytes, digest: str) -> None:
    base = exchange_class("binanceusdm")
    ported: Any = type("Ported", (PortedExchange, base), {})
    made = ported.hmac(ported.__new__(ported), request, secret, sha256, digest)
    assert made == base.hmac(request, secret, sha256, digest)


def test_an_orders_parameters_need_none_of_ccxts_escaping() -> None:
    class NoEscaping:
        def urlencode(self, params: object) -> str:
            raise AssertionError(params)

    ported: Any = type("Ported", (PortedExchange, NoEscaping), {})()
    order = {"symbol": "BTCUSDT", "quantity": "0.001", "newClientOrderId": "bw-1_a", "timestamp": 1_790_000_000_000}
    assert ported.urlencode(order) == "symbol=BTCUSDT&quantity=0.001&newClientOrderId=bw-1_a&timestamp=1790000000000"
