"""The money ledger of one venue: every change of a wallet explained, by our own trades and the venue's income history.

What a wallet holds now, less what it held when the ledger was opened, must be what our trades made, less their fees,
plus funding, transfers, the trades of others, and what else the venue names. What is left is the residual: money that
nothing explains. Trades of ours count as *we* booked them, never as the venue did, so that an error in our books shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from core.domain.ids import Asset, InstrumentId, Symbol, TradeId, VenueName
from core.domain.money import ZERO

CENT = Decimal("0.01")
TRADES_PER_CENT = 1_000
"""Venues round each trade; a cent of the quote coin for every thousand trades begun is the most that may come of it."""
OVERLAP_MS = 2 * 3_600_000
"""The history is read again from so long before the last reading: a venue may list a row late."""
KEPT_MS = 2 * OVERLAP_MS
"""How long single rows and trades are remembered, by the venue's time: longer than any row is read again."""


class IncomeKind(StrEnum):
    """What a line of a venue's income history is about, in our words."""

    PROFIT = "profit"
    """Realised by a trade; the fee is a line of its own."""
    FEE = "fee"
    FUNDING = "funding"
    TRANSFER = "transfer"
    """Deposits, withdrawals, and between the owner's own wallets."""
    SETTLED = "settled"
    """The result of an open position, paid out before it is closed (Bybit, contracts in USDC)."""
    INSURANCE = "insurance"
    OTHER = "other"
    """Rebates, interest, conversions: what no trade and none of the above explains."""


class Income(Struct, frozen=True, kw_only=True):
    """One line of the history. `id` is the venue's own, unique per venue and for ever; `amount` is signed, in `asset`,
    negative when paid. `symbol` and `trade_id` None where the line is about none. `word` is the venue's."""

    venue: VenueName
    id: str
    asset: Asset
    kind: IncomeKind
    amount: Decimal
    venue_time_ms: int
    symbol: Symbol | None = None
    trade_id: TradeId | None = None
    word: str = ""

    @property
    def trade(self) -> TradeKey | None:
        """The trade it comes from; None for what no trade has brought."""
        if self.kind not in (IncomeKind.PROFIT, IncomeKind.FEE) or self.symbol is None or self.trade_id is None:
            return None
        return TradeKey(self.symbol, self.trade_id)


class TradeKey(NamedTuple):
    """A trade at one venue."""

    symbol: Symbol
    trade_id: TradeId


class BookedTrade(Struct, frozen=True, kw_only=True):
    """A trade of ours as our books have it: `made` is what it realised, gross of its `fee`, in the coin the instrument
    settles in; None = booked in an earlier run, the venue's figure stands. `share` is the part of the position that it
    closed, 0 to 1."""

    instrument: InstrumentId
    trade_id: TradeId
    made: Decimal | None
    fee: Decimal
    fee_asset: Asset
    venue_time_ms: int
    share: Decimal = ZERO

    @property
    def key(self) -> TradeKey:
        return TradeKey(self.instrument.symbol, self.trade_id)


class Foreign(NamedTuple):
    """What one line about a trade of others changed."""

    asset: Asset
    kind: IncomeKind
    amount: Decimal
    venue_time_ms: int


class Cause(StrEnum):
    """What explains a change."""

    TRADES = "trades"
    FEES = "fees"
    FUNDING = "funding"
    TRANSFERS = "transfers"
    ELSEWHERE = "elsewhere"
    """Trades that are not ours, fees included, by the venue's word."""
    OTHER = "other"


_CAUSES = {
    IncomeKind.FUNDING: Cause.FUNDING,
    IncomeKind.TRANSFER: Cause.TRANSFERS,
    IncomeKind.SETTLED: Cause.TRADES,
    IncomeKind.INSURANCE: Cause.OTHER,
    IncomeKind.OTHER: Cause.OTHER,
    # Of trades that our books lack.
    IncomeKind.PROFIT: Cause.ELSEWHERE,
    IncomeKind.FEE: Cause.ELSEWHERE,
}


