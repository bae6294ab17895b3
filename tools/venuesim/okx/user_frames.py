"""Engine events as messages of the private channels, in the order the venue tells them.

Of one moment: algo orders whose trigger was reached, the orders step by step (live first, then one message for each
fill), the reason why money and positions changed, the positions, the algo orders that came or went with them, and
last the account.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from msgspec import Struct

from tools.venuesim.exchange.events import (
    AccountChanged,
    AccountReason,
    ConditionalUpdate,
    Event,
    LeverageChanged,
    MarginCalled,
    OrderAmended,
    OrderCanceled,
    OrderExpired,
    OrderNew,
    OrderTrade,
)
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Origin, PositionSide, PositionView
from tools.venuesim.okx.account_rows import AccountRows
from tools.venuesim.okx.algo_rows import AlgoRows, is_advance
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.order_rows import OrderRows, trade_id
from tools.venuesim.okx.position_rows import PositionRows

ORDERS, ALGOS, ADVANCED = "orders", "orders-algo", "algo-advance"
ACCOUNT, POSITIONS, BOTH, WARNING = "account", "positions", "balance_and_position", "liquidation-warning"
SNAPSHOT, UPDATE = "snapshot", "event_update"
# Why balances and positions changed, where an order did it.
_BY_ORDER = {
    Origin.CLIENT: "filled",
    Origin.LIQUIDATION: "liquidation",
    Origin.ADL: "adl",
    Origin.SETTLEMENT: "delivered",
}
# And where something else did; reasons that are left out are not told.
_BY_REASON = {
    AccountReason.FUNDING_FEE: "funding_fee",
    AccountReason.DEPOSIT: "transferred",
    AccountReason.WITHDRAW: "transferred",
    AccountReason.ADJUSTMENT: "transferred",
    AccountReason.INSURANCE_CLEAR: "liquidation",
    AccountReason.MARGIN_TRANSFER: "adjust_margin",
}
_FIRED = ("effective", "order_failed")
_WARNED_OF = (
    "cTime", "ccy", "instId", "instType", "lever", "markPx", "mgnMode", "mgnRatio", "pTime", "pos", "posCcy", "posId",
    "posSide", "uTime",
)  # fmt: skip

Key = tuple[str, PositionSide]


class UserFrame(Struct, frozen=True):
    """One message: its rows, and what faults can match it by."""

    channel: str
    rows: list[Row]
    event: str = UPDATE
    symbol: str | None = None
    client_id: str | None = None


@dataclass(slots=True)
class _Cause:
    """What one reason changed at one moment."""

    assets: dict[str, None] = field(default_factory=dict)
    positions: dict[Key, None] = field(default_factory=dict)
    trades: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Moment:
    """What one batch of events amounts to."""

    orders: list[UserFrame] = field(default_factory=list)
    causes: dict[str, _Cause] = field(default_factory=dict)
    positions: dict[Key, None] = field(default_factory=dict)
    warned: list[PositionView] = field(default_factory=list)
    paid: dict[str, None] = field(default_factory=dict)
    """Assets that are told whatever became of them."""
    touched: dict[str, None] = field(default_factory=dict)
    """Assets that are told if their money moved."""
    reason: str = _BY_ORDER[Origin.CLIENT]
    """Of the newest fill."""

    def cause(self, reason: str) -> _Cause:
        return self.causes.setdefault(reason, _Cause())


class UserFrames:
    """Turns event batches into messages, and the state of the account into first messages."""

    def __init__(
        self, exchange: Exchange, orders: OrderRows, algos: AlgoRows, positions: PositionRows, account: AccountRows
    ) -> None:
        self._exchange = exchange
        self._orders = orders
        self._algos = algos
        self._positions = positions
        self._account = account
        self._money: dict[str, tuple[Decimal, Decimal]] = {}
        """Wallet and margin of orders by asset, as last told."""

    def begin(self) -> None:
        """Somebody listens for the first time, or again: what is told from now on is compared with this moment."""
        self._money = {asset: self._tied(asset) for asset in self._exchange.assets()}

    def snapshot(self, channel: str, now_ms: int) -> UserFrame | None:
        """The first message of a channel; None for those that tell news only."""
        held = self._positions.open()
        match channel:
            case "positions":
                return UserFrame(POSITIONS, [self._positions.pushed(*key, now_ms) for key in held], SNAPSHOT)
            case "account":
                return UserFrame(ACCOUNT, [self._account.pushed((), now_ms)], SNAPSHOT)
            case "balance_and_position":
                cause = _Cause(dict.fromkeys(self._exchange.assets()), dict.fromkeys(held))
                return UserFrame(BOTH, [self._both(SNAPSHOT, cause, now_ms)])
            case _:
                return None

    def of(self, events: tuple[Event, ...], now_ms: int, wanted: Collection[str]) -> Iterator[UserFrame]:
        """The messages of one batch; ``wanted`` are the channels anybody listens to."""
        # Also without listeners: their rows know what was told before.
        algos = list(self._algo_frames(events, now_ms))
        if not wanted:
            return
        moment = self._moment(events)
        yield from (frame for frame in algos if frame.rows[0]["state"] in _FIRED)
        yield from moment.orders
        for reason, cause in moment.causes.items():
            symbol = next((key[0] for key in cause.positions), None)
            yield UserFrame(BOTH, [self._both(reason, cause, now_ms)], symbol=symbol)
        if moment.positions:
            rows = [self._positions.pushed(*key, now_ms) for key in moment.positions]
            yield UserFrame(POSITIONS, rows, symbol=rows[0]["instId"])
        yield from (frame for frame in algos if frame.rows[0]["state"] not in _FIRED)
        yield from self._account_frames(moment, now_ms)
        yield from (self._warning(view, now_ms) for view in moment.warned)

    def _algo_frames(self, events: tuple[Event, ...], now_ms: int) -> Iterator[UserFrame]:
        for event in events:
            if isinstance(event, ConditionalUpdate):
                conditional = event.conditional
                row = self._algos.pushed(conditional, now_ms)
                if row is not None:
                    channel = ADVANCED if is_advance(conditional) else ALGOS
                    yield UserFrame(channel, [row], symbol=row["instId"], client_id=row["algoClOrdId"] or None)

    def _moment(self, events: tuple[Event, ...]) -> _Moment:
        moment = _Moment()
        for event in events:
            match event:
                case OrderNew(order=order) | OrderCanceled(order=order) | OrderExpired(order=order):
                    self._add_order(moment, self._orders.pushed(order))
                case OrderAmended(order=order):
                    self._add_order(moment, self._orders.pushed_amended(order))
                case OrderTrade(order=order, fill=fill):
                    self._add_order(moment, self._orders.pushed(order, fill))
                    moment.reason = _BY_ORDER[order.origin]
                    trade = {"instId": order.symbol, "tradeId": trade_id(fill)}
                    moment.cause(moment.reason).trades.append(trade)
                case AccountChanged():
                    self._add_account(moment, event)
                case LeverageChanged(symbol=symbol):
                    self._add_leverage(moment, symbol)
                case MarginCalled(views=views):
                    moment.warned += views
                case _:
                    pass
        return moment

    def _add_order(self, moment: _Moment, row: Row) -> None:
        client_id = row["clOrdId"] or row["algoClOrdId"] or None
        moment.orders.append(UserFrame(ORDERS, [row], symbol=row["instId"], client_id=client_id))
        moment.touched[self._exchange.instrument(row["instId"]).settle] = None

    def _add_account(self, moment: _Moment, event: AccountChanged) -> None:
        reason = moment.reason if event.reason is AccountReason.ORDER else _BY_REASON.get(event.reason)
        changed = [(row.symbol, row.position_side) for row in event.positions]
        moment.positions |= dict.fromkeys(changed)
        for balance in event.balances:
            moment.paid[balance.asset] = None
        if reason is not None:
            cause = moment.cause(reason)
            cause.assets |= dict.fromkeys(balance.asset for balance in event.balances)
            cause.positions |= dict.fromkeys(changed)

    def _add_leverage(self, moment: _Moment, symbol: str) -> None:
        """What it changes shows only where something is held."""
        held = dict.fromkeys(key for key in self._positions.open() if key[0] == symbol)
        if held:
            moment.positions |= held
            moment.cause("set_leverage").positions |= held
            moment.paid[self._exchange.instrument(symbol).settle] = None

    def _both(self, reason: str, cause: _Cause, now_ms: int) -> Row:
        return {
            "pTime": stamp(now_ms),
            "eventType": reason,
            "balData": [self._account.brief(asset) for asset in cause.assets],
            "posData": [self._positions.brief(*key) for key in cause.positions],
            "trades": cause.trades,
        }

    def _account_frames(self, moment: _Moment, now_ms: int) -> Iterator[UserFrame]:
        changed = dict(moment.paid)
        for asset in moment.touched:
            if self._money.get(asset) != self._tied(asset):
                changed[asset] = None
        self._money |= {asset: self._tied(asset) for asset in changed}
        if changed:
            yield UserFrame(ACCOUNT, [self._account.pushed(changed, now_ms)])

    def _warning(self, view: PositionView, now_ms: int) -> UserFrame:
        symbol = view.position.symbol
        row = self._positions.pushed(symbol, view.position.position_side, now_ms)
        return UserFrame(WARNING, [{name: row[name] for name in _WARNED_OF}], symbol=symbol)

    def _tied(self, asset: str) -> tuple[Decimal, Decimal]:
        balance = self._exchange.balance(asset)
        return balance.wallet, balance.order_margin
