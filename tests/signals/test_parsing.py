"""From raw frame to Signal, field by field; nothing missing is defaulted and nothing hostile gets through."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.ids import Symbol, VenueName
from core.domain.signal import Side, Signal, Unusable
from core.errors import MalformedPayload
from core.signals.parsing import MAX_DEPTH, MAX_FRAME_BYTES, SignalReader, decode_frame
from tests.builders import NOW_MS

LISTED = {"BTC/USDT:USDT", "ETH/USDT:USDT"}
EVENT_MS = 1_789_999_200_000  # 2026-09-21T14:00:00Z
PLAIN: dict[str, Any] = {
    "id": 17,
    "pair_symbol": "BTCUSDT",
    "direction": "LONG",
    "total_score": "12.5",
    "timestamp": "2026-09-21T14:00:00Z",
    "exchange": "binance",
}


def resolve(venue: VenueName, spelling: str) -> Symbol | None:
    unified = spelling if ":" in spelling else f"{spelling.replace('/', '').removesuffix('USDT')}/USDT:USDT"
    return Symbol(unified) if unified in LISTED else None


def a_reader(
    venues: tuple[VenueName, ...] = (VenueName.BINANCE,), default: VenueName | None = None, ttl_ms: int = 600_000
) -> SignalReader:
    return SignalReader(source="test", ttl_ms=ttl_ms, venues=venues, default_venue=default, resolve=resolve)


def read(reader: SignalReader | None = None, **changes: Any) -> Signal | Unusable:
    """PLAIN with changes; None removes the field."""
    raw = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    return (reader or a_reader()).read(raw, NOW_MS)


def accepted(reader: SignalReader | None = None, **changes: Any) -> Signal:
    signal = read(reader, **changes)
    assert isinstance(signal, Signal), signal
    return signal


def refused(reader: SignalReader | None = None, **changes: Any) -> str:
    unusable = read(reader, **changes)
    assert isinstance(unusable, Unusable), unusable
    return unusable.code


def test_a_pushed_signal_is_read_field_by_field() -> None:
    signal = accepted(patterns=["x"], rsi=55.5, volume_zscore=1)
    assert (signal.id, signal.source, signal.side, signal.score) == ("17", "test", Side.BUY, Decimal("12.5"))
    assert signal.instrument == (VenueName.BINANCE, "BTC/USDT:USDT")
    assert signal.expires_at_ms == signal.event_time_ms + 600_000
    assert (signal.parameters.stop_loss_percent, signal.parameters.max_trades) == (None, None)


def test_a_polled_signal_is_read_field_by_field() -> None:
    signal = accepted(
        direction=None, total_score=None, exchange=None, exchange_id=1, recommended_action="SELL", score_week="60",
        score_month="40.5", created_at="2026-09-21 14:05:00", stop_loss_filter="3.5", max_trades_filter=2,
    )  # fmt: skip
    assert (signal.side, signal.score) == (Side.SELL, Decimal("100.5"))
    assert signal.expires_at_ms - signal.event_time_ms == 900_000
    assert (signal.parameters.stop_loss_percent, signal.parameters.max_trades) == (Decimal("3.5"), 2)


@pytest.mark.parametrize(
    "text",
    ["2026-09-21T14:00:00Z", "2026-09-21 14:00:00", "2026-09-21T16:00:00+02:00", "2026-09-21T14:00:00.000+00:00"],
)
def test_every_spelling_of_a_time_is_the_same_moment_in_utc(text: str) -> None:
    assert accepted(timestamp=text).event_time_ms == EVENT_MS


@pytest.mark.parametrize("epoch", [EVENT_MS // 1000, str(EVENT_MS // 1000), EVENT_MS, str(EVENT_MS)])
def test_an_epoch_in_seconds_or_milliseconds_is_the_same_moment(epoch: int | str) -> None:
    assert accepted(timestamp=epoch).event_time_ms == EVENT_MS


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pair_symbol": None}, "malformed"),
        ({"pair_symbol": ""}, "malformed"),
        ({"pair_symbol": 5}, "malformed"),
        ({"pair_symbol": "x" * 65}, "malformed"),
        ({"pair_symbol": "BTC\nUSDT"}, "malformed"),
        ({"pair_symbol": "DOGEUSDT"}, "symbol_unknown"),
        ({"direction": None}, "side_missing"),
        ({"direction": "sideways"}, "side_missing"),
        ({"direction": "LONG", "recommended_action": "SELL"}, "side_conflict"),
        ({"timestamp": None}, "malformed"),
        ({"timestamp": "yesterday"}, "malformed"),
        ({"timestamp": 0}, "malformed"),
        ({"timestamp": -5}, "malformed"),
        ({"timestamp": True}, "malformed"),
        ({"timestamp": "2099-01-01T00:00:00Z"}, "malformed"),
        ({"created_at": "2099-01-01T00:00:00Z"}, "malformed"),
        ({"total_score": None}, "malformed"),
        ({"total_score": "NaN"}, "malformed"),
        ({"total_score": "Infinity"}, "malformed"),
        ({"total_score": "1e999999999"}, "malformed"),
        ({"total_score": Decimal("1e-999999999")}, "malformed"),
        ({"total_score": True}, "malformed"),
        ({"exchange": "nyse"}, "venue_unknown"),
        ({"exchange": None, "exchange_id": 4}, "venue_unknown"),
        ({"exchange": None, "exchange_id": True}, "venue_unknown"),
        ({"exchange": None, "exchange_id": "1"}, "venue_unknown"),
        ({"exchange": "binance", "exchange_id": 2}, "venue_conflict"),
        ({"stop_loss_filter": "0"}, "malformed"),
        ({"stop_loss_filter": "-1"}, "malformed"),
        ({"stop_loss_filter": "100"}, "malformed"),
        ({"max_trades_filter": -1}, "malformed"),
        ({"max_trades_filter": "2"}, "malformed"),
        ({"max_trades_filter": True}, "malformed"),
        ({"id": ""}, "malformed"),
        ({"id": {"a": 1}}, "malformed"),
        ({"id": "x" * 65}, "malformed"),
    ],
)
def test_missing_and_poisoned_fields_are_refused_with_their_reason(changes: dict[str, Any], code: str) -> None:
    assert refused(**changes) == code


@pytest.mark.parametrize(("word", "side"), [("LONG", Side.BUY), ("short", Side.SELL), ("Buy", Side.BUY)])
def test_every_spelling_of_a_side_means_that_side(word: str, side: Side) -> None:
    assert accepted(direction=word).side is side
    assert accepted(direction=None, recommended_action=word).side is side


def test_a_signal_without_a_venue_takes_the_default_or_the_only_one_and_else_none() -> None:
    several = (VenueName.BINANCE, VenueName.BYBIT)
    assert accepted(exchange=None).instrument.venue is VenueName.BINANCE
    assert accepted(a_reader(several, VenueName.BYBIT), exchange=None).instrument.venue is VenueName.BYBIT
    assert refused(a_reader(several), exchange=None) == "venue_missing"


def test_without_an_id_the_content_is_the_identity() -> None:
    first = accepted(id=None)
    assert first.id == accepted(id=None, rsi=1, total_score="99").id
    later = "2026-09-21T14:00:01Z"
    others: list[dict[str, Any]] = [{"pair_symbol": "ETHUSDT"}, {"direction": "SHORT"}, {"timestamp": later}]
    assert len({first.id, *(accepted(id=None, **other).id for other in others)}) == 4


def test_an_id_may_be_text_or_a_whole_number() -> None:
    assert accepted(id=17).id == accepted(id="17").id == "17"


@pytest.mark.parametrize("raw", [None, [], "signal", 5])
def test_what_is_not_an_object_is_refused(raw: object) -> None:
    unusable = a_reader().read(raw, NOW_MS)
    assert isinstance(unusable, Unusable)
    assert unusable.code == "malformed"


def test_foreign_text_is_shown_short_and_printable() -> None:
    unusable = read(pair_symbol="A\nB\x1b[31m" + "x" * 200)
    assert isinstance(unusable, Unusable)
    assert unusable.symbol.isprintable()
    assert len(unusable.symbol) <= 64


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*PLAIN, "created_at", "exchange_id", "stop_loss_filter"]), json_values))
def test_no_content_whatever_escapes_as_an_exception(poison: dict[str, Any]) -> None:
    assert isinstance(a_reader().read({**PLAIN, **poison}, NOW_MS), Signal | Unusable)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": ' + b"1" * 5_000 + b"}",
        b"\xff\xfe",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":"' + b"x" * MAX_FRAME_BYTES + b'"}',
    ],
    ids=["empty", "list", "null", "nan", "infinity", "huge number", "binary", "deep", "just too deep", "large"],
)
def test_frames_that_are_too_large_too_deep_or_no_object_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedPayload):
        decode_frame(data)


def test_numbers_of_a_frame_keep_every_digit() -> None:
    value = decode_frame(json.dumps({"a": 1}).replace("1", "0.1000000000000000055511151231257827").encode())["a"]
    assert value == Decimal("0.1000000000000000055511151231257827")
