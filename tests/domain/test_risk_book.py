"""Limits on results: each acts at its configured value, once, and is lifted before it is asked about."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.cooldown import CloseKind, CooldownRules, LastClose, cooldown_gate
from core.domain.day import MS_PER_DAY, DayAccount, day_of, end_of
from core.domain.equity import Equity
from core.domain.funding import FundingBook, FundingHour, Paid
from core.domain.gate import first_refusal
from core.domain.ids import Asset, PositionId, VenueName
from core.domain.risk_book import Limit, ResultRules, RiskBook
from core.domain.signal import Side
from core.domain.verdict import Reason
from core.engine.risk_record import decoded, encoded
from tests.builders import BTC, ETH, NOW_MS, result_rules

P = PositionId("p")
TODAY = day_of(NOW_MS)
MIDNIGHT = end_of(TODAY)
RULES = result_rules(max_daily_loss=100, streak_limit=3, max_drawdown_percent=10)
CENT = Decimal("0.01")


def a_book(*, loss: Decimal | int = 0, streak: int = 0, equity: Equity | None = None) -> RiskBook:
    day = DayAccount(day=TODAY).opened(P).valued(P, -Decimal(loss))
    return RiskBook(day=day, streak=streak, equity=equity or Equity(now=Decimal(1000), peak=Decimal(1000)))


def reason(book: RiskBook, rules: ResultRules = RULES, now_ms: int = NOW_MS) -> Reason | None:
    denied = first_refusal(book.gates(BTC, Side.BUY, rules, now_ms))
    return None if denied is None else denied.reason


@pytest.mark.parametrize(("loss", "expected"), [(100 - CENT, None), (100, Reason.DAY_LOSS), (101, Reason.DAY_LOSS)])
def test_the_days_loss_acts_at_its_limit(loss: Decimal, expected: Reason | None) -> None:
    assert reason(a_book(loss=loss).judged(RULES, NOW_MS)) is expected


@pytest.mark.parametrize(("streak", "expected"), [(2, None), (3, Reason.STOP_STREAK)])
def test_the_row_of_stops_acts_at_its_limit(streak: int, expected: Reason | None) -> None:
    assert reason(a_book(streak=streak).judged(RULES, NOW_MS)) is expected


@pytest.mark.parametrize(("now", "expected"), [(900 + CENT, None), (900, Reason.DRAWDOWN)])
def test_the_drawdown_acts_at_its_limit_and_zero_switches_it_off(now: Decimal, expected: Reason | None) -> None:
    book = a_book(equity=Equity(now=Decimal(now), peak=Decimal(1000)))
    assert reason(book.judged(RULES, NOW_MS)) is expected
    off = result_rules(max_daily_loss=100, streak_limit=3)
    assert reason(book.judged(off, NOW_MS), off) is None


def test_a_limit_holds_after_the_loss_has_gone_and_begins_only_once() -> None:
    book = a_book(loss=100).judged(RULES, NOW_MS)
    recovered = replace(book, day=book.day.valued(P, Decimal(0))).judged(RULES, NOW_MS + 1)
    assert recovered.episodes == book.episodes
    assert reason(recovered) is Reason.DAY_LOSS
    assert recovered.judged(RULES, NOW_MS + 2) is recovered


def test_at_midnight_the_day_and_the_row_begin_anew_and_the_drawdown_holds() -> None:
    fallen = Equity(now=Decimal(800), peak=Decimal(1000))
    book = a_book(loss=150, streak=5, equity=fallen).judged(RULES, NOW_MS)
    assert set(book.episodes) == set(Limit)
    assert set(book.judged(RULES, MIDNIGHT - 1).episodes) == set(Limit)
    tomorrow = book.judged(RULES, MIDNIGHT)
    assert (tomorrow.day.day, tomorrow.day.result, tomorrow.streak) == (TODAY + 1, 0, 0)
    assert set(tomorrow.episodes) == {Limit.DRAWDOWN}


def test_the_same_open_loss_does_not_stop_the_next_day() -> None:
    tomorrow = a_book(loss=150).judged(RULES, NOW_MS).judged(RULES, MIDNIGHT)
    assert reason(tomorrow, now_ms=MIDNIGHT) is None
    again = replace(tomorrow, day=tomorrow.day.valued(P, Decimal(-250))).judged(RULES, MIDNIGHT + 1)
    assert reason(again, now_ms=MIDNIGHT + 1) is Reason.DAY_LOSS


def test_a_clock_that_is_set_back_gives_no_loss_away() -> None:
    book = a_book(loss=100).judged(RULES, NOW_MS)
    assert reason(book.judged(RULES, NOW_MS - MS_PER_DAY)) is Reason.DAY_LOSS


def test_a_resume_is_not_undone_by_the_same_loss_but_by_as_much_again() -> None:
    fallen = Equity(now=Decimal(800), peak=Decimal(1000))
    book = a_book(loss=150, streak=5, equity=fallen).judged(RULES, NOW_MS).resumed().judged(RULES, NOW_MS)
    assert reason(book) is None
    almost = replace(book, day=book.day.valued(P, Decimal("-249.99"))).judged(RULES, NOW_MS)
    assert reason(almost) is None
    assert reason(replace(book, day=book.day.valued(P, Decimal(-250))).judged(RULES, NOW_MS)) is Reason.DAY_LOSS
    assert reason(replace(book, streak=3).judged(RULES, NOW_MS)) is Reason.STOP_STREAK


def test_a_resume_forgets_nothing_of_limits_that_were_not_reached() -> None:
    """Pressed now and then it would keep them from ever being."""
    fallen = Equity(now=Decimal(950), peak=Decimal(1000))
    book = a_book(loss=50, streak=1, equity=fallen).judged(RULES, NOW_MS)
    assert book.resumed() == book
    stopped = a_book(loss=150, streak=1, equity=fallen).judged(RULES, NOW_MS)
    assert set(stopped.episodes) == {Limit.DAY_LOSS}
    resumed = stopped.resumed()
    assert (resumed.streak, resumed.equity, resumed.episodes) == (1, fallen, {})
    assert resumed.day.counted_loss == 0


def closed(kind: CloseKind, at_ms: int = NOW_MS, side: Side = Side.BUY, *, external: bool = False) -> LastClose:
    return LastClose(side=side, kind=kind, at_ms=at_ms, external=external)


@pytest.mark.parametrize(
    ("kind", "by_stop", "streak"),
    [
        (CloseKind.LOSS, True, 3),
        (CloseKind.LOSS, False, 2),
        (CloseKind.WIN, True, 0),
        (CloseKind.WIN, False, 0),
        (CloseKind.EVEN, True, 2),
    ],
)
def test_only_a_stop_that_lost_lengthens_the_row_and_only_a_win_ends_it(
    kind: CloseKind, by_stop: bool, streak: int
) -> None:
    book = a_book(streak=2).with_close(BTC, closed(kind), by_stop=by_stop, rules=CooldownRules())
    assert book.streak == streak
    other = a_book(streak=2).with_close(BTC, closed(kind, external=True), by_stop=by_stop, rules=CooldownRules())
    assert other.streak == 2, "what another hand closes says nothing of our stops"


COOLDOWNS = CooldownRules(after_loss=180, after_win=90, same_side=60, opposite_side=5, after_external=120)
SECOND = 1_000


@pytest.mark.failure("TRL-13")
@pytest.mark.parametrize(
    ("kind", "external", "side", "rules", "seconds", "setting"),
    [
        (CloseKind.LOSS, False, Side.BUY, COOLDOWNS, 180, "COOLDOWN_AFTER_LOSS_SECONDS=180"),
        (CloseKind.LOSS, False, Side.SELL, COOLDOWNS, 180, "COOLDOWN_AFTER_LOSS_SECONDS=180"),
        (CloseKind.LOSS, True, Side.BUY, COOLDOWNS, 180, "COOLDOWN_AFTER_LOSS_SECONDS=180"),
        (CloseKind.WIN, False, Side.SELL, COOLDOWNS, 90, "COOLDOWN_AFTER_WIN_SECONDS=90"),
        (CloseKind.WIN, True, Side.BUY, COOLDOWNS, 120, "COOLDOWN_AFTER_EXTERNAL_SECONDS=120"),
        (CloseKind.EVEN, True, Side.SELL, COOLDOWNS, 120, "COOLDOWN_AFTER_EXTERNAL_SECONDS=120"),
        (CloseKind.EVEN, False, Side.BUY, COOLDOWNS, 60, "COOLDOWN_SAME_SIDE_SECONDS=60"),
        (CloseKind.EVEN, False, Side.SELL, COOLDOWNS, 5, "COOLDOWN_OPPOSITE_SIDE_SECONDS=5"),
    ],
)
def test_the_longest_cooldown_that_applies_holds_for_its_seconds_and_names_its_setting(
    kind: CloseKind, side: Side, rules: CooldownRules, seconds: int, setting: str, *, external: bool
) -> None:
    end, last = NOW_MS + seconds * SECOND, closed(kind, external=external)
    gate = cooldown_gate([last], side, rules, end - 1)
    assert gate.denied is not None
    assert (gate.denied.reason, gate.limit) == (Reason.COOLDOWN, setting)
    assert gate.denied.detail == f"closed {last} {seconds - 1} s ago, 1 s to wait"
    assert cooldown_gate([last], side, rules, end).passed


@pytest.mark.parametrize("kind", CloseKind)
@pytest.mark.parametrize("side", Side)
def test_no_cooldown_is_set_by_zero_seconds(kind: CloseKind, side: Side) -> None:
    assert cooldown_gate([closed(kind, external=True)], side, CooldownRules(), NOW_MS).passed


@pytest.mark.failure("TRL-13")
def test_what_closes_on_one_side_ends_no_wait_of_the_other() -> None:
    """Long won, turned over to short, short closed even: the long's own minute is not over."""
    rules = result_rules(same_side=60, opposite_side=5)
    book = a_book().with_close(BTC, closed(CloseKind.WIN), by_stop=False, rules=rules.cooldowns)
    short = LastClose(side=Side.SELL, kind=CloseKind.EVEN, at_ms=NOW_MS + 20 * SECOND)
    book = book.with_close(BTC, short, by_stop=False, rules=rules.cooldowns)
    assert reason(book, rules, NOW_MS + 60 * SECOND - 1) is Reason.COOLDOWN
    assert reason(book, rules, NOW_MS + 60 * SECOND) is None
    denied = first_refusal(book.gates(BTC, Side.SELL, rules, NOW_MS + 80 * SECOND - 1))
    assert denied is not None


