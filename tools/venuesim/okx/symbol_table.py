"""One façade's view of its contracts: the venue's rows joined with the engine's live instruments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import Bracket, Instrument, SymbolStatus
from tools.venuesim.okx import symbols
from tools.venuesim.okx.formats import Row, short

STATUS = {
    SymbolStatus.TRADING: "live",
    SymbolStatus.PENDING: "preopen",
    SymbolStatus.HALTED: "suspend",
    SymbolStatus.SETTLING: "suspend",
    SymbolStatus.CLOSED: "expired",
}
MAKER_FEE = Decimal("0.0002")
TAKER_FEE = Decimal("0.0005")
_BAND = {"BTC": Decimal("0.02"), "ETH": Decimal("0.02")}
_OTHER_BAND = Decimal("0.05")
_PRICES = 1_000
"""The highest price in multiples of the reference price; the venue itself sets none but the band."""
_NUMBERED_HOURS = 4


def instruments(count: int, seed: int) -> list[Instrument]:
    """``count`` instruments for the engine, quantities in base units."""
    return [_instrument(listing) for listing in symbols.listings(count, seed)]


def _instrument(listing: symbols.Listing) -> Instrument:
    row = listing.row
    contract = Decimal(row["ctVal"]) * Decimal(row["ctMult"])
    step, least = Decimal(row["lotSz"]) * contract, Decimal(row["minSz"]) * contract
    tick, band = Decimal(row["tickSz"]), _BAND.get(row["ctValCcy"], _OTHER_BAND)
    return Instrument(
        symbol=row["instId"],
        base=row["ctValCcy"],
        quote=row["settleCcy"],
        settle=row["settleCcy"],
        tick=tick,
        min_price=tick,
        max_price=listing.reference * _PRICES // tick * tick,
        step=step,
        min_qty=least,
        max_qty=Decimal(row["maxLmtSz"]) * contract,
        market_step=step,
        market_min_qty=least,
        market_max_qty=Decimal(row["maxMktSz"]) * contract,
        min_notional=Decimal(0),
        band_up=1 + band,
        band_down=1 - band,
        brackets=_brackets(row, listing.reference),
        reference=listing.reference,
        contract_size=contract,
        market_bound=band,
        maker_fee=MAKER_FEE,
        taker_fee=TAKER_FEE,
        funding_hours=_NUMBERED_HOURS if row["ctValCcy"].startswith("SIM") else 8,
        generated=listing.generated,
    )


def _brackets(row: Row, reference: Decimal) -> tuple[Bracket, ...]:
    contract = Decimal(row["ctVal"]) * Decimal(row["ctMult"]) * reference
    rows, floor = [], Decimal(0)
    for tier in symbols.tiers(row, reference):
        cap = tier.ceiling * contract
        rows.append(Bracket(leverage=tier.leverage, floor=floor, cap=cap, rate=tier.maintenance, cum=Decimal(0)))
        floor = cap
    return tuple(rows)


class SymbolTable:
    """Rows with the state and the steps that the engine really applies; sizes in contracts."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        count = len(exchange.instruments())
        self._rows = {listing.row["instId"]: listing.row for listing in symbols.listings(count, seed)}
        self._codes: dict[int, str] = {row["instIdCode"]: name for name, row in self._rows.items()}
        self._live: dict[str, tuple[Instrument, Row]] = {}

    def wire_row(self, symbol: str) -> Row:
        """One row of instruments. Raises ``Refused(UNKNOWN_SYMBOL)``."""
        instrument = self._exchange.instrument(symbol)
        known = self._live.get(symbol)
        if known is None or known[0] is not instrument:
            known = self._live[symbol] = (instrument, _live_row(self._rows[symbol], instrument))
        return known[1]

    def knows(self, symbol: str) -> bool:
        """Whether there is such a contract."""
        return symbol in self._rows

    def by_code(self, code: int) -> str | None:
        """The instId of an instIdCode."""
        return self._codes.get(code)

    def code_of(self, symbol: str) -> int:
        """The instIdCode of a contract."""
        code: int = self._rows[symbol]["instIdCode"]
        return code

    def family(self, symbol: str) -> str:
        """The instFamily of a contract."""
        return str(self._rows[symbol]["instFamily"])

    def of_family(self, family: str) -> str | None:
        """The contract of an instFamily, or of an underlying, which is called the same."""
        symbol = f"{family}-SWAP"
        return symbol if symbol in self._rows else None

    def contracts(self, symbol: str, qty: Decimal) -> Decimal:
        """Base units as contracts; signs stay."""
        return qty / self._exchange.instrument(symbol).contract_size

    def base(self, symbol: str, contracts: Decimal) -> Decimal:
        """Contracts as base units."""
        return contracts * self._exchange.instrument(symbol).contract_size

    def size(self, symbol: str, qty: Decimal) -> str:
        """Base units printed as contracts."""
        return short(self.contracts(symbol, qty))

    def tier_rows(self, instrument: Instrument) -> list[Row]:
        """The rows of position-tiers, the lowest first, sizes in contracts."""
        family = self.family(instrument.symbol)
        contract = instrument.contract_size * instrument.reference
        return [
            {
                "baseMaxLoan": "",
                "imr": short((1 / Decimal(row.leverage)).quantize(Decimal("0.0001"))),
                "instFamily": family,
                "instId": "",
                "maxLever": str(row.leverage),
                "maxSz": short(row.cap / contract),
                "minSz": short(row.floor / contract),
                "mmr": short(row.rate),
                "optMgnFactor": "0",
                "quoteMaxLoan": "",
                "tier": str(number),
                "uly": family,
            }
            for number, row in enumerate(instrument.brackets, start=1)
        ]


def _live_row(row: Row, instrument: Instrument) -> dict[str, Any]:
    contract = instrument.contract_size
    values = {
        "tickSz": instrument.tick,
        "lotSz": instrument.step / contract,
        "minSz": instrument.min_qty / contract,
        "maxLmtSz": instrument.max_qty / contract,
        "maxMktSz": instrument.market_max_qty / contract,
    }
    changed = {name: short(value) for name, value in values.items() if Decimal(row[name]) != value}
    return {**row, **changed, "state": STATUS[instrument.status], "lever": str(instrument.max_leverage)}
