"""docs/ARCHITECTURE.md lists every task that is started under a name of its own, with what its failure does."""

import ast
from pathlib import Path

import pytest


def _started(root: Path) -> set[str]:
    """First arguments of `start(…)`; of one that is put together, what it begins with."""
    names = set[str]()
    for path in (root / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "start":
                match node.args:
                    case [ast.Constant(value=str(name)), _]:
                        names.add(name)
                    case [ast.JoinedStr(values=[ast.Constant(value=str(name)), *_]), _]:
                        names.add(name)
                    case _:
                        pass
    return names


@pytest.mark.failure("OPS-04")
def test_every_task_stands_in_the_table(project_root: Path) -> None:
    text = (project_root / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("\n## Tasks\n")[2].partition("\n## ")[0]
    started = _started(project_root)
    assert len(started) > 20
    assert sorted(name for name in started if f"`{name}" not in table) == []