def test_a_cooldown_is_of_its_symbol_alone_and_is_forgotten_when_it_can_matter_no_more() -> None:
    rules = result_rules(after_loss=600)
    book = a_book().with_close(BTC, closed(CloseKind.LOSS), by_stop=True, rules=rules.cooldowns)
    assert reason(book, rules) is Reason.COOLDOWN
    assert first_refusal(book.gates(ETH, Side.BUY, rules, NOW_MS)) is None
    later = closed(CloseKind.LOSS, NOW_MS + 600 * SECOND)
    after = book.with_close(ETH, later, by_stop=True, rules=rules.cooldowns)
    assert [key.instrument for key in after.closes] == [ETH]


@pytest.mark.parametrize(("written", "kind", "external"), [("external", "even", True), ("loss", "loss", False)])
def test_a_close_that_an_earlier_version_wrote_is_read(written: str, kind: str, *, external: bool) -> None:
    told = json.loads(encoded(a_book(), (), FundingBook(), FundingBook()))
    told["closes"] = [["binance", BTC.symbol, "sell", written, NOW_MS]]
    (last,) = decoded(json.dumps(told)).book.closes.values()
    assert last == LastClose(side=Side.SELL, kind=CloseKind(kind), at_ms=NOW_MS, external=external)


money = st.integers(-100_000, 100_000).map(lambda cents: Decimal(cents) / 100)


