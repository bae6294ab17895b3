"""The contract of `VenueClient.income`: every venue's client against its simulator, and the venues' own payloads."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.ids import Asset, InstrumentId, Symbol, VenueName
from core.domain.ledger import Income, IncomeKind
from core.errors import MalformedPayload, VenueError
from core.venues.binance import income as binance
from core.venues.binance.payloads import IncomeRow
from core.venues.bybit import income as bybit
from core.venues.bybit.payloads import TransactionRow
from core.venues.okx import income as okx
from core.venues.okx.contracts import ContractTable
from core.venues.okx.payloads import BillRow
from core.venues.symbols import SymbolTable
from tests.venues.rigs import VENUES, VenueRig, a_venue_rig, settled

USDT = Asset("USDT")
K = IncomeKind


@pytest.fixture(params=VENUES, ids=str)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[VenueRig]:
    async with a_venue_rig(request.param) as made:
        await settled()  # the account was opened with a transfer, at the very first moment
        yield made


def pay_funding(rig: VenueRig) -> None:
    """Now, whatever the hour is."""
    rig.venue.catch_up()
    rig.venue.simulation.engine.pay_funding(0)
    rig.venue.arm()


def of(kind: IncomeKind, lines: list[Income]) -> list[Income]:
    return [line for line in lines if line.kind is kind]


async def test_every_change_of_the_wallet_is_listed_by_its_kind(rig: VenueRig) -> None:
    since = rig.clock.now_ms()
    (before,) = [r.wallet for r in await rig.client.balances() if r.asset == USDT]
    await rig.taken(rig.entry())
    pay_funding(rig)
    await rig.taken(rig.close())
    await rig.venue.tell("account", asset="USDT", wallet="12345.5")
    lines = list(await rig.client.income(since))
    (after,) = [r.wallet for r in await rig.client.balances() if r.asset == USDT]

    assert sum((line.amount for line in lines if line.asset == USDT), Decimal(0)) == after - before
    fills = list(await rig.client.fills(rig.btc, since))
    assert [-fill.fee for fill in fills] == [line.amount for line in of(K.FEE, lines)]
    assert [fill.trade_id for fill in fills] == [line.trade_id for line in of(K.FEE, lines)]
    profits = of(K.PROFIT, lines)
    bought, sold = fills
    assert [line.amount for line in profits] == [(sold.price - bought.price) * sold.quantity]
    assert [line.trade_id for line in profits] == [sold.trade_id]
    (funding,) = of(K.FUNDING, lines)
    assert (funding.symbol, funding.trade) == (rig.btc.symbol, None)
    (transfer,) = of(K.TRANSFER, lines)
    assert (transfer.symbol, transfer.asset) == (None, USDT)
    assert len({line.id for line in lines}) == len(lines)
    assert [line.venue_time_ms for line in lines] == sorted(line.venue_time_ms for line in lines)


async def test_more_lines_than_one_page_are_all_read_once(rig: VenueRig) -> None:
    since = rig.clock.now_ms()
    for number in range(130):
        await rig.venue.tell("account", asset="USDT", wallet=str(10_001 + number))
        await rig.venue.tell("clock", advance_ms=1)
    lines = await rig.client.income(since)
    assert [line.amount for line in lines] == [Decimal(1)] * 130
    assert len({line.id for line in lines}) == 130


async def test_a_history_of_more_than_a_week_is_read_window_by_window(rig: VenueRig) -> None:
    since = rig.clock.now_ms()
    await rig.venue.tell("account", asset="USDT", wallet="10001")
    await rig.venue.tell("clock", advance_ms=8 * 24 * 3_600_000)
    await rig.client.measure_clock()
    await rig.venue.tell("account", asset="USDT", wallet="10002")
    assert [line.amount for line in await rig.client.income(since)] == [Decimal(1), Decimal(1)]


async def test_a_history_that_cannot_be_read_raises_and_is_never_empty(rig: VenueRig) -> None:
    paths = {VenueName.BINANCE: "/fapi/v1/income", VenueName.BYBIT: "/v5/account/transaction-log"}
    path = paths.get(rig.name, "/api/v5/account/bills")
    await rig.venue.tell("fault", kind="http_error", status=500, match={"path": path}, count=-1)
    with pytest.raises(VenueError):
        await rig.client.income(rig.clock.now_ms())


# --- the venues' own payloads -----------------------------------------------------------------------------------------


class EverySymbol(SymbolTable):
    """Knows whatever is asked for."""

    def __init__(self, venue: VenueName) -> None:
        super().__init__()
        self._venue = venue

    def unified(self, venue_symbol: str) -> InstrumentId | None:
        return InstrumentId(self._venue, Symbol(f"{venue_symbol.removesuffix('USDT')}/USDT:USDT"))


def payload(shared: Path, *names: str) -> Any:
    return json.loads(shared.joinpath("venues", "fixtures", *names).read_text(encoding="utf-8"))


async def test_binance_lists_a_transfer_as_its_documents_show(shared: Path) -> None:
    rows = msgspec.convert(payload(shared, "binance_usdm", "rest_income.doc.json"), list[IncomeRow])

    async def ask(_: dict[str, str]) -> list[IncomeRow]:
        return rows

    at = rows[0].time
    (line,) = await binance.history(ask, EverySymbol(VenueName.BINANCE), at, at)
    assert (line.kind, line.amount, line.asset) == (K.TRANSFER, Decimal("-0.375"), USDT)
    assert (line.id, line.symbol, line.trade_id) == ("9689322392/TRANSFER", None, None)


async def test_a_page_of_binance_that_does_not_lead_on_is_an_error_and_no_endless_question() -> None:
    row = IncomeRow(incomeType="FUNDING_FEE", income="1", asset="USDT", time=5, tranId=1)

    async def ask(_: dict[str, str]) -> list[IncomeRow]:
        return [row] * binance.PAGE

    with pytest.raises(MalformedPayload, match="in one millisecond"):
        await binance.history(ask, EverySymbol(VenueName.BINANCE), 5, 10)


def test_bybit_lists_funding_and_fees_as_its_documents_show(shared: Path) -> None:
    rows = payload(shared, "bybit_linear", "transaction_log.json")["result"]["list"]
    told = [bybit.lines(row, EverySymbol(VenueName.BYBIT)) for row in msgspec.convert(rows, list[TransactionRow])]
    flat = [line for lines in told for line in lines]
    assert [(line.kind, line.amount) for line in flat] == [
        (K.FUNDING, Decimal("-0.003676")),
        (K.FEE, Decimal("-0.0190872")),
        (K.FEE, Decimal("-0.0026028")),
    ]
    assert len({line.id for line in flat}) == 3, "rows of one order share the venue's id"
    changes = [sum((line.amount for line in lines), Decimal(0)) for lines in told]
    assert changes == [Decimal(row["change"]) for row in rows]


def test_bybit_pays_contracts_in_usdc_out_early_and_tells_that_apart() -> None:
    row = TransactionRow(
        id="1", type="SETTLEMENT", currency="USDC", change="4.9", transactionTime="7", symbol="BTCPERP",
        category="linear", cashFlow="5", funding="-0.1", fee="0",
    )  # fmt: skip
    lines = bybit.lines(row, EverySymbol(VenueName.BYBIT))
    assert [(line.kind, line.amount) for line in lines] == [(K.SETTLED, Decimal(5)), (K.FUNDING, Decimal("-0.1"))]


def test_okx_takes_what_is_no_swap_as_a_whole_as_its_documents_show(shared: Path) -> None:
    (row,) = msgspec.convert(payload(shared, "okx_swap", "account_bills.json")["data"], list[BillRow])
    (line,) = okx.lines(row, ContractTable())
    assert (line.kind, line.amount, line.trade) == (K.OTHER, Decimal("0.0219338232210000"), None)
