"""Rebuilding from records: what they prove, what contradicts, and what only an unclean start explains."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.domain.money import plain
from tools.rebuild import Rebuild

BTC = "binance:BTC/USDT:USDT"


def rec(kind: str, /, **data: Any) -> Mapping[str, Any]:
    return {"kind": kind, "data": data, "time": "2026-01-01T00:00:00.000Z"}


def fill(number: int, *, leg: str = "entry", side: str = "buy", amount: str = "1", at: str = "100", **more: Any) -> Any:
    told = {"instrument": BTC, "trade_id": str(number), "leg": leg, "side": side, "quantity": amount, "price": at}
    return rec("fill", **{**told, "fee": "0.05", "fee_asset": "USDT", **more})


def position(amount: str, *, entry: str = "100", realized: str = "0", fees: str = "0.05", **more: Any) -> Any:
    told = {"position_id": "p", "instrument": BTC, "side": "long", "quantity": amount, "entry_price": entry}
    return rec("position", **{**told, "entry_quantity": "1", "realized": realized, "fees": fees, "by": "entry", **more})


def rebuilt(*records: Mapping[str, Any]) -> Rebuild:
    return Rebuild().take(records)


LIFE = (
    fill(1),
    position("1"),
    fill(2, leg="stop", side="sell", at="95"),
    position("0", realized="-5", fees="0.1", by="stop at 95"),
)


def test_trades_make_the_positions_that_the_log_records() -> None:
    told = rebuilt(*LIFE)
    assert (told.differences, told.gaps) == ([], [])
    assert told.positions["p"].realized == -5
    assert told.results() == {("binance", "USDT"): {"realized": Decimal(-5), "fees": Decimal("-0.1")}}


def test_a_record_that_its_trades_do_not_make_is_a_difference() -> None:
    told = rebuilt(*LIFE[:3], position("0", realized="-4", fees="0.1"))
    assert len(told.differences) == 1
    assert "realized -5 against -4" in told.differences[0]


def test_an_entry_that_goes_on_after_a_close_opens_the_same_position_again_and_nothing_it_made_is_lost() -> None:
    told = rebuilt(
        *LIFE,
        fill(3, at="80", client_order_id="p"),
        position("1", entry="80", entry_quantity="2", realized="-5", fees="0.15"),
        fill(4, at="90", client_order_id="p"),
        fill(5, leg="close", side="sell", at="70"),
        position("1", entry="85", entry_quantity="3", realized="-20", fees="0.25", by="close"),
        fill(6, at="75", client_order_id="p"),
        position("2", entry="80", entry_quantity="4", realized="-20", fees="0.3"),
    )
    assert (told.differences, told.gaps) == ([], [])
    assert told.results() == {("binance", "USDT"): {"realized": Decimal(-20), "fees": Decimal("-0.3")}}


def test_a_position_of_which_no_trade_is_told_is_a_difference_unless_it_was_taken_over() -> None:
    assert rebuilt(position("1")).differences
    told = rebuilt(position("1", by="reconciliation"), *LIFE[2:3], position("0", realized="-5", fees="0.1"))
    assert not told.differences
    assert told.positions["p"].taken_over


def test_what_an_unclean_start_lost_is_a_gap_and_what_follows_is_judged_again() -> None:
    told = rebuilt(fill(1), position("1"), rec("unclean_start"), position("0.4", fees="0.08"))
    assert (len(told.gaps), told.differences) == (1, [])
    told.take([fill(3, leg="close", side="sell", amount="0.4"), position("0", fees="0.13", realized="0")])
    told.take([fill(4), position("1", realized="9", position_id="q")])
    assert told.differences == [] or "realized" in told.differences[-1]


def test_a_close_of_what_a_killed_run_could_not_log_is_a_gap_and_no_difference() -> None:
    lost = rec("unclean_start", positions={"p": "1"})
    told = rebuilt(lost, *LIFE[2:])
    assert (len(told.gaps), told.differences) == (1, [])
    assert told.positions["p"].realized == -5
    told.take([fill(3), position("1", position_id="q"), fill(4, leg="close", side="sell", at="95")])
    told.take([position("0", position_id="q", realized="-4", fees="0.1")])
    assert len(told.differences) == 1, "what was opened since is judged again"


def test_a_close_that_a_killed_run_could_not_log_is_taken_from_what_its_journal_had_open() -> None:
    told = rebuilt(fill(1), position("1"), rec("unclean_start", positions={}), fill(2), position("1", position_id="q"))
    assert (len(told.gaps), told.differences) == (1, [])
    assert {key: held.quantity for key, held in told.positions.items()} == {"p": 0, "q": 1}
    assert rebuilt(fill(1), position("1"), rec("unclean_start", positions={"p": "1"})).gaps == []
    less = rebuilt(fill(1), position("1"), rec("unclean_start", positions={"p": "0.4"}))
    assert less.positions["p"].quantity == Decimal("0.4")


def test_positions_that_a_killed_run_could_not_log_at_all_go_on_as_its_journal_has_them() -> None:
    there = position("0.6", entry="101", realized="2", fees="0.07")["data"]
    told = rebuilt(rec("unclean_start", positions=[there]))
    (held,) = told.positions.values()
    assert (held.instrument, held.side, held.quantity, held.entry_price) == (BTC, "long", Decimal("0.6"), 101)
    assert (len(told.gaps), told.differences) == (1, [])
    told.take([fill(2, leg="close", side="sell", amount="0.6", at="111")])
    told.take([position("0", entry="101", realized="8", fees="0.12", by="close")])
    assert (len(told.gaps), told.differences) == (1, []), "what is told next fits what the journal had"
    assert rebuilt(fill(1), position("1"), rec("unclean_start", positions=[position("1")["data"]])).gaps == []
    gone = rebuilt(fill(1), position("1"), rec("unclean_start", positions=[]))
    assert (len(gone.gaps), gone.positions["p"].quantity) == (1, 0)


def test_a_position_opened_again_of_which_a_killed_run_could_not_log_the_close_is_a_gap_and_no_difference() -> None:
    late = fill(3, at="80", client_order_id="p")
    again = position("1", entry="80", entry_quantity="2", realized="-5", fees="0.15")
    told = rebuilt(*LIFE[:2], rec("unclean_start", positions={}), late, again)
    assert told.differences == []
    assert told.gaps
    assert told.positions["p"].realized == -5


def test_a_trade_told_again_after_a_kill_counts_once() -> None:
    assert rebuilt(fill(1), rec("unclean_start"), fill(1), position("1")).differences == []


def test_fees_in_another_coin_are_sums_of_that_coin() -> None:
    told = rebuilt(fill(1, fee_asset="BNB"), position("1", fees="0"))
    assert told.differences == []
    assert told.results()["binance", "BNB"] == {"fees": Decimal("-0.05")}


def test_an_income_counted_twice_is_a_difference() -> None:
    line = rec("income", venue="okx", id="1", asset="USDT", kind="funding", amount="-1")
    assert rebuilt(line, line).differences


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(90, 110)), min_size=1, max_size=6), st.integers(80, 120))
def test_whatever_is_bought_in_pieces_and_sold_at_once_is_rebuilt_exactly(
    pieces: list[tuple[int, int]], sold_at: int
) -> None:
    amount = sum(quantity for quantity, _ in pieces)
    average = Decimal(sum(quantity * price for quantity, price in pieces)) / amount

    def records() -> Iterable[Mapping[str, Any]]:
        for number, (quantity, price) in enumerate(pieces):
            yield fill(number, amount=str(quantity), at=str(price), fee="0")
        made = (sold_at - average) * amount
        yield fill(99, leg="close", side="sell", amount=str(amount), at=str(sold_at), fee="0")
        yield position("0", entry=plain(average), realized=plain(made), fees="0", entry_quantity=str(amount))

    assert Rebuild().take(records()).differences == []
