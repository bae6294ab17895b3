"""What is written down: the journal for restarts, the audit for proof. One place, so that neither is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import InstrumentId
from core.domain.money import plain
from core.domain.order import Order, OrderIntent
from core.domain.position import Position
from core.domain.reports import BalanceReport, FillReport
from core.engine.ports import AuditLog
from core.engine.records import FillRecord, IntentRecord, Journal, OrderRecord, PositionRecord, Record
from core.errors import JournalUnwritable

log = structlog.get_logger(__name__)


class Bookkeeper:
    """Journal rows and audit records of trading. `default_stop_percent` is of the fill price."""

    def __init__(self, *, journal: Journal, audit: AuditLog, clock: Clock, default_stop_percent: Decimal) -> None:
        self._journal = journal
        self._audit = audit
        self._clock = clock
        self.default_stop_percent = default_stop_percent
        self._step: list[Record] | None = None

    async def durable(self, records: Sequence[Record], wait_seconds: float | None) -> bool:
        """True = synced to disk. False when `wait_seconds` passed or the disk refused: the write then goes on.

        Raises JournalUnwritable, only without a `wait_seconds`: then nothing of `records` is or will be stored.
        """
        if not records:
            return True
        try:
            async with asyncio.timeout(wait_seconds):
                await self._journal.append(records)
        except TimeoutError:  # giving up the wait leaves the records queued: they are stored when that is possible
            log.warning("journal.slow", waited_ms=round((wait_seconds or 0) * 1000), records=len(records))
        except JournalUnwritable as error:
            if wait_seconds is None:
                raise
            log.error("journal.unwritable", records=len(records), error=str(error))  # noqa: TRY400 - no news in a trace
            self.soon(records)
        else:
            return True
        return False

    def soon(self, records: Sequence[Record]) -> None:
        """Written without waiting and without sync; the venue can tell these again."""
        if self._step is None:
            self._journal.append_nowait(records)
        else:
            self._step += records

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """What is written soon within it is stored as a whole or not at all: an order whose trade is counted without
        the position that the trade made could not be put right after a crash."""
        step: list[Record] = []
        self._step = step
        try:
            yield
        finally:
            self._step = None
            if step:
                self._journal.append_nowait(step)

    def sent(self, intent: OrderIntent) -> None:
        self.note("order_sent", _intent_facts(intent))

    def taken_back(self, intent: OrderIntent) -> None:
        """Sent by an earlier run that could not write it down."""
        self.soon([IntentRecord(intent=intent, time_ms=self._clock.now_ms())])
        self.note("order_taken_back", _intent_facts(intent))

    def moving(self, stop: Order, trigger_price: Decimal, quantity: Decimal) -> None:
        """A resting stop is about to be moved; where it stands afterwards is the venue's word."""
        self.note(
            "stop_moving",
            {
                "client_order_id": stop.client_order_id,
                "instrument": str(stop.instrument),
                "from": None if stop.trigger_price is None else plain(stop.trigger_price),
                "to": plain(trigger_price),
                "quantity": plain(quantity),
            },
        )

    def order(self, order: Order) -> None:
        self.soon([OrderRecord(order=order, time_ms=self._clock.now_ms())])
        self.note(
            "order",
            {
                "client_order_id": order.client_order_id,
                "instrument": str(order.instrument),
                "status": order.status,
                "filled": plain(order.reported_filled),
                "detail": order.detail,
            },
        )

    def fill(self, fill: FillReport, order: Order) -> None:
        if fill.client_order_id != order.client_order_id:  # some venues tell a trade by their own order id only
            fill = replace(fill, client_order_id=order.client_order_id)
        self.soon([FillRecord(fill=fill, time_ms=self._clock.now_ms())])
        self.note(
            "fill",
            {
                "client_order_id": order.client_order_id,
                "instrument": str(fill.instrument),
                "leg": order.intent.leg.value,
                "trade_id": fill.trade_id,
                "side": fill.side.value,
                "quantity": plain(fill.quantity),
                "price": plain(fill.price),
                "fee": plain(fill.fee),
                "fee_asset": fill.fee_asset,
                "venue_time_ms": fill.venue_time_ms,
            },
        )

    def foreign_fill(self, fill: FillReport, left: Position) -> None:
        """A trade of somebody else's order that shrank our position."""
        self.soon([FillRecord(fill=fill, time_ms=self._clock.now_ms())])
        self.note(
            "foreign_fill",
            {
                "position_id": left.id,
                "instrument": str(fill.instrument),
                "origin": fill.origin.value,
                "client_order_id": fill.client_order_id,
                "trade_id": fill.trade_id,
                "side": fill.side.value,
                "quantity": plain(fill.quantity),
                "price": plain(fill.price),
                "fee": plain(fill.fee),
                "fee_asset": fill.fee_asset,
                "left": plain(left.quantity),
            },
        )

    def position(self, position: Position, by: str) -> None:
        """`by`: what changed it, for people."""
        if not position.open:
            _log_closed(position, by)
        self.soon([PositionRecord(position=position, time_ms=self._clock.now_ms())])
        self.note("position", {**position_facts(position), "by": by})

    def wallet(self, report: BalanceReport) -> None:
        """Every change of a wallet, with the venue's reason for it."""
        self.note(
            "wallet",
            {
                "venue": report.venue.value,
                "asset": report.asset,
                "wallet": plain(report.wallet),
                "change": None if report.change is None else plain(report.change),
                "cause": report.cause.value,
                "cause_text": report.cause_text,
                "venue_time_ms": report.venue_time_ms,
            },
        )

    def inconsistent(self, instrument: InstrumentId, what: str) -> None:
        log.error("orders.inconsistent", instrument=str(instrument), what=what)
        self.note("inconsistent", {"instrument": str(instrument), "what": what})

    def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Any fact worth proving later: verdicts, stops confirmed, trading states. Never raises."""
        try:
            self._audit.record(kind, facts)
        except Exception:  # swallow: the audit trail must not stop a stop or a close (JRN-06)
            log.exception("audit.not_recorded", kind=kind)


def position_facts(position: Position) -> dict[str, str]:
    """A position as the audit tells it; money in the coin it is settled in, `realized` before fees."""
    return {
        "position_id": position.id,
        "instrument": str(position.instrument),
        "side": "long" if position.side.sign > 0 else "short",
        "quantity": plain(position.quantity),
        "entry_price": plain(position.entry_price),
        "entry_quantity": plain(position.entry_quantity),
        "realized": plain(position.realized),
        "fees": plain(position.fees),
    }


def _log_closed(position: Position, by: str) -> None:
    """The one line that says how it ended, whoever closed it; `result` is after fees, in quote coin."""
    log.info(
        "position.closed",
        position=str(position.key),
        entry_price=plain(round(position.entry_price, 8)),
        exit_price=plain(round(position.exit_cost / position.exit_quantity, 8)) if position.exit_quantity else None,
        quantity=plain(position.entry_quantity),
        result=plain(round(position.realized - position.fees, 8)),
        by=by,
    )


def _intent_facts(intent: OrderIntent) -> dict[str, Any]:
    return {
        "client_order_id": intent.client_order_id,
        "instrument": str(intent.instrument),
        "leg": intent.leg,
        "attempt": intent.attempt,
        "signal_id": intent.signal_id,
        "side": intent.side,
        "type": intent.type,
        "quantity": plain(intent.quantity),
        "reduce_only": intent.reduce_only,
        "trigger_price": None if intent.trigger_price is None else plain(intent.trigger_price),
    }
