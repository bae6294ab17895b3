"""Validation, as docs/FAILURES.md demands it (VAL): symbols, numbers as text, leverage, size, prices, the stop-list."""

import ast
import asyncio
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.domain.ids import Leg, Symbol
from core.domain.order import OrderType
from core.domain.symbols import SymbolIndex
from core.domain.verdict import Reason
from core.domain.wave import LegState, WaveReport
from core.engine.ports import Departure, MarginMode
from core.errors import ConfigError
from core.status.line import status_line
from core.transport import HttpResponse
from core.venues.binance.instruments import Listing, instruments_of, listing
from core.venues.binance.market_feed import MarkRoute, TouchRoute
from core.venues.ccxt_loading import exchange_class
from core.venues.symbols import SymbolTable
from tests.builders import BTC, an_instrument, an_instrument_id, risk_limits
from tests.builders import a_signal as a_read_signal
from tests.builders_config import some_settings
from tests.engine.bench import a_bench, wave_rules
from tests.fakes.sim_transport import SimHttp, SimSocket
from tests.scenarios.log_lines import LogLines
from tests.scenarios.owner import the_owner
from tests.scenarios.worlds import SimulatedWorld, World, a_signal, a_wave
from tests.venues.binance_rig import a_rig, an_order_intent, answer
from tgbot.commands.state import positions, status_page
from tgbot.roles import Role
from tools import why

pytestmark = pytest.mark.may_block("simulation runs storage inline")

LISTINGS = (
    "rest_exchangeInfo.recorded.json",
    "rest_exchangeInfo_simulator_subset.composed.json",
    "rest_exchangeInfo_symbols_2023.derived.json",
)
"""What venues with an adapter list."""


# VAL-03, VAL-04: symbols


def _read(rules: dict[str, Any]) -> Listing:
    ccxt = exchange_class("binanceusdm")({})
    ccxt.number = str
    return listing(rules, [], ccxt.parse_market, {})


def _table(instruments: Any) -> SymbolTable:
    table = SymbolTable()
    table.replace(instruments)
    return table


def _found(instruments: Any, spelling: str) -> Symbol | None:
    return SymbolIndex(_table(instruments).instruments).find(spelling)


@pytest.mark.failure("VAL-03")
@pytest.mark.parametrize("name", LISTINGS)
def test_the_symbol_map_is_two_way_for_every_listed_swap_however_it_is_spelt(name: str, shared: Path) -> None:
    told = json.loads((shared / "venues/fixtures/binance_usdm" / name).read_text("utf-8"))
    rules = told if isinstance(told, dict) else {"symbols": told}
    found = _read(rules)
    table = _table(found.usable)
    swaps = {row["symbol"] for row in rules["symbols"] if row["contractType"] in ("PERPETUAL", "TRADIFI_PERPETUAL")}
    assert swaps
    assert {i.venue_symbol for i in found.usable} | found.unusable.keys() >= swaps
    for instrument in found.usable:
        symbol = instrument.id.symbol
        assert table.unified(table.venue_symbol(symbol)) == instrument.id
        for spelling in (symbol, instrument.venue_symbol, instrument.venue_symbol.lower(), symbol.partition(":")[0]):
            assert _found(found.usable, spelling) == symbol, spelling


@pytest.mark.failure("VAL-03")
async def test_the_map_holds_over_a_whole_opened_venue() -> None:
    async with a_rig(symbols=200) as rig:
        listed = rig.client.instruments
        assert len(listed) > 150
        assert len({i.venue_symbol for i in listed.values()}) == len(listed)
        for symbol, instrument in listed.items():
            assert _found(listed.values(), instrument.venue_symbol) == symbol


@pytest.mark.failure("VAL-03")
async def test_without_market_rules_nothing_is_sent() -> None:
    """Neither by the adapter, whatever it is handed, nor for a signal on a swap whose rules cannot be read."""
    async with a_rig() as rig:
        rig.client._symbols.replace([i for i in rig.client.instruments.values() if i.venue_symbol != "BTCUSDT"])
        for kind, trigger in ((OrderType.MARKET, None), (OrderType.STOP_MARKET, "1")):
            with pytest.raises(KeyError):
                await rig.client.submit(Departure(intent=an_order_intent(kind, trigger=trigger)))
        assert rig.tap.asked == []


