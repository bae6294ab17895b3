"""EntryDesk: turns one signal into one order at its own venue, and tells how that order stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial

import structlog
from msgspec import Struct
from msgspec.structs import replace

from core.clock import Clock
from core.domain.gate import Gate, first_refusal, refused
from core.domain.ids import ClientOrderId, InstrumentId, PositionId, SignalId, VenueName, client_order_id
from core.domain.ids import Leg as LegName
from core.domain.instrument import Instrument, LotRule
from core.domain.money import HUNDRED, ZERO, Price, plain
from core.domain.order import UNACKNOWLEDGED, Order, OrderIntent, OrderStatus, OrderType
from core.domain.position import Position, PositionKey
from core.domain.screening import Facts, ScreeningRules, enterable, screen
from core.domain.signal import Side, Signal
from core.domain.sizing import SizingRule, bracket_gate, size, size_gate
from core.domain.verdict import Denied, Reason
from core.domain.wave import Candidate, Leg, LegState, TurnedDown
from core.engine.executions import ExecutionNotes, entry_context
from core.engine.leverage import LeverageKeeper
from core.engine.order_manager import OrderManager
from core.engine.ports import About, MarketData, Quote, Rejected
from core.engine.protection_manager import ProtectionManager
from core.engine.risk_guard import Approved, RiskGuard
from core.engine.screener import Screener

log = structlog.get_logger(__name__)

_Key = tuple[str, SignalId]
"""Signal ids are unique within their source only."""
ATTEMPTS = (0, 1)
"""An entry and its one repetition under new rules (Candidate)."""
FOREVER = 3_600.0
"""Longer than any wave: the wave's own time-out ends these waits."""


class EntryRules(Struct, frozen=True, kw_only=True):
    """`max_slippage_percent` bounds a LIMIT_IOC entry; a market entry has no price of its own."""

    type: OrderType
    max_slippage_percent: Decimal
    stop_loss_percent: Decimal
    sizing: SizingRule
    screening: ScreeningRules


