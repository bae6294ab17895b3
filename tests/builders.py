"""One builder per domain object, every field defaulted: a test states only what matters to it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.domain.cooldown import CooldownRules
from core.domain.exits import ExitRules
from core.domain.ids import (
    Asset,
    ClientOrderId,
    InstrumentId,
    Leg,
    PositionId,
    SignalId,
    Symbol,
    TradeId,
    VenueName,
    VenueOrderId,
    client_order_id,
)
from core.domain.instrument import Instrument, LotRule
from core.domain.liquidity import Activity, Filter, LiquidityRules, OnMissing
from core.domain.money import ZERO, Notional, Price, Quantity
from core.domain.order import Order, OrderIntent, OrderStatus, OrderType
from core.domain.position import Position, PositionKey
from core.domain.prices import PriceKind
from core.domain.reports import (
    BalanceReport,
    FillReport,
    OrderStatusReport,
    PositionReport,
    PositionSide,
    Source,
)
from core.domain.risk import RiskLimits
from core.domain.risk_book import ResultRules
from core.domain.screening import Facts, ScreeningRules
from core.domain.signal import Side, Signal, SignalParameters
from core.domain.sizing import Sized, SizingRule
from core.domain.stop_distance import StopRules
from core.domain.symbol_lists import SymbolLists
from core.domain.trailing import TrailingRules
from core.domain.wave import Candidate
from core.engine.exit_actions import ExitPolicy
from core.engine.exit_engine import NEVER_MS
from core.engine.ports import MassStatus, Quote, SignalBatch

NOW_MS = 1_790_000_000_000
ACCOUNT = "binance/test"
USDT = Asset("USDT")
BTC = InstrumentId(VenueName.BINANCE, Symbol("BTC/USDT:USDT"))
BTC_LONG, BTC_SHORT = PositionKey(BTC, Side.BUY), PositionKey(BTC, Side.SELL)
ETH = InstrumentId(VenueName.BINANCE, Symbol("ETH/USDT:USDT"))

Number = Decimal | int | str


def an_instrument_id(symbol: str = "BTC/USDT:USDT", venue: VenueName = VenueName.BINANCE) -> InstrumentId:
    return InstrumentId(venue, Symbol(symbol))


def price(value: Number) -> Price:
    return Price(Decimal(value))


def quantity(value: Number) -> Quantity:
    return Quantity(Decimal(value))


def notional(value: Number) -> Notional:
    return Notional(Decimal(value))


def a_lot(minimum: Number = "0.001", maximum: Number = 1000, step: Number = "0.001") -> LotRule:
    return LotRule(minimum=quantity(minimum), maximum=quantity(maximum), step=quantity(step))


def an_instrument(
    instrument: InstrumentId = BTC,
    *,
    quote: str = "USDT",
    tick: Number = "0.1",
    lot: LotRule | None = None,
    market_lot: LotRule | None = None,
    min_notional: Number = 5,
    tradable: bool = True,
    max_leverage: int = 125,
) -> Instrument:
    return Instrument(
        id=instrument,
        venue_symbol=instrument.symbol.partition(":")[0].replace("/", ""),
        quote=Asset(quote),
        tick=price(tick),
        lot=lot or a_lot(),
        market_lot=market_lot or lot or a_lot(),
        min_notional=notional(min_notional),
        tradable=tradable,
        max_leverage=max_leverage,
    )


def a_signal(
    signal_id: str = "s1",
    *,
    instrument: InstrumentId = BTC,
    source: str = "test",
    side: Side = Side.BUY,
    score: Number = 10,
    event_time_ms: int = NOW_MS,
    expires_at_ms: int = NOW_MS + 600_000,
    stop_loss_percent: Number | None = None,
    max_trades: int | None = None,
) -> Signal:
    percent = None if stop_loss_percent is None else Decimal(stop_loss_percent)
    return Signal(
        id=SignalId(signal_id),
        source=source,
        instrument=instrument,
        side=side,
        score=Decimal(score),
        event_time_ms=event_time_ms,
        expires_at_ms=expires_at_ms,
        parameters=SignalParameters(stop_loss_percent=percent, max_trades=max_trades),
    )


def a_batch(*signals: Signal, source: str = "test", received: float = 0.0, received_ms: int = NOW_MS) -> SignalBatch:
    return SignalBatch(source=source, received=received, received_ms=received_ms, signals=signals, unusable=())


def a_candidate(
    signal: Signal | None = None, *, at: Number = 100, amount: Number = 1, cost: Number | None = None
) -> Candidate:
    worth = Decimal(amount) * Decimal(at) if cost is None else Decimal(cost)
    return Candidate(
        signal=signal or a_signal(), price=price(at), size=Sized(quantity=quantity(amount), notional=Notional(worth))
    )


def an_intent(
    key: str = "s1",
    *,
    leg: Leg = Leg.ENTRY,
    attempt: int = 0,
    client_id: str | None = None,
    instrument: InstrumentId = BTC,
    position_id: str | None = None,
    side: Side = Side.BUY,
    type: OrderType | None = None,  # noqa: A002 - the field's own name
    amount: Number = 1,
    reduce_only: bool | None = None,
    at: Number | None = None,
    trigger: Number | None = None,
    decision_price: Number | None = 100,
    stop_loss_percent: Number | None = 2,
) -> OrderIntent:
    """An entry unless `leg` says otherwise; a stop's position id is that of the entry with the same `key`."""
    entry_id = client_order_id(ACCOUNT, f"test/{key}", Leg.ENTRY, 0)
    derived = entry_id if leg is Leg.ENTRY and attempt == 0 else client_order_id(ACCOUNT, entry_id, leg, attempt)
    kind = OrderType.STOP_MARKET if leg is Leg.STOP else OrderType.MARKET
    return OrderIntent(
        client_order_id=derived if client_id is None else ClientOrderId(client_id),
        instrument=instrument,
        leg=leg,
        attempt=attempt,
        signal_id=SignalId(key),
        position_id=PositionId(entry_id if position_id is None else position_id),
        side=side,
        type=type or kind,
        quantity=quantity(amount),
        reduce_only=leg is not Leg.ENTRY if reduce_only is None else reduce_only,
        price=None if at is None else price(at),
        trigger_price=None if trigger is None else price(trigger),
        decision_price=None if decision_price is None or leg is not Leg.ENTRY else price(decision_price),
        stop_loss_percent=None if stop_loss_percent is None or leg is not Leg.ENTRY else Decimal(stop_loss_percent),
    )


