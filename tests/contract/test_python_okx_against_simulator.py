"""python-okx, OKX's own library, unmodified and given the simulator's domain, trades as it does against the venue.

Its sockets insist on TLS, so the simulator serves it, with a certificate that the environment says to trust.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from okx.Account import AccountAPI
from okx.MarketData import MarketAPI
from okx.PublicData import PublicAPI
from okx.Trade import TradeAPI
from okx.websocket.WsPrivateAsync import WsPrivateAsync
from okx.websocket.WsPublicAsync import WsPublicAsync

from tests.contract.certificate import written
from tests.contract.simulator import PATIENCE_S, Venue, running

# It hands texts to httpx in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")

SWAP = "BTC-USDT-SWAP"
ENTRY: dict[str, Any] = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "2"}
FAR: dict[str, Any] = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1"}
PRIVATE = (
    {"channel": "orders", "instType": "SWAP"},
    {"channel": "positions", "instType": "SWAP"},
    {"channel": "account"},
)


@pytest.fixture
def venue(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Venue]:
    certificate, key = written(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with running(project_root, "okx", "--tls", str(certificate), str(key)) as found:
        yield found


@pytest.fixture
def rest(venue: Venue) -> Iterator[Any]:
    """Its clients by what they are for."""
    clients = {
        name: kind("sim", "sim", "sim", flag="0", domain=venue.url)
        for name, kind in (("trade", TradeAPI), ("account", AccountAPI), ("market", MarketAPI), ("public", PublicAPI))
    }
    try:
        yield SimpleNamespace(**clients)
    finally:
        for client in clients.values():
            client.close()


def test_a_position_is_opened_protected_and_closed(rest: Any, venue: Venue) -> None:
    last = _last(rest)
    placed = _one(rest.trade.place_order(**ENTRY, clOrdId="entry1"))
    order = _one(rest.trade.get_order(SWAP, ordId=placed["ordId"]))
    assert (order["state"], order["accFillSz"], order["clOrdId"]) == ("filled", "2", "entry1")
    (position,) = _rows(rest.account.get_positions(instId=SWAP))
    assert (position["pos"], position["posSide"], position["mgnMode"]) == ("2", "net", "cross")

    stop = _one(
        rest.trade.place_algo_order(
            instId=SWAP, tdMode="cross", side="sell", ordType="conditional", closeFraction="1", reduceOnly="true",
            slTriggerPx=str(last - 2000), slOrdPx="-1", slTriggerPxType="mark", algoClOrdId="stop1",
        )
    )  # fmt: skip
    (row,) = _rows(rest.trade.order_algos_list(ordType="conditional"))
    assert (row["algoId"], row["state"], row["algoClOrdId"]) == (stop["algoId"], "live", "stop1")
    assert venue.protection()[0]["naked_now_ms"] == 0
    changed = rest.trade.amend_algo_order(
        instId=SWAP, algoId=stop["algoId"], newSlTriggerPx=str(last - 1500), newSlOrdPx="-1"
    )
    assert _one(changed)["sCode"] == "0"
    assert venue.state()["orders"][0]["stop_price"] == str(last - 1500)
    _one(rest.trade.cancel_algo_order([{"instId": SWAP, "algoId": stop["algoId"]}]))
    assert venue.state()["orders"] == []

    _one(rest.trade.place_order(**{**ENTRY, "side": "sell", "sz": "1"}, reduceOnly="true"))
    _one(rest.trade.close_positions(SWAP, "cross"))
    assert venue.state()["positions"] == []
    refused = rest.trade.place_order(**{**ENTRY, "side": "sell"}, reduceOnly="true")
    assert (refused["code"], refused["data"][0]["sCode"]) == ("1", "51169")
    fills = _rows(rest.trade.get_fills(instType="SWAP"))
    assert [row["side"] for row in fills] == ["sell", "sell", "buy"]
    assert all(float(row["fee"]) < 0 for row in fills)


def test_an_entry_brings_its_stop_and_the_stop_closes_it(rest: Any, venue: Venue) -> None:
    last = _last(rest)
    legs = {
        "slTriggerPx": str(last - 1000), "slOrdPx": "-1", "tpTriggerPx": str(last + 1000), "tpOrdPx": "-1",
        "attachAlgoClOrdId": "legs1",
    }  # fmt: skip
    _one(rest.trade.place_order(**ENTRY, attachAlgoOrds=[legs]))
    (algo,) = _rows(rest.trade.order_algos_list(ordType="oco"))
    assert (algo["algoClOrdId"], float(algo["slTriggerPx"])) == ("legs1", last - 1000)
    assert venue.protection()[0]["max_unprotected_ms"] == 0
    venue.set_price(SWAP, str(last - 1100))
    assert (venue.state()["positions"], venue.state()["orders"]) == ([], [])
    history = _rows(rest.trade.order_algos_history("oco", state="effective"))
    assert [row["algoClOrdId"] for row in history] == ["legs1"]


def test_orders_are_placed_in_batches_amended_and_cancelled(rest: Any) -> None:
    price = _last(rest) - 2000
    orders = [{**FAR, "px": str(price - number), "clOrdId": f"b{number}"} for number in range(3)]
    assert [row["sCode"] for row in _rows(rest.trade.place_multiple_orders(orders))] == ["0", "0", "0"]
    assert rest.trade.place_order(**orders[0])["data"][0]["sCode"] == "51016"
    _one(rest.trade.amend_order(SWAP, clOrdId="b0", newSz="2"))
    _one(rest.trade.cancel_order(SWAP, clOrdId="b1"))
    assert rest.trade.cancel_order(SWAP, clOrdId="b1")["code"] == "1"
    rows = _rows(rest.trade.get_order_list(instType="SWAP"))
    assert sorted((row["clOrdId"], row["sz"]) for row in rows) == [("b0", "2"), ("b2", "1")]
    _rows(rest.trade.cancel_multiple_orders([{"instId": SWAP, "clOrdId": name} for name in ("b0", "b2")]))
    assert _rows(rest.trade.get_order_list(instType="SWAP")) == []


def test_settings_and_market_data_are_read(rest: Any) -> None:
    assert SWAP in {row["instId"] for row in _rows(rest.public.get_instruments("SWAP"))}
    assert _one(rest.account.get_account_balance())["details"]
    assert _one(rest.account.get_account_config())["posMode"] == "net_mode"
    _one(rest.account.set_leverage("5", "cross", instId=SWAP))
    assert _one(rest.account.get_leverage("cross", instId=SWAP))["lever"] == "5"
    assert _one(rest.account.set_position_mode("long_short_mode"))["posMode"] == "long_short_mode"
    assert _one(rest.account.get_fee_rates("SWAP", instFamily="BTC-USDT"))
    assert len(_rows(rest.market.get_candlesticks(SWAP, bar="1m", limit="60"))) == 60
    assert len(_one(rest.market.get_orderbook(SWAP, sz="5"))["bids"]) == 5
    assert _one(rest.public.get_funding_rate(SWAP))["fundingRate"]
    assert _one(rest.public.get_mark_price("SWAP", instId=SWAP))["markPx"]
    assert _rows(rest.public.get_position_tiers("SWAP", "cross", instFamily="BTC-USDT"))


def test_a_wrong_secret_is_refused(rest: Any) -> None:
    rest.account.API_SECRET_KEY = "other"
    assert rest.account.get_account_balance()["code"] == "50113"


async def test_the_private_stream_tells_orders_positions_and_the_balance(rest: Any, venue: Venue) -> None:
    async with _stream(WsPrivateAsync("sim", "sim", "sim", f"{venue.ws}/ws/v5/private")) as (socket, heard):
        await socket.login()
        assert (await _heard(heard, lambda frame: frame.get("event") == "login"))["code"] == "0"
        await socket.send("subscribe", list(PRIVATE))
        await asyncio.to_thread(rest.trade.place_order, **ENTRY)
        order = await _heard(heard, lambda frame: _is(frame, "orders") and frame["data"][0]["state"] == "filled")
        assert order["data"][0]["accFillSz"] == "2"
        await _heard(heard, lambda frame: _is(frame, "positions") and [row["pos"] for row in frame["data"]] == ["2"])


async def test_the_public_streams_tell_the_market(venue: Venue) -> None:
    async with _stream(WsPublicAsync(f"{venue.ws}/ws/v5/public")) as (socket, heard):
        await socket.send("subscribe", [{"channel": name, "instId": SWAP} for name in ("tickers", "books5")])
        assert float((await _heard(heard, lambda frame: _is(frame, "tickers")))["data"][0]["last"]) > 0
        assert (await _heard(heard, lambda frame: _is(frame, "books5")))["data"][0]["bids"]
    async with _stream(WsPublicAsync(f"{venue.ws}/ws/v5/business")) as (socket, heard):
        await socket.send("subscribe", [{"channel": "candle1m", "instId": SWAP}])
        assert (await _heard(heard, lambda frame: _is(frame, "candle1m")))["data"]


async def test_orders_go_over_the_trading_socket(rest: Any, venue: Venue) -> None:
    price = str(await asyncio.to_thread(_last, rest) - 2000)
    code = _one(await asyncio.to_thread(rest.public.get_instruments, "SWAP", "", SWAP))["instIdCode"]
    one = {"instId": SWAP, "instIdCode": code, "clOrdId": "ws1"}
    async with _stream(WsPrivateAsync("sim", "sim", "sim", f"{venue.ws}/ws/v5/private")) as (socket, heard):
        await socket.login()
        await _heard(heard, lambda frame: frame.get("event") == "login")
        await socket.place_order([{**FAR, **one, "px": price}], id="1")
        placed = await _heard(heard, lambda frame: frame.get("id") == "1")
        assert (placed["code"], placed["data"][0]["clOrdId"]) == ("0", "ws1")
        await socket.amend_order([{**one, "newSz": "2"}], id="2")
        assert (await _heard(heard, lambda frame: frame.get("id") == "2"))["code"] == "0"
        await socket.cancel_order([one], id="3")
        assert (await _heard(heard, lambda frame: frame.get("id") == "3"))["code"] == "0"
        await socket.cancel_order([one], id="4")
        assert (await _heard(heard, lambda frame: frame.get("id") == "4"))["code"] == "1"
    assert (await asyncio.to_thread(venue.state))["orders"] == []


@asynccontextmanager
async def _stream(socket: Any) -> AsyncIterator[tuple[Any, asyncio.Queue[Any]]]:
    """An open socket of the library, and what it hears."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    socket.callback = lambda text: heard.put_nowait(json.loads(text))
    consumer = await socket.start()
    try:
        yield socket, heard
    finally:
        await socket.stop()
        await consumer


async def _heard(heard: asyncio.Queue[Any], wanted: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted(frame := await heard.get()):
            assert frame.get("event") != "error", frame
        return frame


def _is(frame: Any, channel: str) -> bool:
    return "data" in frame and frame.get("arg", {}).get("channel") == channel


def _rows(answer: Any) -> Any:
    assert answer["code"] == "0", answer
    return answer["data"]


def _one(answer: Any) -> Any:
    (row,) = _rows(answer)
    return row


def _last(rest: Any) -> int:
    return round(float(_one(rest.market.get_ticker(SWAP))["last"]))
