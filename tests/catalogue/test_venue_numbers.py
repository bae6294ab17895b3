"""Limits, free balances and contracts as venues tell them, after docs/FAILURES.md (VAL-06, VAL-07, VAL-22)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.domain.instrument import Bracket, Instrument
from core.domain.liquidity import liquidity
from core.domain.money import Price
from core.domain.reports import BalanceReport, Source
from core.domain.signal import Side
from core.domain.verdict import Reason
from core.domain.wave import LegState
from core.engine.ports import Level
from core.engine.refusal_watch import IN_A_ROW, RefusalWatch
from core.errors import MalformedPayload
from core.venues.binance import instruments as at_binance
from core.venues.binance.parse import balance_reports as of_binance
from core.venues.binance.payloads import AccountRow as BinanceAccount
from core.venues.binance.payloads import BracketRow
from core.venues.bybit import instruments as at_bybit
from core.venues.bybit.payloads import TierRow as BybitTier
from core.venues.bybit.payloads import WalletRow
from core.venues.bybit.wallet import Wallets
from core.venues.ccxt_loading import exchange_class
from core.venues.okx import instruments as at_okx
from core.venues.okx.payloads import AccountRow as OkxAccount
from core.venues.okx.payloads import TierRow as OkxTier
from core.venues.okx.wallet import balance_reports as of_okx
from core.venues.payload import shaped
from tests.builders import (
    a_filter,
    a_signal,
    an_activity,
    an_instrument,
    an_instrument_id,
    liquidity_rules,
    screening_rules,
)
from tests.engine.bench import a_bench
from tests.scenarios.worlds import SimulatedWorld
from tests.scenarios.worlds import a_signal as a_told_signal
from tests.venues.rigs import VENUES, a_venue_rig, sent

pytestmark = pytest.mark.may_block("simulation runs storage inline, fixtures are read")

BINANCE, BYBIT, OKX = VenueName.BINANCE, VenueName.BYBIT, VenueName.OKX
FOLDERS = {BINANCE: "binance_usdm", BYBIT: "bybit_linear", OKX: "okx_swap"}


@pytest.fixture
def fixture(shared: Path) -> Callable[[VenueName, str], Any]:
    def read(venue: VenueName, name: str) -> Any:
        return json.loads((shared / "venues/fixtures" / FOLDERS[venue] / f"{name}.json").read_text("utf-8"))

    return read


Fixture = Callable[[VenueName, str], Any]


# --- VAL-06: limits that are none -------------------------------------------------------------------------------------


def _parser(name: str) -> Callable[[Any], Any]:
    exchange = exchange_class(name)({})
    exchange.number = str
    return exchange.parse_market  # type: ignore[no-any-return]


def _binance(fixture: Fixture, limit: Any) -> Instrument:
    rules = fixture(BINANCE, "rest_exchangeInfo_simulator_subset.composed")
    row = next(row for row in rules["symbols"] if row["symbol"] == "BTCUSDT")
    for one in row["filters"]:
        if one["filterType"] in ("LOT_SIZE", "MARKET_LOT_SIZE"):
            one["maxQty"] = limit
    found = at_binance.listing({"symbols": [row]}, [], _parser("binanceusdm"), {})
    return found.usable[0]


def _bybit(fixture: Fixture, limit: Any) -> Instrument:
    row = fixture(BYBIT, "instruments_info")["result"]["list"][0]
    row["lotSizeFilter"] |= {"maxOrderQty": limit, "maxMktOrderQty": limit}
    return at_bybit.listing([row], {}, {}).usable[0]


def _okx(fixture: Fixture, limit: Any) -> Instrument:
    document = fixture(OKX, "instruments_swap")
    row = next(row for row in document["data"] if row["instId"] == "BTC-USDT-SWAP")
    row |= {"maxLmtSz": limit, "maxMktSz": limit, "maxStopSz": limit}
    return at_okx.listing({"data": [row]}, _parser("okx"), {}).usable[0].instrument


LISTINGS = {BINANCE: _binance, BYBIT: _bybit, OKX: _okx}


@pytest.mark.failure("VAL-06", "INV-9")
@pytest.mark.parametrize("limit", ["", "0", "0.00", "INF", "inf"])
@pytest.mark.parametrize("venue", VENUES)
def test_a_limit_of_nothing_zero_or_infinity_is_no_limit(venue: VenueName, limit: str, fixture: Fixture) -> None:
    """Read as a number it would allow nothing: every signal of the venue would be refused."""
    instrument = LISTINGS[venue](fixture, limit)
    assert instrument.market_lot.maximum > 10**15
    assert instrument.lot.maximum > 10**15


@pytest.mark.failure("VAL-06", "INV-9")
@pytest.mark.parametrize("venue", VENUES)
def test_a_limit_that_is_one_counts_and_one_that_cannot_be_costs_the_symbol(venue: VenueName, fixture: Fixture) -> None:
    assert LISTINGS[venue](fixture, "12").market_lot.maximum in {12, Decimal("0.12")}
    for nonsense in ("-1", "many", "NaN"):
        with pytest.raises((MalformedPayload, IndexError)):
            LISTINGS[venue](fixture, nonsense)


@pytest.mark.failure("VAL-06", "INV-9")
@pytest.mark.parametrize("limit", ["", "0", "INF"])
def test_a_tier_without_a_ceiling_is_the_last_and_has_none(limit: str, fixture: Fixture) -> None:
    def largest(brackets: Sequence[Bracket]) -> tuple[bool, int]:
        return brackets[-1].most_notional > 10**15, brackets[-1].max_leverage

    row = {"bracket": 1, "initialLeverage": 50, "notionalCap": 1000}
    told = msgspec.convert({"symbol": "BTCUSDT", "brackets": [row, row | {"initialLeverage": 5}]}, BracketRow)
    assert [b.most_notional for b in at_binance.brackets_of([told])["BTCUSDT"]] == [1000, 1000]
    tiers = [
        BybitTier(symbol="BTCUSDT", riskLimitValue=most, maxLeverage=times)
        for most, times in ((limit, "5"), ("900", "50"))
    ]
    assert largest(at_bybit.brackets_of(tiers)["BTCUSDT"]) == (True, 5)
    document = fixture(OKX, "position_tiers")["data"][0]
    listed = at_okx.listing(
        {"data": [r for r in fixture(OKX, "instruments_swap")["data"] if r["instId"] == "BTC-USDT-SWAP"]},
        _parser("okx"),
        {},
    ).usable
    family = {"instFamily": "BTC-USDT", "uly": "BTC-USDT"}
    rows = [
        shaped(document | family | {"maxSz": most, "maxLever": times}, OkxTier, "tier")
        for most, times in ((limit, "5"), ("900", "50"))
    ]
    (bracketed,) = at_okx.with_tiers(listed, rows, {"BTC-USDT-SWAP": Decimal(100)})
    assert largest(bracketed.instrument.brackets) == (True, 5)


@pytest.mark.failure("VAL-06", "INV-9")
@pytest.mark.parametrize("venue", VENUES)
async def test_open_interest_has_its_value_by_the_price(venue: VenueName) -> None:
    """The value field is absent, empty or null on some venues: it is never read, coins and price are."""
    async with a_venue_rig(venue) as rig:
        seen: list[str] = []
        request = rig.tap._inner.request

        async def without_values(method: str, url: str, headers: Any, body: bytes | None = None) -> Any:
            answer = await request(method, url, headers, body)
            document = json.loads(answer.body)
            seen.append(url)
            _blank(document, {"openInterestValue", "oiUsd", "sumOpenInterestValue"})
            return replace(answer, body=json.dumps(document).encode())

        rig.tap._inner.request = without_values  # type: ignore[method-assign]
        coins = await rig.connection.reads.open_interest(rig.btc.symbol)
        assert seen
        rules = liquidity_rules(open_interest=a_filter("SIGNAL_MIN_OPEN_INTEREST_USDT", 1))
        mark = Price(rig.mark())
        gate = liquidity(Side.BUY, mark, None, an_activity(open_interest=coins), rules)[0]
        assert coins > 0
        assert (gate.name, gate.passed, gate.value) == ("open_interest", True, str(round(coins * mark, 2)))


def _blank(document: Any, names: set[str]) -> None:
    """Every field of these names is null from now on, wherever it stands."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in names:
                document[name] = None
            else:
                _blank(value, names)
    elif isinstance(document, list):
        for row in document:
            _blank(row, names)


