"""Shapes of Binance's payloads, REST rows and stream events, as far as we read them. Unknown fields are tolerated.

Numbers stay text until a report is made. Names are the venue's; single letters get a name here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

from core.venues.payload import Leverage, Ms


class OrderRow(Struct, frozen=True, gc=False):
    """POST, GET and DELETE /order, GET /openOrders. POST answers have no avgPrice."""

    orderId: int  # noqa: N815
    symbol: str
    status: str
    clientOrderId: str  # noqa: N815
    origQty: str  # noqa: N815
    executedQty: str  # noqa: N815
    side: str
    positionSide: str = "BOTH"  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    closePosition: bool = False  # noqa: N815
    stopPrice: str | None = None  # noqa: N815
    avgPrice: str | None = None  # noqa: N815
    updateTime: Ms = 0  # noqa: N815


class AlgoRow(Struct, frozen=True, gc=False):
    """POST /algoOrder, GET /openAlgoOrders, GET /allAlgoOrders: three shapes of one thing."""

    algoId: int  # noqa: N815
    clientAlgoId: str  # noqa: N815
    symbol: str
    side: str
    algoStatus: str  # noqa: N815
    quantity: str | None = None
    positionSide: str = "BOTH"  # noqa: N815
    triggerPrice: str | None = None  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    closePosition: bool = False  # noqa: N815
    actualOrderId: str | None = None  # noqa: N815
    updateTime: Ms = 0  # noqa: N815


class TradeRow(Struct, frozen=True, gc=False):
    """GET /userTrades. `commission` is positive when paid."""

    symbol: str
    id: int
    orderId: int  # noqa: N815
    side: str
    price: str
    qty: str
    realizedPnl: str  # noqa: N815
    commission: str
    commissionAsset: str  # noqa: N815
    time: Ms
    maker: bool
    positionSide: str = "BOTH"  # noqa: N815


class IncomeRow(Struct, frozen=True, gc=False):
    """GET /income; `symbol` and `tradeId` "" where the line is about none."""

    incomeType: str  # noqa: N815
    income: str
    asset: str
    time: Ms
    tranId: int  # noqa: N815
    symbol: str = ""
    tradeId: str = ""  # noqa: N815


class PositionRow(Struct, frozen=True, gc=False):
    """GET /fapi/v3/positionRisk: only symbols with a position or an open order."""

    symbol: str
    positionAmt: str  # noqa: N815
    entryPrice: str  # noqa: N815
    markPrice: str  # noqa: N815
    positionSide: str = "BOTH"  # noqa: N815
    updateTime: Ms = 0  # noqa: N815


class AssetRow(Struct, frozen=True, gc=False):
    asset: str
    walletBalance: str  # noqa: N815
    availableBalance: str  # noqa: N815
    updateTime: Ms = 0  # noqa: N815


class AccountPositionRow(Struct, frozen=True, gc=False):
    """No entry price and no mark here."""

    symbol: str
    positionAmt: str  # noqa: N815
    positionSide: str = "BOTH"  # noqa: N815
    updateTime: Ms = 0  # noqa: N815


class AccountRow(Struct, frozen=True):
    """GET /fapi/v3/account: only symbols with a position or an open order."""

    assets: list[AssetRow]
    positions: list[AccountPositionRow] = field(default_factory=list)


class AccountConfigRow(Struct, frozen=True, gc=False):
    dualSidePosition: bool  # noqa: N815
    canTrade: bool  # noqa: N815
    multiAssetsMargin: bool  # noqa: N815


class SymbolConfigRow(Struct, frozen=True, gc=False):
    symbol: str
    leverage: Leverage
    marginType: Literal["CROSSED", "ISOLATED"]  # noqa: N815


class KeyRightsRow(Struct, frozen=True, gc=False):
    ipRestrict: bool  # noqa: N815
    enableFutures: bool  # noqa: N815
    enableWithdrawals: bool  # noqa: N815


class MarkRow(Struct, frozen=True, gc=False):
    symbol: str
    markPrice: str  # noqa: N815
    indexPrice: str  # noqa: N815
    lastFundingRate: str = ""  # noqa: N815
    nextFundingTime: Ms = 0  # noqa: N815
    """The rate of the running interval, and its end; "" and 0 where there is none."""


class LastRow(Struct, frozen=True, gc=False):
    symbol: str
    price: str


class LeverageRow(Struct, frozen=True, gc=False):
    symbol: str
    leverage: Leverage


class Bracket(Struct, frozen=True, gc=False):
    initialLeverage: Leverage  # noqa: N815
    notionalCap: int | Decimal  # noqa: N815


class BracketRow(Struct, frozen=True):
    symbol: str
    brackets: list[Bracket]


class OpenInterestRow(Struct, frozen=True, gc=False):
    openInterest: str  # noqa: N815


class TouchRow(Struct, frozen=True, gc=False):
    symbol: str
    bidPrice: str  # noqa: N815
    askPrice: str  # noqa: N815
    time: Ms


class DayRow(Struct, frozen=True, gc=False):
    symbol: str
    quoteVolume: str  # noqa: N815


class ServerTime(Struct, frozen=True, gc=False):
    serverTime: Ms  # noqa: N815


class ListenKey(Struct, frozen=True, gc=False):
    listenKey: str  # noqa: N815


# --- user data stream -----------------------------------------------------------------------------------------------


class OrderUpdate(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    client_id: str = field(name="c")
    side: str = field(name="S")
    quantity: str = field(name="q")
    average: str = field(name="ap")
    execution: str = field(name="x")
    status: str = field(name="X")
    order_id: int = field(name="i")
    last_quantity: str = field(name="l")
    filled: str = field(name="z")
    last_price: str = field(name="L")
    trade_id: int = field(name="t", default=0)
    stop_price: str | None = field(name="sp", default=None)
    fee: str | None = field(name="n", default=None)
    fee_asset: str | None = field(name="N", default=None)
    realized: str | None = field(name="rp", default=None)
    maker: bool = field(name="m", default=False)
    reduce_only: bool = field(name="R", default=False)
    close_position: bool = field(name="cp", default=False)
    position_side: str = field(name="ps", default="BOTH")
    expiry_reason: str | None = field(name="er", default=None)


class OrderTradeUpdate(Struct, frozen=True, gc=False):
    time: Ms = field(name="T")
    order: OrderUpdate = field(name="o")


class AlgoUpdate(Struct, frozen=True, gc=False):
    client_id: str = field(name="caid")
    algo_id: int = field(name="aid")
    symbol: str = field(name="s")
    side: str = field(name="S")
    status: str = field(name="X")
    quantity: str | None = field(name="q", default=None)
    trigger_price: str | None = field(name="tp", default=None)
    child_id: str | None = field(name="ai", default=None)
    reduce_only: bool = field(name="R", default=False)
    close_position: bool = field(name="cp", default=False)
    position_side: str = field(name="ps", default="BOTH")
    reason: str | None = field(name="rm", default=None)


class AlgoEvent(Struct, frozen=True, gc=False):
    time: Ms = field(name="T")
    order: AlgoUpdate = field(name="o")


class BalanceUpdate(Struct, frozen=True, gc=False):
    asset: str = field(name="a")
    wallet: str = field(name="wb")
    change: str | None = field(name="bc", default=None)


class PositionUpdate(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    amount: str = field(name="pa")
    entry_price: str = field(name="ep")
    position_side: str = field(name="ps", default="BOTH")
    unrealized: str | None = field(name="up", default=None)
    margin_type: str | None = field(name="mt", default=None)
    isolated_wallet: str | None = field(name="iw", default=None)


class AccountUpdate(Struct, frozen=True):
    reason: str = field(name="m", default="")
    balances: list[BalanceUpdate] = field(name="B", default_factory=list)
    positions: list[PositionUpdate] = field(name="P", default_factory=list)


class AccountEvent(Struct, frozen=True):
    time: Ms = field(name="T")
    account: AccountUpdate = field(name="a")


class LeverageUpdate(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    leverage: Leverage = field(name="l")


class AssetModeUpdate(Struct, frozen=True, gc=False):
    multi_assets: bool = field(name="j")


class ConfigEvent(Struct, frozen=True, gc=False):
    time: Ms = field(name="T")
    leverage: LeverageUpdate | None = field(name="ac", default=None)
    asset_mode: AssetModeUpdate | None = field(name="ai", default=None)


class MarginCallRow(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    position_side: str = field(name="ps")
    unrealized: str = field(name="up")
    maintenance_margin: str = field(name="mm")


class MarginCallEvent(Struct, frozen=True):
    time: Ms = field(name="E")
    positions: list[MarginCallRow] = field(name="p", default_factory=list)


class EventName(Struct, frozen=True, gc=False):
    """Enough of any event to know what it is."""

    name: str = field(name="e")


# --- market streams -------------------------------------------------------------------------------------------------


class BookTicker(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    bid: str = field(name="b")
    ask: str = field(name="a")
    time: Ms = field(name="T")
    market: int = field(name="st", default=1)


class AggregateTrade(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    price: str = field(name="p")
    time: Ms = field(name="T")
    market: int = field(name="st", default=1)


class MarkPrice(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    price: str = field(name="p")
    time: Ms = field(name="E")
    market: int = field(name="st", default=1)
    """1 = USD-M, 2 = COIN-M; the arrays hold both. Frames from before the field came are of the linear market, whose
    host and symbols they carry."""