@pytest.mark.failure("VAL-03")
async def test_a_swap_whose_rules_cannot_be_read_gets_no_order(world: World) -> None:
    def without_steps(asked: str, document: Any) -> Any:
        if asked.endswith("/fapi/v1/exchangeInfo"):
            for row in document["symbols"]:
                if row["symbol"] == "BTCUSDT":
                    row["filters"] = [f for f in row["filters"] if f["filterType"] != "LOT_SIZE"]
        return document

    await world.play(a_wave(["BTCUSDT", "ETHUSDT"]))
    daemon = world.daemon()
    daemon.tamper(without_steps)
    daemon.begin()
    await daemon.ready()
    report = await daemon.wave()
    assert [(one.symbol, one.code) for one in report.unusable] == [("BTCUSDT", Reason.SYMBOL_UNKNOWN)]
    assert list(await world.held()) == ["ETHUSDT"]
    await daemon.stop()


def _row(name: str, **changes: Any) -> dict[str, Any]:
    """A market as ccxt tells it."""
    info = {
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "100", "stepSize": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "100", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
        "orderTypes": ["STOP_MARKET"],
        "status": "TRADING",
        "contractType": "PERPETUAL",
    }
    return {"id": "BTCUSDT", "symbol": name, "quote": "USDT", "swap": True, "linear": True, "info": info, **changes}


SPOT = _row("BTC/USDT", swap=False, linear=None, spot=True)
INVERSE = _row("BTC/USD:BTC", id="BTCUSD_PERP", linear=False, quote="USD")
QUARTERLY = _row("BTC/USDT:USDT-261225", id="BTCUSDT_261225", swap=False, future=True)
SWAP = _row("BTC/USDT:USDT")


@pytest.mark.failure("VAL-04", "INV-8")
@pytest.mark.parametrize("turn", range(4))
def test_only_the_linear_swap_is_selected_where_other_markets_share_its_name(turn: int) -> None:
    markets = [SPOT, INVERSE, QUARTERLY, SWAP]
    usable, unusable = instruments_of(markets[turn:] + markets[:turn], {})
    assert ([i.id.symbol for i in usable], unusable) == (["BTC/USDT:USDT"], {})
    for spelling in ("BTC/USDT", "BTCUSDT", "btcusdt", "BTC/USDT:USDT"):
        assert _found(usable, spelling) == "BTC/USDT:USDT"
    for spelling in ("BTCUSD_PERP", "BTC/USD", "BTCUSDT_261225"):
        assert _found(usable, spelling) is None


@pytest.mark.failure("VAL-04", "INV-8")
def test_where_only_the_spot_market_exists_nothing_is_selected() -> None:
    usable, _ = instruments_of([SPOT], {})
    assert usable == []
    assert _found(usable, "BTC/USDT") is None


@pytest.mark.failure("VAL-04", "INV-8")
@pytest.mark.parametrize(("market", "used"), [({"st": 1}, True), ({"st": 2}, False), ({"st": 0}, False), ({}, True)])
def test_a_price_that_says_it_is_of_another_market_is_not_used(market: dict[str, int], used: bool) -> None:
    """Without the field (it came in 2026) host and symbol say which market it is: no other is listed."""

    async def no_picture() -> list[Any]:
        return []

    table = _table([an_instrument()])
    inverse = json.dumps([{"e": "markPriceUpdate", "s": "BTCUSD_PERP", "p": "7", "E": 1, **market}]).encode()
    assert not MarkRoute("ws://venue", table).decode(inverse)
    mark = json.dumps([{"e": "markPriceUpdate", "s": "BTCUSDT", "p": "7", "E": 1, **market}]).encode()
    touch = json.dumps({"e": "bookTicker", "s": "BTCUSDT", "b": "1", "a": "2", "T": 1, **market}, separators=(",", ":"))
    assert bool(MarkRoute("ws://venue", table).decode(mark)) == used
    assert bool(TouchRoute("ws://venue", table, no_picture).decode(touch.encode())) == used


