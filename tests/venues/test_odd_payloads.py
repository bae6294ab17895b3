"""What venues do not send until one day they do: each of these once went past the parser's own error."""

from collections.abc import AsyncIterator

import pytest

from core.domain.ids import VenueName
from core.engine.ports import Unknown
from core.errors import MalformedPayload, Unreachable
from core.transport import HttpResponse
from core.venues.binance.facts import limits_told
from core.venues.binance.instruments import _markets
from core.venues.binance.user_feed import UserFrames
from core.venues.errors import ErrorTable, Meaning, Silence
from core.venues.payload import AFTER_ALL_MS, ceiling_in, ms_in, note_page, whole_in
from core.venues.symbols import SymbolTable
from tests.venues.binance_rig import answer
from tests.venues.rigs import VenueRig, a_venue_rig


@pytest.fixture
async def okx() -> AsyncIterator[VenueRig]:
    async with a_venue_rig(VenueName.OKX, streaming=False) as rig:
        yield rig


def test_a_frame_that_is_no_utf_8_is_set_aside() -> None:
    frame = b'{"e":"ACCOUNT_UPDATE","T":1,"a":{"m":"\xff","B":[],"P":[]}}'
    with pytest.raises(MalformedPayload):
        UserFrames(SymbolTable()).decode(frame)


@pytest.mark.parametrize("time", [-1, AFTER_ALL_MS, 2**63])
def test_a_frame_of_no_time_that_can_be_is_set_aside(time: int) -> None:
    frame = f'{{"e":"ACCOUNT_CONFIG_UPDATE","T":{time},"ai":{{"j":true}}}}'.encode()
    with pytest.raises(MalformedPayload):
        UserFrames(SymbolTable()).decode(frame)


@pytest.mark.parametrize("body", [b'{"code":"0","data":[\xff]}', b'{"code":"0","data":[1e9999999999999999999999]}'])
async def test_an_answer_that_cannot_be_decoded_is_a_venue_error(okx: VenueRig, body: bytes) -> None:
    odd = HttpResponse(status=200, headers={}, body=body)
    okx.tap.put("GET", "/api/v5/account/positions", odd, odd, odd)
    with pytest.raises(Unreachable):
        await okx.client.positions()


async def test_an_answer_about_two_orders_leaves_the_fate_of_the_one_open(okx: VenueRig) -> None:
    ack = {"clOrdId": "x", "ordId": "1", "sCode": "0", "sMsg": ""}
    okx.tap.put("POST", "/api/v5/trade/order", answer(200, {"code": "0", "msg": "", "data": [ack, ack]}))
    assert isinstance(await okx.client.submit(okx.departing(okx.entry(), level="50000")), Unknown)


async def test_a_list_whose_pages_repeat_is_not_asked_for_for_ever(okx: VenueRig) -> None:
    row = {
        "instId": "BTC-USDT-SWAP", "tradeId": "1", "ordId": "1", "clOrdId": "", "billId": "1", "fillPx": "1",
        "fillSz": "1", "side": "buy", "posSide": "net", "feeCcy": "USDT", "fee": "0", "ts": "1", "fillTime": "1",
        "execType": "T", "fillPnl": "0",
    }  # fmt: skip
    page = answer(200, {"code": "0", "msg": "", "data": [row] * 100})
    okx.tap.put("GET", "/api/v5/trade/fills", *[page] * 5)
    with pytest.raises(Unreachable, match="pages do not end"):
        await okx.client.fills(okx.btc, okx.clock.now_ms() - 60_000)
    assert len(okx.tap.of("GET", "/api/v5/trade/fills")) == 2


async def test_a_page_of_candles_that_are_not_over_yet_is_not_asked_for_for_ever(okx: VenueRig) -> None:
    ahead = okx.clock.now_ms() + 60_000
    rows = [[str(ahead + 60_000 * n), "1", "1", "1", "1", "1", "1", "1", "0"] for n in range(2)]
    page = answer(200, {"code": "0", "msg": "", "data": rows})
    okx.tap.put("GET", "/api/v5/market/candles", *[page] * 5)
    assert await okx.connection.reads.candles(okx.btc.symbol, "1m", 1) == []
    assert len(okx.tap.of("GET", "/api/v5/market/candles")) == 1


@pytest.mark.parametrize("precision", [10**12, "999999999999", None, 1.5])
def test_a_market_whose_precision_never_ends_is_told_as_unusable(precision: object) -> None:
    """ccxt counts up to it, place by place."""
    row = {"symbol": "ODDUSDT", "pricePrecision": precision}
    markets, unread = _markets([row], lambda _row: pytest.fail("ccxt was asked"))
    assert (markets, list(unread)) == ([], ["ODDUSDT"])


def test_a_last_page_may_tell_nothing_new() -> None:
    found = {1: "a"}
    note_page(found, {1: "b"}, "list", last=True)
    note_page(found, {2: "c"}, "list", last=False)
    with pytest.raises(MalformedPayload):
        note_page(found, {2: "c"}, "list", last=False)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e5", "١٢٣", "9" * 5_000, str(AFTER_ALL_MS)])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        ms_in(text, "ts")


def test_a_number_too_long_for_python_is_no_number_of_a_request() -> None:
    assert (whole_in("9" * 5_000), whole_in("²"), whole_in("12")) == (None, None, 12)


def test_a_pause_too_long_to_read_is_left_to_the_table() -> None:
    table = ErrorTable(venue="v", codes={"1": Meaning.LIMITED}, silences={"": Silence(ms=500)})
    error = table.error(429, "1", "", venue_ms=1_000, headers={"retry-after": "9" * 5_000})
    assert getattr(error, "retry_at_ms", None) == 1_500


def test_limits_of_another_form_are_left_out() -> None:
    good = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1_200}
    odd = [{**good, "interval": ["MINUTE"]}, {**good, "limit": 10**30}, {**good, "rateLimitType": {}}]
    assert [limit.capacity for limit in limits_told([*odd, good])] == [1_200]


def test_a_ceiling_that_is_a_number_is_read_as_one() -> None:
    assert ceiling_in(5, "most") == 5  # type: ignore[arg-type]  # raw rows of ccxt hold what the venue wrote
