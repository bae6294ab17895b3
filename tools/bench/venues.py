"""What differs between the venues for whoever measures them, as data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct, field

from core.domain.ids import VenueName

PROBE: Final = "/bench-probe"
"""A path that no venue knows: every one answers, and logs it, and nobody else asks for it."""
_OK_CODES: Final = (None, 0, "0")


class Rate(Struct, frozen=True, kw_only=True):
    """How many orders a venue takes within how long. `calendar`: in windows of its clock, else in any such stretch."""

    orders: int
    window_ms: int
    calendar: bool = False


class VenueFacts(Struct, frozen=True, kw_only=True):
    """One venue. `listing` is where it tells its instruments, `listed` reads their names from the answer: the swaps in
    USDT that trade, in its own order. `attaches`: a stop travels with its entry, and no request of its own is needed.
    `rate` bounds new orders. `ccxt_stop`: what makes an order of ccxt bring its stop, where the venue can."""

    name: VenueName
    listing: str
    listed: Callable[[Any], list[str]]
    attaches: bool
    rate: Rate
    ccxt: str
    ccxt_options: Mapping[str, Any] = field(default_factory=dict)
    spelt: Callable[[str], str] = lambda symbol: symbol.partition(":")[0].replace("/", "")
    """The venue's name of a unified symbol."""
    passphrase: bool = False
    orders_in_a_life: int = 2
    """That count on the rate: entry and close, and the stop where it is an order of its own."""
    private_paths: tuple[str, ...] = ()
    """Of the sockets that tell of the account."""
    push: bytes = b""
    """How a frame begins that tells something, and answers nothing."""
    contract_size: Callable[[Any, str], Decimal] = lambda _answer, _symbol: Decimal(1)
    """Of the answer to `listing`: base units in what the venue counts in."""
    tickers: str = ""
    """Where it tells its prices, if `most` asks for them."""
    most: Callable[[Any, Any], Mapping[str, Decimal]] = lambda _listing, _tickers: {}
    """How much one market order may be worth, USDT, of those where that may be less than an entry."""
    frame_ids: tuple[str, ...] = ()
    """Fields of a frame with ids of the venue's own."""

    @property
    def prefix(self) -> str:
        """Of its settings."""
        return self.name.value.upper()

    def is_push(self, frame: bytes) -> bool:
        return self.push in frame[:100]

    def settings(self, url: str) -> dict[str, str]:
        """Of a daemon that trades at the simulator at `url`."""
        own = {f"{self.prefix}_URL": url, f"{self.prefix}_API_KEY": "sim", f"{self.prefix}_API_SECRET": "sim"}
        return own | ({f"{self.prefix}_PASSPHRASE": "sim"} if self.passphrase else {})


def _binance(answer: Any) -> list[str]:
    wanted = ("USDT", "PERPETUAL", "TRADING")
    return [
        r["symbol"] for r in answer["symbols"] if (r["quoteAsset"], r["contractType"], r["status"]) == wanted
    ]  # fmt: skip


def _bybit(answer: Any) -> list[str]:
    wanted = ("USDT", "LinearPerpetual", "Trading", False)
    rows = answer["result"]["list"]
    return [
        r["symbol"]
        for r in rows
        if (r["settleCoin"], r["contractType"], r["status"], r["isPreListing"]) == wanted and not r["symbolType"]
    ]


def _bybit_most(listing: Any, tickers: Any) -> Mapping[str, Decimal]:
    prices = {row["symbol"]: Decimal(row["markPrice"]) for row in tickers["result"]["list"]}
    most = {row["symbol"]: Decimal(row["lotSizeFilter"]["maxMktOrderQty"]) for row in listing["result"]["list"]}
    return {symbol: quantity * prices[symbol] for symbol, quantity in most.items() if symbol in prices}


def _okx(answer: Any) -> list[str]:
    wanted = ("USDT", "linear", "live")
    return [r["instId"] for r in answer["data"] if (r["settleCcy"], r["ctType"], r["state"]) == wanted]


def _okx_contract(answer: Any, symbol: str) -> Decimal:
    row = next(row for row in answer["data"] if row["instId"] == symbol)
    return Decimal(row["ctVal"]) * Decimal(row["ctMult"])


BINANCE: Final = VenueFacts(
    name=VenueName.BINANCE,
    listing="/fapi/v1/exchangeInfo",
    listed=_binance,
    attaches=False,
    rate=Rate(orders=300, window_ms=10_000, calendar=True),
    ccxt="binanceusdm",
    private_paths=("/bench",),
    orders_in_a_life=3,
)
BYBIT: Final = VenueFacts(
    name=VenueName.BYBIT,
    listing="/v5/market/instruments-info?category=linear&limit=1000",
    listed=_bybit,
    attaches=True,
    rate=Rate(orders=10, window_ms=1_000),
    ccxt="bybit",
    ccxt_options={"options": {"fetchMarkets": {"types": ["linear"]}}},
    tickers="/v5/market/tickers?category=linear",
    most=_bybit_most,
    private_paths=("/v5/private",),
    push=b'"topic":',
    frame_ids=("orderId", "execId"),
)
OKX: Final = VenueFacts(
    name=VenueName.OKX,
    listing="/api/v5/public/instruments?instType=SWAP",
    listed=_okx,
    attaches=True,
    rate=Rate(orders=1_000, window_ms=2_000),
    ccxt="okx",
    ccxt_options={"password": "sim", "options": {"defaultType": "swap", "fetchMarkets": {"types": ["swap"]}}},
    spelt=lambda symbol: symbol.partition(":")[0].replace("/", "-") + "-SWAP",
    passphrase=True,
    contract_size=_okx_contract,
    private_paths=("/ws/v5/private", "/ws/v5/business"),
    push=b'{"arg":{',
    frame_ids=("ordId", "algoId", "tradeId", "billId", "attachAlgoId"),
)
VENUES: Final[Mapping[str, VenueFacts]] = {facts.name.value: facts for facts in (BINANCE, BYBIT, OKX)}


def refused(row: Mapping[str, Any]) -> bool:
    """Whether the venue refused the request of this row of its log; the probe is none of the daemon's."""
    if row["path"] == PROBE or row["status"] is None:
        return False
    return int(row["status"]) >= 400 or row["code"] not in _OK_CODES


def accepted(row: Mapping[str, Any]) -> bool:
    return row["status"] == 200 and row["code"] in _OK_CODES


def orders_in(row: Mapping[str, Any], entries: Collection[str]) -> int:
    """A batch is one request of several orders; the ids of the stops they bring may stand among theirs, so only those
    are counted that the venue knows as orders by themselves (`own_orders`)."""
    return max(1, sum(1 for name in row["client_ids"] if name in entries))


def own_orders(state: Mapping[str, Any]) -> frozenset[str]:
    """Client ids of what is no conditional order, by the venue's whole record."""
    return frozenset(order["client_id"] for order in state["orders"] if order["type"] in ("market", "limit"))
