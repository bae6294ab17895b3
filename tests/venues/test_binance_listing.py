"""Trading rules from the venue's own answers: brackets, band, status, and what becomes of what it ceases to list."""

import gc
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.domain.instrument import Instrument, PriceBand
from core.errors import MalformedPayload
from core.venues.binance.instruments import GONE, Listing, listing
from core.venues.ccxt_loading import exchange_class
from tests.venues.binance_rig import BTC, a_rig


@pytest.fixture
def rules(shared: Path) -> dict[str, Any]:
    path = shared / "venues/fixtures/binance_usdm/rest_exchangeInfo_simulator_subset.composed.json"
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


@pytest.fixture
def brackets(shared: Path) -> list[Any]:
    path = shared / "venues/fixtures/binance_usdm/rest_leverageBracket.recorded.json"
    rows: list[Any] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return rows


def _listed(rules: object, brackets: object, *known: Instrument) -> Listing:
    ccxt = exchange_class("binanceusdm")({})
    ccxt.number = str
    return listing(rules, brackets, ccxt.parse_market, {i.id.symbol: i for i in known})


def _named(listed: Listing, symbol: str) -> Instrument:
    return next(i for i in listed.usable if i.venue_symbol == symbol)


def test_brackets_band_and_status_are_the_venues(rules: dict[str, Any], brackets: list[Any]) -> None:
    btc = _named(_listed(rules, brackets), "BTCUSDT")
    told = next(row for row in brackets if row["symbol"] == "BTCUSDT")["brackets"]
    assert [(b.most_notional, b.max_leverage) for b in btc.brackets] == [
        (Decimal(row["notionalCap"]), row["initialLeverage"]) for row in told
    ]
    assert btc.most_notional(100) == 800_000
    assert btc.max_leverage == 150
    assert btc.band == PriceBand(up=Decimal("1.05"), down=Decimal("0.95"))
    assert (btc.status, btc.tradable) == ("TRADING", True)
    others = [i for i in _listed(rules, brackets).usable if i.status != "TRADING"]
    assert not any(i.tradable for i in others)


def test_what_is_not_listed_any_more_keeps_its_rules_and_is_not_traded(
    rules: dict[str, Any], brackets: list[Any]
) -> None:
    before = _listed(rules, brackets)
    fewer = rules | {"symbols": [row for row in rules["symbols"] if row["symbol"] != "ETHUSDT"]}
    after = _listed(fewer, brackets, *before.usable)
    gone = _named(after, "ETHUSDT")
    assert (gone.tradable, gone.status) == (False, GONE)
    assert gone.tick == _named(before, "ETHUSDT").tick
    assert _named(after, "BTCUSDT") is _named(before, "BTCUSDT"), "what is unchanged is the same object"


def test_a_row_nobody_can_read_costs_that_symbol_only(rules: dict[str, Any], brackets: list[Any]) -> None:
    odd = [None, {"symbol": "ODDUSDT"}, dict(rules["symbols"][0]) | {"symbol": "X", "filters": []}]
    listed = _listed(rules | {"symbols": [*odd, *rules["symbols"]]}, brackets)
    assert _named(listed, "BTCUSDT").tradable
    assert "X" in listed.unusable


@pytest.mark.parametrize("nonsense", [None, [], {}, {"symbols": {}}, {"symbols": []}], ids=str)
def test_an_answer_without_markets_is_refused_as_a_whole(nonsense: object, brackets: list[Any]) -> None:
    with pytest.raises(MalformedPayload):
        _listed(nonsense, brackets)


async def test_loading_again_and_again_leaves_nothing_behind() -> None:
    async with a_rig() as rig:
        first = rig.client.instruments[BTC.symbol]
        counts = []
        for _ in range(4):
            await rig.client.load_instruments()
            gc.collect()
            counts.append((len(gc.get_objects()), sum(isinstance(o, Instrument) for o in gc.get_objects())))
        assert rig.client.instruments[BTC.symbol] is first
        assert counts[-1][1] == counts[0][1]
        assert counts[-1][0] - counts[1][0] < 200
        assert not rig.client._ccxt.markets, "ccxt keeps no markets"
