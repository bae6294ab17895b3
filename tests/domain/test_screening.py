"""Every filter can refuse, says which setting decided, and changing that setting changes the outcome."""

from decimal import Decimal
from typing import Any

import pytest

from core.domain.gate import first_refusal
from core.domain.screening import screen
from core.domain.signal import Side
from core.domain.symbol_lists import SymbolLists
from core.domain.verdict import Reason
from tests.builders import NOW_MS, USDT, a_signal, an_instrument, facts, screening_rules

CASES: list[tuple[Reason, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (Reason.EXPIRED, {"expires_at_ms": NOW_MS}, {}, {}),
    (Reason.SCORE_TOO_LOW, {"score": "9.99"}, {}, {"min_score": Decimal(10)}),
    (Reason.SHORTS_OFF, {"side": Side.SELL}, {}, {"allow_shorts": False}),
    (Reason.SYMBOL_UNKNOWN, {}, {"instrument": None}, {}),
    (Reason.QUOTE_NOT_ENABLED, {}, {"instrument": an_instrument(quote="USDC")}, {}),
    (Reason.STOPLISTED, {}, {}, {"lists": SymbolLists(stop=frozenset({"BTCUSDT"}))}),
    (Reason.SYMBOL_NOT_TRADING, {}, {"instrument": an_instrument(tradable=False)}, {}),
    (Reason.DUPLICATE_POSITION, {}, {"has_position": True}, {}),
    (Reason.PENDING_ORDER, {}, {"has_pending_order": True}, {}),
    (Reason.NO_PRICE, {}, {"price": None, "price_age": None}, {}),
    (Reason.STALE_PRICE, {}, {"price_age": 5.001}, {}),
    (Reason.LEVERAGE_UNCONFIRMED, {}, {"leverage": None}, {}),
    (Reason.LEVERAGE_UNCONFIRMED, {}, {"leverage": 20}, {}),
]
SETTINGS = {
    Reason.SCORE_TOO_LOW: "MIN_SIGNAL_SCORE",
    Reason.SHORTS_OFF: "ALLOW_SHORTS",
    Reason.QUOTE_NOT_ENABLED: "QUOTE_COIN",
    Reason.STOPLISTED: "STOPLIST_SYMBOLS",
    Reason.LEVERAGE_UNCONFIRMED: "LEVERAGE",
}


def test_a_symbol_nothing_speaks_against_passes() -> None:
    assert first_refusal(screen(a_signal(), facts(), screening_rules())) is None


@pytest.mark.parametrize(("reason", "signal", "known", "rules"), CASES)
def test_each_filter_refuses_with_its_own_reason_and_its_setting(
    reason: Reason, signal: dict[str, Any], known: dict[str, Any], rules: dict[str, Any]
) -> None:
    denied = first_refusal(screen(a_signal(**signal), facts(**known), screening_rules(**rules)))
    assert denied is not None
    assert denied.reason is reason
    if reason in SETTINGS:
        assert SETTINGS[reason] in denied.values


@pytest.mark.parametrize(
    ("signal", "known", "rules"),
    [
        ({"expires_at_ms": NOW_MS + 1}, {}, {}),
        ({"score": 10}, {}, {"min_score": Decimal(10)}),
        ({"side": Side.SELL}, {}, {"allow_shorts": True}),
        ({}, {"instrument": an_instrument(quote="USDC")}, {"quotes": frozenset({USDT, "USDC"})}),
        ({}, {"price_age": 5.0}, {}),
        ({}, {"leverage": 20}, {"leverage": 20}),
    ],
)
def test_at_the_limit_a_signal_passes(signal: dict[str, Any], known: dict[str, Any], rules: dict[str, Any]) -> None:
    assert first_refusal(screen(a_signal(**signal), facts(**known), screening_rules(**rules))) is None


@pytest.mark.parametrize("spelling", ["BTCUSDT", "BTC/USDT", "BTC/USDT:USDT", "BTC-USDT-SWAP"])
def test_the_stop_list_understands_every_spelling(spelling: str) -> None:
    denied = first_refusal(screen(a_signal(), facts(), screening_rules(lists=SymbolLists(stop=frozenset({spelling})))))
    assert denied is not None
    assert denied.reason is Reason.STOPLISTED


@pytest.mark.parametrize("spelling", ["BTCUSDT", "BTC-USDT-SWAP"])
def test_an_allow_list_lets_only_its_symbols_in(spelling: str) -> None:
    lists = SymbolLists(allow=frozenset({spelling}))
    assert first_refusal(screen(a_signal(), facts(), screening_rules(lists=lists))) is None
    other = screening_rules(lists=SymbolLists(allow=frozenset({"ETHUSDT"})))
    denied = first_refusal(screen(a_signal(), facts(), other))
    assert denied is not None
    assert denied.reason is Reason.NOT_ALLOWLISTED
    assert denied.values == {"ALLOWLIST_SYMBOLS": "ETHUSDT"}
    both = screening_rules(lists=SymbolLists(allow=frozenset({spelling}), stop=frozenset({spelling})))
    denied = first_refusal(screen(a_signal(), facts(), both))
    assert denied is not None
    assert denied.reason is Reason.STOPLISTED, "the stop-list outranks it"
