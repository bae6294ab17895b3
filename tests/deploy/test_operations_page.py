"""The contents of docs/OPERATIONS.md are its headings, and its tools exist."""

import re

from core.config import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_contents_name_every_section_in_order() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", PAGE, re.MULTILINE)
    assert listed == [(heading.replace("`", ""), _anchor(heading)) for heading in headings]


def test_every_tool_it_names_is_there() -> None:
    named = set(re.findall(r"tools/(\w+)\.py", PAGE)) | set(re.findall(r"sudo breakwater (\w+)", PAGE)) - {"main"}
    assert sorted(name for name in named if name != "NAME" and not (PROJECT_ROOT / f"tools/{name}.py").exists()) == []
