"""Private stream frames of whole position lives, in the venue's own shape and order, and the intents they speak of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from core.domain.ids import Asset, InstrumentId, Leg, PositionId, SignalId, Symbol, VenueName, client_order_id
from core.domain.instrument import Instrument, LotRule
from core.domain.money import Notional, Price, Quantity
from core.domain.order import OrderIntent, OrderType
from core.domain.signal import Side
from core.venues.symbols import SymbolTable

ACCOUNT: Final = "bench"
START_MS: Final = 1_771_856_732_584
QUANTITY: Final = "4.9"
PARTS: Final = ("1.9", "4.9")
"""Running totals of the entry's two fills."""
ENTRY_PRICE, STOP_PRICE, EXIT_PRICE = "1.1359", "1.1131", "1.1402"


class Life(Struct, frozen=True, kw_only=True):
    """One position from entry to close: its three intents, and every frame the venue sends of it, in order."""

    intents: tuple[OrderIntent, ...]
    frames: tuple[bytes, ...]


def lives(symbols: Sequence[str], count: int, first: int = 0) -> list[Life]:
    """`count` lives, numbered from `first`, one after another over `symbols`."""
    return [_life(symbols[number % len(symbols)], number) for number in range(first, first + count)]


def symbol_table(symbols: Sequence[str]) -> SymbolTable:
    """Instruments of these names whose rules do not matter here."""
    rule = LotRule(minimum=Quantity(Decimal("0.1")), maximum=Quantity(Decimal(10**6)), step=Quantity(Decimal("0.1")))
    table = SymbolTable()
    table.replace(
        Instrument(
            id=_instrument(symbol),
            venue_symbol=symbol,
            quote=Asset("USDT"),
            tick=Price(Decimal("0.0001")),
            lot=rule,
            market_lot=rule,
            min_notional=Notional(Decimal(5)),
            tradable=True,
            max_leverage=20,
        )
        for symbol in symbols
    )
    return table


def _instrument(symbol: str) -> InstrumentId:
    return InstrumentId(VenueName.BINANCE, Symbol(f"{symbol.removesuffix('USDT')}/USDT:USDT"))


def _life(symbol: str, number: int) -> Life:
    entry, stop, close = (_intent(symbol, number, leg) for leg in (Leg.ENTRY, Leg.STOP, Leg.CLOSE))
    frames = [
        *_market_order(_Order(symbol, entry, order_id=10**9 + number * 10, price=ENTRY_PRICE, at=number), PARTS),
        _algo(stop, symbol, number, "NEW"),
        *_market_order(
            _Order(symbol, close, order_id=10**9 + number * 10 + 5, price=EXIT_PRICE, at=number), (QUANTITY,)
        ),
        _algo(stop, symbol, number, "CANCELED"),
    ]
    return Life(intents=(entry, stop, close), frames=tuple(_bytes(frame) for frame in frames))


def _intent(symbol: str, number: int, leg: Leg) -> OrderIntent:
    position = client_order_id(ACCOUNT, str(number), Leg.ENTRY, 0)
    return OrderIntent(
        client_order_id=client_order_id(ACCOUNT, str(number), leg, 0),
        instrument=_instrument(symbol),
        leg=leg,
        attempt=0,
        signal_id=SignalId(str(number)),
        position_id=PositionId(position),
        side=Side.BUY if leg is Leg.ENTRY else Side.SELL,
        type=OrderType.STOP_MARKET if leg is Leg.STOP else OrderType.MARKET,
        quantity=Quantity(Decimal(QUANTITY)),
        reduce_only=leg is not Leg.ENTRY,
        trigger_price=Price(Decimal(STOP_PRICE)) if leg is Leg.STOP else None,
        decision_price=Price(Decimal(ENTRY_PRICE)),
        stop_loss_percent=Decimal(2),
        wave_id=f"bench-{number // 6}",
    )


class _Order(Struct, frozen=True):
    """A market order and what is the same in all its frames; `at` numbers the life, which is its second."""

    symbol: str
    intent: OrderIntent
    order_id: int
    price: str
    at: int

    @property
    def time(self) -> int:
        return START_MS + self.at * 1000


def _market_order(order: _Order, totals: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Acknowledged, then for each fill the account first and the trade after it, as Binance sends them."""
    yield _order_frame(order, execution="NEW", status="NEW")
    before = Decimal(0)
    for part, total in enumerate(totals):
        yield _account_frame(order, Decimal(total))
        status = "FILLED" if total == QUANTITY else "PARTIALLY_FILLED"
        last = str(Decimal(total) - before)
        yield _order_frame(order, execution="TRADE", status=status, last=last, total=total, trade=part + 1)
        before = Decimal(total)


def _order_frame(
    order: _Order, *, execution: str, status: str, last: str = "0", total: str = "0", trade: int = 0
) -> dict[str, Any]:
    price = order.price if trade else "0"
    details = {
        "s": order.symbol, "c": order.intent.client_order_id, "S": order.intent.side.value.upper(), "o": "MARKET",
        "f": "GTC", "q": QUANTITY, "p": "0", "ap": price, "sp": "0", "x": execution, "X": status, "i": order.order_id,
        "l": last, "z": total, "L": price, "n": "0.00222636" if trade else "0", "N": "USDT", "T": order.time,
        "t": order.order_id + trade if trade else 0, "b": "0", "a": "0", "m": False, "R": order.intent.reduce_only,
        "wt": "CONTRACT_PRICE", "ot": "MARKET", "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0,
        "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0, "er": "0",
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "T": order.time, "E": order.time, "o": details}


def _account_frame(order: _Order, total: Decimal) -> dict[str, Any]:
    opening = order.intent.leg is Leg.ENTRY
    amount = str(total) if opening else "0"
    position = {
        "s": order.symbol, "pa": amount, "ep": ENTRY_PRICE if opening else "0", "cr": "-0.73987992", "up": "0",
        "mt": "cross", "iw": "0", "ps": "BOTH", "ma": "USDT", "bep": "1.13646795",
    }  # fmt: skip
    wallet = str(Decimal(10_000) - Decimal(order.at) / 1000)
    balance = {"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}
    account = {"B": [balance], "P": [position], "m": "ORDER"}
    return {"e": "ACCOUNT_UPDATE", "T": order.time, "E": order.time, "a": account}


def _algo(stop: OrderIntent, symbol: str, number: int, status: str) -> dict[str, Any]:
    time = START_MS + number * 1000
    details = {
        "caid": stop.client_order_id, "aid": 4 * 10**15 + number, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": symbol,
        "S": "SELL", "ps": "BOTH", "f": "GTC", "q": QUANTITY, "X": status, "ai": "", "tp": STOP_PRICE, "p": "0",
        "V": "EXPIRE_MAKER", "wt": "MARK_PRICE", "pm": "NONE", "cp": False, "pP": False, "R": True, "tt": 0, "gtd": 0,
        "ia": False,
    }  # fmt: skip
    return {"e": "ALGO_UPDATE", "T": time, "E": time, "o": details}


def _bytes(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode("ascii")
