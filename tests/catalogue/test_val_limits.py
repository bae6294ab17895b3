"""Every limit is the one that is configured: a refusal names the setting, and that setting decides (VAL-11, VAL-15)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.config import Settings
from core.domain.breaker import Breaker, PauseCause
from core.domain.cooldown import CloseKind, LastClose
from core.domain.day import DayAccount, day_of
from core.domain.equity import Equity
from core.domain.gate import Gate, first_refusal
from core.domain.ids import ClientOrderId, SignalId, VenueName
from core.domain.instrument import Bracket, Instrument
from core.domain.order import OrderType
from core.domain.position import PositionKey
from core.domain.risk import RiskUsage, check, clock_gate
from core.domain.risk_book import RiskBook
from core.domain.screening import screen
from core.domain.signal import Side, Signal, Unusable
from core.domain.sizing import Sized, bracket_gate, size, size_gate
from core.domain.verdict import Denied, Reason
from core.domain.wave import LegState
from core.engine.ports import StreamState
from core.settings.fields import entries
from core.signals.parsing import SignalReader
from core.wiring.rules import entry_rules, result_rules, risk_limits, sizing_rule, wave_rules
from tests.builders import (
    BTC,
    NOW_MS,
    a_lot,
    a_signal,
    an_activity,
    an_instrument,
    an_instrument_id,
    facts,
    notional,
    price,
)
from tests.builders_config import some_settings
from tests.engine.bench import BINANCE, Bench, a_bench
from tests.scenarios.worlds import World, a_wave

pytestmark = pytest.mark.may_block("simulation runs storage inline")

R = Reason
Ask = Callable[[Settings], Iterable[Gate]]
COINS = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(3)]
COINS_OF_BYBIT = [an_instrument_id(f"C{n}/USDT:USDT", VenueName.BYBIT) for n in range(2)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`ask` answers the gates under settings where `key` is `refusing` or `passing` and everything else is the same."""

    reason: Reason
    key: str
    refusing: str
    passing: str
    ask: Ask
    others: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.reason.value}-{self.key}"


def screened(signal: Callable[[Settings], Signal] | Signal, **changes: Any) -> Ask:
    """The gates of screening; `changes` name fields of Facts, a symbol nothing else speaks against."""

    def ask(settings: Settings) -> Iterable[Gate]:
        made = signal(settings) if callable(signal) else signal
        told: dict[str, Any] = {"leverage": settings.sizing.leverage, **changes}
        return screen(made, facts(**told), entry_rules(settings).screening)

    return ask


def sized(instrument: Instrument, at: int = 100) -> Ask:
    def ask(settings: Settings) -> Iterable[Gate]:
        rule = sizing_rule(settings)
        found = size(instrument, price(at), rule, instrument.lot)
        yield size_gate(found, rule)
        if isinstance(found, Sized):
            yield bracket_gate(instrument, found.notional, Decimal(0), settings.sizing.leverage)

    return ask


def used(**usage: Any) -> Ask:
    """An entry worth 100 on top of `usage`, fields of RiskUsage."""
    told: dict[str, Any] = {"positions": 0, "exposure": Decimal(0), "free": Decimal(1_000), **usage}
    return lambda settings: check(notional(100), risk_limits(settings), RiskUsage(**told))


def resulted(side: Side = Side.BUY, **book: Any) -> Ask:
    """What results so far, fields of RiskBook, say to an entry in BTC."""
    told: dict[str, Any] = {"day": DayAccount(day=day_of(NOW_MS)), **book}

    def ask(settings: Settings) -> Iterable[Gate]:
        rules = result_rules(settings)
        return RiskBook(**told).judged(rules, NOW_MS).gates(BTC, side, rules, NOW_MS)

    return ask


def closed(kind: CloseKind, side: Side = Side.BUY, *, external: bool = False) -> dict[str, Any]:
    """Ten minutes ago."""
    last = LastClose(side=side, kind=kind, at_ms=NOW_MS - 600_000, external=external)
    return {"closes": {PositionKey(BTC, side): last}}


