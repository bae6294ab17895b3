"""What is wrong in the end of a history: where our picture is not the venue's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from core.domain.ids import ClientOrderId, VenueName
from core.domain.order import ENDED, UNACKNOWLEDGED, Order, OrderIntent, OrderStatus
from core.domain.position import PositionKey
from core.engine.closer import Closer
from core.engine.inflight import InflightResolver
from core.engine.protection_manager import ProtectionManager
from core.engine.records import FillRecord, OrderRecord
from core.engine.risk_guard import RiskGuard
from core.engine.state import State
from tests.builders import USDT
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.true_venue import TrueOrder, TrueVenue

BINANCE = VenueName.BINANCE
S = OrderStatus


class Judge:
    """Reads both sides; a history is one."""

    venue: TrueVenue
    state: State
    journal: FakeJournal
    inflight: InflightResolver
    closer: Closer
    protection: ProtectionManager
    risk: RiskGuard
    broken: list[str]

    def _wrong(self) -> list[str]:
        return [
            *(f"broken: {reason}" for reason in self.broken),
            *self._wrong_orders(),
            *self._wrong_trades(),
            *self._wrong_positions(),
            *self._wrong_money(),
            *(f"{p.key} is naked" for p in self.state.positions() if not self._safe(p.key)),
        ]

    def _safe(self, key: PositionKey) -> bool:
        """It has its stop, or is being closed because the price has passed where that belongs."""
        return self.protection.covered(key) or self.closer.closing(key)

    def _wrong_orders(self) -> list[str]:
        wrong = [f"{key} was sent {n} times" for key, n in Counter(self.venue.sent).items() if n > 1]
        judged = ((client_id, self._wrong_order(client_id)) for client_id in self.venue.sent)
        return [*wrong, *(f"{client_id} {what}" for client_id, what in judged if what)]

    def _wrong_order(self, client_id: ClientOrderId) -> str:
        order, true = self.state.order(client_id), self.venue.orders.get(client_id)
        if order is None:
            lost = client_id in self.open_records() or (true is not None and true.resting)
            return "is forgotten" if lost else ""
        if order.overfilled_by(order.filled):
            return f"is filled {order.filled} of {order.quantity}"
        if true is None:
            hides = order.status in (S.ABSENT, S.REJECTED) or self._may_hide(order.intent)
            return "" if hides else f"never arrived and is {order.status}"
        if order.status is S.ABSENT and true.status in ENDED and not true.filled:
            return ""  # denied while it was young, and over without a trade before anybody asked again
        if (order.status, order.filled, order.fills_missing) != (true.status, true.filled, 0):
            said = f"{order.status} {order.filled} (+{order.fills_missing})"
            return f"({order.intent.leg}) is {said}, at the venue {true.status} {true.filled}"
        return _wrong_details(order, true)

    def open_records(self) -> set[ClientOrderId]:
        """Orders that have not ended by the last word of the journal; a start forgets the others."""
        ended = {r.order.client_order_id: r.order.ended for r in self.journal.posted if isinstance(r, OrderRecord)}
        return {client_id for client_id in self.venue.sent if not ended.get(client_id, False)}

    def _may_hide(self, intent: OrderIntent) -> bool:
        """A trade of nobody we know on this side may be the lost order's: it stays in doubt, and says so."""
        order = self.state.order(intent.client_order_id)
        assert order is not None
        doubted = order.status in UNACKNOWLEDGED and intent.client_order_id in self.inflight.unresolved
        ours = set(self.venue.sent)
        strangers = [f for f in self.venue.fills_told if f.client_order_id not in ours]
        return doubted and any(f.instrument == intent.instrument and f.side is intent.side for f in strangers)

    def _wrong_trades(self) -> list[str]:
        booked = Counter(r.fill.trade_id for r in self.journal.posted if isinstance(r, FillRecord))
        ours = set(self.venue.sent)
        true = {fill.trade_id for fill in self.venue.fills_told if fill.client_order_id in ours}
        return [
            *(f"trade {trade} is booked {n} times" for trade, n in booked.items() if n > 1),
            *(f"trade {trade} is not booked" for trade in sorted(true - set(booked))),
        ]

    def _wrong_positions(self) -> list[str]:
        ours = {position.key: [position.quantity] for position in self.state.positions()}
        true = {key: [quantity] for key, quantity in self.venue.held.items() if quantity}
        return [] if ours == true else [f"we hold {_said(ours)}, the venue {_said(true)}"]

    def _wrong_in_the_end(self) -> list[str]:
        """One stop of its own size for each position and no other, and nothing reserved for what is over."""
        stops: dict[PositionKey, list[Decimal]] = {}
        for order in self.venue.orders.values():
            if order.resting:
                stops.setdefault(order.key, []).append(order.quantity - order.filled)
        true = {key: [quantity] for key, quantity in self.venue.held.items() if quantity}
        wrong = [] if stops == true else [f"stops rest for {_said(stops)}, positions are {_said(true)}"]
        live = {order.client_order_id for order in self.state.all_live_orders()}
        return [*wrong, *(f"{key} ended and is reserved" for key in self.risk._reserved if key not in live)]

    def _wrong_money(self) -> list[str]:
        balance = self.state.balance(BINANCE, USDT)
        if balance is None or balance.wallet != self.venue.wallet:
            return [f"our wallet is {balance}, the venue's {self.venue.wallet}"]
        return []


def _wrong_details(order: Order, true: TrueOrder) -> str:
    if true.waiting and order.trigger_price != true.trigger:
        return f"stands at {order.trigger_price}, at the venue at {true.trigger}"
    if order.trade_ids != true.trades:
        return f"has the trades {order.trade_ids}, at the venue {true.trades}"
    return ""


def _said(held: Mapping[PositionKey, Sequence[Decimal]]) -> str:
    return ", ".join(f"{key} {' and '.join(map(str, quantities))}" for key, quantities in held.items()) or "nothing"
