"""What each venue calls the prices of its public socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from core.domain.ids import VenueName


class PriceWords(Struct, frozen=True):
    """The path of the socket of marks, what a frame of prices has in it, the mark of one symbol (ms, symbol, price),
    and the path of a socket with prices of another kind."""

    path: str
    prices: tuple[bytes, ...]
    mark: Callable[[int, str, str], str]
    beside: str | None = None

    def tells_prices(self, frame: bytes) -> bool:
        """An answer to a subscription names its channel as well."""
        return b'"event"' not in frame[:20] and any(part in frame[:100] for part in self.prices)


PRICE_WORDS: Final[Mapping[VenueName, PriceWords]] = {
    VenueName.BINANCE: PriceWords(
        "/market/ws",
        (b"markPriceUpdate",),
        lambda ms, symbol, price: f'{{"e":"markPriceUpdate","E":{ms},"s":"{symbol}","p":"{price}","st":1}}',
        "/public/ws",
    ),
    VenueName.BYBIT: PriceWords(
        "/v5/public/linear",
        (b'"tickers.',),
        lambda ms, symbol, price: (
            f'{{"topic":"tickers.{symbol}","type":"delta","data":{{"symbol":"{symbol}","markPrice":"{price}"}},'
            f'"cs":1,"ts":{ms}}}'
        ),
    ),
    VenueName.OKX: PriceWords(
        "/ws/v5/public",
        (b'"mark-price"', b'"tickers"'),
        lambda ms, symbol, price: (
            f'{{"arg":{{"channel":"mark-price","instId":"{symbol}"}},"data":[{{"instType":"SWAP","instId":"{symbol}",'
            f'"markPx":"{price}","ts":"{ms}"}}]}}'
        ),
    ),
}
