"""Shapes of Bybit's payloads, REST rows and pushes, as far as we read them. Unknown fields are tolerated.

Prices, sizes and times of rows are text and an absent one is ""; some lists have null in its place. A push and the row
of the REST twin are one shape, but for `category`, which only pushes have. Names are the venue's.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType, field

from core.venues.payload import Ms

_T = TypeVar("_T")


class Answer(Struct, Generic[_T], frozen=True):
    """What every request is answered with; `Seam` has judged `retCode` before this is read. `time` UTC ms."""

    result: _T
    time: Ms = 0


class Page(Struct, Generic[_T], frozen=True):
    rows: list[_T] = field(name="list")
    nextPageCursor: str = ""  # noqa: N815


# --- trading --------------------------------------------------------------------------------------------------------


class Ack(Struct, frozen=True, gc=False):
    """The answer to placing or cancelling one order; "" in both = that row of a batch failed."""

    orderId: str = ""  # noqa: N815
    orderLinkId: str = ""  # noqa: N815


class Verdict(Struct, frozen=True, gc=False):
    """How one row of a batch went."""

    code: int = 0
    msg: str = ""


class Verdicts(Struct, frozen=True):
    rows: list[Verdict] = field(name="list", default_factory=list)


class BatchAnswer(Struct, frozen=True):
    """Row i of `result` and of `retExtInfo` belong to order i of the request."""

    result: Page[Ack]
    retExtInfo: Verdicts  # noqa: N815


class OrderRow(Struct, frozen=True, gc=False):
    """GET order/realtime, order/history, and the `order` topic."""

    symbol: str
    orderId: str  # noqa: N815
    side: str
    orderStatus: str  # noqa: N815
    qty: str
    updatedTime: str  # noqa: N815
    category: str = "linear"
    orderLinkId: str = ""  # noqa: N815
    parentOrderLinkId: str = ""  # noqa: N815
    positionIdx: int = 0  # noqa: N815
    cumExecQty: str | None = ""  # noqa: N815
    cumExecValue: str | None = ""  # noqa: N815
    avgPrice: str | None = ""  # noqa: N815
    triggerPrice: str | None = ""  # noqa: N815
    stopOrderType: str = ""  # noqa: N815
    tpslMode: str = ""  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    closeOnTrigger: bool = False  # noqa: N815
    cancelType: str = ""  # noqa: N815
    rejectReason: str = ""  # noqa: N815
    createdTime: str = ""  # noqa: N815


class ExtraFee(Struct, frozen=True, gc=False):
    """A tax on a trade, where a country has one."""

    feeCoin: str = ""  # noqa: N815
    fee: str = ""


class ExecutionRow(Struct, frozen=True, gc=False):
    """GET execution/list, and the `execution` topic. `execFee` is positive when paid."""

    symbol: str
    orderId: str  # noqa: N815
    side: str
    execId: str  # noqa: N815
    execPrice: str  # noqa: N815
    execQty: str  # noqa: N815
    execType: str  # noqa: N815
    execTime: str  # noqa: N815
    category: str = "linear"
    orderLinkId: str = ""  # noqa: N815
    execFee: str = ""  # noqa: N815
    feeCurrency: str = ""  # noqa: N815
    execPnl: str = ""  # noqa: N815
    closedSize: str = ""  # noqa: N815
    createType: str = ""  # noqa: N815
    isMaker: bool = False  # noqa: N815
    extraFees: list[ExtraFee] | str | None = ""  # noqa: N815


# --- account --------------------------------------------------------------------------------------------------------


class PositionRow(Struct, frozen=True, gc=False):
    """GET position/list (`avgPrice`), the `position` topic (`entryPrice`). `size` is unsigned, `side` "" when flat."""

    symbol: str
    side: str
    size: str
    updatedTime: str  # noqa: N815
    category: str = "linear"
    positionIdx: int = 0  # noqa: N815
    avgPrice: str = ""  # noqa: N815
    entryPrice: str = ""  # noqa: N815
    markPrice: str = ""  # noqa: N815
    leverage: str = ""
    unrealisedPnl: str = ""  # noqa: N815
    positionMM: str = ""  # noqa: N815
    positionStatus: str = ""  # noqa: N815
    openTime: int | str = 0  # noqa: N815
    """Of this position; `createdTime` is that of the first one ever."""


class CoinRow(Struct, frozen=True, gc=False):
    coin: str
    walletBalance: str = ""  # noqa: N815
    equity: str = ""
    locked: str = ""
    bonus: str = ""
    totalOrderIM: str = ""  # noqa: N815
    totalPositionIM: str = ""  # noqa: N815


class WalletRow(Struct, frozen=True):
    """GET account/wallet-balance, and the `wallet` topic, where `coin` lists only what changed. The totals are US
    dollars over the whole account, "" in isolated margin."""

    coin: list[CoinRow]
    accountType: str = "UNIFIED"  # noqa: N815
    totalAvailableBalance: str = ""  # noqa: N815


class AccountInfo(Struct, frozen=True, gc=False):
    marginMode: str  # noqa: N815


class SymbolRow(Struct, frozen=True, gc=False):
    """GET position/symbol-info: settings of a contract, held or not; two rows in hedge mode."""

    symbol: str
    leverage: str
    positionIdx: int = 0  # noqa: N815


class KeyRow(Struct, frozen=True):
    """GET user/query-api. `ips` ["*"] = from anywhere."""

    readOnly: int  # noqa: N815
    permissions: dict[str, list[str]] = field(default_factory=dict)
    ips: list[str] = field(default_factory=list)


# --- public ---------------------------------------------------------------------------------------------------------


class TimeRow(Struct, frozen=True, gc=False):
    timeNano: str  # noqa: N815


class TickerRow(Struct, frozen=True, gc=False):
    """GET market/tickers, and a snapshot of the `tickers` topic."""

    symbol: str
    lastPrice: str = ""  # noqa: N815
    indexPrice: str = ""  # noqa: N815
    markPrice: str = ""  # noqa: N815
    bid1Price: str = ""  # noqa: N815
    ask1Price: str = ""  # noqa: N815
    turnover24h: str = ""
    openInterest: str = ""  # noqa: N815
    fundingRate: str = ""  # noqa: N815
    nextFundingTime: str = ""  # noqa: N815


class TickerChange(Struct, frozen=True, gc=False):
    """What a push of the `tickers` topic says of the prices we keep; what is absent has not changed."""

    symbol: str
    markPrice: str | UnsetType = UNSET  # noqa: N815
    bid1Price: str | UnsetType = UNSET  # noqa: N815
    ask1Price: str | UnsetType = UNSET  # noqa: N815
    lastPrice: str | UnsetType = UNSET  # noqa: N815


class CandleRows(Struct, frozen=True):
    """GET market/kline, newest first: [start, open, high, low, close, volume, turnover]."""

    rows: list[list[str]] = field(name="list")


class LeverageFilter(Struct, frozen=True, gc=False):
    maxLeverage: str  # noqa: N815


class PriceFilter(Struct, frozen=True, gc=False):
    tickSize: str  # noqa: N815


class LotSizeFilter(Struct, frozen=True, gc=False):
    minOrderQty: str  # noqa: N815
    qtyStep: str  # noqa: N815
    maxOrderQty: str  # noqa: N815
    maxMktOrderQty: str = ""  # noqa: N815
    minNotionalValue: str = ""  # noqa: N815


class RiskParameters(Struct, frozen=True, gc=False):
    """How far a limit price may be from the mark, as a share: X for the side that trades through, Y for the other."""

    priceLimitRatioX: str = ""  # noqa: N815
    priceLimitRatioY: str = ""  # noqa: N815


class InstrumentRow(Struct, frozen=True):
    """GET market/instruments-info."""

    symbol: str
    contractType: str  # noqa: N815
    status: str
    baseCoin: str  # noqa: N815
    quoteCoin: str  # noqa: N815
    settleCoin: str  # noqa: N815
    leverageFilter: LeverageFilter  # noqa: N815
    priceFilter: PriceFilter  # noqa: N815
    lotSizeFilter: LotSizeFilter  # noqa: N815
    launchTime: str = ""  # noqa: N815
    deliveryTime: str = "0"  # noqa: N815
    symbolType: str = ""  # noqa: N815
    isPreListing: bool = False  # noqa: N815
    riskParameters: RiskParameters = RiskParameters()  # noqa: N815


class TierRow(Struct, frozen=True, gc=False):
    """GET market/risk-limit: up to this notional, at most this leverage."""

    symbol: str
    riskLimitValue: str  # noqa: N815
    maxLeverage: str  # noqa: N815


class TransactionRow(Struct, frozen=True, gc=False):
    """GET account/transaction-log; `fee` is positive when paid, `funding` and `change` when received."""

    id: str
    type: str
    currency: str
    change: str
    transactionTime: str  # noqa: N815
    symbol: str = ""
    category: str = ""
    tradeId: str = ""  # noqa: N815
    cashFlow: str = ""  # noqa: N815
    funding: str = ""
    fee: str = ""


# --- frames ---------------------------------------------------------------------------------------------------------


class Head(Struct, frozen=True, gc=False):
    """Enough of a frame to know what it is: data of a topic, or the answer to something we sent.

    `retCode` and `retMsg` stand in some refused logins in place of `ret_msg`.
    """

    topic: str = ""
    op: str = ""
    success: bool = True
    ret_msg: str = ""
    retMsg: str = ""  # noqa: N815
    retCode: int = 0  # noqa: N815
    req_id: str | int | None = None


class Push(Struct, Generic[_T], frozen=True):
    """`creationTime` UTC ms."""

    data: list[_T]
    creationTime: Ms  # noqa: N815


class TickerPush(Struct, frozen=True, gc=False):
    """`type` is snapshot or delta; `ts` UTC ms."""

    topic: str
    type: str
    data: TickerChange
    ts: Ms
