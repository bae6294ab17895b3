"""A setting is either read by the daemon or openly marked as not yet effective (CFG-02)."""

import ast
from pathlib import Path

import pytest

from core.config import Settings
from core.settings.fields import Entry, entries


def attributes_read(root: Path) -> set[str]:
    """Attribute names used in product modules that import the configuration, the configuration itself left out."""
    files = [root / "main.py", *(root / "core").rglob("*.py"), *(root / "telegram").rglob("*.py")]
    found: set[str] = set()
    for path in files:
        if (path.parent.name == "settings" and path.name != "checks.py") or path.name == "config.py":
            continue
        text = path.read_text("utf-8")
        if "core.config import" in text or "core.assembly import" in text or path.name == "checks.py":
            found |= {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    return found


@pytest.fixture(scope="module")
def read_names() -> set[str]:
    return attributes_read(Path(__file__).resolve().parent.parent.parent)


@pytest.mark.failure("CFG-02", "INV-13")
@pytest.mark.parametrize(
    "entry", [entry for entry in entries(Settings) if entry.effective], ids=lambda entry: entry.env
)
def test_a_setting_without_a_note_is_read_by_the_daemon(entry: Entry, read_names: set[str]) -> None:
    assert entry.path[1] in read_names, "read it, or mark it effective=False in core/settings/"
