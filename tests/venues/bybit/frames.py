"""Payloads of the fixtures, and what the private stream makes of them."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.order import OrderStatus
from core.domain.reports import (
    Report,
)
from core.venues.bybit.account import Account
from core.venues.bybit.modes import PositionModes
from core.venues.bybit.payloads import (
    Answer,
    Head,
)
from core.venues.bybit.position_stops import PositionStops
from core.venues.bybit.user_feed import UserFrames
from core.venues.bybit.wallet import Wallets
from core.venues.payload import shaped
from core.venues.symbols import SymbolTable

_T = TypeVar("_T")
S = OrderStatus


class EverySymbol(SymbolTable):
    """Knows whatever is asked for, so that no capture is skipped."""

    def unified(self, venue_symbol: str) -> InstrumentId | None:
        base = venue_symbol.removesuffix("USDT")
        return InstrumentId(VenueName.BYBIT, Symbol(f"{base}/USDT:USDT"))


def an_account(*, hedge: bool = False) -> Account:
    modes = PositionModes()
    modes.learn(hedge=hedge)
    return Account(symbols=EverySymbol(), modes=modes, stops=PositionStops(modes), wallets=Wallets())


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"), parse_float=Decimal)


def result(folder: Path, name: str, shape: type[_T]) -> _T:
    return shaped(load(folder, name), Answer[shape], name).result  # type: ignore[valid-type]


def pushed(folder: Path, name: str, of: Account | None = None, **changes: Any) -> Sequence[Report]:
    """What the private stream makes of a frame, with fields of its rows changed."""
    document = load(folder, name)
    document["data"] = [row | changes for row in document["data"]]
    reports = UserFrames(of or an_account()).decode(json.dumps(document, default=str).encode())
    assert not isinstance(reports, Head | None), reports
    return reports


def one(reports: Sequence[Report], kind: type[_T]) -> _T:
    (report,) = (report for report in reports if isinstance(report, kind))
    return report