class WalletAccount(Struct, frozen=True, kw_only=True):
    """One coin at one venue. `opening` is what it held when the ledger was opened, `wallet` what it held at the last
    reading that could be judged; `trades` counts ours."""

    opening: Decimal
    wallet: Decimal
    explained: Mapping[Cause, Decimal] = field(default_factory=dict)
    trades: int = 0

    @property
    def residual(self) -> Decimal:
        """What nothing explains."""
        return self.wallet - self.opening - sum(self.explained.values(), ZERO)

    @property
    def tolerance(self) -> Decimal:
        """The residual that rounding may leave."""
        return CENT * max(Decimal(1), Decimal(self.trades) / TRADES_PER_CENT)

    @property
    def balanced(self) -> bool:
        return abs(self.residual) <= self.tolerance

    def with_change(self, cause: Cause, amount: Decimal) -> WalletAccount:
        if not amount:
            return self
        return replace(self, explained={**self.explained, cause: self.explained.get(cause, ZERO) + amount})


class MoneyLedger(Struct, frozen=True, kw_only=True):
    """Of one venue. `since_ms` and `read_ms` are the venue's time of the opening and of the last judged reading.

    `counted` are lines, `ours` trades (`by_word` those of which the venue tells what they realised), `elsewhere` trades
    of others with what they changed; of the last `KEPT_MS` only.
    `settled` is what open positions were paid out early, by symbol. `mixed` are symbols in which others traded, and
    when: the venue averages their entry with ours, so what a trade of ours realised there only the venue can say.
    """

    venue: VenueName
    since_ms: int
    read_ms: int
    accounts: Mapping[Asset, WalletAccount] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)
    ours: Mapping[TradeKey, int] = field(default_factory=dict)
    by_word: frozenset[TradeKey] = frozenset()
    elsewhere: Mapping[TradeKey, Sequence[Foreign]] = field(default_factory=dict)
    settled: Mapping[Symbol, Decimal] = field(default_factory=dict)
    mixed: Mapping[Symbol, int] = field(default_factory=dict)

    @property
    def read_from_ms(self) -> int:
        """Where the next reading of the history begins, venue time."""
        return max(self.since_ms, self.read_ms - OVERLAP_MS)


def opened(venue: VenueName, wallets: Mapping[Asset, Decimal], at_ms: int) -> MoneyLedger:
    """A ledger that begins with these wallets; nothing before `at_ms` (venue time) is its affair."""
    accounts = {asset: WalletAccount(opening=wallet, wallet=wallet) for asset, wallet in wallets.items()}
    return MoneyLedger(venue=venue, since_ms=at_ms, read_ms=at_ms, accounts=accounts)


def fresh(ledger: MoneyLedger, history: Iterable[Income]) -> list[Income]:
    """The lines that are not counted yet, each once, oldest first."""
    found = {row.id: row for row in history if row.venue_time_ms >= ledger.since_ms and row.id not in ledger.counted}
    return sorted(found.values(), key=lambda row: (row.venue_time_ms, row.id))


def unbooked(ledger: MoneyLedger, history: Iterable[Income], trades: Iterable[BookedTrade]) -> list[Income]:
    """Lines about trades that neither the ledger nor `trades` know: ours that went by unseen, or those of others."""
    known = ledger.ours.keys() | ledger.elsewhere.keys() | {trade.key for trade in trades}
    return [row for row in fresh(ledger, history) if row.trade is not None and row.trade not in known]


def advanced(
    ledger: MoneyLedger,
    *,
    wallets: Mapping[Asset, Decimal],
    history: Iterable[Income],
    trades: Iterable[BookedTrade],
    at_ms: int,
) -> MoneyLedger:
    """The ledger after a reading at `at_ms`. `wallets` and `history` must be of one moment, `trades` all that our books
    have since the reading before; those told again count once."""
    work = _Work(ledger)
    lines = fresh(ledger, history)
    for row in lines:
        if row.kind is IncomeKind.SETTLED and row.symbol is not None:
            work.settled[row.symbol] = work.settled.get(row.symbol, ZERO) + row.amount
    trades = list(trades)
    ours = ledger.ours.keys() | {trade.key for trade in trades}
    for row in lines:
        if row.trade is not None and row.trade not in ours:
            work.mixed[row.trade.symbol] = row.venue_time_ms
    for trade in trades:
        work.book(trade)
    for row in lines:
        work.count(row)
    for asset in wallets.keys() | work.accounts.keys():
        work.accounts[asset] = replace(work.account(asset), wallet=wallets.get(asset, ZERO))
    return work.done(at_ms)