@pytest.mark.failure("VAL-06", "INV-9")
@pytest.mark.parametrize("venue", VENUES)
async def test_one_filter_that_refuses_the_last_twenty_of_a_venue_alerts(venue: VenueName) -> None:
    coins = [an_instrument_id(f"C{n:02}/USDT:USDT", venue) for n in range(IN_A_ROW)]

    async with a_bench(
        instruments=[an_instrument(coin) for coin in coins], screening=screening_rules(min_score=50)
    ) as bench:
        bench.waves.on_report(RefusalWatch(bench.notifier).on_report)
        await bench.wave(*(a_signal(f"s{n}", instrument=coin, score=1) for n, coin in enumerate(coins)))
        told = [text for level, text in bench.notifier.messages if level is Level.CRITICAL and "refused by" in text]
        (alert,) = told
        assert alert.startswith(f"{venue}: its last 20 signals were all refused by the filter score")


# --- VAL-07: what is free ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wallet:
    """`told` reads one account answer; `fields` are what it tells of what is free, at any depth."""

    file: str
    rows: Callable[[Any], Any]
    told: Callable[[Any], Sequence[BalanceReport]]
    free: Decimal
    wallet: Decimal


def _of_bybit(row: Any) -> Sequence[BalanceReport]:
    return Wallets().read([shaped(row, WalletRow, "wallet")], 1)


