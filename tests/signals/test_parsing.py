"""From raw frame to Signal, field by field; nothing missing is defaulted and nothing hostile gets through."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.ids import InstrumentId, SignalId, Symbol, VenueName
from core.domain.money import Price
from core.domain.screening import screen
from core.domain.signal import Side, Signal, SignalParameters, Unusable
from core.domain.verdict import Reason
from core.signals.frames import decode_frame
from core.signals.parsing import SignalReader
from tests.builders import NOW_MS, facts, screening_rules

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


def in_frame(**raw: Any) -> dict[str, Any]:
    """As it comes from the wire."""
    return dict(decode_frame(json.dumps(raw).encode()))


@pytest.mark.failure("SIG-08")
def test_every_field_of_a_pushed_signal_arrives_in_the_strategys_input() -> None:
    raw = in_frame(
        type="signal", id="abc-1", pair_symbol="ETHUSDT", total_score=999, direction="SHORT",
        timestamp="2026-09-21 14:00:00", patterns=["engulfing", "doji"], rsi=71.25, volume_zscore=-1.5,
        oi_delta_pct="3.10", strategy="breakout", exchange="Binance", price=2500.5, stop_loss_filter=2.5,
        trailing_activation_filter=1.75, trailing_distance_filter="0.5", max_trades_filter=0,
        take_profit_filter="4.5", time_limit_minutes=90.5,
    )  # fmt: skip
    assert a_reader().read(raw, NOW_MS) == Signal(
        id=SignalId("abc-1"),
        source="test",
        instrument=InstrumentId(VenueName.BINANCE, Symbol("ETH/USDT:USDT")),
        side=Side.SELL,
        score=Decimal(999),
        event_time_ms=EVENT_MS,
        expires_at_ms=EVENT_MS + 600_000,
        parameters=SignalParameters(
            stop_loss_percent=Decimal("2.5"),
            trailing_activation_percent=Decimal("1.75"),
            trailing_distance_percent=Decimal("0.5"),
            take_profit_percent=Decimal("4.5"),
            time_limit_minutes=Decimal("90.5"),
            max_trades=0,
        ),
        price=Price(Decimal("2500.5")),
        features={
            "patterns": "engulfing,doji",
            "rsi": "71.25",
            "volume_zscore": "-1.5",
            "oi_delta_pct": "3.10",
            "strategy": "breakout",
        },
    )


@pytest.mark.failure("SIG-08")
def test_every_field_of_a_polled_signal_arrives_in_the_strategys_input() -> None:
    raw = in_frame(
        id=4711, pair_symbol="BTCUSDT", recommended_action="BUY", score_week=60.5, score_month="40.25",
        timestamp="2026-09-21T14:00:00+00:00", created_at="2026-09-21T14:05:00.250Z", trading_pair_id=12,
        exchange_id=2, max_trades_filter=3, stop_loss_filter=3, trailing_activation_filter="2",
        trailing_distance_filter=0.4, entry_price="61000.10", take_profit_filter=6, time_limit_minutes="1",
    )  # fmt: skip
    assert a_reader((VenueName.BINANCE, VenueName.BYBIT)).read(raw, NOW_MS) == Signal(
        id=SignalId("4711"),
        source="test",
        instrument=InstrumentId(VenueName.BYBIT, Symbol("BTC/USDT:USDT")),
        side=Side.BUY,
        score=Decimal("100.75"),
        event_time_ms=EVENT_MS,
        expires_at_ms=EVENT_MS + 300_250 + 600_000,
        parameters=SignalParameters(
            stop_loss_percent=Decimal(3),
            trailing_activation_percent=Decimal(2),
            trailing_distance_percent=Decimal("0.4"),
            take_profit_percent=Decimal(6),
            time_limit_minutes=Decimal(1),
            max_trades=3,
        ),
        price=Price(Decimal("61000.10")),
        features={"trading_pair_id": "12", "score_week": "60.5", "score_month": "40.25"},
    )


def test_what_a_signal_does_not_ask_for_stays_the_configured_default() -> None:
    signal = accepted()
    assert (signal.parameters, signal.price, signal.features) == (SignalParameters(), None, {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"), ("  x ", "x"), (True, "true"), (0, "0"), (Decimal("1.50"), "1.5"), (["a", 1, "b"], "a,1,b"),
        ("a\nb", None), ("\x1b[31m", None), ("x" * 65, None), (Decimal("NaN"), None), (Decimal("1e999"), None),
        ({"a": 1}, None), ([[["a"]]], None), (["\n"], None), ([], None), (["x"] * 1_000, ",".join(["x"] * 16)),
        (["x" * 64] * 16, ("x" * 64 + "," + "x" * 64)[:128]),
    ],
)  # fmt: skip
def test_a_makers_own_figure_is_short_printable_text_or_left_out(value: Any, text: str | None) -> None:
    assert accepted(patterns=value).features == ({} if text is None else {"patterns": text})


@pytest.mark.failure("SIG-08")
@given(st.decimals(-1_000_000, 1_000_000, places=4), st.decimals(-1_000, 1_000, places=4))
def test_every_score_in_the_range_is_judged_by_exactly_one_rule(score: Decimal, least: Decimal) -> None:
    """There is one bound, MIN_SIGNAL_SCORE, and it is inclusive: no gap between bands, no upper end."""
    signal = accepted(a_reader(ttl_ms=NOW_MS), total_score=str(score))
    assert signal.score == score
    denied = {gate.denied.reason for gate in screen(signal, facts(), screening_rules(min_score=least)) if gate.denied}
    assert denied == ({Reason.SCORE_TOO_LOW} if score < least else set())


@pytest.mark.failure("SIG-14")
@pytest.mark.parametrize("venues", [(VenueName.BINANCE,), (VenueName.BINANCE, VenueName.BYBIT)])
@pytest.mark.parametrize("number", [0, 4, 99, -1, "1", 1.0, True, "binance"])
def test_an_unknown_venue_id_is_never_mapped_to_a_default_venue(venues: tuple[VenueName, ...], number: Any) -> None:
    assert refused(a_reader(venues, VenueName.BINANCE), exchange=None, exchange_id=number) == "venue_unknown"


@pytest.mark.failure("SIG-09")
@pytest.mark.parametrize(
    "text",
    ["2026-09-21T14:00:00Z", "2026-09-21 14:00:00", "2026-09-21T16:00:00+02:00", "2026-09-21T14:00:00.000+00:00"],
)
def test_every_spelling_of_a_time_is_the_same_moment_in_utc(text: str) -> None:
    assert accepted(timestamp=text).event_time_ms == EVENT_MS


@pytest.mark.failure("SIG-09")
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
        ({"timestamp": None}, "time_invalid"),
        ({"timestamp": "yesterday"}, "time_invalid"),
        ({"timestamp": 0}, "time_invalid"),
        ({"timestamp": -5}, "time_invalid"),
        ({"timestamp": True}, "time_invalid"),
        ({"timestamp": "2099-01-01T00:00:00Z"}, "time_invalid"),
        ({"created_at": "2099-01-01T00:00:00Z"}, "time_invalid"),
        ({"total_score": None}, "score_invalid"),
        ({"total_score": "NaN"}, "score_invalid"),
        ({"total_score": "Infinity"}, "score_invalid"),
        ({"total_score": "1e999999999"}, "score_invalid"),
        ({"total_score": Decimal("1e-999999999")}, "score_invalid"),
        ({"total_score": True}, "score_invalid"),
        ({"exchange": "nyse"}, "venue_unknown"),
        ({"exchange": None, "exchange_id": 4}, "venue_unknown"),
        ({"exchange": None, "exchange_id": True}, "venue_unknown"),
        ({"exchange": None, "exchange_id": "1"}, "venue_unknown"),
        ({"exchange": "binance", "exchange_id": 2}, "venue_conflict"),
        ({"stop_loss_filter": "0"}, "parameter_invalid"),
        ({"stop_loss_filter": "-1"}, "parameter_invalid"),
        ({"stop_loss_filter": "100"}, "parameter_invalid"),
        ({"max_trades_filter": -1}, "parameter_invalid"),
        ({"max_trades_filter": "2"}, "parameter_invalid"),
        ({"max_trades_filter": True}, "parameter_invalid"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "time_invalid"),
        ({"timestamp": [1]}, "time_invalid"),
        ({"total_score": ""}, "score_invalid"),
        ({"total_score": 1_000_001}, "score_invalid"),
        ({"total_score": -1_000_001}, "score_invalid"),
        ({"total_score": Decimal("1e308")}, "score_invalid"),
        ({"total_score": Decimal("NaN")}, "score_invalid"),
        ({"total_score": Decimal("-Infinity")}, "score_invalid"),
        ({"total_score": [1]}, "score_invalid"),
        ({"total_score": None, "score_week": True, "score_month": 1}, "score_invalid"),
        ({"total_score": None, "score_week": 600_000, "score_month": 600_000}, "score_invalid"),
        ({"price": 0}, "price_invalid"),
        ({"price": -1}, "price_invalid"),
        ({"price": "NaN"}, "price_invalid"),
        ({"price": Decimal("Infinity")}, "price_invalid"),
        ({"price": Decimal("1e308")}, "price_invalid"),
        ({"price": 10**9 + 1}, "price_invalid"),
        ({"price": ""}, "price_invalid"),
        ({"price": True}, "price_invalid"),
        ({"entry_price": 0}, "price_invalid"),
        ({"price": 1, "entry_price": 2}, "price_invalid"),
        ({"stop_loss_filter": True}, "parameter_invalid"),
        ({"stop_loss_filter": "2 %"}, "parameter_invalid"),
        ({"trailing_activation_filter": 0}, "parameter_invalid"),
        ({"trailing_activation_filter": 100}, "parameter_invalid"),
        ({"trailing_distance_filter": -0.5}, "parameter_invalid"),
        ({"trailing_distance_filter": "abc"}, "parameter_invalid"),
        ({"max_trades_filter": 100_001}, "parameter_invalid"),
        ({"take_profit_filter": 0}, "parameter_invalid"),
        ({"take_profit_filter": -3}, "parameter_invalid"),
        ({"take_profit_filter": 100}, "parameter_invalid"),
        ({"take_profit_filter": "5 %"}, "parameter_invalid"),
        ({"take_profit_filter": Decimal("NaN")}, "parameter_invalid"),
        ({"take_profit_filter": [5]}, "parameter_invalid"),
        ({"time_limit_minutes": 0}, "parameter_invalid"),
        ({"time_limit_minutes": "0.99"}, "parameter_invalid"),
        ({"time_limit_minutes": -60}, "parameter_invalid"),
        ({"time_limit_minutes": 600_001}, "parameter_invalid"),
        ({"time_limit_minutes": True}, "parameter_invalid"),
        ({"time_limit_minutes": "1h"}, "parameter_invalid"),
        ({"time_limit_minutes": ""}, "parameter_invalid"),
        ({"time_limit_minutes": Decimal("Infinity")}, "parameter_invalid"),
        ({"time_limit_minutes": Decimal("1e-999999999")}, "parameter_invalid"),
        ({"time_limit_minutes": {"m": 5}}, "parameter_invalid"),
        ({"max_trades_filter": Decimal("2.5")}, "parameter_invalid"),
        ({"exchange": None, "exchange_id": 0}, "venue_unknown"),
        ({"exchange": None, "exchange_id": -1}, "venue_unknown"),
        ({"exchange": None, "exchange_id": 10**30}, "venue_unknown"),
        ({"exchange": "binance", "exchange_id": 9}, "venue_unknown"),
        ({"id": "a\nb"}, "malformed"),
        ({"id": "  "}, "malformed"),
        ({"id": True}, "malformed"),
        ({"id": 1.5}, "malformed"),
        ({"id": ""}, "malformed"),
        ({"id": {"a": 1}}, "malformed"),
        ({"id": "x" * 65}, "malformed"),
    ],
)
@pytest.mark.failure("SIG-09")
@pytest.mark.failure("SIG-14")
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


@given(
    st.dictionaries(
        st.sampled_from([*PLAIN, "created_at", "exchange_id", "stop_loss_filter", "time_limit_minutes"]), json_values
    )
)
def test_no_content_whatever_escapes_as_an_exception(poison: dict[str, Any]) -> None:
    assert isinstance(a_reader().read({**PLAIN, **poison}, NOW_MS), Signal | Unusable)
