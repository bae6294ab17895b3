"""Pictures come from a process of their own, which knows no secret and has a time limit."""

import asyncio
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tgbot import drawing
from tgbot.drawing import Drawing, PictureFailed

CANDLES = [[1_790_000_000_000 + 900_000 * at, "100", "103.5", "99", str(100 + at % 3)] for at in range(30)]
CHART: Mapping[str, Any] = {
    "kind": "candles", "title": "$BTC_{x}$ binance 15m", "length_ms": 900_000, "candles": CANDLES,
    "levels": [{"name": "entry", "price": "101"}, {"name": "stop", "price": "99.5"}],
    "fills": [{"time_ms": 1_790_000_900_000, "price": "101", "buy": True}],
}  # fmt: skip
LINE: Mapping[str, Any] = {
    "kind": "line", "title": "Account over 30 days", "now": "1010.5",
    "points": [[1_790_000_000_000, "1000"], [1_790_086_400_000, "1012"], [1_790_096_400_000, "1012"]],
}  # fmt: skip
ODD: Mapping[str, Any] = {**CHART, "kind": "pie"}


async def test_candles_and_lines_are_drawn_and_unusable_data_is_a_sentence(tmp_path: Path) -> None:
    draw = Drawing(tmp_path)
    for data in (CHART, LINE):
        png = await draw(data)
        assert png.startswith(b"\x89PNG")
        assert 5_000 < len(png) < 500_000
    with pytest.raises(PictureFailed, match="unusable data: KeyError"):
        await draw(ODD)
    assert "matplotlib" not in sys.modules, "the library is in no process but the child's"


def _program(folder: Path, text: str) -> Path:
    path = folder / "child.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


async def test_the_child_gets_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", "CANARY-secret")
    child = "import os, sys; sys.stdin.read(); sys.exit(' '.join(sorted(os.environ)))"
    monkeypatch.setattr(drawing, "PROGRAM", _program(tmp_path, child))
    with pytest.raises(PictureFailed) as failed:
        await Drawing(tmp_path)(CHART)
    assert "MPLCONFIGDIR" in str(failed.value)
    assert "BINANCE" not in str(failed.value)


async def test_a_child_that_hangs_is_ended_and_the_next_picture_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = """
        import sys, time
        if "hang" in sys.stdin.read():
            time.sleep(60)
        sys.stdout.buffer.write(b"\\x89PNG\\r\\n\\x1a\\n")
    """
    monkeypatch.setattr(drawing, "PROGRAM", _program(tmp_path, child))
    monkeypatch.setattr(drawing, "SECONDS", 1.0)
    draw = Drawing()
    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(_refused(draw, {"kind": "hang"}))
        drawn = tasks.create_task(draw({"kind": "quick"}))
    assert "not drawn within 1 s" in hanging.result()
    assert drawn.result().startswith(b"\x89PNG")


async def _refused(draw: Drawing, data: Mapping[str, object]) -> str:
    with pytest.raises(PictureFailed) as failed:
        await draw(data)
    return str(failed.value)
