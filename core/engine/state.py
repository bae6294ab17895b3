"""Orders, positions and balances as we know them. The order manager writes; everyone else holds a `StateView`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from core.domain.ids import Asset, ClientOrderId, InstrumentId, Leg, PositionId, VenueName, VenueOrderId
from core.domain.money import ZERO
from core.domain.order import ENDED, Order
from core.domain.position import Position, PositionKey
from core.domain.reports import BalanceReport, PositionReport, PositionSide
from core.domain.signal import Side
from core.engine.ports import Balance

_K = TypeVar("_K")
REMEMBERED_ENDED_ORDERS = 2_000
"""Ended orders kept for late reports; older ones are in the journal. Bounds memory and per-event cost."""
REMEMBERED_IDS = 20_000
"""Of ended orders that are kept no more: a venue may tell of their trades again, and they are still ours."""


class Snapshot(NamedTuple):
    """Everything of one moment; nothing in it changes afterwards. `orders` have not ended, `venue_positions` are what
    the venues last said is open."""

    positions: tuple[Position, ...]
    venue_positions: tuple[PositionReport, ...]
    orders: tuple[Order, ...]
    balances: Mapping[tuple[VenueName, Asset], Balance]


class StateView(Protocol):
    """Read-only."""

    def snapshot(self) -> Snapshot:
        """The same object until something changes."""
        ...

    def order(self, client_order_id: ClientOrderId) -> Order | None: ...
    def order_by_venue_id(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> Order | None: ...
    def live_orders(self, instrument: InstrumentId) -> list[Order]:
        """Not ended, in-flight and unknown included."""
        ...

    def all_live_orders(self) -> list[Order]: ...
    def orders_of(self, position_id: PositionId, leg: Leg | None = None) -> list[Order]:
        """Every order of an open position, ended ones too, oldest first; with `leg` of that leg only, which costs no
        more where a stop was moved a thousand times. Of very many stops that never traded the oldest are forgotten."""
        ...

    def position(self, key: PositionKey) -> Position | None:
        """The open position, or None."""
        ...

    def positions_on(self, instrument: InstrumentId) -> list[Position]:
        """None or one; two only in hedge mode."""
        ...

    def positions(self) -> list[Position]: ...
    def last_closed(self, key: PositionKey) -> Position | None:
        """The position of this instrument and direction that was closed last since the start."""
        ...

    def venue_holds(self, instrument: InstrumentId) -> bool:
        """Whether the venue's last word was that something is open there."""
        ...

    def venue_positions(self) -> list[PositionReport]:
        """The venue's last word on each position it ever spoke of."""
        ...

    def balance(self, venue: VenueName, asset: Asset) -> Balance | None: ...
    def balances(self) -> Mapping[tuple[VenueName, Asset], Balance]: ...


