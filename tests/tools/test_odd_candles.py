"""Candles that no market made."""

from pathlib import Path

import pytest

from tools.candle_replay.candles import BadInput, read

HEAD = "timestamp,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1640995260,1,2,1e-400,2,3", "low: out of range"),
        ("1640995260,1,1e999999,1,2,3", "out of range"),
        ("999999999999999999,1,2,1,2,3", "its time is none"),
        ("9999-12-31T23:59:59Z,1,2,1,2,3", "does not open|apart"),
    ],
)
def test_a_candle_that_cannot_be_is_said_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "c.csv").write_text(f"{HEAD}1640995200,1,2,1,2,3\n{row}\n")
    with pytest.raises(BadInput, match=said):
        read(tmp_path / "c.csv")
