"""What "", "0" and absence mean in a venue's numbers, by the table of the module."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from core.domain.money import LARGEST, Price
from core.errors import MalformedPayload
from core.venues.payload import amount_in, ceiling_in, positive_in, price_in, quantity_in, shaped

BAD = "bad"
MEANINGS: list[tuple[Callable[[str | None, str], Decimal | None], dict[str | None, object]]] = [
    (price_in, {None: None, "": None, "0": None, "0.00": None, "1.5": Decimal("1.5"), "-1": BAD, "NaN": BAD}),
    (positive_in, {None: BAD, "": BAD, "0": BAD, "1.5": Decimal("1.5"), "-1": BAD, "Infinity": BAD}),
    (quantity_in, {None: 0, "": 0, "0": 0, "1.5": Decimal("1.5"), "-1": BAD, "1e9": Decimal("1e9"), "x": BAD}),
    (
        ceiling_in,
        {None: LARGEST, "": LARGEST, "0": LARGEST, "INF": LARGEST, "1.5": Decimal("1.5"), "-1": BAD, "x": BAD},
    ),
    (amount_in, {None: 0, "": 0, "0": 0, "1.5": Decimal("1.5"), "-1": Decimal(-1), "1_0": BAD}),
]


@pytest.mark.parametrize(
    ("read", "text", "meaning"), [(read, text, meaning) for read, row in MEANINGS for text, meaning in row.items()]
)
def test_what_a_text_means(
    read: Callable[[str | None, str], Decimal | None], text: str | None, meaning: object
) -> None:
    if meaning == BAD:
        with pytest.raises(ValueError, match="fee"):
            read(text, "fee")
    else:
        assert read(text, "fee") == meaning


class Row(msgspec.Struct):
    price: str


def test_a_payload_of_another_shape_names_its_source_and_not_itself() -> None:
    assert Price(Decimal(shaped({"price": "1", "more": 2}, Row, "venue row").price)) == 1
    with pytest.raises(MalformedPayload, match="venue row") as raised:
        shaped({"price": 1, "secret": "s3cret"}, Row, "venue row")
    assert "s3cret" not in str(raised.value)