def an_order(
    intent: OrderIntent | None = None,
    *,
    status: OrderStatus = OrderStatus.IN_FLIGHT,
    venue_order_id: str | None = None,
    filled: Number = 0,
    cost: Number = 0,
    reported_filled: Number | None = None,
    trade_ids: tuple[str, ...] = (),
    venue_time_ms: int = 0,
) -> Order:
    return Order(
        intent=intent or an_intent(),
        status=status,
        venue_order_id=None if venue_order_id is None else VenueOrderId(venue_order_id),
        filled=quantity(filled),
        cost=Decimal(cost),
        reported_filled=quantity(filled if reported_filled is None else reported_filled),
        trade_ids=frozenset(TradeId(trade_id) for trade_id in trade_ids),
        venue_time_ms=venue_time_ms,
    )


def a_fill(
    intent: OrderIntent | None = None,
    *,
    trade_id: str = "t1",
    amount: Number | None = None,
    at: Number = 100,
    fee: Number = "0.05",
    client_id: str | None = None,
    venue_order_id: str = "v1",
    side: Side | None = None,
    venue_time_ms: int = NOW_MS,
    source: Source = Source.STREAM,
) -> FillReport:
    """The whole of `intent` at 100 unless told otherwise."""
    intent = intent or an_intent()
    return FillReport(
        instrument=intent.instrument,
        client_order_id=intent.client_order_id if client_id is None else ClientOrderId(client_id),
        venue_order_id=VenueOrderId(venue_order_id),
        trade_id=TradeId(trade_id),
        side=side or intent.side,
        quantity=intent.quantity if amount is None else quantity(amount),
        price=price(at),
        fee=Decimal(fee),
        fee_asset=USDT,
        realized=ZERO,
        maker=False,
        venue_time_ms=venue_time_ms,
        source=source,
    )


