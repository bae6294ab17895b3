"""Every payload captured from the venue, or given in its documents, parses into what it says."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport, Report, Source
from core.errors import MalformedPayload
from core.venues.binance.instruments import instruments_of
from core.venues.binance.parse import (
    algo_report,
    balance_reports,
    order_report,
    position_report,
    trade_report,
)
from core.venues.binance.payloads import (
    AccountConfigRow,
    AccountRow,
    AlgoRow,
    BracketRow,
    LeverageRow,
    ListenKey,
    OrderRow,
    PositionRow,
    ServerTime,
    SymbolConfigRow,
    TradeRow,
)
from core.venues.binance.user_feed import UserFrames
from core.venues.payload import shaped
from core.venues.private_session import KeyExpiredError
from core.venues.symbols import SymbolTable
from tests.builders import an_instrument

BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "binance_usdm"


class EverySymbol(SymbolTable):
    """Knows whatever is asked for, so that no capture is skipped."""

    def unified(self, venue_symbol: str) -> InstrumentId | None:
        base = venue_symbol.removesuffix("USDT")
        return InstrumentId(VenueName.BINANCE, Symbol(f"{base}/USDT:USDT"))


def _load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"), parse_float=Decimal)


def _rows(payload: Any) -> list[Any]:
    return payload if isinstance(payload, list) else [payload]


@pytest.mark.parametrize(
    "name",
    [
        "rest_order_post.doc", "rest_order_post_RESULT_market.recorded", "rest_order_get.doc",
        "rest_order_get_market.recorded", "rest_order_delete.doc", "rest_openOrders_get.doc",
        "rest_openOrder_get.doc", "rest_allOrders_get.doc", "rest_allOrders_get.recorded",
    ],
)  # fmt: skip
def test_orders_parse(fixtures: Path, name: str) -> None:
    for row in _rows(_load(fixtures, name)):
        report = order_report(shaped(row, OrderRow, name), BTC, Source.REST)
        assert str(report.client_order_id) == row["clientOrderId"]
        assert report.filled == Decimal(row["executedQty"])
        assert report.quantity == Decimal(row["origQty"])
        assert report.average_price is None or report.average_price > 0


@pytest.mark.parametrize(
    "name",
    [
        "rest_algoOrder_post.doc", "rest_algoOrder_post.recorded", "rest_algoOrder_get.doc",
        "rest_openAlgoOrders_get.doc", "rest_openAlgoOrders_get.recorded", "rest_allAlgoOrders_get.doc",
        "rest_allAlgoOrders_get_finished_and_canceled.recorded",
    ],
)  # fmt: skip
def test_conditional_orders_parse(fixtures: Path, name: str) -> None:
    for row in _rows(_load(fixtures, name)):
        report = algo_report(shaped(row, AlgoRow, name), BTC, Source.REST)
        assert report.conditional
        assert report.filled == 0
        assert str(report.client_order_id) == row["clientAlgoId"]
        if row.get("actualOrderId"):
            assert report.venue_order_id == row["actualOrderId"]


@pytest.mark.parametrize("name", ["rest_userTrades.doc", "rest_userTrades.recorded"])
def test_trades_parse(fixtures: Path, name: str) -> None:
    for row in _load(fixtures, name):
        fill = trade_report(shaped(row, TradeRow, name), BTC, Source.REST)
        assert (fill.price, fill.quantity) == (Decimal(row["price"]), Decimal(row["qty"]))
        assert fill.fee == Decimal(row["commission"])
        assert fill.venue_order_id == str(row["orderId"])


def test_positions_parse_with_their_sign(fixtures: Path) -> None:
    for row in _load(fixtures, "rest_positionRisk_v3.doc"):
        report = position_report(shaped(row, PositionRow, "positionRisk"), BTC, Source.REST)
        expected = Decimal(row["positionAmt"])
        assert report.quantity == (-abs(expected) if row["positionSide"] == "SHORT" else expected)


def test_balances_parse(fixtures: Path) -> None:
    payload = _load(fixtures, "rest_account_v3.doc")
    reports = balance_reports(shaped(payload, AccountRow, "account"), Source.REST)
    assert {r.asset: r.wallet for r in reports} == {a["asset"]: Decimal(a["walletBalance"]) for a in payload["assets"]}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rest_accountConfig.doc", AccountConfigRow),
        ("rest_symbolConfig.doc", list[SymbolConfigRow]),
        ("rest_leverage_post.doc", LeverageRow),
        ("rest_leverageBracket.recorded", list[BracketRow]),
        ("rest_time.recorded", ServerTime),
        ("rest_listenKey_post.doc", ListenKey),
    ],
)
def test_settings_and_session_answers_parse(fixtures: Path, name: str, shape: Any) -> None:
    shaped(_load(fixtures, name), shape, name)


@pytest.mark.parametrize("name", ["rest_exchangeInfo.recorded", "rest_exchangeInfo_simulator_subset.composed"])
def test_every_listed_perpetual_becomes_an_instrument(fixtures: Path, name: str) -> None:
    markets = [
        {
            "id": row["symbol"],
            "symbol": f"{row['baseAsset']}/{row['quoteAsset']}:{row['marginAsset']}",
            "quote": row["quoteAsset"],
            "swap": True,
            "linear": True,
            "info": row,
        }
        for row in _load(fixtures, name)["symbols"]
    ]
    usable, unusable = instruments_of(markets, {})
    assert not unusable
    assert len(usable) == len(markets)
    assert {i.venue_symbol for i in usable if i.tradable} <= {
        m["id"] for m in markets if m["info"]["status"] == "TRADING"
    }


def _frames(fixtures: Path) -> list[tuple[str, Any]]:
    files = sorted(fixtures.glob("uds_*.json"))
    rows = [(path.stem, row) for path in files for row in _rows(json.loads(path.read_text("utf-8")))]
    return [(name, row.get("event", row) if isinstance(row, dict) else row) for name, row in rows]


def _decoded(fixtures: Path) -> list[tuple[str, Any, list[Report]]]:
    decode = UserFrames(EverySymbol()).decode
    rows = []
    for name, frame in _frames(fixtures):
        if not isinstance(frame, dict) or "e" not in frame or frame["e"] == "listenKeyExpired":
            continue
        reports = decode(json.dumps(frame).encode())
        rows.append((name, frame, list(reports or ())))
    return rows


def test_every_captured_stream_frame_decodes(fixtures: Path) -> None:
    rows = _decoded(fixtures)
    assert len(rows) > 20
    kinds = {frame["e"] for _, frame, _ in rows}
    assert {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE"} <= kinds


def test_an_order_frame_tells_its_state_and_its_trade(fixtures: Path) -> None:
    for name, frame, reports in _decoded(fixtures):
        if frame["e"] != "ORDER_TRADE_UPDATE":
            continue
        order = frame["o"]
        status = reports[-1]
        assert isinstance(status, OrderStatusReport), name
        assert status.filled == Decimal(order["z"])
        assert status.venue_time_ms == frame["T"]
        fills = [r for r in reports if isinstance(r, FillReport)]
        assert [f.quantity for f in fills] == ([Decimal(order["l"])] if Decimal(order["l"]) else [])
        for fill in fills:
            assert fill.price == Decimal(order["L"])
            assert fill.fee == Decimal(order.get("n") or "0")
            assert fill.fee_asset == Asset(order.get("N") or "USDT")


def test_an_account_frame_tells_every_balance_and_position_it_names(fixtures: Path) -> None:
    for name, frame, reports in _decoded(fixtures):
        if frame["e"] != "ACCOUNT_UPDATE":
            continue
        told = frame["a"]
        balances = {r.asset: r.wallet for r in reports if isinstance(r, BalanceReport)}
        assert balances == {row["a"]: Decimal(row["wb"]) for row in told.get("B", [])}, name
        sizes = [abs(r.quantity) for r in reports if isinstance(r, PositionReport)]
        assert sizes == [abs(Decimal(row["pa"])) for row in told.get("P", [])], name


def test_a_fired_stop_is_triggered_and_names_its_child(fixtures: Path) -> None:
    statuses: dict[str, OrderStatus] = {}
    for _, frame, reports in _decoded(fixtures):
        if frame["e"] == "ALGO_UPDATE":
            (report,) = reports
            assert isinstance(report, OrderStatusReport)
            assert report.conditional
            statuses[frame["o"]["X"]] = report.status
            assert report.venue_order_id == (frame["o"].get("ai") or str(frame["o"]["aid"]))
    assert statuses["NEW"] is OrderStatus.ACCEPTED
    assert {statuses[word] for word in ("TRIGGERING", "TRIGGERED", "FINISHED") if word in statuses} == {
        OrderStatus.TRIGGERED
    }


def test_the_notice_of_an_expired_key_is_recognised(fixtures: Path) -> None:
    frame = (fixtures / "uds_listenKeyExpired.doc.json").read_bytes()
    with pytest.raises(KeyExpiredError):
        UserFrames(EverySymbol()).decode(frame)


GOOD_FRAME: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE",
    "T": 1_789_837_689_736,
    "E": 1_789_837_689_740,
    "o": {
        "s": "BTCUSDT", "c": "bwone", "S": "BUY", "q": "0.002", "ap": "77000", "x": "TRADE", "X": "FILLED", "i": 7,
        "l": "0.002", "z": "0.002", "L": "77000", "t": 9, "n": "0.06", "N": "USDT", "rp": "0", "m": False, "ps": "BOTH",
    },
}  # fmt: skip


def _decode(frame: Any) -> Any:
    table = SymbolTable()
    table.replace([an_instrument(BTC)])
    return UserFrames(table).decode(frame if isinstance(frame, bytes) else json.dumps(frame).encode())


@pytest.mark.failure("UDS-13")
def test_unknown_events_fields_and_foreign_orders_are_taken_calmly() -> None:
    assert _decode({"e": "SOMETHING_NEW", "E": 1}) is None
    assert _decode({"E": 1, "e": "SOMETHING_NEW"}) is None, "the name is found wherever it stands"
    assert _decode({"e": "TRADE_LITE", "E": 1}) == ()
    new_field = GOOD_FRAME | {"zz": {"deep": [1]}, "o": GOOD_FRAME["o"] | {"zz": 1}}
    assert len(_decode(new_field)) == 2
    optional = {key: value for key, value in GOOD_FRAME["o"].items() if key not in {"n", "N", "rp", "m", "ps", "t"}}
    fill, status = _decode(GOOD_FRAME | {"o": optional})
    assert (fill.fee, fill.fee_asset, status.filled) == (0, "USDT", Decimal("0.002"))
    foreign, _ = _decode(GOOD_FRAME | {"o": GOOD_FRAME["o"] | {"c": "web_abc"}})
    assert foreign.client_order_id == "web_abc"
    assert _decode(GOOD_FRAME | {"o": GOOD_FRAME["o"] | {"s": "BTCUSDT_260925"}}) == (), "not a market of ours"


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"null", b"[]", b"\x00{", b'{"e":"ORDER_TRADE_UPDATE"', b'{"e":"ORDER_TRADE_UPDATE"}', b'{"e":7}', b'"x"',
        *(
            json.dumps(GOOD_FRAME | {"o": GOOD_FRAME["o"] | change}).encode()
            for change in (
                {"X": "NEVER_HEARD"}, {"S": "HOLD"}, {"q": "NaN"}, {"z": "Infinity"}, {"l": ""}, {"L": None},
                {"ps": "UP"}, {"i": "seven"}, {"q": 0.002}, {"ap": "-1"},
            )
        ),
    ],
)  # fmt: skip
def test_a_frame_that_does_not_parse_is_refused_whole(broken: bytes) -> None:
    with pytest.raises(MalformedPayload):
        _decode(broken)