class _Work:
    """A ledger being written."""

    def __init__(self, ledger: MoneyLedger) -> None:
        self._ledger = ledger
        self.accounts = dict(ledger.accounts)
        self.settled = dict(ledger.settled)
        self.mixed = dict(ledger.mixed)
        self._counted = dict(ledger.counted)
        self._ours = dict(ledger.ours)
        self._by_word = set(ledger.by_word)
        self._elsewhere = {key: list(rows) for key, rows in ledger.elsewhere.items()}

    def account(self, asset: Asset) -> WalletAccount:
        """A coin that was not listed before was a wallet of nothing."""
        return self.accounts.get(asset) or WalletAccount(opening=ZERO, wallet=ZERO)

    def book(self, trade: BookedTrade) -> None:
        key, settles_in = trade.key, settle_asset(trade.instrument)
        if key in self._ours:
            return
        self._ours[key] = trade.venue_time_ms
        if trade.made is None or key.symbol in self.mixed or key in self._elsewhere:
            self._take_word(trade)
        else:
            early = self.settled.get(key.symbol, ZERO) * trade.share
            self.settled[key.symbol] = self.settled.get(key.symbol, ZERO) - early
            self._change(settles_in, Cause.TRADES, trade.made - early)
        self._change(trade.fee_asset, Cause.FEES, -trade.fee)
        account = self.account(settles_in)
        self.accounts[settles_in] = replace(account, trades=account.trades + 1)

    def _take_word(self, trade: BookedTrade) -> None:
        """What it realised is what the venue lists, already or yet to come."""
        key = trade.key
        self._by_word.add(key)
        for line in self._elsewhere.pop(key, ()):  # listed before our books had it
            self._change(line.asset, Cause.ELSEWHERE, -line.amount)
            if line.kind is IncomeKind.PROFIT:
                self._change(line.asset, Cause.TRADES, line.amount)
        if trade.share == 1 and trade.venue_time_ms > self.mixed.get(key.symbol, 0) + KEPT_MS:
            self.mixed.pop(key.symbol, None)  # what is entered from now on is ours alone

    def count(self, row: Income) -> None:
        self._counted[row.id] = row.venue_time_ms
        if row.trade in self._ours:
            if row.kind is IncomeKind.PROFIT and row.trade in self._by_word:
                self._change(row.asset, Cause.TRADES, row.amount)
            return
        if row.trade is not None:
            line = Foreign(row.asset, row.kind, row.amount, row.venue_time_ms)
            self._elsewhere.setdefault(row.trade, []).append(line)
        self._change(row.asset, _CAUSES[row.kind], row.amount)

    def _change(self, asset: Asset, cause: Cause, amount: Decimal) -> None:
        self.accounts[asset] = self.account(asset).with_change(cause, amount)

    def done(self, at_ms: int) -> MoneyLedger:
        oldest = at_ms - KEPT_MS
        return replace(
            self._ledger,
            read_ms=at_ms,
            accounts=self.accounts,
            counted={key: time_ms for key, time_ms in self._counted.items() if time_ms >= oldest},
            ours={key: time_ms for key, time_ms in self._ours.items() if time_ms >= oldest},
            by_word=frozenset(key for key in self._by_word if self._ours[key] >= oldest),
            elsewhere={
                key: tuple(rows)
                for key, rows in self._elsewhere.items()
                if any(line.venue_time_ms >= oldest for line in rows)
            },
            settled={symbol: amount for symbol, amount in self.settled.items() if amount},
            mixed=self.mixed,
        )


def settle_asset(instrument: InstrumentId) -> Asset:
    """The coin a linear instrument is settled in."""
    return Asset(instrument.symbol.rpartition(":")[2])
