"""The decoders of the three venues' private frames, outside their connections: the daemon's own, with instruments of
invented names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec import Struct

from core.domain.ids import Leg
from core.domain.instrument import Instrument
from core.domain.reports import Report
from core.venues.binance.user_feed import UserFrames as BinanceFrames
from core.venues.bybit.account import fresh_account
from core.venues.bybit.user_feed import UserFrames as BybitFrames
from core.venues.okx.contracts import Contract, ContractTable, Listed
from core.venues.okx.margin import MarginBook
from core.venues.okx.user_feed import UserFrames as OkxFrames
from core.venues.private_session import Pictured
from core.venues.symbols import SymbolTable
from tools.bench.frames import Life


class Reader(Struct, frozen=True):
    """`decode`: a frame to reports. `expect`: what the client notes when the orders of a life are sent."""

    decode: Callable[[bytes], Sequence[Report]]
    expect: Callable[[Life], None] = lambda _life: None


def binance(table: SymbolTable) -> Reader:
    frames = BinanceFrames(table)
    return Reader(lambda frame: frames.decode(frame) or ())


def bybit(instruments: Sequence[Instrument]) -> Reader:
    account = fresh_account()
    account.symbols.replace(instruments)
    account.modes.learn(hedge=False)
    frames = BybitFrames(account)

    def expect(life: Life) -> None:
        for intent in life.intents:
            if intent.leg is Leg.STOP:
                account.stops.expect(intent, 0)

    def decode(frame: bytes) -> Sequence[Report]:
        told = frames.decode(frame)
        return told if isinstance(told, Sequence) else ()

    return Reader(decode, expect)


def okx(instruments: Sequence[Instrument], contract_size: Decimal) -> Reader:
    table = ContractTable()
    table.take(Listed(instrument=i, contract=_contract(i, contract_size)) for i in instruments)
    frames = OkxFrames(table, MarginBook())

    def decode(frame: bytes) -> Sequence[Report]:
        told = frames.decode(frame)
        if isinstance(told, Pictured):
            return told.reports
        return told if isinstance(told, Sequence) else ()

    return Reader(decode)


def _contract(instrument: Instrument, size: Decimal) -> Contract:
    name = instrument.venue_symbol
    return Contract(instrument=instrument.id, inst_id=name, size=size, code=None, family=name.removesuffix("-SWAP"))