def _isolated(row: Any) -> Any:
    """The venue's totals are empty texts there; the coins tell what is tied."""
    row["totalAvailableBalance"] = ""
    for coin in row["coin"]:
        coin |= {"totalPositionIM": "70", "totalOrderIM": "30"}
    return row


WALLETS: Mapping[str, tuple[VenueName, Wallet]] = {
    "binance": (
        BINANCE,
        Wallet(
            "rest_account_v3.doc",
            lambda document: document.get("body", document),
            lambda row: of_binance(shaped(row, BinanceAccount, "account"), Source.REST),
            free=Decimal("23.72469206"),
            wallet=Decimal("23.72469206"),
        ),
    ),
    "okx, one coin's margin": (
        OKX,
        Wallet(
            "account_balance_captured",
            lambda document: document["data"][0],
            lambda row: of_okx(shaped(row, OkxAccount, "account"), Source.REST, complete=True),
            free=Decimal("94.42612990333333"),
            wallet=Decimal("94.42612990333333"),
        ),
    ),
    "okx, margin of all coins": (
        OKX,
        Wallet(
            "account_balance",
            lambda document: document["data"][0],
            lambda row: of_okx(shaped(row, OkxAccount, "account"), Source.REST, complete=True),
            free=Decimal("4834.3170936228935"),
            wallet=Decimal("4850.435693622894"),
        ),
    ),
    "bybit": (
        BYBIT,
        Wallet(
            "wallet_balance_naut",
            lambda document: document["result"]["list"][0],
            _of_bybit,
            free=Decimal("3.00326056"),
            wallet=Decimal("1000.50"),
        ),
    ),
    "bybit, isolated": (
        BYBIT,
        Wallet(
            "wallet_balance_naut",
            lambda document: _isolated(document["result"]["list"][0]),
            _of_bybit,
            free=Decimal("900.50"),
            wallet=Decimal("1000.50"),
        ),
    ),
}
FREE_FIELDS = {
    BINANCE: {"availableBalance"},
    BYBIT: {"totalAvailableBalance", "totalPositionIM", "totalOrderIM", "availableToWithdraw"},
    OKX: {"availEq", "availBal", "adjEq", "imr"},
}


def usdt(reports: Sequence[BalanceReport]) -> BalanceReport:
    (report,) = [report for report in reports if str(report.asset) == "USDT"]
    return report


@pytest.mark.failure("VAL-07")
@pytest.mark.parametrize("name", WALLETS)
def test_what_is_free_follows_the_venues_own_formula(name: str, fixture: Fixture) -> None:
    venue, case = WALLETS[name]
    told = usdt(case.told(case.rows(fixture(venue, case.file))))
    assert (told.wallet, told.available, told.unusable) == (case.wallet, case.free, False)


@pytest.mark.failure("VAL-07")
@pytest.mark.parametrize("name", WALLETS)
def test_without_a_usable_figure_it_is_unknown_and_neither_zero_nor_the_gross(name: str, fixture: Fixture) -> None:
    venue, case = WALLETS[name]
    row = case.rows(fixture(venue, case.file))
    _empty(row, FREE_FIELDS[venue])
    try:
        told = usdt(case.told(row))
    except MalformedPayload:
        return  # the whole reading is refused: nothing is known from it
    assert (told.available, told.unusable) == (None, True)


