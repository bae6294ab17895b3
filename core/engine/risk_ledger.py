"""RiskLedger: keeps the risk book by what happens: trades, closes, funding, transfers, marks and midnight.

Open positions are valued by their own fills at the newest mark, not by the wallet: the venue tells a trade and the
wallet after it one by one, and between the two the wallet lies.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.domain.cooldown import CloseKind, LastClose
from core.domain.day import DayAccount, day_of, worth
from core.domain.events import Event, PositionChanged, WalletMoved
from core.domain.funding import HOUR_MS, FundingBook, FundingHour, Paid, funding_hour
from core.domain.gate import Gate
from core.domain.ids import Asset, InstrumentId, Leg, PositionId, Symbol
from core.domain.ledger import settle_asset
from core.domain.money import HUNDRED, ZERO, Quantity, plain
from core.domain.order import Order, OrderIntent
from core.domain.position import Position
from core.domain.reports import BalanceReport, FillReport, WalletCause
from core.domain.risk import TradingState
from core.domain.risk_book import Episode, ResultRules, RiskBook
from core.domain.standing import Standing
from core.engine.giving_way import AT_ONCE
from core.engine.ports import Level, Notifier
from core.engine.records import Journal, StateRecord
from core.engine.risk_record import UNREADABLE, decoded, encoded
from core.engine.state import StateView

log = structlog.get_logger(__name__)

SAVE_SECONDS = 30.0
"""Between two notes of marks that moved; everything else is noted at once."""
WALLET_MOVES_REMEMBERED = 1_000
_MOVED = (WalletCause.DEPOSIT, WalletCause.WITHDRAWAL, WalletCause.TRANSFER)
SCRATCH_SHARE = Decimal("0.1")
_KEY = "risk_book"


class _Size(NamedTuple):
    quantity: Quantity
    sold: Quantity


class RiskLedger:
    def __init__(
        self,
        *,
        state: StateView,
        rules: ResultRules,
        quote_coins: frozenset[Asset],
        mark: Callable[[InstrumentId], Decimal | None],
        journal: Journal,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        """`mark` answers None when the price is unknown or old: then the last known worth stands. Wallets of other
        coins than `quote_coins` are not counted."""
        self._state = state
        self._quote_coins = quote_coins
        self._mark = mark
        self._journal = journal
        self._clock = clock
        self._notifier = notifier
        self._marks: dict[InstrumentId, Decimal] = {}
        self._sizes: dict[PositionId, _Size] = {}
        self._traded: dict[PositionId, deque[_Size]] = {}
        self._reduced_by: dict[PositionId, Leg] = {}
        self._reopened: dict[PositionId, Decimal] = {}
        self._counted: set[str] = set()
        self._wallet_moves: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._saved_at = clock.monotonic()
        self._saved = ""
        self.rules = rules
        self.book = RiskBook(day=DayAccount(day=day_of(clock.now_ms())))
        self.funding = FundingBook()
        self.transfers = FundingBook()
        self.day_over: DayAccount | None = None
        """The account of the day that ended last, since the start."""

    # asking

    def settle(self) -> None:
        """End what is over, begin what is reached. Before every ruling, and each second (RSK-03)."""
        now = self._clock.now_ms()
        if day_of(now) > self.book.day.day:
            self._measure()
        self._judge(self.book.judged(self.rules, now))

    def gates(self, intent: OrderIntent) -> tuple[Gate, ...]:
        return self.book.gates(intent.instrument, intent.side, self.rules, self._clock.now_ms())

    def standings(self) -> list[Standing]:
        """One for each limit that holds entries back."""
        return [
            Standing(state=TradingState.REDUCING, reason=episode.what, author="breakwater")
            for episode in self.book.episodes.values()
        ]

    # telling

    async def tick(self, pause: float = 0.0) -> None:
        """Value everything at the newest marks: an open loss counts while it is open (RSK-10)."""
        held, worths = self._state.positions(), dict[PositionId, Decimal]()
        for number, position in enumerate(held, start=1):
            worths[position.id] = self._worth(position)
            if number % AT_ONCE == 0:
                await asyncio.sleep(pause)
        for position in held:
            if self._state.position(position.key) is not position:  # it was valued when it changed
                del worths[position.id]
        self._set_day(self.book.day.all_valued(worths))
        self._count_wallets()
        self.settle()
        if self._clock.monotonic() - self._saved_at >= SAVE_SECONDS and self.book.day.shares:
            self._save()

    def resume(self) -> None:
        """Somebody accepts what was lost: each limit counts anew from here (see `RiskBook.resumed`)."""
        self.book = self.book.resumed()
        self._save()

    def traded(self, fill: FillReport, order: Order, before: Position | None, after: Position) -> None:
        """A trade of an order of ours (OrderManager.on_trade)."""
        self._charge_other_coin(fill)
        self._traded.setdefault(after.id, deque()).append(_size(after))
        if order.intent.reduce_only:
            self._reduced_by[after.id] = order.intent.leg
        elif before is None or before.id != after.id:
            self._set_day(self.book.day.opened(after.id))
        elif not before.open:
            self._reopened[after.id] = worth(before, ZERO)

    def on_events(self, events: Iterable[Event]) -> None:
        """Must-consumer."""
        for event in events:
            if isinstance(event, PositionChanged):
                self._on_position(event.position)
            elif isinstance(event, WalletMoved):
                self._on_wallet(event.report)

    def recall(self, values: Mapping[str, str]) -> None:
        """What was known before the restart, with the positions of the journal already in the state."""
        if (text := values.get(_KEY)) is not None:
            try:
                record = decoded(text)
            except UNREADABLE as error:
                log.error("risk.record_unreadable", error=repr(error))  # noqa: TRY400 - the sentence is the news
                lost = "the day's loss, the row of stops, the drawdown and the cooldowns begin at nothing"
                self._notifier.notify(
                    Level.CRITICAL, f"the journal's risk book cannot be read: {lost}", kind=AlertKind.JOURNAL
                )
            else:
                self.book, self._counted = record.book, set(record.counted)
                self.funding, self.transfers = record.funding, record.transfers
        held = {position.id: position for position in self._state.positions()}
        day = self.book.day
        for gone in [key for key in day.shares if key not in held]:
            day = day.ended(gone)
        for position in held.values():
            self._sizes[position.id] = _size(position)
            if position.id not in day.shares and position.signal_id and day_of(position.opened_ms) == day.day:
                day = day.opened(position.id)
        self._set_day(day)

    # keeping

    def _on_position(self, position: Position) -> None:
        elsewhere = self._changed_elsewhere(position)
        if position.open:
            if position.id in self._reopened and position.id not in self.book.day.shares:  # its close has been told
                self._set_day(self.book.day.opened(position.id, self._reopened.pop(position.id)))
            self._set_day(self.book.day.valued(position.id, self._worth(position)))
            if elsewhere is not None:
                self._note_close(position, CloseKind.EVEN, external=True)
            return
        self._set_day(self.book.day.ended(position.id, worth(position, ZERO)))
        self._note_close(position, _kind(position, elsewhere or ZERO), external=elsewhere is not None)
        for known in (self._sizes, self._traded, self._reduced_by):
            known.pop(position.id, None)
        self.settle()
        self._save()

    def _changed_elsewhere(self, position: Position) -> Decimal | None:
        """None where a trade of our orders led to this size; else what went without any trade we saw, valued at the
        mark, has made. Trades told together are all counted before the first of their positions is told."""
        seen, now = self._sizes.get(position.id), _size(position)
        self._sizes[position.id] = now
        traded = self._traded.get(position.id)
        if traded and traded[0] == now:
            traded.popleft()
            return None
        if seen is None or seen == now:
            return None
        untraded = now.quantity - seen.quantity + now.sold - seen.sold
        if not untraded:
            return ZERO
        by = untraded * (self._newest_mark(position) - position.entry_price) * position.side.sign
        self._set_day(self.book.day.changed_hands(position.id, by))
        return -by

    def _note_close(self, position: Position, kind: CloseKind, *, external: bool) -> None:
        close = LastClose(side=position.side, kind=kind, at_ms=self._clock.now_ms(), external=external)
        # A flattening for want of a stop says something of the venue, not of the market or of the signals.
        by_stop = self._reduced_by.get(position.id) is Leg.STOP and not _scratched(position)
        self.book = self.book.with_close(position.instrument, close, by_stop=by_stop, rules=self.rules.cooldowns)

    def _on_wallet(self, report: BalanceReport) -> None:
        told = (report.venue, report.asset, report.venue_time_ms, report.change, report.wallet)
        if report.asset not in self._quote_coins or report.change is None or told in self._wallet_moves:
            return
        self._wallet_moves[told] = None
        while len(self._wallet_moves) > WALLET_MOVES_REMEMBERED:
            self._wallet_moves.popitem(last=False)
        if report.cause is WalletCause.FUNDING:
            hour = funding_hour(report.venue, report.asset, report.venue_time_ms)
            self._take_funding(hour, self.funding.with_told(hour, report.change), of_today=True)
        elif report.cause in _MOVED:
            hour = funding_hour(report.venue, report.asset, report.venue_time_ms)
            self._take_transfers(hour, self.transfers.with_told(hour, report.change), of_today=True)
        elif report.cause is not WalletCause.SETTING:
            self.book = replace(self.book, equity=self.book.equity.transferred(report.change))
        self.settle()
        self._save()

    def funding_listed(self, payments: Mapping[FundingHour, Paid]) -> None:
        """What the income history has of whole hours: payments that the stream missed count too, each once."""
        for hour, paid in payments.items():
            today = day_of(hour.hour * HOUR_MS) == self.book.day.day
            self._take_funding(hour, self.funding.with_listed(hour, paid), of_today=today)
        self.settle()
        self._save()

    def transfers_listed(self, payments: Mapping[FundingHour, Paid]) -> None:
        """What the income history has of whole hours: deposits and withdrawals that the stream missed count too, each
        once, so that they are no drawdown."""
        for hour, paid in payments.items():
            today = day_of(hour.hour * HOUR_MS) == self.book.day.day
            self._take_transfers(hour, self.transfers.with_listed(hour, paid), of_today=today)
        self.settle()
        self._save()

    def _take_transfers(self, hour: FundingHour, transfers: FundingBook, *, of_today: bool) -> None:
        """One of an earlier day was taken over at midnight, with the wallets."""
        moved = transfers.of(hour) - self.transfers.of(hour)
        self.transfers = transfers
        if moved and of_today:
            self.book = replace(self.book, equity=self.book.equity.transferred(moved))

    def _take_funding(self, hour: FundingHour, funding: FundingBook, *, of_today: bool) -> None:
        """What belongs to an earlier day moves the equity and no day's result."""
        made = funding.of(hour) - self.funding.of(hour)
        self.funding = funding
        if made and of_today:
            self._set_day(self.book.day.funded(made))
        elif made:
            self.book = replace(self.book, equity=self.book.equity.earned(made))

    def _charge_other_coin(self, fill: FillReport) -> None:
        """A fee in another coin (BNB) than the position is settled in, at the mark of that coin's own contract."""
        quote = settle_asset(fill.instrument)
        if not fill.fee or fill.fee_asset == quote:
            return
        priced_by = InstrumentId(fill.instrument.venue, Symbol(f"{fill.fee_asset}/{quote}:{quote}"))
        price = self._mark(priced_by)
        if price is None:
            log.error("risk.fee_not_valued", fee=plain(fill.fee), asset=fill.fee_asset, trade=fill.trade_id)
            return
        self._set_day(self.book.day.charged(fill.fee * price))

    def _set_day(self, day: DayAccount) -> None:
        """Every change of the day's result is one of the equity."""
        made = day.result - self.book.day.result
        self.book = replace(self.book, day=day, equity=self.book.equity.earned(made) if made else self.book.equity)

    def _count_wallets(self) -> None:
        """A wallet that is seen for the first time joins the equity; it is no profit. Noted at once: a run after a
        crash would count what it has by then, and what was lost in between once more when the trades are told."""
        found = {
            name: balance.wallet
            for (venue, asset), balance in self._state.balances().items()
            if asset in self._quote_coins and (name := f"{venue} {asset}") not in self._counted
        }
        if found:
            self._counted |= found.keys()
            self.book = replace(self.book, equity=self.book.equity.transferred(sum(found.values(), ZERO)))
            self._save()

    def _measure(self) -> None:
        """Once a day: what moved unseen (a transfer while the daemon was down) is taken over without being a result."""
        if not self._counted:
            return
        wallets = sum(
            (b.wallet for (_, asset), b in self._state.balances().items() if asset in self._quote_coins), ZERO
        )
        unrealized = (p.unrealized(self._newest_mark(p)) for p in self._state.positions())
        equity = self.book.equity.measured(wallets + sum(unrealized, ZERO))
        self.book = replace(self.book, equity=equity)

    def _worth(self, position: Position) -> Decimal:
        return worth(position, self._newest_mark(position))

    def _newest_mark(self, position: Position) -> Decimal:
        """The mark, or the last one known; a position that never had one stands at its entry."""
        mark = self._mark(position.instrument)
        if mark is not None:
            self._marks[position.instrument] = mark
        return self._marks.get(position.instrument, position.entry_price)

    def _judge(self, book: RiskBook) -> None:
        before, self.book = self.book, book
        if book is before:
            return
        begun = [episode for limit, episode in book.episodes.items() if limit not in before.episodes]
        over = [episode for limit, episode in before.episodes.items() if limit not in book.episodes]
        for episode in begun:
            self._say_begun(episode)
        for episode in over:
            log.info("risk.limit_over", limit=episode.limit.value, what=episode.what)
            self._notifier.notify(
                Level.INFO, f"00:00 UTC: {episode.what} is over; entries go on", kind=AlertKind.LOSS_LIMIT
            )
        if book.day.day != before.day.day:
            self.day_over = before.day
            result = plain(round(before.day.result, 2))
            log.info("risk.new_day", result=result, funding=plain(round(before.day.funding, 4)), streak=before.streak)
        self._save()

    def _say_begun(self, episode: Episode) -> None:
        until = "you resume"
        if episode.until_ms is not None:
            until = f"{datetime.fromtimestamp(episode.until_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC, or until you resume"
        log.error("risk.limit_reached", limit=episode.limit.value, what=episode.what, until_ms=episode.until_ms)
        self._notifier.notify(
            Level.CRITICAL,
            f"{episode.what}: no entries until {until}; open positions keep their stops",
            kind=AlertKind.LOSS_LIMIT,
        )

    def _save(self) -> None:
        """Write the book down if it is another one than was written last."""
        self._saved_at = self._clock.monotonic()
        value = encoded(self.book, self._counted, self.funding, self.transfers)
        if value == self._saved:
            return
        self._saved = value
        self._journal.append_nowait([StateRecord(key=_KEY, value=value, time_ms=self._clock.now_ms())])


def _scratched(position: Position) -> bool:
    """Whether next to nothing was lost of what its first stop risked: a stop that had been moved to breakeven and gave
    a little slippage away is not one more stop in a row."""
    risked = position.entry_cost * position.stop_loss_percent / HUNDRED
    return position.fees - position.realized < risked * SCRATCH_SHARE


def _size(position: Position) -> _Size:
    return _Size(position.quantity, position.exit_quantity)


def _kind(position: Position, untraded: Decimal) -> CloseKind:
    """By its own trades and fees, and what is `untraded`; funding is the day's affair (RSK-09)."""
    net = position.realized - position.fees + untraded
    return CloseKind.WIN if net > ZERO else CloseKind.LOSS if net < ZERO else CloseKind.EVEN