def _made_300_s_ago(settings: Settings) -> Signal:
    event = NOW_MS - 300_000
    return a_signal(event_time_ms=event, expires_at_ms=event + settings.signals.ttl_seconds * 1000)


def _stop_of_20_percent() -> Signal:
    return a_signal(stop_loss_percent=20)


def _stop_of_a_quarter_percent() -> Signal:
    """Of which 0.01 is the spread."""
    return a_signal(stop_loss_percent="0.265")


def _five_errors(settings: Settings) -> list[Gate]:
    breaker = Breaker(errors_limit=risk_limits(settings).errors_in_a_row)
    for number in range(5):
        breaker = breaker.failed(PauseCause.ERRORS, "no route", ClientOrderId(f"e{number}"), NOW_MS)
    return [breaker.gate(NOW_MS)]


A_SIGNAL = a_signal()
AT_102 = replace(A_SIGNAL, price=price(102))
COSTLY = an_instrument(min_notional=108)
COARSE = an_instrument(lot=a_lot(minimum=1, step=1), min_notional=5)
BRACKETS = (
    Bracket(most_notional=notional(50), max_leverage=20),
    Bracket(most_notional=notional(10_000), max_leverage=5),
)
NO_ACTIVITY = an_activity(open_interest=None, volume_1h=None, price_before=None)
AGED = an_activity(age=200.0)
UNANSWERED = replace(NO_ACTIVITY, error="binance: no route")
WIDE = (price(99), price(101))
LOST_60 = DayAccount(day=day_of(NOW_MS), closed=Decimal(-60))
DOWN_10_PERCENT = Equity(now=Decimal(900), peak=Decimal(1_000))
_OI, _VOLUME = "SIGNAL_MIN_OPEN_INTEREST_USDT", "SIGNAL_MIN_VOLUME_1H_USDT"
_MOVE, _SPREAD = "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT", "MAX_SPREAD_PERCENT"
_OTHERS_PASS = {
    "SIGNAL_OPEN_INTEREST_ON_MISSING": "pass",
    "SIGNAL_VOLUME_1H_ON_MISSING": "pass",
    "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING": "pass",
    "SPREAD_ON_MISSING": "pass",
}


def _case(reason: Reason, key: str, refusing: str, passing: str, ask: Ask, **others: str) -> Case:
    return Case(reason=reason, key=key, refusing=refusing, passing=passing, ask=ask, others=others)


def _missing(reason: Reason, key: str, ask: Ask) -> Case:
    return _case(reason, key, "refuse", "pass", ask, **{k: v for k, v in _OTHERS_PASS.items() if k != key})


