"""MoneyLedgers: whether every change of every wallet is explained, venue by venue.

A reading is judged only when nothing moved while it was made: the wallets before and after the income history agree,
and no trade was booked meanwhile. A trade in the history that our books lack is asked for first; it may be one of ours
that went by unseen. What cannot be read is unknown, never zero; a residual is said when a second reading agrees.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.funding import EARLY_MS, HOUR_MS, FundingHour, Paid, funding_hour
from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.ledger import (
    BookedTrade,
    Cause,
    Income,
    IncomeKind,
    MoneyLedger,
    TradeKey,
    WalletAccount,
    advanced,
    fresh,
    opened,
    unbooked,
)
from core.domain.money import ZERO, plain
from core.domain.order import Order
from core.domain.position import Position
from core.domain.reports import FillReport
from core.engine.bookkeeping import Bookkeeper
from core.engine.money_record import UNREADABLE, decoded, encoded, key_of
from core.engine.order_manager import OrderManager
from core.engine.ports import Level, Notifier, VenueClient
from core.engine.records import StateRecord
from core.errors import VenueError

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 300.0
SETTLE_SECONDS = 2.0
"""After a connection, and between two attempts: trades of the same moment come within it."""
AGAIN_SECONDS = 60.0
"""After a reading that failed, or that found something unexplained: venues list what they did some seconds later."""
ATTEMPTS = 3
FILLS_LOOK_BACK_MS = 1_000
DAY_MS = 24 * HOUR_MS


class MoneyRow(Struct, frozen=True, kw_only=True):
    """One wallet. `residual` None = it could not be read yet; `read_s` seconds since it was last judged."""

    venue: VenueName
    asset: Asset
    residual: Decimal | None
    balanced: bool = True
    read_s: float | None = None
    trades: int = 0
    explained: Mapping[str, Decimal] | None = None


class MoneyLedgers:
    """`listed` is told what funding the history lists, `transferred` the same of transfers; `serves` is False while a
    venue has an outage. Wallets of `quote_coins` are watched, and of coins that pay our fees."""

    def __init__(
        self,
        *,
        clients: Mapping[VenueName, VenueClient],
        orders: OrderManager,
        books: Bookkeeper,
        quote_coins: frozenset[Asset],
        listed: Callable[[Mapping[FundingHour, Paid]], None],
        transferred: Callable[[Mapping[FundingHour, Paid]], None] = lambda _paid: None,
        serves: Callable[[VenueName], bool],
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._orders = orders
        self._books = books
        self._quote_coins = quote_coins
        self._tellers = {IncomeKind.FUNDING: listed, IncomeKind.TRANSFER: transferred}
        self._serves = serves
        self._notifier = notifier
        self._clock = clock
        self.ledgers: dict[VenueName, MoneyLedger] = {}
        self._trades: defaultdict[VenueName, dict[TradeKey, BookedTrade]] = defaultdict(dict)
        self._judged_at: dict[VenueName, float] = {}
        self._due: dict[VenueName, float] = {}
        self._wake = asyncio.Event()
        self._suspect: set[tuple[VenueName, Asset]] = set()
        self._said: set[tuple[VenueName, Asset]] = set()
        self._saved: dict[VenueName, str] = {}

    # told

    def follow(self, orders: OrderManager) -> None:
        """Hear of every trade of ours from now on."""
        orders.on_trade(self.traded)

    def traded(self, fill: FillReport, order: Order, before: Position | None, after: Position) -> None:
        """A trade of an order of ours (OrderManager.on_trade)."""
        made = share = ZERO
        if before is not None and order.intent.reduce_only and before.id == after.id:
            made = after.realized - before.realized
            share = fill.quantity / before.quantity
        self._note(_booked(fill, made, share))

    def recall(self, values: Mapping[str, str], fills: Iterable[FillReport]) -> None:
        """What was known before the restart, and the trades of ours that were booked after it was written down."""
        for venue in VenueName:
            text = values.get(key_of(venue))
            if text is None:
                continue
            try:
                self.ledgers[venue] = decoded(venue, text)
                self._saved[venue] = text
            except UNREADABLE as error:
                log.error("money.record_unreadable", venue=venue, error=repr(error))  # noqa: TRY400 - the news is said
        for fill in fills:
            if fill.instrument.venue in self.ledgers:
                self._note(_booked(fill, None, ZERO))

    def ask(self, venue: VenueName) -> None:
        """Read this venue soon: a stream came up, and what it missed is to be found."""
        self._plan(venue, SETTLE_SECONDS)

    # asked

    def rows(self) -> tuple[MoneyRow, ...]:
        """Every watched wallet; a venue of which nothing could be read yet has one row that says so."""
        told = []
        for venue in self._clients:
            ledger, judged = self.ledgers.get(venue), self._judged_at.get(venue)
            if ledger is None or judged is None:
                told += [MoneyRow(venue=venue, asset=asset, residual=None) for asset in sorted(self._quote_coins)]
                continue
            age = self._clock.monotonic() - judged
            told += [_row(ledger, asset, account, age) for asset, account in self._watched(ledger)]
        return tuple(told)

    # reading

    async def run(self) -> None:
        """Until cancelled. What a venue says or does not say never ends it."""
        for venue in self._clients:
            self._due.setdefault(venue, self._clock.monotonic() + SETTLE_SECONDS)
        while True:
            first = min(self._due.values(), default=self._clock.monotonic() + PERIOD_SECONDS)
            try:
                async with asyncio.timeout(max(0.0, first - self._clock.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            now = self._clock.monotonic()
            for venue in [venue for venue in self._clients if self._due.get(venue, now) <= now]:
                self._due[venue] = now + PERIOD_SECONDS
                if not (self._serves(venue) and await self._tried(venue)):
                    self._plan(venue, AGAIN_SECONDS)

    def _plan(self, venue: VenueName, seconds: float) -> None:
        at = self._clock.monotonic() + seconds
        self._due[venue] = min(at, self._due.get(venue, at))
        self._wake.set()

    async def _tried(self, venue: VenueName) -> bool:
        try:
            return await self.look(venue)
        except VenueError as error:
            log.warning("money.unread", venue=venue, error=str(error))
            return False

    async def look(self, venue: VenueName) -> bool:
        """Read one venue and judge what was read; False when it would not stand still. Raises VenueError."""
        client = self._clients[venue]
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(SETTLE_SECONDS)
            at_ms = self._venue_now(client)
            before, known = await self._wallets(client), self._ledger(client)
            if known is None and not any(before.values()):
                # Nothing to explain yet, or an answer that left every coin out, which counts as none of it: opened so,
                # the ledger would take all money for unexplained once it is listed.
                return False
            ledger = known or opened(venue, before, self._venue_now(client) + 1)
            history = await client.income(min(ledger.read_from_ms, at_ms))
            await self._fetch(client, unbooked(ledger, history, self._trades[venue].values()))
            await self._orders.drained()
            trades = dict(self._trades[venue])
            after = await self._wallets(client)
            await self._orders.drained()
            if before == after and trades == self._trades[venue]:
                self._judge(ledger, after, history, at_ms)
                return True
        return False

    def _venue_now(self, client: VenueClient) -> int:
        return self._clock.now_ms() + client.clock_offset_ms

    def _ledger(self, client: VenueClient) -> MoneyLedger | None:
        """None where a new one has to be opened: there is none, or what happened since is in no history any more."""
        ledger = self.ledgers.get(client.name)
        if ledger is None:
            return None
        oldest = self._venue_now(client) - client.traits.income_days * DAY_MS
        if ledger.read_from_ms >= oldest:
            return ledger
        log.warning("money.gap", venue=client.name, read_ms=ledger.read_ms, kept_days=client.traits.income_days)
        text = "was not read for so long that its history has a gap; the money ledger begins anew"
        self._notifier.notify(Level.WARNING, f"{client.name}: the income history {text}", kind=AlertKind.DISCREPANCY)
        return None

    async def _wallets(self, client: VenueClient) -> dict[Asset, Decimal]:
        return {report.asset: report.wallet for report in await client.balances()}

    async def _fetch(self, client: VenueClient, missing: Sequence[Income]) -> None:
        """Trades that the history lists and our books lack, through the one door: of ours they are booked there."""
        wanted = {line.trade for line in missing}
        since: dict[Symbol, int] = {}
        for line in missing:
            if line.trade is not None:
                known = since.get(line.trade.symbol, line.venue_time_ms)
                since[line.trade.symbol] = min(known, line.venue_time_ms)
        for symbol, time_ms in since.items():
            fills = await client.fills(InstrumentId(client.name, symbol), time_ms - FILLS_LOOK_BACK_MS)
            await self._orders.take([fill for fill in fills if TradeKey(symbol, fill.trade_id) in wanted])

    # judging

    def _judge(
        self, ledger: MoneyLedger, wallets: Mapping[Asset, Decimal], history: Sequence[Income], at_ms: int
    ) -> None:
        """`ledger` is the one that was kept, or one just opened."""
        venue, known = ledger.venue, self.ledgers.get(ledger.venue) is ledger
        new = fresh(ledger, history)
        trades = [trade for trade in self._trades[venue].values() if trade.venue_time_ms >= ledger.since_ms]
        after = advanced(ledger, wallets=wallets, history=history, trades=trades, at_ms=max(at_ms, ledger.read_ms))
        self.ledgers[venue] = after
        self._judged_at[venue] = self._clock.monotonic()
        self._trades[venue].clear()
        for kind, tell in self._tellers.items():
            if paid := self._by_hours(kind, after, history, from_ms=ledger.read_from_ms):
                tell(paid)
        for line in new:
            if line.trade is None or line.trade not in after.ours:
                self._books.note("income", _line_facts(line))
        for asset, account in self._watched(after):
            if not known or account != ledger.accounts.get(asset):
                self._books.note("money", _account_facts(after, asset, account))
            self._say(venue, asset, account)
        self._save(after)
        log.debug("money.judged", venue=venue, lines=len(new), trades=len(trades))

    def _by_hours(
        self, kind: IncomeKind, ledger: MoneyLedger, history: Iterable[Income], *, from_ms: int
    ) -> dict[FundingHour, Paid]:
        """Hours that were read as a whole."""
        rows = {row.id: row for row in history if row.kind is kind and row.asset in self._quote_coins}
        paid: dict[FundingHour, Paid] = {}
        for row in rows.values():
            hour = funding_hour(row.venue, row.asset, row.venue_time_ms)
            whole = from_ms == ledger.since_ms or hour.hour * HOUR_MS - EARLY_MS >= from_ms
            if whole and row.venue_time_ms >= ledger.since_ms:
                seen = paid.get(hour, Paid())
                paid[hour] = Paid(seen.payments + 1, seen.sum + row.amount)
        return paid

    def _watched(self, ledger: MoneyLedger) -> list[tuple[Asset, WalletAccount]]:
        return [
            (asset, account)
            for asset, account in sorted(ledger.accounts.items())
            if asset in self._quote_coins or Cause.FEES in account.explained
        ]

    def _say(self, venue: VenueName, asset: Asset, account: WalletAccount) -> None:
        """Twice in a row before people are told: the history may list a moment later what the wallet has already."""
        key = (venue, asset)
        if account.balanced:
            self._suspect.discard(key)
            if key in self._said:
                self._said.discard(key)
                self._notifier.notify(
                    Level.INFO,
                    f"{venue} {asset}: every change of the wallet is explained again",
                    kind=AlertKind.DISCREPANCY,
                )
            return
        if key not in self._suspect:
            self._suspect.add(key)
            self._plan(venue, AGAIN_SECONDS)
        elif key not in self._said:
            self._said.add(key)
            what = f"{plain(account.residual)} {asset} of {plain(account.wallet)} are explained by no trade, fee,"
            log.error("money.unexplained", venue=venue, asset=asset, residual=plain(account.residual))
            self._books.note("discrepancy", {"kind": "money", "instrument": venue.value, "what": what})
            self._notifier.notify(
                Level.CRITICAL,
                f"{venue}: {what} funding or transfer; compare the account's history",
                kind=AlertKind.DISCREPANCY,
            )

    def _note(self, trade: BookedTrade) -> None:
        self._trades[trade.instrument.venue][trade.key] = trade

    def _save(self, ledger: MoneyLedger) -> None:
        """Written when there is something new in it; a later reading of nothing is not (REC-03)."""
        saved = self._saved.get(ledger.venue)
        if saved is not None and encoded(replace(ledger, read_ms=decoded(ledger.venue, saved).read_ms)) == saved:
            return
        text = self._saved[ledger.venue] = encoded(ledger)
        self._books.soon([StateRecord(key=key_of(ledger.venue), value=text, time_ms=self._clock.now_ms())])


def _booked(fill: FillReport, made: Decimal | None, share: Decimal) -> BookedTrade:
    return BookedTrade(
        instrument=fill.instrument,
        trade_id=fill.trade_id,
        made=made,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        venue_time_ms=fill.venue_time_ms,
        share=share,
    )


def _row(ledger: MoneyLedger, asset: Asset, account: WalletAccount, age: float) -> MoneyRow:
    return MoneyRow(
        venue=ledger.venue,
        asset=asset,
        residual=account.residual,
        balanced=account.balanced,
        read_s=age,
        trades=account.trades,
        explained={cause.value: amount for cause, amount in account.explained.items()},
    )


def _line_facts(line: Income) -> dict[str, object]:
    return {
        "venue": line.venue.value,
        "id": line.id,
        "asset": line.asset,
        "kind": line.kind.value,
        "amount": plain(line.amount),
        "symbol": line.symbol,
        "trade_id": line.trade_id,
        "venue_time_ms": line.venue_time_ms,
        "word": line.word,
    }


def _account_facts(ledger: MoneyLedger, asset: Asset, account: WalletAccount) -> dict[str, object]:
    return {
        "venue": ledger.venue.value,
        "asset": asset,
        "since_ms": ledger.since_ms,
        "opening": plain(account.opening),
        "wallet": plain(account.wallet),
        "residual": plain(account.residual),
        "trades": account.trades,
        **{cause.value: plain(amount) for cause, amount in sorted(account.explained.items()) if cause != Cause.TRADES},
        "made": plain(account.explained.get(Cause.TRADES, ZERO)),
    }