class State:
    """Snapshots are handed out as lists; the maps themselves never leave (POS-06)."""

    def __init__(self) -> None:
        self._orders: dict[ClientOrderId, Order] = {}
        self._live: dict[InstrumentId, dict[ClientOrderId, None]] = {}
        self._by_venue_id: dict[tuple[InstrumentId, VenueOrderId], ClientOrderId] = {}
        self._venue_ids: dict[ClientOrderId, set[VenueOrderId]] = {}
        self._by_position: dict[PositionId, dict[ClientOrderId, None]] = {}
        self._by_leg: dict[tuple[PositionId, Leg], dict[ClientOrderId, None]] = {}
        self._ended: OrderedDict[ClientOrderId, None] = OrderedDict()
        self._gone: OrderedDict[ClientOrderId, None] = OrderedDict()
        self._positions: dict[PositionKey, Position] = {}
        self._closed: dict[PositionKey, Position] = {}
        self._venue_positions: dict[tuple[InstrumentId, PositionSide], PositionReport] = {}
        self._balances: dict[tuple[VenueName, Asset], Balance] = {}
        self._snapshot: Snapshot | None = None

    # reading

    def snapshot(self) -> Snapshot:
        if self._snapshot is None:
            self._snapshot = Snapshot(
                positions=tuple(self._positions.values()),
                venue_positions=tuple(row for row in self._venue_positions.values() if row.quantity != ZERO),
                orders=tuple(self.all_live_orders()),
                balances=MappingProxyType(dict(self._balances)),
            )
        return self._snapshot

    def order(self, client_order_id: ClientOrderId) -> Order | None:
        return self._orders.get(client_order_id)

    def order_by_venue_id(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> Order | None:
        client_order_id = self._by_venue_id.get((instrument, venue_order_id))
        return None if client_order_id is None else self._orders.get(client_order_id)

    def live_orders(self, instrument: InstrumentId) -> list[Order]:
        return [self._orders[client_order_id] for client_order_id in self._live.get(instrument, ())]

    def all_live_orders(self) -> list[Order]:
        return [self._orders[client_order_id] for ids in self._live.values() for client_order_id in ids]

    def orders_of(self, position_id: PositionId, leg: Leg | None = None) -> list[Order]:
        ids = self._by_position.get(position_id, {}) if leg is None else self._by_leg.get((position_id, leg), {})
        return [self._orders[client_order_id] for client_order_id in ids]

    def position(self, key: PositionKey) -> Position | None:
        return self._positions.get(key)

    def positions_on(self, instrument: InstrumentId) -> list[Position]:
        both = (self._positions.get(PositionKey(instrument, side)) for side in Side)
        return [position for position in both if position is not None]

    def positions(self) -> list[Position]:
        return list(self._positions.values())

    def last_closed(self, key: PositionKey) -> Position | None:
        return self._closed.get(key)

    def venue_holds(self, instrument: InstrumentId) -> bool:
        rows = (self._venue_positions.get((instrument, side)) for side in PositionSide)
        return any(row is not None and row.quantity != ZERO for row in rows)

    def venue_positions(self) -> list[PositionReport]:
        return list(self._venue_positions.values())

    def balance(self, venue: VenueName, asset: Asset) -> Balance | None:
        return self._balances.get((venue, asset))

    def balances(self) -> Mapping[tuple[VenueName, Asset], Balance]:
        return dict(self._balances)

    def was_known(self, client_order_id: ClientOrderId) -> bool:
        """Whether it is an order of this run that ended long ago."""
        return client_order_id in self._gone

    # writing: the order manager only

    def put_order(self, order: Order) -> None:
        client_order_id, instrument = order.client_order_id, order.instrument
        self._snapshot = None
        self._orders[client_order_id] = order
        position_id = order.intent.position_id
        self._by_position.setdefault(position_id, {})[client_order_id] = None
        self._by_leg.setdefault((position_id, order.intent.leg), {})[client_order_id] = None
        if order.venue_order_id is not None:
            self._by_venue_id[instrument, order.venue_order_id] = client_order_id
            self._venue_ids.setdefault(client_order_id, set()).add(order.venue_order_id)
        live = self._live.setdefault(instrument, {})
        if order.status in ENDED and not order.fills_missing:
            live.pop(client_order_id, None)
            if not live:
                del self._live[instrument]
            self._ended[client_order_id] = None
            self._forget_oldest()
        else:
            live[client_order_id] = None
            self._ended.pop(client_order_id, None)

    def drop_order(self, client_order_id: ClientOrderId) -> None:
        """Take back an order that was registered and then certainly not sent (its intent could not be journaled)."""
        self._forget(client_order_id)

    def put_position(self, position: Position) -> None:
        self._snapshot = None
        if position.open:
            self._positions[position.key] = position
        else:
            self._positions.pop(position.key, None)
            self._closed[position.key] = position

    def put_venue_position(self, report: PositionReport) -> None:
        key = (report.instrument, report.position_side)
        known = self._venue_positions.get(key)
        self._snapshot = None
        if known is None:
            self._venue_positions[key] = report
        else:
            older, newer = sorted((known, report), key=lambda told: told.venue_time_ms)
            self._venue_positions[key] = _merged(older, newer)

    def put_balance(self, report: BalanceReport, now: float) -> bool:
        """Overwrite, unless the report is older than what is known (UDS-06); True when the wallet is another one now.

        A reading of the same moment confirms the figure: its age starts anew.
        """
        known = self._balances.get((report.venue, report.asset))
        if known is not None and report.venue_time_ms < known.venue_time_ms:
            return False
        available = report.available
        if available is None and known is not None and known.venue_time_ms == report.venue_time_ms:
            available = known.available  # another word about the same moment
        says = report.unusable or report.available is not None
        self._snapshot = None
        self._balances[report.venue, report.asset] = Balance(
            asset=report.asset,
            wallet=report.wallet,
            available=available,
            venue_time_ms=report.venue_time_ms,
            received=now,
            unusable=report.unusable if says or known is None else known.unusable,
        )
        return known is None or known.wallet != report.wallet

    def _forget_oldest(self) -> None:
        while len(self._ended) > REMEMBERED_ENDED_ORDERS:
            oldest = next(iter(self._ended))
            order = self._orders[oldest]
            held = any(position.id == order.intent.position_id for position in self.positions_on(order.instrument))
            if held and not self._replaced(order):
                self._ended.move_to_end(oldest)
                return
            self._forget(oldest)
            self._gone[oldest] = None
            if len(self._gone) > REMEMBERED_IDS:
                self._gone.popitem(last=False)

    def _replaced(self, order: Order) -> bool:
        """A conditional order that never traded and has a younger one after it, which keeps the count of its numbers:
        nothing is concluded from it any more, however long its position is trailed."""
        siblings = self._by_leg[order.intent.position_id, order.intent.leg]
        return order.intent.conditional and not order.filled and next(reversed(siblings)) != order.client_order_id

    def _forget(self, client_order_id: ClientOrderId) -> None:
        order = self._orders.pop(client_order_id)
        self._snapshot = None
        self._ended.pop(client_order_id, None)
        if (live := self._live.get(order.instrument)) is not None:
            live.pop(client_order_id, None)
            if not live:
                del self._live[order.instrument]
        for venue_order_id in self._venue_ids.pop(client_order_id, ()):
            self._by_venue_id.pop((order.instrument, venue_order_id), None)
        position_id = order.intent.position_id
        _drop(self._by_position, position_id, client_order_id)
        _drop(self._by_leg, (position_id, order.intent.leg), client_order_id)


def _drop(index: dict[_K, dict[ClientOrderId, None]], key: _K, client_order_id: ClientOrderId) -> None:
    if (ids := index.get(key)) is not None:
        ids.pop(client_order_id, None)
        if not ids:
            del index[key]


def _merged(older: PositionReport, newer: PositionReport) -> PositionReport:
    """`newer`, with what it does not say taken from before: of the same position only (POS-07)."""
    if newer.quantity == ZERO or (newer.quantity > ZERO) != (older.quantity > ZERO):
        return newer
    silent = ("entry_price", "mark_price", "unrealized", "isolated", "isolated_margin")
    return replace(newer, **{name: getattr(older, name) for name in silent if getattr(newer, name) is None})