CASES = [
    _case(R.EXPIRED, "SIGNAL_TTL_SECONDS", "200", "600", screened(_made_300_s_ago)),
    _case(R.SCORE_TOO_LOW, "MIN_SIGNAL_SCORE", "10.5", "10", screened(A_SIGNAL)),
    _case(R.SHORTS_OFF, "ALLOW_SHORTS", "false", "true", screened(a_signal(side=Side.SELL))),
    _case(R.QUOTE_NOT_ENABLED, "QUOTE_COIN", "USDC", "USDC,USDT", screened(A_SIGNAL)),
    _case(R.STOPLISTED, "STOPLIST_SYMBOLS", "BTCUSDT", "ETHUSDT", screened(A_SIGNAL)),
    _case(R.STOPLISTED, "STOPLIST_SYMBOLS", "BTC/USDT:USDT", "", screened(A_SIGNAL)),
    _case(R.NOT_ALLOWLISTED, "ALLOWLIST_SYMBOLS", "ETHUSDT", "BTCUSDT", screened(A_SIGNAL)),
    _case(R.NOT_ALLOWLISTED, "ALLOWLIST_SYMBOLS", "ETHUSDT", "", screened(A_SIGNAL)),
    _case(R.PRICE_DIVERGES, "PRICE_DIVERGENCE_REFUSE_PERCENT", "1", "5", screened(AT_102)),
    _case(R.PRICE_DIVERGES, "PRICE_DIVERGENCE_REFUSE_PERCENT", "1.99", "2", screened(A_SIGNAL, price=price(98))),
    _case(R.OPEN_INTEREST_TOO_LOW, _OI, "100000001", "100000000", screened(A_SIGNAL)),
    _case(R.VOLUME_TOO_LOW, _VOLUME, "1000001", "1000000", screened(A_SIGNAL)),
    _case(R.MOVED_AGAINST, _MOVE, "4.7", "4.8", screened(A_SIGNAL, activity=an_activity(price_before=price(105)))),
    _case(R.SPREAD_TOO_WIDE, _SPREAD, "1.9", "2", screened(A_SIGNAL, touch=WIDE), STOP_LOSS_PERCENT="3"),
    _missing(R.OPEN_INTEREST_MISSING, "SIGNAL_OPEN_INTEREST_ON_MISSING", screened(A_SIGNAL, activity=NO_ACTIVITY)),
    _missing(R.VOLUME_MISSING, "SIGNAL_VOLUME_1H_ON_MISSING", screened(A_SIGNAL, activity=NO_ACTIVITY)),
    _missing(R.PRICE_CHANGE_MISSING, "SIGNAL_PRICE_CHANGE_5MIN_ON_MISSING", screened(A_SIGNAL, activity=NO_ACTIVITY)),
    _missing(R.SPREAD_MISSING, "SPREAD_ON_MISSING", screened(A_SIGNAL, touch=None)),
    _missing(R.VENUE_ERROR, "SIGNAL_VOLUME_1H_ON_MISSING", screened(A_SIGNAL, activity=UNANSWERED)),
    _case(R.OPEN_INTEREST_MISSING, "SCREEN_MAX_AGE_SECONDS", "199", "200", screened(A_SIGNAL, activity=AGED)),
    _case(R.LEVERAGE_UNCONFIRMED, "LEVERAGE", "5", "10", screened(A_SIGNAL, leverage=10)),
    _case(R.STOP_BEYOND_LIQUIDATION, "LEVERAGE", "5", "4", screened(_stop_of_20_percent())),
    _case(R.STOP_BEYOND_LIQUIDATION, "LIQUIDATION_BUFFER_PERCENT", "81", "80", screened(_stop_of_20_percent())),
    _case(R.STOP_TOO_FAR, "MAX_STOP_DISTANCE_PERCENT", "19", "20", screened(_stop_of_20_percent())),
    _case(R.STOP_TOO_NEAR, "MIN_STOP_DISTANCE_PERCENT", "0.16", "0.15", screened(_stop_of_a_quarter_percent())),
    _case(R.STOP_TOO_NEAR, "TAKER_FEE_PERCENT", "0.08", "0.07", screened(_stop_of_a_quarter_percent())),
    _case(R.BELOW_MINIMUM, "POSITION_SIZE_USD", "98", "99", sized(COSTLY)),
    _case(R.BELOW_MINIMUM, "POSITION_SIZE_TOLERANCE_PERCENT", "7", "8", sized(COSTLY)),
    _case(R.BELOW_MINIMUM, "MIN_POSITION_SIZE_USDT", "91", "90", sized(COARSE, at=45), POSITION_SIZE_USD="100"),
    _case(R.ABOVE_MAXIMUM, "POSITION_SIZE_USD", "101000", "100000", sized(an_instrument()), MAX_EXPOSURE_USD="1000000"),
    _case(R.BRACKET_FULL, "LEVERAGE", "6", "5", sized(replace(an_instrument(), brackets=BRACKETS))),
    _case(R.MAX_POSITIONS, "MAX_POSITIONS", "2", "3", used(positions=2)),
    _case(R.MAX_POSITIONS_ON_VENUE, "MAX_POSITIONS_PER_VENUE", "2", "0", used(positions_on_venue=2)),
    _case(R.MAX_EXPOSURE, "MAX_EXPOSURE_USD", "599", "600", used(exposure=Decimal(500))),
    _case(R.MAX_SYMBOL_EXPOSURE, "MAX_EXPOSURE_PER_SYMBOL_USD", "199", "200", used(coin_exposure=Decimal(100))),
    _case(R.ENTRY_RATE, "MAX_ENTRIES_PER_MINUTE", "4", "5", used(entries_last_minute=4)),
    _case(R.BALANCE_TOO_LOW, "MINIMUM_ACTIVE_BALANCE_USD", "901", "900", used()),
    _case(R.BALANCE_TOO_LOW, "LEVERAGE", "1", "2", used(free=Decimal(60))),
    _case(
        R.CLOCK_UNSURE, "MAX_CLOCK_ERROR_MS", "1499", "1500",
        lambda settings: [clock_gate(-1_500, risk_limits(settings))],
    ),
    _case(R.VENUE_ERRORS, "VENUE_ERRORS_LIMIT", "5", "0", _five_errors),
    _case(R.DAY_LOSS, "MAX_DAILY_LOSS", "60", "60.01", resulted(day=LOST_60)),
    _case(R.STOP_STREAK, "SL_STREAK_LIMIT", "3", "4", resulted(streak=3)),
    _case(R.DRAWDOWN, "MAX_DRAWDOWN_PERCENT", "10", "10.1", resulted(equity=DOWN_10_PERCENT)),
    _case(R.COOLDOWN, "COOLDOWN_AFTER_LOSS_SECONDS", "601", "600", resulted(**closed(CloseKind.LOSS))),
    _case(R.COOLDOWN, "COOLDOWN_AFTER_WIN_SECONDS", "601", "600", resulted(**closed(CloseKind.WIN))),
    _case(R.COOLDOWN, "COOLDOWN_SAME_SIDE_SECONDS", "601", "600", resulted(**closed(CloseKind.EVEN))),
    _case(
        R.COOLDOWN, "COOLDOWN_AFTER_EXTERNAL_SECONDS", "601", "600",
        resulted(**closed(CloseKind.EVEN, external=True)),
    ),
    _case(R.COOLDOWN, "COOLDOWN_OPPOSITE_SIDE_SECONDS", "601", "0", resulted(Side.SELL, **closed(CloseKind.EVEN))),
]  # fmt: skip


