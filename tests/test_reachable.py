"""No module of the product is dead: every one is imported, by some way, from a program somebody starts (CFG-11)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("core", "telegram/tgbot", "strategies", "tools")
BY_NAME = ("strategies/*.py", "tools/venuesim/*/facade.py", "core/venues/*/connection.py")
"""Chosen by a setting or an argument and loaded by that name."""


def _modules(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for package in PACKAGES:
        base = root / "telegram" if package.startswith("telegram") else root
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported(path: Path) -> Iterator[str]:
    """Every dotted name the file may import, also inside functions; longer names than modules do no harm."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _programs(root: Path, modules: dict[str, Path]) -> list[Path]:
    """`main.py` and what runs as a program of its own."""
    started = [path for path in modules.values() if '__name__ == "__main__"' in path.read_text("utf-8")]
    chosen = [path for pattern in BY_NAME for path in root.glob(pattern)]
    return [root / "main.py", *started, *chosen, *(p for p in modules.values() if p.name == "__main__.py")]


def unreachable(root: Path) -> set[str]:
    modules = _modules(root)
    waiting = _programs(root, modules)
    seen = set(waiting)
    names = {path: name for name, path in modules.items()}
    while waiting:
        path = waiting.pop()
        for name in _imported(path):
            for part in range(1, name.count(".") + 2):
                found = modules.get(".".join(name.split(".")[:part]))
                if found is not None and found not in seen:
                    seen.add(found)
                    waiting.append(found)
    return {name for path, name in names.items() if path not in seen and path.name != "__init__.py"}


@pytest.mark.failure("CFG-11")
def test_the_list_of_unreachable_modules_is_empty(project_root: Path) -> None:
    assert unreachable(project_root) == set()


def test_a_module_nobody_imports_is_found(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import core.used\n")
    for package in PACKAGES:
        (tmp_path / package).mkdir(parents=True)
    (tmp_path / "core" / "used.py").write_text("")
    (tmp_path / "core" / "dead.py").write_text("import core.used\n")
    assert unreachable(tmp_path) == {"core.dead"}
