"""The rules an order's numbers must satisfy, each refusal named. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from tools.venuesim.exchange.model import (
    ConditionalRequest,
    ConditionalType,
    Instrument,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    Reference,
    Refusal,
    Refused,
    Side,
    SymbolStatus,
)


def tradable(instrument: Instrument) -> None:
    if instrument.status is not SymbolStatus.TRADING:
        raise Refused(Refusal.SYMBOL_NOT_TRADING, instrument.status.value)


def price(instrument: Instrument, value: Decimal | None) -> Decimal:
    """Range and tick of a limit price."""
    if value is None:
        raise Refused(Refusal.PRICE_MISSING)
    if value <= 0:
        raise Refused(Refusal.PRICE_NOT_POSITIVE)
    if value < instrument.min_price:
        raise Refused(Refusal.PRICE_MIN, f"{instrument.min_price}")
    if value > instrument.max_price:
        raise Refused(Refusal.PRICE_MAX, f"{instrument.max_price}")
    if value % instrument.tick:
        raise Refused(Refusal.PRICE_TICK, f"{instrument.tick}")
    return value


def trigger_price(instrument: Instrument, value: Decimal | None) -> Decimal:
    if value is None:
        raise Refused(Refusal.TRIGGER_PRICE_MISSING)
    if value <= 0 or value < instrument.min_price:
        raise Refused(Refusal.TRIGGER_PRICE_MIN, f"{instrument.min_price}")
    if value > instrument.max_price:
        raise Refused(Refusal.TRIGGER_PRICE_MAX, f"{instrument.max_price}")
    if value % instrument.tick:
        raise Refused(Refusal.TRIGGER_PRICE_TICK, f"{instrument.tick}")
    return value


def quantity(instrument: Instrument, value: Decimal | None, *, market: bool) -> Decimal:
    if value is None:
        raise Refused(Refusal.QTY_MISSING)
    if value <= 0:
        raise Refused(Refusal.QTY_NOT_POSITIVE)
    low, high, step = (
        (instrument.market_min_qty, instrument.market_max_qty, instrument.market_step)
        if market
        else (instrument.min_qty, instrument.max_qty, instrument.step)
    )
    if value < low:
        raise Refused(Refusal.QTY_MIN, f"{low}")
    if value > high:
        raise Refused(Refusal.QTY_MAX, f"{high}")
    if value % step:
        raise Refused(Refusal.QTY_STEP, f"{step}")
    return value


def band(instrument: Instrument, side: Side, value: Decimal, mark: Decimal) -> None:
    """One-sided: a buy has no floor, a sell no ceiling."""
    if side is Side.BUY and value > mark * instrument.band_up:
        raise Refused(Refusal.PRICE_BAND_HIGH, f"{mark * instrument.band_up:f}")
    if side is Side.SELL and value < mark * instrument.band_down:
        raise Refused(Refusal.PRICE_BAND_LOW, f"{mark * instrument.band_down:f}")


def clamped(instrument: Instrument, side: Side, value: Decimal, mark: Decimal) -> Decimal:
    """A limit price brought back to the band, on the tick inside it."""
    tick = instrument.tick
    if side is Side.BUY:
        return min(value, mark * instrument.band_up // tick * tick)
    # A Decimal's floor division cuts towards zero, so that a sign turned round twice does not round up.
    return max(value, (mark * instrument.band_down / tick).to_integral_value(ROUND_CEILING) * tick)


def market_bound(instrument: Instrument, side: Side, best: Decimal, mark: Decimal) -> None:
    """A market order may not start to take further than the bound from the mark price."""
    if (best - mark) * side.sign > mark * instrument.market_bound:
        raise Refused(Refusal.MARKET_BOUND, f"{best}")


def min_notional(instrument: Instrument, qty: Decimal, value: Decimal) -> None:
    if qty * value < instrument.min_notional:
        raise Refused(Refusal.MIN_NOTIONAL, f"{instrument.min_notional}")


def mode(account: PositionMode, position_side: PositionSide, *, reduce_only: bool) -> None:
    hedge = account is PositionMode.HEDGE
    if hedge == (position_side is PositionSide.BOTH):
        raise Refused(Refusal.POSITION_SIDE_MISMATCH, account.value)
    if hedge and reduce_only:
        raise Refused(Refusal.REDUCE_ONLY_IN_HEDGE)


def order_numbers(instrument: Instrument, request: OrderRequest, mark: Decimal, best: Decimal) -> None:
    """Price, quantity, band, bound: everything but minimum notional, which close-only orders are exempt from."""
    if request.type is OrderType.MARKET:
        quantity(instrument, request.qty, market=True)
        market_bound(instrument, request.side, best, mark)
        return
    limit = price(instrument, request.price)
    quantity(instrument, request.qty, market=False)
    band(instrument, request.side, limit, mark)


def conditional_numbers(instrument: Instrument, request: ConditionalRequest) -> None:
    if request.close_position:
        close_position(request)
    else:
        quantity(instrument, request.qty, market=not request.type.is_limit)
    if request.type.is_limit:
        conditional_price(instrument, request)
    if request.type is ConditionalType.TRAILING:
        trailing(instrument, request)
    else:
        trigger_price(instrument, request.trigger_price)


def conditional_price(instrument: Instrument, request: ConditionalRequest) -> None:
    """A stop-limit price obeys the price band around its own trigger."""
    limit = price(instrument, request.price)
    if request.trigger_price is None:
        return
    if request.side is Side.BUY and limit > request.trigger_price * instrument.band_up:
        raise Refused(Refusal.CONDITIONAL_PRICE_HIGH, f"{request.trigger_price * instrument.band_up:f}")
    if request.side is Side.SELL and limit < request.trigger_price * instrument.band_down:
        raise Refused(Refusal.CONDITIONAL_PRICE_LOW, f"{request.trigger_price * instrument.band_down:f}")


def close_position(request: ConditionalRequest) -> None:
    if request.qty is not None:
        raise Refused(Refusal.CLOSE_POSITION_WITH_QTY)
    if request.reduce_only:
        raise Refused(Refusal.CLOSE_POSITION_WITH_REDUCE_ONLY)
    opens = {(PositionSide.LONG, Side.BUY), (PositionSide.SHORT, Side.SELL)}
    if (request.position_side, request.side) in opens or request.type.is_limit:
        raise Refused(Refusal.CLOSE_POSITION_OPENS)


def trailing(instrument: Instrument, request: ConditionalRequest) -> None:
    rate, distance = request.callback_rate, request.callback_distance
    if (rate is None) == (distance is None):
        raise Refused(Refusal.CALLBACK_RATE)
    if rate is not None and not 0 < rate < 1:
        raise Refused(Refusal.CALLBACK_RATE, f"{rate}")
    if distance is not None and distance < instrument.tick:
        raise Refused(Refusal.CALLBACK_RATE, f"{distance}")
    if request.activation_price is not None:
        trigger_price(instrument, request.activation_price)


def reference(kind: Reference, last: Decimal, mark: Decimal, index: Decimal) -> Decimal:
    return {Reference.LAST: last, Reference.MARK: mark, Reference.INDEX: index}[kind]
