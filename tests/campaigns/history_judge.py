"""What is wrong in the end of a history: where our picture is not the venue's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from core.domain.ids import VenueName
from core.domain.order import ENDED, UNACKNOWLEDGED, OrderIntent, OrderStatus
from core.domain.position import PositionKey
from core.engine.inflight import InflightResolver
from core.engine.protection_manager import ProtectionManager
from core.engine.records import FillRecord
from core.engine.risk_guard import RiskGuard
from core.engine.state import State
from tests.builders import USDT
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.true_venue import TrueVenue

BINANCE = VenueName.BINANCE
S = OrderStatus


class Judge:
    """Reads both sides; a history is one."""

    venue: TrueVenue
    state: State
    journal: FakeJournal
    inflight: InflightResolver
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
            *(f"{p.key} is naked" for p in self.state.positions() if not self.protection.covered(p.key)),
        ]

    def _wrong_orders(self) -> list[str]:
        wrong = [f"{key} was sent {n} times" for key, n in Counter(self.venue.sent).items() if n > 1]
        for client_id in self.venue.sent:
            order, true = self.state.order(client_id), self.venue.orders.get(client_id)
            if order is None:
                wrong.append(f"{client_id} is forgotten")
            elif order.overfilled_by(order.filled):
                wrong.append(f"{client_id} is filled {order.filled} of {order.quantity}")
            elif true is None:
                if order.status not in (S.ABSENT, S.REJECTED) and not self._may_hide(order.intent):
                    wrong.append(f"{client_id} never arrived and is {order.status}")
            elif order.status is S.ABSENT and true.status in ENDED and not true.filled:
                continue  # denied while it was young, and over without a trade before anybody asked again
            elif (order.status, order.filled, order.fills_missing) != (true.status, true.filled, 0):
                said = f"{order.status} {order.filled} (+{order.fills_missing})"
                wrong.append(f"{order.intent.leg} {client_id} is {said}, at the venue {true.status} {true.filled}")
            elif true.waiting and order.trigger_price != true.trigger:
                wrong.append(f"{client_id} stands at {order.trigger_price}, at the venue at {true.trigger}")
            elif order.trade_ids != true.trades:
                wrong.append(f"{client_id} has the trades {order.trade_ids}, at the venue {true.trades}")
        return wrong

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


def _said(held: Mapping[PositionKey, Sequence[Decimal]]) -> str:
    return ", ".join(f"{key} {' and '.join(map(str, quantities))}" for key, quantities in held.items()) or "nothing"
