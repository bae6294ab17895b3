"""The venue's list of swaps becomes instruments in base units, its tiers become brackets (VAL-04, VAL-20, VAL-21)."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Symbol, VenueName
from core.venues.okx.contracts import ContractTable
from core.venues.okx.instruments import listing, with_tiers
from core.venues.okx.payloads import Answer, TierRow
from core.venues.payload import shaped
from tests.venues.okx.builders import every_contract, parse_market


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "okx_swap"


def _load(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["instruments_swap", "instruments_swap_placeholders"])
def test_instruments_are_in_base_units_and_linear_ones_only(fixtures: Path, name: str) -> None:
    document = _load(fixtures, name)
    listed = {row.contract.inst_id: row for row in listing(document, parse_market, {}).usable}
    assert set(listed) == {row["instId"] for row in document["data"] if row["ctType"] == "linear"}
    for told in document["data"]:
        if (row := listed.get(told["instId"])) is None:
            continue
        size = Decimal(told["ctVal"]) * Decimal(told["ctMult"])
        assert row.contract.size == size
        assert row.contract.code == told["instIdCode"]
        lot, market = row.instrument.lot, row.instrument.market_lot
        assert (lot.step, lot.minimum, lot.maximum) == (
            Decimal(told["lotSz"]) * size,
            Decimal(told["minSz"]) * size,
            Decimal(told["maxLmtSz"]) * size,
        )
        assert market.maximum == Decimal(told["maxMktSz"]) * size
        assert row.instrument.quote == told["settleCcy"]


def test_bitcoins_contract_is_a_hundredth(fixtures: Path) -> None:
    listed = listing(_load(fixtures, "instruments_swap"), parse_market, {}).usable
    (btc,) = (row for row in listed if row.contract.inst_id == "BTC-USDT-SWAP")
    assert btc.instrument.id == InstrumentId(VenueName.OKX, Symbol("BTC/USDT:USDT"))
    assert (btc.instrument.lot.step, btc.instrument.tick, btc.contract.code) == (
        Decimal("0.0001"),
        Decimal("0.1"),
        10459,
    )
    assert btc.instrument.tradable


@pytest.mark.parametrize(
    "change", [{"state": "suspend"}, {"state": "preopen"}, {"ruleType": "pre_market"}, {"instCategory": "3"}]
)
def test_what_does_not_trade_ordinarily_is_listed_and_not_tradable(fixtures: Path, change: dict[str, str]) -> None:
    document = _load(fixtures, "instruments_swap")
    document["data"] = [row | change for row in document["data"]]
    assert not any(row.instrument.tradable for row in listing(document, parse_market, {}).usable)


@pytest.mark.parametrize("category", ["1", "", None])
def test_coins_are_tradable_and_where_the_kind_is_not_told_too(fixtures: Path, category: str | None) -> None:
    document = _load(fixtures, "instruments_swap")
    document["data"] = [row | {"instCategory": category} for row in document["data"]]
    if category is None:
        for row in document["data"]:
            del row["instCategory"]
    assert all(row.instrument.tradable for row in listing(document, parse_market, {}).usable)


def test_what_is_listed_no_more_keeps_its_last_rules_and_cannot_be_traded(fixtures: Path) -> None:
    document = _load(fixtures, "instruments_swap")
    known = {row.contract.inst_id: row for row in listing(document, parse_market, {}).usable}
    document["data"] = [row for row in document["data"] if row["instId"] != "ETH-USDT-SWAP"]
    now = {row.contract.inst_id: row for row in listing(document, parse_market, known).usable}
    assert now["BTC-USDT-SWAP"] is known["BTC-USDT-SWAP"]
    gone = now["ETH-USDT-SWAP"]
    assert gone.contract == known["ETH-USDT-SWAP"].contract
    assert (gone.instrument.tradable, gone.instrument.lot) == (False, known["ETH-USDT-SWAP"].instrument.lot)


def test_a_row_nobody_can_read_costs_no_other_row(fixtures: Path) -> None:
    document = _load(fixtures, "instruments_swap")
    document["data"][1] = document["data"][1] | {"lotSz": "0"}
    read = listing(document, parse_market, {})
    assert read.unusable == {document["data"][1]["instId"]: "lotSz: not positive"}
    assert len(read.usable) > 1


def test_tiers_in_contracts_become_brackets_in_the_quote_coin(fixtures: Path) -> None:
    rows = listing(_load(fixtures, "instruments_swap"), parse_market, {}).usable
    tier = shaped(_load(fixtures, "position_tiers"), Answer[TierRow], "tiers").data[0]
    tiers = [
        TierRow(maxSz="300", maxLever="50", instFamily="BTC-USDT"),
        TierRow(maxSz=tier.maxSz, maxLever="100", uly="BTC-USDT"),
    ]
    bracketed = {r.contract.inst_id: r.instrument for r in with_tiers(rows, tiers, {"BTC-USDT-SWAP": Decimal(100_000)})}
    btc = bracketed["BTC-USDT-SWAP"]
    assert [(b.most_notional, b.max_leverage) for b in btc.brackets] == [(50_000, 100), (300_000, 50)]
    assert btc.most_notional(60) == 50_000
    assert bracketed["ETH-USDT-SWAP"].brackets == ()


def test_a_table_refuses_two_names_of_one_swap() -> None:
    rows = list(every_contract(["BTC-USDT-SWAP"]).rows.values())
    other = replace(rows[0], contract=replace(rows[0].contract, inst_id="XBT-USDT-SWAP"))
    with pytest.raises(ValueError, match="listed twice"):
        ContractTable().take([*rows, other])