class EntryDesk:
    def __init__(
        self,
        *,
        accounts: Mapping[VenueName, str],
        instruments: Mapping[InstrumentId, Instrument],
        market: Mapping[VenueName, MarketData],
        leverage: LeverageKeeper,
        screener: Screener,
        rules_age: Callable[[VenueName], float],
        orders: OrderManager,
        risk: RiskGuard,
        protection: ProtectionManager,
        executions: ExecutionNotes,
        rules: EntryRules,
        clock: Clock,
        offset_ms: Callable[[VenueName], int] = lambda _venue: 0,
    ) -> None:
        """`offset_ms` is a venue's clock minus ours."""
        self._offset_ms = offset_ms
        self._accounts = accounts
        self._instruments = instruments
        self._market = market
        self._leverage = leverage
        self._screener = screener
        self._rules_age = rules_age
        self._orders = orders
        self._risk = risk
        self._protection = protection
        self._executions = executions
        self._rules = rules
        self._clock = clock
        self._approved: dict[_Key, Approved[OrderIntent]] = {}
        self._entries: dict[_Key, ClientOrderId] = {}
        self._expiries: dict[ClientOrderId, int] = {}
        self._overdue: set[ClientOrderId] = set()
        """Entries whose wave is over, and whose outcome is not known yet."""
        orders.last_word.give(self.objection)

    def open_positions(self, venues: Iterable[VenueName]) -> int:
        wanted = set(venues)
        return sum(1 for position in self._orders.state.positions() if position.instrument.venue in wanted)

    async def warm(self, signals: Iterable[Signal]) -> dict[InstrumentId, Exception]:
        """Ask for what cold symbols lack, leverage and the filters' inputs, all at once. What cannot be had in time is
        missing then, and a gate says so; returned are failures that are no venue's."""
        cold = [key for key in dict.fromkeys(signal.instrument for signal in signals) if self._cold(key)]
        if not cold:
            return {}
        answers = await asyncio.gather(*map(self._ask_for, cold), return_exceptions=True)
        return {key: answer for key, answer in zip(cold, answers, strict=True) if isinstance(answer, Exception)}

    async def _ask_for(self, key: InstrumentId) -> None:
        await asyncio.gather(self._leverage.confirm(key), self._screener.ensure(key))

    def _cold(self, key: InstrumentId) -> bool:
        instrument, rules = self._instruments.get(key), self._rules.screening
        if instrument is None or not instrument.tradable or not enterable(instrument, rules.quotes, rules.lists):
            return False
        return not (self._leverage.settled(key) and self._screener.fresh(key))

    def validate(self, signal: Signal, attempt: int = 0) -> Candidate | TurnedDown:
        """Screen and size one signal by what is known now."""
        instrument, rules = self._instruments.get(signal.instrument), self._rules.screening
        quote = self._market[signal.instrument.venue].quote(signal.instrument.symbol)
        price = None if quote is None else _entry_price(signal.side, quote)
        gates = screen(signal, self._facts(signal, instrument, quote, price), rules)
        if first_refusal(gates) is not None or instrument is None or price is None:
            return TurnedDown(signal=signal, gates=gates)
        sized = size(instrument, price, self._rules.sizing, self._lot(instrument))
        gates = (*gates, size_gate(sized, self._rules.sizing))
        if isinstance(sized, Denied):
            return TurnedDown(signal=signal, gates=gates)
        gates = (
            *gates,
            bracket_gate(instrument, sized.notional, ZERO, rules.leverage),
            self._risk.affordable(signal.instrument, sized.notional, self._rules.sizing.target),
        )
        if first_refusal(gates) is not None:
            return TurnedDown(signal=signal, gates=gates)
        return Candidate(signal=signal, price=price, size=sized, gates=gates, attempt=attempt)

    def reserve(self, candidate: Candidate, wave_id: str) -> tuple[Gate, ...]:
        """Ask the RiskGuard; reserved when no gate refuses. Synchronous, so a wave cannot over-allocate.

        What could have changed while the rest of the wave was validated is looked at again: expiry and duplicates.
        """
        signal = candidate.signal
        facts = self._facts(signal, self._instruments[signal.instrument], None, None)
        ttl = f"SIGNAL_TTL_SECONDS={self._rules.screening.signal_ttl}"
        key = signal.instrument
        for name, reason, limit, bad, what in (
            ("expiry", Reason.EXPIRED, ttl, signal.expires_at_ms <= facts.now_ms, "it expired"),
            ("position", Reason.DUPLICATE_POSITION, "none", facts.has_position, f"a position in {key} came up"),
            (
                "pending_order", Reason.PENDING_ORDER, "none", facts.has_pending_order,
                f"a better signal of it, or another wave, has taken {key}",
            ),
        ):  # fmt: skip
            if bad:
                return (refused(name, reason, f"{what} while the wave was being decided", limit=limit),)
        intent = self._intent(candidate, wave_id)
        if self._orders.state.order(intent.client_order_id) is not None:
            return (refused("once_only", Reason.ALREADY_SEEN, "this signal has an order already"),)
        ruling = self._risk.approve_entry(intent, candidate.size.notional)
        if ruling.approved is not None:
            self._approved[_key(signal)] = ruling.approved
            if (earlier := self._entries.get(_key(signal))) is not None:
                self._expiries.pop(earlier, None)
            self._entries[_key(signal)] = intent.client_order_id
            self._expiries[intent.client_order_id] = signal.expires_at_ms
            context = entry_context(signal, (*candidate.gates, *ruling.gates), intent)
            self._executions.explain(intent.client_order_id, context)
        return ruling.gates

    def objection(self, intent: OrderIntent) -> Denied | None:
        """Whether an entry that waited for its turn is still the one that was decided (NET-10, SIG-07)."""
        if intent.client_order_id in self._overdue:
            return Denied(reason=Reason.WAVE_TIMEOUT, detail="its wave ended while it waited for its turn")
        expires_ms = self._expiries.get(intent.client_order_id)
        late_ms = 0 if expires_ms is None else self._venue_ms(intent.instrument.venue) - expires_ms
        if expires_ms is not None and late_ms >= 0:
            return Denied(reason=Reason.EXPIRED, detail=f"it expired {late_ms} ms ago, waiting for its turn")
        quote = self._market[intent.instrument.venue].quote(intent.instrument.symbol)
        price = None if quote is None else _entry_price(intent.side, quote)
        if price is None or intent.decision_price is None:
            return None  # without news there is nothing to object to: the price was fresh when it was decided
        apart = abs(price / intent.decision_price - 1) * HUNDRED
        most = self._rules.screening.divergence_refuse
        if apart <= most:
            return None
        figures = {"PRICE_DIVERGENCE_REFUSE_PERCENT": plain(most), "decided_at": plain(intent.decision_price)}
        detail = f"the price went {plain(round(apart, 3))} % away while it waited for its turn"
        return Denied(reason=Reason.PRICE_DIVERGES, detail=detail, values=figures)

    def rules_changed(self, signal: Signal) -> bool:
        """Whether the venue refused this entry because its trading rules are not the ones we loaded (VAL-20)."""
        client_id = self._entries.get(_key(signal))
        rejection = None if client_id is None else self._orders.rejection(client_id)
        return rejection is not None and rejection.about is About.STALE_RULES

    async def send(self, candidates: Iterable[Candidate]) -> None:
        """Journal all in one commit, then send. Raises JournalUnwritable; then nothing was sent and nothing is held."""
        approved = [self._approved.pop(_key(candidate.signal)) for candidate in candidates]
        stops = {
            entry.client_order_id: self._risk.approve_reducing(stop)
            for entry in (permission.value for permission in approved)
            if (stop := self._protection.attached(entry)) is not None
        }
        try:
            await self._orders.submit(approved, stops)
        except BaseException:
            for permission in approved:
                self._risk.release(permission.value.client_order_id)
                self._executions.forget(permission.value.client_order_id)
            raise

    async def acknowledged(self, candidate: Candidate) -> Leg:
        """Until the venue's word on the entry is known: refused (definitely nothing bought) or working."""
        await self._orders.wait(candidate.signal.instrument, partial(self._entry_decided, candidate.signal), FOREVER)
        return self.leg_now(candidate.signal)

    async def protected(self, candidate: Candidate) -> Leg:
        """Until the entry has ended and its position has its stop, or is gone."""
        await self._orders.wait(candidate.signal.instrument, partial(self._entry_safe, candidate.signal), FOREVER)
        leg = self.leg_now(candidate.signal)
        self._note_protection(candidate.signal, leg)
        return leg

    def forget(self, signals: Iterable[Signal]) -> None:
        """The wave of these signals has its report; what comes later is told by positions."""
        for signal in signals:
            if (client_id := self._entries.pop(_key(signal), None)) is not None:
                self._expiries.pop(client_id, None)
                self._overdue.add(client_id)
        self._overdue = {client_id for client_id in self._overdue if self._unacknowledged(client_id)}

    def leg_now(self, signal: Signal) -> Leg:
        """How this signal stands at this moment."""
        order = self._order(signal)
        if order is None:
            denied = Denied(reason=Reason.WAVE_TIMEOUT, detail="the wave ended before this signal was decided")
            return Leg(signal=signal, state=LegState.REFUSED, denied=denied)
        leg = Leg(
            signal=signal,
            state=LegState.WORKING,
            client_order_id=order.client_order_id,
            quantity=order.filled or order.intent.quantity,
            fill_price=order.average_price,
        )
        if order.status in UNACKNOWLEDGED:
            unknown = order.status is OrderStatus.IN_FLIGHT
            return replace(leg, state=LegState.UNKNOWN if unknown else LegState.WORKING)
        if order.ended and not order.filled and not order.fills_missing:
            rejection = self._orders.rejection(order.client_order_id)
            denied = self._orders.last_word.withheld(order.client_order_id) or _nothing_bought(order, rejection)
            return replace(leg, state=LegState.REFUSED, denied=denied, quantity=None)
        return self._filled_leg(leg, order)

    def _filled_leg(self, leg: Leg, order: Order) -> Leg:
        protection = self._protection.protection(order.intent.position_id)
        if protection is not None:
            leg = replace(leg, stop_price=protection.trigger_price, unprotected_ms=protection.unprotected_ms)
        position = self._orders.state.position(PositionKey(order.instrument, order.intent.side))
        if not order.ended or order.fills_missing:
            return leg
        if position is None or position.id != order.intent.position_id:
            return replace(leg, state=LegState.FLATTENED)
        covered = self._protection.covered(position.key) and protection is not None
        return replace(leg, state=LegState.PROTECTED if covered else LegState.UNPROTECTED)

    def _entry_decided(self, signal: Signal) -> bool:
        order = self._order(signal)
        return order is None or (order.status not in UNACKNOWLEDGED and (order.ended or bool(order.filled)))

    def _entry_safe(self, signal: Signal) -> bool:
        return self.leg_now(signal).state in (LegState.PROTECTED, LegState.FLATTENED, LegState.REFUSED)

    def _unacknowledged(self, client_id: ClientOrderId) -> bool:
        order = self._orders.state.order(client_id)
        return order is not None and order.status in UNACKNOWLEDGED

    def _order(self, signal: Signal) -> Order | None:
        client_id = self._entries.get(_key(signal))
        return None if client_id is None else self._orders.state.order(client_id)

    def _facts(self, signal: Signal, instrument: Instrument | None, quote: Quote | None, price: Price | None) -> Facts:
        key = signal.instrument
        held = bool(self._orders.state.positions_on(key)) or self._orders.state.venue_holds(key)
        return Facts(
            instrument=instrument,
            price=price,
            price_age=None if quote is None else self._clock.monotonic() - quote.received,
            mark=None if quote is None else quote.mark,
            touch=None if quote is None or quote.bid is None or quote.ask is None else (quote.bid, quote.ask),
            activity=self._screener.activity(key),
            rules_age=self._rules_age(key.venue),
            has_position=held,
            has_pending_order=self._risk.reserved(key)
            or any(not order.intent.reduce_only for order in self._orders.state.live_orders(key)),
            leverage=self._leverage.confirmed(key),
            leverage_trouble=self._leverage.trouble(key),
            now_ms=self._venue_ms(key.venue),
        )

    def _venue_ms(self, venue: VenueName) -> int:
        """What makes signals too old is not that this host's clock was set (OPS-09)."""
        return self._clock.now_ms() + self._offset_ms(venue) - (self._risk.clocks.error_ms(venue) or 0)

    def _lot(self, instrument: Instrument) -> LotRule:
        """A limit entry, too, is closed and protected by market orders: it is no larger than one of these may be."""
        lot, market = instrument.lot, instrument.market_lot
        if self._rules.type is OrderType.MARKET:
            return market
        least, most = max(lot.minimum, market.minimum), min(lot.maximum, market.maximum)
        return LotRule(minimum=least, maximum=most, step=max(lot.step, market.step))

    def opened(self, source: str, position: Position) -> bool:
        """Whether a signal of this source opened the position, whose id is then that of its entry."""
        if not position.signal_id or position.instrument.venue not in self._accounts:
            return False
        signal = (position.instrument.venue, source, position.signal_id)
        return any(position.id == PositionId(self._entry_id(*signal, attempt)) for attempt in ATTEMPTS)

    def _entry_id(self, venue: VenueName, source: str, signal_id: SignalId, attempt: int) -> ClientOrderId:
        return client_order_id(self._accounts[venue], f"{source}/{signal_id}", LegName.ENTRY, attempt)

    def _intent(self, candidate: Candidate, wave_id: str) -> OrderIntent:
        signal = candidate.signal
        client_id = self._entry_id(signal.instrument.venue, signal.source, signal.id, candidate.attempt)
        stop = signal.parameters.stop_loss_percent
        return OrderIntent(
            client_order_id=client_id,
            instrument=signal.instrument,
            leg=LegName.ENTRY,
            attempt=candidate.attempt,
            signal_id=signal.id,
            position_id=PositionId(client_id),
            side=signal.side,
            type=self._rules.type,
            quantity=candidate.size.quantity,
            reduce_only=False,
            price=self._limit_price(candidate),
            decision_price=candidate.price,
            stop_loss_percent=self._rules.stop_loss_percent if stop is None else stop,
            trailing_activation_percent=signal.parameters.trailing_activation_percent,
            trailing_callback_percent=signal.parameters.trailing_distance_percent,
            take_profit_percent=signal.parameters.take_profit_percent,
            time_limit_minutes=signal.parameters.time_limit_minutes,
            wave_id=wave_id,
        )

    def _limit_price(self, candidate: Candidate) -> Price | None:
        if self._rules.type is not OrderType.LIMIT_IOC:
            return None
        instrument = self._instruments[candidate.signal.instrument]
        slip = candidate.price * self._rules.max_slippage_percent / HUNDRED
        quote = self._market[candidate.signal.instrument.venue].quote(candidate.signal.instrument.symbol)
        mark = candidate.price if quote is None or quote.mark is None else quote.mark
        if candidate.signal.side is Side.BUY:
            return instrument.buy_price_in_band(candidate.price + slip, mark)
        return instrument.sell_price_in_band(candidate.price - slip, mark)

    def _note_protection(self, signal: Signal, leg: Leg) -> None:
        """The raw material for learning (DESIGN §3.18)."""
        order = self._order(signal)
        if order is not None:
            naked = "" if leg.unprotected_ms is None else str(leg.unprotected_ms)
            self._executions.settled(order, {"state": leg.state.value, "unprotected_ms": naked})


def _key(signal: Signal) -> _Key:
    return signal.source, signal.id


def _entry_price(side: Side, quote: Quote) -> Price | None:
    """What we would pay: the opposite side of the book, else the mark."""
    touch = quote.ask if side is Side.BUY else quote.bid
    return quote.mark if touch is None else touch


_SPECIAL = {About.INSUFFICIENT_MARGIN: Reason.INSUFFICIENT_MARGIN, About.POSITION_LIMIT: Reason.BRACKET_FULL}


def _nothing_bought(order: Order, rejection: Rejected | None) -> Denied:
    values = {"client_order_id": order.client_order_id, "status": order.status.value}
    if order.status is not OrderStatus.REJECTED:
        detail = order.detail or f"no liquidity: the order ended {order.status} without a fill"
        return Denied(reason=Reason.NOT_FILLED, detail=detail, values=values)
    reason = Reason.REJECTED
    if rejection is not None:
        reason = _SPECIAL.get(rejection.about, Reason.REJECTED)
        values["code"] = rejection.code
    return Denied(reason=reason, detail=order.detail or "the venue refused it", values=values)