def _empty(document: Any, names: set[str]) -> None:
    if isinstance(document, dict):
        for name, value in document.items():
            if name in names:
                document[name] = ""
            else:
                _empty(value, names)
    elif isinstance(document, list):
        for row in document:
            _empty(row, names)


@pytest.mark.failure("VAL-07")
@pytest.mark.parametrize("venue", VENUES)
async def test_a_venue_whose_figures_tell_nothing_gets_no_entry(tmp_path: Path, venue: VenueName) -> None:
    """Its wallet is full, and the daemon says so; the others trade."""

    def without_figures(asked: str, document: Any) -> Any:
        if any(part in asked for part in ("/account", "wallet-balance")):
            _empty(document, FREE_FIELDS[venue])
        return document

    async with SimulatedWorld(tmp_path, VENUES) as world:
        wave = [a_told_signal("BTCUSDT", id=str(name), exchange=name) for name in VENUES]
        await world.play({"at_ms": 20_000, "signals": wave})
        daemon = world.daemon()
        daemon.tamper(without_figures, venue)
        daemon.begin()
        await daemon.ready()
        report = await daemon.wave()
        for leg in report.legs:
            if leg.signal.instrument.venue is venue:
                assert leg.denied is not None
                assert leg.denied.reason in {Reason.BALANCE_UNKNOWN, Reason.VENUE_MISSING}
            else:
                assert leg.state is LegState.PROTECTED
        assert not await world.sent("order", venue=venue)
        await daemon.stop()


# --- VAL-22: contracts ------------------------------------------------------------------------------------------------

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA")
TARGET = Decimal(500)


@pytest.mark.failure("VAL-22")
async def test_the_same_notional_is_the_same_exposure_on_every_venue_within_a_step(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        wave = [
            a_told_signal(f"{coin}USDT", id=f"{venue}-{coin}", exchange=venue) for venue in VENUES for coin in COINS
        ]
        await world.play({"at_ms": 4_000, "signals": wave})
        async with world.running(POSITION_SIZE_USD=TARGET) as daemon:
            report = await daemon.wave()
            assert {leg.state for leg in report.legs} == {LegState.PROTECTED}
            for venue in VENUES:
                for row in (await world.ask("state", venue))["positions"]:
                    instrument = _listed(daemon, venue, row["symbol"])
                    quote = world.venues[venue].simulation.engine.quote(row["symbol"])
                    held, price = Decimal(row["qty"]), Decimal(row["entry"])
                    step = instrument.market_lot.step
                    assert abs(held * price - TARGET) <= step * price + TARGET / 100, (venue, row, quote.mark)
                    assert held % step == 0


def _listed(daemon: Any, venue: VenueName, symbol: str) -> Instrument:
    clients = daemon.orchestrator.queries._orders._clients
    (found,) = [i for i in clients[venue].instruments.values() if i.venue_symbol == symbol]
    return found  # type: ignore[no-any-return]


@pytest.mark.failure("VAL-22")
@pytest.mark.parametrize("venue", VENUES)
async def test_what_leaves_is_what_was_meant_for_every_swap(venue: VenueName) -> None:
    """Base units in, the venue's own unit on the wire, and the venue holds the base units."""
    fields = {BINANCE: "quantity", BYBIT: "qty", OKX: "sz"}
    async with a_venue_rig(venue) as rig:
        engine = rig.venue.simulation.engine
        for coin in COINS:
            instrument = rig.client.instruments[Symbol(f"{coin}/USDT:USDT")]
            price = engine.quote(instrument.venue_symbol).mark
            step = instrument.market_lot.step
            size = (TARGET / price / step).to_integral_value(ROUND_FLOOR) * step
            entry = replace(rig.entry(size=str(size), name=coin), instrument=InstrumentId(venue, instrument.id.symbol))
            rig.tap.asked.clear()
            await rig.taken(entry)
            (said,) = [sent(asked) for asked in rig.tap.asked if asked.method == "POST"]
            (row,) = [r for r in (await rig.venue.ask("state"))["positions"] if r["symbol"] == instrument.venue_symbol]
            assert Decimal(row["qty"]) == size
            (told,) = [p for p in await rig.client.positions() if p.instrument == instrument.id and p.quantity]
            assert told.quantity == size
            per_unit = size / Decimal(said[fields[venue]])
            assert (per_unit == 1) or venue is OKX, "coins"
            if venue is OKX:
                assert per_unit in {Decimal(10) ** n for n in range(-3, 5)}, "the worth of a contract"