def _names(gate: Gate, denied: Denied, key: str, value: str) -> bool:
    return denied.values.get(key) == value or f"{key}={value}" in gate.limit


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_refusal_names_the_setting_behind_it_and_changing_that_setting_changes_the_outcome(case: Case) -> None:
    refused = list(case.ask(some_settings(**case.others, **{case.key: case.refusing})))
    gate = next(gate for gate in refused if not gate.passed)
    assert gate.denied is not None
    assert gate.denied.reason is case.reason
    assert _names(gate, gate.denied, case.key, case.refusing), (gate.limit, gate.denied.values)
    passed = case.ask(some_settings(**case.others, **{case.key: case.passing}))
    assert first_refusal(passed) is None, first_refusal(passed)


async def _wave(settings: Settings, *signals: Signal, prepare: Callable[[Bench], object] = lambda _: None) -> list[Any]:
    """The legs of one wave, decided by these settings."""
    listed = [an_instrument(coin) for coin in (*COINS, *COINS_OF_BYBIT)]
    async with a_bench(
        instruments=listed,
        limits=risk_limits(settings),
        results=result_rules(settings),
        sizing=sizing_rule(settings),
        screening=entry_rules(settings).screening,
        order_type=OrderType(settings.entry.entry_order_type),
        waves=wave_rules(settings),
    ) as bench:
        prepare(bench)
        return list((await bench.wave(*signals)).legs)


def _signals(*instruments: Any, max_trades: int | None = None) -> list[Signal]:
    """Best first."""
    named = [(f"{i.venue.value}-{i.symbol[:2]}", i) for i in instruments]
    return [a_signal(name, instrument=i, score=9 - n, max_trades=max_trades) for n, (name, i) in enumerate(named)]


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
@pytest.mark.parametrize(
    ("key", "refusing", "passing", "signals"),
    [
        ("MAX_TRADES_PER_WAVE", "1", "2", _signals(*COINS[:2])),
        ("MAX_TRADES_PER_WAVE_TOTAL", "1", "0", _signals(COINS[0], COINS_OF_BYBIT[0])),
        ("MAX_POSITIONS", "1", "2", _signals(*COINS[:2], max_trades=50)),
    ],
)
async def test_a_wave_that_is_full_names_the_limit_that_filled_it(
    key: str, refusing: str, passing: str, signals: list[Signal]
) -> None:
    first, second = await _wave(some_settings(**{key: refusing}), *signals)
    assert first.state is LegState.PROTECTED
    assert second.denied.reason is R.WAVE_LIMIT
    assert second.denied.values[key] == refusing
    assert second.gates[-1].limit == f"{key}={refusing}"
    assert all(leg.state is LegState.PROTECTED for leg in await _wave(some_settings(**{key: passing}), *signals))


