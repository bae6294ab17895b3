"""Funding told by the stream and listed by the history counts once."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.domain.funding import HOUR_MS, KEPT_HOURS, FundingBook, Paid, funding_hour
from core.domain.ids import Asset, VenueName

USDT = Asset("USDT")
HOUR = funding_hour(VenueName.OKX, USDT, 500_000 * HOUR_MS)
ONE, TWO = Decimal("-1.5"), Decimal("0.25")


def test_the_stream_counts_at_once_and_the_history_adds_nothing_to_it() -> None:
    book = FundingBook().with_told(HOUR, ONE)
    assert book.of(HOUR) == ONE
    assert book.with_listed(HOUR, Paid(1, ONE)).of(HOUR) == ONE


def test_what_the_stream_missed_is_found_in_the_history() -> None:
    assert FundingBook().with_listed(HOUR, Paid(1, ONE)).of(HOUR) == ONE
    book = FundingBook().with_told(HOUR, ONE).with_listed(HOUR, Paid(2, ONE + TWO))
    assert book.of(HOUR) == ONE + TWO


def test_a_history_that_lags_behind_the_stream_takes_nothing_back() -> None:
    book = FundingBook().with_told(HOUR, ONE).with_told(HOUR, TWO)
    assert book.with_listed(HOUR, Paid(1, ONE)).of(HOUR) == ONE + TWO


def test_a_stream_that_tells_after_the_history_adds_nothing() -> None:
    assert FundingBook().with_listed(HOUR, Paid(1, ONE)).with_told(HOUR, ONE).of(HOUR) == ONE


def test_several_payments_told_as_one_are_those_of_the_history() -> None:
    book = FundingBook().with_told(HOUR, ONE + TWO).with_listed(HOUR, Paid(2, ONE + TWO))
    assert book.of(HOUR) == ONE + TWO


def test_a_list_that_lacks_payments_it_had_is_no_news() -> None:
    book = FundingBook().with_listed(HOUR, Paid(2, ONE + TWO)).with_listed(HOUR, Paid(1, ONE))
    assert book.of(HOUR) == ONE + TWO


def test_a_stamp_shortly_before_the_hour_belongs_to_it() -> None:
    assert funding_hour(VenueName.OKX, USDT, 500_000 * HOUR_MS - 30_000) == HOUR
    assert funding_hour(VenueName.OKX, USDT, 500_000 * HOUR_MS + 1_800_000) == HOUR


def test_hours_long_past_are_forgotten() -> None:
    book = FundingBook().with_told(HOUR, ONE)
    assert not book.with_told(HOUR._replace(hour=HOUR.hour + KEPT_HOURS), TWO).of(HOUR)


@given(st.lists(st.decimals("-9", "9", places=8), min_size=1, max_size=6), st.data())
def test_whoever_tells_first_and_whatever_the_stream_misses_the_sum_is_that_of_the_history(
    amounts: list[Decimal], data: st.DataObject
) -> None:
    told = data.draw(st.lists(st.sampled_from(amounts), max_size=len(amounts)))
    at = data.draw(st.integers(0, len(told)))
    book = FundingBook()
    for amount in told[:at]:
        book = book.with_told(HOUR, amount)
    book = book.with_listed(HOUR, Paid(len(amounts), sum(amounts, Decimal(0))))
    for amount in told[at:]:
        book = book.with_told(HOUR, amount)
    assert book.of(HOUR) == sum(amounts, Decimal(0))
