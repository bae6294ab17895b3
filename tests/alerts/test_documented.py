"""docs/OPERATIONS.md says of every kind of alert what it means and what to do."""

import re
from pathlib import Path

from core.domain.alerts import AlertKind


def test_every_kind_of_alert_has_its_line_for_the_operator(project_root: Path) -> None:
    text = (project_root / "docs" / "OPERATIONS.md").read_text("utf-8")
    section = text.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row[1])]
    assert sorted(named) == sorted(AlertKind)
    assert all(row[2].strip() and row[3].strip() for row in rows)
