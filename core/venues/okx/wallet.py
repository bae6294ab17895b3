"""OKX accounts -> balances. Pure, but for `WalletLog`, which remembers each wallet so that a change can be told.

`cashBal` is the wallet. What is free is a figure per coin in single-currency accounts; where one margin serves several
coins it is the account's as a whole in US dollars, and then the smaller of the two counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from core.domain.ids import Asset, VenueName
from core.domain.money import ZERO, decimal_of
from core.domain.reports import BalanceReport, Source, WalletCause
from core.errors import MalformedPayload
from core.venues.okx.facts import COINS
from core.venues.okx.payloads import AccountRow, AccountUpdate, BalanceUpdate, DetailRow
from core.venues.payload import amount_in, ms_in

CAUSES = {
    "snapshot": WalletCause.SNAPSHOT,
    "filled": WalletCause.TRADE,
    # Their money is the result of a trade somebody made for us.
    "liquidation": WalletCause.TRADE,
    "partial_liquidation": WalletCause.TRADE,
    "adl": WalletCause.TRADE,
    "delivered": WalletCause.TRADE,
    "exercised": WalletCause.TRADE,
    "settlement": WalletCause.TRADE,
    "funding_fee": WalletCause.FUNDING,
    "transferred": WalletCause.TRANSFER,
    "adjust_margin": WalletCause.TRANSFER,
    "claw_back": WalletCause.INSURANCE,
    "interest_deduction": WalletCause.ADJUSTMENT,
    "set_leverage": WalletCause.SETTING,
}
"""`eventType` of balance_and_position (§8.3)."""
_SILENT = {WalletCause.SNAPSHOT, WalletCause.TRADE, WalletCause.SETTING}


def balance_reports(row: AccountRow, source: Source, *, complete: bool) -> list[BalanceReport]:
    """`complete`: the row is all of the account, so a coin we trade in that is not there is a wallet of 0."""
    try:
        whole = _free_of_account(row)
        told = [_report(detail, whole, source, detail.uTime or row.uTime) for detail in row.details]
        if complete:
            known = {report.asset for report in told}
            when = ms_in(row.uTime, "uTime")
            told += [_empty(Asset(coin), when, source) for coin in COINS if coin not in known]
    except ValueError as error:
        raise MalformedPayload("okx account", str(error)) from None
    return told


def _free_of_account(row: AccountRow) -> Decimal | None:
    """None in single-currency accounts, which have no such figure."""
    if row.availEq:
        return decimal_of(row.availEq, "availEq")
    if row.adjEq and row.imr:
        return decimal_of(row.adjEq, "adjEq") - decimal_of(row.imr, "imr")
    return None


def _report(detail: DetailRow, whole: Decimal | None, source: Source, when: str) -> BalanceReport:
    told = detail.availEq or detail.availBal
    free = decimal_of(told, "availEq") if told else None
    both = [figure for figure in (free, whole) if figure is not None]
    return BalanceReport(
        venue=VenueName.OKX,
        asset=Asset(detail.ccy),
        wallet=amount_in(detail.cashBal, "cashBal"),
        available=min(both, default=None),
        unusable=not both,
        venue_time_ms=ms_in(when, "uTime"),
        source=source,
    )


def _empty(coin: Asset, when: int, source: Source) -> BalanceReport:
    return BalanceReport(
        venue=VenueName.OKX, asset=coin, wallet=ZERO, available=ZERO, venue_time_ms=when, source=source
    )


class WalletLog:
    """The wallets as balance_and_position tells them, one after another: it names a cause and the new figure, and what
    was moved is the difference to the one before."""

    def __init__(self) -> None:
        self._wallets: dict[str, Decimal] = {}

    def changed(self, update: AccountUpdate) -> Sequence[BalanceReport]:
        """`change` is None for trades, whose money the trades themselves tell, and where the wallet was not known.
        Raises MalformedPayload."""
        cause = CAUSES.get(update.eventType, WalletCause.OTHER)
        try:
            return [self._moved(row, cause, update.eventType) for row in update.balData]
        except ValueError as error:
            raise MalformedPayload("okx balance_and_position", str(error)) from None

    def _moved(self, row: BalanceUpdate, cause: WalletCause, word: str) -> BalanceReport:
        wallet, before = decimal_of(row.cashBal, "cashBal"), self._wallets.get(row.ccy)
        self._wallets[row.ccy] = wallet
        return BalanceReport(
            venue=VenueName.OKX,
            asset=Asset(row.ccy),
            wallet=wallet,
            available=None,
            venue_time_ms=ms_in(row.uTime, "uTime"),
            source=Source.STREAM,
            cause=cause,
            cause_text=word,
            change=None if before is None or cause in _SILENT else wallet - before,
        )
