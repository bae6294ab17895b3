"""What belongs to one venue stands in its folder: no name, host, code, header, endpoint or word of it anywhere else.

Read from the syntax trees, so comments and docstrings may say where a rule comes from.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain.ids import VenueName
from core.venues.binance import facts as binance
from core.venues.bybit import codes as bybit
from core.venues.okx import codes as okx

ROOTS = ("core", "strategies", "telegram", "main.py")
NAMED_IN = {
    "core/domain/ids.py": "the VenueName enum",
    "core/dry_run.py": "dry run's table",
    "core/signals/parsing.py": "the numbers by which signals name venues",
    "core/settings": "names of settings",
    "core/config.py": "the same, passed on",
}
"""Where a venue's name may stand, and only that."""
NAME = re.compile("|".join(VenueName), re.IGNORECASE)
WORDS = {
    VenueName.BINANCE: (
        "fapi", "sapi", "listenKey", "newClientOrderId", "clientAlgoId", "positionSide", "workingType", "STOP_MARKET_",
        "reduceOnly", "X-MBX", "recvWindow", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "dualSidePosition", "fstream",
    ),
    VenueName.BYBIT: (
        "/v5", "retCode", "retMsg", "orderLinkId", "positionIdx", "tpslMode", "slTriggerBy", "X-BAPI", "cumExecQty",
        "trading-stop", "walletBalance", "UNIFIED", "execId", "stopLoss", "bytick",
    ),
    VenueName.OKX: (
        "api/v5", "sCode", "clOrdId", "instId", "posSide", "tdMode", "attachAlgo", "algoId", "OK-ACCESS", "acctLv",
        "ctVal", "slTriggerPx", "x-simulated-trading", "expTime",
    ),
}  # fmt: skip
"""Of the venues' own languages; a few of each, that mean nothing else."""
CODES = {**dict.fromkeys(binance.CODES), **dict.fromkeys(bybit.CODES), **dict.fromkeys(okx.CODES)}
_CODE = re.compile(r"(?<![\w.,-])-?\d{4,7}(?![\w.])")


def _files(root: Path) -> Iterator[Path]:
    for name in ROOTS:
        path = root / name
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def _docstrings(tree: ast.AST) -> set[int]:
    """Every string that stands by itself: docstrings of modules, classes, functions and of fields."""
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def said(path: Path) -> Iterator[tuple[int, str]]:
    """Texts and names of the code, with their lines."""
    tree = ast.parse(path.read_text("utf-8"))
    described = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in described:
            text = node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace")
            yield node.lineno, text
        elif isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.arg | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.arg if isinstance(node, ast.arg) else node.name


def home(path: Path, root: Path) -> VenueName | None:
    """The venue whose folder it is in."""
    parts = path.relative_to(root).parts
    return VenueName(parts[2]) if parts[:2] == ("core", "venues") and parts[2] in set(VenueName) else None


def may_name(path: Path, root: Path) -> bool:
    told = path.relative_to(root).as_posix()
    return any(told == place or told.startswith(f"{place}/") for place in NAMED_IN)


def found(root: Path) -> list[str]:
    """Every venue's word that stands where it does not belong."""
    wrong = []
    for path in _files(root):
        venue, where = home(path, root), path.relative_to(root).as_posix()
        for line, text in said(path):
            named = {name.lower() for name in NAME.findall(text)} - {venue}
            words = {word for owner, rows in WORDS.items() if venue is None for word in rows if word in text}
            codes = {code for code in _CODE.findall(text) if venue is None and code in CODES}
            if may_name(path, root):
                named, codes = set(), set()
            wrong += [f"{where}:{line}: {word}" for word in sorted({*named, *words, *codes})]
    return wrong


def test_what_belongs_to_one_venue_stands_in_its_folder(project_root: Path) -> None:
    assert found(project_root) == []


@pytest.mark.parametrize(
    ("place", "code", "tells"),
    [
        ("core/engine/a.py", "if venue == 'okx': pass", "okx"),
        ("core/engine/a.py", "if venue is VenueName.OKX: pass", "okx"),
        ("core/engine/a.py", "x = row['clOrdId']", "clOrdId"),
        ("core/engine/a.py", "x = 'https://api.bybit.com'", "bybit"),
        ("core/engine/a.py", "if code == '-2022': pass", "-2022"),
        ("core/venues/client.py", "x = f'refused with 110017 by {venue}'", "110017"),
        ("core/venues/okx/a.py", "from core.venues.bybit import facts", "bybit"),
        ("strategies/a.py", "PATH = b'/fapi/v1/klines'", "fapi"),
        ("core/settings/a.py", "x = 'positionIdx'", "positionIdx"),
    ],
)
def test_a_venues_word_elsewhere_is_found(tmp_path: Path, place: str, code: str, tells: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(f"{code}\n", "utf-8")
    (tmp_path / "main.py").write_text("", "utf-8")
    assert [line.rpartition(": ")[2] for line in found(tmp_path)] == [tells]


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("core/engine/a.py", '"""Where Binance says -2022."""\n\nx = 1  # clOrdId'),
        ("core/venues/okx/a.py", "x = row['clOrdId']"),
        ("core/domain/ids.py", "OKX = 'okx'"),
    ],
)
def test_docstrings_comments_and_the_venues_own_folder_may_say_it(tmp_path: Path, place: str, code: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(f"{code}\n", "utf-8")
    (tmp_path / "main.py").write_text("", "utf-8")
    assert found(tmp_path) == []


def test_the_simulator_shares_nothing_with_what_it_tests(project_root: Path) -> None:
    """Neither imports nor files: the simulator's tables are its own, or a mistake in one would hide in the other."""
    imported = set()
    for path in sorted((project_root / "tools" / "venuesim").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
                if (node.module or "").startswith("tools"):
                    assert (node.module or "").startswith("tools.venuesim"), path
    assert not imported & {"core", "strategies", "tgbot", "main", "tests"}


def test_nothing_of_ours_knows_the_simulator(project_root: Path) -> None:
    """Dry run starts it as a program of its own."""
    for path in _files(project_root):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("tools"), path
