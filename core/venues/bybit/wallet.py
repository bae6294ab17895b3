"""What an account has and may use, coin by coin; and why a wallet moved, which the venue does not say.

In cross margin the venue tells one free amount over all coins, in dollars. What other coins back is not counted for
ours: using it would borrow. So a coin's free amount is what is its own, and never more than the account's.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from core.domain.ids import Asset, VenueName
from core.domain.money import ZERO, decimal_of
from core.domain.reports import BalanceReport, Source, WalletCause
from core.errors import MalformedPayload
from core.venues.bybit import facts
from core.venues.bybit.payloads import CoinRow, ExecutionRow, WalletRow
from core.venues.payload import amount_in, ms_in, say

_REMEMBERED = 1_000
"""Funding payments, told twice while one connection takes over from another."""


class Wallets:
    """Remembers each coin's last figure and what has been traded and funded since."""

    def __init__(self) -> None:
        self._last: dict[Asset, BalanceReport] = {}
        self._traded: set[Asset] = set()
        self._funded: OrderedDict[str, None] = OrderedDict()

    def read(self, rows: list[WalletRow], time_ms: int) -> list[BalanceReport]:
        """A reading of the whole account; `time_ms` the venue's. A coin that is not listed is 0. Raises
        MalformedPayload."""
        told = [report for row in rows for report in _reports(row, time_ms, Source.REST, WalletCause.SNAPSHOT)]
        listed = {report.asset for report in told}
        told += [_report(Asset(coin), ZERO, ZERO, time_ms, Source.REST) for coin in facts.COINS if coin not in listed]
        for report in told:
            self._note(report)
        return told

    def pushed(self, row: WalletRow, time_ms: int) -> list[BalanceReport]:
        """The coins that changed. Raises MalformedPayload."""
        told = []
        for report in _reports(row, time_ms, Source.STREAM, WalletCause.OTHER):
            cause = WalletCause.TRADE if report.asset in self._traded else WalletCause.OTHER
            self._traded.discard(report.asset)
            told.append(_report(report.asset, report.wallet, report.available, time_ms, Source.STREAM, cause))
            self._note(report)
        return told

    def traded(self, asset: Asset) -> None:
        """A trade was told: the next change of this wallet comes from it."""
        self._traded.add(asset)

    def funded(self, row: ExecutionRow, asset: Asset) -> BalanceReport | None:
        """A funding payment, which names the amount and not the wallet; None for one that was told before. Raises
        MalformedPayload."""
        if row.execId in self._funded:
            return None
        try:
            change, time_ms = -amount_in(row.execFee, "execFee"), ms_in(row.execTime, "execTime")
        except ValueError as error:
            raise MalformedPayload("bybit execution", say(error)) from None
        last = self._last.get(asset)
        if last is None:
            return None
        self._funded[row.execId] = None
        while len(self._funded) > _REMEMBERED:
            self._funded.popitem(last=False)
        wallet = last.wallet
        if last.venue_time_ms < time_ms:  # else the figure has it already
            wallet += change
        report = BalanceReport(
            venue=VenueName.BYBIT,
            asset=asset,
            wallet=wallet,
            available=None,
            venue_time_ms=max(time_ms, last.venue_time_ms),
            source=Source.STREAM,
            cause=WalletCause.FUNDING,
            cause_text=row.symbol,
            change=change,
        )
        self._last[asset] = _report(asset, wallet, last.available, last.venue_time_ms, last.source)
        return report

    def _note(self, report: BalanceReport) -> None:
        known = self._last.get(report.asset)
        if known is None or known.venue_time_ms <= report.venue_time_ms:
            self._last[report.asset] = report


def _reports(row: WalletRow, time_ms: int, source: Source, cause: WalletCause) -> list[BalanceReport]:
    try:
        return [
            _report(
                Asset(coin.coin),
                amount_in(coin.walletBalance, "walletBalance"),
                available(coin, row.totalAvailableBalance),
                time_ms,
                source,
                cause,
            )
            for coin in row.coin
        ]
    except ValueError as error:
        raise MalformedPayload("bybit wallet", say(error)) from None


def available(coin: CoinRow, account_usd: str) -> Decimal | None:
    """What orders margined in this coin may use; None = the venue's figures do not tell. `account_usd` is
    `totalAvailableBalance`, "" in isolated margin. Raises ValueError."""
    isolated = not account_usd
    tied = (coin.totalPositionIM, coin.totalOrderIM)
    if isolated and "" in tied:
        return None
    base = coin.walletBalance if isolated else coin.equity or coin.walletBalance
    own = amount_in(base, "walletBalance") - sum((amount_in(text, "margin") for text in tied), ZERO)
    own -= amount_in(coin.locked, "locked")
    if isolated:
        own -= amount_in(coin.bonus, "bonus")
    else:
        own = min(own, decimal_of(account_usd, "totalAvailableBalance"))
    return max(own, ZERO)


def _report(
    asset: Asset,
    wallet: Decimal,
    free: Decimal | None,
    time_ms: int,
    source: Source,
    cause: WalletCause = WalletCause.SNAPSHOT,
) -> BalanceReport:
    """`free` None: the venue's figures do not tell."""
    return BalanceReport(
        venue=VenueName.BYBIT,
        asset=asset,
        wallet=wallet,
        available=free,
        unusable=free is None,
        venue_time_ms=time_ms,
        source=source,
        cause=cause,
    )
