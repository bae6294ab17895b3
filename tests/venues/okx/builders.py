"""Contract tables for tests: any swap whose name is asked for, sized as the venue sizes it."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.venues.ccxt_loading import exchange_class
from core.venues.okx.contracts import Contract, ContractTable, Listed
from tests.builders import an_instrument

SIZES: Mapping[str, str] = {"BTC": "0.01", "ETH": "0.1", "SOL": "1", "XRP": "100", "DOGE": "1000", "PEPE": "10000000"}
NAMES = (
    "BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP", "TRB-USDT-SWAP", "BTC-USDT", "BTC-USDC", "ETH-USDT",
    "ETH-USD-210430", "BTC-USD-191018", "BTC-USD-200925", "LTC-USDT", "LTC-USD-SWAP",
)  # fmt: skip
"""Those of the fixtures, spot and delivery contracts too, so that no capture is skipped."""

_ccxt: Any = exchange_class("okx")({"enableRateLimit": False})
_ccxt.number = str


def parse_market(row: Any) -> Mapping[str, Any] | None:
    return _ccxt.parse_market(row)  # type: ignore[no-any-return]


def a_contract(inst_id: str = "BTC-USDT-SWAP", size: str | None = None) -> Contract:
    base, quote, *kind = inst_id.split("-")
    symbol = f"{base}/{quote}:{quote}" + ("" if kind == ["SWAP"] else f"-{'-'.join(kind) or 'SPOT'}")
    return Contract(
        instrument=InstrumentId(VenueName.OKX, Symbol(symbol)),
        inst_id=inst_id,
        size=Decimal(SIZES.get(base, "1") if size is None else size),
        code=10459,
        family=f"{base}-{quote}",
    )


def every_contract(names: Iterable[str] = NAMES) -> ContractTable:
    table = ContractTable()
    table.take(_listed(a_contract(name)) for name in names)
    return table


def _listed(contract: Contract) -> Listed:
    instrument = replace(an_instrument(contract.instrument), venue_symbol=contract.inst_id)
    return Listed(instrument=instrument, contract=contract)
