"""The journal as tables: what a spreadsheet and a program read, and what neither may be made to do."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import stat
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.domain.ids import ClientOrderId
from core.engine.records import FillRecord, IntentRecord, OrderRecord, PositionRecord, Record
from tests.storage.records import NOW, a_fill, a_journal, a_position, an_intent, an_order
from tools import export

DAY = 24 * 3600 * 1000
EVIL = '=HYPERLINK("http://evil","x")'


def _folder(path: Path, *records: Record) -> list[str]:
    async def write() -> None:
        journal = await a_journal(path)
        await journal.append(records)
        await journal.close()

    asyncio.run(write())
    return ["--data-dir", str(path)]


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def at(tmp_path: Path) -> list[str]:
    old = replace(an_intent(2), reason=EVIL)
    return _folder(
        tmp_path,
        IntentRecord(intent=old, time_ms=NOW - 3 * DAY),
        IntentRecord(intent=an_intent(1), time_ms=NOW),
        OrderRecord(order=an_order(1), time_ms=NOW),
        PositionRecord(position=a_position(), time_ms=NOW),
        FillRecord(fill=a_fill(), time_ms=NOW),
    )


def test_orders_come_with_times_decimals_and_without_formulas(
    at: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["orders", *at]) == export.WRITTEN
    old, new = _rows(capsys.readouterr().out)
    assert old["reason"] == f"'{EVIL}"
    assert new["decided"] == "2026-09-10T00:26:40.000Z"
    assert (old["trigger_price"], new["price"]) == ("0.0000001", "60000.1")
    assert {name for name, cell in old.items() if "E-" in cell} == set()


def test_since_leaves_out_what_is_older(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["orders", "--since", "2026-09-10", *at]) == export.WRITTEN
    (row,) = _rows(capsys.readouterr().out)
    assert row["client_order_id"] == ClientOrderId(f"bw{1:030d}")
    assert export.main(["trades", "--since", "2099-01-01", *at]) == export.WRITTEN
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("table", export.TABLES)
def test_json_and_csv_say_the_same(at: list[str], capsys: pytest.CaptureFixture[str], table: str) -> None:
    export.main([table, *at])
    rows = _rows(capsys.readouterr().out)
    export.main([table, "--format", "json", *at])
    told = json.loads(capsys.readouterr().out)
    assert rows
    assert [{n: str(export.safe(export._flat(c))) for n, c in row.items()} for row in told] == rows


def test_a_loss_stays_a_number_and_a_text_that_looks_like_one_does_not(tmp_path: Path) -> None:
    assert export.safe("-5.25") == "-5.25"
    assert export.safe("-5.25+cmd|' /C calc'!A0").startswith("'")  # type: ignore[union-attr]
    assert [export.safe(text) for text in ("@SUM(1)", "\t=1", "+1", "plain")] == ["'@SUM(1)", "'\t=1", "'+1", "plain"]


def test_a_file_appears_whole_and_for_its_owner_only(at: list[str], tmp_path: Path) -> None:
    out = tmp_path / "trades.csv"
    out.write_text("old", "utf-8")
    assert export.main(["trades", "--out", str(out), *at]) == export.WRITTEN
    (row,) = _rows(out.read_bytes().decode())
    assert Decimal(row["value"]) == Decimal(row["quantity"]) * Decimal(row["price"])
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "trades" in path.name] == ["trades.csv"]


def test_without_a_journal_and_with_a_time_that_is_none_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["orders", "--data-dir", str(tmp_path)]) == export.USAGE
    assert "no daemon has run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main(["orders", "--since", "yesterday", "--data-dir", str(tmp_path)])
    assert "neither a time" in capsys.readouterr().err
