"""What positions and resting orders tie up, and what is left. Pure arithmetic over the ledger and mark prices.

Formulas: initial margin = |notional| / leverage; an order adds only what the worse side of the symbol would add
(position + bids against position - asks); reduce-only orders add nothing.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tools.venuesim.exchange.model import (
    ZERO,
    Balance,
    Instrument,
    MarginMode,
    Position,
    PositionMode,
    PositionSide,
    PositionView,
    Refusal,
    Refused,
    Side,
)
from tools.venuesim.exchange.state import State


def unrealized(row: Position, mark: Decimal) -> Decimal:
    return (mark - row.entry) * row.qty


def order_margin(notional: Decimal, bids: Decimal, asks: Decimal, leverage: int) -> Decimal:
    """What resting orders add to the margin of a position with this signed notional."""
    worst = max(abs(notional + bids), abs(notional - asks))
    return max(ZERO, worst - abs(notional)) / leverage


def sides(mode: PositionMode) -> tuple[PositionSide, ...]:
    return (PositionSide.BOTH,) if mode is PositionMode.ONE_WAY else (PositionSide.LONG, PositionSide.SHORT)


def view(state: State, row: Position) -> PositionView:
    """Value one row at the mark price. The liquidation price looks at every other position."""
    known = valued(state, row)
    return replace(known, liquidation_price=_liquidation_price(state, row, known.maintenance))


def valued(state: State, row: Position) -> PositionView:
    """The same without a liquidation price: sums over all rows need none, and must not cost their square."""
    instrument = state.instrument(row.symbol)
    mark = state.mark(row.symbol)
    notional = row.qty * mark
    bids, asks = state.orders.exposure(row.symbol, row.position_side)
    maintenance = instrument.maintenance(abs(notional))
    return PositionView(
        position=row,
        mark=mark,
        notional=notional,
        unrealized=unrealized(row, mark),
        initial_margin=abs(notional) / row.leverage,
        order_margin=order_margin(notional, bids, asks, row.leverage),
        maintenance=maintenance,
        liquidation_price=None,
        bid_notional=bids,
        ask_notional=asks,
    )


def free(state: State, asset: str) -> Decimal:
    """What one asset's cross wallet has left; negative when it is overdrawn."""
    cross_wallet = state.ledger.cross_wallet(asset, state.instruments)
    views = [valued(state, row) for row in _rows(state, asset)]
    cross = [row for row in views if row.position.margin_mode is MarginMode.CROSS]
    tied = sum((row.initial_margin for row in cross), ZERO) + sum((row.order_margin for row in views), ZERO)
    return cross_wallet + sum((row.unrealized for row in cross), ZERO) - tied


def balance(state: State, asset: str) -> Balance:
    """Wallet and margin of one asset over all symbols settled in it."""
    ledger = state.ledger
    wallet = ledger.wallet(asset)
    cross_wallet = ledger.cross_wallet(asset, state.instruments)
    views = [valued(state, row) for row in _rows(state, asset)]
    cross = [row for row in views if row.position.margin_mode is MarginMode.CROSS]
    unrealized_all = sum((row.unrealized for row in views), ZERO)
    unrealized_cross = sum((row.unrealized for row in cross), ZERO)
    order_total = sum((row.order_margin for row in views), ZERO)
    tied = sum((row.initial_margin for row in cross), ZERO) + order_total
    free = cross_wallet + unrealized_cross - tied
    available = max(ZERO, shared_free(state) / state.worth(asset) if ledger.multi_assets else free)
    return Balance(
        asset=asset,
        wallet=wallet,
        cross_wallet=cross_wallet,
        unrealized=unrealized_all,
        cross_unrealized=unrealized_cross,
        position_margin=sum((row.initial_margin for row in views), ZERO),
        order_margin=order_total,
        maintenance=sum((row.maintenance for row in views), ZERO),
        available=available,
        max_withdraw=max(ZERO, min(available, cross_wallet - tied)),
        updated_ms=ledger.updated_ms(asset),
    )


def shared_free(state: State) -> Decimal:
    """What multi-assets mode leaves over all wallets, in USD; may be negative."""
    pool, _ = shared_pool(state)
    tied = sum((row.initial_margin + row.order_margin for row in _views(state)), ZERO)
    return pool - tied


def shared_pool(state: State) -> tuple[Decimal, Decimal]:
    """Margin balance and maintenance margin over all assets, in USD. Settle assets count as one dollar."""
    wallets = sum((state.ledger.wallet(asset) * state.worth(asset) for asset in state.ledger.assets()), ZERO)
    views = _views(state)
    return wallets + sum((row.unrealized for row in views), ZERO), sum((row.maintenance for row in views), ZERO)


def check_affordable(
    state: State, instrument: Instrument, side: Side, position_side: PositionSide, qty: Decimal, price: Decimal
) -> None:
    """Refuse an order the account cannot pay or its leverage does not allow.

    Raises ``Refused(INSUFFICIENT_MARGIN)`` or ``Refused(MAX_POSITION_AT_LEVERAGE)``.
    """
    row = state.position(instrument.symbol, position_side)
    mark = state.mark(instrument.symbol)
    notional = row.qty * mark
    bids, asks = state.orders.exposure(instrument.symbol, position_side)
    before = order_margin(notional, bids, asks, row.leverage)
    if side is Side.BUY:
        bids += qty * price
    else:
        asks += qty * price
    if max(notional + bids, asks - notional) > max(instrument.position_cap(row.leverage), abs(notional)):
        raise Refused(Refusal.MAX_POSITION_AT_LEVERAGE, f"leverage {row.leverage}")
    added = order_margin(notional, bids, asks, row.leverage) - before
    open_loss = max(ZERO, (price - mark) * side.sign * qty) if added else ZERO
    available = balance(state, instrument.settle).available
    if added + open_loss > available:
        raise Refused(Refusal.INSUFFICIENT_MARGIN, f"needs {added + open_loss:f}, available {available:f}")


def _views(state: State) -> list[PositionView]:
    return [valued(state, row) for settle in state.settle_assets() for row in _rows(state, settle)]


def _rows(state: State, asset: str) -> list[Position]:
    """Rows of the asset that hold a position or have resting orders."""
    keys = {(row.symbol, row.position_side): None for row in state.ledger.open()}
    for symbol in state.orders.symbols():
        for order in state.orders.open(symbol):
            keys[symbol, order.position_side] = None
    return [state.position(symbol, side) for symbol, side in keys if state.instruments[symbol].settle == asset]


def _liquidation_price(state: State, row: Position, maintenance: Decimal) -> Decimal | None:
    """Where the margin balance meets the maintenance margin, other symbols standing still; None if nowhere."""
    if not row.qty:
        return None
    instrument = state.instrument(row.symbol)
    bracket = instrument.bracket(abs(row.qty) * state.mark(row.symbol))
    if row.margin_mode is MarginMode.ISOLATED:
        cushion = row.isolated_wallet
    else:
        cushion = state.ledger.cross_wallet(instrument.settle, state.instruments)
        for other in state.ledger.open():
            if other == row or other.margin_mode is MarginMode.ISOLATED:
                continue
            if state.instruments[other.symbol].settle == instrument.settle:
                mark = state.mark(other.symbol)
                cushion += unrealized(other, mark)
                cushion -= state.instruments[other.symbol].maintenance(abs(other.qty) * mark)
    size = abs(row.qty)
    direction = 1 if row.qty > 0 else -1
    price = (cushion + bracket.cum - row.qty * row.entry) / (size * (bracket.rate - direction))
    return price if price > 0 and maintenance > 0 else None