def a_status(
    intent: OrderIntent | None = None,
    status: OrderStatus = OrderStatus.ACCEPTED,
    *,
    filled: Number = 0,
    venue_order_id: str | None = "v1",
    conditional: bool | None = None,
    venue_time_ms: int = NOW_MS,
    source: Source = Source.STREAM,
    detail: str = "",
) -> OrderStatusReport:
    intent = intent or an_intent()
    return OrderStatusReport(
        instrument=intent.instrument,
        client_order_id=intent.client_order_id,
        venue_order_id=None if venue_order_id is None else VenueOrderId(venue_order_id),
        status=status,
        side=intent.side,
        quantity=intent.quantity,
        filled=quantity(filled),
        average_price=None,
        trigger_price=intent.trigger_price,
        reduce_only=intent.reduce_only,
        conditional=intent.trigger_price is not None if conditional is None else conditional,
        venue_time_ms=venue_time_ms,
        source=source,
        detail=detail,
    )


def a_position(
    instrument: InstrumentId = BTC,
    *,
    position_id: str | None = None,
    side: Side = Side.BUY,
    amount: Number = 1,
    entry_amount: Number | None = None,
    at: Number = 100,
    stop_loss_percent: Number = 2,
    opened_ms: int = NOW_MS,
) -> Position:
    entered = quantity(amount if entry_amount is None else entry_amount)
    return Position(
        id=PositionId(an_intent().position_id if position_id is None else position_id),
        instrument=instrument,
        side=side,
        quantity=quantity(amount),
        entry_quantity=entered,
        entry_cost=entered * Decimal(at),
        stop_loss_percent=Decimal(stop_loss_percent),
        opened_ms=opened_ms,
    )


def a_position_report(
    instrument: InstrumentId = BTC,
    *,
    amount: Number = 1,
    at: Number | None = 100,
    position_side: PositionSide = PositionSide.BOTH,
    venue_time_ms: int = NOW_MS,
    source: Source = Source.RECONCILIATION,
) -> PositionReport:
    return PositionReport(
        instrument=instrument,
        position_side=position_side,
        quantity=quantity(amount),
        entry_price=None if at is None else price(at),
        mark_price=None,
        venue_time_ms=venue_time_ms,
        source=source,
    )


def a_balance_report(
    wallet: Number = 10_000,
    *,
    venue: VenueName = VenueName.BINANCE,
    available: Number | None = None,
    venue_time_ms: int = NOW_MS,
) -> BalanceReport:
    return BalanceReport(
        venue=venue,
        asset=USDT,
        wallet=Decimal(wallet),
        available=None if available is None else Decimal(available),
        venue_time_ms=venue_time_ms,
        source=Source.REST,
    )


def a_mass_status(
    *,
    venue: VenueName = VenueName.BINANCE,
    requested_ms: int = NOW_MS,
    orders: tuple[OrderStatusReport, ...] = (),
    positions: tuple[PositionReport, ...] = (),
    balances: tuple[BalanceReport, ...] = (),
) -> MassStatus:
    return MassStatus(venue=venue, requested_ms=requested_ms, orders=orders, positions=positions, balances=balances)


def a_quote(
    mark: Number | None = 100,
    *,
    bid: Number | None = None,
    ask: Number | None = None,
    received: float = 0.0,
    last: Number | None = None,
) -> Quote:
    return Quote(
        mark=None if mark is None else price(mark),
        bid=None if bid is None else price(bid),
        ask=None if ask is None else price(ask),
        venue_time_ms=NOW_MS,
        received=received,
        touch_received=None if bid is None and ask is None else received,
        last=None if last is None else price(last),
        last_received=None if last is None else received,
    )


def sizing_rule(target: Number = 100, minimum: Number = 5, tolerance_percent: Number = 10) -> SizingRule:
    return SizingRule(target=notional(target), minimum=notional(minimum), tolerance_percent=Decimal(tolerance_percent))


def risk_limits(
    *, max_positions: int = 10, max_exposure: Number = 100_000, reserve: Number = 10, leverage: int = 10, **more: Any
) -> RiskLimits:
    """`more` names other fields of RiskLimits, which are off."""
    return RiskLimits(
        max_positions=max_positions,
        max_exposure=notional(max_exposure),
        reserve=notional(reserve),
        leverage=leverage,
        **more,
    )


