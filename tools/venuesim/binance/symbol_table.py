"""One façade's view of its symbols: wire rows joined with the engine's live instruments."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tools.venuesim.binance import symbols
from tools.venuesim.binance.errors import VenueError
from tools.venuesim.binance.formats import padded, stripped
from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Bracket, Instrument, SymbolStatus

STATUS = {
    SymbolStatus.TRADING: "TRADING",
    SymbolStatus.PENDING: "PENDING_TRADING",
    SymbolStatus.HALTED: "TRADING_HALT",
    SymbolStatus.SETTLING: "SETTLING",
    SymbolStatus.CLOSED: "CLOSE",
}
_FROM_WIRE = {name: status for status, name in STATUS.items()}


def instruments(count: int, seed: int) -> list[Instrument]:
    """`count` instruments for the engine: the captured symbols first, then generated ones, marked as such."""
    captured = symbols.captured_symbols()
    prices = symbols.reference_prices(count, seed)
    return [
        _instrument(row, prices[row["symbol"]], generated=row["symbol"] not in captured)
        for row in symbols.rows(count, seed)
    ]


def _instrument(row: dict[str, Any], reference: Decimal, *, generated: bool) -> Instrument:
    price, lot, market_lot, band = (
        symbols.row_filter(row, kind) for kind in ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "PERCENT_PRICE")
    )
    metal_or_stock = row["contractType"] == "TRADIFI_PERPETUAL"
    return Instrument(
        symbol=row["symbol"],
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        settle=row["marginAsset"],
        tick=Decimal(price["tickSize"]),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        step=Decimal(lot["stepSize"]),
        min_qty=Decimal(lot["minQty"]),
        max_qty=Decimal(lot["maxQty"]),
        market_step=Decimal(market_lot["stepSize"]),
        market_min_qty=Decimal(market_lot["minQty"]),
        market_max_qty=Decimal(market_lot["maxQty"]),
        min_notional=Decimal(symbols.row_filter(row, "MIN_NOTIONAL")["notional"]),
        band_up=Decimal(band["multiplierUp"]),
        band_down=Decimal(band["multiplierDown"]),
        brackets=tuple(_bracket(entry) for entry in symbols.bracket_rows(row["symbol"])),
        reference=reference,
        status=_FROM_WIRE[row["status"]],
        market_bound=Decimal(row["marketTakeBound"]),
        liquidation_fee=Decimal(row["liquidationFee"]),
        funding_hours=4 if metal_or_stock or generated else 8,
        generated=generated,
    )


def _bracket(entry: dict[str, Any]) -> Bracket:
    return Bracket(
        leverage=int(entry["initialLeverage"]),
        floor=Decimal(str(entry["notionalFloor"])),
        cap=Decimal(str(entry["notionalCap"])),
        rate=Decimal(str(entry["maintMarginRatio"])),
        cum=Decimal(str(entry["cum"])),
    )


def bracket_rows(instrument: Instrument) -> list[dict[str, int | float]]:
    """The leverage table as leverageBracket prints it: numbers, not texts."""
    return [
        {
            "bracket": number,
            "initialLeverage": row.leverage,
            "notionalCap": _number(row.cap),
            "notionalFloor": _number(row.floor),
            "maintMarginRatio": float(row.rate),
            "cum": float(row.cum),
        }
        for number, row in enumerate(instrument.brackets, start=1)
    ]


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


class SymbolTable:
    """Digits and wire rows by symbol, kept in step with the engine's instruments."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        count = max(len(exchange.instruments()), len(symbols.captured_symbols()) + symbols.named_count())
        self._rows = {row["symbol"]: row for row in symbols.rows(count, seed)}
        self._shown: tuple[Instrument, ...] = ()
        self._shown_rows: list[dict[str, Any]] = []

    def price_digits(self, symbol: str) -> int:
        """pricePrecision: decimals of printed prices, not the tick."""
        digits: int = self._rows[symbol]["pricePrecision"]
        return digits

    def qty_digits(self, symbol: str) -> int:
        """quantityPrecision: decimals of printed quantities."""
        digits: int = self._rows[symbol]["quantityPrecision"]
        return digits

    def price(self, symbol: str, value: Decimal | None) -> str:
        """A price padded to pricePrecision; None prints as zero."""
        return padded(value or Decimal(0), self.price_digits(symbol))

    def qty(self, symbol: str, value: Decimal | None) -> str:
        """A quantity padded to quantityPrecision; None prints as zero."""
        return padded(value or Decimal(0), self.qty_digits(symbol))

    def average(self, symbol: str, value: Decimal | None) -> Decimal:
        """An average price rounded to pricePrecision + 1 decimals; None is zero."""
        unit = Decimal(1).scaleb(-self.price_digits(symbol) - 1)
        return (value or Decimal(0)).quantize(unit, ROUND_HALF_UP)

    def quote(self, symbol: str, value: Decimal) -> str:
        """price * quantity padded to the digits both together need."""
        return padded(value, self.price_digits(symbol) + self.qty_digits(symbol))

    def check_precision(self, symbol: str, *, price: Decimal | None, qty: Decimal | None) -> None:
        """-1111 for more decimals than pricePrecision or quantityPrecision allow."""
        for value, digits in ((price, self.price_digits(symbol)), (qty, self.qty_digits(symbol))):
            if value is not None and value != value.quantize(Decimal(1).scaleb(-digits)):
                raise VenueError(-1111)

    def wire_row(self, symbol: str) -> dict[str, Any]:
        """What never changes of a symbol: contract type, dates, digits."""
        return self._rows[symbol]

    def wire_rows(self) -> list[dict[str, Any]]:
        """The `symbols` of exchangeInfo, with the status and filters the engine really applies."""
        current = tuple(self._exchange.instruments())
        if len(current) != len(self._shown) or any(a is not b for a, b in zip(current, self._shown, strict=True)):
            self._shown = current
            self._shown_rows = [_live_row(self._rows[instrument.symbol], instrument) for instrument in current]
        return self._shown_rows

    def trigger_protect(self, symbol: str) -> Decimal:
        """How far last and mark price may lie apart for a protected stop, as a fraction."""
        return Decimal(self._rows[symbol]["triggerProtect"])

    def trades_metal_or_stock(self, symbol: str) -> bool:
        """Whether the contract follows a stock or metal (other funding caps apply)."""
        return bool(self._rows[symbol]["contractType"] == "TRADIFI_PERPETUAL")


def _live_row(row: dict[str, Any], instrument: Instrument) -> dict[str, Any]:
    live = {
        "PRICE_FILTER": {
            "tickSize": instrument.tick,
            "minPrice": instrument.min_price,
            "maxPrice": instrument.max_price,
        },
        "LOT_SIZE": {"stepSize": instrument.step, "minQty": instrument.min_qty, "maxQty": instrument.max_qty},
        "MARKET_LOT_SIZE": {
            "stepSize": instrument.market_step,
            "minQty": instrument.market_min_qty,
            "maxQty": instrument.market_max_qty,
        },
        "MIN_NOTIONAL": {"notional": instrument.min_notional},
    }
    filters = [_live_filter(entry, live.get(entry["filterType"], {})) for entry in row["filters"]]
    return {**row, "status": STATUS[instrument.status], "filters": filters}


def _live_filter(entry: dict[str, Any], values: dict[str, Decimal]) -> dict[str, Any]:
    changed = {key: stripped(value) for key, value in values.items() if Decimal(entry[key]) != value}
    return {**entry, **changed}
