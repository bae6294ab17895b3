"""Contracts exist inside the OKX folder only: what goes out comes back as exactly the same base units (INV-8)."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.money import plain
from core.domain.order import OrderType
from core.domain.signal import Side
from core.venues.okx.contracts import UncountableError
from core.venues.okx.orders import AccountMode, placement
from tests.venues.okx.builders import a_contract
from tests.venues.okx.intents import an_order_intent

ONE_WAY = AccountMode()
sizes = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 999_999_999), st.integers(-8, 8)
)
lots = st.sampled_from(["1", "0.1", "0.01", "0.001", "10"])


@given(size=sizes, lot=lots, count=st.integers(1, 10**9))
def test_base_units_to_contracts_and_back_is_exact(size: Decimal, lot: str, count: int) -> None:
    contract = a_contract(size=plain(size))
    quantity = count * Decimal(lot) * size
    told = contract.count(quantity)
    assert Decimal(told) == count * Decimal(lot)
    assert contract.base(told, "sz") == quantity
    assert "E" not in told.upper()


@given(size=sizes, count=st.integers(1, 10**6), part=st.integers(1, 2))
def test_a_size_that_is_no_exact_number_of_contracts_is_never_sent(size: Decimal, count: int, part: int) -> None:
    contract = a_contract(size=plain(size * 3))
    with pytest.raises(UncountableError):
        contract.count(count * 3 * size + part * size)


@given(count=st.integers(1, 10**6), kind=st.sampled_from([OrderType.MARKET, OrderType.STOP_MARKET]))
def test_an_order_says_contracts_and_its_intent_base_units(count: int, kind: OrderType) -> None:
    contract = a_contract("ETH-USDT-SWAP")
    trigger = "3000" if kind is OrderType.STOP_MARKET else None
    quantity = Decimal(count) * Decimal("0.001")
    intent = an_order_intent(OrderType.MARKET, side=Side.BUY, size=str(quantity), trigger=trigger)
    params = placement(intent, contract, ONE_WAY, margin="cross")
    assert Decimal(params["sz"]) * Decimal("0.1") == quantity


def test_nobody_outside_the_folder_knows_of_contracts() -> None:
    """Nothing of OKX's protocol is spoken anywhere else in the core."""
    words = ("ctVal", "instId", "posSide", "tdMode", "clOrdId", "algoClOrdId", "sCode", "attachAlgo", "50011", "51603")
    core = Path(__file__).parents[3] / "core"
    found = [
        f"{path.relative_to(core)}: {word}"
        for path in core.rglob("*.py")
        if "okx" not in path.relative_to(core).parts
        for word in words
        if word in path.read_text("utf-8")
    ]
    assert found == []
