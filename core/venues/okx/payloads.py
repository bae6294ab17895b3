"""Shapes of OKX's payloads, REST rows and pushes, as far as we read them. Unknown fields are tolerated.

Every value is text and an absent one is "". A push and the answer of its REST twin are one shape. Names are the
venue's.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct, field

_T = TypeVar("_T")


class Answer(Struct, Generic[_T], frozen=True):
    """What every request is answered with; `Seam` has judged `code` before this is read."""

    data: list[_T]


# --- trading --------------------------------------------------------------------------------------------------------


class Ack(Struct, frozen=True, gc=False):
    """One row of the answer to placing, amending or cancelling; `sCode` "0" = taken."""

    ordId: str = ""  # noqa: N815
    clOrdId: str = ""  # noqa: N815
    algoId: str = ""  # noqa: N815
    algoClOrdId: str = ""  # noqa: N815
    sCode: str = "0"  # noqa: N815
    sMsg: str = ""  # noqa: N815
    ts: str = ""


class AttachedRow(Struct, frozen=True, gc=False):
    """A stop that travels with an order, as the order tells of it."""

    attachAlgoClOrdId: str = ""  # noqa: N815
    slTriggerPx: str = ""  # noqa: N815


class OrderRow(Struct, frozen=True):
    """GET trade/order, orders-pending, orders-history, and the `orders` channel, whose rows also tell the last fill."""

    instId: str  # noqa: N815
    ordId: str  # noqa: N815
    side: str
    sz: str
    state: str
    uTime: str  # noqa: N815
    clOrdId: str = ""  # noqa: N815
    algoClOrdId: str = ""  # noqa: N815
    posSide: str = ""  # noqa: N815
    accFillSz: str = ""  # noqa: N815
    avgPx: str = ""  # noqa: N815
    reduceOnly: str | bool = ""  # noqa: N815
    cancelSource: str = ""  # noqa: N815
    category: str = ""
    fee: str = ""
    feeCcy: str = ""  # noqa: N815
    pnl: str = ""
    fillSz: str = ""  # noqa: N815
    fillPx: str = ""  # noqa: N815
    tradeId: str = ""  # noqa: N815
    fillTime: str = ""  # noqa: N815
    fillFee: str = ""  # noqa: N815
    fillFeeCcy: str = ""  # noqa: N815
    fillPnl: str = ""  # noqa: N815
    execType: str = ""  # noqa: N815
    attachAlgoOrds: list[AttachedRow] = field(default_factory=list)  # noqa: N815


class AlgoRow(Struct, frozen=True):
    """GET order-algo, orders-algo-pending, and the channels `orders-algo` and `algo-advance`. `uTime` is missing in
    some answers, and on the second channel, which tells the time of the push instead."""

    algoId: str  # noqa: N815
    instId: str  # noqa: N815
    side: str
    state: str
    algoClOrdId: str = ""  # noqa: N815
    posSide: str = ""  # noqa: N815
    sz: str = ""
    closeFraction: str = ""  # noqa: N815
    slTriggerPx: str = ""  # noqa: N815
    triggerPx: str = ""  # noqa: N815
    reduceOnly: str | bool = ""  # noqa: N815
    ordId: str = ""  # noqa: N815
    ordIdList: list[str] = field(default_factory=list)  # noqa: N815
    failCode: str = ""  # noqa: N815
    uTime: str = ""  # noqa: N815
    pTime: str = ""  # noqa: N815
    cTime: str = ""  # noqa: N815


class TradeRow(Struct, frozen=True, gc=False):
    """GET trade/fills, fills-history. `fee` is negative when paid."""

    instId: str  # noqa: N815
    ordId: str  # noqa: N815
    tradeId: str  # noqa: N815
    billId: str  # noqa: N815
    side: str
    fillSz: str  # noqa: N815
    fillPx: str  # noqa: N815
    ts: str
    clOrdId: str = ""  # noqa: N815
    posSide: str = ""  # noqa: N815
    fee: str = ""
    feeCcy: str = ""  # noqa: N815
    fillPnl: str = ""  # noqa: N815
    fillTime: str = ""  # noqa: N815
    execType: str = ""  # noqa: N815
    subType: str = ""  # noqa: N815


# --- account --------------------------------------------------------------------------------------------------------


class BillRow(Struct, frozen=True, gc=False):
    """GET account/bills, bills-archive. `balChg` and `fee` are negative when paid."""

    billId: str  # noqa: N815
    ccy: str
    type: str
    balChg: str  # noqa: N815
    ts: str
    instId: str = ""  # noqa: N815
    tradeId: str = ""  # noqa: N815
    pnl: str = ""
    fee: str = ""


class PositionRow(Struct, frozen=True, gc=False):
    """GET account/positions and the `positions` channel: open ones, and each once more when it has become flat."""

    instId: str  # noqa: N815
    mgnMode: str  # noqa: N815
    pos: str
    uTime: str  # noqa: N815
    posSide: str = "net"  # noqa: N815
    avgPx: str = ""  # noqa: N815
    markPx: str = ""  # noqa: N815
    upl: str = ""
    margin: str = ""
    mmr: str = ""
    lever: str = ""
    cTime: str = ""  # noqa: N815


class DetailRow(Struct, frozen=True, gc=False):
    """One coin of an account. `availEq` is "" where the account level has no such figure."""

    ccy: str
    cashBal: str  # noqa: N815
    uTime: str  # noqa: N815
    availEq: str = ""  # noqa: N815
    availBal: str = ""  # noqa: N815


class AccountRow(Struct, frozen=True):
    """GET account/balance and the `account` channel. `availEq` is of the account as a whole, in US dollars."""

    uTime: str = ""  # noqa: N815
    availEq: str = ""  # noqa: N815
    adjEq: str = ""  # noqa: N815
    imr: str = ""
    details: list[DetailRow] = field(default_factory=list)


class ConfigRow(Struct, frozen=True, gc=False):
    acctLv: str  # noqa: N815
    posMode: str  # noqa: N815
    perm: str = ""
    ip: str = ""


class LeverageRow(Struct, frozen=True, gc=False):
    instId: str  # noqa: N815
    mgnMode: str  # noqa: N815
    lever: str
    posSide: str = ""  # noqa: N815


class BalanceUpdate(Struct, frozen=True, gc=False):
    ccy: str
    cashBal: str  # noqa: N815
    uTime: str  # noqa: N815


class AccountUpdate(Struct, frozen=True):
    """A row of `balance_and_position`: what changed, and why."""

    pTime: str  # noqa: N815
    eventType: str  # noqa: N815
    balData: list[BalanceUpdate] = field(default_factory=list)  # noqa: N815
    posData: list[PositionRow] = field(default_factory=list)  # noqa: N815


class WarningRow(Struct, frozen=True, gc=False):
    """A row of `liquidation-warning`: which position, and how near."""

    instId: str  # noqa: N815
    posSide: str = ""  # noqa: N815
    pos: str = ""
    markPx: str = ""  # noqa: N815
    mgnRatio: str = ""  # noqa: N815


# --- public ---------------------------------------------------------------------------------------------------------


class TimeRow(Struct, frozen=True, gc=False):
    ts: str


class TierRow(Struct, frozen=True, gc=False):
    """GET public/position-tiers; sizes in contracts of the family."""

    maxSz: str  # noqa: N815
    maxLever: str  # noqa: N815
    instFamily: str = ""  # noqa: N815
    uly: str = ""


class TickerRow(Struct, frozen=True, gc=False):
    """GET market/tickers and the `tickers` channel: the full row each time. `volCcy24h` counts coins."""

    instId: str  # noqa: N815
    ts: str
    last: str = ""
    bidPx: str = ""  # noqa: N815
    askPx: str = ""  # noqa: N815
    volCcy24h: str = ""  # noqa: N815


class MarkRow(Struct, frozen=True, gc=False):
    """GET public/mark-price and the `mark-price` channel."""

    instId: str  # noqa: N815
    markPx: str  # noqa: N815
    ts: str


class FundingRow(Struct, frozen=True, gc=False):
    """GET public/funding-rate: of the running interval, which ends at `fundingTime`."""

    instId: str  # noqa: N815
    fundingRate: str = ""  # noqa: N815
    fundingTime: str = ""  # noqa: N815


class IndexRow(Struct, frozen=True, gc=False):
    """GET market/index-tickers; `instId` is the family's, e.g. `BTC-USDT`."""

    instId: str  # noqa: N815
    idxPx: str  # noqa: N815


class OpenInterestRow(Struct, frozen=True, gc=False):
    """`oi` in contracts, `oiCcy` in coins."""

    instId: str  # noqa: N815
    oiCcy: str  # noqa: N815


# --- frames ---------------------------------------------------------------------------------------------------------


class Arg(Struct, frozen=True, gc=False):
    """Which subscription a frame belongs to."""

    channel: str
    instId: str = ""  # noqa: N815


class Push(Struct, Generic[_T], frozen=True):
    """`eventType`, `curPage` and `lastPage` only where a channel sends its picture in pages."""

    arg: Arg
    data: list[_T]
    eventType: str = ""  # noqa: N815
    lastPage: bool = True  # noqa: N815


class PushHead(Struct, frozen=True, gc=False):
    """Enough of a push to know what it is."""

    arg: Arg


class Event(Struct, frozen=True, gc=False):
    """An answer to what we sent, or a notice: `event` is login, subscribe, unsubscribe, error, notice and so on."""

    event: str
    id: str = ""
    code: str = ""
    msg: str = ""
    arg: Arg | None = None
    channel: str = ""
