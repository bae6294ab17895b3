"""The money ledger: what nothing explains is told, whatever order things are told in, and each line counts once."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.domain.ids import Asset, TradeId, VenueName
from core.domain.ledger import (
    KEPT_MS,
    OVERLAP_MS,
    BookedTrade,
    Cause,
    Income,
    IncomeKind,
    MoneyLedger,
    WalletAccount,
    advanced,
    opened,
    unbooked,
)
from core.domain.money import ZERO
from core.engine.money_record import decoded, encoded
from tests.builders import BTC, ETH, NOW_MS

USDT, BNB = Asset("USDT"), Asset("BNB")
K = IncomeKind


def a_trade(number: int = 1, *, made: Decimal | str | None = "0", fee: str = "0.05", coin: Asset = USDT) -> BookedTrade:
    return BookedTrade(
        instrument=BTC,
        trade_id=TradeId(str(number)),
        made=None if made is None else Decimal(made),
        fee=Decimal(fee),
        fee_asset=coin,
        venue_time_ms=NOW_MS + number,
    )


def a_line(number: int, kind: IncomeKind, amount: Decimal | str, **more: object) -> Income:
    return replace(
        Income(
            venue=VenueName.BINANCE,
            id=f"{number}/{kind}",
            asset=USDT,
            kind=kind,
            amount=Decimal(amount),
            venue_time_ms=NOW_MS + number,
            symbol=BTC.symbol,
        ),
        **more,
    )


def lines_of(trade: BookedTrade, made: Decimal | str | None = None) -> list[Income]:
    number = int(trade.trade_id)
    return [
        a_line(number, K.PROFIT, Decimal(made if made is not None else trade.made or ZERO), trade_id=trade.trade_id),
        a_line(number, K.FEE, -trade.fee, trade_id=trade.trade_id, asset=trade.fee_asset),
    ]


def a_ledger(wallet: str = "1000", **others: str) -> MoneyLedger:
    wallets = {USDT: Decimal(wallet)} | {Asset(coin): Decimal(amount) for coin, amount in others.items()}
    return opened(VenueName.BINANCE, wallets, NOW_MS)


def read(
    ledger: MoneyLedger, wallet: str, lines: list[Income], *trades: BookedTrade, after_ms: int = 1000
) -> MoneyLedger:
    held = {asset: account.wallet for asset, account in ledger.accounts.items()} | {USDT: Decimal(wallet)}
    return advanced(ledger, wallets=held, history=lines, trades=trades, at_ms=NOW_MS + after_ms)


def usdt(ledger: MoneyLedger) -> WalletAccount:
    return ledger.accounts[USDT]


def test_trades_fees_funding_and_transfers_explain_a_wallet() -> None:
    trades = [a_trade(1), a_trade(2, made="7.5", fee="0.06")]
    lines = [line for trade in trades for line in lines_of(trade)]
    lines += [a_line(3, K.FUNDING, "-0.4"), a_line(4, K.TRANSFER, "100", symbol=None), a_line(5, K.INSURANCE, "-1")]
    ledger = read(a_ledger(), "1105.99", lines, *trades)
    assert usdt(ledger).residual == 0
    assert dict(usdt(ledger).explained) == {
        Cause.TRADES: Decimal("7.5"),
        Cause.FEES: Decimal("-0.11"),
        Cause.FUNDING: Decimal("-0.4"),
        Cause.TRANSFERS: Decimal(100),
        Cause.OTHER: Decimal(-1),
    }


def test_an_error_in_our_books_shows_though_the_venue_lists_the_trade() -> None:
    trade = a_trade(1, made="7.5")
    ledger = read(a_ledger(), "1004.95", lines_of(trade, made="5"), trade)
    assert usdt(ledger).residual == Decimal("-2.5")
    assert not usdt(ledger).balanced


def test_money_that_no_line_explains_is_the_residual() -> None:
    assert usdt(read(a_ledger(), "1000.02", [])).residual == Decimal("0.02")


def test_a_line_told_late_is_counted_and_the_residual_goes() -> None:
    ledger = read(a_ledger(), "999.6", [])
    assert usdt(ledger).residual == Decimal("-0.4")
    assert usdt(read(ledger, "999.6", [a_line(3, K.FUNDING, "-0.4")])).residual == 0


def test_a_trade_of_others_is_explained_by_the_venues_word_and_counts_no_trade_of_ours() -> None:
    ledger = read(a_ledger(), "1004.95", lines_of(a_trade(1, made="5")))
    assert (usdt(ledger).residual, usdt(ledger).trades) == (0, 0)
    assert usdt(ledger).explained[Cause.ELSEWHERE] == Decimal("4.95")


def test_a_trade_that_our_books_had_later_than_the_history_is_ours_in_the_end() -> None:
    trade = a_trade(1, made="5")
    ledger = read(a_ledger(), "1004.95", lines_of(trade))
    ledger = read(ledger, "1004.95", lines_of(trade), trade)
    assert (usdt(ledger).residual, usdt(ledger).trades) == (0, 1)
    assert usdt(ledger).explained[Cause.ELSEWHERE] == 0


def test_a_trade_of_an_earlier_run_counts_by_the_venues_word_and_is_ours() -> None:
    trade = a_trade(1, made=None)
    ledger = read(a_ledger(), "999.95", [], trade)
    assert usdt(ledger).residual == 0, "the fee is known, what it realised is not listed yet"
    ledger = decoded(ledger.venue, encoded(ledger))
    ledger = read(ledger, "1004.95", lines_of(trade, made="5"))
    assert (usdt(ledger).residual, usdt(ledger).explained[Cause.TRADES]) == (0, 5)


def test_where_others_traded_in_the_same_position_the_venue_says_what_a_trade_of_ours_made() -> None:
    """It averages their entry with ours."""
    theirs, ours = a_trade(1, fee="0.04"), replace(a_trade(2, made="0.18"), share=Decimal(1))
    lines = [*lines_of(theirs), *lines_of(ours, made="0.05")]
    ledger = read(a_ledger(), "999.96", lines, ours)
    assert (usdt(ledger).residual, usdt(ledger).trades) == (0, 1)
    later = replace(a_trade(KEPT_MS + 9, made="1"), share=Decimal(1))
    ledger = read(ledger, "1000.91", [*lines, *lines_of(later)], later, after_ms=KEPT_MS + 10)
    assert (usdt(ledger).residual, dict(ledger.mixed)) == (0, {})


def test_a_fee_in_another_coin_explains_that_coins_wallet() -> None:
    ledger = a_ledger(BNB="1")
    trade = a_trade(1, made="5", fee="0.001", coin=BNB)
    wallets = {USDT: Decimal(1005), BNB: Decimal("0.999")}
    ledger = advanced(ledger, wallets=wallets, history=lines_of(trade), trades=[trade], at_ms=NOW_MS + 9)
    assert (usdt(ledger).residual, ledger.accounts[BNB].residual) == (0, 0)


def test_a_coin_that_is_listed_no_more_is_a_wallet_of_nothing_and_a_new_one_was() -> None:
    ledger = a_ledger(BNB="1")
    lines = [a_line(1, K.TRANSFER, "-1", asset=BNB), a_line(2, K.TRANSFER, "3", asset=Asset("USDC"))]
    wallets = {USDT: Decimal(1000), Asset("USDC"): Decimal(3)}
    ledger = advanced(ledger, wallets=wallets, history=lines, trades=[], at_ms=NOW_MS + 9)
    assert {account.residual for account in ledger.accounts.values()} == {ZERO}


def test_nothing_before_the_opening_counts() -> None:
    old = a_line(1, K.TRANSFER, "50", venue_time_ms=NOW_MS - 1)
    ledger = read(a_ledger(), "1000", [old])
    assert usdt(ledger).residual == 0
    assert unbooked(ledger, [replace(line, venue_time_ms=NOW_MS - 1) for line in lines_of(a_trade())], []) == []


def test_what_was_paid_out_early_is_not_counted_again_when_the_position_closes() -> None:
    early = a_line(1, K.SETTLED, "6")
    half = replace(
        a_trade(2, made="5", fee="0"), share=Decimal("0.5")
    )  # the venue realises 5 - 3, from the new average
    rest = replace(a_trade(3, made="5", fee="0"), share=Decimal(1))
    ledger = read(a_ledger(), "1006", [early])
    assert usdt(ledger).residual == 0
    ledger = read(ledger, "1008", [early, *lines_of(half, made="2")], half)
    assert usdt(ledger).residual == 0
    ledger = read(ledger, "1010", [early, *lines_of(rest, made="2")], rest)
    assert (usdt(ledger).residual, dict(ledger.settled)) == (0, {})


def test_rounding_may_leave_a_cent_for_every_thousand_trades_begun() -> None:
    account = WalletAccount(opening=ZERO, wallet=Decimal("0.01"), trades=0)
    assert account.balanced
    assert not replace(account, wallet=Decimal("0.0101")).balanced
    assert replace(account, wallet=Decimal("0.025"), trades=2500).balanced
    assert not replace(account, wallet=Decimal("-0.0251"), trades=2500).balanced


def test_trades_are_looked_for_only_where_neither_books_nor_ledger_know_them() -> None:
    ours, theirs = a_trade(1), a_trade(2)
    lines = [*lines_of(ours), *lines_of(theirs), a_line(3, K.FUNDING, "1")]
    assert {line.trade_id for line in unbooked(a_ledger(), lines, [ours])} == {"2"}
    ledger = read(a_ledger(), "1000", lines, ours)
    assert unbooked(ledger, lines, []) == []


def test_lines_are_forgotten_only_when_they_are_read_no_more() -> None:
    assert KEPT_MS > OVERLAP_MS
    ledger = read(a_ledger(), "1001", [a_line(1, K.FUNDING, "1")], after_ms=1000)
    later = read(ledger, "1001", [], after_ms=2 * KEPT_MS)
    assert not later.counted
    assert later.read_from_ms > NOW_MS + 1


AMOUNTS = st.decimals("-50", "50", places=8)


@given(
    st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=8),
    st.lists(st.tuples(st.sampled_from([K.FUNDING, K.TRANSFER, K.OTHER]), AMOUNTS), max_size=8),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_whatever_is_told_in_whatever_order_and_pieces_the_residual_ends_at_zero(
    trades: list[tuple[Decimal, Decimal]], others: list[tuple[IncomeKind, Decimal]], chance: object, cuts: list[int]
) -> None:
    booked = [a_trade(n, made=made, fee=str(fee)) for n, (made, fee) in enumerate(trades, 1)]
    lines = [line for trade in booked for line in lines_of(trade)]
    lines += [a_line(100 + n, kind, amount) for n, (kind, amount) in enumerate(others)]
    wallet = Decimal(1000) + sum((line.amount for line in lines), ZERO)
    shuffled, told = list(lines), list(booked)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(told)  # type: ignore[attr-defined]
    ledger = a_ledger()
    for cut in [*cuts, len(lines)]:  # the same lines again and again, and a restart in between
        ledger = read(ledger, str(wallet), shuffled[:cut], *told[: cut // 2])
        ledger = decoded(ledger.venue, encoded(ledger))
    ledger = read(ledger, str(wallet), shuffled, *told)
    assert usdt(ledger).residual == 0
    assert usdt(ledger).trades == len(booked)
    assert Cause.ELSEWHERE not in usdt(ledger).explained or usdt(ledger).explained[Cause.ELSEWHERE] == 0
    assert ETH.symbol not in ledger.settled