@pytest.mark.failure("VAL-04", "INV-8")
async def test_nothing_of_a_whole_run_touches_another_market(world: World) -> None:
    await world.play(a_wave())
    async with world.running() as daemon:
        await daemon.wave()
        await daemon.stop()
    paths = [row["path"] for row in await world.ask("requests?since=0") if row["path"].startswith("/")]
    assert {path for path in paths if not path.startswith("/fapi/")} == {"/sapi/v1/account/apiRestrictions"}


# VAL-09: numbers as text

TINY = {
    "tick": "0.00000001", "step": "1", "min_qty": "1", "market_step": "1", "market_min_qty": "1",
    "max_qty": "100000000000", "market_max_qty": "100000000000", "min_price": "0.00000001",
}  # fmt: skip
UNFILTERED: dict[str, Any] = {
    "SIGNAL_MIN_OPEN_INTEREST_USDT": 0,
    "SIGNAL_MIN_VOLUME_1H_USDT": 0,
    "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT": 0,
    "MAX_SPREAD_PERCENT": 0,
}
EXPONENT = re.compile(r"(?<![A-Za-z0-9_.-])(?<!\.\d\+)-?\d+(?:\.\d+)?[eE][+-]?\d+(?![A-Za-z0-9])")
ZERO_PRICE = re.compile(r"(?:[a-z_]*price|mark|entry|stop|@)[\"']?[ :=]+[\"']?-?0(?:\.0*)?(?![\d.])", re.IGNORECASE)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request and every frame that goes to the venue, as text."""
    told: list[str] = []
    ask, send = SimHttp.request, SimSocket.send

    async def noted(
        self: SimHttp, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        told.append(f"{method} {url} {(body or b'').decode()}")
        return await ask(self, method, url, headers, body)

    async def framed(self: SimSocket, text: str) -> None:
        told.append(text)
        await send(self, text)

    monkeypatch.setattr(SimHttp, "request", noted)
    monkeypatch.setattr(SimSocket, "send", framed)
    return told


def test_what_the_patterns_find() -> None:
    assert EXPONENT.findall('quantity=1E+8 "price": "9.8E-7" (1e-8)') == ["1E+8", "9.8E-7", "1e-8"]
    assert EXPONENT.findall("pnl +1E-8 USDT") == ["1E-8"]
    assert not EXPONENT.findall("bw2e7 server-1790-1e23 0x1e5 2e")
    assert not EXPONENT.findall("started: 0.1.0+990e8664 on binance"), "a digest is not a number"
    assert ZERO_PRICE.search('triggerPrice=0&x "stop_price": "0.0000" @ 0,')
    assert not ZERO_PRICE.search('price=0.00000098 "mark": "0.5" stop 0.1')


@pytest.mark.failure("VAL-09")
@pytest.mark.parametrize("kind", ["market", "limit_ioc"])
async def test_at_a_hundred_millionth_nothing_shows_zero_and_nothing_has_an_exponent(
    tmp_path: Path, wire: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SimulatedWorld(tmp_path, symbols=80) as world:
        await _trade_at_a_hundred_millionth(world, wire, kind, capsys)


async def _trade_at_a_hundred_millionth(
    world: World, wire: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orders, stops, log, notices, status, the answer to `why`."""
    said, pair = LogLines(), "GALAUSDT"
    await world.fault("change_filters", match={"symbol": pair}, body=TINY)
    await world.tell("price", symbol=pair, price="0.00000100", hold_ms=600_000)
    again = a_signal(pair, id="again")
    await world.play({"at_ms": 4_000, "signals": [a_signal(pair)]}, {"at_ms": 8_000, "signals": [again]})
    settings = {**UNFILTERED, "ENTRY_ORDER_TYPE": kind, "ENTRY_MAX_SLIPPAGE_PERCENT": 5, "LEVERAGE": 2}
    async with world.running(**settings) as daemon:
        (leg,) = (await daemon.wave()).legs
        assert leg.state is LegState.PROTECTED, leg
        assert leg.stop_price is not None
        assert leg.stop_price < Decimal("0.00000100")
        await daemon.wave(2)
        status = daemon.status
        shown = positions(status.positions, Role.VIEWER).plain()
        told = [status_line(status), status_page(status).plain(), shown]
        capsys.readouterr()
        assert why.main([pair, "--data-dir", str(daemon.data_dir)]) == why.TOLD
        told.append(capsys.readouterr().out)
        await world.tell("price", symbol=pair, price="0.00000090", hold_ms=600_000)
        await world.until(partial(_flat, world))
        await asyncio.sleep(1)
        assert why.main([pair, "--data-dir", str(daemon.data_dir)]) == why.TOLD
        told.append(capsys.readouterr().out)
    lines = [f"{name}={value}" for line in said.lines for name, value in line.items()]
    everything = [*wire, *told, *lines]
    assert not [text for text in everything if EXPONENT.search(text)]
    assert not [text for text in everything if ZERO_PRICE.search(text)]
    stop = f"{leg.stop_price:f}"
    assert [text for text in wire if f"triggerPrice={stop}" in text]
    assert f"stop {stop}" in shown
    assert stop in str(said.of("protection.confirmed"))