async def test_a_signal_that_asked_for_fewer_trades_is_told_its_own_limit() -> None:
    _, second = await _wave(some_settings(), *_signals(*COINS[:2], max_trades=1))
    assert second.gates[-1].limit == "max_trades_filter=1"


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
async def test_a_venue_that_answers_too_late_is_told_with_the_time_it_had() -> None:
    def silent(bench: Bench) -> None:
        bench.streams[BINANCE].state = StreamState.DOWN
        bench.prefetcher._live[BINANCE] = bench.clock.monotonic()
        bench.venue.latency = 0.4
        bench.prefetcher._timeout = settings.wave.prefetch_timeout_ms / 1000

    settings = some_settings(PREFETCH_TIMEOUT_MS="300")
    (leg,) = await _wave(settings, *_signals(COINS[0]), prepare=silent)
    assert leg.denied.reason is R.PREFETCH_FAILED
    assert leg.denied.values["PREFETCH_TIMEOUT_MS"] == "300"
    settings = some_settings(PREFETCH_TIMEOUT_MS="500")
    (leg,) = await _wave(settings, *_signals(COINS[0]), prepare=silent)
    assert leg.state is LegState.PROTECTED


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
async def test_a_wave_that_takes_too_long_is_told_with_the_time_it_had() -> None:
    def slow(bench: Bench) -> None:
        bench.reads[BINANCE].latency = 2.0

    (leg,) = await _wave(
        some_settings(WAVE_TIMEOUT_SECONDS="1", PREFETCH_TIMEOUT_MS="500"), *_signals(COINS[0]), prepare=slow
    )
    assert leg.denied.reason is R.WAVE_TIMEOUT
    assert leg.denied.values == {"WAVE_TIMEOUT_SECONDS": "1"}
    (leg,) = await _wave(
        some_settings(WAVE_TIMEOUT_SECONDS="3", PREFETCH_TIMEOUT_MS="500"), *_signals(COINS[0]), prepare=slow
    )
    assert leg.state is LegState.PROTECTED


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
def test_a_signal_without_a_venue_is_told_which_setting_would_give_it_one() -> None:
    def read(default: VenueName | None) -> Signal | Unusable:
        reader = SignalReader(
            source="test",
            ttl_ms=600_000,
            venues=(VenueName.BINANCE, VenueName.BYBIT),
            default_venue=default,
            resolve=lambda _venue, _spelling: BTC.symbol,
        )
        told = {"pair_symbol": "BTCUSDT", "direction": "LONG", "total_score": 1, "timestamp": NOW_MS}
        return reader.read(told, NOW_MS)

    refused = read(None)
    assert isinstance(refused, Unusable)
    assert refused.code == R.VENUE_MISSING
    assert "DEFAULT_EXCHANGE" in refused.detail
    assert isinstance(read(VenueName.BYBIT), Signal)


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
@pytest.mark.parametrize("enabled", [True, False])
async def test_trading_that_is_switched_off_says_by_which_setting(world: World, enabled: bool) -> None:
    await world.play(a_wave(["BTCUSDT"]))
    async with world.running(TRADING_ENABLED=str(enabled).lower()) as daemon:
        (leg,) = (await daemon.wave()).legs
        assert (leg.state is LegState.PROTECTED) == enabled
        if not enabled:
            assert leg.denied is not None
            assert leg.denied.reason is R.NOT_ACTIVE
            assert "TRADING_ENABLED=false" in leg.denied.detail