def exit_policy(*, limit_profits: bool = False, manages_external: bool = False, **rules: Any) -> ExitPolicy:
    """No rule but the stop's own; `rules` names fields of ExitRules, which are off otherwise."""
    return ExitPolicy(
        rules=ExitRules(**{"time_limit_ms": NEVER_MS, **rules}),
        moves=trailing_rules(),
        kind=PriceKind.MARK,
        limit_profits=limit_profits,
        manages_external=manages_external,
    )


def trailing_rules(
    *, activation: Number = "1.5", callback: Number = "0.5", interval_ms: int = 30_000, step: Number = "0.1"
) -> TrailingRules:
    return TrailingRules(
        activation_percent=Decimal(activation),
        callback_percent=Decimal(callback),
        interval_ms=interval_ms,
        least_step_percent=Decimal(step),
        forced_step_percent=Decimal(1),
    )


def result_rules(
    *, max_daily_loss: Number = 1_000_000, streak_limit: int = 1_000, max_drawdown_percent: Number = 0, **cooldowns: int
) -> ResultRules:
    """Far from every limit; `cooldowns` name fields of CooldownRules, seconds."""
    return ResultRules(
        max_daily_loss=Decimal(max_daily_loss),
        streak_limit=streak_limit,
        max_drawdown_percent=Decimal(max_drawdown_percent),
        cooldowns=CooldownRules(**cooldowns),
    )


def a_filter(name: str, limit: Number, on_missing: OnMissing = OnMissing.REFUSE) -> Filter:
    return Filter(setting=name, limit=Decimal(limit), missing_setting=f"{name}_ON_MISSING", on_missing=on_missing)


def liquidity_rules(**changes: Any) -> LiquidityRules:
    """The default filters; `changes` name fields of LiquidityRules."""
    fields: Mapping[str, Any] = {
        "open_interest": a_filter("SIGNAL_MIN_OPEN_INTEREST_USDT", 1_000_000),
        "volume_1h": a_filter("SIGNAL_MIN_VOLUME_1H_USDT", 50_000),
        "move_5min": a_filter("SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT", 4),
        "spread": a_filter("MAX_SPREAD_PERCENT", "0.5"),
        "max_age": 300.0,
    }
    return LiquidityRules(**{**fields, **changes})


def an_activity(**changes: Any) -> Activity:
    """A liquid symbol at a price of 100; `changes` name fields of Activity."""
    fields: Mapping[str, Any] = {
        "open_interest": Decimal(1_000_000),
        "volume_1h": Decimal(1_000_000),
        "age": 1.0,
        "price_before": price(100),
    }
    return Activity(**{**fields, **changes})


def stop_rules(**changes: Any) -> StopRules:
    """2 percent at leverage 10; `changes` name fields of StopRules, percent."""
    told: Mapping[str, Any] = {"default": 2, "noise": "0.1", "fee": "0.05", "cap": 50, "buffer": "0.5", **changes}
    fields: Mapping[str, Any] = {name: Decimal(value) for name, value in told.items() if name != "leverage"}
    return StopRules(leverage=changes.get("leverage", 10), **fields)


def screening_rules(**changes: Any) -> ScreeningRules:
    """Everything allowed; `changes` name fields of ScreeningRules."""
    fields: Mapping[str, Any] = {
        "quotes": frozenset({USDT}),
        "min_score": ZERO,
        "allow_shorts": True,
        "lists": SymbolLists(),
        "signal_ttl": 600,
        "entry_max_age": 5.0,
        "leverage": 10,
        "divergence_warn": Decimal(1),
        "divergence_refuse": Decimal(5),
        "rules_max_age": 3600.0,
        "liquidity": liquidity_rules(),
        "stop": stop_rules(),
    }
    return ScreeningRules(**{**fields, **changes})


def facts(**changes: Any) -> Facts:
    """A symbol nothing speaks against; `changes` name fields of Facts."""
    fields: Mapping[str, Any] = {
        "instrument": an_instrument(),
        "price": price(100),
        "price_age": 0.0,
        "mark": price(100),
        "touch": (price("99.99"), price(100)),
        "activity": an_activity(),
        "rules_age": 0.0,
        "has_position": False,
        "has_pending_order": False,
        "leverage": 10,
        "now_ms": NOW_MS,
    }
    return Facts(**{**fields, **changes})