async def _flat(world: World) -> bool:
    return not await world.held()


# VAL-10: leverage


STOCKS_AND_METALS = ("XAUUSDT", "XAGUSDT", "TSLAUSDT")
"""Listed, trading, and never entered here."""


@pytest.mark.failure("VAL-10")
async def test_leverage_of_every_symbol_is_set_and_confirmed_before_the_first_order(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, symbols=80) as world:
        pairs = [pair for pair in world.pairs("USDT") if pair not in STOCKS_AND_METALS]
        assert len(pairs) >= 50
        await world.tell("account", leverage="7")
        await world.tell("account", position={"symbol": "ETHUSDT", "qty": "0.1", "entry": "2000"})
        await world.play(a_wave(["BTCUSDT", pairs[-1]]))
        async with world.running(LEVERAGE=20) as daemon:
            report = await daemon.wave()
            assert [leg.state for leg in report.legs] == [LegState.PROTECTED] * 2
        asked = await world.ask("requests?since=0")
        sets = [row for row in asked if row["path"] == "/fapi/v1/leverage"]
        assert len(sets) == len(pairs) - 1, "once each, and not where a position is open"
        assert {row["status"] for row in sets} == {200}
        first = min(row["received"] for row in asked if row["path"] == "/fapi/v1/order")
        assert max(row["answered"] for row in sets) <= first
        rows = await the_owner(world).call("GET", "/fapi/v1/symbolConfig")
        state = {row["symbol"]: row["leverage"] for row in rows}
        assert {symbol for symbol, leverage in state.items() if leverage == 20} == set(pairs) - {"ETHUSDT"}
        assert state["ETHUSDT"] == 7


@pytest.mark.failure("VAL-10")
async def test_an_entry_with_unconfirmed_leverage_is_refused_and_the_others_trade(world: World) -> None:
    await world.tell("account", leverage="7")
    await world.fault(
        "http_error", match={"path": "/fapi/v1/leverage", "symbol": "BTCUSDT"}, status=400, code=-4028, count=-1
    )
    await world.play(a_wave(["BTCUSDT", "ETHUSDT"]))
    async with world.running(LEVERAGE=20) as daemon:
        refused, taken = (await daemon.wave()).legs
        assert refused.denied is not None
        assert refused.denied.reason is Reason.LEVERAGE_UNCONFIRMED
        assert refused.denied.values == {"LEVERAGE": "20", "at_venue": "7"}
        assert taken.state is LegState.PROTECTED
        assert list(await world.held()) == ["ETHUSDT"]


@pytest.mark.failure("VAL-10")
async def test_not_modified_counts_as_confirmed() -> None:
    """Leverage that is set already is answered like a change; a margin mode that is set already is an error, -4046."""
    async with a_rig() as rig:
        await rig.client.set_leverage(BTC.symbol, 20)
        await rig.client.set_leverage(BTC.symbol, 20)
        unchanged = answer(400, {"code": -4046, "msg": "No need to change margin type."})
        rig.tap.put("POST", "/fapi/v1/marginType", unchanged)
        await rig.client.set_margin_mode(BTC.symbol, MarginMode.CROSS)
    async with a_bench(leverage_known=False) as bench:
        report = await bench.wave(a_read_signal())
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED]
        assert bench.venue.leverages == [(BTC.symbol, 10)], "never told, so set and confirmed before the entry"


