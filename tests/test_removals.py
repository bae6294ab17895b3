"""The list of protections that are taken out one at a time fits the code, and the program that does it can tell.

`make removals` tries them all; here each is only made, so that a list that no longer fits is noticed at once.
"""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns import removals
from tests.campaigns.removal_list import REMOVALS, Edit, Removal

GATE = "def may(n: int) -> bool:\n    if n > 3:\n        return False\n    return True\n"
TEST = "from gate import may\n\n\ndef test_four_is_too_much() -> None:\n    assert not may(4)\n"
TAKEN_OUT = Removal("gate", "gate.py", "    if n > 3:\n        return False\n", "", "test_gate.py")


@pytest.mark.failure("OPS-07")
@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_every_removal_fits_the_code_and_names_a_test(removal: Removal, project_root: Path) -> None:
    for path, (before, after) in removals.changed(removal, project_root).items():
        assert after != before, f"{path} is the same without it"
        ast.parse(after)
    file, _, name = removal.test.partition("::")
    assert name, "one test, not a file of them"
    tree = ast.parse((project_root / file).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.partition("[")[0] in tests


def test_each_is_named_once() -> None:
    names = [removal.name for removal in REMOVALS]
    assert len(names) == len(set(names)) >= 40


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    def made(test: str) -> Path:
        (tmp_path / "gate.py").write_text(GATE, encoding="utf-8")
        (tmp_path / "test_gate.py").write_text(test, encoding="utf-8")
        return tmp_path

    return made


@pytest.mark.failure("OPS-07")
def test_a_removal_is_noticed_by_a_test_that_fails_without_it_and_only_then(project: Callable[[str], Path]) -> None:
    root = project(TEST)
    assert removals.noticed(TAKEN_OUT, root) == ("noticed", "test_gate.py::test_four_is_too_much")
    assert (root / "gate.py").read_text(encoding="utf-8") == GATE, "it is taken back"
    project(TEST.replace("assert not may(4)", "may(4)"))
    assert removals.noticed(TAKEN_OUT, root) == ("NOT noticed", "")


def test_what_does_not_fit_changes_nothing(project: Callable[[str], Path]) -> None:
    root = project(TEST)
    twice = TAKEN_OUT._replace(more=(Edit("gate.py", "nowhere", ""),))
    assert removals.noticed(twice, root)[0] == "could not be made"
    assert (root / "gate.py").read_text(encoding="utf-8") == GATE