ELSEWHERE = {R.WAVE_LIMIT, R.PREFETCH_FAILED, R.WAVE_TIMEOUT, R.VENUE_MISSING, R.NOT_ACTIVE}
"""Made by settings as well, and proven above by tests of their own."""
NOT_BY_SETTINGS: dict[Reason, str] = {
    **dict.fromkeys(
        (
            R.MALFORMED, R.TIME_INVALID, R.SCORE_INVALID, R.PRICE_INVALID, R.PARAMETER_INVALID, R.SIDE_MISSING,
            R.SIDE_CONFLICT, R.VENUE_UNKNOWN, R.VENUE_CONFLICT, R.SYMBOL_UNKNOWN, R.WAVE_TOO_LARGE, R.WAVE_CLOSED,
            R.ALREADY_SEEN, R.SYMBOL_AMBIGUOUS,
        ),
        "what the signal says",
    ),
    **dict.fromkeys(
        (R.DUPLICATE_POSITION, R.PENDING_ORDER, R.BALANCE_UNKNOWN, R.NO_PRICE, R.STALE_PRICE, R.RULES_STALE),
        "what is known at that moment; the ages are promises of the program, not wishes",
    ),
    **dict.fromkeys(
        (
            R.SYMBOL_NOT_TRADING, R.VENUE_OFF, R.STREAM_DOWN, R.MARGIN_PAUSE, R.ACCOUNT_RESTRICTED,
            R.INSUFFICIENT_MARGIN, R.REJECTED, R.NOT_FILLED,
        ),
        "what the venue does",
    ),
    **dict.fromkeys((R.JOURNAL_UNWRITABLE, R.INTERNAL_ERROR, R.INTERRUPTED), "what goes wrong here"),
}  # fmt: skip


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
def test_every_reason_is_proven_to_name_its_setting_or_known_to_have_none() -> None:
    by_settings = {case.reason for case in CASES} | ELSEWHERE
    assert not by_settings & NOT_BY_SETTINGS.keys()
    assert set(Reason) == by_settings | NOT_BY_SETTINGS.keys(), "a new reason needs a case above"


NO_LIMIT = {
    "MARGIN_MODE", "SIGNAL_WS_URL", "SIGNAL_WS_TOKEN", "SIGNAL_FORM", "PRICE_DIVERGENCE_WARN_PERCENT",
    "WAVE_CHECK_MINUTES", "WAVE_CHECK_INTERVAL_SECONDS", "WAVE_CHECK_DURATION_SECONDS", "WAVE_COLLECT_MS",
    "EXCHANGES", "ALLOW_MIXED_ENVIRONMENTS", "ALLOW_WITHDRAWAL_KEYS",
}  # fmt: skip
"""Settings of these groups that refuse no signal."""
BOUNDS_OF_STOPS = {
    "MIN_STOP_DISTANCE_PERCENT", "MAX_STOP_DISTANCE_PERCENT", "LIQUIDATION_BUFFER_PERCENT", "TAKER_FEE_PERCENT",
}  # fmt: skip
"""The settings of protection that can."""
PROVEN_ELSEWHERE = {
    "MAX_TRADES_PER_WAVE", "MAX_TRADES_PER_WAVE_TOTAL", "WAVE_TIMEOUT_SECONDS", "PREFETCH_TIMEOUT_MS",
    "DEFAULT_EXCHANGE", "TRADING_ENABLED",
}  # fmt: skip


@pytest.mark.failure("VAL-11", "INV-13", "INV-14")
def test_every_setting_that_can_refuse_a_signal_has_a_case() -> None:
    groups = {"sizing", "risk", "signals", "wave", "trading"}
    settings = {entry.env for entry in entries(Settings) if entry.path[0] in groups and entry.effective}
    proven = {case.key for case in CASES} | PROVEN_ELSEWHERE
    assert settings | BOUNDS_OF_STOPS == proven | NO_LIMIT, "a new limit needs a case above"


def test_a_strategys_signal_that_ended_with_its_candle_says_so() -> None:
    event = NOW_MS - 61_000
    signal = replace(a_signal(event_time_ms=event, expires_at_ms=event + 60_000), id=SignalId("candle"))
    gate = next(iter(screened(signal)(some_settings())))
    assert gate.denied is not None
    assert gate.limit == "the next candle close, at most SIGNAL_TTL_SECONDS=600"