# VAL-12: one size

CORE = Path(__file__).resolve().parents[2] / "core"


@pytest.mark.failure("VAL-12")
def test_one_function_decides_how_large_an_entry_is() -> None:
    """Nothing else in the program makes a size, or rounds a quantity to a venue's step but what closes it."""
    found = {}
    for name in ("round_quantity", "Sized"):
        found[name] = {path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py") if _calls(path, name)}
    sizes, slices, closes = "domain/sizing.py", "domain/profit_steps.py", "engine/closer.py"
    assert found == {"round_quantity": {sizes, slices, closes}, "Sized": {sizes}}


def _calls(path: Path, name: str) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return any(getattr(call, "attr", getattr(call, "id", "")) == name for call in calls)


@pytest.mark.failure("VAL-12")
def test_a_size_no_limit_would_ever_allow_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="is more than MAX_EXPOSURE_USD"):
        some_settings(POSITION_SIZE_USD="4000", MAX_EXPOSURE_USD="1000")


@pytest.mark.failure("VAL-12")
async def test_what_a_signal_asks_beyond_the_configured_size_changes_nothing(world: World) -> None:
    greedy: dict[str, Any] = {"quantity": 50, "size": 4_000, "position_size_usd": 4_000, "leverage": 100}
    await world.play({"at_ms": 4_000, "signals": [a_signal("BTCUSDT", **greedy)]})
    async with world.running(POSITION_SIZE_USD=500) as daemon:
        (leg,) = (await daemon.wave()).legs
        assert leg.state is LegState.PROTECTED
        assert leg.quantity is not None
        assert leg.fill_price is not None
        assert Decimal(400) < leg.quantity * leg.fill_price <= Decimal(550)


@pytest.mark.failure("VAL-12")
async def test_an_entry_above_what_a_limit_leaves_is_refused_once_with_the_reason() -> None:
    coins = [an_instrument_id(f"C{n}/USDT:USDT") for n in range(3)]
    limits = risk_limits(max_exposure=250)
    async with a_bench(
        instruments=[an_instrument(coin) for coin in coins], limits=limits, waves=wave_rules(max_trades=3)
    ) as bench:
        wave = [a_read_signal(f"s{n}", instrument=coin, score=9 - n) for n, coin in enumerate(coins)]
        report = await bench.wave(*wave)
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED, LegState.PROTECTED, LegState.REFUSED]
        denied = report.legs[2].denied
        assert denied is not None
        assert (denied.reason, denied.values["MAX_EXPOSURE_USD"]) == (Reason.MAX_EXPOSURE, "250")
        await bench.settle(60)
        assert len(bench.venue.only(Leg.ENTRY)) == 2
        assert bench.risk.denials == {Reason.MAX_EXPOSURE: 1}


# VAL-15: prices that do not agree


async def _diverging(world: World, percent: str, **env: Any) -> tuple[WaveReport, LogLines]:
    """One wave in a symbol whose book stands `percent` above its mark."""
    said = LogLines()
    price = 100 + Decimal(percent)
    await world.tell("price", symbol="SOLUSDT", price=str(price), mark="100", hold_ms=600_000)
    await world.play({"at_ms": 4_000, "signals": [a_signal("SOLUSDT"), a_signal("BTCUSDT")]})
    async with world.running(**UNFILTERED, **env) as daemon:
        report = await daemon.wave()
    return report, said