@given(moves=st.lists(st.one_of(money, money.map(str)), max_size=30))
def test_transfers_never_make_a_drawdown_and_results_always_do(moves: list[Decimal | str]) -> None:
    """Results are numbers, transfers texts; the fall in money below the peak knows the results only."""
    equity, fall, result, best = Equity(now=Decimal(10**6), peak=Decimal(10**6)), Decimal(0), Decimal(0), Decimal(0)
    for move in moves:
        if isinstance(move, str):
            equity = equity.transferred(Decimal(move))
        else:
            equity, result = equity.earned(move), result + move
            best = max(best, result)
        fall = best - result
        assert equity.peak - equity.now == fall


@given(
    worths=st.lists(st.tuples(st.sampled_from(["p", "q", "r"]), money), max_size=10),
    streak=st.integers(0, 5),
    funding=money,
    kinds=st.lists(st.tuples(st.sampled_from(CloseKind), st.sampled_from(Side), st.booleans()), max_size=2),
)
def test_the_book_comes_back_from_the_journal_as_it_was(
    worths: list[tuple[str, Decimal]], streak: int, funding: Decimal, kinds: list[tuple[CloseKind, Side, bool]]
) -> None:
    day = DayAccount(day=TODAY).funded(funding)
    for key, worth in worths:
        day = day.valued(PositionId(key), worth)
    book = RiskBook(day=day, streak=streak, equity=Equity(now=Decimal("0.1"), peak=Decimal(3)))
    for kind, side, external in kinds:
        last = closed(kind, side=side, external=external)
        book = book.with_close(BTC, last, by_stop=False, rules=COOLDOWNS)
    book = book.judged(RULES, NOW_MS)
    hour = FundingHour(VenueName.BINANCE, Asset("USDT"), 495_000)
    paid = FundingBook().with_told(hour, funding).with_listed(hour, Paid(2, funding))
    moved = FundingBook().with_told(hour, 2 * funding).with_listed(hour, Paid(1, funding))
    record = decoded(encoded(book, {"binance USDT"}, paid, moved))
    assert (record.book, record.counted) == (book, {"binance USDT"})
    assert (record.funding, record.transfers) == (paid, moved)