@pytest.mark.failure("VAL-15")
async def test_a_price_a_little_off_the_mark_is_traded_and_noted_in_log_and_report(world: World) -> None:
    report, said = await _diverging(world, "2")
    sol, btc = report.legs
    assert [sol.state, btc.state] == [LegState.PROTECTED] * 2
    notes = {gate.name: gate.note for gate in sol.gates if gate.note}
    assert notes["divergence"] == "more than PRICE_DIVERGENCE_WARN_PERCENT=1"
    (line,) = (line for line in said.of("signal.noted") if "divergence" in line["notes"])
    assert (line["instrument"], line["level"]) == ("binance:SOL/USDT:USDT", "warning")
    assert not any(gate.note for gate in btc.gates if gate.name == "divergence")


@pytest.mark.failure("VAL-15")
@pytest.mark.parametrize(("percent", "env"), [("6", {}), ("2", {"PRICE_DIVERGENCE_REFUSE_PERCENT": 1})])
async def test_a_price_too_far_off_the_mark_is_refused_and_its_symbol_is_alerted(
    world: World, percent: str, env: dict[str, Any]
) -> None:
    report, said = await _diverging(world, percent, **env)
    sol, btc = report.legs
    assert sol.denied is not None
    assert sol.denied.reason is Reason.PRICE_DIVERGES
    assert btc.state is LegState.PROTECTED
    (alert,) = (text for text in said.notices if "prices do not agree" in text)
    assert "SOL/USDT:USDT" in alert
    assert "BTC/USDT:USDT" not in alert


# VAL-17: the stop-list


@pytest.mark.failure("VAL-17")
@pytest.mark.parametrize(
    "env",
    [
        {"STOPLIST_SYMBOLS": "ETHUSDC,SOL/USDT", "QUOTE_COIN": "USDT,USDC"},
        {"STOPLIST_SYMBOLS": "SOL/USDT:USDT", "QUOTE_COIN": "USDT"},
    ],
    ids=["stop-listed", "quote coin off"],
)
async def test_a_disabled_symbol_gets_no_entry_and_nothing_is_asked_about_it(
    world: World, wire: list[str], env: dict[str, Any]
) -> None:
    await world.tell("account", leverage="7")
    pairs = ["SOLUSDT", "ETHUSDC", "BTCUSDT"]
    await world.play({"at_ms": 4_000, "signals": [a_signal(pair) for pair in pairs]})
    symbols = "SOLUSDT,BTCUSDT"
    async with world.running(**env, STRATEGY="scalping_v1", STRATEGY_SYMBOLS=symbols) as daemon:
        report = await daemon.wave()
        await asyncio.sleep(120)  # a screening sweep and two candle closes
        states = {str(leg.instrument.symbol): leg.state for leg in report.legs}
        assert states["BTC/USDT:USDT"] is LegState.PROTECTED
        assert {states["SOL/USDT:USDT"], states["ETH/USDC:USDC"]} == {LegState.REFUSED}
        assert list(await world.held()) == ["BTCUSDT"]
    about = {pair: [text for text in wire if f"symbol={pair}" in text or f"{pair.lower()}@" in text] for pair in pairs}
    assert about["BTCUSDT"]
    assert (about["SOLUSDT"], about["ETHUSDC"]) == ([], [])


@pytest.mark.failure("VAL-17")
async def test_an_open_position_in_a_symbol_that_was_put_on_the_stop_list_stays_protected(world: World) -> None:
    await world.play(a_wave(["SOLUSDT"]))
    async with world.running() as daemon:
        await daemon.wave()
        left = daemon.data_dir
    await world.tell("account", position={"symbol": "XRPUSDT", "qty": "100", "entry": "1.4"})
    await world.play({"at_ms": 4_000, "signals": [a_signal("XRPUSDT"), a_signal("SOLUSDT", id="more")]})
    async with world.running(left, STOPLIST_SYMBOLS="SOLUSDT,XRPUSDT") as daemon:
        report = await daemon.wave()
        assert all(leg.state is LegState.REFUSED for leg in report.legs)
        stops = await world.resting_stops()
        assert stops == {symbol: [abs(quantity)] for symbol, quantity in (await world.held()).items()}
        assert stops.keys() == {"SOLUSDT", "XRPUSDT"}
        (position,) = (row for row in daemon.status.positions if row.instrument.symbol.startswith("SOL"))
        assert position.mark is not None, "what protects it is still told its price"
